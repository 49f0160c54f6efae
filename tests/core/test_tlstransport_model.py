"""
Twisted's own TLS layer is the model of ours: however what comes is cut, and whatever the protocol does, both
ends have seen the same.
"""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from myproject.tlstransport import Gathering, TLSFactory, TLSTransport
from tests.core.authority import issue

SIZES = st.sampled_from([0, 1, 64, 5_000, 16_384, 16_385, 40_000, 70_000])

#: How many of the bytes that are under way arrive next; -1 for all, -2 for one whole record.
ARRIVALS = st.one_of(st.sampled_from([-1, -2, -2, -2]), st.integers(1, 12), st.integers(13, 50_000))

#: What a connection survives, and what ends it.
CALM = st.one_of(
    st.tuples(st.just("say"), SIZES),
    st.tuples(st.just("arrive"), ARRIVALS),
    st.tuples(st.just("say and arrive"), SIZES),
    st.tuples(st.just("say and arrive"), SIZES),
    st.tuples(st.just("write"), SIZES),
    st.tuples(st.just("answer"), st.sampled_from(["nothing", "echo", "echo twice", "much"])),
    st.tuples(st.sampled_from(["turn", "produce", "stop producing"]), st.just(0)),
)
ENDS = st.one_of(
    st.tuples(st.just("answer"), st.sampled_from(["lose", "lose and write", "abort", "raise"])),
    st.tuples(st.sampled_from(["lose", "goodbye", "ill", "gone"]), st.just(0)),
)
STEPS = st.tuples(st.lists(CALM, max_size=20), st.lists(st.one_of(ENDS, CALM), max_size=5)).map(
    lambda both: both[0] + both[1]
)


class Told(Protocol):
    """The server's protocol: does as it is told, and remembers what happened to it."""

    transport: Any

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.answer = "nothing"
        self.paused = 0
        self.lost: list[type[BaseException]] = []

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)
        match self.answer:
            case "echo":
                self.transport.write(data)
            case "echo twice":
                self.transport.writeSequence([data, data])
                self.transport.write(b"!")
            case "much":
                for _ in range(3):
                    self.transport.write(b"m" * 30_000)
            case "lose":
                self.transport.write(b"bye")
                self.transport.loseConnection()
            case "lose and write":
                self.transport.loseConnection()
                # With a producer it is sent, unless that stops before the turn ends.
                if self.transport._producer is None:
                    self.transport.write(b"never")
            case "abort":
                self.transport.abortConnection()
            case "raise":
                self.transport.write(b"before")
                self.answer = "nothing"
                raise ZeroDivisionError

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.append(reason.type)
        self.transport.write(b"nobody hears this")

    def pauseProducing(self) -> None:
        self.paused += 1

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...


class Wire(StringTransport):
    """Does not forget that it was aborted."""

    def abortConnection(self) -> None:
        self.disconnecting = True


@implementer(IOpenSSLServerConnectionCreator)
class Creator:
    """Makes the server's ends."""

    def __init__(self, context: SSL.Context) -> None:
        self.context = context

    def serverConnectionForTLS(self, _protocol: object) -> SSL.Connection:
        return SSL.Connection(self.context, None)


class Run:
    """One client and one server, over one layer."""

    def __init__(self, kind: type[TLSMemoryBIOFactory], server: SSL.Context, version: int) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        self.client = SSL.Connection(context, None)
        self.client.set_connect_state()
        self.clock = Clock()
        self.told = Told()

        factory = kind(Creator(server), False, Factory.forProtocol(lambda: self.told), self.clock)
        self.layer: Any = factory.buildProtocol(None)
        self.wire = Wire()
        self.layer.makeConnection(self.wire)
        # Of what the client has sent, so much has arrived.
        self.sent = b""
        self.arrived = 0
        self.read: list[bytes] = []
        self.farewell: str | None = None
        self.shaken = self.ended = False
        self.offset = 0

    def collect(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while True:
                self.sent += self.client.bio_read(65536)

    def end_of_record(self) -> int:
        """Where the record ends of which the next byte is."""
        place = 0
        while place <= self.arrived < len(self.sent):
            place += 5 + int.from_bytes(self.sent[place + 3 : place + 5], "big")
        return place or self.arrived

    def deliver(self, data: bytes) -> None:
        if self.ended or not data:
            return
        try:
            self.layer.dataReceived(data)
        except ZeroDivisionError:
            # A reactor ends the connection then.
            self.end()

    def end(self) -> None:
        if not self.ended:
            self.client_reads()
            self.ended = True
            self.layer.connectionLost(Failure(ConnectionDone()))

    def client_reads(self) -> None:
        came = self.wire.value()
        self.wire.clear()
        # A socket that is gone sends nothing more.
        if came and not self.ended:
            self.client.bio_write(came)
        try:
            if not self.shaken:
                self.client.do_handshake()
                self.shaken = True
            while True:
                self.read.append(self.client.recv(65536))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.farewell = "goodbye"
        except SSL.Error:
            self.farewell = "error"

    def step(self, name: str, value: Any) -> None:
        match name:
            case "say":
                data = bytes((self.offset + place) % 251 for place in range(value))
                with contextlib.suppress(SSL.Error):
                    for place in range(0, value, 16_384):
                        self.client.send(data[place : place + 16_384])
                    self.offset += value
            case "say and arrive":
                self.step("say", value)
                self.step("arrive", -2)
            case "arrive":
                # What was written in the turn before; else it would depend on the moment what is lost.
                self.turn()
                self.collect()
                begin = self.arrived
                self.arrived = {
                    -1: len(self.sent),
                    -2: self.end_of_record(),
                }.get(value, min(begin + value, len(self.sent)))
                self.deliver(self.sent[begin : self.arrived])
                self.client_reads()
            case "write" if not self.ended:
                self.layer.write(b"w" * value)
            case "answer":
                self.told.answer = value
            case "turn":
                self.turn()
            case "lose" if not self.ended:
                self.layer.loseConnection()
            case "produce" if not (self.ended or self.layer.disconnecting or self.wire.producer):
                self.layer.registerProducer(self.told, True)
            case "stop producing" if not self.ended:
                self.layer.unregisterProducer()
            case "goodbye":
                with contextlib.suppress(SSL.Error):
                    self.client.shutdown()
            case "ill":
                self.collect()
                self.sent += b"\x17\x03\x03\x00\x05wrong"
            case "gone":
                self.turn()
                self.end()

    def turn(self) -> None:
        self.clock.advance(0)
        self.client_reads()

    def outcome(self) -> tuple[object, ...]:
        for _ in range(8):
            self.step("arrive", -1)
            self.turn()
        disconnecting = self.wire.disconnecting
        self.end()
        self.turn()
        assert not self.clock.getDelayedCalls(), self.clock.getDelayedCalls()
        return (
            b"".join(self.told.heard),
            b"".join(self.read),
            self.farewell,
            disconnecting,
            self.told.lost,
        )


class RecordTests(SynchronousTestCase):
    """Where the records end is known, however they are cut."""

    @settings(deadline=None)
    @given(
        lengths=st.lists(st.integers(0, 300), max_size=8),
        cuts=st.lists(st.integers(0, 1500), max_size=12),
        first=st.sampled_from([20, 21, 22, 23, 24]),
    )
    def test_any_cuts(self, lengths: list[int], cuts: list[int], first: int) -> None:
        # Each looks, from within, as if records began everywhere.
        records = [
            bytes([first, 3, 3, *length.to_bytes(2, "big")])
            + (b"\x17\x03\x03\x00\x01" * 60)[:length]
            for length in lengths
        ]
        ends = {0}
        for record in records:
            ends.add(max(ends) + len(record))
        stream = b"".join(records)
        places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
        layer = TLSTransport.__new__(TLSTransport)
        layer._begin(Gathering(Clock()))
        for begin, end in pairwise(places):
            layer._follow(stream[begin:end])
            self.assertEqual(end in ends, layer._whole)

    def test_what_is_no_record_is_followed_no_further(self) -> None:
        layer = TLSTransport.__new__(TLSTransport)
        layer._begin(Gathering(Clock()))
        layer._follow(b"GET / HTTP/1.1\r\n")
        self.assertFalse(layer._whole)
        layer._follow(b"\x17\x03\x03\x00\x01x")
        self.assertFalse(layer._whole)


class SameAsTwistedTests(SynchronousTestCase):
    """Ours and Twisted's."""

    def setUp(self) -> None:
        issued = issue("server.test")
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.use_certificate(issued.certificate)
        self.context.use_privatekey(issued.key)

    def outcome(self, kind: type[TLSMemoryBIOFactory], version: int, go: Any) -> Any:
        run = Run(kind, self.context, version)
        go(run)
        return run.outcome()

    @settings(deadline=None, max_examples=250)
    @given(
        version=st.sampled_from([SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION]),
        steps=STEPS,
        open_first=st.sampled_from([True, True, True, False]),
    )
    def test_any_order(self, version: int, steps: list[tuple[str, Any]], open_first: bool) -> None:
        def go(run: Run) -> None:
            for _ in range(3 * open_first):
                run.client_reads()
                run.step("arrive", -1)
            run.client_reads()
            for name, value in steps:
                run.step(name, value)

        self.assertEqual(
            self.outcome(TLSMemoryBIOFactory, version, go), self.outcome(TLSFactory, version, go)
        )
