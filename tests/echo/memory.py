"""A connection in memory, with Twisted's own buffering and no kernel between the two ends."""

from __future__ import annotations

from typing import Any

from twisted.internet import main
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

__all__ = ["MemoryConnection"]


class MemoryConnection(FileDescriptor):
    """
    The server's end of a connection; the methods in the second half are what the client does.

    :param protocol: the server's protocol.
    :param limit: bytes that the write buffer holds before the producer is paused.
    :param chunk: the most bytes that one read yields.
    """

    def __init__(self, protocol: Protocol, limit: int = 2**16, chunk: int = 2**16) -> None:
        self.turns = MemoryReactorClock()
        super().__init__(reactor=self.turns)
        self.protocol = protocol
        self.bufferSize = limit
        self.chunk = chunk
        self.room = 0
        self.received = b""
        self.connected = 1
        self.lost: list[BaseException | None] = []
        self.startReading()
        protocol.makeConnection(self)

    def writeSomeData(self, data: Any) -> int:
        """Let the client have what it has asked for and no more."""
        taken = bytes(data[: self.room])
        self.received += taken
        self.room -= len(taken)
        return len(taken)

    def connectionLost(self, reason: Failure) -> None:
        """Tell the protocol, as a socket would."""
        if self.disconnected:
            return
        super().connectionLost(reason)
        self.lost.append(reason.value)
        self.protocol.connectionLost(reason)

    @property
    def reading(self) -> bool:
        """Whether the server would take more bytes."""
        return self in self.turns.getReaders()

    @property
    def waiting(self) -> int:
        """How many bytes the server holds for the client."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def send(self, data: bytes) -> int:
        """Send bytes, and return how many of them the server took: it may stop reading."""
        start = 0
        while start < len(data) and self.reading:
            self.protocol.dataReceived(data[start : start + self.chunk])
            start += self.chunk
        return min(start, len(data))

    def read(self, amount: int) -> None:
        """Read up to so many bytes, as far as the server has them."""
        self.room = amount
        while self.room and self in self.turns.getWriters():
            reason = self.doWrite()
            if reason is not None:
                self.connectionLost(Failure(reason))
        self.room = 0

    def half_close(self) -> bool:
        """Send no more, and return whether the server has seen that: it may have stopped reading."""
        if not self.reading:
            return False
        self.stopReading()
        IHalfCloseableProtocol(self.protocol).readConnectionLost()
        return True

    def reset(self) -> None:
        """Vanish."""
        self.connectionLost(Failure(main.CONNECTION_LOST))
