"""
Sharing ports: one process opens them, and any number of workers accept on them.

Each port has a socket for each worker, all bound to the same address with ``SO_REUSEPORT``: Linux gives a new
connection to one of them, by a hash of its addresses, and a datagram likewise. The process that opened
them keeps them all. So when a worker dies, the connections that wait in its socket's queue are not
reset: they wait for its replacement.

``SO_REUSEPORT`` has a trap: two servers started by mistake on one port would both start, and share it. So the
first socket of a port is bound without the option, which fails if anyone else listens there, and gets
it before the others are bound.

Where that does not apply, all workers accept on one socket, and whichever is quicker has the connection: on
Unix sockets, on systems other than Linux (there the option means other things), and on the sockets
that a service manager passes. Those reach a worker as they reached us (:mod:`myproject.activation`).

An endpoint description of anyone's is opened by listening on it with a reactor that binds, and does not
accept; a worker listens on it again with one that adopts. So whatever an endpoint puts around
the factory (``haproxy:``, ``ssl:``) is around it in the worker. An endpoint that calls for something
else cannot be shared, and is refused.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from twisted.internet import defer
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from myproject import activation
from myproject.errors import CannotStart
from myproject.listening import BACKLOG, MAX_DATAGRAM, NO_IPV6, listen_stream, why

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IProtocolFactory
    from twisted.internet.protocol import DatagramProtocol

    from myproject.service import BoundService

__all__ = ["SPREADS", "Inherited", "SharedPorts", "adopt_stream", "adopt_udp", "bound_services"]

#: Whether the system spreads connections over sockets that have ``SO_REUSEPORT``.
SPREADS: Final = sys.platform.startswith("linux")


class Inherited(NamedTuple):
    """
    A socket that another process opened for this one.

    :param number: its descriptor.
    :param family: its address family.
    """

    number: int
    family: int


def bound_services(service: Any) -> Iterator[BoundService]:
    """
    Find all that has ports in a tree of services, in an order that is the same for all trees made alike.

    :param service: the root.
    """
    from myproject.service import BoundService

    if isinstance(service, BoundService):
        yield service
    elif hasattr(service, "services"):
        for child in service:
            yield from bound_services(child)


# In the process that opens them


class SharedPorts:
    """
    Ports open for workers.

    :param workers: how many there are.
    :param reactor: the reactor, for Unix sockets.
    """

    _log = Logger()

    def __init__(self, workers: int, reactor: Any) -> None:
        self._workers = workers
        self._reactor = reactor
        #: For each service, for each of its descriptions, for each of its addresses: a socket for each
        #: worker, or one for all.
        self._shared: list[list[list[tuple[Any, ...]]]] = []
        self._closing: list[Callable[[], Any]] = []

    def open(self, services: Iterable[BoundService]) -> None:
        """
        Open the ports that services describe: all of them, or none.

        :param services: services that are not started.
        :raises CannotStart: one of the ports cannot be had, or cannot be shared.
        """
        try:
            for service in services:
                self._shared.append([])
                for description in service.descriptions:
                    self._shared[-1].append(self._open(service, description))
        except BaseException:
            self.close()
            raise

    def _open(self, service: BoundService, description: str) -> list[tuple[Any, ...]]:
        try:
            if description.isdigit():
                return self._open_number(service.kind, int(description))
            if activation.named(description) is not None:
                return []
            binding = _Binding(self)
            endpoint = serverFromString(binding, description)
            failures: list[Failure] = []
            opening = endpoint.listen(_Silent())
            opening.addErrback(failures.append)
            if failures:
                failures[0].raiseException()
        except (OSError, CannotListenError):
            raise CannotStart(service.refusal(description, Failure())) from None
        except Exception as failure:
            # Endpoints are of anyone's making, and want of a reactor what ours here has not.
            self._cannot_share(description, f" ({why(failure)})")
        if not binding.used:
            self._cannot_share(description)
        return binding.shared

    def _cannot_share(self, description: str, why_not: str = "") -> NoReturn:
        raise CannotStart(
            f"cannot share {description} among workers{why_not}; give a port number, an endpoint of TCP or of"
            " a Unix socket, or leave --workers out"
        )

    def _open_number(self, kind: socket.SocketKind, number: int) -> list[tuple[Any, ...]]:
        ipv4 = self.bind(socket.AF_INET, kind, ("0.0.0.0", number))
        try:
            address = ("::", ipv4[0].getsockname()[1])
            return [ipv4, self.bind(socket.AF_INET6, kind, address, ipv6_only=True)]
        except OSError as failure:
            if failure.errno not in NO_IPV6:
                raise
        self._log.info(
            "no IPv6 here: port {number} is served on IPv4 alone", number=ipv4[0].getsockname()[1]
        )
        return [ipv4]

    def bind(
        self,
        family: int,
        kind: socket.SocketKind,
        address: Any,
        *,
        backlog: int = BACKLOG,
        ipv6_only: bool = False,
    ) -> tuple[socket.socket, ...]:
        """
        Open a socket for each worker.

        :param family: the address family.
        :param kind: stream or datagram.
        :param address: where; with port 0, all get the same free one.
        :param backlog: connections that the kernel completes while a worker is busy.
        :param ipv6_only: whether to leave IPv4 to another socket.
        :raises OSError: the address cannot be had.
        """
        made: list[socket.socket] = []
        for _ in range(self._workers if SPREADS else 1):
            one = socket.socket(family, kind)
            self._closing.append(one.close)
            one.setblocking(False)
            if kind == socket.SOCK_STREAM:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ipv6_only:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if made:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(address)
            if SPREADS and not made:
                # Nobody else has it: share it from now on.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            address = one.getsockname()
            made.append(one)
        if kind == socket.SOCK_STREAM:
            for one in made:
                one.listen(backlog)
        return tuple(made)

    def open_unix(self, address: str, backlog: int, mode: int, want_pid: object) -> tuple[Any, ...]:
        """
        Open a Unix socket, which is one for all workers.

        :param address: its path.
        :param backlog: as in :meth:`bind`.
        :param mode: its permissions.
        :param want_pid: whether a lock file keeps others away.
        :raises CannotListenError: it cannot be had.
        """
        port = self._reactor.listenUNIX(address, _Silent(), backlog, mode, want_pid)
        port.stopReading()
        # It is shut down by whoever closes it last, lest a worker accepts on a socket that listens no more.
        port._shouldShutdown = False  # noqa: SLF001 (there is no other way)
        self._closing.append(port.stopListening)
        return (port,)

    @property
    def addresses(self) -> list[str]:
        """Where these ports are, each address once, for people to read."""
        return [
            _shown(group[0])
            for service in self._shared
            for description in service
            for group in description
        ]

    def assigned(self, worker: int, first: int) -> tuple[dict[int, int], list[Any]]:
        """
        Say what a worker inherits.

        :param worker: which one, from 0.
        :param first: the number that its first descriptor has there.
        :return: our descriptors by the numbers that they have there, and what goes to :func:`inherited`.
        """
        descriptors: dict[int, int] = {}
        ports: list[Any] = []
        for service in self._shared:
            ports.append([])
            for description in service:
                ports[-1].append([])
                for group in description:
                    one = group[worker % len(group)]
                    number = first + len(descriptors)
                    descriptors[number] = one.fileno()
                    family = one.family if isinstance(one, socket.socket) else socket.AF_UNIX
                    ports[-1][-1].append([number, int(family)])
        return descriptors, ports

    def close(self) -> defer.Deferred[Any]:
        """
        Close all. What waits in their queues, and no worker accepts, is reset.

        :return: fires when all are closed.
        """
        closing, self._closing = self._closing, []
        self._shared = []
        return defer.DeferredList([defer.maybeDeferred(close) for close in closing])


def _shown(shared: Any) -> str:
    if not isinstance(shared, socket.socket):
        return f"Unix socket {os.fsdecode(shared.getHost().name)}"
    kind = "TCP" if shared.type == socket.SOCK_STREAM else "UDP"
    host, port = shared.getsockname()[:2]
    return f"{kind} [{host}]:{port}" if ":" in host else f"{kind} {host}:{port}"


class _Silent(Factory):
    """Accepts nothing, and says nothing of it."""

    noisy = False


class _Binding:
    """
    Stands in for the reactor while an endpoint listens: binds sockets, and accepts nothing.

    :param ports: has the sockets.
    """

    def __init__(self, ports: SharedPorts) -> None:
        self._ports = ports
        self.shared: list[tuple[Any, ...]] = []
        self.used = False

    def listenTCP(
        self,
        port: int,
        factory: object,  # noqa: ARG002 (here and below: it has its say in the workers)
        backlog: int = 50,
        interface: str = "",
    ) -> None:
        self.used = True
        family, address = _address(interface, port)
        self.shared.append(self._ports.bind(family, socket.SOCK_STREAM, address, backlog=backlog))

    def listenSSL(
        self,
        port: int,
        factory: object,
        context: object,  # noqa: ARG002
        backlog: int = 50,
        interface: str = "",
    ) -> None:
        self.listenTCP(port, factory, backlog, interface)

    def listenUNIX(
        self,
        address: str,
        factory: object,  # noqa: ARG002
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: object = 0,
    ) -> None:
        self.used = True
        self.shared.append(self._ports.open_unix(address, backlog, mode, wantPID))

    def adoptStreamPort(self, *_: object) -> None:
        # A socket of the service manager's, which a worker is passed as well.
        self.used = True


def _address(interface: str, port: int) -> tuple[int, Any]:
    """The family of an interface's address, and what to bind."""
    if ":" not in interface:
        return socket.AF_INET, (interface, port)
    found = socket.getaddrinfo(
        interface, port, socket.AF_INET6, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )
    return socket.AF_INET6, found[0][4]


# In a worker


def adopt_stream(
    reactor: Any, sockets: Sequence[Inherited], description: str, factory: IProtocolFactory
) -> defer.Deferred[list[IListeningPort]]:
    """
    Accept connections on inherited sockets.

    :param reactor: the reactor, as an ``IReactorSocket``.
    :param sockets: those of this description.
    :param description: what they were opened from.
    :param factory: makes a protocol for each connection.
    :return: fires with the open ports, or fails as that of ``listen_stream`` does.
    """
    adopting = _Adopting(reactor, sockets)
    if description.isdigit():
        return defer.maybeDeferred(adopting.adopt_all, factory)
    return listen_stream(adopting, description, factory)


def adopt_udp(
    reactor: Any, sockets: Sequence[Inherited], make_protocol: Callable[[], DatagramProtocol]
) -> list[IListeningPort]:
    """
    Receive datagrams on inherited sockets.

    :param reactor: the reactor, as an ``IReactorSocket``.
    :param sockets: the sockets.
    :param make_protocol: called once for each socket, as a datagram protocol has one transport.
    :return: the open ports.
    """
    opened: list[IListeningPort] = []
    for one in sockets:
        opened.append(
            reactor.adoptDatagramPort(
                one.number, one.family, make_protocol(), maxPacketSize=MAX_DATAGRAM
            )
        )
        os.close(one.number)
    return opened


class _Adopting:
    """
    Stands in for the reactor while an endpoint listens in a worker: what it asks for is there already.

    :param reactor: does all else.
    :param sockets: what is there, in the order in which it was opened.
    """

    def __init__(self, reactor: Any, sockets: Sequence[Inherited]) -> None:
        self._reactor = reactor
        self._sockets = iter(sockets)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def adopt_all(self, factory: IProtocolFactory) -> list[IListeningPort]:
        return [self._adopt(one, factory) for one in self._sockets]

    def _adopt(self, one: Inherited, factory: IProtocolFactory) -> IListeningPort:
        port = activation.adopt_port(self._reactor, one.number, one.family, factory)
        # The reactor has a duplicate, and once that is closed we must listen no more.
        os.close(one.number)
        return port

    def listenTCP(
        self,
        port: int,  # noqa: ARG002 (of this and the rest the opening process took care)
        factory: IProtocolFactory,
        *_: object,
        **__: object,
    ) -> IListeningPort:
        return self._adopt(next(self._sockets), factory)

    def listenSSL(
        self, port: int, factory: Any, context: Any, *_: object, **__: object
    ) -> IListeningPort:
        from twisted.protocols.tls import TLSMemoryBIOFactory

        return self.listenTCP(port, TLSMemoryBIOFactory(context, False, factory))

    def listenUNIX(
        self,
        address: str,  # noqa: ARG002
        factory: IProtocolFactory,
        *_: object,
        **__: object,
    ) -> IListeningPort:
        return self._adopt(next(self._sockets), factory)
