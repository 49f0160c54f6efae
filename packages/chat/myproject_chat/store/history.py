"""
History in the file: which entries a selector selects, and which are to go.

Entries that have one time are in the order in which they were written. So a place in a history is a time and
a row's number, and a bound is a pair of places: what is before it, and what is behind it.

Source: https://ircv3.net/specs/extensions/chathistory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

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
# What was said, and what happened; an index has these words behind the target, and the times behind them.
_IS_SPOKEN: Final = "(command IN ({})) = 1".format(", ".join(f"x'{word.hex()}'" for word in SPOKEN))
_IS_EVENT: Final = _IS_SPOKEN.replace("= 1", "= 0")

# What was not deleted with its history: of any, and of the one that is asked for, which is looked up once.
_ALIVE: Final = "id > coalesce((SELECT last FROM doomed WHERE doomed.target = history.target), 0)"
_ALIVE_OF_TARGET: Final = f"id > {LAST_DOOMED.replace('?', ':target')}"

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


def _in_order(
    columns: str,
    where: str,
    *,
    kinds: Sequence[str] = (_IS_SPOKEN, _IS_EVENT),
    backwards: bool = False,
) -> str:
    """
    Select what one history (``:target``) has, in its order: SQLite merges what was said and what happened.

    :param columns: what of it, with time and id.
    :param where: which.
    :param kinds: one of these, or both.
    :param backwards: whether the latest come first.
    """
    halves = " UNION ALL ".join(
        f"SELECT {columns} FROM history WHERE target = :target AND {kind} AND {where}"  # noqa: S608 (our own words)
        for kind in kinds
    )
    order = "DESC" if backwards else "ASC"
    return f"{halves} ORDER BY time {order}, id {order}"


def _delete_first(where: str = "TRUE") -> str:
    """Delete the first ``:most`` of one history, of those that are meant."""
    first = _in_order("time, id", where)
    return f"DELETE FROM history WHERE id IN (SELECT id FROM ({first} LIMIT :most))"  # noqa: S608 (our own words)


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
        kinds = (_IS_SPOKEN, _IS_EVENT) if events else (_IS_SPOKEN,)
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
        self,
        target: bytes,
        kinds: Sequence[str],
        low: _Place,
        high: _Place,
        limit: int,
        *,
        backwards: bool,
    ) -> list[Entry]:
        inside = "(time, id) > (:after, :behind) AND (time, id) < (:until, :before)"
        sql = _in_order(
            f"{_COLUMNS}, id", f"{inside} AND {_ALIVE_OF_TARGET}", kinds=kinds, backwards=backwards
        )
        values = {"target": target, "limit": limit}
        values |= zip(("after", "behind", "until", "before"), (*low, *high), strict=True)
        entries = [entry_of(row[:-1]) for row in self._execute(f"{sql} LIMIT :limit", values)]
        return entries[::-1] if backwards else entries

    def _around(
        self, target: bytes, place: _Place, limit: int, kinds: Sequence[str]
    ) -> list[Entry]:
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
        if target is None:
            sql = f"SELECT {_COLUMNS}, id FROM history WHERE {_ALIVE} ORDER BY time, id"  # noqa: S608 (our own words)
        else:
            sql = _in_order(f"{_COLUMNS}, id", _ALIVE_OF_TARGET)
        rows = self._execute(sql, {"target": target})
        return (entry_of(row[:-1]) for row in rows)

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
        target, last = doomed
        values = {"target": target, "last": last, "most": SLICE}
        deleted = self._execute(_delete_first("id <= :last"), values).rowcount
        if deleted < SLICE:
            self._execute("DELETE FROM doomed WHERE target = ?", (target,))
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
            self._execute(_delete_first(), {"target": target, "most": min(excess, SLICE)})
        return bool(excess > SLICE)
