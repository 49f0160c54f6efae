"""
The PROXY protocol: connections that a balancer forwards, and says whose they are.

Those from the networks of ``--proxy-from`` must begin with a header (:mod:`myproject.proxyheader`); those
from anywhere else are passed on untouched, so that nobody else can give himself another's address. haproxy's
specification demands both: never to guess whether there is a header, and to let only trusted senders use it.

The header is read before anything else exists: before TLS, before the gate judges, before a protocol is
made. So to all of them the client is the peer from the beginning. ``buildProtocol`` is called with its
address, the transport's ``getPeer`` and ``getHost`` give the client's and the one that it connected to,
limits and logs are about the client. To the balancer no limit applies but the number of connections, in
which those that wait for their header count as well.

:class:`ProxyFactory` stands on the port. A connection that needs no header it costs one call, when that
is accepted. One that does is :class:`ProxyHeader`'s until the header is complete, and is then handed
over (:mod:`myproject.handover`): nothing stays between. Its states:

=======  =================================================  =============================================
state    what happens                                       then
=======  =================================================  =============================================
WAITING  the header is complete                             judged anew, as if just accepted; DONE
WAITING  it is malformed, or ``HEADER_TIMEOUT`` passes      counted and logged as refused, aborted; DONE
WAITING  the server stops                                   the same
WAITING  the connection is lost within the header           counted and logged as refused; DONE
WAITING  the connection is lost before a byte               DONE: a balancer that asks if we are there
=======  =================================================  =============================================

A connection without a client, ``LOCAL`` or ``UNKNOWN``, keeps the balancer's address; so does one whose
header names the balancer itself, as its checks do in version 1. ``--allow`` and ``--deny`` judge that as
any other: a header that names nobody opens no door. It counts for no host.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import ILoggingContext, IProtocolFactory
from twisted.internet.protocol import Protocol, connectionDone
from zope.interface import implementer

from myproject.handover import abort, hand_over
from myproject.interfaces import IDrainable
from myproject.limits import Reason, is_among
from myproject.proxyheader import Addresses, Header, HeaderReader, Malformed

if TYPE_CHECKING:
    from ipaddress import IPv4Address as Version4
    from ipaddress import IPv6Address as Version6

    from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort
    from twisted.python.failure import Failure

    from myproject.connection import Connection
    from myproject.gate import Gate

__all__ = ["HEADER_TIMEOUT", "ProxyFactory", "ProxyHeader"]

#: Seconds for the whole header. A balancer sends it first, in one segment; the specification wants at
#: least 3, for one retransmission. Postfix takes 5, nginx 30.
HEADER_TIMEOUT: Final = 5.0


@implementer(IProtocolFactory, ILoggingContext)
class ProxyFactory:
    """
    Stands before a port's factory: has headers read where they must be.

    :param gate: the gate that connections come to; its limits say from whom headers come.
    :param factory: the factory that they come to first: the gate, or what stands before it.
    """

    def __init__(self, gate: Gate, factory: IProtocolFactory) -> None:
        self.gate = gate
        self.wrappedFactory = factory

    @classmethod
    def stand_before(cls, gate: Gate, port: IListeningPort) -> None:
        """
        Stand before the factory of a port; to be called before the reactor's next turn.

        Whatever an endpoint has put before the gate, TLS for instance, is behind the header. On a
        port that does not keep its factory as Twisted's own do, no header is read.

        :param gate: the gate behind it.
        :param port: a port that has been opened.
        """
        opened: Any = port
        factory = getattr(opened, "factory", None)
        if factory is not None:
            opened.factory = cls(gate, factory)

    def logPrefix(self) -> str:
        """Be called in the log what the gate is called."""
        return self.gate.logPrefix()

    def doStart(self) -> None:
        """A port has opened."""
        self.wrappedFactory.doStart()

    def doStop(self) -> None:
        """A port has closed."""
        self.wrappedFactory.doStop()

    def buildProtocol(self, addr: IAddress) -> Any:
        """
        Take a connection.

        :param addr: the address of who opened it.
        :return: what reads the header if there is to be one, else what the factory behind says; None
            if not even a header can be waited for.
        """
        host = getattr(addr, "host", None)
        places = self.gate.limits.proxy_from
        if not places or not is_among(host, places):
            return self.wrappedFactory.buildProtocol(addr)
        return ProxyHeader(self, addr) if self.gate.has_room(host) else None


@implementer(IDrainable)
class ProxyHeader(Protocol):
    """
    Has a connection until its header is complete.

    :param front: the factory that made it.
    :param address: the balancer's.
    """

    def __init__(self, front: ProxyFactory, address: IAddress) -> None:
        self._gate = front.gate
        self._behind = front.wrappedFactory
        self._address = address
        # None once nothing more is to be read here: the connection is someone else's, or refused.
        self._reader: HeaderReader | None = HeaderReader()
        # What stands for the connection at the gate; None before it is made, and once it is someone else's.
        self._waiting: Connection | None = None
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Be counted, and give the balancer its time."""
        self._waiting = self._gate.await_header(self.transport)
        self._timer = self._gate.clock.callLater(HEADER_TIMEOUT, self._expire)

    def dataReceived(self, data: bytes) -> None:
        """Read on towards the end of the header; drop bytes once the connection is refused."""
        if self._reader is None:
            return
        said = self._reader.feed(data)
        if isinstance(said, Malformed):
            self._refuse(Reason.PROXY, said.problem)
        elif said is not None:
            self._pass_on(said)

    def _pass_on(self, header: Header) -> None:
        self._stop_reading()
        waiting, self._waiting = cast("Connection", self._waiting), None
        transport: Any = self.transport
        address = self._address
        own = True
        if header.addresses is not None:
            peer = address = _show(transport, header.addresses)
            # A health check in version 1, which has no word for LOCAL.
            own = is_among(getattr(self._address, "host", None), [ip_network(peer.host)])
        with self._gate.pass_on(waiting, len(header.rest), own=own):
            new = self._behind.buildProtocol(address)
            if new is None:
                abort(transport)
            else:
                hand_over(self, new, header.rest, self._gate.clock)

    def _stop_reading(self) -> None:
        self._reader = None
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _expire(self) -> None:
        self._refuse(Reason.PROXY, f"it was not complete within {HEADER_TIMEOUT:g} s")

    def _refuse(self, reason: Reason, detail: str = "") -> None:
        self._stop_reading()
        self._gate.refuse(reason, getattr(self._address, "host", None), detail)
        # At once, as the specification would have it: whoever configured the balancer is to notice.
        abort(self.transport)

    def drain(self) -> None:
        """Abort: nothing was said yet, so the balancer can take its client elsewhere."""
        if self._reader is not None:
            self._refuse(Reason.STOPPING)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 (Twisted's)
        """The balancer has gone, or was sent away; a connection that was handed over is not ours to lose."""
        begun = self._reader is not None and self._reader.begun
        self._stop_reading()
        if begun:
            self._gate.refuse(
                Reason.PROXY, getattr(self._address, "host", None), "it was cut short"
            )
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._gate.give_up(waiting)


def _show(transport: Any, addresses: Addresses) -> IPv4Address | IPv6Address:
    """
    Have a transport be the client's.

    :param transport: the one between the balancer and us.
    :param addresses: whose connection it is.
    :return: the client's address, as the transport shows it from now on.
    """
    peer = _address(addresses.source, addresses.source_port)
    local = _address(addresses.destination, addresses.destination_port)
    transport.getPeer = lambda: peer
    transport.getHost = lambda: local
    # Twisted's label is NAME,NUMBER,HOST, made once.
    label = getattr(transport, "logstr", None)
    if isinstance(label, str) and label.count(",") >= 2:
        name, number, _ = label.split(",", 2)
        transport.logstr = f"{name},{number},{peer.host}"
    return peer


def _address(address: Version4 | Version6, port: int) -> IPv4Address | IPv6Address:
    """As Twisted has it; an IPv4 client of a balancer's dual-stack socket is an IPv4 client."""
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    kind = IPv4Address if address.version == 4 else IPv6Address
    return kind("TCP", str(address), port)
