"""
The capabilities this server offers, each with the bit that stands for it in a session.

A capability is listed in `CAPABILITIES` only when everything its page asks of a server is done. The bits
let delivery choose a serialisation by one ``&``. What the operator chose decides which of them are
offered, and the values that some have: `offered`.

Source: https://ircv3.net/irc/ (one page for each name).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from myproject_chat import multiline
from myproject_chat.metadata import capability_value, limits_of
from myproject_chat.sasl import mechanisms

if TYPE_CHECKING:
    from myproject_chat.settings import Settings

__all__ = [
    "ACCOUNT_NOTIFY",
    "ACCOUNT_TAG",
    "AWAY_NOTIFY",
    "BATCH",
    "CAPABILITIES",
    "CAP_NOTIFY",
    "CHANNEL_RENAME",
    "CHATHISTORY",
    "CHGHOST",
    "ECHO_MESSAGE",
    "EVENT_PLAYBACK",
    "EXTENDED_JOIN",
    "EXTENDED_MONITOR",
    "INVITE_NOTIFY",
    "LABELED_RESPONSE",
    "MESSAGE_REDACTION",
    "MESSAGE_TAGS",
    "METADATA",
    "MULTILINE",
    "MULTI_PREFIX",
    "NO_IMPLICIT_NAMES",
    "PRE_AWAY",
    "READ_MARKER",
    "REGISTRATION",
    "SASL",
    "SERVER_TIME",
    "SETNAME",
    "STANDARD_REPLIES",
    "USERHOST_IN_NAMES",
    "offered",
    "sts_news",
    "sts_value",
    "written",
]

AWAY_NOTIFY = 1 << 0
ECHO_MESSAGE = 1 << 1
EXTENDED_JOIN = 1 << 2
MESSAGE_TAGS = 1 << 3
MULTI_PREFIX = 1 << 4
SERVER_TIME = 1 << 5
SETNAME = 1 << 6
USERHOST_IN_NAMES = 1 << 7
STANDARD_REPLIES = 1 << 8
ACCOUNT_NOTIFY = 1 << 9
ACCOUNT_TAG = 1 << 10
BATCH = 1 << 11
CAP_NOTIFY = 1 << 12
CHGHOST = 1 << 13
EXTENDED_MONITOR = 1 << 14
INVITE_NOTIFY = 1 << 15
LABELED_RESPONSE = 1 << 16
SASL = 1 << 17
CHANNEL_RENAME = 1 << 19
CHATHISTORY = 1 << 20
EVENT_PLAYBACK = 1 << 21
MESSAGE_REDACTION = 1 << 22
METADATA = 1 << 23
MULTILINE = 1 << 24
NO_IMPLICIT_NAMES = 1 << 25
PRE_AWAY = 1 << 26
READ_MARKER = 1 << 27
REGISTRATION = 1 << 28

CAPABILITIES: Mapping[bytes, int] = MappingProxyType(
    {
        b"account-notify": ACCOUNT_NOTIFY,
        b"account-tag": ACCOUNT_TAG,
        b"away-notify": AWAY_NOTIFY,
        b"batch": BATCH,
        b"cap-notify": CAP_NOTIFY,
        b"chghost": CHGHOST,
        b"draft/account-registration": REGISTRATION,
        b"draft/channel-rename": CHANNEL_RENAME,
        b"draft/chathistory": CHATHISTORY,
        b"draft/event-playback": EVENT_PLAYBACK,
        b"draft/message-redaction": MESSAGE_REDACTION,
        b"draft/metadata-3": METADATA,
        b"draft/multiline": MULTILINE,
        b"draft/no-implicit-names": NO_IMPLICIT_NAMES,
        b"draft/pre-away": PRE_AWAY,
        b"draft/read-marker": READ_MARKER,
        b"echo-message": ECHO_MESSAGE,
        b"extended-join": EXTENDED_JOIN,
        b"extended-monitor": EXTENDED_MONITOR,
        b"invite-notify": INVITE_NOTIFY,
        b"labeled-response": LABELED_RESPONSE,
        b"message-tags": MESSAGE_TAGS,
        b"multi-prefix": MULTI_PREFIX,
        b"sasl": SASL,
        b"server-time": SERVER_TIME,
        b"setname": SETNAME,
        # FAIL is sent to everybody: standard-replies only lets a client say that it knows.
        b"standard-replies": STANDARD_REPLIES,
        b"userhost-in-names": USERHOST_IN_NAMES,
    }
)


def offered(settings: Settings) -> dict[bytes, bytes | None]:
    """
    Give what a client may ask for.

    :param settings: what the operator chose; each capability that depends on it does so here.
    :return: the names, each with the value that CAP LS 302 shows behind ``=``, or None.
    """
    names: dict[bytes, bytes | None] = dict.fromkeys(CAPABILITIES)
    if settings.limits.metadata_keys:
        names[b"draft/metadata-3"] = capability_value(limits_of(settings))
    else:
        del names[b"draft/metadata-3"]
    limits = settings.limits
    names[b"draft/multiline"] = multiline.capability_value(
        limits.multiline_bytes, limits.multiline_lines
    )
    if settings.history.enabled:
        names[b"draft/chathistory"] = b"%d" % settings.history.chathistory_messages
    else:
        for name in (b"draft/chathistory", b"draft/event-playback", b"draft/message-redaction"):
            del names[name]
    names[b"sasl"] = b",".join(mechanisms(certificate=False))
    accounts = settings.accounts
    if accounts.registration:
        values = {
            b"before-connect": accounts.before_connect,
            b"email-required": accounts.email_required,
            # Where a nick is its account's, an account is named as its nick.
            b"custom-account-name": accounts.nick_reservation != "strict",
        }
        names[b"draft/account-registration"] = (
            b",".join(word for word, on in values.items() if on) or None
        )
    else:
        del names[b"draft/account-registration"]
    return names


def sts_value(settings: Settings, *, secure: bool) -> bytes | None:
    """
    Give the value of ``sts``, which CAP LS and CAP NEW tell of and which nobody can ask for.

    :param settings: what the operator chose.
    :param secure: whether the client has come over TLS: then it is told for how long to do so, else where to.
    :return: the value, or None if clients are told nothing.

    Source: https://ircv3.net/specs/extensions/sts.
    """
    sts = settings.sts
    if not sts.enabled:
        return None
    if not secure:
        return b"port=%d,duration=%d" % (sts.port, sts.duration)
    return b"duration=%d%b" % (sts.duration, b",preload" if sts.preload else b"")


def sts_news(before: Settings, after: Settings) -> dict[bool, list[bytes]]:
    """
    Give what CAP NEW has to say of ``sts``. It never goes by CAP DEL: a duration of 0 takes it back.

    :param before: what was in force.
    :param after: what is in force now.
    :return: at most one word, for each of the two kinds of `sts_value`.
    """
    news: dict[bool, list[bytes]] = {False: [], True: []}
    for secure, words in news.items():
        value = sts_value(after, secure=secure)
        if value is None and secure and before.sts.enabled:
            value = b"duration=0"
        if value is not None and value != sts_value(before, secure=secure):
            words.append(written(b"sts", value))
    return news


def written(name: bytes, value: bytes | None) -> bytes:
    """
    Write a capability as CAP LS 302 and CAP NEW do.

    :param name: its name.
    :param value: its value, or None.
    """
    return name if value is None else name + b"=" + value
