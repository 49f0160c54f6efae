"""
The installed ``twistd`` and ``twist``, as a person runs them: what answers, what is printed, how it ends.

Every test starts the program in a folder of its own and waits no longer than it has to.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.support import (
    PATIENCE,
    Running,
    ask,
    clean_environment,
    connect,
    exchange,
    free_port,
    run,
    start,
    start_daemon,
    wait_until,
)

#: Each subcommand, its default port, something to say to it, and what its answer has.
SUBCOMMANDS: Final = {
    "myproject": (1235, b"HELP\r\n", b"myproject-echo"),
    "myproject-echo": (7007, b"ping\n", b"ping\n"),
    "myproject-chat": (6667, b"NICK ann\r\nUSER ann 0 * :Ann\r\n", b" 001 ann "),
}

ROOT: Final = Path(__file__).parents[2]
TAC: Final = ROOT / "docs" / "examples" / "echo.tac"


def in_use(number: int, port: str = "port") -> str:
    """What is said of a port that another program has."""
    return f"cannot listen on {port} {number}: address already in use; choose another with --port"


class Occupied:
    """A port that another program has."""

    def __init__(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, host: str = "0.0.0.0"
    ) -> None:
        self.number = free_port()
        self.socket = socket.socket(family, kind)
        if family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            # An earlier connection that lingers there is no other program.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, self.number))
        if kind == socket.SOCK_STREAM:
            self.socket.listen()


class EndToEnd(SynchronousTestCase):
    """What all of these share."""

    def folder(self) -> Path:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        return folder

    def occupied(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, host: str = "0.0.0.0"
    ) -> int:
        occupied = Occupied(family, kind, host)
        self.addCleanup(occupied.socket.close)
        return occupied.number

    def answers(self, subcommand: str, port: int, host: str = "127.0.0.1") -> None:
        """Fail unless the subcommand answers there."""
        _, question, marker = SUBCOMMANDS[subcommand]
        self.assertIn(marker, ask(port, question, marker, host))


class ForegroundTests(EndToEnd):
    """``twistd -n``: answers on IPv4 and IPv6, logs on standard output, ends with status 0."""

    def check(self, subcommand: str, number: int = signal.SIGTERM) -> None:
        port = free_port()
        server = start(self, "-n", subcommand, "-p", f"{port}").wait_for_port(port)
        for host in ("127.0.0.1", "::1"):
            self.answers(subcommand, port, host)
        self.assertTrue((server.folder / "twistd.pid").exists())
        self.assertEqual(0, server.stop(number))
        self.assertFalse((server.folder / "twistd.pid").exists())
        self.assertIn("Server Shut Down.", server.stdout)
        self.assertEqual("", server.stderr)

    def test_front_door(self) -> None:
        self.check("myproject")

    def test_echo(self) -> None:
        self.check("myproject-echo")

    def test_chat(self) -> None:
        self.check("myproject-chat")

    def test_echo_behind_the_front_door(self) -> None:
        """A connection handed over is the echo's: all bytes come back after a half-close."""
        port = free_port()
        start(self, "-n", "myproject", "-p", f"{port}").wait_for_port(port)
        data = os.urandom(50_000)
        line, _, back = exchange(port, b"myproject-echo\r\n" + data).partition(b"\r\n")
        self.assertEqual((b"+", True), (line[:1], back == data))

    def test_interrupt(self) -> None:
        """Ctrl-C ends it as well."""
        self.check("myproject-echo", signal.SIGINT)

    def test_with_warnings_as_errors(self) -> None:
        """Nothing that it does on its way is deprecated."""
        port = free_port()
        # Twisted keeps this descriptor in reserve until the interpreter has ended.
        reserve = "ignore:unclosed file <_io.TextIOWrapper name='/dev/null'"
        environ = clean_environment(PYTHONWARNINGS=f"error,{reserve}")
        server = start(self, "-n", "myproject-echo", "-p", f"{port}", environ=environ)
        server.wait_for_port(port)
        self.answers("myproject-echo", port)
        server.stop()
        self.assertEqual("", server.stderr)


class BackgroundTests(EndToEnd):
    """``twistd`` without ``-n``: pidfile, log file, ends when told and clears up."""

    def check(self, subcommand: str) -> None:
        port = free_port()
        server = start_daemon(self, subcommand, "-p", f"{port}")
        # The ports are open by the time that twistd returns.
        for host in ("127.0.0.1", "::1"):
            self.answers(subcommand, port, host)
        self.assertNotEqual(os.getpid(), server.pid)
        self.assertIn(f"starting on {port}", server.log)
        server.stop()
        self.assertFalse(server.pidfile.exists())
        self.assertIn("Server Shut Down.", server.log)
        self.assertNotIn("Traceback", server.log)

    def test_front_door(self) -> None:
        self.check("myproject")

    def test_echo(self) -> None:
        self.check("myproject-echo")

    def test_chat(self) -> None:
        self.check("myproject-chat")

    def test_second_start(self) -> None:
        """A second server in the same folder is refused, and the first one stays."""
        port = free_port()
        server = start_daemon(self, "myproject-echo", "-p", f"{port}")
        again = run("myproject-echo", "-p", f"{free_port()}", cwd=server.folder)
        self.assertNotEqual(0, again.returncode)
        self.answers("myproject-echo", port)


class TwistTests(EndToEnd):
    """``twist``, which stays in the foreground and has no privileges to give up."""

    def check(self, subcommand: str) -> None:
        port = free_port()
        server = start(self, subcommand, "-p", f"{port}", tool="twist").wait_for_port(port)
        for host in ("127.0.0.1", "::1"):
            self.answers(subcommand, port, host)
        self.assertEqual(0, server.stop())
        self.assertNotIn("Traceback", server.log)

    def test_front_door(self) -> None:
        self.check("myproject")

    def test_echo(self) -> None:
        self.check("myproject-echo")

    def test_chat(self) -> None:
        self.check("myproject-chat")

    def test_port_in_use(self) -> None:
        """It says so once, on standard error, and exits with status 69."""
        port = self.occupied()
        done = run("myproject-echo", "-p", f"{port}", cwd=self.folder(), tool="twist")
        self.assertEqual(
            (os.EX_UNAVAILABLE, "", f"twist: {in_use(port)}\n"),
            (done.returncode, done.stdout, done.stderr),
        )


class PortInUseTests(EndToEnd):
    """A port that cannot be had ends the process with one line and a status that is not 0."""

    def refused(self, port: int, *words: str, kind: str = "port") -> None:
        """In the foreground: the line once on standard error and once in the log, status 69."""
        folder = self.folder()
        done = run("-n", *words, cwd=folder)
        line = in_use(port, kind)
        self.assertEqual((os.EX_UNAVAILABLE, f"twistd: {line}\n"), (done.returncode, done.stderr))
        self.assertEqual(1, done.stdout.count(line))
        self.assertNotIn("Traceback", done.stdout)
        self.assertFalse((folder / "twistd.pid").exists())

    def test_front_door(self) -> None:
        port = self.occupied()
        self.refused(port, "myproject", "-p", f"{port}")

    def test_echo(self) -> None:
        port = self.occupied()
        self.refused(port, "myproject-echo", "-p", f"{port}")

    def test_chat(self) -> None:
        port = self.occupied()
        self.refused(port, "myproject-chat", "-p", f"{port}")

    def test_on_ipv6_alone(self) -> None:
        """A port that somebody has for IPv6 only is in use."""
        port = self.occupied(socket.AF_INET6, host="::")
        self.refused(port, "myproject-echo", "-p", f"{port}")

    def test_udp(self) -> None:
        """So is one that somebody has for UDP, when UDP is asked for."""
        port = self.occupied(kind=socket.SOCK_DGRAM)
        self.refused(port, "myproject-echo", "--udp", "-p", f"{port}", kind="UDP port")

    def test_second_of_two(self) -> None:
        """One of several is enough."""
        port = self.occupied()
        self.refused(port, "myproject-echo", "-p", f"{free_port()}", "-p", f"{port}")

    def test_in_the_background(self) -> None:
        """The command that a person typed fails and says why; the log has the line and no traceback."""
        port, folder = self.occupied(), self.folder()
        files = ("--pidfile", "echo.pid", "--logfile", "echo.log")
        done = run(*files, "myproject-echo", "-p", f"{port}", cwd=folder)
        self.assertEqual((1, ""), (done.returncode, done.stdout))
        self.assertIn(f"cannot listen on port {port}: address already in use", done.stderr)
        log = (folder / "echo.log").read_text()
        self.assertEqual(1, log.count(in_use(port)))
        self.assertNotIn("Traceback", log)
        # It is the server that clears up, and the command does not wait for that.
        wait_until(lambda: not (folder / "echo.pid").exists(), what="the pidfile is gone")

    def test_endpoint_that_fails_late(self) -> None:
        """An endpoint that takes its time and then fails ends the process the same way."""
        folder = self.folder()
        plugins = folder / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "slow_endpoint.py").write_text(SLOW_ENDPOINT)
        environ = clean_environment(PYTHONPATH=f"{folder}")
        done = run("-n", "myproject-echo", "-p", "slow:", cwd=folder, environ=environ)
        line = "cannot listen on slow:: permission denied; choose another with --port"
        self.assertEqual((os.EX_UNAVAILABLE, f"twistd: {line}\n"), (done.returncode, done.stderr))
        self.assertEqual(1, done.stdout.count(line))
        self.assertIn("Server Shut Down.", done.stdout)
        self.assertFalse((folder / "twistd.pid").exists())


#: A dropin with an endpoint that fails in the reactor's second turn.
SLOW_ENDPOINT: Final = """
import errno, os
from twisted.internet.interfaces import IStreamServerEndpoint, IStreamServerEndpointStringParser
from twisted.internet.task import deferLater
from twisted.plugin import IPlugin
from zope.interface import implementer

@implementer(IStreamServerEndpoint)
class Slow:
    def __init__(self, reactor):
        self.reactor = reactor

    def listen(self, factory):
        def fail():
            raise PermissionError(errno.EACCES, "denied")
        return deferLater(self.reactor, 0, fail)

@implementer(IPlugin, IStreamServerEndpointStringParser)
class Parser:
    prefix = "slow"

    def parseStreamServer(self, reactor, *args, **kwargs):
        return Slow(reactor)

parser = Parser()
"""


class EndpointTests(EndToEnd):
    """Where to listen, in all its forms."""

    def test_two_ports(self) -> None:
        """--port may be repeated."""
        first, second = free_port(), free_port()
        server = start(self, "-n", "myproject-echo", "-p", f"{first}", "-p", f"{second}")
        for port in (first, second):
            server.wait_for_port(port)
            self.answers("myproject-echo", port)

    def test_one_interface(self) -> None:
        """An endpoint listens on what it says and nothing else."""
        server = start(self, "-n", "myproject-echo", "-p", "tcp:0:interface=127.0.0.1")
        server.wait_for_log("EchoFactory starting on")
        (port,) = map(int, re.findall(r"starting on (\d+)", server.stdout))
        self.answers("myproject-echo", port)
        self.assertRaises(ConnectionRefusedError, connect, port, "::1")

    def test_any_free_port(self) -> None:
        """Port 0 is any free one, the same for IPv4 and IPv6."""
        server = start(self, "-n", "myproject-echo", "-p", "0")
        wait_until(lambda: server.stdout.count("EchoFactory starting on") == 2)
        first, second = map(int, re.findall(r"starting on (\d+)", server.stdout))
        self.assertEqual(first, second)
        self.answers("myproject-echo", first)

    def test_unix_socket(self) -> None:
        """A Unix socket serves as well, and is gone when the server is."""
        server = start(self, "-n", "myproject-echo", "-p", "unix:echo.sock")
        file = server.folder / "echo.sock"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            # The file is there before anybody listens on it.
            wait_until(lambda: client.connect_ex(f"{file}") == 0, what="the socket accepts")
            client.sendall(b"ping")
            self.assertEqual(b"ping", client.recv(10))
        server.stop()
        self.assertEqual((False, ""), (file.exists(), server.stderr))

    def test_udp(self) -> None:
        """With --udp datagrams are answered on the same number, over IPv4 and IPv6."""
        port = free_port()
        start(self, "-n", "myproject-echo", "--udp", "-p", f"{port}").wait_for_port(port)
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE)
                client.sendto(b"ping", (host, port))
                self.assertEqual(b"ping", client.recv(10))

    def test_bound_while_privileged(self) -> None:
        """Started as root with --uid, it has its low port and runs as that user."""
        if os.getuid() != 0:
            self.skipTest("needs root")
        lowest = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
        if lowest < 1024:
            self.skipTest("needs ports that are root's alone")
        port = next(one for one in range(700, 1024) if self.free(one))
        nobody = ("--uid", "65534", "--gid", "65534")
        server = start(self, "-n", *nobody, "myproject-echo", "-p", f"{port}").wait_for_port(port)
        # It listens first, and lets go of root afterwards.
        wait_until(lambda: Path(f"/proc/{server.pid}").stat().st_uid == 65534, what="root is gone")
        self.answers("myproject-echo", port)

    def free(self, number: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", number)) != 0


class SlowReaderTests(EndToEnd):
    """The promise of bounded memory, as the system sees it."""

    def test_bounded_memory(self) -> None:
        """A client that sends for as long as it can and reads nothing costs less than 8 MiB."""
        port = free_port()
        server = start(self, "-n", "myproject-echo", "-p", f"{port}").wait_for_port(port)
        exchange(port, bytes(2**20))
        before = self.resident(server)
        data = os.urandom(2**20)
        with connect(port) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
            client.setblocking(False)
            sent = 0
            # Two seconds in which nothing more goes out: the server has stopped reading.
            while sent < 64 * 2**20 and select.select([], [client], [], 2)[1]:
                sent += client.send(data[sent % 2**20 :])
            self.assertLess(sent, 64 * 2**20)
            self.assertLess(self.resident(server) - before, 8 * 2**20)
            client.setblocking(True)
            client.settimeout(PATIENCE)
            client.shutdown(socket.SHUT_WR)
            back = b"".join(iter(lambda: client.recv(2**20), b""))
        self.assertEqual(sent, len(back))
        self.assertTrue((data * (sent // 2**20 + 1)).startswith(back))

    def resident(self, server: Running) -> int:
        """The bytes of memory that the server has."""
        pages = Path(f"/proc/{server.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


class DefaultTests(EndToEnd):
    """What is in force when nothing is given."""

    def test_ports(self) -> None:
        """The help says which port each subcommand has, and that is the one it has."""
        folder = self.folder()
        for subcommand, (port, _, _) in SUBCOMMANDS.items():
            words = " ".join(run(subcommand, "--help", cwd=folder).stdout.split())
            self.assertIn(f"may be repeated. [default: {port}, env: ", words)
            self.assertIn(f"port = [{port}]", run(subcommand, "--print-config", cwd=folder).stdout)

    def test_listed(self) -> None:
        """Twistd and twist list all three."""
        for tool in ("twistd", "twist"):
            listed = run("--help", cwd=self.folder(), tool=tool).stdout.split()
            self.assertLessEqual(set(SUBCOMMANDS), set(listed), tool)


class MistakeTests(EndToEnd):
    """A mistake in the settings: one line on standard error, status 64, and nothing opened."""

    def refused(self, expected: str, *words: str, tool: str = "twistd", **environ: str) -> None:
        folder = self.folder()
        done = run(*words, cwd=folder, tool=tool, environ=clean_environment(**environ))
        self.assertEqual((os.EX_USAGE, ""), (done.returncode, done.stdout))
        self.assertEqual(1, done.stderr.count("\n"), done.stderr)
        self.assertIn(expected, done.stderr)
        self.assertEqual([], sorted(path.name for path in folder.iterdir()))

    def test_value(self) -> None:
        for subcommand in SUBCOMMANDS:
            self.refused(
                f"{subcommand}: --port, from the command line: '70000': it is too large for a port;"
                " give a port number",
                subcommand,
                "-p",
                "70000",
            )

    def test_value_from_the_environment(self) -> None:
        self.refused(
            "--port, from MYPROJECT_ECHO_PORT in the environment: 'x'",
            "-n",
            "myproject-echo",
            MYPROJECT_ECHO_PORT="x",
        )

    def test_unknown_option(self) -> None:
        """The nearest option is suggested."""
        self.refused("(did you mean --port?)", "-n", "myproject-chat", "--prot", "1")

    def test_twist(self) -> None:
        self.refused("(did you mean --udp?)", "myproject-echo", "--udb", tool="twist")

    def test_settings_that_do_not_go_together(self) -> None:
        self.refused("--udp, from the command line", "-n", "myproject-echo", "--udp", "-p", "tcp:1")


class TacTests(EndToEnd):
    """The ``.tac`` file in the documentation."""

    def test_on_the_page(self) -> None:
        """The page about .tac files shows this one."""
        page = ROOT / "docs" / "how-to" / "tac-file.md"
        self.assertIn(f"```python\n{TAC.read_text()}```", page.read_text())

    def test_foreground(self) -> None:
        """``twistd -ny`` runs it, with the settings that the environment has."""
        port = free_port()
        environ = clean_environment(MYPROJECT_ECHO_PORT=f"{port}")
        server = start(self, "-ny", f"{TAC}", environ=environ).wait_for_port(port)
        self.answers("myproject-echo", port)
        self.assertIn(f"EchoDatagramProtocol starting on {port}", server.stdout)
        server.stop()
        self.assertEqual("", server.stderr)

    def test_background(self) -> None:
        """So does ``twistd -y``."""
        port = free_port()
        environ = clean_environment(MYPROJECT_ECHO_PORT=f"{port}")
        server = start_daemon(self, "-y", f"{TAC}", environ=environ)
        self.answers("myproject-echo", port)
        server.stop()
        self.assertFalse(server.pidfile.exists())

    def test_port_in_use(self) -> None:
        """A port in use ends it as it ends the subcommand."""
        port = self.occupied()
        environ = clean_environment(MYPROJECT_ECHO_PORT=f"{port}")
        done = run("-ny", f"{TAC}", cwd=self.folder(), environ=environ)
        self.assertEqual(
            (os.EX_UNAVAILABLE, f"twistd: {in_use(port)}\n"), (done.returncode, done.stderr)
        )
        self.assertNotIn("Traceback", done.stdout)

    def test_mistake(self) -> None:
        """A mistake in the settings is one line here too."""
        environ = clean_environment(MYPROJECT_ECHO_PORT="x")
        done = run("-ny", f"{TAC}", cwd=self.folder(), environ=environ)
        self.assertEqual((os.EX_USAGE, 1), (done.returncode, done.stderr.count("\n")))
        self.assertNotIn("Traceback", done.stdout + done.stderr)
