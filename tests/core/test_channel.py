"""The channel between a supervisor and its workers: messages whole, nothing without bound, nobody stuck."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from myproject import channel
from myproject.channel import Assignment, Downlink, Lines, Message, Uplink, encoded
from tests.support import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
MESSAGES = st.lists(
    st.builds(
        lambda kind, rest: {**rest, "kind": kind}, st.text(), st.dictionaries(st.text(), VALUES)
    ),
    max_size=5,
)


class Descriptors(MemoryReactorClock):
    """A reactor that notes what it is to read and write."""

    def callFromThread(self, callable: Callable[..., object], *arguments: Any) -> None:
        self.callLater(0, callable, *arguments)


class LinesTests(SynchronousTestCase):
    """Messages on their way."""

    @given(MESSAGES, st.lists(st.integers(1, 40), min_size=1))
    def test_any_cuts(self, messages: list[Message], cuts: list[int]) -> None:
        """In whatever pieces they come, they are those that were sent, in their order."""
        data = b"".join(map(encoded, messages))
        lines = Lines()
        heard: list[Message] = []
        while data:
            for cut in cuts:
                heard += lines.feed(data[:cut])
                data = data[cut:]
        self.assertEqual(messages, heard)

    @given(st.binary())
    def test_anything(self, data: bytes) -> None:
        """What is no message is refused, and never more than that."""
        try:
            heard = Lines().feed(data)
        except ValueError:
            return
        self.assertTrue(all(isinstance(one["kind"], str) for one in heard))

    def test_nonsense(self) -> None:
        """JSON that is no message is none."""
        for line in (b"1\n", b"{}\n", b'{"kind": 1}\n', b"[" * 100_000 + b"\n"):
            self.assertRaises(ValueError, Lines().feed, line)

    def test_too_long(self) -> None:
        """Neither side sends, or waits for, a line without bound."""
        self.patch(channel, "LONGEST", 100)
        self.assertRaises(ValueError, encoded, {"kind": "x" * 100})
        self.assertRaises(ValueError, Lines().feed, b"x" * 101)

    def test_assignment(self) -> None:
        """What a worker is to be arrives as it was meant, and undecodable names of files with it."""
        assignment = Assignment(
            "shout",
            "shout.tap",
            "Shouts.",
            1,
            2,
            "some.reactor",
            "/a\udcff",
            ["/b"],
            {"port": ["0"]},
        )
        [message] = Lines().feed(encoded(assignment.message()))
        self.assertEqual(assignment, Assignment.of(message))


class Piped(SynchronousTestCase):
    """With a real pipe, and a reactor in memory."""

    def setUp(self) -> None:
        self.read, self.write = os.pipe()
        self.open = {self.read, self.write}
        self.addCleanup(self.close_all)
        self.reactor = Descriptors()

    def close_all(self) -> None:
        for number in set(self.open):
            self.close(number)

    def close(self, number: int) -> None:
        self.open.remove(number)
        os.close(number)

    def heard(self) -> list[Message]:
        os.set_blocking(self.read, False)
        data = b""
        try:
            while more := os.read(self.read, 65536):
                data += more
        except BlockingIOError:
            pass
        return [json.loads(line) for line in data.splitlines() if line.endswith(b"}")]


class UplinkTests(Piped):
    """From a worker."""

    def setUp(self) -> None:
        super().setUp()
        self.uplink = Uplink(self.write)

    def fill(self) -> int:
        """Log until events are lost."""
        sent = 0
        while not self.uplink.lost:
            self.uplink.send({"kind": "log", "event": "x" * 10_000})
            sent += 1
        return sent - 1

    def test_at_once(self) -> None:
        """What is said is said, even if the process ends in the same moment."""
        self.uplink.send({"kind": "log"})
        self.assertEqual([{"kind": "log"}], self.heard())

    def test_bounded(self) -> None:
        """Nobody reads: events are counted, other messages wait, and nothing blocks."""
        self.uplink.start(self.reactor)
        sent = self.fill()
        self.assertLess(sent * 10_000, channel.MOST_UNSENT + 70_000)
        self.uplink.send({"kind": "log", "event": "y" * 10_000})
        self.uplink.send({"kind": "answer"})
        self.reactor.advance(0)
        self.assertEqual([self.uplink], list(self.reactor.getWriters()))
        kinds: list[str] = []
        text = b""
        os.set_blocking(self.read, False)
        while self.reactor.getWriters():
            self.uplink.doWrite()
            text += os.read(self.read, 1 << 20)
        kinds = [json.loads(line)["kind"] for line in text.splitlines()]
        self.assertEqual(["log"] * sent + ["answer"], kinds)
        self.uplink.send({"kind": "log"})
        self.assertEqual([{"kind": "lost", "count": 2}, {"kind": "log"}], self.heard())

    def test_too_long(self) -> None:
        """A message that nobody would take is lost, and counted."""
        self.patch(channel, "LONGEST", 100)
        self.uplink.send({"kind": "answer", "value": "x" * 200})
        self.uplink.send({"kind": "log"})
        self.assertEqual([{"kind": "lost", "count": 1}, {"kind": "log"}], self.heard())

    def test_handler_in_the_midst(self) -> None:
        """A signal's handler that logs while a message is written does not cut it in two."""
        write = os.write

        def interrupted(number: int, data: bytes) -> int:
            self.patch(os, "write", write)
            written = write(number, data[:5])
            self.uplink.send({"kind": "log", "from": "handler"})
            return written

        self.patch(os, "write", interrupted)
        self.uplink.send({"kind": "log", "from": "here"})
        self.assertEqual(["here", "handler"], [one["from"] for one in self.heard()])

    def test_last_words(self) -> None:
        """At the end, what waits is sent to a supervisor that reads."""
        sent = self.fill()
        lines: list[bytes] = []

        def read() -> None:
            with os.fdopen(os.dup(self.read), "rb") as stream:
                lines.extend(stream.readline() for _ in range(sent))

        reader = threading.Thread(target=read)
        reader.start()
        self.uplink.last_words(30)
        reader.join()
        self.assertEqual(sent, sum(line.endswith(b"}\n") for line in lines))

    def test_last_words_to_nobody(self) -> None:
        """One that does not read is not waited for."""
        self.fill()
        self.uplink.last_words(0.01)

    def test_broken(self) -> None:
        """With the supervisor gone, nothing is kept and nothing raises."""
        self.close(self.read)
        self.uplink.start(self.reactor)
        self.uplink.send({"kind": "log"})
        self.uplink.last_words(0)
        self.uplink.connectionLost(None)
        self.assertEqual((self.write, "worker"), (self.uplink.fileno(), self.uplink.logPrefix()))


class DownlinkTests(Piped):
    """To a worker."""

    def setUp(self) -> None:
        super().setUp()
        self.lost = 0
        self.downlink = Downlink(self.read, self.lose)
        self.received: list[Message] = []

    def lose(self) -> None:
        self.lost += 1

    def test_first_and_others(self) -> None:
        """The first is waited for; what came with it is delivered when there is someone."""
        os.write(self.write, encoded({"kind": "start"}) + encoded({"kind": "hurry"}) + b'{"ki')
        self.assertEqual({"kind": "start"}, self.downlink.first())
        self.downlink.start(self.reactor, self.received.append)
        self.assertEqual([{"kind": "hurry"}], self.received)
        self.assertEqual([self.downlink], list(self.reactor.getReaders()))
        self.assertIsNone(self.downlink.doRead())
        os.write(self.write, b'nd": "reload"}\n')
        self.assertIsNone(self.downlink.doRead())
        self.assertEqual([{"kind": "hurry"}, {"kind": "reload"}], self.received)

    def test_end_instead(self) -> None:
        """A supervisor that ends before it has said anything has a worker that ends."""
        self.close(self.write)
        self.assertIsNone(self.downlink.first())

    def test_end(self) -> None:
        """The end of the pipe is the end of the worker, and said once."""
        self.downlink.start(self.reactor, self.received.append)
        self.close(self.write)
        reason = self.downlink.doRead()
        self.assertIsInstance(reason, Exception)
        self.open.remove(self.read)
        self.downlink.connectionLost(reason)
        self.assertEqual(1, self.lost)

    def test_nonsense(self) -> None:
        """So is a supervisor that cannot be understood, and a pipe that cannot be read."""
        self.downlink.start(self.reactor, self.received.append)
        os.write(self.write, b"?\n")
        self.assertIsInstance(self.downlink.doRead(), Exception)
        self.close(self.read)
        self.assertIsInstance(self.downlink.doRead(), Exception)
        self.assertEqual("worker", self.downlink.logPrefix())


class OutlivedTests(SynchronousTestCase):
    """A worker that is stuck."""

    def test_ends_when_the_pipe_does(self) -> None:
        """Its process ends though its reactor never turns; before that, it does not."""
        code = (
            "import signal; from myproject.channel import outlived;"
            " outlived(0, 0.0); print('here', flush=True); signal.pause()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            self.assertEqual(b"here\n", process.stdout.readline())
            self.assertIsNone(process.poll())
            process.stdin.close()
            self.assertEqual(os.EX_UNAVAILABLE, process.wait(PATIENCE))
