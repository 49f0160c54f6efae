"""Socket activation: sockets are found by name, whatever their family, and by the installed programs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import _SystemdParser
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SynchronousTestCase

from myproject import activation
from myproject.listening import check_description, listen_stream
from tests.core.test_twistd import SUBCOMMANDS, EndToEnd
from tests.support import PATIENCE, Running, ask, clean_environment, wait_until

#: Puts sockets where a manager puts them, says whose they are, and becomes the program.
_MANAGER: Final = """
import fcntl, os, sys
numbers, command = sys.argv[1].split(","), sys.argv[2:]
away = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in numbers if number]
for index, number in enumerate(away):
    os.dup2(number, 3 + index)
    os.close(number)
os.environ.update(LISTEN_PID=str(os.getpid()), WATCHDOG_PID=str(os.getpid()))
os.execv(command[0], command)
"""


class SocketCase(SynchronousTestCase):
    """Makes listening sockets."""

    def listening(self, family: int, host: str) -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        self.addCleanup(made.close)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(host if family == socket.AF_UNIX else (host, 0))
        made.listen()
        return made

    def temporary(self) -> Path:
        """A folder with a name short enough for a socket's address."""
        folder = tempfile.mkdtemp(prefix="act-")
        self.addCleanup(shutil.rmtree, folder)
        return Path(folder)


class NameTests(SocketCase):
    """``systemd:NAME`` in this process."""

    def passed(self, *sockets: tuple[str, socket.socket]) -> None:
        """Pretend that a manager passed these."""
        names = [name for name, _ in sockets]
        self.patch(
            _SystemdParser, "_sddaemon", ListenFDs([one.fileno() for _, one in sockets], names)
        )
        self.patch(os, "environ", {**os.environ, "LISTEN_FDNAMES": ":".join(names)})

    def refusal(self, description: str) -> str:
        return str(self.assertRaises(ValueError, check_description, description))

    def test_a_name_is_told_from_what_twisted_knows(self) -> None:
        self.assertEqual("echo", activation.named("systemd:echo"))
        for other in ("systemd:domain=INET:index=0", "systemd:INET:0", "1235", "tcp:1", "echo"):
            self.assertIsNone(activation.named(other), other)

    @given(st.text())
    def test_any_name_is_found_or_refused(self, name: str) -> None:
        if activation.named(f"systemd:{name}") is not None:
            self.assertRaises(ValueError, activation.check_name, name)

    def test_nothing_was_passed(self) -> None:
        self.assertEqual(
            "the service manager passed no socket of that name, but none at all",
            self.refusal("systemd:echo"),
        )

    def test_other_names_were_passed(self) -> None:
        one = self.listening(socket.AF_INET, "127.0.0.1")
        self.passed(("b", one), ("a", one), ("b", one))
        self.assertEqual(
            "the service manager passed no socket of that name, but a, b",
            self.refusal("systemd:c"),
        )

    def test_a_socket_must_listen(self) -> None:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as idle:
                self.passed(("echo", idle))
                self.assertEqual(
                    "the service manager passed a socket that accepts no connections",
                    self.refusal("systemd:echo"),
                )

    def test_a_descriptor_must_be_a_socket(self) -> None:
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        good = self.listening(socket.AF_INET, "127.0.0.1")
        self.passed(("echo", good), ("echo", good))
        descriptors = ListenFDs([good.fileno(), read], ["echo", "echo"])
        self.patch(_SystemdParser, "_sddaemon", descriptors)
        self.assertEqual(
            "the service manager passed what is no open socket", self.refusal("systemd:echo")
        )

    def test_all_sockets_of_the_name_are_listened_on(self) -> None:
        reactor: Any = MemoryReactor()
        four = self.listening(socket.AF_INET, "127.0.0.1")
        six = self.listening(socket.AF_INET6, "::1")
        near = self.listening(socket.AF_UNIX, str(self.temporary() / "s"))
        self.passed(("echo", four), ("other", self.listening(socket.AF_INET, "127.0.0.1")))
        self.passed(("echo", four), ("other", near), ("echo", six))
        check_description("systemd:echo")
        adopted: list[tuple[int, bool, object]] = []

        def adopt(number: int, family: int, factory: object) -> object:
            adopted.append((family, os.get_blocking(number), factory))
            return object()

        reactor.adoptStreamPort = adopt
        factory = Factory()
        for _ in range(2):
            # The sockets stay open, for the next time.
            ports = self.successResultOf(listen_stream(reactor, "systemd:echo", factory))
            self.assertEqual(2, len(ports))
        self.assertEqual(
            [(socket.AF_INET, False, factory), (socket.AF_INET6, False, factory)] * 2, adopted
        )

    def test_sockets_are_not_left_to_processes_that_we_start(self) -> None:
        one = self.listening(socket.AF_INET, "127.0.0.1")
        one.set_inheritable(True)
        self.passed(("echo", one))
        check_description("systemd:echo")
        self.assertFalse(one.get_inheritable())

    def test_a_socket_that_went_missing_is_a_failure(self) -> None:
        self.failureResultOf(listen_stream(MemoryReactor(), "systemd:gone", Factory()), ValueError)


class Activated(EndToEnd, SocketCase):
    """Starts the installed programs under a stand-in for the service manager."""

    def setUp(self) -> None:
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.settimeout(PATIENCE)
        self.address = str(self.temporary() / "notify")
        self.manager.bind(self.address)

    def activate(
        self, sockets: list[tuple[str, socket.socket]], *words: str, tool: str = "twistd"
    ) -> Running:
        numbers = [one.fileno() for _, one in sockets]
        environ = clean_environment(
            NOTIFY_SOCKET=self.address,
            WATCHDOG_USEC="100000",
            LISTEN_FDS=f"{len(sockets)}",
            LISTEN_FDNAMES=":".join(name for name, _ in sockets),
        )
        folder = self.folder()
        program = str(Path(sys.executable).with_name(tool))
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-c", _MANAGER, ",".join(map(str, numbers)), program, *words],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=numbers,
            )
        running = Running(process.pid, folder, process)
        self.addCleanup(running.stop)
        return running

    def told(self, until: str) -> list[str]:
        """What the manager is told, up to a message that begins so; each kind once."""
        messages: dict[str, None] = {}
        while True:
            message = self.manager.recv(65536).decode()
            messages[message] = None
            if message.startswith(until):
                return list(messages)


class ActivatedTests(Activated):
    """The installed programs, under a stand-in for the service manager."""

    def check(self, subcommand: str, *, tool: str = "twistd") -> None:
        four = self.listening(socket.AF_INET, "127.0.0.1")
        six = self.listening(socket.AF_INET6, "::1")
        options = ["-n", "--pidfile="] if tool == "twistd" else []
        server = self.activate(
            [("my.name", four), ("my.name", six)],
            *options,
            subcommand,
            "-p",
            "systemd:my.name",
            tool=tool,
        )
        _, question, marker = SUBCOMMANDS[subcommand]
        # Connections wait in the socket: nobody need wait for the service.
        for one, host in ((four, "127.0.0.1"), (six, "::1")):
            self.assertIn(marker, ask(one.getsockname()[1], question, marker, host))
        ready = self.told("READY=1")[-1]
        self.assertRegex(ready, r"^READY=1\nSTATUS=\d connections? open$")
        self.assertEqual("WATCHDOG=1", self.told("WATCHDOG=1")[-1])
        server.signal(signal.SIGTERM)
        self.assertRegex(self.told("STOPPING=1")[-1], r"^STOPPING=1\nSTATUS=stopping; \d conn")
        server.wait()
        self.assertEqual("", server.stderr)

    def test_front_door(self) -> None:
        self.check("myproject")

    def test_echo(self) -> None:
        self.check("myproject-echo")

    def test_chat(self) -> None:
        self.check("myproject-chat")

    def test_twist(self) -> None:
        self.check("myproject-echo", tool="twist")

    def test_a_unix_socket(self) -> None:
        path = str(self.temporary() / "echo")
        one = self.listening(socket.AF_UNIX, path)
        self.activate([("echo", one)], "-n", "myproject-echo", "-p", "systemd:echo")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(path)
            client.sendall(b"hello")
            self.assertEqual(b"hello", client.recv(100))

    def test_twisteds_own_endpoint(self) -> None:
        six = self.listening(socket.AF_INET6, "::1")
        words = ("-n", "myproject-echo", "-p", "systemd:domain=INET6:name=echo")
        self.activate([("echo", six)], *words)
        self.assertEqual(b"hello", ask(six.getsockname()[1], b"hello", b"hello", "::1"))

    def test_clients_wait_while_the_service_restarts(self) -> None:
        """The socket is the manager's: who connects between two services is served by the second."""
        four = self.listening(socket.AF_INET, "127.0.0.1")
        port = four.getsockname()[1]
        words = ("-n", "--pidfile=", "myproject-echo", "-p", "systemd:echo")
        first = self.activate([("echo", four)], *words)
        self.assertEqual(b"one", ask(port, b"one", b"one"))
        first.stop()
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(b"two")
            self.activate([("echo", four)], *words)
            self.assertEqual(b"two", client.recv(100))

    def test_a_name_that_was_not_passed_is_one_line(self) -> None:
        four = self.listening(socket.AF_INET, "127.0.0.1")
        words = ("-n", "myproject-echo", "-p", "systemd:other")
        server = self.activate([("echo", four)], *words)
        self.assertEqual(os.EX_USAGE, server.wait())
        self.assertEqual(
            "myproject-echo: --port, from the command line: 'systemd:other': the service manager passed no"
            " socket of that name, but echo; give a port number from 0 to 65535, or an endpoint"
            " description such as tcp:8080:interface=127.0.0.1\n",
            server.stderr,
        )

    def test_a_port_in_use_is_never_ready(self) -> None:
        number = self.occupied()
        server = self.activate([], "-n", "--pidfile=", "myproject-echo", "-p", f"{number}")
        self.assertEqual(os.EX_UNAVAILABLE, server.wait())
        wait_until(lambda: not server.alive)
        self.manager.setblocking(False)
        told = []
        while True:
            try:
                told.append(self.manager.recv(65536).decode())
            except BlockingIOError:
                break
        self.assertEqual([], [message for message in told if message.startswith("READY")])
