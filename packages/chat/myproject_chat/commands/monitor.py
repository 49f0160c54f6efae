"""
Being told when somebody comes or goes: MONITOR.

Source: https://ircv3.net/specs/extensions/monitor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from myproject_chat.commands.lookup import names
from myproject_chat.commands.registry import Table
from myproject_chat.delivery import pack
from myproject_chat.names import is_nick
from myproject_chat.numerics import (
    ERR_MONLISTFULL,
    RPL_ENDOFMONLIST,
    RPL_MONLIST,
    RPL_MONOFFLINE,
    RPL_MONONLINE,
    Numeric,
)

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["MONITOR"]

MONITOR = Table()

# What 730 to 732 can take behind ":server 730 nick :", whatever the names.
_ROOM = 380
# What 734 can send back of the nicks that found no room.
_REFUSED_ROOM = 90


@MONITOR.registered(b"MONITOR", params=1)
def monitor(session: Session, _user: User, message: Message) -> None:
    """Be told when nicks come and go: + and - change the list, C clears, L lists, S says who is there."""
    subcommand = message.params[0].upper()
    nicks = list(names(message.params[1])) if len(message.params) > 1 else []
    watchers = session.server.watchers
    if subcommand == b"+":
        _add(session, nicks)
    elif subcommand == b"-":
        for nick in nicks:
            watchers.remove(session, nick)
    elif subcommand == b"C":
        watchers.clear(session)
    elif subcommand == b"L":
        _send(session, RPL_MONLIST, watchers.watched_by(session))
        session.reply(RPL_ENDOFMONLIST)
    elif subcommand == b"S":
        _send_status(session, watchers.watched_by(session))


def _add(session: Session, nicks: list[bytes]) -> None:
    """Add nicks as long as there is room; what can be nobody's nick is left out."""
    watchers = session.server.watchers
    limit = session.server.settings.limits.monitor
    room = limit - len(watchers.watched_by(session))
    added = []
    refused: list[bytes] = []
    for nick in nicks:
        if not is_nick(nick):
            continue
        if not watchers.watches(session, nick):
            if room <= 0:
                refused.append(nick)
                continue
            room -= 1
            watchers.add(session, nick)
        added.append(nick)
    _send_status(session, added)
    for line in _pack(refused, _REFUSED_ROOM):
        session.reply(ERR_MONLISTFULL, b"%d" % limit, line)


def _send_status(session: Session, nicks: Iterable[bytes]) -> None:
    network = session.server.network
    online, offline = [], []
    for nick in nicks:
        user = network.user(nick)
        if user is None:
            offline.append(nick)
        else:
            online.append(user.source)
    _send(session, RPL_MONONLINE, online)
    _send(session, RPL_MONOFFLINE, offline)


def _send(session: Session, numeric: Numeric, words: Iterable[bytes]) -> None:
    for line in _pack(words, _ROOM):
        session.reply(numeric, text=line)


def _pack(words: Iterable[bytes], room: int) -> list[bytes]:
    # Neither nicks nor sources have spaces of their own.
    return [line.replace(b" ", b",") for line in pack(words, room)]
