"""Every reactor that Linux has: all three subcommands answer under each, over IPv4 and IPv6."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.core.test_twistd import SUBCOMMANDS
from tests.support import ask, free_port, start


class ReactorTests(SynchronousTestCase):
    """``twistd --reactor=NAME``."""

    def check(self, reactor: str, class_name: str) -> None:
        ports = {subcommand: free_port() for subcommand in SUBCOMMANDS}
        servers = {
            subcommand: start(self, f"--reactor={reactor}", "-n", subcommand, "-p", f"{port}")
            for subcommand, port in ports.items()
        }
        for subcommand, server in servers.items():
            server.wait_for_port(ports[subcommand])
            _, question, marker = SUBCOMMANDS[subcommand]
            for host in ("127.0.0.1", "::1"):
                ask(ports[subcommand], question, marker, host)
        for server in servers.values():
            server.stop()
            # No module of ours has installed another before this one was chosen.
            self.assertIn(f".{class_name}.", server.stdout)
            self.assertEqual("", server.stderr)

    def test_epoll(self) -> None:
        self.check("epoll", "EPollReactor")

    def test_poll(self) -> None:
        self.check("poll", "PollReactor")

    def test_select(self) -> None:
        self.check("select", "SelectReactor")

    def test_asyncio(self) -> None:
        self.check("asyncio", "AsyncioSelectorReactor")
