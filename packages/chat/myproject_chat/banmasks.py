"""
Masks of bans of the whole server: what they say, and how those are found that may be about somebody.

Looking up costs the same for one ban as for ten thousand: what is remembered is indexed.

- Networks: a table for each prefix length in use, in which the address, cut to that length, is looked up.
  There are 33 lengths at most for IPv4, 129 for IPv6, and a handful in practice.
- Masks: the longest piece of a mask that stands at an end of its nick, user, host or account is looked up
  in a table for pieces of that place and length. What is found is then compared as a whole. Of a mask
  with no such piece (``*!*@*word*``) the longest is looked for in everybody: half a microsecond each.

Source: RFC 4632 (networks).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from myproject_chat.extbans import ACCOUNT
from myproject_chat.names import ACCOUNT_LENGTH, fold, host_name, matches, whole_mask

if TYPE_CHECKING:
    from myproject.limits import Address, Network

__all__ = ["DLINE", "KLINE", "MaskTable", "NetworkTable", "Person", "Rule", "read_mask"]

KLINE: Final = "kline"
DLINE: Final = "dline"

_WILD: Final = re.compile(rb"[*?]+")

T = TypeVar("T")


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
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

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
        self._count += 1

    def remove(self, network: Network, thing: T) -> None:
        """Take out a thing that is there."""
        cut = network.max_prefixlen - network.prefixlen
        lengths = self._lengths[network.version]
        table = next(table for one, table in lengths if one == cut)
        key = int(network.network_address) >> cut
        table[key].remove(thing)
        self._count -= 1
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
        values: dict[str, tuple[bytes, ...]] = {}
        for (field, at_end, length), table in self._tables.items():
            if field not in values:
                values[field] = _values(person, field)
            for value in values[field]:
                if length:
                    yield from table.get(value[-length:] if at_end else value[:length], ())
                else:
                    yield from _inside(table, value)


def _values(person: Person, field: str) -> tuple[bytes, ...]:
    """Give what a field of rules is compared with."""
    if field == "host":
        return tuple(map(fold, person.hosts))
    value: bytes | None = getattr(person, field)
    return () if value is None else (fold(value),)


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
