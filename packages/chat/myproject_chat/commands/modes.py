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
from myproject_chat.commands.usermodes import user_mode
from myproject_chat.delivery import broadcast
from myproject_chat.extbans import read_mask
from myproject_chat.modes import (
    CHANNEL_FLAGS,
    CHANNEL_FORWARD,
    CHANNEL_KEY,
    CHANNEL_LIMIT,
    CHANNEL_LISTS,
    CHANNEL_SETTINGS,
    NEEDED_LEVELS,
    OPERATOR,
    PREFIXES,
    ModeChange,
    format_changes,
    level_of,
    read_changes,
)
from myproject_chat.numerics import (
    ERR_BANLISTFULL,
    ERR_INVALIDMODEPARAM,
    ERR_UNKNOWNMODE,
    ERR_USERNOTINCHANNEL,
    RPL_BANLIST,
    RPL_CHANNELMODEIS,
    RPL_CREATIONTIME,
    RPL_ENDOFBANLIST,
    RPL_ENDOFEXCEPTLIST,
    RPL_ENDOFINVEXLIST,
    RPL_EXCEPTLIST,
    RPL_INVEXLIST,
)

if TYPE_CHECKING:
    from myproject_chat.channel import Channel
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["KEY_LENGTH", "MODES", "change_modes"]

MODES = Table()

# RFC 2812 section 2.3.1.
KEY_LENGTH = 23
# The largest limit that makes sense to set; no channel has as many members.
_MAX_LIMIT = 10**9
# What MODE can take behind a source and a channel of the longest kind.
_ROOM = 280
# How each list is shown.
_SHOWN = {
    b"b": (RPL_BANLIST, RPL_ENDOFBANLIST),
    b"e": (RPL_EXCEPTLIST, RPL_ENDOFEXCEPTLIST),
    b"I": (RPL_INVEXLIST, RPL_ENDOFINVEXLIST),
}


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
        user_mode(session, user, other, *rest[:2])


def _show(session: Session, user: User, channel: Channel) -> None:
    letters = bytes(sorted(b"".join(channel.flags)))
    params = []
    if channel.forward is not None:
        letters += CHANNEL_FORWARD
        params.append(channel.forward)
    if channel.key is not None:
        letters += CHANNEL_KEY
        params.append(channel.key if channel in user.channels else b"*")
    if channel.limit is not None:
        letters += CHANNEL_LIMIT
        params.append(b"%d" % channel.limit)
    session.reply(RPL_CHANNELMODEIS, channel.name, b"+" + letters, *params)
    session.reply(RPL_CREATIONTIME, channel.name, b"%d" % channel.created)


def _change(session: Session, user: User, channel: Channel, wanted: list[ModeChange]) -> None:
    lists = {change.letter for change in wanted if change.param is None} & set(_SHOWN)
    for letter in sorted(lists):
        _show_list(session, channel, letter)
    wanted = [change for change in wanted if change.param is not None or change.letter not in lists]
    if wanted and _all_known(session, wanted) and may_change(session, user, channel):
        change_modes(session, user, channel, wanted)


def _all_known(session: Session, wanted: list[ModeChange]) -> bool:
    """Answer 472 for each letter that is no mode; say whether any is."""
    known = list(dict.fromkeys(change.letter for change in wanted))
    unknown = [letter for letter in known if not _is_mode(letter)]
    for letter in unknown:
        session.reply(ERR_UNKNOWNMODE, letter)
    return len(unknown) < len(known)


def _is_mode(letter: bytes) -> bool:
    simple = CHANNEL_FLAGS + CHANNEL_KEY + CHANNEL_SETTINGS + CHANNEL_LISTS
    return letter in PREFIXES or letter in simple


def change_modes(
    session: Session,
    user: User,
    channel: Channel,
    wanted: list[ModeChange],
    *,
    override: bool = False,
) -> None:
    """
    Change a channel's modes as far as they can be, and tell its members.

    :param session: who is told of what cannot be.
    :param user: who changes them; a moderator of the channel at least, unless ``override``.
    :param channel: the channel.
    :param wanted: the changes; letters that are no modes are left out.
    :param override: whether it does not matter what rank the user has.
    """
    done = []
    for change in dict.fromkeys(wanted):
        if change.letter in PREFIXES:
            effect = _rank(session, user, channel, change, override=override)
        elif change.letter in CHANNEL_LISTS:
            effect = _mask(session, user, channel, change)
        elif change.letter == CHANNEL_KEY:
            effect = _key(session, channel, change)
        elif change.letter == CHANNEL_LIMIT:
            effect = _limit(session, channel, change)
        elif change.letter == CHANNEL_FORWARD:
            effect = _forward(session, user, channel, change, override=override)
        else:
            effect = _flag(channel, change)
        if effect is not None:
            done.append(effect)
            session.server.network.changed.add(channel)
    for params in format_changes(done, _ROOM):
        news = session.server.message(user, b"MODE", (channel.name, *params))
        session.server.history.happened(news, (channel,))
        broadcast(channel.members, news)
        if user not in channel.members:
            broadcast((user,), news)


def _flag(channel: Channel, change: ModeChange) -> ModeChange | None:
    letter = change.letter
    if letter not in CHANNEL_FLAGS or change.adding is (letter in channel.flags):
        return None
    if change.adding:
        channel.flags.add(letter)
    else:
        channel.flags.discard(letter)
    return change


def _rank(
    session: Session, user: User, channel: Channel, change: ModeChange, *, override: bool
) -> ModeChange | None:
    target = visible_user(session, change.param or b"")
    if target is None:
        return None
    held = channel.members.get(target)
    if held is None:
        session.reply(ERR_USERNOTINCHANNEL, target.nick, channel.name)
        return None
    if change.adding is (change.letter in held):
        return None
    # Everybody may give up a rank, and nobody may take one from those above.
    gives_up = target is user and not change.adding
    needed = max(NEEDED_LEVELS[change.letter], 0 if change.adding else level_of(held))
    if not (gives_up or override) and not may_change(session, user, channel, needed):
        return None
    session.server.network.changed.add(target)
    without = held.replace(change.letter, b"")
    channel.members[target] = without + change.letter if change.adding else without
    return change._replace(param=target.nick)


def _mask(session: Session, user: User, channel: Channel, change: ModeChange) -> ModeChange | None:
    mask = read_mask(change.param or b"", user.source, int(session.server.wall()))
    if mask is None:
        _refuse(session, channel, change, b"A mask is nick!user@host, a:account or m:mask")
        return None
    masks = channel.mask_list(change.letter)
    if change.adding is (mask in masks):
        return None
    if not change.adding:
        mask = channel.remove_mask(change.letter, mask)
    elif (
        sum(len(channel.mask_list(letter)) for letter in _SHOWN)
        >= session.server.settings.limits.max_bans
    ):
        session.reply(ERR_BANLISTFULL, channel.name, mask.text)
        return None
    else:
        channel.add_mask(change.letter, mask)
    return change._replace(param=mask.text)


def _show_list(session: Session, channel: Channel, letter: bytes) -> None:
    entry, end = _SHOWN[letter]
    for mask in channel.mask_list(letter).masks():
        session.reply(entry, channel.name, mask.text, mask.setter, b"%d" % mask.when)
    session.reply(end, channel.name)


def _forward(
    session: Session, user: User, channel: Channel, change: ModeChange, *, override: bool
) -> ModeChange | None:
    if not change.adding:
        before, channel.forward = channel.forward, None
        return None if before is None else change
    target = session.server.network.channel(change.param or b"")
    if target is None or target is channel:
        _refuse(session, channel, change, b"There is no such other channel to forward to")
        return None
    # Nobody is to send crowds into other people's channels.
    if not override and not may_change(session, user, target, OPERATOR):
        return None
    if channel.forward == target.name:
        return None
    channel.forward = target.name
    return change._replace(param=target.name)


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
