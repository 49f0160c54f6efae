"""
TLS: which connections are accepted, with which certificate, and how a renewed one takes its place.

What a connection needs is held by an OpenSSL context, one for each certificate. A set of contexts is
made whole from the files or not at all, and then takes the place of the set before it in one
assignment. A connection keeps the context that it began with: nothing that is open notices.

What is permitted follows Mozilla's "intermediate" server-side TLS guideline, version 5.7
(https://wiki.mozilla.org/Security/Server_Side_TLS): TLS 1.2 and 1.3, forward secrecy and
authenticated encryption only, the client's preference among them. Its finite-field DHE suites
are left out: they serve no client that cannot do ECDHE. No compression, no renegotiation.

The files are looked at every ``LOOK_EVERY`` seconds. A change that cannot be used, a renewal that
has written the certificate and not yet the key for instance, leaves what is served as it is, is logged
once, and is tried again at each look.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL, crypto
from twisted.application.service import Service
from twisted.internet import task
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from myproject.certificates import (
    CertificateError,
    Identity,
    choose,
    load_authorities,
    load_identities,
    make_self_signed,
    signature,
)
from myproject.errors import CannotStart
from myproject.tlstransport import TLSFactory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography import x509
    from twisted.internet.interfaces import IProtocolFactory
    from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

    from myproject.options import Options

__all__ = [
    "CIPHERS",
    "LOOK_EVERY",
    "TLSService",
    "TLSSettings",
    "check",
    "peer_fingerprint",
]

#: Seconds between two looks at the files; a renewed certificate is promised within a minute.
LOOK_EVERY: Final = 30.0

#: For TLS 1.2; those of TLS 1.3 are all good.
CIPHERS: Final = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
    b":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
    b":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)

#: openssl/ssl.h; pyOpenSSL has a name for it only if it was built to.
_OP_NO_RENEGOTIATION: Final = 0x40000000

_VERSIONS: Final = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}

_VERIFY: Final = {
    "none": SSL.VERIFY_NONE,
    "request": SSL.VERIFY_PEER,
    "require": SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
}


#: Endpoints that have TLS of their own: Twisted's, and txacme's and txsni's.
_OWN_TLS: Final = frozenset({"ssl", "tls", "txsni", "le", "lets"})


@dataclass(frozen=True)
class TLSSettings:
    """
    What TLS needs to know, each as the setting of that name.

    :param certificate: a file or a folder; None for a throw-away certificate.
    :param private_key: the key's file, if it is not in the certificate's.
    :param minimum: the oldest version of TLS that is accepted, ``1.2`` or ``1.3``.
    :param client_certificates: ``none``, ``request`` or ``require``.
    :param client_ca: who must have signed a client's certificate; None for anyone.
    """

    certificate: Path | None = None
    private_key: Path | None = None
    minimum: str = "1.2"
    client_certificates: str = "none"
    client_ca: Path | None = None

    @classmethod
    def of(cls, options: Options) -> TLSSettings:
        """
        Take them from a subcommand's options.

        :param options: validated options.
        """
        return cls(
            options.certificate,
            options.private_key,
            options.tls_minimum,
            options.client_certificates,
            options.client_ca,
        )


def check(options: Options) -> None:
    """
    Check a subcommand's settings of TLS together, reading the files that they name.

    :param options: options whose values are there.
    :raises SettingError: they do not fit together, or a file cannot be used.
    """
    listening = [name for name, one in options.settings.items() if one.for_tls and options[name]]
    for name in listening:
        for description in options[name]:
            kind = description.partition(":")[0]
            if kind in _OWN_TLS:
                plain = name.replace("tls-", "")
                options.refuse(name, f"{kind}: has TLS of its own", f"give it to --{plain}")
    _check_together(options, listening)
    try:
        if options.client_ca is not None:
            load_authorities(options.client_ca)
        if options.certificate is not None:
            load_identities(options.certificate, options.private_key)
    except CertificateError as error:
        options.refuse(error.setting, error.problem, error.remedy)


def _check_together(options: Options, listening: Sequence[str]) -> None:
    certificate = options.certificate
    if options.self_signed and certificate is not None:
        options.refuse("self-signed", "there is a certificate too", "leave one of them out")
    if options.private_key is not None and certificate is None:
        options.refuse("private-key", "it has no certificate", "name one with --certificate")
    if not listening:
        for name in ("certificate", "self-signed", "client-ca"):
            if options[name]:
                options.refuse(name, "there is no port for TLS", "name one with --tls-port")
    elif certificate is None and not options.self_signed:
        options.refuse(
            listening[0],
            "it needs a certificate",
            "name one with --certificate, or try it out with --self-signed",
        )
    if options.client_ca is not None and options.client_certificates == "none":
        options.refuse(
            "client-ca", "no client is asked", "say --client-certificates request, or require"
        )


def peer_fingerprint(transport: Any) -> str | None:
    """
    Tell who a client is: the SHA-256 of its certificate, in lower-case hexadecimal digits.

    The handshake has proved that the client has the certificate's key. Without ``client-ca`` that is all
    that was proved: a fingerprint identifies, a name in the certificate does not.

    :param transport: a connection's transport.
    :return: None without TLS, or if the client showed no certificate.
    """
    get_certificate = getattr(transport, "getPeerCertificate", None)
    shown = get_certificate() if get_certificate is not None else None
    return None if shown is None else shown.digest("sha256").decode().replace(":", "").lower()


def _accept_any(*_: object) -> bool:
    """Let a client's certificate pass: who it is, the service decides by its fingerprint."""
    return True


def _accept_verified(
    connection: object,  # noqa: ARG001
    certificate: object,  # noqa: ARG001
    error: int,  # noqa: ARG001
    depth: int,  # noqa: ARG001
    verified: int,
) -> bool:
    return bool(verified)


class _Contexts:
    """
    The contexts of all certificates.

    :param identities: the certificates, at least one.
    :param settings: what is permitted.
    :param authorities: who must have signed clients' certificates; empty for anyone.
    """

    def __init__(
        self,
        identities: tuple[Identity, ...],
        settings: TLSSettings,
        authorities: tuple[x509.Certificate, ...],
    ) -> None:
        self.identities = identities
        self._settings = settings
        self._authorities = authorities
        self._contexts = {id(one): self._context(one) for one in identities}
        self.default = self._contexts[id(choose(identities, None))]
        self.default.set_tlsext_servername_callback(self._choose)

    def _choose(self, connection: SSL.Connection) -> None:
        asked = connection.get_servername()
        if asked is not None:
            # Bytes that are no name ask for a name of nobody's.
            chosen = choose(self.identities, asked.decode("ascii", "replace"))
            connection.set_context(self._contexts[id(chosen)])

    def _context(self, identity: Identity) -> SSL.Context:
        settings = self._settings
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(_VERSIONS[settings.minimum])
        context.set_cipher_list(CIPHERS)
        context.set_options(SSL.OP_NO_COMPRESSION | _OP_NO_RENEGOTIATION)
        # Sessions resume by ticket; a cache of ours would be memory that clients fill.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_session_id(b"myproject")
        context.use_certificate(identity.chain[0])
        for one in identity.chain[1:]:
            context.add_extra_chain_cert(one)
        context.use_privatekey(identity.key)
        store = context.get_cert_store()
        for authority in self._authorities:
            context.add_client_ca(authority)
            if store is not None:
                store.add_cert(crypto.X509.from_cryptography(authority))
        accept = _accept_verified if self._authorities else _accept_any
        context.set_verify(_VERIFY[settings.client_certificates], accept)
        return context


@implementer(IOpenSSLServerConnectionCreator)
class _Creator:
    """Begins TLS on accepted connections, each with the contexts of the moment."""

    contexts: _Contexts

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002
        return SSL.Connection(self.contexts.default, None)


class TLSService(Service):
    """
    Has the certificates read when it starts, and again when they change.

    :param settings: what TLS needs to know.
    :param clock: tells the time; the reactor by default, looked up when the service starts.
    """

    _log = Logger()

    def __init__(self, settings: TLSSettings, clock: Any = None) -> None:
        self.settings = settings
        self.clock = clock
        self._creator = _Creator()
        self._throw_away: Identity | None = None
        self._signature: object = None
        self._complaint = ""
        self._looking: task.LoopingCall | None = None

    @property
    def identities(self) -> tuple[Identity, ...]:
        """The certificates that are served; none before the start."""
        contexts = getattr(self._creator, "contexts", None)
        return contexts.identities if contexts is not None else ()

    def wrap(self, factory: IProtocolFactory, clock: Any) -> TLSMemoryBIOFactory:
        """
        Put TLS before a factory.

        :param factory: what is behind it.
        :param clock: with which small writes are gathered, the reactor.
        :return: the factory for a port, which must not open before this service has started.
        """
        return TLSFactory(self._creator, False, factory, clock)

    def privilegedStartService(self) -> None:
        """
        Read the files while the process may read all.

        :raises CannotStart: a file cannot be used.
        """
        super().privilegedStartService()
        self._begin()

    def startService(self) -> None:
        """
        Read the files, unless that was done, and begin to look at them.

        :raises CannotStart: a file cannot be used.
        """
        super().startService()
        if self.clock is None:
            from twisted.internet import reactor

            self.clock = reactor
        if not self.identities:
            self._begin()
        if self.settings.certificate is not None:
            self._watch()

    def _watch(self) -> None:
        self._looking = task.LoopingCall(self._look)
        self._looking.clock = self.clock
        self._looking.start(LOOK_EVERY, now=False)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.stop()

    def _begin(self) -> None:
        try:
            self._load(self.settings)
        except CertificateError as error:
            raise CannotStart(f"cannot serve TLS: {error}") from None

    def reload(self, settings: TLSSettings | None = None) -> bool:
        """
        Read everything again, for new connections.

        :param settings: what TLS needs to know from now on; by default as before.
        :return: whether it could be used; if not, the log says why, and all stays as it was.
        """
        settings = settings or self.settings
        watched = self.settings.certificate is not None
        try:
            self._load(settings)
        except CertificateError as error:
            self._complain(error)
            return False
        if self.running and (settings.certificate is not None) != watched:
            if self._looking is None:
                self._watch()
            else:
                self._looking.stop()
                self._looking = None
        return True

    def _look(self) -> None:
        if self._sign(self.settings) == self._signature:
            return
        try:
            self._load(self.settings)
        except CertificateError as error:
            if str(error) != self._complaint:
                self._complain(error)

    def _complain(self, error: CertificateError) -> None:
        self._complaint = str(error)
        self._log.error(
            "the certificates that were read before remain in use: {error}", error=str(error)
        )

    def _sign(self, settings: TLSSettings) -> object:
        if settings.certificate is None:
            return None
        return signature(settings.certificate, settings.private_key, settings.client_ca)

    def _load(self, settings: TLSSettings) -> None:
        # The signature first: what changes while we read is seen by the next look.
        sign = self._sign(settings)
        authorities = load_authorities(settings.client_ca) if settings.client_ca else ()
        if settings.certificate is not None:
            identities = load_identities(settings.certificate, settings.private_key)
        else:
            self._throw_away = self._throw_away or make_self_signed(socket.gethostname())
            identities = (self._throw_away,)
        before = {one.fingerprint for one in self.identities}
        try:
            self._creator.contexts = _Contexts(identities, settings, authorities)
        except SSL.Error as error:
            # OpenSSL refuses what it finds weak: a key of 512 bits, a signature with MD5.
            words = ", ".join(str(one[-1]) for one in error.args[0]) or "no reason given"
            raise CertificateError(
                "certificate", f"OpenSSL refuses it: {words}", "have a stronger one made"
            ) from None
        self.settings = settings
        self._signature = sign
        self._complaint = ""
        for identity in identities:
            if identity.fingerprint not in before:
                self._announce(identity)

    def _announce(self, identity: Identity) -> None:
        if identity is self._throw_away:
            self._log.warn(
                "serving a throw-away certificate, for trying out only: no client can know it but by"
                " its SHA-256 fingerprint {fingerprint}",
                fingerprint=identity.fingerprint,
            )
            return
        names = " ".join(identity.names) or "no name"
        day = identity.ends.strftime("%Y-%m-%d")
        if identity.ends < datetime.now(UTC):
            # Served all the same: a server that does not start helps nobody renew it.
            message = "the certificate {name} ({names}) has expired on {day}; renew it"
            self._log.warn(message, name=identity.name, names=names, day=day)
        else:
            message = "serving the certificate {name} ({names}) until {day}"
            self._log.info(message, name=identity.name, names=names, day=day)
