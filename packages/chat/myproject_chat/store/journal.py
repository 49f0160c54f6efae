"""
The journal: what is to be written waits here, and is written together; tickets say what is safe.

Each write is given a number, its ticket. What is waiting when the writer is free goes into one transaction.
When a transaction is safe, `on_written` is told the last ticket in it.

A transaction begins at the end of the turn if somebody waits for what is in it: for an acknowledgement, to
read behind it, to stop. What nobody waits for may wait itself, `WINDOW` seconds at most: a transaction costs
more than hundreds of messages in it do, in a channel of a hundred half as much as to hand out a message. So
the end of the process, if it is sudden, takes what was said in that time and acknowledged to nobody.

When the disk does not take what is written (it is full, it fails), nothing is dropped: it is tried again
after `RETRY` seconds, and `healthy` says so meanwhile. What waits has a bound, also for a disk that is merely
slow: once it is reached `full` is true, and who writes has to write less. Only when the journal is to end,
and the disk has failed `LAST_TRIES` times more, is what waits lost, and the log says how much.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from myproject_chat.store.records import Entry
from myproject_chat.store.rows import Group, Statement

__all__ = [
    "LAST_TRIES",
    "MAX_WAITING",
    "MAX_WAITING_BYTES",
    "RETRY",
    "WINDOW",
    "Delayed",
    "Journal",
    "LostError",
]

#: Writes that may wait: at 50,000 messages a minute two minutes'.
MAX_WAITING: Final = 100_000

#: Bytes of their values, about. Most messages have a hundred; one may have twelve thousand.
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024

#: Seconds that what nobody waits for may wait for more.
WINDOW: Final = 0.05

#: Writes that go at once, whoever waits: a transaction of a thousand takes some 5 ms.
_BATCH: Final = 1000

#: Seconds until what could not be written is tried again.
RETRY: Final = 1.0

#: How often it is tried again at the end: another program may have the file for a moment.
LAST_TRIES: Final = 5

# What an entry takes beside its words, at most: names, addresses, tuples.
_ENTRY_BYTES: Final = 512

_Waiter = tuple[int, Deferred[None]]


class Delayed(Protocol):
    """What will be called later."""

    def cancel(self) -> object:
        """Do not call it, which is to come yet."""


class LostError(Exception):
    """The journal ended while the disk failed: what was waited for is not written."""


class Journal:
    """
    What waits to be written.

    :param write: writes entries and groups of statements where the file may be used, in the order of the
        calls; gives what was wrong with those that cannot be written at all.
    :param later: calls a function after some seconds.

    :ivar given: the last ticket.
    :ivar written: the last ticket of what is safe.
    :ivar on_written: called with `written` when it has grown.
    :ivar healthy: whether the last write succeeded.
    """

    _log = Logger()

    def __init__(
        self,
        write: Callable[[list[Entry | Group]], Deferred[list[Exception]]],
        later: Callable[[float, Callable[[], None]], Delayed],
    ) -> None:
        self._write = write
        self._later = later
        self.given = 0
        self.written = 0
        self.healthy = True
        self.on_written: Callable[[int], None] = lambda _: None
        # What waits, an item for each ticket; and the bytes of that, and of what is being written.
        self._waiting: list[Entry | Group] = []
        self._bytes = 0
        # Whether a transaction runs, begins with the turn's end, or is to be tried again; whether somebody
        # waits for what waits here; what ends the window in which nobody does.
        self._writing = self._hurried = False
        self._window: Delayed | None = None
        self._waiters: list[_Waiter] = []
        self._readers: list[_Waiter] = []
        self._last_tries: int | None = None

    def __len__(self) -> int:
        """Count what is not safe yet."""
        return self.given - self.written

    @property
    def full(self) -> bool:
        """Whether so much waits that no more is to be written."""
        return self.given - self.written >= MAX_WAITING or self._bytes >= MAX_WAITING_BYTES

    def write(self, statements: Iterable[Statement]) -> int:
        """
        Have something written, with the end of the turn.

        :param statements: what is written together, or not at all.
        :return: the ticket.
        """
        group = tuple(statements)
        self._waiting.append(group)
        for _, values in group:
            for value in values:
                if type(value) is bytes:
                    self._bytes += len(value)
        self.given += 1
        self.hurry()
        return self.given

    def add(self, entries: Sequence[Entry]) -> int:
        """
        Have entries of history written, with the end of the window or once somebody waits for them.

        :param entries: the entries.
        :return: the last one's ticket.
        """
        waiting = self._waiting
        waiting.extend(entries)
        for entry in entries:
            self._bytes += _ENTRY_BYTES + len(entry.text or b"") + len(entry.tags)
        self.given += len(entries)
        if len(waiting) >= _BATCH:
            self.hurry()
        elif self._window is None:
            self._plan()
        return self.given

    def hurry(self) -> None:
        """Have what waits written now: somebody waits for that."""
        if self._waiting and not self._hurried:
            self._hurried = True
            self._plan()

    def _plan(self) -> None:
        """Have what waits written at its time; once a transaction has ended, if one runs."""
        if self._writing:
            return
        if self._hurried or self._last_tries is not None:
            # At the end of the turn, so that all that is said in it goes together.
            self._writing = True
            self._later(0, self._commit)
        elif self._window is None:
            self._window = self._later(WINDOW, self._close_window)

    def _close_window(self) -> None:
        self._window = None
        self.hurry()

    def when_written(self, ticket: int) -> Deferred[None]:
        """
        Wait until something is safe.

        :param ticket: its number.
        :return: fires when it is; with `LostError` if it never will be.
        """
        if ticket <= self.written:
            return succeed(None)
        self.hurry()
        waiter: Deferred[None] = Deferred()
        self._waiters.append((ticket, waiter))
        return waiter

    def when_readable(self) -> Deferred[None]:
        """
        Wait until all there is so far is safe, or the disk fails: who reads will not wait for that.

        :return: fires then.
        """
        if not self.healthy or self.given <= self.written:
            return succeed(None)
        self.hurry()
        waiter: Deferred[None] = Deferred()
        self._readers.append((self.given, waiter))
        return waiter

    def end(self) -> Deferred[None]:
        """
        Have all written that waits.

        :return: fires when it is; with `LostError` if the disk goes on failing.
        """
        self._last_tries = LAST_TRIES
        if self._window is not None:
            self._window.cancel()
            self._window = None
        return self.when_written(self.given)

    def _commit(self) -> None:
        self._hurried = False
        batch, self._waiting = self._waiting, []
        self._write(batch).addCallbacks(
            partial(self._committed, self.given, self._bytes), partial(self._failed, batch)
        ).addErrback(self._bug)

    def _bug(self, failure: Failure) -> None:
        self._log.failure("a bug in the store, or in who listens to it", failure)

    def _committed(self, ticket: int, size: int, wrong: list[Exception]) -> None:
        for mistake in wrong:
            self._log.failure("a bug: this cannot be written, and is left out", Failure(mistake))
        if not self.healthy:
            self.healthy = True
            self._log.info("the store can be written to again")
        self.written = ticket
        self._bytes -= size
        self._writing = False
        if self._waiting:
            self._plan()
        for waiter in self._safe():
            waiter.callback(None)
        self.on_written(ticket)

    def _safe(self) -> list[Deferred[None]]:
        """Take out those who wait for what is safe now."""
        every = self._waiters + self._readers
        self._waiters = [one for one in self._waiters if one[0] > self.written]
        self._readers = [one for one in self._readers if one[0] > self.written]
        return [waiter for ticket, waiter in every if ticket <= self.written]

    def _failed(self, batch: list[Entry | Group], failure: Failure) -> None:
        self._waiting = batch + self._waiting
        if self.healthy:
            self.healthy = False
            self._log.error(
                "the store cannot be written to: {why}; trying again every {seconds:g} s",
                why=failure.value,
                seconds=RETRY,
            )
            if not failure.check(sqlite3.Error):
                self._bug(failure)
        readers, self._readers = self._readers, []
        for _, reader in readers:
            reader.callback(None)
        if self._last_tries is not None:
            self._last_tries -= 1
            if self._last_tries < 0:
                self._lose()
                return
        self._later(RETRY, self._commit)

    def _lose(self) -> None:
        self._log.error("{count} writes are lost", count=len(self._waiting))
        waiters, self._waiters = self._waiters, []
        for _, waiter in waiters:
            waiter.errback(LostError("the store closed while the disk failed"))
