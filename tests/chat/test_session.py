"""The session: limits, people without a client, deadlines, slow readers, and any bytes at all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.commands import COMMANDS
from tests.chat.harness import Chat, Client

NOTICE = (
    ":irc.example NOTICE * :This is myproject, a chat server that speaks IRC. Connect with an IRC"
    " client such as irssi (irssi -c 10.0.0.1 -p 12345), WeeChat or HexChat; or go on by hand: type"
    " NICK yourname, then USER yourname 0 * :Your Name"
)


class LimitTests(SynchronousTestCase):
    def test_a_line_too_long_gets_417_once_and_the_next_is_read(self) -> None:
        al = Chat().join("al")
        self.assertEqual(
            [":irc.example 417 al :That line was too long", ":irc.example PONG irc.example :x"],
            al.type("PRIVMSG al :" + "x" * 5000, "PING x"),
        )

    def test_bytes_that_are_not_utf8_get_fail_and_do_nothing(self) -> None:
        chat = Chat()
        al, bo = chat.join("al"), chat.join("bo")
        al.feed(b"PRIVMSG bo :hi\xaa\r\nPRIVMSG bo :\xc3\xa9\r\n")
        text = "That was not UTF-8, and this server takes nothing else"
        self.assertEqual([f":irc.example FAIL PRIVMSG INVALID_UTF8 :{text}"], al.read())
        self.assertEqual([":al!~al@192.168.1.1 PRIVMSG bo :é"], bo.read())

    def test_a_relayed_line_is_cut_between_two_characters(self) -> None:
        chat = Chat()
        al, bo = chat.join("al"), chat.join("bo")
        al.type("PRIVMSG bo :" + "é" * 245)
        (line,) = bo.read()
        self.assertLessEqual(len(line.encode()), 510)
        self.assertEqual({"é"}, set(line.split(" :", 1)[1]))

    def test_what_is_sent_back_in_an_error_is_one_word_that_fits(self) -> None:
        al = Chat().join("al")
        self.assertEqual(
            [
                ":irc.example 401 al a :No such nick",
                ":irc.example 401 al * :No such nick",
                f":irc.example 401 al {'x' * 100} :No such nick",
            ],
            al.type("WHOIS :a b", "WHOIS : ", "WHOIS " + "x" * 200)[::2],
        )

    def test_lines_without_a_command_are_nothing(self) -> None:
        self.assertEqual([], Chat().connect().type("", "  ", "@a=b", ":src", "\0"))


class PersonTests(SynchronousTestCase):
    """Somebody who connects with netcat, or a browser."""

    def test_who_types_something_that_is_not_irc_is_told_once_what_this_is(self) -> None:
        for line in ("hello", "GET / HTTP/1.1", "JOIN #a"):
            first, second = Chat().connect().type(line)
            self.assertEqual(NOTICE, first)
            self.assertIn(" 451 " if line.startswith("JOIN") else " 421 ", second)

    def test_they_are_told_only_once(self) -> None:
        client = Chat().connect()
        client.type("hello")
        self.assertEqual(["421"], client.codes("Host: x"))
        client.chat.wait(10)
        self.assertEqual([], client.read())

    def test_who_says_nothing_is_told_after_a_while(self) -> None:
        client = Chat().connect()
        client.chat.wait(4)
        client.feed(b"\r\n")
        self.assertEqual([], client.read())
        client.chat.wait(1)
        self.assertEqual([NOTICE], client.read())
        client.chat.wait(20)
        self.assertEqual([], client.read())
        self.assertEqual(["421"], client.codes("hello"))

    def test_an_irc_client_is_never_told(self) -> None:
        for first in ("CAP LS 302", "NICK al", "PASS x", "PING x"):
            client = Chat().connect()
            client.type(first)
            client.chat.wait(10)
            self.assertEqual([], client.read(), first)
            self.assertEqual(["421"], client.codes("hello"), first)

    def test_where_they_are_is_left_out_when_it_is_not_known(self) -> None:
        chat = Chat()
        session = chat.server.connect(_NoLink(), "::1")
        session.receive(b"hello\r\n")
        self.assertEqual(b"0::1", session.host)
        session.flush()


class _NoLink:
    """Goes nowhere."""

    def sender(self) -> Callable[[bytes], object]:
        return self.send

    def send(self, lines: bytes) -> None:
        assert b"irssi, WeeChat" in lines

    def reached(self) -> None: ...

    def way(self) -> None: ...

    def close(self, last: bytes) -> None: ...

    def abort(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class DeadlineTests(SynchronousTestCase):
    def test_who_does_not_register_in_time_is_closed(self) -> None:
        chat = Chat(registration_timeout=20.0)
        client = chat.connect()
        client.type("NICK al")
        chat.wait(19)
        self.assertEqual([], client.read())
        chat.wait(1)
        self.assertEqual(
            ["ERROR :Closing link: 192.168.1.1 (Registration timed out)"], client.read()
        )
        self.assertTrue(client.transport.disconnecting)

    def test_who_is_silent_is_pinged_and_stays_if_they_answer(self) -> None:
        chat = Chat(ping_interval=30.0, ping_timeout=10.0)
        al = chat.join("al")
        for _ in range(3):
            chat.wait(31)
            self.assertEqual(["PING irc.example"], al.read())
            self.assertEqual([], al.type("PONG irc.example"))

    def test_who_does_not_answer_is_closed_and_others_see_why(self) -> None:
        chat = Chat(ping_interval=30.0, ping_timeout=10.0)
        al, bo = chat.join("al", "#a"), chat.join("bo", "#a")
        chat.hush(al, bo)
        for _ in range(41):
            chat.wait(1)
            bo.feed(b"PONG x\r\n")
        self.assertEqual(
            ["PING irc.example", "ERROR :Closing link: 192.168.1.1 (Ping timeout: 40 seconds)"],
            al.read(),
        )
        self.assertEqual([":al!~al@192.168.1.1 QUIT :Ping timeout: 40 seconds"], bo.read())

    def test_a_clock_that_jumps_pings_before_it_closes(self) -> None:
        chat = Chat(ping_interval=30.0, ping_timeout=10.0)
        al = chat.join("al")
        chat.clock.advance(500)
        self.assertEqual(["PING irc.example"], al.read())
        chat.clock.advance(1)
        self.assertEqual([], al.type("PONG x"))

    def test_activity_puts_the_ping_off(self) -> None:
        chat = Chat(ping_interval=30.0)
        al = chat.join("al")
        for _ in range(10):
            chat.wait(20)
            self.assertEqual(["PONG"], al.codes("PING x"))

    def test_who_does_not_read_the_goodbye_is_cut(self) -> None:
        chat = Chat()
        client = chat.connect()
        client.type("QUIT")
        chat.wait(4)
        self.assertFalse(client.transport.cut)
        chat.wait(2)
        self.assertTrue(client.transport.cut)


class SlowReaderTests(SynchronousTestCase):
    def test_what_a_full_transport_cannot_take_waits_and_goes_when_it_can(self) -> None:
        chat = Chat()
        al, bo = chat.join("al"), chat.join("bo")
        bo.protocol.pauseProducing()
        al.type("PRIVMSG bo :one", "PRIVMSG bo :two")
        self.assertEqual([], bo.read())
        bo.protocol.resumeProducing()
        self.assertEqual(["PRIVMSG", "PRIVMSG"], [line.split()[1] for line in bo.read()])
        bo.protocol.pauseProducing()
        bo.protocol.resumeProducing()
        self.assertEqual([], bo.read())

    def test_over_the_sendq_they_are_closed_and_others_see_why(self) -> None:
        chat = Chat(sendq=10_000)
        al, bo, eve = chat.join("al", "#a"), chat.join("bo", "#a"), chat.join("eve", "#a")
        chat.hush(al, bo)
        bo.protocol.pauseProducing()
        for _ in range(30):
            al.type("PRIVMSG #a :" + "x" * 400)
        self.assertEqual(["ERROR :Closing link: 192.168.1.1 (SendQ exceeded)"], bo.read())
        self.assertTrue(bo.transport.disconnecting)
        self.assertNotIn(b"bo", chat.server.network.users)
        quits = [line for line in eve.read() if " PRIVMSG " not in line]
        self.assertEqual([":bo!~bo@192.168.1.1 QUIT :SendQ exceeded"], quits)
        self.assertEqual([], al.type("PRIVMSG #a :on we go"))

    def test_one_turn_cannot_get_around_the_bound(self) -> None:
        chat = Chat(sendq=10_000, motd=b"x" * 300)
        al = chat.join("al")
        al.feed(b"MOTD\r\n" * 5000)
        self.assertEqual(["ERROR :Closing link: 192.168.1.1 (SendQ exceeded)"], al.read())

    def test_who_is_lost_before_the_turn_ends_is_only_lost(self) -> None:
        chat = Chat(sendq=10_000, motd=b"x" * 300)
        al, bo = chat.join("al", "#a"), chat.join("bo", "#a")
        chat.hush(bo)
        al.feed(b"MOTD\r\n" * 100)
        al.vanish()
        self.assertEqual([":al!~al@192.168.1.1 QUIT :Connection closed"], bo.read())


BYTES = st.binary(max_size=20)
VERBS = st.sampled_from(sorted(COMMANDS))
WORDS = (
    st.sampled_from(
        [
            b"#a",
            b"#b",
            b"al",
            b"bo",
            b"*",
            b"0",
            b"LS",
            b"REQ",
            b"END",
            b"+o-v",
            b"+lkb",
            b"a,b,#a",
            b":x y",
        ]
    )
    | BYTES
)
LINES = st.builds(
    lambda verb, words, end: verb + b" " + b" ".join(words) + end,
    VERBS,
    st.lists(WORDS, max_size=4),
    st.sampled_from([b"\r\n", b"\n", b""]),
)


class AnyBytesTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=150)
    @given(st.lists(st.tuples(st.integers(0, 2), LINES | BYTES), max_size=25))
    def test_no_bytes_at_any_point_raise_or_leave_half_a_session(
        self, chunks: list[tuple[int, bytes]]
    ) -> None:
        chat = Chat()
        clients = [
            chat.connect(),
            chat.join("al", "#a"),
            chat.join("bo", "#a", caps="message-tags"),
        ]
        for index, chunk in chunks:
            clients[index].feed(chunk)
            chat.turn()
        network = chat.server.network
        for session in chat.server.sessions:
            self.assertEqual(session.user is not None, session.state.value == "registered")
        self.assertEqual(
            {id(session.user) for session in chat.server.sessions if session.user is not None},
            {id(user) for user in network.users.values()},
        )
        for channel in network.channels.values():
            self.assertTrue(channel.members)
            for member in channel.members:
                self.assertIn(channel, member.channels)
        for client in clients:
            for line in client.transport.value().split(b"\r\n")[:-1]:
                body = line.split(b" ", 1)[1] if line.startswith(b"@") else line
                self.assertLessEqual(len(body), 510)
                line.decode("utf-8")
                self.assertNotIn(b"\0", line)

    @settings(deadline=None, max_examples=100)
    @given(st.lists(LINES, max_size=10).map(b"".join), st.data())
    def test_the_same_bytes_in_any_cuts_give_the_same_answers(
        self, stream: bytes, data: st.DataObject
    ) -> None:
        cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
        answers = []
        for points in ([], cuts):
            chat = Chat()
            clients = [chat.join("al", "#a"), chat.join("bo", "#a")]
            for start, end in zip([0, *points], [*points, len(stream)], strict=True):
                clients[0].feed(stream[start:end])
                chat.turn()
            answers.append([client.transport.value() for client in clients])
        self.assertEqual(answers[0], answers[1])


class OrderTests(SynchronousTestCase):
    def test_a_message_is_written_to_its_receiver_before_its_sender_reads_pong(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", caps="echo-message"), chat.join("bo")
        order: list[Client] = []
        for client in (al, bo):
            client.transport.on_write = partial(order.append, client)
        al.feed(b"PING 1\r\nPRIVMSG bo :x\r\nPING 2\r\n")
        chat.turn()
        self.assertEqual([bo, al], order)
