"""Further ports: a sibling that serves in two ways, behind one gate."""

from __future__ import annotations

import contextlib
import os
import ssl
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

import myproject
from myproject import Options
from myproject.door import Door, Refused
from myproject.errors import CannotStart, SettingError
from myproject.gate import Gate
from myproject.interfaces import FurtherPorts, IHasPorts
from myproject.limits import Limits, Reason
from myproject.maker import FactoryServiceMaker
from myproject.service import BoundService, FactoryService, PortsService, TLSPortsService
from myproject.settings import ports, tls_ports
from tests.core.authority import issue
from tests.core.test_gate import BarePort, Transport
from tests.core.test_service import InMemory, Recording
from tests.support import (
    PATIENCE,
    Running,
    ask,
    clean_environment,
    connect,
    exchange,
    free_port,
    install_module,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

ANN = IPv4Address("TCP", "192.0.2.1", 1000)

#: A sibling of two ways: what comes in at --port goes back, and in capitals at --loud-port.
SIBLING = """
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

import myproject
from myproject.interfaces import FurtherPorts, IHasPorts
from myproject.settings import ports, tls_ports


class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(self.factory.change(data))


class Loud(Factory):
    protocol = Echo
    change = staticmethod(bytes.upper)


@implementer(IHasPorts)
class Both(Factory):
    protocol = Echo
    change = staticmethod(bytes)

    def __init__(self, options):
        self.options = options

    def further_ports(self):
        options = self.options
        loud, tls = options.loud_port, options.loud_tls_port
        return [FurtherPorts(Loud(), "loud-port", loud, "loud-tls-port", tls)]


class Options(myproject.Options):
    tapname = "both"
    loud_port = ports(None, help="Where to shout.", short="")
    loud_tls_port = tls_ports(help="Where to shout in secret.")


makeFactory = Both
"""

DROPIN = """
from myproject import FactoryServiceMaker

both = FactoryServiceMaker("both", "both_sibling", "Echoes in two ways.")
"""


@implementer(IHasPorts)
class Factories(Factory):
    """A factory with another beside it."""

    protocol = Protocol

    def __init__(self, *ways: FurtherPorts) -> None:
        self.ways = ways

    def further_ports(self) -> Sequence[FurtherPorts]:
        return self.ways


class TwoWays(Options):
    """Settings of such a sibling."""

    tapname: ClassVar[str] = "two-ways"
    loud_port = ports(None, help="Where to shout.", short="")
    loud_tls_port = tls_ports(help="Where to shout in secret.")


class DoorTests(SynchronousTestCase):
    """Several doors, one gate."""

    def setUp(self) -> None:
        self.gate = Gate(Factory.forProtocol(Protocol), Limits(max_connections=2), Clock())
        self.other = Factory.forProtocol(Protocol)
        self.door = self.gate.before(self.other)

    def connect(self, door: Door) -> Any:
        protocol = door.buildProtocol(ANN)
        transport = Transport(protocol)
        protocol.makeConnection(transport)
        return transport

    def test_each_asks_its_own_factory(self) -> None:
        self.assertIs(self.other, self.connect(self.door).protocol.factory)
        self.assertIs(self.gate.wrappedFactory, self.connect(self.gate).protocol.factory)

    def test_the_gate_counts_and_limits_all(self) -> None:
        first = self.connect(self.door)
        self.connect(self.gate)
        self.assertIsInstance(self.connect(self.door).protocol, Refused)
        seen = self.gate.statistics
        self.assertEqual((2, 1, 1), (seen.open, seen.hosts, seen.refused[Reason.FULL]))
        self.assertEqual(2, len(list(self.gate)))
        first.loseConnection()
        self.assertEqual(1, len(self.gate))

    def test_a_bare_port_of_one_says_nothing_of_the_other(self) -> None:
        """One that stands behind TLS cannot be told None, whatever the other can."""
        self.gate.close()
        self.gate.watch_port(BarePort(self.gate))  # type: ignore[arg-type]
        self.door.watch_port(BarePort(object()))  # type: ignore[arg-type]
        self.assertIsNone(self.gate.buildProtocol(ANN))
        self.assertIsInstance(self.door.buildProtocol(ANN), Refused)

    def test_it_starts_and_stops_its_own_factory(self) -> None:
        self.door.doStart()
        self.assertEqual((1, 0), (self.other.numPorts, self.gate.numPorts))
        self.door.doStop()
        self.assertEqual(0, self.other.numPorts)

    def test_what_passes_its_ports_is_metered(self) -> None:
        port: Any = BarePort(self.door)
        self.door.watch_port(port)
        transport = port.transport(None)
        transport.protocol = self.door.buildProtocol(ANN)
        transport.protocol.makeConnection(transport)
        transport._dataReceived(b"12345")
        self.assertEqual(5, self.gate.statistics.bytes_in)


class ServiceTests(InMemory):
    """The ports of a factory that provides ``IHasPorts``."""

    def make(self, *in_use: int, tls: Any = None, **way: Any) -> tuple[FactoryService, Recording]:
        reactor = Recording(*in_use)
        factory = Factories(FurtherPorts(Factory(), "loud-port", **way))
        verifyObject(IHasPorts, factory)
        return FactoryService("x", factory, ["1"], reactor, tls=tls), reactor

    def test_they_open_after_the_first_and_close_with_it(self) -> None:
        whole, reactor = self.make(descriptions=["2", "3"])
        whole.startService()
        self.assertEqual([1, 2, 3], reactor.open)
        self.successResultOf(whole.stopService())
        self.assertEqual([], reactor.open)

    def test_none_of_them_is_no_service(self) -> None:
        whole, _ = self.make(descriptions=[])
        self.assertEqual([whole.notify, whole.listening], list(whole))

    def test_one_that_cannot_be_had_is_named_by_its_setting(self) -> None:
        whole, reactor = self.make(2, descriptions=["2"])
        refusal = self.assertRaises(CannotStart, whole.startService)
        self.assertTrue(str(refusal).endswith("choose another with --loud-port"), str(refusal))
        self.assertEqual([], reactor.open)

    def test_with_tls_they_have_the_certificates_of_the_others(self) -> None:
        from myproject.tls import TLSSettings

        whole, _ = self.make(descriptions=[], tls_setting="loud-tls", tls_descriptions=["4"], tls=1)
        self.assertIsNotNone(whole.tls)
        one = [child for child in whole if isinstance(child, TLSPortsService)]
        self.assertEqual([("4",)], [ports.descriptions for ports in one])
        self.assertIs(whole.tls, one[0].tls)
        self.assertIn("--loud-tls", one[0].refusal("4", self.failure()))
        both = FactoryService(
            "x",
            Factories(FurtherPorts(Factory(), "a", ["2"], "b", ["3"])),
            ["1"],
            Recording(),
            tls=TLSSettings(),
            tls_descriptions=["4"],
        )
        found = [one.descriptions for one in both if isinstance(one, BoundService)]
        self.assertEqual([("1",), ("4",), ("2",), ("3",)], found)

    def failure(self) -> Any:
        from twisted.python.failure import Failure

        return Failure(OSError(98, "in use"))

    def test_ready_means_all_of_them(self) -> None:
        whole, _ = self.make(descriptions=["2"])
        whole.startService()
        self.assertTrue(all(one.is_open for one in whole if isinstance(one, PortsService)))


class SettingTests(SynchronousTestCase):
    """Settings declared with ``tls_ports`` are for TLS as ``--tls-port`` is."""

    def resolve(self, **given: str) -> TwoWays:
        options = TwoWays({})
        options.given = {name.replace("_", "-"): [value] for name, value in given.items()}
        options.resolve()
        return options

    def refused(self, **given: str) -> str:
        return str(self.assertRaises(SettingError, self.resolve, **given))

    def test_they_want_a_certificate(self) -> None:
        self.assertTrue(self.resolve(loud_tls_port="1", self_signed="true").listens_for_tls)
        self.assertFalse(self.resolve(loud_port="1").listens_for_tls)
        refusal = self.refused(loud_tls_port="1")
        self.assertIn("--loud-tls-port, from the command line: it needs a certificate", refusal)
        self.assertIn("there is no port for TLS", self.refused(loud_port="1", self_signed="true"))

    def test_an_endpoint_with_tls_of_its_own_belongs_elsewhere(self) -> None:
        key = issue("a.example").write(Path(self.mktemp()))
        refusal = self.refused(loud_tls_port=f"ssl:1:privateKey={key}")
        self.assertIn("give it to --loud-port", refusal)

    def test_the_maker_knows_of_them(self) -> None:
        module: Any = ModuleType("two_ways")
        module.Options = TwoWays
        module.makeFactory = lambda options: Factories(
            FurtherPorts(Factory(), "l", [], "lt", options.loud_tls_port)
        )
        install_module(self, "two_ways", module)
        maker = FactoryServiceMaker("two-ways", "two_ways", "")
        whole = maker.make_alone(self.resolve(loud_tls_port="1", self_signed="true"))
        self.assertIsNotNone(whole.tls)


class InstalledTests(SynchronousTestCase):
    """A sibling that is installed, and its two ways."""

    def start(self, *words: str) -> Running:
        folder = Path(self.mktemp()).absolute()
        (folder / "twisted" / "plugins").mkdir(parents=True)
        (folder / "both_sibling.py").write_text(SIBLING)
        (folder / "twisted" / "plugins" / "both.py").write_text(DROPIN)
        self.port, self.loud = free_port(), free_port()
        ours = ("-p", str(self.port), "--loud-port", str(self.loud))
        known = os.environ.get("PYTHONPATH", "")
        environ = clean_environment(PYTHONPATH=f"{folder}{os.pathsep}{known}".rstrip(os.pathsep))
        running = start(self, "-n", "--pidfile=", "both", *ours, *words, environ=environ)
        return running.wait_for_port(self.port).wait_for_port(self.loud, "::1")

    def test_both_ways_on_both_families_and_over_tls(self) -> None:
        tls = free_port()
        server = self.start("--loud-tls-port", str(tls), "--self-signed")
        for host in ("127.0.0.1", "::1"):
            self.assertEqual(b"hi", ask(self.port, b"hi", b"hi", host))
            self.assertEqual(b"HI", ask(self.loud, b"hi", b"HI", host))
        server.wait_for_port(tls)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(connect(tls)) as client:
            client.settimeout(PATIENCE)
            client.sendall(b"hi")
            self.assertEqual(b"HI", client.recv(2))
        self.assertEqual(0, server.stop())

    def test_workers_share_them_and_proxy_headers_are_read(self) -> None:
        server = self.start("--workers", "2", "--proxy-from", "127.0.0.1", "--deny", "192.0.2.1")
        server.wait_for_log("2 workers are ready")
        header = b"PROXY TCP4 192.0.2.%d 192.0.2.9 1 2\r\n"
        self.assertEqual(b"HI", ask(self.loud, header % 2 + b"hi", b"HI"))
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(b"", exchange(self.loud, header % 1 + b"hi"))
        self.assertEqual(0, server.stop())


class ExportTests(SynchronousTestCase):
    """What siblings import."""

    def test_they_are_public(self) -> None:
        self.assertIs(FurtherPorts, myproject.FurtherPorts)
        self.assertIs(IHasPorts, myproject.IHasPorts)
        self.assertIs(tls_ports, myproject.tls_ports)
