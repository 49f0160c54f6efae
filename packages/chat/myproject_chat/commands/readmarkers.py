"""
How far somebody has read: MARKREAD.

Source: https://ircv3.net/specs/extensions/read-marker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject_chat.capability import READ_MARKER
from myproject_chat.commands.registry import Table
from myproject_chat.names import is_channel, is_nick
from myproject_chat.timestamps import read_stamp, stamp
from myproject_chat.wire import serialise

if TYPE_CHECKING:
    from myproject_chat.server import Server
    from myproject_chat.session import Session
    from myproject_chat.state import Receiver, User
    from myproject_chat.wire import Message

__all__ = ["READ_MARKERS", "tell_marker"]

READ_MARKERS = Table()


@READ_MARKERS.registered(b"MARKREAD")
def markread(session: Session, user: User, message: Message) -> None:
    """Say up to when you have read a channel or a conversation, or ask how far that is."""
    params = message.params
    if not params or not params[0]:
        text = b"Name a channel or a nick"
        session.say(b"FAIL", b"MARKREAD", b"NEED_MORE_PARAMS", text=text)
        return
    server, target = session.server, params[0]
    if not is_channel(target) and not is_nick(target):
        text = b"That is no channel, and no nick"
        session.say(b"FAIL", b"MARKREAD", b"INVALID_PARAMS", target, text=text)
        return
    if len(params) == 1:
        session.queue(_line(server, user, target))
        return
    word, _, value = params[1].partition(b"=")
    moment = read_stamp(value) if word == b"timestamp" else None
    if moment is None or moment < 0:
        text = b"That is no time such as timestamp=2026-11-22T10:20:30.123Z"
        session.say(b"FAIL", b"MARKREAD", b"INVALID_PARAMS", target, params[1], text=text)
        return
    if user.account is not None and server.history.troubled:
        text = b"The server cannot note that at present; try again later"
        session.say(b"FAIL", b"MARKREAD", b"INTERNAL_ERROR", target, text=text)
        return
    before = server.history.marker(user, target)
    news = server.history.mark(user, target, moment) != before
    line = _line(server, user, target)
    session.queue(line)
    if news:
        for receiver in user.receivers:
            if receiver is not session and receiver.capabilities & READ_MARKER:
                receiver.queue(line)


def tell_marker(server: Server, receiver: Receiver, user: User, target: bytes) -> None:
    """
    Tell a client how far its user has read a channel that it is in now; before the end of NAMES.

    :param server: the server.
    :param receiver: the client.
    :param user: whose it is.
    :param target: the channel.
    """
    if receiver.capabilities & READ_MARKER:
        receiver.queue(_line(server, user, target))


def _line(server: Server, user: User, target: bytes) -> bytes:
    moment = server.history.marker(user, target)
    word = b"*" if moment is None else b"timestamp=" + stamp(moment)
    return serialise(server.name, b"MARKREAD", (target, word))
