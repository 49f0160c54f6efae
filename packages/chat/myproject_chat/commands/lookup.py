"""What several families look up in the same way, with the numeric for when it is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from myproject_chat.modes import HALF_OPERATOR
from myproject_chat.numerics import (
    ERR_CHANOPRIVSNEEDED,
    ERR_NOSUCHCHANNEL,
    ERR_NOSUCHNICK,
    ERR_NOTONCHANNEL,
)

if TYPE_CHECKING:
    from myproject_chat.channel import Channel
    from myproject_chat.session import Session
    from myproject_chat.state import User

__all__ = [
    "is_operator",
    "joined_channel",
    "may_change",
    "names",
    "visible_channel",
    "visible_user",
]


def names(param: bytes) -> Sequence[bytes]:
    """
    Give the names of a list with commas, each once, in its order; empty ones are nothing.

    :param param: the list.
    """
    if b"," not in param:
        return (param,) if param else ()
    return [name for name in dict.fromkeys(param.split(b",")) if name]


def visible_channel(session: Session, name: bytes) -> Channel | None:
    """Find a channel, or answer 403."""
    channel = session.server.network.channel(name)
    if channel is None:
        session.reply(ERR_NOSUCHCHANNEL, name)
    return channel


def visible_user(session: Session, nick: bytes) -> User | None:
    """Find a user, or answer 401."""
    user = session.server.network.user(nick)
    if user is None:
        session.reply(ERR_NOSUCHNICK, nick)
    return user


def is_operator(user: User) -> bool:
    """Say whether a user is an operator of the server: user mode ``o``."""
    return b"o" in user.modes


def joined_channel(session: Session, user: User, name: bytes) -> Channel | None:
    """Find a channel that the user is in, or answer 403 or 442."""
    channel = visible_channel(session, name)
    if channel is not None and channel not in user.channels:
        session.reply(ERR_NOTONCHANNEL, channel.name)
        return None
    return channel


def may_change(session: Session, user: User, channel: Channel, level: int = HALF_OPERATOR) -> bool:
    """
    Say whether the user has a level in the channel, or answer 482.

    :param level: as in `myproject_chat.modes`.
    """
    if channel.level(user) >= level:
        return True
    session.reply(ERR_CHANOPRIVSNEEDED, channel.name)
    return False
