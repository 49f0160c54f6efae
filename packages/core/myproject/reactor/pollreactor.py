"""Corked transports on Twisted's poll reactor."""

from __future__ import annotations

from twisted.internet import pollreactor
from twisted.internet.main import installReactor

from myproject.reactor.turns import Corking

__all__ = ["CorkedPollReactor", "install"]


class CorkedPollReactor(Corking, pollreactor.PollReactor):
    """poll(2), corked."""


def install() -> None:
    """Install this reactor as the process's."""
    installReactor(CorkedPollReactor())
