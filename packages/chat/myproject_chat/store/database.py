"""
The file: opening it, what is asked of it, and nothing about threads.

WAL lets other programs read while we write. With ``synchronous = NORMAL`` a transaction has been given to
the operating system when it is committed: it survives the end of this process, however sudden. A loss of
power may take the last seconds; who cannot have that chooses FULL, at the price of a disk's flush for each
group of messages.

Sources: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, Final

from myproject_chat.selectors import Bound, Moment, Query, Subcommand
from myproject_chat.store.records import Entry, Loaded
from myproject_chat.store.rows import Statement, entry_of, load
from myproject_chat.store.schema import migrate

__all__ = ["MEMORY", "Database", "InUseError"]

MEMORY: Final = ":memory:"

#: Seconds that another program may hold the file before we give up.
_BUSY: Final = 10.0
#: Rows that are deleted in one go: a few milliseconds.
_SLICE: Final = 1000
_LAST_ID: Final = 2**63 - 1
_COLUMNS: Final = (
    "msgid, time, target, source, account, command, params, text, tags, concatenated, bot"
)


class InUseError(Exception):
    """Another server has the file."""


class Database:
    """
    An open file.

    :param path: the file, which is made if need be; ``:memory:`` for none.
    :param exclusive: whether to be the one server that has it.
    :param synchronous: ``NORMAL`` or ``FULL``.
    :raises InUseError: another server has it.
    :raises myproject_chat.store.schema.NewerVersion: it is of a newer version.
    :raises sqlite3.Error: it cannot be opened, or is no database.
    :raises OSError: the lock beside it cannot be had.
    """

    def __init__(self, path: str, *, exclusive: bool = True, synchronous: str = "NORMAL") -> None:
        self.path = path
        self._lock: IO[bytes] | None = None
        if exclusive and path != MEMORY:
            self._lock = _locked(Path(f"{path}.lock"))
        try:
            self._connection = sqlite3.connect(
                path, timeout=_BUSY, isolation_level=None, check_same_thread=False
            )
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute(f"PRAGMA synchronous = {synchronous}")
                self._connection.execute("PRAGMA foreign_keys = ON")
                migrate(self._connection)
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._unlock()
            raise
        self._seen = self._version()

    def close(self) -> None:
        """Close the file; what was committed is in it."""
        self._connection.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # The whole

    def load(self) -> Loaded:
        """Read all that is small."""
        return load(self._connection)

    def changed(self) -> Loaded | None:
        """Read all that is small if another program has changed the file since the last time."""
        version = self._version()
        if version == self._seen:
            return None
        self._seen = version
        return self.load()

    def _version(self) -> int:
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def backup(self, path: str) -> None:
        """
        Copy the file as it is at one moment, whoever writes meanwhile.

        :param path: the copy, which is written over.
        """
        with contextlib.closing(sqlite3.connect(path)) as copy:
            self._connection.backup(copy)

    def check(self) -> list[str]:
        """Look for damage; gives back what is wrong, nothing if all is well."""
        found = [row[0] for row in self._connection.execute("PRAGMA integrity_check")]
        for table, *_ in self._connection.execute("PRAGMA foreign_key_check"):
            found.append(f"a row of {table} points nowhere")
        return [] if found == ["ok"] else found

    # Writing

    def write(self, statements: Iterable[Statement]) -> None:
        """
        Write all of it, or nothing.

        :param statements: what.
        :raises sqlite3.Error: it cannot be written.
        """
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for sql, values in statements:
                execute(sql, values)
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                execute("ROLLBACK")
            raise

    def prune(self, targets: Sequence[bytes], most: int, before: int) -> bool:
        """
        Delete a slice of what is too old or too much.

        :param targets: those that may have too much.
        :param most: how many entries each keeps; 0 for any number.
        :param before: what is older goes, in milliseconds since 1970.
        :return: whether there may be more to delete.
        """
        execute = self._connection.execute
        deleted = execute(
            "DELETE FROM history WHERE id IN (SELECT id FROM history WHERE time < ? LIMIT ?)",
            (before, _SLICE),
        ).rowcount
        execute("DELETE FROM parties WHERE time < ?", (before,))
        for target in targets if most else ():
            deleted += execute(
                "DELETE FROM history WHERE id IN (SELECT id FROM history WHERE target = ?"
                " ORDER BY time DESC, id DESC LIMIT ? OFFSET ?)",
                (target, _SLICE, most),
            ).rowcount
        return deleted >= _SLICE

    # Reading

    def entries(self, target: bytes, query: Query, *, events: bool) -> list[Entry]:
        """
        Read a part of a history.

        :param target: whose, as `Entry.target` has it.
        :param query: which part.
        :param events: whether what happened counts, or only what was said.
        :return: the entries, the oldest first; none if a bound names a message that is not there.
        """
        kinds = "" if events else " AND command IN (x'505249564D5347', x'4E4F54494345')"
        bounds = []
        for bound in query.bounds:
            place = self._place(target, bound)
            if place is None:
                return []
            bounds.append(place)
        if query.subcommand is Subcommand.AROUND:
            return self._around(target, bounds[0], query.limit, kinds)
        low, high = (0, 0), (_LAST_ID, _LAST_ID)
        backwards = query.subcommand in (Subcommand.BEFORE, Subcommand.LATEST)
        if query.subcommand is Subcommand.BETWEEN:
            backwards = bounds[0] > bounds[1]
            first, second = sorted(bounds)
            low, high = first[1], second[0]
        elif query.subcommand is Subcommand.BEFORE:
            high = bounds[0][0]
        elif bounds:
            low = bounds[0][1]
        return self._read(target, kinds, low, high, query.limit, backwards=backwards)

    def _place(self, target: bytes, bound: Bound) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """Where a bound is: what is before it is less than the first, what is behind more than the second."""
        if isinstance(bound, Moment):
            return (bound.milliseconds, 0), (bound.milliseconds, _LAST_ID)
        row = self._connection.execute(
            "SELECT time, id FROM history WHERE msgid = ? AND target = ?", (bound.id, target)
        ).fetchone()
        return None if row is None else (row, row)

    def _read(
        self,
        target: bytes,
        kinds: str,
        low: tuple[int, int],
        high: tuple[int, int],
        limit: int,
        *,
        backwards: bool,
    ) -> list[Entry]:
        order = "DESC" if backwards else "ASC"
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM history WHERE target = ? AND (time, id) > (?, ?)"  # noqa: S608 (our own words)
            f" AND (time, id) < (?, ?){kinds} ORDER BY time {order}, id {order} LIMIT ?",
            (target, *low, *high, limit),
        ).fetchall()
        entries = [entry_of(row) for row in rows]
        return entries[::-1] if backwards else entries

    def _around(
        self,
        target: bytes,
        place: tuple[tuple[int, int], tuple[int, int]],
        limit: int,
        kinds: str,
    ) -> list[Entry]:
        """Half of them before, the one itself and what comes at that time first among those behind."""
        first, _ = place
        before = self._read(target, kinds, (0, 0), first, limit // 2, backwards=True)
        behind = (first[0], first[1] - 1)
        return before + self._read(
            target,
            kinds,
            behind,
            (_LAST_ID, _LAST_ID),
            limit - len(before),
            backwards=False,
        )

    def entry(self, target: bytes, msgid: bytes) -> Entry | None:
        """Find an entry of a history by its name."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM history WHERE msgid = ? AND target = ?",  # noqa: S608 (our own words)
            (msgid, target),
        ).fetchone()
        return None if row is None else entry_of(row)

    def targets(
        self, who: bytes, channels: Sequence[bytes], after: int, before: int, limit: int
    ) -> list[tuple[bytes, int]]:
        """
        List the histories in which something was said.

        :param who: the folded account or nick whose conversations count.
        :param channels: the folded channels that count.
        :param after: the last message is later than this, in milliseconds since 1970.
        :param before: and earlier than this.
        :param limit: how many at most.
        :return: each with the time of its last message, the earliest first.
        """
        execute = self._connection.execute
        found: list[tuple[bytes, int]] = execute(
            "SELECT target, time FROM parties WHERE who = ? AND time > ? AND time < ?",
            (who, after, before),
        ).fetchall()
        for channel in channels:
            (last,) = execute(
                "SELECT max(time) FROM history WHERE target = ?"
                " AND command IN (x'505249564D5347', x'4E4F54494345')",
                (channel,),
            ).fetchone()
            if last is not None and after < last < before:
                found.append((channel, last))
        found.sort(key=lambda one: (one[1], one[0]))
        return found[:limit]

    def export(self, target: bytes | None) -> Iterable[Entry]:
        """
        Give the whole history, the oldest first.

        :param target: of one channel or conversation; None for all.
        """
        where = "" if target is None else " WHERE target = ?"
        values: tuple[Any, ...] = () if target is None else (target,)
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM history{where} ORDER BY time, id",  # noqa: S608 (our own words)
            values,
        )
        return map(entry_of, rows)


def _locked(path: Path) -> IO[bytes]:
    """Hold the lock, which ends with us. The database's own file would not do: SQLite locks that."""
    lock = path.open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise InUseError from None
    except BaseException:
        lock.close()
        raise
    return lock
