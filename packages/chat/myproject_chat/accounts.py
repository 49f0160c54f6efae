"""
Accounts: who has one, how its owner proves to be that, and what was chosen for it.

Everything lives in memory; what is to outlive the process is handed to a store, which gives a ticket
for each write. Commands, SASL and services are fronts over these functions, which refuse by raising
`Refused`: its code is that of the standard replies, its text is for people. No clock, file or thread is
in here.

A name that nobody has costs and answers what a wrong password does. Whoever tries too often waits
(throttle.py).

Sources: https://ircv3.net/specs/extensions/account-registration, .../sasl-3.2, .../standard-replies.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from myproject_chat.keeper import Unwritten
from myproject_chat.names import fold, is_nick
from myproject_chat.sasl import Secrets
from myproject_chat.store.records import Account
from myproject_chat.throttle import Attempt, Busy, LoginThrottle, Rate, RegistrationThrottle

if TYPE_CHECKING:
    from myproject_chat.configuration import Accounts as Choices
    from myproject_chat.keeper import Keeper
    from myproject_chat.settings import Settings
    from myproject_chat.store.records import Loaded

__all__ = ["ALWAYS_ON", "MULTICLIENT", "Accounts", "Hasher", "Refused"]

#: What an owner may choose, by the name in `Account.settings`.
ALWAYS_ON: Final = "always-on"
MULTICLIENT: Final = "multiclient"

_MAX_CERTIFICATES: Final = 10
# Nobody is to be taken for one of them.
_SERVICES: Final = (b"nickserv", b"chanserv")
_MAX_EMAIL: Final = 254
_SECRET: Final = "sasl"  # noqa: S105 (a name, no secret)
_BUSY: Final = b"The server is busy; try again in a minute"
_WRONG: Final = b"There is no such account, or that is not its password"


class Refused(Exception):  # noqa: N818 (an answer to the peer, no error of ours)
    """
    What was asked for is not done.

    :ivar code: the code of the standard replies, such as ``ACCOUNT_EXISTS``.
    :ivar text: why, for people.
    """

    def __init__(self, code: bytes, text: bytes) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class Hasher(Protocol):
    """`passwords.Passwords`, of which the answers are awaited."""

    def credentials(self, password: bytes) -> Awaitable[Any]:
        """Make what is stored of a new password; fails with `Busy` or ValueError."""

    def verify(self, encoded: str | None, password: bytes) -> Awaitable[bool]:
        """Check a password; fails with `Busy`."""

    def is_outdated(self, encoded: str) -> bool:
        """Say whether what is stored costs something else than the operator chose meanwhile."""


class Accounts:
    """
    The accounts of one server.

    :param settings: gives what the operator chose, as it is now.
    :param passwords: hashes and checks passwords.
    :param now: the time in seconds that never goes back.
    :param wall: the time in seconds since 1970.

    :ivar store: what writes down.
    :ivar logins: how often passwords may be tried.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        passwords: Hasher,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.store: Keeper = Unwritten()
        self._settings = settings
        self._passwords = passwords
        self._now = now
        self._wall = wall
        self.set_throttles()
        self._accounts: dict[bytes, Account] = {}
        self._owners: dict[bytes, bytes] = {}
        self._unsafe: dict[bytes, int] = {}
        self._secret = secrets.token_bytes(32)

    def __len__(self) -> int:
        return len(self._accounts)

    @property
    def _choices(self) -> Choices:
        return self._settings().accounts

    def open(self, store: Keeper, loaded: Loaded) -> None:
        """
        Take what was written before.

        :param store: what writes down from now on.
        :param loaded: what was written.
        """
        self.store = store
        self._set(loaded.accounts)
        secret = loaded.secrets.get(_SECRET)
        if secret is None:
            store.put_secret(_SECRET, self._secret)
        else:
            self._secret = secret

    def _set(self, accounts: Iterable[Account]) -> None:
        self._accounts = {fold(one.name): one for one in accounts}
        self._owners = {
            mark: key for key, one in self._accounts.items() for mark in one.fingerprints
        }

    def refresh(self, loaded: Loaded, written: int) -> list[bytes]:
        """
        Take what another program has written; what of ours is not safe yet is newer.

        :param loaded: what is in the file.
        :param written: the last ticket of what was safe when that was read.
        :return: the folded names of accounts that are no more.
        """
        before = self._accounts
        self._unsafe = {key: one for key, one in self._unsafe.items() if one > written}
        known = {fold(one.name): one for one in loaded.accounts}
        for key in self._unsafe:
            if key in before:
                known[key] = before[key]
            else:
                known.pop(key, None)
        self._set(known.values())
        return [key for key in before if key not in known]

    def get(self, name: bytes) -> Account | None:
        """Find an account by name, whatever its case."""
        return self._accounts.get(fold(name))

    def all(self) -> list[Account]:
        """Give all accounts."""
        return list(self._accounts.values())

    def save(self, account: Account) -> int:
        """
        Remember an account, new or changed.

        :return: the ticket of the write.
        """
        key = fold(account.name)
        before = self._accounts.get(key)
        for mark in () if before is None else before.fingerprints:
            self._owners.pop(mark, None)
        self._accounts[key] = account
        for mark in account.fingerprints:
            self._owners[mark] = key
        self._unsafe[key] = ticket = self.store.put_account(account)
        return ticket

    # Proof

    def secrets(self) -> Secrets:
        """Give what SASL's exchanges need."""
        cost = self._choices.hash
        return Secrets(self._secret, cost.iterations, lambda: secrets.token_urlsafe(18).encode())

    def attempt(self, address: str, name: bytes) -> Attempt:
        """
        Count an attempt to log in.

        :param address: who tries, as text.
        :param name: which account.
        :raises Refused: there were too many.
        """
        attempt = self.logins.attempt(address, name, self._now())
        if attempt.wait and self._settings().throttle.enabled:
            text = b"Too many attempts; wait %d s" % (attempt.wait + 1)
            raise Refused(b"RATE_LIMITED", text)
        return attempt

    def set_throttles(self) -> None:
        """Count anew, by the settings in force."""
        chosen = self._settings().throttle
        exempt = [one.network for one in chosen.exempt]
        self.logins = LoginThrottle(
            exempt, chosen.sasl_attempts, chosen.sasl_attempts_per_account, chosen.window
        )
        by_host = Rate(chosen.registrations, chosen.window)
        self._registrations = RegistrationThrottle(by_host, exempt=exempt)

    def is_exempt(self, address: str) -> bool:
        """Say whether no throttle concerns an address, as text."""
        return self._registrations.is_exempt(address)

    def succeed(self, attempt: Attempt) -> None:
        """Note that an attempt was right."""
        self.logins.succeed(attempt, self._now())

    async def verify(self, address: str, name: bytes, password: bytes) -> Account:
        """
        Check a password.

        :param address: who tries, as text.
        :param name: which account.
        :param password: what was given.
        :return: the account.
        :raises Refused: it is not the password, there is no such account, or it was tried too often.
        """
        attempt = self.attempt(address, name)
        before = self.get(name)
        encoded = None if before is None else before.password
        try:
            right = await self._passwords.verify(encoded, password)
        except Busy:
            self.logins.withdraw(attempt)
            raise Refused(b"TEMPORARILY_UNAVAILABLE", _BUSY) from None
        except BaseException:
            self.logins.withdraw(attempt)
            raise
        account = self.get(name)
        # Meanwhile it may have been given another password, or deleted.
        if not right or account is None or account.password != encoded or not account.verified:
            raise Refused(b"INVALID_CREDENTIALS", _WRONG)
        self.succeed(attempt)
        return await self._renewed(account, password)

    async def _renewed(self, account: Account, password: bytes) -> Account:
        """Let a password cost what the operator wants it to by now: at no other time is it known."""
        encoded = account.password
        if encoded is None or not self._passwords.is_outdated(encoded):
            return account
        try:
            hashed = await self._passwords.credentials(password)
        except Busy:
            return account  # the next login will do
        now = self.get(account.name)
        if now is None or now.password != encoded:
            return account
        self.save(replace(now, password=hashed.encoded, scram=hashed.scram))
        return self._existing(account.name)

    def code(self, *about: bytes) -> bytes:
        """
        Give a short word that says that somebody means it: it has been read, and is about this alone.

        :param about: what is meant: the same words give the same code, also after a restart.
        """
        return hmac.new(self._secret, b"\0".join(about), "sha256").hexdigest()[:8].encode()

    def by_certificate(self, fingerprint: bytes, name: bytes) -> Account | None:
        """
        Find the account that a certificate logs in to.

        :param fingerprint: the certificate's SHA-256, in hex.
        :param name: which account is wanted; empty for the one that it has.
        """
        account = self._accounts.get(self._owners.get(fingerprint, b""))
        if account is None or not account.verified or (name and fold(name) != fold(account.name)):
            return None
        return account

    # Making and changing

    def _check_password(self, password: bytes) -> None:
        least = self._choices.password_length
        if len(password.decode("utf-8", "replace")) < least:
            text = b"That password is too short; give at least %d characters" % least
            raise Refused(b"WEAK_PASSWORD", text)

    async def _hash(self, password: bytes) -> Any:
        self._check_password(password)
        try:
            return await self._passwords.credentials(password)
        except Busy:
            raise Refused(b"TEMPORARILY_UNAVAILABLE", _BUSY) from None
        except ValueError:
            raise Refused(b"UNACCEPTABLE_PASSWORD", b"That password is too long") from None

    async def register(
        self, address: str | None, name: bytes, password: bytes, email: bytes = b""
    ) -> tuple[Account, int]:
        """
        Make an account.

        :param address: who makes it, as text; None for an operator, whom no throttle concerns.
        :param name: its name.
        :param password: its password.
        :param email: where to write to its owner; empty for nowhere.
        :return: the account, and the ticket of its write.
        :raises Refused: it cannot be made.
        """
        if not is_nick(name, self._settings().limits.nick) or fold(name) in _SERVICES:
            raise Refused(
                b"BAD_ACCOUNT_NAME", b"An account's name has to be one that a nick can be"
            )
        self._check_free(name)
        if address is not None:
            self._check_email(email)
            if self._settings().throttle.enabled and not self._registrations.allow(
                address, self._now()
            ):
                text = b"Too many accounts were registered; try again later"
                raise Refused(b"TEMPORARILY_UNAVAILABLE", text)
        hashed = await self._hash(password)
        # Somebody else may have been faster.
        self._check_free(name)
        account = Account(
            name, int(self._wall()), hashed.encoded, hashed.scram, email=email, verified=True
        )
        return account, self.save(account)

    def _check_free(self, name: bytes) -> None:
        if self.get(name) is not None:
            raise Refused(b"ACCOUNT_EXISTS", b"There is an account of that name already")

    def _check_email(self, email: bytes) -> None:
        if not email and not self._choices.email_required:
            return
        user, at, host = email.rpartition(b"@")
        if not (user and at and host) or len(email) > _MAX_EMAIL or b" " in email:
            raise Refused(b"INVALID_EMAIL", b"That is no mail address")

    async def set_password(self, name: bytes, password: bytes) -> int:
        """
        Give an account another password.

        :return: the ticket of the write.
        :raises Refused: the password will not do, or the account is gone.
        """
        hashed = await self._hash(password)
        account = self._existing(name)
        return self.save(replace(account, password=hashed.encoded, scram=hashed.scram))

    def set_email(self, name: bytes, email: bytes) -> int:
        """
        Give an account another mail address.

        :param name: the account.
        :param email: the address; empty for none.
        :return: the ticket of the write.
        :raises Refused: it is none, or has to be one, or there is no such account.
        """
        self._check_email(email)
        return self.save(replace(self._existing(name), email=email))

    def _existing(self, name: bytes) -> Account:
        account = self.get(name)
        if account is None:
            raise Refused(b"ACCOUNT_UNKNOWN", b"There is no such account")
        return account

    def drop(self, name: bytes) -> int:
        """
        Delete an account.

        :return: the ticket of the write.
        :raises Refused: there is none.
        """
        account = self._existing(name)
        key = fold(name)
        for mark in account.fingerprints:
            self._owners.pop(mark, None)
        del self._accounts[key]
        self._unsafe[key] = ticket = self.store.delete_account(name)
        return ticket

    def choose(self, name: bytes, option: str, value: str) -> int:
        """
        Note what an owner chose.

        :param name: the account.
        :param option: what about.
        :param value: what.
        :return: the ticket of the write.
        :raises Refused: there is no such account.
        """
        account = self._existing(name)
        return self.save(replace(account, settings={**account.settings, option: value}))

    def add_certificate(self, name: bytes, fingerprint: bytes) -> int:
        """
        Let a certificate log in.

        :param name: to which account.
        :param fingerprint: the certificate's SHA-256, in hex; colons and case do not matter.
        :return: the ticket of the write.
        :raises Refused: it is no fingerprint, somebody's already, or one too many.
        """
        account = self._existing(name)
        mark = fingerprint.replace(b":", b"").lower()
        if len(mark) != 64 or mark.strip(b"0123456789abcdef"):
            raise Refused(b"INVALID_PARAMS", b"A fingerprint is a SHA-256: 64 hexadecimal digits")
        if mark in self._owners:
            raise Refused(b"CERT_EXISTS", b"That certificate is in use already")
        if len(account.fingerprints) >= _MAX_CERTIFICATES:
            raise Refused(b"TOO_MANY", b"That account has as many certificates as it can have")
        return self.save(replace(account, fingerprints=(*account.fingerprints, mark)))

    def remove_certificate(self, name: bytes, fingerprint: bytes) -> int:
        """
        Let a certificate log in no more.

        :return: the ticket of the write.
        :raises Refused: it is not the account's.
        """
        account = self._existing(name)
        mark = fingerprint.replace(b":", b"").lower()
        if mark not in account.fingerprints:
            raise Refused(b"INVALID_PARAMS", b"That account has no such certificate")
        left = tuple(one for one in account.fingerprints if one != mark)
        return self.save(replace(account, fingerprints=left))

    # What an account gives

    def is_reserved(self, nick: bytes, account: bytes | None) -> bool:
        """
        Say whether a nick is somebody else's.

        :param nick: the nick.
        :param account: the account of who wants it, or None.
        """
        owner = self.get(nick)
        if owner is None or (account is not None and fold(account) == fold(owner.name)):
            return False
        how = self._choices.nick_reservation
        return how == "strict" or (how != "none" and owner.settings.get("reserve") == "on")

    def shares_nick(self, name: bytes) -> bool:
        """Say whether several clients that log in to an account share its nick."""
        policy = self._choices.multiclient
        account = self.get(name)
        if policy == "off" or account is None:
            return False
        return account.settings.get(MULTICLIENT, "on" if policy == "on" else "off") == "on"

    def stays(self, name: bytes | None) -> bool:
        """Say whether an account's user stays while no client of it is connected."""
        account = None if name is None else self.get(name)
        if account is None:
            return False
        policy = self._choices.always_on
        if policy == "off" or not self.shares_nick(account.name):
            return False
        if policy == "mandatory":
            return True
        return account.settings.get(ALWAYS_ON, "on" if policy == "opt-out" else "off") == "on"
