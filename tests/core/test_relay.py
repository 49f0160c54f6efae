"""The relay: what a worker logs is a line of its supervisor's log, and the same line."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import (
    LogEvent,
    LogLevel,
    formatEventAsClassicLogText,
    globalLogPublisher,
)
from twisted.python import context, log
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from myproject import relay
from myproject.channel import Lines, Message, encoded
from myproject.logs import ConnectionPrefix, json_line, text_line
from myproject.relay import LONGEST_TEXT, Printed, Relay, WorkerError, publish, relayed


class Sent:
    """An uplink that keeps what is sent, as it arrives."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        self.messages += Lines().feed(encoded(message))


def failure() -> Failure:
    try:
        int("broken")
    except ValueError:
        return Failure()
    raise AssertionError


class RelayTests(SynchronousTestCase):
    """From an event in a worker to one in its supervisor."""

    def relay(self, event: LogEvent) -> LogEvent:
        sent = Sent()
        Relay(sent, "shout")(event)  # type: ignore[arg-type]
        return relayed(sent.messages[0], 3)

    def event(self, **more: Any) -> LogEvent:
        return {
            "log_time": 1_700_000_000.25,
            "log_level": LogLevel.warn,
            "log_namespace": "shout.protocol",
            "log_format": "{who} shouts",
            "who": "ann",
            **more,
        }

    def test_same_line(self) -> None:
        """In JSON it is the line that the worker would have written, and the worker's number."""
        event = self.event(log_failure=failure())
        expected = {**json.loads(json_line(event, "shout")), "worker": 3}
        self.assertEqual(expected, json.loads(json_line(self.relay(event), "other")))
        self.assertIn(
            "ValueError: invalid literal for int() with base 10: 'broken'", expected["traceback"]
        )

    def test_text(self) -> None:
        """In text the worker stands in front of the system."""
        self.assertEqual(
            "2023-11-14T22:13:20.250000Z warn [worker 3: shout.protocol] ann shouts",
            text_line(self.relay(self.event()), "other"),
        )

    def test_connection(self) -> None:
        """The connection that it was logged for comes along."""
        prefix = ConnectionPrefix("Shout,7,192.0.2.1", 7, "192.0.2.1:99", "shout")
        sent = Sent()
        context.call(
            {log.ILogContext: {"system": prefix}},
            Relay(sent, "other"),  # type: ignore[arg-type]
            self.event(),
        )
        known = json.loads(json_line(relayed(sent.messages[0], 3)))
        self.assertEqual(
            (7, "192.0.2.1:99", "shout"),
            tuple(known[name] for name in ("connection", "peer", "subcommand")),
        )

    def test_twisted_observers(self) -> None:
        """Twisted's own formats have all of it, the traceback too."""
        line = formatEventAsClassicLogText(self.relay(self.event(log_failure=failure())))
        assert line is not None
        self.assertIn("[worker 3: shout.protocol] ann shouts", line)
        self.assertIn("ValueError: invalid literal for int() with base 10: 'broken'", line)

    def test_own_key(self) -> None:
        """An event of this process that happens to have such a key says nothing of a worker."""
        self.assertNotIn("worker 9:", text_line(self.event(worker=9)))

    def test_braces(self) -> None:
        """A message is text, whatever is in it."""
        line = formatEventAsClassicLogText(self.relay(self.event(who="{log_time} {x!r}")))
        self.assertIn("{log_time} {x!r} shouts", line or "")

    @given(st.dictionaries(st.text(), st.text() | st.integers() | st.binary() | st.floats()))
    def test_anything(self, more: dict[str, Any]) -> None:
        """Whatever an event holds, both lines are the same but for the worker."""
        event = {**more, **self.event()}
        expected = {**json.loads(json_line(event, "shout")), "worker": 3}
        self.assertEqual(expected, json.loads(json_line(self.relay(event))))

    def test_long_texts(self) -> None:
        """A text is cut, and an event that is long all the same keeps its main parts."""
        known = json.loads(json_line(self.relay(self.event(who="x" * 100_000))))
        self.assertEqual(LONGEST_TEXT + 3, len(known["message"]))
        self.assertEqual(LONGEST_TEXT + 3, len(known["who"]))
        many = {f"key{number}": ["x" * 999, {"y": 1}] for number in range(100)}
        known = json.loads(json_line(self.relay(self.event(**many))))
        self.assertEqual(
            {"time", "level", "namespace", "subcommand", "message", "worker"}, known.keys()
        )

    def test_without_time(self) -> None:
        """An event of a system that keeps no time gets one."""
        event = self.event()
        del event["log_time"]
        self.assertGreater(self.relay(event)["log_time"], 1_700_000_001)

    def test_published(self) -> None:
        """It goes where all events go, and a failure is one to whoever counts them."""
        seen: list[LogEvent] = []
        globalLogPublisher.addObserver(seen.append)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)  # type: ignore[arg-type]
        publish(self.relay(self.event(log_failure=failure())))
        self.assertEqual(["ann shouts"], [event["log_text"] for event in seen])
        [counted] = self.flushLoggedErrors(WorkerError)
        self.assertEqual(
            "builtins.ValueError: invalid literal for int() with base 10: 'broken'",
            counted.getErrorMessage(),
        )


class PrintedTests(SynchronousTestCase):
    """What an interpreter prints when it fails."""

    @given(st.lists(st.binary(max_size=30)))
    def test_any_cuts(self, pieces: list[bytes]) -> None:
        """Lines are lines in whatever pieces they come, and empty ones are none."""
        said: list[str] = []
        printed = Printed(said.append)
        for piece in pieces:
            printed.feed(piece)
        printed.end()
        lines = [line for line in b"".join(pieces).split(b"\n") if line.strip()]
        self.assertEqual([line.decode("utf-8", "backslashreplace") for line in lines], said)

    def test_no_end(self) -> None:
        """One who never ends a line does not fill our memory."""
        self.patch(relay, "LONGEST_TEXT", 10)
        said: list[str] = []
        printed = Printed(said.append)
        printed.feed(b"x" * 25)
        printed.end()
        self.assertEqual(["x" * 10, "x" * 10, "x" * 5], said)
