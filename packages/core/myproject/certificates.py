"""
Certificates: from files to chains with their keys, and which of them a client asks for.

A path is a file or a folder. In a folder these count, all else is passed over:

==================================  ===============================================================
``NAME.pem``                        a chain and its key in one file
``NAME.crt`` and ``NAME.key``       a chain, and its key
``NAME/fullchain.pem`` and          the same, as Certbot lays out its ``live`` folder
``NAME/privkey.pem``
==================================  ===============================================================

The rule by which one is chosen for the name that a client sends (SNI, RFC 6066 section 3):

1. the first, in alphabetical order of ``NAME``, whose subjectAltName has that very name;
2. else the first that has ``*.REST`` where the name is ``LABEL.REST``: an asterisk is a whole first
   label and stands for one label (RFC 9525 section 6.3, as RFC 6125 before it);
3. else, and for a client that sends no name, the one called ``default``, or the first of all.

Only subjectAltName counts: clients have stopped to look at common names (RFC 9525, section 2). A client
that asks for a name of none gets rule 3's certificate rather than an alert: RFC 6066 leaves the choice,
the client checks the name anyway, and one that checks fingerprints may not care.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NoReturn

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from myproject.errors import MyprojectError

__all__ = [
    "DEFAULT_NAME",
    "CertificateError",
    "Identity",
    "Pair",
    "choose",
    "find_pairs",
    "load_authorities",
    "load_identities",
    "make_self_signed",
    "signature",
]

#: The certificate of a folder that is served when no other is asked for.
DEFAULT_NAME: Final = "default"

#: How long a throw-away certificate lasts: long enough for an evening's trial, too short to rely on.
SELF_SIGNED_DAYS: Final = 7


class CertificateError(MyprojectError):
    """
    A certificate or a key cannot be used: raised while files are read, before anything changes.

    :param setting: the setting that is to blame, ``certificate`` for instance.
    :param problem: what is wrong, a clause.
    :param remedy: what to do, a clause that begins with a verb.
    """

    def __init__(self, setting: str, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.setting = setting
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True)
class Pair:
    """
    Where a certificate and its key are.

    :param name: what the pair is called: a file's name without its ending, or a folder's.
    :param certificate: the file of the chain.
    :param key: the file of the key; it may be the same.
    """

    name: str
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Identity:
    """
    A chain of certificates with the key of its first.

    :param name: what it is called in the log.
    :param chain: the server's own certificate, then those that lead to a known authority.
    :param key: the private key.
    """

    name: str
    chain: tuple[x509.Certificate, ...]
    key: Any

    @property
    def names(self) -> tuple[str, ...]:
        """The DNS names of its subjectAltName, in lower case."""
        try:
            extension = self.chain[0].extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            )
        except (x509.ExtensionNotFound, ValueError):
            # Without one, or with one that cannot be read, nobody can ask for it by name.
            return ()
        return tuple(one.lower() for one in extension.value.get_values_for_type(x509.DNSName))

    @property
    def ends(self) -> datetime:
        """When it ceases to be valid."""
        return self.chain[0].not_valid_after_utc

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of its certificate, as browsers and ``openssl x509`` print it."""
        return self.chain[0].fingerprint(hashes.SHA256()).hex(":").upper()


def choose(identities: Iterable[Identity], asked: str | None) -> Identity:
    """
    Choose the certificate for a client, by the module's rule.

    :param identities: at least one.
    :param asked: the name that the client sent; None for none.
    """
    available = list(identities)
    # An asterisk is no client's name, and would be the very one of a wildcard.
    if asked and "*" not in asked:
        wanted = asked.lower().removesuffix(".")
        _, dot, rest = wanted.partition(".")
        candidates = [wanted, f"*.{rest}"] if dot else [wanted]
        for candidate in candidates:
            for identity in available:
                if candidate in identity.names:
                    return identity
    return next((one for one in available if one.name == DEFAULT_NAME), available[0])


def find_pairs(folder: Path) -> Iterator[Pair]:
    """
    Find the certificates of a folder, in alphabetical order of their names.

    :param folder: the folder.
    :raises CertificateError: it cannot be read.
    """
    try:
        files = sorted(folder.iterdir(), key=lambda file: (file.stem, file.name))
    except OSError as failure:
        _unreadable("certificate", folder, failure)
    for file in files:
        if file.name.startswith("."):
            continue
        if file.suffix == ".pem":
            yield Pair(file.stem, file, file)
        elif file.suffix == ".crt":
            yield Pair(file.stem, file, file.with_suffix(".key"))
        elif (file / "fullchain.pem").exists():
            yield Pair(file.name, file / "fullchain.pem", file / "privkey.pem")


def _pairs(certificate: Path, private_key: Path | None) -> list[Pair]:
    if not certificate.is_dir():
        return [Pair(certificate.stem, certificate, private_key or certificate)]
    if private_key is not None:
        raise CertificateError(
            "private-key",
            f"{certificate} is a folder, in which each certificate has its own key",
            "leave it out",
        )
    pairs = list(find_pairs(certificate))
    if not pairs:
        raise CertificateError(
            "certificate",
            f"there is no certificate in {certificate}",
            "put NAME.pem, NAME.crt with NAME.key, or NAME/fullchain.pem with NAME/privkey.pem there",
        )
    return pairs


def signature(
    certificate: Path, private_key: Path | None, *others: Path | None
) -> frozenset[tuple[str, int, int, int]]:
    """
    Tell files apart from what they were: each one's path, time of change, inode and size.

    :param certificate: a file or a folder.
    :param private_key: the key's file.
    :param others: more files.
    """
    try:
        pairs = _pairs(certificate, private_key)
    except CertificateError:
        pairs = []
    files = {file for pair in pairs for file in (pair.certificate, pair.key)}
    found = set()
    for file in files | {certificate, *(one for one in (private_key, *others) if one is not None)}:
        try:
            # Through links: Certbot renews by leading a link elsewhere.
            status = file.stat()
        except OSError:
            found.add((str(file), 0, 0, 0))
        else:
            # A folder's own numbers say nothing that those of its files do not.
            size = 0 if file.is_dir() else status.st_size
            time = 0 if file.is_dir() else status.st_mtime_ns
            found.add((str(file), time, status.st_ino, size))
    return frozenset(found)


def load_identities(certificate: Path, private_key: Path | None = None) -> tuple[Identity, ...]:
    """
    Read all certificates and keys.

    :param certificate: a file or a folder.
    :param private_key: the key's file; by default the certificate's own file has it.
    :return: at least one, in alphabetical order of their names.
    :raises CertificateError: one of them cannot be used.
    """
    return tuple(_load(pair) for pair in _pairs(certificate, private_key))


def load_authorities(file: Path) -> tuple[x509.Certificate, ...]:
    """
    Read the certificates of the authorities that sign clients' certificates.

    :param file: one or more, in PEM.
    :raises CertificateError: there is none, or it cannot be read.
    """
    return _chain("client-ca", file, _read("client-ca", file))


def _load(pair: Pair) -> Identity:
    chain = _chain("certificate", pair.certificate, _read("certificate", pair.certificate))
    key = _key(pair)
    if not _belong(chain[0], key):
        if any(_belong(one, key) for one in chain):
            raise CertificateError(
                "certificate",
                f"{pair.certificate} begins with another certificate than the key's",
                "put the server's own first, those of authorities behind it",
            )
        raise CertificateError(
            "private-key" if pair.key != pair.certificate else "certificate",
            f"the key in {pair.key} is not that of the certificate in {pair.certificate}",
            "give the two that belong together",
        )
    return Identity(pair.name, chain, key)


def _read(setting: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as failure:
        _unreadable(setting, file, failure)


def _unreadable(setting: str, file: Path, failure: OSError) -> NoReturn:
    words = (failure.strerror or type(failure).__name__).lower()
    raise CertificateError(
        setting, f"{file}: {words}", "name what the server's user can read"
    ) from None


def _chain(setting: str, file: Path, content: bytes) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(content))
    except ValueError:
        raise CertificateError(
            setting, f"{file} has no certificate that can be read", "give it in PEM"
        ) from None


def _key(pair: Pair) -> Any:
    setting = "private-key" if pair.key != pair.certificate else "certificate"
    content = _read("private-key", pair.key)
    try:
        return serialization.load_pem_private_key(content, None)
    except TypeError:
        raise CertificateError(
            setting,
            f"the key in {pair.key} is encrypted",
            "take its passphrase off: a server that restarts by itself has nobody to ask",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        # The parser's words may quote what it read, and that is secret.
        remedy = (
            "give it in PEM"
            if pair.key != pair.certificate
            else "name the key's file with --private-key, or put the key into the same file"
        )
        raise CertificateError(
            setting, f"{pair.key} has no private key that can be read", remedy
        ) from None


def _belong(certificate: x509.Certificate, key: Any) -> bool:
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False
    mine: bytes = key.public_key().public_bytes(*form)
    return public.public_bytes(*form) == mine


def make_self_signed(host: str, now: datetime | None = None) -> Identity:
    """
    Make a throw-away certificate, in memory: for ``localhost`` and this machine's name.

    :param host: the machine's name.
    :param now: the time; by default it is.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "myproject, for trying out")])
    begins = (now or datetime.now(UTC)) - timedelta(hours=1)
    names = ["localhost"]
    # A machine's name may be any bytes, a certificate's may not.
    if host.isascii() and host.replace("-", "a").replace(".", "a").isalnum() and host != names[0]:
        names.append(host)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .sign(key, hashes.SHA256())
    )
    return Identity("self-signed", (certificate,), key)
