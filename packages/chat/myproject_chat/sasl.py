"""
SASL: how a client says which account it is, and proves it.

One `Exchange` is one attempt, from AUTHENTICATE with a mechanism's name to success or failure. Lines go in,
steps come out: what the session has to send, or to look up. It knows no store and no thread, so a
step that takes time is a step handed to the caller, who comes back with the answer::

    receive(b"+")  -> Challenge       send its bytes (`chunks` cuts them), wait for the client
                   -> Verify          check the password, then call checked(account or None)
                   -> NeedCredentials look for SCRAM credentials, then call found(account, credentials)
                   -> NeedCertificate look for the certificate's account, then call checked(account or None)
                   -> Success         900 and 903; the exchange is over
                   -> Failure         the numerics that its reason names; the exchange is over
                   -> None            the client has more to send

A name that nobody has takes the same steps as one with a wrong password; so does a wait for more attempts
than are allowed (throttle.py), which the caller may put in before Verify and NeedCredentials.

The client's data arrives as base64 in lines of 400 bytes; one that is shorter, if need be "+", is the
last. It may give up with "*" at any time, also while the caller is looking something up: the answer
that comes then finds the exchange over, and is None.

Sources: https://ircv3.net/specs/extensions/sasl-3.1 and sasl-3.2, RFC 4422 (SASL; appendix A is EXTERNAL),
RFC 4616 (PLAIN), RFC 5802 and RFC 7677 (SCRAM-SHA-256).
"""

from __future__ import annotations

from base64 import b64encode
from binascii import Error, a2b_base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from myproject_chat.names import fold
from myproject_chat.scram import ScramCredentials, ScramError, ServerScram, fake_credentials

__all__ = [
    "CHUNK",
    "MAX_RESPONSE",
    "Challenge",
    "Exchange",
    "Failure",
    "NeedCertificate",
    "NeedCredentials",
    "Reason",
    "Secrets",
    "Step",
    "Success",
    "Verify",
    "begin",
    "chunks",
    "mechanisms",
]

#: Bytes of base64 in a line (sasl-3.1, "The AUTHENTICATE command").
CHUNK: Final = 400

#: Bytes of base64 in one response: room for the longest password twice, and names; ten lines and a bit.
MAX_RESPONSE: Final = 4096


class Reason(Enum):
    """Why an exchange failed: the numeric to answer with, and what to say in it."""

    #: 908 lists the mechanisms first.
    MECHANISM = 904, b"SASL authentication failed: there is no such mechanism here"
    MALFORMED = 904, b"SASL authentication failed: the response is malformed"
    #: A wrong password and an unknown account, which nobody is to tell apart.
    REFUSED = 904, b"SASL authentication failed"
    #: One parameter is over `CHUNK`: what 905 is for.
    TOO_LONG = 905, b"SASL message too long"
    TOO_MUCH = 904, b"SASL authentication failed: the response is longer than any can be"
    ABORTED = 906, b"SASL authentication aborted"

    def __init__(self, numeric: int, text: bytes) -> None:
        self.numeric = numeric
        self.text = text


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send this to the client, see `chunks`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Verify:
    """Check the account's password, then call `Exchange.checked`."""

    account: bytes
    password: bytes

    def __repr__(self) -> str:
        # A step may find its way into a log.
        return f"Verify(account={self.account!r}, password=...)"


@dataclass(frozen=True, slots=True)
class NeedCredentials:
    """Look up the account's SCRAM credentials, then call `Exchange.found`."""

    account: bytes


@dataclass(frozen=True, slots=True)
class NeedCertificate:
    """
    Look up to whom the certificate of the connection belongs, then call `Exchange.checked`.

    :ivar fingerprint: the certificate's.
    :ivar account: which of its accounts is wanted; empty for the one that it has.
    """

    fingerprint: bytes
    account: bytes


@dataclass(frozen=True, slots=True)
class Success:
    """The client is this account's."""

    account: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """It is not."""

    reason: Reason


Step = Challenge | Verify | NeedCredentials | NeedCertificate | Success | Failure


@dataclass(frozen=True, slots=True)
class Secrets:
    """
    What exchanges need of the server.

    :ivar secret: 32 bytes or more of the server's own, kept over restarts; see `fake_credentials`.
    :ivar iterations: what new accounts' SCRAM credentials have.
    :ivar nonce: gives a new nonce, printable ASCII without a comma (`secrets.token_urlsafe`, encoded).
    """

    secret: bytes
    iterations: int
    nonce: Callable[[], bytes]


def mechanisms(*, certificate: bool) -> tuple[bytes, ...]:
    """
    Give the mechanisms to offer, the best first.

    :param certificate: whether the client showed a certificate.
    """
    return (*((b"EXTERNAL",) if certificate else ()), b"SCRAM-SHA-256", b"PLAIN")


def chunks(data: bytes) -> Iterator[bytes]:
    """
    Cut a challenge into the parameters of AUTHENTICATE lines.

    :param data: what to send.
    :return: one parameter for each line; the last is shorter than `CHUNK`, ``+`` if there is nothing more.
    """
    encoded = b64encode(data)
    for start in range(0, len(encoded) + 1, CHUNK):
        yield encoded[start : start + CHUNK] or b"+"


class Exchange:
    """
    What all mechanisms share: the assembly of responses, giving up, and being over.

    :ivar over: whether it has come to `Success` or `Failure`.
    """

    def __init__(self) -> None:
        self.over = False
        self._encoded = bytearray()
        #: The caller's turn: the step it is about to answer.
        self._asked: Step | None = None

    def receive(self, parameter: bytes) -> Step | None:
        """
        Take the parameter of an AUTHENTICATE line, after the one that named the mechanism.

        :param parameter: base64, ``+`` or ``*``.
        :return: what to do; None if the client has more to send, or if all was over before.
        """
        if self.over:
            return None
        objection = self._objection(parameter)
        if objection is not None:
            return self._end(Failure(objection))
        if parameter != b"+":
            self._encoded += parameter
            if len(parameter) == CHUNK:
                return None
        try:
            response = a2b_base64(self._encoded, strict_mode=True)
        except Error:
            return self._end(Failure(Reason.MALFORMED))
        self._encoded.clear()
        return self._end(self._respond(response))

    def _objection(self, parameter: bytes) -> Reason | None:
        if parameter == b"*":
            return Reason.ABORTED
        if self._asked is not None:  # it is not the client's turn
            return Reason.MALFORMED
        if len(parameter) > CHUNK:
            return Reason.TOO_LONG
        if len(self._encoded) + len(parameter) > MAX_RESPONSE:
            return Reason.TOO_MUCH
        return None

    def checked(self, account: bytes | None) -> Step | None:
        """
        Answer `Verify` or `NeedCertificate`.

        :param account: the account's name as it is written; None if the password is wrong, or there
            is no such account, or certificate.
        :return: what to do; None if all was over before.
        """
        asked, self._asked = self._asked, None
        if self.over:
            return None
        if not isinstance(asked, Verify | NeedCertificate):
            raise RuntimeError("checked() answers Verify or NeedCertificate")  # noqa: TRY004 (a state)
        if account is None or (asked.account and fold(asked.account) != fold(account)):
            return self._end(Failure(Reason.REFUSED))
        return self._end(Success(account))

    def found(self, account: bytes, credentials: ScramCredentials | None) -> Step | None:
        """
        Answer `NeedCredentials`.

        :param account: the account's name as it is written; any if there is none.
        :param credentials: its SCRAM credentials; None if it has none, or there is no such account.
        :return: what to do; None if all was over before.
        """
        asked, self._asked = self._asked, None
        if self.over:
            return None
        if not isinstance(asked, NeedCredentials):
            raise RuntimeError("found() answers NeedCredentials")  # noqa: TRY004 (a state)
        return self._end(self._challenge(account, credentials))

    def _end(self, step: Step) -> Step:
        """Note whose turn it is after a step."""
        self.over = isinstance(step, Success | Failure)
        if self.over:
            self._encoded.clear()
        self._asked = None if self.over or isinstance(step, Challenge) else step
        return step

    def _respond(self, response: bytes) -> Step:
        """Take a whole response of the client's."""
        raise NotImplementedError

    def _challenge(self, account: bytes, credentials: ScramCredentials | None) -> Step:
        """Take what the caller found; only a mechanism that asked for it gets it."""
        raise NotImplementedError


class _Plain(Exchange):
    """RFC 4616: ``[authzid] NUL authcid NUL password``, in one message."""

    def _respond(self, response: bytes) -> Step:
        parts = response.split(b"\0")
        if len(parts) != 3 or not parts[1] or not parts[2] or not _is_utf8(response):
            return Failure(Reason.MALFORMED)
        wanted, account, password = parts
        # Nobody may act as somebody else here (RFC 4616 section 2). Said before the password is looked
        # at, so it tells nothing about it.
        if wanted and fold(wanted) != fold(account):
            return Failure(Reason.REFUSED)
        return Verify(account, password)


class _External(Exchange):
    """RFC 4422 appendix A: the certificate says who it is; the message is the authzid, or empty."""

    def __init__(self, fingerprint: bytes) -> None:
        super().__init__()
        self._fingerprint = fingerprint

    def _respond(self, response: bytes) -> Step:
        if b"\0" in response or not _is_utf8(response):
            return Failure(Reason.MALFORMED)
        return NeedCertificate(self._fingerprint, response)


class _Scram(Exchange):
    """RFC 5802, see scram.py: two messages of the client's, and an empty one."""

    def __init__(self, server: Secrets) -> None:
        super().__init__()
        self._server = server
        self._scram: ServerScram | None = None
        self._account: bytes | None = None
        self._proven = False

    def _respond(self, response: bytes) -> Step:
        if self._proven:
            # sasl-3.1: "clients MUST still send an empty response".
            if response or self._account is None:
                return Failure(Reason.MALFORMED)
            return Success(self._account)
        try:
            return self._first(response) if self._scram is None else self._final(response)
        except ScramError:
            return Failure(Reason.MALFORMED)

    def _first(self, response: bytes) -> Step:
        scram = self._scram = ServerScram(response, self._server.nonce())
        if scram.authzid and fold(scram.authzid) != fold(scram.account):
            return Failure(Reason.REFUSED)
        return NeedCredentials(scram.account)

    def _challenge(self, account: bytes, credentials: ScramCredentials | None) -> Step:
        assert self._scram is not None  # noqa: S101 (who asks has it; this is for the type checker)
        if credentials is None:
            credentials = fake_credentials(
                self._server.secret, self._scram.account, self._server.iterations
            )
        else:
            self._account = account
        return Challenge(self._scram.server_first(credentials))

    def _final(self, response: bytes) -> Step:
        assert self._scram is not None  # noqa: S101 (as above)
        signed = self._scram.server_final(response)
        if signed is None or self._account is None:
            return Failure(Reason.REFUSED)
        self._proven = True
        return Challenge(signed)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def begin(
    mechanism: bytes,
    offered: Sequence[bytes],
    server: Secrets,
    fingerprint: bytes | None = None,
) -> tuple[Exchange | None, Step]:
    """
    Take the AUTHENTICATE line that names a mechanism.

    :param mechanism: what the client named, in any case.
    :param offered: what may be had, see `mechanisms`.
    :param server: what exchanges need of the server.
    :param fingerprint: that of the client's certificate, None if it showed none.
    :return: the exchange and the empty challenge that lets the client begin; or None and why not.
    """
    name = mechanism.upper()
    if name not in offered:
        # Nothing to give up is given up all the same, as clients do that want to be sure.
        aborted = mechanism == b"*"
        return None, Failure(Reason.ABORTED if aborted else Reason.MECHANISM)
    if name == b"SCRAM-SHA-256":
        return _Scram(server), Challenge(b"")
    if name == b"PLAIN":
        return _Plain(), Challenge(b"")
    if name == b"EXTERNAL" and fingerprint is not None:
        return _External(fingerprint), Challenge(b"")
    return None, Failure(Reason.MECHANISM)
