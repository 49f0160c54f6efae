"""
The sending half of a session: what waits for its client, and when that goes to the link.

Lines go into a queue by `Sending.queue`; `Sending.flush`, once in a reactor turn, gives it to the link.

- A line that acknowledges something waits in the queue until what it acknowledges is safe (`hold`).
- What waits for a client that does not read has a bound. Who reaches it is marked, and is closed
  when the turn ends: in the middle of a delivery nobody's membership changes.
- An answer too long for the queue comes in slices: its command awaits `Sending.drained` between lines.
- While the answer to a command with a label is collected (receiving.py), what is no part of it goes aside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from myproject_chat.capability import CAP_NOTIFY, CAPABILITIES, SERVER_TIME
from myproject_chat.delivery import pack
from myproject_chat.links import Awaited, Link, State
from myproject_chat.response import tagged
from myproject_chat.wire import clip, serialise

if TYPE_CHECKING:
    from myproject_chat.forms import Fields, Form
    from myproject_chat.numerics import Numeric
    from myproject_chat.server import Server
    from myproject_chat.state import User

__all__ = ["Room", "Sending"]

# Bytes of a long answer that are queued at once; as many wait in the transport before it is full.
_SLICE = 1 << 16
# What CAP NEW can take behind ":server CAP nick NEW :", whatever the names.
_CAP_ROOM = 350
# What a peer sent and we send back in an error is cut to this, so that the error still fits a line.
_MAX_ECHO = 100

_NO_FIELDS: Fields = MappingProxyType({})


class Room:
    """What a command awaits until what is queued for its client is on its way."""

    __slots__ = ("_session",)

    def __init__(self, session: Sending) -> None:
        self._session = session

    def __await__(self) -> Generator[Awaited, None, None]:
        yield self

    def addCallbacks(
        self, callback: Callable[[Any], object], _errback: Callable[[Any], object]
    ) -> None:
        """Call back; there is no failing here."""
        self._session.wait_for_room(callback)

    def cancel(self) -> None:
        """Nothing: a session that closes calls back."""


class Sending(ABC):
    """
    What a client is sent.

    :param server: the server it belongs to.
    :param link: what carries its bytes.

    :ivar state: where the session is in its life.
    :ivar user: who it is, while the state is REGISTERED.
    :ivar nick: the nick wished for before registration, or None.
    :ivar capabilities: the bits of what it has negotiated.
    :ivar choked: whether the link cannot take more at present.
    :ivar turn: the number of the last reactor turn in which it was heard.
    """

    __slots__ = (
        "_aside",
        "_closing",
        "_doomed",
        "_go_on_with",
        "_gone",
        "_heard",
        "_held",
        "_link",
        "_pending",
        "_queued",
        "_room",
        "_send",
        "_way",
        "capabilities",
        "choked",
        "nick",
        "server",
        "state",
        "turn",
        "user",
    )

    def __init__(self, server: Server, link: Link) -> None:
        self.server = server
        self.state = State.UNREGISTERED
        self.user: User | None = None
        self.nick: bytes | None = None
        self.capabilities = 0
        self.choked = False
        self.turn = -1
        self._link = link
        self._send = link.sender()
        self._way = link.way()
        self._heard = server.now()
        self._held = 0
        self._pending: list[bytes] = []
        # Where lines go that are no part of the answer, while one is collected in `_pending`.
        self._aside: list[bytes] | None = None
        self._queued = 0
        self._room = server.settings.sendq
        self._go_on_with: Callable[[Any], object] | None = None
        self._doomed = False
        self._closing = False
        self._gone = False

    @property
    def queued(self) -> int:
        """How many bytes wait for the client."""
        return self._queued

    @property
    def target(self) -> bytes:
        """What the client is called in what it is told: its nick, the one it wished for, or ``*``."""
        user = self.user
        return (self.nick or b"*") if user is None else user.nick

    def queue(self, line: bytes) -> None:
        """
        Append a line, with its CR LF, to what the client will be sent at the end of the turn.

        :param line: the line. It is dropped if the session is ending.
        """
        if self.server.round is not None:
            self.server.round.catch_up(self, self.user)
        queued = self._queued + len(line)
        if queued > self._room:
            self._overflow()
            return
        self._queued = queued
        if not self._pending:
            self.server.touch(self)
        self._pending.append(line)

    def queue_aside(self, line: bytes) -> None:
        """
        As `queue`, for what is no part of the answer to the command that causes it.

        :param line: the line: what a user is told by itself, for one.
        """
        if self._aside is None:
            self.queue(line)
            return
        self._pending, answer = self._aside, self._pending
        try:
            self.queue(line)
        finally:
            self._pending = answer

    def give(self, lines: bytes) -> None:
        """
        Send lines at once if nothing waits in front of them, at the end of a turn; else as `queue`.

        :param lines: the lines, in one piece.
        """
        # No answer is collected then; and what is held waits in front.
        if self._pending or self.choked:
            self.queue(lines)
        elif len(lines) > self._room:
            self._overflow()
        else:
            self._send(lines)

    def way(self, size: int) -> object | None:
        """
        Give what the server's ``send_to_all`` takes, if nothing stands in the way of that many bytes.

        :param size: how many.
        :return: None if they are to be given by `give`.
        """
        if self._pending or self.choked or size > self._room:
            return None
        return self._way

    @abstractmethod
    def _overflow(self) -> None:
        """There is no room for a line."""

    def say(
        self, command: bytes, *params: bytes, text: bytes | None = None, batch: bytes | None = None
    ) -> None:
        """
        Say something in the server's name.

        :param command: the verb.
        :param params: words; what a peer sent and cannot stand there is made a word.
        :param text: the last parameter, free words, or None.
        :param batch: the name of the batch that it is part of, or None.
        """
        line = serialise(self.server.name, command, [_word(param) for param in params], text)
        if batch is not None:
            line = tagged(line, b"batch=" + batch)
        self.queue(self._timed(line))

    def _timed(self, line: bytes) -> bytes:
        if self.capabilities & SERVER_TIME:
            return tagged(line, b"time=" + self.server.stamp())
        return line

    def reply(
        self,
        numeric: Numeric,
        *params: bytes,
        text: bytes | None = None,
        batch: bytes | None = None,
    ) -> None:
        """
        Answer with a numeric.

        :param numeric: which.
        :param params: the words behind the client's nick, as for `say`.
        :param text: the free words, in place of the numeric's own.
        :param batch: as for `say`.
        """
        words = numeric.text if text is None else text
        self.say(numeric.code, self.target, *params, text=words, batch=batch)

    def fill(self, form: Form, fields: Fields = _NO_FIELDS) -> None:
        """
        Answer with a form.

        :param form: which.
        :param fields: what is to be filled in, but for the nick.
        """
        lines = form.fill(self.target, fields)
        if self._aside is None and not self.capabilities & SERVER_TIME:
            self.queue(lines)
            return
        # Each has a time; and an answer that has a label is counted in lines.
        for line in lines.split(b"\r\n")[:-1]:
            self.queue(self._timed(line + b"\r\n"))

    async def drained(self) -> None:
        """
        Wait until there is room for a few more lines; awaited between the lines of a long answer.

        Others come and go meanwhile. Whoever has lines enough queued waits for the end of the turn, and
        then for the client to read: so the longest answer needs no more of the sendq than the shortest.
        """
        if self._queued >= min(_SLICE, self._room // 2):
            await Room(self)

    def wait_for_room(self, go_on: Callable[[Any], object]) -> None:
        """
        Call back once everything queued has been given to a link that can take more, or never will be.

        :param go_on: called with None.
        """
        self._go_on_with = go_on
        self.server.touch(self)

    def go_on(self) -> None:
        """Let the command that waits for room go on; who reads is there, if not heard."""
        go_on, self._go_on_with = self._go_on_with, None
        if go_on is not None:
            self._heard = self.server.now()
            go_on(None)

    def hold(self, ticket: int) -> None:
        """
        Keep what is queued, and what comes behind it, until something has been written.

        :param ticket: what `Server.wrote` will be called with, or a greater one.
        """
        self._held = max(self._held, ticket)

    def reoffer(self, gone: Sequence[bytes], new: Sequence[bytes]) -> None:
        """
        Take capabilities away, and tell a client that wants to know of these and of new ones.

        :param gone: the names of those that are not offered any more.
        :param new: the others that are new or have a new value, as CAP NEW shows them.
        """
        self.server.settle()
        for name in gone:
            self.capabilities &= ~CAPABILITIES[name]
        if self.capabilities & CAP_NOTIFY:
            for verb, words in ((b"DEL", gone), (b"NEW", new)):
                for line in pack(words, _CAP_ROOM):
                    self.say(b"CAP", self.target, verb, text=line)

    def flush(self) -> None:
        """Give the link what waits, unless it cannot take it; called at the end of a turn."""
        if self._gone or (self.choked and self.state is not State.CLOSED):
            return
        if self._held > self.server.written:
            self.server.keep(self)
            return
        lines = b""
        if self._pending:
            pending, self._pending = self._pending, []
            self._queued = 0
            lines = pending[0] if len(pending) == 1 else b"".join(pending)
        if self.state is State.CLOSED and not self._closing:
            self._closing = True
            self._link.close(lines)
        elif lines:
            self._send(lines)
        if self._go_on_with is not None and not self.choked:
            self.server.resume(self)

    def choke(self) -> None:
        """The link cannot take more; what comes now waits here, as far as the sendq allows."""
        self.choked = True

    def unchoke(self) -> None:
        """The link can take more again."""
        self.choked = False
        if self._pending or self._go_on_with is not None:
            self.server.touch(self)


def _word(param: bytes) -> bytes:
    """Make one word of what a peer sent, so that it can stand before the last parameter."""
    if param and param[:1] != b":" and b" " not in param and len(param) <= _MAX_ECHO:
        return param
    return clip(param.lstrip(b": ").partition(b" ")[0], _MAX_ECHO) or b"*"
