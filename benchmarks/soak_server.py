"""
A server of the soak, as its operator has it: started, reloaded, measured, stopped, and its log read.

Each is an installed ``twistd`` in a folder of its own, with a configuration file that changes from one
reload to the next, and a log in JSON that is moved away at each, so that no more than a reload's worth
is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import signal
import ssl
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from soak_load import DENIED, PATIENCE, Target

__all__ = ["IDLE", "Sample", "Server", "Tally"]

#: Seconds for which the number of descriptors must not have changed before anything is measured: more
#: than a server suffers a connection of which it hears nothing.
_CALM: Final = 20.0

#: Seconds without a byte after which a server closes a connection, at most.
IDLE: Final = 10

#: Seconds that open connections have when echo is stopped: less than a silent one would last.
_DRAIN: Final = 5

#: Settings that reloads change. The first are those of the start.
_LIMITS: Final[tuple[dict[str, Any], ...]] = (
    {"idle-timeout": IDLE, "max-buffered": 64 * 2**20, "deny": []},
    {"idle-timeout": 8, "max-buffered": 96 * 1024, "deny": [DENIED]},
)


@dataclass(frozen=True)
class Sample:
    """
    What a process has, as the kernel counts it.

    :param descriptors: open ones, by kind.
    :param rss: KiB of memory in RAM.
    :param pss: the same, with what is shared divided among those who share it.
    :param private: KiB that it shares with nobody.
    """

    descriptors: Counter[str]
    rss: int
    pss: int
    private: int

    @classmethod
    def of(cls, pid: int) -> Sample:
        """Look at a process."""
        kinds: Counter[str] = Counter()
        for one in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                kinds[str(one.readlink()).partition(":[")[0]] += 1
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        size = {row.partition(":")[0]: int(row.split()[1]) for row in rows}
        private = size["Private_Clean"] + size["Private_Dirty"]
        return cls(kinds, size["Rss"], size["Pss"], private)


@dataclass
class Tally:
    """What a server's log says, which is read piece by piece."""

    levels: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    received: int = 0
    sent: int = 0
    errors: list[str] = field(default_factory=list)

    #: What a message is known by, and what it is counted as.
    _KNOWN = (
        ("remain in force", "mistake"),
        (": reloaded;", "reload"),
        ("closing an idle connection", "idle"),
        ("bytes wait for it", "overflow"),
        ("aborting ", "drain"),
    )

    def read(self, path: Path) -> None:
        """Add a file of JSON lines."""
        with path.open() as lines:
            for line in lines:
                self._add(line)

    def _add(self, line: str) -> None:
        event = json.loads(line)
        message = event["message"]
        self.levels[event["level"]] += 1
        if "local" in event:
            closed = "duration" in event
            self.said["closed" if closed else "opened"] += 1
            self.received += event.get("received", 0)
            self.sent += event.get("sent", 0)
            return
        if message.startswith("connections refused"):
            why = message.partition(" from ")[2].partition(": ")[2]
            self.refused[why] += event["count"]
            return
        kind = next((kind for words, kind in self._KNOWN if words in message), "other")
        self.said[kind] += 1
        broken = event["level"] in ("error", "critical") and kind != "mistake"
        if broken or "traceback" in event or "Traceback" in message or "Unhandled" in message:
            self.errors.append(line.rstrip())


class Server:
    """
    A twistd in a folder of its own.

    :param target: where clients find it; its name is the subcommand's.
    :param settings: what its table of the configuration says besides.
    :param folder: an empty folder.
    :param core: where it is to run; None for anywhere.
    """

    def __init__(
        self, target: Target, settings: dict[str, Any], folder: Path, core: int | None
    ) -> None:
        self.target = target
        self.tally = Tally()
        #: The measurements of each life, with the words that say when.
        self.lives: list[list[tuple[str, Sample]]] = []
        #: The most memory in RAM, in KiB, and the most descriptors that were seen under load.
        self.peak = self.peak_descriptors = 0
        #: Reloads that it was sent, and those of them with a mistake.
        self.reloads = self.mistakes = 0
        self._settings = settings
        self._folder = folder
        self._core = core
        self._limits = _LIMITS[0]
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    @property
    def _log(self) -> Path:
        return self._folder / "log.json"

    def write(self, limits: dict[str, Any] = _LIMITS[0], **mistake: object) -> None:
        """Write the configuration."""
        self._limits = limits
        table = {
            **self._settings,
            **limits,
            **mistake,
            "port": [self.target.port],
            "tls-port": [self.target.tls_port],
            "certificate": "both.pem",
            "access-log": True,
            "drain-timeout": _DRAIN,
        }
        rows = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        text = "\n".join([f"[{self.target.name}]", *rows, ""])
        (self._folder / "soak.toml").write_text(text)

    def renew(self) -> bytes:
        """Write a new certificate; returns it as TLS sends it."""
        pem, sent = _certificate()
        fresh = self._folder / "new.pem"
        fresh.write_bytes(pem)
        fresh.replace(self._folder / "both.pem")
        return sent

    async def start(self) -> None:
        """Begin a life; returns when it accepts connections."""
        with (self._folder / "output").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).with_name("twistd")),
                *("-n", "--pidfile=", "--logger", "myproject.logs.json"),
                *(self.target.name, "--config", "soak.toml"),
                cwd=self._folder,
                env={**_environment(), "MYPROJECT_LOG_FILE": str(self._log)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        if self._core is not None:
            os.sched_setaffinity(self.pid, {self._core})
        self.lives.append([])
        await self._until(self._accepts)

    async def _accepts(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.target.tls_port)
        except OSError:
            return False
        writer.close()
        return True

    async def _until(self, ask: Any) -> None:
        """Ask again and again."""
        end = time.monotonic() + PATIENCE
        while not await ask():
            if self._process is None or self._process.returncode is not None:
                raise SystemExit(f"{self.target.name} ended:\n{self._complaints()}")
            if time.monotonic() > end:
                raise SystemExit(f"{self.target.name}: waited in vain for {ask.__name__}")
            await asyncio.sleep(0.05)

    def _complaints(self) -> str:
        return (self._folder / "output").read_text()[-2000:]

    async def hang_up(self) -> None:
        """Send SIGHUP, and read the log that it ends."""
        old = self._folder / "log.old"
        self._log.rename(old)
        self.reloads += 1
        os.kill(self.pid, signal.SIGHUP)

        async def opens_a_new_log() -> bool:
            return self._log.exists()

        await self._until(opens_a_new_log)
        await asyncio.to_thread(self.tally.read, old)
        old.unlink()

    async def reload(self, step: int) -> None:
        """One of the reloads, in turn."""
        match step % 4:
            case 0:
                self.write(_LIMITS[1])
                await self.hang_up()
            case 1:
                expected = self.renew()
                await self.hang_up()

                async def serves_the_new_certificate() -> bool:
                    return await self._certificate() == expected

                await self._until(serves_the_new_certificate)
            case 2:
                self.write(_LIMITS[0])
                await self.hang_up()
            case _:
                self.mistakes += 1
                self.write(self._limits, colour="red")
                await self.hang_up()
        now = Sample.of(self.pid)
        self.peak = max(self.peak, now.rss)
        self.peak_descriptors = max(self.peak_descriptors, now.descriptors.total())

    async def _certificate(self) -> bytes | None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            _, writer = await asyncio.open_connection(
                "127.0.0.1", self.target.tls_port, ssl=context
            )
        except OSError:
            return None
        sent: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        return sent

    async def settle(self, when: str) -> None:
        """Wait until nothing changes any more, and measure."""
        end = time.monotonic() + PATIENCE
        count, since = -1, time.monotonic()
        while time.monotonic() - since < _CALM and time.monotonic() < end:
            now = Sample.of(self.pid).descriptors.total()
            if now != count:
                count, since = now, time.monotonic()
            await asyncio.sleep(0.2)
        self.lives[-1].append((when, Sample.of(self.pid)))

    async def stop(self) -> str:
        """End a life; returns what was wrong with the end, if anything."""
        assert self._process is not None
        self._process.terminate()
        try:
            async with asyncio.timeout(_DRAIN + PATIENCE):
                status = await self._process.wait()
        except TimeoutError:
            self.kill()
            return f"{self.target.name} did not stop"
        await asyncio.to_thread(self.tally.read, self._log)
        self._log.unlink()
        printed = self._complaints()
        if status or printed:
            return f"{self.target.name} exited with status {status}, and printed {printed!r}"
        return ""

    def kill(self) -> None:
        """See that it is gone."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MYPROJECT")}


def _certificate() -> tuple[bytes, bytes]:
    """A new self-signed certificate with its key, as PEM; and without, as DER."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return pem + secret, certificate.public_bytes(serialization.Encoding.DER)
