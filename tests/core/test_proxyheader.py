"""The PROXY header: what is one, what is none, and that no cut of the bytes makes a difference."""

from __future__ import annotations

import ipaddress
import struct
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject.proxyheader import (
    V1_LIMIT,
    V2_LIMIT,
    Addresses,
    Header,
    HeaderReader,
    Malformed,
    _crc32c,
    format_v1,
    format_v2,
)

V2 = b"\r\n\r\n\0\r\nQUIT\n"

ANN = Addresses(
    ipaddress.IPv4Address("192.0.2.1"), 56324, ipaddress.IPv4Address("198.51.100.2"), 443
)
BOB = Addresses(ipaddress.IPv6Address("2001:db8::1"), 0, ipaddress.IPv6Address("::"), 65535)

PORTS = st.integers(0, 65535)
ADDRESSES = st.one_of(
    *[
        st.builds(Addresses, st.ip_addresses(v=v), PORTS, st.ip_addresses(v=v), PORTS)
        for v in (4, 6)
    ]
)
#: Types but that of the checksum, and values.
VECTORS = st.lists(
    st.tuples(st.integers(0, 255).filter(lambda kind: kind != 3), st.binary(max_size=40)),
    max_size=4,
)


def read(*pieces: bytes) -> Header | Malformed | None:
    """What a reader says in the end; what comes after its answer is the rest of a header."""
    reader = HeaderReader()
    for number, piece in enumerate(pieces):
        said = reader.feed(piece)
        if isinstance(said, Header):
            return Header(said.addresses, said.rest + b"".join(pieces[number + 1 :]))
        if said is not None:
            return said
    return None


def block(command: int, family: int, body: bytes) -> bytes:
    return V2 + struct.pack("!BBH", command, family, len(body)) + body


#: What is a header, or begins as one, or nearly.
HEADERISH = st.one_of(
    st.binary(max_size=200),
    st.builds(bytes.__add__, st.sampled_from([b"PROXY ", b"PROXY UNKNOWN", V2]), st.binary()),
    st.builds(format_v1, ADDRESSES),
    st.builds(
        block,
        st.sampled_from([0x20, 0x21, 0x22, 0x11]),
        st.sampled_from([0, 1, 0x10, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32, 0x41, 0x13]),
        st.binary(max_size=300),
    ),
    st.builds(lambda a, v, c: format_v2(a, v, checksum=c), ADDRESSES, VECTORS, st.booleans()),
)


class AnyBytesTests(SynchronousTestCase):
    """What holds whatever is sent."""

    @given(HEADERISH, st.binary(max_size=20), st.lists(st.integers(0, 400)))
    def test_any_cuts(self, header: bytes, rest: bytes, cuts: list[int]) -> None:
        """However the bytes are cut, the answer is the same, and nothing raises."""
        data = header + rest
        whole = read(data)
        places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        self.assertEqual(whole, read(*[data[a:b] for a, b in pairwise(places)]))
        self.assertEqual(whole, read(*[data[n : n + 1] for n in range(len(data))]))

    @given(HEADERISH)
    def test_bounded(self, data: bytes) -> None:
        """There is an answer once as many bytes have come as a header may have."""
        self.assertIsNotNone(read(data + bytes(V2_LIMIT)))

    @given(st.binary(min_size=1))
    @example(b"GET / HTTP/1.1\r\n")
    @example(b"\x16\x03\x01")
    @example(b"PROXX")
    def test_other_protocols(self, data: bytes) -> None:
        """What does not begin as a header is refused at the first byte that shows it."""
        signatures = (b"PROXY ", V2)
        first = next(
            (
                n
                for n in range(1, len(data) + 1)
                if not any(one.startswith(data[:n]) or data.startswith(one) for one in signatures)
            ),
            None,
        )
        if first is not None:
            self.assertIsNone(read(data[: first - 1]))
            self.assertEqual(Malformed("there is none"), read(data[:first]))

    def test_nothing(self) -> None:
        """No bytes are no answer, and do not begin a header."""
        reader = HeaderReader()
        self.assertEqual((None, False), (reader.feed(b""), reader.begun))
        self.assertEqual((None, True), (reader.feed(b"P"), reader.begun))


class RoundTripTests(SynchronousTestCase):
    """What is written is read."""

    @given(st.none() | ADDRESSES, st.binary(max_size=10))
    def test_v1(self, addresses: Addresses | None, rest: bytes) -> None:
        header = format_v1(addresses)
        self.assertLessEqual(len(header), V1_LIMIT)
        self.assertEqual(Header(addresses, rest), read(header + rest))

    @given(st.none() | ADDRESSES, VECTORS, st.booleans(), st.binary(max_size=10))
    def test_v2(
        self,
        addresses: Addresses | None,
        vectors: list[tuple[int, bytes]],
        checksum: bool,
        rest: bytes,
    ) -> None:
        header = format_v2(addresses, vectors, checksum=checksum)
        self.assertEqual(Header(addresses, rest), read(header + rest))

    def test_the_specification_s_example(self) -> None:
        line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
        host = ipaddress.IPv4Address
        expected = Addresses(host("192.168.0.1"), 56324, host("192.168.0.11"), 443)
        self.assertEqual(Header(expected, b"GET /"), read(line + b"GET /"))
        self.assertEqual(line, format_v1(expected))


class Version1Tests(SynchronousTestCase):
    """Lines."""

    def assert_malformed(self, line: bytes, problem: str) -> None:
        said = read(line)
        assert isinstance(said, Malformed), (line, said)
        self.assertIn(problem, said.problem)

    def test_other_ways_to_write_an_address(self) -> None:
        """Capitals, full length, and an IPv4 address within an IPv6 one, as inet_ntop writes it."""
        for text in ("2001:DB8::1", "2001:0db8:0000:0000:0000:0000:0000:0001", "::ffff:192.0.2.1"):
            said = read(f"PROXY TCP6 {text} :: 1 2\r\n".encode())
            assert isinstance(said, Header)
            assert said.addresses is not None
            self.assertEqual(ipaddress.IPv6Address(text), said.addresses.source)

    def test_unknown(self) -> None:
        """Nothing that UNKNOWN is followed by matters."""
        for words in (b"", b" ", b" ffff::1 x 70000", b" \x00\xff \r", b" TCP4 1.2.3.4"):
            self.assertEqual(Header(None, b"\n"), read(b"PROXY UNKNOWN" + words + b"\r\n\n"))

    def test_not_as_the_specification_has_it(self) -> None:
        for words in (
            "",
            "TCP4",
            "TCP5 192.0.2.1 192.0.2.2 1 2",
            "tcp4 192.0.2.1 192.0.2.2 1 2",
            "UNKNOWNS",
            "TCP4 192.0.2.1 192.0.2.2 1",
            "TCP4 192.0.2.1 192.0.2.2 1 2 3",
            "TCP4 192.0.2.1 192.0.2.2 1 2 ",
            "TCP4  192.0.2.1 192.0.2.2 1 2",
            "TCP4 192.0.2.01 192.0.2.2 1 2",
            "TCP4 192.0.2 192.0.2.2 1 2",
            "TCP4 192.0.2.256 192.0.2.2 1 2",
            "TCP4 ::1 ::2 1 2",
            "TCP6 192.0.2.1 192.0.2.2 1 2",
            "TCP6 fe80::1%eth0 ::2 1 2",
            "TCP6 1::2::3 ::2 1 2",
            "TCP4 192.0.2.1 192.0.2.2 01 2",
            "TCP4 192.0.2.1 192.0.2.2 00 2",
            "TCP4 192.0.2.1 192.0.2.2 +1 2",
            "TCP4 192.0.2.1 192.0.2.2 1_0 2",
            "TCP4 192.0.2.1 192.0.2.2 -1 2",
            "TCP4 192.0.2.1 192.0.2.2 65536 2",
            "TCP4 192.0.2.1 192.0.2.2 1 123456",
            "TCP4 192.0.2.1 192.0.2.2 1 \t2",
            "TCP4 192.0.2.1 192.0.2.2 1 2\r",
            "TCP4 192.0.2.1 192.0.2.2 1 \u0662",
            "TCP4 192.0.2.\u0661 192.0.2.2 1 2",
        ):
            self.assert_malformed(f"PROXY {words}\r\n".encode(), "not as the specification has it")

    def test_end_of_line(self) -> None:
        """LF alone ends no line, and is refused at once; CR alone ends none either."""
        self.assert_malformed(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", "CRLF")
        self.assert_malformed(b"PROXY UNKNOWN\n\r\n", "CRLF")
        self.assertIsNone(read(b"PROXY UNKNOWN\r"))

    def test_length(self) -> None:
        """A line of 107 bytes is one, and a longer one is refused as soon as it is that long."""
        longest = b"PROXY UNKNOWN".ljust(V1_LIMIT - 2, b"x").replace(b"Nx", b"N x", 1)[:105]
        self.assertEqual(Header(None, b""), read(longest + b"\r\n"))
        self.assertIsNone(read(longest + b"\r"))
        self.assert_malformed(longest + b"xx", "longer than 107 bytes")
        self.assert_malformed(longest + b"x\r\n", "longer than 107 bytes")


class Version2Tests(SynchronousTestCase):
    """Blocks."""

    def assert_malformed(self, data: bytes, problem: str) -> None:
        said = read(data)
        assert isinstance(said, Malformed), (data, said)
        self.assertIn(problem, said.problem)

    def test_bytes(self) -> None:
        """Each address and port is where the specification has it."""
        body = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + struct.pack("!HH", 56324, 443)
        self.assertEqual(Header(ANN, b"rest"), read(block(0x21, 0x11, body) + b"rest"))
        body = BOB.source.packed + BOB.destination.packed + struct.pack("!HH", 0, 65535)
        self.assertEqual(Header(BOB, b""), read(block(0x21, 0x21, body)))
        self.assertEqual(block(0x21, 0x21, body), format_v2(BOB))

    def test_local(self) -> None:
        """LOCAL is the balancer's own, whatever stands in its block."""
        for family in (0, 0x11, 0x99, 0xFF):
            for body in (b"", b"\3\0\4abcd", bytes(100)):
                self.assertEqual(Header(None, b"rest"), read(block(0x20, family, body) + b"rest"))

    def test_without_an_address_that_means_something(self) -> None:
        """Unspecified, a Unix socket's, UDP's: the connection keeps the balancer's address."""
        for family, size in ((0, 0), (0, 9), (1, 0), (0x10, 3), (0x30, 0)):
            self.assertEqual(Header(None, b"r"), read(block(0x21, family, bytes(size)) + b"r"))
        for family, size in ((0x12, 12), (0x22, 36), (0x31, 216), (0x32, 216)):
            self.assertEqual(Header(None, b"r"), read(block(0x21, family, bytes(size)) + b"r"))
            self.assert_malformed(block(0x21, family, bytes(size - 1)), "no room")

    def test_refused_at_once(self) -> None:
        """What can be known to be wrong is, before the rest has come."""
        self.assert_malformed(V2 + b"\x11", "no version 1 with command 1")
        self.assert_malformed(V2 + b"\x31", "no version 3 with command 1")
        self.assert_malformed(V2 + b"\x22", "no version 2 with command 2")
        self.assert_malformed(V2 + b"\x21\x41", "no family 4 with protocol 1")
        self.assert_malformed(V2 + b"\x21\x13", "no family 1 with protocol 3")
        self.assert_malformed(V2 + b"\x21\x11\0\x0b", "no room for its addresses")
        self.assert_malformed(V2 + b"\x21\x21\0\x23", "no room for its addresses")
        self.assert_malformed(V2 + b"\x21\x11\xff\xff", f"longer than {V2_LIMIT} bytes")
        self.assert_malformed(V2 + b"\x20\x00\xff\xff", f"longer than {V2_LIMIT} bytes")

    def test_longest(self) -> None:
        """As many bytes as that, and no more."""
        size = V2_LIMIT - len(format_v2(ANN)) - 3
        longest = format_v2(ANN, [(4, bytes(size))])
        self.assertEqual(V2_LIMIT, len(longest))
        self.assertEqual(Header(ANN, b""), read(longest))
        self.assert_malformed(format_v2(ANN, [(4, bytes(size + 1))]), "longer")

    def test_cut_vectors(self) -> None:
        """A vector that goes on behind the header's end is none."""
        body = format_v2(ANN)[16:]
        for cut in (b"\4", b"\4\0", b"\4\0\1", b"\4\0\0\4\0\3ab"):
            self.assert_malformed(block(0x21, 0x11, body + cut), "its last vector is cut")
        self.assertEqual(Header(ANN, b""), read(block(0x21, 0x11, body + b"\4\0\0\4\0\1a")))

    @given(ADDRESSES, VECTORS, st.data())
    def test_checksum(
        self, addresses: Addresses, vectors: list[tuple[int, bytes]], data: st.DataObject
    ) -> None:
        """Whichever bit of the addresses is turned, or of the checksum, the header is refused."""
        header = bytearray(format_v2(addresses, vectors, checksum=True))
        size = 12 if addresses.source.version == 4 else 36
        places = [*range(16, 16 + size), *range(len(header) - 4, len(header))]
        header[data.draw(st.sampled_from(places))] ^= 1 << data.draw(st.integers(0, 7))
        self.assert_malformed(bytes(header), "its checksum is wrong")

    def test_checksum_s_value(self) -> None:
        """CRC32c as in RFC 3720, appendix B.4, and as everybody tests it first."""
        self.assertEqual(0xE3069283, _crc32c(b"123456789"))
        self.assertEqual(0x8A9136AA, _crc32c(bytes(32)))
        self.assertEqual(0x62A8AB43, _crc32c(b"\xff" * 32))

    def test_checksum_of_another_size(self) -> None:
        body = format_v2(ANN)[16:]
        for size in (0, 3, 5, 8):
            vector = struct.pack("!BH", 3, size) + bytes(size)
            self.assert_malformed(block(0x21, 0x11, body + vector), "its checksum is wrong")
