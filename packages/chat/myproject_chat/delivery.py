"""
Delivery: one message to many receivers, written once for each set of capabilities.

What a receiver's capabilities can change about a relayed message is its tags, so an `Outgoing`
holds the body ready and caches one line for each combination of the capabilities that matter.
All that is done for one receiver is a look into that cache and an append to its queue; the queue is
joined and sent once, at the end of the reactor turn (see server.py).

Sources: https://ircv3.net/specs/extensions/message-tags, https://ircv3.net/specs/extensions/server-time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from myproject_chat.capability import ACCOUNT_TAG, MESSAGE_TAGS, SERVER_TIME
from myproject_chat.wire import serialise

if TYPE_CHECKING:
    from myproject_chat.state import User

__all__ = ["Outgoing", "broadcast", "pack", "stamp"]

_MATTERS = ACCOUNT_TAG | MESSAGE_TAGS | SERVER_TIME


def stamp(moment: float) -> bytes:
    """
    Write a time as IRC does, ``2026-11-22T10:20:30.123Z``.

    :param moment: seconds since 1970.
    """
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text[:23].encode("ascii") + b"Z"


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

    __slots__ = ("_account", "_body", "_lines", "_tags", "_wall", "_when", "msgid")

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
        self._account = account
        self._body = serialise(source, command, params, text)
        self._tags = tags
        self._lines: dict[int, bytes] = {0: self._body}

    def line_for(self, capabilities: int) -> bytes:
        """
        Give the line for a receiver.

        :param capabilities: the bits of what it has negotiated.
        :return: the line with its tags and its CR LF.
        """
        wanted = capabilities & _MATTERS
        line = self._lines.get(wanted)
        if line is None:
            line = self._lines[wanted] = self._tagged(wanted)
        return line

    def _tagged(self, wanted: int) -> bytes:
        items = []
        if wanted & SERVER_TIME:
            items.append(b"time=" + stamp(self.when))
        if wanted & ACCOUNT_TAG and self._account is not None:
            items.append(b"account=" + self._account)
        if wanted & MESSAGE_TAGS:
            items.append(b"msgid=" + self.msgid)
            if self._tags:
                items.append(self._tags)
        return b"@" + b";".join(items) + b" " + self._body if items else self._body

    @property
    def when(self) -> float:
        """When it was said, in seconds since 1970."""
        if self._when is None:
            self._when = self._wall()
        return self._when


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
