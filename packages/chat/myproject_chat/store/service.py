"""
The store as a service: it opens the file before the first client comes, and closes it after the last.

`twisted.enterprise.adbapi` would open the file in its own thread when it is first used; ours is opened while
the service starts, so that a file that cannot be had ends the process in one line.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from myproject.errors import CannotStart
from myproject_chat.store.database import MEMORY, Database, InUseError
from myproject_chat.store.journal import Delayed, LostError
from myproject_chat.store.records import Loaded
from myproject_chat.store.schema import NewerVersionError
from myproject_chat.store.store import Store
from myproject_chat.store.thread import FileThread

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["StoreService"]

#: Seconds between two looks at what another program may have changed.
_LOOK: Final = 1.0
#: Seconds between two rounds of deleting.
_PRUNE: Final = 60.0


class StoreService(Service):
    """
    Opens, keeps and closes a store.

    :param path: the file, or ``:memory:``.
    :param ready: called with all that is small once the file is open.
    :param wall: seconds since 1970.
    :param history_length: entries that each history keeps; 0 for any number.
    :param history_age: seconds that an entry is kept; 0 for ever.
    :param flush: whether a loss of power, too, takes nothing that was safe; see `database`.
    :param reactor: the reactor; by default the global one, looked up when the service starts.

    :ivar store: the store.
    """

    _log = Logger()

    def __init__(
        self,
        path: str,
        ready: Callable[[Loaded], None],
        wall: Callable[[], float],
        *,
        history_length: int = 0,
        history_age: float = 0,
        flush: bool = False,
        reactor: Any = None,
    ) -> None:
        self.path = path
        self._ready = ready
        self._wall = wall
        self._reactor = reactor
        self._thread: FileThread | None = None
        self._starting: IDelayedCall | None = None
        self._calls: list[LoopingCall] = []
        self.store = Store(
            partial(Database, path, flush=flush),
            self._run,
            self._later,
            history_length=history_length,
            history_age=int(history_age * 1000),
        )

    def reload(self, *, history_length: int, history_age: float, flush: bool) -> None:
        """
        Take other limits, as `StoreService` has them, from now on.

        :param history_length: entries that each history keeps.
        :param history_age: seconds that an entry is kept.
        :param flush: whether a loss of power, too, takes nothing.
        """
        self.store.history_length = history_length
        self.store.history_age = int(history_age * 1000)
        if self._thread is not None:
            self.store.set_flush(flush=flush)

    def _run(self, function: Callable[[], Any]) -> Deferred[Any]:
        if self._thread is None:
            raise RuntimeError("the store's thread does not run")
        return self._thread.run(function)

    def _later(self, seconds: float, function: Callable[[], None]) -> Delayed:
        clock: IReactorTime = self._reactor
        call: Delayed = clock.callLater(seconds, function)
        return call

    def startService(self) -> None:
        """
        Open the file.

        :raises CannotStart: it cannot be had.
        """
        super().startService()
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        try:
            loaded = self.store.open()
        except (OSError, sqlite3.Error, InUseError, NewerVersionError) as failure:
            raise CannotStart(
                f"cannot use the state file {self.path}: {_why(failure)}; {_remedy(failure)}"
            ) from None
        self._thread = FileThread(self._reactor)
        # A thread would keep the process from ending if another service could not start.
        self._starting = self._reactor.callLater(0, self._begin)
        if self.path != MEMORY:
            self._every(_LOOK, self.store.look)
        self._every(_PRUNE, self._prune)
        self._ready(loaded)

    def _begin(self) -> None:
        """The reactor runs: from here on the store's thread does, too."""
        self._starting = None
        if self._thread is not None:
            self._thread.start()

    def _every(self, seconds: float, call: Callable[[], Deferred[None]]) -> None:
        """Call it now and then. What fails is told once, and goes on: a full disk is not full for ever."""
        failing = False

        def well(_: object) -> None:
            nonlocal failing
            failing = False

        def trouble(failure: Failure) -> None:
            nonlocal failing
            if not failing and not failure.check(LostError):
                self._log.failure("looking after {path} failed", failure, path=self.path)
            failing = True

        looping = LoopingCall(lambda: call().addCallbacks(well, trouble))
        looping.clock = self._reactor
        looping.start(seconds, now=False)
        self._calls.append(looping)

    def _prune(self) -> Deferred[None]:
        return self.store.prune(int(self._wall() * 1000))

    def stopService(self) -> Deferred[None] | None:
        """
        Write all that waits and close the file.

        :return: fires when it is closed.
        """
        super().stopService()
        if self._thread is None:
            return None
        calls, self._calls = self._calls, []
        for call in calls:
            call.stop()
        if self._starting is not None:
            # The reactor has not run: nothing was written, and nobody would tell us that it was.
            self._starting.cancel()
            self._starting = self._thread = None
            self.store.database.close()
            return None
        return self.store.close().addBoth(self._stop_thread)

    def _stop_thread(self, result: Any) -> Any:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()
        return result


def _why(failure: Exception) -> str:
    if isinstance(failure, OSError):
        return (failure.strerror or type(failure).__name__).lower()
    return str(failure)


def _remedy(failure: Exception) -> str:
    if isinstance(failure, InUseError):
        return "stop that one, or give each its own with --state"
    if isinstance(failure, NewerVersionError):
        return "install the version that wrote it, or give another file with --state"
    if isinstance(failure, sqlite3.DatabaseError) and not isinstance(
        failure, sqlite3.OperationalError
    ):
        return "restore a backup, or give another file with --state"
    return "give a file in a folder that can be written, with --state, or :memory:"
