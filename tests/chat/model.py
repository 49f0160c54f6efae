"""
A reference model of a chat: who is where, who may speak, and what each client must be sent.

It is written for the eye, not for speed, and shares no code with the server. Whoever drives both holds the
one against the other, in the words of the protocol.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.chat.harness import Client

__all__ = ["HOST", "RANKS", "Model", "Person", "Place", "Screen"]

HOST = "192.168.1.1"
RANKS = "vhoaq"
SIGNS = dict(zip(RANKS, "+%@&~", strict=True))
VOICE, HALF_OPERATOR, OPERATOR, ADMIN, FOUNDER = range(1, 6)
NEEDED = {"v": HALF_OPERATOR, "h": OPERATOR, "o": OPERATOR, "a": FOUNDER, "q": FOUNDER}
NOT_OPERATOR = "You are not a channel operator"


@dataclass(eq=False)
class Screen:
    """One client of somebody, and the lines that it must have been sent since it was last looked at."""

    client: Client
    expected: list[str] = field(default_factory=list)
    labels: bool = False


@dataclass(eq=False)
class Person:
    """Somebody who has registered."""

    nick: str
    name: str
    screens: list[Screen]
    account: str | None = None

    @property
    def source(self) -> str:
        return f":{self.nick}!~{self.name}@{HOST}"

    def fits(self, mask: str) -> bool:
        """Whether a mask of a list is about this person, m: or not."""
        mask = mask.removeprefix("m:")
        if mask.startswith("a:"):
            return self.account == mask[2:]
        nick = mask.partition("!")[0]
        return nick == "*" or nick.lower() == self.nick.lower()


@dataclass(eq=False)
class Place:
    """A channel."""

    name: str
    members: dict[Person, set[str]] = field(default_factory=dict)
    topic: str = ""
    flags: set[str] = field(default_factory=lambda: set("nt"))
    key: str | None = None
    limit: int | None = None
    lists: dict[str, list[str]] = field(default_factory=lambda: {letter: [] for letter in "beI"})
    invited: set[Person] = field(default_factory=set)

    def level(self, person: Person) -> int:
        return max((RANKS.index(rank) + 1 for rank in self.members.get(person, ())), default=0)

    def at_least(self, level: int) -> list[Person]:
        return [person for person in self.members if self.level(person) >= level]

    def on_list(self, letter: str, person: Person, *, mutes: bool = True) -> bool:
        return any(
            person.fits(mask) and (mutes or not mask.startswith("m:"))
            for mask in self.lists[letter]
        )

    def banned(self, person: Person, *, mutes: bool) -> bool:
        return self.on_list("b", person, mutes=mutes) and not self.on_list("e", person)

    def sees(self, person: Person, other: Person) -> bool:
        """Whether a member sees another: in an auditorium who has no rank is for moderators."""
        if "u" not in self.flags or person is other or self.members[other]:
            return True
        return self.level(person) >= HALF_OPERATOR

    def audience(self, of: Person) -> list[Person]:
        return [person for person in self.members if self.sees(person, of)]

    def hears(self, speaker: Person) -> list[Person] | str:
        """Those who get what somebody says, or the numeric of the refusal."""
        everybody = list(self.members)
        if self.level(speaker):
            return everybody
        if "n" in self.flags and speaker not in self.members:
            return "404"
        if "M" in self.flags and speaker.account is None:
            return "477"
        operators = self.at_least(HALF_OPERATOR)
        if "m" in self.flags or self.banned(speaker, mutes=True):
            return operators if "U" in self.flags else "404"
        return operators if "U" in self.flags else everybody

    def refuses(self, person: Person, key: str) -> str | None:
        """The numeric and words of why somebody may not come in, or None."""
        if self.key is not None and key != self.key:
            return "475"
        if person in self.invited:
            return None
        if self.limit is not None and len(self.members) >= self.limit:
            return "471"
        if "i" in self.flags and not self.on_list("I", person):
            return "473"
        if self.banned(person, mutes=False):
            return "474"
        if "R" in self.flags and person.account is None:
            return "477"
        return None


class Model:
    """Everybody and every channel, and what is said to whom."""

    def __init__(self) -> None:
        self.present: list[Person] = []
        self.places: dict[str, Place] = {}

    # Saying

    def tell(self, people: Iterable[Person], line: str, but: Person | None = None) -> None:
        for person in people:
            for screen in person.screens if person is not but else ():
                screen.expected.append(line)

    def tell_others(self, person: Person, screen: Screen, line: str) -> None:
        """Tell the sender's other clients what one of them has said."""
        for other in person.screens:
            if other is not screen:
                other.expected.append(line)

    def answer(self, person: Person, screen: Screen, code: str, what: str, text: str) -> None:
        screen.expected.append(f":irc.example {code} {person.nick} {what} :{text}")

    def not_operator(self, person: Person, screen: Screen, place: Place) -> None:
        self.answer(person, screen, "482", place.name, NOT_OPERATOR)

    # Looking

    def holder(self, nick: str) -> Person | None:
        return next((p for p in self.present if p.nick.lower() == nick.lower()), None)

    def places_of(self, person: Person) -> list[Place]:
        return [place for place in self.places.values() if person in place.members]

    def around(self, person: Person) -> list[Person]:
        """Everybody who sees somebody's coming and going, once, without them."""
        near = {p: None for place in self.places_of(person) for p in place.audience(person)}
        near.pop(person, None)
        return list(near)

    def joined(self, person: Person, screen: Screen, channel: str) -> Place | None:
        """The channel, if the person is in it, or what the person is told."""
        place = self.places.get(channel.lower())
        if place is None:
            self.answer(person, screen, "403", channel, "No such channel")
        elif person not in place.members:
            self.answer(person, screen, "442", place.name, "You are not on that channel")
            return None
        return place

    def visible(self, person: Person, screen: Screen, nick: str) -> Person | None:
        other = self.holder(nick)
        if other is None:
            self.answer(person, screen, "401", nick, "No such nick")
        return other

    # Doing

    def enter(self, person: Person, channel: str) -> None:
        place = self.places.setdefault(channel.lower(), Place(channel))
        place.members[person] = set() if place.members else {"o"}
        place.invited.discard(person)
        self.tell(place.audience(person), f"{person.source} JOIN {place.name}")
        for screen in person.screens:
            self.welcome(person, screen, place)

    def welcome(self, person: Person, screen: Screen, place: Place) -> None:
        if place.topic:
            self.answer(person, screen, "332", place.name, place.topic)
            screen.expected.append("333")
        names = " ".join(
            max((SIGNS[rank] for rank in held), key="+%@&~".index, default="") + p.nick
            for p, held in place.members.items()
            if place.sees(person, p)
        )
        sign = "@" if "s" in place.flags else "="
        screen.expected.append(f":irc.example 353 {person.nick} {sign} {place.name} :{names}")
        self.answer(person, screen, "366", place.name, "End of NAMES")

    def leave(self, person: Person, place: Place) -> None:
        del place.members[person]
        if not place.members:
            del self.places[place.name.lower()]

    def go(self, person: Person, screen: Screen, reason: str) -> None:
        """One client goes; with the last one, the person."""
        person.screens.remove(screen)
        if person.screens:
            return
        self.tell(self.around(person), f"{person.source} QUIT :{reason}")
        for place in self.places_of(person):
            self.leave(person, place)
        for place in self.places.values():
            place.invited.discard(person)
        self.present.remove(person)

    def rank(self, person: Person, screen: Screen, place: Place, change: str, nick: str) -> None:
        """Give or take a rank: who gives needs the rank's level, who takes the holder's, too."""
        sign, letter = change[0], change[1]
        other = self.visible(person, screen, nick)
        if other is None:
            return
        if other not in place.members:
            what = f"{other.nick} {place.name}"
            self.answer(person, screen, "441", what, "They are not on that channel")
            return
        held = place.members[other]
        if (sign == "+") is (letter in held):
            return
        needed = max(NEEDED[letter], place.level(other) if sign == "-" else 0)
        if place.level(person) < needed and not (sign == "-" and other is person):
            self.not_operator(person, screen, place)
            return
        held ^= {letter}
        self.tell(place.members, f"{person.source} MODE {place.name} {change} {other.nick}")

    def kick(self, person: Person, screen: Screen, place: Place, other: Person) -> None:
        own, others = place.level(person), place.level(other)
        if others > own or (other is not person and others == own == HALF_OPERATOR):
            text = "They have a rank that you cannot put out"
            self.answer(person, screen, "482", place.name, text)
            return
        told = dict.fromkeys([*place.audience(other), person])
        self.tell(told, f"{person.source} KICK {place.name} {other.nick} :out")
        self.leave(other, place)
