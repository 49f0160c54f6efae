"""The front door's protocol: one line, then a service or a refusal (RFC 1078)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableDescriptor, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial import util
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from myproject.frontdoor import LINGER, NAME_TIMEOUT, FrontDoor, MyFactory
from myproject.nameline import NAME_LIMIT, Asked, NameLine, TooLong, check_name

BYE = Failure(ConnectionDone("bye"))
TOO_LONG = b"-the service name is too long; the limit is 256 bytes\r\n"
UNKNOWN = b"-no such service; HELP lists them\r\n"


class Keeper(Protocol):
    """A service that keeps what it gets."""

    def __init__(self) -> None:
        self.got = b""
        self.losses = 0

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, _reason: Failure = connectionDone) -> None:
        self.losses += 1


class KeeperFactory(Factory):
    """Makes keepers, remembers them, and counts its starts and stops."""

    def __init__(self) -> None:
        self.made: list[Keeper] = []
        self.addresses: list[Any] = []

    def buildProtocol(self, addr: Any) -> Keeper:
        self.addresses.append(addr)
        self.made.append(Keeper())
        return self.made[-1]


class FullFactory(Factory):
    def buildProtocol(self, _addr: Any) -> None:
        return None


class BrokenFactory(Factory):
    def buildProtocol(self, _addr: Any) -> Any:
        raise ZeroDivisionError


@implementer(IHalfCloseableDescriptor)
class Socket(StringTransport):
    """A socket: it knows its protocol and can close its own side."""

    protocol: Any = None
    half_closed = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def readConnectionLost(self, reason: Failure) -> None:
        half = IHalfCloseableProtocol(self.protocol, None)
        if half is not None:
            half.readConnectionLost()
        else:
            self.protocol.connectionLost(reason)

    def writeConnectionLost(self, _reason: Failure) -> None:
        self.protocol.writeConnectionLost()


class DoorCase(SynchronousTestCase):
    """A door with the services Echo, full and broken, and one client before it."""

    def setUp(self) -> None:
        self.open()

    def open(self, transport: Any = None) -> None:
        self.clock = Clock()
        self.keepers = KeeperFactory()
        self.door = MyFactory(
            {"Echo": self.keepers, "full": FullFactory(), "broken": BrokenFactory()},
            clock=cast("Any", self.clock),
        )
        self.transport = Socket() if transport is None else transport
        self.protocol = self.door.buildProtocol(None)
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.transport.protocol.dataReceived(data)

    def assert_refused(self, reply: bytes) -> None:
        self.assertEqual(reply, self.transport.value())
        self.assertTrue(self.transport.half_closed or self.transport.disconnecting)
        self.assertEqual([], self.keepers.made)


class NameLineTests(SynchronousTestCase):
    """The parser: the bytes decide, not their cuts."""

    @given(st.binary(max_size=24) | st.text("ab\r\n\0é", max_size=24).map(str.encode), st.data())
    def test_any_cuts_of_any_bytes_give_the_same_answer(self, sent: bytes, data: Any) -> None:
        limit = data.draw(st.integers(0, 12))
        cuts = sorted(data.draw(st.sets(st.integers(0, len(sent)))))
        whole = NameLine(limit).feed(sent)
        line = NameLine(limit)
        said = None
        for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            if isinstance(said, Asked):
                said = Asked(said.name, said.rest + sent[start:end])
            elif said is None:
                said = line.feed(sent[start:end])
        self.assertEqual(whole, said)

    def test_a_name_ends_with_crlf_or_a_bare_lf(self) -> None:
        for end in (b"\r\n", b"\n"):
            self.assertEqual(Asked(b"echo", b"x\n"), NameLine().feed(b"ECHO" + end + b"x\n"))

    def test_a_name_may_be_as_long_as_the_limit_and_no_longer(self) -> None:
        longest = b"x" * NAME_LIMIT
        for end in (b"\r\n", b"\n"):
            self.assertEqual(Asked(longest, b""), NameLine().feed(longest + end))
            self.assertEqual(TooLong(), NameLine().feed(longest + b"x" + end))
        self.assertIsNone(NameLine().feed(longest + b"\r"))
        self.assertEqual(TooLong(), NameLine().feed(longest + b"\rx"))
        self.assertEqual(TooLong(), NameLine().feed(longest + b"x"))


class NameTests(SynchronousTestCase):
    def test_a_name_that_clients_cannot_send_is_not_offered(self) -> None:
        for bad in ("", "two words", "naïve", "tab\t", "help", "HELP", "x" * (NAME_LIMIT + 1)):
            with self.assertRaises(ValueError):
                check_name(bad)
            with self.assertRaises(ValueError):
                MyFactory({bad: Factory()})
        self.assertEqual(b"echo", check_name("Echo"))

    def test_names_that_differ_in_case_only_are_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "'ECHO' and 'Echo' differ in case only"):
            MyFactory({"Echo": Factory(), "ECHO": Factory()})


class AskTests(DoorCase):
    """What a client asks for is what it gets."""

    def test_a_named_service_takes_the_connection(self) -> None:
        for name in (b"Echo\r\n", b"echo\r\n", b"ECHO\n"):
            self.open()
            self.send(name)
            self.assertEqual(b"+Echo\r\n", self.transport.value())
            [keeper] = self.keepers.made
            self.assertIs(keeper, self.transport.protocol)
            self.assertIs(self.transport, keeper.transport)
            self.assertEqual([], self.clock.getDelayedCalls())
            self.send(b"data")
            self.transport.protocol.connectionLost(BYE)
            self.assertEqual((b"data", 1), (keeper.got, keeper.losses))

    def test_the_service_learns_the_clients_address(self) -> None:
        address = object()
        door = self.door.buildProtocol(cast("Any", address))
        transport = Socket()
        transport.protocol = door
        door.makeConnection(transport)
        door.dataReceived(b"echo\r\n")
        self.assertEqual([address], self.keepers.addresses)

    @given(st.binary(max_size=60), st.sets(st.integers(0, 66)))
    def test_no_byte_behind_the_name_is_lost(self, data: bytes, cuts: set[int]) -> None:
        self.open()
        sent = b"Echo\r\n" + data
        ends = [*sorted(cut for cut in cuts if cut < len(sent)), len(sent)]
        for start, end in zip([0, *ends], ends, strict=False):
            self.send(sent[start:end])
        self.assertEqual(b"+Echo\r\n", self.transport.value())
        self.assertEqual(data, self.keepers.made[0].got)

    def test_help_lists_the_names_and_closes(self) -> None:
        for name in (b"HELP\r\n", b"help\n", b"hElP\r\nmore"):
            self.open()
            self.send(name)
            self.assert_refused(b"Echo\r\nfull\r\nbroken\r\n")

    def test_an_unknown_name_is_refused(self) -> None:
        for name in (b"nonesuch\r\n", b"\r\n", b" echo\r\n", b"\xff\xfe\0\r\n", b"echo\r\r\n"):
            self.open()
            self.send(name)
            self.assert_refused(UNKNOWN)

    def test_a_name_that_is_too_long_is_refused(self) -> None:
        self.send(b"x" * (NAME_LIMIT + 2))
        self.assert_refused(TOO_LONG)

    def test_a_service_that_takes_no_one_is_a_refusal(self) -> None:
        self.send(b"full\r\n")
        self.assert_refused(b"-the service takes no more connections now; try again later\r\n")

    def test_a_service_that_fails_is_a_refusal_and_a_logged_failure(self) -> None:
        self.send(b"broken\r\n")
        self.assert_refused(b"-the service has failed; try again later\r\n")
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    @given(st.lists(st.binary(max_size=300), max_size=6))
    def test_no_bytes_raise_or_are_sent_back(self, chunks: list[bytes]) -> None:
        self.open()
        for chunk in chunks:
            self.send(chunk)
        self.clock.advance(NAME_TIMEOUT)
        reply = self.transport.value()
        self.assertIn(reply[:1], b"-+E")
        self.assertTrue(reply.endswith(b"\r\n"))
        self.flushLoggedErrors(ZeroDivisionError)


class CloseTests(DoorCase):
    """Closing: the last line arrives, and nothing lasts for ever."""

    def test_no_name_in_time_is_refused(self) -> None:
        self.send(b"ec")
        self.clock.advance(NAME_TIMEOUT - 1)
        self.send(b"h")
        self.assertEqual(b"", self.transport.value())
        self.clock.advance(1)
        self.assert_refused(b"-no service was named in time\r\n")

    def test_a_name_after_the_refusal_is_not_heard(self) -> None:
        self.clock.advance(NAME_TIMEOUT)
        self.send(b"echo\r\n")
        self.assert_refused(b"-no service was named in time\r\n")

    def test_a_socket_keeps_reading_so_that_the_refusal_is_not_reset_away(self) -> None:
        self.send(b"nonesuch\r\ndata")
        self.assertTrue(self.transport.half_closed)
        self.assertFalse(self.transport.disconnecting)
        self.transport.writeConnectionLost(BYE)
        self.send(b"more")
        self.transport.readConnectionLost(BYE)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(UNKNOWN, self.transport.value())

    def test_a_client_that_does_not_close_is_aborted(self) -> None:
        self.send(b"HELP\r\n")
        self.clock.advance(LINGER - 1)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnected)

    def test_a_transport_under_something_else_is_closed_in_one_piece(self) -> None:
        self.transport.protocol = None
        self.protocol.dataReceived(b"HELP\r\n")
        self.assertFalse(self.transport.half_closed)
        self.assertTrue(self.transport.disconnecting)

    def test_a_transport_that_is_no_socket_is_closed_in_one_piece(self) -> None:
        self.open(StringTransport())
        self.send(b"nonesuch\r\n")
        self.assertEqual(UNKNOWN, self.transport.value())
        self.assertTrue(self.transport.disconnecting)

    def test_input_that_ends_without_a_name_is_refused(self) -> None:
        self.send(b"echo")
        self.transport.readConnectionLost(BYE)
        self.assert_refused(b"-no service was named\r\n")
        self.assertFalse(self.transport.half_closed)

    def test_a_lost_connection_leaves_no_timer(self) -> None:
        for sent in (b"", b"HELP\r\n"):
            self.open()
            self.send(sent)
            self.transport.protocol.connectionLost(BYE)
            self.assertEqual([], self.clock.getDelayedCalls())

    def test_a_connection_lost_after_the_last_timer_is_no_error(self) -> None:
        self.send(b"HELP\r\n")
        self.clock.advance(LINGER)
        self.protocol.connectionLost(BYE)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_the_time_limit_is_the_factorys(self) -> None:
        door = MyFactory({}, timeout=2, clock=cast("Any", self.clock))
        protocol = door.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.clock.advance(2)
        self.assertEqual(b"-no service was named in time\r\n", transport.value())


def self_signed() -> Any:
    """A key, and a certificate that it has signed itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return key, builder.sign(key, hashes.SHA256())


class TlsTests(SynchronousTestCase):
    """The same over TLS, in memory."""

    # Twisted's own use of pyOpenSSL is deprecated by the latter's newest.
    suppress = [util.suppress(category=DeprecationWarning)]  # noqa: RUF012 (trial's way)

    try:
        import OpenSSL
    except ImportError:  # pragma: no cover (optional)
        skip = "pyOpenSSL is not installed"
    else:
        del OpenSSL

    def setUp(self) -> None:
        from OpenSSL import crypto
        from twisted.internet.ssl import CertificateOptions
        from twisted.protocols.tls import TLSMemoryBIOFactory

        key, certificate = self_signed()
        options = CertificateOptions(
            privateKey=crypto.PKey.from_cryptography_key(key),
            certificate=crypto.X509.from_cryptography(certificate),
        )
        self.clock = Clock()
        self.keepers = KeeperFactory()
        door = MyFactory({"echo": self.keepers}, clock=cast("Any", self.clock))
        client = Factory.forProtocol(Keeper)

        def end(options: CertificateOptions, is_client: bool, factory: Any) -> Any:
            clock = cast("Any", self.clock)
            tls = TLSMemoryBIOFactory(options, is_client, factory, clock)
            return tls.buildProtocol(cast("Any", None))

        self.server = end(options, False, door)
        self.client = end(CertificateOptions(), True, client)
        self.wires = (StringTransport(), StringTransport())
        self.server.makeConnection(self.wires[0])
        self.client.makeConnection(self.wires[1])

    def pump(self) -> None:
        ends = [(self.wires[0], self.client), (self.wires[1], self.server)]
        self.clock.advance(0)
        while any(wire.value() for wire, _ in ends):
            for wire, end in ends:
                data = wire.value()
                wire.clear()
                if data:
                    end.dataReceived(data)
                    self.clock.advance(0)

    def ask(self) -> None:
        """Name the service, with bytes behind the name, and more in a record that arrives with it."""
        self.pump()
        for record in (b"echo\r\nand", b" more"):
            self.client.write(record)
            self.clock.advance(0)
        self.pump()

    def test_a_service_takes_the_connection_and_every_byte(self) -> None:
        self.ask()
        [keeper] = self.keepers.made
        self.assertEqual(b"and more", keeper.got)
        self.assertIs(keeper, self.server.wrappedProtocol)
        self.assertEqual(b"+echo\r\n", self.client.wrappedProtocol.got)
        self.client.write(b" to come")
        self.pump()
        self.server.connectionLost(BYE)
        self.assertEqual((b"and more to come", 1), (keeper.got, keeper.losses))

    def test_bytes_wait_for_a_service_that_pauses(self) -> None:
        self.patch(Keeper, "connectionMade", lambda keeper: keeper.transport.pauseProducing())
        self.ask()
        [keeper] = self.keepers.made
        self.assertEqual(b"", keeper.got)
        keeper.transport.resumeProducing()  # type: ignore[union-attr]
        self.clock.advance(0)
        self.assertEqual(b"and more", keeper.got)
        self.assertIs(keeper, self.server.wrappedProtocol)

    def test_a_refusal_ends_tls_and_then_the_socket(self) -> None:
        self.client.write(b"nonesuch\r\n")
        self.pump()
        self.assertEqual(UNKNOWN, self.client.wrappedProtocol.got)
        self.assertTrue(self.wires[0].disconnecting)

    def test_a_client_that_never_shakes_hands_is_aborted(self) -> None:
        self.clock.advance(NAME_TIMEOUT)
        self.clock.advance(LINGER)
        self.assertTrue(self.wires[0].disconnected)


class MemoryTests(DoorCase):
    def test_nothing_of_the_door_stays_with_the_connection(self) -> None:
        import gc
        import weakref

        self.send(b"echo\r\nrest")
        gone = weakref.ref(self.protocol)
        self.assertIsInstance(gone(), FrontDoor)
        del self.protocol
        gc.collect()
        self.assertIsNone(gone())
