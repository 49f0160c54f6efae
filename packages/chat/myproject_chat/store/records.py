"""
What outlives the process, in the form in which it is handed about: frozen, bytes where lines are made.

Names are kept as they were given and compared folded; times of history are milliseconds since 1970, all
others seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from myproject_chat.names import fold
from myproject_chat.scram import ScramCredentials

__all__ = [
    "Account",
    "Entry",
    "Loaded",
    "Marker",
    "Metadata",
    "NetworkBan",
    "RegisteredChannel",
    "StoredMask",
    "UnreadableError",
    "conversation",
    "party",
]


class UnreadableError(Exception):
    """The file cannot be read at present; the log says why."""


@dataclass(frozen=True, slots=True)
class Account:
    """
    An account.

    :ivar name: its name, a nick.
    :ivar created: when it was registered.
    :ivar password: the argon2id hash in PHC's form; None if only a certificate logs in.
    :ivar scram: the credentials of SCRAM-SHA-256, or None.
    :ivar fingerprints: the SHA-256 of certificates that log in by EXTERNAL, in hex.
    :ivar email: what was given at registration; empty for none.
    :ivar verified: whether it may be used.
    :ivar settings: what its owner chose, by name; which there are is for the accounts to say.
    """

    name: bytes
    created: int
    # What is shown of an account, in a log for one, shows neither.
    password: str | None = field(default=None, repr=False)
    scram: ScramCredentials | None = field(default=None, repr=False)
    fingerprints: tuple[bytes, ...] = ()
    email: bytes = b""
    verified: bool = True
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredMask:
    """
    An entry of a channel's list.

    :ivar letter: ``b``, ``e`` or ``I``.
    :ivar mask: the mask.
    :ivar setter: who set it.
    :ivar when: when.
    """

    letter: bytes
    mask: bytes
    setter: bytes
    when: int


@dataclass(frozen=True, slots=True)
class RegisteredChannel:
    """
    A channel that is kept.

    :ivar name: its name.
    :ivar founder: the account whose it is.
    :ivar registered: when it was registered.
    :ivar created: when it was made.
    :ivar topic: its topic, who set it and when; or None.
    :ivar flags: the letters of its modes that take no parameter.
    :ivar key: mode ``k``, or None.
    :ivar limit: mode ``l``, or None.
    :ivar forward: mode ``f``, or None.
    :ivar masks: its lists.
    :ivar ranks: the rank that accounts are given when they join, by the folded account.
    """

    name: bytes
    founder: bytes
    registered: int
    created: int
    topic: tuple[bytes, bytes, int] | None = None
    flags: bytes = b""
    key: bytes | None = None
    limit: int | None = None
    forward: bytes | None = None
    masks: tuple[StoredMask, ...] = ()
    ranks: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NetworkBan:
    """
    A ban of the whole server.

    :ivar kind: ``kline`` for a mask ``nick!user@host`` or ``a:account``, ``dline`` for an address or network.
    :ivar mask: whom.
    :ivar setter: who set it.
    :ivar reason: why, for those whom it hits; what stands behind a ``|`` is for operators alone.
    :ivar created: when.
    :ivar expires: until when; None for ever.
    """

    kind: str
    mask: bytes
    setter: bytes
    reason: bytes
    created: int
    expires: int | None = None


class Entry(NamedTuple):
    """
    One thing that was said or happened: a tuple, as one is made for each message.

    :ivar msgid: its name.
    :ivar time: when, in milliseconds since 1970.
    :ivar target: where: the folded channel, or `conversation` of two parties.
    :ivar source: ``nick!user@host``.
    :ivar account: whose account, or None.
    :ivar command: the verb.
    :ivar params: the parameters that are words; the first is the target as it was shown.
    :ivar text: the last parameter, or None. The lines of a multiline message are separated by LF.
    :ivar tags: what clients said to each other in tags, escaped and joined.
    :ivar concatenated: of a multiline message, the numbers of the lines that go on without a break.
    :ivar bot: whether a bot said it.
    """

    msgid: bytes
    time: int
    target: bytes
    source: bytes
    account: bytes | None
    command: bytes
    params: tuple[bytes, ...]
    text: bytes | None = None
    tags: bytes = b""
    concatenated: tuple[int, ...] = ()
    bot: bool = False


@dataclass(frozen=True, slots=True)
class Marker:
    """
    How far somebody has read.

    :ivar account: whose, folded.
    :ivar target: where, folded.
    :ivar time: up to when, in milliseconds since 1970.
    """

    account: bytes
    target: bytes
    time: int


@dataclass(frozen=True, slots=True)
class Metadata:
    """
    What somebody has said of an account or a channel, by key.

    :ivar subject: the folded account, or the folded channel.
    :ivar key: the key.
    :ivar value: the value.
    """

    subject: bytes
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """
    All that is small: it lives in the server's memory, and the store is its journal.

    :ivar accounts: the accounts.
    :ivar channels: the channels that are kept.
    :ivar bans: the bans of the server.
    :ivar markers: how far who has read.
    :ivar metadata: what is said of whom.
    :ivar secrets: what this server alone knows, by name.
    :ivar closed: the folded channels that not everybody could read at some time.
    :ivar histories: what has a history, as `Entry.target` has it; only known when the file is opened.
    """

    accounts: tuple[Account, ...] = ()
    channels: tuple[RegisteredChannel, ...] = ()
    bans: tuple[NetworkBan, ...] = ()
    markers: tuple[Marker, ...] = ()
    metadata: tuple[Metadata, ...] = ()
    secrets: dict[str, bytes] = field(default_factory=dict)
    closed: tuple[bytes, ...] = ()
    histories: tuple[bytes, ...] = ()


def party(account: bytes | None, nick: bytes) -> bytes:
    """
    Name a party of a conversation.

    A guest is never the account of that name: whoever logs in to it reads nothing that was said to a guest,
    and no guest reads what was said to an account. Guests of one nick cannot be told apart, so what they
    said is not for them to read.

    :param account: the account, or None for a guest.
    :param nick: the nick.
    """
    return b"~" + fold(nick) if account is None else fold(account)


def conversation(one: bytes, other: bytes) -> bytes:
    """
    Name the conversation of two parties, the same whoever asks.

    :param one: a `party`.
    :param other: the other.
    """
    return b" ".join(sorted((one, other)))
