"""WebSocket frames: lines in, lines out, and the ends that RFC 6455 has for what breaks its rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from wsproto.connection import Connection, ConnectionType
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    TextMessage,
)

from myproject_chat.websocket import BINARY, GOING_AWAY, NORMAL, TEXT, Conversation, Framer, choose

LIMIT = 1000


class Peer:
    """A client, by the library's other half."""

    def __init__(self) -> None:
        self.connection = Connection(ConnectionType.CLIENT)

    def says(self, *events: Event) -> bytes:
        return b"".join(self.connection.send(event) for event in events)

    def reads(self, data: bytes) -> list[Event]:
        self.connection.receive_data(data)
        return list(self.connection.events())


def masked(first: int, payload: bytes) -> bytes:
    """A frame with a mask that changes nothing."""
    return bytes((first, 0x80 | len(payload), 0, 0, 0, 0)) + payload


class ChoiceTests(SynchronousTestCase):
    def test_the_clients_order_counts(self) -> None:
        self.assertEqual(TEXT, choose(["mqtt", TEXT, BINARY]))
        self.assertEqual(BINARY, choose([BINARY, TEXT]))
        self.assertIsNone(choose(["mqtt"]))


class ConversationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.peer = Peer()
        self.ours = Conversation(Framer(binary=False), LIMIT)

    def ended(self, data: bytes) -> int:
        """The code that bytes of the peer's end the conversation with."""
        self.assertEqual([], self.ours.receive(data))
        self.assertTrue(self.ours.over)
        (close,) = self.peer.reads(self.ours.take_reply())
        assert isinstance(close, CloseConnection)
        self.assertEqual(b"", self.ours.send([b"more\r\n"]))
        return int(close.code)

    def test_messages_of_either_kind_are_lines(self) -> None:
        data = self.peer.says(TextMessage("NICK é"), BytesMessage(b"USER \xff"))
        self.assertEqual(["NICK é".encode(), b"USER \xff"], self.ours.receive(data))
        self.assertFalse(self.ours.reply)

    def test_fragments_are_put_together_around_a_ping(self) -> None:
        half = self.peer.says(TextMessage("PRIV", message_finished=False), Ping(b"x"))
        self.assertEqual([], self.ours.receive(half))
        self.assertEqual([Pong(b"x")], self.peer.reads(self.ours.take_reply()))
        self.assertEqual([b"PRIVMSG"], self.ours.receive(self.peer.says(TextMessage("MSG"))))

    def test_of_several_pings_the_last_is_answered(self) -> None:
        self.ours.receive(self.peer.says(*[Ping(b"%d" % number) for number in range(1000)]))
        self.assertEqual([Pong(b"999")], self.peer.reads(self.ours.take_reply()))
        self.assertFalse(self.ours.reply)

    def test_lines_are_sent_a_frame_each_in_the_agreed_kind(self) -> None:
        lines = [b"PING a\r\n", b"x" * 300 + b"\r\n", b"caf\xe9\r\n"]
        texts = ["PING a", "x" * 300, "caf\N{REPLACEMENT CHARACTER}"]
        self.assertEqual(
            [TextMessage(one) for one in texts], self.peer.reads(self.ours.send(lines))
        )
        together = self.peer.reads(self.ours.send([b"".join(lines[:2]), lines[2]]))
        self.assertEqual([TextMessage(one) for one in texts], together)
        binary = Conversation(Framer(binary=True), LIMIT)
        heard = Peer().reads(binary.send(lines))
        self.assertEqual([BytesMessage(line[:-2]) for line in lines], heard)

    def test_what_goes_to_many_is_framed_once(self) -> None:
        framer = Framer(binary=False)
        piece = b"PRIVMSG #a :x\r\n"
        sent = [Conversation(framer, LIMIT).send([piece]) for _ in range(3)]
        self.assertIs(sent[0], sent[2])
        self.assertEqual([TextMessage("y")], self.peer.reads(framer.frame([b"y\r\n"])))

    def test_a_message_at_the_limit_and_one_beyond(self) -> None:
        self.assertEqual(1, len(self.ours.receive(self.peer.says(TextMessage("x" * LIMIT)))))
        self.assertEqual(1009, self.ended(self.peer.says(TextMessage("x" * (LIMIT + 1)))))

    def test_fragments_beyond_the_limit_together(self) -> None:
        part = self.peer.says(TextMessage("x" * LIMIT, message_finished=False))
        self.assertEqual([], self.ours.receive(part))
        self.assertEqual(1009, self.ended(self.peer.says(TextMessage("x", message_finished=False))))

    def test_text_that_is_not_utf8(self) -> None:
        self.assertEqual(1007, self.ended(masked(0x81, b"caf\xe9")))

    def test_what_breaks_the_protocol(self) -> None:
        for data in (b"\x81\x01x", masked(0xC1, b"x"), masked(0x83, b"x"), masked(0x80, b"x")):
            self.setUp()
            self.assertEqual(1002, self.ended(data))

    def test_lines_before_what_breaks_the_protocol_count(self) -> None:
        self.assertEqual(
            [b"QUIT"], self.ours.receive(self.peer.says(TextMessage("QUIT")) + b"\xff\xff")
        )
        self.assertTrue(self.ours.over)
        self.assertEqual([], self.ours.receive(self.peer.says(TextMessage("NICK x"))))

    def test_a_client_that_leaves_is_answered(self) -> None:
        self.assertEqual(NORMAL, self.ended(self.peer.says(CloseConnection(NORMAL))))

    def test_we_leave_and_wait_for_the_answer(self) -> None:
        heard = self.peer.reads(self.ours.close(GOING_AWAY))
        self.assertEqual([CloseConnection(GOING_AWAY, "")], heard)
        self.assertEqual(b"", self.ours.close(NORMAL))
        late = masked(0x81, b"NICK late") + masked(0x89, b"ping")
        self.assertEqual(
            ([], False, False), (self.ours.receive(late), self.ours.over, self.ours.reply)
        )
        self.ours.receive(self.peer.says(CloseConnection(GOING_AWAY)))
        self.assertTrue(self.ours.over)
        self.assertFalse(self.ours.reply)

    @given(st.lists(st.binary(max_size=200)), st.lists(st.integers(1, 50)), st.booleans())
    def test_any_cut_gives_the_same_lines(
        self, messages: list[bytes], cuts: list[int], fragmented: bool
    ) -> None:
        peer, ours = Peer(), Conversation(Framer(binary=True), LIMIT)
        data = b""
        for message in messages:
            first = 7 if fragmented else 0
            if first:
                data += peer.says(BytesMessage(message[:first], message_finished=False))
            data += peer.says(BytesMessage(message[first:]))
        lines: list[bytes] = []
        for cut in cuts:
            lines += ours.receive(data[:cut])
            data = data[cut:]
        self.assertEqual(messages, lines + ours.receive(data))

    @given(st.lists(st.binary(max_size=300)))
    def test_any_bytes_end_in_order(self, chunks: list[bytes]) -> None:
        ours = Conversation(Framer(binary=False), LIMIT)
        for chunk in chunks:
            ours.receive(chunk)
        Peer().reads(ours.take_reply())
        ours.close(NORMAL)
        self.assertEqual(b"", ours.send([b"x\r\n"]))

    @given(st.lists(st.text(max_size=400).map(lambda text: text.replace("\n", "").encode())))
    def test_what_is_sent_is_what_is_read(self, lines: list[bytes]) -> None:
        heard = Peer().reads(
            Conversation(Framer(binary=False), LIMIT).send([line + b"\r\n" for line in lines])
        )
        self.assertEqual(
            [line.decode() for line in lines], [getattr(one, "data", None) for one in heard]
        )
