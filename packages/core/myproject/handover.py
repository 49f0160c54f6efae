"""
Handing an open connection over from one protocol to another, with no byte lost and nothing left between.

A transport delivers to whoever sits in its *seat*: ``transport.protocol`` on a socket,
``wrappedProtocol`` on TLS and on every other ``ProtocolWrapper``. To hand over is to seat the new protocol;
from then on the transport calls it as if it had accepted the connection itself: its data, its
half-close, its loss, each exactly once. A transport whose seat cannot be seen keeps calling the old
protocol; there the old one's methods are rebound to the new one's, which costs nothing for each chunk either.

The bytes that arrived behind the old protocol's last line are the delicate part:

====================================  ================================================================
the new protocol, while it connects   the bytes
====================================  ================================================================
does nothing unusual                  are delivered as soon as it is connected
starts TLS                            are delivered to the TLS layer, whose handshake they begin
pauses its transport                  wait, in their order, until it resumes; no other byte overtakes them
closes or aborts the connection       are dropped, as bytes still in the kernel would be
====================================  ================================================================

To know of a pause, the transport's ``pauseProducing`` and ``resumeProducing`` are replaced on that
one instance, only if bytes wait, and only until they are delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IHandshakeListener,
    ILoggingContext,
    INegotiated,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from zope.interface import alsoProvides, implementer

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocol, IReactorTime
    from twisted.python.failure import Failure

__all__ = ["abort", "close_behind", "hand_over"]


def hand_over(old: Protocol, new: IProtocol, rest: bytes, clock: IReactorTime) -> None:
    """
    Give a protocol's connection to another protocol.

    ``old`` hears nothing of the connection afterwards, ``connectionLost`` included. It must not
    have registered a producer, nor have paused the transport.

    :param old: the protocol that the transport delivers to now.
    :param new: one that has no transport yet.
    :param rest: bytes received that are not ``old``'s, delivered to ``new`` before any other.
    :param clock: used if ``new`` pauses its transport while bytes wait: when it resumes they are
        delivered in the next turn, as a transport never delivers inside ``resumeProducing``.
    :raises Exception: what ``new`` raises while it connects or receives ``rest``. It has the connection
        then, so that the caller need only let the exception reach the transport.
    """
    transport: Any = old.transport
    seat = _seat_of(old, transport)
    _relabel(transport, old, new)
    seat.occupant = new
    waiting = _Waiting(seat, transport, rest, clock) if rest else None
    try:
        new.makeConnection(transport)
        # TLS told the old protocol that its handshake is complete, and tells it once.
        listener: Any = IHandshakeListener(new, None)
        encrypted = bool(INegotiated.providedBy(transport))
        if listener is not None and encrypted and not _is_closing(transport):
            listener.handshakeCompleted()
    except BaseException:
        if waiting is not None:
            waiting.unhook()
        raise
    if waiting is not None:
        waiting.settle()


def abort(transport: Any) -> None:
    """
    Close a connection without waiting for anything, as far as its transport knows how.

    :param transport: an ``ITransport``; those that are sockets have ``abortConnection``.
    """
    getattr(transport, "abortConnection", transport.loseConnection)()


def close_behind(protocol: Any) -> None:
    """
    Close a connection behind what was written, so that the peer reads that.

    A socket that is closed with bytes unread is reset, and a reset may destroy the last words on their
    way. So on a socket our side is closed first; the caller drops what is still read, and aborts when
    it has waited long enough for the peer to close.

    :param protocol: whose connection it is.
    """
    transport = protocol.transport
    # Only on a socket of our own: TLS passes loseWriteConnection on to the socket underneath.
    ours = getattr(transport, "protocol", None) is protocol
    half = bool(IHalfCloseableDescriptor.providedBy(transport))
    if ours and half:
        transport.loseWriteConnection()
    else:
        transport.loseConnection()


def _is_closing(transport: Any) -> bool:
    """Whether a transport has been told to close, or has closed."""
    connected = getattr(transport, "connected", True)
    return not connected or bool(getattr(transport, "disconnecting", False))


class _Seat:
    """Where a transport keeps the protocol that it delivers to."""

    def __init__(self, transport: Any, attribute: str) -> None:
        self._transport = transport
        self._attribute = attribute

    @property
    def occupant(self) -> Any:
        return getattr(self._transport, self._attribute)

    @occupant.setter
    def occupant(self, protocol: Any) -> None:
        setattr(self._transport, self._attribute, protocol)


class _OldChair:
    """The seat of a transport that shows none: the old protocol's own methods, rebound."""

    def __init__(self, old: Any) -> None:
        self._old = old
        self._occupant = old

    @property
    def occupant(self) -> Any:
        return self._occupant

    @occupant.setter
    def occupant(self, protocol: Any) -> None:
        old = self._old
        self._occupant = protocol
        old.dataReceived = protocol.dataReceived
        old.connectionLost = protocol.connectionLost
        half: Any = IHalfCloseableProtocol(protocol, None)
        if half is not None:
            alsoProvides(old, IHalfCloseableProtocol)
            old.readConnectionLost = half.readConnectionLost
            old.writeConnectionLost = half.writeConnectionLost
        else:
            # The transport still takes the old protocol for one that knows half-close: the end of
            # input means to the new one what it means to most, the end.
            old.readConnectionLost = old.transport.loseConnection
            old.writeConnectionLost = _nothing


def _nothing() -> None:
    """Hear that the write side is closed, and be a protocol that does not care."""


def _seat_of(old: Protocol, transport: Any) -> _Seat | _OldChair:
    for attribute in ("protocol", "wrappedProtocol"):
        if getattr(transport, attribute, None) is old:
            return _Seat(transport, attribute)
    return _OldChair(old)


def _relabel(transport: Any, old: Protocol, new: IProtocol) -> None:
    """Log what happens from now on under the new protocol's name; the transport made its label once."""
    label = getattr(transport, "logstr", None)
    if isinstance(label, str) and getattr(transport, "protocol", None) is old:
        name = new.logPrefix() if ILoggingContext.providedBy(new) else type(new).__name__
        transport.logstr = label.replace(f"{old.logPrefix()},", f"{name},", 1)


@implementer(IHalfCloseableProtocol)
class _Waiting(Protocol):
    """
    Bytes that wait for a protocol which has paused its transport; meanwhile it sits in the seat.

    :param seat: the seat, in which the new protocol sits.
    :param transport: its transport.
    :param rest: the bytes.
    :param clock: for the delivery after a pause.
    """

    _log = Logger()
    _HOOKS = ("pauseProducing", "resumeProducing", "abortConnection")

    def __init__(
        self, seat: _Seat | _OldChair, transport: Any, rest: bytes, clock: IReactorTime
    ) -> None:
        self.transport = transport
        self._seat = seat
        self._rest = rest
        self._clock = clock
        self._successor: Any = None
        self._call: Any = None
        self._paused = False
        self._aborted = False
        self._ended = False
        #: The transport's own methods, while ours are in their place.
        self._own = {
            name: getattr(transport, name) for name in self._HOOKS if hasattr(transport, name)
        }
        self._hooked = True
        for name in self._own:
            setattr(transport, name, getattr(self, f"_{name}"))

    def unhook(self) -> None:
        """Give the transport its own methods back."""
        self._hooked = False
        for name in self._own:
            delattr(self.transport, name)

    def _pauseProducing(self) -> None:
        self._paused = True
        self._own["pauseProducing"]()

    def _resumeProducing(self) -> None:
        self._paused = False
        if self._successor is None or not self._hooked:
            self._own["resumeProducing"]()
        elif self._call is None:
            self._call = self._clock.callLater(0, self._deliver)

    def _abortConnection(self) -> None:
        self._aborted = True
        self._own["abortConnection"]()

    @property
    def _closing(self) -> bool:
        return self._aborted or _is_closing(self.transport)

    def settle(self) -> None:
        """The new protocol is connected: deliver the bytes, or take the seat until it wants them."""
        if self._paused and not self._closing:
            self._successor = self._seat.occupant
            self._seat.occupant = self
            return
        self.unhook()
        if not self._closing:
            # Whoever sits there now: a protocol that started TLS sits behind it.
            self._seat.occupant.dataReceived(self._rest)

    def _deliver(self) -> None:
        self._call = None
        if self._paused:
            return
        self._seat.occupant = self._successor
        if not self._closing:
            self._deliver_rest()
        self.unhook()
        if self._closing:
            return
        if self._ended:
            half: Any = IHalfCloseableProtocol(self._successor, None)
            (self._lose if half is None else half.readConnectionLost)()
        elif not self._paused:
            self._own["resumeProducing"]()

    def _deliver_rest(self) -> None:
        try:
            self._successor.dataReceived(self._rest)
        except Exception:
            # What the reactor does with a protocol that fails in dataReceived.
            self._log.failure("a protocol failed on the bytes that came before it")
            abort(self.transport)

    def _lose(self) -> None:
        transport: Any = self.transport
        transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Keep the order: TLS delivers what it has decrypted, paused or not."""
        self._rest += data

    def readConnectionLost(self) -> None:
        """The end of input comes after the bytes that wait."""
        self._ended = True

    def writeConnectionLost(self) -> None:
        """The successor closed its side while it connected."""
        half: Any = IHalfCloseableProtocol(self._successor, None)
        if half is not None:
            half.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is the successor's, and so is its loss."""
        self.unhook()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._successor.connectionLost(reason)
