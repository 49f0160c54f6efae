"""
Relay: what workers log, in the one log of their supervisor.

A worker describes an event as :mod:`myproject.logs` does for a line, with the connection that it was logged
for, and sends that; a supervisor makes an event of it, which knows the worker besides. Observers of ours
write the same line that the worker would have written, and ``worker``; Twisted's own get text, level,
system and traceback.

What an event may hold is up to anyone, so it is cut to ``LONGEST_TEXT`` characters for each of its texts, and
to its main parts if it is still longer than ``LONGEST_EVENT``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import ILogObserver, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from myproject.logs import RELAYED, describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.logger import LogEvent

    from myproject.channel import Message, Uplink

__all__ = ["LONGEST_EVENT", "LONGEST_TEXT", "Printed", "Relay", "WorkerError", "publish", "relayed"]

#: Characters of one text of an event; a traceback of Python's deepest recursion is cut short.
LONGEST_TEXT: Final = 16_384

#: Texts and numbers of an event, all together.
LONGEST_EVENT: Final = 65_536

#: Of an event that is too long, what remains.
_MAIN: Final = (
    "time",
    "level",
    "namespace",
    "system",
    "subcommand",
    "connection",
    "peer",
    "message",
    "traceback",
)


class WorkerError(Exception):
    """Something failed in a worker, which has logged it: never raised, but what a log is told has failed."""


class _Told(Failure):
    """A failure of which there is a text."""

    def __init__(self, words: str) -> None:
        super().__init__(WorkerError(words.strip().rpartition("\n")[2]))
        self._words = words

    def getTraceback(self, *_: object, **__: object) -> str:
        return self._words


@implementer(ILogObserver)
class Relay:
    """
    Sends a worker's events to its supervisor.

    :param uplink: the way there.
    :param subcommand: whose log it is.
    """

    def __init__(self, uplink: Uplink, subcommand: str) -> None:
        self._uplink = uplink
        self._subcommand = subcommand

    def __call__(self, event: LogEvent) -> None:
        """Send an event."""
        moment = event.get("log_time")
        if not isinstance(moment, float):
            moment = time.time()
        known = _shortened(describe(event, self._subcommand))
        self._uplink.send({"kind": "log", "moment": moment, "event": known})


def _shortened(known: dict[str, Any]) -> dict[str, Any]:
    cut = {name: _cut(value) for name, value in known.items()}
    if _size(cut) <= LONGEST_EVENT:
        return cut
    return {name: cut[name] for name in _MAIN if name in cut}


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:LONGEST_TEXT]}..."
    return value


def _size(value: Any) -> int:
    """About how many characters a value has as text."""
    if isinstance(value, dict):
        return sum(len(name) + _size(one) for name, one in value.items())
    if isinstance(value, list):
        return sum(map(_size, value))
    return len(value) if isinstance(value, str) else 20


def relayed(message: Message, worker: int) -> LogEvent:
    """
    Make an event of what a worker sent.

    :param message: as :class:`Relay` sends it.
    :param worker: the worker's number as people count.
    :raises Exception: that is no such message.
    """
    known = {**message["event"], "worker": worker}
    system = known.get("system") or known.get("namespace") or known.get("subcommand") or "-"
    event: LogEvent = {
        "log_time": float(message["moment"]),
        "log_level": LogLevel.levelWithName(known["level"]),
        "log_namespace": known.get("namespace"),
        "log_system": f"worker {worker}: {system}",
        "log_format": "{log_text}",
        "log_text": str(known["message"]),
        RELAYED: known,
    }
    if "traceback" in known:
        event["log_failure"] = _Told(str(known["traceback"]))
    return event


def publish(event: LogEvent) -> None:
    """
    Log an event that is complete.

    :param event: the event.
    """
    globalLogPublisher(event)


class Printed:
    """
    What a worker prints, a line at a time: the last words of an interpreter that fails.

    :param say: called with each line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """
        Take bytes, in whatever pieces they come.

        :param data: the bytes.
        """
        *lines, rest = (self._rest + data).split(b"\n")
        # Whoever prints so much without an end of line gets one.
        while len(rest) > LONGEST_TEXT:
            lines.append(rest[:LONGEST_TEXT])
            rest = rest[LONGEST_TEXT:]
        self._rest = rest
        for line in lines:
            if line.strip():
                self._say(line[:LONGEST_TEXT].decode("utf-8", "backslashreplace"))

    def end(self) -> None:
        """Take what has no end of line as a line."""
        self.feed(b"\n")
