"""Limits: whose connections are let in, and how many, against a simple model of the same rules."""

from __future__ import annotations

import ipaddress
import resource
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from myproject import limits
from myproject.drain import DRAIN_TIMEOUT
from myproject.limits import (
    MAX_BUFFERED,
    RESERVED_DESCRIPTORS,
    Admission,
    Limits,
    Reason,
    descriptor_limit,
    host_of,
)
from myproject.options import Options


def networks(*texts: str) -> tuple[limits.Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


class HostTests(SynchronousTestCase):
    """What counts as one host."""

    def test_ipv4(self) -> None:
        """Each IPv4 address is a host."""
        self.assertNotEqual(host_of("192.0.2.1"), host_of("192.0.2.2"))

    def test_ipv6(self) -> None:
        """All addresses of an IPv6 /64 are one host, those of the next are another."""
        self.assertEqual(host_of("2001:db8::1"), host_of("2001:db8::ffff:ffff:ffff:ffff"))
        self.assertNotEqual(host_of("2001:db8::1"), host_of("2001:db8:0:1::1"))

    def test_mapped(self) -> None:
        """An IPv4 peer of a dual-stack socket is the host that it is elsewhere."""
        self.assertEqual(host_of("192.0.2.1"), host_of("::ffff:192.0.2.1"))

    def test_scope(self) -> None:
        """The interface of a link-local address says nothing about the host."""
        self.assertEqual(host_of("fe80::1"), host_of("fe80::1%eth0"))

    def test_ipv4_is_not_ipv6(self) -> None:
        """No IPv6 network is taken for an IPv4 address of the same number."""
        self.assertNotEqual(host_of("0.0.0.1"), host_of("0:0:0:1::"))

    def test_none(self) -> None:
        """A peer on a Unix socket, or one with a name, is no host."""
        self.assertEqual([None] * 4, [host_of(text) for text in (None, b"/x", "", "localhost")])

    @given(st.text() | st.binary() | st.none())
    def test_anything(self, text: object) -> None:
        """Nothing that stands where an address should raises."""
        host_of(text)


class NetworkTests(SynchronousTestCase):
    """Allow and deny."""

    def judge(self, given: Limits, text: object) -> Reason | None:
        return Admission(given).judge(text, 0.0)

    def test_default(self) -> None:
        """All are let in, the loopback among them."""
        for text in ("192.0.2.1", "2001:db8::1", "127.0.0.1", None):
            self.assertIsNone(self.judge(Limits(), text))

    def test_deny(self) -> None:
        given = Limits(deny=networks("192.0.2.0/24", "2001:db8::/32"))
        self.assertIs(Reason.DENIED, self.judge(given, "192.0.2.1"))
        self.assertIs(Reason.DENIED, self.judge(given, "2001:db8:9::1"))
        self.assertIsNone(self.judge(given, "192.0.3.1"))

    def test_allow(self) -> None:
        """Once a network is allowed, no other is."""
        given = Limits(allow=networks("192.0.2.0/24"))
        self.assertIsNone(self.judge(given, "192.0.2.1"))
        self.assertIs(Reason.DENIED, self.judge(given, "198.51.100.1"))
        self.assertIs(Reason.DENIED, self.judge(given, "2001:db8::1"))

    def test_deny_beats_allow(self) -> None:
        given = Limits(allow=networks("192.0.2.0/24"), deny=networks("192.0.2.7"))
        self.assertIs(Reason.DENIED, self.judge(given, "192.0.2.7"))
        self.assertIsNone(self.judge(given, "192.0.2.8"))

    def test_mapped(self) -> None:
        """A network keeps out its peers on a dual-stack socket too."""
        given = Limits(deny=networks("192.0.2.0/24"))
        self.assertIs(Reason.DENIED, self.judge(given, "::ffff:192.0.2.1"))

    def test_unix_socket(self) -> None:
        """Networks are nothing to a peer without an address."""
        self.assertIsNone(self.judge(Limits(allow=networks("192.0.2.0/24")), None))

    def test_denied_spends_no_token(self) -> None:
        """What is refused for another reason leaves the host's rate alone."""
        admission = Admission(Limits(connection_rate=1, deny=networks("192.0.2.1")))
        admission.judge("192.0.2.1", 0.0)
        self.assertEqual(0, admission.buckets)


class CapacityTests(SynchronousTestCase):
    """How many may be open."""

    def test_descriptors(self) -> None:
        """The file descriptors bound what is open, less some that are kept."""
        self.assertEqual(1024 - RESERVED_DESCRIPTORS, Admission(Limits(), 1024).capacity)

    def test_least_counts(self) -> None:
        for most, descriptors, expected in ((10, 1024, 10), (5000, 1024, 992), (7, 0, 7)):
            admission = Admission(Limits(max_connections=most), descriptors)
            self.assertEqual(expected, admission.capacity)

    def test_few_descriptors(self) -> None:
        """With next to none, one connection can still be open."""
        self.assertEqual(1, Admission(Limits(), 8).capacity)

    def test_no_limit(self) -> None:
        self.assertEqual(0, Admission(Limits()).capacity)

    def test_of_this_process(self) -> None:
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE)[0], descriptor_limit())

    def test_unlimited_process(self) -> None:
        self.patch(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
        self.assertEqual(0, descriptor_limit())


class RateTests(SynchronousTestCase):
    """Connections in a minute."""

    def test_burst_then_steady(self) -> None:
        """A host may open its minute's worth at once, then one as each token flows back."""
        admission = Admission(Limits(connection_rate=6))
        verdicts = [admission.judge("192.0.2.1", 100.0) for _ in range(7)]
        self.assertEqual([None] * 6 + [Reason.RATE], verdicts)
        self.assertIs(Reason.RATE, admission.judge("192.0.2.1", 109.0))
        self.assertIsNone(admission.judge("192.0.2.1", 110.1))
        self.assertIs(Reason.RATE, admission.judge("192.0.2.1", 110.2))

    def test_others(self) -> None:
        """One host's rate is nothing to another."""
        admission = Admission(Limits(connection_rate=1))
        admission.judge("192.0.2.1", 0.0)
        self.assertIs(Reason.RATE, admission.judge("192.0.2.1", 1.0))
        self.assertIsNone(admission.judge("192.0.2.2", 1.0))

    def test_forgotten_when_full(self) -> None:
        """Hosts that have been quiet for a minute take no memory, once others come."""
        admission = Admission(Limits(connection_rate=1))
        for number in range(1000):
            admission.judge(f"10.0.{number // 256}.{number % 256}", 0.0)
        for number in range(600):
            admission.judge(f"10.1.{number // 256}.{number % 256}", 61.0)
        self.assertEqual(600, admission.buckets)

    def test_bounded(self) -> None:
        """However many hosts there are, the table is no larger than its bound."""
        self.patch(limits, "MAX_BUCKETS", 100)
        admission = Admission(Limits(connection_rate=1))
        for number in range(1000):
            self.assertIsNone(admission.judge(f"10.0.{number // 256}.{number % 256}", 0.0))
        self.assertEqual(100, admission.buckets)
        self.assertIs(Reason.RATE, admission.judge("10.0.3.231", 0.0))

    @given(st.integers(1, 100), st.lists(st.floats(0, 30, allow_subnormal=False), max_size=200))
    def test_never_more_than_promised(self, rate: int, pauses: list[float]) -> None:
        """In no minute does a host open more than twice its rate, nor is it refused below it."""
        admission = Admission(Limits(connection_rate=rate))
        now = 0.0
        opened: list[float] = []
        for pause in pauses:
            now += pause
            recent = sum(one > now - 60 for one in opened)
            if admission.judge("192.0.2.1", now) is None:
                opened.append(now)
                self.assertLess(recent, 2 * rate)
            else:
                self.assertGreaterEqual(recent, rate - 1)


class OptionsTests(SynchronousTestCase):
    """The limits as a person sets them."""

    def test_defaults(self) -> None:
        """The options' defaults are those of the modules that know why."""
        options = Options({})
        options.resolve()
        self.assertEqual(Limits(max_buffered=MAX_BUFFERED), Limits.of(options))
        self.assertEqual(DRAIN_TIMEOUT, options.drain_timeout)

    def test_all(self) -> None:
        options = Options({"MYPROJECT_ALLOW": "192.0.2.0/24 2001:db8::/32"})
        words = (
            "--max-connections 5 --max-connections-per-host 4 --connection-rate 3 --deny 192.0.2.1"
            " --idle-timeout 2.5 --max-buffered 1"
        )
        options.parseOptions(words.split())
        expected = Limits(
            max_connections=5,
            max_connections_per_host=4,
            connection_rate=3,
            allow=networks("192.0.2.0/24", "2001:db8::/32"),
            deny=networks("192.0.2.1"),
            idle_timeout=2.5,
            max_buffered=1,
        )
        self.assertEqual(expected, Limits.of(options))

    def test_not_a_network(self) -> None:
        """What is no network is refused, and says which one was near."""
        for text, problem in (
            ("example.org", "it is not a network"),
            ("192.0.2.1/24", "it is an address within 192.0.2.0/24, not a network"),
        ):
            with self.assertRaisesRegex(ValueError, problem):
                Options.settings["deny"].coerce([text])

    def test_written_back(self) -> None:
        """--print-config writes them as the file has them."""
        options = Options({"MYPROJECT_DENY": "192.0.2.0/24"})
        options.resolve()
        self.assertIn('deny = ["192.0.2.0/24"]', options.as_toml())


HOSTS = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", None]
KEYS = {"2001:db8::1": "2001:db8::/64", "2001:db8::2": "2001:db8::/64"}


class AdmissionMachine(RuleBasedStateMachine):
    """An admission against the same rules written as plainly as can be."""

    connections: Bundle[tuple[str | None, object]] = Bundle("connections")

    @initialize(most=st.integers(0, 6), per_host=st.integers(0, 3), rate=st.sampled_from([0, 1, 3]))
    def begin(self, most: int, per_host: int, rate: int) -> None:
        self.limits = Limits(
            max_connections=most,
            max_connections_per_host=per_host,
            connection_rate=rate,
            deny=networks("192.0.2.2"),
        )
        self.admission = Admission(self.limits)
        self.now = 0.0
        self.open: Counter[str | None] = Counter()
        self.tokens: dict[str, float] = {}

    @rule(seconds=st.integers(1, 90))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        rate = self.limits.connection_rate
        for key, tokens in self.tokens.items():
            self.tokens[key] = min(rate, tokens + rate * seconds / 60)

    @rule(target=connections, host=st.sampled_from(HOSTS))
    def connect(self, host: str | None) -> tuple[str | None, object]:
        expected = self.expected(host)
        actual = self.admission.judge(host, self.now)
        assert actual is expected, (actual, expected)
        if actual is not None:
            return host, "refused"
        key = KEYS.get(str(host), host)
        self.open[key] += 1
        if key is not None and self.limits.connection_rate:
            self.tokens[key] -= 1
        return key, self.admission.enter(host)

    def expected(self, host: str | None) -> Reason | None:
        key = KEYS.get(str(host), host)
        if host == "192.0.2.2":
            return Reason.DENIED
        if 0 < self.limits.max_connections <= self.open.total():
            return Reason.FULL
        if key is None:
            return None
        if 0 < self.limits.max_connections_per_host <= self.open[key]:
            return Reason.HOST_FULL
        rate = self.limits.connection_rate
        if rate and self.tokens.setdefault(key, float(rate)) < 1 - 1e-6:
            return Reason.RATE
        return None

    @rule(connection=consumes(connections))
    def disconnect(self, connection: tuple[str | None, object]) -> None:
        key, entered = connection
        if entered != "refused":
            self.open[key] -= 1
            self.admission.leave(entered)  # type: ignore[arg-type]

    @invariant()
    def counts(self) -> None:
        if hasattr(self, "admission"):
            assert self.admission.open == self.open.total()
            assert self.admission.hosts == sum(
                1 for key, number in self.open.items() if number and key is not None
            )


class AdmissionMachineTests(SynchronousTestCase):
    """Any order of connects, disconnects and time."""

    def test_against_the_model(self) -> None:
        run_state_machine_as_test(AdmissionMachine, settings=settings(deadline=None))
