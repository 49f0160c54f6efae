"""The pages that come from the code say what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[2]


class GeneratedTests(SynchronousTestCase):
    def test_generated_pages_are_up_to_date(self) -> None:
        found = subprocess.run(
            [sys.executable, "docs/generate.py", "--check"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((0, "", ""), (found.returncode, found.stdout, found.stderr))
