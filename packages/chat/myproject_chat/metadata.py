"""
Metadata: which keys and values users and channels may have.

A key is a word of small letters, digits and ``_./-``; a value is UTF-8 of any kind. What a peer sends is
checked here, with what to answer if it will not do; who may set what, and who is told, is not known here.

Sources: https://ircv3.net/specs/extensions/metadata (Keys and Values; Standard Replies).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from myproject_chat.wire import clip

if TYPE_CHECKING:
    from myproject_chat.settings import Settings

__all__ = [
    "Limits",
    "Refusal",
    "capability_value",
    "check_key",
    "check_room",
    "check_value",
    "is_key",
    "limits_of",
]

_KEY_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789_./-"


class Refusal(NamedTuple):
    """
    Why a command is refused: ``FAIL METADATA code context... :text``.

    :ivar code: the standard reply's code.
    :ivar context: its parameters, words that can stand in a line.
    :ivar text: what to say.
    """

    code: bytes
    context: tuple[bytes, ...]
    text: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much metadata there may be.

    With the defaults a line of the server's with the longest key and value fits into 512 bytes, and a
    user's whole metadata into 10 KB.

    :ivar max_keys: keys that one user or one channel may have.
    :ivar max_subs: keys that one client may subscribe to.
    :ivar max_key_bytes: bytes of a key; the specification has no limit.
    :ivar max_value_bytes: bytes of a value.
    """

    max_keys: int = 32
    max_subs: int = 64
    max_key_bytes: int = 64
    max_value_bytes: int = 256


def limits_of(settings: Settings) -> Limits:
    """
    Give the limits that the operator chose.

    :param settings: the server's settings.
    """
    chosen = settings.limits
    return Limits(max_keys=chosen.metadata_keys, max_value_bytes=chosen.metadata_bytes)


def capability_value(limits: Limits) -> bytes:
    """
    Give what CAP LS 302 shows behind ``draft/metadata-3=``.

    :param limits: what clients are told.
    """
    return b"before-connect,max-keys=%d,max-subs=%d,max-value-bytes=%d" % (
        limits.max_keys,
        limits.max_subs,
        limits.max_value_bytes,
    )


def is_key(key: bytes, limits: Limits) -> bool:
    """
    Say whether there can be such a key.

    :param key: what the client named; capitals are not made small.
    :param limits: how long it may be.
    """
    return 0 < len(key) <= limits.max_key_bytes and not key.translate(None, _KEY_BYTES)


def check_key(key: bytes, limits: Limits) -> Refusal | None:
    """
    Check a key of any subcommand.

    :param key: what the client named.
    :param limits: how long it may be.
    :return: what to answer; None if there can be such a key.
    """
    if is_key(key, limits):
        return None
    word = clip(key.replace(b" ", b"_").lstrip(b":"), limits.max_key_bytes) or b"*"
    return Refusal(b"KEY_INVALID", (word,), b"Invalid key")


def check_value(key: bytes, value: bytes, limits: Limits) -> Refusal | None:
    """
    Check the value of SET; an empty one is a value, too.

    :param key: the key that it is for.
    :param value: what the client sent.
    :param limits: how long it may be.
    :return: what to answer; None if it will do.
    """
    if len(value) > limits.max_value_bytes:
        return Refusal(b"INVALID_VALUE", (key,), b"Value is too long")
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return Refusal(b"INVALID_VALUE", (key,), b"Value is not UTF-8")
    return None


def check_room(
    target: bytes, key: bytes, present: Collection[bytes], limits: Limits
) -> Refusal | None:
    """
    Check whether a target has room for one more key; one that it has can always be changed.

    :param target: the user or channel, as it is to be named in the answer.
    :param key: the key that is to be set.
    :param present: the keys that it has.
    :param limits: how many it may have.
    :return: what to answer; None if there is room.
    """
    if key in present or len(present) < limits.max_keys:
        return None
    return Refusal(b"LIMIT_REACHED", (target,), b"Metadata limit reached")
