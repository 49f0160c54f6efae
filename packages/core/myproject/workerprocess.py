"""
A worker as its supervisor has it: a process, its three pipes, and the questions that it was asked.

Twisted's process monitor starts it, through a reactor of ours that passes the ports along, and
replaces it when it ends. The monitor's own protocol is told what it needs for that; what the process
says is understood here.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Final, cast

from twisted.internet import defer
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from myproject.channel import Lines, Message, encoded
from myproject.listening import why
from myproject.relay import Printed, publish, relayed

__all__ = [
    "ANSWER_WITHIN",
    "SilenceError",
    "Spawner",
    "WorkerProcess",
    "command",
    "environment",
    "how_it_ended",
]

#: Seconds that a question may take.
ANSWER_WITHIN: Final = 5.0

#: Questions that may wait for an answer: a worker that is stuck is not asked for ever.
_MOST_ASKED: Final = 16


class SilenceError(Exception):
    """A worker does not answer: raised, in a deferred, to whoever asked."""


def how_it_ended(reason: Any) -> str:
    """
    Say how a process ended: ``with status 1``, ``by SIGKILL``.

    :param reason: Twisted's ``ProcessDone`` or ``ProcessTerminated``.
    """
    number = getattr(reason, "signal", None)
    if number is None:
        return f"with status {getattr(reason, 'exitCode', 0) or 0}"
    try:
        return f"by {signal.Signals(number).name}"
    except ValueError:
        return f"by signal {number}"


class WorkerProcess(ProcessProtocol):
    """
    A worker's process.

    :param number: the worker's number as people count.
    :param start: the first message.
    :param owner: is told of ``notified``, ``refused`` and ``ended``.
    :param clock: tells the time.
    """

    _log = Logger()

    def __init__(self, number: int, start: Message, owner: Any, clock: Any) -> None:
        self.number = number
        #: Whether it accepts connections, and how many it has.
        self.ready = False
        self.connections = 0
        #: How often it was asked, since it last answered, whether it is there.
        self.unanswered = 0
        self._start = start
        self._owner = owner
        self._clock = clock
        self._lines = Lines()
        self._printed = Printed(self._said)
        self._asked: dict[int, defer.Deferred[Any]] = {}
        self._numbers = itertools.count(1)
        #: What the process monitor gave as protocol.
        self.monitored: Any = None

    def connectionMade(self) -> None:
        """Say what it is to be."""
        # The monitor asks its own protocol for the process when it has a signal to send.
        self.monitored.makeConnection(self.transport)
        self._tell(self._start)

    def _tell(self, message: Message) -> None:
        process: Any = self.transport
        # No pipe: it has closed it, and ends.
        with contextlib.suppress(KeyError):
            process.writeToChild(0, encoded(message))

    def tell(self, kind: str) -> None:
        """
        Tell it something that has no answer.

        :param kind: the message's kind.
        """
        self._tell({"kind": kind})

    def ask(self, kind: str) -> defer.Deferred[Any]:
        """
        Ask it something.

        :param kind: the message's kind.
        :return: fires with the answer; fails with ``SilenceError`` if there is none in time.
        """
        if len(self._asked) >= _MOST_ASKED:
            return defer.fail(SilenceError(f"worker {self.number} does not answer"))
        number = next(self._numbers)

        def give_up(asked: defer.Deferred[Any]) -> None:
            asked.errback(SilenceError(f"worker {self.number} does not answer"))

        asked: defer.Deferred[Any] = defer.Deferred(give_up)
        self._asked[number] = asked
        timer = self._clock.callLater(ANSWER_WITHIN, asked.cancel)

        def done(result: Any) -> Any:
            # One that was given up still waits for its answer, as one of those that are too many.
            if timer.active():
                timer.cancel()
            return result

        asked.addBoth(done)
        self._tell({"kind": kind, "ask": number})
        return asked

    def beat(self) -> None:
        """Ask whether it is there."""
        self.unanswered += 1
        self.ask("alive").addErrback(lambda silence: silence.trap(SilenceError))

    def signal(self, name: str) -> None:
        """
        Send it a signal, if it still runs.

        :param name: the signal's name, ``KILL`` for instance.
        """
        process: Any = self.transport
        try:
            process.signalProcess(name)
        except ProcessExitedAlready:
            return

    def cannot_start(self, reason: str) -> None:
        """
        Hear that it cannot start.

        :param reason: one line.
        """
        self._owner.refused(self, reason)

    # What it says

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Take what it says on its standard output and error."""
        if childFD != 1:
            self._printed.feed(data)
            return
        try:
            for message in self._lines.feed(data):
                self._hear(message)
        except Exception:
            self._log.failure(
                "worker {worker} cannot be understood, and is replaced", worker=self.number
            )
            self.signal("KILL")

    def _hear(self, message: Message) -> None:
        kind = message["kind"]
        if kind == "log":
            publish(relayed(message, self.number))
        elif kind == "lost":
            self._log.warn(
                "worker {worker}: {count} events could not be logged in time",
                worker=self.number,
                count=int(message["count"]),
            )
        elif kind == "notify":
            self.connections = int(message["connections"])
            self.ready = self.ready or "READY=1" in str(message["text"]).split("\n")
            self._owner.notified(self)
        elif kind == "refused":
            self.cannot_start(str(message["why"]))
        elif kind == "answer":
            self.unanswered = 0
            asked = self._asked.pop(int(message["ask"]), None)
            if asked is not None and not asked.called:
                asked.callback(message["value"])

    def _said(self, line: str) -> None:
        known = {"level": "error", "namespace": "stderr", "message": line}
        known["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        publish(relayed({"event": known, "moment": time.time()}, self.number))

    def processEnded(self, reason: Failure) -> None:
        """Say that it has ended, and have it replaced."""
        self._printed.end()
        self.ready = False
        asked, self._asked = self._asked, {}
        for one in asked.values():
            if not one.called:
                one.cancel()
        self._owner.ended(self, reason)
        self.monitored.processEnded(reason)


class _NeverStarted:
    """A process that is none."""

    def writeToChild(self, number: int, data: bytes) -> None:
        pass

    def signalProcess(self, name: str) -> None:  # noqa: ARG002 (Twisted's)
        raise ProcessExitedAlready


@implementer(IReactorTime, IReactorProcess)
class Spawner:
    """
    The reactor as the process monitor sees it: starts what it asks for, with the ports.

    :param reactor: the reactor.
    :param prepare: makes the protocol for a process by its name, and says which of our descriptors it gets,
        by the numbers that they have there.
    """

    def __init__(
        self, reactor: Any, prepare: Callable[[str], tuple[WorkerProcess, dict[int, int]]]
    ) -> None:
        self._reactor = reactor
        self._prepare = prepare

    def spawnProcess(self, processProtocol: Any, *arguments: Any, **named: Any) -> Any:
        """Start a process, as ``IReactorProcess`` has it."""
        worker, descriptors = self._prepare(processProtocol.name)
        worker.monitored = processProtocol
        pipes: dict[int, Any] = {0: "w", 1: "r", 2: "r"}
        try:
            return self._reactor.spawnProcess(
                worker, *arguments, childFDs={**pipes, **descriptors}, **named
            )
        except OSError as failure:
            # Not every Twisted's monitor expects that: for all of them it is a process that ends at once.
            worker.makeConnection(cast("Any", _NeverStarted()))
            worker.cannot_start(
                f"cannot run {sys.executable}: {why(failure)}; let --uid's user run it"
            )
            ended = Failure(ProcessTerminated(os.EX_OSERR))
            self._reactor.callLater(0, worker.processEnded, ended)
            return worker.transport

    def seconds(self) -> float:
        """The time, as ``IReactorTime`` has it."""
        return float(self._reactor.seconds())

    def callLater(self, delay: float, callable: Any, *arguments: Any, **named: Any) -> Any:
        """Call later, as ``IReactorTime`` has it."""
        return self._reactor.callLater(delay, callable, *arguments, **named)

    def getDelayedCalls(self) -> Any:
        """The calls to come, as ``IReactorTime`` has it."""
        return self._reactor.getDelayedCalls()


def command(tapname: str, number: int) -> list[str]:
    """
    The command that starts a worker; what follows the module is for those who look at the list of processes.

    :param tapname: the subcommand's name.
    :param number: the worker's number as people count.
    """
    return [sys.executable, "-m", "myproject.worker", tapname, str(number)]


def environment(sockets: list[tuple[str, int]]) -> dict[str, str]:
    """
    The environment of a worker.

    :param sockets: what the service manager passed, each its name and its descriptor.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    }
    if sockets:
        kept["LISTEN_FDS"] = str(len(sockets))
        kept["LISTEN_FDNAMES"] = ":".join(name for name, _ in sockets)
    return kept
