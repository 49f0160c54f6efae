"""
People who talk to an installed server over sockets, as fast as it lets them, and know what is to be kept.

Each message is numbered, by who says it and where; its text is who, where and the number. So what is to be in
a history is told by one glance: of everybody the numbers from 1 on, each once, in their order.
"""

from __future__ import annotations

import selectors
import socket
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Final
from unittest import TestCase

from myproject_chat.wire import Message, parse
from tests.support import PATIENCE, Running, connect, exchange, free_port, start

__all__ = ["CHANNELS", "Place", "Speaker", "numbers", "talk"]

#: Registered, so that their histories outlive the process.
CHANNELS: Final = ("#a", "#b")

#: Messages of one speaker that wait for their echo.
_WINDOW: Final = 30

_CAPABILITIES: Final = (
    "batch draft/account-registration draft/chathistory echo-message labeled-response message-tags sasl"
    " server-time"
)
_SETTINGS: Final = """
[myproject-chat]
port = ["tcp:{port}:interface=127.0.0.1"]
metrics = ["{metrics}"]
state = "chat.sqlite"
[myproject-chat.history]
messages = 1000000
chathistory-messages = 10000
[myproject-chat.accounts]
password-length = 1
hash = {{time = 1, memory = 8, iterations = 4096}}
[myproject-chat.throttle]
exempt = ["127.0.0.0/8"]
[myproject-chat.fakelag]
exempt = ["127.0.0.0/8"]
"""


class Place:
    """
    A folder with a server's configuration and state.

    :param case: the test.
    :param folder: the folder; it is made.

    :ivar state: the state file.
    """

    def __init__(self, case: TestCase, folder: Path) -> None:
        folder.mkdir()
        self._case = case
        self._folder = folder
        self._port, self._metrics = free_port(), free_port()
        settings = _SETTINGS.format(port=self._port, metrics=self._metrics)
        (folder / "chat.toml").write_text(settings)
        self.state = folder / "chat.sqlite"

    def start(self) -> Running:
        """Start the server."""
        words = ("-n", "--pidfile=", "myproject-chat", "--config", "chat.toml")
        return start(self._case, *words, cwd=self._folder).wait_for_port(self._port)

    def readiness(self) -> str:
        """What ``/readyz`` says."""
        answer = exchange(self._metrics, b"GET /readyz HTTP/1.0\r\n\r\n")
        return answer.partition(b"\r\n\r\n")[2].decode().strip()

    def speakers(self, names: Iterable[str]) -> list[Speaker]:
        """Make people, and the channels and accounts that they need, of which there are none yet."""
        every = [Speaker(self._port, name) for name in names]
        for one in every:
            self._case.addCleanup(one.hang_up)
            one.register()
        first = every[0]
        for channel in CHANNELS:
            first.ask(f"JOIN {channel}", "366")
            first.ask(f"PRIVMSG ChanServ :REGISTER {channel}", "NOTICE")
        for one in every:
            one.hang_up()
            one.targets = (*CHANNELS, *(other.name for other in every if other is not one))
            one.numbers = dict.fromkeys(one.targets, 0)
        return every


class Speaker:
    """
    Somebody with an account.

    :param port: the server's.
    :param name: the account, and the nick.

    :ivar targets: whom to speak to.
    :ivar numbers: the last number that was said, by target.
    :ivar echoed: what the server has sent back: the last number by target.
    :ivar strange: what should not have come.
    """

    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self.targets: tuple[str, ...] = ()
        self.numbers: dict[str, int] = {}
        self.echoed: Counter[str] = Counter()
        self.strange: list[str] = []
        self._port = port
        self._socket = socket.socket()
        self._rest = b""
        self._waiting = 0
        self._turns: Iterator[str] = iter(self.targets)

    # The connection

    def register(self) -> None:
        """Make the account, and log in to it."""
        self._open()
        self.ask("CAP END", "376", "422")
        self.ask("REGISTER * * secret", "REGISTER")

    def come(self) -> None:
        """Log in, and join the channels."""
        self._open()
        self.ask("AUTHENTICATE PLAIN", "AUTHENTICATE")
        password = b64encode(f"\0{self.name}\0secret".encode()).decode()
        self.ask(f"AUTHENTICATE {password}", "903")
        self.ask("CAP END", "376", "422")
        for channel in CHANNELS:
            self.ask(f"JOIN {channel}", "366")
        self._waiting = 0
        self._turns = cycle(self.targets)

    def _open(self) -> None:
        self.hang_up()
        self._socket = connect(self._port)
        self._rest = b""
        self.ask(f"CAP REQ :{_CAPABILITIES}\r\nNICK {self.name}\r\nUSER {self.name} 0 * :x", "CAP")

    def hang_up(self) -> None:
        """Close the connection."""
        self._socket.close()

    def fileno(self) -> int:
        """The connection's descriptor, for selectors."""
        return self._socket.fileno()

    def _read(self) -> list[Message] | None:
        """The lines that come next; None if there will be no more."""
        try:
            data = self._socket.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            return None
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        return [parse(line) for line in lines] if data else None

    def send(self, line: str) -> None:
        """Send a line."""
        self._socket.settimeout(PATIENCE)
        self._socket.sendall(f"{line}\r\n".encode())

    def ask(self, line: str, *ends: str) -> list[Message]:
        """
        Send a line and read until an answer has come.

        :param line: the line.
        :param ends: the commands that an answer ends with.
        :return: what came.
        """
        self.send(line)
        came: list[Message] = []
        while not any(message.command.decode() in ends for message in came):
            more = self._read()
            if more is None:
                raise AssertionError(f"{self.name}: {line!r} was answered by {came} and an end")
            came += more
        return came

    # Talking

    def speak(self) -> None:
        """Say as much as may wait for its echo."""
        lines = []
        while self._waiting < _WINDOW:
            self._waiting += 1
            target = next(self._turns)
            self.numbers[target] = number = self.numbers[target] + 1
            # The echo of every other one is the answer to a label, too.
            label = f"@label={number} " if number % 2 else ""
            lines.append(f"{label}PRIVMSG {target} :{self.name} {target} {number}\r\n")
        self._socket.setblocking(True)
        try:
            self._socket.sendall("".join(lines).encode())
        except (ConnectionResetError, BrokenPipeError):
            self._waiting = _WINDOW

    def listen(self) -> bool:
        """
        Take what has come.

        :return: whether there may be more.
        """
        messages = self._read()
        for message in messages or ():
            words = message.params[-1].decode().split(" ") if message.params else [""]
            mine = (message.source or b"").startswith(f"{self.name}!".encode())
            if message.command == b"PRIVMSG" and mine and message.params[0].decode() == words[1]:
                self._waiting -= 1
                _, target, number = words
                if int(number) != self.echoed[target] + 1:
                    self.strange.append(f"{words} after {self.echoed[target]}")
                self.echoed[target] = int(number)
                if int(number) % 2 and message.tags.get(b"label") != number.encode():
                    self.strange.append(f"{words} without its label")
            elif message.command not in (b"PRIVMSG", b"JOIN", b"MODE", b"QUIT", b"AWAY", b"PING"):
                self.strange.append(f"{message}")
        return messages is not None

    # What was kept

    def history(self, target: str) -> list[tuple[str, str]]:
        """
        Fetch a whole history.

        :param target: a channel or a nick.
        :return: the names and texts, in their order.
        """
        first, *rest = [
            message
            for message in self.ask(f"CHATHISTORY LATEST {target} * 10000\r\nPING end", "PONG")
            if message.command == b"BATCH" or b"batch" in message.tags
        ]
        if first.params[1:] != (b"chathistory", target.encode()):
            raise AssertionError(f"{self.name}: {first}")
        return [
            (message.tags[b"msgid"].decode(), message.params[1].decode())
            for message in rest
            if message.command == b"PRIVMSG"
        ]

    def check(self, case: TestCase) -> list[tuple[str, str]]:
        """
        See that all is there that was echoed, once, in its order; what was not is to be said again.

        :param case: the test.
        :return: the names and texts of all that this one can read.
        """
        case.assertEqual([], self.strange)
        found = []
        for target in self.targets:
            kept = self.history(target)
            said = numbers(text for _, text in kept)[self.name, target]
            case.assertEqual(list(range(1, len(said) + 1)), said, f"{self.name} to {target}")
            case.assertLessEqual(self.echoed[target], len(said), f"{self.name} to {target}: lost")
            case.assertLessEqual(len(said), self.numbers[target])
            self.numbers[target] = self.echoed[target] = len(said)
            found += kept
        return found


def numbers(texts: Iterable[str]) -> dict[tuple[str, str], list[int]]:
    """
    Read texts.

    :param texts: what was said.
    :return: the numbers in them, by speaker and target.
    """
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for text in texts:
        who, target, number = text.split(" ")
        found[who, target].append(int(number))
    return found


def talk(speakers: list[Speaker], enough: Callable[[], bool], end: Callable[[], object]) -> None:
    """
    Have people talk.

    :param speakers: who, connected.
    :param enough: asked again and again: whether they have talked enough.
    :param end: called then, once; the others go on until everybody has been sent everything.
    """
    over = False
    with selectors.DefaultSelector() as selector:
        for one in speakers:
            selector.register(one, selectors.EVENT_READ, one)
        while selector.get_map():
            if not over and enough():
                over = True
                end()
            if not over:
                for one in speakers:
                    one.speak()
            ready = selector.select(PATIENCE)
            if not ready:
                raise AssertionError("nobody hears anything any more")
            for key, _ in ready:
                if not key.data.listen():
                    selector.unregister(key.fileobj)
