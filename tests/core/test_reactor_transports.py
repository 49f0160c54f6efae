"""Corked transports: when they send, what they do once all is sent, and where errors of sending go."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from twisted.internet import error, protocol
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python import log
from twisted.trial import util
from twisted.trial.unittest import SynchronousTestCase

from myproject.reactor import epollreactor
from myproject.reactor.asyncioreactor import CorkedAsyncioReactor
from myproject.reactor.epollreactor import CorkedEPollReactor
from myproject.reactor.logcontext import Current, LogContext
from myproject.reactor.pollreactor import CorkedPollReactor
from myproject.reactor.selectreactor import CorkedSelectReactor
from myproject.reactor.turns import REST, Corking
from tests.core.test_frontdoor import self_signed


class Recorder(protocol.Protocol):
    """Remembers what happened to it, and answers as it is told."""

    transport: Any

    def __init__(self, answer: Callable[[Any, bytes], object] = lambda _, __: None) -> None:
        self.answer = answer
        self.received = b""
        self.lost: Any = None
        self.first = b""

    def connectionMade(self) -> None:
        self.transport.write(self.first)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.answer(self.transport, data)

    def connectionLost(self, reason: Any = protocol.connectionDone) -> None:
        self.lost = reason


class Sockets:
    """Stands for a transport's socket: counts what is sent, and takes no more than it is told."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.calls: list[int] = []
        #: Of those calls that said that more follows.
        self.promises: list[int] = []
        self.takes: list[int | OSError] = []

    def send(self, data: Any, flags: int = 0) -> int:
        take = self.takes.pop(0) if self.takes else len(data)
        if isinstance(take, OSError):
            raise take
        self.calls.append(len(data))
        if flags:
            self.promises.append(len(data))
        return self.real.send(data[:take], flags)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class WithReactor(SynchronousTestCase):
    """Each test has a reactor of its own, run by hand, and a connection that was adopted by it."""

    family = socket.AF_UNIX

    def setUp(self) -> None:
        self.reactor: Any = CorkedEPollReactor()
        self.addCleanup(self.clean)
        self.open: list[socket.socket] = []
        self.recorders: list[Any] = []

    def clean(self) -> None:
        for one in [*self.reactor.removeAll(), *(each.transport for each in self.recorders)]:
            one.connectionLost(protocol.connectionDone)
        self.reactor.removeReader(self.reactor.waker)
        self.reactor.waker.connectionLost(None)
        self.reactor._poller.close()
        for one in self.open:
            one.close()

    def pair(self) -> tuple[socket.socket, socket.socket]:
        if self.family == socket.AF_UNIX:
            return socket.socketpair()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            peer = socket.create_connection(listening.getsockname())
            ours, _ = listening.accept()
        return ours, peer

    def adopt(self, recorder: Any) -> socket.socket:
        """Give the reactor one end of a pair, and return the other."""
        ours, peer = self.pair()
        self.open.append(peer)
        self.recorders.append(recorder)
        peer.setblocking(False)
        factory: Any = protocol.Factory()
        factory.buildProtocol = lambda _: recorder
        ours.setblocking(False)
        self.reactor.adoptStreamConnection(ours.fileno(), self.family, factory)
        ours.close()
        return peer

    def watch(self, recorder: Any) -> Sockets:
        recorder.transport.socket = watched = Sockets(recorder.transport.socket)
        return watched

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.reactor.iterate(0)

    def received(self, peer: socket.socket) -> bytes:
        """What the peer has got by now."""
        got = b""
        try:
            while more := peer.recv(65536):
                got += more
        except BlockingIOError:
            pass
        return got


class CorkTests(WithReactor):
    family = socket.AF_INET

    def test_what_is_written_while_bytes_are_delivered_is_sent_once_when_that_ends(self) -> None:
        sent_within: list[Any] = []

        def answer(transport: Any, _: bytes) -> None:
            transport.write(b"one ")
            transport.writeSequence([b"two ", b"three"])
            sent_within.append(list(watched.calls))

        recorder = Recorder(answer)
        peer = self.adopt(recorder)
        watched = self.watch(recorder)
        peer.send(b"x")
        self.reactor.doIteration(1)
        self.assertEqual(([[]], [13]), (sent_within, watched.calls))
        self.assertEqual(b"one two three", self.received(peer))

    def test_what_is_written_from_elsewhere_is_sent_once_at_the_end_of_the_turn(self) -> None:
        recorder = Recorder()
        peer = self.adopt(recorder)
        watched = self.watch(recorder)

        def later() -> None:
            recorder.transport.write(b"b")
            self.assertEqual([], watched.calls)

        recorder.transport.write(b"a")
        self.reactor.callLater(0, later)
        self.assertIn(recorder.transport, self.reactor.getWriters())
        self.turn()
        self.assertEqual([2], watched.calls)
        self.assertEqual(b"ab", self.received(peer))
        self.assertNotIn(recorder.transport, self.reactor.getWriters())

    def test_while_something_is_to_be_sent_nothing_is_waited_for(self) -> None:
        recorder = Recorder()
        self.adopt(recorder)
        self.reactor._started = True
        self.assertIsNone(self.reactor.timeout())
        recorder.transport.write(b"a")
        self.assertEqual(0, self.reactor.timeout())
        self.turn()
        self.assertIsNone(self.reactor.timeout())
        # What was sent may have had somebody stop the reactor.
        self.reactor._justStopped = True
        self.assertEqual(0, self.reactor.timeout())
        self.reactor._justStopped = False

    def test_writability_is_asked_for_only_when_the_kernel_took_less_than_all(self) -> None:
        recorder = Recorder()
        peer = self.adopt(recorder)
        watched = self.watch(recorder)
        number = recorder.transport.fileno()
        recorder.transport.write(b"abc")
        self.turn()
        self.assertNotIn(number, self.reactor._writes)
        watched.takes = [1]
        recorder.transport.write(b"def")
        self.reactor.runUntilCurrent()
        self.assertIn(number, self.reactor._writes)
        recorder.transport.write(b"ghi")
        self.reactor.doIteration(1)
        self.assertNotIn(number, self.reactor._writes)
        self.assertEqual((b"abcdefghi", [3, 3, 2, 3]), (self.received(peer), watched.calls))

    def test_the_kernel_may_take_nothing(self) -> None:
        for number in (errno.EAGAIN, errno.ENOBUFS):
            recorder = Recorder()
            peer = self.adopt(recorder)
            watched = self.watch(recorder)
            watched.takes = [OSError(number, "full"), 0, OSError(number, "full")]
            recorder.transport.write(b"abc")
            self.turn(4)
            self.assertEqual(b"abc", self.received(peer))
            self.assertIsNone(recorder.lost)

    def test_small_writes_are_joined_and_large_ones_sent_as_they_are(self) -> None:
        recorder = Recorder()
        peer = self.adopt(recorder)
        watched = self.watch(recorder)
        small, large = b"s" * 1000, b"L" * 40_000
        recorder.transport.writeSequence([small, small, large, b"", small, large])
        self.turn()
        self.assertEqual([2000, 40_000, 1000, 40_000], watched.calls)
        self.assertEqual(small * 2 + large + small + large, self.received(peer))

    def test_a_turn_sends_no_more_of_one_connection_than_its_share(self) -> None:
        for chunks in ([b"a" * 1_000_000], [b"b" * 40_000] * 20):
            recorder = Recorder()
            self.adopt(recorder)
            watched = self.watch(recorder)
            recorder.transport.writeSequence(chunks)
            self.reactor.runUntilCurrent()
            share = recorder.transport.SEND_LIMIT
            self.assertTrue(share <= sum(watched.calls) < share + 40_000, watched.calls)
            self.assertIn(recorder.transport.fileno(), self.reactor._writes)

    def test_an_error_of_a_send_reaches_the_protocol_from_the_reactor(self) -> None:
        within: list[Any] = []

        def answer(transport: Any, _: bytes) -> None:
            watched.takes = [OSError(errno.EPIPE, "gone")]
            transport.write(b"answer")
            within.append(recorder.lost)

        recorder = Recorder(answer)
        peer = self.adopt(recorder)
        watched = self.watch(recorder)
        peer.send(b"x")
        self.reactor.doIteration(1)
        self.assertEqual([None], within)
        self.assertTrue(recorder.lost.check(ConnectionLost))

    def test_what_is_not_bytes_is_refused_where_it_is_written(self) -> None:
        recorder = Recorder()
        self.adopt(recorder)
        for wrong in ("text", bytearray(b"a"), None):
            self.assertRaises(TypeError, recorder.transport.write, wrong)

    def test_nagles_algorithm_is_off_until_a_protocol_turns_it_on(self) -> None:
        recorder = Recorder()
        self.adopt(recorder)
        self.assertTrue(recorder.transport.getTcpNoDelay())
        recorder.transport.setTcpNoDelay(False)
        self.assertFalse(recorder.transport.getTcpNoDelay())

    def test_a_connection_that_pauses_another_in_the_same_turn_keeps_it_from_reading(self) -> None:
        recorders: list[Any] = []

        def answer(transport: Any, _: bytes) -> None:
            for one in recorders:
                if one.transport is not transport:
                    one.transport.pauseProducing()
                    # So that the reactor still knows it when its event comes.
                    self.reactor.addWriter(one.transport)

        recorders += [Recorder(answer), Recorder(answer)]
        for recorder in recorders:
            self.adopt(recorder).send(b"x")
        self.reactor.doIteration(1)
        self.assertEqual([b"", b"x"], sorted(one.received for one in recorders))


class SendNowTests(WithReactor):
    """What is said at the end of a turn goes straight to the kernel."""

    family = socket.AF_INET

    def setUp(self) -> None:
        super().setUp()
        self.recorder = Recorder()
        self.peer = self.adopt(self.recorder)
        self.watched = self.watch(self.recorder)
        self.transport = self.recorder.transport

    def test_it_is_sent_at_once(self) -> None:
        self.transport.send_now(b"one")
        self.assertEqual([3], self.watched.calls)
        self.assertEqual(b"one", self.received(self.peer))
        self.assertEqual([], self.reactor.getWriters())

    def test_it_stays_behind_what_waits(self) -> None:
        self.transport.write(b"one ")
        self.transport.send_now(b"two")
        self.assertEqual([], self.watched.calls)
        self.turn()
        self.assertEqual([7], self.watched.calls)
        self.assertEqual(b"one two", self.received(self.peer))

    def test_the_kernel_takes_part_of_it_or_nothing(self) -> None:
        for takes in (1, BlockingIOError(errno.EAGAIN, "later")):
            self.watched.takes = [takes, takes]
            self.transport.send_now(b"one ")
            self.transport.send_now(b"two")
            self.turn(3)
            self.assertEqual(b"one two", self.received(self.peer))
        self.assertEqual([], self.reactor.getWriters())

    def test_it_stays_behind_what_was_written_and_not_asked_for(self) -> None:
        self.transport.write(b"one ")
        self.transport.stopWriting()
        self.transport.send_now(b"two")
        self.turn()
        self.assertEqual(b"one two", self.received(self.peer))

    def test_what_was_answered_stays_behind_what_the_kernel_has_not_taken(self) -> None:
        """Whoever had the kernel asked whether it takes more."""
        self.recorder.answer = lambda transport, _: transport.write(b"three")
        self.watched.takes = [1, *[BlockingIOError(errno.EAGAIN, "later")] * 3]
        self.transport.write(b"one ")
        self.reactor.addWriter(self.transport)
        self.reactor.doIteration(0)
        self.assertTrue(self.watched.calls)
        self.peer.send(b"x")
        self.reactor.doIteration(1)
        self.turn(3)
        self.assertEqual(b"one three", self.received(self.peer))

    def test_an_error_is_not_for_who_wrote(self) -> None:
        self.watched.takes = [OSError(errno.ECONNRESET, "reset"), OSError(errno.EPIPE, "gone")]
        self.transport.send_now(b"one")
        self.assertIsNone(self.recorder.lost)
        self.turn()
        self.assertTrue(self.recorder.lost.check(ConnectionLost))

    def test_one_that_is_closed_or_aborted_sends_nothing(self) -> None:
        self.transport.loseWriteConnection()
        self.turn()
        self.transport.send_now(b"one")
        self.transport.abortConnection()
        self.transport.send_now(b"two")
        self.turn(2)
        self.transport.send_now(b"three")
        self.assertEqual([], self.watched.calls)

    def test_a_pull_producer_is_asked_once_what_was_said_is_gone(self) -> None:
        asked: list[int] = []

        class Pull:
            def resumeProducing(self) -> None:
                asked.append(1)

            def stopProducing(self) -> None: ...

        self.transport.registerProducer(Pull(), False)
        self.turn()
        before = len(asked)
        self.transport.send_now(b"one")
        self.assertEqual(before, len(asked))
        self.turn()
        self.assertEqual(before + 1, len(asked))
        self.transport.unregisterProducer()


class BoundTests(WithReactor):
    """No more waits than may, whichever way it was written."""

    family = socket.AF_INET

    def setUp(self) -> None:
        super().setUp()
        self.overflown: list[Any] = []
        self.recorder = Recorder()
        self.peer = self.adopt(self.recorder)
        self.watched = self.watch(self.recorder)
        self.transport = self.recorder.transport
        kind = type("Bounded", (type(self.transport),), {"max_buffered": 100})
        kind.overflown = self.overflown.append  # type: ignore[attr-defined]
        self.transport.__class__ = kind

    def check(self) -> None:
        self.assertEqual([self.transport], self.overflown)
        self.assertLessEqual(self.transport._tempDataLen + len(self.transport.dataBuffer), 100)
        self.turn(2)
        self.assertTrue(self.recorder.lost.check(ConnectionAborted))

    def test_by_itself(self) -> None:
        self.transport.write(b"x" * 60)
        self.transport.write(b"x" * 60)
        self.transport.write(b"x" * 60)
        self.check()

    def test_in_a_sequence(self) -> None:
        self.transport.writeSequence([b"x" * 60] * 2)
        self.check()

    def test_beneath_tls(self) -> None:
        for _ in range(2):
            FileDescriptor.write(self.transport, b"x" * 60)
        self.check()

    def test_behind_what_the_kernel_has_not_taken(self) -> None:
        self.watched.takes = [1, *([BlockingIOError(errno.EAGAIN, "later")] * 9)]
        self.transport.write(b"x" * 60)
        self.reactor.iterate(0)
        self.assertEqual([60], self.watched.calls)
        self.transport.write(b"x" * 30)
        self.assertEqual([], self.overflown)
        self.transport.write(b"x" * 30)
        self.check()

    def test_in_answer(self) -> None:
        def answer(transport: Any, _: bytes) -> None:
            for _number in range(5):
                transport.write(b"x" * 60)

        self.recorder.answer = answer
        self.peer.send(b"x")
        self.reactor.doIteration(1)
        self.assertEqual([], self.watched.calls)
        self.check()


class EndTests(WithReactor):
    """Closing, in its several ways."""

    def test_all_is_sent_before_a_connection_is_closed(self) -> None:
        recorder = Recorder()
        peer = self.adopt(recorder)
        recorder.transport.write(b"bye")
        recorder.transport.loseConnection()
        self.assertIsNone(recorder.lost)
        self.turn()
        self.assertTrue(recorder.lost.check(ConnectionDone))
        self.assertEqual(b"bye", self.received(peer))

    def test_one_that_answers_and_closes_is_closed_when_it_returns(self) -> None:
        def answer(transport: Any, _: bytes) -> None:
            transport.write(b"bye")
            transport.loseConnection()
            self.assertIsNone(recorder.lost)

        recorder = Recorder(answer)
        peer = self.adopt(recorder)
        peer.send(b"x")
        self.reactor.doIteration(1)
        self.assertTrue(recorder.lost.check(ConnectionDone))
        self.assertEqual(b"bye", self.received(peer))

    def test_an_aborted_connection_sends_nothing_more(self) -> None:
        def answer(transport: Any, _: bytes) -> None:
            transport.write(b"before")
            transport.abortConnection()
            transport.write(b"after")

        recorder = Recorder(answer)
        peer = self.adopt(recorder)
        peer.send(b"x")
        self.reactor.doIteration(1)
        self.assertIsNone(recorder.lost)
        self.turn(2)
        self.assertTrue(recorder.lost.check(error.ConnectionAborted))
        self.assertEqual(b"", self.received(peer))

    def test_half_is_closed_once_all_is_sent(self) -> None:
        recorder = Recorder()
        peer = self.adopt(recorder)
        recorder.transport.write(b"all")
        recorder.transport.loseWriteConnection()
        self.turn()
        recorder.transport.write(b"more")
        self.assertEqual((b"all", b""), (peer.recv(10), peer.recv(10)))
        peer.send(b"heard")
        self.turn()
        self.assertEqual((b"heard", None), (recorder.received, recorder.lost))

    def test_a_protocol_that_fails_loses_its_own_connection_alone(self) -> None:
        def fail(transport: Any, _: bytes) -> None:
            transport.write(b"never sent")
            raise ValueError("a bug")

        failing, other = Recorder(fail), Recorder(lambda transport, data: transport.write(data))
        peers = self.adopt(failing), self.adopt(other)
        for peer in peers:
            peer.send(b"x")
        self.reactor.doIteration(1)
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
        self.assertTrue(failing.lost.check(ValueError))
        self.assertEqual((b"", b"x"), tuple(map(self.received, peers)))

    def test_a_producer_that_fails_is_lost_and_the_others_go_on(self) -> None:
        class Failing:
            def resumeProducing(self) -> None:
                raise ValueError("a bug")

            def stopProducing(self) -> None:
                """It is not asked to be sorry."""

        failing, other = Recorder(), Recorder()
        self.adopt(failing)
        peer = self.adopt(other)
        failing.transport.write(b"x")
        failing.transport.producer = Failing()
        other.transport.write(b"x")
        self.turn()
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
        self.assertTrue(failing.lost.check(ValueError))
        self.assertEqual(b"x", self.received(peer))

    def test_one_that_waits_when_all_is_removed_is_among_what_is(self) -> None:
        recorder = Recorder()
        self.adopt(recorder)
        recorder.transport.pauseProducing()
        recorder.transport.write(b"x")
        removed = self.reactor.removeAll()
        self.assertIn(recorder.transport, removed)
        recorder.transport.connectionLost(protocol.connectionDone)
        self.assertIsNone(recorder.transport.doWrite())


class ProducerTests(WithReactor):
    def test_a_pull_producer_is_asked_once_in_a_turn(self) -> None:
        recorder = Recorder()
        peer = self.adopt(recorder)
        asked = []

        class Pulled:
            def resumeProducing(self) -> None:
                asked.append(1)
                recorder.transport.write(b"x")

            def stopProducing(self) -> None:
                """Nothing to stop."""

        recorder.transport.registerProducer(Pulled(), False)
        self.turn(3)
        self.assertEqual((4, b"xxx"), (len(asked), self.received(peer)))
        recorder.transport.unregisterProducer()
        recorder.transport.loseConnection()
        self.turn()
        self.assertTrue(recorder.lost.check(ConnectionDone))

    def test_a_streaming_producer_is_paused_and_resumed_when_all_is_sent(self) -> None:
        recorder = Recorder()
        self.adopt(recorder)
        told = []

        class Pushed:
            def pauseProducing(self) -> None:
                told.append("pause")

            def resumeProducing(self) -> None:
                told.append("resume")

            def stopProducing(self) -> None:
                told.append("stop")

        recorder.transport.registerProducer(Pushed(), True)
        recorder.transport.write(b"x" * 65_536)
        self.assertEqual([], told)
        recorder.transport.write(b"x")
        self.assertEqual(["pause"], told)
        self.turn()
        self.assertEqual(["pause", "resume"], told)


class DescriptorTests(WithReactor):
    """Descriptors that are sent over a UNIX socket."""

    def test_each_goes_with_a_byte(self) -> None:
        recorder = Recorder()
        peer = self.adopt(recorder)
        recorder.transport.sendFileDescriptor(0)
        recorder.transport.write(b"ab")
        self.turn()
        data, descriptors, _, _ = socket.recv_fds(peer, 10, 4)
        more = peer.recv(10)
        for one in descriptors:
            os.close(one)
        self.assertEqual((b"ab", 1), (data + more, len(descriptors)))

    def test_one_without_a_byte_is_a_mistake_that_costs_the_connection(self) -> None:
        recorder = Recorder()
        self.adopt(recorder)
        recorder.transport.sendFileDescriptor(0)
        self.turn()
        self.assertTrue(recorder.lost.check(error.FileDescriptorOverrun))

    def test_those_that_wait_find_all_the_bytes_that_wait(self) -> None:
        recorder = Recorder()
        peer = self.adopt(recorder)
        watched = self.watch(recorder)
        watched.takes = [1]
        recorder.transport.write(b"ab")
        self.reactor.runUntilCurrent()
        for _ in range(2):
            recorder.transport.sendFileDescriptor(0)
        recorder.transport.write(b"c" * 40_000)
        self.turn(3)
        got = b""
        descriptors: list[int] = []
        while len(got) < 40_002:
            data, some, _, _ = socket.recv_fds(peer, 65_536, 4)
            self.assertTrue(data, recorder.lost)
            got += data
            descriptors += some
        for one in descriptors:
            os.close(one)
        self.assertEqual((b"ab" + b"c" * 40_000, 2, None), (got, len(descriptors), recorder.lost))


class LogTests(WithReactor):
    """Whose a message is, without a context for each event."""

    def test_a_message_has_the_prefix_of_the_connection_that_is_handled(self) -> None:
        events: list[Any] = []
        log.addObserver(events.append)
        self.addCleanup(log.removeObserver, events.append)

        def answer(_: Any, data: bytes) -> None:
            log.msg("said", data=data)
            if data == b"stop":
                self.reactor.stop()

        recorder = Recorder(answer)
        peer = self.adopt(recorder)
        peer.send(b"stop")
        self.reactor.callWhenRunning(lambda: log.msg("begun"))
        self.reactor.run(installSignalHandlers=False)
        systems = {event["message"][0]: event.get("system") for event in events if event["message"]}
        self.assertIn("Recorder", systems["said"])
        self.assertEqual("-", systems["begun"])

    def test_what_is_said_when_it_is_closed_has_its_prefix_and_what_comes_then_has_not(
        self,
    ) -> None:
        events: list[Any] = []
        log.addObserver(events.append)
        self.addCleanup(log.removeObserver, events.append)

        class Broken(Recorder):
            def connectionLost(self, reason: Any = protocol.connectionDone) -> None:
                super().connectionLost(reason)
                log.msg("gone")
                self.transport.reactor.callLater(0, log.msg, "later")
                self.transport.reactor.callLater(0, self.transport.reactor.stop)
                raise ZeroDivisionError

        recorder = Broken()
        self.adopt(recorder)
        self.reactor.callWhenRunning(recorder.transport.loseConnection)
        self.reactor.run(installSignalHandlers=False)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        systems = {event["message"][0]: event.get("system") for event in events if event["message"]}
        self.assertIn("Broken", systems["gone"])
        self.assertEqual("-", systems["later"])

    def test_one_whose_prefix_cannot_be_had_is_logged_all_the_same(self) -> None:
        current = Current()
        shown = LogContext(current)
        current.descriptor = object()
        self.assertEqual("(buggy logPrefix method)", shown["system"])
        self.assertIsNone(shown.get("no such thing"))


class RestTests(WithReactor):
    """A port for whose connections there is no room."""

    def test_it_accepts_nothing_for_a_moment(self) -> None:
        port = self.reactor.listenTCP(0, protocol.Factory(), interface="127.0.0.1")
        now = 0.0
        self.reactor.seconds = lambda: now
        port._logger.info("Could not accept new connection ({acceptError})", acceptError="ENFILE")
        self.assertNotIn(port, self.reactor.getReaders())
        now = REST
        self.turn()
        self.assertIn(port, self.reactor.getReaders())
        port._logger.info(
            "Could not accept new connection ({acceptError})", acceptError="ECONNABORTED"
        )
        self.assertIn(port, self.reactor.getReaders())
        port._logger.info("Could not accept new connection ({acceptError})", acceptError="EMFILE")
        port.stopListening()
        now = 3 * REST
        self.turn(2)
        self.assertNotIn(port, self.reactor.getReaders())


class OtherReactorTests(SynchronousTestCase):
    """The same transports beneath every reactor of Linux: a client and a server, over TCP, UNIX and TLS."""

    # Twisted's own use of pyOpenSSL is deprecated by the latter's newest.
    suppress = [util.suppress(category=DeprecationWarning)]  # noqa: RUF012 (trial's way)

    def check(self, made: Any) -> None:
        for unix in (False, True):
            self.exchange(made(), self.mktemp()[-60:].replace("/", "_") if unix else None)
        if find_spec("OpenSSL"):
            self.exchange(made(), None, tls=True)

    def exchange(self, reactor: Any, path: str | None, *, tls: bool = False) -> None:
        server = Recorder(lambda transport, data: transport.write(data.upper()))
        client = Recorder(lambda _, __: reactor.stop())
        client.first = b"hello"
        factories: list[Any] = []
        for recorder, kind in ((server, protocol.Factory), (client, protocol.ClientFactory)):
            factory: Any = kind()
            factory.buildProtocol = lambda _, one=recorder: one
            factories.append(factory)
        if tls:
            from cryptography.hazmat.primitives.serialization import (
                Encoding,
                NoEncryption,
                PrivateFormat,
            )
            from twisted.internet.ssl import CertificateOptions, PrivateCertificate

            key, certificate = self_signed()
            pem = certificate.public_bytes(Encoding.PEM) + key.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            )
            options = PrivateCertificate.loadPEM(pem).options()
            port = reactor.listenSSL(0, factories[0], options, interface="127.0.0.1")
            address = ("127.0.0.1", port.getHost().port)
            reactor.connectSSL(*address, factories[1], CertificateOptions())
            self.assertEqual("TLS", port._type)
        elif path is None:
            port = reactor.listenTCP(0, factories[0], interface="127.0.0.1")
            reactor.connectTCP("127.0.0.1", port.getHost().port, factories[1])
        else:
            reactor.listenUNIX(path, factories[0])
            reactor.connectUNIX(path, factories[1])
        reactor.callLater(30, reactor.stop)
        reactor.run(installSignalHandlers=False)
        self.assertIsInstance(reactor, Corking)
        self.assertEqual(b"HELLO", client.received)
        for recorder in (server, client):
            transport = recorder.transport
            if tls:
                self.assertIn("myproject.tlstransport", type(transport).__module__)
                transport = transport.transport
            self.assertIn("myproject.reactor", type(transport).__module__)

    def test_epoll(self) -> None:
        self.check(CorkedEPollReactor)

    def test_epoll_with_a_place_for_each_and_none_to_spare(self) -> None:
        self.patch(epollreactor, "_PLACES", 0)
        self.check(CorkedEPollReactor)

    def test_poll(self) -> None:
        self.check(CorkedPollReactor)

    def test_select(self) -> None:
        self.check(CorkedSelectReactor)

    def test_asyncio(self) -> None:
        from asyncio import new_event_loop

        loops = []

        def made() -> Any:
            loops.append(new_event_loop())
            return CorkedAsyncioReactor(loops[-1])

        self.check(made)
        for loop in loops:
            loop.close()
