"""Shared ports: one number, a socket for each worker, and never shared with a stranger by mistake."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet import defer, error
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from myproject import sharing
from myproject.errors import CannotStart
from myproject.service import BoundService, DatagramService, PortsService
from myproject.sharing import Inherited, SharedPorts, bound_services
from tests.support import free_port

if TYPE_CHECKING:
    from collections.abc import Generator

    from twisted.internet.interfaces import IListeningPort


class Sharing(SynchronousTestCase):
    """Ports of two workers, closed at the end."""

    def setUp(self) -> None:
        self.ports = self.shared()

    def shared(self) -> SharedPorts:
        ports = SharedPorts(2, MemoryReactor())
        self.addCleanup(ports.close)
        return ports

    def open(self, *services: BoundService) -> None:
        self.ports.open(services)

    def descriptors(self, worker: int, service: int = 0) -> list[list[int]]:
        """Our descriptors that a worker gets for a service, by its description."""
        mine, ports = self.ports.assigned(worker, 10)
        return [[mine[number] for number, _ in sockets] for sockets in ports[service]]

    def numbers(self, service: int = 0) -> set[int]:
        """The port numbers that a service has got."""
        found = set()
        for worker in (0, 1):
            for sockets in self.descriptors(worker, service):
                for number in sockets:
                    with socket.socket(fileno=os.dup(number)) as one:
                        found.add(one.getsockname()[1])
        return found


class OpenTests(Sharing):
    """In the process that opens them."""

    def test_one_number(self) -> None:
        """Any free port is one for all workers, and each has sockets of its own."""
        self.open(PortsService(Factory(), ["0"]))
        self.assertEqual(1, len(self.numbers()))
        first, second = self.descriptors(0)[0], self.descriptors(1)[0]
        self.assertEqual(set(), set(first) & set(second))
        self.assertEqual(len(first), len(second))
        self.assertTrue(self.ports.addresses[0].startswith("TCP 0.0.0.0:"))

    def test_udp(self) -> None:
        """So it is with UDP."""
        self.open(DatagramService(DatagramProtocol, ["0"]))
        self.assertEqual(1, len(self.numbers()))
        self.assertTrue(self.ports.addresses[0].startswith("UDP 0.0.0.0:"))

    def test_twice_any(self) -> None:
        """Two descriptions that are the same words are two ports."""
        self.open(PortsService(Factory(), ["0", "0"]), DatagramService(DatagramProtocol, ["0"]))
        self.assertEqual(2, len(self.numbers()))
        self.assertEqual(1, len(self.numbers(1)))

    def test_never_with_a_stranger(self) -> None:
        """A second server on the port is refused, though both would share with their own workers."""
        for kind in (PortsService(Factory(), ["0"]), DatagramService(DatagramProtocol, ["0"])):
            self.ports = self.shared()
            self.open(kind)
            [number] = self.numbers()
            kind.descriptions = (str(number),)
            refusal = self.assertRaises(CannotStart, self.shared().open, [kind])
            self.assertIn(f"{number}: address already in use; choose another", str(refusal))

    def test_all_or_none(self) -> None:
        """If one cannot be had, the others are closed."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        free = free_port()
        services = [PortsService(Factory(), [str(free), str(taken.getsockname()[1])])]
        self.assertRaises(CannotStart, self.ports.open, services)
        socket.create_server(("127.0.0.1", free)).close()

    def test_closed(self) -> None:
        """Closing closes every socket."""
        self.open(PortsService(Factory(), ["0"]))
        [number] = self.numbers()
        self.successResultOf(self.ports.close())
        socket.create_server(("127.0.0.1", number)).close()

    def test_without_spreading(self) -> None:
        """A system that does not spread connections has one socket for all."""
        self.patch(sharing, "SPREADS", False)
        self.open(PortsService(Factory(), ["0"]))
        self.assertEqual(self.descriptors(0), self.descriptors(1))

    def test_without_ipv6(self) -> None:
        """A machine without IPv6 shares IPv4 alone."""
        real = socket.socket

        def only_ipv4(family: int, *rest: Any, **more: Any) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(97, "no such family")
            return real(family, *rest, **more)

        self.patch(socket, "socket", only_ipv4)
        ports = SharedPorts(2, MemoryReactor())
        self.addCleanup(ports.close)
        self.assertEqual(1, len(ports._open_number(socket.SOCK_STREAM, 0)))

    def test_other_failure_of_ipv6(self) -> None:
        """Any other failure is one."""
        self.patch(sharing, "NO_IPV6", frozenset())
        bind = self.ports.bind

        def refuse_ipv6(family: int, *rest: Any, **more: Any) -> Any:
            if family == socket.AF_INET6:
                raise OSError(98, "in use")
            return bind(family, *rest, **more)

        self.patch(self.ports, "bind", refuse_ipv6)
        self.assertRaises(CannotStart, self.open, PortsService(Factory(), ["0"]))

    def test_endpoints(self) -> None:
        """Endpoints of TCP are shared, whatever they put around the factory."""
        descriptions = ["tcp:0:interface=127.0.0.1", "tcp6:0:interface=\\:\\:1", "haproxy:tcp:0"]
        self.open(PortsService(Factory(), descriptions))
        self.assertEqual([1, 1, 1], [len(one) for one in self.descriptors(0)])
        self.assertNotEqual(self.descriptors(0), self.descriptors(1))

    def test_cannot_be_shared(self) -> None:
        """What is no socket, or opens one by other means, is refused in words that help."""
        for description in ("stdio:", "exotic"):
            self.patch(sharing, "serverFromString", self.parse(description))
            refusal = self.assertRaises(
                CannotStart, self.open, PortsService(Factory(), [description])
            )
            self.assertIn(f"cannot share {description} among workers", str(refusal))
            self.assertIn("or leave --workers out", str(refusal))

    @staticmethod
    def parse(description: str) -> Any:
        class Endpoint:
            def listen(self, factory: object) -> defer.Deferred[Any]:  # noqa: ARG002
                return defer.Deferred()

        real = serverFromString
        return real if description == "stdio:" else lambda *_: Endpoint()

    def test_late_failure_of_an_endpoint(self) -> None:
        """One whose deferred fails is refused as one that raises."""

        class Endpoint:
            def listen(self, factory: object) -> defer.Deferred[Any]:  # noqa: ARG002
                return defer.fail(error.CannotListenError("here", 1, OSError(98, "")))

        self.patch(sharing, "serverFromString", lambda *_: Endpoint())
        refusal = self.assertRaises(CannotStart, self.open, PortsService(Factory(), ["x:1"]))
        self.assertIn("cannot listen on x:1: address already in use", str(refusal))

    def test_of_the_service_manager(self) -> None:
        """Sockets of the service manager's need no opening: workers are passed the same."""
        self.open(PortsService(Factory(), ["systemd:echo"]))
        self.assertEqual([[]], self.descriptors(0))

        class Endpoint:
            def __init__(self, reactor: Any) -> None:
                self.reactor = reactor

            def listen(self, factory: object) -> defer.Deferred[Any]:
                return defer.succeed(self.reactor.adoptStreamPort(3, socket.AF_INET, factory))

        self.patch(sharing, "serverFromString", lambda reactor, _: Endpoint(reactor))
        self.ports = self.shared()
        self.open(PortsService(Factory(), ["systemd:domain=INET:index=0"]))
        self.assertEqual([[]], self.descriptors(0))

    def test_services_in_a_tree(self) -> None:
        """All that have ports are found, in the order of the tree."""
        root, inner = MultiService(), MultiService()
        found = [PortsService(Factory(), ["1"]), DatagramService(DatagramProtocol, ["2"])]
        found[0].setServiceParent(inner)
        inner.setServiceParent(root)
        found[1].setServiceParent(root)
        self.assertEqual(found, list(bound_services(root)))


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)
        self.transport.loseConnection()


class EchoUDP(DatagramProtocol):
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        assert self.transport is not None
        self.transport.write(datagram, addr)


class AdoptTests(TestCase):
    """In a worker, with the real reactor: another process's sockets, whose duplicates stand for them here."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.ports = SharedPorts(2, reactor)
        self.addCleanup(self.ports.close)

    def inherit(self, service: BoundService, worker: int) -> None:
        mine, [descriptions] = self.ports.assigned(worker, 10)
        service.inherited = [
            [Inherited(os.dup(mine[number]), family) for number, family in sockets]
            for sockets in descriptions
        ]
        service.reactor = self.reactor

    def start(self, service: BoundService) -> None:
        service.startService()
        self.addCleanup(service.stopService)

    def ask(self, address: Any, family: int = socket.AF_INET) -> defer.Deferred[bytes]:
        from twisted.internet.threads import deferToThread

        def talk() -> bytes:
            with socket.socket(family) as client:
                client.settimeout(30)
                client.connect(address)
                client.sendall(b"ping")
                return client.recv(10)

        return deferToThread(talk)

    @defer.inlineCallbacks
    def check(self, description: str) -> Generator[defer.Deferred[Any], Any, None]:
        """One worker serves; when it has stopped, connections wait for the next, which serves them."""
        factory = Factory.forProtocol(Echo)
        factory.noisy = False
        self.ports.open([PortsService(factory, [description])])
        address: Any = self.ports.addresses[0].rpartition(" ")[2]
        family = socket.AF_UNIX
        if ":" in address:
            family = socket.AF_INET
            address = ("127.0.0.1", int(address.rpartition(":")[2]))
        services = [PortsService(factory, [description]) for _ in (0, 1)]
        for worker, service in enumerate(services):
            self.inherit(service, worker)
            self.start(service)
        self.assertEqual(b"ping", (yield self.ask(address, family)))
        yield services[0].stopService()
        yield services[1].stopService()
        asking = [self.ask(address, family) for _ in range(6)]
        services = [PortsService(factory, [description]) for _ in (0, 1)]
        for worker, service in enumerate(services):
            self.inherit(service, worker)
            self.start(service)
        self.assertEqual([b"ping"] * 6, (yield defer.gatherResults(asking)))

    def test_number(self) -> Any:
        return self.check("0")

    def test_endpoint(self) -> Any:
        return self.check("tcp:0:interface=127.0.0.1")

    def test_unix(self) -> Any:
        """A worker that stops neither shuts the socket down for the others nor removes its name."""
        return self.check(f"unix:{self.mktemp()}:lockfile=0")

    @defer.inlineCallbacks
    def test_udp(self) -> Generator[defer.Deferred[Any], Any, None]:
        """Datagrams find one of the workers."""
        self.ports.open([DatagramService(EchoUDP, ["0"])])
        number = int(self.ports.addresses[0].rpartition(":")[2])
        for worker in (0, 1):
            service = DatagramService(EchoUDP, ["0"])
            self.inherit(service, worker)
            self.start(service)
        from twisted.internet.threads import deferToThread

        def talk() -> bytes:
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.settimeout(30)
                client.sendto(b"ping", ("127.0.0.1", number))
                return client.recv(10)

        self.assertEqual(b"ping", (yield deferToThread(talk)))

    def test_ssl(self) -> None:
        """An endpoint with TLS of its own has it in the worker."""
        from twisted.internet.ssl import CertificateOptions
        from twisted.protocols.tls import TLSMemoryBIOFactory

        [made] = self.ports.bind(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))[:1]
        adopting = sharing._Adopting(
            self.reactor, [Inherited(os.dup(made.fileno()), socket.AF_INET)]
        )
        port: IListeningPort = adopting.listenSSL(1, Factory(), CertificateOptions())
        self.addCleanup(port.stopListening)
        self.assertIsInstance(port.factory, TLSMemoryBIOFactory)  # type: ignore[attr-defined]
        binding = sharing._Binding(self.ports)
        binding.listenSSL(0, Factory(), None, interface="127.0.0.1")
        self.assertEqual(1, len(binding.shared))
