"""Metrics and health as Prometheus and a balancer see them, with the installed ``twistd``."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tests.support import Running, ask, connect, exchange, free_port, run, start, wait_until


def get(port: int, path: str) -> tuple[int, str]:
    """Ask for a page: the status, and the body."""
    head, _, body = exchange(port, f"GET {path} HTTP/1.1\r\n\r\n".encode()).partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def metrics(port: int) -> dict[tuple[str, str], float]:
    """The metrics by name and service."""
    status, body = get(port, "/metrics")
    assert status == 200, (status, body)
    return {
        (sample.name, sample.labels.get("service", "")): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


class MetricsTests(SynchronousTestCase):
    def begin(self, *words: str) -> tuple[Running, int]:
        port = free_port()
        return start(self, "-n", *words, "--metrics", f"{port}").wait_for_port(port), port

    def test_traffic_is_counted_and_told_while_the_service_drains(self) -> None:
        port = free_port()
        running, pages = self.begin("myproject-echo", "-p", f"{port}", "--drain-timeout", "60")
        wait_until(lambda: get(pages, "/readyz") == (200, "ready\n"))
        with connect(port) as client:
            client.sendall(b"hello")
            self.assertEqual(b"hello", client.recv(5, 0x100))  # MSG_WAITALL
            found = metrics(pages)
            self.assertEqual(1, found["myproject_connections_open", "myproject-echo"])
            self.assertEqual(5, found["myproject_received_bytes_total", "myproject-echo"])
            self.assertEqual(5, found["myproject_sent_bytes_total", "myproject-echo"])
            self.assertGreater(found["process_cpu_seconds_total", ""], 0)
            running.signal(signal.SIGTERM)
            wait_until(lambda: get(pages, "/readyz") == (503, "draining\n"))
            self.assertEqual((200, "alive\n"), get(pages, "/healthz"))
            self.assertEqual(1, metrics(pages)["myproject_draining", "myproject-echo"])
        self.assertEqual(0, running.wait())
        self.assertNotIn("GET /", running.log)

    def test_one_endpoint_tells_of_all_that_a_process_hosts(self) -> None:
        file = Path(self.mktemp()).absolute()
        door, echo, chat = free_port(), free_port(), free_port()
        file.write_text(
            f'[services.first]\nplugin = "myproject-echo"\narguments = ["-p", "{echo}"]\n'
            f'[services.second]\nplugin = "myproject-chat"\narguments = ["-p", "{chat}"]\n'
        )
        words = ("--offer", "myproject-echo", "--services", f"{file}")
        _, pages = self.begin("myproject", "-p", f"{door}", *words)
        wait_until(lambda: get(pages, "/readyz") == (200, "ready\n"))
        self.assertEqual(b"hello", exchange(echo, b"hello"))
        ask(chat, b"NICK al\r\nUSER al 0 * :Al\r\n", b" 001 al ")
        ask(door, b"myproject-echo\r\nhi", b"hi")
        found = metrics(pages)
        self.assertEqual(1, found["myproject_connections_total", "first"])
        self.assertEqual(1, found["myproject_connections_total", "second"])
        self.assertEqual(1, found["myproject_connections_total", "myproject"])
        self.assertIn(("myproject_chat_users", "second"), found)

    def test_a_reload_is_counted(self) -> None:
        port = free_port()
        running, pages = self.begin("myproject-echo", "-p", f"{port}")
        # Ports open before there are handlers for signals: an answer is a sign of both.
        wait_until(lambda: get(pages, "/readyz") == (200, "ready\n"))
        running.signal(signal.SIGHUP)
        running.wait_for_log("reloaded")
        self.assertGreater(
            metrics(pages)["myproject_last_reload_timestamp_seconds", "myproject-echo"], 0
        )

    def test_a_port_in_use_ends_the_process_with_one_line(self) -> None:
        port = free_port()
        _, pages = self.begin("myproject-echo", "-p", f"{port}")
        done = run(
            "-n",
            "myproject-echo",
            "-p",
            f"{free_port()}",
            "--metrics",
            f"{pages}",
            cwd=self.mktemp(),
        )
        self.assertEqual(os.EX_UNAVAILABLE, done.returncode)
        self.assertIn(f"cannot listen on metrics port {pages}: address already in use", done.stderr)
        self.assertEqual(1, len(done.stderr.splitlines()))
