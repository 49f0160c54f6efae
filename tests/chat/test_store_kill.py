"""What the store called safe is there after ``kill -9``, once."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.store import Database
from tests.support import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


class KillTests(SynchronousTestCase):
    def test_none_is_lost_and_none_is_doubled(self) -> None:
        path = str(Path(self.mktemp()).absolute())
        chance = random.Random(1)
        safe = 0
        for _ in range(5):
            safe = max(safe, self.write_until_killed(path, safe + 1, chance.randrange(1, 40)))
            with contextlib.closing(Database(path)) as database:
                self.assertEqual([], database.check())
                names = [int(one.msgid) for one in database.history.export(None)]
            # They are in the order of their times, which are their numbers, too.
            self.assertEqual(list(range(1, len(names) + 1)), names)
            self.assertLessEqual(safe, len(names))
            safe = len(names)

    def write_until_killed(self, path: str, first: int, reports: int) -> int:
        """Kill a writer when it has reported so often; gives the last entry that it called safe."""
        command = [sys.executable, "-m", "tests.chat.store_writer", path, str(first)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            late = threading.Timer(PATIENCE, writer.kill)
            late.start()
            lines = [writer.stdout.readline() for _ in range(reports)]
            late.cancel()
            writer.kill()
            # What it wrote before it died; a line that death cut short is none.
            lines += [line for line in writer.stdout if line.endswith(b"\n")]
        self.assertEqual(-signal.SIGKILL, writer.returncode)
        return int(lines[-1])
