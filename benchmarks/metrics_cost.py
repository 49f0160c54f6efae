"""
What do the gate's byte counters and ``--metrics`` cost the echo service?

Real ``twistd`` processes serve side by side, and take turns with the same short load: so many
connections, one message in flight on each, every byte that comes back compared. A turn's cost is the
CPU time that the kernel charged the server, by message; a server that waits for its turn costs the
others nothing. What counts is the median of the ratios of turns of one round, since
everything else on the machine changes from round to round.

========== ==============================================================================
uncounted  the gate judges and follows connections, but counts no bytes: the basis
again      the same once more: how far from 1 chance goes
counted    as it is without ``--metrics``
metrics    with ``--metrics``: a timer measures the event loop; what a scrape costs is told apart
========== ==============================================================================

The servers get one core and the load another. Now and then all are started anew: where a process has
its objects in memory makes it a few per cent faster or slower than its equal for as long as it lives.

glibc gives the memory of a large message back to the system and asks for it again, or does not,
depending on what else lies at its heap's end: any import moves that. Our reactor has it keep some
(`myproject.memory.keep_buffers`). The servers here are told to keep more (MALLOC), so that no difference
comes from there; ``--as-it-is`` leaves it to the reactor.

    python benchmarks/metrics_cost.py [generations] [--as-it-is]
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

#: How often all servers are started anew, and how many rounds each generation has.
GENERATIONS = 12
ROUNDS = 6

CONNECTIONS = 50

#: Bytes of a message, and how many of them a turn has on each connection: half a second or less.
LOADS = {64: 300, 65536: 24}

#: Scrapes by which the cost of one is measured, and how often a server is usually scraped.
SCRAPES = 100
SCRAPE_INTERVAL = 15.0

#: Bytes: free memory that is not given back, and what is large enough to be mapped on its own.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(64 * 2**20), "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20)}

#: For each variant: what is changed before the service is made, and whether it has metrics.
VARIANTS = {
    "uncounted": ("gate.Gate.watch_port = lambda self, port: None", False),
    "again": ("gate.Gate.watch_port = lambda self, port: None", False),
    "counted": ("", False),
    "metrics": ("", True),
}

TAC = """
from twisted.application.service import Application
from myproject import gate
from myproject.service import FactoryService
from myproject_echo.tap import Options, makeFactory

{change}
options = Options({{}})
options.resolve()
application = Application("echo")
ports = ["tcp:{port}:interface=127.0.0.1"]
FactoryService(
    "myproject-echo", makeFactory(options), ports, metrics={metrics!r}
).setServiceParent(application)
"""


@dataclass
class Server:
    """
    A variant that runs.

    :param name: what it is called.
    :param process: twistd.
    :param port: where it serves.
    :param metrics: where it serves its metrics; 0 for nowhere.
    """

    name: str
    process: subprocess.Popen[bytes]
    port: int
    metrics: int

    def cpu(self) -> float:
        """Seconds of CPU time that it has had: the first number of schedstat, in nanoseconds."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(name: str, folder: Path, core: int) -> Server:
    """Start a variant, and wait until it serves."""
    change, metrics = VARIANTS[name]
    port, other = free_port(), free_port() if metrics else 0
    tac = folder / f"{name}.tac"
    tac.write_text(TAC.format(change=change, port=port, metrics=[str(other)] if metrics else []))
    log = folder / f"{name}.log"
    # On the reactor that the subcommands take by themselves; a tac file is run on Twisted's.
    twistd = [str(Path(sys.executable).with_name("twistd")), "--reactor", "corked"]
    command = [*twistd, "-n", "--pidfile=", "-y", str(tac)]
    with log.open("wb") as stream:
        kept = {} if "--as-it-is" in sys.argv else MALLOC
        process = subprocess.Popen(
            command, cwd=folder, stdout=stream, stderr=stream, env={**os.environ, **kept}
        )
    os.sched_setaffinity(process.pid, {core})
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return Server(name, process, port, other)
    raise SystemExit(f"{name} does not serve:\n{log.read_text()}")


class Load:
    """
    A turn's load on one server.

    :param server: the server.
    :param size: bytes of a message.
    :param messages: how many each connection has echoed.
    """

    def __init__(self, server: Server, size: int, messages: int) -> None:
        self.server = server
        self.sent = os.urandom(size)
        self.messages = messages
        self.selector = selectors.EpollSelector()
        self.clients = [Client(server) for _ in range(CONNECTIONS)]

    def run(self) -> float:
        """Exchange all messages; microseconds of the server's CPU by message."""
        before = self.server.cpu()
        for client in self.clients:
            self.selector.register(client.socket, selectors.EVENT_READ, client)
            self.begin(client)
        while self.selector.get_map():
            ready = self.selector.select(10)
            if not ready:
                raise SystemExit(f"{self.server.name} hangs")
            for key, events in ready:
                if events & selectors.EVENT_WRITE:
                    self.push(key.data)
                if events & selectors.EVENT_READ:
                    self.take(key.data)
        cost = self.server.cpu() - before
        for client in self.clients:
            client.socket.close()
        self.selector.close()
        return 1e6 * cost / (CONNECTIONS * self.messages)

    def begin(self, client: Client) -> None:
        """Send a message, or as much of it as the socket takes."""
        client.left = memoryview(self.sent)
        self.push(client)

    def push(self, client: Client) -> None:
        """Send on."""
        with contextlib.suppress(BlockingIOError):
            client.left = client.left[client.socket.send(client.left) :]
        waiting = bool(client.left)
        if waiting is not client.waits:
            client.waits = waiting
            more = selectors.EVENT_WRITE if waiting else 0
            self.selector.modify(client.socket, selectors.EVENT_READ | more, client)

    def take(self, client: Client) -> None:
        """Read on; once the message is back, compare it and send the next."""
        client.back += client.socket.recv(1 << 20)
        if len(client.back) < len(self.sent):
            return
        if client.back != self.sent:
            raise SystemExit(f"{self.server.name} sent back something else")
        client.back.clear()
        client.done += 1
        if client.done < self.messages:
            self.begin(client)
        else:
            self.selector.unregister(client.socket)


class Client:
    """
    One connection of a load, accepted: not only connected.

    :param server: the server.
    """

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(b"?")
        if self.socket.recv(1) != b"?":
            raise SystemExit(f"{server.name} does not echo")
        self.socket.setblocking(False)
        # What is still to send, whether the selector watches for room, what came back, messages done.
        self.left = memoryview(b"")
        self.waits = False
        self.back = bytearray()
        self.done = 0


def scrape(server: Server) -> None:
    """Get the metrics once, as Prometheus does."""
    with socket.create_connection(("127.0.0.1", server.metrics), timeout=10) as client:
        client.sendall(
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text\r\n\r\n"
        )
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"# EOF\n"):
        raise SystemExit(f"no metrics, but {answer[:200]!r}")


def rounds(servers: list[Server], costs: dict[int, dict[str, list[float]]]) -> None:
    """Measure one generation, and add what each turn cost by load and variant."""
    for size, messages in LOADS.items():
        for server in servers:
            Load(server, size, messages).run()
        for number in range(ROUNDS):
            # Whoever comes first finds the caches as the last of the round before left them.
            first = number % len(servers)
            for server in servers[first:] + servers[:first]:
                costs[size][server.name].append(Load(server, size, messages).run())


def report(costs: dict[int, dict[str, list[float]]]) -> None:
    """Print what turns cost, and the ratios to the first variant's of the same round."""
    for size, by_name in costs.items():
        basis = next(iter(by_name.values()))
        print(
            f"\n{CONNECTIONS} connections, {size} bytes one in flight on each, {len(basis)} rounds"
        )
        for name, costed in by_name.items():
            ratios = [a / b for a, b in zip(costed, basis, strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(
                f"  {name:10} {statistics.median(costed):8.2f} us CPU a message"
                f"   {100 * (middle - 1):+6.2f} %   (quartiles {100 * (low - 1):+.1f} to"
                f" {100 * (high - 1):+.1f})"
            )


def scrapes(server: Server) -> tuple[float, float]:
    """Seconds of CPU that a scrape takes, and that a second without any takes."""
    scrape(server)
    before = server.cpu()
    for _ in range(SCRAPES):
        scrape(server)
    cost = (server.cpu() - before) / SCRAPES
    before = server.cpu()
    time.sleep(5)
    return cost, (server.cpu() - before) / 5


def main() -> None:
    """Start the servers, measure, stop them, again and again; then print."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    generations = numbers[0] if numbers else GENERATIONS
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("this needs two cores: one for the server, one for the load")
    os.sched_setaffinity(0, {cores[1]})
    costs: dict[int, dict[str, list[float]]] = {
        size: {name: [] for name in VARIANTS} for size in LOADS
    }
    told = 0.0, 0.0
    for generation in range(generations):
        servers: list[Server] = []
        with tempfile.TemporaryDirectory() as folder:
            try:
                # One by one: those that started have to end if the next does not.
                for name in VARIANTS:
                    servers.append(start(name, Path(folder), cores[0]))  # noqa: PERF401
                rounds(servers, costs)
                if generation == 0 and servers[-1].metrics:
                    told = scrapes(servers[-1])
            finally:
                for server in servers:
                    server.process.send_signal(signal.SIGTERM)
                    server.process.wait()
    report(costs)
    cost, idle = told
    print(
        f"\na scrape takes {1000 * cost:.2f} ms of CPU: every {SCRAPE_INTERVAL:g} s,"
        f" {100 * cost / SCRAPE_INTERVAL:.3f} % of a core"
    )
    print(f"idle with --metrics takes {100 * idle:.3f} % of a core")


if __name__ == "__main__":
    main()
