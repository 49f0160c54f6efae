"""A connection that is open, as the gate knows it: whose it is, and whether anything still passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from myproject.handover import abort
from myproject.metering import Meter

if TYPE_CHECKING:
    from myproject.limits import Host

__all__ = ["Connection"]


class Connection:
    """
    A connection that has passed the gate, until it is lost.

    :param transport: the transport that the accepted protocol was given.
    :param host: whose it is.
    :param now: the time in seconds.
    """

    __slots__ = ("closing", "host", "moved", "seen", "socket", "transport")

    def __init__(self, transport: Any, host: Host | None, now: float) -> None:
        self.transport = transport
        self.host = host
        below = transport
        while below is not None and not isinstance(below, Meter):
            below = getattr(below, "transport", None)
        #: The transport that counts bytes; None on an endpoint that is not a port of Twisted's own.
        self.socket: Meter | None = below
        #: How many bytes the last look saw, and since when it is that many.
        self.seen = 0
        self.moved = now
        #: Whether it was asked to close for being idle.
        self.closing = False

    @property
    def protocol(self) -> Any:
        """Who has the connection now, behind whatever TLS there is; None if that cannot be seen."""
        transport = self.transport
        # A wrapper passes what it does not know on to its own transport: ask for this one first.
        if hasattr(transport, "wrappedProtocol"):
            seated = transport.wrappedProtocol
        else:
            seated = getattr(transport, "protocol", None)
        # TLS that was started on an open connection sits in the seat itself.
        while hasattr(seated, "wrappedProtocol"):
            seated = seated.wrappedProtocol
        return seated

    def quiet(self, now: float) -> float:
        """
        Look at the counters.

        :param now: the time in seconds.
        :return: the seconds since a look first saw them as they are.
        """
        if self.socket is None:
            return 0.0
        seen = self.socket.received + self.socket.sent
        if seen != self.seen:
            self.seen = seen
            self.moved = now
        return now - self.moved

    def abort(self) -> None:
        """Close it without waiting for anything."""
        abort(self.transport)
