"""NickServ: accounts, for who would rather talk to somebody than send REGISTER and AUTHENTICATE."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from myproject_chat.accounts import ALWAYS_ON, MULTICLIENT, Refused
from myproject_chat.identity import forget_account, log_in, log_out
from myproject_chat.names import fold
from myproject_chat.services.service import Service
from myproject_chat.wire import Message

if TYPE_CHECKING:
    from myproject_chat.services.service import Asked
    from myproject_chat.session import Session

__all__ = ["NICKSERV"]

NICKSERV = Service(b"NickServ")

_YES = {b"true": True, b"on": True, b"yes": True, b"false": False, b"off": False, b"no": False}
# What may be chosen besides always-on: names as they are typed.
_OPTIONS = {b"MULTICLIENT": MULTICLIENT, b"RESERVE": "reserve"}


@NICKSERV.command(b"REGISTER", 1)
async def register(asked: Asked) -> None:
    """REGISTER password [address]: register an account named as your nick"""
    session = asked.session
    if not session.server.settings.accounts.registration:
        raise Refused(b"TEMPORARILY_UNAVAILABLE", b"Nobody may register an account here")
    if asked.user.account is not None:
        raise Refused(b"ALREADY_AUTHENTICATED", b"You are logged in to an account already")
    password, *rest = asked.words
    account, ticket = await session.server.accounts.register(
        session.address, asked.user.nick, password, rest[0] if rest else b""
    )
    session.hold(ticket)
    log_in(session, account.name)
    asked.say(b"The account %b is registered, and you are logged in" % account.name)


@NICKSERV.command(b"IDENTIFY", 1)
async def identify(asked: Asked) -> None:
    """IDENTIFY [account] password: log in"""
    session = asked.session
    name = asked.words[0] if len(asked.words) > 1 else asked.user.nick
    account = await session.server.accounts.verify(session.address, name, asked.words[-1])
    log_in(session, account.name)
    asked.say(b"You are logged in as %b" % account.name)


@NICKSERV.command(b"LOGOUT")
def logout(asked: Asked) -> None:
    """LOGOUT: log out"""
    if asked.account:
        log_out(asked.session)


@NICKSERV.command(b"PASSWD", 2)
async def passwd(asked: Asked) -> None:
    """PASSWD old new: give your account another password"""
    session = asked.session
    accounts = session.server.accounts
    account = await accounts.verify(session.address, asked.account, asked.words[0])
    session.hold(await accounts.set_password(account.name, asked.words[1]))
    asked.say(b"The password is changed")


@NICKSERV.command(b"SET", 2)
def set_(asked: Asked) -> None:
    """SET always-on|multiclient|reserve on|off, SET email address|none: choose for your account"""
    option, value = asked.words[0].upper(), _YES.get(asked.words[1].lower())
    if option == b"EMAIL":
        address = b"" if asked.words[1].lower() == b"none" else asked.words[1]
        asked.session.hold(asked.session.server.accounts.set_email(asked.account, address))
        asked.say(b"Noted; nothing is ever sent to it but by the operators themselves")
        return
    if value is None:
        raise Refused(b"INVALID_PARAMS", b"Say on or off")
    server = asked.session.server
    if option.replace(b"_", b"-") == ALWAYS_ON.upper().encode():
        asked.session.hold(server.kept.set_always_on(asked.user, asked.account, on=value))
        if value and not server.accounts.stays(asked.account):
            asked.say(b"Noted; but this server lets nobody stay, or not without multiclient")
            return
    elif option in _OPTIONS:
        name = _OPTIONS[option]
        ticket = server.accounts.choose(asked.account, name, "on" if value else "off")
        asked.session.hold(ticket)
    else:
        raise Refused(b"INVALID_PARAMS", b"There are always-on, multiclient, reserve and email")
    if not server.accounts.stays(asked.account):
        for user in server.network.users_of(asked.account):
            if not user.receivers:
                server.quit(user, b"No client is connected")
    asked.say(b"%b is %b" % (option.lower(), b"on" if value else b"off"))


@NICKSERV.command(b"SET-ALWAYS-ON", 1)
def set_always_on(asked: Asked) -> None:
    """SET-ALWAYS-ON on|off: short for SET always-on"""
    set_(asked._replace(words=[b"always-on", *asked.words]))


@NICKSERV.command(b"INFO")
def info(asked: Asked) -> None:
    """INFO [account]: say what is known of an account"""
    server = asked.session.server
    name = asked.words[0] if asked.words else asked.account
    account = server.accounts.get(name)
    if account is None:
        raise Refused(b"ACCOUNT_UNKNOWN", b"There is no such account")
    when = datetime.fromtimestamp(account.created, UTC).strftime("%Y-%m-%d").encode("ascii")
    asked.say(b"%b was registered on %b" % (account.name, when))
    own = asked.user.account is not None and fold(asked.user.account) == fold(account.name)
    if not own:
        return
    yes = {True: b"on", False: b"off"}
    asked.say(
        b"always-on is %b, multiclient is %b"
        % (
            yes[server.accounts.stays(account.name)],
            yes[server.accounts.shares_nick(account.name)],
        )
    )
    for channel in server.kept.founded_by(account.name):
        asked.say(b"It owns " + channel.name)


@NICKSERV.command(b"CERT", 1)
def cert(asked: Asked) -> None:
    """CERT list | add [fingerprint] | del fingerprint: say which certificates log in to your account"""
    accounts = asked.session.server.accounts
    what, *rest = asked.words
    mark = rest[0] if rest else asked.session.fingerprint
    if what.lower() == b"list":
        account = accounts.get(asked.account)
        marks = () if account is None else account.fingerprints
        for one in marks:
            asked.say(one)
        asked.say(b"%d certificates log in to your account" % len(marks))
    elif what.lower() not in (b"add", b"del"):
        raise Refused(b"INVALID_PARAMS", b"Say list, add or del")
    elif mark is None:
        raise Refused(b"INVALID_PARAMS", b"Say which: you have shown no certificate")
    else:
        change = accounts.add_certificate if what.lower() == b"add" else accounts.remove_certificate
        asked.session.hold(change(asked.account, mark))
        asked.say(b"Done")


@NICKSERV.command(b"GHOST", 1)
def ghost(asked: Asked) -> None:
    """GHOST nick: disconnect who has your nick, or is logged in to your account by another"""
    _put_out(asked, asked.words[0])
    asked.say(b"%b is free" % asked.words[0])


@NICKSERV.command(b"REGAIN", 1)
def regain(asked: Asked) -> None:
    """REGAIN nick: take your nick, and disconnect who has it"""
    server, nick = asked.session.server, asked.words[0]
    if server.network.user(nick) not in (None, asked.user):
        _put_out(asked, nick)
    server.commands[b"NICK"].run(asked.session, Message(b"NICK", (nick,)))


@NICKSERV.command(b"RECOVER", 1)
def recover(asked: Asked) -> None:
    """RECOVER nick: the same as REGAIN"""
    regain(asked)


def _put_out(asked: Asked, nick: bytes) -> None:
    """Let a user go whose nick, or account, is that of who asks."""
    server, account = asked.session.server, fold(asked.account)
    holder = server.network.user(nick)
    if holder is None:
        raise Refused(b"INVALID_PARAMS", b"Nobody has that nick")
    if holder is asked.user:
        raise Refused(b"INVALID_PARAMS", b"That is you")
    own = holder.account is not None and fold(holder.account) == account
    reserved = fold(nick) == account and server.accounts.is_reserved(nick, holder.account)
    if not own and not reserved:
        raise Refused(b"NOPRIVS", b"That nick is not your account's")
    reason = b"Its owner, %b, wants the nick" % asked.user.nick
    # With its last client a user goes; one who stays without any has to be taken out.
    for receiver in list(holder.receivers):
        receiver.close(reason)
    if server.network.user(nick) is holder:
        server.quit(holder, reason)


@NICKSERV.command(b"CLIENTS")
def clients(asked: Asked) -> None:
    """CLIENTS [list] | CLIENTS logout number|all: say where you are logged in, and end that"""
    server = asked.session.server
    sessions = [
        # A user's clients are sessions; state alone need not know.
        cast("Session", receiver)
        for user in server.network.users_of(asked.account)
        for receiver in user.receivers
    ]
    what, *rest = asked.words or [b"list"]
    if what.lower() == b"list":
        for session in sorted(sessions, key=lambda session: session.since):
            asked.say(_described(asked, session))
        asked.say(b"%d clients are logged in to your account" % len(sessions))
        return
    if what.lower() != b"logout" or not rest:
        raise Refused(b"INVALID_PARAMS", b"Say list, logout and a number, or logout all")
    chosen = [session for session in sessions if rest[0].lower() in (b"all", _number(session))]
    for session in chosen:
        if session is not asked.session:
            session.close(b"Logged out by another client of the account")
    if not chosen:
        raise Refused(b"INVALID_PARAMS", b"There is none of that number; say CLIENTS for all")
    if chosen == [asked.session]:
        raise Refused(b"INVALID_PARAMS", b"That is this client; for it there is LOGOUT, or QUIT")
    asked.say(b"Done")


def _number(session: Session) -> bytes:
    """Give what a client is called: the milliseconds of its clock when it came."""
    return b"%x" % int(session.since * 1000)


def _described(asked: Asked, session: Session) -> bytes:
    server = asked.session.server
    since = datetime.fromtimestamp(server.wall() - (server.now() - session.since), UTC)
    return b"%b: %b from %b since %b%b%b" % (
        _number(session),
        session.target,
        session.address.encode(),
        since.strftime("%Y-%m-%d %H:%M UTC").encode("ascii"),
        b", encrypted" if session.secure else b"",
        b" (this one)" if session is asked.session else b"",
    )


@NICKSERV.command(b"DROP", 1)
async def drop(asked: Asked) -> None:
    """DROP password: delete your account"""
    session = asked.session
    await session.server.accounts.verify(session.address, asked.account, asked.words[0])
    _delete(asked)


@NICKSERV.command(b"UNREGISTER")
def unregister(asked: Asked) -> None:
    """UNREGISTER [code]: delete your account without its password; tells you the code"""
    accounts = asked.session.server.accounts
    account = accounts.get(asked.account)
    created = 0 if account is None else account.created
    code = accounts.code(b"account", fold(asked.account), b"%d" % created)
    if asked.words[:1] == [code]:
        _delete(asked)
        return
    asked.say(b"Your account, what you have said to others and your metadata will be deleted")
    asked.say(b"If you mean it: UNREGISTER " + code)


def _delete(asked: Asked) -> None:
    session = asked.session
    server = session.server
    account = server.accounts.get(asked.account)
    if account is None:
        raise Refused(b"ACCOUNT_UNKNOWN", b"There is no such account")
    owned = server.kept.founded_by(account.name)
    if owned:
        text = b"It owns %d channels; transfer or drop them first" % len(owned)
        raise Refused(b"CHANNEL_EXISTS", text)
    session.hold(server.accounts.drop(account.name))
    log_out(session)
    forget_account(server, account.name)
    asked.say(b"The account is deleted")


@NICKSERV.command(b"SAREGISTER", 2)
async def saregister(asked: Asked) -> None:
    """SAREGISTER account password: register an account for somebody else; for operators"""
    if b"o" not in asked.user.modes:
        raise Refused(b"NOPRIVS", b"Only operators of the server may do that")
    accounts = asked.session.server.accounts
    account, ticket = await accounts.register(None, asked.words[0], asked.words[1])
    asked.session.hold(ticket)
    asked.say(b"The account %b is registered" % account.name)
