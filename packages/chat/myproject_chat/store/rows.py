"""Records as rows of the tables, and rows as records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

from myproject_chat.names import fold
from myproject_chat.scram import ScramCredentials
from myproject_chat.store.records import (
    Account,
    Entry,
    Loaded,
    Marker,
    Metadata,
    NetworkBan,
    RegisteredChannel,
    StoredMask,
)

__all__ = [
    "LAST_DOOMED",
    "SPOKEN",
    "Group",
    "Statement",
    "delete_account",
    "delete_ban",
    "delete_channel",
    "delete_history",
    "entry_of",
    "load",
    "put_account",
    "put_ban",
    "put_channel",
    "put_entries",
    "rename_history",
]

#: SQL, and what its question marks stand for.
Statement = tuple[str, Sequence[Any]]

#: Statements that are written together, or not at all.
Group = tuple[Statement, ...]

#: What has words; the rest is for clients that want events.
SPOKEN: Final = (b"PRIVMSG", b"NOTICE")

#: The last row of a history that is not there any more, by its target.
LAST_DOOMED: Final = "coalesce((SELECT last FROM doomed WHERE target = ?), 0)"

_SEPARATOR = b"\0"
# Where these are among the values of several entries.
_PARAMS = slice(Entry._fields.index("params"), None, len(Entry._fields))
_NUMBERS = slice(Entry._fields.index("concatenated"), None, len(Entry._fields))
_DOOM: Final = "INSERT OR REPLACE INTO doomed SELECT target, (SELECT max(id) FROM history)"
# Many in one statement: SQLite takes two thirds of the time for each, and its thread asks for the interpreter
# once for all of them, which is what a busy server has least of. So many that they are done fast, and few
# enough for the least number of values that SQLite may be built to take, 999.
_INSERT_ENTRIES = [
    (
        size,
        "INSERT OR IGNORE INTO history (msgid, time, target, source, account, command, params,"  # noqa: S608
        " text, tags, concatenated, bot) VALUES "
        + ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"] * size),
    )
    for size in (64, 8, 1)
]
_INSERT_PARTY = (
    "INSERT INTO parties VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET time = max(time, excluded.time)"
)


def put_account(account: Account) -> Iterator[Statement]:
    """Write an account with its credentials, in place of the one of that name."""
    key = fold(account.name)
    yield "DELETE FROM accounts WHERE key = ?", (key,)
    yield (
        "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key,
            account.name,
            account.created,
            account.password,
            json.dumps([fingerprint.decode("ascii") for fingerprint in account.fingerprints]),
            account.email,
            account.verified,
            json.dumps(account.settings),
        ),
    )
    scram = account.scram
    if scram is not None:
        yield (
            "INSERT INTO scram VALUES (?, ?, ?, ?, ?)",
            (key, scram.salt, scram.iterations, scram.stored_key, scram.server_key),
        )


def delete_account(name: bytes) -> Iterator[Statement]:
    """
    Delete an account, and what is known by its name: whoever has the name next is somebody else.

    Its conversations go, too, with the other's side of them.
    """
    key = fold(name)
    yield "DELETE FROM accounts WHERE key = ?", (key,)
    yield "DELETE FROM markers WHERE account = ?", (key,)
    yield "DELETE FROM metadata WHERE subject = ?", (key,)
    yield "DELETE FROM ranks WHERE account = ?", (key,)
    mine = "(SELECT target FROM parties WHERE who = ?)"
    yield f"{_DOOM} FROM {mine}", (key,)
    yield f"DELETE FROM parties WHERE target IN {mine}", (key,)  # noqa: S608 (our own words)


def delete_history(target: bytes) -> Iterator[Statement]:
    """Delete the whole history of a folded channel, and its markers."""
    there = "(SELECT ? AS target WHERE EXISTS (SELECT 1 FROM history WHERE target = ?))"
    yield f"{_DOOM} FROM {there}", (target, target)
    yield "DELETE FROM closed WHERE target = ?", (target,)
    yield "DELETE FROM markers WHERE target = ?", (target,)


def rename_history(before: bytes, after: bytes) -> Iterator[Statement]:
    """Give the history of a folded channel, and its markers, to another name, under which nothing is left."""
    if before == after:
        return
    yield "DELETE FROM history WHERE target = ?", (after,)
    yield "DELETE FROM doomed WHERE target = ?", (after,)
    alive = f"id > {LAST_DOOMED}"
    yield f"UPDATE history SET target = ? WHERE target = ? AND {alive}", (after, before, before)  # noqa: S608
    yield "DELETE FROM closed WHERE target = ?", (after,)
    yield "UPDATE closed SET target = ? WHERE target = ?", (after, before)
    yield "DELETE FROM markers WHERE target = ?", (after,)
    yield "UPDATE markers SET target = ? WHERE target = ?", (after, before)


def _accounts(connection: sqlite3.Connection) -> Iterator[Account]:
    rows = connection.execute(
        "SELECT name, created, password, fingerprints, email, verified, settings,"
        " salt, iterations, stored_key, server_key"
        " FROM accounts LEFT JOIN scram ON account = key ORDER BY key"
    )
    for name, created, password, fingerprints, email, verified, settings, *scram in rows:
        yield Account(
            name,
            created,
            password,
            None if scram[0] is None else ScramCredentials(*scram),
            tuple(one.encode("ascii") for one in json.loads(fingerprints)),
            email,
            bool(verified),
            json.loads(settings),
        )


def put_channel(channel: RegisteredChannel) -> Iterator[Statement]:
    """Write a channel with its lists and ranks, in place of the one of that name."""
    key = fold(channel.name)
    yield "DELETE FROM channels WHERE key = ?", (key,)
    yield (
        "INSERT INTO channels VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key,
            channel.name,
            channel.founder,
            channel.registered,
            channel.created,
            *(channel.topic or (None, None, None)),
            channel.flags,
            channel.key,
            channel.limit,
            channel.forward,
        ),
    )
    for position, mask in enumerate(channel.masks):
        yield (
            "INSERT INTO masks VALUES (?, ?, ?, ?, ?, ?)",
            (key, position, mask.letter, mask.mask, mask.setter, mask.when),
        )
    for account, letters in channel.ranks.items():
        yield "INSERT INTO ranks VALUES (?, ?, ?)", (key, fold(account), letters)


def delete_channel(name: bytes) -> Iterator[Statement]:
    """Delete a channel, but not its history."""
    key = fold(name)
    yield "DELETE FROM channels WHERE key = ?", (key,)
    yield "DELETE FROM metadata WHERE subject = ?", (key,)


def _channel(connection: sqlite3.Connection, row: tuple[Any, ...]) -> RegisteredChannel:
    key, name, founder, registered, created, topic, setter, when, *rest = row
    flags, channel_key, limit, forward = rest
    masks = connection.execute(
        "SELECT letter, mask, setter, at FROM masks WHERE channel = ? ORDER BY position", (key,)
    )
    ranks = connection.execute("SELECT account, letters FROM ranks WHERE channel = ?", (key,))
    return RegisteredChannel(
        name,
        founder,
        registered,
        created,
        None if topic is None else (topic, setter, when),
        flags,
        channel_key,
        limit,
        forward,
        tuple(StoredMask(*mask) for mask in masks),
        dict(ranks.fetchall()),
    )


def put_ban(ban: NetworkBan) -> Iterator[Statement]:
    """Write a ban, in place of the one of that kind and mask."""
    yield (
        "INSERT OR REPLACE INTO bans VALUES (?, ?, ?, ?, ?, ?)",
        (ban.kind, fold(ban.mask), ban.setter, ban.reason, ban.created, ban.expires),
    )


def delete_ban(kind: str, mask: bytes) -> Iterator[Statement]:
    """Delete a ban."""
    yield "DELETE FROM bans WHERE kind = ? AND mask = ?", (kind, fold(mask))


def put_entries(entries: Sequence[Entry]) -> Iterator[Statement]:
    """Write entries of history, in their order; one that is there already stays as it is."""
    begin = 0
    for size, sql in _INSERT_ENTRIES:
        while len(entries) - begin >= size:
            yield sql, _values(entries[begin : begin + size])
            begin += size
    # Who talks with whom, so that nobody's list of conversations takes a look at every message.
    spoken: dict[bytes, int] = {}
    for entry in entries:
        target = entry.target
        if target[:1] != b"#" and entry.command in SPOKEN:
            spoken[target] = max(entry.time, spoken.get(target, entry.time))
    for target, time in spoken.items():
        for who in dict.fromkeys(target.split(b" ")):
            yield _INSERT_PARTY, (who, target, time)


def _values(entries: Sequence[Entry]) -> list[Any]:
    """Give the columns msgid to bot of all of them, one after the other: an entry's fields, but for two."""
    values: list[Any] = list(chain.from_iterable(entries))
    values[_PARAMS] = [_SEPARATOR.join(params) for params in values[_PARAMS]]
    values[_NUMBERS] = [json.dumps(numbers) if numbers else "" for numbers in values[_NUMBERS]]
    return values


def entry_of(row: tuple[Any, ...]) -> Entry:
    """Read an entry: the columns msgid to bot."""
    msgid, time, target, source, account, command, params, text, tags, concatenated, bot = row
    return Entry(
        msgid,
        time,
        target,
        source,
        account,
        command,
        tuple(params.split(_SEPARATOR)) if params else (),
        text,
        tags,
        tuple(json.loads(concatenated)) if concatenated else (),
        bool(bot),
    )


def load(connection: sqlite3.Connection) -> Loaded:
    """
    Read all that is small.

    :param connection: to the file.
    :return: the records, in the order of their names.
    """

    def rows(table: str) -> list[tuple[Any, ...]]:
        return connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 (our own names)

    return Loaded(
        accounts=tuple(_accounts(connection)),
        channels=tuple(_channel(connection, row) for row in rows("channels")),
        bans=tuple(NetworkBan(*row) for row in rows("bans")),
        markers=tuple(Marker(*row) for row in rows("markers")),
        metadata=tuple(Metadata(*row) for row in rows("metadata")),
        secrets=dict(rows("secrets")),
        closed=tuple(target for (target,) in rows("closed")),
    )
