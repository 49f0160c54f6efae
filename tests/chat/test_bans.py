"""Bans as they are looked up: against a list that is searched from its beginning to its end."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.banmasks import DLINE, KLINE, Person, read_mask
from myproject_chat.bans import Bans, private_reason, public_reason
from myproject_chat.durations import read_duration, show_duration
from myproject_chat.names import ACCOUNT_LENGTH
from myproject_chat.store import NetworkBan

# Few letters, so that masks fit; wildcards often.
WORDS = st.text("ab", min_size=1, max_size=4)
GLOBS = st.text("ab*?", min_size=1, max_size=4)
# Addresses that differ in their last bits alone, so that networks of all sizes are around them.
V4 = st.integers(0, 31).map(lambda low: str(ipaddress.IPv4Address(0xC0000200 | low)))
V6 = st.integers(0, 31).map(lambda low: str(ipaddress.IPv6Address(0x20010DB8 << 96 | low)))
ADDRESSES = st.one_of(V4, V6, st.sampled_from(["::ffff:192.0.2.7", "fe80::1%eth0", "localhost"]))
NETWORKS = st.one_of(
    st.tuples(V4, st.integers(24, 32)), st.tuples(V6, st.integers(60, 128)), st.just(("0.0.0.0", 0))
).map(lambda one: f"{one[0]}/{one[1]}")
HOSTS = st.one_of(WORDS.map(lambda word: f"{word}.example"), ADDRESSES)
HOST_GLOBS = st.one_of(GLOBS.map(lambda glob: f"{glob}.example"), GLOBS, NETWORKS, ADDRESSES)
MASKS = st.one_of(
    st.builds("{}!{}@{}".format, GLOBS, GLOBS, HOST_GLOBS),
    HOST_GLOBS.map(lambda host: f"*!*@{host}"),
    GLOBS.map(lambda account: f"a:{account}"),
).filter(lambda mask: not mask.startswith(":"))
PERSONS = st.builds(
    Person,
    WORDS.map(str.encode),
    WORDS.map(str.encode),
    st.tuples(HOSTS.map(str.encode), HOSTS.map(str.encode)),
    ADDRESSES,
    st.one_of(st.none(), WORDS.map(str.encode)),
)


def fits(glob: str, word: str) -> bool:
    """Compare, one character after the other."""
    if not glob:
        return not word
    if glob[0] == "*":
        return fits(glob[1:], word) or (bool(word) and fits(glob, word[1:]))
    return bool(word) and glob[0] in ("?", word[0]) and fits(glob[1:], word[1:])


def inside(address: str, network: str) -> bool:
    """Ask the library."""
    try:
        place = ipaddress.ip_network(network, strict=False)
        there = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return (getattr(there, "ipv4_mapped", None) or there) in place


def is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def hits(kind: str, mask: str, person: Person) -> bool:
    """Say whether a ban is about somebody, without any index."""
    if kind == DLINE:
        return inside(person.address, mask)
    if mask.startswith("a:"):
        return person.account is not None and fits(mask[2:], person.account.decode())
    nick, rest = mask.split("!", 1)
    user_name, host = rest.split("@", 1)
    if not fits(nick, person.nick.decode()) or not fits(user_name, person.user_name.decode()):
        return False
    if is_network(host):
        return inside(person.address, host)
    return any(fits(host, one.decode()) for one in person.hosts)


@dataclass
class Written:
    """A store that remembers."""

    bans: dict[tuple[str, bytes], NetworkBan] = field(default_factory=dict)
    tickets: int = 0

    def put_ban(self, ban: NetworkBan, /) -> int:
        self.bans[ban.kind, ban.mask] = ban
        self.tickets += 1
        return self.tickets

    def delete_ban(self, kind: str, mask: bytes, /) -> int:
        del self.bans[kind, mask]
        self.tickets += 1
        return self.tickets


class BanMachine(RuleBasedStateMachine):
    """Bans come, go, end, and are written by other programs; the model is a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000
        self.others = 0
        self.written = Written()
        self.bans = Bans(lambda: self.now)
        self.bans.open(self.written, ())
        # What each ban says, and until when, by how it is shown.
        self.model: dict[tuple[str, bytes], tuple[str, int | None]] = {}

    @rule(
        kind=st.sampled_from([KLINE, DLINE]),
        mask=MASKS,
        place=st.one_of(NETWORKS, V4, V6),
        seconds=st.one_of(st.none(), st.integers(1, 30)),
    )
    def add(self, kind: str, mask: str, place: str, seconds: int | None) -> None:
        text = place if kind == DLINE else mask
        read = read_mask(kind, text.encode())
        ban, ticket = self.bans.add(kind, read, b"root", b"because", seconds)
        assert ticket == self.written.tickets
        assert ban == self.written.bans[kind, read.mask]
        until = None if seconds is None else self.now + seconds
        self.model[kind, read.mask] = (text, until)

    @rule(choice=st.integers(0, 1000))
    def remove(self, choice: int) -> None:
        if self.model:
            kind, mask = sorted(self.model)[choice % len(self.model)]
            try:
                ban, _ = self.bans.remove(kind, read_mask(kind, mask))
            except KeyError:
                assert self.ended(kind, mask)
            else:
                assert ban.mask == mask
            del self.model[kind, mask]

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def look(self) -> None:
        for kind in (KLINE, DLINE):
            shown = {ban.mask for ban in self.bans.of_kind(kind)}
            assert shown == {
                mask for one, mask in self.model if one == kind and not self.ended(kind, mask)
            }

    @rule(drop=st.integers(0, 1000), mask=MASKS)
    def another_program_writes(self, drop: int, mask: str) -> None:
        file = [ban for ban in self.written.bans.values() if not self.ended(ban.kind, ban.mask)]
        if file:
            gone = file.pop(drop % len(file))
            del self.model[gone.kind, gone.mask]
        read = read_mask(KLINE, mask.encode())
        file = [ban for ban in file if (ban.kind, ban.mask) != (KLINE, read.mask)]
        self.others += 1
        reason = b"the %d. of others" % self.others
        new = NetworkBan(KLINE, read.mask, b"administrator", reason, self.now)
        file.append(new)
        self.model[KLINE, read.mask] = (mask, None)
        self.written.bans = {(ban.kind, ban.mask): ban for ban in file}
        assert self.bans.refresh(file) == [new]

    def ended(self, kind: str, mask: bytes) -> bool:
        if (kind, mask) not in self.model:
            return True
        until = self.model[kind, mask][1]
        return until is not None and until <= self.now

    @rule(person=PERSONS)
    def somebody_comes(self, person: Person) -> None:
        expected = {
            (kind, mask)
            for (kind, mask), (text, _) in self.model.items()
            if not self.ended(kind, mask) and hits(kind, text, person)
        }
        found = self.bans.of_person(person)
        if found is None:
            assert expected == set(), (expected, person)
        else:
            assert (found.kind, found.mask) in expected, (found, person)
        place = self.bans.of_address(person.address)
        sizes = [read_mask(kind, mask).network for kind, mask in expected if kind == DLINE]
        if place is None:
            assert sizes == []
        else:
            narrowest = max(one.prefixlen for one in sizes if one is not None)
            shown = ipaddress.ip_network(place.mask.decode())
            assert shown.prefixlen == narrowest
            assert found == place

    @invariant()
    def nothing_is_left_of_those_that_are_gone(self) -> None:
        if not len(self.bans):
            tables = (self.bans._people._tables, *self.bans._places._lengths.values())
            assert not any(tables)


class LookUpTests(SynchronousTestCase):
    def test_whatever_is_banned_is_found_and_nobody_else(self) -> None:
        run_state_machine_as_test(
            BanMachine, settings=settings(max_examples=30, stateful_step_count=30, deadline=None)
        )

    @given(st.lists(MASKS, max_size=30), PERSONS)
    @settings(max_examples=80, deadline=None)
    def test_many_masks_at_once(self, masks: list[str], person: Person) -> None:
        bans = Bans(lambda: 0)
        for mask in masks:
            bans.add(KLINE, read_mask(KLINE, mask.encode()), b"", b"", None)
        found = bans.of_person(person)
        self.assertEqual(any(hits(KLINE, mask, person) for mask in masks), found is not None)

    def test_masks_with_nothing_at_an_end_of_any_part(self) -> None:
        for mask, hit in (
            ("*!*@*ee*", True),
            ("*lic*!*@*", True),
            ("?l*c?!*@*", True),
            ("a:*cc*", True),
            ("*!*@*", True),
            ("*!*@*eee*", False),
            ("*!*xx*@*", False),
            ("a:*d*", False),
        ):
            bans = Bans(lambda: 0)
            bans.add(KLINE, read_mask(KLINE, mask.encode()), b"", b"", None)
            person = Person(b"Alice", b"~al", (b"host", b"trees.example"), "", b"acc")
            self.assertEqual(hit, bans.of_person(person) is not None, mask)

    def test_one_is_over_in_the_second_in_which_it_ends(self) -> None:
        now = 0.0
        bans = Bans(lambda: now)
        bans.add(DLINE, read_mask(DLINE, b"192.0.2.1"), b"", b"", 10)
        now = 9.9
        self.assertIsNotNone(bans.of_address("192.0.2.1"))
        now = 10.0
        self.assertIsNone(bans.of_address("192.0.2.1"))
        self.assertEqual([], bans.of_kind(DLINE))

    def test_a_file_that_somebody_has_written_nonsense_into(self) -> None:
        bans = Bans(lambda: 0)
        bad = [NetworkBan(DLINE, b"x", b"", b"", 0), NetworkBan(KLINE, b"a b", b"", b"", 0)]
        good = NetworkBan(KLINE, b"X@*", b"", b"", 0)
        self.assertEqual([good], bans.refresh([*bad, good]))
        person = Person(b"n", b"x", (b"h",), "", None)
        self.assertEqual(good, bans.of_person(person))

    def test_one_that_is_changed_is_new(self) -> None:
        bans = Bans(lambda: 0)
        ban = NetworkBan(DLINE, b"192.0.2.1", b"", b"", 0)
        bans.refresh([ban])
        self.assertEqual([], bans.refresh([ban]))
        other = replace(ban, reason=b"other")
        self.assertEqual([other], bans.refresh([other]))
        self.assertEqual([other], bans.of_kind(DLINE))


class ReadTests(SynchronousTestCase):
    def test_what_masks_mean(self) -> None:
        for kind, text, shown in (
            (KLINE, "bob", "bob!*@*"),
            (KLINE, "Bob!~X@Host", "bob!~x@host"),
            (KLINE, "x@*.example", "*!x@*.example"),
            (KLINE, "*@192.0.2.9/24", "*!*@192.0.2.0/24"),
            (KLINE, "*@2001:DB8:0::1", "*!*@2001:db8::1"),
            (KLINE, "a:Al*", "a:al*"),
            (DLINE, "192.0.2.77", "192.0.2.77"),
            (DLINE, "192.0.2.77/24", "192.0.2.0/24"),
            (DLINE, "2001:DB8::1/32", "2001:db8::/32"),
            (DLINE, "::1", "0::1"),
            (DLINE, "0::/8", "0::/8"),
        ):
            self.assertEqual(shown.encode(), read_mask(kind, text.encode()).mask)

    def test_what_is_no_mask(self) -> None:
        for kind, text, why in (
            (KLINE, "", "it is no mask"),
            (KLINE, ":x", "it is no mask"),
            (KLINE, "a b@c", "it is no mask"),
            (KLINE, "a:", "it is no account"),
            (KLINE, "a:" + "x" * (ACCOUNT_LENGTH + 1), "it is no account"),
            (KLINE, "a:b c", "it is no account"),
            (DLINE, "al", "it is no address"),
            (DLINE, "192.0.2.0/33", "it is no address"),
            (DLINE, "é", "it is no address"),
        ):
            error = self.assertRaises(ValueError, read_mask, kind, text.encode())
            self.assertIn(why, str(error))

    @given(st.integers(1, 3_153_600_000))
    def test_what_is_written_can_be_read(self, seconds: int) -> None:
        self.assertEqual(seconds, read_duration(show_duration(seconds)))

    def test_durations(self) -> None:
        for text, seconds in (
            ("90s", 90),
            ("1h30m", 5400),
            ("7D", 604_800),
            ("1y6mo", 47_088_000),
            ("2w", 1_209_600),
        ):
            self.assertEqual(seconds, read_duration(text))
        for text in ("", "60", "0s", "soon", "1h 30m", "h", "101y", "-1h", "1.5h", "9" * 10 + "s"):
            self.assertRaises(ValueError, read_duration, text)

    @given(st.text())
    def test_any_text_is_a_duration_or_a_mistake(self, text: str) -> None:
        try:
            seconds = read_duration(text)
        except ValueError:
            return
        self.assertGreater(seconds, 0)

    def test_reasons(self) -> None:
        for reason, public, private in (
            (b"spam | net 7", b"spam", b"net 7"),
            (b"spam", b"spam", b""),
            (b"", b"No reason given", b""),
            (b"| net 7", b"No reason given", b"net 7"),
            (b"a|b|c", b"a", b"b|c"),
        ):
            ban = NetworkBan(KLINE, b"x!*@*", b"", reason, 0)
            self.assertEqual((public, private), (public_reason(ban), private_reason(ban)))
