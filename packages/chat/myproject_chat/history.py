"""
History: what is kept of what is said and of what happens, who may read it, and how far people have read.

What is said in a channel is for those who are in it. What two people say to each other is for the two, who
are their accounts. Where one of them is a guest it is for the other alone: `store.records.party` says why.
What goes to a part of a channel (STATUSMSG, mode U) is not kept, as who may read that changes; nor is what
programs say to programs (CTCP).

A message that is to be kept is refused, and nobody hears it, while the store fails or cannot keep up: who is
told that it was said can rely on its being there tomorrow.

Sources: https://ircv3.net/specs/extensions/chathistory, https://ircv3.net/specs/extensions/read-marker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from myproject_chat.channel import Channel
from myproject_chat.delivery import Outgoing, OutgoingMultiline, OutgoingRun
from myproject_chat.multiline import Line
from myproject_chat.names import fold
from myproject_chat.store.records import Entry, Marker, conversation, party

if TYPE_CHECKING:
    from myproject_chat.selectors import Query
    from myproject_chat.server import Server
    from myproject_chat.state import User
    from myproject_chat.store.records import Loaded

__all__ = ["MAX_MARKERS", "History", "Reader", "revived"]

#: Read markers of one account, or of one guest; the earliest go first. Ergo has 256.
MAX_MARKERS: Final = 256

# What a client says in tags is kept without words only if it asks for that, as with Ergo.
_LASTING: Final = frozenset((b"+draft/persist", b"+persist"))


class Reader(Protocol):
    """What writes history down and reads it; `store.Store` does."""

    @property
    def troubled(self) -> bool:
        """Whether what is to be kept cannot be written down at present."""

    def add(self, *entries: Entry) -> int:
        """Write down what was said or happened in one place; gives the last ticket."""

    def hurry(self) -> None:
        """Have all that was added written now: somebody waits for that."""

    def redact(self, target: bytes, msgid: bytes) -> int:
        """Take an entry out of a history; gives the ticket."""

    def rename_history(self, before: bytes, after: bytes) -> int:
        """Give a history to another name; gives the ticket."""

    def delete_history(self, target: bytes) -> int:
        """Delete a history; gives the ticket."""

    def close_history(self, target: bytes) -> int:
        """Note that not everybody could read a history; gives the ticket."""

    def put_marker(self, marker: Marker) -> int:
        """Write how far somebody has read; gives the ticket."""

    def delete_marker(self, account: bytes, target: bytes) -> int:
        """Delete how far somebody has read; gives the ticket."""

    def entries(self, target: bytes, query: Query, *, events: bool) -> Awaitable[Any]:
        """Read a part of a history."""

    def entry(self, target: bytes, msgid: bytes) -> Awaitable[Any]:
        """Find an entry of a history by its name."""

    def targets(
        self, who: bytes, channels: Sequence[bytes], after: int, before: int, limit: int
    ) -> Awaitable[Any]:
        """List the histories in which something was said."""


class History:
    """
    The history of one server.

    :param server: the server.

    :ivar store: what keeps it; None if nothing is kept.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.store: Reader | None = None
        # By folded account, or by the guest; by folded target, in the order of their times' setting.
        self._markers: dict[bytes | User, dict[bytes, int]] = {}
        # Folded channels whose history is from before the last start, as nobody has come back yet; and those
        # that not everybody could read.
        self._left: set[bytes] = set()
        self._closed: set[bytes] = set()

    def open(self, store: Reader, loaded: Loaded) -> None:
        """
        Use a store that has been opened.

        :param store: the store.
        :param loaded: all that is small in it.
        """
        self.store = store
        for marker in loaded.markers:
            self._markers.setdefault(marker.account, {})[marker.target] = marker.time
        self._closed.update(loaded.closed)
        self._left.update(name for name in loaded.histories if name[:1] == b"#")

    # What is kept

    @property
    def troubled(self) -> bool:
        """Whether what is to be kept cannot be written down at present."""
        return self.store is not None and self.store.troubled

    def channel(self, channel: Channel) -> bytes | None:
        """
        Say under which name a channel's history is kept.

        :param channel: the channel.
        :return: its folded name; None if it has no history.
        """
        choices = self._server.settings.history
        kept = channel.kept or choices.unregistered_channels
        return fold(channel.name) if kept and choices.enabled and self.store is not None else None

    def between(self, user: User, other: User) -> bytes | None:
        """
        Say under which name it is kept what one user says to another.

        :param user: who says it.
        :param other: to whom.
        :return: the name of the conversation; None if it is not kept.
        """
        choices = self._server.settings.history
        accounts = (user.account is not None) + (other.account is not None)
        needed = {"off": 3, "accounts": 2, "participants": 1}[choices.direct_messages]
        if self.store is None or not choices.enabled or accounts < needed:
            return None
        return conversation(party(user.account, user.nick), party(other.account, other.nick))

    def of(self, user: User, name: bytes, *, own: bool = False) -> bytes | None:
        """
        Say which history a user means.

        :param user: who asks.
        :param name: a channel or a nick.
        :param own: whether it is for what the user alone has said there: a guest, who reads no conversation,
            may take that back.
        :return: its name in the store; None if there is none that is for the user.
        """
        if self.store is None:
            return None
        network = self._server.network
        channel = network.channel(name)
        if channel is not None or name[:1] == b"#":
            return None if channel is None or channel not in user.channels else fold(channel.name)
        if user.account is None and not own:
            return None
        other = network.user(name)
        account = None if other is None else other.account
        if other is None:
            known = self._server.accounts.get(name)
            account = None if known is None else known.name
        return conversation(party(user.account, user.nick), party(account, name))

    # Writing

    def wants(self, text: bytes | None, tags: bytes) -> bool:
        """
        Say whether something is worth keeping.

        :param text: its words, or None.
        :param tags: its client-only tags, escaped and joined.
        """
        if text is None:
            return not _LASTING.isdisjoint(item.partition(b"=")[0] for item in tags.split(b";"))
        return text[:1] != b"\x01" or text[:8] == b"\x01ACTION "

    def said(self, message: Outgoing, target: bytes, tags: bytes, *, bot: bool) -> int:
        """
        Keep what was said.

        :param message: what.
        :param target: the name of its history.
        :param tags: its client-only tags, escaped and joined.
        :param bot: whether a bot said it.
        :return: the ticket; 0 if nothing is kept.
        """
        if self.store is None:
            return 0
        return self.store.add(_entry(message, message.msgid, target, tags, bot=bot))

    def said_at_once(self, messages: OutgoingRun, target: bytes, *, bot: bool) -> int:
        """
        Keep what was said in several lines that came together.

        :param messages: what.
        :param target: the name of its history.
        :param bot: whether a bot said it.
        :return: the last ticket; 0 if nothing is kept.
        """
        if self.store is None:
            return 0
        time, source, account = messages.milliseconds, messages.source, messages.account
        command, params = messages.command, tuple(messages.params)
        # What is made for each message of a busy server is made with as little ado as can be.
        new = tuple.__new__
        return self.store.add(
            *[
                new(
                    Entry,
                    (msgid, time, target, source, account, command, params, text, b"", (), bot),
                )
                for msgid, text in zip(messages.msgids, messages.texts, strict=True)
            ]
        )

    def happened(self, message: Outgoing, channels: Sequence[Channel]) -> None:
        """
        Keep an event.

        :param message: what happened.
        :param channels: where. Where not everybody is seen (mode u), it is not kept.
        """
        store = self.store
        if store is None or not self._server.settings.history.events:
            return
        msgid = message.msgid
        for channel in channels:
            target = self.channel(channel)
            if target is None or b"u" in channel.flags:
                continue
            store.add(_entry(message, msgid, target))
            # A name is that of one entry.
            msgid = self._server.new_message_id()

    def begin(self, name: bytes) -> None:
        """
        A channel is made anew: what was said in one of that name is not for those who come now.

        Unless nobody had left it: the server has stopped meanwhile, and they are back. Who was in it is not
        known any more; where not everybody could have come in, it is deleted all the same.
        """
        key = fold(name)
        if self.store is None or (key in self._left and key not in self._closed):
            self._left.discard(key)
            return
        self._delete(key)

    def _delete(self, key: bytes) -> None:
        self._left.discard(key)
        self._closed.discard(key)
        if self.store is not None:
            self.store.delete_history(key)

    def follow(self) -> None:
        """See which channels have ended or been closed to some; called at the end of a turn."""
        network = self._server.network
        for one in network.changed:
            if isinstance(one, Channel) and _is_closed(one):
                key = self.channel(one)
                if key is not None and key not in self._closed and self.store is not None:
                    self._closed.add(key)
                    self.store.close_history(key)
        ended, network.ended = network.ended, set()
        for key in ended:
            if key not in network.channels:
                self._delete(key)

    def rename(self, before: bytes, after: bytes) -> None:
        """A channel has another name; its history goes with it, and how far people have read it."""
        old, new = fold(before), fold(after)
        if old == new:
            return
        for markers in self._markers.values():
            if old in markers:
                markers[new] = markers.pop(old)
        self._left.discard(new)
        self._closed.discard(new)
        if old in self._closed:
            self._closed.remove(old)
            self._closed.add(new)
        if self.store is not None:
            self.store.rename_history(old, new)

    # Read markers

    def marker(self, user: User, target: bytes) -> int | None:
        """
        Say how far a user has read.

        :param user: who.
        :param target: a channel or a nick.
        :return: in milliseconds since 1970; None if that was never said.
        """
        return self._markers.get(_reader(user), {}).get(fold(target))

    def mark(self, user: User, target: bytes, moment: int) -> int:
        """
        Note how far a user has read; that never goes back.

        :param user: who.
        :param target: a channel or a nick.
        :param moment: in milliseconds since 1970.
        :return: how far it is.
        """
        reader, key = _reader(user), fold(target)
        markers = self._markers.setdefault(reader, {})
        before = markers.get(key)
        if before is not None and before >= moment:
            return before
        if before is None and len(markers) >= MAX_MARKERS:
            first = min(markers, key=markers.__getitem__)
            del markers[first]
            if self.store is not None and isinstance(reader, bytes):
                self.store.delete_marker(reader, first)
        markers[key] = moment
        if self.store is not None and isinstance(reader, bytes):
            self.store.put_marker(Marker(reader, key, moment))
        return moment

    def seen(self, user: User, client: bytes) -> int | None:
        """
        Note that a client of somebody who stays without one is here at this moment.

        :param user: who.
        :param client: what tells the user's clients apart.
        :return: when it was seen before, in milliseconds since 1970; None if it never was.
        """
        if user.account is None or not self._server.accounts.stays(user.account):
            return None
        # No channel and no nick is called so.
        target = b"@" + client
        before = self.marker(user, target)
        self.mark(user, target, int(self._server.wall() * 1000))
        return before

    def forget(self, user: User) -> None:
        """Forget how far a guest has read, who is there no more."""
        self._markers.pop(user, None)


def _is_closed(channel: Channel) -> bool:
    """Say whether a channel is not for everybody."""
    hidden = not channel.flags.isdisjoint((b"i", b"R", b"s"))
    return hidden or channel.key is not None or bool(channel.mask_list(b"b").masks())


def _reader(user: User) -> bytes | User:
    return user if user.account is None else fold(user.account)


def _entry(
    message: Outgoing, msgid: bytes, target: bytes, tags: bytes = b"", *, bot: bool = False
) -> Entry:
    text = message.text
    concatenated: tuple[int, ...] = ()
    if isinstance(message, OutgoingMultiline):
        text, concatenated = message.pieces, message.concatenated
    return Entry(
        msgid,
        message.milliseconds,
        target,
        message.source,
        message.account,
        message.command,
        tuple(message.params),
        text,
        tags,
        concatenated,
        bot,
    )


def revived(entry: Entry, reference: bytes, *, extended_join: bool) -> Outgoing:
    """
    Make the message that an entry was.

    :param entry: the entry.
    :param reference: a name for its batch, should it have several lines.
    :param extended_join: whether a JOIN is to have the account and the real name.
    """
    params, text = entry.params, entry.text
    if entry.command == b"JOIN" and not extended_join:
        params, text = params[:1], None
    tags = b";".join(filter(None, (b"bot" if entry.bot else b"", entry.tags)))
    # A little more, as a float need not be able to hold a thousandth, and what it has too little is cut.
    moment = entry.time / 1000 + 0.0001
    message = Outgoing(
        lambda: moment,
        entry.source,
        entry.command,
        params,
        text,
        msgid=entry.msgid,
        tags=tags,
        account=entry.account,
    )
    if text is None or entry.command not in (b"PRIVMSG", b"NOTICE") or b"\n" not in text:
        return message
    lines = [
        Line(line, index in entry.concatenated) for index, line in enumerate(text.split(b"\n"))
    ]
    return OutgoingMultiline(message, lines, reference)
