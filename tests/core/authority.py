"""Certificates for tests: made quickly, written as a server expects them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Issued", "issue"]


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, passphrase: bytes = b"") -> bytes:
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            encryption = serialization.BestAvailableEncryption(passphrase)
        kind = serialization.PrivateFormat.PKCS8
        pem: bytes = self.key.private_bytes(serialization.Encoding.PEM, kind, encryption)
        return pem

    @property
    def both(self) -> bytes:
        return self.pem + self.key_pem()

    def write(self, file: Path) -> Path:
        """Write both into one file, as a whole."""
        new = file.with_suffix(".new")
        new.write_bytes(self.both)
        return new.replace(file)


def issue(*names: str, by: Issued | None = None, days: int = 30, authority: bool = False) -> Issued:
    """
    Make a certificate.

    :param names: its DNS names; none for none.
    :param by: who signs it; itself by default.
    :param days: when it ends, from now.
    :param authority: whether it may sign others.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    common = x509.NameAttribute(NameOID.COMMON_NAME, names[0] if names else "nobody")
    subject = x509.Name([common])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
    signed = builder.sign(key if by is None else by.key, hashes.SHA256())
    return Issued(signed, key)
