"""
Reading what was said, and taking it back: CHATHISTORY REDACT.

Sources: https://ircv3.net/specs/extensions/chathistory,
https://ircv3.net/specs/extensions/message-redaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from myproject_chat.capability import EVENT_PLAYBACK, EXTENDED_JOIN, MESSAGE_REDACTION
from myproject_chat.commands.registry import Table
from myproject_chat.commands.replay import begin_batch, end_batch, other_party
from myproject_chat.delivery import broadcast
from myproject_chat.history import revived
from myproject_chat.names import fold
from myproject_chat.response import part
from myproject_chat.selectors import Invalid, Moment, Query, Subcommand, read
from myproject_chat.store.records import UnreadableError, party
from myproject_chat.timestamps import stamp
from myproject_chat.wire import clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.store.records import Entry
    from myproject_chat.wire import Message

__all__ = ["HISTORY"]

HISTORY = Table()

# As a KICK's.
_REASON_LENGTH = 255


@HISTORY.registered(b"CHATHISTORY")
async def chathistory(session: Session, user: User, message: Message) -> None:
    """Read what was said before: LATEST, BEFORE, AFTER, AROUND, BETWEEN; or TARGETS, to see where."""
    query = read(message.params, session.server.settings.history.chathistory_messages)
    if isinstance(query, Invalid):
        session.say(b"FAIL", b"CHATHISTORY", query.code, *query.context, text=query.text)
    elif query.subcommand is Subcommand.TARGETS:
        await _targets(session, user, query)
    else:
        await _messages(session, user, query)


async def _messages(session: Session, user: User, query: Query) -> None:
    history = session.server.history
    target = history.of(user, query.target)
    entries: Sequence[Entry] = ()
    if target is not None and history.store is not None:
        events = bool(session.capabilities & EVENT_PLAYBACK)
        try:
            entries = await history.store.entries(target, query, events=events)
        except UnreadableError:
            _unreadable(session, query.subcommand.value, query.target)
            return
    elif query.target[:1] == b"#":
        text = b"There is no such channel, or you are not in it"
        context = (query.subcommand.value, query.target)
        session.say(b"FAIL", b"CHATHISTORY", b"INVALID_TARGET", *context, text=text)
        return
    await _send(session, query.target, entries)


def _unreadable(session: Session, *context: bytes) -> None:
    text = b"The server cannot read what it has kept at present; try again later"
    session.say(b"FAIL", b"CHATHISTORY", b"MESSAGE_ERROR", *context, text=text)


async def _send(session: Session, target: bytes, entries: Sequence[Entry]) -> None:
    reference = begin_batch(session, b"chathistory", target)
    extended = bool(session.capabilities & EXTENDED_JOIN)
    for entry in entries:
        again = revived(entry, session.server.new_batch(), extended_join=extended)
        for line in again.lines_for(session.capabilities):
            session.queue(line if reference is None else part(line, reference))
        await session.drained()
    end_batch(session, reference)


async def _targets(session: Session, user: User, query: Query) -> None:
    store = session.server.history.store
    found: Sequence[tuple[bytes, int]] = ()
    who = b"" if user.account is None else party(user.account, user.nick)
    if store is not None:
        # Its bounds are times: `read` sees to that.
        times = sorted(cast("Moment", bound).milliseconds for bound in query.bounds)
        channels = {fold(channel.name): channel.name for channel in user.channels}
        try:
            found = await store.targets(who, list(channels), times[0], times[1], query.limit)
        except UnreadableError:
            _unreadable(session, query.subcommand.value)
            return
    reference = begin_batch(session, b"draft/chathistory-targets")
    for target, moment in found:
        name = other_party(session, who, target)
        # A guest's may have the name of an account that was made since: asked for, that one's would come.
        if session.server.history.of(user, name) != target:
            continue
        session.say(b"CHATHISTORY", b"TARGETS", name, stamp(moment), batch=reference)
        await session.drained()
    end_batch(session, reference)


@HISTORY.registered(b"REDACT", params=2)
async def redact(session: Session, user: User, message: Message) -> None:
    """Take back a message: one's own, or, for a channel's operators, anybody's."""
    name, msgid = message.params[:2]
    reason = clip(message.params[2], _REASON_LENGTH) if len(message.params) > 2 else None
    history = session.server.history
    target = history.of(user, name, own=True)
    if target is None and (name[:1] == b"#" or session.server.network.user(name) is None):
        text = b"There is no such target, or you are not in it"
        session.say(b"FAIL", b"REDACT", b"INVALID_TARGET", name, text=text)
        return
    entry: Entry | None = None
    if target is not None and history.store is not None:
        if history.troubled:
            _unavailable(session, name, msgid)
            return
        try:
            entry = await history.store.entry(target, msgid)
        except UnreadableError:
            _unavailable(session, name, msgid)
            return
    if entry is None or entry.command not in (b"PRIVMSG", b"NOTICE", b"TAGMSG"):
        text = b"There is no such message any more"
        session.say(b"FAIL", b"REDACT", b"UNKNOWN_MSGID", name, msgid, text=text)
        return
    channel = session.server.network.channel(name)
    if not _is_from(entry, user) and (channel is None or not channel.may_moderate(user)):
        text = b"Only who said it may take it back, and who moderates the channel"
        session.say(b"FAIL", b"REDACT", b"REDACT_FORBIDDEN", name, msgid, text=text)
        return
    if history.store is None or (channel is not None and channel not in user.channels):
        # While the entry was looked up the user has left.
        return
    ticket = history.store.redact(entry.target, msgid)
    other = None if channel is not None else session.server.network.user(name)
    shown = name if other is None else other.nick
    shown = shown if channel is None else channel.name
    news = session.server.message(user, b"REDACT", (shown, msgid), reason)
    receivers = (other,) if channel is None else channel.members
    for receiver in receivers:
        if receiver is not None and receiver is not user:
            broadcast((receiver,), news, needs=MESSAGE_REDACTION)
    session.hold(ticket)
    broadcast((user,), news, needs=MESSAGE_REDACTION)


def _unavailable(session: Session, name: bytes, msgid: bytes) -> None:
    text = b"The server cannot take messages back at present; try again later"
    session.say(b"FAIL", b"REDACT", b"TEMPORARILY_UNAVAILABLE", name, msgid, text=text)


def _is_from(entry: Entry, user: User) -> bool:
    """Say whether a user said it: the account did, or this guest since it came."""
    if entry.account is not None or user.account is not None:
        return (
            entry.account is not None
            and user.account is not None
            and fold(entry.account) == fold(user.account)
        )
    return entry.source == user.source and entry.time >= user.since * 1000
