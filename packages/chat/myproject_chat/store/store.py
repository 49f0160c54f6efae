"""
The store: what the server writes down, and what it looks up.

The server never waits for the disk. Everything small lives in its memory, and is written down as it
changes; each write is given a number, its ticket, by the `journal`, which tells `on_written` when it is safe;
who holds an acknowledgement back for that sends it then. Reads go the same way behind the writes, so a
read sees everything written before it; while the disk fails they give what is safe, or fail with
`UnreadableError`.

All access to the file is in one thread. How a function gets there is handed in (`run`), so that tests run
it on the spot.

While too much waits, `full` is true: the server refuses what people say, and events are left out of the
history; the log says when that begins, and how many they were.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from myproject_chat.selectors import Query
from myproject_chat.store import rows
from myproject_chat.store.database import Database
from myproject_chat.store.journal import Delayed, Journal
from myproject_chat.store.records import (
    Account,
    Entry,
    Loaded,
    Marker,
    Metadata,
    NetworkBan,
    RegisteredChannel,
    UnreadableError,
)

__all__ = ["Store"]

T = TypeVar("T")


class Store:
    """
    The store of one server.

    :param open_database: opens the file; called by `open`.
    :param run: runs a function where the file may be used, in the order of the calls, and gives what it
        returns.
    :param later: calls a function after some seconds.
    :param history_length: entries that each history keeps; 0 for any number.
    :param history_age: milliseconds that an entry is kept; 0 for ever.

    :ivar on_changed: called with all that is small when another program has changed the file.
    :ivar history_length: as given; may be changed, as may `history_age`.
    """

    _log = Logger()

    def __init__(
        self,
        open_database: Callable[[], Database],
        run: Callable[[Callable[[], Any]], Deferred[Any]],
        later: Callable[[float, Callable[[], None]], Delayed],
        *,
        history_length: int = 0,
        history_age: int = 0,
    ) -> None:
        self._open_database = open_database
        self._run = run
        self.history_length = history_length
        self.history_age = history_age
        self.on_changed: Callable[[Loaded], None] = lambda _: None
        self._database: Database | None = None
        self._journal = Journal(lambda items: run(partial(self.database.write_all, items)), later)
        self._small_changes = 0
        self._left_out = 0
        self._told_full = False
        self._told_unreadable = False
        self._stale = False
        # The histories that may be too long. None for all: the limit was another one when they were written.
        self._dirty: set[bytes] | None = None
        self._pruned_to: int | None = None

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
        histories = tuple(self._database.history.known())
        return replace(self._database.load(), histories=histories)

    def close(self) -> Deferred[None]:
        """
        Write all that waits, then close the file.

        :return: fires when it is closed, whatever became of what waited.
        """

        def close(_: object) -> Deferred[None]:
            database, self._database = self.database, None
            return self._run(database.close)

        return self._journal.end().addBoth(close)

    def set_flush(self, *, flush: bool) -> Deferred[None]:
        """Say whether what is safe is safe from a loss of power, too; see `database`."""
        return self._run(partial(self.database.set_flush, flush=flush))

    # Writing

    @property
    def written(self) -> int:
        """The last ticket of what is safe."""
        return self._journal.written

    @property
    def on_written(self) -> Callable[[int], None]:
        """Called with `written` when it has grown; to be set by who wants that."""
        return self._journal.on_written

    @on_written.setter
    def on_written(self, listener: Callable[[int], None]) -> None:
        self._journal.on_written = listener

    @property
    def healthy(self) -> bool:
        """Whether the last write succeeded."""
        return self._journal.healthy

    @property
    def full(self) -> bool:
        """Whether so much waits that no more is to be written."""
        return self._journal.full

    @property
    def troubled(self) -> bool:
        """Whether what is to be kept cannot be written down at present."""
        journal = self._journal
        return journal.full or not journal.healthy

    def when_written(self, ticket: int) -> Deferred[None]:
        """Wait until something is safe; see `Journal.when_written`."""
        return self._journal.when_written(ticket)

    def _write(self, statements: Iterable[rows.Statement]) -> int:
        """Write something small, which is in the server's memory as well."""
        self._small_changes += 1
        return self._journal.write(statements)

    def add(self, *entries: Entry) -> int:
        """
        Write down what was said or happened: within moments, or as soon as somebody waits for it (`hurry`).

        An event is left out while the store is `full`. Whoever says something is to be refused then, before.

        :param entries: what, in one history: what was said, or one event.
        :return: the last ticket.
        """
        entry = entries[0]
        if self._journal.full:
            self._tell_full()
            if entry.command not in rows.SPOKEN:
                self._left_out += 1
                return self._journal.given
        elif self._told_full:
            self._tell_room()
        if self._dirty is not None:
            self._dirty.add(entry.target)
        return self._journal.add(entries)

    def hurry(self) -> None:
        """Have all that was added written now: somebody waits for that. Everything else is so by itself."""
        self._journal.hurry()

    def _tell_full(self) -> None:
        if not self._told_full:
            self._told_full = True
            self._log.error(
                "{count} writes wait for the disk; until it keeps up nobody can say anything that is to be"
                " kept, and events are left out of the history",
                count=len(self._journal),
            )

    def _tell_room(self) -> None:
        self._told_full = False
        text = "the disk keeps up again; {count} events are missing from the history"
        self._log.info(text, count=self._left_out)
        self._left_out = 0

    def redact(self, target: bytes, msgid: bytes) -> int:
        """Take an entry out of a history; gives the ticket."""
        sql = "DELETE FROM history WHERE msgid = ? AND target = ?"
        return self._journal.write([(sql, (msgid, target))])

    def rename_history(self, before: bytes, after: bytes) -> int:
        """
        Give the history of a folded channel, and its markers, to another name; gives the ticket.

        Nothing is left of what was under that name.
        """
        if self._dirty is not None:
            self._dirty.add(after)
        return self._write(rows.rename_history(before, after))

    def delete_history(self, target: bytes) -> int:
        """Delete the whole history of a folded channel, and its markers; gives the ticket."""
        return self._write(rows.delete_history(target))

    def close_history(self, target: bytes) -> int:
        """Note that not everybody could read the history of a folded channel; gives the ticket."""
        return self._write([("INSERT OR IGNORE INTO closed VALUES (?)", (target,))])

    def put_account(self, account: Account) -> int:
        """Write an account, new or changed; gives the ticket."""
        return self._write(rows.put_account(account))

    def delete_account(self, name: bytes) -> int:
        """
        Delete an account, what is known by its name, and its conversations: the next to have the name is
        somebody else.

        :param name: its name.
        :return: the ticket.
        """
        return self._write(rows.delete_account(name))

    def put_channel(self, channel: RegisteredChannel) -> int:
        """Write a channel, new or changed; gives the ticket."""
        return self._write(rows.put_channel(channel))

    def delete_channel(self, name: bytes) -> int:
        """Delete a channel, but not its history; gives the ticket."""
        return self._write(rows.delete_channel(name))

    def put_ban(self, ban: NetworkBan) -> int:
        """Write a ban, new or changed; gives the ticket."""
        return self._write(rows.put_ban(ban))

    def delete_ban(self, kind: str, mask: bytes) -> int:
        """Delete a ban; gives the ticket."""
        return self._write(rows.delete_ban(kind, mask))

    def put_marker(self, marker: Marker) -> int:
        """Write how far somebody has read; gives the ticket."""
        sql = "INSERT OR REPLACE INTO markers VALUES (?, ?, ?)"
        return self._write([(sql, (marker.account, marker.target, marker.time))])

    def delete_marker(self, account: bytes, target: bytes) -> int:
        """Delete how far a folded account has read a folded target; gives the ticket."""
        sql = "DELETE FROM markers WHERE account = ? AND target = ?"
        return self._write([(sql, (account, target))])

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
        """Run a function behind all writes so far; while the disk fails, behind those that are safe."""
        reading: Deferred[T] = self._journal.when_readable().addCallback(
            lambda _: self._run(partial(function, self.database))
        )
        return reading.addErrback(self._unreadable)

    def _unreadable(self, failure: Failure) -> NoReturn:
        if not failure.check(sqlite3.Error):
            failure.raiseException()
        if not self._told_unreadable:
            self._told_unreadable = True
            self._log.error("the store cannot be read: {why}", why=failure.value)
        raise UnreadableError(str(failure.value)) from None

    def entries(self, target: bytes, query: Query, *, events: bool) -> Deferred[list[Entry]]:
        """Read a part of a history; see `History.entries`."""
        return self._read(lambda base: base.history.entries(target, query, events=events))

    def entry(self, target: bytes, msgid: bytes) -> Deferred[Entry | None]:
        """Find an entry of a history by its name."""
        return self._read(lambda base: base.history.entry(target, msgid))

    def targets(
        self, who: bytes, channels: Sequence[bytes], after: int, before: int, limit: int
    ) -> Deferred[list[tuple[bytes, int]]]:
        """List the histories in which something was said; see `History.targets`."""
        return self._read(lambda base: base.history.targets(who, channels, after, before, limit))

    # From time to time

    def prune(self, now: int) -> Deferred[None]:
        """
        Delete what is too old or too much, a slice at a time; writes go in between.

        :param now: milliseconds since 1970.
        :return: fires when there is no more to delete.
        """
        return Deferred.fromCoroutine(self._prune(now))

    async def _prune(self, now: int) -> None:
        base = self.database
        # A page that is damaged is found by all who ask for it: the log has it once in a round.
        self._told_unreadable = False
        await self._run(partial(base.forget_bans, now // 1000))
        if self.history_age:
            await self._slice_by_slice(partial(base.history.prune_old, now - self.history_age))
        length = self.history_length
        if length != self._pruned_to:
            self._dirty = None
        dirty, self._dirty, self._pruned_to = self._dirty, set(), length
        try:
            await self._slice_by_slice(base.history.prune_doomed)
            if not length or self._database is None:
                return
            for target in await self._run(base.history.known) if dirty is None else dirty:
                await self._slice_by_slice(partial(base.history.prune_long, target, length))
        except BaseException:
            self._dirty = None
            raise

    async def _slice_by_slice(self, delete: Callable[[], bool]) -> None:
        """Delete until there is no more, or the store has closed meanwhile."""
        while self._database is not None and await self._run(delete):
            pass

    def look(self) -> Deferred[None]:
        """
        See whether another program has changed the file; to be called about once a second.

        :return: fires when that is known, after `on_changed`.
        """
        return self._run(self.database.has_changed).addCallback(self._looked)

    def _looked(self, changed: object) -> Deferred[None] | None:
        self._stale = self._stale or bool(changed)
        return self._reload() if self._stale else None

    def _reload(self) -> Deferred[None] | None:
        """Read all that is small behind our own changes, and again if there are more of them meanwhile."""
        if self._database is None:
            return None
        given, base = self._small_changes, self._database

        def loaded(all_of_it: Loaded) -> Deferred[None] | None:
            if given != self._small_changes:
                return self._reload()
            self._stale = False
            self.on_changed(all_of_it)
            return None

        return (
            self.when_written(self._journal.given)
            .addCallback(lambda _: self._run(base.load))
            .addCallback(loaded)
        )
