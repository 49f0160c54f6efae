"""
A dropin whose file is replaced by an older one, as uv does it: the cache must not be believed.

Each test has a plugin package of its own, in a temporary folder, and plays several processes one
after another: what an earlier one imported is forgotten before the next.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from pathlib import Path
from types import ModuleType

from hypothesis import given
from hypothesis import strategies as st
from twisted.plugin import getCache, getPlugins
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Attribute, Interface

from myproject.plugincache import stamped

PACKAGE = "stamped_plugins"

CLASS = """
from twisted.plugin import IPlugin
from zope.interface import implementer
from tests.plugin.test_plugincache import IAlsoNamed, INamed

@implementer(IPlugin, {interfaces})
class Plugin:
    def __init__(self, name):
        self.name = name
"""

STAMP = """
from myproject.plugincache import stamped
__doc__ = stamped(__doc__, __name__, "stamped_class")
"""


class INamed(Interface):
    """What the plugins of these tests are found by."""

    name: str = Attribute("The plugin's name.")


class IAlsoNamed(INamed):
    """What a later version of them provides as well."""


class CacheTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.package = self.folder / PACKAGE
        self.package.mkdir(parents=True)
        (self.package / "__init__.py").touch()
        self.cache = self.package / "dropin.cache"
        self.write("stamped_class.py", CLASS.format(interfaces="INamed"))
        # A .pyc knows its source by time and size alone, and here both may stay the same.
        self.patch(sys, "dont_write_bytecode", True)
        sys.path.insert(0, str(self.folder.resolve()))
        self.addCleanup(sys.path.remove, str(self.folder.resolve()))
        self.addCleanup(self.forget)

    def forget(self) -> None:
        """Be a new process, as far as these plugins are concerned."""
        for name in [name for name in sys.modules if name.startswith("stamped_")]:
            del sys.modules[name]
        importlib.invalidate_caches()

    def write(self, name: str, text: str) -> None:
        """Install a file as uv does: the time on it is that of long ago."""
        path = self.folder / name
        path.write_text(text)
        os.utime(path, (1_000_000_000, 1_000_000_000))

    def install(self, *names: str, dropin: str = "dropin", stamp: str = STAMP) -> None:
        """Install a dropin with a plugin of each name."""
        plugins = "".join(f"{name} = Plugin({name!r})\n" for name in names)
        text = f'"""The dropin."""\nfrom stamped_class import Plugin\n{stamp}\n{plugins}'
        self.write(f"{PACKAGE}/{dropin}.py", text)

    def imported(self) -> ModuleType:
        return importlib.import_module(PACKAGE)

    def listed(self, interface: type[INamed] = INamed) -> list[str]:
        """What a new process lists."""
        self.forget()
        return sorted(plugin.name for plugin in getPlugins(interface, self.imported()))


class UpgradeTests(CacheTestCase):
    def test_twisted_alone_goes_by_times_and_misses_an_added_plugin(self) -> None:
        """The trouble itself; once this fails, Twisted needs no help from us."""
        self.install("one", stamp="")
        self.assertEqual(["one"], self.listed())
        self.install("one", "two", stamp="")
        self.assertEqual(["one"], self.listed())

    def test_an_added_plugin_is_listed_at_once(self) -> None:
        self.install("one")
        self.assertEqual(["one"], self.listed())
        self.install("one", "two")
        self.assertEqual(["one", "two"], self.listed())

    def test_a_removed_plugin_is_gone_at_once_without_a_traceback(self) -> None:
        self.install("one", "two")
        self.assertEqual(["one", "two"], self.listed())
        self.install("one")
        self.assertEqual(["one"], self.listed())
        self.assertEqual([], self.flushLoggedErrors())

    def test_what_the_plugins_class_provides_now_is_found_by_it(self) -> None:
        """The dropin itself is the same; the cache is out of date all the same."""
        self.install("one")
        self.assertEqual([], self.listed(IAlsoNamed))
        self.write("stamped_class.py", CLASS.format(interfaces="IAlsoNamed"))
        self.assertEqual(["one"], self.listed(IAlsoNamed))

    def test_where_the_cache_cannot_be_written_each_run_is_right(self) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError(13, "read-only")

        self.install("one")
        self.assertEqual(["one"], self.listed())
        self.patch(FilePath, "setContent", refuse)
        self.install("two", "three")
        self.assertEqual(["three", "two"], self.listed())
        self.assertEqual(["three", "two"], self.listed())

    def test_the_cache_is_written_once_for_each_upgrade(self) -> None:
        self.install("one")
        self.listed()
        self.install("one", "two")
        self.listed()
        written = self.cache.stat()
        self.assertEqual(["one", "two"], self.listed())
        # Twisted replaces the whole file: another one would have another number.
        self.assertEqual(written.st_ino, self.cache.stat().st_ino)

    def test_a_good_cache_spares_the_import_of_the_dropin(self) -> None:
        self.install("one")
        self.listed()
        self.forget()
        cached = getCache(self.imported())["dropin"]
        self.assertEqual(["one"], [plugin.name for plugin in cached.plugins])
        self.assertNotIn(f"{PACKAGE}.dropin", sys.modules)

    def test_a_cache_rewritten_for_another_dropin_still_knows_this_one(self) -> None:
        self.install("one")
        self.listed()
        self.install("other", dropin="later")
        self.assertEqual(["one", "other"], self.listed())
        self.install("two")
        self.assertEqual(["other", "two"], self.listed())

    def test_a_process_that_outlives_an_upgrade_vouches_only_for_what_it_read(self) -> None:
        self.install("one")
        self.listed()
        self.install("one", "two")
        self.cache.unlink()
        list(getPlugins(INamed, self.imported()))  # the old process writes what it knows
        self.assertTrue(self.cache.exists())
        self.assertEqual(["one", "two"], self.listed())


class StampTests(CacheTestCase):
    def test_the_text_is_the_docstrings_own(self) -> None:
        self.install("one")
        module = importlib.import_module(f"{PACKAGE}.dropin")
        self.assertEqual("The dropin.", module.__doc__)

    def test_without_docstrings_the_text_is_empty(self) -> None:
        self.install("one")
        self.assertEqual("", stamped(None, f"{PACKAGE}.dropin"))

    def test_a_module_without_a_file_of_its_own_gets_a_plain_text(self) -> None:
        self.patch(sys.modules["__main__"], "__spec__", None)
        for module in ("sys", f"{PACKAGE}.absent", "__main__"):
            self.assertIs(str, type(stamped("A text.", module)), module)

    @given(st.binary(), st.binary(), st.text())
    def test_a_pickle_can_be_read_while_and_only_while_the_file_is_the_same(
        self, before: bytes, after: bytes, text: str
    ) -> None:
        self.forget()
        file = self.package / "dropin.py"
        file.write_bytes(before)
        pickled = pickle.dumps(stamped(text, f"{PACKAGE}.dropin"))
        self.assertEqual(text, pickle.loads(pickled))
        file.write_bytes(after)
        try:
            found = pickle.loads(pickled)
        except pickle.UnpicklingError:
            found = None
        self.assertEqual(text if before == after else None, found)

    def test_a_pickle_cannot_be_read_once_the_file_has_gone(self) -> None:
        self.install("one")
        pickled = pickle.dumps(stamped("A text.", f"{PACKAGE}.dropin"))
        (self.package / "dropin.py").unlink()
        self.forget()
        self.assertRaises(ImportError, pickle.loads, pickled)
