"""
Last words: what a factory makes for a connection that it will not have, in place of a protocol.

``buildProtocol`` may return None, and the peer sees a connection that closes at once. Where the protocol
has words for why (``ERROR`` of IRC, ``421`` of SMTP), a :class:`Farewell` says them first. The gate counts
and logs it as refused, not as let in; until it is gone it takes a connection's place, so a flood of
those that are refused meets the limits like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.protocol import Protocol, connectionDone

from myproject.handover import abort, close_behind

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

__all__ = ["GRACE", "Farewell"]

#: Seconds that a peer has to take the words, over TLS to shake hands for them. As long as whoever
#: is closed for being idle has.
GRACE: Final = 5.0


class Farewell(Protocol):
    """
    Says why, and closes.

    :param words: what the peer is sent.
    :param why: the same for the log: one clause.
    :param clock: the reactor.
    """

    def __init__(self, words: bytes, why: str, clock: IReactorTime) -> None:
        self._words = words
        #: Why, for the log.
        self.why = why
        self._clock = clock
        self._cut: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Say the words; the connection closes behind them."""
        transport: Any = self.transport
        transport.write(self._words)
        self._cut = self._clock.callLater(GRACE, abort, transport)
        close_behind(self)

    def dataReceived(self, data: bytes) -> None:
        """Read nothing."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 (Twisted's)
        """It is over."""
        if self._cut is not None and self._cut.active():
            self._cut.cancel()
