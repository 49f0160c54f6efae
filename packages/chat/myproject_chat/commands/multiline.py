"""
Messages of several lines: BATCH.

A client has one batch open at most, and not for long. Its lines are collected (myproject_chat/multiline.py);
at its end the message is sent as any other is. The answer to it comes then, with the label of its opening.
After a refusal the rest of the batch is dropped without a word, up to its end.

Sources: https://ircv3.net/specs/extensions/multiline, https://ircv3.net/specs/extensions/client-batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from myproject_chat.capability import BATCH, MULTILINE
from myproject_chat.commands.messages import client_tags, send_lines
from myproject_chat.commands.registry import Table
from myproject_chat.multiline import BATCH_TYPE, Assembly, Refusal

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["BATCHES", "TIMEOUT", "OpenBatch"]

BATCHES = Table()

#: Seconds that a batch may be open: a client has its lines ready before it opens one.
TIMEOUT: Final = 15.0

_NEEDS = BATCH | MULTILINE
# Longer names than any client makes up.
_REFERENCE_LENGTH = 64


class OpenBatch:
    """
    A batch that a client has opened.

    :param reference: its name.
    :param tags: the client-only tags of its opening, escaped and joined.
    :param assembly: what collects its lines.
    :param deadline: until when it has to be closed, in seconds of the server's clock.
    """

    __slots__ = ("_assembly", "_deadline", "_reference", "_tags")

    def __init__(self, reference: bytes, tags: bytes, assembly: Assembly, deadline: float) -> None:
        self._reference = reference
        self._tags = tags
        self._assembly: Assembly | None = assembly
        self._deadline = deadline

    def concerns(self, message: Message) -> bool:
        """
        Say whether a message is part of the batch, its end, or meant to be.

        :param message: what the client sent.
        """
        if message.command.upper() == b"BATCH":
            return message.params[:1] == (b"-" + self._reference,)
        return b"batch" in message.tags

    def take(self, session: Session, message: Message) -> None:
        """
        Take a line.

        :param session: whose batch it is.
        :param message: the line, which names a batch.
        """
        if self._assembly is None or self._is_late(session):
            return
        command = message.command.upper()
        if message.tags[b"batch"] != self._reference:
            text = b"Invalid multiline batch: another batch is open"
            refusal: Refusal | None = Refusal(b"MULTILINE_INVALID", (), text)
        else:
            refusal = self._assembly.add(command, message.params, message.tags)
        if refusal is None:
            session.postpone()
        else:
            self._refuse(session, refusal)

    def end(self, session: Session, user: User) -> None:
        """
        Send what has been collected.

        :param session: whose batch it is.
        :param user: whose that is.
        """
        if self._assembly is None or self._is_late(session):
            return
        whole = self._assembly.finish()
        if isinstance(whole, Refusal):
            self._refuse(session, whole)
        else:
            send_lines(session, user, whole, self._tags)

    def _is_late(self, session: Session) -> bool:
        if session.server.now() < self._deadline:
            return False
        text = b"The batch was open for too long"
        self._refuse(session, Refusal(b"TIMEOUT", (self._reference,), text))
        return True

    def _refuse(self, session: Session, refusal: Refusal) -> None:
        self._assembly = None
        session.say(b"FAIL", b"BATCH", refusal.code, *refusal.context, text=refusal.text)


@BATCHES.registered(b"BATCH", params=1)
def batch(session: Session, user: User, message: Message) -> None:
    """Begin (+name) or end (-name) a message of several lines."""
    sign, reference = message.params[0][:1], message.params[0][1:]
    current = session.batch
    if sign == b"-" and current is not None and current.concerns(message):
        session.batch = None
        current.end(session, user)
        return
    if sign != b"+" or not 0 < len(reference) <= _REFERENCE_LENGTH or current is not None:
        text = b"There is no such batch, or another one is open"
        session.batch = None
        session.say(b"FAIL", b"BATCH", b"INVALID_REFTAG", reference, text=text)
        return
    kind = message.params[1] if len(message.params) > 1 else b"*"
    if kind != BATCH_TYPE or session.capabilities & _NEEDS != _NEEDS:
        text = b"There are no such batches, or you have not asked for the capability"
        session.say(b"FAIL", b"BATCH", b"UNKNOWN_TYPE", reference, kind, text=text)
        return
    target = message.params[2] if len(message.params) > 2 else b""
    if not target or b"," in target or b" " in target:
        text = b"A message of several lines has one target"
        session.say(b"FAIL", b"BATCH", b"MULTILINE_INVALID_TARGET", target, b"*", text=text)
        return
    server = session.server
    limits = server.settings.limits
    assembly = Assembly(target, limits.multiline_bytes, limits.multiline_lines)
    tags = client_tags(message.tags)
    session.batch = OpenBatch(reference, tags, assembly, server.now() + TIMEOUT)
    session.postpone()
