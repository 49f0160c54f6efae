"""
WHO: who is in a channel, or whom a mask fits; with the fields that WHOX lets a client choose.

Sources: RFC 2812 section 3.6.1, https://modern.ircdocs.horse/#who-message,
https://ircv3.net/specs/extensions/whox.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from myproject_chat.capability import MULTI_PREFIX
from myproject_chat.commands.lookup import is_operator
from myproject_chat.commands.registry import Table
from myproject_chat.modes import prefix_of
from myproject_chat.names import matches
from myproject_chat.numerics import RPL_ENDOFWHO, RPL_WHOREPLY, RPL_WHOSPCRPL
from myproject_chat.operators import sees_addresses, sees_hidden

if TYPE_CHECKING:
    from myproject_chat.channel import Channel
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["WHO"]

WHO = Table()

# The fields of WHOX in the order in which they are sent, whatever the order in which they were asked for.
_FIELDS = b"tcuihsnfdlaor"
# A token is up to three digits.
_TOKEN_LENGTH = 3
# What stands for an address that is nobody's business.
_HIDDEN_ADDRESS = b"255.255.255.255"


class _Asked(NamedTuple):
    """
    What WHO's second parameter says.

    :ivar operators_only: whether it asks for operators of the server alone.
    :ivar fields: the letters of WHOX in their order, or None for a plain reply.
    :ivar token: what the client will know the answer by.
    """

    operators_only: bool
    fields: bytes | None
    token: bytes


@WHO.registered(b"WHO")
async def who(session: Session, user: User, message: Message) -> None:
    """List who is in a channel, or whom a mask of nick, user name, host or real name fits."""
    mask = message.params[0] if message.params else b"*"
    asked = _read(message.params[1] if len(message.params) > 1 else b"")
    for channel, found in _who(session, user, mask):
        if is_operator(found) or not asked.operators_only:
            if asked.fields is None:
                _send_plain(session, channel, found)
            else:
                _send_fields(session, user, channel, found, asked)
            await session.drained()
    session.reply(RPL_ENDOFWHO, mask)


def _read(text: bytes) -> _Asked:
    flags, percent, rest = text.partition(b"%")
    operators_only = b"o" in flags
    if not percent:
        return _Asked(operators_only, None, b"0")
    letters, _, token = rest.partition(b",")
    if not token.isdigit() or len(token) > _TOKEN_LENGTH:
        token = b"0"
    fields = bytes(letter for letter in _FIELDS if letter in letters)
    return _Asked(operators_only, fields, token)


def _who(session: Session, user: User, mask: bytes) -> Iterator[tuple[Channel | None, User]]:
    """Give those whom a mask fits, each as it is when it is asked for; some may have gone by then."""
    network = session.server.network
    hidden = sees_hidden(session.server, user)
    whole = sees_addresses(session.server, user)
    if mask[:1] == b"#":
        channel = network.channel(mask)
        if channel is None or (channel.secret and channel not in user.channels and not hidden):
            return
        yield from ((channel, member) for member in _members(user, channel, hidden=hidden))
        return
    named = network.user(mask)
    if named is not None:
        yield _shared_channel(user, named), named
        return
    if mask == b"0":
        mask = b"*"
    for other in list(network.users.values()):
        if network.user(other.nick) is not other:
            continue
        seen = not other.invisible or other is user or other.shares_channel_with(user)
        if (seen or hidden) and _fits(mask, other, whole=whole):
            yield _shared_channel(user, other), other


def _members(user: User, channel: Channel, *, hidden: bool) -> Iterator[User]:
    inside = channel in user.channels
    for member in list(channel.members):
        if member in channel.members and (
            hidden or ((inside or not member.invisible) and channel.shows(member, user))
        ):
            yield member


def _shared_channel(user: User, other: User) -> Channel | None:
    return min(user.channels & other.channels, key=lambda channel: channel.name, default=None)


def _fits(mask: bytes, user: User, *, whole: bool) -> bool:
    known = (user.nick, user.user_name, user.host, user.real_name)
    return any(matches(mask, name) for name in known) or (whole and matches(mask, user.address))


def _flags(session: Session, channel: Channel | None, found: User) -> bytes:
    """Here or gone, operator, bot, and the rank in the channel."""
    flags = b"H" if found.away is None else b"G"
    if is_operator(found):
        flags += b"*"
    if b"B" in found.modes:
        flags += b"B"
    if channel is not None:
        every_sign = bool(session.capabilities & MULTI_PREFIX)
        flags += prefix_of(channel.members[found], all_of_them=every_sign)
    return flags


def _send_plain(session: Session, channel: Channel | None, found: User) -> None:
    session.reply(
        RPL_WHOREPLY,
        b"*" if channel is None else channel.name,
        found.user_name,
        found.host,
        session.server.name,
        found.nick,
        _flags(session, channel, found),
        text=b"0 " + found.real_name,
    )


def _send_fields(
    session: Session, user: User, channel: Channel | None, found: User, asked: _Asked
) -> None:
    private = found is user or sees_addresses(session.server, user)
    idle = max(0, int(session.server.wall()) - found.spoke)
    values = {
        b"t": asked.token,
        b"c": b"*" if channel is None else channel.name,
        b"u": found.user_name,
        b"i": found.address if private else _HIDDEN_ADDRESS,
        b"h": found.host,
        b"s": session.server.name,
        b"n": found.nick,
        b"f": _flags(session, channel, found),
        # Hops: there is one server.
        b"d": b"0",
        b"l": b"%d" % idle,
        b"a": found.account or b"0",
        # Levels of operators are an affair of other servers.
        b"o": b"n/a",
    }
    letters = asked.fields or b""
    words = [values[bytes((letter,))] for letter in letters if letter != ord("r")]
    session.reply(RPL_WHOSPCRPL, *words, text=found.real_name if b"r" in letters else None)
