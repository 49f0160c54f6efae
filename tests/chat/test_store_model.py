"""The store on a real file against dictionaries and lists, whatever is done to both."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.names import fold
from myproject_chat.scram import ScramCredentials
from myproject_chat.selectors import MessageId, Moment, Query, Subcommand
from myproject_chat.store import (
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
    party,
)
from myproject_chat.store import rows as rows_module
from tests.chat.storing import at_once, entry, expected, refuse

T = TypeVar("T")

LENGTH, AGE = 4, 8

NAMES = st.sampled_from([b"al", b"Al", b"bo"])
CHANNELS = st.sampled_from([b"#a", b"#b"])
TARGETS = CHANNELS | st.sampled_from(
    [conversation(b"al", b"bo"), conversation(b"al", party(None, b"Bo"))]
)
TIMES = st.integers(1, 12)
BYTES = st.binary(max_size=3)
COMMANDS = st.sampled_from([b"PRIVMSG", b"NOTICE", b"JOIN", b"TAGMSG"])
SCRAM = st.builds(ScramCredentials, BYTES, st.integers(4096, 5000), BYTES, BYTES)
ACCOUNTS = st.builds(
    Account,
    NAMES,
    TIMES,
    st.none() | st.text(max_size=3),
    st.none() | SCRAM,
    st.lists(st.sampled_from([b"ab", b"cd"]), max_size=2).map(tuple),
    BYTES,
    st.booleans(),
    st.dictionaries(st.sampled_from(["a", "b"]), st.text(max_size=2)),
)
MASKS = st.builds(StoredMask, st.sampled_from([b"b", b"e", b"I"]), BYTES, NAMES, TIMES)
REGISTERED = st.builds(
    RegisteredChannel,
    st.sampled_from([b"#a", b"#A", b"#b"]),
    NAMES,
    TIMES,
    TIMES,
    st.none() | st.tuples(BYTES, NAMES, TIMES),
    BYTES,
    st.none() | BYTES,
    st.none() | TIMES,
    st.none() | CHANNELS,
    st.lists(MASKS, max_size=2).map(tuple),
    st.dictionaries(NAMES.map(fold), BYTES, max_size=2),
)
KINDS = st.sampled_from(["kline", "dline"])
BANS = st.builds(NetworkBan, KINDS, NAMES, NAMES, BYTES, TIMES, st.none() | st.integers(1, 2))
MARKERS = st.builds(Marker, NAMES.map(fold), TARGETS, TIMES)
METADATA = st.builds(Metadata, NAMES.map(fold), st.sampled_from([b"k", b"l"]), BYTES)
BOUNDS = TIMES.map(Moment) | st.integers(0, 20).map(lambda number: MessageId(b"%d" % number))


class Model(RuleBasedStateMachine):
    """One store, and what should be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.broken = False
        self.number = 0
        self.accounts: dict[bytes, Account] = {}
        self.channels: dict[bytes, RegisteredChannel] = {}
        self.bans: dict[tuple[str, bytes], NetworkBan] = {}
        self.markers: dict[tuple[bytes, bytes], Marker] = {}
        self.metadata: dict[tuple[bytes, bytes], Metadata] = {}
        self.secrets: dict[str, bytes] = {}
        self.entries: list[Entry] = []
        self.closed: set[bytes] = set()
        self.spoken: dict[tuple[bytes, bytes], int] = {}
        self.changes: list[Loaded] = []
        self.other: Database | None = None
        self.open()

    def teardown(self) -> None:
        self.broken = False
        self.close()
        shutil.rmtree(self.folder)

    # Opening and closing

    def reach(self, function: Callable[[], Any]) -> Deferred[Any]:
        try:
            if self.broken and "write" in repr(function):
                refuse()
        except Exception:
            return fail(Failure())
        return at_once(function)

    def open(self) -> None:
        path = str(self.folder / "state")
        self.store = Store(
            lambda: Database(path),
            self.reach,
            self.clock.callLater,
            history_length=LENGTH,
            history_age=AGE,
        )
        loaded = self.store.open()
        self.store.on_changed = self.changes.append
        assert self.small() == replace(loaded, histories=())
        # What is deleted need not be gone yet.
        assert {one.target for one in self.entries} <= set(loaded.histories)
        self.other = Database(path, exclusive=False)

    def close(self) -> None:
        if self.other is not None:
            self.other.close()
        self.done(self.store.close())

    def done(self, wanted: Deferred[T]) -> T:
        """Let the store go on until it answers."""
        results: list[Any] = []
        wanted.addBoth(results.append)
        for _ in range(3):
            if not results:
                self.clock.advance(1)
        (result,) = results
        if isinstance(result, Failure):
            result.raiseException()
        answer: T = result
        return answer

    @precondition(lambda self: not self.broken)
    @rule()
    def reopen(self) -> None:
        self.close()
        self.open()

    @rule()
    def turn(self) -> None:
        self.clock.advance(0)

    @rule()
    def break_the_disk(self) -> None:
        self.broken = True

    @rule()
    def repair_the_disk(self) -> None:
        self.broken = False
        self.clock.advance(1)
        self.clock.advance(1)
        assert self.store.healthy

    # Writing

    @rule(said=st.lists(st.tuples(TIMES, TARGETS, COMMANDS), min_size=1, max_size=6))
    def add(self, said: list[tuple[int, bytes, bytes]]) -> None:
        for time, where, command in said:
            self.number += 1
            one = entry(self.number, where, time=time, command=command)
            self.store.add(one)
            self.entries.append(one)
            if command in rows_module.SPOKEN and not where.startswith(b"#"):
                for who in where.split(b" "):
                    self.spoken[who, where] = max(time, self.spoken.get((who, where), 0))

    @rule(where=TARGETS, number=st.integers(1, 20))
    def redact(self, where: bytes, number: int) -> None:
        msgid = b"%d" % number
        self.store.redact(where, msgid)
        self.entries = [one for one in self.entries if (one.target, one.msgid) != (where, msgid)]

    @rule(before=CHANNELS, after=CHANNELS)
    def rename(self, before: bytes, after: bytes) -> None:
        self.store.rename_history(before, after)
        if before == after:
            return
        self.drop(after)
        if before in self.closed:
            self.closed.remove(before)
            self.closed.add(after)
        self.entries = [
            one._replace(target=after) if one.target == before else one for one in self.entries
        ]
        for (who, target), marker in list(self.markers.items()):
            if target == before:
                del self.markers[who, target]
                self.markers[who, after] = Marker(who, after, marker.time)

    @rule(where=CHANNELS)
    def forget(self, where: bytes) -> None:
        self.store.delete_history(where)
        self.drop(where)

    def drop(self, where: bytes) -> None:
        self.closed.discard(where)
        self.entries = [one for one in self.entries if one.target != where]
        self.markers = {key: one for key, one in self.markers.items() if one.target != where}

    @rule(where=CHANNELS)
    def close_history(self, where: bytes) -> None:
        self.store.close_history(where)
        self.closed.add(where)

    @rule(account=ACCOUNTS)
    def put_account(self, account: Account) -> None:
        self.store.put_account(account)
        self.accounts[fold(account.name)] = account

    @rule(name=NAMES)
    def delete_account(self, name: bytes) -> None:
        self.store.delete_account(name)
        self.forget_account(fold(name))

    def forget_account(self, key: bytes) -> None:
        self.accounts.pop(key, None)
        self.markers = {one: two for one, two in self.markers.items() if two.account != key}
        self.metadata = {one: two for one, two in self.metadata.items() if two.subject != key}
        for name, channel in self.channels.items():
            ranks = {one: letters for one, letters in channel.ranks.items() if one != key}
            self.channels[name] = replace(channel, ranks=ranks)
        gone = {target for who, target in self.spoken if who == key}
        self.entries = [one for one in self.entries if one.target not in gone]
        self.spoken = {one: time for one, time in self.spoken.items() if one[1] not in gone}

    @rule(channel=REGISTERED)
    def put_channel(self, channel: RegisteredChannel) -> None:
        self.store.put_channel(channel)
        self.channels[fold(channel.name)] = channel

    @rule(name=CHANNELS)
    def delete_channel(self, name: bytes) -> None:
        self.store.delete_channel(name)
        self.channels.pop(fold(name), None)

    @rule(ban=BANS)
    def put_ban(self, ban: NetworkBan) -> None:
        self.store.put_ban(ban)
        kept = NetworkBan(
            ban.kind, fold(ban.mask), ban.setter, ban.reason, ban.created, ban.expires
        )
        self.bans[ban.kind, kept.mask] = kept

    @rule(kind=KINDS, mask=NAMES)
    def delete_ban(self, kind: str, mask: bytes) -> None:
        self.store.delete_ban(kind, mask)
        self.bans.pop((kind, fold(mask)), None)

    @rule(marker=MARKERS)
    def put_marker(self, marker: Marker) -> None:
        self.store.put_marker(marker)
        self.markers[marker.account, marker.target] = marker

    @rule(metadata=METADATA)
    def put_metadata(self, metadata: Metadata) -> None:
        self.store.put_metadata(metadata)
        self.metadata[metadata.subject, metadata.key] = metadata

    @rule(metadata=METADATA)
    def delete_metadata(self, metadata: Metadata) -> None:
        self.store.delete_metadata(metadata.subject, metadata.key)
        self.metadata.pop((metadata.subject, metadata.key), None)

    @rule(value=BYTES)
    def put_secret(self, value: bytes) -> None:
        self.store.put_secret("cloak", value)
        self.secrets["cloak"] = value

    # From time to time

    @precondition(lambda self: not self.broken)
    @rule(now=st.integers(1, 2500))
    def prune(self, now: int) -> None:
        self.clock.advance(1)
        self.done(self.store.prune(now))
        self.bans = {
            key: ban
            for key, ban in self.bans.items()
            if ban.expires is None or ban.expires > now // 1000
        }
        self.entries = [one for one in self.entries if one.time >= now - AGE]
        self.spoken = {one: time for one, time in self.spoken.items() if time >= now - AGE}
        for target in {one.target for one in self.entries}:
            mine = [one for one in self.entries if one.target == target]
            mine.sort(key=lambda one: (one.time, int(one.msgid)))
            excess = mine[:-LENGTH]
            self.entries = [one for one in self.entries if one not in excess]

    @precondition(lambda self: not self.broken)
    @rule(name=NAMES)
    def another_program_deletes_an_account(self, name: bytes) -> None:
        assert self.other is not None
        self.clock.advance(1)
        self.done(self.store.look())
        self.changes.clear()
        # A secret as well: deleting what is not there changes nothing.
        secret = b"%d" % self.number
        sql = "INSERT OR REPLACE INTO secrets VALUES ('theirs', ?)"
        self.other.write([*rows_module.delete_account(name), (sql, (secret,))])
        self.secrets["theirs"] = secret
        self.forget_account(fold(name))
        self.put_secret(b"meanwhile")
        self.done(self.store.look())
        assert self.changes == [self.small()], self.changes

    # Reading

    def small(self) -> Loaded:
        return Loaded(
            tuple(self.accounts[key] for key in sorted(self.accounts)),
            tuple(self.channels[key] for key in sorted(self.channels)),
            tuple(self.bans[key] for key in sorted(self.bans)),
            tuple(self.markers[key] for key in sorted(self.markers)),
            tuple(self.metadata[key] for key in sorted(self.metadata)),
            self.secrets,
            tuple(sorted(self.closed)),
        )

    @precondition(lambda self: not self.broken)
    @rule(
        where=TARGETS,
        bounds=st.tuples(BOUNDS, BOUNDS),
        limit=st.integers(1, 5),
        events=st.booleans(),
    )
    def read(
        self, where: bytes, bounds: tuple[Moment | MessageId, ...], limit: int, events: bool
    ) -> None:
        for subcommand in Subcommand:
            if subcommand is not Subcommand.TARGETS:
                count = 2 if subcommand is Subcommand.BETWEEN else 1
                query = Query(subcommand, where, bounds[:count], limit)
                found = self.done(self.store.entries(where, query, events=events))
                assert found == expected(self.entries, query, events=events), query

    @precondition(lambda self: not self.broken)
    @rule(where=TARGETS, number=st.integers(1, 20))
    def read_one(self, where: bytes, number: int) -> None:
        wanted = [one for one in self.entries if (one.target, int(one.msgid)) == (where, number)]
        found = self.done(self.store.entry(where, b"%d" % number))
        assert found == (wanted[0] if wanted else None)

    @precondition(lambda self: not self.broken)
    @rule(who=NAMES.map(fold), after=TIMES, before=TIMES, limit=st.integers(1, 4))
    def list_targets(self, who: bytes, after: int, before: int, limit: int) -> None:
        last = {target: time for (one, target), time in self.spoken.items() if one == who}
        for target in (b"#a", b"#b"):
            times = [
                one.time
                for one in self.entries
                if one.target == target and one.command in rows_module.SPOKEN
            ]
            if times:
                last[target] = max(times)
        wanted = sorted((time, target) for target, time in last.items() if after < time < before)
        found = self.done(self.store.targets(who, [b"#a", b"#b"], after, before, limit))
        assert found == [(target, time) for time, target in wanted][:limit]

    @precondition(lambda self: not self.broken)
    @rule()
    def export(self) -> None:
        self.done(self.store.when_written(self.store._journal.given))
        history = self.store.database.history
        assert history.count() == len(self.entries)
        for where in (None, b"#a", b"al bo"):
            wanted = [one for one in self.entries if where in (None, one.target)]
            wanted.sort(key=lambda one: (one.time, int(one.msgid)))
            assert list(history.export(where)) == wanted

    @invariant()
    def what_is_written_is_counted(self) -> None:
        journal = self.store._journal
        assert (journal.given == journal.written) == (len(journal) == 0)


class ModelTests(SynchronousTestCase):
    def test_the_store_is_what_was_done_to_it(self) -> None:
        run_state_machine_as_test(
            Model, settings=settings(deadline=None, max_examples=80, stateful_step_count=50)
        )
