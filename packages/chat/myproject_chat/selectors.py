"""
Selectors: which part of a history CHATHISTORY asks for.

Its parameters are read here, and nothing else: `read` gives a `Query` in which all is known to be sound,
or an `Invalid` that says what to answer. Whether there is such a target, who may see it, and which
messages these are, is for others to say.

Sources: https://ircv3.net/specs/extensions/chathistory,
https://ircv3.net/specs/extensions/message-ids (an id is any word).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from myproject_chat.timestamps import read_stamp
from myproject_chat.wire import clip

__all__ = ["Bound", "Invalid", "MessageId", "Moment", "Query", "Subcommand", "read"]

#: Bytes of the longest message id that is looked up: ours are shorter, and so are all that are known.
_ID_LENGTH: Final = 64


class Subcommand(Enum):
    """What is asked for. The value is the word in the command."""

    AFTER = b"AFTER"
    AROUND = b"AROUND"
    BEFORE = b"BEFORE"
    BETWEEN = b"BETWEEN"
    LATEST = b"LATEST"
    TARGETS = b"TARGETS"


@dataclass(frozen=True, slots=True)
class Moment:
    """
    A bound that is a time.

    :ivar milliseconds: since 1970.
    """

    milliseconds: int


@dataclass(frozen=True, slots=True)
class MessageId:
    """
    A bound that is a message.

    :ivar id: its ``msgid``.
    """

    id: bytes


Bound = Moment | MessageId


@dataclass(frozen=True, slots=True)
class Query:
    """
    What a client asks for. No bound is part of what it bounds.

    :ivar subcommand: which side of the bounds.
    :ivar target: the channel or nick; empty for TARGETS.
    :ivar bounds: two for BETWEEN and TARGETS, in the client's order: the messages next to the first
        are those that the limit leaves. None for ``LATEST *``, and one for all others.
    :ivar limit: how many at most, at least 1, at most what the server gives.
    """

    subcommand: Subcommand
    target: bytes
    bounds: tuple[Bound, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class Invalid:
    """
    What to answer: ``FAIL CHATHISTORY code context... :text``.

    :ivar code: the standard reply's code.
    :ivar context: its parameters, words that can stand in a line.
    :ivar text: what to say.
    """

    code: bytes
    context: tuple[bytes, ...]
    text: bytes


#: How many parameters each subcommand has, itself counted.
_COUNTS: Final = {
    Subcommand.BETWEEN: 5,
    Subcommand.TARGETS: 4,
}
_USUAL_COUNT: Final = 4


def _word(parameter: bytes) -> bytes:
    """Give what can be sent back of a parameter: the last one may be empty or have spaces."""
    return clip(parameter.replace(b" ", b"_").lstrip(b":"), _ID_LENGTH) or b"*"


def read(params: Sequence[bytes], most: int) -> Query | Invalid:
    """
    Read CHATHISTORY's parameters.

    :param params: the parameters of the command.
    :param most: how many messages the server gives at once; who asks for more gets these.
    """
    name = _word(params[0]) if params else b"*"
    try:
        subcommand = Subcommand(params[0].upper() if params else b"")
    except ValueError:
        return Invalid(b"INVALID_PARAMS", (name,), b"Unknown command")
    count = _COUNTS.get(subcommand, _USUAL_COUNT)
    if len(params) != count:
        text = b"Insufficient parameters" if len(params) < count else b"Too many parameters"
        return Invalid(b"INVALID_PARAMS", (name,), text)
    *middle, last = params[1:]
    # int() takes signs, spaces and underscores, and a number of any length takes it any time.
    if not last.isdigit() or len(last) > 9 or not int(last):
        return Invalid(b"INVALID_PARAMS", (name, _word(last)), b"Invalid limit")
    target = b"" if subcommand is Subcommand.TARGETS else middle.pop(0)
    if subcommand is Subcommand.LATEST and middle == [b"*"]:
        middle = []
    bounds = []
    for parameter in middle:
        bound = _bound(parameter)
        if bound is None:
            return Invalid(
                b"INVALID_PARAMS", (name, _word(parameter)), b"Invalid timestamp or msgid"
            )
        if subcommand is Subcommand.TARGETS and not isinstance(bound, Moment):
            context = (name, b"*", _word(parameter))
            return Invalid(
                b"INVALID_MSGREFTYPE", context, b"TARGETS is asked for by timestamp only"
            )
        bounds.append(bound)
    return Query(subcommand, target, tuple(bounds), min(int(last), most))


def _bound(parameter: bytes) -> Bound | None:
    kind, _, value = parameter.partition(b"=")
    if kind == b"timestamp":
        moment = read_stamp(value)
        return None if moment is None else Moment(moment)
    if kind == b"msgid" and 0 < len(value) <= _ID_LENGTH and b" " not in value:
        return MessageId(value)
    return None
