"""
The doctor in environments that installers made; ``tests/core/test_doctor_faults`` makes the other faults.

Like all that installs, these run only where MYPROJECT_DISCOVERY is set.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.plugin.installing import NEW, Environment, _environ, _pip, release, run
from tests.plugin.test_discovery import SKIP
from tests.support import PATIENCE

PROJECT = """
[build-system]
requires = ["setuptools>=64"]
build-backend = "setuptools.build_meta"
[project]
name = "mine"
version = "1"
[tool.setuptools]
packages = ["mypackage"]
"""

DROPIN = """
from twisted.application.service import ServiceMaker
maker = ServiceMaker("mine", "mypackage.tap", "Mine.", "mine")
"""


class EnvironmentTests(SynchronousTestCase):
    skip = SKIP

    def environment(self) -> Environment:
        """One with the project's wheel."""
        environment = Environment("doctor", "pip")
        self.install(environment, release(NEW).wheel)
        return environment

    def ask(self, environment: Environment, *words: str) -> tuple[int, dict[str, Any]]:
        """The command's exit status, and what it tells."""
        done = subprocess.run(
            environment.command("python", "-m", "myproject", "doctor", "--json", *words),
            cwd=environment.unrelated,
            env={**_environ(), "PATH": str(environment.path / "bin")},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual("", done.stderr)
        return done.returncode, json.loads(done.stdout)

    def install(self, environment: Environment, *words: str | Path) -> None:
        """Install as pip does by default, with all that it takes: the latest setuptools, to build."""
        python = environment.path / "bin" / "python"
        run(_pip(), "-m", "pip", "--python", python, "--quiet", "install", *words)

    def test_nothing_is_wrong_with_a_wheel(self) -> None:
        environment = self.environment()
        status, told = self.ask(environment)
        self.assertEqual((0, []), (status, told["findings"]))
        listed = environment.listed("twistd")
        self.assertEqual(sorted(listed), sorted(one["name"] for one in told["subcommands"]))

    def test_an_editable_installation_by_setuptools_is_not_seen_until_the_remedy_is_applied(
        self,
    ) -> None:
        environment = self.environment()
        tree = environment.unrelated / "tree"
        for name, text in {
            "pyproject.toml": PROJECT,
            "mypackage/__init__.py": "",
            "twisted/plugins/mine.py": DROPIN,
        }.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text)
        self.install(environment, "--editable", tree)
        self.assertNotIn("mine", environment.listed("twistd"))
        status, told = self.ask(environment, "mine")
        (finding,) = told["findings"]
        self.assertEqual((1, "editable-unseen"), (status, finding["code"]))
        self.assertEqual(str(tree / "twisted" / "plugins"), finding["where"])
        remedy = f"pip install --config-settings editable_mode=compat -e {tree}"
        self.assertTrue(finding["remedy"].endswith(remedy), finding["remedy"])
        compat = ["--config-settings", "editable_mode=compat"]
        self.install(environment, *compat, "--editable", tree)
        self.assertIn("mine", environment.listed("twistd"))
        status, told = self.ask(environment, "mine")
        self.assertEqual((0, []), (status, told["findings"]))
