"""History: what a selector selects, who has talked with whom, and what is deleted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from myproject_chat.selectors import MessageId, Moment, Query, Subcommand
from myproject_chat.store import Entry, conversation
from tests.chat.storing import StoreCase, entry

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
        left = [(one.msgid, one.target) for one in self.store.database.history.export(b"#c")]
        self.assertEqual([(b"0", b"#c"), (b"2", b"#c")], left)

    def test_a_name_is_there_once(self) -> None:
        self.store.add(entry(1))
        self.store.add(entry(1))
        self.turn()
        self.assertEqual(1, len(list(self.store.database.history.export(None))))

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
