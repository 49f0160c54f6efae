"""
Who watches whom: the nicks that clients MONITOR, found from either end.

A list belongs to a client, not to its user: the page speaks of clients, each program has contacts of its
own, and one that connects expects its list to be empty. A nick is watched whether or not somebody has it; so
what is looked up here is always a folded nick, and costs the same however many are watched.

Sources: https://ircv3.net/specs/extensions/monitor, https://ircv3.net/specs/extensions/extended-monitor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from myproject_chat.capability import EXTENDED_MONITOR
from myproject_chat.delivery import broadcast
from myproject_chat.names import fold
from myproject_chat.numerics import RPL_MONOFFLINE, RPL_MONONLINE

if TYPE_CHECKING:
    from myproject_chat.delivery import Outgoing
    from myproject_chat.server import Server
    from myproject_chat.session import Session
    from myproject_chat.state import User

__all__ = ["Watchers", "notify"]


class Watchers:
    """Every client's list, and for each nick the clients that have it on theirs."""

    __slots__ = ("_lists", "_watchers")

    def __init__(self) -> None:
        # By client, then by folded nick: the nick as the client wrote it.
        self._lists: dict[Session, dict[bytes, bytes]] = {}
        # By folded nick; a dict for its order, so that the same history gives the same output.
        self._watchers: dict[bytes, dict[Session, None]] = {}

    def __len__(self) -> int:
        return len(self._watchers)

    def add(self, session: Session, nick: bytes) -> None:
        """
        Let a client watch a nick.

        :param session: the client.
        :param nick: the nick, which need not be anybody's.
        """
        key = fold(nick)
        self._lists.setdefault(session, {}).setdefault(key, nick)
        self._watchers.setdefault(key, {})[session] = None

    def remove(self, session: Session, nick: bytes) -> None:
        """Let a client watch a nick no more; that it did not is no error."""
        key = fold(nick)
        if self._lists.get(session, {}).pop(key, None) is not None:
            self._forget(session, key)

    def clear(self, session: Session) -> None:
        """Let a client watch nobody: it wants that, or is gone."""
        for key in self._lists.pop(session, ()):
            self._forget(session, key)

    def _forget(self, session: Session, key: bytes) -> None:
        watchers = self._watchers[key]
        del watchers[session]
        if not watchers:
            del self._watchers[key]

    def watched_by(self, session: Session) -> list[bytes]:
        """Give the nicks that a client watches, as it wrote them, in the order in which they came."""
        return list(self._lists.get(session, {}).values())

    def watches(self, session: Session, nick: bytes) -> bool:
        """Say whether a client watches a nick."""
        return session in self._watchers.get(fold(nick), ())

    def of(self, nick: bytes) -> Iterable[Session]:
        """Give the clients that watch a nick."""
        return self._watchers.get(fold(nick), ())

    def tell_online(self, user: User) -> None:
        """Tell those who watch a nick that somebody has it now."""
        for session in self.of(user.nick):
            session.reply(RPL_MONONLINE, text=user.source)

    def tell_offline(self, nick: bytes) -> None:
        """Tell those who watch a nick that nobody has it any more."""
        for session in self.of(nick):
            session.reply(RPL_MONOFFLINE, text=nick)


def notify(
    server: Server,
    user: User,
    message: Outgoing,
    needs: int,
    otherwise: Outgoing | None = None,
) -> None:
    """
    Tell of something that a user changed: those near, and those who watch with extended-monitor.

    Nobody is told twice; the user's own clients are not told.

    :param server: the server.
    :param user: who changed something.
    :param message: what is said of it.
    :param needs: the bits of the capabilities that a client must have all of.
    :param otherwise: what those near get who have not; None for nothing.
    """
    near = list(server.network.peers(user))
    broadcast(near, message, needs=needs, otherwise=otherwise)
    far = needs | EXTENDED_MONITOR
    told = {user, *near}
    for session in server.watchers.of(user.nick):
        if session.capabilities & far == far and session.user not in told:
            session.queue(message.line_for(session.capabilities))
