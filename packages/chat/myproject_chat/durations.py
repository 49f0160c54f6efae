"""
Durations as people write them: ``90s``, ``1h30m``, ``7d``, ``1y6mo``.

Source: the help of Ergo on KLINE, whose units these are.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["read_duration", "show_duration"]

#: Words of a duration. A month and a year are 30 and 365 days: nobody counts more exactly.
_UNITS: Final = {
    "y": 31_536_000,
    "mo": 2_592_000,
    "w": 604_800,
    "d": 86_400,
    "h": 3600,
    "m": 60,
    "s": 1,
}
_DURATION: Final = re.compile(r"(?:[0-9]{1,9}(?:mo|[ywdhms]))+\Z", re.IGNORECASE)
_PART: Final = re.compile(r"([0-9]+)(mo|[ywdhms])", re.IGNORECASE)
#: Seconds: a hundred years. What is to be longer is for ever.
_LONGEST: Final = 100 * _UNITS["y"]


def read_duration(text: str) -> int:
    """
    Read how long something lasts: ``90s``, ``1h30m``, ``7d``, ``1y6mo``.

    :param text: as a person writes it.
    :return: seconds, at least one.
    :raises ValueError: it is no such thing, or longer than a hundred years.
    """
    if not _DURATION.match(text):
        raise ValueError("it is no time")
    seconds = sum(int(number) * _UNITS[unit.lower()] for number, unit in _PART.findall(text))
    if not 0 < seconds <= _LONGEST:
        raise ValueError("it is no time, or longer than a hundred years")
    return seconds


def show_duration(seconds: int) -> str:
    """
    Write how long something lasts, as `read_duration` reads it.

    :param seconds: a positive number.
    """
    words = []
    for unit, size in _UNITS.items():
        count, seconds = divmod(seconds, size)
        if count:
            words.append(f"{count}{unit}")
    return "".join(words)
