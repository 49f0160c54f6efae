r"""
Logs: one event, one line, whatever a peer sends; in JSON, or to read.

``twistd --logger myproject.logs.json`` (or ``.text``) makes one of the observers here, without arguments. It
writes to standard output, or to the file that ``MYPROJECT_LOG_FILE`` names.

An event's text may hold anything: an exception quotes what a peer sent, a plugin logs a request. So
nothing leaves here that is not printable: in JSON the line is ASCII, in text every other character is
escaped as in Python, and a backslash is doubled, so that what is escaped cannot be confused with
what a peer has written so.

Twisted carries a context with each event: the ``system``, a text that the transport which has something to do
answers from ``logPrefix``. :class:`ConnectionPrefix` is such a text, and knows the connection besides. So all
that is logged on behalf of a connection has its number and its peer, without anybody's help.

What ``twistd`` does not know of, levels and files that are opened again, is in :mod:`myproject.logcontrol`;
which connection is which, in :mod:`myproject.journal`.
"""

from __future__ import annotations

import json as _json
import math
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.logger import ILogObserver, LoggingFile, LogLevel, formatEvent
from twisted.python import context
from twisted.python.log import ILogContext
from zope.interface import implementer

from myproject.listening import why

if TYPE_CHECKING:
    from typing import Self

    from twisted.logger import LogEvent
    from twisted.python.failure import Failure

__all__ = [
    "FILE_VARIABLE",
    "RELAYED",
    "ConnectionPrefix",
    "LineObserver",
    "describe",
    "escape",
    "json",
    "json_line",
    "level_of",
    "text",
    "text_line",
]

#: The environment variable that names the file to write to.
FILE_VARIABLE: Final = "MYPROJECT_LOG_FILE"

#: The key of an event that another process described: :mod:`myproject.relay`.
RELAYED: Final = "log_relayed"

#: What Twisted itself puts into events, old ones and new; what of it is worth a line is there already.
_INTERNAL: Final = frozenset(
    {"message", "time", "system", "format", "isError", "failure", "why", "printed"}
)

#: What a line says of every event: no key of an event's own can pass for one of these.
_OURS: Final = frozenset({"time", "level", "namespace", "system", "message", "traceback"})

#: How deep values within values go; an event is no document.
_DEPTH: Final = 4


class ConnectionPrefix(str):
    """
    What a transport calls itself in the log.

    :ivar connection: the connection's number in this process.
    :ivar peer: the peer's address and port.
    :ivar subcommand: whose connection it is.
    """

    __slots__ = ("connection", "peer", "subcommand")

    connection: int
    peer: str
    subcommand: str

    def __new__(cls, words: str, connection: int, peer: str, subcommand: str) -> Self:
        """As Twisted has it: the protocol's name, the number, the host."""
        made = super().__new__(cls, words)
        made.connection, made.peer, made.subcommand = connection, peer, subcommand
        return made


# From an event to a line


def _attempt(call: Callable[..., object], *arguments: object) -> str:
    """Text from what may raise: an event's values have methods of anyone's."""
    try:
        return str(call(*arguments))
    except Exception as failure:
        return f"({type(failure).__name__} while this was formatted)"


def describe(event: LogEvent, subcommand: str) -> dict[str, Any]:
    """
    Put together what a line says, in its order, with text as it came.

    :param event: the event.
    :param subcommand: whose log it is.
    """
    relayed: dict[str, Any] | None = event.get(RELAYED)
    if relayed is not None:
        return dict(relayed)
    prefix = (context.get(ILogContext) or {}).get("system")
    known: dict[str, Any] = {"time": _time(event.get("log_time")), "level": level_of(event).name}
    system = event.get("log_system", event.get("system", prefix))
    namespace = event.get("log_namespace")
    known["namespace"] = None if namespace is None else _attempt(str, namespace)
    known["system"] = None if system in (None, "-") else _attempt(str, system)
    known["subcommand"] = subcommand or None
    if isinstance(prefix, ConnectionPrefix):
        known.update(subcommand=prefix.subcommand, connection=prefix.connection, peer=prefix.peer)
    known["message"] = _attempt(formatEvent, event)
    failure = event.get("log_failure")
    if failure is not None:
        known["traceback"] = _attempt(_traceback, failure)
    for key, value in event.items():
        if type(key) is not str or key.startswith("log_") or key in _INTERNAL | _OURS:
            continue
        # Who logs of a connection from outside of it, names it with the same keys as its prefix.
        plain = _plain(value)
        if plain is not None:
            known[key] = plain
    return {key: value for key, value in known.items() if value is not None}


def _traceback(failure: Failure) -> str:
    return failure.getTraceback()


def _time(moment: object) -> str:
    """RFC 3339, in UTC."""
    try:
        when = datetime.fromtimestamp(cast("float", moment), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        when = datetime.now(UTC)
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def level_of(event: LogEvent) -> Any:
    """
    How important an event is; those of Twisted's older kind do not say.

    :param event: the event.
    """
    level = event.get("log_level")
    return level if level in LogLevel.iterconstants() else LogLevel.info


def _plain(value: Any, depth: int = _DEPTH) -> Any:
    """A value as JSON has it; None for what it has not."""
    kind = type(value)
    plain: Any = None
    if kind in (bool, str):
        plain = value
    elif kind is int:
        # Python refuses to write much longer ones, and hardly anyone reads them.
        plain = value if -(2**63) <= value < 2**64 else None
    elif kind is float:
        plain = value if math.isfinite(value) else None
    elif kind is bytes:
        plain = value.decode("utf-8", "backslashreplace")
    elif depth and kind in (list, tuple):
        plain = [_plain(one, depth - 1) for one in value]
    elif depth and kind is dict:
        plain = {key: _plain(one, depth - 1) for key, one in value.items() if type(key) is str}
    return plain


def json_line(event: LogEvent, subcommand: str = "") -> str:
    """
    An event as a JSON object on a line of ASCII, without its end.

    :param event: the event.
    :param subcommand: whose log it is.
    """
    return _json.dumps(_whole(describe(event, subcommand)))


def _whole(value: Any) -> Any:
    """The same without halves of surrogate pairs, which not all parsers take."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(one) for key, one in value.items()}
    return value


def escape(words: str) -> str:
    """
    Write as in Python what is not printable.

    :param words: any text.
    """
    words = words.replace("\\", "\\\\")
    if words.isprintable():
        return words
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in words
    )


def text_line(event: LogEvent, subcommand: str = "") -> str:
    """
    An event as a readable line, without its end: time, level, system, message; a traceback last.

    :param event: the event.
    :param subcommand: whose log it is.
    """
    known = describe(event, subcommand)
    system = known.get("system") or known.get("namespace") or known.get("subcommand") or "-"
    if "worker" in known and RELAYED in event:
        system = f"worker {known['worker']}: {system}"
    parts = [known["time"], known["level"], f"[{system}]", known["message"]]
    if "traceback" in known:
        parts.append(known["traceback"].rstrip("\n"))
    return escape(" ".join(parts))


# Where lines go


class _Stream:
    """A stream that others opened."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, line: bytes) -> None:
        self._stream.write(line)
        self._stream.flush()

    def reopen(self) -> None:
        """Not ours to open."""


class _File:
    """A file that lines are appended to, each in one piece, so that processes can share it."""

    def __init__(self, path: Path) -> None:
        # twistd changes its folder later.
        self._path = path.absolute()
        self._number = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, line: bytes) -> None:
        os.write(self._number, line)

    def reopen(self) -> None:
        number = self._open()
        # One that fails leaves the old file open.
        os.close(self._number)
        self._number = number


@implementer(ILogObserver)
class LineObserver:
    """
    Writes each event as one line, and never raises.

    :param line: from an event and a subcommand's name to a line.
    :param sink: where to.
    """

    def __init__(self, line: Callable[[LogEvent, str], str], sink: _Stream | _File) -> None:
        self._line = line
        self._sink = sink
        #: Whose log it is, once :class:`Logging` knows.
        self.subcommand = ""

    def __call__(self, event: LogEvent) -> None:
        """Write an event's line."""
        try:
            self._sink.write(self._line(event, self.subcommand).encode() + b"\n")
        except Exception:
            # A full disk, a reader that has gone, a value that is beyond us: where could we say so?
            return

    def reopen(self) -> None:
        """
        Open the file again, by its name.

        :raises OSError: it cannot be had; the old one is still written to.
        """
        self._sink.reopen()


def _observer(line: Callable[[LogEvent, str], str]) -> LineObserver:
    name = os.environ.get(FILE_VARIABLE)
    if name:
        try:
            return LineObserver(line, _File(Path(name)))
        except OSError as failure:
            # twistd has no better end for a logger that cannot be had.
            sys.exit(f"{FILE_VARIABLE}: {name}: {why(failure)}; name a file that can be written")
    stream: Any = sys.__stdout__ if isinstance(sys.stdout, LoggingFile) else sys.stdout
    # An ASCII terminal must not keep us from writing UTF-8.
    return LineObserver(line, _Stream(stream.buffer))


def json() -> LineObserver:
    """Make the observer of ``twistd --logger myproject.logs.json``."""
    return _observer(json_line)


def text() -> LineObserver:
    """Make the observer of ``twistd --logger myproject.logs.text``."""
    return _observer(text_line)
