"""What tests of the store share: a store in memory or in a file, whose turns end when told to."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.store import MEMORY, Database, Entry, Store

__all__ = ["StoreCase", "at_once", "entry", "refuse"]


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


def at_once(function: Callable[[], Any]) -> Deferred[Any]:
    """Run a function as the store's thread would, on the spot."""
    try:
        return succeed(function())
    except Exception:
        return fail(Failure())


def refuse(*_: object) -> None:
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
        self.clock.advance(0)
