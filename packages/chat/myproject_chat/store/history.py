"""
History in the file: which entries a selector selects, and which are to go.

Entries that have one time are in the order in which they were written. So a place in a history is a time and
a row's number, and a bound is a pair of places: what is before it, and what is behind it.

Source: https://ircv3.net/specs/extensions/chathistory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

from myproject_chat.selectors import Bound, Moment, Query, Subcommand
from myproject_chat.store.records import Entry
from myproject_chat.store.rows import LAST_DOOMED, SPOKEN, entry_of

__all__ = ["SLICE", "History"]

#: Rows that are deleted in one go: some ten milliseconds, as each is in half a dozen trees.
SLICE: Final = 200

_LAST_ID: Final = 2**63 - 1
_COLUMNS: Final = (
    "msgid, time, target, source, account, command, params, text, tags, concatenated, bot"
)
_IS_SPOKEN: Final = "command IN ({})".format(", ".join(f"x'{word.hex()}'" for word in SPOKEN))

_ALIVE: Final = "id > coalesce((SELECT last FROM doomed WHERE doomed.target = history.target), 0)"

#: One step of the index for each target: a DISTINCT would walk all of it.
_TARGETS: Final = """
    WITH RECURSIVE step(target) AS (
        SELECT min(target) FROM history
        UNION ALL
        SELECT (SELECT min(target) FROM history WHERE target > step.target)
            FROM step WHERE step.target NOT NULL
    )
    SELECT target FROM step WHERE target NOT NULL
"""

_Place = tuple[int, int]


class History:
    """
    The history in a file.

    :param connection: to the file, in autocommit mode.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    # Reading

    def entries(self, target: bytes, query: Query, *, events: bool) -> list[Entry]:
        """
        Read a part of a history.

        :param target: whose, as `Entry.target` has it.
        :param query: which part.
        :param events: whether what happened counts, or only what was said.
        :return: the entries, the oldest first; none if a bound names a message that is not there.
        """
        kinds = "" if events else f" AND {_IS_SPOKEN}"
        bounds = []
        for bound in query.bounds:
            place = self._place(target, bound)
            if place is None:
                return []
            bounds.append(place)
        if query.subcommand is Subcommand.AROUND:
            return self._around(target, bounds[0][0], query.limit, kinds)
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

    def _place(self, target: bytes, bound: Bound) -> tuple[_Place, _Place] | None:
        """Where a bound is: what is before it is less than the first, what is behind more than the second."""
        if isinstance(bound, Moment):
            return (bound.milliseconds, 0), (bound.milliseconds, _LAST_ID)
        row = self._execute(
            f"SELECT time, id FROM history WHERE msgid = ? AND target = ? AND id > {LAST_DOOMED}",  # noqa: S608
            (bound.id, target, target),
        ).fetchone()
        return None if row is None else (row, row)

    def _read(
        self, target: bytes, kinds: str, low: _Place, high: _Place, limit: int, *, backwards: bool
    ) -> list[Entry]:
        order = "DESC" if backwards else "ASC"
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM history WHERE target = ? AND (time, id) > (?, ?)"  # noqa: S608 (our own words)
            f" AND (time, id) < (?, ?) AND id > {LAST_DOOMED}{kinds}"
            f" ORDER BY time {order}, id {order} LIMIT ?",
            (target, *low, *high, target, limit),
        ).fetchall()
        entries = [entry_of(row) for row in rows]
        return entries[::-1] if backwards else entries

    def _around(self, target: bytes, place: _Place, limit: int, kinds: str) -> list[Entry]:
        """Half of them before, the one itself and what comes at that time first among those behind."""
        before = self._read(target, kinds, (0, 0), place, limit // 2, backwards=True)
        time, number = place
        behind, end = (time, number - 1), (_LAST_ID, _LAST_ID)
        return before + self._read(target, kinds, behind, end, limit - len(before), backwards=False)

    def entry(self, target: bytes, msgid: bytes) -> Entry | None:
        """Find an entry of a history by its name."""
        row = self._execute(
            f"SELECT {_COLUMNS} FROM history WHERE msgid = ? AND target = ?"  # noqa: S608 (our own words)
            f" AND id > {LAST_DOOMED}",
            (msgid, target, target),
        ).fetchone()
        return None if row is None else entry_of(row)

    def targets(
        self, who: bytes, channels: Sequence[bytes], after: int, before: int, limit: int
    ) -> list[tuple[bytes, int]]:
        """
        List the histories in which something was said.

        :param who: the `party` whose conversations count.
        :param channels: the folded channels that count.
        :param after: the last message is later than this, in milliseconds since 1970.
        :param before: and earlier than this.
        :param limit: how many at most.
        :return: each with the time of its last message, the earliest first.
        """
        found: list[tuple[bytes, int]] = self._execute(
            "SELECT target, time FROM parties WHERE who = ? AND time > ? AND time < ?"
            " ORDER BY time, target LIMIT ?",
            (who, after, before, limit),
        ).fetchall()
        for channel in channels:
            last = self._execute(
                f"SELECT time FROM history WHERE target = ? AND {_IS_SPOKEN}"  # noqa: S608 (our own words)
                f" AND id > {LAST_DOOMED} ORDER BY time DESC, id DESC LIMIT 1",
                (channel, channel),
            ).fetchone()
            if last is not None and after < last[0] < before:
                found.append((channel, last[0]))
        found.sort(key=lambda one: (one[1], one[0]))
        return found[:limit]

    def export(self, target: bytes | None) -> Iterator[Entry]:
        """
        Give the whole history, the oldest first.

        :param target: of one channel or conversation; None for all.
        """
        where = "" if target is None else " AND target = ?"
        values: tuple[Any, ...] = () if target is None else (target,)
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM history WHERE {_ALIVE}{where} ORDER BY time, id",  # noqa: S608 (our own words)
            values,
        )
        return map(entry_of, rows)

    def count(self) -> int:
        """Count the entries."""
        sql = f"SELECT count(*) FROM history WHERE {_ALIVE}"  # noqa: S608 (our own words)
        (count,) = self._execute(sql).fetchone()
        return int(count)

    # Deleting

    def known(self) -> list[bytes]:
        """List all that have a history."""
        return [target for (target,) in self._execute(_TARGETS)]

    def prune_old(self, before: int) -> bool:
        """
        Delete a slice of what is too old.

        :param before: what is older goes, in milliseconds since 1970.
        :return: whether there may be more to delete.
        """
        deleted = self._execute(
            "DELETE FROM history WHERE id IN"
            " (SELECT id FROM history WHERE time < ? ORDER BY time LIMIT ?)",
            (before, SLICE),
        ).rowcount
        if deleted == SLICE:
            return True
        self._execute("DELETE FROM parties WHERE time < ?", (before,))
        return False

    def prune_doomed(self) -> bool:
        """
        Delete a slice of what is not there any more for anybody.

        :return: whether there may be more to delete.
        """
        doomed = self._execute("SELECT target, last FROM doomed LIMIT 1").fetchone()
        if doomed is None:
            return False
        deleted = self._execute(
            "DELETE FROM history WHERE id IN"
            " (SELECT id FROM history WHERE target = ? AND id <= ? ORDER BY time, id LIMIT ?)",
            (*doomed, SLICE),
        ).rowcount
        if deleted < SLICE:
            self._execute("DELETE FROM doomed WHERE target = ?", doomed[:1])
        return True

    def prune_long(self, target: bytes, most: int) -> bool:
        """
        Delete a slice of what one history has too much.

        :param target: whose.
        :param most: how many entries it keeps.
        :return: whether there may be more to delete.
        """
        (there_are,) = self._execute(
            "SELECT count(*) FROM history WHERE target = ?", (target,)
        ).fetchone()
        excess = there_are - most
        if excess > 0:
            self._execute(
                "DELETE FROM history WHERE id IN"
                " (SELECT id FROM history WHERE target = ? ORDER BY time, id LIMIT ?)",
                (target, min(excess, SLICE)),
            )
        return bool(excess > SLICE)
