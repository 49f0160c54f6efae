"""
What the tests of real IRC clients share: a server for a team, clients that are driven, and a patient look.

The server is the installed ``twistd myproject-chat``, on free ports of the loopback: TLS with a certificate
that the clients verify, and accounts that they log in to, as nobody is let in without. What a client sees it
writes into files of its own, and those are what is looked at. Where a client is not installed its test is
skipped with a reason, or fails if MYPROJECT_REQUIRE_INTEROP=1.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from myproject_chat.store import Database
from tests.core.authority import issue

__all__ = ["PATIENCE", "Client", "ClientCase", "Place", "read", "wait_for"]

#: Seconds that anything here may take. It takes one or two; a loaded machine may take ten times that.
PATIENCE = 40.0

_PASSWORD = "correct horse"

_TEAM = """
[myproject-chat]
port = "tcp:0:interface=127.0.0.1"
tls-port = "tcp:0:interface=127.0.0.1"
certificate = "server.pem"
state = "chat.sqlite"

[myproject-chat.accounts]
required = true
{accounts}
[myproject-chat.throttle]
exempt = ["127.0.0.0/8"]

[myproject-chat.fakelag]
exempt = ["127.0.0.0/8"]
"""


def wait_for(what: str, look: Callable[[], object], detail: Callable[[], str] = str) -> None:
    """
    Look again and again until there is something.

    :param what: what is waited for, for the message.
    :param look: looks.
    :param detail: says what there is instead, for the message.
    :raises AssertionError: it did not come in time.
    """
    deadline = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE:g} s for {what}\n{detail()}")
        time.sleep(0.05)


def read(path: Path) -> str:
    """What a file has so far, nothing if it is not there."""
    return path.read_text("utf-8", "replace") if path.exists() else ""


@dataclass(frozen=True)
class Place:
    """
    Where a client connects to, and as whom.

    :ivar port: the server's.
    :ivar nick: what the client is called there.
    :ivar authority: the certificates that it trusts, a PEM file; None for a connection without TLS.
    :ivar account: what it logs in to, with `password`; None if it does not.
    :ivar password: the account's.
    :ivar name: of the client's own folder, where two share a nick.
    """

    port: int
    nick: str
    authority: Path | None = None
    account: str | None = None
    password: str = _PASSWORD
    name: str = ""


class Client(ABC):
    """
    One client that is driven.

    :ivar nick: what it is called.
    :ivar home: the folder of its files.
    """

    program: str

    def __init__(self, case: ClientCase, place: Place) -> None:
        self.nick = place.nick
        self.home = case.folder / (place.name or place.nick)
        self.home.mkdir()
        self.begin(case, place)

    @abstractmethod
    def begin(self, case: ClientCase, place: Place) -> None:
        """Start it; it connects by itself."""

    @abstractmethod
    def seen(self) -> str:
        """All that it has shown or logged."""

    @abstractmethod
    def type(self, line: str) -> None:
        """Type a line into it; ``/`` begins a command of the client."""

    def detail(self) -> str:
        """What there is to know of it when a test fails."""
        return self.seen()

    def wait_to_see(self, words: str, times: int = 1) -> None:
        """Wait until it has seen words, so many times."""
        what = f"{self.nick} to see {words!r}, {times} times"
        wait_for(what, lambda: self.seen().count(words) >= times, self.detail)

    def say(self, words: str, target: str = "#team") -> None:
        """Say something."""
        self.type(f"/msg {target} {words}")

    def join(self, channel: str = "#team") -> None:
        """Join a channel once it is let in, and wait until it has."""
        self.wait_to_see("Welcome to ")
        self.type(f"/join {channel}")
        wait_for(f"{self.nick} in {channel}", lambda: self.has_joined(channel), self.detail)

    @abstractmethod
    def has_joined(self, channel: str) -> bool:
        """Whether it knows that it is in a channel."""

    def leave(self) -> None:
        """Disconnect, with a reason that others see, and end."""
        self.type("/quit so long")


class ClientCase(SynchronousTestCase):
    """A folder, a server, and processes that end with the test."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="myproject-interop-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.server_log = self.folder / "twistd.log"

    def need(self, *programs: str) -> None:
        """Skip, or fail where it is demanded, if a program is not installed."""
        for program in programs:
            if shutil.which(program) is None:
                self.lack(f"{program} is not installed")

    def lack(self, reason: str) -> None:
        """Skip, or fail where it is demanded."""
        if os.environ.get("MYPROJECT_REQUIRE_INTEROP") == "1":
            self.fail(f"{reason} and MYPROJECT_REQUIRE_INTEROP=1")
        raise SkipTest(reason)

    def start(
        self,
        command: list[str],
        *,
        output: IO[bytes],
        stdin: int = subprocess.DEVNULL,
        **environ: str,
    ) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own; it is ended with the test, by its id."""
        kept = {name: word for name, word in os.environ.items() if not name.startswith("MYPROJECT")}
        own = {"TERM": "xterm", "HOME": str(self.folder), "LANG": "C.UTF-8", **environ}
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env={**kept, **own},
            start_new_session=True,
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End a process; kill it if it does not want to."""
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def start_server(self, *options: str, tls: bool = True) -> None:
        """
        Start the server as an operator would; the system chooses its ports.

        :param options: its arguments.
        :param tls: whether they have a port for TLS, too.
        """
        self._tls = tls
        twistd = Path(sys.executable).with_name("twistd")
        command = [str(twistd), "-n", "--pidfile=", "myproject-chat", *options]
        with self.server_log.open("wb") as output:
            self.server = self.start(command, output=output)
        wait_for("the server's port", self._find_ports, lambda: read(self.server_log))

    def _find_ports(self) -> bool:
        log = read(self.server_log)
        ports = re.findall(r"Factory (\(TLS\) )?starting on (\d+)\n", log)
        self.port = next((int(port) for tls, port in ports if not tls), 0)
        self.tls_port = next((int(port) for tls, port in ports if tls), 0)
        # Ports open one after another.
        return bool(self.port and (self.tls_port or not self._tls))

    def start_team(self, *people: str, accounts: str = "") -> None:
        """
        Start a server that lets in those who have accounts, over TLS, and make theirs.

        :param people: the accounts.
        :param accounts: further lines of TOML, for the table of that name.
        """
        self.certificate = issue("localhost").write(self.folder / "server.pem")
        config = self.folder / "chat.toml"
        config.write_text(_TEAM.format(accounts=accounts), encoding="utf-8")
        # A server that runs already would notice new accounts only after a while.
        Database(str(self.folder / "chat.sqlite")).close()
        for one in people:
            self.administer("account", "add", one, entered=f"{_PASSWORD}\n")
        self.start_server("--config", str(config))

    def administer(self, *words: str, entered: str = "", state: str = "chat.sqlite") -> str:
        """Run ``python -m myproject_chat``; gives what it prints."""
        command = [sys.executable, "-m", "myproject_chat", "--state", state, *words]
        done = subprocess.run(
            command,
            cwd=self.folder,
            input=entered,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual("", done.stderr)
        return done.stdout

    def at(self, nick: str, name: str = "") -> Place:
        """Where somebody of the team connects to; the account is named as the nick."""
        return Place(self.tls_port, nick, self.certificate, nick, name=name)

    def assert_server_is_well(self) -> None:
        """Nothing went wrong in the server that a person should look at."""
        log = read(self.server_log)
        self.assertNotIn("Traceback", log)
        self.assertNotIn("Unhandled", log)
        self.assertIsNone(self.server.poll())

    def assert_talk(self, first: type[Client], second: type[Client]) -> tuple[Client, Client]:
        """
        Two people log in over TLS, join and talk; one is away, is told so of, and is kicked.

        :return: both clients, of which the second is out of the channel.
        """
        self.need(first.program, second.program)
        self.start_team("alice", "bob")
        one = first(self, self.at("alice"))
        one.join()
        two = second(self, self.at("bob"))
        two.join()
        one.wait_to_see("bob")
        one.say(f"good day from {one.nick}, é")
        two.wait_to_see(f"good day from {one.nick}, é")
        two.say(f"and to you from {two.nick}")
        one.wait_to_see(f"and to you from {two.nick}")
        two.type("/away catching fish")
        two.say("gone")
        one.wait_to_see("gone")
        one.say("are you there?", "bob")
        two.wait_to_see("are you there?")
        one.wait_to_see("catching fish")
        one.type("/kick #team bob come back later")
        two.wait_to_see("come back later")
        self.assert_server_is_well()
        return one, two
