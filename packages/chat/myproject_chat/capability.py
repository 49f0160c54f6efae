"""
The capabilities this server offers, each with the bit that stands for it in a session.

A capability is listed here only when everything its page asks of a server is done. The bits let
delivery choose a serialisation by one ``&``.

Source: https://ircv3.net/irc/ (one page for each name).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = [
    "AWAY_NOTIFY",
    "CAPABILITIES",
    "ECHO_MESSAGE",
    "EXTENDED_JOIN",
    "MESSAGE_TAGS",
    "MULTI_PREFIX",
    "SERVER_TIME",
    "SETNAME",
    "USERHOST_IN_NAMES",
]

AWAY_NOTIFY = 1 << 0
ECHO_MESSAGE = 1 << 1
EXTENDED_JOIN = 1 << 2
MESSAGE_TAGS = 1 << 3
MULTI_PREFIX = 1 << 4
SERVER_TIME = 1 << 5
SETNAME = 1 << 6
USERHOST_IN_NAMES = 1 << 7

CAPABILITIES: Mapping[bytes, int] = MappingProxyType(
    {
        b"away-notify": AWAY_NOTIFY,
        b"echo-message": ECHO_MESSAGE,
        b"extended-join": EXTENDED_JOIN,
        b"message-tags": MESSAGE_TAGS,
        b"multi-prefix": MULTI_PREFIX,
        b"server-time": SERVER_TIME,
        b"setname": SETNAME,
        # FAIL is sent to everybody: standard-replies only lets a client say that it knows.
        b"standard-replies": 1 << 8,
        b"userhost-in-names": USERHOST_IN_NAMES,
    }
)
