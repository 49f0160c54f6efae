"""
User modes: what a user sets for itself with MODE.

Mode ``s`` takes the letters of the notices that an operator wants to hear (notices.py).

Sources: RFC 2812 section 3.1.5, https://modern.ircdocs.horse/#user-modes,
https://ircv3.net/specs/extensions/bot-mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from myproject_chat.commands.lookup import is_operator
from myproject_chat.delivery import broadcast
from myproject_chat.modes import (
    OPERATORS_USER_MODES,
    USER_MODES,
    ModeChange,
    format_changes,
)
from myproject_chat.notices import BY_DEFAULT, KINDS
from myproject_chat.numerics import (
    ERR_UMODEUNKNOWNFLAG,
    ERR_USERSDONTMATCH,
    RPL_SNOMASK,
    RPL_UMODEIS,
)

if TYPE_CHECKING:
    from myproject_chat.server import Server
    from myproject_chat.session import Session
    from myproject_chat.state import User

__all__ = ["set_user_modes", "user_mode"]

# What MODE can take behind a source and a nick of the longest kind.
_ROOM = 320


def user_mode(
    session: Session, user: User, target: User, letters: bytes | None = None, kinds: bytes = b""
) -> None:
    """
    Show one's own user modes, or change them.

    :param session: who asks.
    :param user: who that is.
    :param target: whose modes are asked for.
    :param letters: the changes; None to look.
    :param kinds: the notices that ``s`` is about, ``ck`` or ``+c-k``.
    """
    if target is not user:
        session.reply(ERR_USERSDONTMATCH)
    elif letters is None:
        session.reply(RPL_UMODEIS, b"+" + b"".join(sorted(user.modes)))
        _show_notices(session, user)
    else:
        _change(session, user, letters, kinds)


def _show_notices(session: Session, user: User) -> None:
    if b"s" in user.modes:
        session.reply(RPL_SNOMASK, b"+" + user.notices, text=b"are the notices that you hear")


def _chosen(before: bytes, kinds: bytes) -> bytes:
    """
    Read which notices somebody wants to hear.

    :param before: the letters until now.
    :param kinds: what was chosen: letters; or, where signs are in front, which more and which no more.
    """
    wanted = set(before) if kinds[:1] in (b"+", b"-") else set()
    for change in _read(kinds):
        letter = ord(change.letter)
        if change.adding:
            wanted.add(letter)
        else:
            wanted.discard(letter)
    return bytes(letter for letter in KINDS if letter in wanted)


def _change(session: Session, user: User, letters: bytes, kinds: bytes) -> None:
    wanted = []
    unknown = False
    for change in _read(letters):
        if change.letter not in USER_MODES:
            unknown = True
        elif _may(user, change):
            wanted.append(change)
    hears = b"s" in user.modes
    set_user_modes(session.server, user, wanted)
    if b"s" in user.modes and any(change.letter == b"s" for change in wanted):
        before = user.notices if hears else BY_DEFAULT
        user.notices = _chosen(before, kinds) if kinds else before
        _show_notices(session, user)
    if unknown:
        session.reply(ERR_UMODEUNKNOWNFLAG)


def _read(letters: bytes) -> Iterator[ModeChange]:
    """Read ``+iw-B``: user modes take no parameters, so what is a rank in a channel is plain here."""
    adding = True
    for byte in letters:
        letter = bytes((byte,))
        if letter in b"+-":
            adding = letter == b"+"
        else:
            yield ModeChange(adding, letter, None)


def _may(user: User, change: ModeChange) -> bool:
    """OPER makes operators, MODE does not; what is for them alone ends with their being so."""
    if not change.adding or change.letter not in OPERATORS_USER_MODES:
        return True
    return change.letter != b"o" and is_operator(user)


def set_user_modes(server: Server, user: User, changes: list[ModeChange]) -> None:
    """
    Change a user's modes, and tell its clients of those that changed.

    :param server: the server.
    :param user: whose.
    :param changes: the changes, without parameters.
    """
    done = []
    for change in changes:
        if server.network.set_mode(user, change.letter, on=change.adding):
            done.append(change)
            if change.letter == b"o" and not change.adding:
                done += _no_more(server, user)
    for params in format_changes(done, _ROOM):
        broadcast((user,), server.message(user, b"MODE", (user.nick, *params)))


def _no_more(server: Server, user: User) -> list[ModeChange]:
    """Take from somebody who is no operator any more what is for operators."""
    return [
        ModeChange(False, letter, None)
        for letter in sorted(user.modes)
        if letter in OPERATORS_USER_MODES and server.network.set_mode(user, letter, on=False)
    ]
