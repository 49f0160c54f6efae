"""
Passwords: made into hashes, and checked, away from the reactor's thread, a bounded number at a time.

Argon2id is made to cost: memory that a graphics card has not got for each of its cores, and time. So
it runs in threads (it lets go of the interpreter's lock meanwhile), few at once, and those that come
beyond wait in a queue with an end. When that is full the caller is told `Busy` at once: a client that
has to try again is better off than one whose password is looked at in five minutes, and the server's
memory is not for whoever connects most often. A caller whose client has gone cancels its Deferred, and
with it the work, if that has not begun.

An account that does not exist costs what a wrong password costs: it is checked against a hash with
the same parameters that nothing fits.

An account's SCRAM credentials are kept apart from its argon2id hash: whoever may check a PLAIN
password need not see them.

Sources: RFC 9106 (Argon2), OWASP Password Storage Cheat Sheet, RFC 5802 and 7677 (SCRAM).
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from myproject_chat.saslprep import prepared
from myproject_chat.scram import ScramCredentials, derive
from myproject_chat.throttle import Busy

if TYPE_CHECKING:
    from argon2 import PasswordHasher

    from myproject_chat.configuration import HashCost

__all__ = ["MAX_PASSWORD", "Busy", "Cost", "Credentials", "Passwords", "hash_password"]

#: Bytes of the longest password. RFC 4616 section 2 asks for 255 at least; people paste sentences.
#: Its base64, with the names around it, is four AUTHENTICATE lines.
MAX_PASSWORD: Final = 1024

_SALT_SIZE: Final = 16
_HASH_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class Cost:
    """
    What one password costs us, and a thief of the file for each guess.

    The defaults are OWASP's for Argon2id: 19 MiB, 2 passes, 1 lane. RFC 9106 section 4 would rather have
    64 MiB and 3 passes where memory permits; but all clients log in at once when a server comes back,
    and what costs a thief seven times as much (measured) costs them as much. An operator with fewer
    users and a larger machine can have that. The smallest values are for tests.

    :ivar time: passes over the memory.
    :ivar memory: KiB for each password that is being hashed.
    :ivar lanes: threads for each.
    :ivar iterations: PBKDF2's, of SCRAM. The client computes them at each login, so they have to suit a
        phone; we do it once for each new password. RFC 7677 asks for 4096 at least, as Ergo takes.
    """

    time: int = 2
    memory: int = 19 * 1024
    lanes: int = 1
    iterations: int = 100_000

    @classmethod
    def of(cls, chosen: HashCost) -> Cost:
        """Take what the operator chose."""
        return cls(chosen.time, chosen.memory, chosen.lanes, chosen.iterations)

    def hasher(self) -> PasswordHasher:
        """Give argon2-cffi's hasher with these parameters."""
        # Imported for the first one: the server listens sooner.
        from argon2 import PasswordHasher, Type

        return PasswordHasher(
            time_cost=self.time,
            memory_cost=self.memory,
            parallelism=self.lanes,
            hash_len=_HASH_SIZE,
            salt_len=_SALT_SIZE,
            type=Type.ID,
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    What is stored of a new password.

    :ivar encoded: the Argon2id hash, in the usual form ``$argon2id$v=19$m=...``.
    :ivar scram: what SCRAM needs, to be kept apart from it.
    """

    encoded: str
    scram: ScramCredentials


def _check_size(password: bytes) -> None:
    if not 0 < len(password) <= MAX_PASSWORD:
        raise ValueError(f"a password has 1 to {MAX_PASSWORD} bytes, not {len(password)}")


def hash_password(password: bytes, cost: Cost | None = None) -> str:
    """
    Hash a password here and now, for an operator's line in the configuration.

    :param password: the password, UTF-8.
    :param cost: what it may cost; as much as an account's if not given.
    :return: the Argon2id hash, ``$argon2id$v=19$m=...``.
    :raises ValueError: if the password is empty or longer than `MAX_PASSWORD`.
    """
    _check_size(password)
    return (cost or Cost()).hasher().hash(prepared(password))


@dataclass(eq=False, slots=True)
class _Job:
    """Work that waits, or is being done, and whom its result goes to."""

    work: Callable[[], Any]
    answer: Deferred[Any]


class Passwords:
    """
    Hashes and checks passwords.

    :param cost: what one costs.
    :param run_in_thread: calls a function in another thread and gives a Deferred for its result, as
        `twisted.internet.threads.deferToThreadPool` does with its first two arguments filled in.
    :param at_once: how many are worked on at the same time; each takes `Cost.memory`. As many as
        there are cores is as fast as it gets.
    :param queued: how many may wait. At 30 ms each and two at once, 256 are through in some
        four seconds; a person who waits longer than that wonders.
    """

    def __init__(
        self,
        cost: Cost,
        run_in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
        *,
        at_once: int = 2,
        queued: int = 256,
    ) -> None:
        self.set_cost(cost)
        self._run_in_thread = run_in_thread
        self._at_once = at_once
        self._queued = queued
        self._running = 0
        self._waiting: deque[_Job] = deque()

    def set_cost(self, cost: Cost) -> None:
        """
        Let passwords cost something else from now on.

        :param cost: what one costs; hashes that are there keep theirs, see `is_outdated`.
        """
        self._cost = cost
        # Base64 as argon2 writes it, without padding. That no password fits is as sure as SHA-256 is.
        salt, digest = (
            b64encode(bytes(size)).rstrip(b"=").decode() for size in (_SALT_SIZE, _HASH_SIZE)
        )
        self._nobodys = (
            f"$argon2id$v=19$m={cost.memory},t={cost.time},p={cost.lanes}${salt}${digest}"
        )

    @property
    def running(self) -> int:
        """How many are worked on."""
        return self._running

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def credentials(self, password: bytes) -> Deferred[Credentials]:
        """
        Make what is stored of a new password.

        :param password: the password, UTF-8, 1 to `MAX_PASSWORD` bytes.
        :return: fires with the credentials; fails with `Busy`, or with ValueError if the password is
            empty or too long. Cancel it if nobody wants to know any more.
        """
        try:
            _check_size(password)
        except ValueError:
            return fail(Failure())

        def work() -> Credentials:
            salt = secrets.token_bytes(_SALT_SIZE)
            scram = derive(password, salt, self._cost.iterations)
            return Credentials(self._cost.hasher().hash(prepared(password)), scram)

        return self._submit(work)

    def verify(self, encoded: str | None, password: bytes) -> Deferred[bool]:
        """
        Check a password.

        :param encoded: what is stored; None for an account that does not exist, or has no password:
            the answer is False then, and takes as long as any other.
        :param password: what the client sent.
        :return: fires with whether it is the right one; fails with `Busy`, or with argon2's
            InvalidHashError if what is stored is no hash. Cancel it if nobody wants to know any more.
        """
        try:
            _check_size(password)
        except ValueError:
            # No account has such a password, so an early answer tells nothing about this one.
            return succeed(False)

        def work() -> bool:
            from argon2.exceptions import VerifyMismatchError

            try:
                self._cost.hasher().verify(encoded or self._nobodys, prepared(password))
            except VerifyMismatchError:
                return False
            return True

        return self._submit(work)

    def is_outdated(self, encoded: str) -> bool:
        """
        Say whether a hash was made with other parameters than are set now.

        After a login that succeeded with such a one, the caller makes new `credentials` of the same
        password and stores them.

        :param encoded: what is stored.
        """
        return self._cost.hasher().check_needs_rehash(encoded)

    def stop(self) -> None:
        """Let those that wait fail with `Busy`, and whoever asks from now on."""
        self._queued = self._at_once = 0
        while self._waiting:
            self._waiting.popleft().answer.errback(Busy())

    def _submit(self, work: Callable[[], Any]) -> Deferred[Any]:
        if self._running >= self._at_once and len(self._waiting) >= self._queued:
            return fail(Busy())
        job = _Job(work, Deferred(lambda _: self._forget(job)))
        self._waiting.append(job)
        self._next()
        return job.answer

    def _forget(self, job: _Job) -> None:
        # One that runs cannot be called back: its Deferred, cancelled, takes no notice of the result.
        if job in self._waiting:
            self._waiting.remove(job)

    def _next(self) -> None:
        while self._waiting and self._running < self._at_once:
            job = self._waiting.popleft()
            self._running += 1
            self._run_in_thread(job.work).addBoth(self._done, job)

    def _done(self, result: Any, job: _Job) -> None:
        self._running -= 1
        if not job.answer.called:
            job.answer.callback(result)
        self._next()
