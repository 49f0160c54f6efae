"""
The service of a subcommand: its ports, and the services beside them.

The order is the promise. First the services beside the ports start (a store, a page), then the ports
accept; when it ends, first the ports close, then the connections end (:mod:`myproject.drain`), then
those services stop. Ports are bound in ``privilegedStartService``, while a ``twistd`` started as root
still is root, and before ``startService`` returns, so that a port in use ends the process instead of
leaving one that listens on nothing (which is what Twisted's ``StreamServerEndpointService`` does).
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from twisted.application.service import MultiService, Service
from twisted.internet import defer
from twisted.logger import Logger
from twisted.python.failure import Failure

from myproject.door import Door
from myproject.drain import DRAIN_TIMEOUT, Drain, ProcessEnd
from myproject.errors import CannotStart
from myproject.gate import Gate
from myproject.interfaces import IHasHealth, IHasPorts, IHasServices, IReloadable
from myproject.limits import Limits
from myproject.listening import listen_stream, listen_udp, why
from myproject.notify import NotifyService
from myproject.proxy import ProxyFactory
from myproject.sharing import adopt_stream, adopt_udp

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IProtocolFactory
    from twisted.internet.protocol import DatagramProtocol

    from myproject.health import HealthService
    from myproject.logcontrol import Logging
    from myproject.options import Options
    from myproject.sharing import Inherited
    from myproject.tls import TLSService, TLSSettings

__all__ = [
    "BoundService",
    "DatagramService",
    "FactoryService",
    "PortsService",
    "State",
    "TLSPortsService",
    "exit_unavailable",
]


class State(Enum):
    """How a service is, as those are told who send connections to it."""

    STARTING = "starting"
    READY = "ready"
    FAILING = "failing"
    DRAINING = "draining"


class BoundService(Service):
    """
    Binds any number of ports when it starts; all of them, or none.

    :param descriptions: what to bind, as a person wrote it.
    :param reactor: the reactor; by default the global one, looked up when the service starts.
    """

    _log = Logger()

    #: What a bare number is called when it is refused, and the setting that gives another.
    _port = "port"
    _setting = "port"

    #: What its sockets are.
    kind: ClassVar[socket.SocketKind] = socket.SOCK_STREAM

    def __init__(self, descriptions: Sequence[str], reactor: Any = None) -> None:
        self.descriptions = tuple(descriptions)
        self.reactor = reactor
        #: The open ports, for those who need to know a port that the system chose.
        self.ports: list[IListeningPort] = []
        #: In a worker: for each description in turn, the sockets that the supervisor bound.
        self.inherited: list[list[Inherited]] | None = None
        self._opening: list[defer.Deferred[Any]] = []
        self._bound = False

    def _listen(self, description: str) -> defer.Deferred[list[IListeningPort]]:
        raise NotImplementedError

    def privilegedStartService(self) -> None:
        """
        Bind the ports.

        :raises CannotStart: one of them cannot be had; those bound before it are closed again.
        """
        super().privilegedStartService()
        self._bind()

    def startService(self) -> None:
        """
        Accept connections; binds the ports unless that was done while privileged (``twist`` never asks).

        :raises CannotStart: one of the ports cannot be had.
        """
        super().startService()
        self._bind()

    def _bind(self) -> None:
        if self._bound:
            return
        self._bound = True
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        for description in self.descriptions:
            self._open(description)

    def _open(self, description: str) -> None:
        refusals: list[Failure] = []
        binding = True

        def refused(failure: Failure) -> None:
            if binding:
                refusals.append(failure)
            else:
                self._refused_late(failure, description)

        opening = self._listen(description)
        opening.addCallbacks(self.ports.extend, refused)
        binding = False
        if refusals:
            self._close()
            raise CannotStart(self.refusal(description, refusals[0]))
        self._opening.append(opening)

    def _refused_late(self, failure: Failure, description: str) -> None:
        """An endpoint that takes its time (one that asks another program for its port) has failed."""
        if not self._bound:
            # We are stopping, and told it to give up.
            return
        refusal = CannotStart(self.refusal(description, failure))
        self._log.error("{refusal}", refusal=str(refusal))
        refusal.report()
        # The reactor swallows SystemExit, and twistd has no say in its exit status but by signal.
        # This runs once twistd has stopped all services and removed its pidfile.
        atexit.register(exit_unavailable)
        self.reactor.callWhenRunning(self.reactor.stop)

    def refusal(self, description: str, failure: Failure) -> str:
        """
        Say that a port cannot be had.

        :param description: where we wanted to listen.
        :param failure: why not.
        """
        what = f"{self._port} {description}" if description.isdigit() else description
        return (
            f"cannot listen on {what}: {why(failure.value)}; choose another with --{self._setting}"
        )

    def when_open(self) -> defer.Deferred[bool]:
        """
        Wait until it is known whether the ports can be had: at once, but for exotic endpoints.

        :return: fires with whether all are open; with False if they were closed before that.
        """
        return defer.DeferredList(self._opening).addCallback(lambda _: self.is_open)

    @property
    def is_open(self) -> bool:
        """Whether all ports are open now."""
        opened = self._bound and all(one.called for one in self._opening)
        return opened and len(self.ports) >= len(self.descriptions)

    def _close(self) -> defer.Deferred[Any]:
        self._bound = False
        opening, self._opening = self._opening, []
        for one in opening:
            one.cancel()
        ports, self.ports = self.ports, []
        return defer.DeferredList(
            [defer.maybeDeferred(port.stopListening) for port in ports], consumeErrors=True
        )

    def stopService(self) -> defer.Deferred[Any]:
        """
        Close the ports.

        :return: fires when all are closed.
        """
        super().stopService()
        return self._close()


def exit_unavailable() -> NoReturn:
    """End the process as one that could not start (``EX_UNAVAILABLE``): for ``atexit``, behind all else."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(os.EX_UNAVAILABLE)


class PortsService(BoundService):
    """
    Accepts connections on any number of ports; on all of them, or none.

    :param factory: makes a protocol for each connection; if it is a gate's door, it watches the ports.
    :param descriptions: where to listen, each a port number or an endpoint description.
    :param reactor: the reactor; by default the global one, looked up when the service starts.
    :param setting: the setting that gives another port; by default the class's.
    """

    def __init__(
        self,
        factory: IProtocolFactory,
        descriptions: Sequence[str],
        reactor: Any = None,
        *,
        setting: str = "",
    ) -> None:
        super().__init__(descriptions, reactor)
        self.factory = factory
        self._setting = setting or self._setting

    def _listen(self, description: str) -> defer.Deferred[list[IListeningPort]]:
        return self._accept(description, self.factory)

    def _accept(
        self, description: str, factory: IProtocolFactory
    ) -> defer.Deferred[list[IListeningPort]]:
        if self.inherited is None:
            opening = listen_stream(self.reactor, description, factory)
        else:
            sockets = self.inherited.pop(0)
            opening = adopt_stream(self.reactor, sockets, description, factory)
        return opening.addCallback(self._watched)

    def _watched(self, ports: list[IListeningPort]) -> list[IListeningPort]:
        if isinstance(self.factory, Door):
            for port in ports:
                self.factory.watch_port(port)
                ProxyFactory.stand_before(self.factory.gate, port)
        return ports


class TLSPortsService(PortsService):
    """
    The same with TLS.

    :param tls: has the certificates, and is to start before this one.
    :param door: what stands behind TLS.
    :param descriptions: where to listen, each a port number or an endpoint description.
    :param reactor: the reactor; by default the global one, looked up when the service starts.
    :param setting: the setting that gives another port; by default the class's.
    """

    _setting = "tls-port"

    def __init__(
        self,
        tls: TLSService,
        door: Door,
        descriptions: Sequence[str],
        reactor: Any = None,
        *,
        setting: str = "",
    ) -> None:
        super().__init__(door, descriptions, reactor, setting=setting)
        self.tls = tls

    def _listen(self, description: str) -> defer.Deferred[list[IListeningPort]]:
        # Not before the start: Twisted's TLS wants a reactor, which nothing may install earlier.
        return self._accept(description, self.tls.wrap(self.factory, self.reactor))


class DatagramService(BoundService):
    """
    Receives datagrams on any number of UDP ports; on all of them, or none.

    :param make_protocol: called once for each socket.
    :param numbers: the ports, as digits.
    :param reactor: the reactor; by default the global one, looked up when the service starts.
    """

    _port = "UDP port"
    kind = socket.SOCK_DGRAM

    def __init__(
        self,
        make_protocol: Callable[[], DatagramProtocol],
        numbers: Sequence[str],
        reactor: Any = None,
    ) -> None:
        super().__init__(numbers, reactor)
        self.make_protocol = make_protocol

    def _listen(self, description: str) -> defer.Deferred[list[IListeningPort]]:
        if self.inherited is not None:
            sockets = self.inherited.pop(0)
            return defer.maybeDeferred(adopt_udp, self.reactor, sockets, self.make_protocol)
        return defer.maybeDeferred(listen_udp, self.reactor, int(description), self.make_protocol)


class FactoryService(MultiService):
    """
    The whole of a subcommand: the services beside its ports, then its ports.

    :param name: the subcommand's name, by which an application finds the service.
    :param factory: makes a protocol for each connection; asked for more services if it provides
        :class:`~myproject.interfaces.IHasServices`, and for more ports if it provides
        :class:`~myproject.interfaces.IHasPorts`.
    :param descriptions: where to listen.
    :param reactor: the reactor; by default the global one, looked up when the service starts.
    :param limits: what the gate permits.
    :param drain_timeout: seconds that connections have to end when the service stops.
    :param tls: what TLS needs to know; may be None if nothing listens for TLS.
    :param tls_descriptions: where to listen for TLS.
    :param metrics: where to serve metrics and health, of this and of what it hosts; nowhere by default.
    :param share: which worker this is, from 0, and of how many.
    :param notify: tells whoever manages the process; by default the service manager.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        factory: IProtocolFactory,
        descriptions: Sequence[str],
        reactor: Any = None,
        *,
        limits: Limits | None = None,
        drain_timeout: float = DRAIN_TIMEOUT,
        tls: TLSSettings | None = None,
        tls_descriptions: Sequence[str] = (),
        metrics: Sequence[str] = (),
        share: tuple[int, int] = (0, 1),
        notify: NotifyService | None = None,
    ) -> None:
        super().__init__()
        self.setName(name)
        self.factory = factory
        self._share = share
        #: Whether another process reports for this one what keeps it from starting.
        self.supervised = False
        #: What the process logs with, if this service has a say in it.
        self.logging: Logging | None = None
        self._stopping = False
        #: Tells the service manager. It starts first and stops last: a drain has signs of life too.
        self.notify = NotifyService(lambda: len(self.gate), reactor) if notify is None else notify
        self.notify.setServiceParent(self)
        #: Says what Prometheus wants to know, and to others whether we are ready: to the last, so it starts
        #: early and stops late as well. None if nobody asks.
        self.health: HealthService | None = None
        if metrics:
            from myproject.health import HealthService
            from myproject.metrics import Metrics

            measured = Metrics(self, reactor)
            self.health = HealthService(metrics, measured.collect, lambda: measured.state, reactor)
            measured.setServiceParent(self.health)
            self.health.setServiceParent(self)
        provider = cast("IHasServices | None", IHasServices(factory, None))
        for beside in provider.services() if provider is not None else ():
            beside.setServiceParent(self)
        #: What every connection passes, whatever the port: give this to ports, never the factory.
        self.gate = Gate(factory, limits, reactor)
        self.drain_timeout = drain_timeout
        self._drain: Drain | None = None
        self._hurried = False
        self._end: ProcessEnd | None = None
        self.listening = PortsService(self.gate, descriptions, reactor)
        self.listening.setServiceParent(self)
        #: Has the certificates; None without TLS.
        self.tls: TLSService | None = None
        further = cast("IHasPorts | None", IHasPorts(factory, None))
        ways = tuple(further.further_ports()) if further is not None else ()
        if tls is not None and (tls_descriptions or any(way.tls_descriptions for way in ways)):
            from myproject.tls import TLSService

            self.tls = TLSService(tls, reactor)
            self.tls.setServiceParent(self)
        self._listen_for_tls(self.gate, tls_descriptions, "tls-port")
        for way in ways:
            door = self.gate.before(way.factory)
            if way.descriptions:
                PortsService(door, way.descriptions, reactor, setting=way.setting).setServiceParent(
                    self
                )
            self._listen_for_tls(door, way.tls_descriptions, way.tls_setting)

    def _listen_for_tls(self, door: Door, descriptions: Sequence[str], setting: str) -> None:
        if self.tls is not None and descriptions:
            ports = TLSPortsService(
                self.tls, door, descriptions, self.listening.reactor, setting=setting
            )
            ports.setServiceParent(self)

    @property
    def state(self) -> State:
        """How this service is, whatever it hosts."""
        if self._stopping:
            return State.DRAINING
        opened = all(one.is_open for one in self if isinstance(one, BoundService))
        if not (self.running and opened):
            return State.STARTING
        provider = cast("IHasHealth | None", IHasHealth(self.factory, None))
        return State.READY if provider is None or provider.trouble() is None else State.FAILING

    def privilegedStartService(self) -> None:
        """
        Do what needs the rights that the process started with.

        :raises CannotStart: as :meth:`startService`.
        """
        try:
            super().privilegedStartService()
        except CannotStart as refusal:
            self._give_up(refusal)
            raise

    def startService(self) -> None:
        """
        Start the services beside the ports, then accept connections.

        :raises CannotStart: after it said why on standard error and in the log.
        """
        self.gate.open()
        self._stopping = False
        self._hurried = False
        try:
            super().startService()
        except CannotStart as refusal:
            self._give_up(refusal)
            raise
        self._end = ProcessEnd(self.listening.reactor, self.hurry)
        self.notify.serving(one.when_open() for one in self if isinstance(one, BoundService))

    def reload(self, options: Options, changed: frozenset[str]) -> bool:
        """
        Take new settings while running.

        :param options: all of them, validated.
        :param changed: the names of the reloadable ones that differ from those in force.
        :return: whether they could be had; if not, the log says why, and all stays as it was.
        """
        if self.tls is not None:
            from myproject.tls import TLSSettings

            # Without a port for it the settings of TLS mean nothing, but ports stay until a restart.
            if not self.tls.reload(TLSSettings.of(options) if options.listens_for_tls else None):
                return False
        self.gate.limits = Limits.of(options, self._share)
        self.drain_timeout = options.drain_timeout
        if self.gate.journal is not None:
            self.gate.journal.access = options.access_log
        if self.logging is not None:
            self.logging.level = options.log_level
        provider = cast("IReloadable | None", IReloadable(self.factory, None))
        if provider is not None:
            provider.reload(options, changed)
        return True

    def _give_up(self, refusal: CannotStart) -> None:
        # No more than "error": what is critical Twisted prints on standard error itself before
        # logging has begun, as under twist, and the line would be there twice.
        self._log.error("{refusal}", refusal=str(refusal))
        if not self.supervised and not self._is_hosted():
            refusal.report()
        self.stopService()

    def _is_hosted(self) -> bool:
        """Whether another one of us runs this one, and reports for both: a refusal is one line."""
        above = self.parent
        while above is not None and not isinstance(above, FactoryService):
            above = getattr(above, "parent", None)
        return above is not None

    def hurry(self) -> None:
        """Wait for no connection any more, in a stop that has begun or that is to come."""
        self._hurried = True
        if self._drain is not None:
            self._drain.cut()

    @defer.inlineCallbacks
    def stopService(self) -> Generator[defer.Deferred[Any], Any, None]:
        """
        Close the ports, let the connections end, then stop the services beside them.

        Each waits for the one before it: the services may be what the connections' last words need.

        :return: fires when all have stopped.
        """
        Service.stopService(self)
        self._stopping = True
        self.notify.stopping()
        # UDP ports are closed with the others: a successor of this process will want them.
        services = list(reversed(list(self)))
        for service in services:
            # Ports are bound before they run, and are to be closed even if they never did.
            if isinstance(service, BoundService):
                yield from self._stop(service)
        if self.listening.reactor is not None:
            yield self._drained()
            self.gate.end()
        for service in services:
            # The health page is bound while privileged, too.
            begun = service.running or service is self.health
            if begun and not isinstance(service, BoundService):
                yield from self._stop(service)
        if self._end is not None:
            self._end.forget()
            self._end = None

    def _stop(self, service: Any) -> Generator[defer.Deferred[Any], Any, None]:
        try:
            yield defer.maybeDeferred(service.stopService)
        except Exception:
            # Whatever it was, the others are to stop all the same.
            self._log.failure("{service} did not stop as it should", service=service)
            if self._end is not None:
                self._end.clean = False

    def _drained(self) -> defer.Deferred[None]:
        """Have the connections end."""
        self._drain = Drain(self.gate, self.listening.reactor, self.drain_timeout)
        draining = self._drain.begin()
        if self._hurried:
            self._drain.cut()
        return draining
