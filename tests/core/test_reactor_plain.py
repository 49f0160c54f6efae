"""What the transports and the loop leave out when there is nothing to do is done when there is."""

from __future__ import annotations

import errno
import fcntl
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import connectionDone
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from myproject.reactor import epollreactor
from myproject.reactor.epollreactor import CorkedEPollReactor
from myproject.reactor.transports import send_to_all
from tests.core.authority import issue
from tests.core.test_reactor_transports import Recorder, WithReactor
from tests.core.test_tlstransport_model import Creator

#: Seconds after which a loop that has not stopped is stopped.
GUARD = 5


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    def readConnectionLost(self) -> None: ...

    def writeConnectionLost(self) -> None: ...


class Producer:
    """A streaming one, which remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None: ...


class Rooms:
    """Stands for a transport's socket: remembers how much room each read had."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.rooms: list[int] = []
        self.fails: list[OSError] = []

    def recv(self, room: int) -> bytes:
        self.rooms.append(room)
        # The first of them is never the one that fails.
        if len(self.rooms) > 1 and self.fails:
            raise self.fails.pop()
        data: bytes = self.real.recv(room)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class RoomTests(WithReactor):
    """How much a read has room for."""

    family = socket.AF_INET

    def setUp(self) -> None:
        super().setUp()
        self.recorder = Recorder()
        self.pieces: list[bytes] = []
        self.recorder.answer = lambda _, data: self.pieces.append(data)
        self.peer = self.adopt(self.recorder)
        self.transport = self.recorder.transport
        self.transport.socket = self.watched = Rooms(self.transport.socket)

    def read(self, data: bytes) -> list[int]:
        """What rooms there were when this was read."""
        self.watched.rooms.clear()
        self.peer.send(data)
        self.reactor.doIteration(1)
        self.assertEqual([data], self.pieces)
        self.pieces.clear()
        return self.watched.rooms

    def test_as_much_as_the_last_one_needed(self) -> None:
        self.assertEqual([65536], self.read(b"x" * 448))
        self.assertEqual([65536], self.read(b"x" * 447))
        self.assertEqual([448], self.read(b"x" * 447))
        # There is no more; and, the next time, there is.
        self.assertEqual([448, 65088], self.read(b"x" * 448))
        self.assertEqual([65536], self.read(b"x"))
        self.assertEqual([448, 65088], self.read(b"x" * 449))
        self.assertEqual([65536], self.read(b"x" * 1000))
        self.assertEqual(3240, self.transport.received)
        # That there was no more for a moment is no end.
        self.peer.shutdown(socket.SHUT_WR)
        self.turn(2)
        self.assertTrue(self.recorder.lost.check(ConnectionDone))

    def test_never_more_than_its_buffer(self) -> None:
        self.transport.bufferSize = 448
        self.assertEqual([448], self.read(b"x"))
        self.assertEqual([448], self.read(b"x" * 448))
        self.transport.bufferSize = 449
        self.assertEqual([449], self.read(b"x"))
        self.assertEqual([448, 1], self.read(b"x" * 449))
        self.assertEqual([449], self.read(b"x"))
        self.transport.bufferSize = 9
        self.assertEqual([448, 0], self.read(b"x" * 448))
        self.assertEqual([9], self.read(b"x" * 9))

    def test_what_came_before_a_reset_is_delivered_and_the_reset_is_told(self) -> None:
        self.read(b"x")
        self.watched.fails.append(ConnectionResetError(errno.ECONNRESET, "reset"))
        self.assertEqual([448, 65088], self.read(b"x" * 448))
        self.assertIsNone(self.recorder.lost)
        # The kernel says so once; then it says that there is no more.
        self.peer.shutdown(socket.SHUT_WR)
        self.turn(2)
        self.assertTrue(self.recorder.lost.check(ConnectionLost))


class PlainTests(WithReactor):
    """A TCP connection that has been read plainly until something changes."""

    family = socket.AF_INET

    def setUp(self) -> None:
        super().setUp()
        self.recorder = HalfRecorder()
        self.peer = self.adopt(self.recorder)
        self.watched = self.watch(self.recorder)
        self.transport = self.recorder.transport

    def answer(self, how: Callable[[Any], object]) -> bytes:
        """What the peer gets from a protocol that answers so."""
        self.recorder.answer = lambda transport, _: how(transport)
        self.peer.send(b"x")
        self.reactor.doIteration(1)
        self.turn(2)
        return self.received(self.peer)

    def test_pieces_stay_in_order_whichever_way_they_are_written(self) -> None:
        def answer(transport: Any) -> None:
            transport.write(b"one ")
            transport.writeSequence([b"two ", b"three "])
            transport.write(b"four ")
            transport.send_now(b"five ")

        self.transport.write(b"zero ")
        self.assertEqual(b"zero one two three four five ", self.answer(answer))
        self.assertEqual([29], self.watched.calls)

    def test_an_answer_stays_behind_what_was_written_in_the_same_turn(self) -> None:
        for pieces in [b"two"], [b"two ", b"three"]:
            self.recorder.answer = partial(self.answer_with, pieces)
            self.peer.send(b"x")
            self.transport.write(b"one ")
            # Reads, and is not yet at the turn's end.
            self.reactor.doIteration(1)
            self.assertEqual(b"one " + b"".join(pieces), self.received(self.peer))
            self.turn()
            self.assertEqual(b"", self.received(self.peer))

    def answer_with(self, pieces: list[bytes], transport: Any, _: bytes) -> None:
        for piece in pieces:
            transport.write(piece)

    def test_a_program_may_turn_the_reactor_while_it_is_read(self) -> None:
        said = iter([b"three ", b"one "])

        def answer(transport: Any) -> None:
            words = next(said)
            transport.write(words)
            if words == b"three ":
                self.peer.send(b"y")
                self.reactor.iterate(0)
                transport.write(b"five")

        self.assertEqual(b"three one five", self.answer(answer))

    def test_the_kernel_may_stop_taking_while_it_is_read(self) -> None:
        def answer(transport: Any) -> None:
            transport.write(b"two ")
            self.reactor.iterate(0)
            transport.write(b"three")

        self.watched.takes = [1, BlockingIOError(errno.EAGAIN, "later")]
        self.recorder.answer = lambda transport, _: answer(transport)
        self.peer.send(b"x")
        self.transport.write(b"one ")
        self.reactor.doIteration(1)
        self.turn(3)
        self.assertEqual(b"one two three", self.received(self.peer))

    def test_an_answer_that_the_kernel_refuses_is_bounded(self) -> None:
        overflown: list[Any] = []
        kind: Any = type("Bounded", (type(self.transport),), {"max_buffered": 10})
        kind.overflown = staticmethod(overflown.append)
        self.transport.__class__ = kind
        self.watched.takes = [9]
        self.recorder.answer = lambda transport, _: transport.write(b"x" * 20)
        self.peer.send(b"x")
        self.reactor.doIteration(1)
        self.turn(2)
        self.assertEqual([self.transport], overflown)
        self.assertTrue(self.recorder.lost)

    def test_what_is_sent_is_counted(self) -> None:
        self.assertEqual(b"one two", self.answer(lambda it: it.writeSequence([b"one ", b"two"])))
        self.transport.write(b"three")
        self.turn()
        self.assertEqual((12, 1), (self.transport.sent, self.transport.received))

    def test_a_producer_is_resumed_once_the_bytes_are_gone_that_it_was_paused_for(self) -> None:
        producer = Producer()
        self.transport.bufferSize = 10
        self.transport.registerProducer(producer, True)
        # One answer goes at once, unless the kernel takes less.
        self.assertEqual(b"x" * 20, self.answer(lambda it: it.write(b"x" * 20)))
        self.assertEqual([], producer.told)
        self.watched.takes = [1, BlockingIOError(errno.EAGAIN, "later")]
        self.assertEqual(b"x" * 20, self.answer(lambda it: it.write(b"x" * 20)))
        self.assertEqual(["pause", "resume"], producer.told)
        self.assertEqual(
            b"xxxyyyyyyyyyyyy", self.answer(lambda it: (it.write(b"xxx"), it.write(b"y" * 12)))
        )
        self.assertEqual(["pause", "resume"] * 2, producer.told)
        self.transport.write(b"y" * 20)
        self.turn()
        self.assertEqual(["pause", "resume"] * 3, producer.told)
        self.transport.unregisterProducer()

    def test_what_was_written_before_a_pull_producer_came_is_sent(self) -> None:
        producer = Producer()

        def produce(transport: Any) -> None:
            transport.write(b"one")
            transport.registerProducer(producer, False)

        self.assertEqual(b"one", self.answer(produce))
        self.assertEqual({"resume"}, set(producer.told))
        self.transport.unregisterProducer()

    def test_what_the_kernel_does_not_take_of_an_answer_waits(self) -> None:
        self.watched.takes = [1, BlockingIOError(errno.EAGAIN, "later")]
        self.assertEqual(b"answer", self.answer(lambda it: it.write(b"answer")))
        self.watched.takes = [BlockingIOError(errno.EAGAIN, "later")]
        self.assertEqual(b"more", self.answer(lambda it: it.write(b"more")))

    def test_one_that_only_writes_has_its_place(self) -> None:
        self.patch(epollreactor, "_PLACES", 0)
        pair = self.pair()
        self.open.extend(pair)
        high = socket.socket(fileno=fcntl.fcntl(pair[0].fileno(), fcntl.F_DUPFD_CLOEXEC, 300))
        self.open.append(high)
        written: list[bool] = []

        class Writer(FileDescriptor):
            def fileno(self) -> int:
                return high.fileno()

            def doWrite(self) -> None:
                written.append(True)
                self.reactor.removeWriter(self)

        writer = Writer(self.reactor)
        self.reactor.addWriter(writer)
        self.reactor.doIteration(1)
        self.assertEqual([True], written)

    def test_one_whose_socket_is_gone_is_read_no_more(self) -> None:
        self.assertIn(self.transport, self.reactor._streams)
        fileno = self.transport.fileno
        self.transport.fileno = lambda: -1
        self.reactor.removeReader(self.transport)
        self.assertEqual({None}, set(self.reactor._streams))
        self.transport.fileno = fileno

    def test_one_that_says_something_and_closes_is_closed(self) -> None:
        def close(transport: Any) -> None:
            transport.write(b"bye")
            transport.loseConnection()

        self.assertEqual(b"bye", self.answer(close))
        self.assertTrue(self.recorder.lost)
        self.assertEqual([3], self.watched.promises)

    def test_one_that_closes_elsewhere_is_closed(self) -> None:
        self.transport.write(b"bye")
        self.transport.loseConnection()
        self.turn(2)
        self.assertEqual(b"bye", self.received(self.peer))
        self.assertTrue(self.recorder.lost)
        self.assertEqual([3], self.watched.promises)

    def test_who_closes_and_has_more_to_say_promises_nothing(self) -> None:
        """Only what the end follows at once may wait in the kernel for it."""
        producer = Producer()
        self.transport.registerProducer(producer, False)
        self.transport.write(b"one")
        self.transport.loseConnection()
        self.turn(2)
        self.assertEqual((b"one", []), (self.received(self.peer), self.watched.promises))
        self.transport.write(b"two")
        self.transport.unregisterProducer()
        self.turn(2)
        self.assertEqual((b"two", [3]), (self.received(self.peer), self.watched.promises))
        self.assertTrue(self.recorder.lost)

    def test_what_waits_though_nobody_asks_the_kernel_goes_first(self) -> None:
        self.watched.takes = [1, BlockingIOError(errno.EAGAIN, "later")]
        self.transport.write(b"one ")
        self.turn()
        self.transport.stopWriting()
        self.transport.registerProducer(Producer(), True)
        self.assertEqual(b"one two", self.answer(lambda it: it.write(b"two")))
        self.transport.unregisterProducer()

    def test_what_is_written_before_a_protocol_raises_is_sent_if_that_is_not_the_end(self) -> None:
        def end(transport: Any) -> None:
            transport.write(b"one")
            raise CONNECTION_DONE

        self.assertEqual(b"one", self.answer(end))
        self.assertEqual(1, len(self.flushLoggedErrors(type(CONNECTION_DONE))))

    def test_tls_may_begin_while_it_reads(self) -> None:
        issued = issue("server.test")
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(issued.certificate)
        context.use_privatekey(issued.key)

        def begin(transport: Any) -> None:
            transport.write(b"clear ")
            transport.startTLS(Creator(context))
            transport.write(b"secret")

        got = self.answer(begin)
        self.assertEqual(b"clear ", got)
        self.transport.loseConnection()
        self.turn(2)


class TogetherTests(WithReactor):
    """The same bytes for many."""

    family = socket.AF_INET

    def setUp(self) -> None:
        super().setUp()
        self.known = [Recorder() for _ in range(6)]
        self.peers = [self.adopt(recorder) for recorder in self.known]
        self.sockets = [self.watch(recorder) for recorder in self.known]
        self.transports = [recorder.transport for recorder in self.known]

    def test_each_gets_them_at_once_and_behind_what_waits(self) -> None:
        _, waits, full, refuses, closing, aborted = self.transports
        waits.write(b"first ")
        self.sockets[2].takes = [2]
        self.sockets[3].takes = [OSError(errno.EPIPE, "gone"), OSError(errno.EPIPE, "gone")]
        closing.loseConnection()
        aborted.abortConnection()
        send_to_all(self.transports, b"all")
        self.assertEqual(
            [b"all", b"", b"al", b"", b"", b""], [self.received(peer) for peer in self.peers]
        )
        self.assertEqual(3, self.transports[0].sent)
        self.turn(2)
        self.assertEqual([b"", b"first all", b"l"], [self.received(p) for p in self.peers[:3]])
        self.assertEqual(
            [False] * 3 + [True] * 3, [recorder.lost is not None for recorder in self.known]
        )
        self.assertIs(full.sent, 3)
        self.assertEqual(0, refuses.sent)


class LoopTests(SynchronousTestCase):
    """A loop that has something to read waits for nothing that it should do."""

    def run_until(self, answer: Callable[[Any], None]) -> None:
        """Run, have one connection answer so, and see that this ends the loop and not the guard."""
        reactor: Any = CorkedEPollReactor()
        guarded: list[bool] = []
        recorder = Recorder(lambda _, __: answer(reactor))
        ours, peer = socket.socketpair()
        ours.setblocking(False)

        class Factory:
            def buildProtocol(self, _address: object) -> Recorder:
                return recorder

            def doStart(self) -> None: ...

            def doStop(self) -> None: ...

        reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, Factory())
        ours.close()

        def guard() -> None:
            guarded.append(True)
            reactor.stop()

        reactor.callLater(GUARD, guard)
        # From within the loop, once it runs.
        reactor.callWhenRunning(peer.send, b"x")
        reactor.run(installSignalHandlers=False)
        self.assertEqual([], guarded)
        for call in reactor.getDelayedCalls():
            call.cancel()
        recorder.transport.connectionLost(connectionDone)
        reactor.removeAll()
        reactor._poller.close()
        peer.close()

    def test_a_call_that_an_event_has_made(self) -> None:
        self.run_until(lambda reactor: reactor.callLater(0, reactor.stop))

    def test_a_call_from_a_thread(self) -> None:
        def begin(reactor: Any) -> None:
            threading.Thread(target=reactor.callFromThread, args=(reactor.stop,)).start()

        self.run_until(begin)

    def test_a_stop(self) -> None:
        self.run_until(lambda reactor: reactor.stop())

    def test_a_crash(self) -> None:
        self.run_until(lambda reactor: reactor.crash())

    def test_a_call_that_comes_due_while_there_is_always_something_to_read(self) -> None:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        ours.send(b"x")

        class Busy:
            """Never takes what there is."""

            def fileno(self) -> int:
                return theirs.fileno()

            def doRead(self) -> None: ...

            def logPrefix(self) -> str:
                return "busy"

            def connectionLost(self, reason: Any) -> None: ...

        def begin(reactor: Any) -> None:
            reactor.addReader(Busy())
            reactor.callLater(0.001, reactor.stop)

        self.run_until(begin)
