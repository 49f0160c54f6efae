"""
Echo over TCP (RFC 862): what comes in goes out, until the client closes its side.

Memory stays bounded because each connection is the producer of its own transport. When a client sends
but does not read, the transport's write buffer fills to its limit (64 KiB by default) and the
transport pauses its producer; the producer stops reading, and TCP's flow control holds the client
back. When the client reads again, so do we. At most the buffer and one read are held for each
connection.

A half-close is TCP's alone: TLS as Twisted has it closes both ways at once, so a client that speaks
TLS reads its last bytes before it closes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer

__all__ = ["EchoProtocol"]


@implementer(IHalfCloseableProtocol, IPushProducer)
class EchoProtocol(Protocol):
    """Sends every byte back. After a half-close, sends what remains and closes as well."""

    # ITCPTransport, and IConsumer, and `disconnecting`: no one interface says all that sockets have.
    transport: Any

    _registered = False
    _write: Callable[[bytes], object]

    def connectionMade(self) -> None:
        """Let the transport's write buffer hold its reading back, and have the echo leave at once."""
        # A streaming producer reads on until it is told to pause.
        self.transport.registerProducer(self, True)
        self._registered = True
        self._write = self.transport.write
        # Sockets have the method, and heed it where they can; a pipe has none.
        with contextlib.suppress(AttributeError):
            self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.

        :param data: what came.
        """
        self._write(data)

    def pauseProducing(self) -> None:
        """Stop reading: the write buffer is full."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again: the write buffer is empty."""
        if self.transport.disconnecting:
            # Told to close by someone else, the transport waits for its producer to have said all.
            self._unregister()
        else:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Close: the transport has no use for more."""
        self.transport.loseConnection()

    def readConnectionLost(self) -> None:
        """Send back what remains, then close: the client has sent all it will send."""
        self._finish()

    def writeConnectionLost(self) -> None:
        """Close: nothing can be sent back, so nothing need be received."""
        self._finish()

    def _finish(self) -> None:
        # While a producer is registered the transport would not close.
        self._unregister()
        self.transport.loseConnection()

    def _unregister(self) -> None:
        if self._registered:
            self._registered = False
            self.transport.unregisterProducer()
