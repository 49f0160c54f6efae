"""
MODE, for channels and for oneself.

Each kind of channel mode has a function that makes one change and gives back what is announced of
it: the change as it took effect, or None for none. A refusal answers the client and is None too.

Sources: RFC 2812 sections 3.1.5 and 3.2.3, https://modern.ircdocs.horse/#mode-message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject_chat.commands.lookup import may_change, visible_channel, visible_user
from myproject_chat.commands.registry import Table
from myproject_chat.delivery import broadcast
from myproject_chat.modes import (
    CHANNEL_FLAGS,
    CHANNEL_KEY,
    CHANNEL_LIMIT,
    CHANNEL_LISTS,
    PREFIXES,
    USER_MODES,
    ModeChange,
    format_changes,
    read_changes,
)
from myproject_chat.names import fold, whole_mask
from myproject_chat.numerics import (
    ERR_BANLISTFULL,
    ERR_INVALIDMODEPARAM,
    ERR_UMODEUNKNOWNFLAG,
    ERR_UNKNOWNMODE,
    ERR_USERNOTINCHANNEL,
    ERR_USERSDONTMATCH,
    RPL_BANLIST,
    RPL_CHANNELMODEIS,
    RPL_CREATIONTIME,
    RPL_ENDOFBANLIST,
    RPL_UMODEIS,
)
from myproject_chat.state import Ban

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.state import Channel, User
    from myproject_chat.wire import Message

__all__ = ["KEY_LENGTH", "MAX_BANS", "MODES"]

MODES = Table()

# RFC 2812 section 2.3.1.
KEY_LENGTH = 23
# As many as a moderator can still read through, and few enough to try at every join.
MAX_BANS = 100
# The largest limit that makes sense to set; no channel has as many members.
_MAX_LIMIT = 10**9
# What MODE can take behind a source and a channel of the longest kind.
_ROOM = 320


@MODES.registered(b"MODE", params=1)
def mode(session: Session, user: User, message: Message) -> None:
    """Look at modes, or change them."""
    target, *rest = message.params
    if target[:1] == b"#":
        channel = visible_channel(session, target)
        if channel is None:
            return
        if not rest:
            _show(session, user, channel)
        else:
            _change(session, user, channel, read_changes(rest[0], rest[1:]))
    elif (other := visible_user(session, target)) is not None:
        if other is not user:
            session.reply(ERR_USERSDONTMATCH)
        elif not rest:
            session.reply(RPL_UMODEIS, b"+" + b"".join(sorted(user.modes)))
        else:
            _change_user(session, user, rest[0])


def _show(session: Session, user: User, channel: Channel) -> None:
    letters = bytes(sorted(b"".join(channel.flags)))
    params = []
    if channel.key is not None:
        letters += CHANNEL_KEY
        params.append(channel.key if channel in user.channels else b"*")
    if channel.limit is not None:
        letters += CHANNEL_LIMIT
        params.append(b"%d" % channel.limit)
    session.reply(RPL_CHANNELMODEIS, channel.name, b"+" + letters, *params)
    session.reply(RPL_CREATIONTIME, channel.name, b"%d" % channel.created)


def _change(session: Session, user: User, channel: Channel, wanted: list[ModeChange]) -> None:
    done = []
    for change in dict.fromkeys(wanted):
        if change.letter in CHANNEL_LISTS and change.param is None:
            _show_bans(session, channel)
            continue
        if not _known(change.letter):
            session.reply(ERR_UNKNOWNMODE, change.letter)
            continue
        if not may_change(session, user, channel):
            break
        effect = _make(session, user, channel, change)
        if effect is not None:
            done.append(effect)
    for params in format_changes(done, _ROOM):
        news = session.server.message(user, b"MODE", (channel.name, *params))
        broadcast(channel.members, news)


def _known(letter: bytes) -> bool:
    simple = CHANNEL_FLAGS + CHANNEL_KEY + CHANNEL_LIMIT + CHANNEL_LISTS
    return letter in PREFIXES or letter in simple


def _make(session: Session, user: User, channel: Channel, change: ModeChange) -> ModeChange | None:
    letter = change.letter
    if letter in PREFIXES:
        return _rank(session, channel, change)
    if letter in CHANNEL_LISTS:
        return _ban(session, user, channel, change)
    if letter == CHANNEL_KEY:
        return _key(session, channel, change)
    if letter == CHANNEL_LIMIT:
        return _limit(session, channel, change)
    if change.adding is (letter in channel.flags):
        return None
    if change.adding:
        channel.flags.add(letter)
    else:
        channel.flags.discard(letter)
    return change


def _rank(session: Session, channel: Channel, change: ModeChange) -> ModeChange | None:
    target = visible_user(session, change.param or b"")
    if target is None:
        return None
    held = channel.members.get(target)
    if held is None:
        session.reply(ERR_USERNOTINCHANNEL, target.nick, channel.name)
        return None
    if change.adding is (change.letter in held):
        return None
    without = held.replace(change.letter, b"")
    channel.members[target] = without + change.letter if change.adding else without
    return change._replace(param=target.nick)


def _ban(session: Session, user: User, channel: Channel, change: ModeChange) -> ModeChange | None:
    mask = whole_mask(change.param or b"")
    if b" " in mask or mask.startswith(b":"):
        _refuse(session, channel, change, b"A ban is nick!user@host, in one word")
        return None
    key = fold(mask)
    if change.adding is (key in channel.bans):
        return None
    if not change.adding:
        mask = channel.bans.pop(key).mask
    elif len(channel.bans) >= MAX_BANS:
        session.reply(ERR_BANLISTFULL, channel.name, mask)
        return None
    else:
        channel.bans[key] = Ban(mask, user.source, int(session.server.wall()))
    return change._replace(param=mask)


def _show_bans(session: Session, channel: Channel) -> None:
    for ban in channel.bans.values():
        session.reply(RPL_BANLIST, channel.name, ban.mask, ban.setter, b"%d" % ban.when)
    session.reply(RPL_ENDOFBANLIST, channel.name)


def _key(session: Session, channel: Channel, change: ModeChange) -> ModeChange | None:
    if not change.adding:
        if channel.key is None:
            return None
        channel.key = None
        # Clients want a parameter here, and it is nobody's business what the key was.
        return change._replace(param=b"*")
    key = change.param or b""
    if not 0 < len(key) <= KEY_LENGTH or b" " in key or b"," in key or key.startswith(b":"):
        text = b"A key is one word of up to %d bytes without commas" % KEY_LENGTH
        _refuse(session, channel, change, text)
        return None
    if key == channel.key:
        return None
    channel.key = key
    return change


def _limit(session: Session, channel: Channel, change: ModeChange) -> ModeChange | None:
    limit = None
    if change.adding:
        digits = change.param or b""
        # Ten digits at most, so that int() is never given a megabyte of them.
        limit = int(digits) if digits.isdigit() and len(digits) <= 10 else 0
        if not 0 < limit <= _MAX_LIMIT:
            _refuse(session, channel, change, b"A limit is a number from 1 to %d" % _MAX_LIMIT)
            return None
    if limit == channel.limit:
        return None
    channel.limit = limit
    return change._replace(param=None if limit is None else b"%d" % limit)


def _refuse(session: Session, channel: Channel, change: ModeChange, text: bytes) -> None:
    # A key is a secret, even one that will not do.
    shown = b"*" if change.letter == CHANNEL_KEY else change.param or b"*"
    session.reply(ERR_INVALIDMODEPARAM, channel.name, change.letter, shown, text=text)


def _change_user(session: Session, user: User, letters: bytes) -> None:
    done = []
    unknown = False
    for change in read_changes(letters, ()):
        if change.letter not in USER_MODES:
            unknown = True
        elif session.server.network.set_mode(user, change.letter, on=change.adding):
            done.append(change)
    for params in format_changes(done, _ROOM):
        news = session.server.message(user, b"MODE", (user.nick, *params))
        broadcast((user,), news)
    if unknown:
        session.reply(ERR_UMODEUNKNOWNFLAG)
