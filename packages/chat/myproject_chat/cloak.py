"""
Cloaks: hosts that say as much of a user's address as a ban needs, and nothing to anybody else.

The host that others see of alice at 192.0.2.1 is ``kq3vw5m2zj7ai.d4xlpb6s.2hgtmz3y.ip``: three labels, each a
keyed hash (HMAC-SHA-256, base32) of a network she is in, the smallest first::

    IPv4   the address . the /24 . the /16 . suffix
    IPv6   the /64     . the /48 . the /32 . suffix

So a ban on ``*!*@*.2hgtmz3y.ip`` bans the /16, and what is known of two users is which of these networks
they share. Without the key nobody finds the address, though all of IPv4 can be tried in minutes with it:
whoever learns the key has every address that was ever seen, and a new key makes the bans on
cloaks void. A user who is logged in has a host of the account instead, ``alice.users.suffix``; as that would
be a way around a ban on the address, bans are compared with every host that a user has.

InspIRCd 4 (cloak_sha256) has three labels of 8 characters as well: the address, /24 and /16; in IPv6 the
address, the /112 and the /64, of which the first two are of no use, as every customer has a /64 to
change within. Ergo has one label of 64 bits, of the address or the /64, and so no wider bans.

Sources: RFC 2104 (HMAC), RFC 4648 section 6 (base32), RFC 1035 section 2.3.4 (a label has 63 bytes at most),
RFC 6177 (what networks customers get).
"""

from __future__ import annotations

import hmac
from base64 import b32encode
from functools import lru_cache
from typing import Final

from myproject.limits import host_of
from myproject_chat.names import HOST_LENGTH, fold

__all__ = ["MAX_SUFFIX", "MIN_KEY", "Cloak"]

#: Bytes of the shortest key. InspIRCd asks for 30 characters.
MIN_KEY: Final = 32

_USERS: Final = b".users."
# Bytes of an account's name that its host shows; of a longer one it has a hash, too.
_ACCOUNT: Final = 30
#: Bytes of the longest suffix: the longest account's host still fits, and so does every address's.
MAX_SUFFIX: Final = HOST_LENGTH - _ACCOUNT - len(_USERS)

# 65 bits for the host itself: two of 100,000 users have the same by a chance of one in billions.
_HOST_LABEL: Final = 13
# 40 bits, for of the wider networks there are fewer.
_NETWORK_LABEL: Final = 8
#: How many bits of the number that `host_of` gives each label leaves out, after the first.
_WIDER: Final = {4: (8, 16), 6: (16, 32)}

# Hosts and labels that are remembered, for clients come again, and neighbours do; about 300 KB each. To make
# a host takes four hashes, a tenth of what connecting, registering and leaving costs.
_REMEMBERED: Final = 1024

_PLAIN: Final = b"abcdefghijklmnopqrstuvwxyz0123456789-_"


class Cloak:
    """
    Makes hosts.

    :param key: a secret, `MIN_KEY` bytes or more, the same for as long as bans are to hold.
    :param suffix: what all hosts end with, a word such as ``ip`` or a network's name, at most
        `MAX_SUFFIX` bytes of ASCII letters, digits, dots and hyphens.
    :raises ValueError: if the key is too short, or the suffix is no such word.
    """

    def __init__(self, key: bytes, suffix: bytes) -> None:
        if len(key) < MIN_KEY:
            raise ValueError(f"a cloak's key has at least {MIN_KEY} bytes, not {len(key)}")
        labels = suffix.lower().split(b".")
        if len(suffix) > MAX_SUFFIX or not all(
            label and not label.translate(None, _PLAIN) for label in labels
        ):
            raise ValueError(
                f"a cloak's suffix is a word of at most {MAX_SUFFIX} letters, digits, dots and "
                f"hyphens, not {suffix!r}"
            )
        self._key = key
        self._suffix = suffix
        self._label = lru_cache(_REMEMBERED)(self._make_label)
        self._host = lru_cache(_REMEMBERED)(self._make_host)

    def _make_label(self, kind: bytes, what: bytes, size: int) -> bytes:
        digest = hmac.digest(self._key, kind + b"\0" + what, "sha256")
        return b32encode(digest)[:size].lower()

    def host(self, address: str) -> bytes:
        """
        Give the host that others see of an address.

        :param address: as text; one that is no IP address, such as a Unix socket's, has one label.
        """
        return self._host(address)

    def _make_host(self, address: str) -> bytes:
        host = host_of(address)
        if host is None:
            text = address.encode("utf-8", "surrogateescape")
            labels = [self._label(b"text", text, _HOST_LABEL)]
        else:
            version, number = host
            labels = [self._label(b"%d" % version, b"%x" % number, _HOST_LABEL)]
            labels += [
                self._label(b"%d/%d" % (version, bits), b"%x" % (number >> bits), _NETWORK_LABEL)
                for bits in _WIDER[version]
            ]
        return b".".join((*labels, self._suffix))

    def account_host(self, account: bytes) -> bytes:
        """
        Give the host that others see of a user who is logged in.

        Accounts that differ have hosts that differ: one whose name holds other bytes than a host may
        has a label more, in front, of its hash.

        :param account: the account's name; its case does not matter.
        """
        name = fold(account)
        plain = bytes(byte if byte in _PLAIN else 0x2D for byte in name[:_ACCOUNT])
        if plain != name or not name:
            label = self._label(b"account", name, _NETWORK_LABEL)
            plain = b".".join((label, plain[: _ACCOUNT - _NETWORK_LABEL - 1] or b"-"))
        return plain + _USERS + self._suffix
