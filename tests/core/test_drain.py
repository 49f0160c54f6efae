"""The drain: who is told, who is waited for, who is cut; and how the process ends."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from twisted.internet import defer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock, StringTransport
from twisted.logger import globalLogPublisher
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from myproject.drain import GRACE, Drain, ProcessEnd
from myproject.frontdoor import MyFactory
from myproject.gate import Gate
from myproject.interfaces import IDrainable
from myproject.service import FactoryService


class Transport(StringTransport):
    """A transport that is lost when it is closed, as a socket is."""

    heeds_abort = True

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.aborted = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.protocol.connectionLost(reason)

    def loseConnection(self) -> None:
        self.connectionLost()

    def abortConnection(self) -> None:
        self.aborted = True
        if self.heeds_abort:
            self.connectionLost()


class Waiting(Protocol):
    """A protocol that is not told."""


@implementer(IDrainable)
class Polite(Protocol):
    """A protocol that closes when told."""

    told = 0

    def drain(self) -> None:
        self.told += 1
        self.close()

    def close(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


class Slow(Polite):
    """A protocol that has something to finish first."""

    def close(self) -> None:
        """Not yet."""


class Broken(Polite):
    """A protocol that fails when told."""

    def close(self) -> None:
        raise RuntimeError("broken")


class Case(SynchronousTestCase):
    """A gate, a clock, and the log."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = Factory()
        self.gate = Gate(self.factory, clock=self.clock)
        self.log = EventLoggingObserver()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)

    @property
    def lines(self) -> list[str]:
        """What the drain has logged."""
        return [
            str(event["log_format"]).format(**event)
            for event in self.log
            if event["log_namespace"].startswith("myproject") and event["log_format"]
        ]

    def connect(self, kind: type[Protocol]) -> tuple[Any, Transport]:
        self.factory.protocol = kind
        protocol = self.gate.buildProtocol(None)
        transport = Transport(protocol)
        protocol.makeConnection(transport)
        return protocol, transport

    def begin(self, timeout: float = 10) -> tuple[Drain, defer.Deferred[None]]:
        draining = Drain(self.gate, self.clock, timeout)
        return draining, draining.begin()


class DrainTests(Case):
    """One drain after another."""

    def test_interface(self) -> None:
        verifyObject(IDrainable, Polite())

    def test_nobody(self) -> None:
        """Without connections it is over at once, and there is nothing to log."""
        self.successResultOf(self.begin()[1])
        self.assertEqual(([], []), (self.lines, self.clock.getDelayedCalls()))

    def test_polite(self) -> None:
        """Who can be told is told once, and its connection ends without an abort."""
        protocol, transport = self.connect(Polite)
        self.successResultOf(self.begin()[1])
        self.assertEqual((1, False, 0), (protocol.told, transport.aborted, len(self.gate)))

    def test_waits(self) -> None:
        """Who cannot be told is waited for; the log says how many, and how long at most."""
        _, first = self.connect(Waiting)
        _, second = self.connect(Slow)
        _, done = self.begin(10)
        self.assertEqual(
            ["2 connections remain, 1 of them told to end; waiting for at most 10 s"], self.lines
        )
        first.loseConnection()
        self.clock.advance(9)
        self.assertNoResult(done)
        second.loseConnection()
        self.successResultOf(done)
        self.assertEqual((1, []), (len(self.lines), self.clock.getDelayedCalls()))

    def test_timeout(self) -> None:
        """At the timeout the rest is aborted, and the log says how many."""
        connected = [self.connect(kind)[1] for kind in (Waiting, Slow, Polite)]
        _, done = self.begin(10)
        self.clock.advance(9.9)
        self.assertNoResult(done)
        self.clock.advance(0.2)
        self.successResultOf(done)
        self.assertEqual([True, True, False], [one.aborted for one in connected])
        self.assertEqual("aborting 2 connections that remain", self.lines[-1])

    def test_now(self) -> None:
        """Cut short, nobody waits any more; doing it twice does it once."""
        _, transport = self.connect(Waiting)
        draining, done = self.begin(10)
        draining.cut()
        draining.cut()
        self.successResultOf(done)
        self.assertEqual((True, []), (transport.aborted, self.clock.getDelayedCalls()))

    def test_now_before_it_began(self) -> None:
        """There is nothing to cut short yet."""
        _, transport = self.connect(Waiting)
        Drain(self.gate, self.clock, 10).cut()
        self.assertFalse(transport.aborted)

    def test_abort_that_does_not_help(self) -> None:
        """A transport that ignores an abort does not keep the process alive."""
        _, transport = self.connect(Waiting)
        transport.heeds_abort = False
        draining, done = self.begin(10)
        draining.cut()
        self.assertNoResult(done)
        self.clock.advance(GRACE)
        self.successResultOf(done)
        self.assertEqual("1 connections do not close", self.lines[-1])

    def test_broken(self) -> None:
        """A protocol that fails when told is logged and aborted, and the next is told all the same."""
        _, broken = self.connect(Broken)
        polite, _ = self.connect(Polite)
        self.successResultOf(self.begin()[1])
        self.assertEqual((True, 1), (broken.aborted, polite.told))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_no_newcomers(self) -> None:
        """Who comes while the others are waited for is refused."""
        self.connect(Waiting)
        self.begin()
        self.connect(Polite)
        self.assertEqual(1, len(self.gate))

    def test_current_seat(self) -> None:
        """Who has the connection now is told, not who accepted it."""
        _, transport = self.connect(Waiting)
        seated = transport.protocol = Polite()
        seated.makeConnection(transport)
        self.begin()
        self.assertEqual(1, seated.told)

    def test_behind_a_layer(self) -> None:
        """Behind a layer, TLS for one, the protocol is told that sits there now."""
        self.factory.protocol = Waiting
        layer: Any = WrappingFactory(self.gate).buildProtocol(None)
        layer.makeConnection(Transport(layer))
        polite = layer.wrappedProtocol = Slow()
        self.begin()
        self.assertEqual(1, polite.told)

    def test_layer_in_the_seat(self) -> None:
        """TLS that was started on an open connection is looked through."""
        _, transport = self.connect(Waiting)
        polite = Slow()
        transport.protocol = ProtocolWrapper(Factory(), polite)  # type: ignore[arg-type]
        self.begin()
        self.assertEqual(1, polite.told)


class FrontDoorTests(Case):
    """Clients at the front door."""

    def setUp(self) -> None:
        super().setUp()
        self.polite = Factory.forProtocol(Slow)
        self.factory = MyFactory({"polite": self.polite}, clock=self.clock)
        self.gate = Gate(self.factory, clock=self.clock)

    def arrive(self, *data: bytes) -> tuple[Any, Transport]:
        door: Any = self.gate.buildProtocol(None)
        transport = Transport(door)
        door.makeConnection(transport)
        for one in data:
            transport.protocol.dataReceived(one)
        return door, transport

    def test_naming(self) -> None:
        """Who has named no service is told why, and sent away."""
        _, transport = self.arrive(b"pol")
        self.successResultOf(self.begin()[1])
        self.assertEqual(b"-the server is stopping; try again later\r\n", transport.value())

    def test_handed_over(self) -> None:
        """Who has is the service's, which is told."""
        _, transport = self.arrive(b"polite\r\n")
        self.begin()
        self.assertEqual((1, b"+polite\r\n"), (transport.protocol.told, transport.value()))

    def test_leaving(self) -> None:
        """Who is being sent away already is not told again."""
        door, transport = self.arrive()
        transport.loseConnection = lambda: None  # type: ignore[method-assign]
        transport.protocol.dataReceived(b"nobody\r\n")
        said = transport.value()
        door.drain()
        self.assertEqual(said, transport.value())


class Reactor(MemoryReactorClock):
    """A reactor in memory that can stop as the real one does."""

    def __init__(self) -> None:
        super().__init__()
        self._exitSignal: int | None = None
        self.removed: list[object] = []

    def sigTerm(self, *_: object) -> None:
        self._exitSignal = signal.SIGTERM

    def addSystemEventTrigger(
        self, phase: str, eventType: str, callable: Any, *args: Any, **kw: Any
    ) -> Any:
        super().addSystemEventTrigger(phase, eventType, callable, *args, **kw)
        return phase, eventType, callable

    def removeSystemEventTrigger(self, triggerID: Any) -> None:
        phase, event, call = triggerID
        self.triggers[phase][event].remove((call, (), {}))

    def fire(self, phase: str) -> None:
        for call, arguments, more in list(self.triggers.get(phase, {}).get("shutdown", [])):
            call(*arguments, **more)

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        call(*arguments)


class ProcessEndTests(Case):
    """Signals and the exit status."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = Reactor()
        self.hurried: list[str] = []
        before = signal.signal(signal.SIGTERM, self.reactor.sigTerm)
        self.addCleanup(signal.signal, signal.SIGTERM, before)

    def end(self, name: str = "one") -> ProcessEnd:
        return ProcessEnd(self.reactor, lambda: self.hurried.append(name))

    def test_first_signal_is_the_reactors(self) -> None:
        """Until the reactor stops, signals are its own affair."""
        self.end()
        os.kill(os.getpid(), signal.SIGTERM)
        self.assertEqual((signal.SIGTERM, []), (self.reactor._exitSignal, self.hurried))

    def test_clean(self) -> None:
        """After a stop that ran its course twistd finds no signal to end by."""
        self.end()
        os.kill(os.getpid(), signal.SIGTERM)
        self.reactor.fire("before")
        self.reactor.fire("after")
        self.assertIsNone(self.reactor._exitSignal)
        self.assertEqual(self.reactor.sigTerm, signal.getsignal(signal.SIGTERM))

    def test_not_clean(self) -> None:
        """If something did not stop as it should, the signal stays the way to end."""
        self.end().clean = False
        os.kill(os.getpid(), signal.SIGTERM)
        self.reactor.fire("before")
        self.reactor.fire("after")
        self.assertEqual(signal.SIGTERM, self.reactor._exitSignal)

    def test_second_signal(self) -> None:
        """A second signal hurries every service of the process, and is the way to end."""
        self.end("one")
        self.end("two")
        os.kill(os.getpid(), signal.SIGTERM)
        self.reactor.fire("before")
        os.kill(os.getpid(), signal.SIGTERM)
        self.assertEqual(["one", "two"], self.hurried)
        self.reactor.fire("after")
        self.assertEqual(signal.SIGTERM, self.reactor._exitSignal)
        self.assertEqual(self.reactor.sigTerm, signal.getsignal(signal.SIGTERM))

    def test_others_handlers(self) -> None:
        """A handler that is not the reactor's stays where it is."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.end()
        self.reactor.fire("before")
        self.assertEqual(signal.SIG_IGN, signal.getsignal(signal.SIGTERM))
        self.reactor.fire("after")

    def test_handler_replaced_meanwhile(self) -> None:
        """Nor is one taken away that somebody set while the reactor stopped."""
        self.end()
        self.reactor.fire("before")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.reactor.fire("after")
        self.assertEqual(signal.SIG_IGN, signal.getsignal(signal.SIGTERM))

    def test_other_thread(self) -> None:
        """A reactor in another thread has no handlers, and gets none."""
        self.end()
        thread = threading.Thread(target=self.reactor.fire, args=("before",))
        thread.start()
        thread.join()
        self.assertEqual(self.reactor.sigTerm, signal.getsignal(signal.SIGTERM))

    def test_stopped_alone(self) -> None:
        """A service that stops while its process goes on leaves nothing behind."""
        self.end().forget()
        self.reactor.fire("before")
        self.assertEqual(self.reactor.sigTerm, signal.getsignal(signal.SIGTERM))


class ServiceTests(Case):
    """A whole service stops."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = Reactor()
        self.whole = FactoryService(
            "shout", Factory.forProtocol(Slow), ["tcp:1"], self.reactor, drain_timeout=5
        )
        self.whole.startService()

    def connect_to_service(self) -> Transport:
        protocol = self.whole.gate.buildProtocol(None)
        transport = Transport(protocol)
        protocol.makeConnection(transport)
        return transport

    def test_waits_for_connections(self) -> None:
        """The service has stopped when its connections have ended."""
        transport = self.connect_to_service()
        done: defer.Deferred[Any] = self.whole.stopService()
        self.assertNoResult(done)
        transport.loseConnection()
        self.successResultOf(done)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_timeout(self) -> None:
        """And at the timeout at the latest."""
        transport = self.connect_to_service()
        done: defer.Deferred[Any] = self.whole.stopService()
        self.reactor.advance(5)
        self.successResultOf(done)
        self.assertTrue(transport.aborted)

    def test_second_signal(self) -> None:
        """A second signal cuts it short, even if it comes before the ports have closed."""
        for early in (True, False):
            transport = self.connect_to_service()
            if early:
                self.whole.hurry()
            done: defer.Deferred[Any] = self.whole.stopService()
            if not early:
                self.whole.hurry()
            self.successResultOf(done)
            self.assertTrue(transport.aborted)
            self.whole.startService()

    def test_restart(self) -> None:
        """Started again it lets connections in again."""
        self.successResultOf(self.whole.stopService())
        self.whole.startService()
        self.connect_to_service()
        self.assertEqual(1, len(self.whole.gate))

    def test_what_does_not_stop(self) -> None:
        """A service beside that fails to stop is no clean end."""
        end = self.whole._end
        assert end is not None
        self.patch(self.whole.listening, "stopService", lambda: defer.fail(RuntimeError()))
        self.successResultOf(self.whole.stopService())
        self.assertFalse(end.clean)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
