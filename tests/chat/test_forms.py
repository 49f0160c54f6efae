"""Forms: lines that everybody is told, made once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.forms import Form, Open, fixed
from myproject_chat.numerics import RPL_ENDOFMOTD, RPL_LUSEROP, RPL_MOTD
from myproject_chat.wire import serialise
from tests.chat.harness import Chat

if TYPE_CHECKING:
    from myproject_chat.forms import Row
    from myproject_chat.server import Server

_TEXT = st.binary(max_size=600).map(lambda text: text.translate(None, b"\r\n"))


class FormTests(SynchronousTestCase):
    @given(nick=st.text("ab%", min_size=1, max_size=40), text=_TEXT)
    def test_any_text_is_what_it_would_be_without_a_form(self, nick: str, text: bytes) -> None:
        whom = nick.encode()
        form = Form(b"irc.example", [(RPL_MOTD, (), text), (RPL_ENDOFMOTD, (b"%s",), None)])
        self.assertEqual(
            serialise(b"irc.example", b"372", (whom,), text.replace(b"\0", b""))
            + serialise(b"irc.example", b"376", (whom, b"%s"), RPL_ENDOFMOTD.text),
            form.fill(whom, {}),
        )

    def test_fields_stand_in_words_and_in_text(self) -> None:
        text = Open(b"%(most)d of " + fixed(b"100%"))
        form = Form(b"irc.example", [(RPL_LUSEROP, (Open(b"%(operators)d"),), text)])
        filled = form.fill(b"al", {b"operators": 2, b"most": 3})
        self.assertEqual(b":irc.example 252 al 2 :3 of 100%\r\n", filled)

    def test_each_choice_has_a_form_which_is_made_once(self) -> None:
        asked = []

        def rows(server: Server, loud: bool) -> Iterator[Row]:
            asked.append(server)
            yield RPL_MOTD, (), b"ONE" if loud else b"one"

        server = Chat().server
        filled = [server.forms.of(rows, loud).fill(b"al", {}) for loud in (True, False) * 2]
        one = [b":irc.example 372 al :ONE\r\n", b":irc.example 372 al :one\r\n"]
        self.assertEqual(one * 2, filled)
        self.assertEqual([server] * 2, asked)


class WelcomeTests(SynchronousTestCase):
    def test_other_settings_are_told_from_then_on(self) -> None:
        chat = Chat(motd=b"one")
        client = chat.join("al")
        self.assertIn(":irc.example 372 al :one", client.type("MOTD"))
        chat.server.reload(replace(chat.server.settings, motd=b"100%"))
        self.assertIn(":irc.example 372 al :100%", client.type("MOTD"))
        self.assertIn(
            ":irc.example 372 bo :100%", chat.connect().type("NICK bo", "USER bo 0 * :Bo")
        )

    def test_a_line_of_the_day_that_is_too_long_is_cut_for_each_nick(self) -> None:
        chat = Chat(motd=("\N{EURO SIGN}" * 200).encode())
        for nick in ("a", "b" * 30):
            lines = chat.connect().type(f"NICK {nick}", "USER al 0 * :Al")
            (line,) = [line for line in lines if " 372 " in line]
            self.assertIn(len(line.encode()), (508, 509, 510))

    def test_each_line_has_its_time_for_those_who_want_it(self) -> None:
        client = Chat(motd=b"one\ntwo").connect()
        client.type("CAP REQ server-time")
        lines = client.type("NICK al", "USER al 0 * :Al", "CAP END")
        self.assertGreater(len(lines), 10)
        for line in lines:
            self.assertStartsWith(line, "@time=2001-09-09T01:46:40.000Z :irc.example ")

    def test_an_answer_with_a_label_is_a_batch_of_its_lines(self) -> None:
        client = Chat(motd=b"one\ntwo").connect()
        client.type("CAP REQ :batch labeled-response", "NICK al", "USER al 0 * :Al")
        begin, *lines, end = client.type("@label=x CAP END")
        self.assertStartsWith(begin, "@label=x :irc.example BATCH +")
        name = begin.split()[3].removeprefix("+")
        for line in lines:
            self.assertStartsWith(line, f"@batch={name} :irc.example ")
        self.assertEqual(f":irc.example BATCH -{name}", end)

    def assertStartsWith(self, line: str, start: str) -> None:
        self.assertEqual(start, line[: len(start)])
