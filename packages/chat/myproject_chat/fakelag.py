"""
Fakelag: a client that sends faster than a person types is answered later, not thrown out.

Every command costs something. A session may spend `Pace.burst` at once and then `Pace.rate` a second. One who
is over that is not refused: its next command waits, and those behind it wait in its recvq, which has a
bound (receiving.py). No clock inside: the time comes in, seconds to wait go out.

What others do: InspIRCd 4 takes 10 commands at once and one a second (threshold, commandrate), with higher
penalties for costly ones; Ergo 5 at once and 2 a second; Solanum 20 lines at once. Ours is 10 and 2:
what clients send while they connect and join ten channels passes, and a paste of 30 lines takes ten
seconds. A multiline message is one command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["COSTS", "Fakelag", "Pace", "cost_of"]

#: What commands cost that are not worth 1: those that answer themselves or keep a connection alive cost
#: less (nothing at all would be a way to flood), those that make the server search or hash, more.
COSTS: Final[Mapping[bytes, float]] = MappingProxyType(
    {
        b"CAP": 0.25,
        b"PING": 0.25,
        b"PONG": 0.25,
        b"AUTHENTICATE": 0.5,
        b"MARKREAD": 0.5,
        b"TAGMSG": 0.5,
        b"INVITE": 2.0,
        b"KNOCK": 2.0,
        b"NICK": 2.0,
        b"RENAME": 2.0,
        b"CHATHISTORY": 2.0,
        b"WHO": 2.0,
        b"WHOIS": 2.0,
        b"WHOWAS": 2.0,
        b"LIST": 4.0,
        b"OPER": 4.0,
        b"REGISTER": 4.0,
    }
)


def cost_of(command: bytes) -> float:
    """
    Say what a command costs.

    :param command: its name in capitals; one that does not exist costs what most do.
    """
    return COSTS.get(command, 1.0)


@dataclass(frozen=True, slots=True)
class Pace:
    """
    How fast clients may go.

    :ivar burst: how much a session may spend at once; 0 for no fakelag.
    :ivar rate: how much more it may spend in each second.
    """

    burst: float = 10.0
    rate: float = 2.0


class Fakelag:
    """
    One session's account: a bucket of tokens, kept as the time at which it will be full again.

    :param pace: how fast it may go; may be replaced at any time.
    """

    __slots__ = ("_full_at", "pace")

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._full_at = 0.0

    def settle(self) -> None:
        """Take nothing for what was carried out until now."""
        self._full_at = 0.0

    def delay(self, now: float, cost: float = 1.0) -> float:
        """
        Pay for a command.

        It is paid for in any case, once: the caller holds the command for as long as this says, then
        carries it out without asking again. As it takes no other command meanwhile, a session is
        never more than one command in debt, and a client that stops is quick again.

        :param now: the time in seconds, of a clock that does not go back.
        :param cost: what the command costs, see `cost_of`.
        :return: seconds to wait; 0 to carry it out now.
        """
        burst, rate = self.pace.burst, self.pace.rate
        if not burst:
            return 0.0
        self._full_at = max(self._full_at, now) + cost / rate
        return max(0.0, self._full_at - now - burst / rate)
