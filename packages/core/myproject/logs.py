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

:class:`Logging` stands between ``twistd`` and whichever observers it was asked for, ours or its own: it keeps
from them what ``--log-level`` is above, and has their files opened again.
"""

from __future__ import annotations

import itertools
import json as _json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.application.service import Service
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    Logger,
    LoggingFile,
    LogLevel,
    PredicateResult,
    formatEvent,
    globalLogBeginner,
)
from twisted.python import context
from twisted.python.log import ILogContext
from zope.interface import implementer

from myproject.listening import why

if TYPE_CHECKING:
    from typing import Self

    from twisted.application.service import IServiceCollection
    from twisted.logger import LogEvent
    from twisted.python.failure import Failure

    from myproject.connection import Connection
    from myproject.gate import Gate

__all__ = [
    "FILE_VARIABLE",
    "LEVELS",
    "RELAYED",
    "ConnectionPrefix",
    "Journal",
    "LineObserver",
    "Logging",
    "LogsService",
    "attach",
    "describe",
    "json",
    "json_line",
    "text",
    "text_line",
]

#: The environment variable that names the file to write to.
FILE_VARIABLE: Final = "MYPROJECT_LOG_FILE"

#: The key of an event that another process described: :mod:`myproject.relay`.
RELAYED: Final = "log_relayed"

#: What ``--log-level`` takes, the least important first.
LEVELS: Final = tuple(level.name for level in LogLevel.iterconstants())

#: What Twisted itself puts into events, old ones and new; what of it is worth a line is there already.
_INTERNAL: Final = frozenset(
    {"message", "time", "system", "format", "isError", "failure", "why", "printed"}
)

#: What a line says of every event: no key of an event's own can pass for one of these.
_OURS: Final = frozenset({"time", "level", "namespace", "system", "message", "traceback"})

#: How deep values within values go; an event is no document.
_DEPTH: Final = 4

# A process has one sequence of connections, however many services share it.
_numbers = itertools.count(1)


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
    known: dict[str, Any] = {"time": _time(event.get("log_time")), "level": _level(event).name}
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


def _level(event: LogEvent) -> Any:
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


def _escape(words: str) -> str:
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
    return _escape(" ".join(parts))


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


# What twistd does not know of


class Logging:
    """
    Stands where observers are registered when ``twistd`` begins to log.

    :param subcommand: whose log it is.
    :param level: the least level that is logged, one of :data:`LEVELS`.
    """

    _log = Logger()

    def __init__(self, subcommand: str, level: str) -> None:
        self.subcommand = subcommand
        #: The least level that is logged; may be set at any time.
        self.level = level
        self._observers: list[Any] = []
        self._begin: Callable[..., None] = globalLogBeginner.beginLoggingTo

    @classmethod
    def installed(cls, subcommand: str, level: str) -> Logging:
        """
        Stand there, unless one of us does: the subcommand that was started first has its say.

        :param subcommand: whose log it is.
        :param level: the least level that is logged.
        """
        # Twisted lets nobody choose the level of twistd's own observers. This is the one place that all of
        # them pass: those of --logger, --logfile and --syslog, and of twist.
        current = globalLogBeginner.beginLoggingTo
        owner = getattr(current, "__self__", None)
        if isinstance(owner, cls):
            return owner
        made = cls(subcommand, level)
        globalLogBeginner.beginLoggingTo = made.begin  # type: ignore[method-assign]
        return made

    def begin(self, observers: Iterable[ILogObserver], *arguments: Any, **options: Any) -> None:
        """
        Begin to log, as ``LogBeginner.beginLoggingTo`` does, whose arguments it takes.

        :param observers: what the level is kept from.
        """
        globalLogBeginner.beginLoggingTo = self._begin  # type: ignore[method-assign]
        self._observers = list(observers)
        for one in self._observers:
            if isinstance(one, LineObserver):
                one.subcommand = self.subcommand
        # All that it does with a predicate is call it.
        admits = cast("Any", self._admits)
        kept = [FilteringLogObserver(one, [admits]) for one in self._observers]
        self._begin(kept, *arguments, **options)

    def _admits(self, event: LogEvent) -> Any:
        important = _level(event) >= LogLevel.levelWithName(self.level)
        return PredicateResult.maybe if important else PredicateResult.no

    def reopen(self) -> None:
        """Open the log files again, by their names. One that cannot be had is written to as before."""
        for observer in self._observers:
            try:
                if isinstance(observer, LineObserver):
                    observer.reopen()
                    continue
                # That of --logfile; standard output has no such method.
                file: Any = getattr(observer, "_outFile", None)
                if hasattr(file, "reopen"):
                    # It closes the old file before it opens the new one: ask before.
                    with Path(file.path).open("ab"):
                        file.reopen()
            except OSError as failure:
                self._log.error("cannot open the log file again: {why}", why=why(failure))


class LogsService(Service):
    """
    Opens the log files again on ``SIGHUP``, beside whatever else the signal does.

    :param logging: has the files.
    :param reactor: the reactor; by default the global one, looked up when the service starts.
    """

    def __init__(self, logging: Logging, reactor: Any = None) -> None:
        self.logging = logging
        self.reactor = reactor
        self._previous: Any = None

    def startService(self) -> None:
        """Take the signal."""
        super().startService()
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        # Python lets no other thread. If another handler came after ours it still calls ours: to
        # take the signal once more would have the two call each other for ever.
        main = threading.current_thread() is threading.main_thread()
        if main and self._previous is None:
            self._previous = signal.signal(signal.SIGHUP, self._hung_up)

    def _hung_up(self, number: int, frame: Any) -> None:
        self.reactor.callFromThread(self.logging.reopen)
        if callable(self._previous):
            self._previous(number, frame)

    def stopService(self) -> None:
        """Give the signal back, unless someone else has it by now."""
        super().stopService()
        if self._previous is not None and signal.getsignal(signal.SIGHUP) == self._hung_up:
            signal.signal(signal.SIGHUP, self._previous)
            self._previous = None


# Connections


class Journal:
    """
    Numbers a gate's connections, names them in the log, and writes the access log if there is one.

    :param subcommand: whose connections they are.
    :param gate: tells the time.
    :param access: whether a connection's beginning and end are logged.
    """

    _log = Logger()

    def __init__(self, subcommand: str, gate: Gate, *, access: bool) -> None:
        self._subcommand = subcommand
        self._gate = gate
        self._access = access
        self._open: dict[Connection, tuple[Mapping[str, Any], float]] = {}

    def opened(self, connection: Connection) -> None:
        """
        Name a connection.

        :param connection: one that has just passed the gate.
        """
        number = next(_numbers)
        transport = connection.transport
        peer, local = (_address(ask) for ask in (transport.getPeer, transport.getHost))
        lowest = connection.socket
        prefix = getattr(lowest, "logstr", None)
        if isinstance(prefix, str):
            # Twisted's is NAME,NUMBER,HOST, with a number that is the port's own.
            name, _, rest = prefix.partition(",")
            words = f"{name},{number},{rest.partition(',')[2]}"
            lowest.logstr = ConnectionPrefix(  # type: ignore[union-attr]
                words, number, peer, self._subcommand
            )
        if self._access:
            known = {
                "connection": number,
                "peer": peer,
                "local": local,
                "subcommand": self._subcommand,
            }
            self._open[connection] = known, self._gate.clock.seconds()
            self._log.info("connection {connection} from {peer} to {local} opened", **known)

    def closed(self, connection: Connection, reason: Failure | None = None) -> None:
        """
        Say how a connection went.

        :param connection: one that has just been lost.
        :param reason: why.
        """
        known, since = self._open.pop(connection, (None, 0.0))
        if known is None:
            return
        counted: dict[str, object] = {}
        words = "connection {connection} from {peer} closed after {duration:.3f} s"
        if connection.socket is not None:
            counted = {"received": connection.socket.received, "sent": connection.socket.sent}
            words += ", {received} bytes received, {sent} sent"
        self._log.info(
            words + ": {reason}",
            duration=self._gate.clock.seconds() - since,
            reason="unknown" if reason is None else reason.getErrorMessage().rstrip("."),
            **known,
            **counted,
        )


def _address(ask: Callable[[], Any]) -> str:
    """An address as a person writes it; ``unix`` for one without a name."""
    address = ask()
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is not None:
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    name = getattr(address, "name", None)
    # The name is the peer's choice, and Twisted's own log escapes nothing but line ends.
    return f"unix:{_escape(os.fsdecode(name))}" if name else "unix"


def attach(service: Any, logging: Logging, *, access: bool) -> None:
    """
    Have a subcommand's service log as its settings say.

    :param service: a :class:`~myproject.service.FactoryService`.
    :param logging: what its process logs with.
    :param access: whether there is an access log.
    """
    service.gate.journal = Journal(service.name, service.gate, access=access)
    # One is enough for the files of a process.
    if service.name == logging.subcommand:
        LogsService(logging).setServiceParent(cast("IServiceCollection", service))
