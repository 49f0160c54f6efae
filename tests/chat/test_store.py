"""The store: what is written is there, in order, and safe when it says so."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from myproject.errors import CannotStart
from myproject_chat.scram import ScramCredentials
from myproject_chat.selectors import MessageId, Moment, Query, Subcommand
from myproject_chat.store import (
    MEMORY,
    Account,
    Database,
    Entry,
    Loaded,
    Marker,
    Metadata,
    NetworkBan,
    RegisteredChannel,
    Store,
    StoredMask,
    conversation,
)
from myproject_chat.store.schema import APPLICATION_ID, VERSION
from myproject_chat.store.service import StoreService


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


class Case(SynchronousTestCase):
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


class RecordTests(Case):
    """All that is small comes back as it was."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.mktemp()
        self.store = self.open(self.path)

    def again(self) -> Loaded:
        """Close the file and open it again."""
        closed = self.store.close()
        self.turn()
        self.successResultOf(closed)
        self.store = self.open(self.path)
        return self.loaded

    def test_every_kind(self) -> None:
        account = Account(
            b"Al",
            5,
            "$argon2id$x",
            ScramCredentials(b"salt\0", 4096, b"\xff" * 32, b"\0" * 32),
            (b"ab" * 32, b"cd" * 32),
            b"al@example.org",
            False,
            {"always-on": "true"},
        )
        masks = (StoredMask(b"b", b"a!*@*", b"al", 7), StoredMask(b"I", b"a:x", b"al", 8))
        channel = RegisteredChannel(
            b"#A", b"Al", 1, 2, (b"topic", b"al", 3), b"nt", b"key", 9, b"#b", masks, {b"bo": b"o"}
        )
        bare = RegisteredChannel(b"#bare", b"Al", 1, 2)
        ban = NetworkBan("dline", b"192.0.2.0/24", b"op", b"why", 1, 2)
        marker, metadata = Marker(b"al", b"#a", 6), Metadata(b"al", b"url", b"\xc3\xa9")
        self.store.put_account(account)
        self.store.put_account(Account(b"bo", 1))
        self.store.put_channel(channel)
        self.store.put_channel(bare)
        self.store.put_ban(ban)
        self.store.put_marker(marker)
        self.store.put_metadata(metadata)
        self.store.put_secret("cloak", b"\0\1")
        expected = Loaded(
            (account, Account(b"bo", 1)),
            (channel, bare),
            (ban,),
            (marker,),
            (metadata,),
            {"cloak": b"\0\1"},
        )
        self.assertEqual(expected, self.again())
        # Again, whatever the case; what hangs on it goes with it.
        self.store.put_account(Account(b"AL", 6))
        self.store.put_channel(RegisteredChannel(b"#a", b"bo", 3, 4))
        self.store.delete_account(b"BO")
        self.store.delete_channel(b"#BARE")
        self.store.delete_ban("dline", b"192.0.2.0/24")
        self.store.delete_metadata(b"al", b"url")
        loaded = self.again()
        self.assertEqual((Account(b"AL", 6),), loaded.accounts)
        self.assertEqual((RegisteredChannel(b"#a", b"bo", 3, 4),), loaded.channels)
        self.assertEqual(((), ()), (loaded.bans, loaded.metadata))

    def test_what_another_program_changes_is_noticed(self) -> None:
        seen: list[Loaded] = []
        self.store.on_changed = seen.append
        self.store.put_account(Account(b"al", 1))
        self.turn()
        self.successResultOf(self.store.look())
        self.assertEqual([], seen)
        other = Database(self.path, exclusive=False)
        self.addCleanup(other.close)
        other.write([("DELETE FROM accounts", ())])
        self.successResultOf(self.store.look())
        self.assertEqual([()], [loaded.accounts for loaded in seen])


class TicketTests(Case):
    """When something is safe."""

    def test_all_of_a_turn_is_written_together_and_told_once(self) -> None:
        told: list[int] = []
        self.store.on_written = told.append
        tickets = [self.store.add(entry(number)) for number in range(3)]
        self.assertEqual(([1, 2, 3], []), (tickets, told))
        self.turn()
        self.assertEqual(([3], 3), (told, self.store.written))
        self.assertEqual(4, self.store.add(entry(4)))

    def test_a_read_sees_what_was_written_before(self) -> None:
        self.store.add(entry(1))
        reading = self.store.entry(b"#a", b"1")
        self.assertNoResult(reading)
        self.turn()
        self.assertEqual(entry(1), self.successResultOf(reading))

    def test_a_disk_that_fails_loses_nothing(self) -> None:
        store = self.store
        told: list[int] = []
        store.on_written = told.append
        broken = self.patch(store.database, "write", self.refuse)
        store.add(entry(1))
        self.turn()
        store.add(entry(2))
        self.clock.advance(1)
        self.assertEqual((False, []), (store.healthy, told))
        broken.restore()
        self.clock.advance(1)
        self.assertEqual((True, [2]), (store.healthy, told))
        self.assertEqual([entry(1), entry(2)], list(store.database.export(None)))

    def test_there_is_an_end_to_what_waits(self) -> None:
        self.patch(self.store, "_waiting", [("", ())] * 99_999)
        self.assertFalse(self.store.full)
        self.store.add(entry(1))
        self.assertTrue(self.store.full)

    def test_a_store_that_closes_while_the_disk_fails_says_what_is_lost(self) -> None:
        self.patch(self.store.database, "write", self.refuse)
        self.store.add(entry(1))
        closed = self.store.close()
        self.turn()
        self.assertIsNone(self.successResultOf(closed))

    def refuse(self, _statements: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")


#: What may be in a history: times that meet, so that names have to tell apart.
ENTRIES = st.lists(
    st.builds(
        lambda time, target, command: (time, target, command),
        st.integers(1, 12),
        st.sampled_from([b"#a", b"#b"]),
        st.sampled_from([b"PRIVMSG", b"NOTICE", b"JOIN"]),
    ),
    max_size=15,
)
BOUNDS = st.integers(0, 13).map(Moment) | st.integers(0, 15).map(lambda n: MessageId(b"%d" % n))


class HistoryTests(Case):
    """What a selector selects, against the same said with lists."""

    @settings(deadline=None, max_examples=150)
    @given(ENTRIES, st.sampled_from(Subcommand), BOUNDS, BOUNDS, st.integers(1, 8), st.booleans())
    def test_a_part_of_a_history(
        self,
        said: list[tuple[int, bytes, bytes]],
        subcommand: Subcommand,
        first: Moment | MessageId,
        second: Moment | MessageId,
        limit: int,
        events: bool,
    ) -> None:
        if subcommand is Subcommand.TARGETS:
            return
        store = self.open()
        entries = [
            entry(number, target, time=time, command=command)
            for number, (time, target, command) in enumerate(said)
        ]
        for one in entries:
            store.add(one)
        bounds = (first, second) if subcommand is Subcommand.BETWEEN else (first,)
        query = Query(subcommand, b"#a", bounds, limit)
        reading = store.entries(b"#a", query, events=events)
        self.turn()
        self.assertEqual(
            expected(entries, query, events=events), self.successResultOf(reading), query
        )
        store.database.close()

    def test_the_latest_without_a_bound(self) -> None:
        for number in range(5):
            self.store.add(entry(number))
        reading = self.store.entries(b"#a", Query(Subcommand.LATEST, b"#a", (), 2), events=True)
        self.turn()
        self.assertEqual([entry(3), entry(4)], self.successResultOf(reading))

    def test_targets_are_those_one_has_a_part_in(self) -> None:
        pair, other = conversation(b"bo", b"al"), conversation(b"bo", b"cy")
        self.assertEqual(pair, conversation(b"al", b"bo"))
        for number, target in enumerate((b"#a", pair, other, b"#b", pair)):
            self.store.add(entry(number + 1, target))
        self.store.add(entry(9, b"#a", command=b"JOIN"))
        for after, before, limit, found in (
            (0, 99, 9, [(b"#a", 1), (pair, 5)]),
            (1, 99, 9, [(pair, 5)]),
            (0, 5, 9, [(b"#a", 1)]),
            (0, 99, 1, [(b"#a", 1)]),
        ):
            reading = self.store.targets(b"al", [b"#a"], after, before, limit)
            self.turn()
            self.assertEqual(found, self.successResultOf(reading))

    def test_what_is_redacted_is_gone_and_what_is_renamed_elsewhere(self) -> None:
        for number in range(3):
            self.store.add(entry(number))
        self.store.redact(b"#b", b"0")
        self.store.redact(b"#a", b"1")
        self.store.rename_history(b"#a", b"#c")
        self.turn()
        left = [(one.msgid, one.target) for one in self.store.database.export(b"#c")]
        self.assertEqual([(b"0", b"#c"), (b"2", b"#c")], left)

    def test_a_name_is_there_once(self) -> None:
        self.store.add(entry(1))
        self.store.add(entry(1))
        self.turn()
        self.assertEqual(1, len(list(self.store.database.export(None))))

    def test_everything_of_an_entry_comes_back(self) -> None:
        whole = Entry(
            b"x",
            1,
            b"#a",
            b"al!~al@h",
            b"Al",
            b"PRIVMSG",
            (b"#A",),
            b"one\ntwo",
            b"+x=y",
            (1,),
            True,
        )
        self.store.add(whole)
        self.turn()
        self.assertEqual([whole], list(self.store.database.export(None)))


def expected(entries: list[Entry], query: Query, *, events: bool) -> list[Entry]:
    """The same, said with lists."""
    mine = [one for one in entries if one.target == b"#a"]
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
        return [one for one in part if events or one.command != b"JOIN"]

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


class PruneTests(Case):
    def test_each_history_keeps_its_last_and_nothing_too_old(self) -> None:
        self.store = self.open(history_length=2, history_age=5)
        for number in range(1, 10):
            self.store.add(entry(number, b"#a" if number % 2 else b"#b"))
        self.turn()
        self.successResultOf(self.store.prune(12))
        self.assertEqual([7, 8, 9], sorted(one.time for one in self.store.database.export(None)))

    def test_nothing_goes_if_nothing_is_to(self) -> None:
        for number in range(5):
            self.store.add(entry(number))
        self.turn()
        self.successResultOf(self.store.prune(10**15))
        self.assertEqual(5, len(list(self.store.database.export(None))))

    def test_much_goes_in_slices(self) -> None:
        self.store = self.open(history_length=1)
        for number in range(2500):
            self.store.add(entry(number))
        self.turn()
        self.successResultOf(self.store.prune(0))
        self.assertEqual([2499], [one.time for one in self.store.database.export(None)])


class FileTests(SynchronousTestCase):
    """Files that will do, and files that will not."""

    def refusal(self, path: str) -> str:
        service = StoreService(path, lambda _: None, lambda: 0.0, reactor=Clock())
        return str(self.assertRaises(CannotStart, service.startService))

    def test_a_copy_of_a_live_file_is_whole(self) -> None:
        path, copy = self.mktemp(), self.mktemp()
        database = Database(path)
        self.addCleanup(database.close)
        database.write([("INSERT INTO secrets VALUES ('a', 'b')", ())])
        database.backup(copy)
        other = Database(copy)
        self.addCleanup(other.close)
        self.assertEqual((database.load(), []), (other.load(), other.check()))

    def test_a_file_that_another_server_has(self) -> None:
        path = self.mktemp()
        database = Database(path)
        self.addCleanup(database.close)
        self.assertEqual(
            f"cannot use the state file {path}: another server has it;"
            " stop that one, or give each its own with --state",
            self.refusal(path),
        )

    def test_a_file_of_a_newer_version(self) -> None:
        path = self.mktemp()
        Database(path).close()
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        connection.close()
        self.assertIn(f"its version is {VERSION + 1}, and this program knows", self.refusal(path))

    def test_what_is_no_database_or_another_programs(self) -> None:
        path = self.mktemp()
        Path(path).write_text("something else entirely, of some length" * 50)
        self.assertIn("file is not a database", self.refusal(path))
        other = self.mktemp()
        with sqlite3.connect(other) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        connection.close()
        self.assertIn("it is another program's database", self.refusal(other))

    def test_a_folder_that_is_not_there(self) -> None:
        self.assertIn(
            "no such file or directory; give a file in a folder", self.refusal("/nowhere/x")
        )

    def test_a_new_file_says_what_it_is(self) -> None:
        path = self.mktemp()
        Database(path).close()
        with sqlite3.connect(path) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        connection.close()
        self.assertEqual((APPLICATION_ID, "wal"), (application, journal))
