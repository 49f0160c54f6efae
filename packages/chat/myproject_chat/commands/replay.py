"""
What was said before, for clients that cannot ask for it.

A client with draft/chathistory fetches what it wants. One without is sent the last messages of a channel that
it joins, if the server's operator wants that (`history.join-messages`); and when it comes back to a user who
has stayed meanwhile (`accounts.always-on`) what it has missed since it left, of each channel and conversation
(`history.client-messages`). Several clients of one person are told apart by their user names: each has missed
what was said since it was here last, wherever the others have been.

It comes as any history does, in a batch, each message with its time; who has not negotiated server-time sees
the time in front of the words. What is said while it is looked up is no part of it: that the client hears
anyway.

Sources: https://ircv3.net/specs/batches/chathistory; Ergo's manual, "Bouncer" and autoreplay
(https://github.com/ergochat/ergo/blob/stable/docs/MANUAL.md); ZNC's buffers, which have the times in front.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from myproject_chat.capability import BATCH, CHATHISTORY, SERVER_TIME
from myproject_chat.channel import Channel
from myproject_chat.history import revived
from myproject_chat.response import part
from myproject_chat.selectors import Moment, Query, Subcommand
from myproject_chat.store.records import Entry, UnreadableError, party

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myproject_chat.session import Session
    from myproject_chat.state import User

__all__ = ["begin_batch", "end_batch", "other_party", "replay_channel", "replay_missed"]

#: Conversations of which somebody is told at once what is new; there are rarely more.
_CONVERSATIONS: Final = 100

_ACTION: Final = b"\x01ACTION "


async def replay_channel(session: Session, user: User, channel: Channel, named: int) -> None:
    """
    Send a client what was said in a channel that it has joined.

    :param session: the client.
    :param user: whose it is.
    :param channel: the channel.
    :param named: how many messages had a name (`Server.messages`) before it joined.
    """
    server = session.server
    limit = server.settings.history.join_messages
    target = server.history.channel(channel)
    if target is None or not limit or session.capabilities & CHATHISTORY:
        return
    query = Query(Subcommand.LATEST, target, (), limit)
    await _replay(session, user, channel, query, named)


async def replay_missed(session: Session, user: User, since: int | None, named: int) -> None:
    """
    Send a client what its user was told while it was not there.

    :param session: the client.
    :param user: whose it is.
    :param since: when it left, in milliseconds since 1970; None if it was never here.
    :param named: how many messages had a name (`Server.messages`) before it came back.
    """
    server = session.server
    limit = server.settings.history.client_messages
    store = server.history.store
    if since is None or store is None or not limit or session.capabilities & CHATHISTORY:
        return
    bounds = (Moment(since),)
    for channel in sorted(user.channels, key=lambda channel: channel.name):
        target = server.history.channel(channel)
        if target is not None:
            query = Query(Subcommand.LATEST, target, bounds, limit)
            await _replay(session, user, channel, query, named)
    if user.account is None:
        return
    who = party(user.account, user.nick)
    now = int(server.wall() * 1000) + 1
    try:
        found = await store.targets(who, (), since, now, _CONVERSATIONS)
    except UnreadableError:
        return
    for target, _ in found:
        query = Query(Subcommand.LATEST, target, bounds, limit)
        await _replay(session, user, other_party(session, who, target), query, named)


async def _replay(
    session: Session, user: User, where: Channel | bytes, query: Query, named: int
) -> None:
    """Send a part of the history of a channel, or of the conversation with somebody."""
    server = session.server
    store = server.history.store
    if store is None:
        return
    try:
        found: Sequence[Entry] = await store.entries(query.target, query, events=False)
    except UnreadableError:
        # The log says so; and who did not ask for it need not be told what it could not have.
        return
    entries = [entry for entry in found if not server.is_named_after(entry.msgid, named)]
    if not entries or (isinstance(where, Channel) and where not in user.channels):
        return
    name = where.name if isinstance(where, Channel) else where
    timed = session.capabilities & SERVER_TIME
    reference = begin_batch(session, b"chathistory", name)
    for entry in entries:
        again = revived(
            entry if timed else _stamped(entry), server.new_batch(), extended_join=False
        )
        for line in again.lines_for(session.capabilities):
            session.queue(line if reference is None else part(line, reference))
        await session.drained()
    end_batch(session, reference)


def _stamped(entry: Entry) -> Entry:
    """Write the time in front of the words."""
    moment = datetime.fromtimestamp(entry.time / 1000, UTC).strftime("[%Y-%m-%d %H:%M] ")
    text = entry.text or b""
    action = _ACTION if text.startswith(_ACTION) else b""
    return entry._replace(text=action + moment.encode("ascii") + text.removeprefix(action))


def other_party(session: Session, who: bytes, target: bytes) -> bytes:
    """
    Name a history as the one who reads it knows it.

    :param session: whose client.
    :param who: the `party` that reads it.
    :param target: the folded channel, or the conversation.
    """
    if target[:1] == b"#":
        channel = session.server.network.channel(target)
        return target if channel is None else channel.name
    one, _, two = target.partition(b" ")
    other = two if one == who else one
    account = session.server.accounts.get(other)
    return other.removeprefix(b"~") if account is None else account.name


def begin_batch(session: Session, kind: bytes, *params: bytes) -> bytes | None:
    """Open a batch for those who know such; gives its name."""
    if not session.capabilities & BATCH:
        return None
    reference = session.server.new_batch()
    session.say(b"BATCH", b"+" + reference, kind, *params)
    return reference


def end_batch(session: Session, reference: bytes | None) -> None:
    """Close a batch, if there is one."""
    if reference is not None:
        session.say(b"BATCH", b"-" + reference)
