"""
Metrics of workers: at each scrape all are asked, and what they say is added up.

A worker that does not answer within :data:`~myproject.workerprocess.ANSWER_WITHIN` seconds counts with what
it said last, since a sum that falls looks like a restart; and it is counted itself, in
``myproject_workers_silent_total``. What a worker had counted at the last scrape before it ended stays
in the sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from twisted.internet import defer

from myproject.families import grouped, labelled, merged, totals
from myproject.metrics import reloads
from myproject.workerprocess import SilenceError

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from myproject.workers import WorkersService

__all__ = ["Measured"]


class Measured:
    """
    What all workers of a service measure.

    :param service: has the workers.
    """

    def __init__(self, service: WorkersService) -> None:
        self._service = service
        self._said: dict[int, str] = {}
        self._gone = ""
        self._silent = 0
        self._process = ProcessCollector(registry=None)

    def ended(self, number: int) -> None:
        """
        Keep what a worker had counted.

        :param number: the worker's.
        """
        said = self._said.pop(number, "")
        if said:
            self._gone = totals(self._gone, said)

    def collect(self) -> defer.Deferred[Iterable[Metric]]:
        """
        Ask all workers.

        :return: fires with the sum.
        """
        asked = [
            worker.ask("metrics").addCallbacks(
                self._heard, self._missed, callbackArgs=(number, worker)
            )
            for number, worker in self._service.workers.items()
            if worker.ready
        ]
        return defer.gatherResults(asked).addCallback(lambda _: self._sum())

    def _heard(self, said: Any, number: int, worker: object) -> None:
        # It may have ended, and another have its number, while this was on its way.
        if self._service.workers.get(number) is worker:
            self._said[number] = str(said or "")

    def _missed(self, failure: Failure) -> None:
        failure.trap(SilenceError)
        self._silent += 1

    def _sum(self) -> Iterable[Metric]:
        texts = {str(number): said for number, said in sorted(self._said.items())}
        own = (labelled(one, worker="supervisor") for one in self._process.collect())
        name = str(self._service.name)
        counted = (labelled(one, service=name) for one in self._counted())
        return grouped([*merged(texts, self._gone), *own, *counted])

    def _counted(self) -> Iterable[Metric]:
        service = self._service
        yield GaugeMetricFamily(
            "myproject_workers_ready",
            "Workers that accept connections.",
            sum(worker.ready for worker in service.workers.values()),
        )
        yield CounterMetricFamily(
            "myproject_workers_replaced_total",
            "Workers that ended, and were replaced.",
            service.restarts,
        )
        yield CounterMetricFamily(
            "myproject_workers_silent_total",
            "Times that a worker did not say in time what it measures.",
            self._silent,
        )
        yield from reloads(service.reloads)
