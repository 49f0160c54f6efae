"""
Keeping people out of the server: KLINE UNKLINE DLINE UNDLINE, with the privilege ``ban``.

::

    KLINE [ANDKILL] [MYSELF] [duration] <mask> [ON <server>] [reason [| reason for operators]]
    DLINE [ANDKILL] [MYSELF] [duration] <address or network> [ON <server>] [reason [| ...]]
    UNKLINE <mask> [ON <server>]
    UNDLINE <address or network> [ON <server>]

The grammar is Ergo's. A ban acts on those who are here at once, as that of most servers does, so ANDKILL
says nothing that is not so anyway. There is one server, so a server's name is read and does not matter.
Who would ban oneself has to say MYSELF. The answer comes when the ban is safe.

Sources: the help of Ergo and of Solanum on these commands, https://modern.ircdocs.horse/#operator-messages,
https://ircv3.net/specs/extensions/standard-replies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from myproject_chat.banmasks import DLINE, KLINE, read_mask
from myproject_chat.bans import private_reason, public_reason
from myproject_chat.commands.registry import Table
from myproject_chat.commands.statistics import send_bans
from myproject_chat.durations import read_duration, show_duration
from myproject_chat.expulsion import is_hit
from myproject_chat.notices import BANS, tell_operators
from myproject_chat.operators import is_allowed
from myproject_chat.wire import clip

if TYPE_CHECKING:
    from myproject_chat.banmasks import Rule
    from myproject_chat.commands.registry import Outcome
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["NETWORK_BANS"]

NETWORK_BANS = Table()

# With the longest mask it fits a line of STATS.
_REASON_LENGTH = 255


class _Asked(NamedTuple):
    """
    What a line asks for.

    :ivar myself: whether it says MYSELF.
    :ivar seconds: how long; None for ever.
    :ivar rule: whom it is about.
    :ivar reason: why.
    """

    myself: bool
    seconds: int | None
    rule: Rule
    reason: bytes


def _read(kind: str, params: list[bytes]) -> _Asked:
    """
    Read a line.

    :raises ValueError: with what is wrong and what to do.
    """
    rest = list(params)
    said = set()
    while len(rest) > 1 and (word := rest[0].upper()) in (b"ANDKILL", b"MYSELF"):
        said.add(word)
        del rest[0]
    seconds = None
    # A nick, an account and a host that is a word do not begin with a digit; an address is no duration.
    if len(rest) > 1 and rest[0][:1].isdigit() and rest[0].isalnum():
        try:
            seconds = read_duration(rest[0].decode("ascii"))
        except ValueError as mistake:
            shown = rest[0].decode()
            raise ValueError(f"{shown}: {mistake}; give one such as 90s, 1h30m or 7d") from None
        del rest[0]
    text, *rest = rest
    try:
        rule = read_mask(kind, text)
    except ValueError as mistake:
        raise ValueError(f"{text.decode()}: {mistake}") from None
    reason = b" ".join(_without_server(rest))
    return _Asked(b"MYSELF" in said, seconds, rule, clip(reason, _REASON_LENGTH))


def _without_server(words: list[bytes]) -> list[bytes]:
    return words[2:] if len(words) > 1 and words[0].upper() == b"ON" else words


def _refuse(session: Session, command: bytes, code: bytes, text: bytes) -> None:
    session.say(b"FAIL", command, code, text=text)


def _set(session: Session, user: User, kind: str, params: list[bytes]) -> None:
    """Set a ban, or say what is wrong."""
    command = kind.upper().encode("ascii")
    server = session.server
    try:
        asked = _read(kind, params)
    except ValueError as mistake:
        _refuse(session, command, b"INVALID_PARAMS", str(mistake).encode())
        return
    if not asked.myself and is_hit(asked.rule, user):
        text = b"%b would ban you, too; if that is meant, say MYSELF in front of it"
        _refuse(session, command, b"WOULD_BAN_YOU", text % asked.rule.mask)
        return
    ban, ticket = server.bans.add(kind, asked.rule, user.operator, asked.reason, asked.seconds)
    session.hold(ticket)
    lasting = "for ever" if asked.seconds is None else f"for {show_duration(asked.seconds)}"
    what = b"%b %b %b" % (command, ban.mask, lasting.encode("ascii"))
    why = public_reason(ban)
    private = private_reason(ban)
    text = b"%b set %b (%b%b)" % (user.nick, what, why, b" | " + private if private else b"")
    tell_operators(server, BANS, text)
    # Before the user may go itself.
    target = session.target
    session.say(b"NOTICE", target, text=b"%b is set" % what)
    gone = server.enforce([ban])
    if gone:
        tell_operators(server, BANS, b"%b hit %d who were here" % (what, gone))


def _unset(session: Session, user: User, kind: str, mask: bytes) -> None:
    """Unset a ban, or say what is wrong."""
    command = b"UN" + kind.upper().encode("ascii")
    server = session.server
    try:
        ban, ticket = server.bans.remove(kind, read_mask(kind, mask))
    except ValueError as mistake:
        _refuse(session, command, b"INVALID_PARAMS", b"%b: %b" % (mask, str(mistake).encode()))
        return
    except KeyError:
        text = b"There is no such ban; STATS %b lists all" % kind[:1].encode("ascii")
        _refuse(session, command, b"NO_SUCH_BAN", text)
        return
    session.hold(ticket)
    tell_operators(server, BANS, b"%b unset %b %b" % (user.nick, command[2:], ban.mask))
    session.say(b"NOTICE", session.target, text=b"%b %b is unset" % (command[2:], ban.mask))


@NETWORK_BANS.registered(b"KLINE", params=1)
def kline(session: Session, user: User, message: Message) -> Outcome:
    """Keep people out: [MYSELF] [1h30m] mask [reason [| reason for operators]]. KLINE LIST lists all."""
    return _ban(session, user, KLINE, message)


@NETWORK_BANS.registered(b"DLINE", params=1)
def dline(session: Session, user: User, message: Message) -> Outcome:
    """Keep an address or network out: [MYSELF] [7d] network [reason [| ...]]. DLINE LIST lists all."""
    return _ban(session, user, DLINE, message)


def _ban(session: Session, user: User, kind: str, message: Message) -> Outcome:
    if not is_allowed(session, user, "ban"):
        return None
    params = list(message.params)
    if len(params) == 1 and params[0].upper() == b"LIST":
        return send_bans(session, kind)
    _set(session, user, kind, params)
    return None


@NETWORK_BANS.registered(b"UNKLINE", params=1)
def unkline(session: Session, user: User, message: Message) -> None:
    """Let people in again whom a K-line kept out: its mask."""
    if is_allowed(session, user, "ban"):
        _unset(session, user, KLINE, message.params[0])


@NETWORK_BANS.registered(b"UNDLINE", params=1)
def undline(session: Session, user: User, message: Message) -> None:
    """Let an address or network in again that a D-line kept out."""
    if is_allowed(session, user, "ban"):
        _unset(session, user, DLINE, message.params[0])
