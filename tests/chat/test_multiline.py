"""Multiline: batches put together, refused at the first line that is wrong, and taken apart again."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.multiline import (
    CONCAT_TAG,
    MAX_BYTES,
    MAX_LINES,
    Assembly,
    Line,
    Multiline,
    Refusal,
    capability_value,
)

Sent = list[tuple[bytes, bool]]
TEXTS = st.text("ab \u00e9", max_size=12).map(str.encode)


def tags_of(*, concat: bool) -> tuple[bytes, ...]:
    return (b"batch", CONCAT_TAG) if concat else (b"batch",)


def assemble(lines: Sent, command: bytes = b"PRIVMSG") -> Multiline | Refusal:
    """Send a batch, to its end or to the first refusal."""
    batch = Assembly(b"#Chan")
    for text, concat in lines:
        refusal = batch.add(command, (b"#chan", text), tags_of(concat=concat))
        if refusal is not None:
            return refusal
    return batch.finish()


class MultilineTests(SynchronousTestCase):
    def whole(self, lines: Sent, command: bytes = b"PRIVMSG") -> Multiline:
        message = assemble(lines, command)
        assert isinstance(message, Multiline), message
        return message

    def code(self, lines: Sent) -> tuple[bytes, tuple[bytes, ...]]:
        refusal = assemble(lines)
        assert isinstance(refusal, Refusal), refusal
        return refusal.code, refusal.context

    def one(self, command: bytes, params: tuple[bytes, ...], *tags: bytes) -> Refusal:
        refusal = Assembly(b"#chan").add(command, params, (b"batch", *tags))
        assert refusal is not None
        return refusal

    def test_the_example_of_the_specification(self) -> None:
        sent = [(b"hello", False), (b"", False), (b"how is ", False), (b"everyone?", True)]
        for command in (b"PRIVMSG", b"NOTICE"):
            message = self.whole(sent, command)
            self.assertEqual((command, b"#Chan"), (message.command, message.target))
            self.assertEqual(b"hello\n\nhow is everyone?", message.text())
            self.assertEqual([b"hello", b"how is ", b"everyone?"], list(message.fallback()))
            self.assertEqual(tuple(Line(*line) for line in sent), message.lines)

    def test_a_first_line_has_nothing_to_go_on_with(self) -> None:
        self.assertEqual((Line(b"a", concat=False),), self.whole([(b"a", True)]).lines)

    def test_blank_lines_around_are_kept(self) -> None:
        message = self.whole([(b"", False), (b"a", False), (b"", False)])
        self.assertEqual(b"\na\n", message.text())
        self.assertEqual([b"a"], list(message.fallback()))

    def test_nothing_but_blank_lines_or_none_at_all(self) -> None:
        for sent in ([], [(b"", False)], [(b"", False)] * 3):
            self.assertEqual((b"MULTILINE_INVALID", ()), self.code(sent))

    def test_a_blank_line_cannot_go_on(self) -> None:
        self.assertEqual((b"MULTILINE_INVALID", ()), self.code([(b"a", False), (b"", True)]))

    def test_as_many_lines_as_allowed_and_one_more(self) -> None:
        self.whole([(b"x", False)] * MAX_LINES)
        self.whole([(b"x", True)] * MAX_LINES)
        self.assertEqual(
            (b"MULTILINE_MAX_LINES", (b"32",)), self.code([(b"x", True)] * (MAX_LINES + 1))
        )

    def test_as_many_bytes_as_allowed_and_one_more(self) -> None:
        """Line feeds count, where there are any."""
        half = b"x" * (MAX_BYTES // 2)
        self.whole([(half, False), (half, True)])
        self.whole([(half, False), (half[1:], False)])
        refused = (b"MULTILINE_MAX_BYTES", (b"4096",))
        self.assertEqual(refused, self.code([(half, False), (half, False)]))
        self.assertEqual(refused, self.code([(half, False), (half + b"x", True)]))

    def test_another_target(self) -> None:
        refusal = self.one(b"PRIVMSG", (b"#other", b"x"))
        self.assertEqual((b"#chan", b"#other"), refusal.context)
        self.assertEqual(b"MULTILINE_INVALID_TARGET", refusal.code)
        for target in (b"", b":", b"a b", b"x" * 600):
            _, context = self.one(b"PRIVMSG", (target, b"x")).context
            self.assertTrue(context and b" " not in context and len(context) <= 64)

    def test_lines_that_do_not_belong_there(self) -> None:
        for refusal in (
            self.one(b"TAGMSG", (b"#chan",)),
            self.one(b"JOIN", (b"#chan",)),
            self.one(b"PRIVMSG", (b"#chan",)),
            self.one(b"PRIVMSG", ()),
            self.one(b"PRIVMSG", (b"#chan", b"x", b"y")),
            self.one(b"PRIVMSG", (b"#chan", b"x"), b"+typing"),
        ):
            self.assertEqual((b"MULTILINE_INVALID", ()), refusal[:2])

    def test_privmsg_and_notice_do_not_mix(self) -> None:
        batch = Assembly(b"#chan")
        self.assertIsNone(batch.add(b"PRIVMSG", (b"#chan", b"x"), (b"batch",)))
        refusal = batch.add(b"NOTICE", (b"#chan", b"x"), (b"batch",))
        self.assertEqual(b"MULTILINE_INVALID", refusal.code if refusal else None)

    def test_what_clients_are_told(self) -> None:
        self.assertEqual(b"max-bytes=4096,max-lines=32", capability_value())

    @settings(deadline=None, max_examples=300)
    @given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=40))
    def test_the_message_is_what_was_sent_or_there_is_a_reason(self, sent: Sent) -> None:
        result = assemble(sent)
        if isinstance(result, Refusal):
            blank = not any(text for text, _ in sent)
            goes_on = any(concat and not text for text, concat in sent)
            self.assertTrue(blank or goes_on or len(sent) > MAX_LINES)
            return
        expected = b"".join(text if concat else b"\n" + text for text, concat in sent)
        self.assertEqual(expected.removeprefix(b"" if sent[0][1] else b"\n"), result.text())
        self.assertLessEqual(len(result.text()), MAX_BYTES)
        fallback = list(result.fallback())
        self.assertTrue(fallback and all(fallback))
        self.assertEqual(result.text().replace(b"\n", b""), b"".join(fallback))

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.integers(0, 700), min_size=1, max_size=34), st.booleans())
    def test_the_limits_are_those_of_the_whole_message(
        self, sizes: list[int], concat: bool
    ) -> None:
        sent = [(b"x" * (size + concat), concat) for size in sizes]
        size = sum(len(text) for text, _ in sent) + (0 if concat else len(sent) - 1)
        fits = size <= MAX_BYTES and len(sent) <= MAX_LINES and any(text for text, _ in sent)
        self.assertEqual(fits, isinstance(assemble(sent), Multiline))
