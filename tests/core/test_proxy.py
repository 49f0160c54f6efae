"""The PROXY protocol: whose a connection is, from whom that is believed, and who is refused."""

from __future__ import annotations

import ipaddress
import os
import socket
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet import defer
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
)
from twisted.internet.interfaces import ILoggingContext, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from myproject.drain import Drain
from myproject.errors import SettingError
from myproject.gate import Gate
from myproject.interfaces import IDrainable
from myproject.journal import Journal
from myproject.limits import Limits, Reason, is_among
from myproject.logs import ConnectionPrefix
from myproject.options import Options
from myproject.proxy import HEADER_TIMEOUT, ProxyFactory, ProxyHeader
from myproject.proxyheader import Addresses, format_v1, format_v2
from myproject.refusals import LOG_EVERY
from myproject.service import FactoryService
from tests.core.test_gate import BarePort
from tests.core.test_gate import Case as GateCase
from tests.core.test_gate import Transport as Lossy

BALANCER = IPv4Address("TCP", "10.0.0.1", 40000)
STRANGER = IPv4Address("TCP", "192.0.2.9", 1000)
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
BALANCERS = (ipaddress.ip_network("10.0.0.0/8"),)

CLIENT = IPv4Address("TCP", "192.0.2.1", 56324)
SERVER = IPv4Address("TCP", "198.51.100.2", 443)


def addresses(client: str = "192.0.2.1", server: str = "198.51.100.2") -> Addresses:
    return Addresses(ipaddress.ip_address(client), 56324, ipaddress.ip_address(server), 443)


V1 = format_v1(addresses())
V2 = format_v2(addresses(), [(2, b"example.org")], checksum=True)
LOCAL = format_v2(None)
UNKNOWN = format_v1(None)


class Recorder(Protocol):
    """Writes down what it is told, and what its transport is when it is connected."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.events.append(("made", self.transport.getPeer(), self.transport.getHost()))

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self.events.append("lost")

    @property
    def heard(self) -> bytes:
        return b"".join(one for one in self.events if isinstance(one, bytes))


class Recorders(Factory):
    """Makes them, and knows for whom."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.made: list[Recorder] = []

    def buildProtocol(self, addr: Any) -> Any:
        self.asked.append(addr)
        self.made.append(Recorder())
        return self.made[-1]


class Transport(Lossy):
    """A transport with a label, as sockets have."""

    def __init__(self, protocol: Any) -> None:
        super().__init__(protocol)
        self.logstr = f"{protocol.logPrefix()},7,10.0.0.1"


class Case(GateCase):
    """A gate, and what stands before it on the port."""

    def setUp(self) -> None:
        super().setUp()
        self.factory: Any = Recorders()

    def stand(self, **limits: Any) -> ProxyFactory:
        limits.setdefault("proxy_from", BALANCERS)
        gate = self.gate(**limits)
        self.addCleanup(gate.end)
        port: Any = BarePort(gate)
        gate.watch_port(port)
        ProxyFactory.stand_before(gate, port)
        front: ProxyFactory = port.factory
        return front

    def arrive(self, front: ProxyFactory, address: Any = BALANCER, *pieces: bytes) -> Any:
        """A connection, and what it sends; None if it was refused at once."""
        protocol = front.buildProtocol(address)
        if protocol is None:
            return None
        transport = Transport(protocol)
        protocol.makeConnection(transport)
        for piece in pieces:
            transport.protocol.dataReceived(piece)
        return transport

    def counts(self, gate: Gate) -> dict[str, int]:
        """What was refused, but for what was not."""
        return {reason.name: count for reason, count in gate.statistics.refused.items() if count}


class TrustTests(Case):
    """Whose header is one."""

    def test_interfaces(self) -> None:
        front = self.stand()
        verifyObject(IProtocolFactory, front)
        verifyObject(ILoggingContext, front)
        verifyObject(IDrainable, front.buildProtocol(BALANCER))
        self.assertEqual("Recorders", front.logPrefix())

    def test_from_anyone_else(self) -> None:
        """A header is data like any other, and the peer is who it is."""
        for header in (V1, V2, LOCAL):
            front = self.stand()
            transport = self.arrive(front, STRANGER, header)
            self.assertIs(Recorder, type(transport.protocol))
            self.assertEqual(header, transport.protocol.heard)
            self.assertNotIn("getPeer", vars(transport))
            self.assertEqual(STRANGER, self.factory.asked[-1])

    def test_nobody_unless_told(self) -> None:
        """Without --proxy-from nobody is believed."""
        transport = self.arrive(self.stand(proxy_from=()), BALANCER, V1)
        self.assertEqual(V1, transport.protocol.heard)

    def test_reload(self) -> None:
        """Networks may change at any time, and apply to those who come then."""
        front = self.stand(proxy_from=())
        before = self.arrive(front)
        front.gate.limits = Limits(proxy_from=BALANCERS)
        before.protocol.dataReceived(V1)
        self.assertEqual(V1, before.protocol.heard)
        self.assertEqual(CLIENT, self.arrive(front, BALANCER, V1).getPeer())

    def test_unix(self) -> None:
        """The word unix stands for all peers on Unix sockets, and for no other."""
        for peer in (UNIXAddress(None), UNIXAddress(b"/run/x")):
            self.assertEqual(V1, self.arrive(self.stand(), peer, V1).protocol.heard)
            front = self.stand(proxy_from=("unix",))
            self.assertEqual(CLIENT, self.arrive(front, peer, V1).getPeer())
            self.assertEqual(V1, self.arrive(front, BALANCER, V1).protocol.heard)

    def test_networks(self) -> None:
        """IPv4 and IPv6, with an interface's name, and IPv4 as a dual-stack socket shows it."""
        places = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fe80::/10"))
        for host in ("10.9.8.7", "::ffff:10.9.8.7", "fe80::1%eth0"):
            self.assertTrue(is_among(host, places), host)
        for other in ("11.0.0.1", "::1", None, b"10.0.0.1", "unix"):
            self.assertFalse(is_among(other, places), other)

    def test_starts_and_stops(self) -> None:
        """The factory behind is started and stopped as its port opens and closes."""
        front = self.stand()
        front.doStart()
        self.assertEqual(1, self.factory.numPorts)
        front.doStop()
        self.assertEqual(0, self.factory.numPorts)

    def test_port_of_another_kind(self) -> None:
        """A port that says nothing of its factory is left as it is."""
        port: Any = object()
        ProxyFactory.stand_before(self.gate(), port)


class SettingTests(SynchronousTestCase):
    """--proxy-from."""

    def parsed(self, *words: str) -> Options:
        options = Options(environ={})
        options.parseOptions(words)
        return options

    def test_places(self) -> None:
        """Networks, addresses and the word unix, any number of them; they reach the limits."""
        words = ("--proxy-from=10.0.0.0/8", "--proxy-from", "::1", "--proxy-from=unix")
        options = self.parsed(*words)
        expected = (*BALANCERS, ipaddress.ip_network("::1"), "unix")
        self.assertEqual(expected, options.proxy_from)
        self.assertEqual(expected, Limits.of(options).proxy_from)
        self.assertIn('proxy-from = ["10.0.0.0/8", "::1/128", "unix"]', options.as_toml())
        self.assertEqual((), self.parsed().proxy_from)
        self.assertTrue(options.settings["proxy-from"].reloadable)

    def test_mistake(self) -> None:
        options = Options(environ={"MYPROJECT_PROXY_FROM": "Unix"})
        refusal = self.assertRaises(SettingError, options.resolve)
        self.assertEqual(
            "--proxy-from, from MYPROJECT_PROXY_FROM in the environment: 'Unix': it is not a network;"
            " give an address, a network such as 192.0.2.0/24 or 2001:db8::/32, or unix for Unix sockets",
            str(refusal),
        )


class PeerTests(Case):
    """Whose the connection is."""

    def test_before_anything_else(self) -> None:
        """The factory, the protocol as it is connected, and everybody later see the client."""
        for header in (V1, V2):
            front = self.stand()
            transport = self.arrive(front, BALANCER, header)
            protocol = self.factory.made[-1]
            self.assertEqual(CLIENT, self.factory.asked[-1])
            self.assertEqual([("made", CLIENT, SERVER)], protocol.events)
            self.assertEqual((CLIENT, SERVER), (transport.getPeer(), transport.getHost()))

    def test_not_before_it_is_complete(self) -> None:
        """No protocol is made for half a header."""
        for header in (V1, V2):
            front = self.stand()
            self.arrive(front, BALANCER, header[:-1])
            self.assertEqual([], self.factory.asked)

    def test_ipv6(self) -> None:
        header = format_v2(addresses("2001:db8::1", "2001:db8::2"))
        transport = self.arrive(self.stand(), BALANCER, header)
        self.assertEqual(IPv6Address("TCP", "2001:db8::1", 56324), transport.getPeer())
        self.assertEqual(IPv6Address("TCP", "2001:db8::2", 443), transport.getHost())

    def test_ipv4_within_ipv6(self) -> None:
        """A client that the balancer's dual-stack socket shows in IPv6 is an IPv4 client."""
        for header in (
            b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 56324 443\r\n",
            format_v2(addresses("::ffff:192.0.2.1", "::ffff:198.51.100.2")),
        ):
            transport = self.arrive(self.stand(), BALANCER, header)
            self.assertEqual((CLIENT, SERVER), (transport.getPeer(), transport.getHost()))

    def test_balancer_s_own(self) -> None:
        """A connection that is nobody's keeps the balancer's address."""
        for header in (LOCAL, UNKNOWN, format_v2(None, [(4, b"x")])):
            transport = self.arrive(self.stand(), BALANCER, header, b"x")
            self.assertEqual(BALANCER, self.factory.asked[-1])
            self.assertNotIn("getPeer", vars(transport))
            self.assertEqual(b"x", transport.protocol.heard)

    @given(
        st.sampled_from([V1, V2, LOCAL, UNKNOWN]),
        st.binary(max_size=30),
        st.lists(st.integers(0, 150)),
    )
    def test_any_cuts(self, header: bytes, data: bytes, cuts: list[int]) -> None:
        """However the bytes are cut, those behind the header are the protocol's, all and in order."""
        factory = Recorders()
        gate = Gate(factory, Limits(proxy_from=BALANCERS), Clock())
        front = ProxyFactory(gate, gate)
        sent = header + data
        places = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
        transport = self.arrive(front, BALANCER, *[sent[a:b] for a, b in pairwise(places) if a < b])
        self.assertIs(factory.made[-1], transport.protocol)
        self.assertEqual(data, factory.made[-1].heard)
        self.assertEqual([], gate.clock.getDelayedCalls())

    def test_one_byte_at_a_time(self) -> None:
        for header in (V1, V2):
            sent = header + b"hello"
            pieces = [sent[n : n + 1] for n in range(len(sent))]
            transport = self.arrive(self.stand(), BALANCER, *pieces)
            self.assertEqual(b"hello", transport.protocol.heard)

    def test_nothing_left_between(self) -> None:
        """The transport has the factory's protocol, and of us nothing but the addresses."""
        front = self.stand()
        direct = self.arrive(front, STRANGER)
        transport = self.arrive(front, BALANCER, V1, b"x")
        self.assertIs(self.factory.made[-1], transport.protocol)
        self.assertIs(transport, transport.protocol.transport)
        self.assertEqual({"getPeer", "getHost"}, set(vars(transport)) - set(vars(direct)))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_protocol_that_pauses(self) -> None:
        """Bytes behind the header wait for a protocol that does not want them yet."""
        self.patch(Recorder, "connectionMade", lambda made: made.transport.pauseProducing())
        transport = self.arrive(self.stand(), BALANCER, V1 + b"x")
        self.assertEqual([], self.factory.made[-1].events)
        transport.resumeProducing()
        self.clock.advance(0)
        self.assertEqual([b"x"], self.factory.made[-1].events)

    def test_lost_once(self) -> None:
        """The end of a connection is told to the protocol that it has become, once."""
        transport = self.arrive(self.stand(), BALANCER, V1)
        transport.loseConnection()
        self.assertEqual("lost", self.factory.made[-1].events[-1])
        self.assertEqual(2, len(self.factory.made[-1].events))

    def test_factory_that_fails(self) -> None:
        """A factory's own bug reaches the transport, and the connection is nobody's any more."""
        front = self.stand()
        self.patch(self.factory, "buildProtocol", lambda _: 1 / 0)
        transport = self.arrive(front)
        self.assertRaises(ZeroDivisionError, transport.protocol.dataReceived, V1)
        transport.loseConnection()
        self.assertEqual((0, 0), (front.gate.statistics.open, len(front.gate)))
        self.assertEqual([], self.clock.getDelayedCalls())


class LimitTests(Case):
    """The limits are the client's."""

    def test_deny(self) -> None:
        """The client is judged, not the balancer; bytes behind the header are dropped."""
        front = self.stand(deny=(ipaddress.ip_network("192.0.2.1"),))
        self.assertTrue(self.arrive(front, BALANCER, V1 + b"x").aborted)
        self.assertEqual([], self.factory.made)
        self.assertEqual({"DENIED": 1}, self.counts(front.gate))
        self.assertIn("the last from 192.0.2.1", self.lines[0])
        front = self.stand(deny=BALANCERS)
        self.assertFalse(self.arrive(front, BALANCER, V1).aborted)

    def test_allow(self) -> None:
        front = self.stand(allow=(ipaddress.ip_network("192.0.2.1"),))
        self.assertFalse(self.arrive(front, BALANCER, V1).aborted)
        other = format_v1(addresses("192.0.2.2"))
        self.assertTrue(self.arrive(front, BALANCER, other).aborted)

    def test_balancer_s_own_is_no_way_round(self) -> None:
        """A header that names nobody lets nobody in whom --allow and --deny keep out."""
        for limits in ({"allow": (ipaddress.ip_network("192.0.2.1"),)}, {"deny": BALANCERS}):
            for header in (LOCAL, UNKNOWN):
                front = self.stand(**limits)
                self.assertTrue(self.arrive(front, BALANCER, header).aborted)
                self.assertEqual({"DENIED": 1}, self.counts(front.gate))

    def test_per_host(self) -> None:
        """A host is a client: the balancer brings as many as it likes, and asks how we are."""
        front = self.stand(max_connections_per_host=1)
        kept = [
            self.arrive(front, BALANCER, format_v1(addresses(f"192.0.2.{n}"))) for n in range(5)
        ]
        kept += [self.arrive(front, BALANCER, LOCAL) for _ in range(3)]
        kept += [self.arrive(front, BALANCER) for _ in range(3)]
        self.assertEqual([False] * 11, [one.aborted for one in kept])
        self.assertEqual((11, 5, 8), self.seen(front.gate))
        self.assertTrue(self.arrive(front, BALANCER, V1).aborted)
        self.assertIsNone(self.arrive(front, IPv4Address("TCP", "192.0.2.2", 1)), "it is direct")
        self.assertEqual({"HOST_FULL": 2}, self.counts(front.gate))
        for one in kept:
            one.loseConnection()
        self.assertEqual((0, 0, 8), self.seen(front.gate))

    def seen(self, gate: Gate) -> tuple[int, int, int]:
        seen = gate.statistics
        return seen.open, seen.hosts, seen.total

    def test_check_in_version_1(self) -> None:
        """A header that names the balancer itself is a check of its own, in whatever form it comes."""
        own = format_v1(addresses("10.0.0.1"))
        front = self.stand(max_connections_per_host=1)
        dual = IPv6Address("TCP", "::ffff:10.0.0.1", 40000)
        for balancer in (BALANCER, BALANCER, dual):
            self.assertFalse(self.arrive(front, balancer, own).aborted)
        self.assertEqual(0, front.gate.statistics.hosts)
        neighbour = format_v1(addresses("10.0.0.2"))
        said = [self.arrive(front, BALANCER, neighbour).aborted for _ in range(2)]
        self.assertEqual([False, True], said)

    def test_rate(self) -> None:
        """So is it for how fast they come."""
        front = self.stand(connection_rate=2)
        for _ in range(5):
            self.assertFalse(self.arrive(front, BALANCER, LOCAL).aborted)
        said = [self.arrive(front, BALANCER, V1).aborted for _ in range(3)]
        self.assertEqual([False, False, True], said)
        other = format_v1(addresses("192.0.2.2"))
        self.assertFalse(self.arrive(front, BALANCER, other).aborted)

    def test_max_connections(self) -> None:
        """Those whose header is awaited count, and keep their place when it has come."""
        front = self.stand(max_connections=2)
        waiting = self.arrive(front)
        self.arrive(front, BALANCER, V1)
        self.assertEqual(2, front.gate.statistics.open)
        self.assertIsNone(self.arrive(front))
        self.assertIsNone(self.arrive(front, STRANGER))
        self.assertEqual({"FULL": 2}, self.counts(front.gate))
        waiting.protocol.dataReceived(V2)
        self.assertIs(Recorder, type(waiting.protocol))
        waiting.loseConnection()
        self.assertIsNotNone(self.arrive(front))

    def test_behind_a_layer(self) -> None:
        """A layer before the gate, as TLS is, is behind the header, and refuses as it does."""
        gate = self.gate(proxy_from=BALANCERS, deny=(ipaddress.ip_network("192.0.2.1"),))
        port: Any = BarePort(WrappingFactory(gate))
        gate.watch_port(port)
        ProxyFactory.stand_before(gate, port)
        self.assertTrue(self.arrive(port.factory, BALANCER, V1 + b"x").aborted)
        transport = self.arrive(port.factory, BALANCER, format_v1(addresses("192.0.2.2")), b"x")
        self.assertEqual(b"x", self.factory.made[-1].heard)
        self.assertEqual("192.0.2.2", self.factory.made[-1].transport.getPeer().host)
        self.assertEqual(1, len(gate))
        transport.loseConnection()
        self.assertEqual(0, gate.statistics.open)
        gate.end()

    def test_idle(self) -> None:
        """--idle-timeout applies while the header is awaited, and afterwards."""
        front = self.stand(idle_timeout=2)
        waiting = self.socket(front)
        self.clock.pump([1.0] * 3)
        self.assertTrue(waiting.disconnecting)
        later = self.socket(front)
        later._dataReceived(V1)
        self.clock.pump([1.0] * 3)
        self.assertTrue(later.disconnecting)

    def socket(self, front: Any) -> Any:
        port: Any = BarePort(front)
        front.gate.watch_port(port)
        protocol = front.buildProtocol(BALANCER)
        transport = port.transport(protocol)
        protocol.makeConnection(transport)
        return transport

    def test_bytes(self) -> None:
        """Those of headers are the gate's, those behind are the connection's; none is lost or twice there."""
        front = self.stand()
        gate = front.gate
        transport = self.socket(front)
        transport._dataReceived(V1[:9])
        self.assertEqual(9, gate.statistics.bytes_in)
        transport._dataReceived(V1[9:] + b"abc")
        transport._dataReceived(b"d")
        self.assertEqual(len(V1) + 4, gate.statistics.bytes_in)
        (connection,) = gate
        assert connection.socket is not None
        self.assertEqual(4, connection.socket.received)
        transport.connectionLost()
        self.assertEqual(len(V1) + 4, gate.statistics.bytes_in)
        cut = self.socket(front)
        cut._dataReceived(V1[:9])
        cut.connectionLost()
        self.assertEqual(len(V1) + 13, gate.statistics.bytes_in)


class RefusalTests(Case):
    """No header, no connection."""

    def test_malformed(self) -> None:
        """What is no header is refused at once, counted, and logged with what was wrong."""
        for data, problem in (
            (b"GET / HTTP/1.1\r\n", "there is none"),
            (b"\x16\x03\x01", "there is none"),
            (b"PROXY TCP4 x\r\n", "its line is not as the specification has it"),
            (V2[:20] + b"x" + V2[21:], "its checksum is wrong"),
        ):
            self.log._events.clear()
            front = self.stand()
            transport = self.arrive(front, BALANCER, data, b"more")
            self.assertTrue(transport.aborted)
            self.assertEqual({"PROXY": 1}, self.counts(front.gate))
            self.assertEqual((0, 0), (front.gate.statistics.open, front.gate.statistics.total))
            said = (
                f"connections refused: 1, the last from 10.0.0.1: {Reason.PROXY.value} ({problem})"
            )
            self.assertEqual([said], self.lines)
            self.assertEqual([], self.factory.asked)

    def test_log(self) -> None:
        """A flood of them is no flood of the log."""
        front = self.stand()
        for _ in range(100):
            self.arrive(front, BALANCER, b"x")
        self.assertEqual(1, len(self.lines))
        self.clock.pump([1.0] * int(LOG_EVERY))
        self.assertIn("connections refused: 99", self.lines[1])
        self.assertEqual(2, len(self.lines))

    def test_timeout(self) -> None:
        """The time is for the whole header, however often a byte comes."""
        front = self.stand()
        transport = self.arrive(front)
        for number in range(int(HEADER_TIMEOUT)):
            self.assertFalse(transport.aborted)
            transport.protocol.dataReceived(V1[number : number + 1])
            self.clock.advance(1)
        self.assertTrue(transport.aborted)
        self.assertIn("(it was not complete within 5 s)", self.lines[0])
        self.assertEqual({"PROXY": 1}, self.counts(front.gate))

    def test_bytes_after_a_refusal(self) -> None:
        """A transport that goes on delivering delivers to nobody."""
        front = self.stand()
        transport = self.arrive(front)
        seat = transport.protocol
        self.patch(transport, "abortConnection", lambda: None)
        for data in (b"x", V1, V2):
            seat.dataReceived(data)
        self.assertEqual(({"PROXY": 1}, 1), (self.counts(front.gate), len(front.gate)))
        seat.connectionLost()
        seat.connectionLost()
        self.assertEqual(({"PROXY": 1}, 0), (self.counts(front.gate), front.gate.statistics.open))

    def test_lost_within(self) -> None:
        """A header that was cut short is refused like any other that is none."""
        front = self.stand()
        self.arrive(front, BALANCER, V2[:20]).loseConnection()
        self.assertEqual({"PROXY": 1}, self.counts(front.gate))
        self.assertIn("(it was cut short)", self.lines[0])

    def test_lost_before(self) -> None:
        """A balancer that connects to see whether we are there, and says nothing, is no news."""
        front = self.stand()
        self.arrive(front).loseConnection()
        self.assertEqual(({}, []), (self.counts(front.gate), self.lines))
        self.assertEqual((0, 0), (front.gate.statistics.open, front.gate.statistics.total))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_built_but_never_connected(self) -> None:
        front = self.stand()
        seat = front.buildProtocol(BALANCER)
        seat.connectionLost(connectionDone)
        self.assertEqual(0, front.gate.statistics.open)


class StopTests(Case):
    """When the service stops."""

    def test_drain(self) -> None:
        """Who has sent no whole header is sent away at once; who has, has the time of all others."""
        front = self.stand()
        gate = front.gate
        waiting = self.arrive(front, BALANCER, V1[:-1])
        served = self.arrive(front, BALANCER, V1)
        drain = Drain(gate, self.clock, 10)
        done = drain.begin()
        self.assertEqual((True, False), (waiting.aborted, served.aborted))
        self.assertEqual({"STOPPING": 1}, self.counts(gate))
        self.assertIsNone(self.arrive(front))
        self.assertNoResult(done)
        served.loseConnection()
        self.successResultOf(done)
        self.assertEqual({"STOPPING": 2}, self.counts(gate))
        gate.end()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_who_does_not_heed(self) -> None:
        """The drain waits for those that it sent away, until they are gone."""
        front = self.stand()
        waiting = self.arrive(front)
        seat = waiting.protocol
        self.patch(waiting, "abortConnection", lambda: None)
        done = Drain(front.gate, self.clock, 10).begin()
        self.assertNoResult(done)
        seat.drain()
        self.assertEqual({"STOPPING": 1}, self.counts(front.gate))
        waiting.loseConnection()
        self.successResultOf(done)

    def test_not_empty_in_between(self) -> None:
        """A connection that becomes another does not leave the gate empty for a moment."""
        front = self.stand()
        transport = self.arrive(front)
        empty = front.gate.when_empty()
        transport.protocol.dataReceived(V1)
        self.assertNoResult(empty)
        transport.loseConnection()
        self.successResultOf(empty)

    def test_empty_after_a_refusal(self) -> None:
        front = self.stand(deny=(ipaddress.ip_network("192.0.2.1"),))
        transport = self.arrive(front)
        empty = front.gate.when_empty()
        transport.protocol.dataReceived(V1)
        self.successResultOf(empty)


class LogTests(Case):
    """The log tells of the client."""

    def test_label(self) -> None:
        """What is logged on behalf of a connection has the protocol's name and the client's address."""
        transport = self.arrive(self.stand(), BALANCER, V1)
        self.assertEqual("Recorder,7,192.0.2.1", transport.logstr)
        transport = self.arrive(self.stand(), BALANCER, LOCAL)
        self.assertEqual("Recorder,7,10.0.0.1", transport.logstr)

    def test_label_of_another_kind(self) -> None:
        """A transport that is called otherwise, or not at all, is left so."""
        for label in ("Uninitialized", None):
            transport = self.arrive(self.stand())
            transport.logstr = label
            transport.protocol.dataReceived(V1)
            self.assertEqual(label, transport.logstr)

    def test_journal(self) -> None:
        """The access log has the client's address, and the one that it connected to, and nothing earlier."""
        front = self.stand()
        front.gate.journal = Journal("echo", front.gate, access=True)
        port: Any = BarePort(front)
        front.gate.watch_port(port)
        seat = front.buildProtocol(BALANCER)
        transport = port.transport(seat)
        transport.logstr = "ProxyHeader,7,10.0.0.1"
        transport.getHost = lambda: BALANCER
        seat.makeConnection(transport)
        self.assertEqual([], self.journal)
        transport._dataReceived(V1 + b"abc")
        number = transport.logstr.connection
        self.assertIsInstance(transport.logstr, ConnectionPrefix)
        self.assertEqual("192.0.2.1:56324", transport.logstr.peer)
        transport.connectionLost()
        opened, closed = self.journal
        self.assertEqual(
            f"connection {number} from 192.0.2.1:56324 to 198.51.100.2:443 opened", opened
        )
        self.assertIn(f"connection {number} from 192.0.2.1:56324 closed", closed)
        self.assertIn("3 bytes received", closed)

    @property
    def journal(self) -> list[str]:
        return [
            str(event["log_format"]).format(**event)
            for event in self.log
            if event["log_namespace"] == "myproject.journal.Journal"
        ]


class ProxyMachine(RuleBasedStateMachine):
    """Anything that can happen to balancers' connections, in any order."""

    @initialize(most=st.integers(0, 3))
    def begin(self, most: int) -> None:
        self.clock = Clock()
        self.most = most
        self.factory = Recorders()
        self.gate = Gate(
            self.factory, Limits(max_connections=most, proxy_from=BALANCERS), self.clock
        )
        self.front = ProxyFactory(self.gate, self.gate)
        #: Those open, and what each has still to send of its header.
        self.open: dict[Any, bytes] = {}
        self.since: dict[Any, float] = {}
        self.total = 0

    @rule(header=st.sampled_from([V1, V2, LOCAL, UNKNOWN]))
    def connect(self, header: bytes) -> None:
        seat = self.front.buildProtocol(BALANCER)
        assert (seat is None) == (0 < self.most <= len(self.open))
        if seat is not None:
            transport = Transport(seat)
            seat.makeConnection(transport)
            self.open[transport] = header
            self.since[transport] = self.clock.seconds()

    @precondition(lambda self: self.open)
    @rule(data=st.data(), size=st.integers(1, 60))
    def send(self, data: st.DataObject, size: int) -> None:
        transport = data.draw(st.sampled_from(list(self.open)))
        left = self.open[transport]
        piece = left[:size] + b"x" * max(0, size - len(left))
        transport.protocol.dataReceived(piece)
        self.open[transport] = left[size:]
        self.total += bool(left) and not left[size:]

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def spoil(self, data: st.DataObject) -> None:
        transport = data.draw(st.sampled_from(list(self.open)))
        if self.open[transport]:
            # Whether that is refused depends on what it follows: a LOCAL's length is all NULs.
            transport.protocol.dataReceived(b"\0" * 4096)
            transport.loseConnection()
            del self.open[transport]
            self.total = self.gate.statistics.total

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        transport = data.draw(st.sampled_from(list(self.open)))
        del self.open[transport]
        transport.loseConnection()

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        self.clock.pump([1.0] * seconds)
        for transport, left in list(self.open.items()):
            if left and self.clock.seconds() - self.since[transport] >= HEADER_TIMEOUT:
                assert transport.aborted
                del self.open[transport]

    @invariant()
    def counts(self) -> None:
        if not hasattr(self, "gate"):
            return
        seen = self.gate.statistics
        assert (len(self.open), len(self.open)) == (seen.open, len(self.gate))
        assert self.total == seen.total
        waiting = [one for one, left in self.open.items() if left]
        assert all(type(one.protocol) is ProxyHeader for one in waiting)
        # One for each header that is awaited, and the gate's own.
        assert len(self.clock.getDelayedCalls()) <= len(waiting) + 1


class ProxyMachineTests(SynchronousTestCase):
    """Any order of events."""

    def test_any_order(self) -> None:
        """The counts are right, and nothing piles up."""
        run_state_machine_as_test(ProxyMachine, settings=settings(deadline=None))


class Client(Protocol):
    """Sends something, and waits for the answer."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.heard = b""
        self.ended: defer.Deferred[bytes] = defer.Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        for piece in self.pieces:
            self.transport.write(piece)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self.ended.callback(self.heard)


class Telling(Protocol):
    """Tells a client who it is, when it has said something, and closes."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        peer: Any = self.transport.getPeer()
        self.said = f"{getattr(peer, 'host', 'unix')} ".encode()

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(self.said + data)
        self.transport.loseConnection()


class PortTests(TestCase):
    """Twisted's own ports, on real sockets, as the service opens them."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    def serve(self, description: str, *places: Any) -> FactoryService:
        limits = Limits(proxy_from=places)
        service = FactoryService(
            "tell", Factory.forProtocol(Telling), [description], limits=limits, drain_timeout=0
        )
        service.startService()
        self.addCleanup(service.stopService)
        return service

    @defer.inlineCallbacks
    def check(self, endpoint: Any, *, others: bytes) -> Any:
        for header in (V1, V2):
            client = yield connectProtocol(endpoint(), Client(header + b"hello"))
            self.assertEqual(b"192.0.2.1 hello", (yield client.ended))
        local = yield connectProtocol(endpoint(), Client(LOCAL, b"hello"))
        self.assertEqual(others + b" hello", (yield local.ended))
        none = yield connectProtocol(endpoint(), Client(b"hello"))
        self.assertEqual(b"", (yield none.ended))

    def test_tcp(self) -> Any:
        service = self.serve("tcp:0:interface=127.0.0.1", *LOOPBACK)
        host: Any = service.listening.ports[0].getHost()
        number = host.port
        make = lambda: TCP4ClientEndpoint(self.reactor, "127.0.0.1", number)  # noqa: E731
        return self.check(make, others=b"127.0.0.1")

    def test_unix(self) -> Any:
        path = os.path.relpath(self.mktemp())
        self.serve(f"unix:{path}", "unix")
        return self.check(lambda: UNIXClientEndpoint(self.reactor, path), others=b"unix")

    @defer.inlineCallbacks
    def test_unlisted(self) -> Any:
        """Over a Unix socket that was not listed nothing is a header."""
        path = os.path.relpath(self.mktemp())
        self.serve(f"unix:{path}", ipaddress.ip_network("0.0.0.0/0"))
        endpoint = UNIXClientEndpoint(self.reactor, path)
        client = yield connectProtocol(endpoint, Client(V1))
        self.assertEqual(b"unix " + V1, (yield client.ended))

    def test_adopted(self) -> Any:
        """A port whose socket somebody else bound."""
        gate = Gate(Factory.forProtocol(Telling), Limits(proxy_from=LOOPBACK))
        self.addCleanup(gate.end)
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            bound.listen()
            bound.setblocking(False)
            number = bound.getsockname()[1]
            port = self.reactor.adoptStreamPort(bound.fileno(), socket.AF_INET, gate)
        self.addCleanup(port.stopListening)
        gate.watch_port(port)
        ProxyFactory.stand_before(gate, port)
        make = lambda: TCP4ClientEndpoint(self.reactor, "127.0.0.1", number)  # noqa: E731
        return self.check(make, others=b"127.0.0.1")
