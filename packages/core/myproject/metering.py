"""
Metering: what waits for a peer, and how many bytes it sent and was sent, counted by the transport itself.

Each port is given a subclass of its class of transports, which adds up bytes in the places where they pass
anyway. So nothing stands between a transport and its protocol, and a count costs no call of its own. What
waits to be sent is added up at every write. A write that brings it above the bound aborts the
connection, drops what waited, and drops what is still written: no more ever waits than the bound and one
write.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST

from myproject.handover import abort

__all__ = ["Meter", "Metered", "MeteredTCP", "metered"]

#: What a socket says when it takes nothing at the moment.
_LATER: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})


class Meter:
    """
    A transport that counts.

    :ivar received: the bytes that have come.
    :ivar sent: the bytes that the kernel has taken.
    """

    received: int
    sent: int


class Metered(Meter):
    """
    Mixed into the class of a port's transports: counts bytes where they pass anyway.

    Each method does what the one below does, and one addition; :meth:`writeSomeData`, called once for
    each ``send``, asks it as well, but on TCP (:class:`MeteredTCP`).
    """

    received = 0
    sent = 0

    # For each gate: the bound, and whom to tell.
    max_buffered: int
    overflown: Callable[[Any], None]

    # What Twisted's stream transports have.
    protocol: Any
    reactor: Any
    dataBuffer: bytes
    offset: int
    _tempDataBuffer: list[bytes]
    _tempDataLen: int
    _aborting: bool

    def _dataReceived(self, data: bytes | None) -> Any:
        if not data:
            return CONNECTION_DONE
        self.received += len(data)
        self.protocol.dataReceived(data)
        return None

    def writeSomeData(self, data: bytes) -> Any:
        """Send, and count what was sent."""
        done = super().writeSomeData(data)  # type: ignore[misc]
        if type(done) is int:
            self.sent += done
        return done

    def startWriting(self) -> None:
        """Have the reactor send what a write has just added, unless it is too much."""
        if len(self.dataBuffer) - self.offset + self._tempDataLen > self.max_buffered:
            self._overflow()
        else:
            super().startWriting()  # type: ignore[misc]

    def _overflow(self) -> None:
        self._tempDataBuffer = []
        self._tempDataLen = 0
        self.dataBuffer = b""
        self.offset = 0
        if not self._aborting:
            type(self).overflown(self)
            abort(self)


class MeteredTCP(Metered):
    """
    The same for Twisted's TCP, whose way to send is a few lines, done here in one call instead of three.

    What is counted then costs a service less than a per cent (benchmarks/metrics_cost.py).
    """

    socket: Any
    SEND_LIMIT: int

    def writeSomeData(self, data: bytes) -> Any:
        """Send, and count what was sent."""
        try:
            done: int = self.socket.send(memoryview(data)[: self.SEND_LIMIT])
        except OSError as failure:
            if failure.errno in _LATER:
                return 0
            return CONNECTION_LOST
        self.sent += done
        return done


def metered(kind: type, max_buffered: int, overflown: Callable[[Any], None]) -> Any:
    """
    Make a subclass of a class of transports that counts.

    :param kind: the class.
    :param max_buffered: bytes that may wait for one peer; the subclass has it as an attribute, to be changed.
    :param overflown: told of a transport for which more would wait, before it is aborted.
    """
    return type(
        kind.__name__, (_meter(kind), kind), {"max_buffered": max_buffered, "overflown": overflown}
    )


def _meter(kind: type) -> type[Meter]:
    # Loaded by now if there is a port of it; and loading it does not install a reactor.
    from twisted.internet import tcp

    from myproject.reactor.transports import Corked

    if issubclass(kind, Corked):
        return Meter
    sends_as_tcp = getattr(kind, "writeSomeData", None) is tcp.Connection.writeSomeData
    return MeteredTCP if sends_as_tcp else Metered
