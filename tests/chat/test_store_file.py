"""The file: which will do, which will not, and the service that opens it."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from myproject.errors import CannotStart
from myproject_chat.selectors import Query, Subcommand
from myproject_chat.store import MEMORY, Account, Database, Loaded
from myproject_chat.store import service as service_module
from myproject_chat.store.history import History
from myproject_chat.store.rows import put_account, put_entries
from myproject_chat.store.schema import APPLICATION_ID, MIGRATIONS, VERSION, migrate
from myproject_chat.store.service import StoreService
from myproject_chat.store.thread import FileThread
from tests.chat.storing import at_once, entry, refuse
from tests.support import wait_until


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

    def test_it_is_for_its_owner_only(self) -> None:
        path = self.mktemp()
        database = Database(path)
        self.addCleanup(database.close)
        database.write([])
        for name in (path, f"{path}-wal", f"{path}-shm", f"{path}.lock"):
            self.assertEqual(0o600, Path(name).stat().st_mode & 0o777, name)

    def test_a_server_has_it_under_any_of_its_names(self) -> None:
        path, other = self.mktemp(), self.mktemp()
        database = Database(path)
        self.addCleanup(database.close)
        Path(other).symlink_to(Path(path).absolute())
        self.assertIn("another server has it", self.refusal(other))

    def test_a_file_is_free_again_after_a_refusal_and_after_closing(self) -> None:
        path = self.mktemp()
        for content in ("something else " * 100, ""):
            Path(path).write_text(content)
            if content:
                self.assertIn("restore a backup, or give another file", self.refusal(path))
        for _ in range(2):
            Database(path).close()

    def test_what_is_flushed(self) -> None:
        for flush, expected in ((False, 1), (True, 2)):
            database = Database(self.mktemp(), flush=flush)
            self.addCleanup(database.close)
            (level,) = database._connection.execute("PRAGMA synchronous").fetchone()
            self.assertEqual(expected, level)

    def test_a_copy_that_cannot_be_made_is_not_there(self) -> None:
        database = Database(self.mktemp())
        copy = self.mktemp()
        database.close()
        self.assertRaises(sqlite3.Error, database.backup, copy)
        self.assertFalse(Path(copy).exists())

    def test_a_copy_is_made_where_there_are_no_links_and_overwrites_nothing(self) -> None:
        database = Database(self.mktemp())
        self.addCleanup(database.close)
        copy = Path(self.mktemp())

        def refused(*_: object) -> NoReturn:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        links = self.patch(os, "link", refused)
        database.backup(str(copy))
        links.restore()
        self.assertEqual(copy.stat().st_mode & 0o777, 0o600)
        before = copy.read_bytes()
        self.assertRaises(FileExistsError, database.backup, str(copy))
        # Nor one that comes while it is being made.
        self.patch(Path, "exists", lambda _: False)
        self.assertRaises(FileExistsError, database.backup, str(copy))
        self.assertEqual(before, copy.read_bytes())
        self.assertEqual([copy], list(copy.parent.glob(f"{copy.name}*")))

    def test_a_row_that_points_nowhere_is_found(self) -> None:
        path = self.mktemp()
        database = Database(path)
        self.addCleanup(database.close)
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("INSERT INTO ranks VALUES (x'61', x'62', x'6f')")
        connection.close()
        self.assertEqual(["a row of ranks points nowhere"], database.check())


class MigrationTests(SynchronousTestCase):
    """How a file of an older version becomes one of this."""

    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)

    def ask(self, pragma: str) -> object:
        return self.connection.execute(f"PRAGMA {pragma}").fetchone()[0]

    def test_each_step_is_taken_once_in_its_order(self) -> None:
        steps = ["CREATE TABLE a (x); INSERT INTO a VALUES (1);", "UPDATE a SET x = x + 1;"]
        migrate(self.connection, steps[:1])
        self.assertEqual(
            (1, APPLICATION_ID), (self.ask("user_version"), self.ask("application_id"))
        )
        for _ in range(2):
            migrate(self.connection, steps)
            self.assertEqual(2, self.ask("user_version"))
            self.assertEqual([(2,)], self.connection.execute("SELECT x FROM a").fetchall())

    def test_a_step_that_fails_changes_nothing(self) -> None:
        steps = ["CREATE TABLE a (x);", "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1);"]
        self.assertRaises(sqlite3.OperationalError, migrate, self.connection, steps)
        self.assertEqual(1, self.ask("user_version"))
        self.assertEqual([], self.connection.execute("SELECT x FROM a").fetchall())
        self.assertFalse(self.connection.in_transaction)

    def test_a_file_of_version_1_opens_with_all_that_is_in_it(self) -> None:
        # What the first migration makes is never changed.
        path = self.mktemp()
        connection = sqlite3.connect(path, isolation_level=None)
        migrate(connection, MIGRATIONS[:1])
        connection.execute(
            "INSERT INTO accounts VALUES (x'616c', x'416c', 5, 'hash', '[\"ab\"]', x'', 1, '{}')"
        )
        connection.close()
        database = Database(path)
        self.addCleanup(database.close)
        self.assertEqual([], database.check())
        self.assertEqual((Account(b"Al", 5, "hash", None, (b"ab",)),), database.load().accounts)

    def test_a_history_of_version_2_is_read_as_it_was(self) -> None:
        path = self.mktemp()
        entries = [entry(n, command=b"JOIN" if n % 3 else b"NOTICE") for n in range(1, 20)]
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            migrate(connection, MIGRATIONS[:2])
            for sql, values in put_entries(entries):
                connection.execute(sql, values)
        with contextlib.closing(Database(path)) as database:
            self.assertEqual([], database.check())
            self.assertEqual(entries, list(database.history.export(b"#a")))
            latest = Query(Subcommand.LATEST, b"#a", (), 3)
            for events, wanted in ((True, entries[-3:]), (False, entries[11::3])):
                self.assertEqual(wanted, database.history.entries(b"#a", latest, events=events))


class InPlace:
    """A thread that is none: what it is to run is run on the spot."""

    def __init__(self, _: object) -> None:
        self.run = at_once

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End."""


class ServiceTests(SynchronousTestCase):
    """The service, with a clock of the tests' and without its thread."""

    def setUp(self) -> None:
        self.patch(service_module, "FileThread", InPlace)
        self.clock = Clock()
        self.path = self.mktemp()
        self.loaded: list[Loaded] = []
        self.seen: list[Loaded] = []

    def start(self, **words: Any) -> StoreService:
        service = StoreService(
            self.path, self.loaded.append, lambda: 100.0, reactor=self.clock, **words
        )
        service.startService()
        self.clock.advance(0)
        service.store.on_changed = self.seen.append
        self.addCleanup(service.stopService)
        return service

    def stop(self, service: StoreService) -> None:
        stopped = service.stopService()
        assert stopped is not None
        self.clock.advance(0)
        self.successResultOf(stopped)

    def test_what_is_written_is_there_after_it_has_stopped(self) -> None:
        for name in (b"al", b"bo"):
            service = self.start()
            service.store.put_account(Account(name, 1))
            self.stop(service)
            # Once is enough.
            self.assertIsNone(service.stopService())
        self.assertEqual([(), (Account(b"al", 1),)], [one.accounts for one in self.loaded])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_one_that_is_stopped_before_the_reactor_runs_has_no_thread_and_no_file(self) -> None:
        service = StoreService(self.path, self.loaded.append, lambda: 100.0, reactor=self.clock)
        self.patch(service_module, "FileThread", FileThread)
        threads = threading.active_count()
        service.startService()
        self.assertEqual(threads, threading.active_count())
        self.assertIsNone(service.stopService())
        self.assertEqual([], self.clock.getDelayedCalls())
        Database(self.path).close()

    def test_limits_change_while_it_runs(self) -> None:
        service = self.start(history_length=1, history_age=1)
        service.reload(history_length=3, history_age=50, flush=True)
        for time_of in (49_999, 50_000, 50_001, 50_002, 50_003):
            service.store.add(entry(time_of))
        self.clock.pump([1] * 61)
        kept = service.store.database.history.export(None)
        self.assertEqual([50_001, 50_002, 50_003], [one.time for one in kept])
        (level,) = service.store.database._connection.execute("PRAGMA synchronous").fetchone()
        self.assertEqual(2, level)

    def test_one_that_never_started_stops(self) -> None:
        service = StoreService(self.path, self.loaded.append, time.time)
        service.reload(history_length=3, history_age=50, flush=True)
        self.assertIsNone(service.stopService())

    def test_it_prunes_and_looks_for_what_others_changed(self) -> None:
        service = self.start(history_length=2, history_age=50)
        for number in (1, 2, 49_999, 50_000, 50_001, 50_002):
            service.store.add(entry(number))
        self.clock.advance(0)
        with contextlib.closing(Database(self.path, exclusive=False)) as other:
            other.write(put_account(Account(b"al", 1)))
        self.clock.pump([1] * 3)
        self.assertEqual([(Account(b"al", 1),)], [one.accounts for one in self.seen])
        self.clock.pump([1] * 60)
        kept = service.store.database.history.export(None)
        self.assertEqual([50_001, 50_002], [one.time for one in kept])

    def test_what_fails_is_told_once_and_tried_again(self) -> None:
        service = self.start()
        broken = self.patch(Database, "has_changed", refuse)
        self.clock.pump([1] * 5)
        self.assertEqual(1, len(self.flushLoggedErrors(sqlite3.OperationalError)))
        broken.restore()
        self.clock.advance(1)
        with contextlib.closing(Database(self.path, exclusive=False)) as other:
            other.write(put_account(Account(b"al", 1)))
        load = self.patch(Database, "load", refuse)
        self.clock.pump([1] * 2)
        self.assertEqual(1, len(self.flushLoggedErrors(sqlite3.OperationalError)))
        self.assertEqual([], self.seen)
        load.restore()
        self.clock.pump([1] * 2)
        self.assertEqual(1, len(self.seen))
        self.stop(service)

    def test_pruning_that_failed_begins_anew(self) -> None:
        service = self.start(history_length=1)
        for number in (1, 2, 3):
            service.store.add(entry(number))
        self.clock.advance(0)
        broken = self.patch(History, "prune_long", refuse)
        self.clock.pump([1] * 61)
        self.assertEqual(1, len(self.flushLoggedErrors(sqlite3.OperationalError)))
        broken.restore()
        self.clock.pump([1] * 61)
        self.assertEqual(1, service.store.database.history.count())

    def test_in_memory_nobody_else_changes_anything(self) -> None:
        self.path = MEMORY
        service = self.start()
        looked = self.patch(Database, "has_changed", refuse)
        self.clock.pump([1] * 3)
        looked.restore()
        self.stop(service)


class Words(dict[str, bytes]):
    """What a function was given, and can be seen to be gone."""


class FileThreadTests(SynchronousTestCase):
    """The thread, with a reactor that only notes what it is to call."""

    def setUp(self) -> None:
        self.calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.thread = FileThread(cast(IReactorFromThreads, self))

    def callFromThread(self, function: Callable[..., object], *given: object) -> None:
        self.calls.put(partial(function, *given))

    def test_all_are_run_in_their_order_and_what_came_before_it_began_too(self) -> None:
        ran: list[tuple[int, str]] = []

        def run(number: int) -> int:
            ran.append((number, threading.current_thread().name))
            return 1 // (number - 1)

        done = [self.thread.run(partial(run, number)) for number in range(2)]
        self.assertEqual([], ran)
        self.thread.start()
        done.append(self.thread.run(partial(run, 2)))
        self.thread.stop()
        self.assertEqual([(number, "chat store") for number in range(3)], ran)
        # Nobody is told in its thread.
        for one in done:
            self.assertNoResult(one)
            self.calls.get_nowait()()
        self.assertEqual(-1, self.successResultOf(done[0]))
        self.failureResultOf(done[1], ZeroDivisionError)
        self.assertEqual(1, self.successResultOf(done[2]))

    def test_it_keeps_nothing_of_what_it_ran(self) -> None:
        words = Words()
        there = weakref.ref(words)
        self.thread.start()
        self.thread.run(partial(len, words))
        self.calls.get()()
        del words
        # It waits for the next now, or is about to.
        wait_until(lambda: there() is None, what="what was run is gone")
        self.thread.stop()


class ThreadTests(TestCase):
    """The service, with its thread and the reactor."""

    def test_it_opens_writes_tells_reads_and_closes(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.live(self.mktemp()))

    async def live(self, path: str) -> None:
        service = StoreService(path, lambda _: None, time.time, flush=True)
        service.startService()
        threads: list[object] = []
        service.store.on_written = lambda _: threads.append(threading.current_thread())
        await service.store.when_written(service.store.add(entry(1)))
        service.store.add(entry(2))
        self.assertEqual(entry(2), await service.store.entry(b"#a", b"2"))
        self.assertEqual({threading.main_thread()}, set(threads))
        service.store.add(entry(3))
        pruning = service.store.prune(0)
        stopped = service.stopService()
        assert stopped is not None
        await stopped
        await pruning
        with contextlib.closing(Database(path)) as database:
            self.assertEqual(3, database.history.count())
