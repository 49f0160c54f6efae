"""Which names there can be, and which masks fit them."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.names import (
    fold,
    host_name,
    is_channel,
    is_nick,
    is_user_name,
    matches,
    whole_mask,
)
from tests.chat.test_wire import vectors

MASKS = st.text(alphabet="ab*?.[", max_size=8).map(str.encode)
NAMES = st.text(alphabet="abB.[", max_size=8).map(str.encode)


class NameTests(SynchronousTestCase):
    def test_nicks(self) -> None:
        for good in (b"a", b"A-1", b"[x]", b"`^_{|}\\", b"n" * 40):
            self.assertTrue(is_nick(good), good)
        for bad in (
            b"",
            b"1a",
            b"-a",
            b"a b",
            b"a!b",
            b"#a",
            b"n" * 41,
            "é".encode(),
            b"a,b",
            b"*",
        ):
            self.assertFalse(is_nick(bad), bad)

    def test_channels(self) -> None:
        for good in (b"#a", b"##", "#é:".encode(), b"#" + b"c" * 95):
            self.assertTrue(is_channel(good), good)
        for bad in (b"", b"#", b"a", b"&a", b"#a b", b"#a,b", b"#\x07", b"#" + b"c" * 96):
            self.assertFalse(is_channel(bad), bad)

    def test_user_names(self) -> None:
        for good in (b"a", b"~a.b-c", b"[1]"):
            self.assertTrue(is_user_name(good), good)
        for bad in (b"", b"a b", b"a@b", b"a!b", b"\xff", b"a:b", b"\x01"):
            self.assertFalse(is_user_name(bad), bad)

    def test_only_ascii_letters_fold(self) -> None:
        self.assertEqual("#a{éÉ".encode(), fold("#A{éÉ".encode()))

    def test_a_host_is_one_word_that_can_stand_anywhere(self) -> None:
        self.assertEqual(b"192.0.2.1", host_name("192.0.2.1"))
        self.assertEqual(b"0::1", host_name("::1"))
        self.assertEqual(b"a?b", host_name("a b"))
        self.assertEqual(b"unknown", host_name(""))
        self.assertEqual(63, len(host_name("x" * 99)))


class MaskTests(SynchronousTestCase):
    def test_every_mask_vector_matches_as_it_says(self) -> None:
        for vector in vectors("mask-match"):
            mask = vector["mask"].encode()
            for name in vector["matches"]:
                self.assertTrue(matches(mask, name.encode()), (mask, name))
            for name in vector["fails"]:
                self.assertFalse(matches(mask, name.encode()), (mask, name))

    @settings(deadline=None, max_examples=400)
    @given(MASKS, NAMES)
    def test_a_mask_means_what_the_same_regular_expression_means(
        self, mask: bytes, name: bytes
    ) -> None:
        pattern = re.escape(mask).replace(rb"\*", b".*").replace(rb"\?", b".")
        expected = re.fullmatch(pattern, name, re.IGNORECASE | re.DOTALL) is not None
        self.assertEqual(expected, matches(mask, name))

    def test_a_mask_made_to_be_slow_is_not(self) -> None:
        self.assertFalse(matches(b"*a" * 60 + b"b", b"a" * 110))

    def test_missing_parts_are_filled_in(self) -> None:
        for given_, expected in {
            b"": b"*!*@*",
            b"nick": b"nick!*@*",
            b"u@h": b"*!u@h",
            b"n!u": b"n!u@*",
            b"n!u@h": b"n!u@h",
            b"@h": b"*!*@h",
        }.items():
            self.assertEqual(expected, whole_mask(given_))
