"""
Listening: from a port number or an endpoint description to sockets that accept.

A bare number means that port for IPv4 and for IPv6, on two sockets. One dual-stack socket would do
with less, but it shows IPv4 peers as ``::ffff:192.0.2.1``, which no operator's list of networks,
log search or chat's WHOIS expects. A machine without IPv6 serves IPv4 alone.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet import defer, error
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger

from myproject import activation

if TYPE_CHECKING:
    from twisted.internet.interfaces import (
        IListeningPort,
        IProtocolFactory,
        IStreamServerEndpoint,
    )
    from twisted.internet.protocol import DatagramProtocol

__all__ = [
    "BACKLOG",
    "MAX_DATAGRAM",
    "MAX_PORT",
    "NO_IPV6",
    "check_description",
    "listen_stream",
    "listen_udp",
    "why",
]

MAX_PORT: Final = 65535

#: Connections that the kernel completes while we are busy. nginx asks for 511, Go for the system's limit
#: (4096 since Linux 5.4), Twisted for 50, which a burst of reconnecting clients overruns. The
#: kernel cuts it down to net.core.somaxconn.
BACKLOG: Final = 4096

#: The most that a UDP datagram's length field can say; Twisted reads 8192 and loses the rest.
MAX_DATAGRAM: Final = 65535

#: What the system says when it has IPv6 at all: no such family, or no such address to bind.
NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})

_log = Logger()


def check_description(description: str) -> None:
    """
    Find out whether something can be listened on, without a reactor and without opening it.

    :param description: a port number, or an endpoint description.
    :raises ValueError: with a clause that says why not.
    """
    if description.isascii() and description.isdigit():
        if len(description) > 5 or int(description) > MAX_PORT:
            raise ValueError("it is too large for a port")
        return
    name = activation.named(description)
    if name is not None:
        activation.check_name(name)
        return
    try:
        endpoint = serverFromString(cast("Any", None), description)
    except Exception as failure:
        # Parsers, which plugins add to, raise whatever their arguments make them raise.
        if ":" not in description:
            raise ValueError("it is neither a port number nor an endpoint description") from None
        raise ValueError(f"it is not an endpoint description ({_clause(failure)})") from None
    port = getattr(endpoint, "_port", 0)
    if isinstance(port, int) and not 0 <= port <= MAX_PORT:
        raise ValueError("its port is not from 0 to 65535")


def _clause(failure: BaseException) -> str:
    """An exception as part of a sentence: one line, with its type where the text alone says little."""
    words = " ".join(str(failure).split())
    return f"{type(failure).__name__}: {words}" if words else type(failure).__name__


def why(failure: BaseException | None) -> str:
    """
    Say in a few words why a socket could not be opened.

    :param failure: what was raised.
    """
    cause = failure.socketError if isinstance(failure, error.CannotListenError) else failure
    if isinstance(cause, OSError) and cause.errno is not None:
        return os.strerror(cause.errno).lower()
    return _clause(cause if isinstance(cause, BaseException) else failure or Exception())


def listen_stream(
    reactor: Any, description: str, factory: IProtocolFactory
) -> defer.Deferred[list[IListeningPort]]:
    """
    Listen for connections.

    :param reactor: the reactor; ``IReactorTCP`` and, for IPv6, ``IReactorSocket``.
    :param description: as :func:`check_description` accepts it.
    :param factory: makes a protocol for each connection.
    :return: fires with the open ports, at once for all but exotic endpoints; fails with
        ``CannotListenError`` or ``OSError``, and then nothing stays open.
    """
    if description.isdigit():
        return defer.maybeDeferred(_listen_tcp, reactor, int(description), factory)
    name = activation.named(description)
    if name is not None:
        return defer.maybeDeferred(activation.adopt, reactor, name, factory)
    # Also what parsing raises: a certificate may be gone since the settings were validated.
    opening = defer.maybeDeferred(_listen_endpoint, reactor, description, factory)
    return opening.addCallback(lambda port: [port])


def _listen_endpoint(
    reactor: Any, description: str, factory: IProtocolFactory
) -> defer.Deferred[IListeningPort]:
    endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    return endpoint.listen(factory)


def _listen_tcp(reactor: Any, number: int, factory: IProtocolFactory) -> list[IListeningPort]:
    ipv4 = reactor.listenTCP(number, factory, backlog=BACKLOG, interface="0.0.0.0")
    opened: list[IListeningPort] = [ipv4]
    try:
        bound = _bind_ipv6(socket.SOCK_STREAM, ipv4.getHost().port)
        if bound is not None:
            with bound:
                bound.listen(BACKLOG)
                opened.append(reactor.adoptStreamPort(bound.fileno(), socket.AF_INET6, factory))
    except OSError:
        ipv4.stopListening()
        raise
    return opened


def listen_udp(
    reactor: Any, number: int, make_protocol: Callable[[], DatagramProtocol]
) -> list[IListeningPort]:
    """
    Receive datagrams on a port, for IPv4 and IPv6.

    :param reactor: the reactor; ``IReactorUDP`` and, for IPv6, ``IReactorSocket``.
    :param number: the port; 0 for any free one.
    :param make_protocol: called once for each socket, as a datagram protocol has one transport.
    :return: the open ports.
    :raises CannotListenError: the port cannot be had for IPv4.
    :raises OSError: it cannot be had for IPv6; then nothing stays open.
    """
    ipv4 = reactor.listenUDP(
        number, make_protocol(), interface="0.0.0.0", maxPacketSize=MAX_DATAGRAM
    )
    opened: list[IListeningPort] = [ipv4]
    try:
        bound = _bind_ipv6(socket.SOCK_DGRAM, ipv4.getHost().port)
        if bound is not None:
            with bound:
                opened.append(
                    reactor.adoptDatagramPort(
                        bound.fileno(), socket.AF_INET6, make_protocol(), maxPacketSize=MAX_DATAGRAM
                    )
                )
    except OSError:
        ipv4.stopListening()
        raise
    return opened


def _bind_ipv6(kind: socket.SocketKind, number: int) -> socket.socket | None:
    """A non-blocking socket bound to a port for IPv6 only; None on a machine without IPv6."""
    try:
        bound = socket.socket(socket.AF_INET6, kind)
        try:
            bound.setblocking(False)
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if kind is socket.SOCK_STREAM:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(("::", number))
        except OSError:
            bound.close()
            raise
    except OSError as failure:
        if failure.errno not in NO_IPV6:
            raise
        _log.info("no IPv6 here: port {number} is served on IPv4 alone", number=number)
        return None
    return bound
