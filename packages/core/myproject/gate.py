"""
The gate: what every connection of a subcommand passes when it is accepted, and never again.

It is the factory that the ports know. For each connection it asks the factory behind it for a protocol,
and from the moment that this protocol meets its transport the gate follows the connection's life. It does
so on the transport, whose ``connectionLost`` it replaces on that one instance: protocols come and go (the
front door hands a connection to another one), and a wrapper around them would cost a call for each
chunk, and hide half-close from those that know it. So nothing stands between a transport and its
protocol, whatever the port: TCP, a Unix socket, one that was adopted, or TLS, where the gate stands
behind the TLS layer and the transport that it follows is that layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from twisted.internet import defer
from twisted.internet.interfaces import ILoggingContext, IProtocolFactory
from twisted.internet.protocol import Protocol
from zope.interface import alsoProvides, implementer, providedBy

from myproject.handover import abort

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IProtocol

__all__ = ["Connection", "Gate"]


class Connection:
    """
    A connection that has passed the gate, until it is lost.

    :param transport: the transport that the accepted protocol was given.
    """

    __slots__ = ("transport",)

    def __init__(self, transport: Any) -> None:
        self.transport = transport

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

    def abort(self) -> None:
        """Close it without waiting for anything."""
        abort(self.transport)


@implementer(IProtocolFactory, ILoggingContext)
class Gate:
    """
    Stands before a factory, and knows its connections.

    :param factory: makes the protocols. What it provides besides, an ALPN list for instance, the gate
        provides too, and it answers for it.
    """

    def __init__(self, factory: IProtocolFactory) -> None:
        #: The factory behind the gate.
        self.wrappedFactory = factory
        self._open = True
        self._connections: dict[Connection, None] = {}
        self._waiting: list[defer.Deferred[None]] = []
        alsoProvides(self, providedBy(factory))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["wrappedFactory"], name)

    def __len__(self) -> int:
        return len(self._connections)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Connection]:
        """The open connections, the oldest first."""
        return iter(list(self._connections))

    # What a port asks for

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
        :return: the factory's protocol; or one that aborts the connection before a byte is read, as a
            TLS layer in front of the gate cannot take None for an answer.
        """
        if not self._open:
            return _Refused()
        protocol = self.wrappedFactory.buildProtocol(addr)  # type: ignore[arg-type]
        if protocol is None:
            return _Refused()
        self._await_transport(protocol)
        return protocol

    def _await_transport(self, protocol: IProtocol) -> None:
        made: Any = protocol
        make_connection: Callable[[Any], None] = made.makeConnection

        def connect(transport: Any) -> None:
            del made.makeConnection
            self._enter(transport, made)
            make_connection(transport)

        made.makeConnection = connect

    def _enter(self, transport: Any, protocol: Any) -> None:
        connection = Connection(transport)
        self._connections[connection] = None
        # All that are sockets, or TLS above one, are told of their end by this name. Transports in
        # memory tell their protocol alone.
        told = transport if hasattr(transport, "connectionLost") else protocol
        connection_lost: Callable[..., None] = told.connectionLost

        def lost(*reason: Any) -> None:
            del told.connectionLost
            try:
                connection_lost(*reason)
            finally:
                self._leave(connection)

        told.connectionLost = lost

    def _leave(self, connection: Connection) -> None:
        del self._connections[connection]
        if not self._connections:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

    # What the service asks for

    def open(self) -> None:
        """Let connections in; a new gate does."""
        self._open = True

    def close(self) -> None:
        """Let no more connections in, not even those that the system has accepted by now."""
        self._open = False

    def when_empty(self) -> defer.Deferred[None]:
        """
        Wait for the last connection to be lost.

        :return: fires when there is none; at once if there is none now. It can be cancelled.
        """
        empty: defer.Deferred[None] = defer.Deferred(self._waiting.remove)
        self._waiting.append(empty)
        if not self._connections:
            self._waiting.remove(empty)
            empty.callback(None)
        return empty


class _Refused(Protocol):
    """Takes a connection's first moment to close it."""

    def makeConnection(self, transport: Any) -> None:
        """Close the connection; nobody will be told anything of it."""
        self.transport = transport
        abort(transport)
