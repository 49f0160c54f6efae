"""
Real IRC clients on the real server: irssi and WeeChat, as Debian has them, talk to each other.

Each test starts ``twistd myproject-chat`` on a free port of the loopback. A client writes what it
sees into logs of its own, and those are what is looked at; irssi is typed to through a terminal,
WeeChat through its fifo. Where a client is not installed the test is skipped with a reason, or
fails if MYPROJECT_REQUIRE_INTEROP=1.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from twisted.trial.unittest import SkipTest, SynchronousTestCase

# Seconds that anything here may take. It takes one or two; a loaded machine may take ten times that.
_PATIENCE = 40.0

_IRSSI_CONFIG = """
chatnets = {{ test = {{ type = "IRC"; }}; }};
servers = ({{ address = "127.0.0.1"; chatnet = "test"; port = "{port}"; autoconnect = "yes"; }});
channels = ({{ name = "#test"; chatnet = "test"; autojoin = "yes"; }});
settings = {{
  "irc/core" = {{ cmd_queue_speed = "20msec"; rawlog_lines = "2000"; }};
  core = {{ nick = "{nick}"; user_name = "{nick}"; real_name = "An irssi"; }};
  "fe-common/core" = {{ autolog = "yes"; autolog_path = "{logs}/$0.log"; }};
}};
"""


def wait_for(what: str, look: Callable[[], object], detail: Callable[[], str] = str) -> None:
    """Look again and again until there is something, or fail."""
    deadline = time.monotonic() + _PATIENCE
    while not look():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {_PATIENCE:g} s for {what}\n{detail()}")
        time.sleep(0.05)


def read(path: Path) -> str:
    """What a file has so far, nothing if it is not there."""
    return path.read_text("utf-8", "replace") if path.exists() else ""


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
                if os.environ.get("MYPROJECT_REQUIRE_INTEROP") == "1":
                    self.fail(f"{program} is not installed and MYPROJECT_REQUIRE_INTEROP=1")
                raise SkipTest(f"{program} is not installed")

    def start(
        self, command: list[str], *, output: IO[bytes], stdin: int
    ) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own; it is ended with the test, by its id."""
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env={**os.environ, "TERM": "xterm", "HOME": str(self.folder), "LANG": "C.UTF-8"},
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

    def start_server(self, *options: str) -> int:
        """Start the server as an operator would, and give the port that the system chose."""
        twistd = Path(sys.executable).with_name("twistd")
        command = [str(twistd), "-n", "--pidfile=", "myproject-chat"]
        with self.server_log.open("wb") as output:
            self.server = self.start(
                [*command, "--port", "tcp:0:interface=127.0.0.1", *options],
                output=output,
                stdin=subprocess.DEVNULL,
            )
        pattern = re.compile(r"starting on (\d+)")
        wait_for(
            "the server's port",
            lambda: pattern.search(read(self.server_log)),
            lambda: read(self.server_log),
        )
        match = pattern.search(read(self.server_log))
        assert match is not None
        return int(match[1])

    def assert_conversation(
        self, first: type[Irssi | Weechat], second: type[Irssi | Weechat]
    ) -> None:
        """Both join, each says something, and each sees it."""
        port = self.start_server()
        one = first(self, "alice", port)
        one.wait_to_see("has joined #test")
        two = second(self, "bob", port)
        two.wait_to_see("has joined #test")
        one.wait_to_see("bob")
        one.say(f"good day from {one.nick}, é")
        two.wait_to_see(f"good day from {one.nick}, é")
        two.say(f"and to you from {two.nick}")
        one.wait_to_see(f"and to you from {two.nick}")
        two.leave()
        one.wait_to_see("so long")
        self.assertNotIn("Traceback", read(self.server_log))
        self.assertNotIn("Unhandled", read(self.server_log))


class Irssi:
    """One irssi on a terminal of its own."""

    def __init__(self, case: ClientCase, nick: str, port: int) -> None:
        self.nick = nick
        self.home = case.folder / nick
        self.home.mkdir()
        config = self.home / "config"
        config.write_text(_IRSSI_CONFIG.format(port=port, nick=nick, logs=self.home), "utf-8")
        self.screen = self.home / "screen"
        self.keyboard, terminal = pty.openpty()
        case.addCleanup(os.close, self.keyboard)
        with self.screen.open("wb") as output:
            case.start(["irssi", f"--home={self.home}"], output=output, stdin=terminal)
        os.close(terminal)

    def seen(self) -> str:
        return read(self.home / "#test.log")

    def wait_to_see(self, words: str) -> None:
        wait_for(f"{self.nick} to see {words!r}", lambda: words in self.seen(), self.detail)

    def detail(self) -> str:
        return f"{self.seen()}\n{read(self.screen)[-2000:]}"

    def say(self, words: str) -> None:
        self.type(f"/msg #test {words}")

    def leave(self) -> None:
        self.type("/quit so long")

    def type(self, line: str) -> None:
        os.write(self.keyboard, f"{line}\r".encode())


class Weechat:
    """One headless WeeChat."""

    def __init__(self, case: ClientCase, nick: str, port: int) -> None:
        self.nick = nick
        self.home = case.folder / nick
        self.fifo = self.home / "fifo"
        self.screen = case.folder / f"{nick}.screen"
        commands = [
            f"/set fifo.file.path {self.fifo}",
            "/set logger.file.flush_delay 0",
            f"/server add test 127.0.0.1/{port} -notls -nicks={nick} -username={nick}",
            "/set irc.server.test.autojoin #test",
            "/connect test",
        ]
        with self.screen.open("wb") as output:
            case.start(
                ["weechat-headless", "--stdout", "-d", str(self.home), "-r", ";".join(commands)],
                output=output,
                stdin=subprocess.DEVNULL,
            )

    def seen(self) -> str:
        return read(self.home / "logs" / "irc.test.#test.weechatlog")

    def wait_to_see(self, words: str) -> None:
        wait_for(f"{self.nick} to see {words!r}", lambda: words in self.seen(), self.detail)

    def detail(self) -> str:
        core = read(self.home / "logs" / "irc.server.test.weechatlog")
        return f"{self.seen()}\n{core[-3000:]}\n{read(self.screen)[-2000:]}"

    def say(self, words: str) -> None:
        self.type(f"irc.test.#test *{words}")

    def leave(self) -> None:
        self.type("irc.test.#test */quit so long")

    def type(self, line: str) -> None:
        wait_for(f"{self.nick}'s fifo", self.fifo.exists, self.detail)
        with self.fifo.open("w", encoding="utf-8") as fifo:
            fifo.write(f"{line}\n")


class IrcClientTests(ClientCase):
    def test_two_irssi_talk(self) -> None:
        self.need("irssi")
        self.assert_conversation(Irssi, Irssi)

    def test_two_weechat_talk(self) -> None:
        self.need("weechat-headless")
        self.assert_conversation(Weechat, Weechat)

    def test_irssi_and_weechat_talk(self) -> None:
        self.need("irssi", "weechat-headless")
        self.assert_conversation(Irssi, Weechat)


class SocketTests(ClientCase):
    """Plain sockets: what neither client does."""

    def setUp(self) -> None:
        super().setUp()
        self.port = self.start_server("--sendq", "65536")

    def connect(self, *, receive_buffer: int | None = None) -> socket.socket:
        person = socket.socket()
        self.addCleanup(person.close)
        if receive_buffer is not None:
            person.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        person.settimeout(_PATIENCE)
        person.connect(("127.0.0.1", self.port))
        return person

    def read_until(self, person: socket.socket, words: bytes) -> bytes:
        """Read until some words have come; what came is given back."""
        got = b""
        while words not in got:
            data = person.recv(65536)
            self.assertTrue(data, got)
            got += data
        return got

    def test_a_person_without_a_client_is_told_once_what_this_is(self) -> None:
        person = self.connect()
        person.sendall(b"hello?\n")
        notice, _, error = self.read_until(person, b" 421 * hello? :").partition(b"\r\n")
        self.assertIn(b" NOTICE * :This is myproject, a chat server", notice)
        self.assertIn(b"irssi -c 127.0.0.1 -p %d" % self.port, notice)
        self.assertNotIn(b"NOTICE", error)

    def test_who_does_not_read_is_closed_and_others_see_why(self) -> None:
        slow, other = self.connect(receive_buffer=4096), self.connect()
        for nick, person in ((b"slow", slow), (b"other", other)):
            person.sendall(b"NICK %b\r\nUSER x 0 * :x\r\nJOIN #a\r\n" % nick)
            self.read_until(person, b" 366 ")
        for _ in range(200):
            other.sendall((b"PRIVMSG #a :" + b"x" * 400 + b"\r\n") * 100 + b"PING more\r\n")
            if b" QUIT :SendQ exceeded" in self.read_until(other, b"more\r\n"):
                break
        else:
            self.fail("8 MB later it was still there")
        self.assertNotIn("Traceback", read(self.server_log))

    def test_stopping_the_server_closes_connections_and_ends_well(self) -> None:
        person = self.connect()
        person.sendall(b"PING x\n")
        self.read_until(person, b"PONG")
        self.server.send_signal(signal.SIGTERM)
        said = b"".join(iter(lambda: person.recv(65536), b""))
        self.assertTrue(said.endswith(b"(The server is shutting down)\r\n"), said)
        self.assertEqual(0, self.server.wait(_PATIENCE))
