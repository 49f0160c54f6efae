"""Labels, commands that wait, and lines that wait for what they acknowledge."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.commands import COMMANDS, Command
from myproject_chat.response import framed, tagged
from myproject_chat.session import Session
from myproject_chat.wire import Message, parse
from tests.chat.harness import Chat, Client

LABELS = "batch labeled-response"

#: Lines as a server writes them.
LINES = st.lists(st.sampled_from([b":s NOTICE a :b\r\n", b"@time=t :s 001 a\r\n"]), max_size=4)


class FramedTests(SynchronousTestCase):
    """What becomes of an answer that has a label."""

    @given(LINES, st.binary(min_size=1, max_size=64))
    def test_the_label_is_on_the_first_line_and_every_line_is_there(
        self, lines: list[bytes], label: bytes
    ) -> None:
        label = label.translate(None, b"\0")
        answer = framed(lines, label, b"s", b"7")
        self.assertEqual(label, parse(answer[0][:-2]).tags[b"label"])
        self.assertEqual(1, sum(b"label" in parse(line[:-2]).tags for line in answer))
        bodies = [re.sub(b"^@[^ ]* ", b"", line) for line in answer]
        inside = bodies[1:-1] if len(lines) > 1 else bodies
        expected = [re.sub(b"^@[^ ]* ", b"", line) for line in lines]
        self.assertEqual(expected or [b":s ACK\r\n"], inside)

    def test_a_batch_by_itself_needs_no_other(self) -> None:
        batch = [b":s BATCH +1 x\r\n", b"@batch=1 :s FOO\r\n", b":s BATCH -1\r\n"]
        self.assertEqual(
            [tagged(batch[0], b"label=l"), *batch[1:]], framed(batch, b"l", b"s", b"7")
        )

    def test_a_batch_among_other_lines_is_in_the_one_around(self) -> None:
        lines = [
            b":s NOTICE a :b\r\n",
            b":s BATCH +1 x\r\n",
            b"@batch=1 :s FOO\r\n",
            b":s BATCH -1\r\n",
        ]
        self.assertEqual(
            [
                b"@label=l :s BATCH +7 labeled-response\r\n",
                b"@batch=7 :s NOTICE a :b\r\n",
                b"@batch=7 :s BATCH +1 x\r\n",
                b"@batch=1 :s FOO\r\n",
                b"@batch=7 :s BATCH -1\r\n",
                b":s BATCH -7\r\n",
            ],
            framed(lines, b"l", b"s", b"7"),
        )


class LabelTests(SynchronousTestCase):
    """Labels in a conversation."""

    def test_one_line_several_and_none(self) -> None:
        client = Chat().join("al", caps=LABELS)
        self.assertEqual(
            ["@label=a :irc.example PONG irc.example :x"], client.type("@label=a PING x")
        )
        self.assertEqual(["@label=b :irc.example ACK"], client.type("@label=b PONG x"))
        first, *inside, last = client.messages("@label=c LUSERS")
        self.assertEqual((b"BATCH", {b"label": b"c"}), (first.command, first.tags))
        reference = first.params[0][1:]
        self.assertEqual({reference}, {message.tags[b"batch"] for message in inside})
        self.assertEqual((b"BATCH", (b"-" + reference,)), (last.command, last.params))

    def test_errors_have_labels_too(self) -> None:
        client = Chat().join("al", caps=LABELS)
        line = "@label=a :irc.example 421 al NONSENSE :Unknown command"
        self.assertEqual([line], client.type("@label=a NONSENSE"))

    def test_who_has_not_negotiated_both_gets_none(self) -> None:
        for caps in ("batch", "labeled-response"):
            client = Chat().join("al", caps=caps)
            self.assertEqual([":irc.example PONG irc.example :x"], client.type("@label=a PING x"))

    def test_a_label_too_long_is_none(self) -> None:
        client = Chat().join("al", caps=LABELS)
        line = f"@label={'a' * 65} PING x"
        self.assertEqual([":irc.example PONG irc.example :x"], client.type(line))

    def test_what_others_hear_has_no_label(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a", caps=LABELS), chat.join("bo", "#a", caps=LABELS)
        al.read()
        self.assertEqual(["@label=a :irc.example ACK"], al.type("@label=a PRIVMSG #a :hi"))
        self.assertEqual([":al!~al@192.168.1.1 PRIVMSG #a :hi"], bo.read())

    def test_what_one_says_to_oneself_has_none_but_its_echo(self) -> None:
        al = Chat().join("al", caps=LABELS + " echo-message")
        line = ":al!~al@192.168.1.1 PRIVMSG al :hi"
        self.assertEqual([line, "@label=a " + line], al.type("@label=a PRIVMSG al :hi"))

    def test_the_farewell_is_an_answer(self) -> None:
        client = Chat().join("al", caps=LABELS)
        (line,) = client.type("@label=a QUIT")
        self.assertTrue(line.startswith("@label=a ERROR"), line)


class WaitingTests(SynchronousTestCase):
    """Commands that have to wait."""

    def setUp(self) -> None:
        self.chat = Chat()
        self.gate: Deferred[str] = Deferred()
        self.ended: list[str] = []
        self.client = self.command(self.wait).join("al", "#a", caps=LABELS)

    def command(self, run: Callable[[Session, Message], Any]) -> Chat:
        self.chat.server.commands = {**COMMANDS, b"WAIT": Command(0, True, run)}
        return self.chat

    async def wait(self, session: Session, _message: Message) -> None:
        session.say(b"NOTE", text=b"begun")
        try:
            word = await self.gate
        except ZeroDivisionError:
            word = "refused"
        finally:
            self.ended.append("ended")
        session.say(b"NOTE", text=word.encode())

    def test_what_is_sent_meanwhile_waits_its_turn(self) -> None:
        notes = [":irc.example NOTE :begun"]
        self.assertEqual(notes, self.client.type("WAIT", "PING 1", "PING 2"))
        self.assertEqual("paused", self.client.transport.producerState)
        self.assertEqual([], self.client.type("PING 3"))
        self.gate.callback("done")
        pongs = [f":irc.example PONG irc.example :{number}" for number in (1, 2, 3)]
        self.assertEqual([":irc.example NOTE :done", *pongs], self.client.read())
        self.assertEqual("producing", self.client.transport.producerState)

    def test_what_others_say_does_not_wait_and_is_no_part_of_the_answer(self) -> None:
        other = self.chat.join("bo", "#a")
        self.client.read()
        self.assertEqual([], self.client.type("@label=a WAIT"))
        other.type("PRIVMSG #a :hi")
        self.assertEqual([":bo!~bo@192.168.1.1 PRIVMSG #a :hi"], self.client.read())
        self.gate.callback("done")
        answer = self.client.messages()
        self.assertEqual([b"BATCH", b"NOTE", b"NOTE", b"BATCH"], [m.command for m in answer])
        self.assertEqual(b"a", answer[0].tags[b"label"])

    def test_a_failure_is_the_commands_affair(self) -> None:
        self.client.type("WAIT")
        self.gate.errback(ZeroDivisionError())
        self.assertEqual([":irc.example NOTE :refused"], self.client.read())

    def test_what_is_there_already_is_not_waited_for(self) -> None:
        self.gate = succeed("done")
        self.assertEqual(2, len(self.client.type("WAIT")))
        self.assertEqual("producing", self.client.transport.producerState)

    def test_who_leaves_meanwhile_is_left_alone(self) -> None:
        for leave in (Client.vanish, lambda client: client.protocol.session.close(b"x")):
            self.gate, self.ended = Deferred(), []
            client = self.chat.join("cy")
            client.type("WAIT", "PING 1")
            leave(client)
            client.read()
            self.gate.callback("done")
            self.assertEqual((["ended"], []), (self.ended, client.read()))

    def test_a_bug_ends_the_connection(self) -> None:
        async def wrong(_session: Session, _message: Message) -> None:
            await self.gate
            raise ZeroDivisionError

        client = self.command(wrong).join("cy")
        client.type("WAIT")
        self.gate.callback("done")
        self.assertTrue(client.transport.cut)
        self.failureResultOf(self.gate, ZeroDivisionError)


class HoldTests(SynchronousTestCase):
    """An acknowledgement waits until what it acknowledges is safe."""

    def test_it_and_all_behind_it_wait(self) -> None:
        chat = Chat()
        client, other = chat.join("al"), chat.join("bo")
        client.feed(b"PING 1\r\n")
        client.protocol.session.hold(5)
        self.assertEqual([], client.type("PING 2"))
        self.assertEqual(1, len(other.type("PING x")))
        chat.server.wrote(4)
        self.assertEqual([], client.read())
        chat.server.wrote(5)
        self.assertEqual(2, len(client.read()))
        self.assertEqual(1, len(client.type("PING 3")))

    def test_a_farewell_waits_with_them(self) -> None:
        chat = Chat()
        client = chat.join("al")
        client.protocol.session.hold(1)
        self.assertEqual([], client.type("QUIT"))
        chat.server.wrote(1)
        self.assertEqual(1, len(client.read()))
