"""Lines out of a stream, with bounded memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.lines import MAX_HELD, MAX_LINE, LineSplitter
from myproject_chat.wire import MAX_BODY, MAX_TAG_DATA

# Streams in which every interesting thing is near: ends, NUL, tags, and lines about a limit long.
PIECES = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b"@",
        b" ",
        b"PING x",
        b"a" * (MAX_BODY - 1),
        b"ab",
        b"t" * (MAX_TAG_DATA - 1),
        b"@" + b"t" * MAX_TAG_DATA + b" ",
    ]
) | st.binary(max_size=9)
STREAMS = st.lists(PIECES, max_size=14).map(b"".join)


def whole(stream: bytes) -> list[bytes | None]:
    return LineSplitter().feed(stream)


class LineTests(SynchronousTestCase):
    def test_cr_and_lf_and_both_end_a_line_and_blank_lines_are_nothing(self) -> None:
        self.assertEqual([b"a", b"b", b"c", b"d"], whole(b"a\r\n\r\nb\n\nc\rd\r\n"))

    def test_nul_is_dropped(self) -> None:
        self.assertEqual([b"PING x"], whole(b"PI\0NG x\0\r\n"))

    def test_a_line_is_kept_until_its_end_comes(self) -> None:
        splitter = LineSplitter()
        self.assertEqual([], splitter.feed(b"PI"))
        self.assertEqual(b"PI", splitter.held)
        self.assertEqual([b"PING", b"x"], splitter.feed(b"NG\r\nx\r\n"))
        self.assertEqual(b"", splitter.held)

    def test_510_bytes_are_a_line_and_511_are_too_many(self) -> None:
        self.assertEqual(
            [b"a" * 510, None, b"b"], whole(b"a" * 510 + b"\r\n" + b"a" * 511 + b"\nb\n")
        )

    def test_4094_bytes_of_tags_come_on_top_and_4095_are_too_many(self) -> None:
        good = b"@" + b"t" * 4094 + b" " + b"a" * 510
        for bad in (
            b"@" + b"t" * 4095 + b" a",
            b"@" + b"t" * 4095,
            b"@" + b"t" * 4094 + b" " + b"a" * 511,
            b"@t " + b"a" * 511,
        ):
            self.assertEqual([good, None, b"b"], whole(good + b"\n" + bad + b"\nb\n"))

    def test_a_line_without_end_is_reported_once_and_not_kept(self) -> None:
        splitter = LineSplitter()
        events = [event for _ in range(50) for event in splitter.feed(b"x" * 1000)]
        self.assertEqual([None], events)
        self.assertEqual(b"", splitter.held)
        self.assertEqual([b"PING"], splitter.feed(b"xxx\r\nPING\r\n"))

    @settings(deadline=None, max_examples=300)
    @given(STREAMS, st.data())
    def test_cuts_do_not_matter_and_memory_is_bounded(
        self, stream: bytes, data: st.DataObject
    ) -> None:
        cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
        splitter = LineSplitter()
        events: list[bytes | None] = []
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            events += splitter.feed(stream[start:end])
            self.assertLessEqual(len(splitter.held), MAX_HELD)
        self.assertEqual(whole(stream), events)

    @settings(deadline=None, max_examples=100)
    @given(
        st.sampled_from([MAX_LINE // 2, MAX_LINE, MAX_LINE + 1]),
        st.sampled_from([b"", b"@t "]),
        st.lists(st.integers(0, MAX_LINE), max_size=6).map(sorted),
        st.booleans(),
    )
    def test_a_line_beyond_all_reason_is_noted_however_it_is_cut(
        self, size: int, head: bytes, cuts: list[int], ended: bool
    ) -> None:
        stream = b"PING\r\n" + head.ljust(size, b"x") + (b"\r\nPING\r\n" if ended else b"")
        splitter = LineSplitter()
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            splitter.feed(stream[start:end])
        self.assertIs(size > MAX_LINE, splitter.flooded)

    def test_many_lines_that_are_too_long_are_not_one(self) -> None:
        splitter = LineSplitter()
        for _ in range(9):
            splitter.feed(b"x" * 5000)
            splitter.feed(b"x" * 5000 + b"\n")
        for _ in range(9):
            splitter.feed(b"y" * 5000 + b"\n")
        self.assertFalse(splitter.flooded)

    @settings(deadline=None, max_examples=100)
    @given(STREAMS)
    def test_a_byte_at_a_time_gives_the_same(self, stream: bytes) -> None:
        stream = stream[:3000]
        splitter = LineSplitter()
        events = [event for i in range(len(stream)) for event in splitter.feed(stream[i : i + 1])]
        self.assertEqual(whole(stream), events)
