"""
A program with pydle, a client library for Python, that does what it reads from standard input.

Each line is a message of the IRC protocol, which is sent as it is once the client is let in; what happens is
printed, a line for each event, from what pydle made of it. It runs in a process of its own, with pydle's own
ways of warning. Arguments: the port, the nick, the account's password; SSL_CERT_FILE names whom to trust.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import pydle  # type: ignore[import-not-found, unused-ignore]


class Person(pydle.Client):  # type: ignore[misc, name-defined, unused-ignore]
    """Prints what it is told."""

    _rest = b""
    _offered: tuple[str, ...] = ()

    async def on_raw_cap_ls(self, params: list[str]) -> None:
        # pydle asks for CAP LS 302 and takes the first of several lines for all.
        self._offered = (*self._offered, params[-1])
        if len(params) == 1:
            await super().on_raw_cap_ls([" ".join(self._offered)])

    async def on_connect(self) -> None:
        await super().on_connect()
        _tell("connected")
        asyncio.get_running_loop().add_reader(sys.stdin, self._obey)

    def _obey(self) -> None:
        data = os.read(sys.stdin.fileno(), 65536)
        if not data:
            asyncio.get_running_loop().remove_reader(sys.stdin)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._passing = asyncio.ensure_future(self._pass_on(lines))

    async def _pass_on(self, lines: list[bytes]) -> None:
        for line in lines:
            await self.raw(line.decode() + "\r\n")

    async def on_join(self, channel: str, user: str) -> None:
        await super().on_join(channel, user)
        _tell("join", channel, user)

    async def on_message(self, target: str, source: str, message: str) -> None:
        await super().on_message(target, source, message)
        _tell("message", target, source, message)

    async def on_kick(self, channel: str, target: str, by: str, reason: str | None = None) -> None:
        await super().on_kick(channel, target, by, reason)
        _tell("kick", channel, target, by, reason)

    async def on_raw_301(self, message: Any) -> None:
        await super().on_raw_301(message)
        _tell("away", *message.params[1:])

    async def on_raw_900(self, message: Any) -> None:
        _tell("account", message.params[2])


def _tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main(port: str, nick: str, password: str) -> None:
    """Connect, and go on until the server or standard input ends."""
    person = Person(
        nick,
        username=nick,
        realname="A pydle",
        sasl_username=nick,
        sasl_password=password,
        sasl_mechanism="PLAIN",
    )
    person.RECONNECT_ON_ERROR = False
    person.run("localhost", int(port), tls=True, tls_verify=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
