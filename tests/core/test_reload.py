"""Reload: what is read again on SIGHUP, what changes, and what a mistake leaves as it was."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.application.service import MultiService
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

import myproject
from myproject.interfaces import IAsksToReload, IReloadable
from myproject.journal import Journal
from myproject.logcontrol import Logging
from myproject.maker import FactoryServiceMaker
from myproject.reload import Reloaded, ReloadService, read_again
from myproject.service import FactoryService
from myproject.settings import integer, path, reloadable
from myproject.tls import TLSSettings
from tests.core.authority import issue
from tests.support import PATIENCE, ask, clean_environment, connect, free_port, start

if TYPE_CHECKING:
    from myproject.options import Options


class Shout(myproject.Options):
    """Two settings that can change, and two that cannot."""

    tapname = "shout"

    width = reloadable(integer(72, help="Characters to a line."))
    depth = reloadable(integer(1, help="Lines to a page."))
    weight = integer(3, help="Of the paper.")
    paper = path(help="What to write on.")


class Notify:
    """Writes down what the service manager is told."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def reloading(self) -> None:
        self.told.append("reloading")

    def ready(self) -> None:
        self.told.append("ready")


class Turns:
    """A reactor of which only the next turn is of interest."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def callFromThread(self, call: Any) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class ReloadCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = self.folder / "shout.toml"
        self.reactor = Turns()
        self.happened: list[Any] = []
        self.good = True
        self.log = EventLoggingObserver()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))

    @property
    def logged(self) -> list[str]:
        return [str(event["log_format"]).format(**event) for event in self.log]

    def write(self, **settings: object) -> None:
        lines = [f"{name} = {value}" for name, value in settings.items()]
        self.file.write_text("\n".join(["[shout]", *lines]))

    def options(self, *words: str, **environ: str) -> Shout:
        options = Shout(environ)
        options.parseOptions(["--config", str(self.file), *words])
        return options

    def apply(self, options: Options, changed: frozenset[str]) -> bool:
        self.happened.append((options, sorted(changed)))
        return self.good

    def make(self, options: Options | None = None) -> ReloadService:
        if options is None:
            self.write()
            options = self.options()
        notify: Any = Notify(self.happened)
        return ReloadService(options, self.apply, notify, self.reactor)


class ReadAgainTests(ReloadCase):
    """The same sources, as they are now."""

    def test_the_file_is_read_again(self) -> None:
        self.write(width=10)
        options = self.options()
        self.write(width=11)
        self.assertEqual((10, 11), (options["width"], read_again(options, Path.cwd())["width"]))

    def test_the_command_line_still_wins(self) -> None:
        self.write(width=10)
        options = self.options("--width", "5", SHOUT_DEPTH="7")
        self.write(width=11, depth=12)
        again = read_again(options, Path.cwd())
        self.assertEqual((5, 7), (again["width"], again["depth"]))
        self.assertIs(options.parent, again.parent)

    def test_relative_paths_mean_what_they_meant(self) -> None:
        self.write(paper='"sheet"')
        with contextlib.chdir(self.folder):
            options = Shout({})
            options.parseOptions(["--config", "shout.toml"])
        here = Path.cwd()
        again = read_again(options, self.folder)
        self.assertEqual(self.folder / "sheet", again["paper"])
        self.assertEqual(here, Path.cwd())

    def test_a_file_that_a_caller_gave_is_kept(self) -> None:
        self.write(width=10)
        options = Shout({})
        options.resolve(self.file)
        self.write(width=11)
        self.assertEqual(11, read_again(options, Path.cwd())["width"])

    @given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
    def test_what_did_not_change_reads_the_same(self, width: int, depth: int, weight: int) -> None:
        self.write(width=width, depth=depth)
        options = self.options("--weight", str(weight))
        again = read_again(options, Path.cwd())
        self.assertEqual((dict(options), options.sources), (dict(again), again.sources))


class ReloadTests(ReloadCase):
    """What a reload does."""

    def test_what_can_change_is_applied(self) -> None:
        service = self.make()
        self.write(width=5)
        self.assertTrue(service.reload())
        (before, (options, changed), after) = self.happened
        self.assertEqual(("reloading", "ready"), (before, after))
        self.assertEqual((5, ["width"]), (options.width, changed))
        self.assertEqual(["shout: reloaded; changed: width"], self.logged)

    def test_what_changed_before_does_not_change_again(self) -> None:
        service = self.make()
        self.write(width=5)
        service.reload()
        service.reload()
        self.assertEqual([["width"], []], [one[1] for one in self.happened if type(one) is tuple])
        self.assertEqual("shout: reloaded; no setting has changed", self.logged[-1])

    def test_what_cannot_change_is_named_each_time(self) -> None:
        service = self.make()
        self.write(width=5, weight=9, port=7)
        for _ in range(2):
            self.assertTrue(service.reload())
            line = "shout: not changed, as that needs a restart: port, weight"
            self.assertEqual(line, self.logged[-1])
        self.write(width=5)
        service.reload()
        self.assertEqual("shout: reloaded; no setting has changed", self.logged[-1])

    def test_a_mistake_changes_nothing(self) -> None:
        service = self.make()
        self.write(width='"wide"', depth=9)
        self.assertFalse(service.reload())
        self.assertEqual(["reloading", "ready"], self.happened)
        (line,) = self.logged
        self.assertIn("shout: the settings that were read before remain in force: --width", line)
        self.assertIn("it is not a whole number", line)
        self.write(depth=9)
        self.assertTrue(service.reload())
        self.assertEqual(["depth"], self.happened[-2][1])

    def test_a_file_that_is_gone_changes_nothing(self) -> None:
        service = self.make()
        self.file.unlink()
        self.assertFalse(service.reload())
        self.assertIn("no such file or directory", self.logged[0])

    def test_a_folder_that_is_gone_changes_nothing(self) -> None:
        service = self.make()
        service._folder = self.folder / "gone"
        self.assertFalse(service.reload())
        self.assertIn("gone: no such file", self.logged[0])

    def test_what_could_not_be_applied_is_tried_again(self) -> None:
        service = self.make()
        self.write(width=5)
        self.good = False
        self.assertFalse(service.reload())
        self.assertEqual([], self.logged)
        self.good = True
        self.assertTrue(service.reload())
        self.assertEqual(["width"], self.happened[-2][1])

    def test_a_bug_ends_the_reload_and_no_more(self) -> None:
        service = self.make()
        self.patch(service, "_apply", lambda *_: 1 / 0)
        self.assertFalse(service.reload())
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual("ready", self.happened[-1])

    def test_without_a_service_manager(self) -> None:
        self.write()
        self.assertTrue(ReloadService(self.options(), self.apply, None, self.reactor).reload())


class OutcomeTests(ReloadCase):
    """What who asked for a reload is told."""

    def test_what_changed_and_what_waits(self) -> None:
        service = self.make()
        self.write(width=5, depth=2, weight=9)
        self.assertEqual(Reloaded("", ("depth", "width"), ("weight",), self.file), service.reload())

    def test_a_mistake_is_told_in_its_line(self) -> None:
        service = self.make()
        self.write(width='"wide"')
        done = service.reload()
        self.assertFalse(done)
        self.assertIn("--width", done.mistake)
        self.assertIn("it is not a whole number", done.mistake)
        self.assertEqual(self.file, done.file)

    def test_what_only_the_log_can_tell(self) -> None:
        service = self.make()
        self.good = False
        self.assertEqual("what was read cannot be used; the log says why", service.reload().mistake)
        self.patch(service, "_apply", lambda *_: 1 / 0)
        self.assertEqual("it failed; the log says how", service.reload().mistake)
        self.flushLoggedErrors(ZeroDivisionError)


@implementer(IAsksToReload)
class Asking(Factory):
    """A factory whose protocol has a word for a reload."""

    def __init__(self) -> None:
        self.reload: Callable[[], Reloaded] | None = None

    def offer_reload(self, reload: Callable[[], Reloaded]) -> None:
        self.reload = reload


class AskTests(ReloadCase):
    """A factory that asks for a reload itself."""

    def test_the_maker_hands_it_the_way_to(self) -> None:
        self.write(width=5)
        factory = Asking()
        self.assertTrue(verifyObject(IAsksToReload, factory))
        maker = FactoryServiceMaker("shout", "nowhere", "Shouts.")
        self.patch(maker, "makeFactory", lambda _: factory)
        maker.makeService(self.options())
        self.write(width=7)
        assert factory.reload is not None
        self.assertEqual(Reloaded("", ("width",), (), self.file), factory.reload())
        self.assertEqual(["shout: reloaded; changed: width"], self.logged)


class SignalTests(ReloadCase):
    """The signal, and who else listens for it."""

    def hup(self) -> int:
        """Send it to ourselves; how many reloads it caused."""
        before = self.happened.count("ready")
        os.kill(os.getpid(), signal.SIGHUP)
        self.reactor.turn()
        return self.happened.count("ready") - before

    def setUp(self) -> None:
        super().setUp()
        self.others = 0
        signal.signal(signal.SIGHUP, self.other)

    def other(self, *_: object) -> None:
        self.others += 1

    def test_it_reloads_in_the_reactors_next_turn(self) -> None:
        service = self.make()
        service.startService()
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual([], self.happened)
        self.reactor.turn()
        self.assertEqual(("reloading", "ready"), (self.happened[0], self.happened[-1]))

    def test_the_handler_before_hears_it_too_and_is_put_back(self) -> None:
        service = self.make()
        service.startService()
        self.hup()
        self.assertEqual(1, self.others)
        service.stopService()
        self.assertEqual(self.other, signal.getsignal(signal.SIGHUP))

    def test_all_services_of_a_process_reload_whatever_stops_first(self) -> None:
        first, second = self.make(), self.make()
        first.startService()
        second.startService()
        self.assertEqual(2, self.hup())
        first.stopService()
        self.assertEqual(1, self.hup())
        first.startService()
        self.assertEqual(2, self.hup())
        second.stopService()
        self.assertEqual(1, self.hup())
        first.stopService()
        self.assertEqual((0, 5), (self.hup(), self.others))

    def test_none_after_the_stop_has_begun(self) -> None:
        parent = MultiService()
        service = self.make()
        service.setServiceParent(parent)
        parent.startService()
        os.kill(os.getpid(), signal.SIGHUP)
        parent.running = 0
        self.reactor.turn()
        self.assertEqual([], self.happened)
        parent.running = 1
        os.kill(os.getpid(), signal.SIGHUP)
        service.stopService()
        self.reactor.turn()
        self.assertEqual([], self.happened)

    def test_what_was_not_pythons_becomes_the_default(self) -> None:
        service = self.make()
        service.startService()
        service._previous = None
        service.stopService()
        self.assertEqual(signal.SIG_DFL, signal.getsignal(signal.SIGHUP))

    def test_another_thread_goes_without(self) -> None:
        service = self.make()
        thread = threading.Thread(target=service.startService)
        thread.start()
        thread.join()
        self.assertEqual(self.other, signal.getsignal(signal.SIGHUP))
        service.stopService()
        self.assertEqual((0, 1), (self.hup(), self.others))

    def test_the_global_reactor_is_the_default(self) -> None:
        from twisted.internet import reactor

        self.write()
        service = ReloadService(self.options(), self.apply)
        service.startService()
        service.stopService()
        self.assertIs(reactor, service.reactor)


@implementer(IReloadable)
class Taking(Factory):
    """A factory that takes new settings."""

    def __init__(self) -> None:
        self.taken: list[object] = []

    def reload(self, options: Options, changed: frozenset[str]) -> None:
        self.taken.append((options["width"], changed))


class FactoryServiceTests(ReloadCase):
    """What a subcommand's service does with new settings."""

    def test_limits_the_drain_and_the_factory(self) -> None:
        self.write(width=5)
        factory = Taking()
        service = FactoryService("shout", factory, ["1"], Clock())
        options = self.options("--max-connections", "9", "--drain-timeout", "2")
        self.assertTrue(service.reload(options, frozenset({"width"})))
        self.assertEqual([(5, frozenset({"width"}))], factory.taken)
        self.assertEqual((9, 2), (service.gate.limits.max_connections, service.drain_timeout))

    def test_the_log(self) -> None:
        """Its level, if the service has a say in that, and whether connections are logged from now on."""
        self.write()
        service = FactoryService("shout", Factory(), ["1"], Clock())
        gate = service.gate
        gate.journal = Journal("shout", gate, access=False)
        options = self.options("--log-level", "debug", "--access-log")
        self.assertTrue(service.reload(options, frozenset()))
        self.assertTrue(gate.journal.access)
        service.logging = Logging("shout", "info")
        self.assertTrue(service.reload(options, frozenset()))
        self.assertEqual("debug", service.logging.level)

    def test_a_factory_that_takes_none(self) -> None:
        self.write()
        service = FactoryService("shout", Factory(), ["1"], Clock())
        self.assertTrue(service.reload(self.options(), frozenset()))

    def tls(self, certificate: Path) -> tuple[FactoryService, Taking]:
        factory = Taking()
        settings = TLSSettings(certificate)
        service = FactoryService(
            "shout", factory, ["1"], Clock(), tls=settings, tls_descriptions=["2"]
        )
        assert service.tls is not None
        service.tls.privilegedStartService()
        return service, factory

    def test_certificates(self) -> None:
        """They are read again; one that cannot be used keeps everything as it was."""
        self.write()
        file = issue("a.test").write(self.folder / "a.pem")
        service, factory = self.tls(file)
        options = self.options("--tls-port", "2", "--certificate", str(file))
        issue("b.test").write(file)
        self.assertTrue(service.reload(options, frozenset()))
        assert service.tls is not None
        self.assertEqual(("b.test",), service.tls.identities[0].names)
        file.unlink()
        self.assertFalse(service.reload(options, frozenset()))
        self.assertEqual((("b.test",), 1), (service.tls.identities[0].names, len(factory.taken)))

    def test_a_tls_port_that_is_to_go_keeps_its_certificate_until_then(self) -> None:
        self.write()
        service, _ = self.tls(issue("a.test").write(self.folder / "a.pem"))
        self.assertTrue(service.reload(self.options(), frozenset()))
        assert service.tls is not None
        self.assertEqual(("a.test",), service.tls.identities[0].names)


class InstalledTests(SynchronousTestCase):
    """The installed ``twistd``."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.port = free_port()
        self.file = self.folder / "echo.toml"
        self.write("")

    def write(self, lines: str) -> None:
        self.file.write_text(f"[myproject-echo]\nport = {self.port}\n{lines}")

    def test_a_reload_that_changes_a_mistake_and_a_restart(self) -> None:
        """Elsewhere than it was started: the file's name is relative, and --rundir leads away."""
        (self.folder / "run").mkdir()
        words = ("-n", "--rundir", "run", "myproject-echo", "--config", "echo.toml")
        server = start(self, *words, cwd=self.folder).wait_for_port(self.port)
        with connect(self.port) as client:
            # Connected is not accepted: what the system still holds would meet the new settings.
            client.sendall(b"here")
            self.assertEqual(b"here", client.recv(64))
            self.write('deny = ["127.0.0.0/8"]')
            server.signal(signal.SIGHUP)
            server.wait_for_log("myproject-echo: reloaded; changed: deny")
            self.assertRaises((AssertionError, ConnectionError), ask, self.port, b"x", b"x")
            self.write("nonsense = 1")
            server.signal(signal.SIGHUP)
            server.wait_for_log("remain in force: 'nonsense', from table [myproject-echo] of")
            self.write("udp = true")
            server.signal(signal.SIGHUP)
            server.wait_for_log("myproject-echo: not changed, as that needs a restart: udp")
            self.assertEqual(b"hello", ask(self.port, b"hello", b"hello"))
            client.sendall(b"still here")
            self.assertEqual(b"still here", client.recv(64))
        self.assertEqual(0, server.stop())

    def test_the_service_manager_hears_of_it(self) -> None:
        address = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, address)
        environ = clean_environment(NOTIFY_SOCKET=f"{address}/notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(f"{address}/notify")
            manager.settimeout(PATIENCE)
            told: list[str] = []

            def hear(what: str) -> None:
                while what not in told:
                    told.extend(manager.recv(4096).decode().splitlines())

            words = ("-n", "myproject-echo", "--config", str(self.file))
            server = start(self, *words, cwd=self.folder, environ=environ)
            hear("READY=1")
            told.clear()
            server.signal(signal.SIGHUP)
            hear("RELOADING=1")
            hear("READY=1")
            self.assertLess(told.index("RELOADING=1"), told.index("READY=1"))
