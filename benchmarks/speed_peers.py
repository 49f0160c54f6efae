"""
The servers of the speed benchmarks, ours and others': how each is started, bare of limits and throttles.

A server that is not installed, or was not given, is left out with a line that says what to do.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from speed_loads import Refused

__all__ = ["FAMILIES", "MOST", "Running", "Site", "cpu_of", "free_port", "start", "versions"]

#: Seconds that a server has until it listens, and until it has ended.
_START: Final = 30.0
_STOP: Final = 10.0

_ECHO = """
from twisted.application import internet, service
from twisted.internet import endpoints, protocol, reactor
from twisted.protocols import basic

class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

class Lines(basic.LineOnlyReceiver):
    delimiter = b"\\n"

    def lineReceived(self, line):
        self.transport.write(line + b"\\n")

application = service.Application("echo")
internet.StreamServerEndpointService(
    endpoints.serverFromString(reactor, "{where}"), protocol.Factory.forProtocol({kind})
).setServiceParent(application)
"""

_ASYNCIO = """
import asyncio, sys

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

class Lines(Echo):
    rest = b""

    def data_received(self, data):
        *lines, self.rest = (self.rest + data).split(b"\\n")
        for line in lines:
            self.transport.write(line + b"\\n")

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(globals()[sys.argv[2]], "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()

if sys.argv[3] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""

_CHAT = """
[myproject-chat]
port = ["tcp:{port}:interface=127.0.0.1:backlog=4096"]
web-port = ["tcp:{other}:interface=127.0.0.1"]
# Off for the load's address alone, as an operator would have it for a gateway.
[myproject-chat.throttle]
exempt = ["127.0.0.0/8"]
[myproject-chat.fakelag]
exempt = ["127.0.0.0/8"]
"""

_INSPIRCD = """
<server name="bench.example" description="bench" network="bench">
<admin name="bench" nick="bench" email="bench@example.com">
<bind address="127.0.0.1" port="{port}" type="clients">
<connect allow="*" timeout="60" threshold="100000" commandrate="100000000" fakelag="no" pingfreq="120"
 hardsendq="100000000" softsendq="100000000" recvq="1000000" localmax="100000" globalmax="100000"
 limit="100000" resolvehostnames="no" useident="no">
<performance softlimit="100000" somaxconn="4096" clonesonconnect="no">
<options defaultmodes="nt" nohistory="yes">
<log method="file" type="*" level="default" target="{folder}/inspircd.log">
<pid file="{folder}/inspircd.pid">
"""

_NGIRCD = """
[Global]
Name = bench.example
Info = bench
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = bench
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = 120
[Options]
DNS = no
Ident = no
PAM = no
"""


@dataclass(frozen=True)
class Site:
    """
    Where a server runs.

    :param folder: what it may write to, empty.
    :param programs: where the programs of ours in C are.
    :param port: where it has to listen.
    :param other: another port, for what has two.
    """

    folder: Path
    programs: Path
    port: int
    other: int

    def write(self, name: str, text: str) -> str:
        """Write a file; its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def pem(self) -> str:
        """A certificate of a day, and its key, in one file."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = dt.datetime.now(dt.UTC)
        built = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        public = built.public_bytes(serialization.Encoding.PEM)
        return self.write("both.pem", (public + private).decode())


def _twistd(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", *words]


def _tac(site: Site, kind: str, where: str = "tcp", more: str = "") -> str:
    where = f"{where}:{site.port}:interface=127.0.0.1:backlog=4096{more}"
    return site.write("echo.tac", _ECHO.format(where=where, kind=kind))


def _stock(site: Site) -> list[str]:
    return _twistd("--reactor=epoll", "-y", _tac(site, "Echo"))


def _stock_tls(site: Site) -> list[str]:
    more = f":privateKey={site.pem()}"
    return _twistd("--reactor=epoll", "-y", _tac(site, "Echo", "ssl", more))


def _stock_lines(site: Site) -> list[str]:
    return _twistd("--reactor=epoll", "-y", _tac(site, "Lines"))


def _our_lines(site: Site) -> list[str]:
    return _twistd("--reactor=corked", "-y", _tac(site, "Lines"))


def _ours(site: Site) -> list[str]:
    return _twistd("myproject-echo", "-p", f"tcp:{site.port}:interface=127.0.0.1:backlog=4096")


def _ours_tls(site: Site) -> list[str]:
    where = f"tcp:{site.port}:interface=127.0.0.1:backlog=4096"
    return _twistd("myproject-echo", "--tls-port", where, "--certificate", site.pem())


def _front_door(site: Site) -> list[str]:
    return _twistd("myproject", "-p", f"tcp:{site.port}:interface=127.0.0.1")


def _chat(site: Site, more: str = "") -> list[str]:
    text = _CHAT.format(port=site.port, other=site.other) + more
    return _twistd("myproject-chat", "--config", site.write("chat.toml", text))


def _chat_without(site: Site) -> list[str]:
    return _chat(site, "[myproject-chat.history]\nenabled = false\n")


def _c(site: Site) -> list[str]:
    return [str(site.programs / "echo_server"), str(site.port)]


def _c_chat(site: Site) -> list[str]:
    return [str(site.programs / "chat_server"), str(site.port)]


def _c_lines(site: Site) -> list[str]:
    return [*_c(site), "lines"]


def _loop(kind: str, loop: str) -> Callable[[Site], list[str]]:
    def command(site: Site) -> list[str]:
        if loop == "uvloop" and find_spec("uvloop") is None:
            raise Refused("uvloop is not installed: pip install uvloop")
        return [sys.executable, site.write("echo.py", _ASYNCIO), str(site.port), kind, loop]

    return command


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise Refused(f"{name} is not installed: apt-get install {package}")
    return found


def _inspircd(site: Site) -> list[str]:
    text = _INSPIRCD.format(port=site.port, folder=site.folder)
    as_root = ["--runasroot"] if os.geteuid() == 0 else []
    config = site.write("inspircd.conf", text)
    return [_program("inspircd", "inspircd"), "--nofork", *as_root, f"--config={config}"]


def _ngircd(site: Site) -> list[str]:
    config = site.write("ngircd.conf", _NGIRCD.format(port=site.port))
    return [_program("ngircd", "ngircd"), "-n", "-f", config]


def _miniircd(site: Site) -> list[str]:
    program = Path(sys.executable).with_name("miniircd")
    if not program.exists():
        raise Refused("miniircd is not installed: pip install miniircd")
    # It refuses to run as root unless it is told to.
    as_root = ["--setuid", "nobody"] if os.geteuid() == 0 else []
    return [str(program), "--listen", "127.0.0.1", "--ports", str(site.port), *as_root]


def _ergo(site: Site) -> list[str]:
    program = os.environ.get("MYPROJECT_ERGO", "") or shutil.which("ergo")
    if not program:
        raise Refused("no ergo: build it from its sources, and name the program in MYPROJECT_ERGO")
    text = subprocess.run(
        [program, "defaultconfig"], capture_output=True, text=True, check=True
    ).stdout
    # As it comes, but for one port without TLS, no throttles, and no files of languages.
    changes = (
        (
            r"(?ms)^    listeners:.*?(?=^    \S)",
            f'    listeners:\n        "127.0.0.1:{site.port}":\n\n',
        ),
        (r"(?ms)^(    ip-limits:.*?)count: true", r"\1count: false"),
        (r"(?ms)^(    ip-limits:.*?)throttle: true", r"\1throttle: false"),
        (r"(?ms)^(fakelag:.*?)enabled: true", r"\1enabled: false"),
        (r"(?ms)^(languages:.*?)enabled: true", r"\1enabled: false"),
        (r"max-sendq: 96k", "max-sendq: 100M"),
        (r"(?m)^(\s+)motd: ergo.motd", r"\1# no motd"),
    )
    for pattern, replacement in changes:
        text, found = re.subn(pattern, replacement, text, count=1)
        if not found:
            raise Refused(f"ergo: its configuration has nothing like {pattern}")
    config = site.write("ergo.yaml", text)
    words = [program, "initdb", "--conf", config, "--quiet"]
    subprocess.run(words, cwd=site.folder, capture_output=True, check=True)
    return [program, "run", "--conf", config, "--quiet"]


#: By family, in the order of the page: what starts each server.
FAMILIES: Final[dict[str, dict[str, Callable[[Site], list[str]]]]] = {
    "echo": {
        "C": _c,
        "uvloop": _loop("Echo", "uvloop"),
        "asyncio": _loop("Echo", "asyncio"),
        "twistd": _stock,
        "myproject": _ours,
    },
    "tls": {"twistd": _stock_tls, "myproject": _ours_tls},
    "lines": {
        "C": _c_lines,
        "uvloop": _loop("Lines", "uvloop"),
        "asyncio": _loop("Lines", "asyncio"),
        "twistd": _stock_lines,
        "myproject": _our_lines,
    },
    "chat": {
        "C": _c_chat,
        "inspircd": _inspircd,
        "ngircd": _ngircd,
        "miniircd": _miniircd,
        "ergo": _ergo,
        "myproject": _chat,
        "myproject-no-history": _chat_without,
    },
    "start": {"twistd": _stock, "echo": _ours, "front door": _front_door, "chat": _chat},
}


#: Clients that a server can have at once, where that is fewer than loads have.
MOST: Final = {"miniircd": 900}  # select: descriptors under 1,024


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_of(pid: int) -> float:
    """Seconds of CPU time of a process's threads, as the kernel's clock for it has them."""
    return time.clock_gettime(~pid << 3 | 2)


@dataclass
class Running:
    """
    A server that runs.

    :param name: what it is called.
    :param process: it.
    :param site: where.
    :param until_listening: seconds of wall and of CPU time until it listened.
    """

    name: str
    process: subprocess.Popen[bytes]
    site: Site
    until_listening: tuple[float, float] = (0.0, 0.0)

    def pids(self) -> list[int]:
        """Its process, and those that this one has made."""
        found = [self.process.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += map(int, (task / "children").read_text().split())
        return found

    def settle(self) -> None:
        """
        Wait until it has nothing left to do, some seconds at most.

        When a load's clients leave, some servers are busy with that for seconds: who comes meanwhile finds
        the nicks taken, and whoever has the next turn has less than a core.
        """
        pids = self.pids()
        with contextlib.suppress(OSError):  # it has ended: the next turn says so
            for _ in range(100):
                before = sum(map(cpu_of, pids))
                time.sleep(0.05)
                if sum(map(cpu_of, pids)) - before < 0.002:
                    break

    def private(self) -> int:
        """KiB of memory that it shares with nobody."""
        rows = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()[1:]
        size = {row.partition(":")[0]: int(row.split()[1]) for row in rows}
        return size["Private_Clean"] + size["Private_Dirty"]

    def stop(self) -> None:
        """End it, and what it has made: nothing else is in its group."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP)


@contextlib.contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
    """What is started meanwhile runs on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _surroundings(programs: Path) -> dict[str, str]:
    """
    The environment of a server: ours, but that its bytecode is kept.

    An installed program has its bytecode beside it. A checkout may not, least of all where
    ``PYTHONDONTWRITEBYTECODE`` is set: then each start would compile it all again (0.2 s for the chat).
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(programs / "bytecode")}


def start(
    name: str, command: Callable[[Site], list[str]], folder: Path, programs: Path, core: int
) -> Running:
    """
    Start a server, and wait until it listens.

    :param name: what it is called.
    :param command: what starts it.
    :param folder: its own; made if it is missing.
    :param programs: where the programs in C are.
    :param core: where it runs.
    :raises Refused: if it cannot be had, or does not listen in time.
    """
    folder.mkdir(exist_ok=True)
    site = Site(folder, programs, free_port(), free_port())
    words = command(site)
    log = folder / "log"
    with log.open("wb") as stream, on_cores([core]):
        begin = time.perf_counter()
        process = subprocess.Popen(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            env=_surroundings(programs),
        )
    running = Running(name, process, site)
    while time.perf_counter() - begin < _START and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", site.port), timeout=1).close()
        except OSError:
            time.sleep(0.001)
        else:
            spent = time.perf_counter() - begin
            running.until_listening = spent, sum(map(cpu_of, running.pids()))
            return running
    running.stop()
    last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    raise Refused(f"it does not listen: {last[0][:300]}")


def versions() -> dict[str, str]:
    """Of all that is compared, as far as it is here."""
    found = {"Python": sys.version.split()[0]}
    for name in ("twisted", "uvloop", "miniircd", "pyopenssl"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    programs = {name: name for name in ("inspircd", "ngircd", "cc")}
    programs["ergo"] = os.environ.get("MYPROJECT_ERGO", "ergo")
    for name, program in programs.items():
        path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if path:
            done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
            found[name] = (done.stdout + done.stderr).strip().partition("\n")[0][:60]
    return found
