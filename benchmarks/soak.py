"""
Does a server come through ten bad minutes as it went into them?

Starts ``twistd myproject-echo`` and ``twistd myproject`` (the front door, handing over to echo), with TLS
and with limits on, on one core, and on another the clients of ``soak_load.py``, which come, go,
half-close, stall and reset. Every few seconds the servers are sent SIGHUP, each time with other
settings: new limits, a renewed certificate, the old limits, a mistake. In between, echo is stopped while
it is busy (it drains, aborts what remains, and exits) and started again under the same load, while the
front door goes on.

Memory and descriptors are counted in the same phase each time: when a load has run, all of its
connections have gone, and nothing has happened for a few seconds. "Before" is after a first load, the
warm-up, which is as heavy as any: by then every cache is full, and the allocators have what the peak
takes and what they never give back. "After" is at the end. So the front door is one process from the
beginning to the end, and echo has two lives, each with its own before and after.

    nox -s soak -- --minutes 10         # or: python benchmarks/soak.py [--minutes 10] [--connections 2000]

Exit status 1 if one byte came back wrong, a client that behaved was cut off, a descriptor leaked, memory
grew by more than a tenth, the log has an error that was not provoked, or a server did not stop as it
should.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import resource
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from soak_load import PATIENCE, Load, Target
from soak_server import IDLE, Server

#: Seconds between two reloads.
_PERIOD: Final = 15.0

#: How much larger memory may be after than before.
_GROWTH: Final = 1.10


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has, below those that the system gives to outgoing connections."""
    found: list[int] = []
    for number in range(20_000 + os.getpid() * 7 % 10_000, 32_000):
        with contextlib.suppress(OSError), socket.create_server(("", number)):
            found.append(number)
        if len(found) == count:
            break
    return found


class Soak:
    """
    The whole of it.

    :param minutes: how long the load lasts, warm-ups excluded.
    :param connections: how many there are at a time.
    :param folder: an empty folder.
    :param core: where the servers are to run; None for anywhere.
    """

    def __init__(self, minutes: float, connections: int, folder: Path, core: int | None) -> None:
        self.half = minutes * 30
        self.warm_up = min(60.0, max(20.0, self.half / 3))
        ports = _free_ports(4)
        echo = Target("myproject-echo", ports[0], ports[1])
        door = Target("myproject", ports[2], ports[3], greeting=b"myproject-echo\r\n")
        limits = {
            "max-connections": connections + 100,
            "max-connections-per-host": connections // 100,
            "connection-rate": 300,
        }
        extra = {"offer": ["myproject-echo"], "name-timeout": 6}
        self.echo, self.door = self.servers = [
            Server(echo, limits, folder / "echo", core),
            Server(door, {**limits, **extra}, folder / "door", core),
        ]
        for name in ("echo", "door"):
            (folder / name).mkdir()
        self.load = Load([echo, door], connections, IDLE + PATIENCE / 2)
        #: What went wrong.
        self.wrong: list[str] = []
        self._step = 0

    async def run(self) -> None:
        """Do it."""
        try:
            for server in self.servers:
                server.renew()
                server.write()
                await server.start()
            await self._phase("before", self.warm_up, self.servers)
            await self._phase("after", self.half, self.servers)
            self.load.begin()
            await asyncio.sleep(self.warm_up / 4)
            await self._drain()
            await self._phase("before", self.warm_up, [self.echo])
            await self._phase("after", self.half, self.servers)
            for server in self.servers:
                self._note(await server.stop())
        finally:
            for server in self.servers:
                server.kill()

    async def _phase(self, when: str, seconds: float, measured: list[Server]) -> None:
        """Load, reloads among it; then nothing; then measure."""
        print(f"{time.strftime('%X')} load for {seconds:.0f} s", flush=True)
        self.load.begin()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _PERIOD, self.warm_up / 5))
            for server in self.servers:
                await server.reload(self._step)
            self._step += 1
        await self.load.end()
        await asyncio.gather(*(server.settle(when) for server in measured))

    async def _drain(self) -> None:
        """Stop echo while it is busy, and start it again."""
        print(f"{time.strftime('%X')} stop echo, and start it again", flush=True)
        self.echo.target.stops += 1
        self._note(await self.echo.stop())
        self.echo.write()
        await self.echo.start()
        self.echo.target.stops += 1

    def _note(self, fault: str) -> None:
        if fault:
            self.wrong.append(fault)

    def judge(self) -> list[str]:
        """All that went wrong, in a line each."""
        wrong = list(self.wrong)
        load = self.load
        for failure, count in load.failures.most_common(10):
            wrong.append(f"{count} times {failure}")
        refused = sum(count for (_, what), count in load.outcomes.items() if what == "refused")
        if not refused:
            wrong.append("nobody was refused: the limits do not work")
        for server in self.servers:
            wrong += [f"{server.target.name}: {fault}" for fault in _faults(server)]
        return wrong


def _faults(server: Server) -> Iterator[str]:
    tally = server.tally
    if tally.errors:
        yield f"{len(tally.errors)} errors in the log: {tally.errors[0]}"
    if tally.said["opened"] != tally.said["closed"]:
        yield f"{tally.said['opened']} connections opened, {tally.said['closed']} closed"
    if tally.said["mistake"] != server.mistakes:
        yield f"{server.mistakes} mistakes, {tally.said['mistake']} of them in the log"
    if tally.said["reload"] != server.reloads - server.mistakes:
        yield f"{server.reloads - server.mistakes} reloads, {tally.said['reload']} in the log"
    for life, samples in enumerate(server.lives, 1):
        (_, before), *_, (_, after) = samples
        if after.descriptors != before.descriptors:
            yield f"life {life}: descriptors {before.descriptors}, then {after.descriptors}"
        for what in ("rss", "pss", "private"):
            first, last = getattr(before, what), getattr(after, what)
            if last > first * _GROWTH:
                yield f"life {life}: {what} {first} KiB, then {last} KiB"


def report(soak: Soak) -> None:
    """Print what was measured."""
    load = soak.load
    print(
        f"\nPython {platform.python_version()}, Twisted {version('twisted')},"
        f" pyOpenSSL {version('pyopenssl')}, {os.cpu_count()} CPUs\n\n"
        f"connections made        {load.made:>12,}\n"
        f"  of them over TLS      {load.made_tls:>12,}\n"
        f"bytes that came back    {load.echoed:>12,}\n"
        f"wrong among them        {load.mismatches:>12,}\n"
        f"clients treated badly   {load.failures.total():>12,}\n"
    )
    for (name, outcome), count in sorted(load.outcomes.items()):
        print(f"  {name:<16} {outcome:<24} {count:>10,}")
    for server in soak.servers:
        tally = server.tally
        print(
            f"\n{server.target.name}, under load up to {server.peak_descriptors:,} descriptors"
            f" and {server.peak / 1024:.1f} MiB"
        )
        for life, samples in enumerate(server.lives, 1):
            for when, one in samples:
                print(
                    f"  life {life}, {when:<7} {one.descriptors.total():>4} descriptors,"
                    f" RSS {one.rss / 1024:6.1f}, PSS {one.pss / 1024:6.1f},"
                    f" private {one.private / 1024:6.1f} MiB"
                )
        print(
            f"  log: {tally.said['opened']:,} connections opened, {tally.said['closed']:,} closed;"
            f" {tally.received:,} bytes received, {tally.sent:,} sent\n"
            f"  {tally.said['idle']:,} closed for being idle, {tally.said['overflow']:,} aborted for"
            f" max-buffered; {server.reloads} reloads, {server.mistakes} of them with a mistake;"
            f" errors: {len(tally.errors)}"
        )
        for why, count in sorted(tally.refused.items()):
            print(f"  refused, as {why}: {count:,}")


@contextlib.asynccontextmanager
async def _stoppable() -> AsyncIterator[None]:
    """Have SIGTERM end it as Ctrl-C does: with its servers."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    yield


async def _run(soak: Soak) -> None:
    # asyncio complains when a transport is aborted whose loss it has not told yet. What goes wrong with a
    # client is raised where the client awaits it.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with _stoppable():
        await soak.run()


def _cores() -> tuple[int | None, int | None]:
    """A core for the servers and one for the clients; None if there is but one."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[-1]) if len(cores) > 1 else (None, None)


def main() -> int:
    """Run it, and say how it went."""
    parser = argparse.ArgumentParser(description="Soak the installed servers.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=2000)
    arguments = parser.parse_args()
    needed = arguments.connections * 2 + 100
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        print(f"soak: {needed} descriptors are needed, the limit is {hard}; see ulimit -Hn")
        return 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    servers_core, own_core = _cores()
    if own_core is not None:
        os.sched_setaffinity(0, {own_core})
    with tempfile.TemporaryDirectory(prefix="myproject-soak-") as folder:
        soak = Soak(arguments.minutes, arguments.connections, Path(folder), servers_core)
        try:
            asyncio.run(_run(soak))
        except (KeyboardInterrupt, asyncio.CancelledError):
            print("soak: ended before its time, and its servers with it")
            return 130
    report(soak)
    wrong = soak.judge()
    for line in wrong:
        print(f"WRONG: {line[:2000]}")
    print("\nsoak:", "failed" if wrong else "passed")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
