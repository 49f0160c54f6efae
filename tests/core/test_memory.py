"""Giving memory back when a crowd has gone."""

from __future__ import annotations

import ctypes
import weakref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from myproject.memory import QUIET, SMALLEST_PEAK, Trimmer, malloc_trim


class TrimmerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.trims = 0
        self.trimmer = Trimmer(lambda: self.clock, self.trim)

    def trim(self) -> None:
        self.trims += 1

    def crowd(self, peak: int, left: int) -> None:
        """So many come, and so many are left."""
        for count in range(1, peak + 1):
            self.trimmer.opened(count)
        for count in range(peak - 1, left - 1, -1):
            self.trimmer.closed(count)

    def test_once_half_of_a_crowd_has_gone_and_some_seconds_more(self) -> None:
        self.crowd(SMALLEST_PEAK, SMALLEST_PEAK // 2)
        self.clock.advance(QUIET - 0.1)
        self.assertEqual(0, self.trims)
        self.clock.advance(0.1)
        self.assertEqual(1, self.trims)

    def test_once_for_a_crowd_that_leaves_together(self) -> None:
        self.crowd(SMALLEST_PEAK, 0)
        self.clock.advance(QUIET)
        self.trimmer.opened(1)
        self.trimmer.closed(0)
        self.assertEqual((1, []), (self.trims, self.clock.getDelayedCalls()))

    def test_again_for_each_half_of_the_rest_though_some_come_back(self) -> None:
        self.crowd(SMALLEST_PEAK, 40)
        self.clock.advance(QUIET)
        for count in (39, 21):
            self.trimmer.closed(count)
            self.assertEqual([], self.clock.getDelayedCalls())
        for count in (20, 7, 0):
            self.trimmer.closed(count)
            self.clock.advance(QUIET)
            for back in range(count + 1, 50):
                self.trimmer.opened(back)
            self.trimmer.closed(count)
        self.assertEqual((4, []), (self.trims, self.clock.getDelayedCalls()))

    def test_not_while_most_are_there_and_not_for_few(self) -> None:
        self.crowd(SMALLEST_PEAK, SMALLEST_PEAK // 2 + 1)
        self.crowd(SMALLEST_PEAK - 1, SMALLEST_PEAK // 2 + 1)
        self.assertEqual([], self.clock.getDelayedCalls())
        other = Trimmer(lambda: self.clock, self.trim)
        for count in range(SMALLEST_PEAK):
            other.opened(count)
        other.closed(0)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_the_next_crowd_counts_anew(self) -> None:
        for _ in range(2):
            self.crowd(SMALLEST_PEAK, 0)
            self.clock.advance(QUIET)
        self.assertEqual(2, self.trims)

    def test_the_end_lets_go_of_the_clock(self) -> None:
        self.crowd(SMALLEST_PEAK, 0)
        self.trimmer.end()
        self.trimmer.end()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_garbage_goes_first(self) -> None:
        """What only the collector frees would keep its pages."""

        class Cycle:
            def __init__(self) -> None:
                self.itself = self

        cycle = weakref.ref(Cycle())
        malloc_trim()
        self.assertIsNone(cycle())

    def test_a_c_library_without_the_function_is_left_alone(self) -> None:
        malloc_trim()
        self.patch(ctypes, "CDLL", lambda _: object())
        malloc_trim()
