"""
Registration and the connection itself: PASS NICK USER PING PONG QUIT.

Registration is complete when there are a nick, a user name and no open CAP negotiation, in
whatever order they came; `finish` is asked after each.

Sources: RFC 2812 section 3.1, https://modern.ircdocs.horse/#connection-messages.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hmac import compare_digest
from typing import TYPE_CHECKING

from myproject_chat.capability import METADATA
from myproject_chat.commands.channels import announce, welcome
from myproject_chat.commands.information import (
    isupport_rows,
    lusers_rows,
    motd_rows,
    numbers,
)
from myproject_chat.commands.metadata import send_own
from myproject_chat.commands.readmarkers import tell_marker
from myproject_chat.commands.registry import Table
from myproject_chat.commands.replay import replay_missed
from myproject_chat.delivery import broadcast
from myproject_chat.expulsion import is_kept_out
from myproject_chat.forms import Open, fixed
from myproject_chat.isupport import my_info
from myproject_chat.names import USER_LENGTH, fold, host_name, is_nick, is_user_name
from myproject_chat.numerics import (
    ERR_ALREADYREGISTERED,
    ERR_ERRONEUSNICKNAME,
    ERR_INVALIDUSERNAME,
    ERR_NEEDMOREPARAMS,
    ERR_NICKNAMEINUSE,
    ERR_NICKTOOFAST,
    ERR_NONICKNAMEGIVEN,
    ERR_NOORIGIN,
    ERR_PASSWDMISMATCH,
    ERR_SASLABORTED,
    RPL_CREATED,
    RPL_MYINFO,
    RPL_UMODEIS,
    RPL_VISIBLEHOST,
    RPL_WELCOME,
    RPL_YOURHOST,
)
from myproject_chat.services import SERVICES
from myproject_chat.session import State
from myproject_chat.state import User
from myproject_chat.wire import clip, serialise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myproject_chat.commands.registry import Outcome
    from myproject_chat.forms import Row
    from myproject_chat.server import Server
    from myproject_chat.session import Session
    from myproject_chat.wire import Message

__all__ = ["REGISTRATION", "finish", "rename"]

REGISTRATION = Table()

_RESERVED = b"That nickname is another account's: log in to that, or take another"
# RFC 2812 section 3.1.7 sets no bound; InspIRCd's default for a quit reason.
_QUIT_LENGTH = 255


@REGISTRATION.always(b"PASS", params=1)
def pass_(session: Session, message: Message) -> None:
    """Give the server's password, before NICK and USER; where there is none, any will do."""
    if session.state is State.REGISTERED:
        session.reply(ERR_ALREADYREGISTERED)
        return
    session.passed = compare_digest(message.params[0], session.server.settings.password)


@REGISTRATION.always(b"NICK")
def nick(session: Session, message: Message) -> Outcome:
    """Wish for a nick, or change it."""
    wanted = message.params[0] if message.params else b""
    user = session.user
    if not wanted:
        session.reply(ERR_NONICKNAMEGIVEN)
    elif not is_nick(wanted, session.server.settings.limits.nick):
        session.reply(ERR_ERRONEUSNICKNAME, wanted)
    elif fold(wanted) in SERVICES or _is_taken(session, wanted):
        session.refused = wanted
        session.reply(ERR_NICKNAMEINUSE, wanted)
    elif user is None:
        session.nick, session.refused = wanted, None
        return finish(session)
    elif session.server.accounts.is_reserved(wanted, user.account):
        session.reply(ERR_NICKNAMEINUSE, wanted, text=_RESERVED)
    elif not session.may_rename():
        session.reply(ERR_NICKTOOFAST, wanted)
    else:
        rename(session.server, user, wanted)
    return None


def _is_taken(session: Session, wanted: bytes) -> bool:
    """Say whether a nick is somebody else's, with whom the client will not share it."""
    holder = session.server.network.user(wanted)
    if holder is None or holder is session.user:
        return False
    # Who is still negotiating may log in to the account of whoever has it.
    waits = session.state is State.UNREGISTERED and session.negotiating
    return not _shares(session, holder) and not (waits and holder.account is not None)


def _shares(session: Session, holder: User) -> bool:
    """Say whether a client that has not registered may become one of a user's."""
    accounts = session.server.accounts
    account = session.account
    return (
        session.state is State.UNREGISTERED
        and account is not None
        and holder.account is not None
        and fold(holder.account) == fold(account)
        and accounts.shares_nick(account)
        and len(holder.receivers) < session.server.settings.accounts.max_clients
    )


def rename(server: Server, user: User, wanted: bytes) -> None:
    """
    Give a user another nick, and tell all whom it concerns.

    :param server: the server.
    :param user: the user.
    :param wanted: the nick, which is nobody else's; the same one changes nothing.
    """
    if wanted == user.nick:
        return
    change = server.message(user, b"NICK", (wanted,))
    server.whowas.remember(user, int(server.wall()))
    former = user.nick
    server.network.rename(user, wanted)
    server.history.happened(change, list(user.channels))
    broadcast((user, *server.network.peers(user)), change)
    if fold(former) != fold(wanted):
        server.suspect(user)
        server.watchers.tell_offline(former)
        server.watchers.tell_online(user)


@REGISTRATION.always(b"USER", params=4)
def user(session: Session, message: Message) -> Outcome:
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
        session.real_name = clip(real_name, session.server.settings.limits.real_name)
        return finish(session)
    return None


def finish(session: Session) -> Outcome:
    """
    Complete registration if nothing is missing.

    Somebody else may have taken the nick since it was wished for: then another one is.

    :return: what is left to run if it has to wait.
    """
    if session.state is not State.UNREGISTERED or session.negotiating:
        return None
    if session.nick is None or session.user_name is None or not _is_admitted(session):
        return None
    server = session.server
    holder = server.network.user(session.nick)
    if holder is not None and _shares(session, holder):
        since, named = server.history.seen(holder, session.user_name), server.messages
        _join_in(session, holder)
        return replay_missed(session, holder, since, named)
    reserved = server.accounts.is_reserved(session.nick, session.account)
    if holder is not None or reserved:
        taken = session.refused = session.nick
        session.nick = None
        session.reply(ERR_NICKNAMEINUSE, taken, text=_RESERVED if holder is None else None)
        return None
    user = User(
        session.nick,
        session.user_name,
        real_name=session.real_name,
        host=session.server.hosts.of_session(session),
        address=host_name(session.address),
        since=int(server.wall()),
    )
    user.account = session.account
    user.away = session.away
    user.metadata.update(session.metadata)
    server.metadata.adopt(user)
    server.arrive(user)
    for letter in session.server.settings.accounts.default_modes:
        session.server.network.set_mode(user, letter.encode(), on=True)
    session.attach(user)
    _welcome(session, user)
    return None


def _is_admitted(session: Session) -> bool:
    """Say whether somebody may come in at all; who may not is told why, and goes."""
    if session.login is not None:
        # sasl-3.1: who ends registration in the middle of an exchange gives that up.
        session.login = None
        session.reply(ERR_SASLABORTED)
    settings = session.server.settings
    if settings.password and not session.passed:
        session.reply(ERR_PASSWDMISMATCH)
        session.close(b"Bad password")
    elif settings.accounts.required and session.account is None:
        text = b"You have to log in to an account by SASL to connect to this server"
        session.say(b"FAIL", b"*", b"ACCOUNT_REQUIRED_TO_CONNECT", text=text)
        session.close(b"Not logged in")
    return session.state is State.UNREGISTERED and not is_kept_out(session)


def _join_in(session: Session, user: User) -> None:
    """Make a client one more of a user's, and show it where the user is."""
    session.attach(user)
    session.server.metadata.add(user, session.metadata)
    if session.away is None and not user.receivers[1:]:
        session.server.come_back(user)
    _welcome(session, user)
    for channel in sorted(user.channels, key=lambda channel: channel.name):
        announce(session.server, user, channel, session)
        tell_marker(session.server, session, user, channel.name)
        welcome(session, user, channel)


def _welcome(session: Session, user: User) -> None:
    server = session.server
    fields: dict[bytes, bytes | int] = {
        **numbers(server),
        b"source": user.source,
        b"host": user.host,
        b"modes": b"+" + b"".join(sorted(user.modes)),
    }
    form = server.forms.of(_welcome_rows, user.host != user.address, bool(user.modes))
    session.fill(form, fields)
    if session.capabilities & METADATA:
        send_own(session, user)


def _welcome_rows(server: Server, cloaked: bool, moded: bool) -> Iterator[Row]:  # noqa: FBT001 (of a table)
    """Say all that somebody is told who comes: whether the host is not the address, and with modes."""
    settings = server.settings
    started = datetime.fromtimestamp(server.started, UTC)
    about = my_info(settings)
    welcome = b"Welcome to " + fixed(settings.network_name) + b", %(source)b"
    yield RPL_WELCOME, (), Open(welcome)
    yield RPL_YOURHOST, (), b"Your host is %b, running version %b" % about[:2]
    text = started.strftime("This server was started %Y-%m-%d at %H:%M:%S UTC")
    yield RPL_CREATED, (), text.encode("ascii")
    yield RPL_MYINFO, about, None
    yield from isupport_rows(server)
    if cloaked:
        yield RPL_VISIBLEHOST, (Open(b"%(host)b"),), None
    yield from lusers_rows(server)
    yield from motd_rows(server)
    if moded:
        yield RPL_UMODEIS, (Open(b"%(modes)b"),), None


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
    user = session.user
    if user is not None and user.account and session.server.accounts.shares_nick(user.account):
        # Others may see nothing of this, as the user goes on by its other clients.
        session.queue(serialise(user.source, b"QUIT", (), reason))
    session.close(reason)
