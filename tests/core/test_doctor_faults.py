"""
The doctor finds each fault that it knows, made for real in a fresh environment.

An environment is a virtual one with links to the packages that run these tests, and with a folder of
plugins of its own, so that no cache or dropin of theirs plays a part.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import twisted
from myproject.doctor import CODES
from tests.plugin.installing import Environment, make_read_only
from tests.support import PATIENCE, clean_environment

PACKAGES = Path(__file__).parents[2] / "packages"

MAKER = """
from twisted.application.service import ServiceMaker
{export} = ServiceMaker("{name}", "nowhere.tap", "About {name}.", "{name}")
"""

ANY_CLASS = """
from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin
from zope.interface import implementer

@implementer({interfaces})
class Maker:
    tapname = {tapname}
    description = "Does it."
    options = None
    def makeService(self, options):
        pass
"""


def maker(name: str, export: str = "maker") -> str:
    """A dropin with one maker, as Twisted's documentation has it."""
    return MAKER.format(name=name, export=export)


class Fresh(Environment):
    """An environment with Twisted and this project, and folders for what a test puts beside them."""

    def __init__(self) -> None:
        super().__init__("doctor", "pip")
        for folder in map(Path, dict.fromkeys(sys.path)):
            if folder.name in {"site-packages", "dist-packages"}:
                self._link_children(folder)
        for package in PACKAGES.glob("*/myproject*"):
            (self.site_packages / package.name).symlink_to(package)
        original = Path(twisted.__file__).parent
        self.plugins.mkdir(parents=True)
        for child in original.iterdir():
            if child.name != "plugins":
                (self.plugins.parent / child.name).symlink_to(child)
        for dropin in ("__init__", "cred_anonymous", "twisted_web"):
            shutil.copy(original / "plugins" / f"{dropin}.py", self.plugins)
        shutil.copy(PACKAGES.parent / "twisted" / "plugins" / "myproject.py", self.plugins)
        self.extra: list[Path] = []

    def _link_children(self, folder: Path) -> None:
        for child in folder.iterdir():
            target = self.site_packages / child.name
            # Of the .pth files, only that which measures the coverage of processes, while it does.
            measured = "COVERAGE_PROCESS_CONFIG" in os.environ and "coverage" in child.name
            wanted = child.suffix != ".pth" or measured
            ours = child.name.startswith(("twisted", "Twisted", "myproject", "__pycache__"))
            if wanted and not ours and not target.exists():
                target.symlink_to(child)

    def folder(self, name: str) -> Path:
        """Make a folder that is on the path, as the source of a project is that someone works on."""
        made = self.unrelated.parent / f"{self.unrelated.name}-{name}"
        (made / "twisted" / "plugins").mkdir(parents=True)
        self.extra.append(made)
        return made

    def write(self, file: Path, text: str = "") -> Path:
        """Write a file, and the folders that it lies in."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def ask(
        self, *words: str, restricted: bool = False, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command, from a folder that has nothing to do with any of it."""
        # As "-m myproject doctor" does, which a test below uses; that may import Twisted first.
        code = "import sys; from myproject.doctor import main; sys.exit(main(sys.argv[1:]))"
        line = self.command("python", "-c", code, *words, restricted=restricted)
        return self.run(*line, **environ)

    def run(self, *line: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run anything with the folders on the path."""
        path = os.pathsep.join(map(str, self.extra))
        # No twistd but this environment's, and none of those that the tests run with.
        programs = os.pathsep.join([str(self.path / "bin"), "/usr/bin", "/bin"])
        return subprocess.run(
            line,
            cwd=self.unrelated,
            env=clean_environment(**{"PYTHONPATH": path, "PATH": programs, **environ}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def warm(self) -> None:
        """Have Twisted write its caches."""
        code = "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))"
        done = self.run(*self.command("python", "-c", code))
        if done.returncode != 0:
            raise AssertionError(done.stderr)

    def snapshot(self) -> dict[str, int]:
        """Every file below, without bytecode of packages that were linked, and its time."""
        places = [self.path, *self.extra]
        files = (file for place in places for file in place.rglob("*") if file.is_file())
        return {str(file): file.stat().st_mtime_ns for file in files}


def age(*files: Path) -> None:
    """Make files as old as uv or dpkg make them, which keep the time at which they were packed."""
    for file in files:
        os.utime(file, (1, 1))


class FaultTests(SynchronousTestCase):
    """What several need."""

    def asked(
        self, environment: Fresh, *words: str, status: int | None = None, **rest: Any
    ) -> dict[str, Any]:
        """What the command tells as JSON."""
        done = environment.ask("--json", *words, **rest)
        self.assertEqual("", done.stderr)
        told: dict[str, Any] = json.loads(done.stdout)
        self.assertEqual(0 if told["ok"] else 1, done.returncode)
        if status is not None:
            self.assertEqual(status, done.returncode, done.stdout)
        self.assertEqual(set(), {one["code"] for one in told["findings"]} - set(CODES))
        return told

    def found(self, told: dict[str, Any], code: str, where: Path | str) -> dict[str, Any]:
        """The one finding of a code about a place."""
        places = [(one["code"], one["where"]) for one in told["findings"]]
        self.assertEqual(1, places.count((code, str(where))), f"{code} {where}: {places}")
        return dict(told["findings"][places.index((code, str(where)))])


class HealthTests(FaultTests):
    def test_all_is_well_in_few_lines_and_nothing_is_written(self) -> None:
        environment = Fresh()
        project = environment.folder("project")
        environment.write(project / "twisted/plugins/mine.py", maker("mine"))
        environment.warm()
        before = environment.snapshot()
        done = environment.ask()
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        lines = done.stdout.splitlines()
        self.assertEqual(
            f"Python {environment.path}/bin/python, Twisted {twisted.__version__}", lines[0]
        )
        self.assertEqual(
            [
                f"folder {environment.plugins}: 3 dropins, cache good",
                f"folder {project}/twisted/plugins: 1 dropin, cache good",
                "subcommands: mine, myproject, myproject-chat, myproject-echo, web",
                "nothing is wrong",
            ],
            [*sorted(lines[2:4], key=lambda line: "project/" in line), *lines[4:]],
        )
        self.assertEqual(before, environment.snapshot())

    def test_a_missing_cache_is_no_fault_and_is_not_written(self) -> None:
        environment = Fresh()
        told = self.asked(environment, status=0)
        self.assertEqual([], told["findings"])
        self.assertFalse((environment.plugins / "dropin.cache").exists())
        states = [one["cache"]["state"] for one in told["folders"] if one["dropins"]]
        self.assertEqual(["missing"], states)

    def test_it_answers_about_one_subcommand(self) -> None:
        environment = Fresh()
        line = ["-m", "myproject", "doctor", "web"]
        done = environment.run(*environment.command("python", *line))
        dropin = environment.plugins / "twisted_web.py"
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        first, *rest = done.stdout.splitlines()
        self.assertTrue(first.startswith(f"web is listed by {dropin} (TwistedWeb): "), first)
        self.assertEqual(["nothing is wrong"], rest)
        done = environment.ask("myproject-ecko")
        expected = (
            "myproject-ecko is not listed: no dropin that Twisted loads has a maker of this name;"
            " near it: myproject-echo, myproject-chat, myproject\n"
        )
        self.assertEqual((1, expected), (done.returncode, done.stdout))


#: Dropins that can be broken side by side, since each is looked at on its own.
BROKEN = {
    "raises": "import json\njson.loads('')\n",
    "syntax": "def (:\n",
    "leaves": "raise SystemExit(3)\n",
    "ends": "import os\nos._exit(5)\n",
    "crashes": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
    "early": "import heavy\n" + maker("early"),
    "direct": "from twisted.internet import selectreactor\nselectreactor.install()\n"
    + maker("direct"),
    "noisy": "import os\nprint('noise')\nos.closerange(0, 3)\n" + maker("noisy"),
    "twice": maker("web"),
    "nothing": "x = 1\n",
    "no_plugin": ANY_CLASS.format(interfaces="IServiceMaker", tapname="'a'") + "maker = Maker()\n",
    "no_service": ANY_CLASS.format(interfaces="IPlugin", tapname="'b'") + "maker = Maker()\n",
    "no_instance": ANY_CLASS.format(interfaces="IPlugin, IServiceMaker", tapname="'c'"),
    "no_name": ANY_CLASS.format(interfaces="IPlugin, IServiceMaker", tapname="None")
    + "m = Maker()\n",
    "my-own": maker("my-own"),
    "twisted_web": maker("other"),
}

#: What ``early`` imports; it imports a module of Twisted's that installs the reactor.
HEAVY = "import json\nfrom twisted.words.protocols import irc\n"


@functools.cache
def broken() -> tuple[Fresh, Path]:
    """An environment with all of these, and their folder."""
    environment = Fresh()
    project = environment.folder("broken")
    for name, text in BROKEN.items():
        environment.write(project / f"twisted/plugins/{name}.py", text)
    environment.write(project / "heavy.py", HEAVY)

    return environment, project / "twisted" / "plugins"


@functools.cache
def said() -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    """What the command says of them, for machines and for people."""
    environment, _ = broken()
    return environment.ask("--json"), environment.ask()


class DropinTests(FaultTests):
    """Each fault of a dropin, among all the others: none hides another."""

    def setUp(self) -> None:
        self.environment, self.folder = broken()
        self.machine, self.people = said()
        self.assertEqual((1, ""), (self.machine.returncode, self.machine.stderr))
        self.told = json.loads(self.machine.stdout)

    def check(self, code: str, name: str, *, severity: str = "error") -> dict[str, Any]:
        """The finding about a dropin, which people read too."""
        file = self.folder / f"{name}.py"
        finding = self.found(self.told, code, file)
        self.assertEqual(severity, finding["severity"])
        self.assertIn(f"{severity}: {code}: {file}\n  {finding['problem']}\n", self.people.stdout)
        self.assertIn(f"  what to do: {finding['remedy']}\n", self.people.stdout)
        return finding

    def codes(self, name: str) -> list[str]:
        where = str(self.folder / f"{name}.py")
        return [one["code"] for one in self.told["findings"] if one["where"] == where]

    def test_an_exception_is_shown_with_its_own_traceback_and_no_more(self) -> None:
        detail = self.check("dropin-failed", "raises")["detail"]
        self.assertEqual("Traceback (most recent call last):", detail[0])
        self.assertEqual(f'  File "{self.folder}/raises.py", line 2, in <module>', detail[1])
        self.assertTrue(detail[-1].startswith("json.decoder.JSONDecodeError: "), detail)
        whole = "\n".join(detail)
        for word in ("importlib", "probe.py", "twisted/plugin.py"):
            self.assertNotIn(word, whole)
        self.assertIn("    Traceback (most recent call last):\n      File", self.people.stdout)

    def test_a_syntax_error_is_shown_with_its_line(self) -> None:
        finding = self.check("dropin-failed", "syntax")
        self.assertIn("SyntaxError: invalid syntax", finding["problem"])
        self.assertIn(f'  File "{self.folder}/syntax.py", line 1', finding["detail"])

    def test_leaving_is_a_failure_as_it_is_to_twisted(self) -> None:
        self.assertIn("SystemExit: 3", self.check("dropin-failed", "leaves")["problem"])

    def test_ending_the_process(self) -> None:
        self.assertIn(" with status 5", self.check("dropin-ends-process", "ends")["problem"])
        self.assertIn(" by SIGSEGV", self.check("dropin-ends-process", "crashes")["problem"])

    def test_nothing_is_listed_while_one_ends_the_process(self) -> None:
        self.assertIn("\nsubcommands: none\n", self.people.stdout)

    def test_the_reactor_is_installed_by_a_module_far_below(self) -> None:
        finding = self.check("reactor-early", "early")
        heavy = self.folder.parents[1] / "heavy.py"
        self.assertIn(f"installs the reactor, by heavy ({heavy}:2)", finding["problem"])
        steps = [line.split()[0] for line in finding["detail"]]
        expected = ["twisted.plugins.early", "heavy", "twisted.words.protocols.irc"]
        self.assertEqual([*expected, "twisted.internet.reactor"], steps[:4])

    def test_the_reactor_is_installed_by_the_dropin(self) -> None:
        finding = self.check("reactor-early", "direct")
        place = f"{self.folder / 'direct.py'}:2"
        self.assertIn(f"by twisted.plugins.direct ({place})", finding["problem"])

    def test_output_is_thrown_away_and_closed_files_are_no_matter(self) -> None:
        self.assertEqual([], self.codes("noisy"))
        self.assertNotIn("noise", self.machine.stdout)

    def test_two_makers_with_one_name(self) -> None:
        finding = self.found(self.told, "duplicate-name", "web")
        self.assertEqual("error", finding["severity"])
        places = {f"maker in {self.folder}/twice.py"}
        places.add(f"TwistedWeb in {self.environment.plugins}/twisted_web.py")
        self.assertEqual(places, set(finding["detail"]))

    def test_no_maker(self) -> None:
        self.check("no-maker", "nothing", severity="warning")
        for name, problem in {
            "no_plugin": "maker provides IServiceMaker but not IPlugin",
            "no_service": "maker looks like a maker but does not provide IServiceMaker",
            "no_instance": "Maker is a class",
        }.items():
            self.assertTrue(self.check("no-maker", name)["problem"].startswith(problem), name)
            self.assertEqual(["no-maker"], self.codes(name))

    def test_a_maker_without_a_name(self) -> None:
        finding = self.check("maker-broken", "no_name")
        self.assertIn("its maker m lacks tapname (it is None, not text)", finding["problem"])

    def test_a_file_whose_name_is_no_modules(self) -> None:
        finding = self.check("dropin-misnamed", "my-own", severity="warning")
        self.assertIn("my_own.py", finding["remedy"])

    def test_a_dropin_behind_another_of_its_name(self) -> None:
        finding = self.check("dropin-shadowed", "twisted_web", severity="warning")
        self.assertIn(f"{self.environment.plugins}/twisted_web.py", finding["problem"])

    def test_the_overview_has_every_dropin_and_what_it_exports(self) -> None:
        for line in ("early.py: early", "ends.py: died", "raises.py: failed", "noisy.py: noisy"):
            self.assertIn(f"\n  {line}\n", self.people.stdout)


class HangTests(FaultTests):
    def test_a_dropin_that_hangs_is_given_up(self) -> None:
        environment = Fresh()
        dropin = environment.folder("project") / "twisted/plugins/hangs.py"
        environment.write(dropin, "import threading\nthreading.Event().wait()\n")
        told = self.asked(environment, "web", "--timeout", "1", status=1)
        finding = self.found(told, "dropin-hangs", dropin)
        self.assertIn("after 1 seconds", finding["problem"])
        self.assertFalse(told["asked"]["listed"])


class CacheTests(FaultTests):
    def project(self) -> tuple[Fresh, Path, Path]:
        """An environment with a project's dropin, and the cache that Twisted wrote of it."""
        environment = Fresh()
        dropin = environment.folder("project") / "twisted/plugins/mine.py"
        environment.write(dropin, maker("mine"))
        age(dropin)
        environment.warm()
        return environment, dropin, dropin.with_name("dropin.cache")

    def test_a_stale_one_hides_a_subcommand(self) -> None:
        environment, dropin, cache = self.project()
        environment.write(dropin, maker("mine") + maker("new", "other"))
        age(dropin)
        told = self.asked(environment, "new", status=1)
        finding = self.found(told, "cache-stale", cache)
        self.assertIn("of mine.py it lacks other", finding["problem"])
        self.assertEqual({"name": "new", "listed": False, "nearest": []}, told["asked"])
        people = environment.ask("new").stdout
        self.assertTrue(people.startswith(f"new is not listed, though it is in {dropin} "), people)
        told = self.asked(environment, "mine", status=1)
        self.assertTrue(told["asked"]["listed"])

    def test_one_that_is_older_than_its_dropin_is_twisteds_own_business(self) -> None:
        environment, dropin, cache = self.project()
        environment.write(dropin, maker("mine") + maker("new", "other"))
        age(cache)
        told = self.asked(environment, "new", status=0)
        self.assertEqual(([], True), (told["findings"], told["asked"]["listed"]))

    def test_one_that_is_no_pickle(self) -> None:
        environment, _, cache = self.project()
        cache.write_bytes(b"not a pickle")
        finding = self.found(self.asked(environment, status=0), "cache-unreadable", cache)
        self.assertEqual("warning", finding["severity"])
        self.assertIn("UnpicklingError", finding["problem"])

    def test_one_that_needs_writing_and_cannot_be_written(self) -> None:
        environment, _, cache = self.project()
        cache.unlink()
        make_read_only(self, cache.parent)
        told = self.asked(environment, status=0, restricted=True)
        finding = self.found(told, "cache-unwritable", cache)
        self.assertIn(f"it is missing, and the user with number {os.geteuid()}", finding["problem"])
        self.assertEqual("warning", finding["severity"])

    def test_one_that_cannot_be_written_but_is_good(self) -> None:
        environment, _, cache = self.project()
        make_read_only(self, cache.parent)
        self.assertEqual([], self.asked(environment, status=0, restricted=True)["findings"])


class FolderTests(FaultTests):
    def test_a_stray_init_in_a_folder_of_plugins(self) -> None:
        environment = Fresh()
        plugins = environment.folder("project") / "twisted" / "plugins"
        environment.write(plugins / "mine.py", maker("mine"))
        stray = environment.write(plugins / "__init__.py")
        told = self.asked(environment, "mine", status=1)
        self.assertEqual("error", self.found(told, "stray-init", stray)["severity"])

    def test_a_stray_init_in_the_place_of_twisted(self) -> None:
        environment = Fresh()
        stray = environment.write(environment.folder("project") / "twisted" / "__init__.py")
        told = self.asked(environment, status=1)
        self.found(told, "stray-init", stray)
        broken = self.found(told, "twisted-broken", environment.path / "bin" / "python")
        self.assertIn("No module named 'twisted.plugin", broken["problem"])
        self.assertIsNone(told["twisted"])

    def test_another_twisted_with_a_dropin_of_its_own(self) -> None:
        environment = Fresh()
        other = environment.unrelated / "other"
        shutil.copytree(environment.plugins.parent, other / "twisted", symlinks=True)
        environment.write(other / "twisted/plugins/mine.py", maker("mine"))
        link = environment.write(environment.site_packages / "other.pth", f"{other}\n")
        self.addCleanup(link.unlink)
        finding = self.found(self.asked(environment, status=0), "second-twisted", other / "twisted")
        self.assertIn("does not see its mine.py", finding["problem"])

    def test_a_dropin_below_the_current_folder_that_is_not_searched(self) -> None:
        environment = Fresh()
        dropin = environment.unrelated / "twisted/plugins/mine.py"
        environment.write(dropin, maker("mine"))
        told = self.asked(environment, status=0)
        self.assertIn("mine.py", self.found(told, "folder-unseen", dropin.parent)["problem"])
        self.assertEqual([], self.asked(environment, "mine", PYTHONPATH=".")["findings"])


class EditableTests(FaultTests):
    """An editable installation as setuptools makes it; tests/plugin has it made by setuptools."""

    def install(self, environment: Fresh, *, hook: bool) -> Path:
        source = environment.unrelated / "somewhere" / "source"
        environment.write(source / "twisted/plugins/mine.py", maker("mine"))
        environment.write(source / "mypackage/__init__.py")
        info = environment.site_packages / "mine-1.dist-info"
        environment.write(info / "METADATA", "Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
        name = "__editable___mine_1_finder.py" if hook else "__editable__.mine-1.pth"
        environment.write(info / "RECORD", f"{name},,\nmine-1.dist-info/METADATA,,\n")
        text = f"MAPPING: dict[str, str] = {{'mypackage': '{source}/mypackage'}}\n"
        environment.write(environment.site_packages / name, text if hook else f"{source}\n")
        return source

    def test_one_with_an_import_hook_is_not_seen(self) -> None:
        environment = Fresh()
        source = self.install(environment, hook=True)
        told = self.asked(environment, "mine", status=1)
        finding = self.found(told, "editable-unseen", source / "twisted" / "plugins")
        self.assertEqual("error", finding["severity"])
        self.assertIn("mine is installed as editable", finding["problem"])
        self.assertIn("mine.py", finding["problem"])

    def test_one_that_says_so_in_its_direct_url_is_not_seen(self) -> None:
        environment = Fresh()
        source = self.install(environment, hook=False)
        (environment.site_packages / "__editable__.mine-1.pth").unlink()
        url = {"url": source.as_uri(), "dir_info": {"editable": True}}
        info = environment.site_packages / "mine-1.dist-info"
        environment.write(info / "direct_url.json", json.dumps(url))
        self.found(self.asked(environment, status=1), "editable-unseen", source / "twisted/plugins")

    def test_one_whose_folder_is_on_the_path_is_well(self) -> None:
        environment = Fresh()
        self.install(environment, hook=False)
        told = self.asked(environment, "mine", status=0)
        self.assertEqual(([], True), (told["findings"], told["asked"]["listed"]))


class InterpreterTests(FaultTests):
    def test_the_twistd_on_the_path_belongs_to_another_python(self) -> None:
        environment, other = Fresh(), Environment("other", "pip")
        twistd = other.path / "bin" / "twistd"
        environment.write(twistd, f"#!{other.path}/bin/python\n").chmod(0o755)
        told = self.asked(environment, "web", status=0, PATH=str(twistd.parent))
        finding = self.found(told, "twistd-elsewhere", twistd)
        self.assertEqual("warning", finding["severity"])
        self.assertIn(f"runs with {other.path}/bin/python;", finding["problem"])
        own = environment.write(environment.path / "bin" / "twistd", "#!/usr/bin/env python\n")
        own.chmod(0o755)
        self.assertEqual([], self.asked(environment, "web", status=0)["findings"])


class ArgumentTests(FaultTests):
    def test_a_wrong_argument_is_one_line_and_status_64(self) -> None:
        environment = Fresh()
        for words in (("--jason",), ("a", "b"), ("--timeout", "soon"), ("--timeout", "0")):
            done = environment.ask(*words)
            self.assertEqual((os.EX_USAGE, ""), (done.returncode, done.stdout), words)
            self.assertEqual(1, done.stderr.count("\n"), done.stderr)
            self.assertTrue(done.stderr.startswith("python -m myproject doctor: "), done.stderr)
