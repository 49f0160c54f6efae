"""Behind a balancer, with the installed ``twistd``: who clients are, to protocols, limits and logs."""

from __future__ import annotations

import ipaddress
import signal
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from myproject.proxyheader import Addresses, format_v1, format_v2
from tests.core.test_gate_twistd import EndToEnd, rest
from tests.core.test_socket_activation import Activated
from tests.support import Running, connect, exchange, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


def header(client: str = "192.0.2.1", version: int = 2) -> bytes:
    """What a balancer says of a client."""
    server = "198.51.100.2" if ":" not in client else "2001:db8::2"
    known = Addresses(ipaddress.ip_address(client), 56324, ipaddress.ip_address(server), 443)
    return format_v1(known) if version == 1 else format_v2(known, [(1, b"irc")], checksum=True)


class ProxyTests(EndToEnd):
    """The balancer is the loopback's IPv4 address; IPv6 is anyone else."""

    def behind(self, subcommand: str, *words: str) -> tuple[Running, int]:
        return self.begin(subcommand, "--proxy-from", "127.0.0.1", *words)

    def refused(self, port: int, data: bytes) -> bool:
        """Whether a connection is closed without a byte."""
        client = self.client(port)
        try:
            client.sendall(data)
            return rest(client) == b""
        except ConnectionError:
            return True

    def test_cut_in_any_way(self) -> None:
        """A header may come byte by byte, and with what follows it in one piece."""
        _, port = self.behind("myproject-echo")
        for version in (1, 2):
            self.assertEqual(b"hello", exchange(port, header(version=version) + b"hello"))
            client = self.client(port)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in header(version=version) + b"x":
                client.sendall(bytes([byte]))
            self.assertEqual(b"x", client.recv(10))

    def test_protocol_knows_its_client(self) -> None:
        """The chat says to clients where they come from, in IPv4 and IPv6."""
        _, port = self.behind("myproject-chat")
        for host in ("192.0.2.1", "2001:db8::1"):
            client = self.client(port)
            client.sendall(header(host) + b"QUIT :bye\r\n")
            self.assertIn(f"Closing link: {host}".encode(), rest(client))

    def test_front_door(self) -> None:
        """So does one that the front door hands it to."""
        _, port = self.behind("myproject")
        client = self.client(port)
        client.sendall(header() + b"myproject-chat\r\nQUIT :bye\r\n")
        self.assertIn(b"Closing link: 192.0.2.1", rest(client))

    def test_access_log(self) -> None:
        """The access log has the client; a health check is the balancer's own."""
        server, port = self.behind("myproject-echo", "--access-log")
        exchange(port, header() + b"hello")
        server.wait_for_log(" from 192.0.2.1:56324 to 198.51.100.2:443 opened")
        server.wait_for_log("5 bytes received, 5 sent")
        exchange(port, format_v2(None) + b"hello")
        server.wait_for_log(" from 127.0.0.1:")

    def test_tls(self) -> None:
        """The header comes in clear, before the handshake."""
        port = free_port()
        words = ("--tls-port", f"{port}", "--self-signed", "--access-log")
        server, _ = self.behind("myproject-echo", *words)
        server.wait_for_port(port)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for version in (1, 2):
            client = self.client(port)
            client.sendall(header(f"192.0.2.{version}", version))
            with context.wrap_socket(client) as wrapped:
                wrapped.sendall(b"hello")
                self.assertEqual(b"hello", wrapped.recv(10))
            server.wait_for_log(f" from 192.0.2.{version}:56324 to 198.51.100.2:443 opened")
        self.assertTrue(self.refused(port, b"\x16\x03\x01\x02\x00\x01\x00"))
        server.wait_for_log("valid PROXY header, as those of --proxy-from must (there is none)")

    def test_nobody_else(self) -> None:
        """From another address a header is data like any other, and changes nobody's address."""
        server, port = self.behind("myproject-echo", "--access-log")
        server.wait_for_port(port, "::1")
        for version in (1, 2):
            data = header(version=version) + b"hello"
            self.assertEqual(data, exchange(port, data, "::1"))
        server.wait_for_log(" from [::1]:")
        self.assertNotIn("192.0.2.1", server.log)

    def test_none(self) -> None:
        """Without a header there is no service, and the log says why."""
        server, port = self.behind("myproject-chat")
        self.assertTrue(self.refused(port, b"NICK ann\r\n"))
        server.wait_for_log("connections refused: 1, the last from 127.0.0.1: they did not begin")
        self.assertEqual(1, server.log.count("refused"), "the helper that looked said nothing")

    def test_limits(self) -> None:
        """Limits are the client's: one that is denied, and one that comes too often."""
        words = ("--deny", "192.0.2.9", "--connection-rate", "2")
        _, port = self.behind("myproject-echo", *words)
        self.assertFalse(self.served_behind(port, header("192.0.2.9")))
        said = [self.served_behind(port, header()) for _ in range(3)]
        self.assertEqual([True, True, False], said)
        self.assertTrue(self.served_behind(port, header("192.0.2.2")))

    def served_behind(self, port: int, data: bytes) -> bool:
        client = self.client(port)
        try:
            client.sendall(data)
        except ConnectionError:
            return False
        return self.served(client)

    def test_awaited_count(self) -> None:
        """A connection whose header is awaited has a place of --max-connections."""
        server, port = self.behind("myproject-echo", "--max-connections", "1")
        # Once this one was served, and closed by the server, the place is free.
        wait_until(lambda: self.echoed(port), what="the helper that looked has gone")
        waiting = self.client(port)
        waiting.sendall(header()[:5])
        # On the same socket, so that it is accepted after the other.
        self.assertFalse(self.served_behind(port, header()))
        server.wait_for_log("as many as --max-connections")
        waiting.sendall(header()[5:] + b"x")
        self.assertEqual(b"x", waiting.recv(10))

    def echoed(self, port: int) -> bool:
        try:
            return exchange(port, b"x", "::1") == b"x"
        except OSError:
            return False

    def test_stop(self) -> None:
        """Those whose header is awaited do not hold up a stop; those who are served have their time."""
        server, port = self.behind("myproject-echo", "--drain-timeout", "60")
        served, waiting = self.client(port), self.client(port)
        served.sendall(header() + b"x")
        self.assertEqual(b"x", served.recv(10))
        # Accepted after the other was: now it is the server's.
        waiting.sendall(header()[:5])
        another = self.client(port)
        another.sendall(header() + b"x")
        self.assertEqual(b"x", another.recv(10))
        server.signal(signal.SIGTERM)
        server.wait_for_log("3 connections remain, 1 of them told to end")
        self.assertEqual(b"", rest(waiting))
        self.assertTrue(self.served(served))
        served.close()
        another.close()
        self.assertEqual((0, ""), (server.wait(), server.stderr))

    def test_reload(self) -> None:
        """A network added to the file is believed after SIGHUP, and no longer once it is gone."""
        file = Path(self.mktemp()).absolute()
        file.write_text("[myproject-echo]\n")
        server, port = self.begin("myproject-echo", "--config", str(file))
        data = header() + b"hello"
        self.assertEqual(data, exchange(port, data))
        for networks, expected in (('["127.0.0.1"]', b"hello"), ("[]", data)):
            file.write_text(f"[myproject-echo]\nproxy-from = {networks}\n")
            before = server.log.count("changed: proxy-from")
            server.signal(signal.SIGHUP)
            reloaded: Callable[[], bool] = lambda b=before: (  # type: ignore[misc]  # noqa: E731
                server.log.count("changed: proxy-from") > b
            )
            wait_until(reloaded)
            self.assertEqual(expected, exchange(port, data))


class ActivatedProxyTests(Activated):
    """On sockets that the service manager passed."""

    def test_tcp_and_unix(self) -> None:
        path = str(self.temporary() / "echo")
        four = self.listening(socket.AF_INET, "127.0.0.1")
        near = self.listening(socket.AF_UNIX, path)
        words = ("-p", "systemd:echo", "--proxy-from", "unix", "--proxy-from", "127.0.0.0/8")
        server = self.activate(
            [("echo", four), ("echo", near)], "-n", "myproject-echo", *words, "--access-log"
        )
        with socket.socket(socket.AF_UNIX) as client, connect(four.getsockname()[1]) as other:
            client.connect(path)
            for number, one in enumerate((client, other)):
                one.sendall(header(f"192.0.2.{number + 1}") + b"hello")
                self.assertEqual(b"hello", one.recv(100))
        server.wait_for_log(" from 192.0.2.1:56324 to 198.51.100.2:443 opened")
        server.wait_for_log(" from 192.0.2.2:56324 to 198.51.100.2:443 opened")
