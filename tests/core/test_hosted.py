"""Hosted services: foreign plugins in one process, refused in one line if anything is wrong."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any, cast

from twisted.application import internet
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IServiceMaker, MultiService, Service
from twisted.internet import defer
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, Logger, formatEvent, globalLogPublisher
from twisted.plugin import IPlugin
from twisted.protocols.policies import WrappingFactory
from twisted.python import log, usage
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from myproject import hosted
from myproject.errors import CannotStart, SettingError
from myproject.hosted import HostedServices, read_plans


class ShoutOptions(usage.Options):
    """A foreign plugin's options, with every way to go wrong."""

    optParameters = [["word", "w", "hey", "What to say."]]  # noqa: RUF012 (Twisted's way)

    def opt_leave(self) -> None:
        """Say something and leave."""
        print("shout: cannot go on\nshout: no\x20 voice", file=sys.stderr)  # noqa: T201
        raise SystemExit(3)

    def opt_why(self) -> None:
        """Leave with a reason."""
        raise SystemExit("no\nreason")

    def opt_crash(self) -> None:
        """Fail as a bug does."""
        raise ZeroDivisionError

    def postOptions(self) -> None:
        """Refuse silence."""
        if not self["word"]:
            raise usage.UsageError("say\nsomething")


class Noted(Service):
    """Logs its life, by both of Twisted's loggers, and fails where a test says."""

    fail_at = ""
    log = Logger()

    def _step(self, step: str) -> None:
        self.log.info("modern {step}", step=step)
        log.msg(f"legacy {step}")
        if step == self.fail_at:
            raise ValueError(f"no\n{step}")

    def privilegedStartService(self) -> None:
        self._step("privileged")

    def startService(self) -> None:
        super().startService()
        self._step("start")

    def stopService(self) -> Any:
        super().stopService()
        self._step("stop")


@implementer(IPlugin, IServiceMaker)
class Maker:
    """An installed plugin, whose service is what a test says."""

    description = "for tests"

    def __init__(self, tapname: str, make: Any = None, options: Any = ShoutOptions) -> None:
        self.tapname = tapname
        self.options = options
        self.make = make or (lambda _: Noted())

    def makeService(self, options: Any) -> Any:
        return self.make(options)


class HostedCase(SynchronousTestCase):
    """A file of services, and installed plugins of this test's own."""

    def setUp(self) -> None:
        self.file = Path(self.mktemp()).absolute()
        self.makers: list[Maker] = [Maker("shout"), Maker("whisper")]
        self.patch(hosted, "getPlugins", lambda _: self.makers)
        self.events: list[LogEvent] = []
        observer = cast("Any", self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def plans(self, toml: str) -> Any:
        self.file.write_text(toml)
        return read_plans(self.file, source="here")

    def host(self, *makes: Any, reactor: Any = None) -> HostedServices:
        """Services named one, two, ..., each made by one of the functions."""
        self.makers[:] = [Maker(f"plugin{number}", make) for number, make in enumerate(makes)]
        names = ["one", "two", "three"]
        lines = [
            f'[services.{name}]\nplugin = "plugin{number}"'
            for number, name in enumerate(names[: len(makes)])
        ]
        return HostedServices(self.plans("\n".join(lines)), reactor or MemoryReactorClock())

    def said(self) -> list[tuple[Any, str]]:
        """The services' own log lines, each with the system that it is logged under."""
        return [
            (event.get("log_system"), text)
            for event in self.events
            for text in [formatEvent(event)]
            if text.startswith(("modern", "legacy"))
        ]


class ReadTests(HostedCase):
    """The file, and every mistake in it."""

    def refusal(self, toml: str) -> str:
        with self.assertRaises(SettingError) as caught:
            self.plans(toml)
        line = str(caught.exception)
        start = f"--services, from here: {self.file}: "
        self.assertEqual(start, line[: len(start)])
        self.assertEqual(1, len(line.splitlines()))
        return line[len(start) :]

    def test_services_are_planned_in_the_files_order(self) -> None:
        plans = self.plans(
            '[services.b]\nplugin = "shout"\narguments = ["-w", "ho"]\n'
            '[services.a]\nplugin = "shout"\n[services.a-2]\nplugin = "whisper"\n'
        )
        self.assertEqual(["b", "a", "a-2"], [plan.name for plan in plans])
        self.assertEqual(["ho", "hey", "hey"], [plan.options["word"] for plan in plans])
        self.assertEqual(["shout", "shout", "whisper"], [plan.maker.tapname for plan in plans])

    def test_plugins_see_twistds_own_options(self) -> None:
        self.file.write_text('[services.a]\nplugin = "shout"')
        parent = usage.Options()
        [plan] = read_plans(self.file, parent=parent)
        self.assertIs(parent, plan.options.parent)

    def test_a_file_that_cannot_be_read_is_refused(self) -> None:
        with self.assertRaisesRegex(SettingError, "no such file or directory; name a file"):
            read_plans(self.file)

    def test_a_file_that_is_not_toml_is_refused(self) -> None:
        self.assertIn("it is not TOML: ", self.refusal("[services"))
        self.file.write_bytes(b"\xff")
        with self.assertRaisesRegex(SettingError, "it is not TOML: "):
            read_plans(self.file)

    def test_mistakes_in_the_file_are_refused(self) -> None:
        for toml, words in (
            ("", "it lists no service; write a table [services.NAME] for each"),
            ("services = 1", "it lists no service"),
            ("[service.a]", "the file has an unknown key 'service' (did you mean services?)"),
            ("[services]\na = 1", "service 'a' is not a table; write [services.a]"),
            ('[services."a b"]', "service 'a b' has no usable name"),
            ('[services.""]', "service '' has no usable name"),
            ("[services.a]", "service 'a' names no plugin"),
            ("[services.a]\nplugin = 1", "service 'a' names no plugin"),
            ("[services.a]\nplugins = 1", "service 'a' has an unknown key 'plugins' (did you mean"),
            (
                '[services.a]\nplugin = "shuot"',
                "service 'a': no plugin named 'shuot' is installed (did you mean shout?);",
            ),
            ('[services.a]\nplugin = "myproject"', "service 'a' would run myproject inside itself"),
            (
                '[services.a]\nplugin = "shout"\narguments = "-w"',
                "service 'a': arguments is not an array of strings; quote each argument",
            ),
            (
                '[services.a]\nplugin = "shout"\narguments = [1]',
                "service 'a': arguments is not an array of strings",
            ),
        ):
            self.assertIn(words, self.refusal(toml))

    def test_mistakes_in_the_arguments_are_refused_and_nothing_is_printed(self) -> None:
        streams = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", streams[0])
        self.patch(sys, "stderr", streams[1])
        for arguments, words in (
            ('["--wrod"]', "option --wrod not recognized; twistd shout --help lists what it takes"),
            ('["-w", ""]', "say something"),
            ('["--leave"]', "shout: no voice"),
            ('["--why"]', "no reason"),
            ('["--help"]', "its arguments end the process"),
            ('["--crash"]', "ZeroDivisionError"),
        ):
            said = self.refusal(f'[services.a]\nplugin = "shout"\narguments = {arguments}')
            self.assertIn(f"service 'a': {words}", said)
        self.assertEqual(("", ""), (streams[0].getvalue(), streams[1].getvalue()))

    def test_a_plugin_that_cannot_be_loaded_is_refused(self) -> None:
        def options() -> Any:
            raise ImportError("no such\nmodule")

        self.makers[:] = [Maker("broken", options=options)]
        self.assertIn(
            "service 'a': ImportError: no such module",
            self.refusal('[services.a]\nplugin="broken"'),
        )


class LifeTests(HostedCase):
    """Services start in order; if one fails, those before it stop, and one line says why."""

    def start(self, services: HostedServices) -> None:
        services.privilegedStartService()
        services.startService()

    def test_each_logs_its_life_under_its_name(self) -> None:
        services = self.host(lambda _: Noted(), lambda _: Noted())
        self.start(services)
        self.successResultOf(services.stopService())
        steps = [
            (name, f"{kind} {step}")
            for step, names in (
                ("privileged", ["one", "two"]),
                ("start", ["one", "two"]),
                ("stop", ["two", "one"]),
            )
            for name in names
            for kind in ("modern", "legacy")
        ]
        self.assertEqual(steps, self.said())

    def test_what_others_log_is_left_alone(self) -> None:
        services = self.host(lambda _: Noted())
        Logger().info("modern other")
        log.msg("legacy other")
        Logger().info("modern system", log_system="mine")
        services.stopService()
        log.callWithContext({"system": "one"}, Logger().info, "modern after")
        self.assertEqual(
            [
                (None, "modern other"),
                ("-", "legacy other"),
                ("mine", "modern system"),
                (None, "modern after"),
            ],
            self.said(),
        )

    def test_if_one_fails_to_start_those_before_it_stop(self) -> None:
        # The third had its turn of privileges when the second fails to start.
        for step, expected in (
            ("privileged", ["two", "one"]),
            ("start", ["two", "three", "one"]),
        ):
            first, second, third = Noted(), Noted(), Noted()
            second.fail_at = step
            services = self.host(lambda _, s=first: s, lambda _, s=second: s, lambda _, s=third: s)
            self.events.clear()
            with self.assertRaises(CannotStart) as caught:
                self.start(services)
            self.assertEqual(
                f"service 'two' cannot start: ValueError: no {step}; correct its table in"
                f" {self.file}, or give its plugin 'plugin1' what it needs",
                str(caught.exception),
            )
            self.assertEqual([0, 0, 0], [first.running, second.running, third.running])
            stopped = [name for name, text in self.said() if text == "modern stop"]
            self.assertEqual(expected, stopped)

    def test_a_part_that_does_not_stop_does_not_hide_why(self) -> None:
        class Half(MultiService):
            def startService(self) -> None:
                super().startService()
                raise ValueError("too late")

        broken, good = Noted(), Noted()
        broken.fail_at = "stop"

        def make(_: object) -> MultiService:
            parts = Half()
            for part in (good, broken):
                part.setServiceParent(parts)
            return parts

        with self.assertRaisesRegex(CannotStart, "too late"):
            self.start(self.host(make))
        self.assertEqual([0, 0], [good.running, broken.running])

    def test_a_service_that_cannot_be_made_is_named(self) -> None:
        def fail(_: object) -> Any:
            raise ValueError("no\nidea")

        def leave(_: object) -> Any:
            raise SystemExit

        def refuse(_: object) -> Any:
            raise CannotStart("no way; go home")

        table = f"correct its table in {self.file}"
        remedy = f"; {table}, or give its plugin 'plugin1' what it needs"
        for make, words in (
            (fail, f"ValueError: no idea{remedy}"),
            (leave, f"it gave up{remedy}"),
            (refuse, f"no way; go home, in {self.file}"),
            (lambda _: None, None),
        ):
            with self.assertRaises(CannotStart) as caught:
                self.host(lambda _: Noted(), make)
            if words:
                expected = f"service 'two' cannot be made: {words}"
                self.assertEqual(expected, str(caught.exception))

    def test_a_port_that_cannot_be_had_is_named(self) -> None:
        def fail(_: object) -> Any:
            raise CannotListenError("127.0.0.1", 80, OSError(98, "x"))

        with self.assertRaisesRegex(CannotStart, r"cannot listen on 127\.0\.0\.1:80: address alr"):
            self.host(fail)
        with self.assertRaisesRegex(CannotStart, "cannot listen on any:80: address alr"):
            self.host(lambda _: fail_any())

    def test_an_endpoint_service_that_would_run_without_a_port_is_refused(self) -> None:
        class Taken:
            def listen(self, _factory: object) -> Any:
                return defer.fail(CannotListenError(None, 80, OSError(98, "x")))

        def make(_: object) -> Any:
            inner = MultiService()
            StreamServerEndpointService(cast("Any", Taken()), Factory()).setServiceParent(inner)
            return inner

        services = self.host(make)
        with self.assertRaisesRegex(
            CannotStart, "service 'one' cannot start: .* any:80: address already in use"
        ):
            self.start(services)

    def test_two_services_of_one_plugin_may_run(self) -> None:
        def named(_: object) -> Service:
            service = Noted()
            service.setName("the same")
            return service

        services = self.host(named, named)
        self.start(services)
        self.assertEqual(["one", "two"], [cast("Any", one).name for one in services])
        services.stopService()


def fail_any() -> Any:
    raise CannotListenError(None, 80, OSError(98, "x"))


class Talker(Protocol):
    """Logs what happens to it, and closes."""

    log = Logger()

    def connectionMade(self) -> None:
        self.log.info("modern made")

    def dataReceived(self, _data: bytes) -> None:
        self.log.info("modern data")
        cast("Any", self.transport).loseConnection()


class PortTests(TestCase):
    """On real ports, connections are logged under the service's name."""

    def setUp(self) -> None:
        self.events: list[LogEvent] = []

    def systems(self, text: str) -> list[Any]:
        return [
            event.get("log_system") for event in self.events if text in str(event.get("log_format"))
        ]

    @defer.inlineCallbacks
    def test_a_ports_connections_are_logged_under_the_services_name(self) -> Any:
        from twisted.internet import reactor
        from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

        factory = Factory.forProtocol(Talker)
        cast("Any", factory).logFile = log.logfile
        service = internet.TCPServer(0, WrappingFactory(factory), interface="127.0.0.1")
        udp = internet.UDPServer(0, DatagramProtocol(), interface="127.0.0.1")

        def make(_: object) -> MultiService:
            both = MultiService()
            service.setServiceParent(both)
            udp.setServiceParent(both)
            return both

        self.patch(hosted, "getPlugins", lambda _: [Maker("talk", make)])
        file = Path(self.mktemp())
        file.write_text('[services.talker]\nplugin = "talk"')
        services = HostedServices(read_plans(file))
        observer = cast("Any", self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        services.privilegedStartService()
        services.startService()
        port = cast("Any", service)._port
        self.assertTrue(cast("Any", udp)._port.logPrefix().startswith("talker/"))

        done: defer.Deferred[None] = defer.Deferred()
        client = Protocol()
        cast("Any", client).connectionLost = lambda _: done.callback(None)
        endpoint = TCP4ClientEndpoint(cast("Any", reactor), "127.0.0.1", port.getHost().port)
        yield connectProtocol(endpoint, client)
        cast("Any", client.transport).write(b"x")
        yield done
        cast("Any", factory).logFile.write("modern access\n")
        yield services.stopService()

        self.assertEqual(
            ["talker/twisted.protocols.policies.WrappingFactory"], self.systems("made")
        )
        self.assertEqual(1, len(self.systems("modern data")))
        self.assertRegex(self.systems("modern data")[0], r"^talker/Talker.*,0,127\.0\.0\.1$")
        self.assertEqual(["talker"], self.systems("{log_io}"))
        closed = [
            event["log_system"] for event in self.events if "Closed)" in str(event.get("log_text"))
        ]
        self.assertEqual({"talker"}, set(closed))

    @defer.inlineCallbacks
    def test_a_port_in_use_frees_those_bound_before_it(self) -> Any:
        from twisted.internet import reactor

        real = cast("Any", reactor)
        taken = real.listenTCP(0, Factory(), interface="127.0.0.1")
        self.addCleanup(taken.stopListening)
        first = internet.TCPServer(0, Factory(), interface="127.0.0.1")
        endpoint = TCP4ServerEndpoint(real, taken.getHost().port, interface="127.0.0.1")
        second = StreamServerEndpointService(endpoint, Factory())
        made = iter([first, second])
        self.patch(hosted, "getPlugins", lambda _: [Maker("any", lambda _: next(made))])
        file = Path(self.mktemp())
        file.write_text('[services.one]\nplugin = "any"\n[services.two]\nplugin = "any"')
        services = HostedServices(read_plans(file))
        with self.assertRaisesRegex(CannotStart, "service 'two' .*address already in use"):
            services.privilegedStartService()
        yield services.stopService()
        self.assertIsNone(cast("Any", first)._port)
