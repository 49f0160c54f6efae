"""
The time as IRC writes it: ``2026-11-22T10:20:30.123Z``, in UTC, to the millisecond.

Everything that keeps or compares times has them as whole milliseconds since 1970, so that a time that was
written and read again is the same.

Sources: https://ircv3.net/specs/extensions/server-time, https://ircv3.net/specs/extensions/chathistory
(the same form in a selector), ISO 8601:2004 section 4.3.2.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["LAST", "read_stamp", "stamp"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

#: The last moment that the form can hold: the end of the year 9999.
LAST: Final = 253_402_300_799_999

# datetime.fromisoformat takes forms that IRC has not got, and [0-9] is not \d, which has other digits.
_FORM: Final = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


def stamp(moment: int) -> bytes:
    """
    Write a time.

    :param moment: milliseconds since 1970, from 0 to `LAST`.
    :raises OverflowError: if it is no moment that the form can hold.
    """
    text = (_EPOCH + timedelta(milliseconds=moment)).isoformat(timespec="milliseconds")
    return text[:23].encode("ascii") + b"Z"


def read_stamp(text: bytes) -> int | None:
    """
    Read a time.

    :param text: what should be one. A leap second is none: no clock here shows it.
    :return: milliseconds since 1970, negative before; None if it is no time in this form.
    """
    if _FORM.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text.decode("ascii"))
    except ValueError:  # the 30th of February
        return None
    return (moment - _EPOCH) // _MILLISECOND
