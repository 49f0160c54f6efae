"""
How many entries does the store take in a second, and how long is it from `add` until an entry is safe?

The store with its thread, a reactor and a file in a new folder (or in a new one in the folder that is
named), each entry with a ticket of its own. Two loads:

====== ==========================================================================================
flood  as many as it takes, so many waiting at any time: entries in a second
pace   50,000 a minute, each at its time, and somebody waits for each: milliseconds from `add` to
       `on_written`, and how late the reactor's turns are meanwhile, beside the same without the store
====== ==========================================================================================

Each is run with ``synchronous = NORMAL``, and with FULL (``flush``), whose figures are the disk's. They
depend on the machine and what else it does: compare within one run.

    python benchmarks/store_writes.py [FOLDER]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater, react

from myproject_chat.store import Entry
from myproject_chat.store.service import StoreService

#: Seconds of each load, entries that wait in a flood, and entries in a second at the pace.
SECONDS = 10.0
WAITING = 1000
PACE = 50_000 / 60

#: Seconds between two looks at how late the reactor is.
LOOK = 0.005


def entry(number: int) -> Entry:
    """A line of a hundred bytes, in one of twenty channels."""
    return Entry(
        b"%022d" % number,
        number,
        b"#channel%d" % (number % 20),
        b"somebody!~somebody@a1b2c3d4.example",
        b"somebody",
        b"PRIVMSG",
        (b"#channel%d" % (number % 20),),
        b"x" * 100,
    )


def percentiles(seconds: list[float]) -> str:
    """The median, the 99th percentile and the worst, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return " / ".join(f"{value * 1000:.2f}" for value in (cuts[49], cuts[98], max(seconds)))


class Load:
    """One load on one store."""

    def __init__(self, reactor: Any, folder: str, *, flush: bool) -> None:
        self.reactor = reactor
        path = str(Path(folder) / f"state-{time.monotonic_ns()}")
        self.service = StoreService(path, lambda _: None, time.time, flush=flush, reactor=reactor)
        self.given = 0
        self.turns: list[float] = []
        self.last = 0.0

    async def flood(self) -> str:
        """Keep so many waiting; how many it took in a second."""
        store = self.service.store

        def more(_: int = 0) -> None:
            while self.given - store.written < WAITING and time.monotonic() < end:
                self.given = store.add(entry(self.given))

        store.on_written = more
        self.service.startService()
        start = time.monotonic()
        end = start + SECONDS
        more()
        await deferLater(self.reactor, SECONDS)
        await store.when_written(self.given)
        rate = self.given / (time.monotonic() - start)
        await self.stop()
        return f"{rate:,.0f} entries/s"

    async def pace(self, *, writing: bool) -> str:
        """Write at a pace, or do not; how long each took, and how late the reactor was."""
        store = self.service.store
        added: list[float] = []
        start = 0.0
        took: list[float] = []

        def written(ticket: int) -> None:
            now = time.monotonic()
            took.extend(now - moment for moment in added[len(took) : ticket])

        def step() -> None:
            now = time.monotonic()
            self.turns.append(now - self.last - LOOK)
            self.last = now
            while writing and len(added) < (now - start) * PACE:
                added.append(now)
                store.add(entry(len(added)))
            store.hurry()

        store.on_written = written
        self.service.startService()
        self.last = start = time.monotonic()
        steps = LoopingCall(step)
        steps.clock = self.reactor
        running = steps.start(LOOK, now=False)
        await deferLater(self.reactor, SECONDS)
        steps.stop()
        await running
        await self.stop()
        late = percentiles([max(0.0, turn) for turn in self.turns])
        return f"safe after {percentiles(took) if took else '-'} ms, turns late by {late} ms"

    async def stop(self) -> None:
        """Close the store."""
        stopped = self.service.stopService()
        if stopped is not None:
            await stopped


async def measure(reactor: Any, folder: str) -> None:
    """Run all loads, and print what they measured: the median, the 99th percentile, the worst."""
    for flush, name in ((False, "NORMAL"), (True, "FULL")):
        print(f"{name:6}  flood  {await Load(reactor, folder, flush=flush).flood()}")
        for writing, load in ((True, "pace"), (False, "idle")):
            result = await Load(reactor, folder, flush=flush).pace(writing=writing)
            print(f"{name:6}  {load}   {result}")


def main(reactor: Any) -> Deferred[None]:
    """Measure in the folder that is named, or in a new one."""
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    folder = tempfile.TemporaryDirectory(dir=parent)
    done = Deferred.fromCoroutine(measure(reactor, folder.name))

    def clean(result: Any) -> Any:
        folder.cleanup()
        return result

    return done.addBoth(clean)


if __name__ == "__main__":
    react(main)
