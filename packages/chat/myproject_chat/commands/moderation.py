"""
Letting people in and putting them out: KICK INVITE.

Sources: RFC 2812 sections 3.2.7 and 3.2.8, https://modern.ircdocs.horse/#kick-message,
https://modern.ircdocs.horse/#invite-message, https://ircv3.net/specs/extensions/invite-notify.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject_chat.capability import INVITE_NOTIFY
from myproject_chat.commands.lookup import joined_channel, may_change, visible_user
from myproject_chat.commands.registry import Table
from myproject_chat.delivery import broadcast
from myproject_chat.modes import HALF_OPERATOR, OPERATOR
from myproject_chat.numerics import (
    ERR_CHANOPRIVSNEEDED,
    ERR_NEEDMOREPARAMS,
    ERR_USERNOTINCHANNEL,
    ERR_USERONCHANNEL,
    RPL_AWAY,
    RPL_ENDOFINVITELIST,
    RPL_INVITELIST,
    RPL_INVITING,
)
from myproject_chat.wire import clip

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["MODERATION"]

MODERATION = Table()


@MODERATION.registered(b"KICK", params=2)
def kick(session: Session, user: User, message: Message) -> None:
    """Put users out of one channel, or each out of the channel in the same place of its list."""
    channels, nicks = message.params[0].split(b","), message.params[1].split(b",")
    if len(channels) == 1:
        channels *= len(nicks)
    reason = message.params[2] if len(message.params) > 2 else b""
    reason = clip(reason, session.server.settings.limits.kick) or user.nick
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
    own, others = channel.level(user), channel.level(target)
    # Operators may put each other out, half-operators may not.
    if others > own or (target is not user and others == own < OPERATOR):
        text = b"They have a rank that you cannot put out"
        session.reply(ERR_CHANOPRIVSNEEDED, channel.name, text=text)
        return
    news = session.server.message(user, b"KICK", (channel.name, target.nick), reason)
    session.server.history.happened(news, (channel,))
    broadcast(channel.audience(target), news)
    if user not in channel.audience(target):
        broadcast((user,), news)
    session.server.network.leave(target, channel)


@MODERATION.registered(b"INVITE")
def invite(session: Session, user: User, message: Message) -> None:
    """Ask somebody in; into a channel that is ``i``, only a moderator may. Alone: list one's own."""
    if not message.params:
        for channel in sorted(user.invited, key=lambda channel: channel.name):
            session.reply(RPL_INVITELIST, channel.name)
        session.reply(RPL_ENDOFINVITELIST)
        return
    if len(message.params) == 1:
        session.reply(ERR_NEEDMOREPARAMS, b"INVITE")
        return
    target = visible_user(session, message.params[0])
    if target is None:
        return
    invited_to = joined_channel(session, user, message.params[1])
    if invited_to is None:
        return
    if target in invited_to.members:
        session.reply(ERR_USERONCHANNEL, target.nick, invited_to.name)
        return
    if b"i" in invited_to.flags and not may_change(session, user, invited_to):
        return
    session.reply(RPL_INVITING, target.nick, invited_to.name)
    if target.away is not None:
        session.reply(RPL_AWAY, target.nick, text=target.away)
    if invited_to.may_moderate(user):
        session.server.network.invite(
            target, invited_to, session.server.settings.limits.invitations
        )
    news = session.server.message(user, b"INVITE", (target.nick, invited_to.name))
    broadcast((target,), news)
    # Those who could invite people themselves may know who does.
    broadcast(invited_to.at_least(HALF_OPERATOR), news, skip=user, needs=INVITE_NOTIFY)
