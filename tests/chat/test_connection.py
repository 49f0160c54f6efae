"""What a connection brings along: TLS, a certificate, lines without an end."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import INegotiated
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from myproject_chat.protocol import ChatProtocol
from myproject_chat.session import Session
from tests.chat.harness import Chat, Transport

MARK = "ab" * 32


class EndlessLineTests(SynchronousTestCase):
    """What no IRC client sends."""

    def test_closed(self) -> None:
        """What came before is answered, and the connection ends while the line still goes on."""
        al = Chat().join("al")
        al.feed(b"PING x\r\n" + b"a" * 9000)
        self.assertEqual(["PONG", "417"], al.codes())
        al.feed(b"a" * 9000)
        self.assertEqual(["ERROR :Closing link: 192.168.1.1 (RecvQ exceeded)"], al.read())
        self.assertTrue(al.transport.disconnecting)


class Certificate:
    """A certificate of which nothing but the digest is asked for."""

    def digest(self, name: str) -> bytes:
        assert name == "sha256"
        return b":".join([b"AB"] * 32)


class EncryptedTransport(Transport):
    """As TLS shows itself to a protocol."""

    def __init__(self, shown: Certificate | None) -> None:
        super().__init__()
        alsoProvides(self, INegotiated)
        self.shown = shown

    def getPeerCertificate(self) -> Certificate | None:
        return self.shown


class EncryptedTests(SynchronousTestCase):
    """Who comes over TLS."""

    def session(self, shown: Certificate | None) -> Session:
        """Give the session of a connection whose handshake is complete."""
        protocol = Chat().factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 5))
        assert isinstance(protocol, ChatProtocol)
        protocol.makeConnection(EncryptedTransport(shown))
        protocol.handshakeCompleted()
        return protocol.session

    def test_certificate(self) -> None:
        session = self.session(Certificate())
        self.assertEqual((True, MARK.encode()), (session.secure, session.fingerprint))

    def test_none(self) -> None:
        session = self.session(None)
        self.assertEqual((True, None), (session.secure, session.fingerprint))

    def test_without_tls(self) -> None:
        session = Chat().connect().protocol.session
        self.assertEqual((False, None), (session.secure, session.fingerprint))
