"""Echo over UDP: what is answered, and what never is, lest two servers echo for ever."""

from __future__ import annotations

import errno
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import FakeDatagramTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from myproject.service import DatagramService
from myproject_echo import EchoFactory
from myproject_echo.datagram import EchoDatagramProtocol
from tests.support import PATIENCE

#: What fits an IPv4 packet behind its header and UDP's: 65535 - 20 - 8.
LARGEST = 65_507


class Transport(FakeDatagramTransport):
    """A UDP socket in memory, bound to a port."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port

    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", "127.0.0.1", self.port)


class Unreachable(Transport):
    """A socket whose system has no way to the client."""

    def write(self, packet: bytes, addr: object = None) -> None:  # noqa: ARG002
        raise OSError(errno.ENETUNREACH, "unreachable")


def bound(transport: Transport, own_ports: set[int] | None = None) -> EchoDatagramProtocol:
    protocol = EchoDatagramProtocol(set() if own_ports is None else own_ports)
    protocol.makeConnection(transport)
    return protocol


class EchoDatagramTests(SynchronousTestCase):
    """One datagram in, the same one out, or none."""

    @settings(deadline=None)
    @given(st.binary(max_size=2000), st.integers(1024, 65535).filter(lambda port: port != 7007))
    def test_any_datagram(self, datagram: bytes, port: int) -> None:
        """Any datagram, an empty one too, goes back once to where it came from."""
        transport = Transport(7007)
        bound(transport).datagramReceived(datagram, ("192.0.2.1", port))
        self.assertEqual([(datagram, ("192.0.2.1", port))], transport.written)

    @settings(deadline=None)
    @given(st.integers(0, 1023))
    def test_system_services(self, port: int) -> None:
        """Nothing goes to a port below 1024, where other echoing services live."""
        transport = Transport(7007)
        bound(transport).datagramReceived(b"ping", ("192.0.2.1", port))
        self.assertEqual([], transport.written)

    def test_own_port(self) -> None:
        """Nothing goes to our own port number, on whatever machine."""
        transport = Transport(7007)
        bound(transport).datagramReceived(b"ping", ("192.0.2.1", 7007))
        self.assertEqual([], transport.written)

    def test_own_other_port(self) -> None:
        """Nothing goes to another port of the same server: its sockets do not echo each other."""
        own_ports: set[int] = set()
        first, second = Transport(7007), Transport(7008)
        bound(second, own_ports)
        bound(first, own_ports).datagramReceived(b"ping", ("127.0.0.1", 7008))
        self.assertEqual([], first.written)

    def test_no_way_back(self) -> None:
        """A client that cannot be reached costs nothing, not even a line in the log."""
        bound(Unreachable(7007)).datagramReceived(b"ping", ("192.0.2.1", 40000))
        self.assertEqual([], self.flushLoggedErrors())


class Loopback(TestCase):
    """Real sockets, on a port that the system chooses."""

    def setUp(self) -> None:
        (service,) = EchoFactory(["0"]).services()
        assert isinstance(service, DatagramService)
        service.startService()
        self.addCleanup(service.stopService)
        addresses: list[Any] = [port.getHost() for port in service.ports]
        self.ports = {type(address): address.port for address in addresses}

    async def ask(self, kind: type, address: str, *datagrams: bytes) -> list[bytes]:
        """Send datagrams one after another, each when the one before has come back."""
        from twisted.internet import defer, reactor
        from twisted.internet.interfaces import IReactorTime, IReactorUDP

        answer: defer.Deferred[bytes] = defer.Deferred()

        class Client(DatagramProtocol):
            def datagramReceived(self, datagram: bytes, addr: object) -> None:  # noqa: ARG002
                answer.callback(datagram)

        client: Any = Client()
        port = IReactorUDP(reactor).listenUDP(0, client, address, maxPacketSize=2**16)
        answers = []
        try:
            for datagram in datagrams:
                client.transport.write(datagram, (address, self.ports[kind]))
                answers.append(await answer.addTimeout(PATIENCE, IReactorTime(reactor)))
                answer = defer.Deferred()
        finally:
            await defer.maybeDeferred(port.stopListening)
        return answers

    async def test_ipv4(self) -> None:
        """All sizes come back over IPv4, from none to the largest."""
        datagrams = [b"", b"ping", bytes(LARGEST)]
        self.assertEqual(datagrams, await self.ask(IPv4Address, "127.0.0.1", *datagrams))

    async def test_ipv6(self) -> None:
        """All sizes come back over IPv6, from none to the largest that IPv4 has too."""
        if IPv6Address not in self.ports:
            self.skipTest("needs a machine with IPv6")
        datagrams = [b"", b"ping", bytes(LARGEST)]
        self.assertEqual(datagrams, await self.ask(IPv6Address, "::1", *datagrams))
