"""Listening: what may be listened on, on which sockets, and why not."""

from __future__ import annotations

import errno
import gc
import os
import socket
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import error
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.testing import EventLoggingObserver, MemoryReactor
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from myproject import listening
from myproject.listening import MAX_DATAGRAM, check_description, listen_stream, listen_udp, why
from tests.support import free_port


def refusal(description: str) -> str:
    """Why a description is refused, or nothing."""
    try:
        check_description(description)
    except ValueError as failure:
        return str(failure)
    return ""


class CheckDescriptionTests(SynchronousTestCase):
    """What can be listened on, found out without opening it."""

    def test_allowed(self) -> None:
        """A port number is, and whatever Twisted has an endpoint for."""
        for description in (
            "0",
            "1235",
            "65535",
            "tcp:0",
            "tcp:1235:interface=127.0.0.1",
            "tcp6:1235",
            "unix:/nowhere/at/all",
        ):
            self.assertEqual("", refusal(description), description)

    def test_too_large(self) -> None:
        """Numbers above 65535 are not, however long."""
        for description in ("65536", "1" * 5000):
            self.assertEqual("it is too large for a port", refusal(description))

    def test_port_within_a_description(self) -> None:
        """Nor are they inside an endpoint's description, where Twisted would find out too late."""
        for description in ("tcp:65536", "tcp:-1", "tcp6:70000"):
            self.assertEqual("its port is not from 0 to 65535", refusal(description))

    def test_neither(self) -> None:
        """A word is neither a number nor a description; nor are digits of other scripts numbers."""
        for description in ("", "irc", "-1", "+1", " 1", "1_000", "\u0663\u0661"):
            self.assertEqual(
                "it is neither a port number nor an endpoint description", refusal(description)
            )

    def test_bad_description(self) -> None:
        """A description that its parser refuses is refused in the parser's words."""
        self.assertIn("Unknown endpoint type: 'nosuch'", refusal("nosuch:1"))
        self.assertIn("invalid literal", refusal("tcp:irc"))
        self.assertIn("TypeError", refusal("tcp:1:colour=red"))

    @settings(deadline=None)
    @given(st.text())
    def test_any_text(self, description: str) -> None:
        """Any text is allowed, or refused with a clause on one line."""
        self.assertNotIn("\n", refusal(description))

    @settings(deadline=None)
    @given(st.integers(-100, 2**20))
    def test_any_number(self, number: int) -> None:
        """Exactly the numbers from 0 to 65535 are ports."""
        self.assertEqual(0 <= number <= 65535, refusal(f"{number}") == "")


class WhyTests(SynchronousTestCase):
    """Why a socket could not be opened, in the system's words."""

    def test_system(self) -> None:
        """What the system said, without its number, from under Twisted's own exception."""
        for number, words in (
            (errno.EADDRINUSE, "address already in use"),
            (errno.EACCES, "permission denied"),
        ):
            raised = OSError(number, "whatever")
            wrapped = error.CannotListenError("", 80, raised)
            self.assertEqual([words, words], [why(raised), why(wrapped)])

    def test_others(self) -> None:
        """Anything else is named by its type, in one line."""
        self.assertEqual("ValueError: no such thing", why(ValueError("no\nsuch  thing")))
        self.assertEqual("KeyError", why(KeyError()))
        self.assertIn("CannotListenError", why(error.CannotListenError("", 80, "text alone")))
        self.assertEqual("OSError: odd", why(OSError("odd")))


class NoIPv6:
    """The socket module of a machine without IPv6."""

    def __init__(self, at_creation: int | None = None, at_bind: int | None = None) -> None:
        self.at_creation, self.at_bind = at_creation, at_bind
        self.opened: list[socket.socket] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)

    def socket(self, family: int, kind: int) -> Any:
        if self.at_creation is not None:
            raise OSError(self.at_creation, os.strerror(self.at_creation))
        assert self.at_bind is not None
        number = self.at_bind

        class Unbindable(socket.socket):
            def bind(self, address: object) -> None:  # noqa: ARG002
                raise OSError(number, os.strerror(number))

        self.opened.append(Unbindable(family, kind))
        return self.opened[-1]


class MemoryPort:
    """A port in memory that knows whether it is open."""

    def __init__(self, port: Any) -> None:
        self.port = port
        self.open = True

    def getHost(self) -> Any:
        return self.port.getHost()

    def stopListening(self) -> None:
        self.open = False


class Listener(MemoryReactor):
    """A reactor in memory that remembers its ports."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[MemoryPort] = []
        self.udp: list[tuple[Any, ...]] = []

    def listenTCP(self, *args: Any, **keywords: Any) -> MemoryPort:
        self.opened.append(MemoryPort(super().listenTCP(*args, **keywords)))
        return self.opened[-1]

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> MemoryPort:
        self.udp.append((port, protocol, interface, maxPacketSize))
        self.opened.append(MemoryPort(MemoryReactor.listenTCP(self, port, protocol)))
        return self.opened[-1]


class InMemoryTests(SynchronousTestCase):
    """Which sockets are asked for, and what is done when one cannot be had."""

    def setUp(self) -> None:
        self.reactor = Listener()
        self.factory = Factory()
        self.log = EventLoggingObserver()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)

    def broken(self, **when: int) -> NoIPv6:
        fake = NoIPv6(**when)
        self.patch(listening, "socket", fake)
        return fake

    def test_number(self) -> None:
        """A number is two sockets, one for IPv4 and one for IPv6, both with our backlog."""
        asked: list[tuple[int, int, int]] = []

        class Recording(socket.socket):
            def listen(self, backlog: int = 0) -> None:
                alone = self.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
                asked.append((backlog, alone, self.family))

        self.patch(socket, "socket", Recording)
        ports = self.successResultOf(listen_stream(self.reactor, "0", self.factory))
        self.assertEqual([(0, self.factory, listening.BACKLOG, "0.0.0.0")], self.reactor.tcpServers)
        self.assertEqual([(listening.BACKLOG, 1, socket.AF_INET6)], asked)
        self.assertEqual(
            [(socket.AF_INET6, self.factory)],
            [adopted[1:] for adopted in self.reactor.adoptedPorts],
        )
        self.assertEqual(2, len(ports))

    def test_endpoint(self) -> None:
        """A description is the one socket that it describes."""
        ports = self.successResultOf(
            listen_stream(self.reactor, "tcp:80:interface=127.0.0.1", self.factory)
        )
        self.assertEqual([(80, self.factory, 50, "127.0.0.1")], self.reactor.tcpServers)
        self.assertEqual(1, len(ports))

    def test_description_no_longer_parses(self) -> None:
        """What parsing raises is a failure as any other: nothing is raised past the result."""
        self.failureResultOf(listen_stream(self.reactor, "nosuch:1", self.factory), ValueError)

    def test_no_ipv6_in_the_kernel(self) -> None:
        """A machine whose kernel has no IPv6 serves IPv4 alone, and the log says so."""
        self.broken(at_creation=errno.EAFNOSUPPORT)
        ports = self.successResultOf(listen_stream(self.reactor, "80", self.factory))
        self.assertEqual(self.reactor.opened, ports)
        self.assertIn("no IPv6 here: port {number}", str(self.log[0]["log_format"]))

    def test_no_ipv6_address(self) -> None:
        """The same with IPv6 switched off, where a socket can be made and not bound."""
        fake = self.broken(at_bind=errno.EADDRNOTAVAIL)
        ports = self.successResultOf(listen_stream(self.reactor, "80", self.factory))
        self.assertEqual(self.reactor.opened, ports)
        self.assertEqual([-1], [one.fileno() for one in fake.opened])

    def test_no_ipv6_for_datagrams(self) -> None:
        """The same for UDP."""
        self.broken(at_creation=errno.EAFNOSUPPORT)
        ports = listen_udp(self.reactor, 80, DatagramProtocol)
        self.assertEqual(self.reactor.opened, ports)
        self.assertEqual(
            [("0.0.0.0", MAX_DATAGRAM)], [(udp[2], udp[3]) for udp in self.reactor.udp]
        )

    def test_ipv6_port_in_use(self) -> None:
        """A port that is taken for IPv6 alone is refused, and nothing stays open."""
        fake = self.broken(at_bind=errno.EADDRINUSE)
        self.failureResultOf(listen_stream(self.reactor, "80", self.factory), OSError)
        self.assertRaises(OSError, listen_udp, self.reactor, 80, DatagramProtocol)
        self.assertEqual([False, False], [port.open for port in self.reactor.opened])
        self.assertEqual([-1, -1], [one.fileno() for one in fake.opened])

    def test_too_many_files(self) -> None:
        """No more sockets to be had is no sign of a machine without IPv6."""
        self.broken(at_creation=errno.EMFILE)
        self.failureResultOf(listen_stream(self.reactor, "80", self.factory), OSError)


class SocketTests(TestCase):
    """Real sockets."""

    async def test_two_families_one_number(self) -> None:
        """Both sockets have the same port, do not block, and IPv4 peers look like IPv4 peers."""
        from twisted.internet import defer, reactor

        seen: defer.DeferredQueue[str] = defer.DeferredQueue()

        class Noting(Factory):
            noisy = False

            def buildProtocol(self, addr: Any) -> None:
                seen.put(addr.host)

        for port in await listen_stream(reactor, "0", Noting()):
            self.addCleanup(port.stopListening)
            address: Any = port.getHost()
            here = {"0.0.0.0": "127.0.0.1", "::": "::1"}[address.host]
            with socket.create_connection((here, address.port)):
                self.assertEqual(here, await seen.get())

    async def test_in_use(self) -> None:
        """A port that another socket has is refused for TCP and for UDP, and stays the other's."""
        from twisted.internet import reactor

        number = free_port()
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                with socket.socket(family, kind) as other:
                    if family == socket.AF_INET6:
                        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    other.bind((address, number))
                    if kind == socket.SOCK_STREAM:
                        other.listen()
                    words = ""
                    try:
                        if kind == socket.SOCK_STREAM:
                            await listen_stream(reactor, str(number), Factory())
                        else:
                            listen_udp(reactor, number, DatagramProtocol)
                    except (OSError, error.CannotListenError) as failure:
                        words = why(failure)
                    self.assertEqual("address already in use", words)
        # Twisted leaves the UDP socket that it could not bind to the garbage collector.
        gc.collect()
        leaks = [warning["message"] for warning in self.flushWarnings()]
        self.assertEqual([], [one for one in leaks if "unclosed <socket.socket" not in one])
