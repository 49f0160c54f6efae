"""What is said is handed out in one piece, by the shortest way, and nobody can tell the difference."""

from __future__ import annotations

import functools
import operator
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.capability import ACCOUNT_TAG, MESSAGE_TAGS, MULTILINE, SERVER_TIME
from myproject_chat.channel import Channel
from myproject_chat.configuration import Fakelag
from myproject_chat.delivery import Outgoing, OutgoingRun, broadcast
from myproject_chat.state import User
from myproject_chat.store import MEMORY, Database, Entry, Store
from tests.chat.harness import UNHURRIED, Chat, Client, at_once

_CAPABILITIES = [
    "",
    "message-tags echo-message",
    "server-time account-tag message-tags batch labeled-response echo-message",
    "batch draft/multiline message-tags",
]
_LINES = [
    "PRIVMSG #a :one",
    "PRIVMSG #b :two",
    "NOTICE #a three",
    "@+typing=active TAGMSG #a",
    "@label=x PRIVMSG #a :four",
    "@label=y PING z",
    "PRIVMSG @#a :five",
    "PRIVMSG #a,#b,nick1 :six",
    "PRIVMSG nick0 :seven",
    "PRIVMSG nick0 :eight",
    "PRIVMSG nick0 :" + "x" * 480,
    "PRIVMSG nick0 :\x01VERSION\x01",
    "PRIVMSG nick0 :",
    "PRIVMSG #a :two words",
    "PRIVMSG #a :" + "\xe4" * 240,
    "PRIVMSG #a :\udcff",
    "NOTICE nick1 :nine",
    "NOTICE nick1 :\xe4",
    "privmsg nick1 :ten",
    "AWAY :gone",
    "AWAY",
    "MODE nick1 +R",
    "MODE nick0 +B",
    "MODE #a +C",
    "MODE #a +m",
    "MODE #a +b nick3!*@*",
    "PING p",
    "JOIN #a",
    "PART #a",
    "JOIN #b",
    "NICK other",
    "MODE #a +v nick2",
    "KICK #a nick1",
    "TOPIC #b :new",
    "CAP REQ :server-time",
    "CAP REQ :-message-tags",
    "BATCH +m draft/multiline #a",
    "@batch=m PRIVMSG #a :eight",
    "BATCH -m",
    "QUIT",
]
# Who says what, or what happens; the turn ends now and then.
_STEPS = st.one_of(
    st.tuples(st.integers(0, 3), st.lists(st.sampled_from(_LINES), min_size=1, max_size=2)),
    # Some of them in a row.
    st.tuples(
        st.integers(0, 3),
        st.sampled_from([line for line in _LINES if "nick" in line or " #a :" in line]).map(
            lambda line: [line, line + "!", line]
        ),
    ),
    st.sampled_from(["turn", "turn", "turn", "turn", "lose", "choke", "unchoke", "wait"]),
)


class _Two:
    """Two servers that the same things happen to; one of them handles each line by itself, at once."""

    def __init__(self, capabilities: list[str], *, kept: bool = False, **choices: Any) -> None:
        self.chats = [Chat(**choices), Chat(**choices)]
        self.stores = [self.open(chat) for chat in self.chats] if kept else []
        simple = self.chats[1].server
        simple.tell = _at_once  # type: ignore[method-assign]
        simple.commands = {
            name: command._replace(route=None) for name, command in simple.commands.items()
        }
        self.clients: list[list[Client]] = []
        self.gone: set[int] = set()
        for chat in self.chats:
            self.clients.append(
                [
                    chat.join(f"nick{index}", "#a", *["#b"] * (index % 2), caps=caps)
                    for index, caps in enumerate(capabilities)
                ]
            )
            chat.hush(*self.clients[-1])

    def open(self, chat: Chat) -> Store:
        store = Store(lambda: Database(MEMORY), at_once, chat.clock.callLater)
        chat.factory.take(store, store.open())
        return store

    def kept(self) -> list[dict[bytes, list[Entry]]]:
        """What each of the two has kept, by where it was said; in the order of their names, without these."""
        kept: list[dict[bytes, list[Entry]]] = []
        for store in self.stores:
            kept.append({})
            for one in sorted(store.database.history.export(None), key=_number):
                kept[-1].setdefault(one.target, []).append(one._replace(msgid=b""))
        return kept

    def close(self) -> None:
        for store in self.stores:
            store.database.close()

    def do(self, step: Any) -> None:
        for chat, clients in zip(self.chats, self.clients, strict=True):
            if step == "turn":
                chat.turn()
            elif step == "wait":
                chat.turn()
                chat.wait(1)
            elif step == "lose" and 2 not in self.gone:
                clients[2].protocol.connectionLost(Failure(ConnectionDone()))
            elif step == "choke":
                clients[1].protocol.pauseProducing()
            elif step == "unchoke":
                clients[1].protocol.resumeProducing()
            elif not isinstance(step, str) and step[0] not in self.gone:
                lines = "".join(f"{line}\r\n" for line in step[1])
                clients[step[0]].feed(lines.encode(errors="surrogateescape"))
        if step == "lose":
            self.gone.add(2)

    def told(self) -> list[list[bytes]]:
        """What each client of each of the two was told."""
        for chat, clients in zip(self.chats, self.clients, strict=True):
            clients[1].protocol.resumeProducing()
            chat.turn()
            chat.wait(60)
        return [_renumbered(clients) for clients in self.clients]


def _renumbered(clients: list[Client]) -> list[bytes]:
    """What each was told, its messages numbered anew: one that nobody hears the name of needs none."""
    told = [client.transport.value() for client in clients]
    numbers = {int(name, 16) for one in told for name in re.findall(rb"msgid=\w+-(\w+)", one)}
    ranks = {number: rank for rank, number in enumerate(sorted(numbers))}

    def anew(found: re.Match[bytes]) -> bytes:
        return b"msgid=%d" % ranks[int(found[1], 16)]

    return [re.sub(rb"msgid=\w+-(\w+)", anew, one) for one in told]


def _number(entry: Entry) -> int:
    return int(entry.msgid.partition(b"-")[2], 16)


def _at_once(channel: Channel, message: Outgoing, speaker: User, needs: int = 0) -> None:
    broadcast(list(channel.members), message, speaker, needs=needs)


_WORDS = st.one_of(
    st.text(st.sampled_from("a:; \xe4\u20ac"), min_size=1),
    st.integers(1, 3).map(lambda letters: "a" * letters + "\u20ac" * 160),
)


class RunTests(SynchronousTestCase):
    """What somebody says at once, as what it consists of."""

    @given(
        st.lists(_WORDS.map(str.encode), min_size=1, max_size=3),
        st.sampled_from([b"", b"bot"]),
        st.sampled_from([None, b"al"]),
        st.lists(st.sampled_from([ACCOUNT_TAG, MESSAGE_TAGS, SERVER_TIME, MULTILINE])),
    )
    def test_a_run_is_its_messages_one_after_the_other(
        self, texts: list[bytes], tags: bytes, account: bytes | None, capabilities: list[int]
    ) -> None:
        names = [b"id-%d" % index for index in range(len(texts))]
        start = (lambda: 86400.5, b"al!~al@" + b"h" * 20, b"PRIVMSG", (b"#channel",))
        asked = functools.reduce(operator.or_, capabilities, 0)
        run = OutgoingRun(*start, texts, names=lambda: names, tags=tags, account=account)
        lines = [
            Outgoing(*start, text, msgid=name, tags=tags, account=account).line_for(asked)
            for name, text in zip(names, texts, strict=True)
        ]
        self.assertEqual(b"".join(lines), run.line_for(asked))
        self.assertEqual(lines, run.lines_for(asked))


class RoundTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat()

    @settings(max_examples=200)
    @given(
        st.lists(st.sampled_from(_CAPABILITIES), min_size=4, max_size=4),
        st.lists(_STEPS, max_size=30),
        st.sampled_from([UNHURRIED, Fakelag(burst=3)]),
        st.booleans(),
    )
    def test_nobody_can_tell_the_difference(
        self, capabilities: list[str], steps: Any, fakelag: Fakelag, kept: bool
    ) -> None:
        two = _Two(capabilities, fakelag=fakelag, kept=kept)
        try:
            for step in steps:
                two.do(step)
            one, other = two.told()
            self.assertEqual(other, one)
            if kept:
                one_kept, other_kept = two.kept()
                self.assertEqual(other_kept, one_kept)
        finally:
            two.close()

    def test_one_piece_for_a_turn(self) -> None:
        """Eight messages of two speakers are one write for each listener."""
        clients = [self.chat.join(f"nick{index}", "#a") for index in range(5)]
        self.chat.hush(*clients)
        for client in clients:
            client.transport.writes.clear()
        for client in clients[:2]:
            client.feed(b"PRIVMSG #a :x\r\n" * 4)
        self.chat.turn()
        listeners = [client.transport.writes for client in clients[2:]]
        self.assertEqual([1, 1, 1], [len(writes) for writes in listeners])
        self.assertEqual(8, listeners[0][0].count(b"PRIVMSG"))
        # The same bytes, put together once.
        self.assertIs(listeners[0][0], listeners[1][0])
        self.assertEqual(4, b"".join(clients[0].transport.writes).count(b"PRIVMSG"))

    def test_who_is_away_is_told_of_and_each_time(self) -> None:
        al, bo = self.chat.join("al"), self.chat.join("bo")
        bo.type("AWAY :out")
        self.assertEqual(["301", "301"], al.codes("PRIVMSG bo :x", "PRIVMSG bo :x"))
        self.assertEqual([], al.codes("NOTICE bo :x"))
        self.assertEqual(2, " ".join(bo.read()).count("PRIVMSG"))

    def test_a_line_outside_an_open_batch(self) -> None:
        al = self.chat.join("al", caps="batch draft/multiline message-tags")
        bo = self.chat.join("bo")
        al.type("BATCH +m draft/multiline bo", "PRIVMSG bo :outside", "@batch=m PRIVMSG bo :inside")
        self.assertEqual([":al!~al@192.168.1.1 PRIVMSG bo :outside"], bo.read())

    def test_those_for_whom_nothing_waits_are_sent_to_together(self) -> None:
        al = self.chat.join("al", "#a")
        cy, choked, asked = (self.chat.join(nick, "#a") for nick in ("cy", "di", "ed"))
        tagged = self.chat.join("fi", "#a", caps="server-time")
        together: list[tuple[list[Any], bytes]] = []
        server = self.chat.factory.server
        server._send_to_all = lambda them, lines: together.append((them, lines))
        for one in (cy, choked, asked, tagged):
            one.protocol.session._way = one
        choked.protocol.session.choke()
        self.chat.hush(al, cy, choked, asked, tagged)
        # In the turn in which something is said, one client is told something else as well.
        asked.feed(b"PING z\r\n")
        al.feed(b"PRIVMSG #a :one\r\nPRIVMSG #a :two\r\n")
        self.chat.turn()
        said = [":al!~al@192.168.1.1 PRIVMSG #a :one", ":al!~al@192.168.1.1 PRIVMSG #a :two"]
        got = {tuple(them): lines for them, lines in together if them}
        self.assertEqual({(cy,), (tagged,)}, set(got))
        self.assertEqual("".join(f"{line}\r\n" for line in said).encode(), got[cy,])
        self.assertEqual(2, got[tagged,].count(b"@time="))
        self.assertEqual(said, asked.read()[-2:])
        self.assertEqual([], choked.read())

    def test_more_than_the_sendq(self) -> None:
        """A turn with more than a client may have waiting ends that client, as it did before."""
        chat = Chat(sendq=2000)
        speaker, listener = chat.join("al", "#a"), chat.join("bo", "#a")
        chat.hush(speaker, listener)
        speaker.feed(b"PRIVMSG #a :" + b"x" * 400 + b"\r\n")
        chat.turn()
        self.assertIn(b"x" * 400, listener.transport.value())
        speaker.feed((b"PRIVMSG #a :" + b"x" * 400 + b"\r\n") * 6)
        chat.turn()
        self.assertIn(b"SendQ exceeded", listener.transport.value())
        self.assertIn("QUIT", " ".join(speaker.read()))
