"""
Refusals: counted by their reason, and logged so that a flood of connections is no flood of the log.

The first for a reason is logged at once, those that follow within ``LOG_EVERY`` in one line together.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from myproject.limits import Reason

if TYPE_CHECKING:
    from twisted.logger import Logger

__all__ = ["LOG_EVERY", "Refusals"]

#: Seconds between two log lines about refusals for the same reason. OpenSSH's sshd says once a minute
#: how many it drops; an operator who has just set a limit wants to see it work sooner.
LOG_EVERY: Final = 10.0


class Refusals:
    """
    Those of one gate.

    :param log: where they are logged.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._count = dict.fromkeys(Reason, 0)
        # Those that the log does not know of yet, and when it last heard of one.
        self._unsaid: dict[Reason, tuple[int, object, str]] = {}
        self._said: dict[Reason, float] = {}

    @property
    def counts(self) -> Mapping[Reason, int]:
        """How many there were until now, by reason."""
        return MappingProxyType(dict(self._count))

    @property
    def waiting(self) -> bool:
        """Whether there are some that :meth:`report` is to be called for later."""
        return bool(self._unsaid)

    def add(self, reason: Reason, host: object, detail: str, now: float) -> None:
        """
        Count one, and log it when its time has come.

        :param reason: why.
        :param host: the peer's address as text, or anything else if it has none.
        :param detail: what there is to say of this one alone.
        :param now: the time in seconds.
        """
        self._count[reason] += 1
        count = self._unsaid[reason][0] if reason in self._unsaid else 0
        self._unsaid[reason] = (count + 1, host, detail)
        self.report(now)

    def report(self, now: float, *, all_of_them: bool = False) -> None:
        """
        Log those whose time has come.

        :param now: the time in seconds.
        :param all_of_them: whether to log the others too.
        """
        for reason, (count, host, detail) in list(self._unsaid.items()):
            if all_of_them or now - self._said.get(reason, -LOG_EVERY) >= LOG_EVERY:
                del self._unsaid[reason]
                self._said[reason] = now
                self._log.warn(
                    "connections refused: {count}, the last from {host}: {why}",
                    count=count,
                    host=host or "a peer without an address",
                    why=f"{reason.value} ({detail})" if detail else reason.value,
                    # Under the name that metrics have for it.
                    reason=reason.name.lower().replace("_", "-"),
                )
