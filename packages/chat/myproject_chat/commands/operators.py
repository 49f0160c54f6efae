"""
What channel operators do to others: KICK INVITE.

Sources: RFC 2812 sections 3.2.7 and 3.2.8, https://modern.ircdocs.horse/#kick-message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject_chat.commands.lookup import joined_channel, may_change, visible_user
from myproject_chat.commands.registry import Table
from myproject_chat.delivery import broadcast
from myproject_chat.numerics import ERR_USERNOTINCHANNEL, ERR_USERONCHANNEL, RPL_AWAY, RPL_INVITING
from myproject_chat.wire import clip

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["KICK_LENGTH", "OPERATORS"]

OPERATORS = Table()

# InspIRCd's default.
KICK_LENGTH = 255


@OPERATORS.registered(b"KICK", params=2)
def kick(session: Session, user: User, message: Message) -> None:
    """Put users out of one channel, or each out of the channel in the same place of its list."""
    channels, nicks = message.params[0].split(b","), message.params[1].split(b",")
    if len(channels) == 1:
        channels *= len(nicks)
    reason = message.params[2] if len(message.params) > 2 else b""
    reason = clip(reason, KICK_LENGTH) or user.nick
    for name, nick in dict.fromkeys(zip(channels, nicks, strict=False)):
        _kick(session, user, name, nick, reason)


def _kick(session: Session, user: User, name: bytes, nick: bytes, reason: bytes) -> None:
    channel = joined_channel(session, user, name)
    if channel is None or not may_change(session, user, channel):
        return
    target = visible_user(session, nick)
    if target is None:
        return
    if target not in channel.members:
        session.reply(ERR_USERNOTINCHANNEL, target.nick, channel.name)
        return
    news = session.server.message(user, b"KICK", (channel.name, target.nick), reason)
    broadcast(channel.members, news)
    session.server.network.leave(target, channel)


@OPERATORS.registered(b"INVITE", params=2)
def invite(session: Session, user: User, message: Message) -> None:
    """Ask somebody in; into a channel that is ``i``, only an operator may."""
    target = visible_user(session, message.params[0])
    if target is None:
        return
    channel = joined_channel(session, user, message.params[1])
    if channel is None:
        return
    if target in channel.members:
        session.reply(ERR_USERONCHANNEL, target.nick, channel.name)
    elif b"i" not in channel.flags or may_change(session, user, channel):
        session.reply(RPL_INVITING, target.nick, channel.name)
        if target.away is not None:
            session.reply(RPL_AWAY, target.nick, text=target.away)
        if channel.is_operator(user):
            session.server.network.invite(target, channel)
        news = session.server.message(user, b"INVITE", (target.nick, channel.name))
        broadcast((target,), news)
