"""What is said in a channel is handed out in one piece, and nobody can tell the difference."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.channel import Channel
from myproject_chat.delivery import Outgoing, broadcast
from myproject_chat.state import User
from tests.chat.harness import Chat, Client

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
_STEPS: list[Any] = [(client, line) for client in range(4) for line in _LINES]
_STEPS += ["turn", "turn", "turn", "turn", "lose", "choke", "unchoke"]


class _Two:
    """Two servers that the same things happen to; one of them sends each message as it is said."""

    def __init__(self, capabilities: list[str]) -> None:
        self.chats = [Chat(), Chat()]
        self.chats[1].server.tell = _at_once  # type: ignore[method-assign]
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

    def do(self, step: Any) -> None:
        for chat, clients in zip(self.chats, self.clients, strict=True):
            if step == "turn":
                chat.turn()
            elif step == "lose" and 2 not in self.gone:
                clients[2].protocol.connectionLost(Failure(ConnectionDone()))
            elif step == "choke":
                clients[1].protocol.pauseProducing()
            elif step == "unchoke":
                clients[1].protocol.resumeProducing()
            elif not isinstance(step, str) and step[0] not in self.gone:
                clients[step[0]].feed(f"{step[1]}\r\n".encode())
        if step == "lose":
            self.gone.add(2)

    def told(self) -> list[list[bytes]]:
        """What each client of each of the two was told."""
        for chat, clients in zip(self.chats, self.clients, strict=True):
            clients[1].protocol.resumeProducing()
            chat.turn()
        return [[client.transport.value() for client in clients] for clients in self.clients]


def _at_once(channel: Channel, message: Outgoing, speaker: User, needs: int = 0) -> None:
    broadcast(list(channel.members), message, speaker, needs=needs)


class RoundTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat()

    @settings(max_examples=150)
    @given(
        st.lists(st.sampled_from(_CAPABILITIES), min_size=4, max_size=4),
        st.lists(st.sampled_from(_STEPS), max_size=30),
    )
    def test_nobody_can_tell_the_difference(self, capabilities: list[str], steps: Any) -> None:
        two = _Two(capabilities)
        for step in steps:
            two.do(step)
        one, other = two.told()
        self.assertEqual(other, one)

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
