"""
The tables, and how a file of an older version becomes one of this.

`PRAGMA user_version` counts the migrations that a file has been through. Each is run in a transaction of its
own; one that has been released is never changed, a new one is added behind it.

Why these keys: history is written at its end, and read by target and time, both ways. So its rows are
numbered as they come, which makes the table grow at one page, and tells apart what has one time; an index has
target and time, another finds a message by its name, a third what is too old. In most channels more people
come and go than speak, and most clients want only what was said: so the first has that apart, behind the
target. (Two indexes by target, one of them partial, are two pages to write for each message where many
channels are busy: with 200 that took twice the time.)

To delete ten thousand rows takes half a second, in which nobody's message would be safe. So a history that is
deleted is `doomed`: what it has up to a row's number is not there any more for anybody, and goes a slice
at a time. Everything else is found by a
key that is a few words: those tables are WITHOUT ROWID, one tree in place of a table and its index.

SCRAM's credentials have a table of their own: who checks a password has no business with them.

Sources: https://www.sqlite.org/pragma.html#pragma_user_version, https://www.sqlite.org/withoutrowid.html.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from typing import Final

__all__ = [
    "APPLICATION_ID",
    "MIGRATIONS",
    "VERSION",
    "NewerVersionError",
    "differences",
    "is_current",
    "is_empty",
    "migrate",
]

#: Written into the file's header, so that `file` and we know what it is: "MPCh".
APPLICATION_ID: Final = 0x4D504368

#: What made a file of each version one of the next; the first makes an empty file one of version 1.
MIGRATIONS: Final = (
    """
    CREATE TABLE accounts (
        key BLOB PRIMARY KEY,
        name BLOB NOT NULL,
        created INTEGER NOT NULL,
        password TEXT,
        fingerprints TEXT NOT NULL,
        email BLOB NOT NULL,
        verified INTEGER NOT NULL,
        settings TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE scram (
        account BLOB PRIMARY KEY REFERENCES accounts ON DELETE CASCADE ON UPDATE CASCADE,
        salt BLOB NOT NULL,
        iterations INTEGER NOT NULL,
        stored_key BLOB NOT NULL,
        server_key BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE channels (
        key BLOB PRIMARY KEY,
        name BLOB NOT NULL,
        founder BLOB NOT NULL,
        registered INTEGER NOT NULL,
        created INTEGER NOT NULL,
        topic BLOB,
        topic_setter BLOB,
        topic_when INTEGER,
        flags BLOB NOT NULL,
        channel_key BLOB,
        member_limit INTEGER,
        forward BLOB
    ) WITHOUT ROWID;
    CREATE TABLE masks (
        channel BLOB NOT NULL REFERENCES channels ON DELETE CASCADE ON UPDATE CASCADE,
        position INTEGER NOT NULL,
        letter BLOB NOT NULL,
        mask BLOB NOT NULL,
        setter BLOB NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (channel, position)
    ) WITHOUT ROWID;
    CREATE TABLE ranks (
        channel BLOB NOT NULL REFERENCES channels ON DELETE CASCADE ON UPDATE CASCADE,
        account BLOB NOT NULL,
        letters BLOB NOT NULL,
        PRIMARY KEY (channel, account)
    ) WITHOUT ROWID;
    CREATE TABLE bans (
        kind TEXT NOT NULL,
        mask BLOB NOT NULL,
        setter BLOB NOT NULL,
        reason BLOB NOT NULL,
        created INTEGER NOT NULL,
        expires INTEGER,
        PRIMARY KEY (kind, mask)
    ) WITHOUT ROWID;
    CREATE TABLE markers (
        account BLOB NOT NULL,
        target BLOB NOT NULL,
        time INTEGER NOT NULL,
        PRIMARY KEY (account, target)
    ) WITHOUT ROWID;
    CREATE TABLE metadata (
        subject BLOB NOT NULL,
        key BLOB NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (subject, key)
    ) WITHOUT ROWID;
    CREATE TABLE secrets (
        name TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE history (
        id INTEGER PRIMARY KEY,
        msgid BLOB NOT NULL UNIQUE,
        time INTEGER NOT NULL,
        target BLOB NOT NULL,
        source BLOB NOT NULL,
        account BLOB,
        command BLOB NOT NULL,
        params BLOB NOT NULL,
        text BLOB,
        tags BLOB NOT NULL,
        concatenated TEXT NOT NULL,
        bot INTEGER NOT NULL
    );
    CREATE INDEX history_by_target ON history (target, time, id);
    CREATE INDEX history_by_time ON history (time);
    CREATE TABLE parties (
        who BLOB NOT NULL,
        target BLOB NOT NULL,
        time INTEGER NOT NULL,
        PRIMARY KEY (who, target)
    ) WITHOUT ROWID;
    """,
    """
    CREATE INDEX history_spoken ON history (target, time, id)
        WHERE command IN (x'505249564d5347', x'4e4f54494345');
    CREATE INDEX parties_by_time ON parties (time);
    CREATE TABLE doomed (
        target BLOB PRIMARY KEY,
        last INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE closed (target BLOB PRIMARY KEY) WITHOUT ROWID;
    """,
    """
    DROP INDEX history_by_target;
    DROP INDEX history_spoken;
    CREATE INDEX history_by_target
        ON history (target, command IN (x'505249564d5347', x'4e4f54494345'), time, id);
    """,
)

VERSION: Final = len(MIGRATIONS)


class NewerVersionError(Exception):
    """
    The file was written by a version that is newer than this one.

    :ivar version: the file's version.
    """

    def __init__(self, version: int) -> None:
        super().__init__(
            f"its version is {version}, and this program knows versions up to {VERSION}"
        )
        self.version = version


def is_current(connection: sqlite3.Connection) -> bool:
    """
    Tell whether a file is of this version.

    :param connection: to the file.
    :return: False if it is of an older one, or empty.
    :raises NewerVersionError: it is of a newer one.
    :raises sqlite3.DatabaseError: it is no database, or another program's.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID and not is_empty(connection):
        raise sqlite3.DatabaseError("it is another program's database")
    if version > VERSION:
        raise NewerVersionError(version)
    return bool(version == VERSION)


def is_empty(connection: sqlite3.Connection) -> bool:
    """Tell whether there is nothing in a file, as in one that was only just made."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables


def migrate(connection: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """
    Make a file one of this version. Nobody else may do so meanwhile.

    :param connection: to a file that `is_current` has looked at, in autocommit mode, not in a transaction.
    :param migrations: all there have been.
    :raises sqlite3.Error: one failed, and has changed nothing.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number in range(version, len(migrations)):
        # executescript ends an open transaction, so the script has its own.
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {migrations[number]}"
                f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number + 1}; COMMIT;"
            )
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise


def differences(connection: sqlite3.Connection) -> list[str]:
    """
    Compare a file's tables and indexes with what they should be.

    :param connection: to a file of this version.
    :return: a line for each that is missing, strange or not as it should be.
    """
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        migrate(model)
        wanted = _things(model)
    found = _things(connection)
    return [
        f"{kind} {name} is {'missing' if (kind, name) not in found else 'not as it should be'}"
        for (kind, name), sql in wanted.items()
        if found.get((kind, name)) != sql
    ] + [f"{kind} {name} should not be there" for kind, name in found if (kind, name) not in wanted]


def _things(connection: sqlite3.Connection) -> dict[tuple[str, str], str | None]:
    rows = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%'"
    )
    return {(kind, name): sql for kind, name, sql in rows}
