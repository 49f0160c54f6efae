"""
The service of a worker: that of the subcommand, on inherited ports, doing what the supervisor says.

It reads the settings itself, from the sources that the supervisor had. What it leaves to its supervisor is
what concerns the process: ports, log files, signals but one, the service manager, the page of metrics.
"""

from __future__ import annotations

import contextlib
import signal
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.logger import Logger, globalLogBeginner

from myproject.journal import Journal
from myproject.logcontrol import Logging
from myproject.maker import FactoryServiceMaker
from myproject.notify import NotifyService
from myproject.relay import Relay
from myproject.reload import Reloaded, ReloadService, read_again
from myproject.sharing import Inherited, bound_services

if TYPE_CHECKING:
    from myproject.channel import Assignment, Downlink, Message, Uplink
    from myproject.metrics import Metrics
    from myproject.options import Options
    from myproject.service import FactoryService

__all__ = ["Worker", "begin"]


class _Notify(NotifyService):
    """
    Tells the supervisor what a process alone tells the service manager.

    :param worker: asked how many connections it has.
    :param uplink: the way to the supervisor.
    """

    def __init__(self, worker: Worker, uplink: Uplink, reactor: Any) -> None:
        super().__init__(worker.count, reactor, {})
        self._uplink = uplink

    def _read_environment(self) -> None:
        self._address = "supervisor"

    def _send_now(self, message: str) -> None:
        said: Message = {"kind": "notify", "text": message, "connections": self._connections()}
        self._uplink.send(said)


class _Reload(ReloadService):
    """Reloads when told, and leaves it to the supervisor to say what has changed: it read the same."""

    def startService(self) -> None:
        Service.startService(self)

    def stopService(self) -> None:
        Service.stopService(self)

    def _tell(self, done: Reloaded) -> None:
        pass


class Worker:
    """
    The service of a worker, and what it does when told.

    :param assignment: what it is to be.
    :param uplink: the way to the supervisor.
    :param reactor: the reactor.
    :raises SettingError: the settings are no longer what the supervisor found valid.
    :raises CannotStart: the subcommand refused.
    """

    _log = Logger()

    def __init__(self, assignment: Assignment, uplink: Uplink, reactor: Any) -> None:
        self._assignment = assignment
        self._uplink = uplink
        self._reactor = reactor
        self._stopping = False
        self.maker = FactoryServiceMaker(
            assignment.tapname, assignment.module, assignment.description
        )
        # Relative paths mean what they meant there; the process itself is in the folder of twistd's --rundir.
        with contextlib.chdir(assignment.folder):
            self.options = self._read()
            notify = _Notify(self, uplink, reactor)
            share = (assignment.worker, assignment.workers)
            self.service: FactoryService = self.maker.make_alone(
                self.options, share=share, notify=notify, reactor=reactor
            )
            self.reloads = _Reload(self.options, self.service.reload, reactor=reactor)
        self.service.supervised = True
        gate = self.service.gate
        gate.journal = Journal(assignment.tapname, gate, access=self.options.access_log)
        for bound, ports in zip(bound_services(self.service), assignment.ports, strict=True):
            bound.inherited = [[Inherited(*one) for one in sockets] for sockets in ports]
        self._metrics: Metrics | None = None
        if self.options.metrics:
            from myproject.metrics import Metrics

            self._metrics = Metrics(self.service, reactor)
            self._metrics.setServiceParent(self.service)

    def _read(self) -> Options:
        assignment = self._assignment
        seed = self.maker.options(assignment.environ)
        seed.given = assignment.given
        seed["config"] = None if assignment.config is None else Path(assignment.config)
        return read_again(seed, Path(assignment.folder))

    def count(self) -> int:
        """How many connections are open."""
        return len(self.service.gate)

    def start(self, downlink: Downlink) -> None:
        """
        Start the service, and hear what the supervisor says.

        :param downlink: the way from there.
        :raises CannotStart: it cannot start.
        """
        self._uplink.start(self._reactor)
        self._reactor.addSystemEventTrigger("before", "shutdown", self.service.stopService)
        self.service.privilegedStartService()
        self.service.startService()
        downlink.start(self._reactor, self.received)
        # The reactor takes the signal when it begins to run.
        self._reactor.callWhenRunning(signal.signal, signal.SIGTERM, self._signalled)

    def _signalled(self, *_: object) -> None:
        self._reactor.callFromThread(self.stop)

    def stop(self) -> None:
        """Begin to stop, if that has not begun."""
        if not self._stopping:
            self._stopping = True
            self._reactor.stop()

    def abandoned(self) -> None:
        """The supervisor is gone: stop now, so that nobody finds our ports in use."""
        self.service.hurry()
        self.stop()

    def received(self, message: Message) -> None:
        """
        Do what the supervisor says.

        :param message: what it said.
        """
        try:
            value = self._do(message["kind"])
        except Exception:
            self._log.failure("a worker cannot do as it is told: {kind}", kind=message["kind"])
            value = None
        if "ask" in message:
            self._uplink.send({"kind": "answer", "ask": message["ask"], "value": value})

    def _do(self, kind: str) -> object:
        if kind == "reload":
            return bool(self.reloads.reload())
        if kind == "metrics":
            return self._measure()
        if kind == "hurry":
            self.service.hurry()
        return None

    def _measure(self) -> str:
        if self._metrics is None:
            return ""
        from myproject.families import text

        return text(self._metrics.collect())


def begin(assignment: Assignment, uplink: Uplink, downlink: Downlink) -> Worker:
    """
    Install the reactor, begin to log, and start a worker.

    :param assignment: what it is to be.
    :param uplink: the way to the supervisor.
    :param downlink: the way from there.
    :raises SettingError: the settings are no longer what the supervisor found valid.
    :raises CannotStart: it cannot start.
    """
    import_module(assignment.reactor).install()
    from twisted.internet import reactor

    relay = Relay(uplink, assignment.tapname)
    # What fails before the settings are known is logged as well, at their default level.
    logging = Logging.installed(assignment.tapname, "info")
    globalLogBeginner.beginLoggingTo([relay])
    worker = Worker(assignment, uplink, reactor)
    logging.level = worker.options.log_level
    worker.service.logging = logging
    worker.start(downlink)
    return worker
