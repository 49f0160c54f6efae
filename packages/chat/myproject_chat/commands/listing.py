"""
Looking for channels: LIST, with the conditions of ELIST.

Conditions are separated by commas, and a channel is listed if it meets all of them; names and masks
are one condition together, which any of them meets:

- ``>n``, ``<n``: more or fewer than n members (U);
- ``C>n``, ``C<n``: made more or less than n minutes ago (C);
- ``T>n``, ``T<n``: its topic was set more or less than n minutes ago (T);
- a name or mask (M), or ``!`` and a mask that must not fit (N).

Sources: RFC 2812 section 3.2.6, https://modern.ircdocs.horse/#list-message and #elist-parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from myproject_chat.commands.registry import Table
from myproject_chat.names import matches
from myproject_chat.numerics import RPL_LIST, RPL_LISTEND, RPL_LISTSTART
from myproject_chat.operators import sees_hidden

if TYPE_CHECKING:
    from myproject_chat.channel import Channel
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["LISTING"]

LISTING = Table()

_Condition = Callable[["Channel"], bool]

# Digits of a number of minutes or members: a thousand years, and more than anybody has.
_DIGITS = 9


@LISTING.registered(b"LIST")
async def list_(session: Session, user: User, message: Message) -> None:
    """List channels that are not secret, or that one is in; all, for operators who see all."""
    meets = _read(message.params[0] if message.params else b"", session.server.wall())
    session.reply(RPL_LISTSTART, b"Channel")
    network = session.server.network
    hidden = sees_hidden(session.server, user)
    room = session.server.settings.limits.list_results
    for channel in sorted(network.channels.values(), key=lambda one: one.name):
        # Since the last slice some may have gone.
        if network.channel(channel.name) is not channel or not room:
            continue
        seen = hidden or channel in user.channels or not channel.secret
        if seen and all(one(channel) for one in meets):
            shown = len(channel.members)
            if b"u" in channel.flags and not hidden:
                shown = sum(channel.shows(member, user) for member in channel.members)
            topic = b"" if channel.topic is None else channel.topic.text
            session.reply(RPL_LIST, channel.name, b"%d" % shown, text=topic)
            room -= 1
            await session.drained()
    session.reply(RPL_LISTEND)


def _read(text: bytes, now: float) -> list[_Condition]:
    """Make conditions of words; what cannot be read is a mask, and fits nothing."""
    conditions: list[_Condition] = []
    masks = []
    for word in filter(None, text.split(b",")):
        number = _number(word)
        if word[:1] == b"!":
            conditions.append(_unlike(word[1:]))
        elif number is None:
            masks.append(word)
        else:
            conditions.append(_compare(word, number, now))
    if masks:
        conditions.append(lambda channel: any(matches(mask, channel.name) for mask in masks))
    return conditions


def _number(word: bytes) -> int | None:
    """The number of ``>n``, ``C<n`` and the like; None for everything else."""
    kind = word[:1].upper() if word[:1].upper() in (b"C", b"T") else b""
    rest = word[len(kind) :]
    digits = rest[1:]
    if rest[:1] in (b"<", b">") and digits.isdigit() and len(digits) <= _DIGITS:
        return int(digits)
    return None


def _unlike(mask: bytes) -> _Condition:
    return lambda channel: not matches(mask, channel.name)


def _compare(word: bytes, number: int, now: float) -> _Condition:
    more = b">" in word[:2]
    kind = word[:1].upper()

    def meets(channel: Channel) -> bool:
        if kind == b"C":
            measured = (now - channel.created) / 60
        elif kind == b"T":
            if channel.topic is None:
                return False
            measured = (now - channel.topic.when) / 60
        else:
            measured = len(channel.members)
        return measured > number if more else measured < number

    return meets
