"""Fakelag: a burst at once, then a pace, whatever the commands cost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.fakelag import COSTS, Fakelag, Pace, cost_of


class FakelagTests(SynchronousTestCase):
    def test_a_burst_passes_and_then_the_pace_holds(self) -> None:
        lag, now, delays = Fakelag(Pace(10, 2)), 100.0, []
        for _ in range(14):
            delays.append(lag.delay(now))
            now += delays[-1]
        self.assertEqual([0.0] * 10 + [0.5] * 4, delays)

    def test_a_client_that_rests_may_burst_again(self) -> None:
        lag = Fakelag(Pace(10, 2))
        for _ in range(10):
            lag.delay(0.0)
        self.assertEqual([0.0] * 10, [lag.delay(5.0) for _ in range(10)])
        self.assertEqual(0.5, lag.delay(5.0))

    def test_a_costly_command_takes_more_of_it(self) -> None:
        lag = Fakelag(Pace(10, 2))
        self.assertEqual([0.0, 0.0, 1.0], [lag.delay(0.0, 4.0) for _ in range(3)])

    def test_no_burst_is_no_fakelag(self) -> None:
        lag = Fakelag(Pace(0, 2))
        self.assertEqual([0.0] * 99, [lag.delay(0.0) for _ in range(99)])

    def test_a_new_pace_holds_from_then_on(self) -> None:
        lag = Fakelag(Pace(0))
        lag.pace = Pace(1, 1)
        self.assertEqual([0.0, 1.0], [lag.delay(7.0), lag.delay(7.0)])

    def test_no_command_is_free_and_none_is_more_than_a_burst(self) -> None:
        self.assertTrue(all(0 < cost <= Pace().burst for cost in COSTS.values()))
        self.assertEqual(1.0, cost_of(b"PRIVMSG"))
        self.assertGreater(cost_of(b"LIST"), 1.0)
        self.assertTrue(all(name == name.upper() for name in COSTS))

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.floats(0, 9), st.sampled_from([0.25, 1.0, 4.0])), max_size=60))
    def test_never_more_than_the_burst_and_the_pace_and_never_slower(
        self, commands: list[tuple[float, float]]
    ) -> None:
        """Against a bucket that is counted in tokens, filled as time passes."""
        pace = Pace(10, 2)
        lag, now, tokens = Fakelag(pace), 50.0, pace.burst
        for pause, cost in commands:
            now += pause
            tokens = min(pace.burst, tokens + pause * pace.rate) - cost
            delay = lag.delay(now, cost)
            self.assertAlmostEqual(max(0.0, -tokens / pace.rate), delay, places=6)
            now += delay
            tokens += delay * pace.rate
