"""
Questions: LUSERS MOTD WHO WHOIS ISON USERHOST.

Sources: RFC 2812 sections 3.4, 3.6 and 4.8, https://modern.ircdocs.horse/#who-message and
#whois-message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from myproject_chat.capability import MULTI_PREFIX
from myproject_chat.commands.lookup import visible_user
from myproject_chat.commands.registry import Table
from myproject_chat.delivery import pack
from myproject_chat.modes import prefix_of
from myproject_chat.names import matches
from myproject_chat.numerics import (
    ERR_NOMOTD,
    ERR_NONICKNAMEGIVEN,
    RPL_AWAY,
    RPL_ENDOFMOTD,
    RPL_ENDOFWHO,
    RPL_ENDOFWHOIS,
    RPL_GLOBALUSERS,
    RPL_ISON,
    RPL_LOCALUSERS,
    RPL_LUSERCHANNELS,
    RPL_LUSERCLIENT,
    RPL_LUSERME,
    RPL_LUSEROP,
    RPL_LUSERUNKNOWN,
    RPL_MOTD,
    RPL_MOTDSTART,
    RPL_USERHOST,
    RPL_WHOISCHANNELS,
    RPL_WHOISIDLE,
    RPL_WHOISSERVER,
    RPL_WHOISUSER,
    RPL_WHOREPLY,
)

if TYPE_CHECKING:
    from myproject_chat.channel import Channel
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["QUERIES", "send_lusers", "send_motd"]

QUERIES = Table()

# What 302, 303 and 319 can take behind a nick or two, whatever the names.
_ROOM = 350
# RFC 2812 section 4.8.
_USERHOST_NICKS = 5


@QUERIES.registered(b"LUSERS")
def lusers(session: Session, _user: User, _message: Message) -> None:
    """Say how many there are."""
    send_lusers(session)


def send_lusers(session: Session) -> None:
    """Answer with how many there are, as for LUSERS; part of every welcome."""
    server = session.server
    network = server.network
    users, invisible, most = len(network.users), network.with_mode[b"i"], network.most_users
    text = b"There are %d users and %d invisible on 1 server"
    session.reply(RPL_LUSERCLIENT, text=text % (users - invisible, invisible))
    session.reply(RPL_LUSEROP, b"0")
    session.reply(RPL_LUSERUNKNOWN, b"%d" % (len(server.sessions) - users))
    session.reply(RPL_LUSERCHANNELS, b"%d" % len(network.channels))
    session.reply(RPL_LUSERME, text=b"I have %d clients and 0 servers" % users)
    numbers = (b"%d" % users, b"%d" % most)
    session.reply(RPL_LOCALUSERS, *numbers, text=b"Current local users %d, max %d" % (users, most))
    session.reply(
        RPL_GLOBALUSERS, *numbers, text=b"Current global users %d, max %d" % (users, most)
    )


@QUERIES.registered(b"MOTD")
def motd(session: Session, _user: User, _message: Message) -> None:
    """Say the message of the day."""
    send_motd(session)


def send_motd(session: Session) -> None:
    """Answer with the message of the day, as for MOTD; the end of every welcome."""
    settings = session.server.settings
    if not settings.motd:
        session.reply(ERR_NOMOTD)
        return
    session.reply(RPL_MOTDSTART, text=b"Message of the day of " + settings.server_name)
    for line in settings.motd.splitlines():
        session.reply(RPL_MOTD, text=line)
    session.reply(RPL_ENDOFMOTD)


@QUERIES.registered(b"WHO")
def who(session: Session, user: User, message: Message) -> None:
    """Say who is in a channel, or whom a mask fits."""
    mask = message.params[0] if message.params else b"*"
    only_operators = message.params[1:2] == (b"o",)
    # Nobody is an operator of the server yet, so "o" asks for nobody.
    for channel, found in () if only_operators else _who(session, user, mask):
        _send_who(session, channel, found)
    session.reply(RPL_ENDOFWHO, mask)


def _who(session: Session, user: User, mask: bytes) -> Iterable[tuple[Channel | None, User]]:
    network = session.server.network
    if mask[:1] == b"#":
        channel = network.channel(mask)
        if channel is None or (b"s" in channel.flags and channel not in user.channels):
            return
        inside = channel in user.channels
        for member in channel.members:
            if (inside or not member.invisible) and channel.shows(member, user):
                yield channel, member
        return
    if mask == b"0":
        mask = b"*"
    for other in network.users.values():
        seen = not other.invisible or other is user or other.shares_channel_with(user)
        if mask.lower() == other.nick.lower() or (seen and _fits(mask, other)):
            shared = user.channels & other.channels
            yield min(shared, key=lambda channel: channel.name, default=None), other


def _fits(mask: bytes, user: User) -> bool:
    known = (user.nick, user.user_name, user.host, user.real_name)
    return any(matches(mask, name) for name in known)


def _send_who(session: Session, channel: Channel | None, found: User) -> None:
    flags = b"H" if found.away is None else b"G"
    if channel is not None:
        every_sign = bool(session.capabilities & MULTI_PREFIX)
        flags += prefix_of(channel.members[found], all_of_them=every_sign)
    session.reply(
        RPL_WHOREPLY,
        b"*" if channel is None else channel.name,
        found.user_name,
        found.host,
        session.server.name,
        found.nick,
        flags,
        text=b"0 " + found.real_name,
    )


@QUERIES.registered(b"WHOIS")
def whois(session: Session, user: User, message: Message) -> None:
    """Say what is known of a user; a server in front of the nick is accepted, there is only one."""
    nick = message.params[1 if len(message.params) > 1 else 0] if message.params else b""
    nick = nick.partition(b",")[0]
    if not nick:
        session.reply(ERR_NONICKNAMEGIVEN)
        return
    target = visible_user(session, nick)
    if target is not None:
        nick = target.nick
        _send_whois(session, user, target)
    session.reply(RPL_ENDOFWHOIS, nick)


def _send_whois(session: Session, user: User, target: User) -> None:
    nick = target.nick
    session.reply(RPL_WHOISUSER, nick, target.user_name, target.host, b"*", text=target.real_name)
    every_sign = bool(session.capabilities & MULTI_PREFIX)
    shown = (
        prefix_of(channel.members[target], all_of_them=every_sign) + channel.name
        for channel in sorted(target.channels, key=lambda channel: channel.name)
        if channel in user.channels or not (b"s" in channel.flags or target.invisible)
    )
    for line in pack(shown, _ROOM):
        session.reply(RPL_WHOISCHANNELS, nick, text=line)
    settings = session.server.settings
    session.reply(RPL_WHOISSERVER, nick, settings.server_name, text=settings.network_name)
    if target.away is not None:
        session.reply(RPL_AWAY, nick, text=target.away)
    idle = max(0, int(session.server.wall()) - target.spoke)
    session.reply(RPL_WHOISIDLE, nick, b"%d" % idle, b"%d" % target.since)


@QUERIES.registered(b"ISON", params=1)
def ison(session: Session, _user: User, message: Message) -> None:
    """Say which of some nicks are there."""
    network = session.server.network
    asked = b" ".join(message.params).split()
    found = [there.nick for nick in asked if (there := network.user(nick)) is not None]
    for line in pack(found, _ROOM) or [b""]:
        session.reply(RPL_ISON, text=line)


@QUERIES.registered(b"USERHOST", params=1)
def userhost(session: Session, _user: User, message: Message) -> None:
    """Say where up to five users are from."""
    network = session.server.network
    found = []
    for nick in message.params[:_USERHOST_NICKS]:
        other = network.user(nick)
        if other is not None:
            sign = b"+" if other.away is None else b"-"
            found.append(b"%b=%b%b@%b" % (other.nick, sign, other.user_name, other.host))
    for line in pack(found, _ROOM) or [b""]:
        session.reply(RPL_USERHOST, text=line)
