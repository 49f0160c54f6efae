"""
How late is the chat server's event loop while it stores 50,000 messages a minute?

Real ``twistd`` processes, one for each variant, take turns with the same load: CONNECTIONS people in channels
of CHANNEL each, 50,000 messages a minute in all, each at its time, whatever became of those before. Every
message goes to all in the channel, and back to its sender, to whom it says that it is safe.

======= ============================================================================================
idle    nobody says anything; what the machine and the measuring do
unkept  the load, without history: nothing is written
kept    with history, as it is by default: SQLite's ``synchronous = NORMAL``
flushed with ``history.flush``: each group of messages waits for the disk
======= ============================================================================================

In the server a timer fires each TICK seconds. When it fires late, all that would have come in the meantime
waited, too, so each missed tick counts with what it waited; otherwise a long stall would be one sample
among thousands. Told are the median, the 99th percentile and the worst wait; beside it what senders see,
from sending until the echo, and the processor time that the server had. The load is generated in this
process, and has the other core, if there is one: look at ``unkept`` for what is not the store's.

    python benchmarks/chat_lag.py [--seconds 20] [--rounds 3] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import socket
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import twisted

#: Messages in a second, who is there, how many of them in each channel, and a message's bytes.
PACE = 50_000 / 60
CONNECTIONS = 50
CHANNEL = 10
TEXT = 100

#: Seconds between two looks of the server's timer.
TICK = 0.002

#: Variants, each with its settings of history; all but "idle" have the load.
VARIANTS = {
    "idle": "enabled = true",
    "unkept": "enabled = false",
    "kept": "enabled = true",
    "flushed": "enabled = true\nflush = true",
}

SETTINGS = """
[myproject-chat]
port = ["tcp:{port}:interface=127.0.0.1"]
state = "state.sqlite"
[myproject-chat.throttle]
exempt = ["127.0.0.0/8"]
[myproject-chat.fakelag]
exempt = ["127.0.0.0/8"]
[myproject-chat.history]
# All are counted at the end; of the default's 10,000 in a channel the oldest would be gone by then.
messages = 1000000
{history}
"""

#: What twistd runs: the server as it is, a timer, and a port on which the timer is asked.
TAC = """
import json, time
from twisted.application import internet, service
from twisted.internet import protocol, reactor
from twisted.plugin import IPlugin, getPlugins
from twisted.application.service import IServiceMaker

(maker,) = [one for one in getPlugins(IServiceMaker) if one.tapname == "myproject-chat"]
options = maker.options()
options.parseOptions(["--config", "chat.toml"])
application = service.Application("chat")
maker.makeService(options).setServiceParent(application)

TICK = {tick}

class Timer:
    def begin(self):
        self.waits, self.due, self.cpu = [], time.monotonic() + TICK, time.process_time()
        reactor.callLater(TICK, self.fire)
    def fire(self):
        now = time.monotonic()
        while self.due <= now:
            self.waits.append(now - self.due)
            self.due += TICK
        self.call = reactor.callLater(self.due - now, self.fire)
    def end(self):
        self.call.cancel()
        return {{"waits": self.waits, "cpu": time.process_time() - self.cpu}}

timer = Timer()

class Asked(protocol.Protocol):
    def dataReceived(self, data):
        answer = timer.begin() if data == b"begin" else timer.end()
        self.transport.write(json.dumps(answer).encode() + bytes([10]))

factory = protocol.Factory.forProtocol(Asked)
internet.TCPServer({control}, factory, interface="127.0.0.1").setServiceParent(application)
"""


@dataclass
class Result:
    """
    What turns of a variant have measured.

    :param waits: seconds that an event waits for its turn.
    :param echoes: seconds from sending until the echo.
    :param cpu: the share of a core that the server had, in each turn.
    :param sent: messages.
    """

    waits: list[float] = field(default_factory=list)
    echoes: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    sent: int = 0

    def row(self) -> str:
        """The figures: milliseconds, and percent."""
        cells = [_milliseconds(self.waits), _milliseconds(self.echoes)]
        return f"{self.sent:>8,}  {'  '.join(cells)}  {statistics.mean(self.cpu):>5.0%}"


def _milliseconds(seconds: list[float]) -> str:
    if not seconds:
        return f"{'-':>8}{'-':>8}{'-':>8}"
    cuts = statistics.quantiles(seconds, n=100)
    return "".join(f"{value * 1000:>8.2f}" for value in (cuts[49], cuts[98], max(seconds)))


class Person:
    """
    A connection that speaks at its times.

    :param number: which.
    """

    def __init__(self, number: int) -> None:
        self.nick = f"p{number}"
        self.channel = f"#c{number // CHANNEL}"
        self._source = f":{self.nick}!".encode()
        self.sent: deque[float] = deque()
        self.echoes: list[float] = []

    async def come(self, port: int) -> None:
        """Connect, and join the channel."""
        self._reader, self.writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        self.writer.write(
            f"CAP REQ echo-message\r\nCAP END\r\nNICK {self.nick}\r\nUSER {self.nick} 0 * :x\r\n"
            f"JOIN {self.channel}\r\n".encode()
        )
        while b" 366 " not in await self._reader.readline():
            pass
        self._listening = asyncio.create_task(self._listen())

    def speak(self) -> None:
        """Say something."""
        self.sent.append(time.monotonic())
        self.writer.write(f"PRIVMSG {self.channel} :{'x' * TEXT}\r\n".encode())

    async def _listen(self) -> None:
        rest = b""
        while data := await self._reader.read(2**16):
            *lines, rest = (rest + data).split(b"\r\n")
            now = time.monotonic()
            for line in lines:
                if line.startswith(self._source) and b" PRIVMSG " in line:
                    self.echoes.append(now - self.sent.popleft())
                elif line.startswith(b"PING"):
                    self.writer.write(b"PONG" + line[4:] + b"\r\n")
                elif b" FAIL " in line or line.startswith(b"ERROR"):
                    raise SystemExit(f"{self.nick} was told {line!r}")

    async def go(self) -> None:
        """Hang up."""
        self._listening.cancel()
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class Server:
    """
    A variant that runs.

    :param name: its name.
    :param folder: where its files are made.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.result = Result()
        self._folder = folder / name
        self._folder.mkdir()
        self._port, self._control = _free_port(), _free_port()
        settings = SETTINGS.format(port=self._port, history=VARIANTS[name])
        (self._folder / "chat.toml").write_text(settings)
        (self._folder / "chat.tac").write_text(TAC.format(tick=TICK, control=self._control))
        self._log = self._folder / "log"

    async def start(self) -> None:
        """Start it, and have the people come."""
        words = [
            str(Path(sys.executable).with_name("twistd")),
            "-n",
            "--pidfile=",
            "-y",
            "chat.tac",
        ]
        with self._log.open("wb") as stream:
            self._process = await asyncio.create_subprocess_exec(
                *words, cwd=self._folder, stdout=stream, stderr=stream
            )
        for _ in range(300):
            with contextlib.suppress(OSError):
                await asyncio.open_connection("127.0.0.1", self._control)
                break
            await asyncio.sleep(0.1)
        else:
            raise SystemExit(f"{self.name} does not start:\n{self._log.read_text()}")
        self._people = [Person(number) for number in range(CONNECTIONS)]
        for one in self._people:
            await one.come(self._port)

    async def _ask(self, word: bytes) -> dict[str, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._control, limit=2**26)
        writer.write(word)
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return answer

    async def turn(self, seconds: float) -> None:
        """Measure for a while."""
        await self._ask(b"begin")
        start = time.monotonic()
        number = 0
        while (now := time.monotonic() - start) < seconds:
            while self.name != "idle" and number < now * PACE:
                self._people[number % CONNECTIONS].speak()
                number += 1
            await asyncio.sleep(0.001)
        answer = await self._ask(b"end")
        result = self.result
        result.waits += answer["waits"]
        result.cpu.append(answer["cpu"] / seconds)
        result.sent += number
        # What is still on its way is not measured by the next turn.
        end = time.monotonic() + 30
        for one in self._people:
            while one.sent and time.monotonic() < end:  # noqa: ASYNC110 (it is measured on its way)
                await asyncio.sleep(0.01)
        for one in self._people:
            result.echoes += one.echoes
            one.echoes.clear()
        if any(one.sent for one in self._people):
            raise SystemExit(f"{self.name} did not echo everything:\n{self._log.read_text()}")

    async def stop(self) -> None:
        """Have the people go, and end it."""
        for one in self._people:
            await one.go()
        self._process.terminate()
        await self._process.wait()
        # All is there that was echoed, or the figures are of something else.
        with contextlib.closing(sqlite3.connect(self._folder / "state.sqlite")) as connection:
            sql = "SELECT count(*) FROM history WHERE command = x'505249564d5347'"
            (kept,) = connection.execute(sql).fetchone()
        wanted = 0 if "false" in VARIANTS[self.name] else self.result.sent
        if kept != wanted:
            raise SystemExit(f"{self.name} has kept {kept} messages, not {wanted}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def measure(seconds: float, rounds: int, folder: Path) -> None:
    """Let all variants take their turns, and print what came of it."""
    servers = [Server(name, folder) for name in VARIANTS]
    for server in servers:
        await server.start()
    for number in range(rounds):
        # Each is the first in its turn.
        for server in servers[number % 4 :] + servers[: number % 4]:
            await server.turn(seconds)
    for server in servers:
        await server.stop()
    print(f"{'':8}{'sent':>9}  {'event loop, ms':>24}  {'echo, ms':>24}    cpu")
    print(f"{'':8}{'':>9}  {'p50':>8}{'p99':>8}{'worst':>8}  {'p50':>8}{'p99':>8}{'worst':>8}")
    for server in servers:
        print(f"{server.name:8} {server.result.row()}")


def main() -> None:
    """Measure, and say with what."""
    parser = argparse.ArgumentParser(description="Measure the chat server's lag while it stores.")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each variant")
    parser.add_argument("--folder", help="where the state is written; a new folder in it is used")
    chosen = parser.parse_args()
    load = os.getloadavg()[0]
    folder = Path(tempfile.mkdtemp(dir=chosen.folder))
    print(
        f"Python {platform.python_version()}, Twisted {twisted.__version__}, SQLite"
        f" {sqlite3.sqlite_version}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores;"
        f" load before: {load:.1f}"
    )
    print(
        f"{PACE * 60:,.0f} messages a minute, {CONNECTIONS} people, {CHANNEL} in a channel;"
        f" {chosen.rounds} turns of {chosen.seconds:g} s"
    )
    try:
        asyncio.run(measure(chosen.seconds, chosen.rounds, folder))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
