"""
Limits: whose connections are let in, and how many. No transport and no clock inside: addresses and
the time come in, verdicts go out.

A connection is judged once, when the system has accepted it, in this order; the first that objects is
the reason given:

1. its address is in a network of ``deny``; or ``allow`` has networks, and it is in none;
2. as many connections are open as ``max_connections``, or the process's file descriptors, permit;
3. its host has ``max_connections_per_host`` open;
4. its host has opened connections faster than ``connection_rate``.

A host is an IPv4 address, or the /64 network of an IPv6 address: the least that a provider gives a
customer (RFC 6177 asks for more), who has all its addresses to come from. An IPv4 peer that a
dual-stack socket shows as ``::ffff:192.0.2.1`` is that IPv4 address. A peer without an address, on a
Unix socket, is no host: who may connect there is said by the file's permissions, and of these rules
only the second applies. The loopback is a host like any other, lest a proxy on the same machine undo
all of it.

Behind a balancer that says whose connection it forwards (``proxy_from``, :mod:`myproject.proxy`) the host
is the client's. What the balancer opens on its own behalf is judged by the first two rules alone.

The rate is a bucket of tokens for each host. It holds ``connection_rate`` tokens, and as many flow back
in a minute. A bucket is kept as one number, the time at which it will be full again (the generic cell
rate algorithm of ATM), so a host that has been quiet for a minute needs no entry. The table has at
most ``MAX_BUCKETS``; beyond, the host unheard for longest is forgotten, to its advantage.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from myproject.options import Options

__all__ = [
    "MAX_BUCKETS",
    "MAX_BUFFERED",
    "RESERVED_DESCRIPTORS",
    "Address",
    "Admission",
    "Buckets",
    "Host",
    "Limits",
    "Network",
    "Reason",
    "address_of",
    "descriptor_limit",
    "host_of",
    "is_among",
]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What counts as one host: the IP version, and the number of the address or of the /64.
Host = tuple[int, int]

#: Bytes that may wait for one peer. NATS cuts a slow consumer off at 64 MB, Redis a subscriber at 32 MB.
#: Our own subcommands stay far below: echo stops reading at 64 KiB, the chat has its own bound.
MAX_BUFFERED: Final = 64 * 2**20

#: File descriptors that connections leave alone: ports, log, reactor, databases. Redis keeps 32 as well.
RESERVED_DESCRIPTORS: Final = 32

#: Hosts whose rate is remembered; about 10 MB when full. nginx's usual 10 MB zone has 160,000 states.
MAX_BUCKETS: Final = 65_536

#: Addresses of which it is remembered what they mean; about 400 KB.
_READ: Final = 1024

#: Seconds in which an empty bucket fills.
_MINUTE: Final = 60.0


class Reason(Enum):
    """Why a connection was refused, as the log puts it."""

    STOPPING = "the server is stopping"
    DENIED = "their network is denied, or not allowed"
    FULL = "there are as many as --max-connections or the file descriptors permit"
    HOST_FULL = "their host has as many as --max-connections-per-host permits"
    RATE = "their host opens them faster than --connection-rate permits"
    PROXY = "they did not begin with a valid PROXY header, as those of --proxy-from must"
    SERVICE = "the service took no more"
    BANNED = "the service bans them"


@dataclass(frozen=True)
class Limits:
    """
    What the operator permits. In all numbers 0 means no limit of ours.

    :param max_connections: open connections, all hosts together.
    :param max_connections_per_host: open connections of one host.
    :param connection_rate: connections that one host may open in a minute.
    :param allow: networks; if there are any, no other is let in.
    :param deny: networks that are not let in, whatever ``allow`` says.
    :param idle_timeout: seconds without a byte in either direction.
    :param max_buffered: bytes that may wait to be sent to one peer.
    :param proxy_from: networks, or the word ``unix``, whose connections begin with a PROXY header.
    """

    max_connections: int = 0
    max_connections_per_host: int = 0
    connection_rate: int = 0
    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()
    idle_timeout: float = 0.0
    max_buffered: int = MAX_BUFFERED
    proxy_from: tuple[Network | str, ...] = ()

    @classmethod
    def of(cls, options: Options, share: tuple[int, int] = (0, 1)) -> Limits:
        """
        Take the limits out of a subcommand's options.

        :param options: validated options.
        :param share: which worker this is, from 0, and of how many, who divide ``max_connections``.
        """
        worker, workers = share
        whole, rest = divmod(options.max_connections, workers)
        most = whole + (worker < rest)
        return cls(
            # A share of nothing would be no limit at all.
            max_connections=max(1, most) if options.max_connections else 0,
            max_connections_per_host=options.max_connections_per_host,
            connection_rate=options.connection_rate,
            allow=options.allow,
            deny=options.deny,
            idle_timeout=options.idle_timeout,
            max_buffered=options.max_buffered,
            proxy_from=options.proxy_from,
        )


def address_of(text: object) -> Address | None:
    """
    Read an address. An IPv4 one in the clothes of IPv6 is an IPv4 one.

    :param text: the address as text, with the name of its interface or not; anything else is none.
    """
    return _read(text) if isinstance(text, str) else None


# A connection's address is asked for by all that judge it, ten times before the chat has said a word; and
# clients come again. Read each time, it was an eighth of what connecting, registering and leaving costs.
@lru_cache(_READ)
def _read(text: str) -> Address | None:
    try:
        # A link-local address comes with the name of its interface, fe80::1%eth0.
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _host(address: Address | None) -> Host | None:
    if address is None:
        return None
    return address.version, int(address) >> (64 if address.version == 6 else 0)


def host_of(text: object) -> Host | None:
    """
    Say which host an address belongs to.

    :param text: the address as text; anything else belongs to none.
    """
    return _host_of(text) if isinstance(text, str) else None


@lru_cache(_READ)
def _host_of(text: str) -> Host | None:
    return _host(_read(text))


def is_among(text: object, places: Iterable[Network | str]) -> bool:
    """
    Say whether a peer is in one of some networks.

    :param text: its address as text, or anything else if it has none.
    :param places: the networks; the word ``unix`` is where those without an address are.
    """
    address = address_of(text)
    return any(
        address is None if isinstance(place, str) else address is not None and address in place
        for place in places
    )


class Buckets:
    """A bucket of tokens for each key; at most `MAX_BUCKETS` of them are remembered."""

    def __init__(self) -> None:
        #: When each bucket will be full; those heard last are at the end.
        self._full_at: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable, now: float, size: float, seconds: float) -> bool:
        """
        Take a token.

        :param key: whose bucket; one that is not known is full.
        :param now: the time in seconds.
        :param size: how many tokens a bucket holds.
        :param seconds: how long an empty one takes to fill.
        :return: whether there was one; if not, nothing was taken.
        """
        full_at = max(self._full_at.get(key, now), now) + seconds / size
        # Each token taken moves that time on; the bucket is empty when it is the whole time away. The
        # margin is for what adding fractions loses, less than a token of any rate.
        if full_at - now > seconds + 1e-6:
            return False
        self._full_at.pop(key, None)
        self._full_at[key] = full_at
        self._forget(now)
        return True

    def _forget(self, now: float) -> None:
        # Two for each one that is added, so that the table shrinks; the one just added stays.
        for _ in range(2):
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) <= MAX_BUCKETS:
                return
            del self._full_at[oldest]


class Admission:
    """
    Judges connections, and counts those that are open.

    :param limits: what is permitted; may be replaced at any time, and applies to those who come then.
    :param descriptors: file descriptors that the process may have; 0 if that has no limit.
    """

    def __init__(self, limits: Limits, descriptors: int = 0) -> None:
        self.limits = limits
        self._descriptors = descriptors
        self.open = 0
        self._hosts: dict[Host, int] = {}
        self._buckets = Buckets()

    @property
    def hosts(self) -> int:
        """How many hosts have a connection open."""
        return len(self._hosts)

    @property
    def buckets(self) -> int:
        """How many hosts' rates are remembered."""
        return len(self._buckets)

    @property
    def capacity(self) -> int:
        """How many connections may be open; 0 for any number."""
        ours = self.limits.max_connections
        if not self._descriptors:
            return ours
        systems = max(1, self._descriptors - RESERVED_DESCRIPTORS)
        return min(ours, systems) if ours else systems

    def judge(self, text: object, now: float, *, own: bool = False) -> Reason | None:
        """
        Judge a connection. One that is let in has spent a token of its host's.

        :param text: the peer's address as text, or anything else if it has none.
        :param now: the time in seconds.
        :param own: whether it is a balancer's own: that is no host whose connections are counted.
        :return: why not; None if it is let in.
        """
        limits = self.limits
        address = address_of(text)
        if address is not None and not self._permitted(address):
            return Reason.DENIED
        if self.open >= (self.capacity or self.open + 1):
            return Reason.FULL
        host = _host(address)
        if host is None or own:
            return None
        if 0 < limits.max_connections_per_host <= self._hosts.get(host, 0):
            return Reason.HOST_FULL
        rate = limits.connection_rate
        if rate and not self._buckets.take(host, now, rate, _MINUTE):
            return Reason.RATE
        return None

    def _permitted(self, address: Address) -> bool:
        limits = self.limits
        if any(address in network for network in limits.deny):
            return False
        return not limits.allow or any(address in network for network in limits.allow)

    def enter(self, text: object) -> Host | None:
        """
        Count a connection that was let in.

        :param text: the peer's address.
        :return: its host, for :meth:`leave`.
        """
        host = host_of(text)
        self.open += 1
        if host is not None:
            self._hosts[host] = self._hosts.get(host, 0) + 1
        return host

    def leave(self, host: Host | None) -> None:
        """
        Count a connection that was lost.

        :param host: what :meth:`enter` returned.
        """
        self.open -= 1
        if host is None:
            return
        if self._hosts[host] == 1:
            del self._hosts[host]
        else:
            self._hosts[host] -= 1


def descriptor_limit() -> int:
    """How many file descriptors the process may have; 0 if there is no limit."""
    try:
        import resource
    except ImportError:  # pragma: no cover (Windows has handles instead)
        return 0
    limit: Any = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 0 if limit == resource.RLIM_INFINITY else int(limit)
