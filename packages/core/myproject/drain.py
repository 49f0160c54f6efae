"""
The drain: how a service stops without cutting anyone off who need not be.

When a service stops, its ports have closed. What remains are connections, and each belongs to whichever
protocol has it at that moment. The drain goes through these states, in this order, and skips what
it has no need of:

========  ====================================================  =======================================
state     what happens                                          then
========  ====================================================  =======================================
idle      begin                                                 all that are drainable are told; waiting
waiting   the last connection closes                            done
waiting   the timeout passes, or a second signal comes          all that remain are aborted; cutting
cutting   the last connection closes                            done
cutting   ``GRACE`` passes                                      done: those do not heed an abort
========  ====================================================  =======================================

Rules it keeps. A protocol is told once. One that raises while it is told is logged and aborted, and the
others are told all the same. A timeout of 0 means that nobody waits: each is told, gets one turn of
the reactor to have its last words sent, and is cut. The log says how many connections remained, for
how long they may, and what became of them; for a service without connections it says nothing.

The other half of this module is about the process. ``SIGTERM`` and ``SIGINT`` make Twisted's reactor stop,
and once it is stopping a second one makes it log an error, because it cannot stop twice. So while it
stops their handlers are ours, and a second signal means "now". And ``twistd`` ends by the signal that
stopped it: a supervisor sees status 143, though nothing went wrong. When a stop has run its
course, however many connections it cut at the timeout, the process exits with status 0; after a
second signal it ends by the first one, as ever.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import defer
from twisted.logger import Logger

from myproject.interfaces import IDrainable

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from myproject.connection import Connection
    from myproject.gate import Gate

__all__ = ["DRAIN_TIMEOUT", "Drain", "ProcessEnd"]

#: Seconds for connections to end by themselves. `docker stop` kills after 10 s, and what stops after the
#: connections needs a moment too; Kubernetes gives 30 s, systemd 90.
DRAIN_TIMEOUT: Final = 8.0

#: Seconds in which an aborted connection must be gone. A socket is in the reactor's next turn.
GRACE: Final = 1.0


class Drain:
    """
    One draining of a gate.

    :param gate: whose connections are to end; it is closed first.
    :param clock: tells the time.
    :param timeout: seconds until those that remain are aborted.
    """

    _log = Logger()

    def __init__(self, gate: Gate, clock: IReactorTime, timeout: float) -> None:
        self._gate = gate
        self._clock = clock
        self._timeout = timeout
        self._timer: Any = None
        self._cutting = False
        self._empty: defer.Deferred[None] | None = None

    def begin(self) -> defer.Deferred[None]:
        """
        Tell all connections, and wait for them.

        :return: fires when there are none, or none that can be helped.
        """
        self._gate.close()
        remaining = len(self._gate)
        told = sum(self._tell(connection) for connection in self._gate)
        self._empty = self._gate.when_empty()
        self._empty.addBoth(self._finish)
        if len(self._gate):
            self._log.info(
                "{remaining} connections remain, {told} of them told to end;"
                " waiting for at most {timeout:g} s",
                remaining=remaining,
                told=told,
                timeout=self._timeout,
            )
            self._timer = self._clock.callLater(self._timeout, self.cut)
        return self._empty

    def _tell(self, connection: Connection) -> bool:
        drainable = IDrainable(connection.protocol, None)
        if drainable is None:
            return False
        try:
            drainable.drain()
        except Exception:
            # A protocol's own bug is no reason to leave the others untold.
            self._log.failure("a protocol failed when told to drain")
            connection.abort()
        return True

    def cut(self) -> None:
        """Wait no longer: abort what remains."""
        if self._empty is None or self._cutting or not len(self._gate):
            return
        self._cutting = True
        self._cancel_timer()
        self._log.warn("aborting {remaining} connections that remain", remaining=len(self._gate))
        for connection in self._gate:
            connection.abort()
        if len(self._gate):
            self._timer = self._clock.callLater(GRACE, self._empty.cancel)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _finish(self, _: object) -> None:
        self._cancel_timer()
        if len(self._gate):
            self._log.warn("{remaining} connections do not close", remaining=len(self._gate))


class _SecondSignal:
    """
    The handler of ``SIGTERM`` and ``SIGINT`` in a process that is stopping; one serves all services.

    :param reactor: whose handlers it replaces.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._previous: dict[int, Any] = {}
        self.callbacks: list[Callable[[], None]] = []
        self.given = False

    @classmethod
    def installed(cls, reactor: Any) -> _SecondSignal:
        """Take the reactor's place as handler, unless one of us has."""
        handler = cls(reactor)
        if threading.current_thread() is not threading.main_thread():
            # Python lets no other thread set handlers, and the reactor has none there.
            return handler
        for number, own in ((signal.SIGTERM, "sigTerm"), (signal.SIGINT, "sigInt")):
            current = signal.getsignal(number)
            if isinstance(current, cls):
                return current
            # Someone else's handler, or a signal that is ignored, is none of our business.
            if current is not None and current == getattr(reactor, own, None):
                handler._previous[number] = current
                signal.signal(number, handler)
        return handler

    def __call__(self, *_: object) -> None:
        self.given = True
        self._reactor.callFromThread(self._now)

    def _now(self) -> None:
        self._log.warn("a second signal: stopping now")
        for callback in self.callbacks:
            callback()

    def remove(self) -> None:
        """Give the reactor its handlers back."""
        previous, self._previous = self._previous, {}
        for number, handler in previous.items():
            if signal.getsignal(number) is self:
                signal.signal(number, handler)


class ProcessEnd:
    """
    What a service wants of the way that its process ends, from the service's start to its stop.

    :param reactor: the reactor, as an ``IReactorCore``.
    :param hurry: called if a second signal comes while the reactor is stopping.
    """

    def __init__(self, reactor: Any, hurry: Callable[[], None]) -> None:
        self._reactor = reactor
        self._hurry = hurry
        self._second: _SecondSignal | None = None
        #: Set to False if something did not stop as it should; the exit status is the signal's then.
        self.clean = True
        add = reactor.addSystemEventTrigger
        self._triggers = [
            add("before", "shutdown", self._begins),
            add("after", "shutdown", self._ends),
        ]

    def _begins(self) -> None:
        self._second = _SecondSignal.installed(self._reactor)
        self._second.callbacks.append(self._hurry)

    def _ends(self) -> None:
        second, self._second = self._second, None
        if second is not None:
            second.remove()
        if self.clean and (second is None or not second.given):
            # What twistd and twist end themselves with, if it is set.
            self._reactor._exitSignal = None  # noqa: SLF001 (there is no other way)

    def forget(self) -> None:
        """The service has stopped: if its process goes on, its end is no longer the service's affair."""
        if self._second is not None:
            return
        for trigger in self._triggers:
            if trigger is not None:
                self._reactor.removeSystemEventTrigger(trigger)
        self._triggers = []
