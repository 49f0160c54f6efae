"""
Several sessions at once against a model.

The model is as simple as can be: who has which nick, who is in which channel, and for each client
the lines that it must have been sent, in their order. Every rule does one thing on the server and
on the model; after each, what every client got is what the model says, and nothing else.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.chat.harness import Chat, Client

NICKS = st.sampled_from(["al", "AL", "bo", "eve", "Zed"])
CHANNELS = st.sampled_from(["#a", "#A", "#b"])
WORDS = st.sampled_from(["x", "some words", ":", "é"])
HOST = "192.168.1.1"


class Person:
    """What the model knows of one client."""

    def __init__(self, client: Client, nick: str) -> None:
        self.client = client
        self.nick = nick
        self.name = nick
        self.expected: list[str] = []

    @property
    def source(self) -> str:
        return f":{self.nick}!~{self.name}@{HOST}"


class Place:
    """What the model knows of one channel."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: list[Person] = []
        self.operators: list[Person] = []
        self.topic = ""


class Conversation(RuleBasedStateMachine):
    """The server and the model, side by side."""

    people = Bundle("people")

    @initialize()
    def start(self) -> None:
        self.chat = Chat()
        self.present: list[Person] = []
        self.places: dict[str, Place] = {}

    # The model

    def tell(self, people: list[Person], line: str, but: Person | None = None) -> None:
        for person in people:
            if person is not but:
                person.expected.append(line)

    def around(self, person: Person) -> list[Person]:
        """Everybody who shares a channel with somebody, without them."""
        near: list[Person] = []
        for place in self.places.values():
            if person in place.members:
                near += [other for other in place.members if other not in near]
        return [other for other in near if other is not person]

    def take_out(self, person: Person, place: Place) -> None:
        place.members.remove(person)
        if person in place.operators:
            place.operators.remove(person)
        if not place.members:
            del self.places[place.name.lower()]

    def holder(self, nick: str) -> Person | None:
        return next((p for p in self.present if p.nick.lower() == nick.lower()), None)

    def found(self, person: Person, channel: str, *, member: bool = True) -> Place | None:
        """The channel, or what its absence is answered with."""
        place = self.places.get(channel.lower())
        if place is None:
            self.answer(person, "403", channel, "No such channel")
        elif member and person not in place.members:
            self.answer(person, "442", place.name, "You are not on that channel")
            return None
        return place

    def answer(self, person: Person, code: str, what: str, text: str) -> None:
        person.expected.append(f":irc.example {code} {person.nick} {what} :{text}")

    # The rules

    @rule(target=people, nick=NICKS)
    def come(self, nick: str) -> object:
        client = self.chat.connect()
        lines = client.type(f"NICK {nick}", f"USER {nick} 0 * :Real")
        if self.holder(nick) is not None:
            assert lines == [f":irc.example 433 * {nick} :That nickname is in use"]
            client.vanish()
            return multiple()
        assert " 001 " in lines[0]
        person = Person(client, nick)
        self.present.append(person)
        return person

    @rule(person=people, channel=CHANNELS)
    def join(self, person: Person, channel: str) -> None:
        place = self.places.get(channel.lower())
        if place is None:
            place = self.places[channel.lower()] = Place(channel)
            place.operators.append(person)
        if person not in place.members:
            place.members.append(person)
            self.tell(place.members, f"{person.source} JOIN {place.name}")
            if place.topic:
                self.answer(person, "332", place.name, place.topic)
                person.expected.append("333")
            names = " ".join(("@" if p in place.operators else "") + p.nick for p in place.members)
            person.expected.append(f":irc.example 353 {person.nick} = {place.name} :{names}")
            self.answer(person, "366", place.name, "End of NAMES")
        person.client.feed(f"JOIN {channel}\r\n".encode())

    @rule(person=people, channel=CHANNELS)
    def part(self, person: Person, channel: str) -> None:
        place = self.found(person, channel)
        if place is not None:
            self.tell(place.members, f"{person.source} PART {place.name} :bye")
            self.take_out(person, place)
        person.client.feed(f"PART {channel} :bye\r\n".encode())

    @rule(person=people, nick=NICKS)
    def rename(self, person: Person, nick: str) -> None:
        if self.holder(nick) not in (None, person):
            self.answer(person, "433", nick, "That nickname is in use")
        elif nick != person.nick:
            self.tell([person, *self.around(person)], f"{person.source} NICK {nick}")
            person.nick = nick
        person.client.feed(f"NICK {nick}\r\n".encode())

    @rule(person=people, channel=CHANNELS, words=WORDS)
    def speak(self, person: Person, channel: str, words: str) -> None:
        place = self.found(person, channel, member=False)
        if place is not None and person not in place.members:
            self.answer(person, "404", place.name, "Cannot send to channel")
        elif place is not None:
            line = f"{person.source} PRIVMSG {place.name} :{words}"
            self.tell(place.members, line, but=person)
        person.client.feed(f"PRIVMSG {channel} :{words}\r\n".encode())

    @rule(person=people, nick=NICKS, words=WORDS)
    def whisper(self, person: Person, nick: str, words: str) -> None:
        other = self.holder(nick)
        if other is None:
            self.answer(person, "401", nick, "No such nick")
        else:
            other.expected.append(f"{person.source} PRIVMSG {other.nick} :{words}")
        person.client.feed(f"PRIVMSG {nick} :{words}\r\n".encode())

    @rule(person=people, channel=CHANNELS, words=WORDS)
    def set_topic(self, person: Person, channel: str, words: str) -> None:
        place = self.found(person, channel)
        if place is not None and person not in place.operators:
            self.answer(person, "482", place.name, "You are not a channel operator")
        elif place is not None:
            place.topic = words
            self.tell(place.members, f"{person.source} TOPIC {place.name} :{words}")
        person.client.feed(f"TOPIC {channel} :{words}\r\n".encode())

    @rule(person=people, channel=CHANNELS, nick=NICKS)
    def kick(self, person: Person, channel: str, nick: str) -> None:
        place = self.found(person, channel)
        if place is not None and person not in place.operators:
            self.answer(person, "482", place.name, "You are not a channel operator")
        elif place is not None:
            other = self.holder(nick)
            if other is None:
                self.answer(person, "401", nick, "No such nick")
            elif other not in place.members:
                self.answer(
                    person, "441", f"{other.nick} {place.name}", "They are not on that channel"
                )
            else:
                self.tell(place.members, f"{person.source} KICK {place.name} {other.nick} :out")
                self.take_out(other, place)
        person.client.feed(f"KICK {channel} {nick} :out\r\n".encode())

    @rule(person=consumes(people), how=st.sampled_from(["QUIT :so long", "vanish"]))
    def go(self, person: Person, how: str) -> None:
        reason = "Connection closed" if how == "vanish" else "Quit: so long"
        self.tell(self.around(person), f"{person.source} QUIT :{reason}")
        for place in list(self.places.values()):
            if person in place.members:
                self.take_out(person, place)
        self.present.remove(person)
        if how == "vanish":
            person.client.vanish()
        else:
            assert person.client.type(how)[-1].startswith("ERROR ")

    # What must hold

    @invariant()
    def everybody_got_what_the_model_says(self) -> None:
        for person in self.present:
            got = person.client.read()
            shown = ["333" if " 333 " in line else line for line in got]
            assert shown == person.expected, (shown, person.expected)
            person.expected.clear()

    @invariant()
    def everybody_is_where_the_model_says(self) -> None:
        network = self.chat.server.network
        there = {
            name.decode(): [member.nick.decode() for member in channel.members]
            for name, channel in network.channels.items()
        }
        model = {name: [p.nick for p in place.members] for name, place in self.places.items()}
        assert there == model, (there, model)
        assert sorted(network.users) == sorted(p.nick.lower().encode() for p in self.present)


class ConversationTests(SynchronousTestCase):
    def test_any_conversation_goes_as_the_model_says(self) -> None:
        run_state_machine_as_test(
            Conversation,
            settings=settings(deadline=None, max_examples=120, stateful_step_count=40),
        )
