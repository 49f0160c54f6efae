"""The speed benchmarks' arithmetic, and that their loads notice what a faulty server does."""

from __future__ import annotations

import importlib
import json
import shutil
import socketserver
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

FOLDER = Path(__file__).parents[2] / "benchmarks"


def benchmark(name: str) -> ModuleType:
    """A module of the benchmarks, which are no package."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


report: Any = benchmark("speed_report")
loads: Any = benchmark("speed_loads")
speed: Any = benchmark("speed")


class ArithmeticTests(SynchronousTestCase):
    def test_spread_has_the_median_and_the_range(self) -> None:
        self.assertEqual(report.spread([3.0, 1.0, 2.0, 10.0]), report.Spread(2.5, 1.0, 10.0))

    def test_spread_of_nothing_is_refused(self) -> None:
        self.assertRaises(ValueError, report.spread, [])

    def test_a_ratio_is_of_rounds_and_not_of_medians(self) -> None:
        # The medians, 4 and 2, would give 2.
        self.assertEqual(report.ratio([4, 4, 9], [1, 2, 3]), report.Spread(3.0, 2.0, 4.0))

    def test_a_ratio_of_other_rounds_is_refused(self) -> None:
        self.assertRaises(ValueError, report.ratio, [1.0], [1.0, 2.0])

    @given(st.lists(st.floats(0.001, 1e6), min_size=1), st.floats(0.01, 100))
    def test_a_ratio_is_what_it_was_made_with(self, values: list[float], factor: float) -> None:
        found = report.ratio([value * factor for value in values], values)
        for one in (found.low, found.median, found.high):
            self.assertAlmostEqual(one / factor, 1.0)

    @given(st.floats(1e-3, 1e9))
    def test_digits_say_the_number(self, value: float) -> None:
        self.assertLessEqual(abs(float(report.digits(value)) - value), max(value / 100, 0.0005001))

    def test_a_load_measured_again_replaces_all_servers_of_it(self) -> None:
        old = {"a": {"x": [1.0], "y": [2.0]}, "b": {"x": [3.0]}}
        self.assertEqual(
            report.merge(old, {"a": {"x": [9.0]}}), {"a": {"x": [9.0]}, "b": {"x": [3.0]}}
        )

    def test_a_target_is_judged_by_the_median(self) -> None:
        target = report.Target("a", "us", "them", 1.5)
        costs = {"a": {"us": [1.0, 1.5, 9.0], "them": [1.0, 1.0, 1.0]}}
        (row,) = report.judge(costs, [target])
        self.assertEqual(row, ("a", "us", "them", "1.5", "1.50 (1.00-9.00)", "yes"))
        (row,) = report.judge({"a": {"us": [1.6], "them": [1.0]}}, [target])
        self.assertEqual(row[-1], "no")

    def test_what_was_not_measured_is_not_judged(self) -> None:
        target = report.Target("a", "us", "them", 1.5)
        for servers in ({}, {"us": [1.0]}, {"us": [1.0], "them": []}):
            self.assertEqual(report.judge({"a": servers}, [target]), [])

    def test_every_target_is_of_a_load_that_there_is(self) -> None:
        self.assertLessEqual({one.load for one in report.TARGETS}, set(loads.LOADS))

    def test_a_table_escapes_bars(self) -> None:
        self.assertEqual(
            report.table(["a", "b"], [["1|2", "3"]]), "| a | b |\n| --- | --- |\n| 1\\|2 | 3 |\n"
        )

    def test_the_chart_is_xml_and_has_a_bar_for_each_server(self) -> None:
        drawn = report.chart({"a<b": {"x": [1.0], "y": [2.0]}, "empty": {}}, "t & u")
        bars = [
            float(one.attrib["width"])
            for one in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}rect")
        ][1:]
        self.assertEqual(len(bars), 2)
        self.assertAlmostEqual(bars[0] * 2, bars[1])


class PageTests(SynchronousTestCase):
    def test_it_is_what_the_results_say(self) -> None:
        """Page and chart are made of speed.json, and of nothing else but what is written by hand."""
        reference = FOLDER.parent / "docs" / "reference"
        kept = json.loads((reference / "speed.json").read_text())
        written = (reference / "speed.md").read_text()
        page, drawn = speed.made(kept, written)
        self.assertEqual(page, written)
        self.assertEqual(drawn, (reference / "speed.svg").read_text())

    def test_what_is_written_by_hand_stays(self) -> None:
        kept = json.loads((FOLDER.parent / "docs" / "reference" / "speed.json").read_text())
        bare, _ = speed.made(kept, "")
        self.assertNotIn("Because", bare)
        why = f"# Speed\n\n{speed.BY_HAND}\n\nBecause.\n\nAnd so.\n\n## All figures\n\nOld.\n"
        page, _ = speed.made(kept, why)
        self.assertIn(f"\n{speed.BY_HAND}\n\nBecause.\n\nAnd so.\n\n## All figures\n", page)
        self.assertEqual(page, speed.made(kept, page)[0])


class Toy(socketserver.ThreadingTCPServer):
    """A server that does what its handler does, to each client in a thread."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 50


class Echo(socketserver.BaseRequestHandler):
    """Echo, with a fault in the 5,000th byte of each connection."""

    fault: ClassVar[str] = ""

    def handle(self) -> None:
        count, waited = 0, 5000
        try:
            while data := self.request.recv(4096):
                at, count = waited - count, count + len(data)
                if 0 <= at < len(data) and self.fault:
                    data = damage(self.fault, data, at)
                self.request.sendall(data)
        except OSError:
            return


def damage(fault: str, data: bytes, at: int) -> bytes:
    """Do to bytes what a faulty server does."""
    return {
        "lost": data[:at] + data[at + 1 :],
        "altered": data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
        "doubled": data[: at + 1] + data[at:],
    }[fault]


class Room:
    """
    An IRC server's least: it registers, has one channel, and goes wrong with one delivery.

    :param fault: what happens to the 200th delivery.
    """

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.lock = threading.Lock()
        self.members: dict[str, Callable[[bytes], object]] = {}
        self.deliveries = 0

    def deliver(self, nick: str, line: bytes) -> None:
        """Hand a line to all others."""
        with self.lock:
            for other, send in self.members.items():
                if other == nick:
                    continue
                self.deliveries += 1
                fault = self.fault if self.deliveries == 200 else ""
                if fault == "altered":
                    send(line[:-5] + b"?" + line[-4:])
                    continue
                for _ in range({"lost": 0, "doubled": 2}.get(fault, 1)):
                    send(line)


def chat(room: Room) -> type[socketserver.BaseRequestHandler]:
    """A handler for the clients of a room."""

    class Client(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            nick = ""
            try:
                for line in self.rfile:
                    word = line.split()
                    if word[0] == b"NICK":
                        nick = word[1].decode()
                    elif word[0] == b"USER":
                        self.request.sendall(b":toy 422 x :no message\r\n")
                    elif word[0] == b"JOIN":
                        with room.lock:
                            room.members[nick] = self.request.sendall
                        self.request.sendall(b":toy 366 x #bench :end\r\n")
                    else:
                        room.deliver(nick, f":{nick}!a@b ".encode() + line)
            except OSError:
                return

    return Client


@cache
def programs() -> Path:
    """A folder of the programs, in trial's own."""
    if shutil.which("cc") is None:
        raise SkipTest("needs a C compiler that answers to cc")
    folder = Path(tempfile.mkdtemp(dir=".")).resolve()
    loads.build(folder)
    return folder


class LoadTests(SynchronousTestCase):
    """The programs in C, against servers that are right and servers that are not."""

    def setUp(self) -> None:
        self.folder = programs()

    def run_load(self, handler: Any, program: str, *words: str, seconds: float = 0.3) -> Any:
        """One short load on a toy."""
        with Toy(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                return loads.run(
                    loads.Load(program, words, "toy", ""),
                    self.folder,
                    server.server_address[1],
                    [],
                    warm=0.02,
                    seconds=seconds,
                    patience=60 if handler is not Hanging else 1,
                )
            finally:
                server.shutdown()
                thread.join()

    def says(self, handler: Any, program: str, *words: str) -> str:
        """What a load says of a toy that is wrong: it ends at once, and not when its time has come."""
        run = self.run_load
        return str(self.assertRaises(loads.Refused, run, handler, program, *words, seconds=60))

    def echo(self, fault: str) -> type[Echo]:
        return type("Faulty", (Echo,), {"fault": fault})

    def test_an_echo_that_is_right(self) -> None:
        for window in ("1", "20"):
            self.assertGreater(
                self.run_load(self.echo(""), "echo_load", "3", "64", window).messages, 0
            )

    def test_a_byte_that_is_altered(self) -> None:
        self.assertIn("byte 5000", self.says(self.echo("altered"), "echo_load", "1", "64", "100"))

    def test_a_byte_that_is_lost(self) -> None:
        self.assertIn("lost", self.says(self.echo("lost"), "echo_load", "1", "64", "100"))

    def test_a_byte_that_is_doubled(self) -> None:
        said = self.says(self.echo("doubled"), "echo_load", "1", "64", "100")
        self.assertRegex(said, "altered|came back of")

    def test_a_server_that_hangs(self) -> None:
        said = self.says(Hanging, "echo_load", "1", "64", "1")
        self.assertIn("hung: nothing for 1 seconds", said)

    def test_a_server_that_is_not_there(self) -> None:
        load = loads.Load("echo_load", ("1", "64", "1"), "toy", "")
        error = self.assertRaises(
            loads.Refused, loads.run, load, self.folder, 1, [], warm=0, seconds=0.1
        )
        self.assertIn("connect: ", str(error))

    def room(self, fault: str) -> str:
        return self.says(chat(Room(fault)), "chat_load", "channel", "4", "2", "3")

    def test_a_chat_that_is_right(self) -> None:
        found = self.run_load(chat(Room("")), "chat_load", "channel", "4", "2", "3")
        self.assertGreater(found.messages, 0)

    def test_a_delivery_that_is_lost(self) -> None:
        self.assertIn("one before it was lost", self.room("lost"))

    def test_a_delivery_that_is_doubled(self) -> None:
        self.assertRegex(self.room("doubled"), "came twice")

    def test_a_delivery_that_is_altered(self) -> None:
        self.assertIn("altered", self.room("altered"))


class Hanging(socketserver.BaseRequestHandler):
    """It takes all and says nothing."""

    def handle(self) -> None:
        while self.request.recv(4096):
            pass
