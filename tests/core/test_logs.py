"""The logs: one event is one line whatever is in it, and says whose connection it is about."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock, StringTransport
from twisted.logger import (
    ILogObserver,
    LogBeginner,
    Logger,
    LoggingFile,
    LogLevel,
    LogPublisher,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from myproject import logcontrol, logs
from myproject.gate import Gate
from myproject.journal import Journal
from myproject.logcontrol import LEVELS, Logging, LogsService
from myproject.logs import FILE_VARIABLE, ConnectionPrefix, LineObserver, json_line, text_line
from myproject.options import Options
from tests.core.test_twistd import EndToEnd
from tests.support import clean_environment, connect, exchange, free_port, run, start, wait_until

#: Characters at which some program, somewhere, ends a line, or obeys.
HOSTILE = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029\x00\x1b\x9b\u202e\ud800\\"

ANY_TEXT = st.one_of(
    st.text(),
    st.text(HOSTILE),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Lo"])),
)

ANY_VALUE = st.recursive(
    st.one_of(
        ANY_TEXT,
        st.binary(),
        st.integers(),
        st.integers(10**30, 10**40),
        st.floats(),
        st.none(),
        st.booleans(),
        st.builds(object),
        st.sampled_from(list(LogLevel.iterconstants())),
    ),
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT | st.integers(), inner),
    max_leaves=8,
)

KEYS = st.sampled_from(
    [
        "log_format",
        "log_level",
        "log_time",
        "log_namespace",
        "log_system",
        "log_failure",
        "log_text",
        "format",
        "message",
        "isError",
        "time",
        "system",
        "failure",
        "why",
        "peer",
        "connection",
        "subcommand",
        "level",
        "namespace",
        "traceback",
    ]
)

EVENTS = st.dictionaries(KEYS | ANY_TEXT, ANY_VALUE)


class Hostile:
    """A value that will not be written down."""

    def __repr__(self) -> str:
        raise RuntimeError("\nforged")

    __str__ = __repr__


def failure(message: str) -> Failure:
    return Failure(ValueError(message))


def said(**event: Any) -> dict[str, Any]:
    """What the JSON line of an event says."""
    line = json.loads(json_line(event, "shout"))
    assert isinstance(line, dict)
    return line


class JSONTests(TestCase):
    """``json_line``."""

    @given(EVENTS)
    def test_any_event_is_one_line_of_ascii_that_parsers_read(self, event: dict[str, Any]) -> None:
        line = json_line(event, "shout")
        self.assertTrue(line.isascii() and line.isprintable(), line)
        read = json.loads(line, parse_constant=self.fail)
        self.assertLessEqual({"time", "level", "message"}, set(read))

    @given(ANY_TEXT)
    def test_text_comes_back_but_for_halves_of_pairs(self, words: str) -> None:
        expected = words.encode("utf-8", "backslashreplace").decode()
        self.assertEqual(expected, said(log_format="{it}", it=words)["message"])

    def test_what_it_says(self) -> None:
        read = said(
            log_format="{number} of {what}",
            log_level=LogLevel.warn,
            log_namespace="a.b",
            log_system="c",
            log_time=1_700_000_000.25,
            number=3,
            what=b"caf\xe9",
            deep=[1, (2.5, None), {"x": True, 5: 1}, object()],
            odd=object(),
            infinite=float("inf"),
            huge=2**64,
        )
        self.assertEqual(
            {
                "time": "2023-11-14T22:13:20.250000Z",
                "level": "warn",
                "namespace": "a.b",
                "system": "c",
                "subcommand": "shout",
                "message": "3 of b'caf\\xe9'",
                "number": 3,
                "what": "caf\\xe9",
                "deep": [1, [2.5, None], {"x": True}, None],
            },
            read,
        )

    def test_an_events_keys_cannot_pass_for_ours(self) -> None:
        read = said(log_format="true", level="critical", time="never", traceback=5, namespace="x")
        self.assertEqual(("info", "true"), (read["level"], read["message"]))
        self.assertRegex(read["time"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        self.assertEqual({"time", "level", "message", "subcommand"}, set(read))

    def test_a_failure_has_its_traceback(self) -> None:
        read = said(log_format="oh", log_failure=failure("a\nb"), log_level=LogLevel.critical)
        self.assertIn("ValueError: a\nb\n", read["traceback"])

    def test_what_cannot_be_formatted_is_said(self) -> None:
        read = said(log_format="{it}", it=Hostile(), log_failure=object(), log_namespace=Hostile())
        self.assertEqual("(AttributeError while this was formatted)", read["traceback"])
        self.assertEqual("(RuntimeError while this was formatted)", read["namespace"])

    def test_a_time_that_is_none_is_now(self) -> None:
        for moment in (None, "x", float("nan"), 1e300):
            self.assertRegex(said(log_time=moment)["time"], r"^20\d\d-")

    def test_depth_is_bounded(self) -> None:
        deep: list[Any] = []
        deep.append(deep)
        self.assertEqual([[[[None]]]], said(deep=deep)["deep"])

    def test_old_events_are_read_as_well(self) -> None:
        seen: list[dict[str, Any]] = []
        self.watch(lambda event: seen.append(said(**event)))
        legacy.msg("old", system="-")
        legacy.msg("words", system="here")
        self.assertEqual(
            [("old", None), ("words", "here")],
            [(one["message"], one.get("system")) for one in seen],
        )

    def watch(self, observer: Any) -> None:
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)


def unescape(words: str) -> str:
    """The text that was escaped as in Python."""
    return re.sub(
        r"\\(\\|x..|u....|U........|[nrt])",
        lambda match: match[0].encode().decode("unicode_escape"),
        words,
    )


class TextTests(TestCase):
    """``text_line``."""

    @given(EVENTS)
    def test_any_event_is_one_line_without_control_characters(self, event: dict[str, Any]) -> None:
        line = text_line(event, "shout")
        self.assertTrue(line.isprintable(), ascii(line))
        line.encode()

    @given(ANY_TEXT)
    def test_what_was_escaped_can_be_told_from_what_looked_so(self, words: str) -> None:
        line = text_line({"log_format": "{it}", "it": words, "log_time": 0.0, "log_system": "s"})
        start = "1970-01-01T00:00:00.000000Z info [s] "
        self.assertEqual((start, words), (line[: len(start)], unescape(line[len(start) :])))

    def test_a_line_cannot_be_forged(self) -> None:
        for end in HOSTILE:
            forged = f"x{end}2026-01-01T00:00:00.000000Z critical [root] pwned\x1b[31m"
            (line,) = text_line({"log_format": "{it}", "it": forged}).splitlines()
            self.assertNotIn("\x1b", line)

    def test_a_traceback_stands_behind_the_message(self) -> None:
        line = text_line({"log_format": "oh", "log_failure": failure("bad"), "log_time": 0.0})
        self.assertRegex(
            line, r"^1970-.* info \[-\] oh Traceback .*\\n.*builtins\.ValueError: bad$"
        )

    def test_readable_characters_of_any_script_stay(self) -> None:
        self.assertTrue(text_line({"log_format": "Grüße, 世界"}, "shout").endswith("] Grüße, 世界"))

    def test_without_a_system_it_names_what_it_knows(self) -> None:
        self.assertIn(" [shout] ", text_line({}, "shout"))
        self.assertIn(" [a.b] ", text_line({"log_namespace": "a.b"}, "shout"))


class ContextTests(TestCase):
    """What is logged on behalf of a connection."""

    def test_an_event_has_the_connection_that_it_comes_from(self) -> None:
        prefix = ConnectionPrefix("Shout,7,192.0.2.1", 7, "192.0.2.1:50", "other")
        read = legacy.callWithContext({"system": prefix}, said, log_format="x")
        self.assertEqual(
            ("Shout,7,192.0.2.1", "other", 7, "192.0.2.1:50"),
            tuple(read[key] for key in ("system", "subcommand", "connection", "peer")),
        )

    def test_an_event_that_names_another_is_believed(self) -> None:
        prefix = ConnectionPrefix("Shout,7,h", 7, "h:1", "other")
        read = legacy.callWithContext({"system": prefix}, said, connection=8, peer="i:2")
        self.assertEqual((8, "i:2"), (read["connection"], read["peer"]))


class ObserverTests(TestCase):
    """The factories that ``twistd --logger`` is given."""

    def folder(self) -> Path:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        return folder

    def test_they_write_lines_to_standard_output(self) -> None:
        self.patch(os, "environ", {})
        for make, expected in ((logs.json, '"message": "h\\u00e9"'), (logs.text, "hé")):
            out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
            self.patch(sys, "stdout", out)
            observer = make()
            verifyObject(ILogObserver, observer)
            observer({"log_format": "hé"})
            observer.reopen()
            written = out.buffer.getvalue().decode()
            self.assertEqual((1, True), (written.count("\n"), expected in written))

    def test_what_is_printed_to_the_log_does_not_come_back(self) -> None:
        """Standard output may lead to the log by then."""
        self.patch(os, "environ", {})
        out = io.TextIOWrapper(io.BytesIO())
        self.patch(sys, "__stdout__", out)
        self.patch(sys, "stdout", LoggingFile(Logger()))
        logs.text()({"log_format": "x"})
        self.assertTrue(out.buffer.getvalue().endswith(b"] x\n"))

    def test_a_file_is_opened_again_by_its_name(self) -> None:
        folder = self.folder()
        self.patch(os, "environ", {FILE_VARIABLE: str(folder / "log")})
        observer = logs.json()
        observer({"log_format": "one"})
        (folder / "log").rename(folder / "log.1")
        observer({"log_format": "two"})
        observer.reopen()
        observer({"log_format": "three"})
        read = [
            [json.loads(line)["message"] for line in (folder / name).read_text().splitlines()]
            for name in ("log.1", "log")
        ]
        self.assertEqual([["one", "two"], ["three"]], read)
        self.assertEqual(0, (folder / "log").stat().st_mode & 0o027)

    def test_a_file_that_cannot_be_opened_again_is_written_to_as_before(self) -> None:
        folder = self.folder() / "away"
        folder.mkdir()
        self.patch(os, "environ", {FILE_VARIABLE: str(folder / "log")})
        observer = logs.text()
        folder.rename(folder.with_name("here"))
        self.assertRaises(OSError, observer.reopen)
        observer({"log_format": "still"})
        self.assertIn("still", (folder.with_name("here") / "log").read_text())

    def test_a_file_that_cannot_be_had_ends_the_process_in_a_line(self) -> None:
        self.patch(os, "environ", {FILE_VARIABLE: "/nowhere/log"})
        error = self.assertRaises(SystemExit, logs.json)
        self.assertEqual(
            "MYPROJECT_LOG_FILE: /nowhere/log: no such file or directory; name a file that can be written",
            error.code,
        )

    def test_trouble_with_writing_is_nobodys(self) -> None:
        class Full:
            def write(self, _: bytes) -> None:
                raise OSError(28, "full")

        LineObserver(text_line, Full())({"log_format": "x"})  # type: ignore[arg-type]


class LoggingTests(TestCase):
    """What stands between ``twistd`` and its observers."""

    def setUp(self) -> None:
        self.publisher = LogPublisher()
        self.log = Logger("here", observer=self.publisher)
        stdio: Any = io
        self.beginner = LogBeginner(self.publisher, io.StringIO(), stdio, __import__("warnings"))
        self.patch(logcontrol, "globalLogBeginner", self.beginner)

    def begin(self, *observers: Any) -> None:
        before = self.beginner._warningsModule.showwarning
        self.addCleanup(setattr, self.beginner._warningsModule, "showwarning", before)
        self.beginner.beginLoggingTo(observers, redirectStandardIO=False)

    def test_keeps_what_is_less_important_from_any_observer(self) -> None:
        made = Logging.installed("shout", "warn")
        self.log.info("before")
        seen: list[str] = []
        self.begin(lambda event: seen.append(event["log_format"]))
        for level in LogLevel.iterconstants():
            self.log.emit(level, level.name)
        self.assertEqual(["warn", "error", "critical"], seen)
        made.level = "debug"
        self.log.debug("later")
        self.assertEqual("later", seen[-1])

    def test_an_event_without_a_level_is_informative(self) -> None:
        for level, expected in (("info", 1), ("warn", 0)):
            made = Logging("shout", level)
            seen: list[object] = []

            def begin(observers: list[Any]) -> None:
                for one in observers:
                    one({})

            made._begin = begin
            made.begin([seen.append])  # type: ignore[list-item]
            self.assertEqual(expected, len(seen), level)

    def test_the_first_subcommand_of_a_process_has_its_say(self) -> None:
        first = Logging.installed("shout", "error")
        self.assertIs(first, Logging.installed("whisper", "debug"))
        self.assertEqual("error", first.level)

    def test_leaves_nothing_behind(self) -> None:
        Logging.installed("shout", "info")
        self.begin()
        self.assertEqual(
            LogBeginner.beginLoggingTo, getattr(self.beginner.beginLoggingTo, "__func__", None)
        )

    def test_tells_our_observers_whose_log_it_is(self) -> None:
        out = io.BytesIO()
        Logging.installed("shout", "info")
        self.begin(LineObserver(json_line, logs._Stream(out)))
        self.log.info("x")
        self.assertEqual("shout", json.loads(out.getvalue())["subcommand"])

    def test_opens_twistds_log_file_again(self) -> None:
        path = Path(self.mktemp()).absolute()
        file = LogFile.fromFullPath(str(path))
        self.addCleanup(file.close)
        made = Logging.installed("shout", "info")
        plain: list[object] = []
        self.begin(
            made, textFileLogObserver(file), textFileLogObserver(io.StringIO()), plain.append
        )
        self.log.info("one")
        path.rename(f"{path}.1")
        made.reopen()
        self.log.info("two")
        self.assertIn("two", path.read_text())
        self.assertNotIn("two", Path(f"{path}.1").read_text())

    def test_a_file_that_cannot_be_had_is_said_and_kept(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        file = LogFile.fromFullPath(str(folder / "log"))
        self.addCleanup(file.close)
        made = Logging.installed("shout", "info")
        self.begin(textFileLogObserver(file))
        folder.rename(f"{folder}-moved")
        observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        made.reopen()
        self.log.info("kept")
        self.assertIn("kept", Path(f"{folder}-moved/log").read_text())
        self.assertEqual(["no such file or directory"], [event["why"] for event in observer])


class SignalTests(TestCase):
    """``SIGHUP``."""

    def test_opens_the_files_again_beside_what_else_it_does(self) -> None:
        happened: list[str] = []
        previous = signal.signal(signal.SIGHUP, lambda *_: happened.append("theirs"))
        self.addCleanup(signal.signal, signal.SIGHUP, previous)
        theirs = signal.getsignal(signal.SIGHUP)
        reactor: Any = MemoryReactorClock()
        reactor.callFromThread = lambda call: call()
        logging = Logging("shout", "info")
        self.patch(logging, "reopen", lambda: happened.append("ours"))
        made = LogsService(logging, reactor)
        made.startService()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(["ours", "theirs"], happened)
        made.stopService()
        self.assertIs(theirs, signal.getsignal(signal.SIGHUP))

    def test_leaves_the_signal_to_who_took_it_since(self) -> None:
        previous = signal.getsignal(signal.SIGHUP)
        self.addCleanup(signal.signal, signal.SIGHUP, previous)
        made = LogsService(Logging("shout", "info"))
        made.startService()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        made.stopService()
        self.assertEqual(signal.SIG_IGN, signal.getsignal(signal.SIGHUP))

    def test_takes_it_once_though_another_came_after_it_and_it_starts_again(self) -> None:
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        happened: list[str] = []
        reactor = SimpleNamespace(callFromThread=lambda _: happened.append("ours"))
        first, second = (LogsService(Logging("shout", "info"), reactor) for _ in range(2))
        first.startService()
        second.startService()
        first.stopService()
        first.startService()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(["ours", "ours"], happened)


class JournalTests(TestCase):
    """A gate's connections."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.gate = Gate(Factory.forProtocol(Protocol), clock=self.clock)
        self.events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def connect(self, peer: Any, host: Any) -> tuple[Any, StringTransport]:
        transport = StringTransport(host, peer)
        protocol = self.gate.buildProtocol(peer)
        protocol.makeConnection(transport)
        return protocol, transport

    def lines(self) -> list[dict[str, Any]]:
        return [said(**event) for event in self.events]

    def test_says_how_each_connection_went(self) -> None:
        self.gate.journal = Journal("shout", self.gate, access=True)
        peer, host = IPv4Address("TCP", "192.0.2.1", 50), IPv6Address("TCP", "::1", 7)
        one, _ = self.connect(peer, host)
        self.clock.advance(1.5)
        one.connectionLost(Failure(ConnectionDone()))
        opened, closed = self.lines()
        number = opened["connection"]
        self.assertEqual(
            (f"connection {number} from 192.0.2.1:50 to [::1]:7 opened", "shout"),
            (opened["message"], opened["subcommand"]),
        )
        self.assertEqual(
            f"connection {number} from 192.0.2.1:50 closed after 1.500 s: Connection was closed cleanly",
            closed["message"],
        )
        self.assertEqual(
            (number, "192.0.2.1:50", "[::1]:7", 1.5, "Connection was closed cleanly"),
            tuple(closed[key] for key in ("connection", "peer", "local", "duration", "reason")),
        )

    def test_numbers_are_the_processs(self) -> None:
        self.gate.journal = Journal("shout", self.gate, access=True)
        address = UNIXAddress(b"/run/s\xff\n")
        for _ in range(3):
            self.connect(UNIXAddress(None), address)
        other = Journal("whisper", self.gate, access=True)
        self.gate.journal = other
        self.connect(UNIXAddress(None), address)
        numbers = [line["connection"] for line in self.lines()]
        self.assertEqual([numbers[0] + more for more in range(4)], numbers)
        self.assertEqual(
            ("unix", "unix:/run/s\\udcff\\n"), (self.lines()[0]["peer"], self.lines()[0]["local"])
        )

    def test_says_nothing_unless_it_is_to(self) -> None:
        self.gate.journal = Journal("shout", self.gate, access=False)
        address = IPv4Address("TCP", "192.0.2.1", 50)
        protocol, _ = self.connect(address, address)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([], self.lines())

    def test_changes_its_mind(self) -> None:
        """Whose beginning was logged, has its end logged; whose was not, has not."""
        journal = Journal("shout", self.gate, access=True)
        self.gate.journal = journal
        address = IPv4Address("TCP", "192.0.2.1", 50)
        logged, _ = self.connect(address, address)
        journal.access = False
        silent, _ = self.connect(address, address)
        logged.connectionLost(Failure(ConnectionDone()))
        journal.access = True
        silent.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(1, len({line["connection"] for line in self.lines()}))
        self.assertEqual(2, len(self.lines()))

    def test_a_reason_may_be_missing(self) -> None:
        journal = Journal("shout", self.gate, access=True)
        self.gate.journal = journal
        address = IPv4Address("TCP", "192.0.2.1", 50)
        self.connect(address, address)
        for connection in self.gate:
            journal.closed(connection)
        self.assertEqual("unknown", self.lines()[-1]["reason"])


class EndToEndTests(EndToEnd):
    """The installed ``twistd``."""

    def test_json_with_an_access_log(self) -> None:
        port = free_port()
        words = ("--logger", "myproject.logs.json", "-n", "myproject-echo", "--access-log")
        server = start(self, *words, "-p", f"{port}").wait_for_port(port)
        exchange(port, b"x" * 1000)
        exchange(port, b"y" * 10, "::1")
        server.stop()
        lines = [json.loads(line) for line in server.stdout.splitlines()]
        self.assertEqual({"myproject-echo"}, {line["subcommand"] for line in lines})
        closed = [line for line in lines if " closed after " in line["message"]]
        counted = [line for line in closed if line["received"]]
        self.assertEqual([(1000, 1000), (10, 10)], [(c["received"], c["sent"]) for c in counted])
        self.assertEqual(["127.0.0.1", "[::1]"], [c["peer"].rpartition(":")[0] for c in counted])
        # No two have a number in common, though each port counts for itself.
        self.assertEqual(len(closed), len({line["connection"] for line in closed}))
        number = counted[0]["connection"]
        self.assertEqual(f"EchoProtocol,{number},127.0.0.1", counted[0]["system"])
        self.assertEqual("", server.stderr)

    def test_text(self) -> None:
        port = free_port()
        words = ("--logger", "myproject.logs.text", "-n", "myproject-chat", "-p", f"{port}")
        server = start(self, *words).wait_for_port(port)
        server.stop()
        for line in server.stdout.splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z (info|warn) \[\S+\] .")

    def test_the_level_holds_for_twistds_own_log_and_for_its_first_lines(self) -> None:
        port = free_port()
        server = start(self, "-n", "myproject-echo", "--log-level=error", "-p", f"{port}")
        server.wait_for_port(port).stop()
        self.assertEqual("", server.log)

    def test_a_level_that_is_none_is_refused(self) -> None:
        done = run("myproject-echo", "--log-level=loud", cwd=self.folder())
        self.assertEqual(os.EX_USAGE, done.returncode)
        self.assertIn("give one of debug, info, warn, error, critical", done.stderr)

    def test_the_levels_are_twisteds(self) -> None:
        allowed = Options.settings["log-level"].kind.allowed
        self.assertEqual("one of " + ", ".join(LEVELS), allowed)

    def check_rotation(self, file: str, *words: str, **environ: str) -> None:
        port = free_port()
        folder = self.folder()
        server = start(
            self,
            *words,
            "myproject-echo",
            "--access-log",
            "-p",
            f"{port}",
            cwd=folder,
            environ=clean_environment(**environ),
        ).wait_for_port(port)
        log = folder / file
        with connect(port) as client:
            # Ports open before there are handlers for signals: an answer is a sign of both.
            client.sendall(b"here")
            self.assertEqual(b"here", client.recv(100))
            log.rename(folder / "old")
            server.signal(signal.SIGHUP)
            wait_until(log.exists, what="there is a new log file")
            client.sendall(b"still here")
            self.assertEqual(b"still here", client.recv(100))
        wait_until(lambda: " closed after " in log.read_text(), what="the new file is written to")
        self.assertIn("starting on", (folder / "old").read_text())

    def test_a_file_of_ours_is_opened_again_on_sighup(self) -> None:
        words = ("--logger", "myproject.logs.text", "-n")
        self.check_rotation("a.log", *words, MYPROJECT_LOG_FILE="a.log")

    def test_a_file_of_twistds_is_opened_again_on_sighup(self) -> None:
        self.check_rotation("b.log", "--logfile", "b.log", "-n")

    def test_importing_it_installs_no_reactor(self) -> None:
        code = "import sys, myproject.logs; print('twisted.internet.reactor' in sys.modules)"
        self.assertEqual("False\n", run("-c", code, cwd=self.folder(), tool="python").stdout)
