"""The dropin: what it exports, and how little it costs those who only list it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.application.reactors import IReactorInstaller
from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface
from zope.interface.verify import verifyObject

from myproject.interfaces import IFactoryMaker
from tests.plugin.listing import SUBCOMMANDS, TOOLS, WIDE, commands
from tests.support import clean_environment

ROOT = Path(__file__).parents[2]

DROPIN = "twisted.plugins.myproject"

#: Does in a fresh process as if there were no dropin.cache anywhere, and none could be written.
NO_CACHE = """
import errno, json, os, sys
import twisted.plugin

class NoCache:
    @staticmethod
    def load(file):
        raise ValueError("not this time")
    @staticmethod
    def dumps(cache):
        raise OSError(errno.EROFS, "not this time")

twisted.plugin.pickle = NoCache
"""

#: Runs a tool's --help, then tells which modules that took.
HELP = (
    NO_CACHE
    + """
from importlib.metadata import entry_points
(tool,) = entry_points(group="console_scripts", name=sys.argv[1])
run, sys.argv[1:] = tool.load(), ["--help"]
try:
    run()
except SystemExit as exit:
    print(json.dumps({"status": exit.code, "modules": sorted(sys.modules)}))
"""
)

#: Reads one maker's options, found as Twisted finds it.
OPTIONS = (
    NO_CACHE
    + """
from twisted.application.service import IServiceMaker
makers = {maker.tapname: maker for maker in twisted.plugin.getPlugins(IServiceMaker)}
options = makers[sys.argv[1]].options
before = "twisted.internet.reactor" in sys.modules
options()
print(json.dumps([options.tapname, before, "twisted.internet.reactor" in sys.modules]))
"""
)

#: Imports the dropin after what every twistd has imported when it comes to list its plugins.
IMPORT = f"""
import json, sys
import twisted.plugins
from twisted.scripts import twistd
before = set(sys.modules)
__import__("{DROPIN}")
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def child(code: str, *words: str) -> str:
    """Run code in a fresh process that must have nothing to complain of; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *words],
        cwd="/",
        env=clean_environment(**WIDE),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"exited with {done.returncode}: {done.stderr}")
    return done.stdout


def plugins(interface: type[Interface]) -> dict[str, object]:
    """What the dropin exports for Twisted to find as one thing, by its name in the module."""
    exported = vars(import_module(DROPIN))
    return {
        name: one
        for name, one in exported.items()
        if IPlugin(one, None) is not None and interface(one, None) is not None
    }


def makers() -> dict[str, object]:
    """The makers of subcommands."""
    return plugins(IServiceMaker)


class ExportTests(SynchronousTestCase):
    def test_it_exports_three_makers_with_names_of_their_own(self) -> None:
        exported = [IServiceMaker(maker).tapname for maker in makers().values()]
        self.assertEqual(sorted(SUBCOMMANDS), sorted(exported))

    def test_each_maker_is_all_that_it_says_it_is(self) -> None:
        interfaces: list[type[Interface]] = [IPlugin, IServiceMaker, IFactoryMaker]
        for maker in makers().values():
            for interface in interfaces:
                self.assertTrue(verifyObject(interface, maker), (maker, interface))

    def test_each_maker_describes_itself_in_one_line(self) -> None:
        for maker in makers().values():
            description = IServiceMaker(maker).description
            self.assertEqual((True, 1), (bool(description), len(description.splitlines())))

    def test_it_exports_reactors_each_with_a_module_that_can_install_it(self) -> None:
        for reactor in plugins(IReactorInstaller).values():
            self.assertTrue(verifyObject(IReactorInstaller, reactor))
            installed: Any = IReactorInstaller(reactor)
            self.assertTrue(installed.shortName.startswith("corked"))
            self.assertEqual(1, len(installed.description.splitlines()))
            self.assertTrue(callable(import_module(installed.moduleName).install))
        self.assertEqual(
            ["corked", "corked-asyncio", "corked-poll", "corked-select"],
            sorted(IReactorInstaller(one).shortName for one in plugins(IReactorInstaller).values()),
        )

    def test_a_cache_of_it_is_refused_once_it_or_the_makers_class_has_changed(self) -> None:
        stamp = import_module(DROPIN).__doc__
        self.assertEqual((DROPIN, "myproject.maker"), getattr(stamp, "modules", None))

    def test_no_init_file_hides_twisted_from_the_dropin_or_the_dropin_from_twisted(self) -> None:
        """With one, this folder would be another ``twisted``, and not a place for its plugins."""
        self.assertEqual([], list((ROOT / "twisted").rglob("__init__.py*")))


class ListingTests(SynchronousTestCase):
    """Each in a fresh process, without a dropin.cache."""

    def test_help_lists_each_subcommand_with_its_description(self) -> None:
        described = {
            IServiceMaker(maker).tapname: IServiceMaker(maker).description
            for maker in makers().values()
        }
        for tool in TOOLS:
            listed = commands(child(HELP, tool))
            ours = {name: listed[name] for name in listed if name.startswith("myproject")}
            self.assertEqual(described, ours, tool)

    def test_help_imports_no_sibling_and_no_options_and_installs_no_reactor(self) -> None:
        for tool in TOOLS:
            result = json.loads(child(HELP, tool).splitlines()[-1])
            ours = [name for name in result["modules"] if name.startswith("myproject")]
            expected = ["myproject", "myproject.interfaces", "myproject.maker"]
            self.assertEqual([*expected, "myproject.plugincache"], ours, tool)
            self.assertNotIn("twisted.internet.reactor", result["modules"], tool)

    def test_the_dropin_imports_only_what_it_must(self) -> None:
        """All else is there already when ``twistd`` lists its plugins: a name here is a cost to all."""
        expected = ["myproject", "myproject.interfaces", "myproject.maker", "myproject.plugincache"]
        self.assertEqual([*expected, DROPIN], json.loads(child(IMPORT)))


class OptionsTests(SynchronousTestCase):
    """Each in a fresh process, without a dropin.cache: ``twistd --reactor`` must have its say."""

    def check(self, name: str) -> None:
        self.assertEqual([name, False, False], json.loads(child(OPTIONS, name)))

    def test_the_options_of_the_front_door_install_no_reactor(self) -> None:
        self.check("myproject")

    def test_the_options_of_echo_install_no_reactor(self) -> None:
        self.check("myproject-echo")

    def test_the_options_of_chat_install_no_reactor(self) -> None:
        self.check("myproject-chat")


class CommandsTests(SynchronousTestCase):
    """The tests' own reader of help texts."""

    words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)

    @given(st.dictionaries(words, st.lists(words).map(" ".join)), st.integers(1, 30))
    def test_all_subcommands_are_read_whatever_they_are_called(
        self, expected: dict[str, str], width: int
    ) -> None:
        lines = [f"    {name:{width}} {text}".rstrip() for name, text in expected.items()]
        text = "\n".join(
            ["Usage: twistd [options]", "Options:", "  -x  An x.", "Commands:", *lines]
        )
        self.assertEqual(expected, commands(text + "\n"))
