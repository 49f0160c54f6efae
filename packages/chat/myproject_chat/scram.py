"""
SCRAM-SHA-256: the server's half of a login in which the password never crosses the wire.

The server keeps four values for each account that has a password, a `ScramCredentials`: they prove that
a client knows the password, and do not let their thief log in as the client. The exchange has four
messages::

    client first   n,,n=alice,r=<client's nonce>
    server first   r=<both nonces>,s=<salt>,i=<iterations>
    client final   c=biws,r=<both nonces>,p=<proof>
    server final   v=<signature>                      (in which the server proves itself)

Between the first two the caller looks up the account. One that does not exist gets a salt as well:
derived from its name and a secret of the server's, so that it is the same every time, and the exchange
goes on to the same end as with a wrong password. Nobody learns which names are taken.

Written by hand rather than with the scramp library: that one looks the account up inside a call, where
we have to wait for the store; has no way to go on for a name that is not there; and carries no types.
The tests use it as the client.

Channel binding (SCRAM-SHA-256-PLUS) is not offered, so a client's "y" is believed (RFC 5802 section 6).

Sources: RFC 5802 (messages: section 7), RFC 7677 (SHA-256).
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from binascii import Error, a2b_base64
from dataclasses import dataclass
from typing import Final

from myproject_chat.names import fold
from myproject_chat.saslprep import prepared

__all__ = [
    "MINIMUM_ITERATIONS",
    "ScramCredentials",
    "ScramError",
    "ServerScram",
    "derive",
    "fake_credentials",
]

#: RFC 7677 section 4.
MINIMUM_ITERATIONS: Final = 4096

_SALT_SIZE: Final = 16
_DIGEST_SIZE: Final = 32


class ScramError(Exception):
    """A client's message is not SCRAM's, or asks for what we do not offer."""


@dataclass(frozen=True, slots=True)
class ScramCredentials:
    """
    What the server keeps of a password, for SCRAM (RFC 5802 section 3).

    :ivar salt: 16 random bytes.
    :ivar iterations: how many rounds of PBKDF2 the client has to compute.
    :ivar stored_key: the hash of the client's key.
    :ivar server_key: with which the server proves that it has these credentials.
    """

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def derive(password: bytes, salt: bytes, iterations: int) -> ScramCredentials:
    """
    Make credentials. It takes as long as the iterations do: tens of milliseconds for 100,000.

    :param password: the password, UTF-8; it is prepared here.
    :param salt: random bytes.
    :param iterations: rounds of PBKDF2, at least `MINIMUM_ITERATIONS`.
    :raises ValueError: if the rounds are fewer.
    """
    if iterations < MINIMUM_ITERATIONS:
        raise ValueError(f"SCRAM takes at least {MINIMUM_ITERATIONS} iterations, not {iterations}")
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password), salt, iterations)
    stored_key = hashlib.sha256(_mac(salted, b"Client Key")).digest()
    return ScramCredentials(salt, iterations, stored_key, _mac(salted, b"Server Key"))


def fake_credentials(secret: bytes, account: bytes, iterations: int) -> ScramCredentials:
    """
    Make credentials for an account that does not exist, which no password fits.

    :param secret: the server's own, the same after a restart: else the salts of names that are not
        taken would change, and so give themselves away.
    :param account: the name asked for; its case does not matter, as it does not for those that exist.
    :param iterations: what new accounts get.
    """
    name = fold(account)
    return ScramCredentials(
        _mac(secret, b"salt\0" + name)[:_SALT_SIZE],
        iterations,
        _mac(secret, b"stored key\0" + name),
        _mac(secret, b"server key\0" + name),
    )


def _attribute(part: bytes, name: bytes) -> bytes:
    """Read ``x=value``."""
    if part[:2] != name + b"=":
        raise ScramError(f"{name.decode()}= was expected")
    return part[2:]


def _name(encoded: bytes) -> bytes:
    """Undo ``=2C`` and ``=3D`` (RFC 5802 section 5.1); no other ``=`` may be there."""
    pieces = encoded.split(b"=")
    decoded = pieces[0]
    for piece in pieces[1:]:
        if piece[:2] not in (b"2C", b"3D"):
            raise ScramError("an equals sign in a name is written =3D")
        decoded += (b"," if piece[:2] == b"2C" else b"=") + piece[2:]
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise ScramError("a name is UTF-8") from None
    if not decoded or b"\0" in decoded:
        raise ScramError("a name is at least one character, none of them NUL")
    return decoded


def _is_printable(nonce: bytes) -> bool:
    """Say whether a nonce is RFC 5802's ``1*(%x21-2B / %x2D-7E)``, split at commas already."""
    return bool(nonce) and all(0x21 <= byte <= 0x7E for byte in nonce)


class ServerScram:
    """
    One exchange, from the client's first message on. Call `server_first`, then `server_final`.

    :param client_first: the client's first message.
    :param nonce: the server's half of the nonce, printable ASCII without a comma, never used before.
    :raises ScramError: if the message is not SCRAM's.
    :ivar account: the name with which the client wants to log in.
    :ivar authzid: whose rights it wants, empty for those of the account.
    """

    def __init__(self, client_first: bytes, nonce: bytes) -> None:
        parts = client_first.split(b",")
        if len(parts) < 4:
            raise ScramError("the first message has at least four parts")
        # "p=" asks for channel binding, which we did not offer.
        if parts[0] not in (b"n", b"y"):
            raise ScramError("channel binding is not offered")
        self.authzid = _name(_attribute(parts[1], b"a")) if parts[1] else b""
        self.account = _name(_attribute(parts[2], b"n"))
        client_nonce = _attribute(parts[3], b"r")
        if not _is_printable(client_nonce):
            raise ScramError("a nonce is printable ASCII")
        # What follows are extensions, to be ignored; a mandatory one ("m=") stands where "n=" does.
        header = b",".join((*parts[:2], b""))
        self._binding = b64encode(header)
        self._client_first = client_first[len(header) :]
        self._nonce = client_nonce + nonce
        self._server_first = b""
        self._credentials: ScramCredentials | None = None

    def server_first(self, credentials: ScramCredentials) -> bytes:
        """
        Write the server's first message.

        :param credentials: the account's, or `fake_credentials`.
        """
        self._credentials = credentials
        self._server_first = b"r=%b,s=%b,i=%d" % (
            self._nonce,
            b64encode(credentials.salt),
            credentials.iterations,
        )
        return self._server_first

    def server_final(self, client_final: bytes) -> bytes | None:
        """
        Check the client's proof.

        :param client_final: the client's final message.
        :return: the server's final message; None if the proof is wrong.
        :raises ScramError: if the message is not SCRAM's.
        """
        credentials = self._credentials
        if credentials is None:
            raise RuntimeError("server_first() comes before server_final()")
        without_proof, _, last = client_final.rpartition(b",")
        parts = without_proof.split(b",")
        if len(parts) < 2:
            raise ScramError("the final message has at least three parts")
        # Both were sent in the clear, so how long a comparison takes tells nothing.
        if _attribute(parts[0], b"c") != self._binding:
            raise ScramError("the channel binding is not that of the first message")
        if _attribute(parts[1], b"r") != self._nonce:
            raise ScramError("the nonce is not that of the first messages")
        try:
            proof = a2b_base64(_attribute(last, b"p"), strict_mode=True)
        except Error:
            raise ScramError("the proof is base64") from None
        if len(proof) != _DIGEST_SIZE:
            raise ScramError(f"the proof has {_DIGEST_SIZE} bytes")
        signed = b",".join((self._client_first, self._server_first, without_proof))
        signature = _mac(credentials.stored_key, signed)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), credentials.stored_key):
            return None
        return b"v=" + b64encode(_mac(credentials.server_key, signed))
