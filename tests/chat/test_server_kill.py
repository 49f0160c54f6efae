"""
The installed server under load: ``kill -9``, after which what a sender saw echoed is there, once, in order;
and ``python -m myproject_chat`` on its file meanwhile.

``MYPROJECT_KILLS`` says how many times in a row it is killed (20 in `nox -s kills`).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.store import Database
from tests.chat.speakers import Place, Speaker, numbers, talk
from tests.support import run, wait_until

KILLS = int(os.environ.get("MYPROJECT_KILLS", "3"))


class LoadCase(SynchronousTestCase):
    """A server, and people who talk."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.place = Place(self, self.folder)
        self.server = self.place.start()
        self.speakers = self.place.speakers(["al", "bo", "cy"])

    def echoed(self) -> int:
        return sum(one.echoed.total() for one in self.speakers)

    def words(self, *words: str) -> tuple[str, ...]:
        """Arguments of Python for a command of the administration."""
        return ("-m", "myproject_chat", *words, "--state", str(self.place.state))

    def ask(self, *words: str) -> str:
        done = run(*self.words(*words), cwd=self.folder, tool="python")
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        return done.stdout


class KillTests(LoadCase):
    def test_none_is_lost_and_none_is_doubled(self) -> None:
        # Another one each time: what is to hold holds at any moment.
        chance = random.Random()
        for _ in range(KILLS):
            for one in self.speakers:
                one.come()
                one.check(self)
            # Below are a few transactions, above some hundred.
            wanted = self.echoed() + chance.randrange(1, 1500)
            talk(
                self.speakers,
                lambda wanted=wanted: self.echoed() >= wanted,  # type: ignore[misc]
                self.server.process.kill,
            )
            self.assertEqual(-signal.SIGKILL, self.server.wait())
            self.server = self.place.start()
        kept: dict[str, str] = {}
        for one in self.speakers:
            one.come()
            for msgid, text in one.check(self):
                self.assertEqual(text, kept.setdefault(msgid, text))
        self.assertEqual(0, self.server.stop())
        self.assertNotIn("Traceback", self.server.log)
        exported = [json.loads(line) for line in self.ask("export").splitlines()]
        texts = [(one["msgid"], one["text"]) for one in exported if one["command"] == "PRIVMSG"]
        self.assertEqual(sorted(kept.items()), sorted(texts))
        self.assertIn("is sound", self.ask("check"))


class FullDiskTests(LoadCase):
    """A disk that takes no more, and does again."""

    def test_nothing_is_lost_and_whoever_watches_is_told(self) -> None:
        al, bo, _ = self.speakers
        for one in (al, bo):
            one.come()
        self.assertEqual("ready", self.place.readiness())
        # As little as a log needs; the state's has more.
        least, most = 2**15, resource.RLIM_INFINITY
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (least, most))
        al.send("PRIVMSG #a :al #a 1")
        wait_until(lambda: self.place.readiness() == "failing", what="the disk is full")
        self.assertIn(b"TEMPORARILY_UNAVAILABLE", bo.ask("PRIVMSG #a :no", "FAIL")[-1].params)
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (most, most))
        self.assertEqual(b"al #a 1", al.ask("PING x", "PONG")[-2].params[-1])
        self.assertEqual("ready", self.place.readiness())
        bo.ask("PRIVMSG #a :bo #a 1", "PRIVMSG")
        self.assertEqual(["al #a 1", "bo #a 1"], [text for _, text in bo.history("#a")])
        self.assertEqual(1, self.server.log.count("the store cannot be written to"))
        self.assertEqual(1, self.server.log.count("the store can be written to again"))


class AdministrationTests(LoadCase):
    """What is asked of the file while it is written to."""

    def test_a_copy_and_an_export_are_of_one_moment(self) -> None:
        copy, export = self.folder / "copy.sqlite", self.folder / "export"
        commands = [("backup", str(copy)), ("export",), ("check",)]
        running: list[subprocess.Popen[str]] = []
        safe: list[dict[Speaker, dict[str, int]]] = []

        def enough() -> bool:
            """Run the commands, one after another, while the others talk."""
            if self.echoed() < 300 or (running and running[-1].poll() is None):
                return False
            if len(running) == len(commands):
                return True
            words = [sys.executable, *self.words(*commands[len(running)])]
            safe.append({one: dict(one.echoed) for one in self.speakers})
            with (export if len(running) == 1 else self.folder / "said").open("w") as out:
                running.append(
                    subprocess.Popen(words, cwd=self.folder, stdout=out, stderr=out, text=True)
                )
            return False

        for one in self.speakers:
            one.come()
        talk(self.speakers, enough, self.server.process.kill)
        self.assertEqual(-signal.SIGKILL, self.server.wait())
        self.assertEqual([0, 0, 0], [one.returncode for one in running])
        self.assertIn("is sound", (self.folder / "said").read_text())
        with contextlib.closing(Database(str(self.place.state))) as database:
            every = [one.msgid.decode() for one in database.history.export(None)]
        with contextlib.closing(Database(str(copy), exclusive=False)) as database:
            self.assertEqual([], database.check())
            self.assertEqual(3, len(database.load().accounts))
            entries = list(database.history.export(None))
        self.check([one.msgid.decode() for one in entries], every)
        spoken = [one for one in entries if one.command == b"PRIVMSG"]
        self.check_texts([(one.text or b"").decode() for one in spoken], safe[0])
        lines = [json.loads(line) for line in export.read_text().splitlines()]
        self.check([one["msgid"] for one in lines], every)
        self.check_texts([one["text"] for one in lines if one["command"] == "PRIVMSG"], safe[1])

    def check(self, some: list[str], every: list[str]) -> None:
        """See that it is all there was at a moment, and not yet all."""
        self.assertEqual(every[: len(some)], some)
        self.assertLess(len(some), len(every))

    def check_texts(self, texts: list[str], safe: dict[Speaker, dict[str, int]]) -> None:
        """See that what had been echoed before is in it."""
        found = numbers(texts)
        for speaker, echoed in safe.items():
            for target, number in echoed.items():
                said = found[speaker.name, target]
                self.assertEqual(list(range(1, len(said) + 1)), said)
                self.assertLessEqual(number, len(said))
