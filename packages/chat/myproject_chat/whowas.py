"""
Those who were here: a bounded memory of users who quit or took another nick.

Source: RFC 2812 section 3.6.3.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from myproject_chat.names import fold

if TYPE_CHECKING:
    from myproject_chat.state import User

__all__ = ["FormerUser", "Whowas"]

_USERS_OF_A_NICK = 10


class FormerUser(NamedTuple):
    """
    Somebody who had a nick.

    :ivar nick: the nick.
    :ivar user_name: the user name.
    :ivar host: what others saw of where the user was.
    :ivar real_name: free words.
    :ivar account: the account, or None.
    :ivar when: until when, in seconds since 1970.
    """

    nick: bytes
    user_name: bytes
    host: bytes
    real_name: bytes
    account: bytes | None
    when: int


class Whowas:
    """
    What is remembered, by nick; those that were longest ago are forgotten first.

    :param room: gives how many nicks are remembered.
    """

    __slots__ = ("_by_nick", "_room")

    def __init__(self, room: Callable[[], int]) -> None:
        self._room = room
        self._by_nick: OrderedDict[bytes, tuple[FormerUser, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_nick)

    def remember(self, user: User, now: int) -> None:
        """
        Note that a user gives up its nick.

        :param user: the user, as it is now.
        :param now: seconds since 1970.
        """
        key = fold(user.nick)
        former = FormerUser(user.nick, user.user_name, user.host, user.real_name, user.account, now)
        # The last stands last.
        before = self._by_nick.pop(key, ())
        self._by_nick[key] = (former, *before[: _USERS_OF_A_NICK - 1])
        while len(self._by_nick) > self._room():
            self._by_nick.popitem(last=False)

    def of(self, nick: bytes, count: int | None = None) -> Iterator[FormerUser]:
        """
        Give those who had a nick, the last first.

        :param nick: the nick, whatever its case.
        :param count: how many at most; None for all.
        """
        return islice(self._by_nick.get(fold(nick), ()), count)
