"""The journal: tickets, what cannot be written, and a disk that fails or does not keep up."""

from __future__ import annotations

import sqlite3
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.store import Entry, RegisteredChannel
from myproject_chat.store import journal as module
from myproject_chat.store.journal import LAST_TRIES, Journal, LostError
from tests.chat.storing import StoreCase, capture, entry, refuse


class TicketTests(StoreCase):
    """When something is safe."""

    def test_all_of_a_turn_is_written_together_and_told_once(self) -> None:
        told: list[int] = []
        self.store.on_written = told.append
        tickets = [self.store.add(entry(number)) for number in range(3)]
        self.assertEqual(([1, 2, 3], []), (tickets, told))
        self.turn()
        self.assertEqual(([3], 3), (told, self.store.written))
        self.assertEqual(4, self.store.add(entry(4)))

    def test_who_waits_is_told_when_it_is_safe(self) -> None:
        first, second = (self.store.when_written(self.store.add(entry(n))) for n in (1, 2))
        self.assertNoResult(first)
        self.turn()
        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(self.store.when_written(2))

    def test_a_read_sees_what_was_written_before(self) -> None:
        self.store.add(entry(1))
        reading = self.store.entry(b"#a", b"1")
        self.assertNoResult(reading)
        self.clock.advance(0)
        self.assertEqual(entry(1), self.successResultOf(reading))


class WindowTests(StoreCase):
    """What nobody waits for may wait for more."""

    def test_what_nobody_waits_for_is_written_when_the_window_is_over(self) -> None:
        told: list[int] = []
        self.store.on_written = told.append
        self.store.add(entry(1))
        self.clock.advance(module.WINDOW / 2)
        self.store.add(entry(2))
        self.assertEqual([], told)
        self.clock.advance(module.WINDOW / 2)
        self.assertEqual([2], told)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_what_somebody_waits_for_is_written_with_the_turn(self) -> None:
        for wait in (
            self.store.hurry,
            lambda: self.store.when_written(self.store.written + 1),
            lambda: self.store.entry(b"#a", b"1"),
            lambda: self.store.put_secret("cloak", b"x"),
        ):
            ticket = self.store.add(entry(self.store.written + 1))
            wait()
            self.assertLess(self.store.written, ticket)
            self.clock.advance(0)
            self.assertLessEqual(ticket, self.store.written)

    def test_who_comes_to_wait_while_a_transaction_runs_gets_the_next(self) -> None:
        for waits in (False, True):
            disk = Disk()
            disk.put("a")
            disk.clock.advance(0)
            disk.journal.add([entry(2)])
            if waits:
                disk.journal.hurry()
            disk.end()
            disk.clock.advance(0)
            self.assertIs(waits, disk.runs)
            disk.clock.advance(module.WINDOW)
            self.assertTrue(disk.runs)

    def test_so_many_are_written_at_once_whoever_waits(self) -> None:
        self.patch(module, "_BATCH", 3)
        self.store.add(entry(1))
        self.store.add(entry(2))
        self.clock.advance(0)
        self.assertEqual(0, self.store.written)
        self.store.add(entry(3))
        self.clock.advance(0)
        self.assertEqual(3, self.store.written)

    def test_the_end_waits_for_no_window_and_leaves_none(self) -> None:
        disk = Disk()
        disk.journal.add([entry(1)])
        ended = disk.journal.end()
        disk.clock.advance(0)
        disk.journal.add([entry(2)])
        disk.end()
        self.successResultOf(ended)
        disk.clock.advance(0)
        disk.end()
        self.assertEqual((["1", "2"], []), (disk.written, disk.clock.getDelayedCalls()))


class Disk:
    """A writer that is done when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.written: list[str] = []
        self._running: tuple[list[str], Deferred[list[Exception]]] | None = None
        self.journal = Journal(self._write, self.clock.callLater)

    def _write(self, items: list[Any]) -> Deferred[list[Exception]]:
        assert self._running is None, "one transaction at a time"
        done: Deferred[list[Exception]] = Deferred()
        words = [
            item.msgid.decode() if isinstance(item, Entry) else "".join(sql for sql, _ in item)
            for item in items
        ]
        self._running = words, done
        return done

    def put(self, word: str) -> int:
        return self.journal.write([(word, ())])

    def finish(self, failure: Exception | None = None) -> None:
        """End the transaction that runs, if one does, well or badly; then wait for a new try."""
        self.clock.advance(0)
        self.end(failure)
        self.clock.advance(module.RETRY)

    @property
    def runs(self) -> bool:
        """Whether there is a transaction that has not ended."""
        return self._running is not None

    def end(self, failure: Exception | None = None) -> None:
        """End the transaction that runs, if one does."""
        if self._running is not None:
            (words, done), self._running = self._running, None
            if failure is None:
                self.written += words
                done.callback([])
            else:
                done.errback(failure)


FULL = sqlite3.OperationalError("database or disk is full")


class DiskTests(SynchronousTestCase):
    """A disk that is slow, or fails."""

    def test_what_comes_while_the_disk_is_busy_goes_together_next(self) -> None:
        disk = Disk()
        disk.put("a")
        disk.clock.advance(0)
        disk.put("b")
        disk.put("c")
        self.assertEqual(3, len(disk.journal))
        disk.finish()
        self.assertEqual((["a"], 1), (disk.written, disk.journal.written))
        disk.finish()
        self.assertEqual((["a", "b", "c"], 3), (disk.written, disk.journal.written))
        self.assertEqual(0, len(disk.journal))

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.sampled_from(["put", "add", "well", "badly"]), max_size=30))
    def test_nothing_is_lost_or_doubled_whatever_the_disk_does(self, steps: list[str]) -> None:
        disk = Disk()
        told: list[int] = []
        disk.journal.on_written = told.append
        given = 0
        for step in steps:
            if step == "put":
                given += 1
                self.assertEqual(given, disk.put(str(given)))
            elif step == "add":
                given += 2
                self.assertEqual(given, disk.journal.add([entry(given - 1), entry(given)]))
            else:
                disk.finish(None if step == "well" else FULL)
            self.assertEqual([str(n + 1) for n in range(disk.journal.written)], disk.written)
        while disk.journal.written < given:
            disk.finish()
        self.assertEqual([str(n + 1) for n in range(given)], disk.written)
        self.assertEqual(sorted(set(told)), told)
        self.assertTrue(disk.journal.healthy or not given or steps[-1:] == ["badly"])

    def test_a_failing_disk_is_told_once_and_so_is_its_recovery(self) -> None:
        disk, log = Disk(), capture(self)
        disk.put("a")
        for failure in (FULL, FULL, None):
            disk.finish(failure)
            self.assertEqual(failure is None, disk.journal.healthy)
        self.assertEqual(
            [
                "the store cannot be written to: {why}; trying again every {seconds:g} s",
                "the store can be written to again",
            ],
            [event["log_format"] for event in log],
        )

    def test_who_reads_does_not_wait_for_a_disk_that_fails(self) -> None:
        disk = Disk()
        disk.put("a")
        early = disk.journal.when_readable()
        self.assertNoResult(early)
        disk.finish(FULL)
        self.successResultOf(early)
        self.successResultOf(disk.journal.when_readable())

    def test_at_the_end_it_is_tried_some_times_more(self) -> None:
        disk = Disk()
        disk.put("a")
        ended = disk.journal.end()
        for _ in range(LAST_TRIES):
            disk.finish(FULL)
        self.assertNoResult(ended)
        disk.finish()
        self.successResultOf(ended)
        self.assertEqual(["a"], disk.written)

    def test_at_last_it_says_what_is_lost(self) -> None:
        disk = Disk()
        disk.put("a")
        ended = disk.journal.end()
        for _ in range(LAST_TRIES + 1):
            disk.finish(FULL)
        self.failureResultOf(ended, LostError)
        self.assertEqual([], disk.clock.getDelayedCalls())

    def test_there_is_an_end_to_what_waits_by_number_and_by_size(self) -> None:
        for name, most, value in (("MAX_WAITING", 3, b""), ("MAX_WAITING_BYTES", 30, b"x" * 10)):
            self.patch(module, name, most)
            disk = Disk()
            for _ in range(2):
                disk.journal.write([("a", (value, None))])
            # What is being written is in memory still.
            disk.clock.advance(0)
            self.assertFalse(disk.journal.full)
            disk.journal.write([("a", (value, None))])
            self.assertTrue(disk.journal.full)
            disk.finish(FULL)
            self.assertTrue(disk.journal.full)
            disk.finish()
            self.assertFalse(disk.journal.full)
            disk.finish()
            self.assertEqual(0, disk.journal._bytes)

    def test_the_size_of_an_entry_counts(self) -> None:
        self.patch(module, "MAX_WAITING_BYTES", 2000)
        for words in ({"text": b"x" * 2000}, {"tags": b"x" * 2000}, {"text": None}):
            disk = Disk()
            disk.journal.add([entry(1)._replace(**words)])
            self.assertIs(words != {"text": None}, disk.journal.full)
        disk = Disk()
        disk.journal.add([entry(1), entry(2)._replace(text=b"x" * 2000)])
        self.assertTrue(disk.journal.full)

    def test_a_bug_in_who_listens_is_logged_and_stops_nothing(self) -> None:
        disk = Disk()
        disk.journal.on_written = lambda _: 1 // 0  # type: ignore[assignment]
        for word in ("a", "b"):
            disk.put(word)
            disk.finish()
        self.assertEqual(["a", "b"], disk.written)
        self.assertEqual(2, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_what_is_no_error_of_the_disk_is_logged_as_a_bug_and_tried_again(self) -> None:
        disk = Disk()
        disk.put("a")
        disk.finish(MemoryError())
        disk.finish()
        self.assertEqual(["a"], disk.written)
        self.assertEqual(1, len(self.flushLoggedErrors(MemoryError)))


class FileTests(StoreCase):
    """The same with SQLite behind it."""

    def test_a_disk_that_fails_loses_nothing(self) -> None:
        told: list[int] = []
        self.store.on_written = told.append
        broken = self.patch(self.store.database, "write_all", refuse)
        self.store.add(entry(1))
        self.turn()
        self.store.add(entry(2))
        self.clock.advance(1)
        self.assertEqual((False, []), (self.store.healthy, told))
        broken.restore()
        self.clock.advance(1)
        self.assertEqual((True, [2]), (self.store.healthy, told))
        self.assertEqual([entry(1), entry(2)], list(self.store.database.history.export(None)))

    def test_what_can_never_be_written_keeps_nothing_else_from_being_written(self) -> None:
        # Two ranks for one account; a time that no integer of SQLite holds.
        self.store.add(entry(1))
        self.store.put_channel(
            RegisteredChannel(b"#a", b"al", 1, 1, ranks={b"al": b"o", b"AL": b"v"})
        )
        self.store.add(entry(2, time=2**64))
        # More than go in one statement.
        good = [entry(number) for number in range(3, 90)]
        ticket = [self.store.add(one) for one in good][-1]
        self.turn()
        self.assertEqual((True, ticket), (self.store.healthy, self.store.written))
        self.assertEqual([entry(1), *good], list(self.store.database.history.export(None)))
        self.assertEqual((), self.store.database.load().channels)
        self.assertEqual(1, len(self.flushLoggedErrors(sqlite3.IntegrityError)))
        self.assertEqual(1, len(self.flushLoggedErrors(OverflowError)))

    def test_events_are_left_out_while_too_much_waits_and_the_log_counts_them(self) -> None:
        log = capture(self)
        self.patch(module, "MAX_WAITING", 2)
        last = [self.store.add(entry(number)) for number in (1, 2)][-1]
        self.assertTrue(self.store.full)
        for number in (3, 4):
            self.assertEqual(last, self.store.add(entry(number, command=b"JOIN")))
        self.store.add(entry(5))
        self.turn()
        self.store.add(entry(6, command=b"JOIN"))
        self.turn()
        kept: list[Entry] = list(self.store.database.history.export(None))
        self.assertEqual([b"1", b"2", b"5", b"6"], [one.msgid for one in kept])
        self.assertEqual([2, 2], [event["count"] for event in log if "count" in event])

    def test_a_store_closes_even_if_the_disk_fails(self) -> None:
        self.patch(self.store.database, "write_all", refuse)
        self.store.add(entry(1))
        closed = self.store.close()
        for _ in range(LAST_TRIES + 1):
            self.clock.advance(1)
        self.assertIsNone(self.successResultOf(closed))
        self.assertRaises(RuntimeError, lambda: self.store.database)
