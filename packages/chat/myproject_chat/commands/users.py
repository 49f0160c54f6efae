"""
What users say of themselves, and to whom they listen: AWAY SETNAME ACCEPT.

Sources: RFC 2812 section 4.1, https://ircv3.net/specs/extensions/away-notify,
https://ircv3.net/specs/extensions/pre-away, https://ircv3.net/specs/extensions/setname.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject_chat.capability import AWAY_NOTIFY, PRE_AWAY, SETNAME
from myproject_chat.commands.lookup import names, visible_user
from myproject_chat.commands.registry import Table
from myproject_chat.delivery import broadcast, pack
from myproject_chat.monitor import notify
from myproject_chat.numerics import (
    ERR_ACCEPTFULL,
    ERR_NOTREGISTERED,
    RPL_ACCEPTLIST,
    RPL_ENDOFACCEPT,
    RPL_NOWAWAY,
    RPL_UNAWAY,
)
from myproject_chat.wire import clip

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["USERS"]

USERS = Table()

# What 281 can take behind a nick, whatever the names.
_ROOM = 350


@USERS.always(b"AWAY")
def away(session: Session, message: Message) -> None:
    """Say why one is away, or that one is back; with draft/pre-away before registration, too."""
    user = session.user
    if user is None and not session.capabilities & PRE_AWAY:
        session.reply(ERR_NOTREGISTERED)
        return
    longest = session.server.settings.limits.away
    words = clip(message.params[0], longest) if message.params else b""
    session.reply(RPL_NOWAWAY if words else RPL_UNAWAY)
    if user is None:
        session.away = words or None
        return
    before, user.away = user.away, words or None
    if before != user.away:
        news = session.server.message(user, b"AWAY", text=user.away)
        notify(session.server, user, news, AWAY_NOTIFY)


@USERS.registered(b"ACCEPT", params=1)
def accept(session: Session, user: User, message: Message) -> None:
    """Let those write to one who are not logged in, although user mode R is set; ``*`` lists them."""
    network = session.server.network
    for name in names(message.params[0]):
        if name == b"*":
            there = (one.nick for one in user.accepted if network.user(one.nick) is one)
            for line in pack(sorted(there), _ROOM):
                session.reply(RPL_ACCEPTLIST, text=line)
            session.reply(RPL_ENDOFACCEPT)
        elif name.startswith(b"-"):
            unwanted = network.user(name[1:])
            if unwanted is not None:
                user.accepted -= {unwanted}
        else:
            other = visible_user(session, name)
            if other is not None and not user.accept(other, network):
                session.reply(ERR_ACCEPTFULL)
                return


@USERS.registered(b"SETNAME", params=1)
def setname(session: Session, user: User, message: Message) -> None:
    """Change one's real name; only for those who negotiated it, who are then told of others'."""
    name = message.params[0]
    longest = session.server.settings.limits.real_name
    if not name or len(name) > longest:
        text = b"A real name has 1 to %d bytes" % longest
        session.say(b"FAIL", b"SETNAME", b"INVALID_REALNAME", text=text)
        return
    user.real_name = name
    news = session.server.message(user, b"SETNAME", text=name)
    broadcast((user,), news, needs=SETNAME)
    notify(session.server, user, news, SETNAME)
