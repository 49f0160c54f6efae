"""
The reactor that the subcommands use on Linux: corked transports, and a loop with less around each event.

The loop does what ``twisted.internet.epollreactor`` does, but

- a plain event, which is nearly all of them, calls ``doRead`` or ``doWrite`` and nothing else;
- the log context is made when something is logged (:mod:`myproject.reactor.logcontext`);
- the buffer for events has room for :data:`EVENTS`, not for one of each descriptor: with 10,000 connections
  that is 120 KB allocated in each turn. What finds no room comes first in the next turn (epoll_wait(2)).
"""

from __future__ import annotations

import sys
from select import EPOLLIN, EPOLLOUT
from typing import Any, Final

from twisted.internet import epollreactor
from twisted.internet.main import installReactor
from twisted.internet.posixbase import _NO_FILEDESC
from twisted.python import context, log
from twisted.python.log import ILogContext

from myproject.memory import keep_buffers
from myproject.reactor.logcontext import Current, LogContext
from myproject.reactor.transports import Corked
from myproject.reactor.turns import Corking

# Seconds for which epoll_wait(2) is not asked to wait without Twisted's own look at the figure.
_LONG: Final = 86400.0

#: Places that the table of descriptors grows by.
_PLACES: Final = 64

__all__ = ["EVENTS", "CorkedEPollReactor", "install"]

#: Events that are taken from the kernel at once; a buffer for so many, 12 bytes each, malloc has in store.
EVENTS: Final = 84


class CorkedEPollReactor(Corking, epollreactor.EPollReactor):
    """epoll(7), corked and lean."""

    def __init__(self) -> None:
        self._current = Current()
        #: Connections that are read, each at its descriptor's place; there is a place for each that is waited
        #: for. Of all others more has to be asked at each event. A dict has them further away.
        self._streams: list[Corked | None] = []
        super().__init__()
        # What the loop looks at; if Twisted has it no more, that is better known now.
        _ = self._pendingTimedCalls, self._newTimedCalls, self.threadCallQueue, self._justStopped

    def mainLoop(self) -> None:
        """Run until stopped, all of it in one log context."""
        shown = LogContext(self._current)
        context.call({ILogContext: shown}, self._turn_until_stopped)

    def _turn_until_stopped(self) -> None:
        while self._started:
            try:
                self.runUntilCurrent()
                self._turn(self.running and self.timeout(), once=False)
            except BaseException:
                log.err(None, "Unexpected error in main loop.")
        log.msg("Main loop terminated.")

    def doPoll(self, timeout: float | None) -> None:
        """
        Wait for events, and handle them.

        :param timeout: seconds to wait; None for as long as it takes.
        """
        self._turn(timeout, once=True)

    doIteration = doPoll

    def addReader(self, reader: Any) -> None:
        """See ``IReactorFDSet``."""
        fd = reader.fileno()
        self._reach(fd)
        super().addReader(reader)
        if isinstance(reader, Corked):
            self._streams[fd] = reader

    def addWriter(self, writer: Any) -> None:
        """See ``IReactorFDSet``."""
        self._reach(writer.fileno())
        super().addWriter(writer)

    def _reach(self, fd: int) -> None:
        """Have a place for a descriptor that is to be waited for."""
        missing = fd + 1 - len(self._streams)
        if missing > 0:
            self._streams.extend([None] * (missing + _PLACES))

    def removeReader(self, reader: Any) -> None:
        """See ``IReactorFDSet``."""
        if isinstance(reader, Corked):
            fd: int = reader.fileno()
            if fd == -1:
                # Its socket is gone; it may have been closed behind its back.
                for known in [each for each, one in enumerate(self._streams) if one is reader]:
                    self._streams[known] = None
            elif fd < len(self._streams) and self._streams[fd] is reader:
                self._streams[fd] = None
            else:
                # It is not read: each that is closed asks for this three times.
                return
        super().removeReader(reader)

    def _turn(self, wait: float | None, *, once: bool) -> None:
        """
        Wait for events, and handle them; then, if it is not for once, do so until the reactor stops.

        Between two turns Twisted's loop calls what is due, and looks when the next call will be. So does
        this one, but only if there is anything: where few events come at once, that is a fifth of their cost.
        """
        poll = self._poller.poll
        seconds = self.seconds
        streams = self._streams
        current = self._current
        # This may be within an event, of a program that calls iterate().
        before = current.descriptor
        while True:
            for fd, event in poll(-1 if wait is None else wait, EVENTS):
                # Another event of this turn may have paused it.
                stream = streams[fd]
                if stream is None or event != EPOLLIN:
                    self._handle(fd, event)
                    continue
                current.descriptor = stream
                try:
                    why = stream.doRead()
                except BaseException:
                    self._raised(stream, event)
                else:
                    if why:
                        self._ended(stream, why, event)
            current.descriptor = before
            if once or not self._started:
                return
            pending = self._pendingTimedCalls
            wait = pending[0].time - seconds() if pending else None
            if (
                self._corked
                or self._newTimedCalls
                or self.threadCallQueue
                or self._justStopped
                or (wait is not None and not 0 < wait < _LONG)
            ):
                self.runUntilCurrent()
                wait = self.running and self.timeout()

    def _handle(self, fd: int, event: int) -> None:
        """Handle an event other than something to read of a connection."""
        selectable = self._selectables.get(fd)
        if selectable is None:
            return
        self._current.descriptor = selectable
        why: Any = None
        try:
            if selectable.fileno() == -1:
                why = _NO_FILEDESC
            elif event == EPOLLIN:
                if fd in self._reads:
                    why = selectable.doRead()
            elif event == EPOLLOUT:
                why = selectable.doWrite()
            else:
                log.callWithLogger(selectable, self._doReadOrWrite, selectable, fd, event)
        except BaseException:
            self._raised(selectable, event)
        else:
            if why:
                self._ended(selectable, why, event)

    def close(self, transport: Corked, why: Exception) -> None:
        """
        Close a connection, see :meth:`Corking.close`: in its log context, which costs nothing here.

        :param transport: the connection.
        :param why: the reason, as from ``doWrite``.
        """
        current = self._current
        before, current.descriptor = current.descriptor, transport
        try:
            self._disconnectSelectable(transport, why, False)
        except Exception:
            log.err()
        finally:
            current.descriptor = before

    def _raised(self, selectable: Any, event: int) -> None:
        # Whatever the protocol raises, it costs its own connection only.
        why = sys.exc_info()[1]
        log.callWithLogger(selectable, self.failed, selectable, why, event == EPOLLIN)

    def _ended(self, selectable: Any, why: Any, event: int) -> None:
        disconnect = self._disconnectSelectable
        log.callWithLogger(selectable, disconnect, selectable, why, event == EPOLLIN)


def install() -> None:
    """Install this reactor as the process's."""
    keep_buffers()
    installReactor(CorkedEPollReactor())
