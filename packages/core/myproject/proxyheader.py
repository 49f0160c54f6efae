r"""
The PROXY header: what a balancer says, before anything else, of the client whose connection it forwards.

Versions 1 (a line of text) and 2 (binary) of haproxy's specification, doc/proxy-protocol.txt in its
sources, of 2020/03/05. Sans-IO: bytes in, and out comes the header with what followed it, or what is
wrong with it. What comes out depends on the bytes alone, not on how they were cut. The states:

==========  ============================================  ==============================================
state       bytes                                         then
==========  ============================================  ==============================================
SIGNATURE   ``PROXY`` and a space                         LINE
SIGNATURE   the twelve bytes of version 2                 FIXED
SIGNATURE   any other                                     malformed
LINE        CRLF, within 107 bytes                        header, if the line is as section 2.1 has it
LINE        LF alone; or 107 bytes without any            malformed
FIXED       version, command, family, length              BLOCK; malformed if the specification has no such
BLOCK       as many bytes as the length says              header, if the addresses and vectors are whole
==========  ============================================  ==============================================

A header gives addresses, or it says that the connection is the balancer's own (``LOCAL``, a health
check) or that it has none to give (``UNKNOWN``, ``UNSPEC``). Clients on the balancer's Unix sockets, and
those of UDP, have no address that means something here: as the specification permits, they are
taken for ``UNSPEC``.

The type-length-value vectors behind version 2's addresses are skipped, but must be whole. One is looked
at: the checksum, CRC32c (RFC 9260, appendix A), which a receiver that supports it must verify. A balancer
that sends it wants a damaged header refused rather than one client taken for another. What comes with
``LOCAL`` and ``UNSPEC`` is skipped whole: there it is not known where addresses end and vectors begin.

Twisted has a wrapper for this (``twisted.protocols.haproxy``). It shows the balancer's address until
``connectionMade`` has run, closes the connection if the header's first bytes are cut, and stays between
the transport and the protocol.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

__all__ = [
    "V1_LIMIT",
    "V2_LIMIT",
    "Addresses",
    "Header",
    "HeaderReader",
    "Malformed",
    "format_v1",
    "format_v2",
]

#: The most bytes in a header of version 1, its CRLF among them: section 2.1's worst case.
V1_LIMIT: Final = 107

#: The most bytes in a header of version 2. Its length field can say 65,535. The specification means it
#: to fit a segment of 536, but vectors have grown: names of servers and of certificates' owners, what clouds
#: add. nginx takes 4,096 in all.
V2_LIMIT: Final = 4096

_V1_SIGNATURE: Final = b"PROXY "
_V2_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"

#: Version 2's signature, version and command, family and protocol, length.
_FIXED: Final = 16

_LOCAL: Final = 0x20
_PROXY: Final = 0x21

_IPV4: Final = 1
_IPV6: Final = 2
_UNIX: Final = 3
_STREAM: Final = 1
_DATAGRAM: Final = 2

#: By family, the bytes that two addresses take.
_SIZES: Final = {_IPV4: 12, _IPV6: 36, _UNIX: 216}

_CRC32C: Final = 3

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Addresses:
    """
    Whose connection it is.

    :param source: the client's address.
    :param source_port: its port.
    :param destination: the address that the client connected to, of the same IP version.
    :param destination_port: its port.
    """

    source: Address
    source_port: int
    destination: Address
    destination_port: int


@dataclass(frozen=True)
class Header:
    """
    The header is complete.

    :param addresses: whose connection it is; None if it is the balancer's own, or of who knows whom.
    :param rest: what came behind the header.
    """

    addresses: Addresses | None
    rest: bytes


@dataclass(frozen=True)
class Malformed:
    """
    This is no header, and never will be; the bytes that follow mean nothing.

    :param problem: what is wrong with it, a clause.
    """

    problem: str


class HeaderReader:
    """Reads the one header that a connection begins with; sans-IO."""

    def __init__(self) -> None:
        self._held = b""

    @property
    def begun(self) -> bool:
        """Whether any byte has come."""
        return bool(self._held)

    def feed(self, data: bytes) -> Header | Malformed | None:
        """
        Take bytes.

        :param data: what was received; any bytes, in pieces of any size.
        :return: None while the header is incomplete. After another answer, feed no more.
        """
        self._held += data
        try:
            return _read(self._held)
        except ValueError as error:
            return Malformed(str(error))


def _agree(held: bytes, signature: bytes) -> bool:
    """Whether some bytes begin with a signature, or may yet turn out to."""
    return held.startswith(signature) or signature.startswith(held)


# What follows returns None while bytes are missing, and raises ValueError with a clause that says what is
# wrong.


def _read(held: bytes) -> Header | None:
    if held.startswith(_V1_SIGNATURE):
        return _read_v1(held)
    if _agree(held, _V2_SIGNATURE):
        return _read_v2(held)
    if not _agree(held, _V1_SIGNATURE):
        raise ValueError("there is none")
    return None


def _read_v1(held: bytes) -> Header | None:
    line, end, _ = held[:V1_LIMIT].partition(b"\n")
    if not end:
        if len(line) == V1_LIMIT:
            raise ValueError(f"its line is longer than {V1_LIMIT} bytes")
        return None
    if not line.endswith(b"\r"):
        raise ValueError("its line does not end with CRLF")
    words = line[:-1].split(b" ")[1:]
    addresses = None if words[0] == b"UNKNOWN" else _parse_v1(words)
    return Header(addresses, held[len(line) + 1 :])


def _parse_v1(words: Sequence[bytes]) -> Addresses:
    kinds: dict[bytes, type[Address]] = {
        b"TCP4": ipaddress.IPv4Address,
        b"TCP6": ipaddress.IPv6Address,
    }
    try:
        name, *hosts, source_port, destination_port = words
        source, destination = (_parse_address(kinds[name], host) for host in hosts)
        ports = _parse_port(source_port), _parse_port(destination_port)
    except (KeyError, ValueError):
        # Without what was there: it goes into the log.
        raise ValueError("its line is not as the specification has it") from None
    return Addresses(source, ports[0], destination, ports[1])


def _parse_address(kind: type[Address], word: bytes) -> Address:
    # Python would take the name of an interface behind a "%".
    if b"%" in word:
        raise ValueError
    return kind(word.decode("ascii"))


def _parse_port(word: bytes) -> int:
    # int() takes signs, spaces and underscores as well, and any number of zeros.
    port = int(word) if word.isdigit() and len(word) <= 5 else -1
    if not 0 <= port <= 0xFFFF or word != b"%d" % port:
        raise ValueError
    return port


def _read_v2(held: bytes) -> Header | None:
    # Each check needs the bytes that it looks at and no more, so that it fails as early as can be.
    if len(held) > 12 and held[12] not in (_LOCAL, _PROXY):
        raise ValueError(f"there is no version {held[12] >> 4} with command {held[12] & 15}")
    if len(held) <= 13:
        return None
    family, protocol = divmod(held[13], 16)
    known = held[12] == _PROXY
    if known and (family > _UNIX or protocol > _DATAGRAM):
        raise ValueError(f"there is no family {family} with protocol {protocol}")
    known = known and family > 0 and protocol > 0
    if len(held) < _FIXED:
        return None
    end = _FIXED + int.from_bytes(held[14:_FIXED], "big")
    if end > V2_LIMIT:
        raise ValueError(f"it is longer than {V2_LIMIT} bytes")
    if known and end < _FIXED + _SIZES[family]:
        raise ValueError("its length leaves no room for its addresses")
    if len(held) < end:
        return None
    header, rest = held[:end], held[end:]
    if known:
        _check_vectors(header, _FIXED + _SIZES[family])
    wanted = known and family != _UNIX and protocol == _STREAM
    return Header(_unpack(family, header) if wanted else None, rest)


def _check_vectors(header: bytes, at: int) -> None:
    """
    Look at the type-length-value vectors.

    :param header: the whole header.
    :param at: where they begin.
    """
    while at < len(header):
        kind, length = header[at], int.from_bytes(header[at + 1 : at + 3], "big")
        at += 3
        if at + length > len(header):
            raise ValueError("its last vector is cut")
        if kind == _CRC32C:
            blank = header[:at] + bytes(length) + header[at + length :]
            if header[at : at + length] != struct.pack("!I", _crc32c(blank)):
                raise ValueError("its checksum is wrong")
        at += length


def _unpack(family: int, header: bytes) -> Addresses:
    kind: type[Address] = ipaddress.IPv4Address if family == _IPV4 else ipaddress.IPv6Address
    size = 4 if family == _IPV4 else 16
    source, destination, source_port, destination_port = struct.unpack_from(
        f"!{size}s{size}sHH", header, _FIXED
    )
    return Addresses(kind(source), source_port, kind(destination), destination_port)


@cache
def _crc32c_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            # The polynomial 0x1EDC6F41, its bits reversed.
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def _crc32c(data: bytes) -> int:
    """CRC32c, as RFC 9260's appendix A has it."""
    table = _crc32c_table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def format_v1(addresses: Addresses | None) -> bytes:
    """
    Write a header of version 1, as a balancer or its health check does.

    :param addresses: whose connection it is; None for ``UNKNOWN``.
    """
    if addresses is None:
        return b"PROXY UNKNOWN\r\n"
    return (
        f"PROXY TCP{addresses.source.version} {addresses.source} {addresses.destination}"
        f" {addresses.source_port} {addresses.destination_port}\r\n"
    ).encode("ascii")


def format_v2(
    addresses: Addresses | None,
    vectors: Sequence[tuple[int, bytes]] = (),
    *,
    checksum: bool = False,
) -> bytes:
    """
    Write a header of version 2.

    :param addresses: whose connection it is; None for ``LOCAL``.
    :param vectors: types and values of what is to stand behind the addresses.
    :param checksum: whether to add the CRC32c.
    :raises struct.error: it would be longer than its length field can say.
    """
    command, family, block = _LOCAL, 0, b""
    if addresses is not None:
        command = _PROXY
        family = (_IPV4 if addresses.source.version == 4 else _IPV6) << 4 | _STREAM
        block = addresses.source.packed + addresses.destination.packed
        block += struct.pack("!HH", addresses.source_port, addresses.destination_port)
    for kind, value in vectors:
        block += struct.pack("!BH", kind, len(value)) + value
    if checksum:
        block += struct.pack("!BHI", _CRC32C, 4, 0)
    header = _V2_SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block
    if checksum:
        header = header[:-4] + struct.pack("!I", _crc32c(header))
    return header
