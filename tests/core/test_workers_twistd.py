"""Workers as a person runs them: the installed ``twistd``, real processes, and what their clients notice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from tests.core.test_socket_activation import Activated
from tests.support import (
    PATIENCE,
    Running,
    ask,
    clean_environment,
    connect,
    free_port,
    run,
    start,
    start_daemon,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in found]


def runs(pid: int) -> bool:
    """Whether a process is alive."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def ping(client: socket.socket) -> bool:
    """Whether a connection is served."""
    client.settimeout(PATIENCE)
    try:
        client.sendall(b"ping")
        return client.recv(4, socket.MSG_WAITALL) == b"ping"
    except OSError:
        return False


class WorkersTests(SynchronousTestCase):
    """``--workers 2``."""

    def echo(self, *words: str, environ: dict[str, str] | None = None) -> Running:
        self.port = free_port()
        running = start(
            self,
            *("-n", "--pidfile=", "myproject-echo", "-p", str(self.port), "--workers", "2", *words),
            environ=environ,
        )
        return running.wait_for_log("2 workers are ready")

    @contextlib.contextmanager
    def clients(self, number: int) -> Iterator[list[socket.socket]]:
        """Connections that are served."""
        with contextlib.ExitStack() as stack:
            made = [stack.enter_context(connect(self.port)) for _ in range(number)]
            self.assertEqual([True] * number, [ping(one) for one in made])
            yield made

    def test_killed_worker(self) -> None:
        """Its own connections are lost with it. Nobody else's are, and no new one is refused or reset."""
        running = self.echo("--access-log")
        killed, other = sorted(children(running.pid))
        with self.clients(40) as before:
            wait_until(lambda: running.log.count(" opened") == 40)
            os.kill(killed, signal.SIGKILL)
            with self.clients(40):
                served = sum(map(ping, before))
        self.assertEqual(before_of(running, 2, 40), served)
        self.assertGreater(served, 0)
        self.assertIn("worker 1 ended by SIGKILL; another takes its place", running.log)
        self.assertIn(other, children(running.pid))
        self.assertEqual(0, running.stop())

    def test_stop(self) -> None:
        """The ports close, all workers drain at once, and the exit status is 0."""
        running = self.echo()
        workers = children(running.pid)
        with self.clients(10) as clients:
            running.signal(signal.SIGTERM)
            wait_until(lambda: not self.accepts(), what="the port has closed")
            self.assertEqual([True] * 10, [ping(one) for one in clients])
        self.assertEqual(0, running.wait())
        self.assertEqual([], [pid for pid in workers if runs(pid)])

    def accepts(self) -> bool:
        try:
            connect(self.port).close()
        except OSError:
            return False
        return True

    def test_second_signal(self) -> None:
        """A second signal means now, for all workers; and as the first it is that of the supervisor alone."""
        running = self.echo("--drain-timeout", "600")
        workers = children(running.pid)
        with self.clients(10) as clients:
            for pid in workers:
                # A service manager, or a terminal, may send it to every process.
                os.kill(pid, signal.SIGINT)
                os.kill(pid, signal.SIGHUP)
            self.assertEqual([True] * 10, [ping(one) for one in clients])
            running.signal(signal.SIGTERM)
            running.wait_for_log("connections remain")
            for pid in workers:
                os.kill(pid, signal.SIGTERM)
            self.assertEqual([True] * 10, [ping(one) for one in clients])
            running.signal(signal.SIGTERM)
            self.assertEqual(-signal.SIGTERM, running.wait())
        self.assertEqual([], [pid for pid in workers if runs(pid)])

    def test_killed_supervisor(self) -> None:
        """No orphan remains, and the port is free for the next."""
        running = self.echo()
        workers = children(running.pid)
        with self.clients(4):
            os.kill(running.pid, signal.SIGKILL)
            running.wait()
            wait_until(lambda: not any(map(runs, workers)), what="the workers have ended")
        with socket.create_server(("127.0.0.1", self.port)):
            pass

    def test_reload(self) -> None:
        """One signal reaches all workers; a mistake is said once, and changes nothing."""
        file = Path(self.mktemp()).absolute()
        file.write_text("[myproject-echo]\n")
        running = self.echo("--config", str(file))
        with self.clients(12) as clients:
            file.write_text("[myproject-echo]\nidle-timeout = -1\n")
            running.signal(signal.SIGHUP)
            running.wait_for_log("remain in force")
            file.write_text("[myproject-echo]\nidle-timeout = 0.1\n")
            running.signal(signal.SIGHUP)
            running.wait_for_log("changed: idle-timeout")
            # Those of both workers.
            self.assertEqual([b""] * 12, [one.recv(1) for one in clients])
        self.assertEqual(1, running.log.count("remain in force"))
        self.assertEqual(1, running.log.count("changed: idle-timeout"))

    def test_log(self) -> None:
        """One log has all, each line with its worker, in the format that was asked for."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        environ = clean_environment(MYPROJECT_LOG_FILE=str(folder / "log"))
        port = free_port()
        words = ("-n", "--pidfile=", "--logger", "myproject.logs.json", "myproject-echo")
        running = start(
            self, *words, "-p", str(port), "--workers=2", "--access-log", environ=environ
        )
        wait_until(
            lambda: (folder / "log").exists() and "are ready" in (folder / "log").read_text()
        )
        self.port = port
        with self.clients(8):
            pass
        self.assertEqual(0, running.stop())
        lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
        opened = [line for line in lines if line["message"].endswith("opened")]
        self.assertEqual(8, len({(line["worker"], line["connection"]) for line in opened}))
        self.assertEqual({"myproject-echo"}, {line["subcommand"] for line in lines})

    def test_metrics(self) -> None:
        """One page sums them up, and is ready when all are."""
        page = free_port()
        running = self.echo("--metrics", str(page))
        with self.clients(9):
            with urlopen(f"http://127.0.0.1:{page}/metrics", timeout=PATIENCE) as answer:
                text = answer.read().decode()
            self.assertIn('myproject_connections_open{service="myproject-echo"} 9.0', text)
            self.assertIn('process_open_fds{worker="2"}', text)
            with urlopen(f"http://127.0.0.1:{page}/readyz", timeout=PATIENCE) as answer:
                self.assertEqual(b"ready\n", answer.read())
        self.assertEqual(0, running.stop())

    def test_daemon(self) -> None:
        """In the background the pidfile has the supervisor, whose signal ends all."""
        port = free_port()
        daemon = start_daemon(self, "myproject-echo", "-p", str(port), "--udp", "--workers", "2")
        daemon.wait_for_log("2 workers are ready")
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.sendto(b"ping", ("127.0.0.1", port))
            self.assertEqual(b"ping", client.recv(10))
        workers = children(daemon.pid)
        daemon.stop()
        self.assertEqual([], [pid for pid in workers if runs(pid)])

    def test_front_door(self) -> None:
        """What is offered is served by each worker."""
        port = free_port()
        words = ("-p", str(port), "--offer", "myproject-echo", "--workers", "2")
        running = start(self, "-n", "--pidfile=", "myproject", *words)
        running.wait_for_log("2 workers are ready")
        with connect(port) as client:
            client.sendall(b"myproject-echo\r\n")
            self.assertTrue(client.recv(100).startswith(b"+"))
            self.assertTrue(ping(client))

    def test_refusals(self) -> None:
        """What needs one process, or cannot be shared, says so in one line."""
        taken = socket.create_server(("", 0))
        self.addCleanup(taken.close)
        number = str(taken.getsockname()[1])
        plugins = Path(self.mktemp()).absolute()
        plugins.write_text('[services.echo]\nplugin = "myproject-echo"\n')
        for words, status, said in (
            (
                ["myproject-chat"],
                64,
                "--workers, from the command line: myproject-chat needs one process",
            ),
            (["myproject"], 64, "myproject-chat, which is offered, needs one process"),
            (
                ["myproject", "--offer", "myproject-echo", "--services", str(plugins)],
                64,
                "for one process",
            ),
            (
                ["myproject-echo", "-p", number],
                69,
                f"cannot listen on port {number}: address already in use",
            ),
        ):
            done = run("-n", "--pidfile=", *words, "--workers", "2", cwd=self.mktemp())
            self.assertEqual((status, 1), (done.returncode, done.stderr.count("\n")), done.stderr)
            self.assertIn(said, done.stderr)


class ManagedTests(Activated):
    """Workers under a stand-in for the service manager."""

    def test_activated(self) -> None:
        """All accept on the manager's sockets, and leave them to it; it is told of the whole."""
        tcp = self.listening(socket.AF_INET, "127.0.0.1")
        path = str(self.temporary() / "echo")
        unix = socket.socket(socket.AF_UNIX)
        self.addCleanup(unix.close)
        unix.bind(path)
        unix.listen()
        words = ("-n", "--pidfile=", "myproject-echo", "-p", "systemd:echo", "--workers", "2")
        server = self.activate([("echo", tcp), ("echo", unix)], *words)
        self.assertTrue(self.told("READY=1")[-1].endswith("STATUS=0 connections open"))
        self.assertEqual(b"ping", ask(tcp.getsockname()[1], b"ping", b"ping"))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            self.assertTrue(ping(client))
        server.signal(signal.SIGHUP)
        told = self.told("READY=1")
        self.assertTrue(any(one.startswith("RELOADING=1") for one in told), told)
        server.signal(signal.SIGTERM)
        self.told("STOPPING=1")
        self.assertEqual(0, server.wait())
        for family, address in ((socket.AF_INET, tcp.getsockname()), (socket.AF_UNIX, path)):
            with socket.socket(family) as client:
                client.connect(address)


def before_of(running: Running, worker: int, first: int) -> int:
    """How many of the first connections that were logged are a worker's."""
    opened = [line for line in running.log.splitlines() if line.endswith(" opened")]
    return sum(f"[worker {worker}:" in line for line in opened[:first])
