"""Corked transports on Twisted's asyncio reactor, whose turns are asyncio's."""

from __future__ import annotations

from asyncio import AbstractEventLoop

from twisted.internet import asyncioreactor
from twisted.internet.main import installReactor

from myproject.reactor.transports import Corked
from myproject.reactor.turns import Corking

__all__ = ["CorkedAsyncioReactor", "install"]


class CorkedAsyncioReactor(Corking, asyncioreactor.AsyncioSelectorReactor):
    """asyncio's loop, corked."""

    def cork(self, transport: Corked) -> None:
        """
        Have a transport send at the end of the turn.

        :param transport: one that has just become queued.
        """
        if not self._corked:
            self._asyncioEventloop.call_soon(self._uncork)
        super().cork(transport)

    def timeout(self) -> float | None:
        """Leave the loop's own timer alone: asyncio knows of what is to be sent."""
        return super(Corking, self).timeout()


def install(eventloop: AbstractEventLoop | None = None) -> None:
    """
    Install this reactor as the process's.

    :param eventloop: the loop to run on; by default the current one.
    """
    installReactor(CorkedAsyncioReactor(eventloop))
