"""
Socket activation: listening on sockets that the service manager opened for us, found by their name.

systemd passes open sockets as descriptors from 3 on, and names them in ``LISTEN_FDNAMES``, in the same
order (sd_listen_fds(3)). Several may have one name: the socket unit that gave them may listen on IPv4
and IPv6. ``systemd:NAME`` is all of those. Twisted's own ``systemd:domain=INET6:name=NAME`` is one
of them, the last, and has to be told the address family, which the socket knows.

Twisted takes ``LISTEN_PID`` and ``LISTEN_FDS`` out of the environment when it first looks at endpoints. So
what was passed is learnt from Twisted, by its index; the names are still in the environment.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet import tcp
from twisted.internet.endpoints import serverFromString

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IProtocolFactory

__all__ = ["adopt", "adopt_port", "check_name", "named", "passed"]

_PREFIX: Final = "systemd:"


def named(description: str) -> str | None:
    """
    The NAME of ``systemd:NAME``; None if the description is another one.

    :param description: a port number, or an endpoint description.
    """
    name = description.removeprefix(_PREFIX)
    return None if name == description or set(name) & set(":=") else name


def passed(environ: Mapping[str, str] | None = None) -> list[tuple[str, int]]:
    """
    The sockets that were passed to this process, each its name and its descriptor.

    :param environ: the environment; by default that of the process.
    """
    names = (os.environ if environ is None else environ).get("LISTEN_FDNAMES", "").split(":")
    found: list[tuple[str, int]] = []
    for index, name in enumerate(names):
        try:
            # The family does not matter: all we ask for is the descriptor.
            endpoint: Any = serverFromString(
                cast("Any", None), f"systemd:domain=INET:index={index}"
            )
        except IndexError:
            break
        found.append((name, endpoint.fileno))
    return found


def check_name(name: str) -> None:
    """
    Find out whether a name's sockets can be listened on.

    :param name: the name that the socket unit gave them.
    :raises ValueError: with a clause that says why not.
    """
    with _named_sockets(name) as sockets:
        for one in sockets:
            stream = one.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
            if not stream or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise ValueError("the service manager passed a socket that accepts no connections")


@contextlib.contextmanager
def _named_sockets(name: str) -> Iterator[list[socket.socket]]:
    """Look at the sockets with a name. They stay open, to be listened on again."""
    everything = passed()
    matching = [number for known, number in everything if known == name]
    if not matching:
        names = ", ".join(sorted({known for known, _ in everything})) or "none at all"
        raise ValueError(f"the service manager passed no socket of that name, but {names}")
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        for number in matching:
            try:
                # The manager lets descriptors survive an exec: ours should not reach those we start.
                os.set_inheritable(number, False)
                sockets.append(socket.socket(fileno=number))
            except OSError:
                raise ValueError("the service manager passed what is no open socket") from None
            stack.callback(sockets[-1].detach)
        yield sockets


def adopt(reactor: Any, name: str, factory: IProtocolFactory) -> list[IListeningPort]:
    """
    Accept connections on all sockets with a name.

    :param reactor: the reactor, as an ``IReactorSocket``.
    :param name: as :func:`check_name` accepts it.
    :param factory: makes a protocol for each connection.
    :return: the open ports.
    :raises ValueError: there is no such socket.
    """
    with _named_sockets(name) as sockets:
        for one in sockets:
            # Unless its unit says otherwise, a socket comes in blocking mode.
            one.setblocking(False)
        # The reactor listens on duplicates.
        return [adopt_port(reactor, one.fileno(), one.family, factory) for one in sockets]


def adopt_port(reactor: Any, number: int, family: int, factory: IProtocolFactory) -> IListeningPort:
    """
    Accept connections on a socket that another process opened, and may go on using.

    :param reactor: the reactor, as an ``IReactorSocket``.
    :param number: the descriptor, of which the reactor makes a duplicate.
    :param family: the socket's address family.
    :param factory: makes a protocol for each connection.
    :return: the open port.
    """
    port: Any = reactor.adoptStreamPort(number, family, factory)
    if family == socket.AF_UNIX:
        # Twisted's would shut the socket down when it closes, for all that have it, and remove its name.
        port._shouldShutdown = False  # noqa: SLF001 (what its TCP ports set themselves)
        port.connectionLost = partial(tcp.Port.connectionLost, port)
    return cast("IListeningPort", port)
