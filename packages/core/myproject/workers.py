"""
Workers: a subcommand as several processes that share its ports, and the supervisor that runs them.

The supervisor serves nobody. It opens the ports (:mod:`myproject.sharing`), has Twisted's process monitor
start the workers (:mod:`myproject.worker`) and replace those that end, and is what the outside knows: its
is the number in the pidfile, it takes the signals, it has the log, it speaks with the service
manager, and its page has the metrics of all.

======================  ====================================================================================
what happens            what it does
======================  ====================================================================================
start                   opens the ports, all or none; is ready once every worker accepts
a worker refuses        before the service has been ready: the whole start fails, in one line and with
                        status 69. Later: says why, and tries again, in ever longer intervals
a worker ends           says how, and starts another. Connections that waited for it wait for the other.
                        One that ends ``TRIES`` times before the service has been ready ends the start
a worker hangs          kills it when it has left ``MISSED`` questions in a row, one each ``BEAT`` seconds,
                        without an answer: it holds a share of the connections, and serves none of them
``SIGHUP``              reads the settings; if there is no mistake, all workers do. Ready again when all have
``SIGTERM``             closes the ports, and all workers drain at once; ends when they have ended
a second one            tells all workers to wait no more, and kills what remains ``HURRY`` seconds later
it is killed            the workers find their pipe closed, and end
======================  ====================================================================================
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.application.service import MultiService, Service
from twisted.internet import defer, task
from twisted.logger import Logger

from myproject import activation
from myproject.channel import Assignment
from myproject.drain import GRACE, ProcessEnd
from myproject.errors import CannotStart
from myproject.logcontrol import LogsService
from myproject.notify import NotifyService
from myproject.reload import ReloadService
from myproject.service import State, exit_unavailable
from myproject.sharing import SharedPorts, bound_services
from myproject.workerprocess import Spawner, WorkerProcess, command, environment, how_it_ended

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from myproject.logcontrol import Logging
    from myproject.maker import FactoryServiceMaker
    from myproject.options import Options
    from myproject.workermetrics import Measured

__all__ = [
    "BEAT",
    "HURRY",
    "LONGEST_DELAY",
    "MISSED",
    "SHORTEST_LIFE",
    "TRIES",
    "WorkersService",
]

#: Ends of one worker before the service has been ready, after which it is given up.
TRIES: Final = 3

#: Seconds. A worker that lives for less is replaced later and later, from a tenth of a second to
#: ``LONGEST_DELAY``: its share of the connections waits for it.
SHORTEST_LIFE: Final = 5.0
LONGEST_DELAY: Final = 15.0

#: Seconds between two questions whether a worker is there, and how many of them it may leave unanswered. They
#: are counted, and not the seconds: a supervisor that was stopped for an hour has asked nobody anything.
BEAT: Final = 10.0
MISSED: Final = 6

#: Seconds in which a worker ends that is told to wait no more: a turn, ``GRACE``, and what stops last.
HURRY: Final = GRACE + 3.0

#: Seconds beyond ``--drain-timeout`` for a worker to end: the same, on a machine that is busy.
_PATIENCE: Final = 10.0


class _ReadyLater:
    """
    The service manager as a reload sees it: it is told that a reload is done when all workers say so.

    :param owner: knows when.
    """

    def __init__(self, owner: WorkersService) -> None:
        self._owner = owner

    def reloading(self) -> None:
        self._owner.notify.reloading()

    def ready(self) -> None:
        self._owner.reloaded.addCallback(self._done)

    def _done(self, _: object) -> None:
        if self._owner.state is not State.DRAINING:
            self._owner.notify.ready()


class WorkersService(MultiService):
    """
    A supervisor and its workers.

    :param maker: makes the subcommand, here and in each worker.
    :param options: validated options.
    :param logging: what the process logs with.
    :param reactor: the reactor; by default the global one, looked up when the service starts.
    :raises CannotStart: the subcommand refused.
    """

    _log = Logger()

    def __init__(
        self, maker: FactoryServiceMaker, options: Options, logging: Logging, reactor: Any = None
    ) -> None:
        super().__init__()
        self.setName(maker.tapname)
        self.reactor = reactor
        self._maker = maker
        self._logging = logging
        self._options = options
        # twistd changes its folder, with --rundir, after this was made.
        self._folder = Path.cwd()
        # Never started. It knows which ports there are to be, and a subcommand that refuses does so here.
        self._pattern = maker.make_alone(options)
        self.notify = NotifyService(lambda: self.connections, reactor)
        self.notify.setServiceParent(self)
        #: What the workers measure; None if nobody asks.
        self.measured: Measured | None = None
        if options.metrics:
            from myproject.health import HealthService
            from myproject.workermetrics import Measured

            self.measured = Measured(self)
            health = HealthService(
                options.metrics, self.measured.collect, lambda: self.state, reactor
            )
            health.setServiceParent(self)
        #: Reads the settings again, for all.
        self.reloads = ReloadService(
            options, self._reload, cast("NotifyService", _ReadyLater(self)), reactor
        )
        self.reloads.setServiceParent(self)
        if maker.tapname == logging.subcommand:
            LogsService(logging, reactor).setServiceParent(self)
        #: Fires when the workers have done what the last reload told them.
        self.reloaded: defer.Deferred[Any] = defer.succeed(None)
        #: The ports; None before the start.
        self.ports: SharedPorts | None = None
        #: The workers that run, by their number as people count.
        self.workers: dict[int, WorkerProcess] = {}
        #: Workers that were replaced.
        self.restarts = 0
        self._monitor: Any = None
        self._beat = task.LoopingCall(self._ask_all)
        self._sockets: list[tuple[str, int]] = []
        self._ends: dict[int, int] = {}
        self._all_ready: defer.Deferred[bool] = defer.Deferred()
        self._none_left: defer.Deferred[None] | None = None
        self._stopping = False
        self._hurried = False
        self._end: ProcessEnd | None = None

    @property
    def connections(self) -> int:
        """How many connections are open, as far as the workers have said."""
        return sum(worker.connections for worker in self.workers.values())

    @property
    def state(self) -> State:
        """How the whole is: ready while every worker accepts."""
        if self._stopping:
            return State.DRAINING
        ready = sum(worker.ready for worker in self.workers.values())
        return State.READY if ready == self._options.workers else State.STARTING

    # Starting

    def privilegedStartService(self) -> None:
        """
        Open the ports.

        :raises CannotStart: one of them cannot be had.
        """
        self._try(super().privilegedStartService)

    def startService(self) -> None:
        """
        Start the workers; opens the ports unless that was done while privileged.

        :raises CannotStart: one of the ports cannot be had.
        """
        self._try(super().startService)
        self._end = ProcessEnd(self.reactor, self._hurry)
        self.notify.serving([self._all_ready])
        # It installs the reactor when it is imported.
        from twisted.runner.procmon import ProcessMonitor

        monitor: Any = ProcessMonitor(cast("Any", Spawner(self.reactor, self._prepare)))
        monitor.threshold = SHORTEST_LIFE
        monitor.minRestartDelay = 0.1
        monitor.maxRestartDelay = LONGEST_DELAY
        self._monitor = monitor
        # Nobody but the supervisor speaks with the service manager: by now it has taken what is its own.
        surroundings = environment(self._sockets)
        for number in range(1, self._options.workers + 1):
            arguments = command(self._maker.tapname, number)
            monitor.addProcess(str(number), arguments, env=surroundings)
        monitor.startService()
        self._beat.clock = self.reactor
        self._beat.start(BEAT, now=False)

    def _try(self, start: Any) -> None:
        try:
            self._open()
            start()
        except CannotStart as refusal:
            self._log.error("{refusal}", refusal=str(refusal))
            refusal.report()
            self.stopService()
            raise

    def _open(self) -> None:
        if self.ports is not None:
            return
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        self._sockets = activation.passed()
        self.ports = SharedPorts(self._options.workers, self.reactor)
        self.ports.open(bound_services(self._pattern))
        for address in self.ports.addresses:
            self._log.info(
                "{workers} workers share {address}",
                workers=self._options.workers,
                address=address,
            )

    def _prepare(self, name: str) -> tuple[WorkerProcess, dict[int, int]]:
        """Make ready for a worker's start: what it is, and the descriptors that it gets."""
        number = int(name)
        descriptors = {3 + index: own for index, (_, own) in enumerate(self._sockets)}
        ports: list[Any] = []
        if self.ports is not None:
            mine, ports = self.ports.assigned(number - 1, 3 + len(descriptors))
            descriptors.update(mine)
        options = self.reloads.options
        assignment = Assignment(
            tapname=self._maker.tapname,
            module=self._maker.module,
            description=self._maker.description,
            worker=number - 1,
            workers=self._options.workers,
            reactor=type(self.reactor).__module__,
            folder=str(self._folder),
            path=[str(one) for one in sys.path],
            given=options.given,
            config=None if options.config is None else str(options.config),
            environ=None if options.environ is os.environ else dict(options.environ),
            sockets=len(self._sockets),
            ports=ports,
        )
        worker = WorkerProcess(number, assignment.message(), self, self.reactor)
        self.workers[number] = worker
        return worker, descriptors

    # What workers say

    def notified(self, worker: WorkerProcess) -> None:
        """
        Hear that a worker has changed.

        :param worker: the worker, which knows in what.
        """
        if worker.ready:
            self._ends.pop(worker.number, None)
        if not self._all_ready.called and self.state is State.READY:
            self._log.info("{workers} workers are ready", workers=len(self.workers))
            self._all_ready.callback(True)

    def refused(self, worker: WorkerProcess, why: str) -> None:
        """
        Hear that a worker cannot start.

        :param worker: the worker.
        :param why: one line.
        """
        if self._all_ready.called:
            self._log.error(
                "worker {worker} cannot start: {refusal}", worker=worker.number, refusal=why
            )
        else:
            self._give_up(why)

    def ended(self, worker: WorkerProcess, reason: Failure) -> None:
        """
        Hear that a worker has ended. The process monitor hears it next, and replaces it.

        :param worker: the worker.
        :param reason: how it ended.
        """
        number = worker.number
        self.workers.pop(number, None)
        if self.measured is not None:
            self.measured.ended(number)
        if self._stopping:
            if self._none_left is not None and not self.workers:
                self._none_left.callback(None)
            return
        how = how_it_ended(reason.value)
        self._log.warn(
            "worker {worker} ended {how}; another takes its place", worker=number, how=how
        )
        self.restarts += 1
        self._ends[number] = self._ends.get(number, 0) + 1
        if not self._all_ready.called and self._ends[number] >= TRIES:
            self._give_up(
                f"worker {number} ended {TRIES} times before it was ready, the last time {how};"
                " see the log, and try without --workers"
            )

    def _ask_all(self) -> None:
        """Ask the workers whether they are there, and end those that have not been for long."""
        for worker in self.workers.values():
            if worker.ready and worker.unanswered >= MISSED:
                self._log.error(
                    "worker {worker} has answered nothing for {seconds:.0f} seconds, and is killed",
                    worker=worker.number,
                    seconds=BEAT * MISSED,
                )
                worker.signal("KILL")
            elif worker.ready:
                worker.beat()

    def _give_up(self, why: str) -> None:
        """End the process: what keeps one worker from starting keeps all."""
        if self._stopping:
            return
        self._stopping = True
        refusal = CannotStart(why)
        self._log.error("{refusal}", refusal=why)
        refusal.report()
        # The reactor swallows SystemExit, and twistd has no say in its exit status but by signal.
        # This runs once twistd has stopped all services and removed its pidfile.
        atexit.register(exit_unavailable)
        self._hurry()
        self.reactor.callWhenRunning(self.reactor.stop)

    # Reloading

    def _reload(self, options: Options, changed: frozenset[str]) -> bool:  # noqa: ARG002 (workers look)
        self._logging.level = options.log_level
        if self._monitor is not None:
            self._monitor.killTime = options.drain_timeout + _PATIENCE
        self.reloaded = defer.DeferredList(
            [
                worker.ask("reload").addErrback(self._not_reloaded, worker)
                for worker in self.workers.values()
            ]
        )
        return True

    def _not_reloaded(self, _: object, worker: WorkerProcess) -> None:
        if not self._stopping:
            self._log.warn(
                "worker {worker} has not said that it reloaded its settings", worker=worker.number
            )

    # Stopping

    def _hurry(self) -> None:
        self._hurried = True
        for worker in self.workers.values():
            worker.tell("hurry")
            self.reactor.callLater(HURRY, worker.signal, "KILL")

    @defer.inlineCallbacks
    def stopService(self) -> Generator[defer.Deferred[Any], Any, None]:
        """
        Close the ports, and have all workers drain.

        :return: fires when all have ended.
        """
        Service.stopService(self)
        self._stopping = True
        if self._beat.running:
            self._beat.stop()
        self.notify.stopping()
        ports, self.ports = self.ports, None
        if ports is not None:
            yield ports.close()
        if self._monitor is not None:
            self._monitor.killTime = self.reloads.options.drain_timeout + _PATIENCE
            if self.workers:
                self._none_left = defer.Deferred()
            yield self._monitor.stopService()
            if self._none_left is not None:
                yield self._none_left
            self._monitor = None
        for service in reversed(list(self)):
            yield defer.maybeDeferred(service.stopService)
        if self._end is not None:
            self._end.forget()
            self._end = None
