"""
The TLS layer of a connection, which lets go of all that it held as soon as the connection is lost.

Twisted's own takes care to, but for two cycles of references. A producer that was never unregistered knows
its transport. And the error by which OpenSSL says that a client went away without a goodbye, as many
do, has a traceback, whose frames know the transport and the error. What is in a cycle waits for the garbage
collector, which looks at objects as old as a connection only after thousands of others were made; until
then each connection holds some 20 KiB, more than an open one does over TCP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport

if TYPE_CHECKING:
    from twisted.python.failure import Failure

__all__ = ["TLSTransport"]


class TLSTransport(BufferingTLSTransport):
    """Twisted's, but what it leaves behind needs no garbage collector."""

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        if reason is not None:
            reason.cleanFailure()
        super()._tlsShutdownFinished(reason)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell the protocol, and let go of it and of its producer.

        :param reason: why the connection is gone.
        """
        super().connectionLost(reason)
        # The socket below has told the producer to stop.
        self._producer = None
