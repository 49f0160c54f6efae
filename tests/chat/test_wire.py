"""The codec: one line taken apart and put together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.wire import (
    Message,
    clip,
    format_message,
    format_tags,
    parse,
    serialise,
    split_source,
)

VECTORS = Path(__file__).parent / "vectors"


def vectors(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text("utf-8"))
    return loaded


def message_of(atoms: dict[str, Any]) -> Message:
    source = atoms.get("source")
    return Message(
        atoms["verb"].encode(),
        tuple(param.encode() for param in atoms.get("params", ())),
        None if source is None else source.encode(),
        {name.encode(): value.encode() for name, value in atoms.get("tags", {}).items()},
    )


def without(bad: bytes) -> st.SearchStrategy[bytes]:
    """Bytes that hold none of these, nor NUL, CR, LF."""
    good = bytes(byte for byte in range(256) if byte not in bad + b"\0\r\n")
    return st.lists(st.sampled_from(good), min_size=1, max_size=12).map(bytes)


WORDS = without(b" :") | st.builds(lambda a, b: a + b":" + b, without(b" :"), without(b" "))
TAG_NAMES = without(b" ;=")
TAG_VALUES = st.binary(max_size=12).map(lambda value: value.replace(b"\0", b""))
MESSAGES = st.builds(
    lambda command, middles, last, source, tags: Message(command, (*middles, *last), source, tags),
    without(b" :@"),
    st.lists(WORDS, max_size=4).map(tuple),
    st.lists(st.just(b"") | without(b"") | st.just(b":) x"), max_size=1).map(tuple),
    st.none() | without(b" "),
    st.dictionaries(TAG_NAMES, TAG_VALUES, max_size=4),
)


class ParseTests(SynchronousTestCase):
    def test_every_split_vector_is_taken_apart_as_it_says(self) -> None:
        for vector in vectors("msg-split"):
            self.assertEqual(
                message_of(vector["atoms"]), parse(vector["input"].encode()), vector["input"]
            )

    def test_every_source_vector_is_split_as_it_says(self) -> None:
        for vector in vectors("userhost-split"):
            atoms = vector["atoms"]
            expected = tuple(atoms.get(part, "").encode() for part in ("nick", "user", "host"))
            self.assertEqual(expected, split_source(vector["source"].encode()))

    def test_lines_that_hold_no_command_give_an_empty_one(self) -> None:
        for line in (b"", b"   ", b"@a=b", b"@a=b ", b":src", b":src   ", b"@", b":", b"@ :"):
            self.assertEqual(b"", parse(line).command, line)

    def test_a_line_of_a_trailing_parameter_alone_has_an_odd_command_and_no_harm(self) -> None:
        self.assertEqual(Message(b":x", (), b"s"), parse(b":s :x"))

    def test_spaces_in_front_and_between_do_not_matter(self) -> None:
        self.assertEqual(Message(b"PING", (b"a", b"b")), parse(b"  PING   a   b  "))

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=80))
    def test_any_bytes_are_taken_apart(self, line: bytes) -> None:
        parse(line)

    @settings(deadline=None, max_examples=300)
    @given(st.text(alphabet="@:;=\\ +ab", max_size=30))
    def test_any_jumble_of_the_special_bytes_is_taken_apart(self, line: str) -> None:
        parse(line.encode())


class FormatTests(SynchronousTestCase):
    def test_every_join_vector_is_put_together_as_one_of_its_forms(self) -> None:
        for vector in vectors("msg-join"):
            line = format_message(message_of(vector["atoms"])).decode()
            self.assertIn(line, vector["matches"])

    @settings(deadline=None, max_examples=400)
    @given(MESSAGES)
    def test_what_is_put_together_comes_apart_the_same(self, message: Message) -> None:
        self.assertEqual(message, parse(format_message(message)))

    def test_what_could_not_be_read_back_is_refused(self) -> None:
        for bad in (
            Message(b""),
            Message(b"A B"),
            Message(b":A"),
            Message(b"@A"),
            Message(b"A", (b"", b"x")),
            Message(b"A", (b"x y", b"x")),
            Message(b"A", (b":x", b"x")),
            Message(b"A", (b"x\n",)),
            Message(b"A", (b"x\0",)),
            Message(b"A", (), b""),
            Message(b"A", (), b"a b"),
            Message(b"A", (), None, {b"": b"x"}),
            Message(b"A", (), None, {b"a;b": b"x"}),
            Message(b"A", (), None, {b"a=b": b"x"}),
            Message(b"A", (), None, {b"a": b"\0"}),
        ):
            self.assertRaises(ValueError, format_message, bad)

    def test_a_command_that_looks_like_tags_is_safe_behind_a_source(self) -> None:
        message = Message(b"@A", (), b"s")
        self.assertEqual(message, parse(format_message(message)))

    def test_a_tag_without_a_value_is_a_name_alone(self) -> None:
        self.assertEqual(rb"a;b=\s\:", format_tags({b"a": b"", b"b": b" ;"}))


class SerialiseTests(SynchronousTestCase):
    def test_the_text_is_always_behind_a_colon(self) -> None:
        self.assertEqual(b":s PRIVMSG #c :hi\r\n", serialise(b"s", b"PRIVMSG", (b"#c",), b"hi"))
        self.assertEqual(b":s TOPIC #c :\r\n", serialise(b"s", b"TOPIC", (b"#c",), b""))
        self.assertEqual(b":s JOIN #c\r\n", serialise(b"s", b"JOIN", (b"#c",)))

    @settings(deadline=None, max_examples=100)
    @given(st.text(min_size=400, max_size=600))
    def test_a_long_line_is_cut_to_512_bytes_between_two_characters(self, words: str) -> None:
        line = serialise(b"s", b"X", (), words.encode("utf-8", "replace"))
        self.assertLessEqual(len(line), 512)
        self.assertTrue(line.endswith(b"\r\n"))
        line.decode("utf-8")

    @settings(deadline=None, max_examples=200)
    @given(st.text(max_size=20), st.integers(0, 90))
    def test_clip_keeps_as_many_whole_characters_as_fit(self, words: str, size: int) -> None:
        kept = clip(words.encode(), size).decode()
        self.assertTrue(words.startswith(kept))
        following = words[len(kept) : len(kept) + 1]
        self.assertTrue(not following or len((kept + following).encode()) > size)

    def test_clip_ends_even_where_nothing_begins_a_character(self) -> None:
        self.assertEqual(b"", clip(b"\x80" * 9, 5))
