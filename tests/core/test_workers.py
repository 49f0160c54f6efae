"""The supervisor of workers: what it starts, what it hears, and what it makes of their ends."""

from __future__ import annotations

import atexit
import os
import sys
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from twisted.internet import error
from twisted.internet.protocol import Factory
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

import myproject
from myproject import activation, workers
from myproject.channel import Assignment, Lines, Message, encoded
from myproject.errors import CannotStart, SettingError
from myproject.hosted import read_plans
from myproject.limits import Limits
from myproject.logcontrol import Logging
from myproject.maker import FactoryServiceMaker
from myproject.relay import WorkerError
from myproject.service import State, exit_unavailable
from myproject.workerprocess import ANSWER_WITHIN, how_it_ended
from myproject.workers import BEAT, HURRY, LONGEST_DELAY, MISSED, TRIES, WorkersService


class ShoutOptions(myproject.Options):
    tapname = "shout"


class Process:
    """A worker's process as Twisted shows it."""

    def __init__(
        self, protocol: Any, arguments: list[str], descriptors: dict[int, Any], env: Any
    ) -> None:
        self.protocol = protocol
        self.arguments = arguments
        self.descriptors = descriptors
        self.environ = env
        self.signals: list[str] = []
        self.told: list[Message] = []
        self._lines = Lines()
        self.gone = False

    def writeToChild(self, number: int, data: bytes) -> None:
        assert number == 0
        self.told += self._lines.feed(data)

    def signalProcess(self, name: str) -> None:
        if self.gone:
            raise error.ProcessExitedAlready
        self.signals.append(name)

    # What a test has it do

    def say(self, kind: str, **rest: object) -> None:
        self.protocol.childDataReceived(1, encoded({"kind": kind, **rest}))

    def ready(self, connections: int = 0) -> None:
        self.say("notify", text="READY=1\nSTATUS=", connections=connections)

    def answer(self, value: object) -> None:
        self.say("answer", ask=self.told[-1]["ask"], value=value)

    def end(self, status: int | None = None, signal: int | None = None) -> None:
        self.gone = True
        done = status == 0 and signal is None
        reason = error.ProcessDone(0) if done else error.ProcessTerminated(status, signal, 0)
        self.protocol.processEnded(Failure(reason))

    @property
    def kinds(self) -> list[str]:
        return [message["kind"] for message in self.told]


class ProcessReactor(MemoryReactorClock):
    """A reactor in memory that starts processes in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.told_to_stop = False
        self.refuses = False

    def stop(self) -> None:
        self.told_to_stop = True

    def spawnProcess(
        self,
        protocol: Any,
        executable: str,  # noqa: ARG002
        args: list[str],
        env: Any = None,
        path: object = None,  # noqa: ARG002
        uid: object = None,  # noqa: ARG002
        gid: object = None,  # noqa: ARG002
        childFDs: Any = None,
    ) -> Process:
        if self.refuses:
            raise PermissionError(13, "no")
        process = Process(protocol, args, childFDs, env)
        self.processes.append(process)
        protocol.makeConnection(process)
        return process

    def callFromThread(self, callable: Any, *arguments: Any) -> None:
        self.callLater(0, callable, *arguments)


class Supervised(SynchronousTestCase):
    """A supervisor of two workers, with processes and time in memory and ports that are real."""

    def setUp(self) -> None:
        module: Any = cast("Any", ModuleType("shout.tap"))
        module.Options = ShoutOptions
        module.makeFactory = lambda options: Factory()  # noqa: ARG005
        self.patch(sys, "modules", {**sys.modules, "shout.tap": module})
        self.stderr = StringIO()
        self.patch(sys, "__stderr__", self.stderr)
        self.exits: list[object] = []
        self.patch(atexit, "register", self.exits.append)
        self.log = EventLoggingObserver.createWithCleanup(cast("Any", self), globalLogPublisher)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.reactor = ProcessReactor()

    def make(self, *words: str, environ: dict[str, str] | None = None) -> WorkersService:
        maker = FactoryServiceMaker("shout", "shout.tap", "Shouts.")
        options = ShoutOptions({} if environ is None else environ)
        for name, value in (word.split("=") for word in ["workers=2", "port=0", *words]):
            options.given.setdefault(name, []).append(value)
        options.resolve()
        self.options = options
        self.logging = Logging("shout", "info")
        return WorkersService(maker, options, self.logging, self.reactor)

    def start(self, *words: str) -> WorkersService:
        self.service = self.make(*words)
        self.reactor.callWhenRunning = lambda call, *arguments: call(*arguments)  # type: ignore[method-assign,assignment]
        self.service.privilegedStartService()
        self.service.startService()
        self.addCleanup(self.finish)
        return self.service

    def finish(self) -> None:
        stopping = self.service.stopService()
        for process in self.reactor.processes:
            if not process.gone:
                process.end(0)
        self.successResultOf(stopping)

    def started(self, *words: str) -> list[Process]:
        self.start(*words)
        for process in self.reactor.processes:
            process.ready()
        return list(self.reactor.processes)

    @property
    def texts(self) -> list[str]:
        from twisted.logger import formatEvent

        return [formatEvent(event) for event in self.log]

    def assert_logged(self, text: str) -> None:
        self.assertIn(text, "\n".join(self.texts))


class SettingsTests(SynchronousTestCase):
    """What several processes can be told, and what they cannot."""

    def resolve(self, **given: str) -> ShoutOptions:
        options = ShoutOptions({})
        options.given = {name.replace("_", "-"): [value] for name, value in given.items()}
        options.resolve()
        return options

    def test_one_is_the_default(self) -> None:
        self.assertEqual(1, self.resolve().workers)

    def test_needs_one_process(self) -> None:
        """A subcommand states that it needs one process, and is believed."""

        class Alone(ShoutOptions):
            one_process = "it has one megaphone"

        self.patch(sys.modules[__name__], "ShoutOptions", Alone)
        refusal = self.assertRaises(SettingError, self.resolve, workers="2")
        self.assertEqual(
            "--workers, from the command line: shout needs one process: it has one megaphone;"
            " leave the setting out",
            str(refusal),
        )
        self.assertEqual(1, self.resolve(workers="1").workers)

    def test_max_connections(self) -> None:
        """They are divided to the last one; a worker that would have none is refused."""
        options = self.resolve(workers="4", max_connections="10")
        shares = [Limits.of(options, (worker, 4)).max_connections for worker in range(4)]
        self.assertEqual([3, 3, 2, 2], shares)
        refusal = self.assertRaises(SettingError, self.resolve, workers="4", max_connections="3")
        self.assertIn("3 cannot be divided among 4 workers", str(refusal))

    def test_never_without_a_limit(self) -> None:
        """A limit is one, even if a reload makes it less than there are workers; 0 is none."""
        few = self.resolve(max_connections="1")
        self.assertEqual(1, Limits.of(few, (3, 4)).max_connections)
        self.assertEqual(0, Limits.of(self.resolve(), (3, 4)).max_connections)

    def test_self_signed(self) -> None:
        """Each worker would have another certificate."""
        refusal = self.assertRaises(
            SettingError, self.resolve, workers="2", self_signed="true", tls_port="0"
        )
        self.assertIn("each worker would make a certificate of its own", str(refusal))

    def test_hosted(self) -> None:
        """What is hosted with others runs in their process."""
        file = Path(self.mktemp())
        file.write_text(
            '[services.one]\nplugin = "myproject-echo"\narguments = ["--workers", "2"]\n'
        )
        refusal = self.assertRaises(SettingError, read_plans, file)
        self.assertIn("service 'one': what is hosted runs in this process", str(refusal))


class StartTests(Supervised):
    """From the ports to being ready."""

    def test_making_opens_nothing(self) -> None:
        service = self.make()
        self.assertIsNone(service.ports)
        self.assertEqual([], self.reactor.processes)

    def test_assignments(self) -> None:
        """Each worker is told what it is, and gets sockets of its own for the same port."""
        self.start("drain-timeout=3")
        first, second = self.reactor.processes
        one, other = (Assignment.of(process.told[0]) for process in (first, second))
        self.assertEqual((0, 1, 2, 2), (one.worker, other.worker, one.workers, other.workers))
        self.assertEqual({"workers": ["2"], "port": ["0"], "drain-timeout": ["3"]}, one.given)
        self.assertEqual(
            ("shout", "shout.tap", str(Path.cwd())), (one.tapname, one.module, one.folder)
        )
        self.assertEqual("tests.core.test_workers", one.reactor)
        self.assertEqual({"w", "r"}, {first.descriptors[n] for n in (0, 1, 2)})
        own, others = ({*process.descriptors.values()} - {"r", "w"} for process in (first, second))
        self.assertEqual((len(own), set()), (len(others), own & others))
        self.assertEqual(sorted(first.descriptors)[3:], [number for number, _ in one.ports[0][0]])
        self.assertEqual(["-m", "myproject.worker", "shout", "1"], first.arguments[1:])

    def test_sockets_of_the_service_manager(self) -> None:
        """They reach a worker by the rules by which they reached us."""
        with Path(os.devnull).open() as passed:
            number = passed.fileno()
            self.patch(activation, "passed", lambda: [("echo", number)])
            self.patch(
                os,
                "environ",
                {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "A": "b"},
            )
            self.start()
        process = self.reactor.processes[0]
        self.assertEqual(number, process.descriptors[3])
        self.assertEqual(4, Assignment.of(process.told[0]).ports[0][0][0][0])
        self.assertEqual({"A": "b", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "echo"}, process.environ)

    def test_ready_when_all_are(self) -> None:
        service = self.start()
        self.assertIs(State.STARTING, service.state)
        self.reactor.processes[0].ready(3)
        self.assertIs(State.STARTING, service.state)
        self.reactor.processes[1].ready(4)
        self.assertIs(State.READY, service.state)
        self.assertEqual(7, service.connections)
        self.assert_logged("2 workers are ready")

    def test_port_in_use(self) -> None:
        """A port that cannot be had ends the start in one line, before any worker starts."""
        import socket

        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
            service = self.make()
            service._pattern.listening.descriptions = (str(number),)
            self.assertRaises(CannotStart, service.privilegedStartService)
        self.assertEqual(1, self.stderr.getvalue().count("\n"))
        self.assertIn(
            f"cannot listen on port {number}: address already in use", self.stderr.getvalue()
        )
        self.assertEqual([], self.reactor.processes)

    def test_refused(self) -> None:
        """What keeps a worker from starting ends the whole start: one line, and the exit status."""
        self.start()
        for process in self.reactor.processes:
            process.say("refused", why="--certificate: it is gone; give it back")
        self.assertTrue(
            self.stderr.getvalue().endswith(": --certificate: it is gone; give it back\n")
        )
        self.assertEqual(1, self.stderr.getvalue().count("\n"))
        self.assertEqual([exit_unavailable], self.exits)
        self.assertTrue(self.reactor.told_to_stop)

    def test_cannot_run(self) -> None:
        """An interpreter that may not be run, as after --uid, ends the start; and the stop ends."""
        self.reactor.refuses = True
        service = self.start()
        self.assertIn(f"cannot run {sys.executable}: permission denied;", self.stderr.getvalue())
        self.assertEqual(1, self.stderr.getvalue().count("\n"))
        self.assertTrue(self.reactor.told_to_stop)
        stopping = service.stopService()
        self.reactor.advance(0)
        self.successResultOf(stopping)

    def test_ends_again_and_again(self) -> None:
        """So does a worker that never becomes ready."""
        self.start()
        for number in range(TRIES):
            self.assertFalse(self.reactor.told_to_stop)
            self.reactor.processes[0 if not number else -1].end(1)
            self.reactor.advance(1)
        self.assertIn(
            "worker 1 ended 3 times before it was ready, the last time with status 1",
            self.stderr.getvalue(),
        )
        self.assertTrue(self.reactor.told_to_stop)


class ReplacementTests(Supervised):
    """Workers that end."""

    def test_replaced(self) -> None:
        """Another takes its place, with its number and its sockets."""
        first, second = self.started()
        self.reactor.advance(60)
        first.end(None, 9)
        self.assert_logged("worker 1 ended by SIGKILL; another takes its place")
        self.assertIs(State.STARTING, self.service.state)
        self.reactor.advance(0)
        *_, replacement = self.reactor.processes
        self.assertEqual(first.descriptors, replacement.descriptors)
        self.assertEqual(first.told[:1], replacement.told)
        self.assertEqual([], second.signals)
        replacement.ready()
        self.assertIs(State.READY, self.service.state)
        self.assertEqual(1, self.service.restarts)

    def test_hangs(self) -> None:
        """One that answers nothing is killed, and then replaced as any that ends."""
        first, second = self.started()
        for _ in range(MISSED):
            self.reactor.advance(BEAT)
            second.answer(None)
        self.assertEqual([], first.signals)
        self.reactor.advance(BEAT)
        self.assertEqual(["KILL"], first.signals)
        self.assertEqual([], second.signals)
        self.assert_logged("worker 1 has answered nothing for 60 seconds, and is killed")

    def test_answers_again(self) -> None:
        """A late answer is one; and who was not asked, as this process slept, has missed nothing."""
        first, _ = self.started()
        for _ in range(MISSED):
            self.reactor.advance(BEAT)
        first.answer(None)
        for _ in range(MISSED):
            self.reactor.advance(BEAT)
        self.assertEqual([], first.signals)
        first.answer(None)
        self.reactor.advance(BEAT * MISSED * 10)
        self.reactor.advance(BEAT)
        self.assertEqual([], first.signals)

    def test_back_off(self) -> None:
        """One that ends at once is replaced later and later, but never given up."""
        current = self.started()[0]
        waits: list[float] = []
        for _ in range(12):
            since = self.reactor.seconds()
            current.end(1)
            while self.reactor.processes[-1].gone or self.reactor.processes[-1] is current:
                self.reactor.advance(0.05)
            waits.append(round(self.reactor.seconds() - since, 1))
            current = self.reactor.processes[-1]
        self.assertEqual(sorted(waits), waits)
        self.assertLess(waits[0], 0.3)
        self.assertAlmostEqual(LONGEST_DELAY, waits[-1], delta=0.1)
        self.assertFalse(self.reactor.told_to_stop)

    def test_cannot_run_later(self) -> None:
        """A replacement that cannot be run is tried again."""
        first, _ = self.started()
        self.reactor.refuses = True
        first.end(1)
        self.reactor.advance(0.2)
        self.assert_logged("worker 1 cannot start: cannot run")
        self.reactor.advance(0)
        self.reactor.refuses = False
        self.reactor.advance(LONGEST_DELAY)
        self.assertEqual(3, len(self.reactor.processes))
        self.assertFalse(self.reactor.told_to_stop)

    def test_refused_later(self) -> None:
        """A replacement that cannot start is logged; those that run go on."""
        first, _ = self.started()
        first.say("refused", why="the store is locked")
        self.assert_logged("worker 1 cannot start: the store is locked")
        self.assertFalse(self.reactor.told_to_stop)

    def test_nonsense(self) -> None:
        """One that cannot be understood is killed, so that it is replaced."""
        first, _ = self.started()
        for nonsense in (b"?\n", encoded({"kind": "log"}), encoded({"kind": "notify"})):
            first.protocol.childDataReceived(1, nonsense)
        self.assertEqual(["KILL"] * 3, first.signals)
        self.assertEqual(3, len(self.flushLoggedErrors()))

    def test_how_it_ended(self) -> None:
        self.assertEqual("with status 0", how_it_ended(error.ProcessDone(0)))
        self.assertEqual("with status 3", how_it_ended(error.ProcessTerminated(3)))
        self.assertEqual("by SIGTERM", how_it_ended(error.ProcessTerminated(None, 15)))
        self.assertEqual("by signal 999", how_it_ended(error.ProcessTerminated(None, 999)))


class LogTests(Supervised):
    """What workers log."""

    def test_event(self) -> None:
        first, _ = self.started()
        event = {"time": "now", "level": "warn", "message": "look", "traceback": "a\nKeyError: 1"}
        first.say("log", moment=1.0, event=event)
        self.assert_logged("look")
        self.assertEqual(1, len(self.flushLoggedErrors(WorkerError)))

    def test_lost(self) -> None:
        first, _ = self.started()
        first.say("lost", count=7)
        self.assert_logged("worker 1: 7 events could not be logged in time")

    def test_last_words(self) -> None:
        """What it prints on standard error is logged, the last line too."""
        first, _ = self.started()
        first.protocol.childDataReceived(2, b"Fatal Python error: Segmentation fault\n  File")
        first.end(None, 11)
        self.assert_logged("Fatal Python error: Segmentation fault")
        self.assert_logged("  File")


class ReloadTests(Supervised):
    """One signal for all."""

    def setUp(self) -> None:
        super().setUp()
        self.file = self.folder / "shout.toml"
        self.file.write_text("[shout]\n")
        self.told: list[str] = []

    def started(self, *words: str) -> list[Process]:
        processes = super().started(f"config={self.file}", *words)
        self.patch(self.service.notify, "_send", lambda *words: self.told.append(words[0]))
        return processes

    def test_all_are_told(self) -> None:
        """Ready again when all have answered."""
        processes = self.started()
        self.file.write_text("[shout]\ndrain-timeout = 2\n")
        self.assertTrue(self.service.reloads.reload())
        self.assertEqual(["start", "reload"], processes[1].kinds)
        processes[0].answer(True)
        self.assertEqual(["RELOADING=1"], self.told)
        processes[1].answer(True)
        self.assertEqual(["RELOADING=1", "READY=1"], self.told)

    def test_mistake(self) -> None:
        """A mistake is found by the supervisor, and logged once; no worker hears of it."""
        processes = self.started()
        self.file.write_text("[shout]\ndrain-timeout = -1\n")
        self.assertFalse(self.service.reloads.reload())
        self.assertEqual([["start"], ["start"]], [process.kinds for process in processes])
        self.assertEqual(1, sum("remain in force" in text for text in self.texts))
        self.assertEqual(["RELOADING=1", "READY=1"], self.told)

    def test_silence(self) -> None:
        """A worker that does not answer, or ends, keeps nobody waiting."""
        processes = self.started()
        self.service.reloads.reload()
        processes[0].end(None, 9)
        self.reactor.advance(ANSWER_WITHIN)
        self.assertEqual(["RELOADING=1", "READY=1"], self.told)
        self.assert_logged("worker 2 has not said that it reloaded its settings")

    def test_not_after_the_stop(self) -> None:
        """Who stops is not ready again."""
        processes = self.started()
        self.service.reloads.reload()
        self.service.stopService()
        for process in processes:
            process.answer(True)
        self.assertNotIn("READY=1", self.told)

    def test_new_workers_have_the_new_file(self) -> None:
        """One that starts after a reload is told of the file as one that started before."""
        processes = self.started()
        self.service.reloads.reload()
        processes[0].end(1)
        self.reactor.advance(1)
        self.assertEqual(str(self.file.absolute()), self.reactor.processes[-1].told[0]["config"])

    def test_log_level(self) -> None:
        """It is the supervisor's as well."""
        self.started()
        self.options.given["log-level"] = ["debug"]
        self.service.reloads.reload()
        self.assertEqual("debug", self.logging.level)


class StopTests(Supervised):
    """The end."""

    def test_all_drain(self) -> None:
        """All are told at once, and waited for; none is replaced."""
        processes = self.started()
        stopping = self.service.stopService()
        self.assertIs(State.DRAINING, self.service.state)
        self.assertEqual([["TERM"], ["TERM"]], [process.signals for process in processes])
        processes[0].end(0)
        self.assertNoResult(stopping)
        processes[1].end(0)
        self.successResultOf(stopping)
        self.reactor.advance(LONGEST_DELAY)
        self.assertEqual(2, len(self.reactor.processes))

    def test_ports_close_first(self) -> None:
        """The port can be had as soon as the workers have closed theirs."""
        self.started()
        ports = self.service.ports
        assert ports is not None
        self.service.stopService()
        self.assertEqual([], ports.addresses)

    def test_patience(self) -> None:
        """A worker has its drain timeout, as it is by then, and some more; then it is killed."""
        processes = self.started("drain-timeout=30")
        self.service.stopService()
        self.reactor.advance(30 + workers._PATIENCE - 0.1)
        self.assertEqual(["TERM"], processes[0].signals)
        self.reactor.advance(0.2)
        self.assertEqual(["TERM", "KILL"], processes[0].signals)

    def test_second_signal(self) -> None:
        """Now means now for all, and one that does not heed it is killed."""
        processes = self.started()
        self.service.stopService()
        self.service._hurry()
        self.assertEqual(["start", "hurry"], processes[0].kinds)
        processes[0].end(0)
        self.reactor.advance(HURRY)
        self.assertEqual([["TERM"], ["TERM", "KILL"]], [process.signals for process in processes])

    def test_while_one_waits_for_its_start(self) -> None:
        """A worker that has ended and is not yet replaced is none to wait for."""
        processes = self.started()
        for process in processes:
            process.end(1)
        self.successResultOf(self.service.stopService())

    def test_after_a_refusal(self) -> None:
        """A service whose ports could not be had stops all the same."""
        service = self.make()
        self.successResultOf(service.stopService())


class QuestionTests(Supervised):
    """Questions to workers."""

    def test_bounded(self) -> None:
        """A worker that is stuck is not asked for ever, and answers that come late are none."""
        self.started()
        worker = self.service.workers[1]
        for _ in range(20):
            asked = worker.ask("metrics")
            self.reactor.advance(ANSWER_WITHIN)
            self.failureResultOf(asked)
        process = self.reactor.processes[0]
        self.assertEqual(17, len(process.told))
        process.answer("late")
        asked = worker.ask("metrics")
        process.answer("well")
        self.assertEqual("well", self.successResultOf(asked))
        process.say("answer", ask=999, value=1)


class MetricsTests(Supervised):
    """One page for all."""

    TEXT = "# HELP shouts_total Shouts.\n# TYPE shouts_total counter\nshouts_total {}.0\n"

    def scrape(self, *answers: str | None) -> dict[str, float]:
        measured = self.service.measured
        assert measured is not None
        scraping = measured.collect()
        for process, answer in zip(self.reactor.processes[-2:], answers, strict=True):
            if answer is not None:
                process.answer(answer)
        if None in answers:
            self.reactor.advance(ANSWER_WITHIN)
        return {
            sample.name: sample.value
            for family in self.successResultOf(scraping)
            for sample in family.samples
        }

    def metered(self) -> list[Process]:
        return self.started("metrics=0")

    def test_sum(self) -> None:
        """What they count is added up, what the supervisor knows is beside it."""
        self.metered()
        found = self.scrape(self.TEXT.format(1), self.TEXT.format(2))
        self.assertEqual(3, found["shouts_total"])
        self.assertEqual(2, found["myproject_workers_ready"])
        self.assertEqual(0, found["myproject_workers_silent_total"])
        self.assertIn("process_start_time_seconds", found)
        self.assertIn("myproject_reloads_total", found)

    def test_silence(self) -> None:
        """One that does not answer counts as it did, and is counted."""
        self.metered()
        self.scrape(self.TEXT.format(1), self.TEXT.format(2))
        found = self.scrape(self.TEXT.format(5), None)
        self.assertEqual(7, found["shouts_total"])
        self.assertEqual(1, found["myproject_workers_silent_total"])

    def test_ended(self) -> None:
        """What a worker had counted when it ended stays in the sum: no counter falls."""
        processes = self.metered()
        self.scrape(self.TEXT.format(10), self.TEXT.format(2))
        processes[0].end(None, 9)
        self.reactor.advance(1)
        self.reactor.processes[-1].ready()
        found = self.scrape(self.TEXT.format(3), self.TEXT.format(1))
        self.assertEqual(14, found["shouts_total"])
        self.assertEqual(1, found["myproject_workers_replaced_total"])
