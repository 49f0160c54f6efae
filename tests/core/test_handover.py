"""Handing a connection over: every byte in order, every event once, to the right protocol."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import defer
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    INegotiated,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.portforward import ProxyFactory
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import alsoProvides, implementer

from myproject.frontdoor import MyFactory
from myproject.handover import abort, hand_over

BYE = Failure(ConnectionDone("bye"))


class Recorder(Protocol):
    """Writes down what it is told, and does on connecting what a test gave it to do."""

    def __init__(self, on_connect: Any = None) -> None:
        self.events: list[Any] = []
        self.on_connect = on_connect

    def connectionMade(self) -> None:
        self.events.append("made")
        if self.on_connect is not None:
            self.on_connect(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)

    def connectionLost(self, _reason: Failure = connectionDone) -> None:
        self.events.append("lost")


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    """Knows half-close."""

    def readConnectionLost(self) -> None:
        self.events.append("read lost")

    def writeConnectionLost(self) -> None:
        self.events.append("write lost")


class Socket(StringTransport):
    """A transport with a seat, as sockets have; it delivers as they do."""

    protocol: Any

    def __init__(self, protocol: Any, name: str = "protocol") -> None:
        super().__init__()
        self.logstr = "site/Recorder,0,192.0.2.1"
        self.name = name
        setattr(self, name, protocol)

    def deliver(self, data: bytes) -> None:
        getattr(self, self.name).dataReceived(data)

    def lose(self) -> None:
        getattr(self, self.name).connectionLost(BYE)

    def end_input(self) -> None:
        """As ``tcp.Connection.readConnectionLost``."""
        half = IHalfCloseableProtocol(getattr(self, self.name), None)
        if half is not None:
            half.readConnectionLost()
        else:
            self.lose()

    def end_output(self) -> None:
        half = IHalfCloseableProtocol(getattr(self, self.name), None)
        if half is not None:
            half.writeConnectionLost()


SEATS = ["protocol", "wrappedProtocol", "hidden"]


def connected(old: Protocol, seat: str = "protocol") -> Socket:
    transport = Socket(old, seat)
    old.makeConnection(transport)
    return transport


class SeatTests(SynchronousTestCase):
    """Wherever the transport keeps its protocol, the new one gets everything, and the old nothing."""

    def test_everything_reaches_the_new_protocol(self) -> None:
        for seat in SEATS:
            for kind in (Recorder, HalfRecorder):
                with self.subTest(seat=seat, old=kind.__name__):
                    old, new = kind(), Recorder()
                    transport = connected(old, seat)
                    hand_over(old, new, b"rest", Clock())
                    transport.deliver(b"more")
                    transport.lose()
                    self.assertEqual(["made", b"rest", b"more", "lost"], new.events)
                    self.assertEqual(["made"], old.events)

    def test_a_socket_is_left_with_the_new_protocol_alone(self) -> None:
        for seat in SEATS[:2]:
            old, new = Recorder(), Recorder()
            transport = connected(old, seat)
            before = set(vars(transport))
            hand_over(old, new, b"rest", Clock())
            self.assertIs(new, getattr(transport, seat))
            self.assertEqual(before, set(vars(transport)))
            self.assertNotIn("dataReceived", vars(old))

    def test_a_hidden_seat_calls_the_new_protocol_without_a_step_between(self) -> None:
        old, new = Recorder(), Recorder()
        connected(old, "hidden")
        hand_over(old, new, b"", Clock())
        self.assertEqual(new.dataReceived, old.dataReceived)

    def test_a_wrapper_of_twisted_is_a_seat(self) -> None:
        old, new = Recorder(), Recorder()
        wrapper = ProtocolWrapper(WrappingFactory(Factory()), old)
        wrapper.makeConnection(StringTransport())
        hand_over(old, new, b"rest", Clock())
        wrapper.dataReceived(b"more")
        wrapper.connectionLost(BYE)
        self.assertEqual(["made", b"rest", b"more", "lost"], new.events)

    def test_the_connection_is_logged_under_the_new_protocol(self) -> None:
        class Plain:
            """No ILoggingContext."""

            def makeConnection(self, transport: object) -> None:
                pass

        for new, label in ((HalfRecorder(), "HalfRecorder"), (Plain(), "Plain")):
            old = Recorder()
            transport = connected(old)
            hand_over(old, new, b"", Clock())  # type: ignore[arg-type]
            self.assertEqual(f"site/{label},0,192.0.2.1", transport.logstr)

    def test_an_error_while_connecting_leaves_the_connection_with_the_new_protocol(self) -> None:
        def fail(_: object) -> None:
            raise ZeroDivisionError

        for rest in (b"", b"rest"):
            old, new = Recorder(), Recorder(fail)
            transport = connected(old)
            before = set(vars(transport))
            with self.assertRaises(ZeroDivisionError):
                hand_over(old, new, rest, Clock())
            self.assertEqual(before, set(vars(transport)))
            transport.lose()
            self.assertEqual(["made", "lost"], new.events)


class HalfCloseTests(SynchronousTestCase):
    """The end of input means what the new protocol takes it for."""

    def test_a_protocol_that_knows_half_close_is_told(self) -> None:
        for seat in SEATS:
            old, new = Recorder(), HalfRecorder()
            transport = connected(old, seat)
            hand_over(old, new, b"rest", Clock())
            transport.end_input()
            transport.end_output()
            self.assertEqual(["made", b"rest", "read lost", "write lost"], new.events)

    def test_for_another_the_end_of_input_is_the_end(self) -> None:
        for old in (HalfRecorder(), Recorder()):
            new = Recorder()
            transport = connected(old)
            hand_over(old, new, b"", Clock())
            transport.end_input()
            self.assertEqual(["made", "lost"], new.events)

    def test_for_another_on_a_hidden_seat_the_connection_closes(self) -> None:
        old, new = HalfRecorder(), Recorder()
        transport = connected(old, "hidden")
        hand_over(old, new, b"", Clock())
        transport.end_output()
        self.assertFalse(transport.disconnecting)
        transport.end_input()
        self.assertTrue(transport.disconnecting)
        self.assertEqual(["made"], old.events)


class WaitingTests(SynchronousTestCase):
    """Bytes wait for a protocol that pauses its transport as it connects."""

    def paused(self, new: Recorder | None = None, seat: str = "protocol") -> None:
        self.clock = Clock()
        self.new = new or Recorder(lambda transport: transport.pauseProducing())
        old = Recorder()
        self.transport = connected(old, seat)
        hand_over(old, self.new, b"rest", self.clock)

    def assert_unhooked(self) -> None:
        hooks = {"pauseProducing", "resumeProducing", "abortConnection"}
        self.assertEqual(set(), hooks & set(vars(self.transport)))

    def test_they_wait_until_it_resumes(self) -> None:
        for seat in SEATS:
            self.paused(seat=seat)
            self.assertEqual(["made"], self.new.events)
            self.assertEqual("paused", self.transport.producerState)
            self.transport.resumeProducing()
            self.assertEqual(["made"], self.new.events, "not inside resumeProducing")
            self.clock.advance(0)
            self.assertEqual(["made", b"rest"], self.new.events)
            self.assertEqual("producing", self.transport.producerState)
            self.transport.deliver(b"more")
            self.transport.lose()
            self.assertEqual(["made", b"rest", b"more", "lost"], self.new.events)
            self.assert_unhooked()

    def test_no_byte_overtakes_them(self) -> None:
        self.paused()
        self.transport.deliver(b" and")
        self.transport.resumeProducing()
        self.transport.deliver(b" more")
        self.clock.advance(0)
        self.assertEqual(["made", b"rest and more"], self.new.events)

    def test_it_may_change_its_mind(self) -> None:
        self.paused()
        self.transport.resumeProducing()
        self.transport.resumeProducing()
        self.transport.pauseProducing()
        self.clock.advance(0)
        self.assertEqual(["made"], self.new.events)
        self.transport.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(["made", b"rest"], self.new.events)

    def test_a_pause_that_is_over_when_it_is_connected_is_none(self) -> None:
        def pause_and_resume(transport: Any) -> None:
            transport.pauseProducing()
            transport.resumeProducing()

        self.paused(Recorder(pause_and_resume))
        self.assertEqual(["made", b"rest"], self.new.events)
        self.assertEqual("producing", self.transport.producerState)

    def test_it_may_pause_again_as_it_gets_them(self) -> None:
        class Slow(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()  # type: ignore[union-attr]

        self.paused(Slow(lambda transport: transport.pauseProducing()))
        self.transport.resumeProducing()
        self.clock.advance(0)
        self.assertEqual("paused", self.transport.producerState)
        self.transport.resumeProducing()
        self.assertEqual("producing", self.transport.producerState)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_the_end_of_input_comes_after_them(self) -> None:
        self.paused(HalfRecorder(lambda transport: transport.pauseProducing()))
        self.transport.end_input()
        self.transport.end_output()
        self.transport.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(["made", "write lost", b"rest", "read lost"], self.new.events)

    def test_the_end_of_input_closes_if_it_knows_no_half_close(self) -> None:
        self.paused()
        self.transport.end_input()
        self.transport.end_output()
        self.transport.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(["made", b"rest"], self.new.events)
        self.assertTrue(self.transport.disconnecting)

    def test_if_the_connection_is_lost_it_hears_of_that_alone(self) -> None:
        for resume_first in (False, True):
            self.paused()
            if resume_first:
                self.transport.resumeProducing()
            self.transport.lose()
            self.clock.advance(0)
            self.assertEqual(["made", "lost"], self.new.events)
            self.assertEqual([], self.clock.getDelayedCalls())
            self.assert_unhooked()

    def test_if_it_closes_they_are_dropped(self) -> None:
        for closing in ("loseConnection", "abortConnection"):
            self.paused(Recorder(lambda transport, how=closing: getattr(transport, how)()))
            self.assertEqual(["made"], self.new.events)
            self.assert_unhooked()

    def test_if_it_closes_after_a_pause_they_are_dropped(self) -> None:
        self.paused()
        self.transport.resumeProducing()
        self.transport.loseConnection()
        self.clock.advance(0)
        self.assertEqual(["made"], self.new.events)

    def test_if_it_fails_on_them_the_connection_is_aborted(self) -> None:
        class Broken(Recorder):
            def dataReceived(self, _data: bytes) -> None:
                raise ZeroDivisionError

        self.paused(Broken(lambda transport: transport.pauseProducing()))
        self.transport.resumeProducing()
        self.clock.advance(0)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_a_method_kept_from_before_still_works(self) -> None:
        kept: list[Any] = []
        self.paused(Recorder(lambda transport: kept.append(transport.resumeProducing)))
        self.transport.pauseProducing()
        kept[0]()
        self.assertEqual("producing", self.transport.producerState)

    def test_a_transport_that_cannot_pause_needs_no_hooks(self) -> None:
        class Bare:
            disconnecting = False

            def loseConnection(self) -> None:
                pass

        old, new = Recorder(), Recorder()
        old.makeConnection(Bare())
        hand_over(old, new, b"rest", Clock())
        self.assertEqual(["made", b"rest"], new.events)

    @given(st.lists(st.sampled_from(["pause", "resume", "turn", "data"]), max_size=12))
    def test_whatever_the_pauses_every_byte_arrives_in_order(self, steps: list[str]) -> None:
        self.paused()
        sent = b"rest"
        for number, step in enumerate(steps):
            if step == "pause":
                self.transport.pauseProducing()
            elif step == "resume":
                self.transport.resumeProducing()
            elif step == "turn":
                self.clock.advance(0)
            else:
                data = b"%d," % number
                sent += data
                self.transport.deliver(data)
        self.transport.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(sent, b"".join(self.new.events[1:]))
        self.assertEqual("producing", self.transport.producerState)


class EncryptionTests(SynchronousTestCase):
    """What TLS tells the old protocol, the new one needs to know."""

    def test_a_handshake_that_is_complete_is_told(self) -> None:
        @implementer(IHandshakeListener)
        class Listener(Recorder):
            def handshakeCompleted(self) -> None:
                self.events.append("handshake")

        for encrypted in (True, False):
            old, new = Recorder(), Listener()
            transport = connected(old, "wrappedProtocol")
            if encrypted:
                alsoProvides(transport, INegotiated)
            hand_over(old, new, b"rest", Clock())
            expected = ["made", "handshake", b"rest"] if encrypted else ["made", b"rest"]
            self.assertEqual(expected, new.events)

    def test_bytes_go_to_a_layer_that_was_put_between(self) -> None:
        layer = Recorder()

        def start_tls(transport: Any) -> None:
            transport.protocol = layer

        old, new = Recorder(), Recorder(start_tls)
        connected(old)
        hand_over(old, new, b"hello", Clock())
        self.assertEqual([b"hello"], layer.events)
        self.assertEqual(["made"], new.events)


class AbortTests(SynchronousTestCase):
    def test_a_transport_that_cannot_abort_closes(self) -> None:
        class Polite:
            closed = False

            def loseConnection(self) -> None:
                self.closed = True

        transport = Polite()
        abort(transport)
        self.assertTrue(transport.closed)


class SocketTests(TestCase):
    """On real sockets, to a protocol of Twisted's that pauses until it has a peer."""

    @defer.inlineCallbacks
    def test_twisteds_own_forwarder_gets_every_byte(self) -> Any:
        from twisted.internet import reactor

        real = cast("Any", reactor)
        ports = [real.listenTCP(0, Factory.forProtocol(Echo), interface="127.0.0.1")]
        forward = ProxyFactory("127.0.0.1", ports[0].getHost().port)
        door = MyFactory({"forward": forward})
        ports.append(real.listenTCP(0, door, interface="127.0.0.1"))
        payload = bytes(range(256)) * 1000
        done: defer.Deferred[bytes] = defer.Deferred()

        class Client(Protocol):
            got = b""

            def dataReceived(self, data: bytes) -> None:
                self.got += data
                if len(self.got) == len(b"+forward\r\n" + payload):
                    self.transport.loseConnection()  # type: ignore[union-attr]

            def connectionLost(self, _reason: Failure = connectionDone) -> None:
                done.callback(self.got)

        client = Client()
        endpoint = TCP4ClientEndpoint(real, "127.0.0.1", ports[1].getHost().port)
        yield connectProtocol(endpoint, client)
        client.transport.write(b"forward\r\n" + payload)  # type: ignore[union-attr]
        got = yield done
        self.assertEqual(b"+forward\r\n" + payload, got)
        for port in ports:
            yield port.stopListening()
