"""
Bans of the whole server: who is kept out of it, until when, and why.

There are two kinds. A D-line is about an address or a network, and keeps out who has it as soon as the
address is known. A K-line is about a person, and applies when that registers, logs in or takes another
nick. Its mask is ``nick!user@host`` with ``*`` and ``?``, where the host may be a network, or
``a:account``. A host is compared with the address and with what others see of it: no cloak is a way
around a ban, and an operator who knows the cloak alone needs no more.

Looking up costs the same for one ban as for ten thousand: what is remembered is indexed.

- Networks: a table for each prefix length in use, in which the address, cut to that length, is looked up.
  There are 33 lengths at most for IPv4, 129 for IPv6, and a handful in practice.
- Masks: the longest piece of a mask that stands at an end of its nick, user, host or account is looked up
  in a table for pieces of that place and length. What is found is then compared as a whole. Of a mask
  with no such piece (``*!*@*word*``) the longest is looked for in everybody: half a microsecond each.

The two words are those of the servers that came after RFC 1459, which knew them as lines of its
configuration; the grammar of reasons and durations is Ergo's.

Sources: RFC 1459 section 8.12.2, RFC 4632 (networks), the help of Ergo and of Solanum on KLINE and DLINE.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

from myproject.limits import address_of
from myproject_chat.extbans import ACCOUNT
from myproject_chat.names import ACCOUNT_LENGTH, fold, host_name, matches, whole_mask
from myproject_chat.store.records import NetworkBan

if TYPE_CHECKING:
    from myproject.limits import Address, Network

__all__ = [
    "DLINE",
    "KLINE",
    "BanKeeper",
    "Bans",
    "MaskTable",
    "NetworkTable",
    "Person",
    "Rule",
    "is_over",
    "private_reason",
    "public_reason",
    "read_duration",
    "read_mask",
    "show_duration",
]

KLINE: Final = "kline"
DLINE: Final = "dline"

#: Words of a duration. A month and a year are 30 and 365 days: nobody counts more exactly.
_UNITS: Final = {
    "y": 31_536_000,
    "mo": 2_592_000,
    "w": 604_800,
    "d": 86_400,
    "h": 3600,
    "m": 60,
    "s": 1,
}
_DURATION: Final = re.compile(r"(?:[0-9]{1,9}(?:mo|[ywdhms]))+\Z", re.IGNORECASE)
_PART: Final = re.compile(r"([0-9]+)(mo|[ywdhms])", re.IGNORECASE)
#: Seconds: a hundred years. What is to be longer is for ever.
_LONGEST: Final = 100 * _UNITS["y"]
_WILD: Final = re.compile(rb"[*?]+")

T = TypeVar("T")


def read_duration(text: str) -> int:
    """
    Read how long something lasts: ``90s``, ``1h30m``, ``7d``, ``1y6mo``.

    :param text: as a person writes it.
    :return: seconds, at least one.
    :raises ValueError: it is no such thing, or longer than a hundred years.
    """
    if not _DURATION.match(text):
        raise ValueError("it is no time")
    seconds = sum(int(number) * _UNITS[unit.lower()] for number, unit in _PART.findall(text))
    if not 0 < seconds <= _LONGEST:
        raise ValueError("it is no time, or longer than a hundred years")
    return seconds


def show_duration(seconds: int) -> str:
    """
    Write how long something lasts, as `read_duration` reads it.

    :param seconds: a positive number.
    """
    words = []
    for unit, size in _UNITS.items():
        count, seconds = divmod(seconds, size)
        if count:
            words.append(f"{count}{unit}")
    return "".join(words)


def public_reason(ban: NetworkBan) -> bytes:
    """Say why, for those whom a ban hits."""
    return ban.reason.partition(b"|")[0].strip() or b"No reason given"


def private_reason(ban: NetworkBan) -> bytes:
    """Say what operators alone know of why; nothing if that is nothing."""
    return ban.reason.partition(b"|")[2].strip()


class Person(NamedTuple):
    """
    Somebody, as bans see it.

    :ivar nick: the nick.
    :ivar user_name: the user name.
    :ivar hosts: all that is known of where it is, as it could stand in ``nick!user@host``.
    :ivar address: the address, as text; what is none is in no network.
    :ivar account: the account, or None.
    """

    nick: bytes
    user_name: bytes
    hosts: tuple[bytes, ...]
    address: str
    account: bytes | None


class Rule(NamedTuple):
    """
    What a ban says, taken apart.

    :ivar mask: the mask as it is shown and compared: two that mean the same look the same.
    :ivar network: the addresses that it is about; None if these do not matter.
    :ivar account: the account, with wildcards; None if that does not matter.
    :ivar nick: the nick, with wildcards, as are ``user_name`` and ``host``.
    :ivar user_name: the user name.
    :ivar host: the host; ``*`` if there is a network.
    """

    mask: bytes
    network: Network | None = None
    account: bytes | None = None
    nick: bytes = b"*"
    user_name: bytes = b"*"
    host: bytes = b"*"

    def fits(self, person: Person, address: Address | None) -> bool:
        """
        Say whether this is about somebody.

        :param person: whom.
        :param address: the person's address, read.
        """
        if self.account is not None:
            return person.account is not None and matches(self.account, person.account)
        if self.network is not None and (address is None or address not in self.network):
            return False
        return (
            matches(self.nick, person.nick)
            and matches(self.user_name, person.user_name)
            and any(matches(self.host, host) for host in person.hosts)
        )


def _network(text: bytes) -> Network | None:
    """Read an address or a network; what stands behind the prefix is forgiven."""
    try:
        return ipaddress.ip_network(text.decode("ascii"), strict=False)
    except ValueError:
        return None


def _shown(network: Network) -> bytes:
    whole = network.prefixlen == network.max_prefixlen
    # As a word it must not begin with a colon.
    return host_name(str(network.network_address if whole else network))


def read_mask(kind: str, text: bytes) -> Rule:
    """
    Read whom a ban is about.

    :param kind: `KLINE` or `DLINE`.
    :param text: as a person writes it; parts of ``nick!user@host`` may be left out.
    :raises ValueError: with a clause that says what is wrong and what to do.
    """
    if kind == DLINE:
        network = _network(text)
        if network is None:
            raise ValueError("it is no address; give one, or a network such as 192.0.2.0/24")
        return Rule(_shown(network), network)
    if text[:2] == ACCOUNT + b":":
        account = fold(text[2:])
        if not account or len(account) > ACCOUNT_LENGTH or not _is_word(account):
            raise ValueError("it is no account; give a:account, where * and ? stand for any")
        return Rule(ACCOUNT + b":" + account, account=account)
    mask = fold(whole_mask(text))
    if not text or text[:1] == b":" or not _is_word(mask):
        raise ValueError("it is no mask; give nick!user@host, where * and ? stand for any")
    nick, _, rest = mask.partition(b"!")
    user_name, _, host = rest.partition(b"@")
    network = _network(host)
    if network is not None:
        return Rule(
            b"%b!%b@%b" % (nick, user_name, _shown(network)), network, None, nick, user_name
        )
    return Rule(mask, None, None, nick, user_name, host)


def _is_word(mask: bytes) -> bool:
    return not any(byte <= 0x20 or byte == 0x7F for byte in mask)


class NetworkTable(Generic[T]):
    """Things by network; several may be of one network."""

    def __init__(self) -> None:
        # By IP version: how many bits are cut off, and what is of each number that remains. The narrowest
        # networks come first.
        self._lengths: dict[int, list[tuple[int, dict[int, list[T]]]]] = {4: [], 6: []}

    def __bool__(self) -> bool:
        return any(self._lengths.values())

    def add(self, network: Network, thing: T) -> None:
        """Add a thing."""
        cut = network.max_prefixlen - network.prefixlen
        lengths = self._lengths[network.version]
        table = next((table for one, table in lengths if one == cut), None)
        if table is None:
            table = {}
            lengths.append((cut, table))
            lengths.sort(key=lambda one: one[0])
        table.setdefault(int(network.network_address) >> cut, []).append(thing)

    def remove(self, network: Network, thing: T) -> None:
        """Take out a thing that is there."""
        cut = network.max_prefixlen - network.prefixlen
        lengths = self._lengths[network.version]
        table = next(table for one, table in lengths if one == cut)
        key = int(network.network_address) >> cut
        table[key].remove(thing)
        if not table[key]:
            del table[key]
        if not table:
            lengths.remove((cut, table))

    def around(self, address: Address) -> Iterator[T]:
        """Give the things whose network has an address, those of the narrowest first."""
        number = int(address)
        for cut, table in self._lengths[address.version]:
            yield from table.get(number >> cut, ())


class MaskTable(Generic[T]):
    """Things by what their masks begin or end with; only those are found that may fit somebody."""

    def __init__(self) -> None:
        # By place (a field of `Rule`, and whether at its end) and length.
        self._tables: dict[tuple[str, bool, int], dict[bytes, list[T]]] = {}

    def add(self, rule: Rule, thing: T) -> None:
        """Add a thing."""
        place, piece = _anchor(rule)
        self._tables.setdefault(place, {}).setdefault(piece, []).append(thing)

    def remove(self, rule: Rule, thing: T) -> None:
        """Take out a thing that is there."""
        place, piece = _anchor(rule)
        table = self._tables[place]
        table[piece].remove(thing)
        if not table[piece]:
            del table[piece]
        if not table:
            del self._tables[place]

    def near(self, person: Person) -> Iterator[T]:
        """Give the things that may be about somebody; some may come twice."""
        values = {
            "nick": (fold(person.nick),),
            "user_name": (fold(person.user_name),),
            "host": tuple(map(fold, person.hosts)),
            "account": () if person.account is None else (fold(person.account),),
        }
        for (field, at_end, length), table in self._tables.items():
            for value in values[field]:
                if length:
                    yield from table.get(value[-length:] if at_end else value[:length], ())
                else:
                    yield from _inside(table, value)


def _inside(table: dict[bytes, list[T]], value: bytes) -> Iterator[T]:
    for piece, things in table.items():
        if piece in value:
            yield from things


def _anchor(rule: Rule) -> tuple[tuple[str, bool, int], bytes]:
    """
    Find the longest piece of a mask, without wildcards, that stands at an end, and where.

    If there is none, it is the longest that stands inside, and the length is given as 0.
    """
    if rule.account is not None:
        fields = [("account", rule.account)]
    else:
        fields = [("host", rule.host), ("nick", rule.nick), ("user_name", rule.user_name)]
    ends, inner = [], []
    for field, pattern in fields:
        pieces = _WILD.split(pattern)
        ends += [((field, False, len(pieces[0])), pieces[0])]
        ends += [((field, True, len(pieces[-1])), pieces[-1])]
        inner += [((field, False, 0), piece) for piece in pieces]
    best = max(ends, key=lambda one: len(one[1]))
    return best if best[1] else max(inner, key=lambda one: len(one[1]))


class BanKeeper(Protocol):
    """What writes bans down; each function gives a ticket, see `Server.wrote`."""

    def put_ban(self, ban: NetworkBan, /) -> int:
        """Write a ban, new or changed."""

    def delete_ban(self, kind: str, mask: bytes, /) -> int:
        """Delete a ban."""


class _Entry(NamedTuple):
    ban: NetworkBan
    rule: Rule


class Bans:
    """
    The bans of one server.

    :param wall: the time in seconds since 1970.

    :ivar hits: how often each kind has kept somebody out, or ended what somebody had.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._store: BanKeeper | None = None
        self._entries: dict[tuple[str, bytes], _Entry] = {}
        self._places: NetworkTable[_Entry] = NetworkTable()
        self._people: MaskTable[_Entry] = MaskTable()
        self._people_there: NetworkTable[_Entry] = NetworkTable()
        self.hits: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def open(self, store: BanKeeper, bans: Iterable[NetworkBan]) -> None:
        """
        Take what was written before.

        :param store: what writes down from now on.
        :param bans: what was written.
        """
        self._store = store
        self.refresh(bans)

    def refresh(self, bans: Iterable[NetworkBan]) -> list[NetworkBan]:
        """
        Take what another program has written.

        :param bans: all that are in the file.
        :return: those that are new, or not as they were.
        """
        known: dict[tuple[str, bytes], _Entry] = {}
        for ban in bans:
            try:
                entry = _Entry(ban, read_mask(ban.kind, ban.mask))
            except ValueError:
                # Nobody's hand but one that wrote into the file itself.
                continue
            known[ban.kind, entry.rule.mask] = entry
        for key, entry in list(self._entries.items()):
            if known.get(key) != entry:
                self._drop(key)
        new = [entry for key, entry in known.items() if key not in self._entries]
        for entry in new:
            self._enter(entry)
        return [entry.ban for entry in new]

    def _enter(self, entry: _Entry) -> None:
        self._entries[entry.ban.kind, entry.rule.mask] = entry
        network = entry.rule.network
        if network is None:
            self._people.add(entry.rule, entry)
        else:
            places = self._places if entry.ban.kind == DLINE else self._people_there
            places.add(network, entry)

    def _drop(self, key: tuple[str, bytes]) -> _Entry:
        entry = self._entries.pop(key)
        network = entry.rule.network
        if network is None:
            self._people.remove(entry.rule, entry)
        else:
            places = self._places if entry.ban.kind == DLINE else self._people_there
            places.remove(network, entry)
        return entry

    def add(
        self, kind: str, rule: Rule, setter: bytes, reason: bytes, seconds: int | None
    ) -> tuple[NetworkBan, int]:
        """
        Set a ban, in place of the one that is about the same, if there is one.

        :param kind: `KLINE` or `DLINE`.
        :param rule: whom it is about.
        :param setter: who sets it.
        :param reason: why; what stands behind a ``|`` is for operators alone.
        :param seconds: how long it lasts; None for ever.
        :return: the ban, and the ticket of the write.
        """
        now = int(self._wall())
        expires = None if seconds is None else now + seconds
        ban = NetworkBan(kind, rule.mask, setter, reason, now, expires)
        ticket = 0
        if (kind, rule.mask) in self._entries:
            self.remove(kind, rule)
        self._enter(_Entry(ban, rule))
        if self._store is not None:
            ticket = self._store.put_ban(ban)
        return ban, ticket

    def remove(self, kind: str, rule: Rule) -> tuple[NetworkBan, int]:
        """
        Unset a ban.

        :param kind: of which kind.
        :param rule: whom it is about.
        :return: the ban, and the ticket of the write.
        :raises KeyError: there is none.
        """
        ban = self._drop((kind, rule.mask)).ban
        return ban, 0 if self._store is None else self._store.delete_ban(kind, ban.mask)

    def of_kind(self, kind: str) -> list[NetworkBan]:
        """Give the bans of a kind that are in force."""
        now = self._wall()
        for key, entry in list(self._entries.items()):
            if is_over(entry.ban, now):
                # From the file the store takes them itself.
                self._drop(key)
        return [entry.ban for entry in self._entries.values() if entry.ban.kind == kind]

    def of_address(self, text: object) -> NetworkBan | None:
        """
        Find what keeps an address out.

        :param text: the address as text, or anything else if there is none.
        :return: the D-line of the narrowest network, or None.
        """
        address = address_of(text) if self._places else None
        if address is None:
            return None
        now = self._wall()
        for entry in self._places.around(address):
            if not is_over(entry.ban, now):
                return entry.ban
        return None

    def of_person(self, person: Person) -> NetworkBan | None:
        """
        Find what keeps somebody out.

        :param person: whom.
        :return: a D-line before a K-line; or None.
        """
        if not self._entries:
            return None
        found = self.of_address(person.address)
        if found is not None:
            return found
        now = self._wall()
        address = address_of(person.address) if self._people_there else None
        for entry in self._near(person, address):
            if entry.rule.fits(person, address) and not is_over(entry.ban, now):
                return entry.ban
        return None

    def _near(self, person: Person, address: Address | None) -> Iterator[_Entry]:
        if address is not None:
            yield from self._people_there.around(address)
        yield from self._people.near(person)


def is_over(ban: NetworkBan, now: float) -> bool:
    """Say whether a ban has ended."""
    return ban.expires is not None and ban.expires <= now
