"""
Operators of the server: who is one, and what each may do.

A user carries the name under which it said OPER, and nothing else: what that name may do is looked up in
the settings each time, so what is taken away there is gone at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject.limits import is_among
from myproject_chat.numerics import ERR_NOPRIVILEGES
from myproject_chat.throttle import Busy

if TYPE_CHECKING:
    from myproject_chat.accounts import Hasher
    from myproject_chat.configuration import Operator, Privilege
    from myproject_chat.server import Server
    from myproject_chat.session import Session
    from myproject_chat.settings import Settings
    from myproject_chat.state import User

__all__ = [
    "Busy",
    "is_allowed",
    "is_known",
    "may",
    "may_try",
    "proven",
    "sees_addresses",
    "sees_hidden",
]


def may_try(settings: Settings, address: str) -> bool:
    """
    Say whether there is an operator who may come from an address.

    :param settings: the settings in force.
    :param address: the address, as text.
    """
    return any(_may_come(one, address) for one in settings.operators)


def _may_come(operator: Operator, address: str) -> bool:
    places = [one.network for one in operator.networks]
    return not places or is_among(address, places)


def _named(settings: Settings, name: bytes) -> Operator | None:
    for operator in settings.operators:
        if operator.name.encode("ascii") == name:
            return operator
    return None


async def proven(
    session: Session, passwords: Hasher, name: bytes, password: bytes
) -> Operator | None:
    """
    Check who says OPER. A name that nobody has costs and answers what a wrong password does.

    :param session: who asks.
    :param passwords: checks them.
    :param name: the operator's name.
    :param password: what was given; empty for nothing, as the certificate may do.
    :return: the operator, or None if this is not one.
    :raises Busy: too many passwords wait already.
    """
    operator = _named(session.server.settings, name)
    encoded = None if operator is None else operator.password_hash
    if operator is None or encoded is not None:
        right = await passwords.verify(encoded, password)
    else:
        right = True
    # Meanwhile the settings may have changed.
    if not right or operator is None or operator != _named(session.server.settings, name):
        return None
    shown = (session.fingerprint or b"").decode("ascii")
    if operator.fingerprint is not None and operator.fingerprint != shown:
        return None
    return operator if _may_come(operator, session.address) else None


def is_known(settings: Settings, user: User) -> bool:
    """
    Say whether the settings name the operator that a user is.

    :param settings: the settings in force.
    :param user: the user.
    """
    return _named(settings, user.operator) is not None


def may(server: Server, user: User, privilege: Privilege) -> bool:
    """
    Say whether a user is an operator of the server with a privilege.

    :param server: the server.
    :param user: the user.
    :param privilege: what it wants to do.
    """
    if b"o" not in user.modes:
        return False
    operator = _named(server.settings, user.operator)
    return operator is not None and privilege in operator.privileges


def sees_hidden(server: Server, user: User) -> bool:
    """
    Say whether a user sees who and what hides: secret channels, and users who are invisible.

    :param server: the server.
    :param user: the user.
    """
    return may(server, user, "see-all")


def sees_addresses(server: Server, user: User) -> bool:
    """
    Say whether a user sees where others are: it may see all, or has to know whom it bans.

    :param server: the server.
    :param user: the user.
    """
    return may(server, user, "see-all") or may(server, user, "ban")


def is_allowed(session: Session, user: User, privilege: Privilege) -> bool:
    """
    Say whether a user has a privilege, or answer 481.

    :param session: who asks.
    :param user: who that is.
    :param privilege: what it wants to do.
    """
    if may(session.server, user, privilege):
        return True
    session.reply(ERR_NOPRIVILEGES)
    return False
