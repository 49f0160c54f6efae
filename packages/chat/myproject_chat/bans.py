"""
Bans of the whole server: who is kept out of it, until when, and why.

There are two kinds. A D-line is about an address or a network, and keeps out who has it as soon as the
address is known. A K-line is about a person, and applies when that registers, logs in or takes another
nick. Its mask is ``nick!user@host`` with ``*`` and ``?``, where the host may be a network, or
``a:account``. A host is compared with the address and with what others see of it: no cloak is a way
around a ban, and an operator who knows the cloak alone needs no more.

Looking up costs the same for one ban as for ten thousand (banmasks.py).

The two words are those of the servers that came after RFC 1459, which knew them as lines of its
configuration; the grammar of reasons and durations is Ergo's.

Sources: RFC 1459 section 8.12.2, the help of Ergo and of Solanum on KLINE and DLINE.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from myproject.limits import address_of
from myproject_chat.banmasks import DLINE, MaskTable, NetworkTable, Person, Rule, read_mask
from myproject_chat.store.records import NetworkBan

if TYPE_CHECKING:
    from myproject.limits import Address

__all__ = ["BanKeeper", "Bans", "is_over", "private_reason", "public_reason"]


def public_reason(ban: NetworkBan) -> bytes:
    """Say why, for those whom a ban hits."""
    return ban.reason.partition(b"|")[0].strip() or b"No reason given"


def private_reason(ban: NetworkBan) -> bytes:
    """Say what operators alone know of why; nothing if that is nothing."""
    return ban.reason.partition(b"|")[2].strip()


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
