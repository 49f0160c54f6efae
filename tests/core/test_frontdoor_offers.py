"""What the front door offers: its factories' lives, and which subcommands stand behind it."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from twisted.application import internet
from twisted.application.service import IService, Service
from twisted.internet import defer
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.plugin import IPlugin
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

import myproject
from myproject import offers, tap
from myproject.errors import SettingError
from myproject.frontdoor import FrontDoor, MyFactory
from myproject.hosted import HostedServices
from myproject.interfaces import IFactoryMaker, IHasServices
from myproject.offers import choose_offers
from myproject.settings import ports, text


class Noted(Service):
    """Writes down its life."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def privilegedStartService(self) -> None:
        self.notes.append(f"{self.name} privileged")

    def startService(self) -> None:
        super().startService()
        self.notes.append(f"{self.name} start")

    def stopService(self) -> Any:
        super().stopService()
        self.notes.append(f"{self.name} stop")


class NotedFactory(Factory):
    noisy = False

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def startFactory(self) -> None:
        self.notes.append(f"{self.name} factory start")

    def stopFactory(self) -> None:
        self.notes.append(f"{self.name} factory stop")


@implementer(IHasServices)
class StoreFactory(NotedFactory):
    """Needs a service beside its ports."""

    def services(self) -> list[IService]:
        return [cast("IService", Noted("store", self.notes))]


class FailingFactory(NotedFactory):
    def startFactory(self) -> None:
        raise ZeroDivisionError


@implementer(IPlugin, IFactoryMaker)
class Maker:
    """An installed subcommand; its options are what a test says."""

    description = "for tests"

    def __init__(self, tapname: str, options: Any) -> None:
        self.tapname = tapname
        self.options = options

    def makeFactory(self, options: Any) -> Any:
        factory = Factory()
        cast("Any", factory).options = options
        return factory


class SiblingOptions(myproject.Options):
    tapname = "myproject-loud"
    port = ports(7)
    word = text("hey", help="What to say.")


class OtherOptions(usage.Options):
    """Plain Twisted options of a third party."""

    optParameters = [["size", None, "3", "How large."]]  # noqa: RUF012 (Twisted's way)


class RefusingOptions(usage.Options):
    def postOptions(self) -> None:
        raise usage.UsageError("needs a\nsize")


def broken() -> Any:
    raise ImportError("no such\nmodule")


def leaving() -> Any:
    raise SystemExit


class LifeTests(SynchronousTestCase):
    """The factories behind the door start and stop with it."""

    def setUp(self) -> None:
        self.notes: list[str] = []
        self.plain = NotedFactory("plain", self.notes)
        self.store = StoreFactory("storing", self.notes)

    def door(self, **extra: Factory) -> MyFactory:
        door = MyFactory({"plain": self.plain, "storing": self.store, **extra})
        door.noisy = False
        return door

    def test_they_start_with_the_first_port_and_stop_with_the_last(self) -> None:
        door = self.door()
        door.services()
        door.doStart()
        door.doStart()
        self.assertEqual(["plain factory start", "storing factory start"], self.notes)
        self.notes.clear()
        door.doStop()
        self.assertEqual([], self.notes)
        door.doStop()
        self.assertEqual(["storing factory stop", "plain factory stop"], self.notes)

    def test_further_services_are_handed_to_who_asks(self) -> None:
        beside = Noted("beside", self.notes)
        door = MyFactory({"storing": self.store}, beside=lambda: [cast("IService", beside)])
        found = IHasServices(door).services()
        self.assertEqual(["beside", "store"], [cast("Any", one).name for one in found])

    def test_further_services_run_by_themselves_if_nobody_asks(self) -> None:
        door = self.door()
        door.doStart()
        self.assertEqual(["store privileged", "store start"], self.notes[:2])
        self.notes.clear()
        door.doStop()
        self.assertEqual("store stop", self.notes[-1])
        door.doStart()
        self.assertEqual(["store privileged", "store start"], self.notes[3:5])

    def test_a_service_that_does_not_stop_is_logged(self) -> None:
        self.patch(Noted, "stopService", lambda _: defer.fail(ZeroDivisionError()))
        door = self.door()
        door.doStart()
        door.doStop()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_if_one_fails_to_start_the_others_stop(self) -> None:
        door = self.door(failing=FailingFactory("failing", self.notes))
        with self.assertRaises(ZeroDivisionError):
            door.doStart()
        self.assertEqual(
            ["storing factory stop", "plain factory stop", "store stop"], self.notes[-3:]
        )

    def test_it_serves_as_any_factory_does(self) -> None:
        """As in Twisted's own how-to, with a port of its own."""
        reactor = MemoryReactorClock()
        service = internet.TCPServer(1235, self.door(), reactor=reactor)
        service.startService()
        [(port, factory, *_)] = reactor.tcpServers
        self.assertEqual(1235, port)
        self.assertIsInstance(factory.buildProtocol(cast("Any", None)), FrontDoor)

    def test_its_clock_is_the_reactor_unless_it_is_given_another(self) -> None:
        from twisted.internet import reactor

        self.assertIs(reactor, MyFactory({}).clock)
        clock = cast("Any", Clock())
        self.assertIs(clock, MyFactory({}, clock=clock).clock)


class OfferCase(SynchronousTestCase):
    """Four installed subcommands."""

    def setUp(self) -> None:
        self.makers = [
            Maker("myproject", myproject.Options),
            Maker("myproject-loud", SiblingOptions),
            Maker("myproject-Alone", OtherOptions),
            Maker("foreign", OtherOptions),
            Maker("FOREIGN", OtherOptions),
            Maker("two words", OtherOptions),
            Maker("refusing", RefusingOptions),
            Maker("broken", broken),
            Maker("leaving", leaving),
        ]
        self.asked: list[Any] = []

        def plugins(interface: Any) -> Iterable[Maker]:
            self.asked.append(interface)
            return self.makers

        self.patch(offers, "getPlugins", plugins)
        self.config = Path(self.mktemp())

    def refusal(self, *names: str, environ: Any = ()) -> str:
        with self.assertRaises(SettingError) as caught:
            choose_offers(names, source="here", environ=dict(environ))
        self.assertEqual(1, len(str(caught.exception).splitlines()))
        return str(caught.exception)


class OfferTests(OfferCase):
    """Which subcommands are offered, and with which settings."""

    def test_by_default_this_projects_own_are_offered(self) -> None:
        names = [offer.name for offer in choose_offers(environ={})]
        self.assertEqual(["myproject-Alone", "myproject-loud"], names)

    def test_others_are_offered_when_they_are_named(self) -> None:
        chosen = choose_offers(["foreign", "foreign"], environ={})
        self.assertEqual(["foreign"], [offer.name for offer in chosen])
        self.assertEqual("3", cast("Any", chosen[0].make()).options["size"])

    def test_settings_come_from_the_environment_and_the_file(self) -> None:
        self.config.write_text("[myproject-loud]\nport = 8\nword = 'ho'\n")
        self.patch(
            myproject.options, "_installed", lambda: [maker.tapname for maker in self.makers]
        )
        [offer] = choose_offers(
            ["myproject-loud"], config=self.config, environ={"MYPROJECT_LOUD_WORD": "ha"}
        )
        options = cast("SiblingOptions", offer.options)
        self.assertEqual((("8",), "ha"), (options.port, options.word))

    def test_a_wrong_setting_is_refused_with_its_source(self) -> None:
        said = self.refusal("myproject-loud", environ={"MYPROJECT_LOUD_PORT": "x"})
        self.assertIn("--port, from MYPROJECT_LOUD_PORT in the environment", said)

    def test_the_door_is_not_behind_itself(self) -> None:
        self.assertEqual(
            "--offer, from here: myproject is the front door itself; name what is behind it",
            self.refusal("myproject"),
        )

    def test_an_unknown_name_is_refused_with_the_nearest(self) -> None:
        said = self.refusal("myproject-luod")
        self.assertIn("'myproject-luod' (did you mean myproject-loud?)", said)
        self.assertIn("choose from: FOREIGN, broken, foreign, leaving, myproject-Alone", said)

    def test_if_nothing_is_installed_it_says_so(self) -> None:
        self.makers.clear()
        self.assertIn("nothing that is installed can be offered", self.refusal("echo"))
        self.assertEqual([], choose_offers(environ={}))

    def test_a_subcommand_that_cannot_be_offered_says_why(self) -> None:
        for name, words in (
            ("two words", "'two words' is not a word of printable ASCII"),
            ("refusing", "refusing cannot be offered: needs a size"),
            ("broken", "broken cannot be offered: no such module"),
            ("leaving", "leaving cannot be offered: SystemExit"),
        ):
            self.assertIn(words, self.refusal(name))

    def test_names_that_differ_in_case_only_are_refused(self) -> None:
        said = self.refusal("foreign", "FOREIGN")
        self.assertIn("'FOREIGN' and 'foreign' differ in case only", said)

    def test_a_factory_alone_finds_the_siblings_when_it_is_first_needed(self) -> None:
        factory = MyFactory()
        self.assertEqual([], self.asked)
        factory.doStart()
        self.addCleanup(factory.doStop)
        self.assertEqual([IFactoryMaker], self.asked)
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(b"help\n")
        self.assertEqual(b"myproject-Alone\r\nmyproject-loud\r\n", transport.value())
        protocol.connectionLost()
        self.assertEqual([IFactoryMaker], self.asked)


class TapTests(OfferCase):
    """The options of ``twistd myproject``."""

    def options(self, *words: str, **environ: str) -> tap.Options:
        options = tap.Options(environ)
        options.parseOptions(words)
        return options

    def test_the_factory_offers_what_the_options_say(self) -> None:
        options = self.options("--offer", "foreign", "--name-timeout", "2.5")
        factory = tap.makeFactory(options)
        self.assertEqual([b"foreign"], list(factory.offered))
        self.assertEqual(2.5, factory.timeout)
        self.assertEqual([], factory.services())
        self.assertEqual(("1235",), options.port)

    def test_siblings_take_their_settings_from_the_same_environment(self) -> None:
        options = self.options("--offer", "myproject-loud", MYPROJECT_LOUD_WORD="ha")
        [(_, factory)] = tap.makeFactory(options).offered.values()
        self.assertEqual("ha", cast("Any", factory).options.word)

    def test_a_mistake_is_one_line(self) -> None:
        errors = io.StringIO()
        self.patch(__import__("sys"), "stderr", errors)
        with self.assertRaises(SystemExit) as caught:
            self.options(MYPROJECT_OFFER="nonesuch")
        self.assertEqual(64, caught.exception.code)
        self.assertEqual(1, len(errors.getvalue().splitlines()))
        self.assertIn("MYPROJECT_OFFER in the environment", errors.getvalue())

    def test_hosted_services_are_made_when_they_are_asked_for(self) -> None:
        file = Path(self.mktemp())
        file.write_text('[services.one]\nplugin = "portforward"\narguments = ["-p", "tcp:0"]')
        factory = tap.makeFactory(self.options("--services", str(file)))
        [hosted] = factory.services()
        self.assertIsInstance(hosted, HostedServices)
        cast("Any", hosted).stopService()


class InstalledTests(TestCase):
    """With the plugins that are really installed."""

    def test_the_echo_server_is_among_the_siblings(self) -> None:
        [offer] = choose_offers(["myproject-echo"], environ={})
        factory = MyFactory({offer.name: offer.make()}, clock=cast("Any", Clock()))
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        cast("Any", transport).protocol = protocol
        protocol.makeConnection(transport)
        protocol.dataReceived(b"MYPROJECT-ECHO\r\nhello")
        self.assertEqual(b"+myproject-echo\r\nhello", transport.value())
