"""The time as IRC writes it, both ways."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.timestamps import LAST, read_stamp, stamp


class TimestampTests(SynchronousTestCase):
    def test_the_form(self) -> None:
        self.assertEqual(b"2019-01-04T14:33:26.123Z", stamp(1546612406123))
        self.assertEqual(b"1970-01-01T00:00:00.000Z", stamp(0))
        self.assertEqual(b"9999-12-31T23:59:59.999Z", stamp(LAST))

    def test_no_millisecond_is_lost(self) -> None:
        """A float of seconds would lose one of these in ten thousand."""
        for moment in (1546612406001, 1546612406999, 1700000000057):
            self.assertEqual(moment, read_stamp(stamp(moment)))

    def test_a_moment_that_cannot_be_written(self) -> None:
        self.assertRaises(OverflowError, stamp, LAST + 1)

    def test_times_before_1970_are_times(self) -> None:
        self.assertEqual(-1, read_stamp(b"1969-12-31T23:59:59.999Z"))
        self.assertIsNotNone(read_stamp(b"0001-01-01T00:00:00.000Z"))

    def test_other_forms_are_none(self) -> None:
        for text in (
            b"",
            b"*",
            b"2019-01-04T14:33:26Z",
            b"2019-01-04T14:33:26.12Z",
            b"2019-01-04T14:33:26.1234Z",
            b"2019-01-04T14:33:26.123",
            b"2019-01-04T14:33:26.123+00:00",
            b"2019-01-04 14:33:26.123Z",
            b"2019-01-04T14:33:26,123Z",
            b"2019-02-30T14:33:26.123Z",
            b"2019-01-04T24:33:26.123Z",
            b"2016-12-31T23:59:60.000Z",
            b"0000-01-01T00:00:00.000Z",
            b"2019-01-04T14:33:26.123Z\n",
            b"1546612406",
            "\u0662019-01-04T14:33:26.123Z".encode(),
        ):
            self.assertIsNone(read_stamp(text), text)

    @settings(deadline=None, max_examples=300)
    @given(st.integers(0, LAST))
    def test_what_was_written_is_read(self, moment: int) -> None:
        self.assertEqual(moment, read_stamp(stamp(moment)))

    @settings(deadline=None)
    @given(st.integers(0, LAST), st.integers(0, LAST))
    def test_times_sort_as_their_texts_do(self, one: int, other: int) -> None:
        self.assertEqual(one < other, stamp(one) < stamp(other))

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=30) | st.text("0123456789-T:.Z", max_size=26).map(str.encode))
    def test_any_bytes_are_a_time_or_none(self, text: bytes) -> None:
        moment = read_stamp(text)
        if moment is not None and moment >= 0:
            self.assertEqual(text, stamp(moment))
