"""
What is known of somebody: WHOIS WHOWAS ISON USERHOST.

The address behind a cloak, the user modes and the certificate are for the user itself and for operators of
the server with the privilege ``ban`` or ``see-all``; what is secret is for those with the latter.

Sources: RFC 2812 sections 3.6.2, 3.6.3, 4.8 and 4.9, https://modern.ircdocs.horse/#whois-message,
https://ircv3.net/specs/extensions/bot-mode, https://ircv3.net/specs/extensions/metadata.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from myproject_chat.capability import METADATA, MULTI_PREFIX
from myproject_chat.commands.lookup import is_operator, visible_user
from myproject_chat.commands.registry import Table
from myproject_chat.delivery import pack
from myproject_chat.modes import prefix_of
from myproject_chat.numerics import (
    ERR_NONICKNAMEGIVEN,
    ERR_WASNOSUCHNICK,
    RPL_AWAY,
    RPL_ENDOFWHOIS,
    RPL_ENDOFWHOWAS,
    RPL_ISON,
    RPL_USERHOST,
    RPL_WHOISACCOUNT,
    RPL_WHOISACTUALLY,
    RPL_WHOISBOT,
    RPL_WHOISCERTFP,
    RPL_WHOISCHANNELS,
    RPL_WHOISIDLE,
    RPL_WHOISKEYVALUE,
    RPL_WHOISMODES,
    RPL_WHOISOPERATOR,
    RPL_WHOISSECURE,
    RPL_WHOISSERVER,
    RPL_WHOISUSER,
    RPL_WHOWASUSER,
)
from myproject_chat.operators import sees_addresses, sees_hidden

if TYPE_CHECKING:
    from myproject_chat.channel import Channel
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["WHOIS"]

WHOIS = Table()

# What 302, 303 and 319 can take behind a nick or two, whatever the names.
_ROOM = 350
# RFC 2812 section 4.8.
_USERHOST_NICKS = 5
# More digits than any count has that is meant.
_DIGITS = 6


@WHOIS.registered(b"WHOIS")
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
    private = target is user or sees_addresses(session.server, user)
    hidden = sees_hidden(session.server, user)
    session.reply(RPL_WHOISUSER, nick, target.user_name, target.host, b"*", text=target.real_name)
    every_sign = bool(session.capabilities & MULTI_PREFIX)
    shown = (
        prefix_of(channel.members[target], all_of_them=every_sign) + channel.name
        for channel in sorted(target.channels, key=lambda channel: channel.name)
        if hidden or _is_shown(channel, user, target)
    )
    for line in pack(shown, _ROOM):
        session.reply(RPL_WHOISCHANNELS, nick, text=line)
    settings = session.server.settings
    session.reply(RPL_WHOISSERVER, nick, settings.server_name, text=settings.description)
    if is_operator(target):
        session.reply(RPL_WHOISOPERATOR, nick)
    if target.account is not None:
        session.reply(RPL_WHOISACCOUNT, nick, target.account)
    if b"B" in target.modes:
        session.reply(RPL_WHOISBOT, nick)
    if target.receivers and all(client.secure for client in target.receivers):
        session.reply(RPL_WHOISSECURE, nick)
    if target.away is not None:
        session.reply(RPL_AWAY, nick, text=target.away)
    if private:
        _send_private(session, target)
    if session.capabilities & METADATA:
        for key, value in target.metadata.items():
            session.reply(RPL_WHOISKEYVALUE, nick, key, b"*", text=value)
    idle = max(0, int(session.server.wall()) - target.spoke)
    session.reply(RPL_WHOISIDLE, nick, b"%d" % idle, b"%d" % target.since)


def _is_shown(channel: Channel, user: User, target: User) -> bool:
    if channel in user.channels:
        return channel.shows(target, user)
    return not channel.secret and not target.invisible and channel.shows(target, user)


def _send_private(session: Session, target: User) -> None:
    nick = target.nick
    modes = b"is using modes +" + b"".join(sorted(target.modes))
    session.reply(RPL_WHOISMODES, nick, text=modes)
    where = b"%b@%b" % (target.user_name, target.host)
    session.reply(RPL_WHOISACTUALLY, nick, where, target.address)
    for client in target.receivers:
        if client.fingerprint is not None:
            text = b"has client certificate fingerprint " + client.fingerprint
            session.reply(RPL_WHOISCERTFP, nick, text=text)


@WHOIS.registered(b"WHOWAS")
def whowas(session: Session, _user: User, message: Message) -> None:
    """Say who had a nick before, the last first; a number behind it says how many at most."""
    if not message.params:
        session.reply(ERR_NONICKNAMEGIVEN)
        return
    nick = message.params[0].partition(b",")[0]
    digits = message.params[1] if len(message.params) > 1 else b""
    count = int(digits) if digits.isdigit() and len(digits) <= _DIGITS else 0
    found = False
    for former in session.server.whowas.of(nick, count or None):
        found = True
        words = (former.nick, former.user_name, former.host, b"*")
        session.reply(RPL_WHOWASUSER, *words, text=former.real_name)
        when = datetime.fromtimestamp(former.when, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        session.reply(RPL_WHOISSERVER, former.nick, session.server.name, text=when.encode("ascii"))
    if not found:
        session.reply(ERR_WASNOSUCHNICK, nick)
    session.reply(RPL_ENDOFWHOWAS, nick)


@WHOIS.registered(b"ISON", params=1)
def ison(session: Session, _user: User, message: Message) -> None:
    """Say which of some nicks are there."""
    network = session.server.network
    asked = b" ".join(message.params).split()
    found = [there.nick for nick in asked if (there := network.user(nick)) is not None]
    for line in pack(found, _ROOM) or [b""]:
        session.reply(RPL_ISON, text=line)


@WHOIS.registered(b"USERHOST", params=1)
def userhost(session: Session, _user: User, message: Message) -> None:
    """Say where up to five users are from, who is away, and who is an operator of the server."""
    network = session.server.network
    found = []
    for nick in message.params[:_USERHOST_NICKS]:
        other = network.user(nick)
        if other is not None:
            operator = b"*" if is_operator(other) else b""
            sign = b"+" if other.away is None else b"-"
            words = (other.nick, operator, sign, other.user_name, other.host)
            found.append(b"%b%b=%b%b@%b" % words)
    for line in pack(found, _ROOM) or [b""]:
        session.reply(RPL_USERHOST, text=line)
