"""
The tables, and how a file of an older version becomes one of this.

`PRAGMA user_version` counts the migrations that a file has been through. Each is run in a transaction of its
own; one that has been released is never changed, a new one is added behind it.

Why these keys: history is read by target and time, both ways, and written at the end; so its rows are
numbered as they come, and an index holds target and time. Everything else is small, and read once, whole.

Source: https://www.sqlite.org/pragma.html#pragma_user_version.
"""

from __future__ import annotations

import sqlite3
from typing import Final

__all__ = ["APPLICATION_ID", "VERSION", "NewerVersionError", "migrate"]

#: Written into the file's header, so that `file` and we know what it is: "MPCh".
APPLICATION_ID: Final = 0x4D504368

_MIGRATIONS: Final = (
    """
    CREATE TABLE accounts (
        key BLOB PRIMARY KEY,
        name BLOB NOT NULL,
        created INTEGER NOT NULL,
        password TEXT,
        scram BLOB,
        fingerprints TEXT NOT NULL,
        email BLOB NOT NULL,
        verified INTEGER NOT NULL,
        settings TEXT NOT NULL
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
)

VERSION: Final = len(_MIGRATIONS)


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


def migrate(connection: sqlite3.Connection) -> None:
    """
    Make a file one of this version.

    :param connection: to the file, in autocommit mode, not in a transaction.
    :raises NewerVersionError: it is of a newer one.
    :raises sqlite3.DatabaseError: it is no database, or another program's.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:
        raise sqlite3.DatabaseError("it is another program's database")
    if version > VERSION:
        raise NewerVersionError(version)
    for number in range(version, VERSION):
        # executescript ends an open transaction, so the script has its own.
        connection.executescript(
            f"BEGIN IMMEDIATE; {_MIGRATIONS[number]}"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number + 1}; COMMIT;"
        )
