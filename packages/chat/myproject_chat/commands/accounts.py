"""
Accounts by commands: REGISTER VERIFY, and NS and CS, short for messages to NickServ and ChanServ.

Source: https://ircv3.net/specs/extensions/account-registration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject_chat.accounts import Refused
from myproject_chat.commands.registry import Outcome, Table
from myproject_chat.identity import log_in
from myproject_chat.names import fold
from myproject_chat.services import CHANSERV, NICKSERV
from myproject_chat.session import State

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["ACCOUNTS"]

ACCOUNTS = Table()


@ACCOUNTS.always(b"REGISTER", params=3)
async def register(session: Session, message: Message) -> None:
    """Register an account: its name (* for one's nick), a mail address or *, and a password."""
    name, email, password = message.params[:3]
    # Who wished for a nick that is somebody's is told that, not to wish for one.
    nick = (session.nick or session.refused) if session.user is None else session.user.nick
    name = (nick or b"*") if name == b"*" else name
    try:
        _check_register(session, name, nick)
        account, ticket = await session.server.accounts.register(
            session.address, name, password, b"" if email == b"*" else email
        )
    except Refused as refusal:
        _refuse(session, b"REGISTER", name, refusal)
        return
    session.hold(ticket)
    log_in(session, account.name)
    session.say(b"REGISTER", b"SUCCESS", account.name, text=b"Account registered")


def _check_register(session: Session, name: bytes, nick: bytes | None) -> None:
    choices = session.server.settings.accounts
    if not choices.registration:
        raise Refused(b"TEMPORARILY_UNAVAILABLE", b"Nobody may register an account here")
    if (session.account if session.user is None else session.user.account) is not None:
        raise Refused(b"ALREADY_AUTHENTICATED", b"You are logged in to an account already")
    if session.state is State.UNREGISTERED and not choices.before_connect:
        text = b"Finish connecting before you register an account"
        raise Refused(b"COMPLETE_CONNECTION_REQUIRED", text)
    if nick is None and (name == b"*" or choices.nick_reservation == "strict"):
        raise Refused(b"NEED_NICK", b"Give a nick first")
    if choices.nick_reservation == "strict" and fold(name) != fold(nick or b""):
        text = b"An account is named as the nick: take that one first"
        raise Refused(b"ACCOUNT_NAME_MUST_BE_NICK", text)
    holder = session.server.network.user(name)
    if holder is not None and holder is not session.user:
        raise Refused(b"ACCOUNT_EXISTS", b"Somebody else has that nick")


@ACCOUNTS.always(b"VERIFY", params=2)
def verify(session: Session, message: Message) -> None:
    """Verify a registration by a code; there is nothing to verify here."""
    text = b"No registration waits for a code"
    session.say(b"FAIL", b"VERIFY", b"INVALID_CODE", message.params[0], text=text)


def _refuse(session: Session, command: bytes, about: bytes, refusal: Refused) -> None:
    session.say(b"FAIL", command, refusal.code, about, text=refusal.text)


@ACCOUNTS.registered(b"NS", params=1)
def ns(session: Session, user: User, message: Message) -> Outcome:
    """Say something to NickServ, which looks after accounts."""
    return NICKSERV.hear(session, user, b" ".join(message.params))


@ACCOUNTS.registered(b"CS", params=1)
def cs(session: Session, user: User, message: Message) -> Outcome:
    """Say something to ChanServ, which looks after registered channels."""
    return CHANSERV.hear(session, user, b" ".join(message.params))


ACCOUNTS[b"NICKSERV"] = ACCOUNTS[b"NS"]
ACCOUNTS[b"CHANSERV"] = ACCOUNTS[b"CS"]
