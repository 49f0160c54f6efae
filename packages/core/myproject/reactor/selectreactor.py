"""Corked transports on Twisted's select reactor."""

from __future__ import annotations

from twisted.internet import selectreactor
from twisted.internet.main import installReactor

from myproject.reactor.turns import Corking

__all__ = ["CorkedSelectReactor", "install"]


class CorkedSelectReactor(Corking, selectreactor.SelectReactor):
    """select(2), corked."""


def install() -> None:
    """Install this reactor as the process's."""
    installReactor(CorkedSelectReactor())
