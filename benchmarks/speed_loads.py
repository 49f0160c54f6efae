"""
The loads of the speed benchmarks: programs in C, compiled when they are needed.

Each measures the CPU time of the server's processes itself, between its warm-up and its end, with the
kernel's clock of each process (clock_getcpuclockid(3)): nanoseconds, and all threads.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["LOADS", "Load", "Measured", "Refused", "build", "idle", "run"]

_SOURCES: Final = Path(__file__).with_name("native")


class Refused(Exception):  # noqa: N818 - the rest of the sentence is in its words
    """What cannot be measured, and why, in one line."""


@dataclass(frozen=True)
class Load:
    """
    Work for a server.

    :param program: the program that makes it.
    :param words: its arguments, but for the server and the times.
    :param family: the kind of servers that can bear it.
    :param text: what it is, for the page.
    :param least: seconds that a turn needs to say anything.
    """

    program: str
    words: tuple[str, ...]
    family: str
    text: str
    least: float = 0.0

    @property
    def clients(self) -> int:
        """How many there are at once, of the loads in which it differs."""
        return int(self.words[1]) if self.words[0] == "channel" else 0


@dataclass(frozen=True)
class Measured:
    """
    What one round gave.

    :param messages: how many messages, deliveries or cycles there were.
    :param seconds: in how long.
    :param cpu: seconds of the server's CPU time.
    """

    messages: int
    seconds: float
    cpu: float

    @property
    def cost(self) -> float:
        """Microseconds of CPU time for each."""
        return 1e6 * self.cpu / self.messages

    @property
    def rate(self) -> float:
        """How many in a second."""
        return self.messages / self.seconds


def _echo(connections: int, size: int, window: int) -> tuple[str, ...]:
    return str(connections), str(size), str(window)


LOADS: Final = {
    "echo-50x64": Load("echo_load", _echo(50, 64, 1), "echo", "50 connections, 64 bytes"),
    "echo-1000x64": Load("echo_load", _echo(1000, 64, 1), "echo", "1,000 connections, 64 bytes"),
    "echo-50x65536": Load("echo_load", _echo(50, 65536, 1), "echo", "50 connections, 64 KiB"),
    "tls-50x64": Load("echo_load", _echo(50, 64, 1), "tls", "50 connections, 64 bytes, TLS"),
    "lines-10x200": Load(
        "echo_load", _echo(10, 64, 200), "lines", "10 connections, bursts of 200 lines of 64 bytes"
    ),
    "channel-100-w8": Load(
        "chat_load", ("channel", "100", "4", "8"), "chat", "100 members, 4 speak, window 8"
    ),
    "channel-1000-w8": Load(
        "chat_load", ("channel", "1000", "4", "8"), "chat", "1,000 members, 4 speak, window 8"
    ),
    "channel-100-w32": Load(
        "chat_load", ("channel", "100", "4", "32"), "chat", "100 members, 4 speak, window 32"
    ),
    "channel-1000-w32": Load(
        "chat_load", ("channel", "1000", "4", "32"), "chat", "1,000 members, 4 speak, window 32"
    ),
    "channel-100-one": Load(
        "chat_load", ("channel", "100", "1", "1"), "chat", "100 members, one message in flight"
    ),
    "pairs-50-w8": Load(
        "chat_load", ("pairs", "0", "50", "8"), "chat", "50 pairs, private, window 8"
    ),
    "pairs-50-one": Load(
        "chat_load", ("pairs", "0", "50", "1"), "chat", "50 pairs, private, one in flight"
    ),
    "cycles": Load(
        "chat_load",
        ("cycles", "0", "0", "8"),
        "chat",
        "connect, register, quit; 8 at a time",
        least=2.0,  # InspIRCd's come in lumps
    ),
}


def build(folder: Path) -> None:
    """
    Compile the programs.

    :param folder: where they are put.
    :raises Refused: if there is no compiler, or it finds fault.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise Refused("there is no C compiler: install one that answers to cc (Debian: gcc)")
    common = [compiler, "-O2", "-Wall", "-Werror", "-o"]
    for name in ("echo_server", "echo_load", "chat_server", "chat_load"):
        source, target = str(_SOURCES / f"{name}.c"), str(folder / name)
        attempts = [[*common, target, source]]
        if name == "echo_load":  # without OpenSSL's headers, all but TLS
            attempts.insert(0, [*common, target, "-DWITH_TLS", source, "-lssl", "-lcrypto"])
        for attempt in attempts:
            done = subprocess.run(attempt, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
        else:
            raise Refused(f"{name}.c does not compile: {done.stderr.strip()[:2000]}")


def run(
    load: Load,
    folder: Path,
    port: int,
    pids: Sequence[int],
    *,
    warm: float,
    seconds: float,
    patience: int = 10,
) -> Measured:
    """
    Load a server once.

    :param folder: where the programs are.
    :param port: the server's, on 127.0.0.1.
    :param pids: its processes.
    :param warm: seconds before it is measured.
    :param seconds: for how long it is.
    :param patience: seconds without any progress after which it counts as hung.
    :raises Refused: if a byte or a delivery is lost, altered or doubled, or the server hangs or ends.
    """
    words = [str(folder / load.program), "127.0.0.1", str(port), ",".join(map(str, pids))]
    words += [*load.words, str(warm), str(seconds), str(patience)]
    if load.family == "tls":
        words.append("tls")
    # Above what it may wait for by its own: each phase is bounded by its patience.
    limit = warm + seconds + 30 * patience
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise Refused(f"the load had not ended after {limit:g} seconds") from None
    if done.returncode:
        raise Refused(done.stderr.strip() or f"the load ended with {done.returncode}")
    found = dict(word.split("=") for word in done.stdout.split())
    return Measured(int(found["messages"]), float(found["seconds"]), float(found["cpu"]))


def idle(folder: Path, port: int, pid: int, clients: int) -> subprocess.Popen[str]:
    """
    Have clients register and stay until the process's standard input is closed.

    :raises Refused: if they cannot.
    """
    words = [str(folder / "chat_load"), "127.0.0.1", str(port), str(pid), "idle"]
    words += [str(clients), "0", "1", "0", "0", "30"]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if process.stdout is None or process.stderr is None or not process.stdout.readline():
        process.wait()
        raise Refused(process.stderr.read().strip() if process.stderr else "no answer")
    return process
