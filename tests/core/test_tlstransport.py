"""The TLS layer: what it saves, and what is left of a connection that was lost."""

from __future__ import annotations

import contextlib
import gc
import weakref
from typing import TYPE_CHECKING, Any

from incremental import Version
from OpenSSL import SSL
from twisted._version import __version__ as version
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest
from zope.interface import implementer

from tests.core.test_tls import TLSCase, Visitor

if TYPE_CHECKING:
    from collections.abc import Callable


@implementer(IPushProducer)
class Source:
    """Produces nothing, and knows for whom, as producers do."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...


class LettingGoTests(TLSCase):
    """Nothing, without the garbage collector's help."""

    def setUp(self) -> None:
        if Version("Twisted", 25, 0, 0) > version:
            raise SkipTest("Twisted before 25 has more of these cycles, which are not ours to mend")
        super().setUp()
        gc.disable()
        self.addCleanup(gc.enable)

    def left(self, end: Callable[[Visitor], None]) -> object:
        """What is left of a connection that ended so."""
        visitor = Visitor(self.serve())
        self.assertEqual(b"HELLO", visitor.ask(b"hello"))
        transport: Any = visitor.said.transport
        transport.registerProducer(Source(transport), True)
        end(visitor)
        # A socket that is lost drops its producer.
        visitor.wire.unregisterProducer()
        visitor.server.connectionLost(Failure(ConnectionDone()))
        remaining = weakref.ref(transport)
        # The visitor itself is in a cycle.
        del visitor.server, visitor.said, transport
        return remaining()

    def test_when_the_client_says_goodbye(self) -> None:
        def goodbye(visitor: Visitor) -> None:
            visitor.connection.shutdown()
            visitor.pump()

        self.assertIsNone(self.left(goodbye))

    def test_when_it_just_goes(self) -> None:
        self.assertIsNone(self.left(lambda _: None))

    def test_when_it_breaks_the_protocol(self) -> None:
        garbage = b"\x17\x03\x03\x00\x05wrong"
        self.assertIsNone(self.left(lambda visitor: visitor.server.dataReceived(garbage)))


class LessTests(TLSCase):
    """Less is asked of OpenSSL and of the reactor than Twisted asks."""

    def test_a_message_is_answered_before_the_next_turn(self) -> None:
        visitor = Visitor(self.serve())
        visitor.connection.send(b"hello")
        visitor.server.dataReceived(visitor.connection.bio_read(65536))
        self.assertTrue(visitor.wire.value())
        self.assertEqual([], visitor.clock.getDelayedCalls())

    def test_openssl_is_asked_for_what_there_is(self) -> None:
        visitor = Visitor(self.serve())
        layer: Any = visitor.said.transport
        asked: list[str] = []

        class Watched:
            def __init__(self, connection: Any) -> None:
                self.connection = connection

            def __getattr__(self, name: str) -> Any:
                asked.append(name)
                return getattr(self.connection, name)

        layer._tlsConnection = Watched(layer._tlsConnection)
        for _ in range(2):
            asked.clear()
            self.assertEqual(b"HELLO", visitor.ask(b"hello"))
            # The protocol of these tests looks at the client's certificate.
            asked.remove("get_peer_certificate")
            self.assertEqual(["bio_write", "recv", "send", "bio_read"], asked)

    def test_what_is_written_from_elsewhere_goes_by_one_timer_for_all(self) -> None:
        service = self.serve()
        one, other = Visitor(service), Visitor(service)
        first: Any = one.server
        second: Any = other.server
        # A service wraps once for a port, and these tests for each visitor.
        second._gathering = first.factory.gathering
        for _ in range(3):
            for layer in first, second:
                layer.write(b"one ")
        [call] = one.clock.getDelayedCalls()
        self.assertEqual(0, call.getTime())
        one.clock.advance(0)
        for each in one, other:
            each.connection.bio_write(each.wire.value())
            self.assertEqual(b"one one one ", each.connection.recv(100))

    def test_what_is_not_bytes_is_refused_where_it_is_written(self) -> None:
        layer: Any = Visitor(self.serve()).server
        for wrong in "text", 5, None:
            self.assertRaises(TypeError, layer.write, wrong)

    def test_a_lot_is_not_kept_until_the_turn_ends(self) -> None:
        visitor = Visitor(self.serve())
        layer: Any = visitor.server
        for count in (3, 3, 1):
            for _ in range(count):
                layer.write(b"x" * 30_000)
            self.assertEqual(count == 3, len(visitor.wire.value()) > 90_000)
            visitor.wire.clear()

    def test_a_peer_may_have_asked_for_short_records(self) -> None:
        """RFC 6066, section 4: OpenSSL takes less at once then."""
        visitor = Visitor(self.serve())
        layer: Any = visitor.server

        class Short:
            def __init__(self, connection: Any) -> None:
                self.connection = connection

            def send(self, data: bytes) -> int:
                done: int = self.connection.send(data[:10])
                return done

            def __getattr__(self, name: str) -> Any:
                return getattr(self.connection, name)

        layer._tlsConnection = Short(layer._tlsConnection)
        layer.write(b"0123456789" * 3 + b"end")
        visitor.pump()
        got = b""
        with contextlib.suppress(SSL.WantReadError):
            while True:
                got += visitor.connection.recv(100)
        self.assertEqual(b"0123456789" * 3 + b"end", got)

    def test_what_looks_like_a_record_within_one_is_none(self) -> None:
        visitor = Visitor(self.serve())
        layer: Any = visitor.server
        layer._receive_record = lambda _: self.fail("it is no record")
        layer.dataReceived(b"\x17\x03\x03\x00\x40" + b"?" * 10)
        layer.dataReceived(b"\x17\x03\x03\x00\x01?")

    def test_what_was_written_before_a_protocol_raised_is_sent_to_one_that_stays(self) -> None:
        visitor = Visitor(self.serve())
        layer: Any = visitor.server

        def fail(_: bytes) -> None:
            layer.write(b"before")
            raise ZeroDivisionError

        layer.wrappedProtocol.dataReceived = fail
        visitor.connection.send(b"x")
        record = visitor.connection.bio_read(100)
        self.assertRaises(ZeroDivisionError, layer.dataReceived, record)
        visitor.pump()
        self.assertEqual(b"before", visitor.connection.recv(100))

    def test_a_producers_last_words_go_before_the_goodbye(self) -> None:
        visitor = Visitor(self.serve())
        layer: Any = visitor.server
        layer.registerProducer(Source(layer), True)
        layer.loseConnection()
        layer.write(b"last words")
        layer.unregisterProducer()
        visitor.pump()
        self.assertEqual(b"last words", visitor.connection.recv(100))
        self.assertRaises(SSL.ZeroReturnError, visitor.connection.recv, 100)

    def test_nobody_is_left_to_be_seen_to(self) -> None:
        visitor = Visitor(self.serve())
        layer: Any = visitor.server
        layer.write(b"never sent")
        visitor.server.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([], visitor.clock.getDelayedCalls())

    def test_one_that_cannot_be_sent_to_is_aborted_and_the_others_go_on(self) -> None:
        class Broken:
            aborted = False

            def flush(self) -> None:
                raise ZeroDivisionError

            def abortConnection(self) -> None:
                self.aborted = True

        visitor = Visitor(self.serve())
        layer: Any = visitor.server
        broken: Any = Broken()
        layer.factory.gathering.add(broken)
        layer.write(b"hello")
        visitor.clock.advance(0)
        self.assertTrue(broken.aborted)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        visitor.connection.bio_write(visitor.wire.value())
        self.assertEqual(b"hello", visitor.connection.recv(100))
