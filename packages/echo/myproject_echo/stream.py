"""
Echo over TCP (RFC 862): what comes in goes out, until the client closes its side.

Memory stays bounded because the transport is registered as its own producer. When a client sends but
does not read, the transport's write buffer fills to its limit (64 KiB by default), the transport
pauses its producer, which stops it reading, and TCP's flow control holds the client back. When
the client reads again, so do we. At most the buffer and one read are held for each connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.internet.interfaces import ITCPTransport

__all__ = ["EchoProtocol"]


@implementer(IHalfCloseableProtocol)
class EchoProtocol(Protocol):
    """Sends every byte back. After a half-close, sends what remains and closes as well."""

    # A protocol on a socket: the transports that a subcommand gives it are of this kind.
    transport: ITCPTransport

    def connectionMade(self) -> None:
        """Let the transport's write buffer hold its reading back, and have the echo leave at once."""
        transport: Any = self.transport
        # Streaming producer: it reads on until it is told to pause. Registered, it also keeps
        # loseConnection from closing before it is unregistered, hence connectionLost and below.
        transport.registerProducer(transport, True)
        set_no_delay = getattr(transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)

    def dataReceived(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        """The client has sent all it will send: send back what remains, then close."""
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """The client no longer reads: nothing can be sent back, and nothing need be received."""
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Break the circle of the transport that is its own producer."""
        self.transport.unregisterProducer()
