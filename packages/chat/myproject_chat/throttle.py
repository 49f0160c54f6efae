"""
Throttles: how often a host may connect, make accounts, and try passwords. No clock inside.

All of them know hosts as the core's limits do: an IPv4 address, or the /64 of an IPv6 address. Networks
that are exempt, such as a gateway's whose users all come from one address, are let through; so is a
Unix socket, where the file's permissions say who may connect. The loopback is no exception
unless it is configured as one. What is remembered has a bound, beyond which the host unheard for longest
is forgotten, to its advantage.

What others let through, by default or in the example that people start from:

=============  ============================  ======================  ==============================
               connections of a host         accounts                passwords
=============  ============================  ======================  ==============================
Ergo 2.20      32 in 10 min                  30 in 10 min, all told  3 a minute
InspIRCd 4     10 in an hour (connectban)    services' business      services' business
Solanum        4 a minute                    services' business      after 2 failures, 8 to 256 s
ours           32 in 10 min                  3 in 10 min, and 30 in  5 failures, then 2 s, 4 s ... 256 s
                                             10 min all told         by host and by account
=============  ============================  ======================  ==============================

A password guesser has many hosts, so failures count against the account too. But then anybody could keep
the owner of an account out by failing for them: so a host from which that account was entered before is
not held up by what others do to it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from myproject.limits import MAX_BUCKETS, Buckets, Network, address_of, host_of, is_among
from myproject_chat.names import fold

if TYPE_CHECKING:
    from myproject_chat.settings import Settings

__all__ = [
    "CONNECTIONS",
    "REGISTRATIONS",
    "REGISTRATIONS_IN_ALL",
    "TOO_MANY",
    "Attempt",
    "Bucket",
    "Busy",
    "LoginThrottle",
    "Rate",
    "RegistrationThrottle",
    "Throttle",
    "is_exempt",
    "throttle_of",
]


class Exempted(Protocol):
    """A network as the configuration has it."""

    @property
    def network(self) -> Network:
        """The network."""


class Busy(Exception):  # noqa: N818 (it says what the server is, and is answered, not repaired)
    """As many passwords wait as may wait. The client is told to try again."""


@dataclass(frozen=True, slots=True)
class Rate:
    """
    How often something may be done: that many times at once, and as many again in that time.

    :ivar count: how often; 0 for no limit.
    :ivar seconds: in which time.
    """

    count: int
    seconds: float


#: What those are told who connect too often.
TOO_MANY: Final = b"Too many connections from there; try again later"
#: A household or a small office behind one address, whose line comes and goes.
CONNECTIONS: Final = Rate(30, 600.0)
#: A person needs one account; a second and a third are a mistyped name.
REGISTRATIONS: Final = Rate(3, 3600.0)
#: What keeps a botnet with a host for each account from filling the store.
REGISTRATIONS_IN_ALL: Final = Rate(30, 600.0)


class Bucket:
    """How often one client may do one thing; kept as the time at which it may do all of it again."""

    __slots__ = ("_full_at",)

    def __init__(self) -> None:
        self._full_at = 0.0

    def take(self, now: float, rate: Rate) -> bool:
        """
        Count one more, if it is allowed.

        :param now: the time in seconds.
        :param rate: how often it may be done.
        :return: whether it is; if not, it was not counted.
        """
        full_at = max(self._full_at, now) + rate.seconds / rate.count
        # A hair more, as the sum of many quotients is not precise.
        if full_at - now > rate.seconds * (1 + 1e-9):
            return False
        self._full_at = full_at
        return True


def is_exempt(address: str, networks: Iterable[Exempted]) -> bool:
    """
    Say whether nothing is counted against an address.

    :param address: as text; one that is no IP address is a Unix socket's.
    :param networks: those that are exempt.
    """
    where = address_of(address)
    return where is None or any(where in one.network for one in networks)


class Throttle:
    """
    How often each host may do one thing.

    :param rate: how often.
    :param exempt: networks that may do it as often as they like.
    """

    def __init__(self, rate: Rate, exempt: Sequence[Network] = ()) -> None:
        self._rate = rate
        self._exempt = exempt
        self._buckets = Buckets()

    def is_exempt(self, address: str) -> bool:
        """
        Say whether nothing is counted against an address.

        :param address: as text; one that is no IP address is a Unix socket's.
        """
        return host_of(address) is None or is_among(address, self._exempt)

    def allow(self, address: str, now: float) -> bool:
        """
        Count one more, if it is allowed.

        :param address: whose, as text.
        :param now: the time in seconds.
        :return: whether it is; if not, it was not counted.
        """
        if not self._rate.count or self.is_exempt(address):
            return True
        return self._buckets.take(host_of(address), now, self._rate.count, self._rate.seconds)


def throttle_of(settings: Settings) -> Throttle:
    """
    Make the throttle for connections.

    :param settings: what the operator chose.
    """
    chosen = settings.throttle
    rate = Rate(chosen.connections, chosen.window)
    return Throttle(rate, [one.network for one in chosen.exempt])


class RegistrationThrottle:
    """
    How often accounts may be made: by one host, and by all together.

    :param by_host: how often by one host.
    :param in_all: how often by all; those that are exempt do not count.
    :param exempt: networks that may make as many as they like.
    """

    def __init__(
        self,
        by_host: Rate = REGISTRATIONS,
        in_all: Rate = REGISTRATIONS_IN_ALL,
        exempt: Sequence[Network] = (),
    ) -> None:
        self._by_host = Throttle(by_host, exempt)
        self._in_all = in_all
        self._bucket = Buckets()

    def is_exempt(self, address: str) -> bool:
        """Say whether nothing is counted against an address, as text."""
        return self._by_host.is_exempt(address)

    def allow(self, address: str, now: float) -> bool:
        """
        Count one more account, if it is allowed.

        :param address: who makes it, as text.
        :param now: the time in seconds.
        """
        # The host's first: one that is over its own limit takes nothing from the others'.
        if not self._by_host.allow(address, now):
            return False
        if not self._in_all.count or self._by_host.is_exempt(address):
            return True
        return self._bucket.take(None, now, self._in_all.count, self._in_all.seconds)


#: Failures without a consequence, unless somebody says otherwise.
_FREE: Final = 5
#: Seconds: the longest wait, Solanum's too. A day has 337 of them.
_LONGEST: Final = 256.0
#: Seconds without an attempt after which the failures are forgotten.
_MEMORY: Final = 3600.0
#: Seconds for which a host is known to have entered an account: a month.
_KNOWN: Final = 30 * 86400.0
#: Bytes of an account's name that are looked at. It is a peer's input, and no account's is longer.
_NAME: Final = 64


class _Failures(NamedTuple):
    """
    How a host or an account has done lately.

    :ivar forgotten: when all of this is.
    :ivar failed: attempts that failed, or have not ended yet.
    :ivar until: when the next may be made.
    """

    forgotten: float
    failed: int
    until: float


class _Known(NamedTuple):
    """That a host has entered an account."""

    forgotten: float


_Value = TypeVar("_Value", _Failures, _Known)


def _remember(table: dict[Hashable, _Value], key: Hashable, value: _Value, now: float) -> None:
    """Set an entry of a table that is sorted by when its entries were set, and has an end."""
    table.pop(key, None)
    table[key] = value
    for _ in range(2):
        oldest = next(iter(table))
        if table[oldest].forgotten > now and len(table) <= MAX_BUCKETS:
            return
        del table[oldest]


class Attempt(NamedTuple):
    """
    An attempt to log in.

    :ivar wait: seconds for which none may be made; 0 if this one may, and has been counted.
    :ivar counted: whose failure it is until it succeeds.
    :ivar pair: which host tries which account.
    """

    wait: float
    counted: tuple[Hashable, ...]
    pair: tuple[Hashable, bytes]


class LoginThrottle:
    """
    How often passwords may be tried, for a host and for an account.

    An attempt counts as a failure from when it begins, so that a thousand at once are a thousand;
    one that succeeds, or was never looked at, is taken back. Unknown accounts count as others do.

    :param exempt: networks whose failures count against accounts only.
    :param by_host: failures of a host without a consequence: a person who has several passwords tries them.
    :param by_account: those for an account.
    :param memory: seconds without an attempt after which failures are forgotten.
    """

    def __init__(
        self,
        exempt: Sequence[Network] = (),
        by_host: int = _FREE,
        by_account: int = _FREE,
        memory: float = _MEMORY,
    ) -> None:
        self._exempt = exempt
        self._by_host = by_host
        self._by_account = by_account
        self._memory = memory
        self._failures: dict[Hashable, _Failures] = {}
        self._known: dict[Hashable, _Known] = {}

    def __len__(self) -> int:
        return len(self._failures) + len(self._known)

    def attempt(self, address: str, account: bytes, now: float) -> Attempt:
        """
        Ask whether a password may be tried.

        :param address: who tries, as text.
        :param account: whose password.
        :param now: the time in seconds.
        """
        name = fold(account)[:_NAME]
        # All users of an exempt gateway are one host to us: it vouches for none of them.
        host = None if is_among(address, self._exempt) else host_of(address)
        known = self._known.get((host, name))
        counted: tuple[Hashable, ...] = () if host is None else (host,)
        if known is None or known.forgotten <= now:
            counted += (name,)
        entries = [self._failures[key] for key in counted if key in self._failures]
        wait = max((entry.until for entry in entries), default=now) - now
        if wait > 0:
            return Attempt(wait, (), (host, name))
        for key in counted:
            self._count(key, now)
        return Attempt(0.0, counted, (host, name))

    def _count(self, key: Hashable, now: float) -> None:
        entry = self._failures.get(key)
        failed = entry.failed + 1 if entry is not None and entry.forgotten > now else 1
        over = failed - (self._by_account if isinstance(key, bytes) else self._by_host)
        # The exponent has an end, or a patient guesser would make it overflow.
        penalty = min(2.0 ** min(over, 16), _LONGEST) if over > 0 else 0.0
        forgotten = now + max(self._memory, _LONGEST)
        _remember(self._failures, key, _Failures(forgotten, failed, now + penalty), now)

    def withdraw(self, attempt: Attempt) -> None:
        """
        Take back an attempt that nobody looked at: the server was busy, or the client gave up.

        :param attempt: what :meth:`attempt` gave.
        """
        for key in attempt.counted:
            entry = self._failures.get(key)
            if entry is not None:
                # It was allowed, so there was no wait before it.
                self._failures[key] = entry._replace(failed=max(entry.failed - 1, 0), until=0.0)

    def succeed(self, attempt: Attempt, now: float) -> None:
        """
        Take back an attempt whose password was right, and remember which host entered which account.

        A host's other failures stay: else a guesser would enter an account of its own now and then.

        :param attempt: what :meth:`attempt` gave.
        :param now: the time in seconds.
        """
        self.withdraw(attempt)
        host, _ = attempt.pair
        if host is not None:
            _remember(self._known, attempt.pair, _Known(now + _KNOWN), now)
