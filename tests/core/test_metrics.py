"""Metrics: what is measured of a process and its services, and under which names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import REGISTRY, Counter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from twisted.application.service import MultiService
from twisted.internet import defer
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from myproject import MyFactory, Options
from myproject.families import text
from myproject.hosted import HostedService
from myproject.interfaces import IHasHealth, IHasMetrics
from myproject.limits import Limits, Reason
from myproject.metrics import LAG_BUCKETS, LAG_INTERVAL, Lag, Metrics, _Process
from myproject.reload import ReloadService
from myproject.service import FactoryService, State

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference" / "metrics.md"


@implementer(IHasMetrics)
class Counting(Factory):
    """A factory with a metric of its own, kept by prometheus_client."""

    protocol = Protocol

    def __init__(self) -> None:
        self.shouts = Counter("shout_words", "Words shouted.", registry=None)

    def metrics(self) -> Iterable[Metric]:
        return self.shouts.collect()


@implementer(IHasMetrics)
class Broken(Factory):
    """A factory whose metrics fail half-way."""

    def metrics(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("shout_loudness", "How loud.", 11)
        raise ZeroDivisionError


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in metrics.collect()
        for sample in family.samples
    }


class LagTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.lag = Lag(self.clock)

    def found(self) -> dict[str, float]:
        (family,) = self.lag.collect()
        return {sample.labels.get("le", sample.name): sample.value for sample in family.samples}

    def test_a_timer_that_fires_in_time_is_in_the_first_bucket(self) -> None:
        self.lag.start()
        self.clock.pump([LAG_INTERVAL] * 3)
        self.assertEqual(3, self.found()["0.001"])
        self.assertAlmostEqual(0, self.found()["myproject_reactor_lag_seconds_sum"])

    def test_a_turn_that_takes_long_is_as_late_as_it_took(self) -> None:
        self.lag.start()
        self.clock.advance(LAG_INTERVAL + 0.3)
        found = self.found()
        self.assertEqual([0, 1, 1], [found["0.25"], found["0.5"], found["+Inf"]])
        self.assertAlmostEqual(0.3, found["myproject_reactor_lag_seconds_sum"])
        self.assertEqual(1, found["myproject_reactor_lag_seconds_count"])

    def test_later_than_all_buckets_is_in_the_last(self) -> None:
        self.lag.start()
        self.clock.advance(60)
        found = self.found()
        self.assertEqual([0, 1], [found[repr(LAG_BUCKETS[-1])], found["+Inf"]])

    def test_a_clock_that_is_set_back_is_no_lag(self) -> None:
        self.lag.start()
        (call,) = self.clock.getDelayedCalls()
        call.cancel()
        self.clock.rightNow -= 3600
        self.lag._fire()
        self.assertEqual(0, self.found()["myproject_reactor_lag_seconds_sum"])

    def test_it_ends_when_it_is_told(self) -> None:
        self.lag.start()
        self.clock.advance(1)
        self.lag.stop()
        self.lag.stop()
        self.assertEqual([], self.clock.getDelayedCalls())


class Case(SynchronousTestCase):
    """A service in memory, and its metrics."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def service(self, factory: Any = None, name: str = "shout", **more: Any) -> FactoryService:
        # An endpoint, since a bare number wants a socket for IPv6.
        made = Factory.forProtocol(Protocol) if factory is None else factory
        return FactoryService(name, made, ["tcp:7007"], self.reactor, **more)

    def metrics(self, service: FactoryService) -> Metrics:
        return Metrics(service, self.reactor)

    def host(self, above: FactoryService, name: str, below: FactoryService) -> HostedService:
        """Have one service host another, as --services does."""
        maker = SimpleNamespace(tapname="x", makeService=lambda _: below)
        plan = SimpleNamespace(name=name, maker=maker, options=None)
        hosted = HostedService(cast("Any", plan), self.reactor)
        between = MultiService()
        hosted.setServiceParent(between)
        between.setServiceParent(above)
        return hosted


class ServiceTests(Case):
    def connect(self, service: FactoryService, host: str) -> Any:
        protocol = service.gate.buildProtocol(IPv4Address("TCP", host, 1))
        if protocol is not None:
            protocol.makeConnection(StringTransport())
        return protocol

    def test_connections_are_counted_by_service(self) -> None:
        service = self.service()
        first = self.connect(service, "192.0.2.1")
        self.connect(service, "192.0.2.1")
        self.connect(service, "192.0.2.2")
        first.connectionLost()
        found = samples(self.metrics(service))
        label = (("service", "shout"),)
        self.assertEqual(2, found["myproject_connections_open", label])
        self.assertEqual(2, found["myproject_connections_hosts", label])
        self.assertEqual(3, found["myproject_connections_total", label])

    def test_every_reason_for_a_refusal_is_there_before_its_first(self) -> None:
        service = self.service(limits=Limits(max_connections=1))
        self.connect(service, "192.0.2.1")
        self.connect(service, "192.0.2.2")
        service.gate.end()
        found = samples(self.metrics(service))
        reasons = {
            dict(labels)["reason"]: value
            for (name, labels), value in found.items()
            if name == "myproject_connections_refused_total"
        }
        self.assertEqual(len(Reason), len(reasons))
        self.assertEqual({"full": 1}, {name: value for name, value in reasons.items() if value})
        self.assertIn("host-full", reasons)

    def test_what_limits_aborted_is_counted_by_limit(self) -> None:
        service = self.service()
        service.gate._aborted["idle-timeout"] = 4
        label = (("reason", "idle-timeout"), ("service", "shout"))
        found = samples(self.metrics(service))
        self.assertEqual(4, found["myproject_connections_aborted_total", label])

    def test_bytes_are_counted_each_way(self) -> None:
        service = self.service()
        service.gate._received, service.gate._sent = 10, 20
        found = samples(self.metrics(service))
        label = (("service", "shout"),)
        self.assertEqual(10, found["myproject_received_bytes_total", label])
        self.assertEqual(20, found["myproject_sent_bytes_total", label])

    def test_certificates_are_told_by_name_and_of_two_the_one_that_ends_first(self) -> None:
        service = self.service()
        ends = [datetime(2030, 1, day, tzinfo=UTC) for day in (3, 1, 2)]
        names = ("a", "b", "a")
        service.tls = cast(
            "Any",
            SimpleNamespace(
                identities=[
                    SimpleNamespace(name=name, ends=end)
                    for name, end in zip(names, ends, strict=True)
                ]
            ),
        )
        found = {
            dict(labels)["certificate"]: value
            for (name, labels), value in samples(self.metrics(service)).items()
            if name == "myproject_certificate_expiry_timestamp_seconds"
        }
        self.assertEqual({"a": ends[2].timestamp(), "b": ends[1].timestamp()}, found)

    def test_reloads_are_counted_by_result(self) -> None:
        service = self.service()
        options = Options({})
        options.resolve()
        verdicts = iter([True, False, True])
        reloads = ReloadService(options, lambda *_: next(verdicts))
        reloads.setServiceParent(service)
        metrics = self.metrics(service)
        label = (("service", "shout"),)
        self.assertNotIn(("myproject_last_reload_timestamp_seconds", label), samples(metrics))
        for _ in range(3):
            reloads.reload()
        found = samples(metrics)
        total = "myproject_reloads_total"
        self.assertEqual(2, found[total, (("result", "applied"), *label)])
        self.assertEqual(1, found[total, (("result", "refused"), *label)])
        when = datetime.fromtimestamp(found["myproject_last_reload_timestamp_seconds", label], UTC)
        self.assertLess(abs(datetime.now(UTC) - when).total_seconds(), 3600)

    def test_the_state_is_told_by_service(self) -> None:
        service = self.service()
        metrics = self.metrics(service)

        def found() -> tuple[float, float]:
            told = samples(metrics)
            label = (("service", "shout"),)
            return told["myproject_ready", label], told["myproject_draining", label]

        self.assertEqual((0, 0), found())
        service.startService()
        self.assertEqual((1, 0), found())
        service.stopService()
        self.assertEqual((0, 1), found())


class StateTests(Case):
    """One process, several services: it is ready when all are."""

    def test_a_service_is_ready_once_its_ports_are_open(self) -> None:
        service = self.service()
        metrics = self.metrics(service)
        self.assertIs(State.STARTING, metrics.state)
        service.startService()
        self.assertIs(State.READY, metrics.state)
        service.stopService()
        self.assertIs(State.DRAINING, metrics.state)
        service.startService()
        self.assertIs(State.READY, metrics.state)
        service.stopService()

    def test_a_service_whose_factory_is_in_trouble_is_failing(self) -> None:
        @implementer(IHasHealth)
        class Ailing(Factory):
            wrong: str | None = None

            def trouble(self) -> str | None:
                return self.wrong

        above, below = self.service(name="door"), self.service()
        below.factory = factory = Ailing()
        self.assertTrue(verifyObject(IHasHealth, factory))
        self.host(above, "inner", below)
        metrics = self.metrics(above)
        factory.wrong = "its disk is full"
        self.assertIs(State.STARTING, below.state)
        above.startService()
        self.assertEqual((State.READY, State.FAILING), (above.state, below.state))
        self.assertIs(State.FAILING, metrics.state)
        factory.wrong = None
        self.assertIs(State.READY, metrics.state)
        factory.wrong = "its disk is full"
        above.stopService()
        self.assertIs(State.DRAINING, metrics.state)

    def test_bound_is_not_yet_started(self) -> None:
        service = self.service()
        service.privilegedStartService()
        self.assertIs(State.STARTING, self.metrics(service).state)
        service.stopService()

    def test_a_port_that_takes_its_time_is_waited_for(self) -> None:
        opening: defer.Deferred[Any] = defer.Deferred()
        service = self.service()
        service.listening._listen = lambda _: opening  # type: ignore[method-assign,assignment]
        service.startService()
        self.assertIs(State.STARTING, service.state)
        opening.callback([SimpleNamespace(stopListening=lambda: None)])
        self.assertIs(State.READY, service.state)
        service.stopService()

    def test_two_ports_of_one_description_do_not_stand_for_another(self) -> None:
        closing = SimpleNamespace(stopListening=lambda: None)
        opening: defer.Deferred[Any] = defer.Deferred()
        answers = iter([defer.succeed([closing, closing]), opening])
        service = self.service()
        service.listening.descriptions = ("7007", "slow:")
        service.listening._listen = lambda _: next(answers)  # type: ignore[method-assign,assignment]
        service.startService()
        self.assertIs(State.STARTING, service.state)
        opening.callback([closing])
        self.assertIs(State.READY, service.state)
        service.stopService()

    def test_what_is_hosted_counts(self) -> None:
        above, below = self.service(name="door"), self.service()
        self.host(above, "inner", below)
        metrics = self.metrics(above)
        above.startService()
        self.assertIs(State.READY, metrics.state)
        below.stopService()
        self.assertIs(State.DRAINING, metrics.state)
        below.startService()
        below.listening.running = 0
        below.listening._bound = False
        self.assertIs(State.STARTING, metrics.state)
        above.stopService()
        self.assertIs(State.DRAINING, metrics.state)


class NamesTests(Case):
    """Which service a sample is about."""

    def services(self, metrics: Metrics) -> list[str]:
        return [
            dict(labels)["service"]
            for name, labels in samples(metrics)
            if name == "myproject_connections_open"
        ]

    def test_a_hosted_service_has_the_name_that_the_file_gives_it(self) -> None:
        above = self.service(name="door")
        self.host(above, "first", self.service())
        self.host(above, "second", self.service())
        self.assertEqual(["door", "first", "second"], self.services(self.metrics(above)))

    def test_no_two_services_have_one_name(self) -> None:
        above = self.service(name="door")
        for name in ("door", "door-2", "door"):
            self.host(above, name, self.service())
        self.assertEqual(
            ["door", "door-2", "door-2-2", "door-3"], self.services(self.metrics(above))
        )


class FactoryTests(Case):
    """What factories add."""

    def test_a_factory_s_metrics_get_the_service_s_label(self) -> None:
        factory = Counting()
        self.assertTrue(verifyObject(IHasMetrics, factory))
        factory.shouts.inc(3)
        found = samples(self.metrics(self.service(factory)))
        self.assertEqual(3, found["shout_words_total", (("service", "shout"),)])

    def test_two_services_with_the_same_factory_share_the_family(self) -> None:
        above = self.service(Counting(), name="door")
        self.host(above, "inner", self.service(Counting()))
        written = text(self.metrics(above).collect())
        self.assertEqual(1, written.count("# TYPE shout_words_total counter"))
        self.assertIn('shout_words_total{service="inner"} 0.0', written)

    def test_the_front_door_tells_what_those_behind_it_do(self) -> None:
        door = MyFactory({"Shout": Counting(), "mute": Factory.forProtocol(Protocol)})
        self.assertTrue(verifyObject(IHasMetrics, door))
        found = samples(self.metrics(self.service(door, name="door")))
        labels = (("offered", "Shout"), ("service", "door"))
        self.assertEqual(0, found["shout_words_total", labels])

    def test_one_that_fails_is_left_out_and_logged_and_the_others_are_told(self) -> None:
        above = self.service(Broken(), name="door")
        self.host(above, "inner", self.service(Counting()))
        found = samples(self.metrics(above))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual(0, found["shout_words_total", (("service", "inner"),)])
        self.assertEqual(set(), {name for name, _ in found if name == "shout_loudness"})


class ProcessTests(Case):
    def test_versions_and_reactor_are_told(self) -> None:
        from myproject import __version__

        (labels,) = (
            dict(labels)
            for name, labels in samples(self.metrics(self.service()))
            if name == "myproject_build_info"
        )
        self.assertEqual(__version__, labels["version"])
        self.assertEqual("MemoryReactorClock", labels["reactor"])
        self.assertEqual({"version", "twisted", "python", "reactor"}, set(labels))

    def test_the_process_is_told_of(self) -> None:
        found = samples(self.metrics(self.service()))
        self.assertGreater(found["process_open_fds", ()], 0)
        self.assertGreater(found["process_resident_memory_bytes", ()], 0)

    def test_the_process_is_told_of_where_proc_has_nothing_but_processes(self) -> None:
        whole = {one.name: one.samples[0].value for one in _Process(registry=None).collect()}
        proc = self.folder()
        proc.joinpath("self").symlink_to(f"/proc/{os.getpid()}")
        hidden = _Process(registry=None, proc=str(proc))
        found = {one.name: one.samples[0].value for one in hidden.collect()}
        self.assertEqual(set(whole), set(found))
        name = "process_start_time_seconds"
        self.assertLess(abs(whole[name] - found[name]), 60)

    def test_the_reactor_is_told_of_while_it_is_measured(self) -> None:
        metrics = self.metrics(self.service())
        self.assertNotIn(("myproject_reactor_delayed_calls", ()), samples(metrics))
        metrics.startService()
        self.reactor.addReader(cast("Any", object()))
        self.reactor.advance(LAG_INTERVAL)
        found = samples(metrics)
        self.assertEqual(1, found["myproject_reactor_delayed_calls", ()])
        self.assertEqual(1, found["myproject_reactor_readers", ()])
        self.assertEqual(0, found["myproject_reactor_writers", ()])
        self.assertEqual(1, found["myproject_reactor_lag_seconds_count", ()])
        metrics.stopService()
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_a_reactor_that_does_not_tell_its_descriptors_has_none(self) -> None:
        metrics = Metrics(self.service(), Clock())
        metrics.startService()
        names = {name for name, _ in samples(metrics)}
        metrics.stopService()
        self.assertNotIn("myproject_reactor_readers", names)
        self.assertIn("myproject_reactor_delayed_calls", names)

    def test_nothing_of_ours_is_in_the_library_s_global_registry(self) -> None:
        metrics = self.metrics(self.service())
        ours = {family.name for family in metrics.collect() if family.name.startswith("myproject")}
        self.assertEqual(set(), ours & {family.name for family in REGISTRY.collect()})

    def test_the_modules_install_no_reactor_and_start_no_thread(self) -> None:
        code = (
            "import sys, threading, myproject.health, myproject.metrics, myproject_chat.metrics\n"
            "print('twisted.internet.reactor' in sys.modules, threading.active_count())"
        )
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        self.assertEqual("False 1\n", found.stdout)

    def test_who_does_not_ask_for_metrics_does_not_pay_for_them(self) -> None:
        code = (
            "import sys\n"
            "from twisted.plugin import getPlugins\n"
            "from myproject.interfaces import IFactoryMaker\n"
            "for maker in getPlugins(IFactoryMaker):\n"
            "    options = maker.options()\n"
            "    options.parseOptions([])\n"
            "    maker.makeService(options)\n"
            "print([name for name in ('prometheus_client', 'twisted.web') if name in sys.modules])"
        )
        found = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=self.folder(),
        )
        self.assertEqual("[]\n", found.stdout)

    def folder(self) -> Path:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        return folder


class ReferenceTests(Case):
    """docs/reference/metrics.md says what is served."""

    def test_every_family_of_the_core_has_its_row(self) -> None:
        service = self.service()
        identity = SimpleNamespace(name="a", ends=datetime(2030, 1, 1, tzinfo=UTC))
        service.tls = cast("Any", SimpleNamespace(identities=[identity]))
        options = Options({})
        options.resolve()
        reloads = ReloadService(options, lambda *_: True)
        reloads.setServiceParent(service)
        reloads.reload()
        metrics = self.metrics(service)
        metrics.startService()
        families = metrics.collect()
        metrics.stopService()
        ours = [row_of(one) for one in families if one.name.startswith("myproject_")]
        told = [row for row in rows() if row.startswith("| `myproject_")]
        self.assertEqual(
            sorted(ours), sorted(row for row in told if not row.startswith("| `myproject_chat_"))
        )
        # The words of these are the library's.
        others = {row_of(one).split("`")[1] for one in families} - {
            row.split("`")[1] for row in told
        }
        self.assertEqual(set(), others - {row.split("`")[1] for row in rows()})

    def test_every_family_of_the_chat_has_its_row(self) -> None:
        from tests.chat.harness import Chat

        expected = [row_of(family, ["service"]) for family in Chat().factory.metrics()]
        self.assertEqual(expected, [row for row in rows() if row.startswith("| `myproject_chat_")])


def rows() -> list[str]:
    return [
        line
        for line in REFERENCE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]


def row_of(family: Metric, more: Iterable[str] = ()) -> str:
    """A family as a row of the reference: name, type, labels, what it says."""
    name = {"counter": f"{family.name}_total", "info": f"{family.name}_info"}.get(
        family.type, family.name
    )
    labels = {label for sample in family.samples for label in sample.labels} - {"le"} | set(more)
    told = " ".join(f"`{label}`" for label in sorted(labels))
    words = re.sub(r"\s+", " ", family.documentation).rstrip(".") + "."
    return f"| `{name}` | {family.type} | {told} | {words} |"
