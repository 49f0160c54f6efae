"""
The channel between a supervisor and a worker: messages as lines of JSON, over a pair of pipes.

=============  ==========  =============================================================================
message        from        says
=============  ==========  =============================================================================
``start``      supervisor  the first: what the worker is to be (:class:`Assignment`)
``reload``     supervisor  read the settings again; ``ask`` numbers the question
``alive``      supervisor  answer; ``ask`` numbers the question
``metrics``    supervisor  say what you measure; ``ask`` numbers the question
``hurry``      supervisor  the stop that has begun, or is to come, waits for nobody
``log``        worker      an event (:mod:`myproject.relay`)
``lost``       worker      ``count`` events could not be sent, as nobody read
``notify``     worker      ``text`` as sd_notify(3) has it, and how many ``connections`` are open
``refused``    worker      the one line that says ``why`` it cannot start
``answer``     worker      the ``value`` that question ``ask`` asked for
=============  ==========  =============================================================================

A supervisor that has no time for its workers must not stop them. So what a worker sends waits in a buffer
of ``MOST_UNSENT`` bytes, and events for which there is no room are counted instead. The last words of
a process are worth most: each message is written at once, if the pipe takes it, by whatever thread
has something to say, and not in the reactor's next turn.

A worker has no life without its supervisor: when the pipe from there ends, so does the worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from zope.interface import implementer

__all__ = [
    "LONGEST",
    "MOST_UNSENT",
    "Assignment",
    "Downlink",
    "Lines",
    "Message",
    "Uplink",
    "encoded",
    "outlived",
]

#: What is said: ``kind`` and what the table above has beside it.
Message = dict[str, Any]

#: Bytes of a message: the metrics of a process are the longest, some 10 KiB for each service.
LONGEST: Final = 4 * 2**20

#: Bytes that may wait in a worker; a pipe of Linux holds 64 KiB more.
MOST_UNSENT: Final = 2**20

#: Bytes that are written at once.
_CHUNK: Final = 65_536


@dataclass(frozen=True)
class Assignment:
    """
    What a worker is to be.

    :param tapname: the subcommand's name.
    :param module: the module that makes it.
    :param description: its line for ``twistd --help``.
    :param worker: which worker this is, from 0.
    :param workers: how many there are.
    :param reactor: the module of the reactor that is to run.
    :param folder: the folder in which settings are read.
    :param path: where Python looks for modules.
    :param given: what the command line gave, by the setting's name.
    :param config: the configuration file, if there is one.
    :param environ: the environment that settings are read from; None for the process's own.
    :param sockets: how many sockets the service manager passed.
    :param ports: what :meth:`~myproject.sharing.SharedPorts.assigned` says of the others.
    """

    tapname: str
    module: str
    description: str
    worker: int
    workers: int
    reactor: str
    folder: str
    path: list[str] = field(default_factory=list)
    given: dict[str, list[str]] = field(default_factory=dict)
    config: str | None = None
    environ: dict[str, str] | None = None
    sockets: int = 0
    ports: list[Any] = field(default_factory=list)

    def message(self) -> Message:
        """The message that says so."""
        return {"kind": "start", **asdict(self)}

    @classmethod
    def of(cls, message: Message) -> Assignment:
        """
        Read the message.

        :param message: as :meth:`message` makes it.
        """
        return cls(**{name: value for name, value in message.items() if name != "kind"})


def encoded(message: Message) -> bytes:
    """
    Write a message as it travels.

    :param message: the message.
    :raises ValueError: it is longer than ``LONGEST``.
    """
    # ASCII, in which half a surrogate pair, as in the name of a file, is a thing like any other.
    line = json.dumps(message).encode("ascii")
    if len(line) > LONGEST:
        raise ValueError(f"a message of {len(line)} bytes is too long")
    return line + b"\n"


class Lines:
    """Puts messages together from what arrives."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """
        Take bytes, in whatever pieces they come.

        :param data: the bytes.
        :return: the messages that they complete.
        :raises ValueError: that was no message; no more can be understood.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, [*lines, self._rest])) > LONGEST:
            raise ValueError("a message is too long")
        messages = []
        for line in lines:
            try:
                message = json.loads(line)
            except RecursionError:
                raise ValueError("a message is too deep") from None
            if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
                raise ValueError("a message has no kind")  # noqa: TRY004 (all that arrives is a value)
            messages.append(message)
        return messages


@implementer(IWriteDescriptor)
class Uplink:
    """
    A worker's way to its supervisor.

    :param number: the descriptor of a pipe.
    """

    def __init__(self, number: int) -> None:
        os.set_blocking(number, False)
        self._number = number
        self._reactor: Any = None
        # Whoever logs may do so in any thread, or in a signal's handler while this thread is in here.
        self._lock = threading.RLock()
        self._unsent = bytearray()
        self._writing = False
        self._armed = False
        self._closed = False
        #: Events that were lost and not yet reported.
        self.lost = 0

    def start(self, reactor: Any) -> None:
        """
        Have a reactor send what cannot be sent at once.

        :param reactor: the reactor, as an ``IReactorFDSet``.
        """
        self._reactor = reactor
        self._flush()

    def send(self, message: Message) -> None:
        """
        Send a message; if it is an event there may be no room for it.

        :param message: the message.
        """
        try:
            data = encoded(message)
        except ValueError:
            # An answer that nobody could take. To be without it is what its asker can deal with.
            self.lost += 1
            return
        with self._lock:
            if message["kind"] == "log" and len(self._unsent) + len(data) > MOST_UNSENT:
                self.lost += 1
                return
            if self.lost and len(self._unsent) < MOST_UNSENT // 2:
                lost, self.lost = self.lost, 0
                self._unsent += encoded({"kind": "lost", "count": lost})
            self._unsent += data
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            # A handler that interrupts us adds to what we are about to write, and leaves it to us.
            if self._writing:
                return
            self._writing = True
            try:
                self._write()
            finally:
                self._writing = False
            if self._unsent and not self._armed and self._reactor is not None:
                self._armed = True
                self._reactor.callFromThread(self._arm)

    def _write(self) -> None:
        while self._unsent and not self._closed:
            try:
                written = os.write(self._number, bytes(self._unsent[:_CHUNK]))
            except BlockingIOError:
                return
            except OSError:
                # The supervisor is gone, and so will this process be in a moment.
                self._closed = True
            else:
                del self._unsent[:written]
        if self._closed:
            self._unsent.clear()

    def _arm(self) -> None:
        self._reactor.addWriter(self)

    def last_words(self, seconds: float) -> None:
        """
        Send what remains, at the end of the process.

        :param seconds: how long to wait for the supervisor.
        """
        end = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._number, select.POLLOUT)
        self._flush()
        while self._unsent and (left := end - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self._flush()

    # As the reactor has it

    def fileno(self) -> int:
        """The descriptor."""
        return self._number

    def logPrefix(self) -> str:
        """What this is called in the log."""
        return "worker"

    def doWrite(self) -> None:
        """Send on: the pipe has room."""
        self._flush()
        with self._lock:
            if not self._unsent:
                self._armed = False
                self._reactor.removeWriter(self)

    def connectionLost(self, reason: object) -> None:  # noqa: ARG002 (Twisted's)
        """Send no more."""
        self._closed = True
        self._reactor.removeWriter(self)


@implementer(IReadDescriptor)
class Downlink:
    """
    A worker's way from its supervisor.

    :param number: the descriptor of a pipe, or of a file that ends like one.
    :param lost: called once, when the supervisor is gone, or talks nonsense.
    """

    def __init__(self, number: int, lost: Callable[[], None]) -> None:
        self._number = number
        self._lines = Lines()
        self._lost = lost
        self._waiting: list[Message] = []
        #: Called with each message, once there is someone to take it.
        self.received: Callable[[Message], None] = self._waiting.append

    def first(self) -> Message | None:
        """Wait for the first message, before there is a reactor; None if the pipe ends instead."""
        while not self._waiting:
            data = os.read(self._number, _CHUNK)
            if not data:
                return None
            self._waiting += self._lines.feed(data)
        return self._waiting.pop(0)

    def start(self, reactor: Any, received: Callable[[Message], None]) -> None:
        """
        Have a reactor read.

        :param reactor: the reactor, as an ``IReactorFDSet``.
        :param received: called with each message.
        """
        os.set_blocking(self._number, False)
        self.received = received
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            received(message)
        reactor.addReader(self)

    def fileno(self) -> int:
        """The descriptor."""
        return self._number

    def logPrefix(self) -> str:
        """What this is called in the log."""
        return "worker"

    def doRead(self) -> Any:
        """Take what there is."""
        try:
            data = os.read(self._number, _CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        try:
            messages = self._lines.feed(data)
        except ValueError:
            return CONNECTION_LOST
        for message in messages:
            self.received(message)
        return None

    def connectionLost(self, reason: object) -> None:  # noqa: ARG002 (Twisted's)
        """Hear no more."""
        with contextlib.suppress(OSError):
            os.close(self._number)
        self._lost()


def outlived(number: int, seconds: float) -> None:
    """
    End this process some time after the other end of a pipe is gone; returns at once.

    The reactor sees to it that a worker ends when its supervisor does. This is for one that is stuck: it
    would keep its port from whoever comes next.

    :param number: the descriptor of a pipe.
    :param seconds: how long the reactor may take.
    """
    poll = select.poll()
    # Nothing but the end wakes it.
    poll.register(number, 0)

    def wait() -> None:
        poll.poll()
        time.sleep(seconds)
        os._exit(os.EX_UNAVAILABLE)

    threading.Thread(target=wait, daemon=True, name="outlived").start()
