"""
Twisted finds the subcommands however they were installed, upgraded or removed.

These install the project many times, which takes a minute or two, so they run only where
MYPROJECT_DISCOVERY is set: in the nox session ``discovery``.
"""

from __future__ import annotations

import functools
import os
import tarfile
import zipfile
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from twisted.application.service import IServiceMaker
from twisted.trial.unittest import SynchronousTestCase

from tests.plugin.installing import (
    NEW,
    OLD,
    Environment,
    checkout,
    make_read_only,
    release,
)
from tests.plugin.listing import TOOLS
from tests.support import exchange, free_port

if TYPE_CHECKING:
    _Base = SynchronousTestCase
else:
    _Base = object

SKIP = (
    None
    if os.environ.get("MYPROJECT_DISCOVERY")
    else "it takes minutes; set MYPROJECT_DISCOVERY=1, or run nox -s discovery"
)

#: Enough to fill buffers, and no pattern that a mangled stream could have by chance.
DATA = bytes(range(256)) * 64


def described() -> dict[str, str]:
    """What this version's help says of each of its subcommands."""
    exported = vars(import_module("twisted.plugins.myproject")).values()
    # Reactors are plugins as well, of another kind.
    makers = [one for one in exported if IServiceMaker.providedBy(one)]
    return {maker.tapname: maker.description for maker in makers}


def ours(listed: dict[str, str]) -> dict[str, str]:
    """The subcommands of this project among those of all projects."""
    return {name: text for name, text in listed.items() if name.startswith("myproject")}


@functools.cache
def installed(form: str, installer: str, copy: str = "kept") -> Environment:
    """An environment with the project in it; those who would spoil it ask for a copy of their own."""
    environment = Environment(f"{form}-{installer}-{copy}", installer)
    if form == "editable":
        environment.install("--editable", checkout(f"{installer}-{copy}"))
    else:
        environment.install(getattr(release(NEW), form))
    return environment


def cached(environment: Environment) -> os.stat_result:
    """What is known of the cache's file."""
    return (environment.plugins / "dropin.cache").stat()


@functools.cache
def unpack() -> None:
    """Let uv unpack both versions, earlier than any cache that these tests have Twisted write."""
    environment = Environment("unpack", "uv-hardlink")
    environment.install(release(NEW).wheel)
    environment.install(release(OLD).wheel)


class DistributionTests(SynchronousTestCase):
    """What is in the files that people download, to the last one."""

    skip = SKIP

    def setUp(self) -> None:
        self.release = release(NEW)

    def sources(self) -> set[str]:
        """The files of the checkout that a developer wrote."""
        tree = self.release.tree
        files = (path for path in tree.rglob("*") if path.is_file())
        made = {".pyc", ".cache"}
        return {str(path.relative_to(tree)) for path in files if path.suffix not in made}

    def test_the_wheel_has_the_packages_the_dropin_and_nothing_else(self) -> None:
        with zipfile.ZipFile(self.release.wheel) as archive:
            found = set(archive.namelist())
        info = f"myproject-{NEW}.dist-info"
        expected = {
            f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")
        }
        for path in self.sources():
            if path.startswith("packages/"):
                expected.add(path.split("/", 2)[2])
            elif path.startswith("twisted/"):
                expected.add(path)
        self.assertEqual(sorted(expected), sorted(found))

    def test_the_wheel_is_typed_and_has_one_dropin_and_no_tests(self) -> None:
        with zipfile.ZipFile(self.release.wheel) as archive:
            found = archive.namelist()
        typed = [f"{name}/py.typed" for name in ("myproject", "myproject_chat", "myproject_echo")]
        self.assertEqual(typed, sorted(name for name in found if name.endswith("py.typed")))
        twisted = [name for name in found if name.startswith("twisted/")]
        self.assertEqual(["twisted/plugins/myproject.py"], twisted)
        tops = {name.split("/")[0] for name in found}
        packages = {"myproject", "myproject_chat", "myproject_echo", "twisted"}
        self.assertEqual(packages | {f"myproject-{NEW}.dist-info"}, tops)

    def test_the_sdist_has_all_sources_and_no_cache(self) -> None:
        with tarfile.open(self.release.sdist) as archive:
            found = {name.partition("/")[2] for name in archive.getnames()}
        self.assertEqual(sorted(self.sources() | {"PKG-INFO"}), sorted(found))


class _InstallationTests(_Base):
    """One way to install the project: what Twisted finds, what runs, what is left of it afterwards."""

    form: ClassVar[str]
    installer: ClassVar[str]

    def test_both_tools_list_the_subcommands_with_their_descriptions(self) -> None:
        environment = installed(self.form, self.installer)
        for tool in TOOLS:
            self.assertEqual(described(), ours(environment.listed(tool)), tool)

    def test_echo_serves_and_ends_when_asked(self) -> None:
        environment, port = installed(self.form, self.installer), free_port()
        server = environment.start(self, "myproject-echo", "--port", str(port)).wait_for_port(port)
        self.assertEqual(DATA, exchange(port, DATA))
        self.assertEqual(0, server.stop())
        self.assertNotIn("Traceback", server.log)

    def test_nothing_is_left_once_it_is_uninstalled(self) -> None:
        environment = installed(self.form, self.installer, copy="doomed")
        self.assertEqual(described(), ours(environment.listed("twistd")))
        environment.uninstall()
        for tool in TOOLS:
            listed = environment.listed(tool)
            self.assertEqual({}, ours(listed), tool)
            self.assertIn("web", listed, tool)
        self.assertEqual([], list(environment.site_packages.rglob("*myproject*")))
        self.assertNotIn(b"myproject", (environment.plugins / "dropin.cache").read_bytes())


class WheelByPipTests(_InstallationTests, SynchronousTestCase):
    skip = SKIP
    form, installer = "wheel", "pip"

    def test_echo_serves_in_the_background_too(self) -> None:
        environment, port = installed(self.form, self.installer), free_port()
        daemon = environment.start_daemon(self, "myproject-echo", "--port", str(port))
        daemon.wait_for_port(port)
        self.assertEqual(DATA, exchange(port, DATA))
        daemon.stop()
        self.assertFalse(daemon.pidfile.exists())
        self.assertIn("Server Shut Down.", daemon.log)
        self.assertNotIn("Traceback", daemon.log)


class WheelByUvTests(_InstallationTests, SynchronousTestCase):
    skip = SKIP
    form, installer = "wheel", "uv"


class SdistByPipTests(_InstallationTests, SynchronousTestCase):
    skip = SKIP
    form, installer = "sdist", "pip"


class SdistByUvTests(_InstallationTests, SynchronousTestCase):
    skip = SKIP
    form, installer = "sdist", "uv"


class EditableByPipTests(_InstallationTests, SynchronousTestCase):
    skip = SKIP
    form, installer = "editable", "pip"


class EditableByUvTests(_InstallationTests, SynchronousTestCase):
    skip = SKIP
    form, installer = "editable", "uv"


class _UpgradeTests(_Base):
    """One way to replace an installed version, Twisted's cache of it in place, by another."""

    installer: ClassVar[str]

    #: Whether the files that take the old ones' place are older than the cache, and so hide.
    hides: ClassVar[bool]

    def replaced(self, before: str, after: str, case: str) -> Environment:
        """An environment in which a version was listed by ``twistd``, then replaced."""
        unpack()
        environment = Environment(f"{case}-{self.installer}", self.installer)
        environment.install(release(before).wheel)
        self.assertEqual(before == NEW, "myproject-chat" in environment.listed("twistd"))
        environment.install(release(after).wheel)
        changed = (environment.plugins / "myproject.py").stat().st_mtime
        self.assertEqual(self.hides, changed < cached(environment).st_mtime)
        return environment

    def test_an_added_subcommand_is_listed_at_once(self) -> None:
        environment = self.replaced(OLD, NEW, "added")
        self.assertEqual(described(), ours(environment.listed("twistd")))

    def test_a_removed_subcommand_is_gone_at_once(self) -> None:
        environment = self.replaced(NEW, OLD, "removed")
        self.assertEqual(["myproject", "myproject-echo"], sorted(ours(environment.listed("twist"))))

    def test_the_cache_is_good_again_after_one_run(self) -> None:
        environment = self.replaced(OLD, NEW, "again")
        environment.listed("twistd")
        rewritten = cached(environment).st_mtime_ns
        self.assertEqual(described(), ours(environment.listed("twistd")))
        self.assertEqual(rewritten, cached(environment).st_mtime_ns)


class UpgradeByPipTests(_UpgradeTests, SynchronousTestCase):
    skip = SKIP
    installer, hides = "pip", False


class UpgradeByUvWithHardLinksTests(_UpgradeTests, SynchronousTestCase):
    """What uv does on Linux, unless the file system can clone files; clones keep the time as well."""

    skip = SKIP
    installer, hides = "uv-hardlink", True


class UpgradeByUvWithSymbolicLinksTests(_UpgradeTests, SynchronousTestCase):
    skip = SKIP
    installer, hides = "uv-symlink", True


class UpgradeByUvWithCopiesTests(_UpgradeTests, SynchronousTestCase):
    """What uv does if its cache is on another disk."""

    skip = SKIP
    installer, hides = "uv-copy", False


class ReadOnlyTests(SynchronousTestCase):
    """Nobody may write to the environment, not even root, who runs the tools here without its rights."""

    skip = SKIP

    def install(self, name: str, number: str = NEW) -> Environment:
        unpack()
        environment = Environment(f"read-only-{name}", "uv-hardlink")
        environment.install(release(number).wheel)
        return environment

    def test_without_a_cache_the_subcommands_are_listed_without_complaint(self) -> None:
        environment = self.install("without-cache")
        make_read_only(self, environment.path)
        for tool in TOOLS:
            self.assertEqual(described(), ours(environment.listed(tool, restricted=True)), tool)
        self.assertFalse((environment.plugins / "dropin.cache").exists())

    def test_with_the_cache_of_another_version_the_subcommands_are_this_versions(self) -> None:
        environment = self.install("upgraded", OLD)
        environment.listed("twistd")
        environment.install(release(NEW).wheel)
        before = cached(environment).st_mtime_ns
        make_read_only(self, environment.path)
        for tool in TOOLS:
            self.assertEqual(described(), ours(environment.listed(tool, restricted=True)), tool)
        self.assertEqual(before, cached(environment).st_mtime_ns)

    def test_with_the_cache_of_an_uninstalled_version_twisted_works_without_complaint(self) -> None:
        environment = self.install("uninstalled")
        environment.listed("twistd")
        environment.uninstall()
        make_read_only(self, environment.path)
        for tool in TOOLS:
            listed = environment.listed(tool, restricted=True)
            self.assertEqual(({}, True), (ours(listed), "web" in listed), tool)

    def test_echo_serves_and_logs_no_traceback(self) -> None:
        environment, port = self.install("serves"), free_port()
        make_read_only(self, environment.path)
        words = ("myproject-echo", "--port", str(port))
        server = environment.start(self, *words, restricted=True).wait_for_port(port)
        self.assertEqual(DATA, exchange(port, DATA))
        server.stop()
        self.assertIn("Unable to write to plugin cache", server.log)
        self.assertNotIn("Traceback", server.log)
