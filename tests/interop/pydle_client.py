"""pydle, driven through the standard input of a program that uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.interop.clients import Client, ClientCase, Place, read

__all__ = ["Pydle"]

_PROGRAM = Path(__file__).with_name("pydle_person.py")


class Pydle(Client):
    """One program with pydle; what is typed are lines of the protocol."""

    def begin(self, case: ClientCase, place: Place) -> None:
        self.screen = self.home / "screen"
        command = [sys.executable, str(_PROGRAM), str(place.port), place.nick, place.password]
        with self.screen.open("wb") as output:
            self.process = case.start(
                command,
                output=output,
                stdin=subprocess.PIPE,
                SSL_CERT_FILE=str(place.authority),
            )
        assert self.process.stdin is not None
        case.addCleanup(self.process.stdin.close)

    def seen(self) -> str:
        return read(self.screen)

    def say(self, words: str, target: str = "#team") -> None:
        self.type(f"PRIVMSG {target} :{words}")

    def join(self, channel: str = "#team") -> None:
        self.wait_to_see("connected\n")
        self.type(f"JOIN {channel}")
        self.wait_to_see(f"join {channel} {self.nick}")

    def has_joined(self, channel: str) -> bool:
        return f"join {channel} {self.nick}" in self.seen()

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()
