"""Stopping and limits as a person and a client see them, with the installed ``twistd``."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.trial.unittest import SynchronousTestCase

from tests.support import (
    PATIENCE,
    Running,
    connect,
    exchange,
    free_port,
    start,
    start_daemon,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def rest(client: socket.socket) -> bytes:
    """All that comes until the end of a connection; a reset is an end as well."""
    said = b""
    try:
        while more := client.recv(65536):
            said += more
    except ConnectionResetError:
        pass
    return said


class EndToEnd(SynchronousTestCase):
    """What all of these share."""

    def begin(self, subcommand: str, *words: str) -> tuple[Running, int]:
        port = free_port()
        return start(self, "-n", subcommand, "-p", f"{port}", *words).wait_for_port(port), port

    def client(self, port: int, host: str = "127.0.0.1") -> socket.socket:
        client = connect(port, host)
        self.addCleanup(client.close)
        return client

    def served(self, client: socket.socket) -> bool:
        """Whether a client of echo gets its byte back."""
        try:
            client.sendall(b"x")
            return client.recv(1) == b"x"
        except OSError:
            return False


class StopTests(EndToEnd):
    """On a signal."""

    def test_waits_for_a_client(self) -> None:
        """Echo goes on with what it has: a stream that began before the signal comes back whole."""
        server, port = self.begin("myproject-echo", "--drain-timeout", "60")
        client = self.client(port)
        self.assertTrue(self.served(client))
        server.signal(signal.SIGTERM)
        server.wait_for_log("1 connections remain, 0 of them told to end; waiting for at most 60 s")
        self.assertRaises(ConnectionRefusedError, connect, port)
        data = os.urandom(20_000)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(data, rest(client))
        self.assertEqual((0, ""), (server.wait(), server.stderr))

    def test_timeout(self) -> None:
        """At the timeout the rest is aborted, those who do not read among them; the status is 0."""
        server, port = self.begin("myproject-echo", "--drain-timeout", "0.2")
        quiet, deaf = self.client(port), self.client(port)
        self.assertTrue(self.served(quiet))
        self.assertTrue(self.served(deaf))
        deaf.setblocking(False)
        try:
            while deaf.send(bytes(2**16)):
                pass
        except BlockingIOError:
            pass
        self.assertEqual(0, server.stop())
        self.assertIn("aborting 2 connections that remain", server.log)
        self.assertEqual(b"", rest(quiet))

    def test_second_signal(self) -> None:
        """A second signal means now, and is how the process ends."""
        for number in (signal.SIGINT, signal.SIGTERM):
            server, port = self.begin("myproject-echo", "--drain-timeout", "60")
            client = self.client(port)
            self.assertTrue(self.served(client))
            server.signal(number)
            server.wait_for_log("waiting for at most 60 s")
            server.signal(number)
            self.assertEqual(-number, server.wait())
            self.assertIn("a second signal: stopping now", server.log)
            self.assertNotIn("Traceback", server.log)
            self.assertEqual(b"", rest(client))

    def test_every_reactor(self) -> None:
        """Status 0 after a stop, and a second signal, whatever the reactor."""
        for reactor in ("select", "poll", "asyncio"):
            port = free_port()
            words = ("-n", "-r", reactor, "myproject-echo", "-p", f"{port}")
            server = start(self, *words, "--drain-timeout", "60").wait_for_port(port)
            client = self.client(port)
            self.assertTrue(self.served(client))
            server.signal(signal.SIGTERM)
            server.wait_for_log("waiting for at most 60 s")
            client.close()
            self.assertEqual((reactor, 0), (reactor, server.wait()))

    def test_background(self) -> None:
        """A daemon waits as well."""
        port = free_port()
        server = start_daemon(self, "myproject-echo", "-p", f"{port}", "--drain-timeout", "60")
        client = self.client(port)
        self.assertTrue(self.served(client))
        server.signal(signal.SIGTERM)
        server.wait_for_log("waiting for at most 60 s")
        self.assertTrue(self.served(client))
        client.close()
        server.wait()
        self.assertFalse(server.pidfile.exists())

    def test_chat(self) -> None:
        """Every client of the chat reads what was said to it, then an ERROR line, then the end."""
        server, port = self.begin("myproject-chat")
        clients = [self.client(port) for _ in range(3)]
        for number, client in enumerate(clients):
            client.sendall(b"NICK n%d\r\nUSER a 0 * :A\r\nJOIN #a\r\n" % number)
            said = b""
            while b" 366 " not in said:
                said += client.recv(65536)
        clients[0].sendall(b"PRIVMSG #a :last words\r\nPING x\r\n")
        said = b""
        while b"PONG" not in said:
            said += clients[0].recv(65536)
        server.signal(signal.SIGTERM)
        for client in clients:
            said = rest(client)
            self.assertEqual(client is not clients[0], b":last words\r\n" in said)
            self.assertTrue(
                said.endswith(b"ERROR :Closing link: 127.0.0.1 (The server is shutting down)\r\n")
            )
            self.assertNotIn(b" QUIT ", said)
        self.assertEqual((0, ""), (server.wait(), server.stderr))

    def test_front_door(self) -> None:
        """At the front door the undecided are sent away, a chat says goodbye, an echo goes on."""
        server, port = self.begin("myproject", "--drain-timeout", "60")
        undecided, chat, echo = (self.client(port) for _ in range(3))
        chat.sendall(b"myproject-chat\r\nPING x\r\n")
        while b"PONG" not in chat.recv(65536):
            pass
        echo.sendall(b"myproject-echo\r\n")
        self.assertEqual(b"+myproject-echo\r\n", echo.recv(100))
        server.signal(signal.SIGTERM)
        self.assertEqual(b"-the server is stopping; try again later\r\n", rest(undecided))
        undecided.close()
        self.assertIn(b"ERROR :Closing link", rest(chat))
        self.assertTrue(self.served(echo))
        echo.close()
        self.assertEqual(0, server.wait())


class LimitTests(EndToEnd):
    """Who is let in."""

    def refused(self, port: int, host: str = "127.0.0.1") -> bool:
        with connect(port, host) as client:
            return not self.served(client)

    def test_deny(self) -> None:
        """A denied network is refused, and the log says so."""
        server, port = self.begin("myproject-echo", "--deny", "::1")
        server.wait_for_port(port, "::1")
        self.assertTrue(self.refused(port, "::1"))
        self.assertFalse(self.refused(port))
        server.wait_for_log("connections refused: 1, the last from ::1: their network is denied")

    def test_allow(self) -> None:
        """Once a network is allowed, no other is."""
        server, port = self.begin("myproject-echo", "--allow", "::1", "--allow", "192.0.2.0/24")
        server.wait_for_port(port, "::1")
        self.assertFalse(self.refused(port, "::1"))
        self.assertTrue(self.refused(port))

    def test_rate(self) -> None:
        """A host that has opened its minute's worth is refused; another host is not."""
        # The helper that waits for the port to accept has opened one.
        server, port = self.begin("myproject-echo", "--connection-rate", "3")
        self.assertEqual([False, False, True], [self.refused(port) for _ in range(3)])
        self.assertFalse(self.refused(port, "::1"))
        server.wait_for_log("faster than --connection-rate permits")

    def test_max_connections(self) -> None:
        """As many as that are served; when one leaves, another may come."""
        _, port = self.begin("myproject-echo", "--max-connections", "2")
        first = self.served_client(port)
        self.served_client(port)
        self.assertTrue(self.refused(port))
        first.close()
        wait_until(lambda: not self.refused(port))

    def test_max_connections_per_host(self) -> None:
        """A host has as many as that; another host has its own."""
        _, port = self.begin("myproject-echo", "--max-connections-per-host", "1")
        self.served_client(port)
        self.assertTrue(self.refused(port))
        self.assertFalse(self.refused(port, "::1"))

    def served_client(self, port: int) -> socket.socket:
        """A client that is let in; the helper's own connection may still be on its way out."""
        kept: list[socket.socket] = []

        def one_is_served() -> bool:
            kept.append(self.client(port))
            return self.served(kept[-1])

        wait_until(one_is_served)
        return kept[-1]

    def test_idle(self) -> None:
        """A silent client is closed; the log says who and why."""
        server, port = self.begin("myproject-echo", "--idle-timeout", "1")
        self.assertEqual(b"", rest(self.client(port)))
        server.wait_for_log("closing an idle connection of IPv4Address")

    def test_max_buffered(self) -> None:
        """A client for which too much waits is aborted; the log says who and why."""
        server, port = self.begin("myproject-echo", "--max-buffered", "20000")
        with connect(port) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.assertRaises(OSError, self.flood, client)
        server.wait_for_log("more than 20000 bytes wait for it")
        self.assertEqual(b"again", exchange(port, b"again"))

    def flood(self, client: socket.socket) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            client.sendall(bytes(2**16))


class DescriptorTests(EndToEnd):
    """At the limit of file descriptors."""

    def processor_time(self, server: Running) -> float:
        fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def check(self, server: Running, port: int) -> int:
        """Bring more clients than there are descriptors; return how many are served."""
        clients = [self.client(port) for _ in range(120)]
        served = [client for client in clients if self.served(client)]
        self.assertLess(len(served), 64)
        self.assertGreater(len(served), 8)
        # A server that turned in a circle would use all of this.
        before, since = self.processor_time(server), time.monotonic()
        for _ in range(200):
            self.assertTrue(self.served(served[-1]))
        wait_until(lambda: time.monotonic() > since + 1, what="a second has passed")
        self.assertLess(self.processor_time(server) - before, 0.5)
        served[0].close()
        answered: Callable[[], bool] = lambda: self.served(self.client(port))  # noqa: E731
        wait_until(answered, what="it accepts again")
        self.assertTrue(all(self.served(client) for client in served[1:]))
        self.assertNotIn("Traceback", server.log)
        return len(served)

    def test_known_limit(self) -> None:
        """Connections are refused before there is no descriptor left for anything else."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        port = free_port()
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        server = start(self, "-n", "myproject-echo", "-p", f"{port}", "--drain-timeout", "0")
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        server.wait_for_port(port)
        # The helper's own connection may still be on its way out.
        self.assertIn(self.check(server, port), (31, 32))
        server.wait_for_log("the file descriptors permit")
        self.assertNotIn("EMFILE", server.log)

    def test_lowered_limit(self) -> None:
        """Even if others took the descriptors, those who are there are served."""
        server, port = self.begin("myproject-echo", "--drain-timeout", "0")
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (64, 64))
        self.check(server, port)
        self.assertIn("EMFILE", server.log)
