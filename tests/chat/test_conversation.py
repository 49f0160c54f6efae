"""
Several sessions at once against a model.

Every rule does one thing on the server and on the model (model.py); after each, what every client got is
what the model says, in that order, and nothing else; who is where, with which rank, is the same in both; and
no session is half registered. A rule may come from any of a user's clients, with a label or without.
"""

from __future__ import annotations

import re

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

from myproject_chat.channel import Speech
from myproject_chat.extbans import read_mask
from myproject_chat.session import Session, State
from tests.chat.harness import Chat
from tests.chat.model import HALF_OPERATOR, OPERATOR, Model, Person, Place, Screen

NICKS = st.sampled_from(["al", "AL", "bo", "eve", "Zed"])
CHANNELS = st.sampled_from(["#a", "#a", "#A", "#b"])
# Most of what moderators alone may do is done by one, or little would happen.
AS_MODERATOR = st.sampled_from([True, True, True, False])
WORDS = st.sampled_from(["x", "some words", ":", "é"])
KEYS = st.sampled_from(["", "k1", "k2"])
MASKS = st.sampled_from(["al!*@*", "bo!*@*", "*!*@*", "a:acc", "m:a:acc", "m:*!*@*"])
SOME_MASKS = st.lists(MASKS, max_size=2, unique=True)
REFUSALS = {
    "404": "Cannot send to channel",
    "471": "Cannot join: the channel is full (+l)",
    "473": "Cannot join: you must be invited (+i)",
    "474": "Cannot join: you are banned (+b)",
    "475": "Cannot join: the key is not that (+k)",
    "477": "You must be logged in to an account",
}


def speech(place: Place, person: Person) -> Speech:
    """What the model says becomes of somebody's words, in the server's terms."""
    heard = place.hears(person)
    if isinstance(heard, str):
        return Speech.UNKNOWN_SPEAKER if heard == "477" else Speech.REFUSED
    return Speech.OPERATORS_ONLY if "U" in place.flags and not place.level(person) else Speech.HEARD


def shown(line: str) -> str:
    """A line without what the model does not know: times, and the names of batches."""
    line = re.sub(r"^@batch=\w+ ", "@batch ", line)
    line = re.sub(r" BATCH ([+-])\w+", r" BATCH \1", line)
    return "333" if " 333 " in line else line


class Conversation(RuleBasedStateMachine):
    """The server and the model, side by side."""

    screens = Bundle("screens")

    @initialize(
        target=screens,
        ranks=st.tuples(*(st.sampled_from(["", "v", "h", "o", "q", "hv", "ov"]),) * 3),
        flags=st.sets(st.sampled_from("nmtisCRMuU")),
        masks=st.fixed_dictionaries({"b": SOME_MASKS}, optional={"e": SOME_MASKS, "I": SOME_MASKS}),
    )
    def start(self, ranks: tuple[str, ...], flags: set[str], masks: dict[str, list[str]]) -> object:
        """Begin in the middle: three are in a channel, where anything may be set already."""
        self.chat = Chat()
        self.model = Model()
        screens = []
        for nick in ("al", "bo", "eve"):
            screens.append(Screen(self.chat.join(nick)))
            self.model.present.append(Person(nick, nick, screens[-1:]))
            self.model.enter(self.model.present[-1], "#a")
            self.send(screens[-1], "JOIN #a")
        place, channel = self.model.places["#a"], self.chat.server.network.channels[b"#a"]
        place.flags, channel.flags = flags, {letter.encode() for letter in flags}
        for member, user, rank in zip(place.members, channel.members, ranks, strict=True):
            place.members[member], channel.members[user] = set(rank), rank.encode()
        for letter, mask in [(one, mask) for one, listed in masks.items() for mask in listed]:
            place.lists[letter].append(mask)
            entry = read_mask(mask.encode(), b"", 0)
            assert entry is not None
            channel.add_mask(letter.encode(), entry)
        return multiple(*screens)

    def owner(self, screen: Screen) -> Person:
        return next(person for person in self.model.present if screen in person.screens)

    def actor(self, screen: Screen, channel: str, as_moderator: bool) -> Screen:
        """Somebody's client, or that of a moderator of the channel, if it has one."""
        place = self.model.places.get(channel.lower())
        moderators = place.at_least(HALF_OPERATOR) if place is not None and as_moderator else []
        return moderators[-1].screens[-1] if moderators else screen

    def send(self, screen: Screen, line: str) -> None:
        """Send what the model has been told of already; a client that labels gets its answer framed."""
        if screen.labels:
            answer, screen.expected = screen.expected, []
            screen.expected = self.framed(answer)
            line = "@label=x " + line
        screen.client.feed(f"{line}\r\n".encode())

    @staticmethod
    def framed(answer: list[str]) -> list[str]:
        if not answer:
            return ["@label=x :irc.example ACK"]
        if len(answer) == 1:
            return ["@label=x " + answer[0]]
        begin = "@label=x :irc.example BATCH + labeled-response"
        inside = ["333" if line == "333" else "@batch " + line for line in answer]
        return [begin, *inside, ":irc.example BATCH -"]

    # Coming and going

    @rule(target=screens, nick=NICKS, labels=st.booleans())
    def come(self, nick: str, labels: bool) -> object:
        client = self.chat.connect()
        if labels:
            client.type("CAP REQ :batch labeled-response", "CAP END")
        lines = client.type(f"NICK {nick}", f"USER {nick} 0 * :Real")
        if self.model.holder(nick) is not None:
            assert lines == [f":irc.example 433 * {nick} :That nickname is in use"]
            client.vanish()
            return multiple()
        assert " 001 " in lines[0]
        screen = Screen(client, labels=labels)
        self.model.present.append(Person(nick, nick, [screen]))
        return screen

    @rule(target=screens, screen=screens)
    def come_with_another_client(self, screen: Screen) -> object:
        person = self.owner(screen)
        client = self.chat.connect()
        user = self.chat.server.network.users[person.nick.lower().encode()]
        client.protocol.session.attach(user)
        person.screens.append(Screen(client))
        return person.screens[-1]

    @rule(screen=consumes(screens), how=st.sampled_from(["QUIT :so long", "vanish"]))
    def go(self, screen: Screen, how: str) -> None:
        reason = "Connection closed" if how == "vanish" else "Quit: so long"
        self.model.go(self.owner(screen), screen, reason)
        if how == "vanish":
            screen.client.vanish()
        else:
            assert screen.client.type(how)[-1].startswith("ERROR ")

    @rule(data=st.binary(max_size=30) | st.sampled_from([b"NICK n\r\n", b"USER u 0 * :r\r\n"]))
    def babble(self, data: bytes) -> None:
        """Somebody sends anything and goes; whatever it is, nobody is told but who registered."""
        client = self.chat.connect()
        client.feed(data.replace(b"@", b"") + b"\r\n")
        session = client.protocol.session
        assert (session.user is None) is (session.state is not State.REGISTERED)
        client.vanish()

    @rule(screen=screens, account=st.sampled_from(["acc", None]))
    def log_in_or_out(self, screen: Screen, account: str | None) -> None:
        person = self.owner(screen)
        person.account = account
        user = self.chat.server.network.users[person.nick.lower().encode()]
        user.account = None if account is None else account.encode()

    @rule(screen=screens, nick=NICKS)
    def rename(self, screen: Screen, nick: str) -> None:
        person = self.owner(screen)
        if self.model.holder(nick) not in (None, person):
            self.model.answer(person, screen, "433", nick, "That nickname is in use")
        elif nick != person.nick:
            told = [person, *self.model.around(person)]
            self.model.tell(told, f"{person.source} NICK {nick}")
            person.nick = nick
        self.send(screen, f"NICK {nick}")

    # In channels

    @rule(screen=screens, channel=CHANNELS, key=KEYS)
    def join(self, screen: Screen, channel: str, key: str) -> None:
        person = self.owner(screen)
        place = self.model.places.get(channel.lower())
        if place is None or person not in place.members:
            refusal = place and place.refuses(person, key)
            if place is not None and refusal:
                self.model.answer(person, screen, refusal, place.name, REFUSALS[refusal])
            else:
                self.model.enter(person, channel)
        self.send(screen, f"JOIN {channel} {key}".rstrip())

    @rule(screen=screens, channel=CHANNELS)
    def part(self, screen: Screen, channel: str) -> None:
        person = self.owner(screen)
        place = self.model.joined(person, screen, channel)
        if place is not None:
            self.model.tell(place.audience(person), f"{person.source} PART {place.name} :bye")
            self.model.leave(person, place)
        self.send(screen, f"PART {channel} :bye")

    @rule(screen=screens, channel=CHANNELS, words=WORDS)
    def speak(self, screen: Screen, channel: str, words: str) -> None:
        person = self.owner(screen)
        place = self.model.places.get(channel.lower())
        if place is None:
            self.model.answer(person, screen, "403", channel, "No such channel")
        else:
            heard = place.hears(person)
            if isinstance(heard, str):
                self.model.answer(person, screen, heard, place.name, REFUSALS[heard])
            else:
                line = f"{person.source} PRIVMSG {place.name} :{words}"
                self.model.tell(heard, line, but=person)
                self.model.tell_others(person, screen, line)
        self.send(screen, f"PRIVMSG {channel} :{words}")

    @rule(screen=screens, nick=NICKS, words=WORDS)
    def whisper(self, screen: Screen, nick: str, words: str) -> None:
        person = self.owner(screen)
        other = self.model.holder(nick)
        if other is person:
            return
        if other is None:
            self.model.answer(person, screen, "401", nick, "No such nick")
        else:
            line = f"{person.source} PRIVMSG {other.nick} :{words}"
            self.model.tell([other], line)
            self.model.tell_others(person, screen, line)
        self.send(screen, f"PRIVMSG {nick} :{words}")

    @rule(screen=screens, channel=CHANNELS, words=WORDS)
    def set_topic(self, screen: Screen, channel: str, words: str) -> None:
        person = self.owner(screen)
        place = self.model.joined(person, screen, channel)
        if place is not None:
            if "t" in place.flags and place.level(person) < HALF_OPERATOR:
                self.model.not_operator(person, screen, place)
            else:
                place.topic = words
                line = f"{person.source} TOPIC {place.name} :{words}"
                self.model.tell(place.members, line)
        self.send(screen, f"TOPIC {channel} :{words}")

    @rule(screen=screens, lead=AS_MODERATOR, channel=CHANNELS, nick=NICKS)
    def kick(self, screen: Screen, lead: bool, channel: str, nick: str) -> None:
        screen = self.actor(screen, channel, lead)
        person = self.owner(screen)
        place = self.model.joined(person, screen, channel)
        if place is not None:
            if place.level(person) < HALF_OPERATOR:
                self.model.not_operator(person, screen, place)
            elif (other := self.model.visible(person, screen, nick)) is not None:
                if other in place.members:
                    self.model.kick(person, screen, place, other)
                else:
                    what, text = f"{other.nick} {place.name}", "They are not on that channel"
                    self.model.answer(person, screen, "441", what, text)
        self.send(screen, f"KICK {channel} {nick} :out")

    @rule(screen=screens, lead=AS_MODERATOR, channel=CHANNELS, nick=NICKS)
    def invite(self, screen: Screen, lead: bool, channel: str, nick: str) -> None:
        screen = self.actor(screen, channel, lead)
        person = self.owner(screen)
        other = self.model.visible(person, screen, nick)
        place = None if other is None else self.model.joined(person, screen, channel)
        if place is not None and other is not None:
            if other in place.members:
                what = f"{other.nick} {place.name}"
                self.model.answer(person, screen, "443", what, "is on that channel already")
            elif "i" in place.flags and place.level(person) < HALF_OPERATOR:
                self.model.not_operator(person, screen, place)
            else:
                line = f":irc.example 341 {person.nick} {other.nick} {place.name}"
                screen.expected.append(line)
                if place.level(person) >= HALF_OPERATOR:
                    place.invited.add(other)
                self.model.tell([other], f"{person.source} INVITE {other.nick} {place.name}")
        self.send(screen, f"INVITE {nick} {channel}")

    @rule(screen=screens, lead=AS_MODERATOR, which=st.integers(0, 5))
    def kick_somebody_who_is_there(self, screen: Screen, lead: bool, which: int) -> None:
        """Or those whom a rank protects would be guessed too rarely."""
        place = self.model.places.get("#a")
        if place is not None:
            members = [*place.members]
            self.kick(screen, lead, "#a", members[which % len(members)].nick)

    @rule(screen=screens, other=screens, key=KEYS)
    def leave_and_come_back_invited(self, screen: Screen, other: Screen, key: str) -> None:
        """As above: an invitation is for who is not there, and good for once."""
        place, guest = self.model.places.get("#a"), self.owner(other)
        if place is not None and guest in place.members:
            self.part(other, "#a")
            self.everybody_got_what_the_model_says()
        self.invite(screen, True, "#a", guest.nick)
        self.everybody_got_what_the_model_says()
        self.join(other, "#a", key)

    @rule(screen=screens, lead=AS_MODERATOR, old=CHANNELS, new=CHANNELS)
    def rename_channel(self, screen: Screen, lead: bool, old: str, new: str) -> None:
        screen = self.actor(screen, old, lead)
        person = self.owner(screen)
        place = self.model.joined(person, screen, old)
        if place is not None:
            taken = self.model.places.get(new.lower())
            if place.level(person) < OPERATOR:
                self.model.not_operator(person, screen, place)
            elif taken not in (None, place):
                screen.expected.append(
                    f":irc.example FAIL RENAME CHANNEL_NAME_IN_USE {place.name} {new}"
                    " :There is a channel of that name"
                )
            else:
                before, place.name = place.name, new
                self.model.places = {one.name.lower(): one for one in self.model.places.values()}
                for member in place.members:
                    for each in member.screens:
                        each.expected += [
                            f"{member.source} PART {before} :Changing to {new}",
                            f"{member.source} JOIN {new}",
                        ]
                        self.model.welcome(member, each, place)
        self.send(screen, f"RENAME {old} {new}")

    # Modes

    def moderated(self, screen: Screen, channel: str) -> bool:
        """Whether the owner may change the channel's modes; if not, the model has said so."""
        person = self.owner(screen)
        place = self.model.places.get(channel.lower())
        if place is None:
            self.model.answer(person, screen, "403", channel, "No such channel")
        elif place.level(person) < HALF_OPERATOR:
            self.model.not_operator(person, screen, place)
            return False
        return place is not None

    def changed(self, screen: Screen, channel: str, words: str) -> None:
        place = self.model.places[channel.lower()]
        line = f"{self.owner(screen).source} MODE {place.name} {words}"
        self.model.tell(place.members, line)

    @rule(
        screen=screens,
        lead=AS_MODERATOR,
        channel=CHANNELS,
        sign=st.sampled_from("+-"),
        letter=st.sampled_from("nmtisCRMuU"),
    )
    def set_flag(self, screen: Screen, lead: bool, channel: str, sign: str, letter: str) -> None:
        screen = self.actor(screen, channel, lead)
        if self.moderated(screen, channel):
            flags = self.model.places[channel.lower()].flags
            if (sign == "+") is not (letter in flags):
                flags ^= {letter}
                self.changed(screen, channel, sign + letter)
        self.send(screen, f"MODE {channel} {sign}{letter}")

    @rule(screen=screens, lead=AS_MODERATOR, channel=CHANNELS, key=KEYS)
    def set_key(self, screen: Screen, lead: bool, channel: str, key: str) -> None:
        screen = self.actor(screen, channel, lead)
        if self.moderated(screen, channel):
            place = self.model.places[channel.lower()]
            if (place.key or "") != key:
                place.key = key or None
                self.changed(screen, channel, f"+k {key}" if key else "-k *")
        self.send(screen, f"MODE {channel} +k {key}" if key else f"MODE {channel} -k")

    @rule(screen=screens, lead=AS_MODERATOR, channel=CHANNELS, limit=st.sampled_from([None, 1, 2]))
    def set_limit(self, screen: Screen, lead: bool, channel: str, limit: int | None) -> None:
        screen = self.actor(screen, channel, lead)
        words = "-l" if limit is None else f"+l {limit}"
        if self.moderated(screen, channel):
            place = self.model.places[channel.lower()]
            if place.limit != limit:
                place.limit = limit
                self.changed(screen, channel, words)
        self.send(screen, f"MODE {channel} {words}")

    @rule(
        screen=screens,
        lead=AS_MODERATOR,
        channel=CHANNELS,
        sign=st.sampled_from("+-"),
        letter=st.sampled_from("bbeI"),
        mask=MASKS,
    )
    def set_mask(
        self, screen: Screen, lead: bool, channel: str, sign: str, letter: str, mask: str
    ) -> None:
        screen = self.actor(screen, channel, lead)
        if self.moderated(screen, channel):
            masks = self.model.places[channel.lower()].lists[letter]
            if (sign == "+") is not (mask in masks):
                (masks.append if sign == "+" else masks.remove)(mask)
                self.changed(screen, channel, f"{sign}{letter} {mask}")
        self.send(screen, f"MODE {channel} {sign}{letter} {mask}")

    @rule(
        screen=screens,
        lead=AS_MODERATOR,
        letter=st.sampled_from("bbeI"),
        which=st.integers(0, 3),
    )
    def unset_a_mask_there_is(self, screen: Screen, lead: bool, letter: str, which: int) -> None:
        """Or it would be guessed too rarely."""
        place = self.model.places.get("#a")
        if place is not None and place.lists[letter]:
            mask = place.lists[letter][which % len(place.lists[letter])]
            self.set_mask(screen, lead, "#a", "-", letter, mask)

    @rule(
        screen=screens,
        lead=AS_MODERATOR,
        channel=CHANNELS,
        change=st.sampled_from(["+o", "-o", "+v", "-v", "+h", "-h", "+a", "-q"]),
        nick=NICKS,
    )
    def set_rank(self, screen: Screen, lead: bool, channel: str, change: str, nick: str) -> None:
        screen = self.actor(screen, channel, lead)
        if self.moderated(screen, channel):
            place = self.model.places[channel.lower()]
            self.model.rank(self.owner(screen), screen, place, change, nick)
        self.send(screen, f"MODE {channel} {change} {nick}")

    @rule(screen=screens, lead=AS_MODERATOR, which=st.integers(0, 11))
    def take_a_rank_there_is(self, screen: Screen, lead: bool, which: int) -> None:
        """As above: who has several has some that a lower one can take, but for the highest."""
        place = self.model.places.get("#a")
        held = [
            (letter, person)
            for person, ranks in (place.members.items() if place is not None else ())
            for letter in sorted(ranks)
        ]
        if held:
            letter, person = held[which % len(held)]
            self.set_rank(screen, lead, "#a", "-" + letter, person.nick)

    # What must hold

    @invariant()
    def everybody_got_what_the_model_says(self) -> None:
        for person in self.model.present:
            for screen in person.screens:
                got = [shown(line) for line in screen.client.read()]
                assert got == screen.expected, (got, screen.expected)
                screen.expected.clear()

    @invariant()
    def everybody_is_where_the_model_says(self) -> None:
        network = self.chat.server.network
        there = {
            name.decode(): {
                member.nick.decode(): set(held.decode()) for member, held in channel.members.items()
            }
            for name, channel in network.channels.items()
        }
        model = {
            name: {p.nick: held for p, held in place.members.items()}
            for name, place in self.model.places.items()
        }
        assert there == model, (there, model)
        assert sorted(network.users) == sorted(p.nick.lower().encode() for p in self.model.present)

    @invariant()
    def everybody_may_do_what_the_model_says(self) -> None:
        network = self.chat.server.network
        users = {p: network.users[p.nick.lower().encode()] for p in self.model.present}
        names = {user: person for person, user in users.items()}
        for person, user in users.items():
            near = {names[peer] for peer in network.peers(user)}
            assert near == set(self.model.around(person))
        for name, place in self.model.places.items():
            channel = network.channels[name.encode()]
            assert {names[user] for user in channel.invited} == place.invited
            assert (channel.key or b"").decode() == (place.key or "")
            for person, user in users.items():
                assert speech(place, person) is channel.speech(user), (person, vars(place))
                assert place.banned(person, mutes=False) is channel.is_banned(user)
                opened = "i" not in place.flags or place.on_list("I", person)
                assert opened is channel.is_open_to(user)

    @invariant()
    def nobody_is_half_registered(self) -> None:
        server = self.chat.server
        sessions: list[Session] = [
            screen.client.protocol.session for p in self.model.present for screen in p.screens
        ]
        assert set(server.sessions) == set(sessions)
        assert server.registered == len(sessions)
        for session in sessions:
            assert session.state is State.REGISTERED
            assert session.user is not None
            assert session in session.user.receivers


class ConversationTests(SynchronousTestCase):
    def test_any_conversation_goes_as_the_model_says(self) -> None:
        run_state_machine_as_test(
            Conversation,
            settings=settings(deadline=None, max_examples=300, stateful_step_count=25),
        )
