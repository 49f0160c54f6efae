"""
The gate: what every connection of a subcommand passes when it is accepted, and never again.

It is the factory that the ports know, or stands behind those that they know (:mod:`myproject.door`). It
judges each connection (:mod:`myproject.limits`), and asks the factory behind it for a protocol for those
that it lets in. From the moment that this protocol meets its transport the gate follows the connection's
life. It does so on the transport, whose ``connectionLost`` it replaces on that one instance: protocols
come and go (the front door hands a connection to another one), and a wrapper around them would cost a
call for each chunk, and hide half-close from those that know it. So nothing stands between a transport
and its protocol, whatever the port: TCP, a Unix socket, one that was adopted, or TLS, where the gate
stands behind the TLS layer and the transport that it follows is that layer.

Two limits go on for as long as a connection does. They are kept by the socket's own transport
(:mod:`myproject.metering`), which counts in the places where bytes pass:

- ``max_buffered``: no more ever waits to be sent than the bound and one write. It bounds what a protocol
  forgets to bound; it is no flow control.
- ``idle_timeout``: one timer for all looks at all counters once a second. Whose have not moved for so
  long is closed, and ``LINGER`` later aborted. So it acts up to a second late, and costs a connection
  nothing but the look.

A refusal is counted by its reason, and logged (:mod:`myproject.refusals`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet import defer
from twisted.logger import Logger

from myproject.connection import Connection
from myproject.door import Door
from myproject.farewell import Farewell
from myproject.limits import Admission, Limits, Reason, descriptor_limit
from myproject.memory import Trimmer
from myproject.metering import metered
from myproject.refusals import Refusals

if TYPE_CHECKING:
    from twisted.internet.interfaces import (
        IAddress,
        IDelayedCall,
        IListeningPort,
        IProtocol,
        IProtocolFactory,
        IReactorTime,
    )

    from myproject.journal import Journal

__all__ = ["LINGER", "Gate", "GateStatistics"]

#: Seconds between two looks at the counters.
_LOOK: Final = 1.0

#: Seconds that a peer has to take its last bytes and close, once it was closed for being idle. The
#: front door's, and nginx's lingering_timeout.
LINGER: Final = 5.0


@dataclass(frozen=True)
class GateStatistics:
    """
    What a gate has seen.

    :param open: connections open now, those whose PROXY header is awaited among them.
    :param hosts: hosts that have one open; peers without an address are not among them.
    :param total: connections let in since the gate was made.
    :param refused: connections refused, by reason.
    :param aborted: connections ended by ``idle_timeout`` and ``max_buffered``, by the setting's name.
    :param bytes_in: bytes received from sockets, those of TLS itself and of PROXY headers included.
    :param bytes_out: bytes given to sockets, likewise.
    """

    open: int
    hosts: int
    total: int
    refused: Mapping[Reason, int]
    aborted: Mapping[str, int]
    bytes_in: int
    bytes_out: int


class _End:
    """
    Stands for ``connectionLost`` where a connection's end is told. A function with the same in its closure
    takes three times the memory.

    :param gate: hears of it.
    :param connection: the connection.
    :param told: whom its socket tells.
    """

    __slots__ = ("connection", "gate", "tell", "told")

    def __init__(self, gate: Gate, connection: Connection, told: Any) -> None:
        self.gate = gate
        self.connection = connection
        self.told = told
        self.tell: Callable[..., None] = told.connectionLost

    def __call__(self, *reason: Any) -> None:
        self.gate.lost(self, reason)


class Gate(Door):
    """
    Stands before a factory: judges its connections, and knows those that are open.

    :param factory: makes the protocols, as for any :class:`~myproject.door.Door`.
    :param limits: what is permitted.
    :param clock: tells the time; the reactor by default, looked up when it is first needed.
    """

    _log = Logger()

    def __init__(
        self,
        factory: IProtocolFactory,
        limits: Limits | None = None,
        clock: IReactorTime | None = None,
    ) -> None:
        super().__init__(self, factory)
        self._admission = Admission(Limits() if limits is None else limits, descriptor_limit())
        self._clock = clock
        self._open = True
        # Whether the connection that is being taken is a balancer's own.
        self._own = False
        self._classes: dict[type, Any] = {}
        self._connections: dict[Connection, None] = {}
        self._trimmer = Trimmer(lambda: self.clock)
        self._waiting: list[defer.Deferred[None]] = []
        self._timer: IDelayedCall | None = None
        self._total = 0
        self._received = 0
        self._sent = 0
        self._refusals = Refusals(self._log)
        self._aborted = {"idle-timeout": 0, "max-buffered": 0}
        #: Told of each connection when it is let in and when it was lost; None if nobody asks.
        self.journal: Journal | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Connection]:
        """The open connections, the oldest first."""
        return iter(list(self._connections))

    @property
    def clock(self) -> IReactorTime:
        """What tells the time."""
        if self._clock is None:
            from twisted.internet import reactor

            self._clock = cast("IReactorTime", reactor)
        return self._clock

    @property
    def limits(self) -> Limits:
        """
        What is permitted; may be set at any time.

        Of new limits, ``idle_timeout`` and ``max_buffered`` apply to open connections as well.
        """
        return self._admission.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._admission.limits = limits
        for kind in self._classes.values():
            kind.max_buffered = limits.max_buffered or sys.maxsize
        self._schedule()

    @property
    def statistics(self) -> GateStatistics:
        """What the gate has seen until now."""
        sockets = [one.socket for one in self._connections if one.socket is not None]
        return GateStatistics(
            open=self._admission.open,
            hosts=self._admission.hosts,
            total=self._total,
            refused=self._refusals.counts,
            aborted=MappingProxyType(dict(self._aborted)),
            bytes_in=self._received + sum(one.received for one in sockets),
            bytes_out=self._sent + sum(one.sent for one in sockets),
        )

    # What a door asks for

    def before(self, factory: IProtocolFactory) -> Door:
        """
        Make one more door.

        :param factory: what is behind it.
        """
        return Door(self, factory)

    def take(self, addr: IAddress | None, factory: IProtocolFactory) -> Any:
        """
        Take a connection, or refuse it.

        :param addr: the peer's address.
        :param factory: makes the protocol.
        :return: the protocol; None for a refused connection.
        """
        host = getattr(addr, "host", None)
        reason = Reason.STOPPING
        if self._open:
            verdict = self._admission.judge(host, self.clock.seconds(), own=self._own)
            if verdict is None:
                protocol = factory.buildProtocol(addr)  # type: ignore[arg-type]
                if protocol is not None:
                    if isinstance(protocol, Farewell):
                        self.refuse(Reason.BANNED, host, protocol.why)
                    self._await_transport(protocol, None if self._own else host)
                    return protocol
                verdict = Reason.SERVICE
            reason = verdict
        self.refuse(reason, host)
        return None

    def refuse(self, reason: Reason, host: object, detail: str = "") -> None:
        """
        Count a refusal, and log it when its time has come.

        :param reason: why.
        :param host: the peer's address as text, or anything else if it has none.
        :param detail: what there is to say of this one alone.
        """
        self._refusals.add(reason, host, detail, self.clock.seconds())
        self._schedule()

    def _await_transport(self, protocol: IProtocol, host: object) -> None:
        made: Any = protocol
        make_connection: Callable[[Any], None] = made.makeConnection

        def connect(transport: Any) -> None:
            del made.makeConnection
            self._enter(transport, made, host)
            make_connection(transport)

        made.makeConnection = connect

    def _enter(self, transport: Any, protocol: Any, host: object) -> None:
        entered = self._admission.enter(host)
        connection = Connection(transport, entered, self.clock.seconds())
        self._connections[connection] = None
        self._trimmer.opened(len(self._connections))
        self._total += not isinstance(protocol, Farewell)
        if self.journal is not None:
            self.journal.opened(connection)
        # All that are sockets, or TLS above one, are told of their end by this name. Transports in
        # memory tell their protocol alone.
        told = transport if hasattr(transport, "connectionLost") else protocol
        told.connectionLost = _End(self, connection, told)
        self._schedule()

    def lost(self, end: _End, reason: Sequence[Any]) -> None:
        """
        Let go of a connection that is lost; more than once is once.

        :param end: what was told of it.
        :param reason: what it was told.
        """
        connection = end.connection
        if connection in self._connections:
            del end.told.connectionLost
            try:
                end.tell(*reason)
            finally:
                if self.journal is not None:
                    self.journal.closed(connection, *reason)
                self._leave(connection)

    def _leave(self, connection: Connection) -> None:
        del self._connections[connection]
        self._admission.leave(connection.host)
        if connection.socket is not None:
            self._received += connection.socket.received
            self._sent += connection.socket.sent
        self._trimmer.closed(len(self._connections))
        self._tell_if_empty()

    def _tell_if_empty(self) -> None:
        if not self._connections:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

    # What the seat of a PROXY header asks for: myproject.proxy

    def has_room(self, host: object) -> bool:
        """
        Say whether one more connection may wait for its header; if not, it counts as refused.

        :param host: the address of who forwards it.
        """
        reason: Reason | None = Reason.STOPPING
        if self._open:
            reason = self._admission.judge(None, self.clock.seconds())
        if reason is not None:
            self.refuse(reason, host)
        return reason is None

    def await_header(self, transport: Any) -> Connection:
        """
        Count a connection whose header is awaited: as open, but as nobody's.

        :param transport: its transport.
        :return: what stands for it until :meth:`give_up` or :meth:`pass_on`.
        """
        connection = Connection(transport, self._admission.enter(None), self.clock.seconds())
        self._connections[connection] = None
        self._schedule()
        return connection

    def give_up(self, connection: Connection) -> None:
        """
        Count a connection out that was lost before its header was complete.

        :param connection: from :meth:`await_header`.
        """
        self._leave(connection)

    @contextmanager
    def pass_on(self, connection: Connection, rest: int, *, own: bool) -> Iterator[None]:
        """
        Judge a connection anew, since its header is complete.

        Within this context the connection goes through :meth:`buildProtocol` as one just accepted.

        :param connection: from :meth:`await_header`.
        :param rest: how many bytes came behind the header: its first own ones.
        :param own: whether it is the balancer's own.
        """
        # Its place is free for the one that it becomes; yet while it becomes that, the gate is not empty.
        self._admission.leave(connection.host)
        socket, connection.socket = connection.socket, None
        if socket is not None:
            self._received += socket.received - rest
            socket.received = rest
        self._own = own
        try:
            yield
        finally:
            self._own = False
            del self._connections[connection]
            self._tell_if_empty()

    # Time

    def _schedule(self) -> None:
        if self._timer is None and (
            self._refusals.waiting or (self.limits.idle_timeout and self._connections)
        ):
            self._timer = self.clock.callLater(_LOOK, self._look)

    def _look(self) -> None:
        self._timer = None
        if self.limits.idle_timeout:
            now = self.clock.seconds()
            for connection in self:
                self._look_at(connection, now)
        self._refusals.report(self.clock.seconds())
        self._schedule()

    def _look_at(self, connection: Connection, now: float) -> None:
        quiet = connection.quiet(now)
        if connection.closing:
            if quiet >= LINGER:
                connection.abort()
        elif quiet >= self.limits.idle_timeout:
            self._aborted["idle-timeout"] += 1
            self._log.info(
                "closing an idle connection of {peer}: no byte for {quiet:g} s",
                peer=connection.transport.getPeer(),
                quiet=quiet,
            )
            connection.closing = True
            connection.moved = now
            connection.transport.loseConnection()

    def _overflown(self, transport: Any) -> None:
        self._aborted["max-buffered"] += 1
        self._log.warn(
            "aborting a connection of {peer}: more than {bound} bytes wait for it",
            peer=transport.getPeer(),
            bound=self.limits.max_buffered,
        )

    # What the service asks for

    def meter(self, port: IListeningPort) -> None:
        """
        Have what passes a port's connections counted and bounded, if the port makes its transports as
        Twisted's own do.

        :param port: the port.
        """
        opened: Any = port
        kind: Any = getattr(opened, "transport", None)
        if isinstance(kind, type) and hasattr(kind, "_dataReceived"):
            if kind not in self._classes:
                bound = self.limits.max_buffered or sys.maxsize
                self._classes[kind] = metered(kind, bound, self._overflown)
            opened.transport = self._classes[kind]

    def open(self) -> None:
        """Let connections in; a new gate does."""
        self._open = True

    def close(self) -> None:
        """Let no more connections in, not even those that the system has accepted by now."""
        self._open = False

    def end(self) -> None:
        """Log what is left to say, and let go of the clock."""
        self._refusals.report(self.clock.seconds(), all_of_them=True)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._trimmer.end()

    def when_empty(self) -> defer.Deferred[None]:
        """
        Wait for the last connection to be lost.

        :return: fires when there is none; at once if there is none now. It can be cancelled.
        """
        empty: defer.Deferred[None] = defer.Deferred(self._waiting.remove)
        if self._connections:
            self._waiting.append(empty)
        else:
            empty.callback(None)
        return empty
