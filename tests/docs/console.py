"""
Run a page of documentation as its reader would.

A fenced block of `console` holds commands, on lines that begin with ``$ ``, and what they print.
Three dots stand for any text: within a line, or for any number of lines. A block of another language
whose first line is a comment with a file's name is that file. All happens in the page's order, in
one new folder.

A command that runs a server in the foreground (``twistd -n``, ``twist``) is left running until its section
ends, as in a terminal of its own; what comes after it waits until it listens.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import wait_until

__all__ = ["Block", "Command", "Page", "blocks", "commands"]

_FENCE = re.compile(r"^( *)```([\w-]*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# ([\w./-]+\.(?:py|toml|tac))\n")
_SERVER = re.compile(
    r"^(twistd( -\S+)* -n|twist)\b(?!.*(--(help|version|check-config|print-config)|[;|>]))"
)

#: How long a command may take, and a server to listen; a bound for a hung test, not a measurement.
PATIENCE = 60.0


_NETCAT = """
import socket, sys
_, option, host, port = sys.argv
assert option == "-N"
with socket.create_connection((host, int(port))) as peer:
    while data := sys.stdin.buffer.read1():
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
    while data := peer.recv(65536):
        sys.stdout.buffer.write(data)
"""

_CURL = """
import shutil, sys, urllib.error, urllib.request
_, option, address = sys.argv
assert option == "-s"
try:
    answer = urllib.request.urlopen(address)
except urllib.error.HTTPError as error:
    answer = error
except OSError:
    sys.exit(7)
shutil.copyfileobj(answer, sys.stdout.buffer)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, and its text without the fence's indentation."""

    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command, and the lines that the page says it prints."""

    line: str
    output: tuple[str, ...]


def blocks(page: str) -> Iterator[Block]:
    """Yield the fenced blocks of a Markdown page."""
    for match in _FENCE.finditer(page):
        indent, language, text = match.groups()
        lines = [line.removeprefix(indent) for line in text.splitlines()]
        yield Block(language, "\n".join(lines) + "\n")


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a console block."""
    lines: list[str] = []
    for line in block.text.splitlines():
        if line.startswith("$ ") and lines:
            yield Command(lines[0], tuple(lines[1:]))
            lines = []
        if line.startswith("$ "):
            lines = [line[2:]]
        elif lines and lines[-1].endswith("\\") and len(lines) == 1:
            lines[0] = lines[0][:-1] + line.strip()
        elif lines:
            lines.append(line)
    if lines:
        yield Command(lines[0], tuple(lines[1:]))


def expected(output: tuple[str, ...]) -> re.Pattern[str]:
    """The output that a page shows, as a pattern: three dots match anything."""
    parts = []
    for line in output:
        if line == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(r"[^\n]*?".join(map(re.escape, line.split("..."))) + "\n")
    return re.compile("".join(parts))


@dataclass
class Page:
    """A page being run in a folder."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    servers: list[tuple[subprocess.Popen[bytes], Path]] = field(default_factory=list)

    def __post_init__(self) -> None:
        programs = str(Path(sys.executable).parent)
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("MYPROJECT")},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "80",
            **self.environ,
        }
        for name, code in (("nc", _NETCAT), ("curl", _CURL)):
            if shutil.which(name) is None:
                self._stand_in_for(name, code)

    def _stand_in_for(self, name: str, code: str) -> None:
        """The pages talk to servers with netcat and curl, which a bare machine has not."""
        programs = self.folder / ".programs"
        programs.mkdir(exist_ok=True)
        script = programs / name
        script.write_text(f"#!{sys.executable}\n{code}", encoding="utf-8")
        script.chmod(0o755)
        self.environ["PATH"] += f"{os.pathsep}{programs}"

    def run(self, page: str) -> None:
        """
        Do everything that a page says, then stop what it started.

        :raises AssertionError: something did not go as printed.
        """
        for section in re.split(r"^## ", page, flags=re.MULTILINE):
            try:
                for block in blocks(section):
                    self.follow(block)
            finally:
                self.stop()

    def follow(self, block: Block) -> None:
        """Run a console block's commands, or write a file's block to its file."""
        named = _FILE.match(block.text)
        if block.language == "console":
            for command in commands(block):
                self.do(command)
        elif named:
            path = self.folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")

    def do(self, command: Command) -> None:
        """Run one command, and compare what it prints."""
        words = command.line.split()
        if words[0] == "cd":
            self.folder = self.folder / words[1]
            return
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.environ[name] = value
            return
        if _SERVER.match(command.line):
            output, pattern = self.serve(command), expected(("...", *command.output))
        else:
            output, pattern = self.shell(command.line), expected(command.output)
        if not pattern.match(output):
            shown = "\n".join(command.output)
            raise AssertionError(f"$ {command.line}\nshould print\n{shown}\nbut printed\n{output}")

    def shell(self, line: str) -> str:
        """Run a command to its end; what it printed, on both channels."""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
        # A terminal shows no carriage return.
        return done.stdout.decode().replace("\r\n", "\n")

    def serve(self, command: Command) -> str:
        """Start a server and wait until it says what the page shows; what it printed so far."""
        log = self.folder / f"server-{len(self.servers)}.log"
        with log.open("wb") as stream:
            server = subprocess.Popen(
                ["bash", "-c", f"exec {command.line}"],
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self.servers.append((server, log))
        shown = expected(("...", *command.output))

        def ready() -> bool:
            printed = log.read_text()
            listens = " starting on " in printed and shown.match(printed) is not None
            return listens or server.poll() is not None

        wait_until(ready, PATIENCE, f"{command.line} printed {command.output}")
        return log.read_text()

    def stop(self) -> None:
        """End the servers, the youngest first."""
        for server, _ in reversed(self.servers):
            if server.poll() is None:
                server.send_signal(signal.SIGTERM)
            server.wait(PATIENCE)
        self.servers.clear()
