"""TLS: what is accepted, which certificate is served, and how a renewed one takes its place."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL, crypto
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, StringTransport
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

import myproject
from myproject.certificates import CertificateError
from myproject.errors import CannotStart, SettingError
from myproject.gate import Gate
from myproject.service import FactoryService
from myproject.tls import (
    LOOK_EVERY,
    TLSService,
    TLSSettings,
    check,
    peer_fingerprint,
)
from tests.core.authority import Issued, issue
from tests.support import PATIENCE, Running, connect, free_port, run, start

if TYPE_CHECKING:
    from collections.abc import Sequence

A = issue("a.test")
B = issue("b.test", "*.wild.test")
ANN = issue("ann")


class Said(Protocol):
    """Writes down what it hears, answers in capitals, and knows who speaks."""

    def __init__(self) -> None:
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        self.fingerprint = peer_fingerprint(self.transport)
        if self.transport is not None:
            self.transport.write(data.upper())


def common_name(certificate: crypto.X509) -> str:
    """What a certificate of these tests is called."""
    (name,) = certificate.to_cryptography().subject
    return str(name.value)


class Visitor:
    """A client of TLS in memory, connected to one protocol of the server's."""

    def __init__(
        self,
        service: TLSService,
        name: str = "",
        *,
        shows: Issued | None = None,
        versions: Sequence[int] = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION),
        ciphers: bytes = b"",
    ) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(min(versions))
        context.set_max_proto_version(max(versions))
        if ciphers:
            context.set_cipher_list(ciphers)
        if shows is not None:
            context.use_certificate(shows.certificate)
            context.use_privatekey(shows.key)
        self.connection = SSL.Connection(context, None)
        if name:
            self.connection.set_tlsext_host_name(name.encode())
        self.connection.set_connect_state()
        self.said = Said()
        factory = Factory.forProtocol(lambda: self.said)
        address = IPv4Address("TCP", "192.0.2.1", 4)
        self.clock = Clock()
        gate = Gate(factory, clock=self.clock)
        self.server = service.wrap(gate, self.clock).buildProtocol(address)
        self.wire = StringTransport()
        self.server.makeConnection(self.wire)
        for _ in range(4):
            try:
                self.connection.do_handshake()
            except SSL.WantReadError:
                self.pump()
        self.pump()

    def pump(self) -> None:
        """Carry what waits, to and fro."""
        with contextlib.suppress(SSL.WantReadError):
            self.server.dataReceived(self.connection.bio_read(65536))
        # Twisted gathers small writes until the next turn.
        self.clock.advance(0)
        answer = self.wire.value()
        self.wire.clear()
        if answer:
            self.connection.bio_write(answer)

    def ask(self, data: bytes) -> bytes:
        self.connection.send(data)
        self.pump()
        return self.connection.recv(65536)

    @property
    def served(self) -> str:
        """The name of the certificate that it got."""
        certificate = self.connection.get_peer_certificate()
        assert certificate is not None
        return common_name(certificate)


class TLSCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = A.write(self.folder / "a.pem")
        self.clock = Clock()
        self.log = EventLoggingObserver()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)

    def logged(self, *levels: str) -> list[str]:
        return [
            str(event["log_format"]).format(**event)
            for event in self.log
            if event["log_level"].name in levels and event["log_namespace"].startswith("myproject")
        ]

    def serve(self, certificate: Path | None = None, **settings: Any) -> TLSService:
        """A service that has started."""
        service = TLSService(TLSSettings(certificate or self.file, **settings), self.clock)
        service.startService()
        self.addCleanup(service.stopService)
        return service


class ServingTests(TLSCase):
    """What a client meets."""

    def test_bytes_pass(self) -> None:
        visitor = Visitor(self.serve())
        self.assertEqual(b"HELLO", visitor.ask(b"hello"))

    def test_a_client_gets_the_certificate_that_it_asks_for(self) -> None:
        B.write(self.folder / "b.pem")
        service = self.serve(self.folder)
        names = ("b.test", "x.wild.test", "A.TEST", "nobody.test", "")
        got = [Visitor(service, name).served for name in names]
        self.assertEqual(["b.test", "b.test", "a.test", "a.test", "a.test"], got)

    def test_the_whole_chain_is_sent(self) -> None:
        root = issue("root", authority=True)
        leaf = issue("leaf.test", by=root)
        self.file.write_bytes(leaf.both + root.pem)
        chain = Visitor(self.serve()).connection.get_peer_cert_chain() or []
        self.assertEqual(["leaf.test", "root"], [common_name(one) for one in chain])

    def test_1_2_and_1_3_are_spoken_by_default(self) -> None:
        service = self.serve()
        for version, name in ((SSL.TLS1_2_VERSION, "TLSv1.2"), (SSL.TLS1_3_VERSION, "TLSv1.3")):
            visitor = Visitor(service, versions=[version])
            self.assertEqual(name, visitor.connection.get_protocol_version_name())

    def test_an_older_version_than_the_minimum_is_refused(self) -> None:
        service = self.serve(minimum="1.3")
        self.assertRaises(SSL.Error, Visitor, service, versions=[SSL.TLS1_2_VERSION])
        Visitor(service, versions=[SSL.TLS1_3_VERSION])

    def test_1_1_is_refused_whatever_the_client_would_do(self) -> None:
        self.assertRaises(
            SSL.Error,
            Visitor,
            self.serve(),
            versions=[SSL.TLS1_1_VERSION],
            ciphers=b"ALL:@SECLEVEL=0",
        )

    def test_only_forward_secret_authenticated_ciphers(self) -> None:
        service = self.serve()
        two = [SSL.TLS1_2_VERSION]
        for weak in (b"ECDHE-ECDSA-AES128-SHA", b"ECDHE-ECDSA-AES256-SHA384"):
            self.assertRaises(SSL.Error, Visitor, service, versions=two, ciphers=weak)
        good = Visitor(service, versions=two, ciphers=b"ECDHE-ECDSA-CHACHA20-POLY1305")
        self.assertEqual("ECDHE-ECDSA-CHACHA20-POLY1305", good.connection.get_cipher_name())

    def test_a_refused_connection_is_no_error(self) -> None:
        """The gate refuses before the handshake: TLS takes no None for a protocol."""
        service = self.serve()
        gate = Gate(Factory.forProtocol(Said), clock=self.clock)
        gate.close()
        address = IPv4Address("TCP", "192.0.2.1", 4)
        self.assertIsNotNone(service.wrap(gate, self.clock).buildProtocol(address))


class ClientCertificateTests(TLSCase):
    """Who the client is."""

    def fingerprint(self, service: TLSService, shows: Issued | None) -> str | None:
        visitor = Visitor(service, shows=shows)
        visitor.ask(b"hello")
        return visitor.said.fingerprint

    @property
    def anns(self) -> str:
        return ANN.certificate.fingerprint(hashes.SHA256()).hex()

    def test_none_is_asked_for_by_default(self) -> None:
        self.assertIsNone(self.fingerprint(self.serve(), ANN))

    def test_any_will_do_on_request_and_none_too(self) -> None:
        service = self.serve(client_certificates="request")
        self.assertEqual(
            (self.anns, None), (self.fingerprint(service, ANN), self.fingerprint(service, None))
        )

    def test_one_must_be_shown_where_it_is_required(self) -> None:
        service = self.serve(client_certificates="require")
        self.assertEqual(self.anns, self.fingerprint(service, ANN))
        self.assertRaises(SSL.Error, self.fingerprint, service, None)

    def test_the_authority_must_have_signed_it(self) -> None:
        root = issue("root", authority=True)
        ca = self.folder / "ca.crt"
        ca.write_bytes(root.pem)
        service = self.serve(client_certificates="request", client_ca=ca)
        self.assertIsNotNone(self.fingerprint(service, issue("bob", by=root)))
        self.assertIsNone(self.fingerprint(service, None))
        self.assertRaises(SSL.Error, self.fingerprint, service, ANN)

    def test_who_the_client_is_holds_for_each_name(self) -> None:
        """A certificate chosen by name asks the client as the default does."""
        B.write(self.folder / "b.pem")
        service = self.serve(self.folder, client_certificates="request")
        visitor = Visitor(service, "b.test", shows=ANN)
        visitor.ask(b"hello")
        self.assertEqual(("b.test", self.anns), (visitor.served, visitor.said.fingerprint))

    def test_without_tls_there_is_no_fingerprint(self) -> None:
        self.assertIsNone(peer_fingerprint(StringTransport()))


class RenewalTests(TLSCase):
    """A changed file."""

    def test_a_renewed_certificate_is_served_within_a_minute(self) -> None:
        service = self.serve()
        B.write(self.file)
        self.clock.advance(30)
        self.assertEqual("b.test", Visitor(service).served)
        self.assertIn(
            "serving the certificate a (b.test *.wild.test) until", self.logged("info")[-1]
        )

    def test_an_open_connection_notices_nothing(self) -> None:
        service = self.serve()
        visitor = Visitor(service)
        B.write(self.file)
        self.clock.advance(LOOK_EVERY)
        self.assertEqual("b.test", Visitor(service).served)
        self.assertEqual((b"STILL", "a.test"), (visitor.ask(b"still"), visitor.served))

    def test_files_that_did_not_change_are_not_read(self) -> None:
        service = self.serve()
        before = service.identities
        self.clock.advance(LOOK_EVERY)
        self.assertIs(before, service.identities)

    def test_half_a_renewal_keeps_the_old_one_and_is_logged_once(self) -> None:
        key = self.folder / "a.key"
        key.write_bytes(A.key_pem())
        self.file.write_bytes(A.pem)
        service = self.serve(private_key=key)
        self.file.write_bytes(B.pem)
        for _ in range(3):
            self.clock.advance(LOOK_EVERY)
        self.assertEqual("a.test", Visitor(service).served)
        (line,) = self.logged("error")
        self.assertIn("remain in use: the key in", line)
        key.write_bytes(B.key_pem())
        self.clock.advance(LOOK_EVERY)
        self.assertEqual("b.test", Visitor(service).served)

    def test_a_mistake_that_comes_again_is_logged_again(self) -> None:
        self.serve()
        for _ in range(2):
            self.file.write_bytes(b"")
            self.clock.advance(LOOK_EVERY)
            A.write(self.file)
            self.clock.advance(LOOK_EVERY)
        self.assertEqual(2, len(self.logged("error")))

    def test_a_new_certificate_in_the_folder_is_served(self) -> None:
        service = self.serve(self.folder)
        B.write(self.folder / "b.pem")
        self.clock.advance(LOOK_EVERY)
        self.assertEqual("b.test", Visitor(service, "b.test").served)
        # Only what is new is told.
        self.assertEqual(2, len(self.logged("info")))

    def test_no_look_after_the_stop(self) -> None:
        service = self.serve()
        service.stopService()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_reload_takes_new_settings(self) -> None:
        service = self.serve()
        other = B.write(self.folder / "other")
        self.assertTrue(service.reload(TLSSettings(other, minimum="1.3")))
        self.assertEqual("b.test", Visitor(service).served)
        self.assertRaises(SSL.Error, Visitor, service, versions=[SSL.TLS1_2_VERSION])

    def test_reload_of_a_bad_file_keeps_all(self) -> None:
        service = self.serve()
        self.assertFalse(service.reload(TLSSettings(self.folder / "gone")))
        self.assertIn("gone: no such file", self.logged("error")[0])
        self.assertEqual(
            (self.file, "a.test"), (service.settings.certificate, Visitor(service).served)
        )

    def test_from_a_throw_away_certificate_to_a_real_one_and_back(self) -> None:
        service = TLSService(TLSSettings(), self.clock)
        service.startService()
        throw_away = service.identities
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertTrue(service.reload(TLSSettings(self.file)))
        self.assertEqual("a.test", Visitor(service).served)
        self.assertEqual(1, len(self.clock.getDelayedCalls()))
        self.assertTrue(service.reload(TLSSettings()))
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(throw_away, service.identities)
        service.stopService()

    def test_a_certificate_that_openssl_finds_weak_is_refused(self) -> None:
        service = self.serve()

        def refuse(*_: object) -> None:
            raise SSL.Error([("SSL routines", "", "ee key too small")])

        self.patch(SSL.Context, "use_certificate", refuse)
        self.assertFalse(service.reload())
        self.assertIn("OpenSSL refuses it: ee key too small", self.logged("error")[0])


class StartTests(TLSCase):
    """The start."""

    def test_files_are_read_while_privileged_and_not_again(self) -> None:
        service = TLSService(TLSSettings(self.file), self.clock)
        service.privilegedStartService()
        self.file.unlink()
        service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual("a.test", Visitor(service).served)

    def test_a_file_that_has_gone_ends_the_start(self) -> None:
        self.file.unlink()
        with self.assertRaises(CannotStart) as caught:
            TLSService(TLSSettings(self.file), self.clock).startService()
        self.assertIn(f"cannot serve TLS: {self.file}: no such file", str(caught.exception))

    def test_an_expired_certificate_is_served_with_a_warning(self) -> None:
        issue("late.test", days=-1).write(self.file)
        self.assertEqual("late.test", Visitor(self.serve()).served)
        self.assertIn("the certificate a (late.test) has expired on", self.logged("warn")[0])

    def test_a_throw_away_certificate_says_so(self) -> None:
        service = TLSService(TLSSettings(), self.clock)
        service.privilegedStartService()
        (line,) = self.logged("warn")
        self.assertIn("for trying out only", line)
        self.assertIn(service.identities[0].fingerprint, line)

    def test_nothing_is_read_before_the_start(self) -> None:
        self.assertEqual((), TLSService(TLSSettings(self.folder / "gone")).identities)

    def test_the_reactor_is_the_default_clock(self) -> None:
        from twisted.internet import reactor

        service = TLSService(TLSSettings())
        service.startService()
        service.stopService()
        self.assertIs(reactor, service.clock)

    def test_a_subcommand_with_tls_has_both_kinds_of_ports(self) -> None:
        service = FactoryService(
            "x", Factory(), ["1"], Clock(), tls=TLSSettings(self.file), tls_descriptions=["2"]
        )
        descriptions = [one.descriptions for one in service if hasattr(one, "descriptions")]
        self.assertEqual([("1",), ("2",)], descriptions)
        assert service.tls is not None
        self.assertIsNone(FactoryService("x", Factory(), ["1"], Clock()).tls)


class CheckTests(TLSCase):
    """Settings that do not fit together cost one line."""

    def refused(self, **settings: str) -> tuple[str, str]:
        words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        options = myproject.Options({})
        for word in words:
            name, _, value = word[2:].partition("=")
            options.given[name] = [value]
        with self.assertRaises(SettingError) as caught:
            options.resolve()
        self.assertNotIn("\n", str(caught.exception))
        return caught.exception.setting, caught.exception.problem

    def test_what_does_not_fit(self) -> None:
        file = str(self.file)
        for expected, settings in (
            (("--tls-port", "it needs a certificate"), {"tls_port": "1"}),
            (("--tls-port", "ssl: has TLS of its own"), {"tls_port": f"ssl:1:privateKey={file}"}),
            (("--certificate", "there is no port for TLS"), {"certificate": file}),
            (("--self-signed", "there is no port for TLS"), {"self_signed": "yes"}),
            (("--private-key", "it has no certificate"), {"private_key": file, "tls_port": "1"}),
            (
                ("--self-signed", "there is a certificate too"),
                {"self_signed": "yes", "certificate": file, "tls_port": "1"},
            ),
            (
                ("--client-ca", "no client is asked"),
                {"client_ca": file, "certificate": file, "tls_port": "1"},
            ),
        ):
            self.assertEqual(expected, self.refused(**settings))

    def test_what_cannot_be_used(self) -> None:
        bad = self.folder / "bad"
        bad.write_bytes(b"bad")
        tls = {"tls_port": "1", "certificate": str(self.file)}
        setting, problem = self.refused(tls_port="1", certificate=str(bad))
        self.assertEqual("--certificate", setting)
        self.assertIn("has no certificate that can be read", problem)
        self.assertEqual("--private-key", self.refused(**tls, private_key=str(bad))[0])
        ca = {"client_ca": str(bad), "client_certificates": "request"}
        self.assertEqual("--client-ca", self.refused(**tls, **ca)[0])

    def test_what_fits(self) -> None:
        options = myproject.Options({"MYPROJECT_TLS_PORT": "1 2"})
        options.given = {"certificate": [str(self.file)], "tls-minimum": ["1.3"]}
        options.resolve()
        check(options)
        self.assertEqual(TLSSettings(self.file, minimum="1.3"), TLSSettings.of(options))
        self.assertEqual(("1", "2"), options.tls_port)

    def test_a_subclass_that_validates_is_checked_all_the_same(self) -> None:
        class Own(myproject.Options):
            def validate(self) -> None:
                raise AssertionError

        with self.assertRaises(SettingError):
            Own({"MYPROJECT_TLS_PORT": "1"}).resolve()

    def test_an_error_of_a_file_says_which_setting(self) -> None:
        self.assertEqual("p; r", str(CertificateError("s", "p", "r")))


class InstalledTests(SynchronousTestCase):
    """The installed ``twistd``, and Python's own TLS."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.port = free_port()

    def start(self, *words: str) -> Running:
        plain = ("-n", "myproject-echo", "-p", "tcp:0:interface=127.0.0.1")
        server = start(self, *plain, "--tls-port", str(self.port), *words)
        return server.wait_for_port(self.port)

    def connect(self, name: str, trusts: Issued, **settings: Any) -> ssl.SSLSocket:
        """Connect as a careful client does: to that name, trusting that certificate."""
        context = ssl.create_default_context(cadata=trusts.pem.decode())
        if shows := settings.get("shows"):
            context.load_cert_chain(shows)
        if maximum := settings.get("maximum"):
            context.maximum_version = maximum
        client = context.wrap_socket(connect(self.port), server_hostname=name)
        self.addCleanup(client.close)
        return client

    def echo(self, client: ssl.SSLSocket, data: bytes) -> None:
        client.sendall(data)
        answer = b""
        while len(answer) < len(data):
            more = client.recv(65536)
            if not more:
                raise EOFError("the server closed the connection")
            answer += more
        self.assertEqual(data, answer)

    def test_by_name_and_renewed_on_sighup(self) -> None:
        """Careful clients are served by name; after SIGHUP by the renewed one, the open ones still."""
        A.write(self.folder / "a.pem")
        B.write(self.folder / "b.pem")
        server = self.start("--certificate", str(self.folder), "--drain-timeout", "0")
        first = self.connect("a.test", A)
        self.echo(self.connect("x.wild.test", B), b"wild")
        renewed = issue("a.test")
        renewed.write(self.folder / "a.pem")
        server.signal(signal.SIGHUP)
        server.wait_for_log("reloaded")
        self.echo(self.connect("a.test", renewed), b"renewed")
        self.assertRaises(ssl.SSLCertVerificationError, self.connect, "a.test", A)
        self.echo(first, b"x" * 100_000)
        self.assertEqual(0, server.stop())

    def test_a_minimum_version(self) -> None:
        file = A.write(self.folder / "a.pem")
        self.start("--certificate", str(file), "--tls-minimum", "1.3")
        self.echo(self.connect("a.test", A), b"1.3")
        with self.assertRaises(ssl.SSLError):
            self.connect("a.test", A, maximum=ssl.TLSVersion.TLSv1_2)

    def test_a_client_that_must_show_a_certificate(self) -> None:
        file = A.write(self.folder / "a.pem")
        self.start("--certificate", str(file), "--client-certificates", "require")
        self.echo(self.connect("a.test", A, shows=ANN.write(self.folder / "ann")), b"ann")
        with self.assertRaises((OSError, EOFError)):
            self.echo(self.connect("a.test", A), b"nobody")

    def test_a_throw_away_certificate(self) -> None:
        server = self.start("--self-signed")
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client = context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), PATIENCE))
        self.addCleanup(client.close)
        self.echo(client, b"hello")
        shown = hashlib.sha256(client.getpeercert(binary_form=True) or b"").hexdigest().upper()
        server.wait_for_log("for trying out only")
        self.assertIn(shown, server.log.replace(":", ""))

    def test_mistakes_cost_one_line(self) -> None:
        file = self.folder / "a.pem"
        file.write_bytes(A.pem)
        words = ("-n", "myproject-echo", "--tls-port", "1", "--certificate", str(file))
        done = run(*words, cwd=self.folder)
        self.assertEqual((os.EX_USAGE, ""), (done.returncode, done.stdout))
        self.assertEqual(
            f"myproject-echo: --certificate, from the command line: {file} has no private key that can be"
            " read; name the key's file with --private-key, or put the key into the same file\n",
            done.stderr,
        )
        file.write_bytes(A.both)
        self.assertEqual(0, run(*words, "--check-config", cwd=self.folder).returncode)

    def test_without_tls_nothing_of_ours_for_it_is_imported(self) -> None:
        """Twisted's endpoints import OpenSSL where it is installed; that is all."""
        code = (
            "import sys; from myproject_echo.tap import Options; o = Options({}); o.resolve();"
            "from twisted.application.service import IServiceMaker; from twisted.plugin import getPlugins;"
            "[m] = [m for m in getPlugins(IServiceMaker) if m.tapname == o.tapname]; m.makeService(o);"
            "print({'myproject.tls', 'myproject.certificates', 'twisted.internet.reactor'} & {*sys.modules})"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        self.assertEqual("set()\n", done.stdout)

    def test_making_the_service_installs_no_reactor(self) -> None:
        code = (
            "import sys; from myproject_echo.tap import Options; o = Options({}); "
            "o.given = {'tls-port': ['1'], 'self-signed': ['yes']}; o.resolve();"
            "from twisted.application.service import IServiceMaker; from twisted.plugin import getPlugins;"
            "[m] = [m for m in getPlugins(IServiceMaker) if m.tapname == o.tapname]; m.makeService(o);"
            "print('twisted.internet.reactor' in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        self.assertEqual("False\n", done.stdout)
