"""A worker's process: what it says when it cannot start, and that it ends without a supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from myproject.channel import Assignment, Lines, Message, encoded
from tests.support import PATIENCE, clean_environment


class ProcessTests(SynchronousTestCase):
    """``python -m myproject.worker``, with a test as its supervisor."""

    def run_worker(self, said: bytes) -> tuple[int, list[Message], str]:
        """The exit status of a worker, what it said, and what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "myproject.worker"],
            input=said,
            capture_output=True,
            env=clean_environment(),
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, Lines().feed(done.stdout), done.stderr.decode()

    def assignment(self, **more: Any) -> bytes:
        given: dict[str, Any] = {
            "tapname": "myproject-echo",
            "module": "myproject_echo.tap",
            "description": "Echoes.",
            "worker": 0,
            "workers": 2,
            "reactor": "twisted.internet.selectreactor",
            "folder": str(Path.cwd()),
            "path": sys.path,
            "environ": {},
            "ports": [[[]]],
        }
        return encoded(Assignment(**{**given, **more}).message())

    def test_nothing_said(self) -> None:
        """Started by anyone else, it ends."""
        self.assertEqual((os.EX_UNAVAILABLE, [], ""), self.run_worker(b""))

    def test_refuses(self) -> None:
        """A mistake in the settings is told in its one line, and printed nowhere."""
        said = self.assignment(given={"idle-timeout": ["never"]})
        status, messages, printed = self.run_worker(said)
        self.assertEqual((os.EX_UNAVAILABLE, ""), (status, printed))
        self.assertEqual("refused", messages[-1]["kind"])
        self.assertIn("--idle-timeout, from the command line: 'never'", messages[-1]["why"])

    def test_bug(self) -> None:
        """What else goes wrong is logged with its traceback, where the supervisor's log is."""
        status, messages, printed = self.run_worker(self.assignment(module="no.such.module"))
        self.assertEqual((os.EX_SOFTWARE, ""), (status, printed))
        event = messages[-1]["event"]
        self.assertEqual("critical", event["level"])
        self.assertIn("ModuleNotFoundError", event["traceback"])

    def test_supervisor_gone(self) -> None:
        """A worker whose supervisor is gone as it begins has begun, and stops by itself."""
        status, messages, _ = self.run_worker(self.assignment())
        self.assertEqual(os.EX_OK, status)
        self.assertIn("notify", [message["kind"] for message in messages])
