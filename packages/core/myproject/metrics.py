"""
Metrics: what a process tells Prometheus of itself and its services.

There is one registry for each endpoint, made with it and handed down; prometheus_client's global one is
never touched. What it collects, it reads at each scrape from numbers that are kept anyway: the
gate's, the reactor's, the kernel's. Only the lag of the event loop has a clock of its own.

Everything about one service has a label ``service``. That is the subcommand's name; of a subcommand
that ``--services`` hosts, the name that the file gives it. A factory adds its own metrics by providing
:class:`~myproject.interfaces.IHasMetrics`, and gets the label added.

A collector that fails is left out of that scrape, and logged: what the others know is what a person
needs at that moment. docs/reference/metrics.md lists all names.
"""

from __future__ import annotations

import bisect
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from twisted.application.service import IServiceCollection, Service
from twisted.internet.interfaces import IReactorFDSet
from twisted.logger import Logger

from myproject.families import grouped, labelled, merged, text, totals
from myproject.hosted import HostedService
from myproject.interfaces import IHasMetrics
from myproject.reload import ReloadService
from myproject.service import FactoryService, State

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from myproject.tls import TLSService

__all__ = ["LAG_BUCKETS", "LAG_INTERVAL", "Lag", "Metrics", "merged", "text", "totals"]

#: Seconds between two measurements of the event loop's lag. A turn that takes so long is always seen, a
#: shorter one in proportion; ten timers a second cost a thousandth of a core.
LAG_INTERVAL: Final = 0.1

#: Seconds: from what a timer is late by anyway to what a person takes for a crash.
LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Guarded:
    """
    A collector that fails alone.

    :param collect: gives its metrics.
    """

    _log = Logger()

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        try:
            return list(self._collect())
        except Exception:
            # A reader's own code, or a kernel whose /proc says what none did before.
            self._log.failure("some metrics cannot be had, and are left out")
            return []


class _Process(ProcessCollector):
    """The library's, also where ``/proc`` has processes only: under systemd's ``ProcSubset=pid``."""

    def _boot_time(self) -> float:
        try:
            return float(super()._boot_time())
        except OSError:
            if sys.platform != "linux":
                raise
            return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


class Lag:
    """
    The event loop's lag: a timer that measures how late it fires.

    :param clock: the reactor.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._counts = [0] * (len(LAG_BUCKETS) + 1)
        self._sum = 0.0
        self._due = 0.0
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._due = self._clock.seconds() + LAG_INTERVAL
        self._call = self._clock.callLater(LAG_INTERVAL, self._fire)

    def stop(self) -> None:
        """Measure no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _fire(self) -> None:
        # The machine's clock may be set back.
        late = max(0.0, self._clock.seconds() - self._due)
        self._counts[bisect.bisect_left(LAG_BUCKETS, late)] += 1
        self._sum += late
        self.start()

    def collect(self) -> Iterator[Metric]:
        """The histogram."""
        buckets: list[tuple[str, float]] = []
        running = 0
        bounds = [*(repr(bound) for bound in LAG_BUCKETS), "+Inf"]
        for bound, count in zip(bounds, self._counts, strict=True):
            running += count
            buckets.append((bound, running))
        yield HistogramMetricFamily(
            "myproject_reactor_lag_seconds",
            "How late the reactor calls a timer.",
            buckets=buckets,
            sum_value=self._sum,
        )


class Metrics(Service):
    """
    What a process measures.

    :param service: the root of what is measured: it, and the subcommands that it hosts.
    :param reactor: the reactor; by default the global one, looked up when this starts.
    """

    def __init__(self, service: FactoryService, reactor: Any = None) -> None:
        self._service = service
        self.reactor = reactor
        self._lag: Lag | None = None
        #: Where anyone who has this service may register more, of prometheus_client's or their own.
        self.registry = CollectorRegistry()
        for collect in (
            self._build,
            self._services,
            self._factories,
            self._reactor,
            _Process(registry=None).collect,
            PlatformCollector(registry=None).collect,
        ):
            self.registry.register(_Guarded(collect))
        GCCollector(self.registry)

    def startService(self) -> None:
        """Begin to measure the event loop."""
        super().startService()
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        self._lag = Lag(self.reactor)
        self._lag.start()

    def stopService(self) -> None:
        """Measure no more."""
        super().stopService()
        if self._lag is not None:
            self._lag.stop()

    def collect(self) -> list[Metric]:
        """Everything, each name once."""
        return grouped(self.registry.collect())

    @property
    def state(self) -> State:
        """How the root is together with what it hosts: ready once all are."""
        own = self._service.state
        states = {one.state for _, one in self._named()}
        if own is State.DRAINING or len(states) == 1:
            return own
        for one in (State.DRAINING, State.STARTING):
            if one in states:
                return one
        return State.FAILING

    def _named(self) -> Iterator[tuple[str, FactoryService]]:
        """The services, each under a name that no other has."""
        taken: set[str] = set()
        for name, service in _subcommands(self._service, None):
            number = 1
            label = name
            while label in taken:
                number += 1
                label = f"{name}-{number}"
            taken.add(label)
            yield label, service

    # What is collected

    def _build(self) -> Iterator[Metric]:
        from myproject import __version__
        from twisted import __version__ as twisted_version

        yield InfoMetricFamily(
            "myproject_build",
            "What runs: the versions, and the reactor's class.",
            {
                "version": __version__,
                "twisted": twisted_version,
                "python": platform.python_version(),
                "reactor": type(self.reactor).__name__,
            },
        )

    def _services(self) -> Iterator[Metric]:
        for name, service in self._named():
            yield from (labelled(one, service=name) for one in _service(service))

    def _factories(self) -> Iterator[Metric]:
        for name, service in self._named():
            provider = cast("IHasMetrics | None", IHasMetrics(service.factory, None))
            if provider is not None:
                # Each alone: what is wrong with one is no fault of another's.
                families = _Guarded(partial(_labelled, provider, name))
                yield from families.collect()

    def _reactor(self) -> Iterator[Metric]:
        if self._lag is not None:
            yield from self._lag.collect()
            yield GaugeMetricFamily(
                "myproject_reactor_delayed_calls",
                "Calls that wait for their time.",
                len(self.reactor.getDelayedCalls()),
            )
        if IReactorFDSet.providedBy(self.reactor):
            yield GaugeMetricFamily(
                "myproject_reactor_readers",
                "Descriptors that the reactor waits to read from.",
                len(self.reactor.getReaders()),
            )
            yield GaugeMetricFamily(
                "myproject_reactor_writers",
                "Descriptors that the reactor waits to write to.",
                len(self.reactor.getWriters()),
            )


def _subcommands(service: Any, hosted: str | None) -> Iterator[tuple[str, FactoryService]]:
    """The subcommands in a tree of services, from the root down, in the order in which they start."""
    if isinstance(service, HostedService):
        hosted = service.plan.name
    elif isinstance(service, FactoryService):
        yield hosted or str(service.name), service
        hosted = None
    if IServiceCollection.providedBy(service):
        for child in service:
            yield from _subcommands(child, hosted)


def _labelled(provider: IHasMetrics, name: str) -> list[Metric]:
    return [labelled(one, service=name) for one in provider.metrics()]


def _service(service: FactoryService) -> Iterator[Metric]:
    """What the core knows of one service."""
    seen = service.gate.statistics
    yield GaugeMetricFamily("myproject_connections_open", "Connections open now.", seen.open)
    yield GaugeMetricFamily(
        "myproject_connections_hosts", "Hosts that have a connection open.", seen.hosts
    )
    yield CounterMetricFamily("myproject_connections_total", "Connections let in.", seen.total)
    yield _by_reason(
        "myproject_connections_refused_total",
        "Connections refused.",
        {reason.name.lower().replace("_", "-"): count for reason, count in seen.refused.items()},
    )
    yield _by_reason(
        "myproject_connections_aborted_total",
        "Connections that this server ended for breaking a limit.",
        seen.aborted,
    )
    yield CounterMetricFamily(
        "myproject_received_bytes_total",
        "Bytes received from connections, those of TLS itself included.",
        seen.bytes_in,
    )
    yield CounterMetricFamily(
        "myproject_sent_bytes_total",
        "Bytes sent on connections, those of TLS itself included.",
        seen.bytes_out,
    )
    for state, what in (
        (State.READY, "Whether connections are served."),
        (State.DRAINING, "Whether the service stops, and waits for its connections to end."),
    ):
        yield GaugeMetricFamily(f"myproject_{state.value}", what, service.state is state)
    if service.tls is not None:
        yield _certificates(service.tls)
    for child in service:
        if isinstance(child, ReloadService):
            yield from reloads(child)


def _by_reason(name: str, what: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, what, labels=["reason"])
    for reason, count in counts.items():
        family.add_metric([reason], count)
    return family


def _certificates(tls: TLSService) -> Metric:
    family = GaugeMetricFamily(
        "myproject_certificate_expiry_timestamp_seconds",
        "When a certificate that is served ceases to be valid, in Unix time.",
        labels=["certificate"],
    )
    # A folder may have NAME.pem and NAME.crt: of one name, the earlier end matters.
    for identity in sorted(tls.identities, key=lambda one: one.ends):
        family.add_metric([identity.name], identity.ends.timestamp())
    return family


def reloads(reloads: ReloadService) -> Iterator[Metric]:
    family = CounterMetricFamily(
        "myproject_reloads_total", "Reloads of the settings, by result.", labels=["result"]
    )
    family.add_metric(["applied"], reloads.applied)
    family.add_metric(["refused"], reloads.refused)
    yield family
    if reloads.last_applied is not None:
        yield GaugeMetricFamily(
            "myproject_last_reload_timestamp_seconds",
            "When a reload was applied last, in Unix time.",
            reloads.last_applied,
        )
