"""``python -m myproject``: the words it knows, and what it says to others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from tests.support import PATIENCE, install_module, run

entry = import_module("myproject.__main__")


class MainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(sys, "stdout", StringIO())
        self.patch(sys, "stderr", StringIO())

    def main(self, *words: str) -> tuple[int, str, str]:
        status = entry.main(words)
        out, err = cast("StringIO", sys.stdout), cast("StringIO", sys.stderr)
        return status, out.getvalue(), err.getvalue()

    def test_each_word_hands_the_rest_to_its_module_and_returns_its_status(self) -> None:
        for word, name in {"completion": "completion", "doctor": "doctor", "man": "manual"}.items():
            asked: list[object] = []
            module: Any = cast("Any", ModuleType(f"myproject.{name}"))
            module.main = lambda words, asked=asked: asked.append(words) or 7
            install_module(self, f"myproject.{name}", module)
            self.assertEqual((7, "", ""), self.main(word, "a", "--b"))
            self.assertEqual([["a", "--b"]], asked)

    def test_no_word_prints_the_usage_as_a_mistake(self) -> None:
        status, out, err = self.main()
        self.assertEqual((os.EX_USAGE, ""), (status, out))
        self.assertTrue(err.startswith("Usage: python -m myproject WORD"), err)

    def test_help_prints_the_usage_with_every_word(self) -> None:
        for word in ("-h", "--help"):
            self.patch(sys, "stdout", StringIO())
            status, out, err = self.main(word)
            self.assertEqual((0, ""), (status, err))
            for known in ("  completion  ", "  doctor      ", "  man         "):
                self.assertIn(f"\n{known}", out)

    def test_an_unknown_word_is_refused_in_one_line_with_the_nearest(self) -> None:
        problem = "python -m myproject: there is no word 'docter' (did you mean doctor?)"
        expected = f"{problem}; give one of completion, doctor, man\n"
        self.assertEqual((os.EX_USAGE, "", expected), self.main("docter"))

    def test_version_is_that_of_the_subcommands(self) -> None:
        end = self.assertRaises(SystemExit, self.main, "--version")
        self.assertEqual(0, end.code)
        said = cast("StringIO", sys.stdout).getvalue()
        self.assertRegex(said, r"^myproject [\d.]+, Twisted [\d.]+\w*, Python [\d.]+\n$")

    def test_the_doctor_is_asked_without_importing_twisted(self) -> None:
        code = (
            "import sys, types; doctor = types.ModuleType('myproject.doctor'); doctor.main = len;"
            "sys.modules['myproject.doctor'] = doctor; from myproject.__main__ import main;"
            "print(main(['doctor', 'a']), 'twisted' in sys.modules)"
        )
        done = run("-c", code, cwd=Path(self.mktemp()).absolute(), tool="python")
        self.assertEqual(("1 False\n", ""), (done.stdout, done.stderr))

    def test_a_reader_that_has_gone_gets_no_traceback(self) -> None:
        theirs, ours = os.pipe()
        os.close(theirs)
        done = subprocess.run(
            [sys.executable, "-m", "myproject", "--help"],
            stdout=ours,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
            check=False,
        )
        os.close(ours)
        self.assertEqual((-signal.SIGPIPE, b""), (done.returncode, done.stderr))

    def test_a_real_process_exits_with_the_status(self) -> None:
        done = run("-m", "myproject", "what", cwd=Path(self.mktemp()).absolute(), tool="python")
        self.assertEqual(
            (os.EX_USAGE, "", 1), (done.returncode, done.stdout, done.stderr.count("\n"))
        )
