"""
Renaming channels: RENAME.

Who does not know of it is shown that everybody leaves one channel and enters another.

Source: https://ircv3.net/specs/extensions/channel-rename.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject_chat.capability import CHANNEL_RENAME
from myproject_chat.commands.channels import announce, welcome
from myproject_chat.commands.lookup import joined_channel, may_change
from myproject_chat.commands.registry import Table
from myproject_chat.modes import OPERATOR
from myproject_chat.names import is_channel
from myproject_chat.wire import clip

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["RENAMING"]

RENAMING = Table()


@RENAMING.registered(b"RENAME", params=2)
def rename(session: Session, user: User, message: Message) -> None:
    """Give a channel another name; for its operators."""
    old, new = message.params[:2]
    longest = session.server.settings.limits.topic
    reason = clip(message.params[2], longest) if len(message.params) > 2 else b""
    channel = joined_channel(session, user, old)
    if channel is None or not may_change(session, user, channel, OPERATOR):
        return
    network = session.server.network
    if not is_channel(new, session.server.settings.limits.channel):
        text = b"There can be no channel of that name"
        session.say(b"FAIL", b"RENAME", b"CANNOT_RENAME", channel.name, new, text=text)
        return
    if network.channel(new) not in (None, channel):
        text = b"There is a channel of that name"
        session.say(b"FAIL", b"RENAME", b"CHANNEL_NAME_IN_USE", channel.name, new, text=text)
        return
    before = channel.name
    network.rename_channel(channel, new)
    session.server.kept.rename(before, channel)
    session.server.history.rename(before, new)
    network.changed.update(channel.members)
    news = session.server.message(user, b"RENAME", (before, new), reason)
    parted = b"Changing to %b: %b" % (new, reason) if reason else b"Changing to " + new
    for member in list(channel.members):
        part = None
        for receiver in member.receivers:
            if receiver.capabilities & CHANNEL_RENAME:
                receiver.queue(news.line_for(receiver.capabilities))
                continue
            part = part or session.server.message(member, b"PART", (before,), parted)
            receiver.queue(part.line_for(receiver.capabilities))
            announce(session.server, member, channel, receiver)
            welcome(receiver, member, channel)
