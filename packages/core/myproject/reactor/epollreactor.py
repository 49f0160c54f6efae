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
from myproject.reactor.logcontext import LogContext
from myproject.reactor.turns import Corking

__all__ = ["EVENTS", "CorkedEPollReactor", "install"]

#: Events that are taken from the kernel at once.
EVENTS: Final = 256


class CorkedEPollReactor(Corking, epollreactor.EPollReactor):
    """epoll(7), corked and lean."""

    def __init__(self) -> None:
        self._log_context = LogContext()
        super().__init__()

    def mainLoop(self) -> None:
        """Run until stopped, all of it in one log context."""
        self._log_context = LogContext()
        context.call({ILogContext: self._log_context}, super().mainLoop)

    def doPoll(self, timeout: float | None) -> None:
        """
        Wait for events, and handle them.

        :param timeout: seconds to wait; None for as long as it takes.
        """
        events = self._poller.poll(-1 if timeout is None else timeout, EVENTS)
        selectables = self._selectables
        reads = self._reads
        shown = self._log_context
        # This may be within an event, of a program that calls iterate().
        before = shown.current
        for fd, event in events:
            selectable = selectables.get(fd)
            if selectable is None:
                continue
            shown.current = selectable
            reading = event == EPOLLIN
            if reading or event == EPOLLOUT:
                try:
                    if selectable.fileno() == -1:
                        why: Any = _NO_FILEDESC
                    elif not reading:
                        why = selectable.doWrite()
                    elif fd in reads:
                        why = selectable.doRead()
                    else:
                        # Paused by another event of this turn.
                        continue
                except BaseException:
                    # Whatever the protocol raises, it costs its own connection only.
                    why = sys.exc_info()[1]
                    log.callWithLogger(selectable, self.failed, selectable, why, reading)
                else:
                    if why:
                        log.callWithLogger(
                            selectable, self._disconnectSelectable, selectable, why, reading
                        )
            else:
                log.callWithLogger(selectable, self._doReadOrWrite, selectable, fd, event)
        shown.current = before

    doIteration = doPoll


def install() -> None:
    """Install this reactor as the process's."""
    keep_buffers()
    installReactor(CorkedEPollReactor())
