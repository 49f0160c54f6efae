"""
Registration and the connection itself: PASS NICK USER PING PONG QUIT.

Registration is complete when there are a nick, a user name and no open CAP negotiation, in
whatever order they came; `finish` is asked after each.

Sources: RFC 2812 section 3.1, https://modern.ircdocs.horse/#connection-messages.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from myproject_chat.capability import METADATA
from myproject_chat.commands.information import send_isupport, send_lusers, send_motd
from myproject_chat.commands.metadata import send_own
from myproject_chat.commands.registry import Table
from myproject_chat.commands.users import REAL_NAME_LENGTH
from myproject_chat.delivery import broadcast
from myproject_chat.isupport import my_info
from myproject_chat.names import USER_LENGTH, fold, is_nick, is_user_name
from myproject_chat.numerics import (
    ERR_ALREADYREGISTERED,
    ERR_ERRONEUSNICKNAME,
    ERR_INVALIDUSERNAME,
    ERR_NEEDMOREPARAMS,
    ERR_NICKNAMEINUSE,
    ERR_NONICKNAMEGIVEN,
    ERR_NOORIGIN,
    RPL_CREATED,
    RPL_MYINFO,
    RPL_WELCOME,
    RPL_YOURHOST,
)
from myproject_chat.session import State
from myproject_chat.state import User
from myproject_chat.wire import clip

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.wire import Message

__all__ = ["REGISTRATION", "finish"]

REGISTRATION = Table()

# RFC 2812 section 3.1.7 sets no bound; InspIRCd's default for a quit reason.
_QUIT_LENGTH = 255


@REGISTRATION.always(b"PASS", params=1)
def pass_(session: Session, _message: Message) -> None:
    """Accept a password in its place; this server asks for none, so any will do."""
    if session.state is State.REGISTERED:
        session.reply(ERR_ALREADYREGISTERED)


@REGISTRATION.always(b"NICK")
def nick(session: Session, message: Message) -> None:
    """Wish for a nick, or change it."""
    wanted = message.params[0] if message.params else b""
    holder = session.server.network.user(wanted)
    if not wanted:
        session.reply(ERR_NONICKNAMEGIVEN)
    elif not is_nick(wanted):
        session.reply(ERR_ERRONEUSNICKNAME, wanted)
    elif holder is not None and holder is not session.user:
        session.reply(ERR_NICKNAMEINUSE, wanted)
    elif session.user is not None:
        _rename(session, session.user, wanted)
    else:
        session.nick = wanted
        finish(session)


def _rename(session: Session, user: User, wanted: bytes) -> None:
    if wanted == user.nick:
        return
    change = session.server.message(user, b"NICK", (wanted,))
    session.server.whowas.remember(user, int(session.server.wall()))
    former = user.nick
    session.server.network.rename(user, wanted)
    broadcast((user, *session.server.network.peers(user)), change)
    if fold(former) != fold(wanted):
        session.server.watchers.tell_offline(former)
        session.server.watchers.tell_online(user)


@REGISTRATION.always(b"USER", params=4)
def user(session: Session, message: Message) -> None:
    """Say who one is."""
    name, _, _, real_name = message.params[:4]
    if session.state is State.REGISTERED:
        session.reply(ERR_ALREADYREGISTERED)
    elif not real_name:
        session.reply(ERR_NEEDMOREPARAMS, b"USER")
    elif not is_user_name(name):
        session.reply(ERR_INVALIDUSERNAME)
    else:
        session.user_name = b"~" + name[: USER_LENGTH - 1]
        session.real_name = clip(real_name, REAL_NAME_LENGTH)
        finish(session)


def finish(session: Session) -> None:
    """
    Complete registration if nothing is missing.

    Somebody else may have taken the nick since it was wished for: then another one is.
    """
    if session.state is not State.UNREGISTERED or session.negotiating:
        return
    if session.nick is None or session.user_name is None:
        return
    if fold(session.nick) in session.server.network.users:
        taken, session.nick = session.nick, None
        session.reply(ERR_NICKNAMEINUSE, taken)
        return
    user = User(
        session.nick,
        session.user_name,
        real_name=session.real_name,
        host=session.host,
        since=int(session.server.wall()),
    )
    user.away = session.away
    user.metadata.update(session.metadata)
    session.server.arrive(user)
    session.attach(user)
    _welcome(session, user)


def _welcome(session: Session, user: User) -> None:
    server = session.server
    network = server.settings.network_name
    started = datetime.fromtimestamp(server.started, UTC)
    name, version = my_info(server.settings)[:2]
    session.reply(RPL_WELCOME, text=b"Welcome to %b, %b" % (network, user.source))
    session.reply(RPL_YOURHOST, text=b"Your host is %b, running version %b" % (name, version))
    session.reply(
        RPL_CREATED,
        text=started.strftime("This server was started %Y-%m-%d at %H:%M:%S UTC").encode("ascii"),
    )
    session.reply(RPL_MYINFO, *my_info(server.settings))
    send_isupport(session)
    send_lusers(session)
    send_motd(session)
    if session.capabilities & METADATA:
        send_own(session, user)


@REGISTRATION.always(b"PING")
def ping(session: Session, message: Message) -> None:
    """Answer with PONG, which goes behind all that the client already had coming."""
    if not message.params or not message.params[0]:
        session.reply(ERR_NOORIGIN)
    else:
        session.say(b"PONG", session.server.name, text=message.params[0])


@REGISTRATION.always(b"PONG")
def pong(_session: Session, _message: Message) -> None:
    """Take the answer to a PING; that the client was heard of at all is what counts."""


@REGISTRATION.always(b"QUIT")
def quit_(session: Session, message: Message) -> None:
    """End the session."""
    words = message.params[0] if message.params else b""
    reason = b"Quit: " + clip(words, _QUIT_LENGTH) if words else b"Quit"
    session.close(reason)
