"""
Families: what Prometheus calls the samples of one name, put together, labelled, merged and written.

Each process of a subcommand that runs as several says what it has in Prometheus' text format 0.0.4, and
what a person sees is their sum (:func:`merged`). A rule by name says what "sum" means:

=======================================  ==================================================================
a name that                              is
=======================================  ==================================================================
begins as one of ``PER_PROCESS``         kept apart, by a label ``worker``: nobody wants the sum of process
                                         start times
ends in ``_timestamp_seconds``           the earliest: the certificate that expires first, the worker whose
                                         last reload was longest ago
ends in ``_info``                        as it was
is any other                             added up, for all that have the same labels
=======================================  ==================================================================

A counter must never fall, or Prometheus takes the fall for a restart, and all that is left for new. So
what a process had counted before it ended stays in the sum (:func:`totals`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

__all__ = ["PER_PROCESS", "Families", "grouped", "labelled", "merged", "text", "totals"]

#: What makes a sample another one: its name and labels.
Series = tuple[str, frozenset[tuple[str, str]]]

#: How the names of metrics begin that mean something only for one process.
PER_PROCESS: Final = ("process_", "python_", "myproject_reactor_")

#: The types whose samples only grow.
_GROWING: Final = frozenset({"counter", "histogram", "summary"})


class Families:
    """
    Metrics in the shape that prometheus_client's encoders ask for.

    :param families: the metrics, each name once.
    """

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Give them."""
        return self._families


def text(families: Iterable[Metric]) -> str:
    """
    Write metrics in Prometheus' text format 0.0.4.

    :param families: the metrics, each name once.
    """
    return generate_latest(Families(families)).decode()


def labelled(family: Metric, **labels: str) -> Metric:
    """
    Add labels to all samples of a family.

    :param family: the metric, of anyone's making.
    :param labels: what to add, unless a sample has such a label already.
    :return: a new one, in which all values are numbers and all labels' are text.
    :raises Exception: the family cannot be encoded.
    """
    result = Metric(family.name, family.documentation, family.type, family.unit)
    for sample in family.samples:
        texts = {name: str(value) for name, value in sample.labels.items()}
        result.add_sample(sample.name, {**labels, **texts}, float(sample.value))
    return result


def grouped(families: Iterable[Metric]) -> list[Metric]:
    """
    Put metrics of one name together, as the format wants them, in the order in which they first appear.

    :param families: the metrics, a name any number of times.
    :return: new ones, each name once, and in it each set of labels once, its first. What has the name but
        not the type of the first is left out.
    """
    found: dict[str, Metric] = {}
    seen: set[Series] = set()
    for family in families:
        if family.name not in found:
            found[family.name] = Metric(family.name, family.documentation, family.type, family.unit)
        if family.type == found[family.name].type:
            for sample in family.samples:
                series = _series(sample)
                if series not in seen:
                    seen.add(series)
                    found[family.name].samples.append(sample)
    return list(found.values())


def merged(texts: Mapping[str, str], gone: str = "") -> Iterable[Metric]:
    """
    Merge what several workers say.

    :param texts: what each worker says, by its number. Of one that does not answer in time give what it
        said last: without it the counters would fall.
    :param gone: what workers said that have ended, as :func:`totals` sums it up.
    :return: the metrics, each name once.
    :raises ValueError: a text is not in the format.
    """
    said: list[Metric] = []
    for worker, one in texts.items():
        said += _families(one, worker)
    # At the end, so that a worker decides the type and the text of what it knows.
    return _added([*said, *_families(gone)])


def totals(*texts: str) -> str:
    """
    Sum up what stays in the sum when workers end: what they had counted.

    :param texts: what each said last, or what this returned before.
    :raises ValueError: a text is not in the format.
    """
    counted = (
        family
        for one in texts
        for family in _families(one)
        if family.type in _GROWING and not family.name.startswith(PER_PROCESS)
    )
    return text(_added(counted))


def _families(said: str, worker: str | None = None) -> Iterator[Metric]:
    """The metrics of a text; those that mean one process have the worker's label."""
    for family in text_string_to_metric_families(said):
        if worker is not None and family.name.startswith(PER_PROCESS):
            family.samples = [
                sample._replace(labels={"worker": worker, **sample.labels})
                for sample in family.samples
            ]
        yield family


def _added(families: Iterable[Metric]) -> list[Metric]:
    """Metrics, each name once, and in it each set of labels once."""
    values: dict[Series, float] = {}
    everything = list(families)
    for family in everything:
        how = _rule(family.name)
        for sample in family.samples:
            series = _series(sample)
            value = sample.value
            values[series] = how(values[series], value) if series in values else value
    result = grouped(everything)
    for family in result:
        family.samples = [one._replace(value=values[_series(one)]) for one in family.samples]
    return result


def _series(sample: Sample) -> Series:
    return sample.name, frozenset(sample.labels.items())


def _rule(name: str) -> Callable[[float, float], float]:
    if name.endswith("_timestamp_seconds"):
        return min
    return max if name.endswith("_info") else _sum


def _sum(one: float, other: float) -> float:
    return one + other
