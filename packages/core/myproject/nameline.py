"""
The line that a client of the front door begins with: a service's name and CRLF (RFC 1078).

Sans-IO: bytes in, and out comes the name with what followed it, or that the name is too long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["HELP", "NAME_LIMIT", "Asked", "NameLine", "TooLong", "check_name"]

#: The most bytes in a name, its line's end not counted. RFC 1078 says nothing; the inetd of NetBSD
#: and FreeBSD takes 256, and no client can rely on more.
NAME_LIMIT: Final = 256

#: The name that asks for the list of services, in lower case.
HELP: Final = b"help"


@dataclass(frozen=True)
class Asked:
    """
    The name line is complete.

    :param name: the name in lower case, without its line's end; any bytes but LF.
    :param rest: what came behind the line.
    """

    name: bytes
    rest: bytes


@dataclass(frozen=True)
class TooLong:
    """The name is longer than allowed; the bytes that follow mean nothing."""


class NameLine:
    """
    Reads the one line that a client begins with. Sans-IO: what it says depends on the bytes alone,
    not on how they were cut.

    :param limit: the most bytes in a name.
    """

    def __init__(self, limit: int = NAME_LIMIT) -> None:
        self._limit = limit
        self._held = b""

    def feed(self, data: bytes) -> Asked | TooLong | None:
        """
        Take bytes.

        :param data: what was received; any bytes, in pieces of any size.
        :return: ``None`` while the line is incomplete. After another answer, feed no more.
        """
        held = self._held + data
        line, end, rest = held.partition(b"\n")
        # A CR may still turn out to be half of the line's end, so it does not count as yet.
        name = line.removesuffix(b"\r")
        if len(name) > self._limit:
            return TooLong()
        if end:
            return Asked(name.lower(), rest)
        self._held = held
        return None


def check_name(name: str) -> bytes:
    """
    Turn a service's name into what clients' names are compared with.

    :param name: printable ASCII without spaces, of at most :data:`NAME_LIMIT` characters; not ``HELP``.
    :return: the name in lower case.
    :raises ValueError: with a clause that says why it cannot be offered.
    """
    if not name or not all("!" <= character <= "~" for character in name):
        raise ValueError(f"{name!r} is not a word of printable ASCII characters")
    if len(name) > NAME_LIMIT:
        raise ValueError(f"{name!r} has more than {NAME_LIMIT} characters")
    key = name.encode("ascii").lower()
    if key == HELP:
        raise ValueError(f"{name!r} is what clients send to get the list of services")
    return key
