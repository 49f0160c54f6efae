"""
Channel modes: which letters there are, what each takes, and how a MODE line is read.

The tables are the one place to add a mode: 004, 005 (CHANMODES, PREFIX, STATUSMSG) and the reader
below are made from them. Letters sort into the four types of 005's CHANMODES, and prefixes.

Sources: RFC 2811 section 4, https://modern.ircdocs.horse/#modes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

__all__ = [
    "CHANNEL_FLAGS",
    "CHANNEL_FORWARD",
    "CHANNEL_KEY",
    "CHANNEL_LIMIT",
    "CHANNEL_LISTS",
    "CHANNEL_SETTINGS",
    "HALF_OPERATOR",
    "LEVELS_OF_SIGNS",
    "MAX_CHANGES",
    "NEEDED_LEVELS",
    "OPERATOR",
    "OPERATORS_USER_MODES",
    "PREFIXES",
    "USER_MODES",
    "VOICE",
    "ModeChange",
    "format_changes",
    "level_of",
    "prefix_of",
    "read_changes",
]

# Type A: lists. Type B: a parameter both ways. Type C: a parameter when set. Type D: none.
CHANNEL_LISTS = b"Ibe"
CHANNEL_KEY = b"k"
CHANNEL_FORWARD = b"f"
CHANNEL_LIMIT = b"l"
CHANNEL_SETTINGS = CHANNEL_FORWARD + CHANNEL_LIMIT
# C no CTCP, M and R only accounts may speak and join, U only operators hear, u auditorium.
CHANNEL_FLAGS = b"CMRUimnstu"
# What members can hold, the highest first: the letter, and the sign in front of the nick.
PREFIXES = {b"q": b"~", b"a": b"&", b"o": b"@", b"h": b"%", b"v": b"+"}
# The levels of ranks, the highest the greatest; who holds none has 0.
VOICE, HALF_OPERATOR, OPERATOR, _ADMIN, _FOUNDER = range(1, 6)
_LEVELS = dict(zip(reversed(PREFIXES), range(1, 6), strict=True))
LEVELS_OF_SIGNS: Mapping[bytes, int] = MappingProxyType(
    {sign: _LEVELS[letter] for letter, sign in PREFIXES.items()}
)
# Which level it takes to give or take a rank. Half-operators moderate, they appoint nobody but voices.
NEEDED_LEVELS: Mapping[bytes, int] = MappingProxyType(
    {b"q": _FOUNDER, b"a": _FOUNDER, b"o": OPERATOR, b"h": OPERATOR, b"v": HALF_OPERATOR}
)
# B bot, R only accounts may write to me, T no CTCP, i invisible, o operator of the server, s told of what
# goes on, w told of WALLOPS.
USER_MODES = b"BRTiosw"
# Those of operators of the server.
OPERATORS_USER_MODES = b"os"
# How many changes with a parameter one MODE may have; the rest is ignored. InspIRCd's default.
MAX_CHANGES = 20


class ModeChange(NamedTuple):
    """
    One letter's change.

    :ivar adding: whether it stood behind ``+``.
    :ivar letter: the mode.
    :ivar param: its parameter; None if it has none, and for a list that is only looked at.
    """

    adding: bool
    letter: bytes
    param: bytes | None


def read_changes(letters: bytes, params: Sequence[bytes]) -> list[ModeChange]:
    """
    Read ``+ov-k alice bob key``.

    A letter that needs a parameter and finds none is left out, but for a list (which then means
    "show me") and ``-k`` (clients often leave the key out). Unknown letters are given back as
    changes without a parameter, for the caller to refuse.

    :param letters: the letters and signs.
    :param params: what follows them.
    :return: the changes in their order; at most `MAX_CHANGES` of them have a parameter.
    """
    changes = []
    adding = True
    waiting = list(params[:MAX_CHANGES])
    for byte in letters:
        letter = bytes((byte,))
        if letter in b"+-":
            adding = letter == b"+"
            continue
        param = None
        if _takes_param(letter, adding=adding):
            param = waiting.pop(0) if waiting else None
            if param is None and letter not in CHANNEL_LISTS and (adding or letter != CHANNEL_KEY):
                continue
        changes.append(ModeChange(adding, letter, param))
    return changes


def _takes_param(letter: bytes, *, adding: bool) -> bool:
    return (
        letter in CHANNEL_LISTS
        or letter in CHANNEL_KEY
        or letter in PREFIXES
        or (letter in CHANNEL_SETTINGS and adding)
    )


def format_changes(changes: Iterable[ModeChange], room: int) -> list[list[bytes]]:
    """
    Write changes as MODE's parameters, on as many lines as they need.

    :param changes: what was done.
    :param room: bytes that the letters and parameters may take on a line.
    :return: for each line its letters with their signs, then the parameters.
    """
    lines: list[list[bytes]] = []
    sign = b""
    used = 0
    for change in changes:
        param = () if change.param is None else (change.param,)
        cost = 2 + sum(1 + len(word) for word in param)
        if not lines or used + cost > room:
            lines.append([b""])
            sign = b""
            used = 0
        line = lines[-1]
        wanted = b"+" if change.adding else b"-"
        line[0] += (b"" if wanted == sign else wanted) + change.letter
        line += param
        sign = wanted
        used += cost
    return lines


@lru_cache(maxsize=64)
def prefix_of(held: bytes, *, all_of_them: bool = False) -> bytes:
    """
    Give the signs that stand in front of a member's nick.

    :param held: the letters that the member holds.
    :param all_of_them: whether to give every sign (multi-prefix) or the highest alone.
    """
    signs = b"".join(sign for letter, sign in PREFIXES.items() if letter in held)
    return signs if all_of_them else signs[:1]


@lru_cache(maxsize=64)
def level_of(held: bytes) -> int:
    """
    Give the level of the highest rank.

    :param held: the letters that a member holds.
    """
    return max((_LEVELS[held[i : i + 1]] for i in range(len(held))), default=0)
