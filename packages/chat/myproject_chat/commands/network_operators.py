"""
What operators of the server do: OPER, KILL, WALLOPS, REHASH, SAJOIN, SAPART, SANICK, SAMODE.

Each needs its privilege, else 481. What they do to others is told to operators with user mode ``s``
(notices.py), and logged.

Sources: RFC 2812 sections 3.1.4, 3.7.1, 4.2 and 4.7, https://modern.ircdocs.horse/#operator-messages.
SAJOIN, SAPART, SANICK and SAMODE are as InspIRCd and Ergo have them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject_chat.accounts import Refused
from myproject_chat.commands.channels import enter, leave
from myproject_chat.commands.lookup import names, visible_channel, visible_user
from myproject_chat.commands.modes import change_modes
from myproject_chat.commands.registration import rename
from myproject_chat.commands.registry import Table
from myproject_chat.commands.usermodes import set_user_modes
from myproject_chat.delivery import broadcast, pack
from myproject_chat.modes import ModeChange, read_changes
from myproject_chat.names import fold, is_channel, is_nick
from myproject_chat.notices import KILLS, OPERATORS, tell_operators
from myproject_chat.numerics import (
    ERR_ERRONEUSNICKNAME,
    ERR_NEEDMOREPARAMS,
    ERR_NICKNAMEINUSE,
    ERR_NOOPERHOST,
    ERR_NOSUCHCHANNEL,
    ERR_PASSWDMISMATCH,
    ERR_USERNOTINCHANNEL,
    ERR_USERONCHANNEL,
    RPL_REHASHING,
    RPL_YOUREOPER,
)
from myproject_chat.operators import Busy, is_allowed, is_known, may_try, proven
from myproject_chat.services import SERVICES
from myproject_chat.wire import clip

if TYPE_CHECKING:
    from myproject_chat.server import Server
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["NETWORK_OPERATORS", "dismiss"]

NETWORK_OPERATORS = Table()

# What a notice can take.
_ROOM = 350
# As a quit reason's.
_REASON_LENGTH = 255
_WRONG = b"There is no such operator, or that is not what it has to show"
_BUSY = b"The server is busy; try again in a minute"


@NETWORK_OPERATORS.registered(b"OPER", params=1)
async def oper(session: Session, user: User, message: Message) -> None:
    """Become an operator of the server: a name, and its password unless the certificate will do."""
    server = session.server
    if not may_try(server.settings, session.address):
        session.reply(ERR_NOOPERHOST)
        return
    name = message.params[0]
    password = message.params[1] if len(message.params) > 1 else b""
    # No account has a space in its name, so these failures are counted apart from any account's.
    try:
        attempt = server.accounts.attempt(session.address, b"OPER " + name)
    except Refused as refusal:
        session.reply(ERR_PASSWDMISMATCH, text=refusal.text)
        return
    try:
        operator = await proven(session, server.passwords, name, password)
    except Busy:
        server.accounts.logins.withdraw(attempt)
        session.reply(ERR_PASSWDMISMATCH, text=_BUSY)
        return
    except BaseException:
        # The client has gone.
        server.accounts.logins.withdraw(attempt)
        raise
    if operator is None:
        session.reply(ERR_PASSWDMISMATCH, text=_WRONG)
        tell_operators(server, OPERATORS, b"OPER failed: %b" % user.real_source)
        return
    server.accounts.succeed(attempt)
    user.operator = name
    session.reply(RPL_YOUREOPER)
    set_user_modes(server, user, [ModeChange(True, b"o", None)])
    tell_operators(server, OPERATORS, b"%b is now an operator (%b)" % (user.nick, name))


@NETWORK_OPERATORS.registered(b"KILL", params=1)
def kill(session: Session, user: User, message: Message) -> None:
    """Disconnect users, with a reason that everybody sees."""
    if not is_allowed(session, user, "kill"):
        return
    server = session.server
    reason = clip(message.params[1], _REASON_LENGTH) if len(message.params) > 1 else b""
    reason = reason or b"No reason given"
    source, nick = user.source, user.nick
    for name in names(message.params[0]):
        target = visible_user(session, name)
        if target is None:
            continue
        text = b"%b killed %b (%b)" % (nick, target.nick, reason)
        news = server.message(user, b"KILL", (target.nick,), reason)
        # It goes although its account may have it stay without a client.
        receivers = list(target.receivers)
        broadcast((target,), news)
        farewell = b"Killed (%b (%b))" % (nick, reason)
        for receiver in receivers:
            receiver.close(farewell)
        if server.network.user(target.nick) is target:
            server.quit(target, farewell)
        tell_operators(server, KILLS, text)
        if target.source == source:
            # Who has killed itself does no more.
            return


@NETWORK_OPERATORS.registered(b"WALLOPS", params=1)
def wallops(session: Session, user: User, message: Message) -> None:
    """Say something to everybody who wants to hear it (user mode w)."""
    if not is_allowed(session, user, "wallops"):
        return
    if not message.params[0]:
        session.reply(ERR_NEEDMOREPARAMS, b"WALLOPS")
        return
    server = session.server
    those = [other for other in server.network.users.values() if b"w" in other.modes]
    broadcast(those, server.message(user, b"WALLOPS", text=message.params[0]))


@NETWORK_OPERATORS.registered(b"SAJOIN", params=1)
def sajoin(session: Session, user: User, message: Message) -> None:
    """Put a user, or oneself, into channels, whatever their modes say."""
    if not is_allowed(session, user, "sajoin"):
        return
    target: User | None = user
    if len(message.params) > 1:
        target = visible_user(session, message.params[0])
    if target is None:
        return
    for name in names(message.params[-1] if len(message.params) == 1 else message.params[1]):
        channel = session.server.network.channel(name)
        if not is_channel(name):
            session.reply(ERR_NOSUCHCHANNEL, name)
        elif channel is not None and channel in target.channels:
            session.reply(ERR_USERONCHANNEL, target.nick, channel.name)
        else:
            entered = enter(session.server, target, name)
            text = b"%b put %b into %b" % (user.nick, target.nick, entered.name)
            tell_operators(session.server, OPERATORS, text)


@NETWORK_OPERATORS.registered(b"SAPART", params=2)
def sapart(session: Session, user: User, message: Message) -> None:
    """Take a user out of channels, as if it left."""
    if not is_allowed(session, user, "sajoin"):
        return
    target = visible_user(session, message.params[0])
    if target is None:
        return
    server = session.server
    reason = clip(message.params[2], _REASON_LENGTH) if len(message.params) > 2 else None
    for name in names(message.params[1]):
        channel = visible_channel(session, name)
        if channel is None:
            continue
        if channel not in target.channels:
            session.reply(ERR_USERNOTINCHANNEL, target.nick, channel.name)
            continue
        leave(server, target, channel, reason)
        text = b"%b took %b out of %b" % (user.nick, target.nick, channel.name)
        tell_operators(server, OPERATORS, text)


@NETWORK_OPERATORS.registered(b"SANICK", params=2)
def sanick(session: Session, user: User, message: Message) -> None:
    """Give a user another nick, one that is nobody else's."""
    if not is_allowed(session, user, "sanick"):
        return
    target = visible_user(session, message.params[0])
    wanted = message.params[1]
    if target is None:
        return
    server = session.server
    if not is_nick(wanted, server.settings.limits.nick):
        session.reply(ERR_ERRONEUSNICKNAME, wanted)
    elif (
        fold(wanted) in SERVICES
        or server.network.user(wanted) not in (None, target)
        or server.accounts.is_reserved(wanted, target.account)
    ):
        session.reply(ERR_NICKNAMEINUSE, wanted)
    else:
        former = target.nick
        rename(server, target, wanted)
        tell_operators(server, OPERATORS, b"%b made %b be %b" % (user.nick, former, wanted))


@NETWORK_OPERATORS.registered(b"REHASH")
def rehash(session: Session, user: User, _message: Message) -> None:
    """Have the server read its settings again; a mistake in them is told, and changes nothing."""
    if not is_allowed(session, user, "rehash"):
        return
    server = session.server
    if server.reload_settings is None:
        text = b"This server does not read its settings itself: send its process SIGHUP"
        session.say(b"FAIL", b"REHASH", b"NOT_HERE", text=text)
        return
    done = server.reload_settings()
    # The file's name, not its place.
    session.reply(RPL_REHASHING, b"*" if done.file is None else _utf8(done.file.name))
    if done.mistake:
        first, *lines = _lines(done.mistake)
        session.say(b"FAIL", b"REHASH", b"CONFIG_BAD", text=first)
        told = "found a mistake and changed nothing"
    else:
        changed = ", ".join(done.changed) or "nothing"
        lines = _lines(f"The settings have been read; changed: {changed}")
        if done.waiting:
            lines += _lines(f"Not changed, as that needs a restart: {', '.join(done.waiting)}")
        told = f"changed {changed}"
    for line in lines:
        session.say(b"NOTICE", session.target, text=line)
    tell_operators(server, OPERATORS, b"%b used REHASH, which %b" % (user.nick, told.encode()))


def _utf8(text: str) -> bytes:
    # A file's name may have what is no character, and be anything but a line's end.
    return " ".join(text.split()).replace("\0", "").encode("utf-8", "replace")


def _lines(text: str) -> list[bytes]:
    """Write what may be long on as many lines as it needs."""
    return pack(_utf8(text).split(b" "), _ROOM)


@NETWORK_OPERATORS.registered(b"SAMODE", params=2)
def samode(session: Session, user: User, message: Message) -> None:
    """Change a channel's modes without a rank in it."""
    if not is_allowed(session, user, "samode"):
        return
    channel = visible_channel(session, message.params[0])
    if channel is None:
        return
    letters, *params = message.params[1:]
    # What is only a list's name changes nothing: MODE shows lists.
    changes = [one for one in read_changes(letters, params) if not _is_look(one)]
    change_modes(session, user, channel, changes, override=True)
    text = b"%b used SAMODE %b %b" % (user.nick, channel.name, b" ".join((letters, *params)))
    tell_operators(session.server, OPERATORS, text)


def _is_look(change: ModeChange) -> bool:
    return change.param is None and change.letter in b"Ibe"


def dismiss(server: Server) -> None:
    """
    Take the rank from operators whom the settings do not name any more.

    :param server: the server, which has taken new settings.
    """
    for user in list(server.network.users.values()):
        if b"o" in user.modes and not is_known(server.settings, user):
            set_user_modes(server, user, [ModeChange(False, b"o", None)])
