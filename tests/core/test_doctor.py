"""The doctor's judgement, on what no environment need be made for; ``test_doctor_faults`` makes them."""

from __future__ import annotations

import ast
import errno
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, patch

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.application.service import ServiceMaker
from twisted.plugin import CachedDropin, CachedPlugin, IPlugin
from twisted.trial.unittest import SynchronousTestCase

from myproject import doctor
from myproject.doctor import caches, command, diagnosis, probe, survey
from myproject.doctor.dropins import culprit
from myproject.doctor.editables import findings as of_editables
from myproject.doctor.editables import mapped_folders, source_folder
from myproject.doctor.findings import CODES, Finding, Severity
from myproject.doctor.folders import findings as of_folders
from myproject.doctor.interpreter import findings as of_interpreter
from myproject.doctor.interpreter import interpreter_of
from myproject.doctor.survey import Broken, Cache, Dropin, Export, Step, Survey

MAKER = ("twisted.application.service.IServiceMaker", "twisted.plugin.IPlugin")

PATHS = st.lists(
    st.text(st.characters(categories=["L", "N", "Zs"], include_characters="-_.'\\"), min_size=1),
    min_size=1,
).map(lambda parts: "/" + "/".join(parts))


def diagnosed(*found: Finding, names: tuple[str, ...] = ("web",)) -> diagnosis.Diagnosis:
    """A diagnosis of an environment with one dropin."""
    exports = tuple(Export(name, MAKER, maker=True, tapname=name) for name in names)
    seen = Survey(
        ("/site",),
        version="26.10.0",
        twisted="/site/twisted",
        folders=("/site/twisted/plugins", "/nowhere/twisted/plugins"),
        dropins=(
            Dropin(
                "twisted.plugins.some", "/site/twisted/plugins/some.py", "loaded", exports=exports
            ),
        ),
        caches={},
    )
    makers = tuple(
        diagnosis.Subcommand(name, "Does it.", "/site/twisted/plugins/some.py", name, listed=True)
        for name in names
    )
    return diagnosis.Diagnosis(seen, (), makers, found, None, 0)


def finding(where: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding("dropin-failed", severity, where, "it is wrong", "mend it")


class PublicTests(SynchronousTestCase):
    def test_every_public_name_is_there(self) -> None:
        for name in doctor.__all__:
            self.assertTrue(hasattr(doctor, name), name)

    def test_it_imports_no_twisted(self) -> None:
        """Twisted may be what is broken."""
        code = (
            "import sys, myproject.doctor; print([one for one in sys.modules if 'twisted' in one])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        self.assertEqual("[]\n", done.stdout)

    def test_every_code_is_explained_in_the_documentation(self) -> None:
        page = Path(__file__).parents[2] / "docs/how-to/find-out-why-a-subcommand-is-missing.md"
        text = page.read_text(encoding="utf-8")
        self.assertEqual([], [code for code in CODES if f"`{code}`" not in text])

    def test_every_code_is_used_and_has_a_test_in_a_real_environment(self) -> None:
        package = Path(probe.__file__).parent
        used = "".join(one.read_text() for one in package.glob("*.py") if one.stem != "findings")
        tests = Path(__file__).with_name("test_doctor_faults.py").read_text()
        for code in CODES:
            self.assertIn(f'"{code}"', used)
            self.assertIn(f'"{code}"', tests)


class ScriptTests(SynchronousTestCase):
    """Which Python a script runs with."""

    @given(PATHS.filter(lambda path: " " not in path and path.split() == [path]))
    def test_it_is_in_the_first_line(self, folder: str) -> None:
        self.assertEqual(
            f"{folder}/python3", interpreter_of(f"#!{folder}/python3 -sP\nimport re\n")
        )

    @given(PATHS.filter(lambda path: path.isprintable()))
    def test_a_long_path_is_in_the_second(self, folder: str) -> None:
        text = f"#!/bin/sh\n'''exec' \"{folder}/python\" \"$0\" \"$@\"\n' '''\n"
        self.assertEqual(f"{folder}/python", interpreter_of(text))

    def test_it_is_looked_up_by_env(self) -> None:
        here = str(Path(sys.executable).parent)
        name = Path(sys.executable).name
        expected = str(Path(here, name))
        self.assertEqual(expected, interpreter_of(f"#!/usr/bin/env {name}\n", here))
        self.assertIsNone(interpreter_of("#!/usr/bin/env python-of-nobody\n", here))

    def test_other_scripts_do_not_tell(self) -> None:
        for text in ("", "\x7fELF", "#!", "#!/bin/bash\nexec python\n", "#!/bin/sh\nexec python\n"):
            self.assertIsNone(interpreter_of(text), text)

    @given(st.text())
    @example("#! ")
    @example("#!env ")
    def test_no_text_is_too_strange(self, text: str) -> None:
        interpreter_of(text)

    def test_a_python_that_cannot_be_run_is_another(self) -> None:
        script = Path(self.mktemp())
        script.write_text("#!/nowhere/python\n")
        (found,) = of_interpreter(str(script))
        self.assertEqual(("twistd-elsewhere", str(script)), (found.code, found.where))

    def test_a_script_that_is_not_there_or_cannot_be_read_says_nothing(self) -> None:
        self.assertEqual([], list(of_interpreter(None)))
        self.assertEqual([], list(of_interpreter("/nowhere/twistd")))


class EditableTests(SynchronousTestCase):
    """Where the source of an editable installation is."""

    @given(PATHS)
    def test_its_url_says_so(self, folder: str) -> None:
        url = json.dumps({"url": Path(folder).as_uri(), "dir_info": {"editable": True}})
        self.assertEqual(Path(folder), source_folder(url))

    @given(st.text() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
    @example('{"url": "file:///a", "dir_info": {}}')
    @example('{"url": "file:///a", "dir_info": []}')
    @example('{"url": "https://localhost/a", "dir_info": {"editable": true}}')
    @example('{"url": 1, "dir_info": {"editable": true}}')
    @example('{"dir_info": {"editable": true}}')
    def test_others_have_none(self, text: str) -> None:
        self.assertIsNone(source_folder(text))

    @given(st.dictionaries(st.text(), PATHS), st.dictionaries(st.text(), st.lists(PATHS)))
    def test_its_hook_maps_packages_to_folders(
        self, mapping: dict[str, str], namespaces: dict[str, list[str]]
    ) -> None:
        text = (
            "from __future__ import annotations\nimport sys\n"
            f"MAPPING: dict[str, str] = {mapping!r}\nNAMESPACES = {namespaces!r}\nPATH: str\n"
        )
        paths = [*mapping.values(), *[path for paths in namespaces.values() for path in paths]]
        self.assertEqual([Path(path).parent for path in paths], mapped_folders(text))

    @given(st.text())
    @example("MAPPING = []")
    @example("MAPPING = {'a': 1}")
    @example("MAPPING = {'a': f()}")
    @example("MAPPING: dict")
    @example("\0")
    @example("class")
    def test_other_sources_map_none(self, text: str) -> None:
        self.assertEqual([], mapped_folders(text))


class ProbeTests(SynchronousTestCase):
    """What the probe tells, asked in this process, where Twisted has long been imported."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.patch(sys, "path", [str(self.folder), *sys.path])
        self.patch(sys, "dont_write_bytecode", True)
        self.main = SimpleNamespace(installReactor=lambda _: None)

    def examine(self, name: str, source: str) -> dict[str, Any]:
        file = self.folder / f"{name}.py"
        file.write_text(source)
        self.addCleanup(sys.modules.pop, name, None)
        with patch.dict(sys.modules, {"fake_main": self.main}):
            return probe.examine(name, str(file), self.main)

    def test_exports_and_imports(self) -> None:
        source = "import json\nfrom twisted.application.service import ServiceMaker as S\n"
        (self.folder / "dropin_helper.py").write_text("")
        self.addCleanup(sys.modules.pop, "dropin_helper", None)
        told = self.examine(
            "dropin_good", source + "import dropin_helper\nm = S('n', 'o', 'd', 't')"
        )
        self.assertEqual(
            [
                {
                    "name": "m",
                    "provides": [
                        "twisted.plugin.IPlugin",
                        "twisted.application.service.IServiceMaker",
                    ],
                    "maker": True,
                    "tapname": "t",
                    "description": "d",
                    "lacks": [],
                }
            ],
            told["exports"],
        )
        self.assertEqual((["dropin_good", "dropin_helper"], []), (told["imports"], told["reactor"]))

    def test_a_property_that_raises(self) -> None:
        source = (
            "from twisted.application.service import IServiceMaker\nfrom twisted.plugin import IPlugin\n"
            "from zope.interface import implementer\n"
            "@implementer(IPlugin, IServiceMaker)\nclass M:\n tapname = 'x'\n"
            " @property\n def description(self):\n  raise OSError('no disk')\nm = M()\n"
        )
        told = self.examine("dropin_property", source)
        self.assertEqual(["description (OSError: no disk)"], told["exports"][0]["lacks"])
        self.assertEqual([["M", "class"]], told["missed"])

    def test_what_twisted_does_not_take(self) -> None:
        source = (
            "from twisted.application.service import IServiceMaker\nfrom twisted.plugin import IPlugin\n"
            "from zope.interface import implementer\n"
            "@implementer(IServiceMaker)\nclass A:\n pass\na = A()\n"
            "@implementer(IPlugin)\nclass B:\n tapname = 'b'\n makeService = None\n"
            " def __init__(self):\n  self.makeService = print\nb = B()\n"
            "@implementer(IPlugin, IServiceMaker)\nclass C:\n tapname = 1\n description = ''\nc = C()\n"
        )
        told = self.examine("dropin_missed", source)
        missed = [["A", "class"], ["a", "IPlugin"], ["C", "class"], ["b", "IServiceMaker"]]
        self.assertEqual(missed, told["missed"])
        lacks = [["tapname (it is 1, not text)"]]
        self.assertEqual(lacks, [one["lacks"] for one in told["exports"] if one["maker"]])

    def test_as_a_program_it_tells_one_line(self) -> None:
        self.patch(sys, "argv", ["probe.py", "5"])
        self.patch(sys, "stdout", out := io.StringIO())
        self.patch(probe, "survey", lambda seconds: {"seconds": seconds})
        probe._main()
        self.assertEqual('{"seconds": 5.0}\n', out.getvalue())

    def test_a_traceback_begins_with_the_dropin_and_keeps_its_causes(self) -> None:
        source = "try:\n  1 / 0\nexcept ZeroDivisionError as e:\n  raise SystemExit from e\n"
        told = self.examine("dropin_bad", source)
        place = f'  File "{self.folder}/dropin_bad.py", line'
        lines = told["error"]["traceback"]
        self.assertEqual(
            [f"{place} 2, in <module>", f"{place} 4, in <module>"], [x for x in lines if place in x]
        )
        self.assertEqual(2, sum("File" in line for line in lines))
        self.assertEqual("SystemExit", told["error"]["summary"])

    def test_who_installs_the_reactor(self) -> None:
        (self.folder / "dropin_below.py").write_text(
            "import fake_main\n\ndef f():\n  fake_main.installReactor(1)\nf()\n"
        )
        self.addCleanup(sys.modules.pop, "dropin_below", None)
        before = self.main.installReactor
        told = self.examine("dropin_early", "\nimport dropin_below\n")
        steps = [(one["module"], one["line"]) for one in told["reactor"]]
        self.assertEqual([("dropin_early", 2), ("dropin_below", 4)], steps)
        self.assertIs(before, self.main.installReactor)

    def test_a_reactor_put_in_place_by_hand(self) -> None:
        name = "twisted.internet.reactor"
        with patch.dict(sys.modules):
            sys.modules.pop(name, None)
            told = self.examine("dropin_hand", f"import sys\nsys.modules['{name}'] = sys\n")
        file = str(self.folder / "dropin_hand.py")
        self.assertEqual([{"module": "dropin_hand", "file": file, "line": 1}], told["reactor"])

    def test_a_cache(self) -> None:
        dropin = CachedDropin("twisted.plugins.some", "")
        CachedPlugin(dropin, "one", "", [IPlugin])
        file = self.folder / "dropin.cache"
        file.write_bytes(pickle.dumps({"some": dropin}))
        expected = {"some": {"one": ["twisted.plugin.IPlugin"]}}
        self.assertEqual({"state": "loaded", "dropins": expected}, probe.unpickle(str(file)))
        file.write_bytes(b"")
        self.assertEqual(
            "EOFError: Ran out of input", probe.unpickle(str(file))["error"]["summary"]
        )

    def test_a_survey_is_read_as_it_was_told(self) -> None:
        seen = survey.read(json.loads(json.dumps(probe.survey(5))))
        self.assertEqual(tuple(sys.path), seen.path)
        mine = next(one for one in seen.dropins if one.key == "myproject")
        names = ["myproject", "myproject-chat", "myproject-echo"]
        self.assertEqual(names, sorted(filter(None, (one.tapname for one in mine.exports))))

    def test_a_survey_is_taken_on_the_path_that_twistd_has(self) -> None:
        path = survey.take(30).path
        for folder in ("", str(Path.cwd()), str(Path(probe.__file__).parent)):
            self.assertNotIn(folder, path[:1])

    def test_a_survey_without_twisted(self) -> None:
        with patch.dict(sys.modules, {"twisted.plugin": None}):
            seen = survey.read(probe.survey(5))
        assert seen.failure is not None
        self.assertIn("twisted.plugin", seen.failure.summary)
        (found,) = diagnosis._broken(seen)
        self.assertEqual("twisted-broken", found.code)


class ApartTests(SynchronousTestCase):
    """A look in a process of its own."""

    def test_what_comes_of_it(self) -> None:
        def hang() -> dict[str, Any]:
            while True:
                os.read(os.pipe()[0], 1)

        self.assertEqual({"a": "\n"}, probe._apart(lambda: {"a": "\n"}, 5))
        self.assertEqual({"state": "hung", "seconds": 0.1}, probe._apart(hang, 0.1))
        died = {"state": "died", "status": 7}
        self.assertEqual(died, probe._apart(lambda: os._exit(7), 5))
        died["status"] = os.EX_SOFTWARE
        self.assertEqual(died, probe._apart(lambda: {"a": object()}, 5))


class CacheTests(SynchronousTestCase):
    """Whether Twisted believes a cache, and whether it should."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file, self.cache = self.folder / "some.py", self.folder / "dropin.cache"
        self.file.touch()
        self.cache.touch()
        os.utime(self.file, (1, 1))

    def view(self, cached: Any, *, state: str = "loaded", reason: str = "") -> caches.CacheView:
        dropin = Dropin(
            "twisted.plugins.some",
            str(self.file),
            state,
            exports=(
                Export("one", MAKER, maker=True, tapname="1"),
                Export("two", MAKER[1:], maker=False),
            ),
        )
        known = {str(self.cache): Cache(cached, reason)}
        (view,) = caches.views(Survey((), dropins=(dropin,), caches=known))
        return view

    def test_one_that_says_the_same_is_good(self) -> None:
        good = {"some": {"one": sorted(MAKER), "two": ["twisted.plugin.IPlugin"]}}
        self.assertEqual("good", self.view(good).state)
        # Its age is the same: Twisted asks the dropin.
        os.utime(self.cache, (1, 1))
        self.assertEqual("outdated", self.view(good).state)

    def test_each_difference_is_named(self) -> None:
        view = self.view({"some": {"one": ["twisted.plugin.IPlugin"], "gone": []}})
        self.assertEqual(("stale", ("1",)), (view.state, view.hidden))
        said = "of some.py it lacks two and still has gone and has other interfaces for one"
        self.assertEqual(said, view.reason)

    def test_a_dropin_that_does_not_load_says_nothing_of_its_cache(self) -> None:
        self.assertEqual("good", self.view({"some": {}}, state="failed").state)

    def test_a_dropin_that_is_new_or_gone_makes_it_outdated(self) -> None:
        self.assertEqual("outdated", self.view({}).state)
        good = {"some": {"one": sorted(MAKER), "two": ["twisted.plugin.IPlugin"]}}
        self.assertEqual("outdated", self.view({**good, "gone": {}}).state)

    def test_who_may_not_write_is_told_who_could(self) -> None:
        for state in ("stale", "unreadable"):
            view = caches.CacheView("/c", state, writable=False, reason="why")
            first, second = caches.findings([view], 7)
            self.assertEqual(("cache-unwritable", "/c"), (second.code, second.where))
            self.assertIn("someone who may write there", first.remedy)
            self.assertIn("user with number 7", second.problem)

    def test_why_it_is_unreadable(self) -> None:
        error = {"summary": "ValueError: bad", "traceback": []}
        for told, reason in (
            ({"state": "failed", "error": error}, "ValueError: bad"),
            ({"state": "hung", "seconds": 1}, "loading it takes too long"),
            ({"state": "died", "status": 1}, "loading it ends the process"),
        ):
            self.assertEqual(Cache(None, reason), survey._cache(told))


class SearchedTests(SynchronousTestCase):
    """A file that Twisted skips is no sign that its folder is not searched."""

    def setUp(self) -> None:
        self.site = Path(self.mktemp()).absolute()
        self.twisted = self.site / "twisted"
        plugins = self.twisted / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "my-own.py").touch()
        self.seen = Survey((str(self.site),), twisted=str(self.twisted), folders=(str(plugins),))

    def test_in_twisteds_own_folder(self) -> None:
        for name in ("plugin.py", "_version.py"):
            (self.twisted / name).touch()
        self.assertEqual([], list(of_folders(self.seen, self.site)))
        self.assertEqual([], list(of_folders(self.seen, self.site / "empty")))

    def test_in_the_source_of_an_editable_installation(self) -> None:
        info = self.site / "mine-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Name: mine\n")
        url = {"url": self.site.as_uri(), "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(url))
        self.assertEqual([], list(of_editables(self.seen)))
        elsewhere = Survey(self.seen.path)
        self.assertEqual(["editable-unseen"], [one.code for one in of_editables(elsewhere)])


class CulpritTests(SynchronousTestCase):
    @given(
        st.lists(st.sampled_from(["twisted.plugins.x", "mine", "twisted.words.irc"]), min_size=1)
    )
    def test_it_is_the_last_that_is_not_twisteds_own(self, modules: list[str]) -> None:
        chain = [
            Step(module, "f", line) for line, module in enumerate(["twisted.plugins.d", *modules])
        ]
        last = max(step.line for step in chain if step.module != "twisted.words.irc")
        self.assertEqual(last, culprit(chain).line)

    def test_it_is_the_first_if_all_are(self) -> None:
        chain = [Step("twisted.a", "f", 1), Step("twisted.b", "f", 2)]
        self.assertEqual(chain[0], culprit(chain))


class AnswerTests(SynchronousTestCase):
    """What the command prints, and its exit status."""

    def ask(
        self, known: diagnosis.Diagnosis, *words: str, encoding: str = "utf-8"
    ) -> tuple[int, str]:
        out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        self.patch(command, "examine", lambda _: known)
        self.patch(sys, "stdout", out)
        status = doctor.main([*words])
        out.flush()
        buffer = out.buffer
        assert isinstance(buffer, io.BytesIO)
        return status, buffer.getvalue().decode(encoding)

    def test_warnings_alone_are_status_0(self) -> None:
        status, text = self.ask(diagnosed(finding("/x", Severity.WARNING)))
        self.assertEqual(0, status)
        self.assertTrue(text.endswith("\n\n0 errors, 1 warning\n"), text)

    def test_an_error_is_status_1(self) -> None:
        status, text = self.ask(diagnosed(finding("/x"), finding("/y")))
        self.assertEqual(1, status)
        self.assertTrue(text.endswith("\n\n2 errors, 0 warnings\n"), text)
        self.assertIn("searched too, but not there: /site/twisted/plugins, /nowhere", text)

    def test_an_error_elsewhere_is_nothing_to_a_subcommand_that_is_listed(self) -> None:
        status, text = self.ask(diagnosed(finding("/x")), "web")
        self.assertEqual(0, status)
        self.assertTrue(text.endswith("\nnothing is wrong\n"), text)

    def test_an_error_of_its_own_is(self) -> None:
        for where in ("web", "/site/twisted/plugins/some.py", "/site/twisted/plugins/dropin.cache"):
            self.assertEqual(1, self.ask(diagnosed(finding(where)), "web")[0])

    def test_a_subcommand_that_is_not_listed_is_status_1_with_all_that_may_be_why(self) -> None:
        status, text = self.ask(diagnosed(finding("/x", Severity.WARNING)), "wed")
        self.assertEqual(1, status)
        self.assertIn("near it: web\n\nwarning: dropin-failed: /x\n", text)
        self.assertEqual(1, self.ask(diagnosed(), "nothing-like-it")[0])

    def test_json_has_the_documented_keys(self) -> None:
        status, text = self.ask(diagnosed(finding("/x")), "--json", "we")
        told = json.loads(text)
        keys = [
            "format",
            "ok",
            "python",
            "twisted",
            "twistd",
            "user",
            "asked",
            "folders",
            "subcommands",
        ]
        self.assertEqual([*keys, "findings"], list(told))
        self.assertEqual((1, False), (status, told["ok"]))
        self.assertEqual({"name": "we", "listed": False, "nearest": ["web"]}, told["asked"])
        keys = ["code", "severity", "where", "problem", "remedy", "detail"]
        self.assertEqual(keys, list(told["findings"][0]))
        self.assertEqual(["path", "exists", "cache", "dropins"], list(told["folders"][0]))
        page = Path(__file__).parents[2] / "docs/how-to/find-out-why-a-subcommand-is-missing.md"
        text = page.read_text(encoding="utf-8")
        self.assertEqual([], [key for key in [*told, *keys] if f"`{key}`" not in text])

    def test_a_name_that_the_terminal_cannot_show_is_escaped(self) -> None:
        status, text = self.ask(diagnosed(finding("/\udcff\u20ac")), encoding="latin-1")
        self.assertEqual(1, status)
        self.assertIn("dropin-failed: /\\udcff\\u20ac\n", text)

    def test_when_it_cannot_look_it_says_so_in_one_line(self) -> None:
        failed = subprocess.CalledProcessError(1, ["python"], stderr=b"a\nbecause\n")
        for error, said in (
            (failed, "because\n"),
            (OSError(errno.ENOMEM, "no memory"), "no memory\n"),
        ):
            self.patch(command, "examine", Mock(side_effect=error))
            err = io.StringIO()
            self.patch(sys, "stderr", err)
            status = self.assertRaises(SystemExit, doctor.main, []).code
            self.assertEqual(os.EX_SOFTWARE, status)
            self.assertTrue(err.getvalue().endswith(said), err.getvalue())
            self.assertEqual(1, err.getvalue().count("\n"))

    def test_a_probe_that_is_gone_cannot_look(self) -> None:
        self.patch(survey, "find_spec", lambda _: None)
        self.assertRaises(ValueError, survey.take, 1)


class ObjectTests(SynchronousTestCase):
    def test_all_that_is_seen_is_frozen(self) -> None:
        for thing in (finding("/x"), Broken("", ()), Step("", "", 1), Cache(None), diagnosed()):
            self.assertRaises(AttributeError, setattr, thing, "code", 1)

    def test_no_module_but_the_probe_loads_what_others_wrote(self) -> None:
        package = Path(probe.__file__).parent
        for file in package.glob("*.py"):
            names = {
                one.id for one in ast.walk(ast.parse(file.read_text())) if isinstance(one, ast.Name)
            }
            loaders = names & {"import_module", "__import__", "pickle", "exec", "eval"}
            self.assertEqual(file.stem == "probe", bool(loaders), file)

    def test_a_service_maker_is_seen_as_a_maker(self) -> None:
        told = probe._exports({"m": ServiceMaker("n", "o", "d", "t")}, "x")
        self.assertEqual((True, []), (told["exports"][0]["maker"], told["missed"]))
