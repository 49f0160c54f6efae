"""
The store: what the server writes down, and when it is safe.

The server never waits for the disk. Everything small lives in its memory, and is written down as it
changes; each write is given a number, its ticket. What is waiting when the writer is free goes into one
transaction, so that a busy server commits many messages at once, and a quiet one commits each at once. When a
transaction is safe, `on_written` is told the last ticket in it; who holds an acknowledgement back for
that sends it now. Reads go the same way behind the writes, so a read sees everything written before it.

All access to the file is in one thread. How a function gets there is handed in (`run`), so that tests run
it on the spot.

When the disk does not take what is written (it is full, it fails), nothing is dropped: it is tried again
after `RETRY` seconds, and `healthy` says so meanwhile. What waits has a bound; once it is reached `full` is
true, and the server has to refuse what would be written. Only when the store is to close while the disk
fails is what waits lost, and the log says how much.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from myproject_chat.names import fold
from myproject_chat.selectors import Query
from myproject_chat.store.database import Database
from myproject_chat.store.records import (
    Account,
    Entry,
    Loaded,
    Marker,
    Metadata,
    NetworkBan,
    RegisteredChannel,
)
from myproject_chat.store.rows import Statement, put_account, put_ban, put_channel, put_entry

__all__ = ["MAX_WAITING", "RETRY", "Store"]

T = TypeVar("T")

#: Statements that may wait: at 50,000 messages a minute more than a minute's, about 50 MB of the longest.
MAX_WAITING: Final = 100_000

#: Seconds until what could not be written is tried again.
RETRY: Final = 1.0


class Store:
    """
    The store of one server.

    :param open_database: opens the file; called by `open`.
    :param run: runs a function where the file may be used, in the order of the calls, and gives what it
        returns.
    :param later: calls a function after some seconds.
    :param history_length: entries that each history keeps; 0 for any number.
    :param history_age: milliseconds that an entry is kept; 0 for ever.

    :ivar written: the last ticket of what is safe.
    :ivar on_written: called with `written` when it has grown.
    :ivar on_changed: called with all that is small when another program has changed the file.
    :ivar healthy: whether the last write succeeded.
    """

    _log = Logger()

    def __init__(
        self,
        open_database: Callable[[], Database],
        run: Callable[[Callable[[], Any]], Deferred[Any]],
        later: Callable[[float, Callable[[], None]], object],
        *,
        history_length: int = 0,
        history_age: int = 0,
    ) -> None:
        self._open_database = open_database
        self._run = run
        self._later = later
        self.history_length = history_length
        self.history_age = history_age
        self.written = 0
        self.healthy = True
        self.on_written: Callable[[int], None] = lambda _: None
        self.on_changed: Callable[[Loaded], None] = lambda _: None
        self._database: Database | None = None
        self._given = 0
        self._waiting: list[Statement] = []
        self._writing = False
        self._dirty: set[bytes] = set()
        self._closing = False
        self._waiters: list[tuple[int, Deferred[None]]] = []

    @property
    def database(self) -> Database:
        """
        The open file; for the thread that uses it.

        :raises RuntimeError: it is not open.
        """
        if self._database is None:
            raise RuntimeError("the store is not open")
        return self._database

    def open(self) -> Loaded:
        """
        Open the file. This blocks, and is done before the first client.

        :return: all that is small.
        :raises sqlite3.Error: and what else `Database` raises.
        """
        self._database = self._open_database()
        return self._database.load()

    def close(self) -> Deferred[None]:
        """
        Write all that waits, then close the file.

        :return: fires when it is closed.
        """

        def close(_: object) -> Deferred[None]:
            database, self._database = self.database, None
            return self._run(database.close)

        self._closing = True
        return self.when_written(self._given).addCallback(close)

    # Writing

    @property
    def full(self) -> bool:
        """Whether so much waits that no more is to be written."""
        return len(self._waiting) >= MAX_WAITING

    def _write(self, statements: Iterable[Statement]) -> int:
        self._waiting.extend(statements)
        self._given += 1
        if not self._writing:
            # At the end of the turn, so that all that is said in it goes together.
            self._writing = True
            self._later(0, self._commit)
        return self._given

    def _commit(self) -> None:
        batch, self._waiting = self._waiting, []
        ticket = self._given
        running = self._run(partial(self.database.write, batch))
        running.addCallbacks(
            lambda _: self._committed(ticket), lambda failure: self._failed(failure, batch)
        )

    def _committed(self, ticket: int) -> None:
        if not self.healthy:
            self.healthy = True
            self._log.info("writing to {path} works again", path=self.database.path)
        self.written = ticket
        if self._waiting:
            self._later(0, self._commit)
        else:
            self._writing = False
        waiters, self._waiters = self._waiters, []
        for wanted, waiter in waiters:
            if wanted <= ticket:
                waiter.callback(None)
            else:
                self._waiters.append((wanted, waiter))
        self.on_written(ticket)

    def _failed(self, failure: Failure, batch: list[Statement]) -> None:
        self._waiting = batch + self._waiting
        if self.healthy:
            self.healthy = False
            self._log.error(
                "cannot write to {path}: {why}; trying again every {seconds:g} s",
                path=self.database.path,
                why=failure.value,
                seconds=RETRY,
            )
        if not failure.check(sqlite3.Error):
            self._log.failure("a bug in what is written", failure)
        if not self._closing:
            self._later(RETRY, self._commit)
            return
        self._log.error("{count} writes are lost", count=len(self._waiting))
        waiters, self._waiters = self._waiters, []
        for _, waiter in waiters:
            waiter.callback(None)

    def when_written(self, ticket: int) -> Deferred[None]:
        """
        Wait until something is safe.

        :param ticket: its number.
        """
        if ticket <= self.written:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append((ticket, waiter))
        return waiter

    def add(self, entry: Entry) -> int:
        """Write down what was said or happened; gives the ticket."""
        self._dirty.add(entry.target)
        return self._write(put_entry(entry))

    def redact(self, target: bytes, msgid: bytes) -> int:
        """Take an entry out of a history; gives the ticket."""
        sql = "DELETE FROM history WHERE msgid = ? AND target = ?"
        return self._write([(sql, (msgid, target))])

    def rename_history(self, before: bytes, after: bytes) -> int:
        """Give the history of a folded channel to another name; gives the ticket."""
        sql = "UPDATE history SET target = ? WHERE target = ?"
        return self._write([(sql, (after, before))])

    def put_account(self, account: Account) -> int:
        """Write an account, new or changed; gives the ticket."""
        return self._write(put_account(account))

    def delete_account(self, name: bytes) -> int:
        """Delete an account and what is known by its name; gives the ticket."""
        key = fold(name)
        return self._write(
            [
                ("DELETE FROM accounts WHERE key = ?", (key,)),
                ("DELETE FROM markers WHERE account = ?", (key,)),
                ("DELETE FROM metadata WHERE subject = ?", (key,)),
                ("DELETE FROM ranks WHERE account = ?", (key,)),
            ]
        )

    def put_channel(self, channel: RegisteredChannel) -> int:
        """Write a channel, new or changed; gives the ticket."""
        return self._write(put_channel(channel))

    def delete_channel(self, name: bytes) -> int:
        """Delete a channel, but not its history; gives the ticket."""
        key = fold(name)
        return self._write(
            [
                ("DELETE FROM channels WHERE key = ?", (key,)),
                ("DELETE FROM metadata WHERE subject = ?", (key,)),
            ]
        )

    def put_ban(self, ban: NetworkBan) -> int:
        """Write a ban, new or changed; gives the ticket."""
        return self._write(put_ban(ban))

    def delete_ban(self, kind: str, mask: bytes) -> int:
        """Delete a ban; gives the ticket."""
        sql = "DELETE FROM bans WHERE kind = ? AND mask = ?"
        return self._write([(sql, (kind, fold(mask)))])

    def put_marker(self, marker: Marker) -> int:
        """Write how far somebody has read; gives the ticket."""
        sql = "INSERT OR REPLACE INTO markers VALUES (?, ?, ?)"
        return self._write([(sql, (marker.account, marker.target, marker.time))])

    def put_metadata(self, metadata: Metadata) -> int:
        """Write what is said of somebody; gives the ticket."""
        sql = "INSERT OR REPLACE INTO metadata VALUES (?, ?, ?)"
        return self._write([(sql, (metadata.subject, metadata.key, metadata.value))])

    def delete_metadata(self, subject: bytes, key: bytes) -> int:
        """Delete what was said of somebody; gives the ticket."""
        sql = "DELETE FROM metadata WHERE subject = ? AND key = ?"
        return self._write([(sql, (subject, key))])

    def put_secret(self, name: str, value: bytes) -> int:
        """Write what this server alone knows; gives the ticket."""
        return self._write([("INSERT OR REPLACE INTO secrets VALUES (?, ?)", (name, value))])

    # Reading

    def _read(self, function: Callable[[Database], T]) -> Deferred[T]:
        """Run a function behind all writes so far."""
        reading: Deferred[T] = self.when_written(self._given).addCallback(
            lambda _: self._run(partial(function, self.database))
        )
        return reading

    def entries(self, target: bytes, query: Query, *, events: bool) -> Deferred[list[Entry]]:
        """Read a part of a history; see `Database.entries`."""
        return self._read(lambda database: database.entries(target, query, events=events))

    def entry(self, target: bytes, msgid: bytes) -> Deferred[Entry | None]:
        """Find an entry of a history by its name."""
        return self._read(lambda database: database.entry(target, msgid))

    def targets(
        self, who: bytes, channels: Sequence[bytes], after: int, before: int, limit: int
    ) -> Deferred[list[tuple[bytes, int]]]:
        """List the histories in which something was said; see `Database.targets`."""
        return self._read(lambda database: database.targets(who, channels, after, before, limit))

    # From time to time

    def prune(self, now: int) -> Deferred[None]:
        """
        Delete what is too old or too much, a slice at a time; writes go in between.

        :param now: milliseconds since 1970.
        :return: fires when there is no more to delete.
        """
        targets, self._dirty = tuple(self._dirty), set()
        before = now - self.history_age if self.history_age else 0

        def again(more: object) -> Deferred[None] | None:
            return self._run(prune).addCallback(again) if more and self._database else None

        def prune() -> bool:
            return self.database.prune(targets, self.history_length, before)

        return self._run(prune).addCallback(again)

    def look(self) -> Deferred[None]:
        """
        See whether another program has changed the file; to be called about once a second.

        :return: fires when that is known, after `on_changed`.
        """

        def seen(loaded: Loaded | None) -> None:
            if loaded is not None:
                self.on_changed(loaded)

        return self._run(self.database.changed).addCallback(seen)
