"""Echo over real sockets: what a kernel between the two ends changes, and TLS."""

from __future__ import annotations

import hashlib
import select
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet import defer, task
from twisted.internet.endpoints import SSL4ClientEndpoint, TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from myproject.service import PortsService
from myproject_echo import EchoFactory, EchoProtocol
from tests.support import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

try:
    from OpenSSL import SSL, crypto  # noqa: F401
except ImportError:
    HAS_TLS = False
else:
    HAS_TLS = True

KIB, MIB = 2**10, 2**20


class Watched(EchoProtocol):
    """An echo that knows how much it took, and the most bytes that ever waited to be sent."""

    taken = highest = 0

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.taken += len(data)
        self.highest = max(self.highest, len(self.tcp.dataBuffer) + self.tcp._tempDataLen)

    @property
    def tcp(self) -> Any:
        """The TCP transport, also where TLS is above it."""
        return getattr(self.transport, "transport", self.transport)

    @property
    def stuck(self) -> bool:
        """Whether it has stopped reading, and the system takes nothing more from it."""
        from twisted.internet import reactor

        paused = self.tcp not in reactor.getReaders()
        return paused and not select.select([], [self.tcp.fileno()], [], 0)[1]


class Client(Protocol):
    """Keeps a digest of what comes back, and says when the connection is gone."""

    transport: Any

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.count = 0
        self.gone: defer.Deferred[None] = defer.Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.digest.update(data)
        self.count += len(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002
        self.gone.callback(None)


class LoopbackTests(TestCase):
    """A server and a client, both in this process."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.made: list[Watched] = []

    def serve(self, description: str) -> int:
        """Serve echo, and return the port's number."""
        factory = EchoFactory()

        def build(addr: object) -> Watched:  # noqa: ARG001
            self.made.append(Watched())
            return self.made[-1]

        self.patch(factory, "buildProtocol", build)
        service = PortsService(factory, [description])
        service.startService()
        self.addCleanup(service.stopService)
        address: Any = service.ports[0].getHost()
        return int(address.port)

    async def connect(self, endpoint: Any) -> Client:
        """Connect a client that the kernel keeps few bytes for."""
        client: Client = await endpoint.connect(Factory.forProtocol(Client))

        def leave() -> defer.Deferred[None]:
            client.transport.abortConnection()
            return client.gone

        self.addCleanup(leave)
        tcp = getattr(client.transport, "transport", client.transport)
        tcp.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
        return client

    async def until(self, predicate: Callable[[], object]) -> None:
        """Let the reactor turn until the predicate holds."""
        end = self.reactor.seconds() + PATIENCE
        while not predicate():
            self.assertLess(self.reactor.seconds(), end, "waited in vain")
            await task.deferLater(self.reactor, 0.001)

    async def offer_without_reading(self, client: Client, data: bytes) -> Watched:
        """Send it all, read nothing, and return the server's protocol once it takes no more."""
        client.transport.pauseProducing()
        client.transport.write(data)
        await self.until(lambda: self.made and self.made[0].stuck)
        return self.made[0]

    async def test_slow_reader(self) -> None:
        """
        Of 64 MiB from a client that does not read, the server holds two reads' worth at most.

        When the client reads, all of them come back unchanged, and its half-close is answered by ours.
        """
        port = self.serve("tcp:0:interface=127.0.0.1")
        data = hashlib.shake_256(b"seed").digest(64 * MIB)
        client = await self.connect(TCP4ClientEndpoint(self.reactor, "127.0.0.1", port))
        server = await self.offer_without_reading(client, data)
        client.transport.loseWriteConnection()
        self.assertLess(server.taken, len(data))
        client.transport.resumeProducing()
        await client.gone
        self.assertEqual((len(data), len(data)), (server.taken, client.count))
        self.assertEqual(hashlib.sha256(data).digest(), client.digest.digest())
        self.assertLessEqual(server.highest, 128 * KIB)

    async def test_slow_reader_leaves(self) -> None:
        """A client that goes away while the server waits for it to read takes nothing with it."""
        port = self.serve("tcp:0:interface=127.0.0.1")
        client = await self.connect(TCP4ClientEndpoint(self.reactor, "127.0.0.1", port))
        server = await self.offer_without_reading(client, bytes(16 * MIB))
        client.transport.abortConnection()
        await self.until(lambda: not server.tcp.connected)
        self.assertEqual([], self.flushLoggedErrors())

    async def test_tls(self) -> None:
        """Over TLS a slow reader's bytes are bounded as well, and all come back."""
        port = self.serve(f"ssl:0:interface=127.0.0.1:privateKey={self.self_signed()}")
        data = hashlib.shake_256(b"seed").digest(16 * MIB)
        from twisted.internet.ssl import CertificateOptions

        endpoint = SSL4ClientEndpoint(self.reactor, "127.0.0.1", port, CertificateOptions())
        client = await self.connect(endpoint)
        # The two shake hands before the client stops reading.
        client.transport.write(data[:1])
        await self.until(lambda: client.count == 1)
        server = await self.offer_without_reading(client, data[1:])
        self.assertLess(server.taken, len(data))
        client.transport.resumeProducing()
        await self.until(lambda: client.count == len(data))
        self.assertEqual(hashlib.sha256(data).digest(), client.digest.digest())
        self.assertLessEqual(server.highest, 256 * KIB)
        client.transport.loseConnection()
        await client.gone
        # How Twisted calls pyOpenSSL is not ours to mend; any other warning is.
        others = [
            warning["message"]
            for warning in self.flushWarnings()
            if not warning["message"].startswith("Passing pyOpenSSL")
        ]
        self.assertEqual([], others)

    if not HAS_TLS:
        test_tls.skip = "needs pyOpenSSL"  # type: ignore[attr-defined]

    def self_signed(self) -> Path:
        """Make a file with a key and a certificate for it."""
        file = Path(self.mktemp())
        file.write_bytes(self_signed())
        return file


def self_signed() -> bytes:
    """A key and a certificate for it, in PEM."""
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    start = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)
