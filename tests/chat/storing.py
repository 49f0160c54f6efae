"""What tests of the store share: a store in memory or in a file, whose turns end when told to."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.selectors import Moment, Query, Subcommand
from myproject_chat.store import MEMORY, Database, Entry, Store
from myproject_chat.store.journal import WINDOW

__all__ = ["StoreCase", "at_once", "capture", "entry", "expected", "refuse"]


def entry(
    number: int, target: bytes = b"#a", *, time: int | None = None, command: bytes = b"PRIVMSG"
) -> Entry:
    """An entry whose name is its number."""
    return Entry(
        b"%d" % number,
        number if time is None else time,
        target,
        b"al!~al@host",
        None,
        command,
        (target,),
        b"text",
    )


def expected(entries: list[Entry], query: Query, *, events: bool) -> list[Entry]:
    """Select with lists what the query selects of entries whose names are numbers, in their order."""
    mine = [one for one in entries if one.target == query.target]
    mine.sort(key=lambda one: (one.time, int(one.msgid)))
    names = {one.msgid: index for index, one in enumerate(mine)}
    before: list[list[Entry]] = []
    behind: list[list[Entry]] = []
    for bound in query.bounds:
        if isinstance(bound, Moment):
            before.append([one for one in mine if one.time < bound.milliseconds])
            behind.append([one for one in mine if one.time > bound.milliseconds])
        elif bound.id not in names:
            return []
        else:
            before.append(mine[: names[bound.id]])
            behind.append(mine[names[bound.id] + 1 :])

    def kept(part: list[Entry]) -> list[Entry]:
        return [one for one in part if events or one.command in (b"PRIVMSG", b"NOTICE")]

    limit = query.limit
    if query.subcommand is Subcommand.BEFORE:
        return kept(before[0])[-limit:]
    if query.subcommand is Subcommand.AFTER:
        return kept(behind[0])[:limit]
    if query.subcommand is Subcommand.LATEST:
        return kept(behind[0])[-limit:]
    if query.subcommand is Subcommand.BETWEEN:
        forwards = kept([one for one in behind[0] if one in before[1]])
        backwards = kept([one for one in before[0] if one in behind[1]])
        return forwards[:limit] or backwards[-limit:]
    earlier = kept(before[0])[-(limit // 2) :] if limit > 1 else []
    return earlier + kept(mine[len(before[0]) :])[: limit - len(earlier)]


def at_once(function: Callable[[], Any]) -> Deferred[Any]:
    """Run a function as the store's thread would, on the spot."""
    try:
        return succeed(function())
    except Exception:
        return fail(Failure())


def capture(case: SynchronousTestCase) -> list[LogEvent]:
    """Collect what is logged until the test ends."""
    log: list[LogEvent] = []
    observer = cast(ILogObserver, log.append)
    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)
    return log


def refuse(*_: object, **_more: object) -> None:
    """Do what a full disk does."""
    raise sqlite3.OperationalError("database or disk is full")


class StoreCase(SynchronousTestCase):
    """A store in memory, whose turns end when told to."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = self.open()

    def open(self, path: str = MEMORY, **words: Any) -> Store:
        def database() -> Database:
            opened = Database(path)
            self.addCleanup(opened.close)
            return opened

        store = Store(database, at_once, self.clock.callLater, **words)
        self.loaded = store.open()
        return store

    def turn(self) -> None:
        """Let the journal's window pass."""
        self.clock.advance(WINDOW)
