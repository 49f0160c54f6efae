"""
What the store called safe is there after ``kill -9``, once; and who is killed in the middle of a migration or
a copy leaves a file as it was.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.store import Database
from tests.chat.store_migrator import filled
from tests.support import PATIENCE, clean_environment, run

ROOT = Path(__file__).resolve().parents[2]


class KillTests(SynchronousTestCase):
    def kill_once(self, ready: Callable[[], bool], *words: str) -> int:
        """Start a Python program, kill it when it is time to, and give the exit status."""
        command = [sys.executable, *words]
        with subprocess.Popen(command, cwd=ROOT, env=clean_environment()) as process:
            end = time.monotonic() + PATIENCE
            # Without a pause: the time to hit is short.
            while process.poll() is None and not ready() and time.monotonic() < end:
                pass
            process.kill()
        return process.returncode

    def test_a_migration_is_made_or_not(self) -> None:
        path = Path(self.mktemp()).absolute()
        rows = filled(path)
        log = Path(f"{path}-wal")
        chance = random.Random()
        for _ in range(2):
            # What it writes is some 1.7 MB.
            wanted = chance.randrange(1, 1_700_000)
            self.kill_once(
                lambda wanted=wanted: log.exists() and log.stat().st_size > wanted,  # type: ignore[misc]
                *("-m", "tests.chat.store_migrator", str(path)),
            )
            with contextlib.closing(sqlite3.connect(path)) as connection:
                execute = connection.execute
                self.assertEqual([("ok",)], execute("PRAGMA integrity_check").fetchall())
                (version,) = execute("PRAGMA user_version").fetchone()
                columns = [row[1] for row in execute("PRAGMA table_info(history)")]
                self.assertEqual({1: False, 2: True}[version], "length" in columns)
                self.assertEqual((rows,), execute("SELECT count(*) FROM history").fetchone())
                if version == 2:
                    break
        words = [sys.executable, "-m", "tests.chat.store_migrator", str(path)]
        subprocess.run(words, cwd=ROOT, check=True, timeout=PATIENCE)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            sql = "SELECT count(*) FROM history WHERE length = 100"
            self.assertEqual((rows,), connection.execute(sql).fetchone())

    def test_what_has_the_name_of_a_copy_is_whole(self) -> None:
        path, copy = (Path(self.mktemp()).absolute() for _ in range(2))
        rows = filled(path)
        words = ("-m", "myproject_chat", "backup", str(copy), "--state", str(path))
        status = self.kill_once(lambda: any(copy.parent.glob(f"{copy.name}*")), *words)
        if status == -signal.SIGKILL and not copy.exists():
            # It can be made anew, whatever is left of the first.
            self.assertEqual(0, run(*words, cwd=ROOT, tool="python").returncode)
        for one in (path, copy):
            with contextlib.closing(Database(str(one), exclusive=False)) as database:
                self.assertEqual(([], rows), (database.check(), database.history.count()))

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
