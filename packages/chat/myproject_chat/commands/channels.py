"""
Being in channels: JOIN PART NAMES TOPIC.

Sources: RFC 2812 section 3.2, https://modern.ircdocs.horse/#channel-operations,
https://ircv3.net/specs/extensions/extended-join, .../multi-prefix, .../userhost-in-names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from myproject_chat.capability import AWAY_NOTIFY, EXTENDED_JOIN, MULTI_PREFIX, USERHOST_IN_NAMES
from myproject_chat.commands.lookup import joined_channel, may_change, names
from myproject_chat.commands.registry import Table
from myproject_chat.delivery import broadcast, pack
from myproject_chat.modes import prefix_of
from myproject_chat.names import is_channel
from myproject_chat.numerics import (
    ERR_BADCHANNELKEY,
    ERR_BANNEDFROMCHAN,
    ERR_CHANNELISFULL,
    ERR_INVITEONLYCHAN,
    ERR_NOSUCHCHANNEL,
    ERR_TOOMANYCHANNELS,
    RPL_ENDOFNAMES,
    RPL_NAMREPLY,
    RPL_NOTOPIC,
    RPL_TOPIC,
    RPL_TOPICWHOTIME,
    Numeric,
)
from myproject_chat.state import Topic
from myproject_chat.wire import clip

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.state import Channel, User
    from myproject_chat.wire import Message

__all__ = ["CHANNELS", "TOPIC_LENGTH"]

CHANNELS = Table()

# InspIRCd's default is 307. With the longest channel and source it still fits a line.
TOPIC_LENGTH = 300
# What 353 can take behind ":server 353 nick = #channel :", whatever the names.
_NAMES_ROOM = 310


@CHANNELS.registered(b"JOIN", params=1)
def join(session: Session, user: User, message: Message) -> None:
    """Enter channels; ``0`` leaves all of them."""
    if message.params[0] == b"0":
        for channel in sorted(user.channels, key=lambda channel: channel.name):
            _part(session, user, channel, None)
        return
    keys = message.params[1].split(b",") if len(message.params) > 1 else []
    for index, name in enumerate(message.params[0].split(b",")):
        if name:
            _join(session, user, name, keys[index] if index < len(keys) else b"")


def _join(session: Session, user: User, name: bytes, key: bytes) -> None:
    network = session.server.network
    existing = network.channel(name)
    if existing is not None and existing in user.channels:
        return
    refusal = _refusal(session, user, existing, key) if is_channel(name) else ERR_NOSUCHCHANNEL
    if refusal is not None:
        session.reply(refusal, name if existing is None else existing.name)
        return
    channel = network.join(user, name, int(session.server.wall()))
    plain = session.server.message(user, b"JOIN", (channel.name,))
    account = user.account or b"*"
    extended = session.server.message(user, b"JOIN", (channel.name, account), user.real_name)
    broadcast(channel.members, extended, needs=EXTENDED_JOIN, otherwise=plain)
    if user.away is not None:
        news = session.server.message(user, b"AWAY", text=user.away)
        broadcast(channel.members, news, skip=user, needs=AWAY_NOTIFY)
    if channel.topic is not None:
        _send_topic(session, channel, channel.topic)
    _send_names(session, user, channel)
    session.reply(RPL_ENDOFNAMES, channel.name)


def _refusal(session: Session, user: User, channel: Channel | None, key: bytes) -> Numeric | None:
    """Say why a user may not enter, if so. Whom an operator invited needs the key alone."""
    if len(user.channels) >= session.server.settings.max_channels:
        return ERR_TOOMANYCHANNELS
    if channel is None:
        return None
    if channel.key is not None and key != channel.key:
        return ERR_BADCHANNELKEY
    if user in channel.invited:
        return None
    closed = {
        ERR_CHANNELISFULL: channel.limit is not None and len(channel.members) >= channel.limit,
        ERR_INVITEONLYCHAN: b"i" in channel.flags,
        ERR_BANNEDFROMCHAN: channel.is_banned(user),
    }
    return next((numeric for numeric, applies in closed.items() if applies), None)


@CHANNELS.registered(b"PART", params=1)
def part(session: Session, user: User, message: Message) -> None:
    """Leave channels."""
    reason = message.params[1] if len(message.params) > 1 else None
    for name in names(message.params[0]):
        channel = joined_channel(session, user, name)
        if channel is not None:
            _part(session, user, channel, reason)


def _part(session: Session, user: User, channel: Channel, reason: bytes | None) -> None:
    broadcast(channel.members, session.server.message(user, b"PART", (channel.name,), reason))
    session.server.network.leave(user, channel)


@CHANNELS.registered(b"NAMES")
def names_(session: Session, user: User, message: Message) -> None:
    """Say who is in channels."""
    if not message.params:
        session.reply(RPL_ENDOFNAMES, b"*")
        return
    for name in names(message.params[0]):
        channel = session.server.network.channel(name)
        if channel is not None and (b"s" not in channel.flags or channel in user.channels):
            _send_names(session, user, channel)
    session.reply(RPL_ENDOFNAMES, message.params[0])


def _send_names(session: Session, user: User, channel: Channel) -> None:
    symbol = b"@" if b"s" in channel.flags else b"="
    for line in pack(_visible(session, user, channel), _NAMES_ROOM):
        session.reply(RPL_NAMREPLY, symbol, channel.name, text=line)


def _visible(session: Session, user: User, channel: Channel) -> Iterator[bytes]:
    """Give the members as a client wants them; who is invisible shows only to those inside."""
    every_sign = bool(session.capabilities & MULTI_PREFIX)
    whole = bool(session.capabilities & USERHOST_IN_NAMES)
    inside = channel in user.channels
    for member, held in channel.members.items():
        if inside or not member.invisible:
            signs = prefix_of(held, all_of_them=every_sign) if held else b""
            yield signs + (member.source if whole else member.nick)


@CHANNELS.registered(b"TOPIC", params=1)
def topic(session: Session, user: User, message: Message) -> None:
    """Ask for a channel's topic, or set it."""
    channel = joined_channel(session, user, message.params[0])
    if channel is None:
        return
    if len(message.params) == 1:
        if channel.topic is None:
            session.reply(RPL_NOTOPIC, channel.name)
        else:
            _send_topic(session, channel, channel.topic)
        return
    if b"t" in channel.flags and not may_change(session, user, channel):
        return
    words = clip(message.params[1], TOPIC_LENGTH)
    now = int(session.server.wall())
    channel.topic = Topic(words, user.source, now) if words else None
    broadcast(channel.members, session.server.message(user, b"TOPIC", (channel.name,), words))


def _send_topic(session: Session, channel: Channel, topic: Topic) -> None:
    session.reply(RPL_TOPIC, channel.name, text=topic.text)
    session.reply(RPL_TOPICWHOTIME, channel.name, topic.setter, b"%d" % topic.when)
