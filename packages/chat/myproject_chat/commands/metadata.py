"""
What users and channels say of themselves by keys and values: METADATA.

Everybody may read a user's; a channel's is for its members where a mode keeps others out. A user sets its
own, the operators of a channel that channel's. Others are told of a change if they subscribe to the key:
those who share a channel with the user, are in the channel, or watch the user with extended-monitor.

What is set lives in ``User.metadata`` and ``Channel.metadata``, and is changed by metadata_changes.py, which
keeps an account's and a registered channel's.

Source: https://ircv3.net/specs/extensions/metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Self, TypeAlias, cast

from myproject_chat.capability import BATCH
from myproject_chat.capability import METADATA as CAPABILITY
from myproject_chat.channel import Channel
from myproject_chat.commands.registry import Outcome, Table
from myproject_chat.delivery import pack
from myproject_chat.metadata import Refusal, check_key, check_room, check_value, limits_of
from myproject_chat.metadata_changes import receivers_of, send_value
from myproject_chat.modes import OPERATOR
from myproject_chat.numerics import (
    ERR_NEEDMOREPARAMS,
    RPL_METADATASUBOK,
    RPL_METADATASUBS,
    RPL_METADATASYNCLATER,
    RPL_METADATAUNSUBOK,
    Numeric,
)
from myproject_chat.wire import MAX_BODY

if TYPE_CHECKING:
    from myproject_chat.server import Server
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["METADATA", "send_own", "tell_of_joining"]

METADATA = Table()

_Subject: TypeAlias = "User | Channel"
_Act: TypeAlias = "Callable[[Session, bytes, _Subject | None, tuple[bytes, ...]], Outcome]"

# What 770 to 772 can take behind ":server 770 nick ", whatever the keys, and how many parameters.
_KEYS_ROOM = 380
_KEYS_A_LINE = 12
# Members of a channel whose metadata comes with a JOIN; of a larger one the client asks when it likes.
_SYNC_MEMBERS = 100


@METADATA.always(b"METADATA", params=2)
def metadata(session: Session, message: Message) -> Outcome:
    """Read and set what is said of a user or channel by key: GET LIST SET CLEAR, SUB UNSUB SUBS SYNC."""
    target, subcommand, *params = message.params
    name = subcommand.upper()
    act = _ACTS.get(name)
    if act is None:
        _fail(session, Refusal(b"SUBCOMMAND_INVALID", (subcommand,), b"No such subcommand"))
        return None
    if name in _WITH_PARAMS and not params:
        session.reply(ERR_NEEDMOREPARAMS, b"METADATA")
        return None
    subject, found = _find(session, target)
    if not found:
        text = b"No such nick or channel"
        _fail(session, Refusal(b"INVALID_TARGET", (target,), text))
    elif not _may_read(session, subject):
        _fail(session, _no_permission(_name_of(session, subject), b"*"))
    else:
        return act(session, _name_of(session, subject), subject, tuple(params))
    return None


def _find(session: Session, target: bytes) -> tuple[_Subject | None, bool]:
    """Find what a target means; before registration that is oneself alone, whom nobody knows yet."""
    user = session.user
    if target == b"*":
        return user, True
    if user is None:
        return None, False
    network = session.server.network
    if target[:1] != b"#":
        other = network.user(target)
        return other, other is not None
    channel = network.channel(target)
    if channel is None or (channel.secret and channel not in user.channels):
        return None, False
    return channel, True


def _may_read(session: Session, subject: _Subject | None) -> bool:
    user = session.user
    if user is None or subject is None or subject is user or not isinstance(subject, Channel):
        return True
    closed = b"i" in subject.flags or subject.key is not None
    return not closed or subject in user.channels


def _may_set(session: Session, subject: _Subject | None) -> bool:
    user = session.user
    if user is None or subject is None or subject is user:
        return True
    return isinstance(subject, Channel) and subject.level(user) >= OPERATOR


def _name_of(session: Session, subject: _Subject | None) -> bytes:
    if subject is None:
        return session.target
    return subject.name if isinstance(subject, Channel) else subject.nick


def _held(session: Session, subject: _Subject | None) -> Mapping[bytes, bytes]:
    return session.metadata if subject is None else subject.metadata


def _fail(session: Session, refusal: Refusal, batch: bytes | None = None) -> None:
    words = (refusal.code, *refusal.context)
    session.say(b"FAIL", b"METADATA", *words, text=refusal.text, batch=batch)


def _no_permission(target: bytes, key: bytes) -> Refusal:
    return Refusal(b"KEY_NO_PERMISSION", (target, key), b"You may not do that with this metadata")


# Reading


def _get(session: Session, name: bytes, subject: _Subject | None, keys: tuple[bytes, ...]) -> None:
    held = _held(session, subject)
    limits = limits_of(session.server.settings)
    with _Batch(session, name) as batch:
        for key in keys:
            refusal = check_key(key, limits)
            if refusal is not None:
                _fail(session, refusal, batch.name)
            else:
                send_value(session, name, key, held.get(key), batch.name)


def _list(
    session: Session, name: bytes, subject: _Subject | None, _params: tuple[bytes, ...]
) -> None:
    with _Batch(session, name) as batch:
        for key, value in _held(session, subject).items():
            send_value(session, name, key, value, batch.name)


async def _sync(
    session: Session, name: bytes, subject: _Subject | None, _params: tuple[bytes, ...]
) -> None:
    user = session.user
    if subject is None or user is None:
        return
    values = list(_values(user, subject, sorted(session.subscriptions)))
    with _Batch(session, name) as batch:
        for said_by, key, value in values:
            send_value(session, said_by, key, value, batch.name)
            await session.drained()


class _Batch:
    """Lines that belong together, for a client that knows batches: opens and closes one around them."""

    __slots__ = ("_session", "_target", "name")

    def __init__(self, session: Session, target: bytes) -> None:
        self._session = session
        self._target = target
        self.name = session.server.new_batch() if session.capabilities & BATCH else None

    def __enter__(self) -> Self:
        if self.name is not None:
            self._session.say(b"BATCH", b"+" + self.name, b"metadata", self._target)
        return self

    def __exit__(self, *_why: object) -> None:
        if self.name is not None:
            self._session.say(b"BATCH", b"-" + self.name)


def _values(
    user: User, subject: _Subject, keys: Iterable[bytes]
) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Give what a subject, and everybody in it who is to be seen, says under some keys."""
    if not isinstance(subject, Channel):
        yield from (
            (subject.nick, key, subject.metadata[key]) for key in keys if key in subject.metadata
        )
        return
    yield from (
        (subject.name, key, subject.metadata[key]) for key in keys if key in subject.metadata
    )
    if subject in user.channels:
        for member in subject.members:
            if member.metadata and subject.shows(member, user):
                yield from _values(user, member, keys)


def _send_or_postpone(
    session: Session, user: User, channel: Channel, wanted: frozenset[bytes]
) -> None:
    """Send what is known of a channel and those in it, or, if those are many, tell to ask for it."""
    if len(channel.members) > _SYNC_MEMBERS:
        session.reply(RPL_METADATASYNCLATER, channel.name)
        return
    values = list(_values(user, channel, sorted(wanted)))
    if values:
        with _Batch(session, channel.name) as batch:
            for said_by, key, value in values:
                send_value(session, said_by, key, value, batch.name)


def send_own(session: Session, user: User) -> None:
    """
    Tell a client what is known of its user: at the end of registration, and with the capability.

    :param session: the client.
    :param user: its user.
    """
    _list(session, user.nick, user, ())


def tell_of_joining(user: User, channel: Channel) -> None:
    """
    Tell somebody who has come to a channel of it and those in it, and those of the one who came.

    :param user: who has come.
    :param channel: where.
    """
    for receiver in user.receivers:
        if receiver.subscriptions and receiver.capabilities & CAPABILITY:
            # A user's clients are sessions; state alone need not know.
            _send_or_postpone(cast("Session", receiver), user, channel, receiver.subscriptions)
    if user.metadata:
        near = [other for other in channel.audience(user) if other is not user]
        for receiver in receivers_of(near):
            for key, value in user.metadata.items():
                if key in receiver.subscriptions:
                    send_value(receiver, user.nick, key, value)


# Changing


def _set(
    session: Session, name: bytes, subject: _Subject | None, params: tuple[bytes, ...]
) -> None:
    key, *rest = params
    value = rest[0] if rest else None
    refusal = _refusal(session, name, subject, key, value)
    if refusal is not None:
        _fail(session, refusal)
        return
    if _held(session, subject).get(key) != value:
        _change(session, subject, key, value)
    send_value(session, name, key, value)


def _refusal(
    session: Session, name: bytes, subject: _Subject | None, key: bytes, value: bytes | None
) -> Refusal | None:
    """Say why a key cannot be set, if so."""
    limits = limits_of(session.server.settings)
    refusal = check_key(key, limits)
    if refusal is not None:
        return refusal
    if not _may_set(session, subject):
        return _no_permission(name, key)
    if value is None:
        return None
    refusal = check_value(key, value, limits)
    if refusal is None and len(key) + len(value) > _room(session.server):
        refusal = Refusal(b"INVALID_VALUE", (key,), b"Key and value are too long for a line")
    return refusal or check_room(name, key, _held(session, subject).keys(), limits)


def _room(server: Server) -> int:
    """What 761 can take behind ":server 761 nick #channel ", whatever the names, with " * :"."""
    limits = server.settings.limits
    return MAX_BODY - len(b": 761    * :") - len(server.name) - limits.nick - limits.channel


def _clear(
    session: Session, name: bytes, subject: _Subject | None, _params: tuple[bytes, ...]
) -> None:
    if not _may_set(session, subject):
        _fail(session, _no_permission(name, b"*"))
        return
    with _Batch(session, name) as batch:
        for key in list(_held(session, subject)):
            _change(session, subject, key, None)
            send_value(session, name, key, None, batch.name)


def _change(session: Session, subject: _Subject | None, key: bytes, value: bytes | None) -> None:
    """Set or unset a key, have it written, and tell those who subscribe to it."""
    if subject is None:
        wished = {**session.metadata, key: value}
        session.metadata = {key: value for key, value in wished.items() if value is not None}
        return
    session.hold(session.server.metadata.change(subject, key, value, session))


# Subscribing


def _sub(
    session: Session, _name: bytes, _subject: _Subject | None, keys: tuple[bytes, ...]
) -> None:
    limits = limits_of(session.server.settings)
    before = session.subscriptions
    subscribed = dict.fromkeys(before)
    done: list[bytes] = []
    for key in keys:
        refusal = check_key(key, limits)
        if refusal is None and key not in subscribed and len(subscribed) >= limits.max_subs:
            text = b"You are subscribed to as many keys as you can"
            _fail(session, Refusal(b"TOO_MANY_SUBS", (key,), text))
            break
        if refusal is not None:
            _fail(session, refusal)
            continue
        subscribed[key] = None
        done.append(key)
    session.subscriptions = frozenset(subscribed)
    _send_keys(session, RPL_METADATASUBOK, done)
    new = session.subscriptions - before
    user = session.user
    if user is not None and new:
        for channel in sorted(user.channels, key=lambda channel: channel.name):
            _send_or_postpone(session, user, channel, new)


def _unsub(
    session: Session, _name: bytes, _subject: _Subject | None, keys: tuple[bytes, ...]
) -> None:
    limits = limits_of(session.server.settings)
    done = []
    for key in keys:
        refusal = check_key(key, limits)
        if refusal is not None:
            _fail(session, refusal)
        else:
            done.append(key)
    session.subscriptions -= set(done)
    _send_keys(session, RPL_METADATAUNSUBOK, done)


def _subs(
    session: Session, _name: bytes, _subject: _Subject | None, _params: tuple[bytes, ...]
) -> None:
    _send_keys(session, RPL_METADATASUBS, sorted(session.subscriptions))


def _send_keys(session: Session, numeric: Numeric, keys: Iterable[bytes]) -> None:
    for line in pack(dict.fromkeys(keys), _KEYS_ROOM):
        words = line.split(b" ")
        for start in range(0, len(words), _KEYS_A_LINE):
            session.reply(numeric, *words[start : start + _KEYS_A_LINE])


_ACTS: Mapping[bytes, _Act] = MappingProxyType(
    {
        b"GET": _get,
        b"LIST": _list,
        b"SET": _set,
        b"CLEAR": _clear,
        b"SUB": _sub,
        b"UNSUB": _unsub,
        b"SUBS": _subs,
        b"SYNC": _sync,
    }
)
_WITH_PARAMS = frozenset({b"GET", b"SET", b"SUB", b"UNSUB"})
