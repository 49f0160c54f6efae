"""
Doors: the factories that ports know, all of them of one gate.

A subcommand may serve the same people in several ways, each on ports of its own and with a factory of its
own: IRC on one, IRC over WebSocket on another. Each has a door; whoever comes by any of them is judged,
counted, bounded and drained by the one gate (:mod:`myproject.gate`), whose own door is that of
``--port`` and ``--tls-port``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import ILoggingContext, IProtocolFactory
from twisted.internet.protocol import Protocol
from zope.interface import alsoProvides, implementer, providedBy

from myproject.handover import abort

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IListeningPort

    from myproject.gate import Gate

__all__ = ["Door", "Refused"]


@implementer(IProtocolFactory, ILoggingContext)
class Door:
    """
    Stands before a factory, for a gate.

    :param gate: judges the connections.
    :param factory: makes the protocols. What it provides besides, an ALPN list for instance, the door
        provides too, and it answers for it.
    """

    def __init__(self, gate: Gate, factory: IProtocolFactory) -> None:
        #: The gate.
        self.gate = gate
        #: The factory behind it.
        self.wrappedFactory = factory
        # Whether all ports ask the door itself, so that None is an answer that they understand.
        self._bare: bool | None = None
        alsoProvides(self, providedBy(factory))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["wrappedFactory"], name)

    def logPrefix(self) -> str:
        """Be called in the log what the factory is called."""
        factory = self.wrappedFactory
        if ILoggingContext.providedBy(factory):
            return str(factory.logPrefix())
        return type(factory).__name__

    def doStart(self) -> None:
        """A port has opened."""
        self.wrappedFactory.doStart()

    def doStop(self) -> None:
        """A port has closed."""
        self.wrappedFactory.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        Take a connection, or refuse it.

        :param addr: the peer's address.
        :return: the factory's protocol; None for a refused connection. A TLS layer in front of the door
            cannot take None for an answer: it gets a protocol that aborts before the handshake.
        """
        protocol = self.gate.take(addr, self.wrappedFactory)
        if protocol is None and not self._bare:
            return Refused()
        return protocol

    def watch_port(self, port: IListeningPort) -> None:
        """
        Have a port's connections counted and bounded; to be called before the reactor's next turn.

        A port that does not make its transports as Twisted's own do has its connections limited when they
        are accepted, and told when the service stops, but no more.

        :param port: a port that was opened with this door as its factory.
        """
        bare = getattr(port, "factory", None) is self
        self._bare = bare if self._bare is None else self._bare and bare
        self.gate.meter(port)


class Refused(Protocol):
    """Takes a connection's first moment to close it."""

    def makeConnection(self, transport: Any) -> None:
        """Close the connection; nobody will be told anything of it."""
        self.transport = transport
        abort(transport)
