"""Which reactor a subcommand runs on: ours if nobody has said, any that somebody named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from myproject.errors import SettingError
from myproject.reactor import choice
from tests.support import (
    PATIENCE,
    clean_environment,
    exchange,
    free_port,
    run,
    start,
    start_daemon,
)

#: Reads the options of echo in a fresh process, then says which reactor is installed.
CHOOSE = """
import sys
{before}
from myproject_echo.tap import Options
Options().parseOptions({words!r})
reactor = sys.modules.get("twisted.internet.reactor")
print(None if reactor is None else type(reactor).__name__)
"""


def chosen(before: str = "", words: tuple[str, ...] = (), **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHOOSE.format(before=before, words=list(words))],
        env=clean_environment(**environ),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout.strip().rpartition("\n")[2] + done.stderr


class ChoiceTests(SynchronousTestCase):
    def test_nobody_has_said(self) -> None:
        self.assertEqual("CorkedEPollReactor", chosen())

    def test_the_environment_turns_it_off(self) -> None:
        self.assertEqual("None", chosen(MYPROJECT_REACTOR="default"))

    def test_the_environment_may_say_nothing_else(self) -> None:
        with self.assertRaises(SettingError) as caught:
            choice.choose({"MYPROJECT_REACTOR": "quick"})
        self.assertIn("'quick' is neither corked nor default", str(caught.exception))
        self.assertIn("MYPROJECT_REACTOR in the environment", str(caught.exception))

    def test_one_that_is_installed_stays(self) -> None:
        self.assertEqual(
            "SelectReactor",
            chosen("from twisted.internet import selectreactor as it; it.install()"),
        )

    def test_where_there_is_no_epoll_nothing_is_installed(self) -> None:
        self.assertEqual("None", chosen("sys.platform = 'sunos'"))

    def test_on_a_twisted_that_is_built_otherwise_its_own_runs(self) -> None:
        before = "import twisted.internet.tcp as tcp; del tcp.Connection._dataReceived"
        self.assertEqual("None", chosen(before))

    def test_what_is_beneath_is_there(self) -> None:
        choice._check()
        self.patch(choice, "_BENEATH", {"twisted.internet.tcp.Port": ("no_such",)})
        with self.assertRaises(RuntimeError) as caught:
            choice._check()
        self.assertEqual(
            "this Twisted's twisted.internet.tcp.Port has no no_such", str(caught.exception)
        )

    def test_checking_a_configuration_installs_none(self) -> None:
        done = run("myproject-echo", "--check-config", cwd=self.mktemp())
        self.assertEqual((0, ""), (done.returncode, done.stderr))


class RunningTests(SynchronousTestCase):
    """The installed tools, with an exchange on each."""

    CLASS = "myproject.reactor.epollreactor.CorkedEPollReactor"

    def test_twistd_in_the_foreground(self) -> None:
        port = free_port()
        server = start(self, "-n", "myproject-echo", "-p", f"{port}").wait_for_port(port)
        self.assertEqual(b"hello", exchange(port, b"hello"))
        server.stop()
        self.assertIn(f"reactor class: {self.CLASS}", server.stdout)
        self.assertEqual(1, server.stdout.count("reactor: corked"))

    def test_a_daemon(self) -> None:
        """The epoll(7) set and the pipe that wakes it go through both forks: signals and timers work."""
        port = free_port()
        server = start_daemon(self, "myproject-echo", "-p", f"{port}").wait_for_port(port)
        self.assertEqual(b"hello" * 100_000, self.long(port))
        self.assertIn(f"reactor class: {self.CLASS}", server.log)
        server.stop()

    def long(self, port: int) -> bytes:
        return b"".join(exchange(port, b"hello" * 10_000) for _ in range(10))

    def test_twist(self) -> None:
        port = free_port()
        server = start(
            self, "--log-format=text", "myproject-echo", "-p", f"{port}", tool="twist"
        ).wait_for_port(port)
        self.assertEqual(b"hello", exchange(port, b"hello"))
        server.stop()
        self.assertIn("reactor: corked", server.stdout)

    def test_workers(self) -> None:
        port = free_port()
        server = start(self, "-n", "myproject-echo", "-p", f"{port}", "--workers", "2")
        server.wait_for_log("2 workers are ready")
        self.assertEqual(b"hello", exchange(port, b"hello"))
        server.stop()
        self.assertIn(f"reactor class: {self.CLASS}", server.stdout)

    def test_an_application_file(self) -> None:
        port = free_port()
        tac = (Path(__file__).parents[2] / "docs/examples/echo.tac").read_text()
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "echo.tac").write_text(tac.replace('"--udp"', f'"-p", "{port}"'))
        server = start(self, "-ny", "echo.tac", cwd=folder).wait_for_port(port)
        self.assertEqual(b"hello", exchange(port, b"hello"))
        server.stop()
        self.assertIn(f"reactor class: {self.CLASS}", server.stdout)

    def test_who_names_another_has_it(self) -> None:
        port = free_port()
        server = start(self, "--reactor=poll", "-n", "myproject-echo", "-p", f"{port}")
        server.wait_for_port(port).stop()
        self.assertIn("pollreactor.PollReactor", server.stdout)
        self.assertNotIn("reactor: corked", server.stdout)

    def test_any_other_program(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "page").write_text("x" * 200_000)
        started = []
        for name in ("corked", "corked-poll", "corked-select", "corked-asyncio"):
            port = free_port()
            pidfile = f"--pidfile={name}.pid"
            words = (
                "-n",
                pidfile,
                "web",
                "--listen",
                f"tcp:{port}",
                "--path",
                str(folder.resolve()),
            )
            started.append((port, start(self, f"--reactor={name}", *words)))
        for port, server in started:
            server.wait_for_port(port)
            with urlopen(f"http://127.0.0.1:{port}/page", timeout=PATIENCE) as answer:
                self.assertEqual(b"x" * 200_000, answer.read())
            server.stop()
            self.assertIn("reactor class: myproject.reactor.", server.stdout)
