"""The gate: who passes, what it remembers of them, and what it does to those who wait or pile up."""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import socket
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet import defer, tcp, unix
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.endpoints import connectProtocol, serverFromString
from twisted.internet.interfaces import IProtocolFactory, IProtocolNegotiationFactory
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, StringTransport
from twisted.logger import globalLogPublisher
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.trial import util
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from myproject.door import Refused
from myproject.farewell import Farewell
from myproject.gate import LINGER, Gate
from myproject.limits import Limits, Reason
from myproject.logs import json_line
from myproject.metering import Metered, MeteredTCP
from myproject.refusals import LOG_EVERY
from tests.core.test_frontdoor import self_signed

ANN = IPv4Address("TCP", "192.0.2.1", 1000)
BOB = IPv4Address("TCP", "192.0.2.2", 1000)


class Transport(StringTransport):
    """A transport that is lost when it is closed, as a socket is."""

    heeds = True

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.aborted = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.protocol.connectionLost(reason)

    def loseConnection(self) -> None:
        super().loseConnection()
        if self.heeds:
            self.connectionLost()

    def abortConnection(self) -> None:
        self.aborted = True
        self.connectionLost()


class BareSocket:
    """What Twisted's stream transports have, over a socket that takes as much as it is let."""

    dataBuffer = b""
    offset = 0
    connected = True
    _aborting = False
    disconnecting = False

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.reactor = self
        self._tempDataBuffer: list[bytes] = []
        self._tempDataLen = 0
        self.takes = 0
        self.writing = False
        self.lost = False

    def _dataReceived(self, _: bytes) -> None:
        raise AssertionError("the subclass does it all")

    def writeSomeData(self, data: bytes) -> int | Exception:
        return min(self.takes, len(data)) if self.takes >= 0 else OSError()

    def addWriter(self, _: object) -> None:
        self.writing = True

    def getPeer(self) -> Any:
        return ANN

    # As abstract.FileDescriptor has them, in short.

    def write(self, data: bytes) -> None:
        self._tempDataBuffer.append(data)
        self._tempDataLen += len(data)
        self.startWriting()

    def startWriting(self) -> None:
        self.reactor.addWriter(self)

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self._aborting = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        self.protocol.connectionLost(reason)


class BarePort:
    """A port that makes such transports."""

    transport: Any = BareSocket

    def __init__(self, factory: object) -> None:
        self.factory = factory


class Case(SynchronousTestCase):
    """A gate, a clock, and the log."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.log = EventLoggingObserver()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)
        self.factory = Factory.forProtocol(Protocol)

    def gate(self, **limits: Any) -> Gate:
        return Gate(self.factory, Limits(**limits), self.clock)

    @property
    def lines(self) -> list[str]:
        """What the gate has logged."""
        return [
            str(event["log_format"]).format(**event)
            for event in self.log
            if event["log_namespace"] == "myproject.gate.Gate"
        ]

    def connect(self, gate: Gate, address: Any = ANN) -> Transport | None:
        protocol = gate.buildProtocol(address)
        transport = Transport(protocol)
        protocol.makeConnection(transport)
        return None if isinstance(protocol, Refused) else transport

    def socket(self, gate: Gate) -> Any:
        """A connection on a port that the gate watches."""
        port = BarePort(gate)
        gate.watch_port(port)  # type: ignore[arg-type]
        protocol = gate.buildProtocol(ANN)
        transport = port.transport(protocol)
        protocol.makeConnection(transport)
        return transport


class FollowTests(Case):
    """A connection's life."""

    def test_interface(self) -> None:
        verifyObject(IProtocolFactory, self.gate())

    def test_counts(self) -> None:
        """It knows who is there, how many hosts they are of, and how many there ever were."""
        gate = self.gate()
        first = self.connect(gate)
        self.connect(gate)
        self.connect(gate, BOB)
        assert first is not None
        first.loseConnection()
        seen = gate.statistics
        self.assertEqual((2, 2, 3, 2), (seen.open, seen.hosts, seen.total, len(gate)))
        self.assertEqual(dict.fromkeys(Reason, 0), seen.refused)

    def test_nothing_between(self) -> None:
        """The transport has the factory's own protocol, and the protocol the transport."""
        gate = self.gate()
        transport = self.connect(gate)
        assert transport is not None
        self.assertIs(Protocol, type(transport.protocol))
        self.assertIs(transport, transport.protocol.transport)
        self.assertNotIn("makeConnection", vars(transport.protocol))

    def test_nothing_left_behind(self) -> None:
        """Once it is lost, the transport is as it was made."""
        transport = self.connect(self.gate())
        assert transport is not None
        transport.loseConnection()
        self.assertNotIn("connectionLost", vars(transport))

    def test_lost_twice(self) -> None:
        """A transport that tells its end again is counted out once."""
        gate = self.gate()
        transport = self.connect(gate)
        assert transport is not None
        told = transport.connectionLost
        told()
        told()
        self.assertEqual(0, gate.statistics.open)

    def test_after_hand_over(self) -> None:
        """Whoever has the connection in the end, its end is counted."""
        gate = self.gate()
        transport = self.connect(gate)
        assert transport is not None
        transport.protocol = Protocol()
        transport.loseConnection()
        self.assertEqual(0, len(gate))

    def test_protocol_that_fails_to_end(self) -> None:
        """A protocol that fails when its connection is lost is counted out all the same."""
        gate = self.gate()
        transport = self.connect(gate)
        assert transport is not None
        self.patch(transport.protocol, "connectionLost", lambda _: 1 / 0)
        self.assertRaises(ZeroDivisionError, transport.loseConnection)
        self.assertEqual(0, len(gate))

    def test_transport_that_tells_its_protocol_alone(self) -> None:
        """The end of a connection in memory is counted as well."""
        gate = self.gate()
        protocol = gate.buildProtocol(ANN)
        protocol.makeConnection(StringTransport())
        self.assertEqual(1, len(gate))
        self.assertIsNone(next(iter(gate)).protocol)
        protocol.connectionLost(Failure(Exception()))
        self.assertEqual(0, len(gate))

    def test_built_but_never_connected(self) -> None:
        """A protocol that never meets its transport is no connection."""
        gate = self.gate()
        gate.buildProtocol(ANN)
        self.assertEqual((0, True), (gate.statistics.open, bool(gate)))

    def test_when_empty(self) -> None:
        gate = self.gate()
        self.successResultOf(gate.when_empty())
        transport = self.connect(gate)
        assert transport is not None
        empty, impatient = gate.when_empty(), gate.when_empty()
        impatient.cancel()
        self.failureResultOf(impatient, defer.CancelledError)
        self.assertNoResult(empty)
        transport.loseConnection()
        self.successResultOf(empty)


class FactoryTests(Case):
    """What the factory behind the gate is to a port."""

    def test_name(self) -> None:
        """The log calls the gate what it calls the factory."""
        self.assertEqual("Factory", self.gate().logPrefix())

        class Plain:
            def buildProtocol(self, _: object) -> None: ...

        self.assertEqual("Plain", Gate(Plain()).logPrefix())  # type: ignore[arg-type]

    def test_starts_and_stops(self) -> None:
        gate = self.gate()
        gate.doStart()
        self.assertEqual(1, self.factory.numPorts)
        gate.doStop()
        self.assertEqual(0, self.factory.numPorts)

    def test_what_else_it_provides(self) -> None:
        """A list of ALPN names, say, is seen through the gate."""

        @implementer(IProtocolNegotiationFactory)
        class Negotiating(Factory):
            def acceptableProtocols(self) -> list[bytes]:
                return [b"irc"]

        gate = Gate(Negotiating())
        self.assertTrue(IProtocolNegotiationFactory.providedBy(gate))
        self.assertEqual([b"irc"], gate.acceptableProtocols())
        self.assertRaises(AttributeError, lambda: gate.nothing_of_the_kind)

    def test_clock(self) -> None:
        """The time is the reactor's unless told otherwise."""
        from twisted.internet import reactor

        self.assertIs(reactor, Gate(self.factory).clock)


class RefusalTests(Case):
    """Who does not pass."""

    def test_each_reason(self) -> None:
        """Each refusal is counted by its reason, and no connection is opened for it."""
        nets = (ipaddress.ip_network("192.0.2.2"),)
        gate = self.gate(
            max_connections=3, max_connections_per_host=2, connection_rate=3, deny=nets
        )
        self.assertIsNone(self.connect(gate, BOB))
        kept = [self.connect(gate) for _ in range(3)]
        assert kept[0] is not None
        kept[0].loseConnection()
        self.assertIsNotNone(self.connect(gate))
        self.connect(gate, IPv4Address("TCP", "192.0.2.9", 1))
        self.assertIsNone(self.connect(gate, UNIXAddress(None)))
        for one in list(gate):
            one.abort()
        self.assertIsNone(self.connect(gate))
        self.patch(self.factory, "protocol", lambda: None)
        self.patch(self.factory, "buildProtocol", lambda _: None)
        self.connect(gate, UNIXAddress(None))
        self.patch(self.factory, "buildProtocol", lambda _: Farewell(b"no", "rude", self.clock))
        self.connect(gate, UNIXAddress(None))
        gate.close()
        self.connect(gate, UNIXAddress(None))
        gate.refuse(Reason.PROXY, None)
        self.assertEqual(dict.fromkeys(Reason, 1), gate.statistics.refused)
        self.assertEqual(4, gate.statistics.total)
        gate.end()

    def test_aborted_before_a_byte(self) -> None:
        """A layer in front of the gate, TLS for one, is told to abort before it has begun."""
        gate = self.gate()
        gate.close()
        layer: Any = WrappingFactory(gate).buildProtocol(ANN)
        transport = Transport(layer)
        layer.makeConnection(transport)
        self.assertTrue(transport.aborted)

    def test_none_on_a_bare_port(self) -> None:
        """Where the port asks the gate itself, its answer is what Twisted has for it."""
        gate = self.gate()
        gate.close()
        gate.watch_port(BarePort(gate))  # type: ignore[arg-type]
        self.assertIsNone(gate.buildProtocol(ANN))
        gate.watch_port(BarePort(WrappingFactory(gate)))  # type: ignore[arg-type]
        self.assertIsNotNone(gate.buildProtocol(ANN))
        gate.watch_port(BarePort(gate))  # type: ignore[arg-type]
        self.assertIsNotNone(gate.buildProtocol(ANN))

    def test_port_of_another_kind(self) -> None:
        """A port that says nothing of itself is left as it is."""
        gate = self.gate()
        gate.watch_port(object())  # type: ignore[arg-type]
        gate.close()
        self.assertIsNotNone(gate.buildProtocol(ANN))

    def test_log(self) -> None:
        """The first refusal is logged at once, a flood of them once in a while, and none is lost."""
        gate = self.gate(max_connections=1)
        kept = self.connect(gate)
        for _ in range(100):
            self.connect(gate, BOB)
        why = "there are as many as --max-connections or the file descriptors permit"
        self.assertEqual([f"connections refused: 1, the last from 192.0.2.2: {why}"], self.lines)
        self.clock.pump([1] * int(LOG_EVERY - 1))
        self.assertEqual(1, len(self.lines))
        self.clock.advance(1)
        self.assertEqual(f"connections refused: 99, the last from 192.0.2.2: {why}", self.lines[1])
        self.assertEqual([], self.clock.getDelayedCalls())
        self.clock.advance(LOG_EVERY)
        self.connect(gate, UNIXAddress(None))
        self.assertIn("1, the last from a peer without an address", self.lines[2])
        # For programs: with "why", which Twisted keeps for itself, nothing would be said in JSON.
        said = [json.loads(json_line(event)) for event in self.log if "count" in event]
        self.assertEqual(
            [("full", 1), ("full", 99), ("full", 1)], [(e["reason"], e["count"]) for e in said]
        )
        self.assertIsNotNone(kept)

    def test_end(self) -> None:
        """When the service stops, what is unsaid is said, and no timer is left."""
        gate = self.gate(max_connections=1)
        self.connect(gate)
        for _ in range(3):
            self.connect(gate)
        gate.end()
        self.assertIn("connections refused: 2", self.lines[1])
        self.assertEqual([], self.clock.getDelayedCalls())
        gate.end()
        self.assertEqual(2, len(self.lines))

    def test_new_limits(self) -> None:
        """Other limits apply to those who come next."""
        gate = self.gate()
        self.connect(gate)
        gate.limits = Limits(max_connections=1)
        self.assertIsNone(self.connect(gate))
        gate.end()


class IdleTests(Case):
    """--idle-timeout."""

    def pump(self, seconds: int) -> None:
        self.clock.pump([1.0] * seconds)

    def test_off(self) -> None:
        """Without it there is no timer at all."""
        self.socket(self.gate())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_closed(self) -> None:
        """Who has been silent for so long is asked to close, in a log line, and counted."""
        gate = self.gate(idle_timeout=10)
        transport = self.socket(gate)
        self.pump(9)
        self.assertFalse(transport.disconnecting)
        self.pump(1)
        self.assertTrue(transport.disconnecting)
        self.assertEqual(1, gate.statistics.aborted["idle-timeout"])
        self.assertIn("closing an idle connection of", self.lines[0])
        self.assertIn("no byte for 10 s", self.lines[0])

    def test_aborted(self) -> None:
        """Who does not close even then is aborted."""
        transport = self.socket(self.gate(idle_timeout=10))
        self.pump(10 + int(LINGER) - 1)
        self.assertFalse(transport._aborting)
        self.pump(1)
        self.assertTrue(transport._aborting)

    def test_received(self) -> None:
        """A byte received is a sign of life."""
        transport = self.socket(self.gate(idle_timeout=10))
        for _ in range(5):
            self.pump(9)
            transport._dataReceived(b"x")
        self.assertFalse(transport.disconnecting)

    def test_sent(self) -> None:
        """So is one sent, but not one that only waits to be sent."""
        transport = self.socket(self.gate(idle_timeout=10))
        transport.takes = 1
        self.pump(9)
        transport.writeSomeData(b"x")
        self.pump(9)
        transport.write(b"y")
        self.assertFalse(transport.disconnecting)
        self.pump(2)
        self.assertTrue(transport.disconnecting)

    def test_no_timer_without_connections(self) -> None:
        """There is one timer, while there is anybody to look at."""
        gate = self.gate(idle_timeout=10)
        transports = [self.socket(gate) for _ in range(3)]
        self.assertEqual(1, len(self.clock.getDelayedCalls()))
        for transport in transports:
            transport.connectionLost()
        self.pump(1)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_switched_on(self) -> None:
        """Set while the service runs, it applies to those who are there."""
        gate = self.gate()
        transport = self.socket(gate)
        gate.limits = Limits(idle_timeout=3)
        self.pump(4)
        self.assertTrue(transport.disconnecting)

    def test_uncounted(self) -> None:
        """A connection whose bytes nobody counts is never taken for idle."""
        gate = self.gate(idle_timeout=3)
        self.connect(gate)
        self.pump(10)
        self.assertEqual(1, len(gate))
        gate.end()


class BufferedTests(Case):
    """--max-buffered."""

    def test_bound(self) -> None:
        """As much as the bound may wait; one byte more, and the connection is aborted, and logged."""
        gate = self.gate(max_buffered=10)
        transport = self.socket(gate)
        transport.write(b"12345")
        transport.write(b"67890")
        self.assertEqual((False, True), (transport._aborting, transport.writing))
        transport.write(b"1")
        self.assertTrue(transport._aborting)
        self.assertEqual(1, gate.statistics.aborted["max-buffered"])
        self.assertIn("more than 10 bytes wait for it", self.lines[0])

    def test_dropped(self) -> None:
        """What waited is dropped, and so is what is written until the connection is gone."""
        gate = self.gate(max_buffered=10)
        transport = self.socket(gate)
        for _ in range(100):
            transport.write(bytes(11))
            self.assertEqual(0, transport._tempDataLen + len(transport.dataBuffer))
        self.assertEqual((1, 1), (gate.statistics.aborted["max-buffered"], len(self.lines)))

    def test_both_buffers(self) -> None:
        """What is half sent waits too."""
        transport = self.socket(self.gate(max_buffered=10))
        transport.dataBuffer, transport.offset = bytes(12), 4
        transport.write(b"12")
        self.assertFalse(transport._aborting)
        transport.write(b"3")
        self.assertTrue(transport._aborting)

    def test_off(self) -> None:
        """0 is no bound."""
        transport = self.socket(self.gate(max_buffered=0))
        transport.write(bytes(100 * 2**20))
        self.assertFalse(transport._aborting)

    def test_new_limits(self) -> None:
        """Set while the service runs, it applies to those who are there."""
        gate = self.gate()
        transport = self.socket(gate)
        gate.limits = Limits(max_buffered=1)
        transport.write(b"12")
        self.assertTrue(transport._aborting)


class BytesTests(Case):
    """How many bytes there were."""

    def test_both_ways(self) -> None:
        """Bytes are counted while a connection is open, and kept when it is gone."""
        gate = self.gate()
        for _ in range(2):
            transport = self.socket(gate)
            transport._dataReceived(b"abc")
            transport.takes = 2
            transport.writeSomeData(b"abcde")
            transport.takes = -1
            self.assertIsInstance(transport.writeSomeData(b"abcde"), OSError)
            seen = gate.statistics
            transport.connectionLost()
            self.assertEqual(
                (seen.bytes_in, seen.bytes_out),
                (gate.statistics.bytes_in, gate.statistics.bytes_out),
            )
        self.assertEqual((6, 4), (gate.statistics.bytes_in, gate.statistics.bytes_out))

    def test_end_of_input(self) -> None:
        """The end of input is what it is without the gate."""
        transport = self.socket(self.gate())
        self.assertIs(CONNECTION_DONE, transport._dataReceived(b""))

    def test_one_class_for_a_kind(self) -> None:
        """Ports of one kind share a class of transports, with the name that it had."""
        gate = self.gate()
        kinds = {type(self.socket(gate)) for _ in range(2)}
        self.assertEqual(1, len(kinds))
        self.assertEqual("BareSocket", kinds.pop().__name__)


class GateMachine(RuleBasedStateMachine):
    """Anything that can happen to connections, in any order."""

    @initialize(most=st.integers(0, 4), idle=st.sampled_from([0, 3]))
    def begin(self, most: int, idle: int) -> None:
        self.clock = Clock()
        limits = Limits(max_connections=most, idle_timeout=idle, max_buffered=8)
        self.most, self.idle = most, idle
        self.gate = Gate(Factory.forProtocol(Protocol), limits, self.clock)
        self.port = BarePort(self.gate)
        self.gate.watch_port(self.port)  # type: ignore[arg-type]
        self.open: list[Any] = []
        self.refused = 0

    @rule()
    def connect(self) -> None:
        protocol = self.gate.buildProtocol(ANN)
        assert (protocol is None) == (0 < self.most <= len(self.open))
        if protocol is None:
            self.refused += 1
            return
        transport = self.port.transport(protocol)
        transport.since = self.clock.seconds()
        protocol.makeConnection(transport)
        self.open.append(transport)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        transport = data.draw(st.sampled_from(self.open))
        self.open.remove(transport)
        transport.connectionLost()

    @precondition(lambda self: self.open)
    @rule(data=st.data(), received=st.booleans())
    def move(self, data: st.DataObject, received: bool) -> None:
        transport = data.draw(st.sampled_from(self.open))
        transport.takes = 1
        if received:
            transport._dataReceived(b"x")
        else:
            transport.writeSomeData(b"x")
        transport.since = self.clock.seconds()

    @precondition(lambda self: self.open)
    @rule(data=st.data(), size=st.integers(0, 12))
    def write(self, data: st.DataObject, size: int) -> None:
        transport = data.draw(st.sampled_from(self.open))
        before = transport._tempDataLen
        aborted = transport._aborting
        transport.write(bytes(size))
        assert transport._aborting == (aborted or before + size > 8)
        assert transport._tempDataLen <= 8

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        self.clock.pump([1.0] * seconds)
        for transport in self.open:
            silent = self.clock.seconds() - transport.since
            if self.idle and silent > self.idle + 2:
                assert transport.disconnecting
            if not self.idle:
                assert not transport.disconnecting

    @invariant()
    def counts(self) -> None:
        if not hasattr(self, "gate"):
            return
        seen = self.gate.statistics
        assert (len(self.open), self.refused) == (seen.open, seen.refused[Reason.FULL])
        assert len(self.clock.getDelayedCalls()) <= 1


class GateMachineTests(SynchronousTestCase):
    """Any order of events."""

    def test_any_order(self) -> None:
        """The counts are right, who is active is let be, and nothing piles up."""
        run_state_machine_as_test(GateMachine, settings=settings(deadline=None))


class Talking(Protocol):
    """Sends back what it hears, and notes its end."""

    def connectionMade(self) -> None:
        self.lost: defer.Deferred[None] = defer.Deferred()
        self.heard: defer.Deferred[bytes] = defer.Deferred()

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        if self.factory is not None:
            self.transport.write(data)
        if not self.heard.called:
            self.heard.callback(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self.lost.callback(None)


class SendTests(SynchronousTestCase):
    """Sending on TCP, which is done here as Twisted does it."""

    def send(self, data: bytes, *answers: Any) -> Any:
        self.meter = MeteredTCP()
        self.meter.SEND_LIMIT = 100
        self.taken: list[bytes] = []
        replies = iter(answers)

        def send(piece: memoryview) -> int:
            self.taken.append(bytes(piece))
            reply = next(replies)
            if isinstance(reply, OSError):
                raise reply
            return int(reply)

        self.meter.socket = SimpleNamespace(send=send)
        return self.meter.writeSomeData(data)

    def test_what_the_socket_took_is_counted(self) -> None:
        self.assertEqual(3, self.send(b"hello", 3))
        self.assertEqual(3, self.meter.sent)

    def test_no_more_than_the_limit_is_offered_at_once(self) -> None:
        self.send(b"x" * 101, 100)
        self.assertEqual([b"x" * 100], self.taken)

    def test_a_full_socket_takes_nothing(self) -> None:
        for number in (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS):
            self.assertEqual(0, self.send(b"hello", OSError(number, "full")))
            self.assertEqual(0, self.meter.sent)

    def test_any_other_error_is_the_connection_s_end(self) -> None:
        for number in (errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT):
            self.assertIs(CONNECTION_LOST, self.send(b"hello", OSError(number, "gone")))

    def test_only_a_transport_that_sends_as_tcp_does_is_sent_for(self) -> None:
        for kind, expected in (
            (tcp.Server, MeteredTCP),
            (unix.Server, Metered),
            (BareSocket, Metered),
        ):
            gate = Gate(Factory.forProtocol(Protocol), Limits(), Clock())
            port: Any = BarePort(gate)
            port.transport = kind
            gate.watch_port(port)
            self.assertIs(expected, port.transport.__mro__[1])


class PortTests(TestCase):
    """Twisted's own ports, on real sockets."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    @defer.inlineCallbacks
    def check(self, port: Any, gate: Gate, client: Any, *, plain: bool = True) -> Any:
        gate.watch_port(port)
        self.addCleanup(port.stopListening)
        talking = yield connectProtocol(client, Talking())
        talking.transport.write(b"hello")
        yield talking.heard
        connection = next(iter(gate))
        self.assertIsInstance(connection.protocol, Talking)
        self.assertIsInstance(connection.socket, Metered)
        seen = gate.statistics
        self.assertEqual(1, seen.open)
        if plain:
            self.assertEqual((5, 5), (seen.bytes_in, seen.bytes_out))
        else:
            self.assertGreater(min(seen.bytes_in, seen.bytes_out), 100)
        empty = gate.when_empty()
        talking.transport.loseConnection()
        yield talking.lost
        yield empty
        self.assertEqual(0, gate.statistics.open)
        gate.close()
        refused = yield connectProtocol(client, Talking())
        yield refused.lost
        self.assertEqual(1, gate.statistics.refused[Reason.STOPPING])
        gate.end()

    def listen(self, description: str) -> Any:
        gate = Gate(Factory.forProtocol(Talking))
        port = self.successResultOf(serverFromString(self.reactor, description).listen(gate))
        return port, gate

    def test_tcp(self) -> Any:
        from twisted.internet.endpoints import TCP4ClientEndpoint

        port, gate = self.listen("tcp:0:interface=127.0.0.1")
        return self.check(
            port, gate, TCP4ClientEndpoint(self.reactor, "127.0.0.1", port.getHost().port)
        )

    def test_unix(self) -> Any:
        from twisted.internet.endpoints import UNIXClientEndpoint

        path = os.path.relpath(self.mktemp())
        port, gate = self.listen(f"unix:{path}")
        return self.check(port, gate, UNIXClientEndpoint(self.reactor, path))

    def test_adopted(self) -> Any:
        """A port whose socket somebody else bound."""
        from twisted.internet.endpoints import TCP4ClientEndpoint

        gate = Gate(Factory.forProtocol(Talking))
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            bound.listen()
            bound.setblocking(False)
            port = self.reactor.adoptStreamPort(bound.fileno(), socket.AF_INET, gate)
            number = bound.getsockname()[1]
        return self.check(port, gate, TCP4ClientEndpoint(self.reactor, "127.0.0.1", number))

    def test_tls(self) -> Any:
        """Behind TLS the gate sees the protocol, and refuses before the handshake."""
        from OpenSSL import crypto
        from twisted.internet.endpoints import SSL4ClientEndpoint
        from twisted.internet.ssl import CertificateOptions

        key, certificate = self_signed()
        server = CertificateOptions(
            privateKey=crypto.PKey.from_cryptography_key(key),
            certificate=crypto.X509.from_cryptography(certificate),
        )
        gate = Gate(Factory.forProtocol(Talking))
        port = self.reactor.listenSSL(0, gate, server, interface="127.0.0.1")
        client = SSL4ClientEndpoint(
            self.reactor, "127.0.0.1", port.getHost().port, CertificateOptions()
        )
        return self.check(port, gate, client, plain=False)

    # Twisted's own use of pyOpenSSL is deprecated by the latter's newest.
    test_tls.suppress = (util.suppress(category=DeprecationWarning),)  # type: ignore[attr-defined]
    if find_spec("OpenSSL") is None:  # pragma: no cover (optional)
        test_tls.skip = "pyOpenSSL is not installed"  # type: ignore[attr-defined]
