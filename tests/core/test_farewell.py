"""Last words for a connection that a factory will not have: said, counted, logged, and over."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, StringTransport
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from myproject.farewell import GRACE, Farewell
from myproject.gate import Gate
from myproject.limits import Limits, Reason
from tests.core.test_gate import ANN, Transport


class Socket(StringTransport):
    """A transport whose ways can be closed one by one."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.ended = self.cut = False
        alsoProvides(self, IHalfCloseableDescriptor)

    def loseWriteConnection(self) -> None:
        self.ended = True

    def abortConnection(self) -> None:
        self.cut = True


class FarewellTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.protocol = Farewell(b"no\r\n", "rude", self.clock)
        self.transport = Socket(self.protocol)

    def test_the_words_are_said_and_our_side_is_closed_behind_them(self) -> None:
        self.protocol.makeConnection(self.transport)
        self.assertEqual((b"no\r\n", True), (self.transport.value(), self.transport.ended))
        self.assertFalse(self.transport.disconnecting)

    def test_what_the_peer_says_is_dropped(self) -> None:
        self.protocol.makeConnection(self.transport)
        self.protocol.dataReceived(b"but why?")
        self.assertEqual(b"no\r\n", self.transport.value())

    def test_a_peer_that_does_not_close_is_cut_off(self) -> None:
        self.protocol.makeConnection(self.transport)
        self.clock.advance(GRACE - 0.1)
        self.assertFalse(self.transport.cut)
        self.clock.advance(0.1)
        self.assertTrue(self.transport.cut)
        self.protocol.connectionLost(Failure(ConnectionError()))

    def test_nothing_is_left_when_it_does(self) -> None:
        self.protocol.makeConnection(self.transport)
        self.protocol.connectionLost()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_one_that_was_never_connected(self) -> None:
        self.protocol.connectionLost()

    def test_over_tls_there_is_no_half_close(self) -> None:
        transport = Socket(None)
        self.protocol.makeConnection(transport)
        self.assertEqual((False, True), (transport.ended, transport.disconnecting))


class GateTests(SynchronousTestCase):
    """What the gate makes of it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.log = EventLoggingObserver()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)
        factory = Factory()
        self.patch(factory, "buildProtocol", lambda _: Farewell(b"no\r\n", "rude", self.clock))
        self.gate = Gate(factory, Limits(max_connections_per_host=2), self.clock)

    def connect(self) -> Transport:
        protocol = self.gate.buildProtocol(ANN)
        transport = Transport(protocol)
        transport.heeds = False
        protocol.makeConnection(transport)
        return transport

    def test_it_is_refused_and_not_let_in_but_there_until_it_is_gone(self) -> None:
        transport = self.connect()
        seen = self.gate.statistics
        self.assertEqual((1, 0, 1), (seen.refused[Reason.BANNED], seen.total, seen.open))
        transport.connectionLost()
        self.assertEqual((0, 0), (self.gate.statistics.open, self.gate.statistics.total))

    def test_the_log_says_why(self) -> None:
        self.connect()
        (event,) = (one for one in self.log if one["log_namespace"].startswith("myproject"))
        self.assertEqual(
            "connections refused: 1, the last from 192.0.2.1: the service bans them (rude)",
            str(event["log_format"]).format(**event),
        )
        self.assertEqual("banned", event["reason"])
        self.gate.end()

    def test_those_who_come_again_and_again_meet_the_limits(self) -> None:
        self.connect()
        self.connect()
        self.gate.buildProtocol(ANN)
        self.assertEqual(1, self.gate.statistics.refused[Reason.HOST_FULL])
