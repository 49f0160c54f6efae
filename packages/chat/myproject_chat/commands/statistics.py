"""
How the server is doing: STATS.

Everybody may know since when it runs (u) and who looks after it (o, those of them who are here); what its
users do (m) and whence they come (l) is for its operators. No letter shows anything of the configuration.

Sources: RFC 2812 section 3.4.4, https://modern.ircdocs.horse/#stats-message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from myproject_chat.commands.lookup import is_operator
from myproject_chat.commands.registry import Outcome, Table
from myproject_chat.numerics import (
    ERR_NOPRIVILEGES,
    RPL_ENDOFSTATS,
    RPL_STATSCOMMANDS,
    RPL_STATSLINKINFO,
    RPL_STATSOLINE,
    RPL_STATSUPTIME,
)

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["STATISTICS"]

STATISTICS = Table()

_DAY = 86400


@STATISTICS.registered(b"STATS")
async def stats(session: Session, user: User, message: Message) -> None:
    """Say how the server is doing: u uptime, o operators; for operators m commands, l connections."""
    letter = message.params[0][:1] if message.params else b"*"
    if letter in _PRIVATE and not is_operator(user):
        session.reply(ERR_NOPRIVILEGES)
    else:
        answer = _ANSWERS.get(letter)
        running = None if answer is None else answer(session)
        if running is not None:
            await running
    session.reply(RPL_ENDOFSTATS, letter)


def _uptime(session: Session) -> None:
    seconds = max(0, int(session.server.wall() - session.server.started))
    days, rest = divmod(seconds, _DAY)
    text = b"Server up %d days %d:%02d:%02d"
    words = text % (days, rest // 3600, rest // 60 % 60, rest % 60)
    session.reply(RPL_STATSUPTIME, text=words)


def _operators(session: Session) -> None:
    for user in session.server.network.users.values():
        if is_operator(user):
            session.reply(RPL_STATSOLINE, b"O", b"*", b"*", user.nick)


def _commands(session: Session) -> None:
    for name, count in sorted(session.server.used.items()):
        session.reply(RPL_STATSCOMMANDS, name, b"%d" % count)


async def _connections(session: Session) -> None:
    """Name, bytes that wait, and seconds since it came of each; of those that go meanwhile, nothing."""
    server = session.server
    for other in list(server.sessions):
        if other in server.sessions:
            seconds = b"%d" % (server.now() - other.since)
            words = (other.target, b"%d" % other.queued, seconds)
            session.reply(RPL_STATSLINKINFO, *words, text=other.address.encode("ascii", "replace"))
            await session.drained()


_ANSWERS: Mapping[bytes, Callable[[Session], Outcome]] = MappingProxyType(
    {b"l": _connections, b"m": _commands, b"o": _operators, b"u": _uptime}
)
_PRIVATE = frozenset({b"l", b"m"})
