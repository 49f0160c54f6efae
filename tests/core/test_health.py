"""Health: three pages, for whoever asks, of whom some mean harm."""

from __future__ import annotations

import errno
import os
import sys
from io import StringIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import defer, error
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from myproject.errors import CannotStart
from myproject.health import (
    CONNECTIONS,
    DEADLINE,
    HEAD_LIMIT,
    HealthService,
    Source,
    prefers_openmetrics,
)
from myproject.service import FactoryService, State

#: What Prometheus 3 sends.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def families() -> list[Metric]:
    return [CounterMetricFamily("shouts_total", "Shouts.", 3), GaugeMetricFamily("loud", "", 1)]


class Transport(StringTransport):
    """A connection that is lost when it is closed, as a socket's is."""

    protocol: Any = None
    ended = False

    def loseConnection(self) -> None:
        super().loseConnection()
        self.end()

    def abortConnection(self) -> None:
        super().abortConnection()
        self.end()

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self.connectionLost(connectionDone)

    def connectionLost(self, reason: Failure) -> None:
        self.protocol.connectionLost(reason)


class Client:
    """Somebody who connects."""

    def __init__(self, factory: Any) -> None:
        self.protocol = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        self.transport = Transport()
        self.transport.protocol = self.protocol
        if self.protocol is not None:
            self.protocol.makeConnection(self.transport)

    def say(self, *pieces: bytes) -> Client:
        for piece in pieces:
            if not self.transport.ended:
                self.protocol.dataReceived(piece)
        return self

    @property
    def answer(self) -> tuple[int, dict[str, str], bytes]:
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return int(status.split()[1]), headers, body


class Case(SynchronousTestCase):
    """The pages, served in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.state = State.READY
        self.source: Source = families
        self.service = HealthService(["9100"], self.measure, lambda: self.state, self.reactor)
        self.service.privilegedStartService()
        self.service.startService()
        ((self.port, self.factory, _, self.interface),) = self.reactor.tcpServers

    def measure(self) -> Any:
        return self.source()

    def client(self) -> Client:
        return Client(self.factory)

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        client = self.client().say("\r\n".join([*lines, "", ""]).encode())
        self.assertTrue(client.transport.ended)
        return client.answer


class PageTests(Case):
    def test_metrics_are_in_the_text_format(self) -> None:
        code, headers, body = self.ask("/metrics")
        self.assertEqual(200, code)
        self.assertEqual("text/plain; version=0.0.4; charset=utf-8", headers["content-type"])
        found = text_string_to_metric_families(body.decode())
        self.assertEqual(["shouts", "loud"], [family.name for family in found])

    def test_who_prefers_openmetrics_gets_it(self) -> None:
        code, headers, body = self.ask("/metrics?x=y", Accept=PROMETHEUS)
        self.assertEqual(200, code)
        self.assertEqual(
            "application/openmetrics-text; version=1.0.0; charset=utf-8", headers["content-type"]
        )
        found = openmetrics_families(body.decode())
        self.assertEqual(["shouts", "loud"], [family.name for family in found])

    def test_the_process_lives_whatever_the_service_does(self) -> None:
        for state in State:
            self.state = state
            self.assertEqual((200, b"alive\n"), self.ask("/healthz")[::2])

    def test_only_who_is_ready_says_so(self) -> None:
        for state in State:
            code = 200 if state is State.READY else 503
            self.state = state
            self.assertEqual((code, f"{state.value}\n".encode()), self.ask("/readyz")[::2])

    def test_head_has_the_headers_of_get_and_no_body(self) -> None:
        for path in ("/metrics", "/healthz", "/readyz", "/else"):
            code, headers, body = self.ask(path, "HEAD")
            as_get = self.ask(path)
            self.assertEqual((as_get[0], b""), (code, body))
            self.assertEqual(as_get[1]["content-length"], headers["content-length"])
            self.assertEqual(str(len(as_get[2])), headers["content-length"])

    def test_there_is_nothing_else(self) -> None:
        for path in ("/", "/metrics/", "//metrics", "/metrics/x", "/%6detrics", "/METRICS", "*"):
            code, _, body = self.ask(path)
            self.assertIn(code, (404, 405), path)
            self.assertNotIn(b"shouts", body)

    def test_other_methods_are_refused(self) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "get", "X" * 100):
            code, headers, _ = self.ask("/metrics", method)
            self.assertEqual((405, "get, head"), (code, headers["allow"]))

    def test_nothing_is_kept_by_those_between_and_no_version_is_told(self) -> None:
        _, headers, _ = self.ask("/healthz")
        self.assertEqual("no-store", headers["cache-control"])
        self.assertNotIn("server", headers)

    def test_metrics_may_come_later(self) -> None:
        later: defer.Deferred[list[Metric]] = defer.Deferred()
        self.source = lambda: later  # type: ignore[assignment,return-value]
        client = self.client().say(b"GET /metrics HTTP/1.1\r\n\r\n")
        self.assertEqual(b"", client.transport.value())
        later.callback(families())
        self.assertEqual(200, client.answer[0])
        self.assertTrue(client.transport.ended)

    def test_who_leaves_before_they_come_is_not_missed(self) -> None:
        cancelled: list[object] = []
        later: defer.Deferred[list[Metric]] = defer.Deferred(cancelled.append)
        self.source = lambda: later  # type: ignore[assignment,return-value]
        client = self.client().say(b"GET /metrics HTTP/1.1\r\n\r\n")
        client.transport.end()
        self.assertEqual([later], cancelled)
        self.assertEqual(b"", client.transport.value())

    def test_metrics_that_cannot_be_had_are_the_log_s_affair(self) -> None:
        def fail() -> list[Metric]:
            raise ZeroDivisionError("secret")

        self.source = fail
        code, _, body = self.ask("/metrics")
        self.assertEqual(500, code)
        self.assertNotIn(b"secret", body)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


class HarmTests(Case):
    """Those who hold on, send much, or send nonsense."""

    def tearDown(self) -> None:
        self.service.stopService()
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_a_connection_serves_one_request(self) -> None:
        request = b"GET /healthz HTTP/1.1\r\n\r\n"
        client = self.client().say(request + request)
        self.assertEqual(1, client.transport.value().count(b"alive"))
        self.assertEqual("close", client.answer[1]["connection"])
        self.assertTrue(client.transport.ended)

    def test_who_says_nothing_or_a_byte_at_a_time_is_cut_off(self) -> None:
        silent, slow = self.client(), self.client()
        for _ in range(int(DEADLINE) - 1):
            self.reactor.advance(1)
            slow.say(b"G")
        self.assertFalse(silent.transport.ended or slow.transport.ended)
        self.reactor.advance(1)
        self.assertTrue(silent.transport.disconnected and slow.transport.disconnected)

    def test_who_does_not_read_the_answer_is_cut_off(self) -> None:
        client = self.client()
        client.transport.loseConnection = lambda: None  # type: ignore[method-assign]
        client.say(b"GET /healthz HTTP/1.1\r\n\r\n")
        self.reactor.advance(DEADLINE)
        self.assertTrue(client.transport.ended)

    def test_who_has_gone_is_forgotten(self) -> None:
        self.client().transport.end()
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_a_head_that_is_too_long_is_refused(self) -> None:
        longest = b"x" * HEAD_LIMIT
        line = b"X: " + b"y" * 100 + b"\r\n"
        for head in (
            b"GET /healthz?" + longest + b" HTTP/1.1\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nX: " + longest + b"\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\n" + line * (HEAD_LIMIT // 100) + b"\r\n",
        ):
            client = self.client().say(head)
            self.assertTrue(client.transport.ended)
            self.assertNotIn(b" 200 ", client.transport.value())

    def test_a_line_that_does_not_end_is_not_kept(self) -> None:
        client = self.client().say(b"x" * (HEAD_LIMIT + 3))
        self.assertTrue(client.transport.ended)

    def test_a_body_is_dropped_as_it_comes(self) -> None:
        for header in (b"Content-Length: 9999999999", b"Transfer-Encoding: chunked"):
            client = self.client().say(b"POST /metrics HTTP/1.1\r\n" + header + b"\r\n\r\n")
            piece = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n" if b"chunked" in header else b"x" * 65536
            for _ in range(50):
                client.say(piece)
            self.assertEqual(b"", client.protocol.requests[0].content.getvalue())
            self.reactor.advance(DEADLINE)
            self.assertTrue(client.transport.ended)

    def test_a_request_with_a_body_is_answered_behind_it(self) -> None:
        client = self.client().say(b"GET /healthz HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
        self.assertEqual(200, client.answer[0])

    def test_no_more_connect_than_may(self) -> None:
        clients = [self.client() for _ in range(CONNECTIONS + 1)]
        self.assertEqual([False] * CONNECTIONS, [one.transport.ended for one in clients[:-1]])
        self.assertTrue(clients[-1].protocol is None or clients[-1].transport.ended)

    @given(st.lists(st.binary(max_size=60), max_size=20))
    def test_bytes_of_any_kind_do_no_harm(self, pieces: list[bytes]) -> None:
        client = self.client().say(*pieces)
        self.reactor.advance(DEADLINE)
        self.assertTrue(client.transport.ended)

    @given(
        st.sampled_from([b"GET", b"HEAD", b"POST", b"*"]),
        st.binary(max_size=20),
        st.lists(
            st.tuples(
                st.sampled_from(
                    [b"Accept", b"Host", b"Content-Length", b"Transfer-Encoding", b"X"]
                ),
                st.one_of(st.binary(max_size=20), st.sampled_from([b"chunked", b"5", b"*/*;q=x"])),
            ),
            max_size=5,
        ),
        st.integers(1, 40),
    )
    def test_nearly_requests_in_any_cut_do_no_harm(
        self, method: bytes, path: bytes, headers: list[tuple[bytes, bytes]], size: int
    ) -> None:
        lines = [method + b" /" + path + b" HTTP/1.1", *(b": ".join(one) for one in headers)]
        data = b"\r\n".join([*lines, b"", b"hello"])
        client = self.client().say(
            *(data[start : start + size] for start in range(0, len(data), size))
        )
        self.reactor.advance(DEADLINE)
        self.assertTrue(client.transport.ended)

    def test_who_is_connected_when_all_ends_is_cut_off(self) -> None:
        client = self.client()
        self.service.stopService()
        self.assertTrue(client.transport.disconnected)


class NegotiationTests(SynchronousTestCase):
    def test_what_is_chosen(self) -> None:
        for accept, expected in (
            ("", False),
            ("*/*", False),
            ("text/plain", False),
            (PROMETHEUS, True),
            ("application/openmetrics-text", True),
            ("Application/OpenMetrics-Text ; Version=0.0.1", True),
            ("application/openmetrics-text; version=2.0.0", False),
            ("application/openmetrics-text;q=0", False),
            ("application/openmetrics-text;q=0.2, text/plain;q=0.3", False),
            ("application/openmetrics-text;q=0.3, text/*;q=0.3", True),
            ("application/openmetrics-text;q=much, */*", False),
        ):
            self.assertIs(expected, prefers_openmetrics(accept), accept)

    @given(st.text())
    def test_any_text_can_be_asked_for(self, accept: str) -> None:
        prefers_openmetrics(accept)
        prefers_openmetrics(f"application/openmetrics-text;{accept}")


class PortTests(SynchronousTestCase):
    """Where the pages are served, and for how long."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.terminal = StringIO()
        self.patch(sys, "__stderr__", self.terminal)
        self.patch(sys, "argv", ["twistd"])

    def service(self, *descriptions: str) -> FactoryService:
        factory = Factory.forProtocol(Protocol)
        return FactoryService("shout", factory, ["tcp:7007"], self.reactor, metrics=descriptions)

    def test_a_number_means_the_loopback_and_a_description_what_it_says(self) -> None:
        service = self.service("9100", "tcp:9101", "unix:health.sock")
        service.startService()
        self.assertEqual(
            [(9100, "127.0.0.1"), (9101, ""), (7007, "")],
            [(port, interface) for port, _, _, interface in self.reactor.tcpServers],
        )
        self.assertEqual(["health.sock"], [one[0] for one in self.reactor.unixServers])
        service.stopService()

    def test_ports_are_bound_while_privileged_and_once(self) -> None:
        service = self.service("9100")
        service.privilegedStartService()
        self.assertEqual([9100, 7007], [one[0] for one in self.reactor.tcpServers])
        service.startService()
        self.assertEqual(2, len(self.reactor.tcpServers))
        service.stopService()

    def test_without_metrics_nothing_is_opened_and_no_clock_runs(self) -> None:
        service = self.service()
        service.startService()
        self.assertIsNone(service.health)
        self.assertEqual([7007], [one[0] for one in self.reactor.tcpServers])
        self.assertEqual([], self.reactor.getDelayedCalls())
        service.stopService()

    def test_a_port_in_use_is_one_line(self) -> None:
        def refuse(number: int, *_: object, **__: object) -> object:
            cause = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            raise error.CannotListenError("127.0.0.1", number, cause)

        self.patch(self.reactor, "listenTCP", refuse)
        refusal = self.assertRaises(CannotStart, self.service("9100").startService)
        self.assertEqual(
            "cannot listen on metrics port 9100: address already in use;"
            " choose another with --metrics",
            str(refusal),
        )
        self.assertEqual(f"twistd: {refusal}\n", self.terminal.getvalue())

    def test_the_pages_are_closed_when_the_service_s_own_port_cannot_be_had(self) -> None:
        closed: list[int] = []
        listen = self.reactor.listenTCP

        def some(number: int, *rest: Any, **more: Any) -> Any:
            if number == 7007:
                raise error.CannotListenError("", number, OSError(errno.EACCES, "no"))
            port: Any = listen(number, *rest, **more)
            port.stopListening = lambda: closed.append(number)
            return port

        self.patch(self.reactor, "listenTCP", some)
        self.assertRaises(CannotStart, self.service("9100").privilegedStartService)
        self.assertEqual([9100], closed)

    def test_it_is_told_that_connections_drain_until_the_last_has_gone(self) -> None:
        service = self.service("9100")
        service.startService()
        pages, own = (one[1] for one in self.reactor.tcpServers)
        held = Client(own)
        stopped = service.stopService()
        asking = b"GET /readyz HTTP/1.1\r\n\r\n"
        code, _, body = Client(pages).say(asking).answer
        self.assertEqual((503, b"draining\n"), (code, body))
        assert service.health is not None
        self.assertTrue(service.health.running)
        held.transport.end()
        self.successResultOf(stopped)
        self.assertFalse(service.health.running)
        self.assertEqual([], self.reactor.getDelayedCalls())
