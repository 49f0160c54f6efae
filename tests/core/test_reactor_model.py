"""
Twisted's own epoll reactor is the model of the corked one: after any sequence of what a program may do with
two ends of a connection, both ends have seen the same.
"""

from __future__ import annotations

import socket
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from twisted.internet import protocol
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from myproject.reactor.epollreactor import CorkedEPollReactor

#: Turns without a change after which nothing more will happen: closing takes a timer and an event.
QUIET = 4

#: Turns after which something is wrong.
PATIENCE = 300

#: What both ends say, over and over; 1,009 is prime, so that a piece of it elsewhere is seen.
TEXT = bytes(place * 7 % 251 for place in range(1009))

SIDES = st.integers(0, 1)
SIZES = st.sampled_from([1, 2, 100, 448, 449, 5_000, 33_000, 65_536, 65_537, 140_000, 300_000])

#: What is done, to which end, with what.
STEPS = st.one_of(
    st.tuples(st.just("write"), SIDES, SIZES),
    st.tuples(st.just("write_all"), SIDES, st.lists(SIZES, max_size=4)),
    st.tuples(
        st.sampled_from(["pause", "resume", "close_half", "close", "abort", "stop_producer"]),
        SIDES,
        st.none(),
    ),
    st.tuples(
        st.just("answer"),
        SIDES,
        st.sampled_from(["nothing", "echo", "close", "close_half", "abort"]),
    ),
    st.tuples(st.just("pull"), SIDES, st.integers(0, 4)),
    st.tuples(st.just("push"), SIDES, st.none()),
    st.tuples(st.just("turn"), SIDES, st.none()),
)

#: After these what was under way may be lost, so that the moment matters, in which the two differ.
LOSES = frozenset({"close", "abort"})

#: Before these all that is under way arrives: how many turns that takes is not the same.
SETTLED = LOSES | {"close_half", "answer", "pause"}


class End(protocol.Protocol):
    """One end: does as it is told, and remembers what happened to it."""

    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.written = bytearray()
        self.events: list[str] = []
        self.answer = "nothing"
        self.answers = 0
        self.halved = False
        self.producer: Producer | None = None

    def write(self, size: int) -> bytes:
        """The bytes that belong at this place of what the end says, however it is cut."""
        if self.halved:
            # Whether it would still be sent depends on the moment.
            return b""
        place = len(self.written) % len(TEXT)
        data = (TEXT[place:] + TEXT * (size // len(TEXT) + 1))[:size]
        self.written += data
        return data

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.answers == 3:
            return
        self.answers += self.answer != "nothing"
        if self.answer == "echo":
            self.transport.write(self.write(min(len(data), 1000)))
        elif self.answer != "nothing":
            do(self, self.answer, None)

    def connectionLost(self, reason: Any = protocol.connectionDone) -> None:  # noqa: ARG002
        self.events.append("lost")


@implementer(IHalfCloseableProtocol)
class HalfEnd(End):
    def readConnectionLost(self) -> None:
        self.events.append("peer closed its half")

    def writeConnectionLost(self) -> None:
        self.events.append("half closed")


class Producer:
    """Either kind: writes some chunks when asked to, then ends; a pushed one only hears."""

    def __init__(self, end: End, chunks: int) -> None:
        self.end = end
        self.chunks = chunks
        self.told: list[str] = []

    def resumeProducing(self) -> None:
        self.told.append("resume")
        if self.chunks:
            self.chunks -= 1
            self.end.transport.write(self.end.write(3_000))
        else:
            stop_producer(self.end)

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def stopProducing(self) -> None:
        self.told.append("stop")


def stop_producer(end: End) -> None:
    transport: Any = end.transport
    if end.producer is not None and transport.producer is end.producer:
        transport.unregisterProducer()
    end.producer = None


def do(end: End, what: str, how: Any) -> None:
    """Have an end do something."""
    transport: Any = end.transport
    if what == "write":
        transport.write(end.write(how))
    elif what == "write_all":
        transport.writeSequence([end.write(size) for size in how])
    elif what in ("pull", "push") and end.producer is None and "lost" not in end.events:
        end.producer = Producer(end, how or 0)
        transport.registerProducer(end.producer, what == "push")
    elif what == "stop_producer":
        stop_producer(end)
    elif what == "answer":
        end.answer = how
    elif "lost" not in end.events:
        if what == "pause":
            transport.pauseProducing()
        elif what == "resume":
            transport.resumeProducing()
        elif what == "close_half" and not end.halved:
            # A second time has Twisted's own reactor lose what the peer still says.
            end.halved = True
            transport.loseWriteConnection()
        elif what == "close":
            transport.loseConnection()
        elif what == "abort":
            transport.abortConnection()


def connect(family: socket.AddressFamily) -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection, of the one kind of transports or of the other."""
    if family == socket.AF_UNIX:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.create_connection(listening.getsockname())
        other, _ = listening.accept()
    for each in one, other:
        # Else the last bytes wait for a delayed acknowledgement of those before.
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return one, other


class Pair:
    """A connection, both ends of which a reactor has."""

    def __init__(self, kind: Any, family: socket.AddressFamily, half: tuple[bool, bool]) -> None:
        self.family = family
        self.reactor: Any = kind()
        self.ends: list[End] = []
        for knows, one in zip(half, connect(family), strict=True):
            end = HalfEnd() if knows else End()
            one.setblocking(False)
            factory: Any = protocol.Factory()
            factory.buildProtocol = lambda _, end=end: end
            self.reactor.adoptStreamConnection(one.fileno(), family, factory)
            one.close()
            self.ends.append(end)

    def seen(self) -> tuple[object, ...]:
        """What has happened, as far as one can tell from outside."""
        waiting = [
            end.transport.dataBuffer[end.transport.offset :]
            + bytes([end.transport._tempDataLen % 2])
            for end in self.ends
        ]
        return (
            *(len(end.received) for end in self.ends),
            *(len(end.written) for end in self.ends),
            *(tuple(end.events) for end in self.ends),
            *map(len, waiting),
        )

    def settle(self) -> None:
        """Turn until nothing happens any more."""
        same = 0
        before = self.seen()
        for _ in range(PATIENCE):
            if same == QUIET:
                return
            self.reactor.iterate(0)
            now = self.seen()
            same = same + 1 if now == before else 0
            before = now
        raise AssertionError(f"it does not settle: {before}")

    def end(self) -> None:
        """Close all."""
        for one in self.reactor.removeAll():
            one.connectionLost(protocol.connectionDone)
        for end in self.ends:
            end.transport.connectionLost(protocol.connectionDone)
        self.reactor.removeReader(self.reactor.waker)
        self.reactor.waker.connectionLost(None)
        self.reactor._poller.close()


def take(pair: Pair, step: Any) -> None:
    """Do a step on a reactor."""
    what, side, how = step
    if what in SETTLED:
        pair.settle()
    if what == "turn":
        pair.reactor.iterate(0)
    else:
        do(pair.ends[side], what, how)


def outcome(pair: Pair) -> list[Any]:
    """Of each end, what it received, what happened to it, and what was written to it."""
    for end in pair.ends:
        do(end, "resume", None)
    pair.settle()
    written = [bytes(end.written) for end in reversed(pair.ends)]
    return [
        (bytes(end.received), list(end.events), sent)
        for end, sent in zip(pair.ends, written, strict=True)
    ]


def compare(pairs: list[Pair], half: tuple[bool, bool], steps: list[Any]) -> None:
    """See that both reactors' ends have seen the same, as far as the steps determine it."""
    # An end that closes because of what it hears may do so before or after the other one writes more.
    answers = any(what == "answer" and how in LOSES | {"close_half"} for what, _, how in steps)
    # So may a producer that is asked for more: Twisted's reactor may hear of the peer's end where ours asks.
    races = answers or any(what == "pull" for what, _, _ in steps)
    loses = answers or any(
        what in LOSES
        # To a peer that knows of no half this is the end.
        or (what == "close_half" and not half[1 - side])
        for what, side, how in steps
    )
    # How often an end answers depends on how what it hears is cut; how much is pulled before the producer
    # is stopped, on the turn.
    varies = any(what == "pull" or how == "echo" for what, _, how in steps)
    for expected, actual in zip(*map(outcome, pairs), strict=True):
        # Who closes its half again is told again by Twisted's reactor, and once by ours.
        assert actual[1].count("half closed") <= 1, actual[1]
        # Who closes a TCP connection before all has been read resets it: to the peer that is no half-close.
        resets = loses and pairs[0].family == socket.AF_INET
        lost = ["lost" in events for _, events, _ in (expected, actual)]
        assert resets or races or lost[0] == lost[1], (expected[1], actual[1])
        for received, _, sent in (expected, actual):
            assert sent.startswith(received) if loses else sent == received
        assert loses or set(expected[1]) == set(actual[1]), (expected[1], actual[1])
        assert loses or varies or expected[0] == actual[0]


class TwoReactors(RuleBasedStateMachine):
    """The same connection on Twisted's reactor, which is the model, and on ours."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[Pair] = []
        self.steps: list[Any] = []
        self.half = (False, False)

    @initialize(
        family=st.sampled_from([socket.AF_INET, socket.AF_UNIX]),
        half=st.tuples(st.booleans(), st.booleans()),
    )
    def connect(self, family: socket.AddressFamily, half: tuple[bool, bool]) -> None:
        self.half = half
        self.pairs = [Pair(kind, family, half) for kind in (EPollReactor, CorkedEPollReactor)]

    @rule(step=STEPS)
    def take(self, step: Any) -> None:
        self.steps.append(step)
        for pair in self.pairs:
            take(pair, step)

    def teardown(self) -> None:
        try:
            if self.pairs:
                compare(self.pairs, self.half, self.steps)
        finally:
            for pair in self.pairs:
                pair.end()


class ModelTests(SynchronousTestCase):
    def test_both_ends_see_the_same_as_on_twisteds_reactor(self) -> None:
        run_state_machine_as_test(
            TwoReactors, settings=settings(deadline=None, max_examples=120, stateful_step_count=16)
        )

    def test_the_end_is_heard_of_when_one_that_is_not_read_closes_its_half(self) -> None:
        machine = TwoReactors()
        machine.connect(socket.AF_UNIX, (True, False))
        for step in ("pause", 0, None), ("close", 1, None), ("close_half", 0, None):
            machine.take(step)
        for pair in machine.pairs:
            pair.settle()
            self.assertNotIn("half closed", pair.ends[0].events)
        machine.teardown()

    def test_one_reads_the_others_end_while_what_it_has_to_send_fails(self) -> None:
        machine = TwoReactors()
        machine.connect(socket.AF_UNIX, (True, True))
        for step in (
            ("write", 1, 33_000),
            ("close_half", 1, None),
            ("pull", 0, 2),
            ("answer", 1, "close"),
            ("answer", 0, "echo"),
            ("pull", 1, 4),
            ("stop_producer", 1, None),
            ("write", 1, 140_000),
        ):
            machine.take(step)
        machine.teardown()
