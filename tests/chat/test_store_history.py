"""History: what a selector selects, who has talked with whom, and what is deleted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from myproject_chat.selectors import MessageId, Moment, Query, Subcommand
from myproject_chat.store import Entry, NetworkBan, conversation, party, rows
from myproject_chat.store.history import SLICE, History
from tests.chat.storing import StoreCase, entry, expected

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


class HistoryTests(StoreCase):
    """What a selector selects, against the same said with lists."""

    @settings(deadline=None, max_examples=300)
    @given(ENTRIES, st.sampled_from(Subcommand), BOUNDS, BOUNDS, st.integers(1, 5), st.booleans())
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

    def test_of_what_is_between_the_limit_leaves_what_is_next_to_the_first_bound(self) -> None:
        for number in range(6):
            self.store.add(entry(number))
        for bounds, found in (((0, 5), [1, 2]), ((5, 0), [3, 4])):
            query = Query(Subcommand.BETWEEN, b"#a", tuple(map(Moment, bounds)), 2)
            reading = self.store.entries(b"#a", query, events=True)
            self.turn()
            self.assertEqual(found, [one.time for one in self.successResultOf(reading)])

    def test_a_conversation_is_as_late_as_its_latest_message(self) -> None:
        for number, time in ((1, 5), (2, 9), (3, 7)):
            self.store.add(entry(number, b"al bo", time=time))
        self.turn()
        self.assertEqual([(b"al bo", 9)], self.store.database.history.targets(b"al", [], 0, 99, 9))

    def test_a_guest_is_nobody_who_has_an_account(self) -> None:
        account, guest = party(b"Bo", b"x"), party(None, b"Bo")
        self.assertEqual((b"bo", b"~bo"), (account, guest))
        self.store.add(entry(1, conversation(b"al", guest)))
        for who, found in ((account, []), (b"al", [(b"al ~bo", 1)])):
            reading = self.store.targets(who, [], 0, 9, 9)
            self.turn()
            self.assertEqual(found, self.successResultOf(reading))

    def test_who_has_the_name_next_reads_nothing_of_who_had_it(self) -> None:
        for number, target in enumerate((b"al bo", b"bo cy", b"al cy", b"#bo")):
            self.store.add(entry(number, target, time=number + 1))
        self.store.delete_account(b"Bo")
        self.turn()
        left = [one.target for one in self.store.database.history.export(None)]
        self.assertEqual([b"al cy", b"#bo"], left)
        for who, found in ((b"bo", []), (b"al", [(b"al cy", 3)])):
            self.assertEqual(found, self.store.database.history.targets(who, [], 0, 9, 9))

    def test_what_is_redacted_is_gone_and_what_is_renamed_elsewhere(self) -> None:
        for number in range(3):
            self.store.add(entry(number))
        self.store.redact(b"#b", b"0")
        self.store.redact(b"#a", b"1")
        self.store.rename_history(b"#a", b"#c")
        self.turn()
        left = [(one.msgid, one.target) for one in self.store.database.history.export(b"#c")]
        self.assertEqual([(b"0", b"#c"), (b"2", b"#c")], left)

    def test_a_bug_in_reading_is_no_trouble_of_the_disk(self) -> None:
        self.patch(History, "entry", lambda *_: 1 / 0)
        self.failureResultOf(self.store.entry(b"#a", b"0"), ZeroDivisionError)

    def test_a_name_is_there_once(self) -> None:
        self.store.add(entry(1))
        self.store.add(entry(1))
        self.turn()
        self.assertEqual(1, len(list(self.store.database.history.export(None))))

    def test_many_are_in_their_order_however_many_go_together(self) -> None:
        # All at one time, so that they are in the order in which they were written.
        entries = [entry(n, b"#a" if n % 2 else b"al bo", time=1) for n in range(150)]
        for one in entries[:140]:
            self.store.add(one)
        # One that is there already, among others.
        self.store.add(entry(70, time=2))
        for one in entries[140:]:
            self.store.add(one)
        self.turn()
        self.assertEqual(entries, list(self.store.database.history.export(None)))

    def test_what_is_said_behind_a_deletion_stays(self) -> None:
        for number in (1, 2):
            self.store.add(entry(number))
        self.store.delete_history(b"#a")
        self.store.add(entry(3))
        self.turn()
        self.assertEqual([entry(3)], list(self.store.database.history.export(None)))

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
        self.assertEqual([whole], list(self.store.database.history.export(None)))


class PlanTests(StoreCase):
    """How SQLite goes about it: a history of a million messages must not be walked through."""

    def plans(self, *calls: Callable[[], object]) -> list[str]:
        """What SQLite does, a line for each step."""
        connection = self.store.database._connection
        said: list[str] = []
        connection.set_trace_callback(said.append)
        for call in calls:
            call()
        connection.set_trace_callback(None)
        words = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")
        asked = [one.strip() for one in said if one.strip().startswith(words)]
        self.assertGreaterEqual(len(asked), len(calls))
        return [
            f"{row[3]} in {one}"
            for one in asked
            for row in connection.execute(f"EXPLAIN QUERY PLAN {one}")
        ]

    def test_nothing_walks_through_the_history(self) -> None:
        history, run = self.store.database.history, self.store.database.write
        bounds = (MessageId(b"1"), Moment(5))
        queries = [
            Query(subcommand, b"#a", bounds[: 2 if subcommand is Subcommand.BETWEEN else 1], 5)
            for subcommand in Subcommand
            if subcommand is not Subcommand.TARGETS
        ]
        self.store.add(entry(1))
        self.turn()
        reads = [
            partial(history.entries, b"#a", query, events=events)
            for query in (*queries, Query(Subcommand.LATEST, b"#a", (), 5))
            for events in (False, True)
        ]
        plans = self.plans(
            *reads,
            lambda: history.entry(b"#a", b"1"),
            lambda: history.targets(b"al", [b"#a", b"#b"], 0, 9, 5),
            history.known,
            lambda: history.prune_old(0),
            lambda: history.prune_long(b"#a", 0),
            lambda: list(history.export(b"#a")),
            lambda: run(rows.put_entries([entry(2, b"al bo")])),
            lambda: run(rows.rename_history(b"#b", b"#c")),
            lambda: run(rows.delete_history(b"#a")),
            lambda: run(rows.delete_account(b"al")),
            history.prune_doomed,
        )
        self.assertEqual([], [one for one in plans if one.startswith("SCAN history")])
        self.assertEqual([], [one for one in plans if "TEMP B-TREE" in one and "history" in one])
        # All of it is walked through in its order, and not sorted.
        (export,) = self.plans(lambda: list(history.export(None)))[:1]
        self.assertIn("SCAN history USING INDEX history_by_time in", export)

    def test_a_message_is_written_to_as_few_trees_as_can_be(self) -> None:
        sql = "SELECT name FROM sqlite_master WHERE tbl_name = 'history' AND sql NOT NULL ORDER BY name"
        names = [name for (name,) in self.store.database._connection.execute(sql)]
        self.assertEqual(["history", "history_by_target", "history_by_time"], names)

    def test_what_was_said_is_found_among_what_happened(self) -> None:
        spoken = Query(Subcommand.LATEST, b"#a", (), 5)
        (plan, *_) = self.plans(
            lambda: self.store.database.history.entries(b"#a", spoken, events=False)
        )
        self.assertIn("USING INDEX history_by_target (target=? AND <expr>=? AND time>?", plan)


#: Masks of bans, and when these end.
ENDS = ((b"a@a", 6), (b"b@b", 7), (b"c@c", None))


class PruneTests(StoreCase):
    def test_each_history_keeps_its_last_and_nothing_too_old(self) -> None:
        self.store = self.open(history_length=2, history_age=5)
        for number in range(1, 10):
            self.store.add(entry(number, b"#a" if number % 2 else b"#b"))
        self.turn()
        self.successResultOf(self.store.prune(12))
        self.assertEqual(
            [7, 8, 9], sorted(one.time for one in self.store.database.history.export(None))
        )

    def test_nothing_goes_if_nothing_is_to(self) -> None:
        for number in range(5):
            self.store.add(entry(number))
        self.turn()
        self.successResultOf(self.store.prune(10**15))
        self.assertEqual(5, len(list(self.store.database.history.export(None))))

    def test_much_goes_in_slices(self) -> None:
        self.store = self.open(history_length=1)
        for number in range(2500):
            self.store.add(entry(number))
        self.turn()
        self.successResultOf(self.store.prune(0))
        self.assertEqual([2499], [one.time for one in self.store.database.history.export(None)])

    def test_a_smaller_limit_is_for_all_even_those_in_which_nothing_is_said_any_more(self) -> None:
        path = self.mktemp()
        self.store = self.open(path, history_length=9)
        for number in range(12):
            self.store.add(entry(number, (b"#a", b"#b", b"#c")[number % 3]))
        self.turn()
        self.successResultOf(self.store.prune(0))
        for limit, left in ((3, 9), (1, 3)):
            # Once by a start with it, once by a reload.
            if limit == 3:
                self.store.close()
                self.store = self.open(path)
            self.store.history_length = limit
            self.successResultOf(self.store.prune(0))
            self.assertEqual(left, self.store.database.history.count())
            kept = [int(one.msgid) for one in self.store.database.history.export(None)]
            self.assertEqual(list(range(12 - left, 12)), kept)

    def test_what_is_deleted_is_gone_at_once_and_goes_in_slices(self) -> None:
        for number in range(SLICE * 2 + 1):
            self.store.add(entry(number))
        self.store.add(entry(9999, b"#b"))
        self.store.delete_history(b"#a")
        self.store.add(entry(10_000))
        self.turn()
        history = self.store.database.history

        def total() -> int:
            (count,) = self.store.database._connection.execute(
                "SELECT count(*) FROM history"
            ).fetchone()
            return int(count)

        def gone() -> None:
            """Whatever is asked for, what was deleted is not there."""
            self.assertEqual([b"9999", b"10000"], [one.msgid for one in history.export(None)])
            self.assertEqual([b"10000"], [one.msgid for one in history.export(b"#a")])
            self.assertEqual(2, history.count())
            self.assertIsNone(history.entry(b"#a", b"7"))
            for bounds in ((), (Moment(-1),), (MessageId(b"7"),)):
                for subcommand in (Subcommand.LATEST, Subcommand.AFTER):
                    query = Query(subcommand, b"#a", bounds, 99)
                    found = [one.msgid for one in history.entries(b"#a", query, events=True)]
                    lost = bounds == (MessageId(b"7"),)
                    self.assertEqual([] if lost else [b"10000"], found, query)

        for left in (SLICE * 2 + 3, SLICE + 3, 3):
            self.assertEqual(left, total())
            gone()
            self.assertTrue(history.prune_doomed())
        self.assertEqual(2, total())
        self.assertFalse(history.prune_doomed())
        gone()

    def test_a_history_that_is_renamed_leaves_what_was_deleted_behind(self) -> None:
        self.store.add(entry(1, b"#a"))
        self.store.add(entry(2, b"#b"))
        self.store.delete_history(b"#a")
        self.store.delete_history(b"#b")
        self.store.add(entry(3, b"#a"))
        self.store.add(entry(4, b"#b"))
        self.store.rename_history(b"#a", b"#b")
        self.turn()
        history = self.store.database.history
        for _ in range(2):
            self.assertEqual(
                [(b"3", b"#b")], [(one.msgid, one.target) for one in history.export(None)]
            )
            self.successResultOf(self.store.prune(0))

    def test_bans_that_have_ended_go(self) -> None:
        bans = [NetworkBan("kline", mask, b"op", b"", 1, end) for mask, end in ENDS]
        for ban in bans:
            self.store.put_ban(ban)
        self.turn()
        self.successResultOf(self.store.prune(6_999))
        self.assertEqual(tuple(bans[1:]), self.store.database.load().bans)
