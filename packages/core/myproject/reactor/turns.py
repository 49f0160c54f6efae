"""
The end of a turn: what a reactor does to have corked transports, whichever reactor it is.

:class:`Corking` is mixed into one of Twisted's reactors, before it. The reactor then makes corked transports
in all the ways it has (ports, clients, adopted descriptors), and sends what was written in a turn once
the turn's timers have run. A transport that is queued while that happens is sent in the next turn, which
does not wait for an event then.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import tcp, unix
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python import log
from zope.interface import implementer

from myproject.reactor.transports import (
    Corked,
    TCPClient,
    TCPServer,
    UNIXClient,
    UNIXServer,
)

if TYPE_CHECKING:
    from twisted.internet.posixbase import PosixReactorBase as _Reactor
else:
    _Reactor = object

__all__ = ["REST", "Corking"]

#: Seconds for which a port accepts nothing, after the system had no room for one more connection: without
#: a rest the connection that waits would have the loop turn at full speed, and log each time.
REST: Final = 0.1


class _TCPConnector(tcp.Connector):
    def _makeTransport(self) -> Any:
        return TCPClient(self.host, self.port, self.bindAddress, self, self.reactor)


class _UNIXConnector(unix.Connector):
    def _makeTransport(self) -> Any:
        return UNIXClient(self.address, self, self.reactor, self.checkPID)


@implementer(ILogObserver)
class _Rest:
    """
    Has a port rest when the system has no room; hears of that from what the port logs.

    :param port: the port.
    """

    def __init__(self, port: Any) -> None:
        self._port = port

    def __call__(self, event: Any) -> None:
        globalLogPublisher(event)
        port = self._port
        # A peer that was gone before it was accepted is no lack of room.
        if event.get("acceptError") not in (None, errno.errorcode[errno.ECONNABORTED]):
            port.stopReading()
            port.reactor.callLater(REST, self._resume)

    def _resume(self) -> None:
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()


class Corking(_Reactor):
    """Mixed into a reactor of Twisted's, before it: makes its transports corked."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        #: Those that wait for the end of the turn.
        self._corked: list[Corked] = []
        super().__init__(*arguments, **keywords)

    # The end of the turn

    def cork(self, transport: Corked) -> None:
        """
        Have a transport send at the end of the turn.

        :param transport: one that has just become queued.
        """
        self._corked.append(transport)

    def runUntilCurrent(self) -> None:
        """Run what is due, then send what was written since the last time."""
        super().runUntilCurrent()
        if self._corked:
            self._uncork()

    def _uncork(self) -> None:
        corked, self._corked = self._corked, []
        for transport in corked:
            try:
                transport.uncork()
            except BaseException:
                why = sys.exc_info()[1]
                log.callWithLogger(transport, self.failed, transport, why, False)

    def failed(self, transport: Any, why: Any, reading: Any) -> None:
        """
        Close what has raised, and log that; to be called in its log context.

        :param transport: the descriptor.
        :param why: what it raised.
        :param reading: whether it did so while it read.
        """
        log.err(why)
        self._disconnectSelectable(transport, why, reading)

    def close(self, transport: Corked, why: Exception) -> None:
        """
        Close a connection that could not be sent to, or that was to be closed once all was sent.

        :param transport: the connection.
        :param why: the reason, as from ``doWrite``.
        """
        # The end of a turn is in nobody's log context, as an event is.
        log.callWithLogger(transport, self._disconnectSelectable, transport, why, False)

    def timeout(self) -> float | None:
        """Do not wait for events while something is to be sent, nor when what was sent stopped the loop."""
        if self._corked or self._justStopped or not self._started:
            return 0
        return super().timeout()

    def _waiting(self) -> list[Any]:
        return [transport for transport in dict.fromkeys(self._corked) if transport.is_queued]

    def getWriters(self) -> list[Any]:
        """All that have something to send, as if each waited for an event."""
        writers = list(super().getWriters())
        return writers + [one for one in self._waiting() if one not in writers]

    def removeAll(self) -> list[Any]:
        """Let go of all readers and writers, those among them that wait for the end of the turn."""
        queued = self._waiting()
        self._corked.clear()
        removed = list(super().removeAll())
        return removed + [one for one in queued if one not in removed]

    # What makes transports

    def _corks(self, port: Any, transport: type[Corked]) -> Any:
        port.transport = transport
        own: Logger = port._logger  # noqa: SLF001  # where Twisted's port says that it cannot accept
        port._logger = Logger(namespace=own.namespace, observer=_Rest(port))  # noqa: SLF001
        return port

    def listenTCP(self, *arguments: Any, **keywords: Any) -> Any:
        """See ``IReactorTCP``."""
        return self._corks(super().listenTCP(*arguments, **keywords), TCPServer)

    def listenUNIX(self, *arguments: Any, **keywords: Any) -> Any:
        """See ``IReactorUNIX``."""
        return self._corks(super().listenUNIX(*arguments, **keywords), UNIXServer)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See ``IReactorSocket``."""
        port = super().adoptStreamPort(fileDescriptor, addressFamily, factory)
        return self._corks(port, UNIXServer if addressFamily == socket.AF_UNIX else TCPServer)

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See ``IReactorSocket``."""
        if addressFamily == socket.AF_UNIX:
            return UNIXServer._fromConnectedSocket(fileDescriptor, factory, self)  # noqa: SLF001
        if addressFamily in self._supportedAddressFamilies:
            make = TCPServer._fromConnectedSocket  # noqa: SLF001
            return make(fileDescriptor, addressFamily, factory, self)
        return super().adoptStreamConnection(fileDescriptor, addressFamily, factory)

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30.0, bindAddress: Any = None
    ) -> Any:
        """See ``IReactorTCP``."""
        connector = _TCPConnector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    def _layered(self, factory: Any, context_factory: Any, *, client: bool) -> Any:
        """Put our TLS layer before a factory's protocols."""
        # Who does without TLS need not have pyOpenSSL, nor wait until it is imported.
        from myproject.tlstransport import TLSFactory

        return TLSFactory(context_factory, client, factory, clock=self)

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, *arguments: Any, **keywords: Any
    ) -> Any:
        """See ``IReactorSSL``; with our TLS layer, whichever program asks."""
        layered = self._layered(factory, contextFactory, client=False)
        listening = self.listenTCP(port, layered, *arguments, **keywords)
        listening._type = "TLS"  # noqa: SLF001  # what it is called in the log
        return listening

    def connectSSL(
        self,
        host: str,
        port: int,
        factory: Any,
        contextFactory: Any,
        *arguments: Any,
        **keywords: Any,
    ) -> Any:
        """See ``IReactorSSL``; with our TLS layer, whichever program asks."""
        layered = self._layered(factory, contextFactory, client=True)
        return self.connectTCP(host, port, layered, *arguments, **keywords)

    def connectUNIX(
        self, address: Any, factory: Any, timeout: float = 30, checkPID: Any = 0
    ) -> Any:
        """See ``IReactorUNIX``."""
        connector = _UNIXConnector(address, factory, timeout, self, checkPID)
        connector.connect()
        return connector
