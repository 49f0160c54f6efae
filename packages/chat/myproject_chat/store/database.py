"""
The file: opening it, writing to it, looking after it. What is asked of its history is in `history`; nothing
here knows of threads.

WAL lets other programs read while we write. With ``synchronous = NORMAL`` a transaction has been given to
the operating system when it is committed: it survives the end of this process, however sudden. A loss of
power may take the last seconds; who cannot have that chooses FULL, at the price of a disk's flush for each
group of messages.

Sources: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from myproject_chat.store.history import History
from myproject_chat.store.records import Entry, Loaded
from myproject_chat.store.rows import Group, Statement, load, put_entries
from myproject_chat.store.schema import differences, is_current, is_empty, migrate

__all__ = ["MEMORY", "Database", "InUseError"]

MEMORY: Final = ":memory:"

#: Seconds that another program may hold the file before we give up.
_BUSY: Final = 10.0

#: Bytes that the log of writes keeps on the disk once what is in it has gone into the file.
_WAL_SIZE: Final = 64 * 1024 * 1024

#: What a record can cause and no second try repairs. Anything else the disk causes, or another program.
_MISTAKES: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    TypeError,
    ValueError,
)


class InUseError(Exception):
    """A server has the file. The text is for people."""


class Database:
    """
    An open file.

    :param path: the file; ``:memory:`` for none.
    :param exclusive: whether to be the one server that has it; that one makes the file if need be.
    :param flush: whether each transaction waits until the disk has it, so that a loss of power takes nothing.
    :raises InUseError: another server has it; or the file is of an older version and a server has it.
    :raises myproject_chat.store.schema.NewerVersionError: it is of a newer version.
    :raises sqlite3.Error: it cannot be opened, or is no database.
    :raises OSError: the file, or the lock beside it, cannot be had.

    :ivar path: the file.
    :ivar history: what is in it of what was said.
    """

    def __init__(self, path: str, *, exclusive: bool = True, flush: bool = False) -> None:
        self.path = path
        with contextlib.ExitStack() as opened:
            if exclusive and path != MEMORY:
                opened.enter_context(_locked(path))
                # Ours alone, and so are the files that SQLite puts beside it: there are hashes in it.
                _make(path, os.O_CREAT)
            self._connection = opened.enter_context(
                contextlib.closing(
                    sqlite3.connect(
                        path, timeout=_BUSY, isolation_level=None, check_same_thread=False
                    )
                )
            )
            execute = self._connection.execute
            if not is_current(self._connection):
                if not exclusive and is_empty(self._connection):
                    raise sqlite3.DatabaseError("there is nothing in it")
                with contextlib.nullcontext() if exclusive else _locked(path):
                    execute("PRAGMA journal_mode = WAL")
                    migrate(self._connection)
            execute("PRAGMA journal_mode = WAL")
            execute(f"PRAGMA journal_size_limit = {_WAL_SIZE}")
            self.set_flush(flush=flush)
            execute("PRAGMA foreign_keys = ON")
            self.history = History(self._connection)
            self._seen = self._version()
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close the file; what was committed is in it."""
        self._opened.close()

    def set_flush(self, *, flush: bool) -> None:
        """Say whether each transaction waits until the disk has it."""
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if flush else 'NORMAL'}")

    # The whole

    def load(self) -> Loaded:
        """Read all that is small, as it is at one moment."""
        self._connection.execute("BEGIN")
        try:
            return load(self._connection)
        finally:
            self._connection.execute("COMMIT")

    def has_changed(self) -> bool:
        """Tell whether another program has changed the file since the last time."""
        before, self._seen = self._seen, self._version()
        return before != self._seen

    def _version(self) -> int:
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def backup(self, path: str) -> None:
        """
        Copy the file as it is at one moment, whoever writes meanwhile.

        The copy has its name once it is whole and on the disk: what a copying that was cut short leaves has
        another, which begins with that.

        :param path: the copy, which is not there yet.
        :raises FileExistsError: it is.
        :raises OSError: it cannot be made.
        :raises sqlite3.Error: it cannot be written, and is not there.
        """
        # SQLite syncs what it writes; the name is ours to see to.
        made = Path(path)
        if made.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        descriptor, name = tempfile.mkstemp(prefix=f"{made.name}.", dir=made.parent)
        os.close(descriptor)
        try:
            with contextlib.closing(sqlite3.connect(name)) as copy:
                self._connection.backup(copy)
            _give_name(name, path)
            _sync(made.parent)
        finally:
            Path(name).unlink(missing_ok=True)

    def check(self) -> list[str]:
        """Look for damage; gives back what is wrong, nothing if all is well."""
        found = [row[0] for row in self._connection.execute("PRAGMA integrity_check")]
        if found == ["ok"]:
            found = []
        for table, *_ in self._connection.execute("PRAGMA foreign_key_check"):
            found.append(f"a row of {table} points nowhere")
        return found + differences(self._connection)

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

    def write_all(self, items: Sequence[Entry | Group]) -> list[Exception]:
        """
        Write each entry and each group, or nothing of it, all in one transaction.

        One that cannot be written whatever the disk does is a bug; it must not keep the others from being
        written, now and for ever.

        :param items: what, in its order.
        :return: what was wrong with those that were left out.
        :raises sqlite3.Error: the disk does not take them; nothing was written.
        """
        try:
            self.write(_statements(items))
        except _MISTAKES:
            wrong: list[Exception] = []
            self.write(self._one_by_one(items, wrong))
            return wrong
        return []

    def _one_by_one(
        self, items: Sequence[Entry | Group], wrong: list[Exception]
    ) -> Iterable[Statement]:
        for item in items:
            yield "SAVEPOINT one", ()
            try:
                for sql, values in _statements([item]):
                    self._connection.execute(sql, values)
            except _MISTAKES as mistake:
                wrong.append(mistake)
                yield "ROLLBACK TO one", ()
            yield "RELEASE one", ()

    def forget_bans(self, now: int) -> None:
        """
        Delete the bans that have ended.

        :param now: seconds since 1970.
        """
        self._connection.execute("DELETE FROM bans WHERE expires <= ?", (now,))


def _statements(items: Sequence[Entry | Group]) -> Iterator[Statement]:
    """Give the statements that write some entries and groups; entries that follow each other go together."""
    entries: list[Entry] = []
    for item in items:
        if isinstance(item, Entry):
            entries.append(item)
            continue
        yield from put_entries(entries)
        entries = []
        yield from item
    yield from put_entries(entries)


def _make(path: str, how: int) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | how, 0o600))


def _give_name(name: str, path: str) -> None:
    try:
        # Unlike a rename, this overwrites nothing that has come meanwhile.
        os.link(name, path)
    except FileExistsError:
        raise
    except OSError:
        # Not every file system has links: a USB stick's has none.
        Path(name).rename(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """
    Hold the lock, which ends with us however we end.

    The database's own file would not do: SQLite locks that, and closing any descriptor of it ends its locks.
    """
    name = f"{os.path.realpath(path)}.lock"
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUseError("another server has it") from None
        yield
    finally:
        os.close(descriptor)
