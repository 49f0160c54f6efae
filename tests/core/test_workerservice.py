"""The service of a worker: on inherited ports, with the settings it reads, doing what it is told."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

import myproject
from myproject.channel import Assignment, Downlink, Message
from myproject.errors import SettingError
from myproject.workerservice import Worker


class ShoutOptions(myproject.Options):
    tapname = "shout"


class Sent:
    """An uplink that keeps what is sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def start(self, reactor: object) -> None:
        pass

    def send(self, message: Message) -> None:
        self.messages.append(message)


class Threaded(MemoryReactorClock):
    """A reactor in memory that other threads may call."""

    stops = 0

    def stop(self) -> None:
        self.stops += 1

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        self.callLater(0, call, *arguments)


class WorkerServiceTests(SynchronousTestCase):
    """A worker in this process."""

    def setUp(self) -> None:
        module: Any = cast("Any", ModuleType("shout.tap"))
        module.Options = ShoutOptions
        module.makeFactory = lambda options: Factory()  # noqa: ARG005
        self.patch(sys, "modules", {**sys.modules, "shout.tap": module})
        self.file = Path(self.mktemp()).absolute()
        self.file.write_text("[shout]\nmax-connections = 5\n")
        self.uplink = Sent()
        self.reactor = Threaded()
        previous = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, previous)

    def worker(self, **given: str) -> Worker:
        assignment = Assignment(
            tapname="shout",
            module="shout.tap",
            description="Shouts.",
            worker=1,
            workers=2,
            reactor="tests",
            folder=str(self.file.parent),
            given={"workers": ["2"], **{name: [value] for name, value in given.items()}},
            config=str(self.file),
            # No port.
            environ={"SHOUT_PORT": ""},
            ports=[[]],
        )
        return Worker(assignment, cast("Any", self.uplink), self.reactor)

    def started(self, **given: str) -> Worker:
        worker = self.worker(**given)
        read, write = os.pipe()
        self.addCleanup(os.close, write)
        self.addCleanup(os.close, read)
        worker.start(Downlink(read, worker.abandoned))
        for call, arguments, named in self.reactor.whenRunningHooks:
            call(*arguments, **named)
        self.addCleanup(worker.service.stopService)
        return worker

    def test_settings(self) -> None:
        """It reads what the supervisor read, in that folder; its share is its own."""
        worker = self.worker()
        self.assertEqual(2, worker.service.gate.limits.max_connections)
        self.assertEqual(self.file, worker.options.config)

    def test_mistake(self) -> None:
        """A file that has a mistake by now is refused as anywhere."""
        self.file.write_text("[shout]\nmax-connections = no\n")
        self.assertRaises(SettingError, self.worker)

    def test_notifies(self) -> None:
        """The supervisor is told what a process alone tells the service manager."""
        self.started()
        [told] = self.uplink.messages
        self.assertEqual(("notify", 0), (told["kind"], told["connections"]))
        self.assertTrue(told["text"].startswith("READY=1\n"))

    def test_reload(self) -> None:
        """It reads the settings again when told, and answers."""
        worker = self.started()
        self.file.write_text("[shout]\nmax-connections = 20\n")
        worker.received({"kind": "reload", "ask": 1})
        self.assertEqual(10, worker.service.gate.limits.max_connections)
        self.assertEqual({"kind": "answer", "ask": 1, "value": True}, self.uplink.messages[-1])

    def test_own_sighup(self) -> None:
        """The signal is its supervisor's."""
        before = signal.getsignal(signal.SIGHUP)
        worker = self.started()
        worker.reloads.startService()
        self.assertEqual(before, signal.getsignal(signal.SIGHUP))
        worker.reloads.stopService()

    def test_metrics(self) -> None:
        """It measures if anyone asks for it, and serves no page."""
        self.started().received({"kind": "metrics", "ask": 1})
        self.assertEqual("", self.uplink.messages[-1]["value"])
        worker = self.started(metrics="0")
        worker.received({"kind": "metrics", "ask": 2})
        self.assertIn("myproject_connections_open", self.uplink.messages[-1]["value"])
        self.assertIsNone(worker.service.health)

    def test_bug(self) -> None:
        """What goes wrong is logged, and answered all the same."""
        worker = self.started()
        self.patch(worker, "_do", lambda kind: 1 / 0)  # noqa: ARG005
        worker.received({"kind": "metrics", "ask": 1})
        self.assertIsNone(self.uplink.messages[-1]["value"])
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_signal(self) -> None:
        """SIGTERM stops it, and a second one is not a hurry."""
        self.started()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        self.reactor.advance(0)
        self.assertEqual(1, self.reactor.stops)

    def test_abandoned(self) -> None:
        """Without its supervisor it stops, and waits for nobody."""
        worker = self.started()
        worker.abandoned()
        self.assertEqual(1, self.reactor.stops)
        self.assertTrue(worker.service._hurried)

    def test_hurry(self) -> None:
        """Told so, it waits for nobody either; there is no answer to that."""
        worker = self.started()
        worker.received({"kind": "hurry"})
        self.assertTrue(worker.service._hurried)
        self.assertEqual(1, len(self.uplink.messages))

    def test_unknown(self) -> None:
        """What it does not know it does not do."""
        self.started().received({"kind": "dance", "ask": 3})
        self.assertIsNone(self.uplink.messages[-1]["value"])
