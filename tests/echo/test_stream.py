"""Echo over TCP, in memory: what comes back, when reading pauses, and how it ends."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from myproject_echo import EchoFactory, EchoProtocol
from tests.echo.memory import MemoryConnection

KIB = 1024


def echo() -> EchoProtocol:
    protocol = EchoFactory().buildProtocol(None)
    assert isinstance(protocol, EchoProtocol)
    return protocol


class EchoTests(SynchronousTestCase):
    """What is sent comes back."""

    def test_interfaces(self) -> None:
        """It is what Twisted looks for at a half-close, and when a buffer fills."""
        verifyObject(IHalfCloseableProtocol, echo())
        verifyObject(IPushProducer, echo())

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=200)))
    def test_any_bytes_in_any_cuts(self, pieces: list[bytes]) -> None:
        """Whatever the bytes and wherever they were cut, the same come back in the same order."""
        transport = StringTransport()
        protocol = echo()
        protocol.makeConnection(transport)
        for piece in pieces:
            protocol.dataReceived(piece)
        self.assertEqual(b"".join(pieces), transport.value())

    @settings(deadline=None)
    @given(st.binary(), st.integers(1, 64), st.integers(1, 64), st.integers(1, 64))
    def test_every_byte_then_close(self, data: bytes, limit: int, chunk: int, step: int) -> None:
        """After a half-close every byte comes back, however slowly it is read; then it is closed."""
        connection = MemoryConnection(echo(), limit, chunk)
        sent = 0
        while sent < len(data):
            sent += connection.send(data[sent:])
            connection.read(step)
        while not connection.half_close():
            connection.read(step)
        for _ in range(len(data) // step + 2):
            connection.read(step)
        self.assertEqual(data, connection.received)
        self.assertEqual([ConnectionDone], [type(reason) for reason in connection.lost])

    def test_half_close_without_a_byte(self) -> None:
        """A client that says nothing and closes its side is closed."""
        connection = MemoryConnection(echo())
        connection.half_close()
        connection.read(1)
        self.assertEqual(1, len(connection.lost))

    def test_half_close_unregisters(self) -> None:
        """Then it is no producer any more: a transport may wait for that before it closes."""
        transport = StringTransport()
        protocol = echo()
        protocol.makeConnection(transport)
        protocol.readConnectionLost()
        self.assertEqual((None, True), (transport.producer, transport.disconnecting))

    def test_leaves_at_once(self) -> None:
        """An echo waits for no acknowledgement (TCP_NODELAY), where there is such a thing."""
        asked: list[bool] = []

        class Socket(StringTransport):
            def setTcpNoDelay(self, enabled: bool) -> None:
                asked.append(enabled)

        echo().makeConnection(Socket())
        echo().makeConnection(StringTransport())
        self.assertEqual([True], asked)

    def test_client_stops_reading_for_good(self) -> None:
        """When nothing can be sent back any more, the connection closes."""
        connection = MemoryConnection(echo())
        protocol = IHalfCloseableProtocol(connection.protocol)
        protocol.writeConnectionLost()
        protocol.readConnectionLost()
        connection.read(1)
        self.assertEqual(1, len(connection.lost))


class BoundedMemoryTests(SynchronousTestCase):
    """A client that sends and does not read."""

    def test_pauses(self) -> None:
        """It is no longer read once the write buffer is full; the bytes held stay bounded."""
        connection = MemoryConnection(echo())
        taken = connection.send(bytes(64 * KIB * KIB))
        self.assertFalse(connection.reading)
        self.assertEqual(taken, connection.waiting)
        self.assertEqual(128 * KIB, taken)

    def test_resumes(self) -> None:
        """It is read again once it has read what there was."""
        connection = MemoryConnection(echo())
        taken = connection.send(bytes(256 * KIB))
        connection.read(taken - 1)
        self.assertFalse(connection.reading)
        connection.read(1)
        self.assertTrue(connection.reading)

    def test_closed_by_another(self) -> None:
        """Told to close by someone else, it sends what it holds and closes, paused or not."""
        for amount in (10, 256 * KIB):
            connection = MemoryConnection(echo())
            taken = connection.send(bytes(amount))
            connection.loseConnection()
            connection.read(taken)
            connection.read(1)
            self.assertEqual((taken, 1), (len(connection.received), len(connection.lost)))

    def test_lost_while_paused(self) -> None:
        """A connection that breaks while it is paused leaves nothing registered."""
        connection = MemoryConnection(echo())
        connection.send(bytes(256 * KIB))
        connection.reset()
        self.assertEqual((None, []), (connection.producer, connection.turns.getReaders()))


class EchoMachine(RuleBasedStateMachine):
    """
    A client and an echo: whatever happens in whatever order, nothing raises and no byte is wrong.

    The sizes are small, so that a few bytes fill the buffer.
    """

    LIMIT, CHUNK = 8, 5

    def __init__(self) -> None:
        super().__init__()
        self.connection = MemoryConnection(echo(), self.LIMIT, self.CHUNK)
        self.sent = b""
        self.closed = False

    @property
    def alive(self) -> bool:
        return not self.connection.lost

    @precondition(lambda self: self.alive)
    @rule(data=st.binary(max_size=40))
    def send(self, data: bytes) -> None:
        self.sent += data[: self.connection.send(data)]

    @precondition(lambda self: self.alive)
    @rule(amount=st.integers(0, 40))
    def read(self, amount: int) -> None:
        self.connection.read(amount)

    @rule()
    def half_close(self) -> None:
        self.closed = self.connection.half_close() or self.closed

    @precondition(lambda self: self.alive)
    @rule()
    def read_everything(self) -> None:
        self.connection.read(2**20)
        if self.alive:
            assert self.connection.received == self.sent
            assert not self.closed
            assert self.connection.reading

    @precondition(lambda self: self.alive)
    @rule()
    def closed_by_another(self) -> None:
        self.connection.loseConnection()
        self.closed = True

    @rule()
    def stop_producing(self) -> None:
        IPushProducer(self.connection.protocol).stopProducing()
        self.closed = True

    @rule()
    def write_connection_lost(self) -> None:
        IHalfCloseableProtocol(self.connection.protocol).writeConnectionLost()
        self.closed = True

    @rule()
    def reset(self) -> None:
        self.connection.reset()

    @invariant()
    def what_came_back_is_what_was_sent(self) -> None:
        assert self.sent.startswith(self.connection.received)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.connection.waiting <= self.LIMIT + self.CHUNK

    @invariant()
    def it_closes_only_when_all_is_said(self) -> None:
        if any(isinstance(reason, ConnectionDone) for reason in self.connection.lost):
            assert self.connection.received == self.sent


class EchoMachineTests(SynchronousTestCase):
    """Any order of events."""

    def test_any_order(self) -> None:
        """Nothing raises, memory stays bounded, and an orderly close comes after the last byte."""
        run_state_machine_as_test(EchoMachine, settings=settings(deadline=None, max_examples=200))


class FactoryTests(SynchronousTestCase):
    """One protocol for each connection."""

    def test_one_each(self) -> None:
        """Connections share nothing."""
        factory = EchoFactory()
        first, second = factory.buildProtocol(None), factory.buildProtocol(None)
        self.assertIsInstance(first, Protocol)
        self.assertIsNot(first, second)
