"""Families: samples labelled, put together, written, and the sum of several processes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from myproject import metrics
from myproject.families import grouped, labelled, merged, text, totals

#: Whole numbers, whose sums are exact whatever the order.
COUNTS = st.integers(0, 2**40)
NAMES = st.sampled_from(["alpha_total", "beta_total", "gamma_bytes_total"])
#: One worker's counters: by name, then by the value of their one label.
COUNTERS = st.dictionaries(NAMES, st.dictionaries(st.text(), COUNTS, min_size=1))


def counter(name: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, f"What {name} counts.", labels=["reason"])
    for reason, value in values.items():
        family.add_metric([reason], value)
    return family


def gauge(name: str, value: float) -> Metric:
    return GaugeMetricFamily(name, "A gauge.", value)


def histogram(*buckets: tuple[str, float], total: float) -> Metric:
    return HistogramMetricFamily("took_seconds", "A histogram.", list(buckets), total)


def read(families: Any) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples; what they are written and read as again is checked on the way."""
    listed = list(families)
    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in listed
        for sample in family.samples
    }
    again = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text(listed))
        for sample in family.samples
    }
    assert found == again, (found, again)
    return found


class LabelledTests(SynchronousTestCase):
    def test_labels_are_added_to_every_sample(self) -> None:
        family = labelled(counter("a_total", {"x": 1, "y": 2}), service="echo")
        self.assertEqual(
            [{"service": "echo", "reason": "x"}, {"service": "echo", "reason": "y"}],
            [sample.labels for sample in family.samples],
        )

    def test_a_label_that_is_there_stays(self) -> None:
        family = labelled(counter("a_total", {"x": 1}), reason="other")
        self.assertEqual([{"reason": "x"}], [sample.labels for sample in family.samples])

    def test_what_is_not_text_becomes_text(self) -> None:
        family = Metric("a", "", "gauge")
        family.add_sample("a", {"port": 80}, True)  # type: ignore[dict-item]
        (sample,) = labelled(family).samples
        self.assertEqual(({"port": "80"}, 1.0), (sample.labels, sample.value))

    def test_a_value_that_is_no_number_is_refused_here_and_not_when_all_is_written(self) -> None:
        family = Metric("a", "", "gauge")
        family.add_sample("a", {}, None)  # type: ignore[arg-type]
        self.assertRaises(TypeError, labelled, family)


class GroupedTests(SynchronousTestCase):
    def test_a_name_is_there_once_where_it_came_first(self) -> None:
        found = grouped(
            [
                labelled(gauge("a", 1), service="x"),
                gauge("b", 2),
                labelled(gauge("a", 3), service="y"),
            ]
        )
        self.assertEqual(["a", "b"], [family.name for family in found])
        self.assertEqual([1.0, 3.0], [sample.value for sample in found[0].samples])

    def test_of_two_equal_samples_the_first_counts(self) -> None:
        (found,) = grouped([gauge("a", 1), gauge("a", 2)])
        self.assertEqual([1.0], [sample.value for sample in found.samples])

    def test_another_type_of_the_same_name_is_left_out(self) -> None:
        (found,) = grouped([gauge("a", 1), counter("a", {"x": 2})])
        self.assertEqual(("gauge", 1), (found.type, len(found.samples)))

    def test_the_families_that_came_in_are_not_changed(self) -> None:
        first, second = gauge("a", 1), labelled(gauge("a", 1), service="x")
        grouped([first, second])
        self.assertEqual([1, 1], [len(first.samples), len(second.samples)])


class MergedTests(SynchronousTestCase):
    @given(st.dictionaries(st.integers(0, 9).map(str), COUNTERS, max_size=4), COUNTERS)
    def test_counters_are_summed_by_name_and_labels_whatever_the_labels_are(
        self, workers: dict[str, dict[str, dict[str, int]]], gone: dict[str, dict[str, int]]
    ) -> None:
        expected: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for one in [*workers.values(), gone]:
            for name, values in one.items():
                for reason, value in values.items():
                    key = name, frozenset({("reason", reason)})
                    expected[key] = expected.get(key, 0) + value
        texts = {
            worker: text(counter(name, values) for name, values in one.items())
            for worker, one in workers.items()
        }
        left = totals(text(counter(name, values) for name, values in gone.items()))
        self.assertEqual(expected, read(merged(texts, left)))

    def test_gauges_and_histograms_are_summed(self) -> None:
        one = text([gauge("open", 3), histogram(("1.0", 1), ("+Inf", 2), total=9.5)])
        two = text([gauge("open", 4), histogram(("1.0", 0), ("+Inf", 5), total=50)])
        found = read(merged({"0": one, "1": two}))
        self.assertEqual(7, found["open", frozenset()])
        self.assertEqual(1, found["took_seconds_bucket", frozenset({("le", "1.0")})])
        self.assertEqual(7, found["took_seconds_bucket", frozenset({("le", "+Inf")})])
        self.assertEqual(7, found["took_seconds_count", frozenset()])
        self.assertEqual(59.5, found["took_seconds_sum", frozenset()])

    def test_what_means_one_process_is_told_apart_by_its_worker(self) -> None:
        for name in ("process_open_fds", "python_info", "myproject_reactor_readers"):
            found = read(merged({"0": text([gauge(name, 5)]), "1": text([gauge(name, 6)])}))
            self.assertEqual(
                {
                    (name, frozenset({("worker", "0")})): 5,
                    (name, frozenset({("worker", "1")})): 6,
                },
                found,
            )

    def test_of_times_the_earliest_counts(self) -> None:
        name = "expiry_timestamp_seconds"
        found = read(merged({"0": text([gauge(name, 9)]), "1": text([gauge(name, 6)])}))
        self.assertEqual({(name, frozenset()): 6}, found)

    def test_what_is_true_of_all_is_no_more_true_of_many(self) -> None:
        found = read(merged({"0": text([gauge("a_info", 1)]), "1": text([gauge("a_info", 1)])}))
        self.assertEqual({("a_info", frozenset()): 1}, found)

    def test_a_worker_that_has_gone_leaves_what_it_had_counted_and_nothing_else(self) -> None:
        last = text(
            [
                gauge("open", 3),
                counter("sent_total", {"x": 5}),
                counter("process_cpu_seconds_total", {"x": 7}),
                histogram(("+Inf", 2), total=9),
            ]
        )
        found = read(merged({"1": text([counter("sent_total", {"x": 1})])}, totals(last)))
        self.assertEqual(6, found["sent_total", frozenset({("reason", "x")})])
        self.assertEqual(2, found["took_seconds_count", frozenset()])
        self.assertNotIn(("open", frozenset()), found)
        self.assertEqual(set(), {name for name, _ in found if name.startswith("process_")})

    def test_totals_add_up_one_worker_after_another(self) -> None:
        last = text([counter("sent_total", {"x": 5})])
        gone = totals(totals(totals(last), last), last)
        self.assertEqual({("sent_total", frozenset({("reason", "x")})): 15}, read(merged({}, gone)))

    def test_what_is_not_in_the_format_is_a_value_error(self) -> None:
        self.assertRaises(ValueError, lambda: list(merged({"0": "no metric at all\n"})))

    def test_it_can_be_had_with_the_metrics(self) -> None:
        self.assertIs(merged, metrics.merged)
