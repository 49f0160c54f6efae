"""
How the server is doing: STATS.

Everybody may know since when it runs (u) and who looks after it (o, those of them who are here); what its
users do (m), whence they come (l) and who is kept out (k, d) is for operators with the privilege ``stats``;
for k and d ``ban`` will do. No letter shows anything of the configuration.

Sources: RFC 2812 section 3.4.4, https://modern.ircdocs.horse/#stats-message; the rows of k and d are
InspIRCd's: what is banned, since when, until when, by whom, why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from myproject_chat.banmasks import DLINE, KLINE
from myproject_chat.commands.lookup import is_operator
from myproject_chat.commands.registry import Outcome, Table
from myproject_chat.numerics import (
    ERR_NOPRIVILEGES,
    RPL_ENDOFSTATS,
    RPL_STATSCOMMANDS,
    RPL_STATSDLINE,
    RPL_STATSKLINE,
    RPL_STATSLINKINFO,
    RPL_STATSOLINE,
    RPL_STATSUPTIME,
)
from myproject_chat.operators import may

if TYPE_CHECKING:
    from myproject_chat.configuration import Privilege
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["STATISTICS", "send_bans"]

STATISTICS = Table()

_DAY = 86400


@STATISTICS.registered(b"STATS")
async def stats(session: Session, user: User, message: Message) -> None:
    """Say how the server is doing: u uptime, o operators; for those: m commands, l connections, k d bans."""
    letter = message.params[0][:1] if message.params else b"*"
    needed = _PRIVATE.get(letter.lower())
    if needed is not None and not any(may(session.server, user, one) for one in needed):
        session.reply(ERR_NOPRIVILEGES)
    else:
        answer = _ANSWERS.get(letter.lower())
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


async def send_bans(session: Session, kind: str) -> None:
    """
    List the bans of a kind, and of them what operators alone know.

    :param session: who asks.
    :param kind: which.
    """
    numeric = RPL_STATSDLINE if kind == DLINE else RPL_STATSKLINE
    letter = kind[:1].upper().encode("ascii")
    for ban in session.server.bans.of_kind(kind):
        times = (b"%d" % ban.created, b"%d" % (ban.expires or 0))
        session.reply(numeric, letter, ban.mask, *times, ban.setter, text=ban.reason)
        await session.drained()


_ANSWERS: Mapping[bytes, Callable[[Session], Outcome]] = MappingProxyType(
    {
        b"d": lambda session: send_bans(session, DLINE),
        b"k": lambda session: send_bans(session, KLINE),
        b"l": _connections,
        b"m": _commands,
        b"o": _operators,
        b"u": _uptime,
    }
)
_PRIVATE: Mapping[bytes, tuple[Privilege, ...]] = MappingProxyType(
    {b"d": ("stats", "ban"), b"k": ("stats", "ban"), b"l": ("stats",), b"m": ("stats",)}
)
