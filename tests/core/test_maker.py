"""The service maker: what Twisted sees of a subcommand, and that making its service opens nothing."""

from __future__ import annotations

import gc
import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from twisted.application.service import IService, IServiceMaker
from twisted.internet.protocol import Factory
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import myproject
from myproject.errors import CannotStart
from myproject.interfaces import IFactoryMaker
from myproject.maker import FactoryServiceMaker
from myproject.service import FactoryService
from tests.support import PATIENCE, clean_environment, install_module


class ShoutOptions(myproject.Options):
    tapname = "shout"


class FactoryServiceMakerTests(SynchronousTestCase):
    """A subcommand of a module made up here."""

    def setUp(self) -> None:
        self.module: Any = cast("Any", ModuleType("shout.tap"))
        self.module.Options = ShoutOptions
        self.module.makeFactory = self.make_factory
        self.factory = Factory()
        self.asked: list[object] = []
        install_module(self, "shout.tap", self.module)
        self.maker = FactoryServiceMaker("shout", "shout.tap", "Shouts.")

    def make_factory(self, options: object) -> Factory:
        self.asked.append(options)
        return self.factory

    def options(self) -> ShoutOptions:
        options = ShoutOptions({})
        options.resolve()
        return options

    def test_interfaces(self) -> None:
        """It provides what Twisted and the front door look for."""
        for interface in (IPlugin, IServiceMaker, IFactoryMaker):
            self.assertTrue(verifyObject(interface, self.maker), interface)

    def test_listing_imports_nothing(self) -> None:
        """Names and descriptions are there without the module."""
        maker = FactoryServiceMaker("shout", "no.such.module", "Shouts.")
        self.assertEqual(("shout", "Shouts."), (maker.tapname, maker.description))
        self.assertEqual("<FactoryServiceMaker shout of no.such.module>", repr(maker))
        self.assertRaises(ModuleNotFoundError, lambda: maker.options)

    def test_options(self) -> None:
        """The options are the module's."""
        self.assertIs(ShoutOptions, self.maker.options)

    def test_names_differ(self) -> None:
        """A module whose settings go by another name than the subcommand is refused, and told why."""
        maker = FactoryServiceMaker("whisper", "shout.tap", "Whispers.")
        with self.assertRaises(TypeError) as caught:
            _ = maker.options
        self.assertEqual(
            "shout.tap.Options.tapname is 'shout', but the dropin calls the subcommand 'whisper';"
            " make them the same",
            str(caught.exception),
        )

    def test_make_factory(self) -> None:
        """The factory is the module's, made from the options."""
        options = self.options()
        self.assertIs(self.factory, self.maker.makeFactory(options))
        self.assertEqual([options], self.asked)

    def test_make_service(self) -> None:
        """The service is named after the subcommand, and listens where the options say."""
        service = self.maker.makeService(self.options())
        assert isinstance(service, FactoryService)
        verifyObject(IService, service)
        self.assertEqual("shout", service.name)
        self.assertIs(self.factory, service.factory)
        self.assertEqual(("1235",), service.listening.descriptions)

    def test_garbage_is_not_looked_for_meanwhile(self) -> None:
        """Nor when it fails is the collector left off; where it was off before, it stays so."""
        self.addCleanup(gc.enable)
        seen = []

        def make(options: object) -> None:  # noqa: ARG001
            seen.append(gc.isenabled())
            raise CannotStart("enough seen")

        self.module.makeFactory = make
        self.patch(sys, "__stderr__", StringIO())
        for before in (True, False):
            (gc.enable if before else gc.disable)()
            self.assertRaises(CannotStart, self.maker.makeService, self.options())
            self.assertEqual(before, gc.isenabled())
            _ = self.maker.options
            self.assertEqual(before, gc.isenabled())
        self.assertEqual([False, False], seen)

    def test_module_cannot_start(self) -> None:
        """A module that refuses to make its factory says why on standard error, and ends the process."""

        def refuse(options: object) -> None:  # noqa: ARG001
            raise CannotStart("no voice; drink something")

        self.module.makeFactory = refuse
        terminal = StringIO()
        self.patch(sys, "__stderr__", terminal)
        self.assertRaises(CannotStart, self.maker.makeService, self.options())
        self.assertEqual("no voice; drink something\n", terminal.getvalue().partition(": ")[2])


#: Run in a fresh process: what makeService opens and starts, and what has installed a reactor.
PROBE = """
import os, sys, threading

def files():
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
        except FileNotFoundError:
            pass  # the listing's own
    return found

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

(maker,) = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == sys.argv[1]]
options = maker.options()
options.parseOptions([])
before = files(), threading.active_count(), sorted(os.listdir("."))
service = maker.makeService(options)
after = files(), threading.active_count(), sorted(os.listdir("."))
assert before == after, (before, after)
assert "twisted.internet.reactor" not in sys.modules, "a reactor is installed"
"""


class MakeServiceTests(SynchronousTestCase):
    """
    ``makeService`` opens no file and no socket, starts no thread and installs no reactor.

    ``twistd`` forks after it: threads do not survive that. The reactor that reading the options may install
    (tests.core.test_reactor_choice) does, and is left to others here.
    """

    def probe(self, tapname: str) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROBE, tapname],
            cwd=folder,
            env=clean_environment(MYPROJECT_REACTOR="default"),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual((0, "", ""), (done.returncode, done.stdout, done.stderr))

    def test_front_door(self) -> None:
        self.probe("myproject")

    def test_echo(self) -> None:
        self.probe("myproject-echo")

    def test_chat(self) -> None:
        self.probe("myproject-chat")
