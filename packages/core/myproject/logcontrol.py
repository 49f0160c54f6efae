"""
What twistd does not know of its logs: a least level, and files that are opened again.

:class:`Logging` stands between ``twistd`` and whichever observers it was asked for, ours or its own: it keeps
from them what ``--log-level`` is above, and has their files opened again.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.application.service import Service
from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    PredicateResult,
    globalLogBeginner,
)

from myproject.listening import why
from myproject.logs import LineObserver, level_of

if TYPE_CHECKING:
    from twisted.logger import ILogObserver, LogEvent

__all__ = ["LEVELS", "Logging", "LogsService"]

#: What ``--log-level`` takes, the least important first.
LEVELS: Final = tuple(level.name for level in LogLevel.iterconstants())


class Logging:
    """
    Stands where observers are registered when ``twistd`` begins to log.

    :param subcommand: whose log it is.
    :param level: the least level that is logged, one of :data:`LEVELS`.
    """

    _log = Logger()

    def __init__(self, subcommand: str, level: str) -> None:
        self.subcommand = subcommand
        #: The least level that is logged; may be set at any time.
        self.level = level
        self._observers: list[Any] = []
        self._begin: Callable[..., None] = globalLogBeginner.beginLoggingTo

    @classmethod
    def installed(cls, subcommand: str, level: str) -> Logging:
        """
        Stand there, unless one of us does: the subcommand that was started first has its say.

        :param subcommand: whose log it is.
        :param level: the least level that is logged.
        """
        # Twisted lets nobody choose the level of twistd's own observers. This is the one place that all of
        # them pass: those of --logger, --logfile and --syslog, and of twist.
        current = globalLogBeginner.beginLoggingTo
        owner = getattr(current, "__self__", None)
        if isinstance(owner, cls):
            return owner
        made = cls(subcommand, level)
        globalLogBeginner.beginLoggingTo = made.begin  # type: ignore[method-assign]
        return made

    def begin(self, observers: Iterable[ILogObserver], *arguments: Any, **options: Any) -> None:
        """
        Begin to log, as ``LogBeginner.beginLoggingTo`` does, whose arguments it takes.

        :param observers: what the level is kept from.
        """
        globalLogBeginner.beginLoggingTo = self._begin  # type: ignore[method-assign]
        self._observers = list(observers)
        for one in self._observers:
            if isinstance(one, LineObserver):
                one.subcommand = self.subcommand
        # All that it does with a predicate is call it.
        admits = cast("Any", self._admits)
        kept = [FilteringLogObserver(one, [admits]) for one in self._observers]
        self._begin(kept, *arguments, **options)

    def _admits(self, event: LogEvent) -> Any:
        important = level_of(event) >= LogLevel.levelWithName(self.level)
        return PredicateResult.maybe if important else PredicateResult.no

    def reopen(self) -> None:
        """Open the log files again, by their names. One that cannot be had is written to as before."""
        for observer in self._observers:
            try:
                if isinstance(observer, LineObserver):
                    observer.reopen()
                    continue
                # That of --logfile; standard output has no such method.
                file: Any = getattr(observer, "_outFile", None)
                if hasattr(file, "reopen"):
                    # It closes the old file before it opens the new one: ask before.
                    with Path(file.path).open("ab"):
                        file.reopen()
            except OSError as failure:
                self._log.error("cannot open the log file again: {why}", why=why(failure))


class LogsService(Service):
    """
    Opens the log files again on ``SIGHUP``, beside whatever else the signal does.

    :param logging: has the files.
    :param reactor: the reactor; by default the global one, looked up when the service starts.
    """

    def __init__(self, logging: Logging, reactor: Any = None) -> None:
        self.logging = logging
        self.reactor = reactor
        self._previous: Any = None

    def startService(self) -> None:
        """Take the signal."""
        super().startService()
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        # Python lets no other thread. If another handler came after ours it still calls ours: to
        # take the signal once more would have the two call each other for ever.
        main = threading.current_thread() is threading.main_thread()
        if main and self._previous is None:
            self._previous = signal.signal(signal.SIGHUP, self._hung_up)

    def _hung_up(self, number: int, frame: Any) -> None:
        self.reactor.callFromThread(self.logging.reopen)
        if callable(self._previous):
            self._previous(number, frame)

    def stopService(self) -> None:
        """Give the signal back, unless someone else has it by now."""
        super().stopService()
        if self._previous is not None and signal.getsignal(signal.SIGHUP) == self._hung_up:
            signal.signal(signal.SIGHUP, self._previous)
            self._previous = None
