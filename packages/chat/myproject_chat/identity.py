"""
Who a client is: logging a session or its user in and out, and telling those whom it concerns.

Sources: https://ircv3.net/specs/extensions/account-notify, https://ircv3.net/specs/extensions/sasl-3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject_chat.capability import ACCOUNT_NOTIFY
from myproject_chat.delivery import broadcast
from myproject_chat.hosts import change_host
from myproject_chat.monitor import notify
from myproject_chat.names import fold
from myproject_chat.numerics import RPL_LOGGEDIN, RPL_LOGGEDOUT

if TYPE_CHECKING:
    from myproject_chat.sasl import Exchange
    from myproject_chat.server import Server
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.throttle import Attempt

__all__ = ["Login", "forget_account", "log_in", "log_out", "mask_of", "set_account"]


class Login:
    """
    An attempt of a session to log in by SASL.

    :ivar exchange: what is said.
    :ivar attempt: what is counted as a failure until it succeeds, or None.
    """

    __slots__ = ("attempt", "exchange")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.attempt: Attempt | None = None


def set_account(server: Server, user: User, account: bytes | None) -> None:
    """
    Log a user in or out, and tell those near who want to know.

    :param server: the server.
    :param user: the user.
    :param account: the account, None for none.
    """
    if account == user.account:
        return
    former, user.account = user.account, account
    server.metadata.swap(user, former)
    server.network.changed.add(user)
    server.kept.succeed(former)
    server.suspect(user)
    change_host(server, user, server.hosts.of_user(user))
    news = server.message(user, b"ACCOUNT", (account or b"*",))
    broadcast((user,), news, needs=ACCOUNT_NOTIFY)
    notify(server, user, news, ACCOUNT_NOTIFY)


def forget_account(server: Server, account: bytes) -> None:
    """
    Forget an account that is no more: nobody is logged in to it, so who has the name next is nobody's heir.

    :param server: the server.
    :param account: the account.
    """
    server.kept.forget_account(account)
    key = fold(account)
    for session in server.sessions:
        if session.account is not None and fold(session.account) == key:
            session.account = None
    for user in server.network.users_of(account):
        set_account(server, user, None)
        if not user.receivers:
            server.quit(user, b"Account deleted")


def mask_of(session: Session) -> bytes:
    """Give ``nick!user@host`` of a client as far as it is known."""
    if session.user is not None:
        return session.user.source
    return b"%b!%b@%b" % (session.nick or b"*", session.user_name or b"*", session.host)


def log_in(session: Session, account: bytes) -> None:
    """
    Log a client in, and say so.

    :param session: the client.
    :param account: the account's name as it is written.
    """
    session.account = account
    text = b"You are now logged in as " + account
    # The answer first: what clients with account-notify are told of themselves comes behind it.
    session.reply(RPL_LOGGEDIN, mask_of(session), account, text=text)
    if session.user is not None:
        set_account(session.server, session.user, account)


def log_out(session: Session) -> None:
    """Log a client out, and say so."""
    session.account = None
    session.reply(RPL_LOGGEDOUT, mask_of(session))
    if session.user is not None:
        set_account(session.server, session.user, None)
