"""
Being in channels: JOIN PART NAMES TOPIC.

Sources: RFC 2812 section 3.2, https://modern.ircdocs.horse/#channel-operations,
https://ircv3.net/specs/extensions/extended-join, .../multi-prefix, .../userhost-in-names,
.../no-implicit-names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from myproject_chat.capability import (
    AWAY_NOTIFY,
    EXTENDED_JOIN,
    MULTI_PREFIX,
    NO_IMPLICIT_NAMES,
    USERHOST_IN_NAMES,
)
from myproject_chat.channel import Topic
from myproject_chat.commands.lookup import joined_channel, may_change, names
from myproject_chat.commands.metadata import tell_of_joining
from myproject_chat.commands.readmarkers import tell_marker
from myproject_chat.commands.registry import Table
from myproject_chat.commands.replay import replay_channel
from myproject_chat.delivery import broadcast, pack
from myproject_chat.modes import prefix_of
from myproject_chat.names import CHANNEL_LENGTH, is_channel
from myproject_chat.numerics import (
    ERR_BADCHANNELKEY,
    ERR_BANNEDFROMCHAN,
    ERR_CHANNELISFULL,
    ERR_INVITEONLYCHAN,
    ERR_LINKCHANNEL,
    ERR_NEEDREGGEDNICK,
    ERR_NOSUCHCHANNEL,
    ERR_TOOMANYCHANNELS,
    RPL_ENDOFNAMES,
    RPL_NAMREPLY,
    RPL_NOTOPIC,
    RPL_TOPIC,
    RPL_TOPICWHOTIME,
    RPL_TRYAGAIN,
    Numeric,
)
from myproject_chat.operators import may, sees_hidden
from myproject_chat.wire import clip

if TYPE_CHECKING:
    from myproject_chat.channel import Channel
    from myproject_chat.server import Server
    from myproject_chat.session import Session
    from myproject_chat.state import Receiver, User
    from myproject_chat.wire import Message

__all__ = ["CHANNELS", "announce", "enter", "leave", "welcome"]

CHANNELS = Table()

# What 353 can take behind ":server 353 nick = #channel :", whatever the names.
_NAMES_ROOM = 300
# The refusals after which mode f sends people elsewhere: those that are no fault of theirs.
_FORWARDED = frozenset(
    {ERR_BANNEDFROMCHAN, ERR_CHANNELISFULL, ERR_INVITEONLYCHAN, ERR_NEEDREGGEDNICK}
)


@CHANNELS.registered(b"JOIN", params=1)
async def join(session: Session, user: User, message: Message) -> None:
    """Enter channels; ``0`` leaves all of them."""
    if message.params[0] == b"0":
        for channel in sorted(user.channels, key=lambda channel: channel.name):
            leave(session.server, user, channel, None)
        return
    keys = message.params[1].split(b",") if len(message.params) > 1 else []
    for index, name in enumerate(message.params[0].split(b",")):
        if name:
            named = session.server.messages
            entered = _join(session, user, name, keys[index] if index < len(keys) else b"")
            if entered is not None:
                await replay_channel(session, user, entered, named)
            # The names of the next channel may be many, too.
            await session.drained()


def _join(session: Session, user: User, name: bytes, key: bytes) -> Channel | None:
    """Enter a channel, or be told why not; gives where that led."""
    existing = session.server.network.channel(name)
    if existing is not None and existing in user.channels:
        return None
    if not session.may_join():
        session.reply(RPL_TRYAGAIN, b"JOIN", name)
        return None
    refusal = _refusal(session, user, existing, key)
    longest = CHANNEL_LENGTH if existing else session.server.settings.limits.channel
    if not is_channel(name, longest):
        refusal = ERR_NOSUCHCHANNEL
    if refusal is None:
        return enter(session.server, user, name)
    if existing is not None and existing.forward is not None and refusal in _FORWARDED:
        return _forward(session, user, existing, existing.forward, refusal)
    session.reply(refusal, name if existing is None else existing.name)
    return None


def _forward(
    session: Session, user: User, channel: Channel, name: bytes, refusal: Numeric
) -> Channel | None:
    """Send somebody where mode f points, once: it does not matter where that one points."""
    other = session.server.network.channel(name)
    if other is None or other in user.channels or _refusal(session, user, other, b"") is not None:
        session.reply(refusal, channel.name)
        return None
    session.reply(ERR_LINKCHANNEL, channel.name, other.name)
    return enter(session.server, user, name)


def enter(server: Server, user: User, name: bytes) -> Channel:
    """
    Put a user into a channel, whatever its modes say, and tell all whom it concerns.

    :param server: the server.
    :param user: the user, who is not in it.
    :param name: the channel; it is made if need be.
    :return: the channel.
    """
    new = server.network.channel(name) is None
    if new:
        server.history.begin(name)
    channel = server.network.join(user, name, int(server.wall()))
    if new:
        channel.flags = {letter.encode() for letter in server.settings.channels.default_modes}
    rank = server.kept.rank(channel, user.account)
    if rank:
        channel.members[user] = rank
    announce(server, user, channel)
    if rank:
        # Its own clients see that in NAMES.
        news = server.announcement(b"MODE", (channel.name, b"+" + rank, user.nick))
        broadcast(channel.audience(user), news, skip=user)
    if user.away is not None:
        news = server.message(user, b"AWAY", text=user.away)
        broadcast(channel.audience(user), news, skip=user, needs=AWAY_NOTIFY)
    for receiver in user.receivers:
        tell_marker(server, receiver, user, channel.name)
        welcome(receiver, user, channel)
    tell_of_joining(user, channel)
    return channel


def announce(server: Server, user: User, channel: Channel, only: Receiver | None = None) -> None:
    """
    Tell of somebody's coming.

    :param server: the server.
    :param user: who has come.
    :param channel: the channel.
    :param only: the one client that is told; None for everybody.
    """
    plain = server.message(user, b"JOIN", (channel.name,))
    words = (channel.name, user.account or b"*")
    extended = server.message(user, b"JOIN", words, user.real_name)
    if only is None:
        server.history.happened(extended, (channel,))
        broadcast(channel.audience(user), extended, needs=EXTENDED_JOIN, otherwise=plain)
    else:
        known = extended if only.capabilities & EXTENDED_JOIN else plain
        only.queue(known.line_for(only.capabilities))


def welcome(receiver: Receiver, user: User, channel: Channel) -> None:
    """
    Say to a client what it has to know of a channel that its user is in: topic and names.

    :param receiver: the client.
    :param user: whose it is.
    :param channel: the channel.
    """
    if channel.topic is not None:
        _send_topic(receiver, channel, channel.topic)
    if not receiver.capabilities & NO_IMPLICIT_NAMES:
        for line in _names(receiver, user, channel):
            _send_line(receiver, channel, line)
        receiver.reply(RPL_ENDOFNAMES, channel.name)


def _no_maker(session: Session, user: User) -> Numeric | None:
    """Say why a user may not make a channel, if so."""
    makers = session.server.settings.channels.creation
    if makers == "accounts" and user.account is None:
        return ERR_NEEDREGGEDNICK
    if makers == "operators" and not may(session.server, user, "sajoin"):
        return ERR_NOSUCHCHANNEL
    return None


def _refusal(session: Session, user: User, channel: Channel | None, key: bytes) -> Numeric | None:
    """Say why a user may not enter, if so. Whom a moderator invited needs the key alone."""
    if len(user.channels) >= session.server.settings.max_channels:
        return ERR_TOOMANYCHANNELS
    if channel is None:
        return _no_maker(session, user)
    if channel.key is not None and key != channel.key:
        return ERR_BADCHANNELKEY
    if user in channel.invited:
        return None
    closed = {
        ERR_CHANNELISFULL: channel.limit is not None and len(channel.members) >= channel.limit,
        ERR_INVITEONLYCHAN: not channel.is_open_to(user),
        ERR_BANNEDFROMCHAN: channel.is_banned(user),
        ERR_NEEDREGGEDNICK: b"R" in channel.flags and user.account is None,
    }
    return next((numeric for numeric, applies in closed.items() if applies), None)


@CHANNELS.registered(b"PART", params=1)
def part(session: Session, user: User, message: Message) -> None:
    """Leave channels."""
    reason = message.params[1] if len(message.params) > 1 else None
    for name in names(message.params[0]):
        channel = joined_channel(session, user, name)
        if channel is not None:
            leave(session.server, user, channel, reason)


def leave(server: Server, user: User, channel: Channel, reason: bytes | None) -> None:
    """
    Take a user out of a channel, and tell all whom it concerns.

    :param server: the server.
    :param user: the user, who is in it.
    :param channel: the channel.
    :param reason: why, or None.
    """
    message = server.message(user, b"PART", (channel.name,), reason)
    server.history.happened(message, (channel,))
    broadcast(channel.audience(user), message)
    server.network.leave(user, channel)


@CHANNELS.registered(b"NAMES")
async def names_(session: Session, user: User, message: Message) -> None:
    """Say who is in channels."""
    if not message.params:
        session.reply(RPL_ENDOFNAMES, b"*")
        return
    hidden = sees_hidden(session.server, user)
    for name in names(message.params[0]):
        channel = session.server.network.channel(name)
        if channel is not None and (hidden or not channel.secret or channel in user.channels):
            for line in _names(session, user, channel, hidden=hidden):
                _send_line(session, channel, line)
                await session.drained()
    session.reply(RPL_ENDOFNAMES, message.params[0])


def _names(
    receiver: Receiver, user: User, channel: Channel, *, hidden: bool = False
) -> list[bytes]:
    """Give the lines that name a channel's members, as they are now; those that hide, too, or not."""
    members = channel.members if hidden else _visible(user, channel)
    return pack(_as_wanted(receiver, channel, members), _NAMES_ROOM)


def _send_line(receiver: Receiver, channel: Channel, line: bytes) -> None:
    symbol = b"@" if channel.secret else b"="
    receiver.reply(RPL_NAMREPLY, symbol, channel.name, text=line)


def _visible(user: User, channel: Channel) -> Iterator[User]:
    """Give those whom a user may see; who is invisible shows only to those inside."""
    inside = channel in user.channels
    for member in channel.members:
        if (inside or not member.invisible) and channel.shows(member, user):
            yield member


def _as_wanted(receiver: Receiver, channel: Channel, members: Iterable[User]) -> Iterator[bytes]:
    """Write members as a client wants them."""
    every_sign = bool(receiver.capabilities & MULTI_PREFIX)
    whole = bool(receiver.capabilities & USERHOST_IN_NAMES)
    for member in members:
        held = channel.members[member]
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
    words = clip(message.params[1], session.server.settings.limits.topic)
    now = int(session.server.wall())
    channel.topic = Topic(words, user.source, now) if words else None
    session.server.network.changed.add(channel)
    news = session.server.message(user, b"TOPIC", (channel.name,), words)
    session.server.history.happened(news, (channel,))
    broadcast(channel.members, news)


def _send_topic(receiver: Receiver, channel: Channel, topic: Topic) -> None:
    receiver.reply(RPL_TOPIC, channel.name, text=topic.text)
    receiver.reply(RPL_TOPICWHOTIME, channel.name, topic.setter, b"%d" % topic.when)
