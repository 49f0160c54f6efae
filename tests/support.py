"""
What end-to-end tests share: a real ``twistd`` in a folder of its own, and a patient look at it.

Nothing here sleeps for a fixed time. :func:`wait_until` asks again and again until a condition
holds, and gives up, loudly, after a limit that only a broken server reaches.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType
    from typing import Self
    from unittest import TestCase

__all__ = [
    "PATIENCE",
    "Daemon",
    "Running",
    "ask",
    "clean_environment",
    "connect",
    "exchange",
    "free_port",
    "install_module",
    "run",
    "start",
    "start_daemon",
    "wait_until",
]

#: Seconds: far above what a start takes, even on a laden machine with one core.
PATIENCE: Final = 30.0

#: Seconds between two looks.
_PAUSE: Final = 0.02

#: The ports that are this process's own and not yet given away; taken so many at a time.
_ports: deque[int] = deque()
_BLOCK: Final = 200


def wait_until(
    predicate: Callable[[], object], seconds: float = PATIENCE, what: str = "it came true"
) -> None:
    """
    Return as soon as the predicate holds.

    :param predicate: what to ask.
    :param seconds: how long to go on asking.
    :param what: what was waited for, for the message.
    :raises AssertionError: it did not come true in time.
    """
    end = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} seconds in vain until {what}")
        time.sleep(_PAUSE)


def free_port() -> int:
    """
    Find a port that nobody has, over TCP and UDP, IPv4 and IPv6.

    It lies below the range from which the system picks the ports of outgoing connections, so that
    none of those takes it before the test does.
    """
    while True:
        if not _ports:
            _take_block()
        number = _ports.popleft()
        if _is_free(number):
            return number


def _take_block() -> None:
    """
    Have a block of ports to ourselves: tests run side by side, and each is to be given its own.

    What says that a block is taken is an abstract UNIX socket, which ends with the process that has it.
    """
    for first in range(10_000, 32_000, _BLOCK):
        sign = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            sign.bind(f"\0myproject tests, ports from {first}")
        except OSError:
            sign.close()
            continue
        sign.detach()  # it stays open for as long as this process lives
        _ports.extend(range(first, first + _BLOCK))
        return
    raise AssertionError("no free port on this machine")


def _is_free(number: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            try:
                probe = socket.socket(family, kind)
            except OSError:
                continue  # a machine without IPv6
            with probe:
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if kind == socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((everywhere, number))
                except OSError:
                    return False
    return True


def install_module(case: TestCase, name: str, module: ModuleType) -> None:
    """
    Have ``import`` find a module that a test has made, until the test ends.

    Only this one: a copy of all of ``sys.modules`` in its place would forget what the test imports, and have
    it twice in the process from then on.

    :param case: the test.
    :param name: the module's full name.
    :param module: the module.
    """
    before = sys.modules.get(name)
    sys.modules[name] = module

    def restore() -> None:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before

    case.addCleanup(restore)


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    """
    Connect; whoever calls closes the socket.

    :param port: the port.
    :param host: an address of either family.
    """
    return socket.create_connection((host, port), timeout=PATIENCE)


def exchange(port: int, data: bytes, host: str = "127.0.0.1") -> bytes:
    """
    Send all of the data, close our side, and return all that comes back until the peer closes its.

    :param port: the port.
    :param data: few enough bytes to fit the buffers between.
    :param host: an address of either family.
    """
    with connect(port, host) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def ask(port: int, data: bytes, marker: bytes, host: str = "127.0.0.1") -> bytes:
    """
    Send the data and return what comes back, as soon as it has the marker in it.

    :param port: the port.
    :param data: few enough bytes to fit the buffers between.
    :param marker: what the answer is known by.
    :param host: an address of either family.
    :raises AssertionError: the peer closed the connection before the marker came.
    """
    answer = b""
    with connect(port, host) as client:
        client.sendall(data)
        while marker not in answer:
            more = client.recv(65536)
            if not more:
                raise AssertionError(f"no {marker!r} in {answer!r}")
            answer += more
    return answer


def _accepts(port: int, host: str) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _runs(pid: int) -> bool:
    """Whether a process is alive; one that has ended and waits for its parent to notice is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def clean_environment(**more: str) -> dict[str, str]:
    """
    The environment without any setting of ours.

    :param more: what to add.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MYPROJECT")}
    return {**kept, **more}


def _command(tool: str, words: Sequence[str]) -> list[str]:
    return [str(Path(sys.executable).with_name(tool)), *words]


def run(
    *words: str, cwd: str | Path, tool: str = "twistd", environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """
    Run a command that ends by itself.

    :param words: its arguments.
    :param cwd: the folder to run it in; made if need be.
    :param tool: a command installed beside this Python.
    :param environ: the environment; by default ours, without any setting of this project.
    """
    Path(cwd).mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        _command(tool, words),
        cwd=cwd,
        env=clean_environment() if environ is None else environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@dataclass
class _Server:
    """What a server in the foreground and one in the background have in common."""

    pid: int
    folder: Path

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return _runs(self.pid)

    @property
    def log(self) -> str:
        """What the server has logged."""
        raise NotImplementedError

    def wait_for_port(self, port: int, host: str = "127.0.0.1") -> Self:
        """
        Return the server once it accepts connections on a port.

        That is not yet all that it listens on: IPv6 comes after IPv4, and signals, which have their handlers
        when the reactor runs, come last. A server that has answered is ready for all of it.

        :param port: the port.
        :param host: an address of either family.
        """

        def accepts_or_is_dead() -> bool:
            return not self.alive or _accepts(port, host)

        wait_until(accepts_or_is_dead, what=f"port {port} accepts")
        if not self.alive:
            raise AssertionError(f"the server ended:\n{self.log}")
        return self

    def wait_for_log(self, text: str) -> Self:
        """
        Return the server once its log has a text.

        :param text: the text.
        """
        wait_until(lambda: text in self.log or not self.alive, what=f"the log has {text!r}")
        if text not in self.log:
            raise AssertionError(f"the server ended without {text!r} in its log:\n{self.log}")
        return self

    def signal(self, number: int) -> None:
        """
        Send the process a signal; nothing happens if it has ended.

        :param number: the signal.
        """
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass
class Running(_Server):
    """A server in the foreground, its standard output and error in files."""

    process: subprocess.Popen[bytes]

    @property
    def stdout(self) -> str:
        """What it has printed on standard output."""
        return (self.folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        """What it has printed on standard error."""
        return (self.folder / "stderr").read_text()

    @property
    def log(self) -> str:
        """All that it has printed: in the foreground that is the log, and complaints."""
        return self.stdout + self.stderr

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def wait(self) -> int:
        """Wait for the end, and return the exit status: negative, the number of a signal."""
        return self.process.wait(PATIENCE)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """
        Ask the server to end, and return its exit status; kill it if it will not.

        :param number: the signal to ask with.
        """
        self.signal(number)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@dataclass
class Daemon(_Server):
    """A server in the background, known by its pidfile."""

    pidfile: Path
    logfile: Path

    @property
    def log(self) -> str:
        """What the server has logged."""
        return self.logfile.read_text() if self.logfile.exists() else ""

    def wait(self) -> None:
        """Wait for the end."""
        wait_until(lambda: not self.alive, what=f"process {self.pid} ended")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """
        Ask the server to end, and wait until it has; kill it if it will not.

        :param number: the signal to ask with.
        """
        self.signal(number)
        try:
            self.wait()
        except AssertionError:
            self.signal(signal.SIGKILL)
            raise


def _folder(case: TestCase, cwd: str | Path | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="myproject-") if cwd is None else cwd)
    folder.mkdir(parents=True, exist_ok=True)
    if cwd is None:
        case.addCleanup(shutil.rmtree, folder)
    return folder


def start(
    case: TestCase,
    *words: str,
    tool: str = "twistd",
    cwd: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Running:
    """
    Start a command that stays in the foreground; it ends with the test at the latest.

    :param case: the test.
    :param words: the command's arguments; give ``twistd`` its ``-n``.
    :param tool: a command installed beside this Python.
    :param cwd: the folder to run it in; a new one by default.
    :param environ: the environment; by default ours, without any setting of this project.
    """
    folder = _folder(case, cwd)
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            _command(tool, words),
            cwd=folder,
            env=clean_environment() if environ is None else environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    running = Running(process.pid, folder, process)
    case.addCleanup(running.stop)
    return running


def start_daemon(
    case: TestCase,
    *words: str,
    cwd: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Daemon:
    """
    Start ``twistd`` in the background, pidfile and log file in its folder; it ends with the test.

    :param case: the test.
    :param words: ``twistd``'s arguments.
    :param cwd: the folder to run it in; a new one by default.
    :param environ: the environment; by default ours, without any setting of this project.
    :raises AssertionError: ``twistd`` reported that it could not start.
    """
    folder = _folder(case, cwd)
    files = ("--pidfile", "twistd.pid", "--logfile", "twistd.log")
    done = run(*files, *words, cwd=folder, environ=environ)
    if done.returncode != 0:
        raise AssertionError(f"twistd exited with {done.returncode}: {done.stdout}{done.stderr}")
    pidfile = folder / "twistd.pid"
    wait_until(lambda: pidfile.exists() and pidfile.read_text().strip(), what="there is a pidfile")
    daemon = Daemon(int(pidfile.read_text()), folder, pidfile, folder / "twistd.log")
    case.addCleanup(daemon.stop)
    return daemon
