"""The service manager is told how the service is: what, when, and never at the service's expense."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import defer
from twisted.internet.protocol import Factory
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from myproject.listening import why
from myproject.notify import STATUS_INTERVAL, NotifyService
from myproject.service import FactoryService


class Reactor(MemoryReactorClock):
    """A reactor in memory that begins to run when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks: list[Any] = []
        self.runs = False

    def callWhenRunning(self, callable: Any, *args: Any, **kw: Any) -> None:
        if self.runs:
            callable(*args, **kw)
        else:
            self.hooks.append(lambda: callable(*args, **kw))

    def run(self) -> None:
        self.runs = True
        for hook in self.hooks:
            hook()


class Conversation(TestCase):
    """A service, and a stand-in for its manager: a datagram socket."""

    abstract = False

    def setUp(self) -> None:
        # trial's own folders may have longer names than an address can hold.
        folder = tempfile.mkdtemp(prefix="notify-")
        self.addCleanup(shutil.rmtree, folder)
        self.address = str(Path(folder) / "s")
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.setblocking(False)
        if self.abstract:
            self.address = f"@myproject-test-{os.getpid()}-{id(self)}"
            self.manager.bind(f"\0{self.address[1:]}")
        else:
            self.manager.bind(self.address)
        self.reactor = Reactor()
        self.open = 0

    def told(self) -> list[str]:
        """What the manager was told since the last look."""
        messages = []
        while True:
            try:
                messages.append(self.manager.recv(65536).decode())
            except BlockingIOError:
                return messages

    def service(self, **environ: str) -> NotifyService:
        self.environ = {"NOTIFY_SOCKET": self.address, "PATH": "/bin", **environ}
        made = NotifyService(lambda: self.open, self.reactor, self.environ)
        made.startService()
        return made

    def serving(self, **environ: str) -> NotifyService:
        """A service that has said it is ready."""
        made = self.service(**environ)
        self.reactor.run()
        made.serving([])
        self.told()
        return made

    def observed(self) -> EventLoggingObserver:
        observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        assert isinstance(observer, EventLoggingObserver)
        return observer


class ReadyTests(Conversation):
    """``READY=1``."""

    def test_waits_for_the_reactor(self) -> None:
        made = self.service()
        made.serving([defer.succeed(True)])
        self.assertEqual([], self.told())
        self.reactor.run()
        self.assertEqual(["READY=1\nSTATUS=0 connections open"], self.told())

    def test_waits_for_the_ports(self) -> None:
        self.reactor.run()
        opening: defer.Deferred[bool] = defer.Deferred()
        made = self.service()
        made.serving([defer.succeed(True), opening])
        self.assertEqual([], self.told())
        opening.callback(True)
        self.assertEqual(["READY=1\nSTATUS=0 connections open"], self.told())

    def test_is_not_said_without_the_ports(self) -> None:
        self.reactor.run()
        self.service().serving([defer.succeed(True), defer.succeed(False)])
        self.assertEqual([], self.told())

    def test_is_not_said_once_the_stop_has_begun(self) -> None:
        made = self.service()
        made.serving([])
        made.stopping()
        self.reactor.run()
        self.assertEqual(["STOPPING=1\nSTATUS=stopping; 0 connections open"], self.told())

    def test_is_not_said_after_the_stop(self) -> None:
        made = self.service()
        made.serving([])
        made.stopService()
        self.reactor.run()
        self.assertEqual([], self.told())

    def test_is_said_again_after_a_restart(self) -> None:
        """The address is gone from the environment, and kept."""
        made = self.serving()
        made.stopping()
        made.stopService()
        self.told()
        made.startService()
        made.serving([])
        self.assertEqual(["READY=1\nSTATUS=0 connections open"], self.told())


class AbstractTests(Conversation):
    """An address that begins with ``@`` is in Linux's abstract namespace."""

    abstract = True

    def test_ready(self) -> None:
        made = self.service()
        made.ready()
        self.assertEqual(["READY=1\nSTATUS=0 connections open"], self.told())


class StatusTests(Conversation):
    """``STATUS``: how many connections are open."""

    def test_a_change_is_told_with_the_next_look(self) -> None:
        self.serving()
        self.open = 1
        self.reactor.advance(STATUS_INTERVAL - 0.1)
        self.assertEqual([], self.told())
        self.reactor.advance(0.1)
        self.assertEqual(["STATUS=1 connection open"], self.told())

    def test_many_changes_are_told_once(self) -> None:
        self.serving()
        for self.open in range(1, 30):
            self.reactor.advance(STATUS_INTERVAL / 30)
        self.reactor.advance(STATUS_INTERVAL / 30)
        self.assertEqual(["STATUS=29 connections open"], self.told())

    def test_without_a_change_nothing_is_told(self) -> None:
        self.serving()
        self.reactor.pump([STATUS_INTERVAL] * 10)
        self.assertEqual([], self.told())

    def test_goes_on_through_the_drain(self) -> None:
        made = self.serving()
        self.open = 2
        made.stopping()
        self.open = 1
        self.reactor.advance(STATUS_INTERVAL)
        made.stopService()
        self.assertEqual(
            [
                "STOPPING=1\nSTATUS=stopping; 2 connections open",
                "STATUS=stopping; 1 connection open",
            ],
            self.told(),
        )
        self.assertEqual([], self.reactor.getDelayedCalls())


class ReloadTests(Conversation):
    """``RELOADING=1``, and ``READY=1`` when it is done."""

    def test_a_reload_has_its_time_and_its_end(self) -> None:
        made = self.serving()
        before = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        made.reloading()
        made.ready()
        after = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        begin, end = self.told()
        reloading, moment, status = begin.split("\n")
        self.assertEqual(
            ("RELOADING=1", "STATUS=reloading; 0 connections open"), (reloading, status)
        )
        name, _, number = moment.partition("=")
        self.assertEqual("MONOTONIC_USEC", name)
        self.assertTrue(before - 1 <= int(number) <= after, moment)
        self.assertEqual("READY=1\nSTATUS=0 connections open", end)


class WatchdogTests(Conversation):
    """``WATCHDOG=1``, twice in the manager's interval."""

    def test_comes_twice_in_the_interval(self) -> None:
        self.serving(WATCHDOG_USEC="3000000", WATCHDOG_PID=f"{os.getpid()}")
        self.reactor.advance(1.4)
        self.assertEqual([], self.told())
        self.reactor.pump([0.1, 1.5])
        self.assertEqual(["WATCHDOG=1"] * 2, self.told())

    def test_no_pid_is_everyone(self) -> None:
        self.serving(WATCHDOG_USEC="2000000")
        self.reactor.advance(1)
        self.assertEqual(["WATCHDOG=1"], self.told())

    def test_comes_before_the_ports_are_open(self) -> None:
        self.service(WATCHDOG_USEC="2000000")
        self.reactor.advance(1)
        self.assertEqual(["WATCHDOG=1"], self.told())

    def test_goes_on_through_the_drain_and_ends_with_it(self) -> None:
        made = self.serving(WATCHDOG_USEC="2000000")
        made.stopping()
        self.reactor.advance(1)
        self.assertEqual("WATCHDOG=1", self.told()[-1])
        made.stopService()
        self.reactor.advance(10)
        self.assertEqual([], self.told())

    def silent(self, **environ: str) -> None:
        self.serving(**environ)
        self.reactor.pump([0.1] * 100)
        self.assertEqual([], self.told())

    def test_another_process_is_watched(self) -> None:
        self.silent(WATCHDOG_USEC="2000000", WATCHDOG_PID=f"{os.getpid() + 1}")

    def test_zero_is_no_interval(self) -> None:
        self.silent(WATCHDOG_USEC="0")

    @given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
    def test_what_is_no_number_is_no_interval(self, value: str) -> None:
        if not (value.isascii() and value.isdigit()):
            self.silent(WATCHDOG_USEC=value)


class EnvironmentTests(Conversation):
    """Whom to tell."""

    def test_the_variables_are_not_left_to_processes_that_we_start(self) -> None:
        self.service(WATCHDOG_USEC="2000000", WATCHDOG_PID="1")
        self.assertEqual({"PATH": "/bin"}, self.environ)

    def test_without_an_address_nothing_happens(self) -> None:
        self.environ = {}
        made = NotifyService(lambda: 0, self.reactor, self.environ)
        made.startService()
        made.serving([])
        made.reloading()
        self.reactor.run()
        self.assertEqual([], self.reactor.getDelayedCalls())
        made.stopping()
        made.stopService()

    def test_other_kinds_of_address_are_ignored(self) -> None:
        for address in ("vsock:2:1234", "relative", ""):
            made = self.service(NOTIFY_SOCKET=address)
            made.ready()
            self.assertEqual([], self.reactor.getDelayedCalls())

    def test_the_environment_is_that_of_the_process(self) -> None:
        self.patch(os, "environ", {"NOTIFY_SOCKET": self.address})
        made = NotifyService(lambda: 3, self.reactor)
        made.startService()
        made.ready()
        self.assertEqual(["READY=1\nSTATUS=3 connections open"], self.told())
        self.assertEqual({}, os.environ)


class TroubleTests(Conversation):
    """No trouble with the manager is the service's."""

    def test_a_manager_that_is_gone_is_complained_of_once(self) -> None:
        made = self.service()
        self.manager.close()
        observer = self.observed()
        made.ready()
        made.stopping()
        self.assertEqual(
            ["cannot tell the service manager: {why}"], [e["log_format"] for e in observer]
        )
        self.assertEqual(why(ConnectionRefusedError(111, "")), observer[0]["why"])

    def test_an_address_that_cannot_be_is_complained_of(self) -> None:
        for address in ("/" + "x" * 200, "/nul\0nul"):
            observer = self.observed()
            self.service(NOTIFY_SOCKET=address).ready()
            self.assertEqual(1, len(observer), address)
            globalLogPublisher.removeObserver(observer)
            globalLogPublisher.addObserver(observer)

    def test_what_a_slow_manager_did_not_take_is_said_later(self) -> None:
        """Its queue is full: the service does not wait, and forgets nothing."""
        stuffing = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(stuffing.close)
        stuffing.setblocking(False)
        made = self.service(WATCHDOG_USEC="1000000")
        stuffed = 0
        while True:
            try:
                stuffing.sendto(b"stuffing", self.address)
            except BlockingIOError:
                break
            stuffed += 1
        made.ready()
        self.reactor.pump([0.5] * 4)
        self.assertEqual(["stuffing"] * stuffed, self.told())
        self.reactor.advance(STATUS_INTERVAL)
        # Four signs of life would be no better than one; the last is for the time since.
        self.assertEqual(
            ["READY=1\nSTATUS=0 connections open", "WATCHDOG=1"],
            list(dict.fromkeys(self.told())),
        )


class WholeTests(Conversation):
    """What a subcommand's service tells, from start to stop."""

    def test_from_start_to_stop(self) -> None:
        whole = FactoryService("shout", Factory(), [], self.reactor)
        environ = {"NOTIFY_SOCKET": self.address}
        whole.notify._environ = environ
        whole.startService()
        self.assertEqual({}, environ)
        self.assertEqual([], self.told())
        self.reactor.run()
        self.assertEqual(["READY=1\nSTATUS=0 connections open"], self.told())
        self.successResultOf(defer.ensureDeferred(_stop(whole)))
        self.assertEqual(["STOPPING=1\nSTATUS=stopping; 0 connections open"], self.told())


async def _stop(whole: FactoryService) -> None:
    await whole.stopService()
