"""The service of a subcommand: the order of things, all ports or none, and refusals that say why."""

from __future__ import annotations

import atexit
import errno
import os
import socket
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet import defer, error
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from myproject import listening, service
from myproject.errors import CannotStart
from myproject.interfaces import IHasServices
from myproject.service import DatagramService, FactoryService, PortsService
from tests.support import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

IN_USE = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


class MemoryPort:
    """A port in memory; closes when told, or when it is let to."""

    def __init__(self, reactor: Recording, number: int) -> None:
        self.reactor = reactor
        self.number = number

    def getHost(self) -> Any:
        from twisted.internet.address import IPv4Address

        return IPv4Address("TCP", "0.0.0.0", self.number)

    def stopListening(self) -> Any:
        self.reactor.happened.append(f"close {self.number}")
        self.reactor.open.remove(self.number)
        return self.reactor.closing


class Recording(MemoryReactorClock):
    """A reactor in memory that writes down what is asked of it, and has no port that is in use."""

    def __init__(self, *in_use: int) -> None:
        super().__init__()
        self.in_use = in_use
        self.happened: list[str] = []
        self.open: list[int] = []
        self.closing: defer.Deferred[None] | None = None

    def listenTCP(self, port: int, factory: object, **rest: Any) -> MemoryPort:  # type: ignore[override]  # noqa: ARG002
        if port in self.in_use:
            raise error.CannotListenError("0.0.0.0", port, IN_USE)
        self.happened.append(f"open {port}")
        self.open.append(port)
        return MemoryPort(self, port)

    def listenUDP(self, port: int, protocol: object, **rest: Any) -> MemoryPort:  # noqa: ARG002
        return self.listenTCP(port, protocol)


class Beside(Service):
    """A service beside the ports that writes down its life."""

    def __init__(self, name: str, happened: list[str], stopped: object = None) -> None:
        self.title = name
        self.happened = happened
        self.stopped = stopped

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        self.happened.append(f"privileged {self.title}")

    def startService(self) -> None:
        super().startService()
        self.happened.append(f"start {self.title}")

    def stopService(self) -> Any:
        super().stopService()
        self.happened.append(f"stop {self.title}")
        if isinstance(self.stopped, Exception):
            raise self.stopped
        return self.stopped


@implementer(IHasServices)
class WithServices(Factory):
    """A factory that needs services beside its ports."""

    def __init__(self, *services: Service) -> None:
        self.beside = services

    def services(self) -> Sequence[Any]:
        return self.beside


class InMemory(SynchronousTestCase):
    """Without IPv6, without a network, with a terminal that can be read."""

    def setUp(self) -> None:
        self.patch(listening, "_bind_ipv6", lambda *_: None)
        self.terminal = StringIO()
        self.patch(sys, "__stderr__", self.terminal)
        self.patch(sys, "argv", ["twistd"])
        self.log = EventLoggingObserver()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)

    @property
    def errors(self) -> list[str]:
        """The errors in the log."""
        events = [event for event in self.log if event["log_level"].name == "error"]
        return [str(event["log_format"]).format(**event) for event in events]


class PortsServiceTests(InMemory):
    """All ports or none, bound once."""

    def test_interface(self) -> None:
        verifyObject(IService, PortsService(Factory(), ["1"]))

    def test_nothing_until_it_starts(self) -> None:
        """Making it opens nothing."""
        reactor = Recording()
        PortsService(Factory(), ["1"], reactor)
        self.assertEqual([], reactor.happened)

    def test_privileged_then_started(self) -> None:
        """Started by twistd, it binds once: while the process is privileged."""
        reactor = Recording()
        ports = PortsService(Factory(), ["1", "2"], reactor)
        ports.privilegedStartService()
        bound = list(reactor.happened)
        ports.startService()
        self.assertEqual((["open 1", "open 2"], bound), (bound, reactor.happened))
        self.assertEqual([1, 2], [vars(port)["number"] for port in ports.ports])

    def test_started_alone(self) -> None:
        """Started by twist, which knows of no privileges, it binds when it starts."""
        reactor = Recording()
        PortsService(Factory(), ["1"], reactor).startService()
        self.assertEqual(["open 1"], reactor.happened)

    def test_in_use(self) -> None:
        """A port that cannot be had is refused in one line, and those before it close again."""
        reactor = Recording(2)
        ports = PortsService(Factory(), ["1", "2", "3"], reactor)
        with self.assertRaises(CannotStart) as caught:
            ports.privilegedStartService()
        self.assertEqual(["open 1", "close 1"], reactor.happened)
        self.assertEqual(
            "cannot listen on port 2: address already in use; choose another with --port",
            str(caught.exception),
        )

    def test_endpoint_refused(self) -> None:
        """An endpoint that is refused is named as it was written."""
        ports = PortsService(Factory(), ["tcp:2:interface=127.0.0.1"], Recording(2))
        with self.assertRaises(CannotStart) as caught:
            ports.startService()
        self.assertIn("cannot listen on tcp:2:interface=127.0.0.1: address", str(caught.exception))

    def test_starts_after_a_refusal(self) -> None:
        """Once the port is free it starts as if nothing had been."""
        reactor = Recording(2)
        ports = PortsService(Factory(), ["1", "2"], reactor)
        self.assertRaises(CannotStart, ports.startService)
        reactor.in_use = ()
        ports.startService()
        self.assertEqual([1, 2], reactor.open)

    def test_stop(self) -> None:
        """It has stopped when all its ports have closed."""
        reactor = Recording()
        ports = PortsService(Factory(), ["1", "2"], reactor)
        ports.startService()
        reactor.closing = defer.Deferred()
        stopping = ports.stopService()
        self.assertNoResult(stopping)
        reactor.closing.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(([], [], 0), (reactor.open, ports.ports, ports.running))

    def test_restart(self) -> None:
        """It can be started again after it has stopped."""
        reactor = Recording()
        ports = PortsService(Factory(), ["1"], reactor)
        for _ in range(2):
            ports.startService()
            self.successResultOf(ports.stopService())
        self.assertEqual(["open 1", "close 1"] * 2, reactor.happened)

    def test_stop_before_start(self) -> None:
        """Stopping what never started does nothing."""
        self.successResultOf(PortsService(Factory(), ["1"], Recording()).stopService())

    def test_port_that_does_not_close(self) -> None:
        """A port that fails to close does not keep the others from closing."""
        reactor = Recording()
        ports = PortsService(Factory(), ["1", "2"], reactor)
        ports.startService()
        reactor.closing = defer.fail(RuntimeError())
        self.successResultOf(ports.stopService())
        self.assertEqual([], reactor.open)

    def test_base_binds_nothing(self) -> None:
        """The base class has nothing of its own to listen on."""
        self.assertRaises(
            NotImplementedError, service.BoundService(["1"], Recording()).startService
        )


class SlowEndpointTests(InMemory):
    """Endpoints that take their time: the first answer comes after startService has returned."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = Recording()
        self.cancelled: list[object] = []
        self.opening: defer.Deferred[Any] = defer.Deferred(self.cancelled.append)
        self.patch(service, "listen_stream", lambda *_: self.opening)
        self.exits: list[Callable[[], object]] = []
        self.patch(atexit, "register", self.exits.append)
        self.ports = PortsService(Factory(), ["onion:80"], self.reactor)
        self.ports.startService()

    def test_opens_late(self) -> None:
        """The ports are there as soon as it has opened, and close when the service stops."""
        port = MemoryPort(self.reactor, 80)
        self.reactor.open.append(80)
        self.opening.callback([port])
        self.assertEqual([port], self.ports.ports)
        self.successResultOf(self.ports.stopService())
        self.assertEqual([], self.reactor.open)

    def test_stop_while_opening(self) -> None:
        """Stopped before it has opened, it is told to give up, which is no mistake of anyone's."""
        self.successResultOf(self.ports.stopService())
        self.assertEqual([self.opening], self.cancelled)
        self.assertEqual(([], ""), (self.errors, self.terminal.getvalue()))

    def test_gives_up_in_its_own_words(self) -> None:
        """An endpoint may say otherwise than with CancelledError that it has given up."""
        self.opening._canceller = lambda one: one.errback(OSError("given up"))
        self.successResultOf(self.ports.stopService())
        self.assertEqual(([], ""), (self.errors, self.terminal.getvalue()))

    def test_refused_late(self) -> None:
        """A late refusal says why in the log and on standard error, and stops the reactor."""
        self.opening.errback(OSError(errno.EACCES, "denied"))
        line = "cannot listen on onion:80: permission denied; choose another with --port"
        self.assertEqual([line], self.errors)
        self.assertEqual(f"twistd: {line}\n", self.terminal.getvalue())
        # The reactor was not running yet: it stops as soon as it does.
        self.reactor.run()
        self.assertTrue(self.reactor.hasStopped)

    def test_exit_status_after_a_late_refusal(self) -> None:
        """When all has stopped, the process ends with the same status as at once, its words said."""
        self.opening.errback(OSError(errno.EACCES, "denied"))
        left: list[int] = []
        self.patch(os, "_exit", left.append)
        (leave,) = self.exits
        leave()
        self.assertEqual([os.EX_UNAVAILABLE], left)


class DatagramServiceTests(InMemory):
    """The same for UDP."""

    def test_binds_and_closes(self) -> None:
        """It makes a protocol for each socket, and closes the sockets when it stops."""
        reactor = Recording()
        made: list[DatagramProtocol] = []

        def make() -> DatagramProtocol:
            made.append(DatagramProtocol())
            return made[-1]

        datagrams = DatagramService(make, ["1", "2"], reactor)
        self.assertEqual([], made)
        datagrams.startService()
        self.assertEqual((2, [1, 2]), (len(made), reactor.open))
        self.successResultOf(datagrams.stopService())
        self.assertEqual([], reactor.open)

    def test_in_use(self) -> None:
        """A port that cannot be had is refused, and those before it close again."""
        reactor = Recording(2)
        datagrams = DatagramService(DatagramProtocol, ["1", "2"], reactor)
        with self.assertRaises(CannotStart) as caught:
            datagrams.startService()
        self.assertEqual([], reactor.open)
        self.assertIn("cannot listen on UDP port 2: address", str(caught.exception))


class FactoryServiceTests(InMemory):
    """The services beside the ports, and the ports."""

    def make(
        self, *besides: Callable[[list[str]], Service], in_use: Sequence[int] = ()
    ) -> tuple[FactoryService, Recording]:
        reactor = Recording(*in_use)
        factory = WithServices(*[make(reactor.happened) for make in besides])
        return FactoryService("shout", factory, ["1"], reactor), reactor

    def test_factory_alone(self) -> None:
        """A factory that needs nothing beside its ports gets its ports."""
        reactor = Recording()
        whole = FactoryService("shout", Factory(), ["1"], reactor)
        verifyObject(IService, whole)
        self.assertEqual(("shout", [whole.notify, whole.listening]), (whole.name, list(whole)))
        whole.startService()
        self.assertEqual([1], reactor.open)

    def test_order(self) -> None:
        """The services beside start before the ports accept, and stop after those have closed."""
        whole, reactor = self.make(
            lambda log: Beside("store", log), lambda log: Beside("page", log)
        )
        whole.startService()
        self.successResultOf(whole.stopService())
        self.assertEqual(
            ["start store", "start page", "open 1", "close 1", "stop page", "stop store"],
            reactor.happened,
        )

    def test_privileged(self) -> None:
        """Under twistd ports are bound while privileged, before the services beside have started."""
        whole, reactor = self.make(lambda log: Beside("store", log))
        whole.privilegedStartService()
        whole.startService()
        self.assertEqual(["privileged store", "open 1", "start store"], reactor.happened)

    def test_each_waits_for_the_one_before(self) -> None:
        """A service stops only when the ports and the services after it have stopped."""
        gate: defer.Deferred[None] = defer.Deferred()
        whole, reactor = self.make(
            lambda log: Beside("store", log), lambda log: Beside("page", log, gate)
        )
        whole.startService()
        reactor.closing = defer.Deferred()
        stopping = whole.stopService()
        self.assertEqual("close 1", reactor.happened[-1])
        reactor.closing.callback(None)
        self.assertEqual("stop page", reactor.happened[-1])
        self.assertNoResult(stopping)
        gate.callback(None)
        self.assertEqual("stop store", reactor.happened[-1])
        self.successResultOf(stopping)

    def test_one_that_fails_to_stop(self) -> None:
        """It is logged with its traceback, and the others stop all the same."""
        whole, reactor = self.make(
            lambda log: Beside("store", log), lambda log: Beside("page", log, RuntimeError("stuck"))
        )
        whole.startService()
        self.successResultOf(whole.stopService())
        self.assertEqual("stop store", reactor.happened[-1])
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_refused(self) -> None:
        """A port in use is said once on standard error, once in the log, and all else stops again."""
        whole, reactor = self.make(lambda log: Beside("store", log), in_use=[1])
        self.assertRaises(CannotStart, whole.startService)
        line = "cannot listen on port 1: address already in use; choose another with --port"
        self.assertEqual([line], self.errors)
        self.assertEqual(f"twistd: {line}\n", self.terminal.getvalue())
        self.assertEqual(["start store", "stop store"], reactor.happened)

    def test_refused_while_privileged(self) -> None:
        """Ports that were bound beside it close again; what has not started is not stopped."""
        whole, reactor = self.make(
            lambda log: Beside("store", log),
            lambda log: DatagramService(DatagramProtocol, ["7"], whole_reactor(log)),
            in_use=[1],
        )
        self.assertRaises(CannotStart, whole.privilegedStartService)
        self.assertEqual(["privileged store", "open 7", "close 7"], reactor.happened)
        self.assertEqual(1, len(self.errors))

    def test_hosted(self) -> None:
        """One that runs another says for both, once, that this one was refused."""
        inner = FactoryService("inner", Factory(), ["1"], Recording(1))
        group = MultiService()
        inner.setServiceParent(group)
        outer = FactoryService("outer", WithServices(group), ["2"], Recording())
        self.assertRaises(CannotStart, outer.startService)
        self.assertEqual(f"twistd: {self.errors[0]}\n", self.terminal.getvalue())

    def test_restart(self) -> None:
        """All of it can be started again after it has stopped."""
        whole, reactor = self.make(lambda log: Beside("store", log))
        for _ in range(2):
            whole.privilegedStartService()
            whole.startService()
            self.successResultOf(whole.stopService())
        self.assertEqual(2, reactor.happened.count("open 1"))
        self.assertEqual([], reactor.open)

    def test_within_an_application(self) -> None:
        """A parent starts and stops it as any other service."""
        parent = MultiService()
        whole, reactor = self.make()
        whole.setServiceParent(parent)
        parent.startService()
        self.assertIs(whole, parent.getServiceNamed("shout"))
        self.successResultOf(parent.stopService())
        self.assertEqual(["open 1", "close 1"], reactor.happened)


def whole_reactor(happened: list[str]) -> Recording:
    """A reactor that writes into another one's record."""
    reactor = Recording()
    reactor.happened = happened
    return reactor


class SocketTests(TestCase):
    """The global reactor and real sockets."""

    async def test_start_stop_start(self) -> None:
        """A stopped service leaves its port to others, for IPv4 and IPv6, and can have it back."""
        number = free_port()
        ports = PortsService(Factory(), [str(number)])
        for _ in range(2):
            ports.startService()
            socket.create_connection(("127.0.0.1", number)).close()
            await ports.stopService()
            self.assertRaises(
                ConnectionRefusedError, socket.create_connection, ("127.0.0.1", number)
            )
