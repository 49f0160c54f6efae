"""Metadata: which keys and values there can be, and how many."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat import configuration
from myproject_chat.metadata import (
    Limits,
    capability_value,
    check_key,
    check_room,
    check_value,
    is_key,
)
from myproject_chat.names import HOST_LENGTH, USER_LENGTH

LIMITS = Limits(max_keys=3, max_subs=5, max_key_bytes=8, max_value_bytes=10)
KEY = re.compile(rb"[a-z0-9_./-]{1,8}")


class MetadataTests(SynchronousTestCase):
    def code(self, value: bytes) -> bytes | None:
        refusal = check_value(b"url", value, LIMITS)
        return refusal.code if refusal else None

    def test_keys(self) -> None:
        for key in (b"url", b"a-b_c.d/", b"0", b"x" * 8):
            self.assertIsNone(check_key(key, LIMITS), key)
        for key in (b"", b"Url", b"a b", b":a", b"%", b"x" * 9, "\u00e9".encode(), b"a\n", b"*"):
            refusal = check_key(key, LIMITS)
            self.assertEqual(b"KEY_INVALID", refusal.code if refusal else None, key)

    def test_a_key_that_is_refused_is_sent_back_as_a_word(self) -> None:
        for key, word in (
            (b"Url", b"Url"),
            (b"", b"*"),
            (b"a b", b"a_b"),
            (b":", b"*"),
            (b"X" * 500, b"X" * 8),
            ("xxxxxxx\u00e9".encode(), b"x" * 7),
        ):
            refusal = check_key(key, LIMITS)
            self.assertEqual((word,), refusal.context if refusal else None)

    def test_values(self) -> None:
        for value in (b"", b" ", b"x" * 10, "\u00e9".encode() * 5):
            self.assertIsNone(self.code(value), value)
        for value in (b"x" * 11, b"\xff", b"\xc3", "\u00e9".encode() * 6):
            self.assertEqual(b"INVALID_VALUE", self.code(value), value)

    def test_a_new_key_needs_room_and_an_old_one_does_not(self) -> None:
        self.assertIsNone(check_room(b"alice", b"d", (b"a", b"b"), LIMITS))
        self.assertIsNone(check_room(b"alice", b"c", (b"a", b"b", b"c"), LIMITS))
        refusal = check_room(b"alice", b"d", (b"a", b"b", b"c"), LIMITS)
        self.assertEqual((b"LIMIT_REACHED", (b"alice",)), refusal[:2] if refusal else None)

    def test_what_clients_are_told(self) -> None:
        self.assertEqual(
            b"before-connect,max-keys=3,max-subs=5,max-value-bytes=10", capability_value(LIMITS)
        )

    def test_the_longest_there_are_fit_into_a_line(self) -> None:
        limits = Limits()
        longest = configuration.Limits()
        source = b"n" * longest.nick + b"!" + b"u" * USER_LENGTH + b"@" + b"h" * HOST_LENGTH
        parts = (b":" + source, b"METADATA", b"#" * longest.channel, b"k" * limits.max_key_bytes)
        line = b" ".join((*parts, b"*", b":" + b"v" * limits.max_value_bytes))
        self.assertLessEqual(len(line), 510)

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=10) | st.text("aZ0_./- :", max_size=10).map(str.encode))
    def test_keys_are_those_of_the_grammar(self, key: bytes) -> None:
        self.assertEqual(KEY.fullmatch(key) is not None, is_key(key, LIMITS))
        refusal = check_key(key, LIMITS)
        self.assertEqual(is_key(key, LIMITS), refusal is None)
        if refusal is not None:
            [word] = refusal.context
            self.assertTrue(word and b" " not in word and word[:1] != b":")

    @settings(deadline=None)
    @given(st.binary(max_size=14))
    def test_any_bytes_are_a_value_or_an_answer(self, value: bytes) -> None:
        if self.code(value) is None:
            self.assertLessEqual(len(value.decode()), 10)
