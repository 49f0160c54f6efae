"""What happens to those who send faster than they may: it waits, up to a bound, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Never

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.configuration import Fakelag, Limits, Operator
from myproject_chat.configuration.fields import Fingerprint, Network
from tests.chat.harness import Chat, Client

# A burst of ten, then two a second: the defaults.
SLOW = Fakelag()
FINGERPRINT = "cd" * 32


def hurried(**more: Any) -> Chat:
    return Chat(fakelag=SLOW, **more)


def broken(*_: object) -> Never:
    raise ZeroDivisionError


class FakelagTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = hurried()
        self.al = self.chat.join("al", caps="echo-message")
        self.chat.wait(10)

    def type(self, *lines: str) -> None:
        self.al.feed("".join(line + "\r\n" for line in lines).encode())

    def test_a_burst_is_obeyed_at_once_and_more_in_time(self) -> None:
        self.type(*(f"PRIVMSG bo{n} :hello" for n in range(20)))
        counts = [len(self.al.read())]
        for _ in range(6):
            self.chat.wait(1)
            counts.append(len(self.al.read()))
        self.assertEqual([10, 2, 2, 2, 2, 2, 0], counts)

    def test_who_waits_is_read_and_so_is_alive(self) -> None:
        """Neither is the transport paused, nor does a ping that is answered late cost the connection."""
        self.type(*("LIST" for _ in range(50)))
        self.assertEqual("producing", self.al.transport.producerState)
        for _ in range(10):
            self.chat.wait(18)
            self.al.feed(b"PONG x\r\n")
        self.assertNotIn("ERROR", "".join(self.al.read()))

    def test_order_and_labels_are_kept(self) -> None:
        eve = self.chat.join("eve", caps="labeled-response batch")
        self.chat.wait(10)
        eve.feed(b"".join(b"@label=%d PING %d\r\n" % (n, n) for n in range(60)))
        self.chat.wait(10)
        expected = [f"@label={n} :irc.example PONG irc.example :{n}" for n in range(60)]
        self.assertEqual(expected, eve.read())

    def test_lines_too_long_wait_too(self) -> None:
        self.al.feed((b"x" * 600 + b"\r\n") * 12)
        self.assertEqual(10, len(self.al.read()))
        self.chat.wait(1)
        self.assertEqual(2, len(self.al.read()))

    def test_a_multiline_message_costs_little_more_than_a_message(self) -> None:
        caps = "draft/multiline batch labeled-response echo-message"
        eve = self.chat.join("eve", caps=caps)
        self.chat.wait(10)
        lines = ["BATCH +1 draft/multiline al", *["@batch=1 PRIVMSG al :words"] * 30, "BATCH -1"]
        self.assertIn("BATCH", "".join(eve.type(*lines)))

    def test_who_goes_meanwhile_leaves_nothing_behind(self) -> None:
        self.type(*("LIST" for _ in range(50)))
        self.assertEqual(1, len(self.chat.server.lagging))
        self.al.vanish()
        self.assertEqual(0, len(self.chat.server.lagging))
        self.chat.wait(10)

    def test_who_is_closed_meanwhile_is_obeyed_no_more(self) -> None:
        self.type(*("LIST" for _ in range(50)))
        self.al.read()
        self.al.protocol.session.close(b"enough")
        self.chat.wait(3)
        self.assertEqual(1, len(self.al.read()))
        self.assertEqual(0, len(self.chat.server.lagging))

    def test_a_bug_in_a_line_that_waited_ends_that_client_alone(self) -> None:
        eve = self.chat.join("eve")
        self.chat.wait(10)
        commands = dict(self.chat.server.commands)
        commands[b"TIME"] = commands[b"TIME"]._replace(run=broken)
        self.chat.server.commands = commands
        for client in self.al, eve:
            client.feed(b"".join(b"PING %d\r\n" % n for n in range(42)))
        self.al.feed(b"TIME\r\n")
        with self.assertRaises(ExceptionGroup):
            self.chat.wait(2)
        self.chat.wait(3)
        self.assertTrue(self.al.transport.cut)
        self.assertEqual(42, len(eve.read()))


class RecvqTests(SynchronousTestCase):
    def test_too_many_lines_end_it(self) -> None:
        chat = hurried(limits=Limits(recvq_lines=16))
        al = chat.join("al")
        chat.wait(10)
        al.feed(b"PING x\r\n" * 56)
        self.assertEqual(40, len(al.read()))
        al.feed(b"PING x\r\n")
        self.assertIn("RecvQ exceeded", al.read()[-1])

    def test_too_many_bytes_end_it(self) -> None:
        chat = hurried(limits=Limits(recvq_bytes=16384))
        al = chat.join("al")
        chat.wait(10)
        line = b"PING " + b"x" * 500 + b"\r\n"
        al.feed(line * 70)
        self.assertNotIn("ERROR", "".join(al.read()))
        al.feed(line * 4)
        self.assertIn("RecvQ exceeded", al.read()[-1])


class ExemptTests(SynchronousTestCase):
    def said(self, client: Client) -> int:
        return len(client.type(*("PING x" for _ in range(100))))

    def test_networks_that_are_exempt_are_not_slowed(self) -> None:
        chat = Chat(fakelag=Fakelag(exempt=(Network.parse("192.168.0.0/16"),)))
        self.assertEqual(100, self.said(chat.join("al")))

    def test_it_can_be_turned_off_and_on(self) -> None:
        chat = hurried()
        al = chat.join("al")
        chat.wait(10)
        self.assertEqual(40, self.said(al))
        chat.wait(40)
        al.read()
        chat.server.reload(replace(chat.server.settings, fakelag=Fakelag(enabled=False)))
        self.assertEqual(100, self.said(al))
        chat.server.reload(replace(chat.server.settings, fakelag=Fakelag(burst=5)))
        self.assertEqual(20, self.said(al))
        chat.wait(60)
        al.read()
        chat.server.reload(replace(chat.server.settings, fakelag=Fakelag(burst=10)))
        self.assertEqual(40, self.said(al))

    def test_an_operator_with_the_privilege_is_not_slowed(self) -> None:
        fingerprint = Fingerprint.parse(FINGERPRINT)
        boss = Operator(name="boss", fingerprint=fingerprint, privileges=("flood",))
        aide = Operator(name="aide", fingerprint=fingerprint, privileges=("kill",))
        chat = hurried(operators=(boss, aide))
        for name, expected in ("boss", 100), ("aide", 40):
            client = chat.join(name)
            client.protocol.session.fingerprint = FINGERPRINT.encode()
            client.type(f"OPER {name} x")
            chat.wait(10)
            client.read()
            self.assertEqual(expected, self.said(client))


LINES = st.sampled_from(
    [
        b"PING a",
        b"@label=1 PING b",
        b"@label=2 PRIVMSG al :to myself",
        b"PRIVMSG al :again",
        b"JOIN #a,#b",
        b"@label=3 JOIN #c",
        b"PART #a :gone",
        b"MODE #b +m",
        b"@label=4 MODE #b",
        b"NAMES #b",
        b"@label=5 WHOIS al",
        b"AWAY :out",
        b"AWAY",
        b"WHAT",
        b"PRIVMSG al :\xff",
        b"x" * 600,
        b"LIST",
        b"BATCH +1 draft/multiline al",
        b"@batch=1 PRIVMSG al :one",
        b"@batch=1;draft/multiline-concat PRIVMSG al :two",
        b"@label=6 BATCH -1",
        b"",
    ]
)
CAPS = "batch labeled-response echo-message draft/multiline message-tags"


class SameRepliesTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(LINES, max_size=60),
        st.lists(st.tuples(st.integers(1, 700), st.integers(0, 40)), min_size=1, max_size=12),
    )
    def test_whatever_comes_when_is_answered_as_if_there_were_no_hurry(
        self, lines: list[bytes], steps: list[tuple[int, int]]
    ) -> None:
        """Any lines, in any chunks, at any times; and what waits never exceeds its bound."""
        data = b"".join(line + b"\r\n" for line in lines)
        chats = Chat(limits=Limits(recvq_lines=64)), hurried(limits=Limits(recvq_lines=64))
        answers = []
        for chat in chats:
            al = chat.join("al", caps=CAPS)
            answers.append(self.answers(chat, al, data, steps))
        self.assertEqual(*answers)
        self.assertEqual(0, len(chats[1].server.lagging))

    def answers(
        self, chat: Chat, al: Client, data: bytes, steps: list[tuple[int, int]]
    ) -> list[str]:
        inbox, rest = al.protocol.session._inbox, data
        al.type("PRIVMSG al :begin")
        for size, pause in steps:
            chunk, rest = rest[:size], rest[size:]
            al.feed(chunk)
            self.assertLessEqual(len(inbox), 64)
            for _ in range(pause):
                chat.clock.advance(0.1)
        al.feed(rest)
        self.assertLessEqual(len(inbox), 64)
        chat.wait(110)
        # What is told of seconds is not the same, of course: idle, and since when there is a channel.
        timed = (" 317 ", " 329 ", "PING :irc")
        return [line for line in al.read() if not any(one in line for one in timed)]
