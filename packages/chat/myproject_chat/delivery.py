"""
Delivery: one message to many receivers, written once for each set of capabilities.

What a receiver's capabilities can change about a relayed message is its tags, so an `Outgoing`
holds the body ready and caches one line for each combination of the capabilities that matter.
All that is done for one receiver is a look into that cache and an append to its queue; the queue is
joined and sent once, at the end of the reactor turn (see server.py).

A message of several lines is an `OutgoingMultiline`: a batch for those who know such, bare lines for the
others, and one piece of bytes in a queue for either. What somebody says in several lines that come together
is an `OutgoingRun`, one piece of bytes as well: only the words are done one by one.

Sources: https://ircv3.net/specs/extensions/message-tags, https://ircv3.net/specs/extensions/server-time,
https://ircv3.net/specs/extensions/multiline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from myproject_chat.capability import ACCOUNT_TAG, BATCH, MESSAGE_TAGS, MULTILINE, SERVER_TIME
from myproject_chat.multiline import BATCH_TYPE, CONCAT_TAG
from myproject_chat.timestamps import stamp
from myproject_chat.wire import MAX_BODY, clip, serialise

if TYPE_CHECKING:
    from myproject_chat.multiline import Line
    from myproject_chat.state import User

__all__ = ["MATTERS", "Outgoing", "OutgoingMultiline", "OutgoingRun", "broadcast", "pack"]

_TAGS = ACCOUNT_TAG | MESSAGE_TAGS | SERVER_TIME
_BATCHES = BATCH | MULTILINE

#: The capabilities that can change how a message is written.
MATTERS = _TAGS | _BATCHES


class Outgoing:
    """
    A message on its way.

    :param wall: gives the time, in seconds since 1970; asked at most once, so that every receiver
        is told the same.
    :param source: who says it, ``nick!user@host``.
    :param command: the verb.
    :param params: its parameters that are words.
    :param text: its last parameter, or None.
    :param tags: what those who negotiated message-tags get, escaped and joined; empty for none.
    :param account: whose account says it, for those who negotiated account-tag; None for nobody's.

    :ivar msgid: its name, which no other has; those who negotiated message-tags get it.
    """

    __slots__ = (
        "_lines",
        "_wall",
        "_when",
        "account",
        "command",
        "msgid",
        "params",
        "source",
        "tags",
        "text",
    )

    _matters = _TAGS

    def __init__(
        self,
        wall: Callable[[], float],
        source: bytes,
        command: bytes,
        params: Sequence[bytes] = (),
        text: bytes | None = None,
        *,
        msgid: bytes,
        tags: bytes = b"",
        account: bytes | None = None,
    ) -> None:
        self.msgid = msgid
        self._wall = wall
        self._when: float | None = None
        self.source = source
        self.command = command
        self.params = params
        self.text = text
        self.account = account
        self.tags = tags
        self._lines: dict[int, bytes] = {}

    def line_for(self, capabilities: int) -> bytes:
        """
        Give the line for a receiver.

        :param capabilities: the bits of what it has negotiated.
        :return: the line with its tags and its CR LF.
        """
        wanted = capabilities & self._matters
        line = self._lines.get(wanted)
        if line is None:
            line = self._lines[wanted] = self._line(wanted)
        return line

    def _line(self, capabilities: int) -> bytes:
        body = self._body(self.text)
        return _with_tags(self._items(capabilities), body) if capabilities else body

    def lines_for(self, capabilities: int) -> list[bytes]:
        """
        Give the lines for a receiver, each by itself.

        :param capabilities: the bits of what it has negotiated.
        :return: one line; of a message of several lines, those that it consists of.
        """
        return [self._line(capabilities)]

    def _body(self, text: bytes | None) -> bytes:
        return serialise(self.source, self.command, self.params, text)

    def _items(self, capabilities: int, *, named: bool = True) -> list[bytes]:
        """Give the tags; those of the lines behind the first have no name."""
        items = []
        if capabilities & SERVER_TIME:
            items.append(b"time=" + stamp(self.milliseconds))
        if capabilities & ACCOUNT_TAG and self.account is not None:
            items.append(b"account=" + self.account)
        if capabilities & MESSAGE_TAGS:
            if named:
                items.append(b"msgid=" + self.msgid)
            if self.tags:
                items.append(self.tags)
        return items

    @property
    def milliseconds(self) -> int:
        """When it was said, in milliseconds since 1970, as its receivers are told."""
        return int(self.when * 1000)

    @property
    def when(self) -> float:
        """When it was said, in seconds since 1970."""
        if self._when is None:
            self._when = self._wall()
        return self._when


class OutgoingMultiline(Outgoing):
    """
    A message of several lines on its way.

    :param outgoing: the message, its lines joined by line feeds; nothing of it has been sent.
    :param lines: the lines, as the sender divided them.
    :param reference: a name for its batch.
    """

    __slots__ = ("_parts", "_reference")

    _matters = MATTERS

    def __init__(self, outgoing: Outgoing, lines: Sequence[Line], reference: bytes) -> None:
        super().__init__(
            lambda: outgoing.when,
            outgoing.source,
            outgoing.command,
            outgoing.params,
            outgoing.text,
            msgid=outgoing.msgid,
            tags=outgoing.tags,
            account=outgoing.account,
        )
        self._parts = lines
        self._reference = reference

    @property
    def concatenated(self) -> tuple[int, ...]:
        """The numbers of the lines that go on without a break, for the history."""
        return tuple(index for index, line in enumerate(self._parts) if line.concat)

    @property
    def pieces(self) -> bytes:
        """The sender's lines, separated by LF, for the history."""
        return b"\n".join(line.text for line in self._parts)

    def _line(self, capabilities: int) -> bytes:
        return b"".join(self.lines_for(capabilities))

    def lines_for(self, capabilities: int) -> list[bytes]:
        """As `Outgoing.lines_for`: a batch, or the lines that are not blank."""
        if capabilities & _BATCHES != _BATCHES:
            texts = [line.text for line in self._parts if line.text]
            return [
                _with_tags(self._items(capabilities, named=not index), self._body(text))
                for index, text in enumerate(texts)
            ]
        inside = b"batch=" + self._reference
        goes_on = inside + b";" + CONCAT_TAG
        begin = (b"+" + self._reference, BATCH_TYPE, *self.params)
        return [
            _with_tags(self._items(capabilities), serialise(self.source, b"BATCH", begin)),
            *(
                _with_tags([goes_on if line.concat else inside], self._body(line.text))
                for line in self._parts
            ),
            serialise(self.source, b"BATCH", (b"-" + self._reference,)),
        ]


class OutgoingRun(Outgoing):
    """
    Messages on their way that differ in their words alone: what somebody says to one target at once.

    :param wall: as for `Outgoing`.
    :param source: who says it, ``nick!user@host``.
    :param command: the verb.
    :param params: its parameters that are words.
    :param texts: the last parameter of each.
    :param names: gives the names of as many messages as there are; asked when one is needed.
    :param tags: as for `Outgoing`.
    :param account: as for `Outgoing`.

    :ivar texts: the last parameter of each.
    """

    __slots__ = ("_msgids", "_names", "texts")

    def __init__(
        self,
        wall: Callable[[], float],
        source: bytes,
        command: bytes,
        params: Sequence[bytes],
        texts: Sequence[bytes],
        *,
        names: Callable[[], Sequence[bytes]],
        tags: bytes = b"",
        account: bytes | None = None,
    ) -> None:
        super().__init__(
            wall, source, command, params, texts[0], msgid=b"", tags=tags, account=account
        )
        self.texts = texts
        self._names = names
        self._msgids: Sequence[bytes] = ()

    @property
    def msgids(self) -> Sequence[bytes]:
        """The names of the messages."""
        if not self._msgids:
            self._msgids = self._names()
        return self._msgids

    def _line(self, capabilities: int) -> bytes:
        start = self._body(b"")[:-2]
        texts = self.texts
        room = MAX_BODY - len(start)
        if max(map(len, texts)) > room:
            texts = [clip(text, room) for text in texts]
        if not capabilities & MESSAGE_TAGS:
            start = _with_tags(self._items(capabilities), start)
            return start + (b"\r\n" + start).join(texts) + b"\r\n"
        items = [*self._items(capabilities & ~MESSAGE_TAGS), b"msgid="]
        before = b"@" + b";".join(items)
        behind = (b";" + self.tags if self.tags else b"") + b" " + start
        lines = zip(self.msgids, texts, strict=True)
        return b"".join([b"%b%b%b%b\r\n" % (before, name, behind, text) for name, text in lines])

    def lines_for(self, capabilities: int) -> list[bytes]:
        """As `Outgoing.lines_for`: one for each message."""
        return self.line_for(capabilities).splitlines(keepends=True)


def _with_tags(items: Sequence[bytes], body: bytes) -> bytes:
    return b"@" + b";".join(items) + b" " + body if items else body


def broadcast(
    users: Iterable[User],
    message: Outgoing,
    skip: User | None = None,
    *,
    needs: int = 0,
    otherwise: Outgoing | None = None,
) -> None:
    """
    Queue a message for many, with every client that they have connected.

    :param users: who gets it, in this order.
    :param message: what.
    :param skip: one of them who does not.
    :param needs: the bits of the capabilities that a client must have all of.
    :param otherwise: what the clients get that have not; None for nothing.
    """
    line_for = message.line_for
    for user in users:
        if user is not skip:
            for receiver in user.receivers:
                if receiver.capabilities & needs == needs:
                    receiver.queue(line_for(receiver.capabilities))
                elif otherwise is not None:
                    receiver.queue(otherwise.line_for(receiver.capabilities))


def pack(words: Iterable[bytes], room: int) -> list[bytes]:
    """
    Fill lines with words.

    :param words: the words.
    :param room: bytes that a line of them may take; a longer word gets a line of its own.
    :return: the lines, the words on each separated by one space.
    """
    lines: list[list[bytes]] = []
    used = room
    for word in words:
        used += 1 + len(word)
        if used > room:
            lines.append([])
            used = len(word)
        lines[-1].append(word)
    return [b" ".join(line) for line in lines]
