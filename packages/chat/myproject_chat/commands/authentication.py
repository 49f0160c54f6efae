"""
AUTHENTICATE: logging in by SASL, before or after the end of registration, as often as one likes.

sasl.py knows the mechanisms; this gives its steps what they ask for, and the client its numerics.

Sources: https://ircv3.net/specs/extensions/sasl-3.1, https://ircv3.net/specs/extensions/sasl-3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject_chat.accounts import Refused
from myproject_chat.commands.registry import Table
from myproject_chat.identity import Login, log_in
from myproject_chat.numerics import (
    ERR_SASLABORTED,
    ERR_SASLFAIL,
    ERR_SASLTOOLONG,
    RPL_SASLMECHS,
    RPL_SASLSUCCESS,
)
from myproject_chat.sasl import (
    Challenge,
    Failure,
    NeedCertificate,
    NeedCredentials,
    Reason,
    Step,
    Success,
    Verify,
    begin,
    chunks,
    mechanisms,
)

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.wire import Message

__all__ = ["AUTHENTICATION"]

AUTHENTICATION = Table()

_NUMERICS = {904: ERR_SASLFAIL, 905: ERR_SASLTOOLONG, 906: ERR_SASLABORTED}


@AUTHENTICATION.always(b"AUTHENTICATE", params=1)
async def authenticate(session: Session, message: Message) -> None:
    """Log in to an account; clients do that by themselves if told the account and its password."""
    accounts = session.server.accounts
    parameter = message.params[0]
    step: Step | None
    if session.login is None:
        offered = mechanisms(certificate=session.fingerprint is not None)
        exchange, step = begin(parameter, offered, accounts.secrets(), session.fingerprint)
        session.login = None if exchange is None else Login(exchange)
    else:
        step = session.login.exchange.receive(parameter)
    while step is not None:
        step = await _take(session, step)


async def _take(session: Session, step: Step) -> Step | None:
    """Do what a step asks for; gives the next, if it is not the client's turn."""
    login = session.login
    if isinstance(step, Challenge):
        for chunk in chunks(step.data):
            session.queue(b"AUTHENTICATE " + chunk + b"\r\n")
        return None
    if isinstance(step, Failure) or login is None:
        _fail(session, step.reason if isinstance(step, Failure) else Reason.MALFORMED)
        return None
    if isinstance(step, Success):
        return _succeed(session, login, step.account)
    try:
        return await _look_up(session, login, step)
    except Refused as refusal:
        if refusal.code == b"INVALID_CREDENTIALS":
            return login.exchange.checked(None)
        # Nothing was looked at, so this is no wrong password.
        session.login = None
        session.reply(ERR_SASLFAIL, text=refusal.text)
        return None


async def _look_up(
    session: Session, login: Login, step: Verify | NeedCredentials | NeedCertificate
) -> Step | None:
    accounts = session.server.accounts
    if isinstance(step, Verify):
        account = await accounts.verify(session.address, step.account, step.password)
        return login.exchange.checked(account.name)
    if isinstance(step, NeedCertificate):
        owner = accounts.by_certificate(step.fingerprint, step.account)
        return login.exchange.checked(None if owner is None else owner.name)
    login.attempt = accounts.attempt(session.address, step.account)
    known = accounts.get(step.account)
    if known is None or not known.verified:
        return login.exchange.found(step.account, None)
    return login.exchange.found(known.name, known.scram)


def _succeed(session: Session, login: Login, name: bytes) -> Step | None:
    session.login = None
    account = session.server.accounts.get(name)
    if account is None:
        # Deleted while the client computed its proof.
        _fail(session, Reason.REFUSED)
        return None
    if login.attempt is not None:
        session.server.accounts.succeed(login.attempt)
    log_in(session, account.name)
    session.reply(RPL_SASLSUCCESS)
    return None


def _fail(session: Session, reason: Reason) -> None:
    login, session.login = session.login, None
    if reason is Reason.MECHANISM:
        names = b",".join(mechanisms(certificate=session.fingerprint is not None))
        session.reply(RPL_SASLMECHS, names)
    if reason is Reason.ABORTED and login is not None and login.attempt is not None:
        # Who gives up after seeing the salt has tried no password; the host's count is not for it.
        session.server.accounts.logins.withdraw(login.attempt)
    session.reply(_NUMERICS[reason.numeric], text=reason.text)
    if reason is not Reason.REFUSED:
        return
    session.failures += 1
    throttle = session.server.settings.throttle
    if throttle.enabled and session.failures >= throttle.sasl_attempts_per_connection:
        if session.server.accounts.is_exempt(session.address):
            return
        session.close(b"Too many failed logins")
