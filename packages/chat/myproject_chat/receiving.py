"""
The receiving half of a session: bytes become lines, and lines become commands.

A command that has to wait (for a password to be checked, for history to be read) is a coroutine. Until
it is done the session takes no other line: those that come wait in the inbox, and the link is asked to
read no more, so a client's commands take effect in the order in which it sent them and its inbox
has a bound.

A client that sends faster than it may (fakelag.py) is still read, so that it is known to be alive, and is
obeyed later: its lines wait in the inbox, up to ``limits.recvq_lines`` and ``recvq_bytes``. The server's one
timer asks once a second who may go on. Which line is answered how, and in which order, does not change.

- The errors that any command can have (421 unknown, 451 too early, 461 too few parameters, 417 too
  long, bytes that are not UTF-8) are answered here and nowhere else.
- An answer to a command with a label is collected and framed (response.py) when the command is done.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Coroutine
from typing import TYPE_CHECKING, TypeAlias

from myproject_chat.capability import BATCH, LABELED_RESPONSE
from myproject_chat.fakelag import Fakelag, cost_of
from myproject_chat.lines import LineSplitter
from myproject_chat.links import Awaited, Batch, Failure, Link, State
from myproject_chat.numerics import (
    ERR_INPUTTOOLONG,
    ERR_NEEDMOREPARAMS,
    ERR_NOTREGISTERED,
    ERR_UNKNOWNCOMMAND,
)
from myproject_chat.operators import may
from myproject_chat.response import MAX_LABEL, closing, framed, opening, part
from myproject_chat.sending import Room, Sending
from myproject_chat.wire import Message, parse

if TYPE_CHECKING:
    from myproject_chat.commands.registry import Command
    from myproject_chat.server import Server

__all__ = ["Receiving"]

_LABELS = BATCH | LABELED_RESPONSE
# What fakelag takes for a line of an open batch, which was paid for with BATCH: not nothing, as what comes
# behind the end of a refused one is read as well.
_IN_BATCH = 0.1

# What plain words do not begin with: nothing, for there are none, and CTCP's delimiter.
_NOT_PLAIN = frozenset((b"", b"\x01"))

#: A command that has begun.
_Running: TypeAlias = Coroutine[Awaited, None, None]


class _Response:
    """
    The answer to a command that has a label, as far as it has come.

    :ivar label: the label.
    :ivar lines: the lines.
    :ivar reference: the name of its batch, if part of it has been queued; or None.
    """

    __slots__ = ("label", "lines", "reference")

    def __init__(self, label: bytes) -> None:
        self.label = label
        self.lines: list[bytes] = []
        self.reference: bytes | None = None


class Receiving(Sending):
    """
    What a client says.

    :param server: the server it belongs to.
    :param link: what carries its bytes.

    :ivar batch: the batch that the client has open, or None.
    """

    __slots__ = (
        "_inbox",
        "_introduced",
        "_lag",
        "_lagging",
        "_paid",
        "_paused",
        "_postponed",
        "_postponing",
        "_splitter",
        "_waiting",
        "_waits_for",
        "batch",
    )

    def __init__(self, server: Server, link: Link) -> None:
        super().__init__(server, link)
        self.batch: Batch | None = None
        self._splitter = LineSplitter()
        # The next to be handled stands last. Nearly always it is empty, and that costs a deque 700 bytes.
        self._inbox: list[bytes | None] = []
        self._waiting = False
        self._waits_for: Awaited | None = None
        self._lag: Fakelag | None = None
        # Whether the first line of the inbox waits for its time, and whether it has been paid for.
        self._lagging = self._paid = False
        self._paused = False
        self._postponed: _Response | None = None
        self._postponing = False
        self._introduced = False

    @abstractmethod
    def _flooded(self) -> None:
        """There is more in the inbox than may wait, or a line without an end."""

    @abstractmethod
    def _introduce(self) -> None:
        """Tell a person who is here without an IRC client what to do; once in a connection."""

    def receive(self, data: bytes) -> None:
        """
        Take bytes from the peer.

        :param data: any bytes, cut anywhere.
        """
        self._heard = self.server.now()
        lines = self._splitter.feed(data)
        lines.reverse()
        self._inbox[:0] = lines
        self._work()
        if self._splitter.flooded or (self._lagging and self._is_full()):
            self._flooded()

    def _is_full(self) -> bool:
        """Say whether more waits than may."""
        limits = self.server.settings.limits
        if len(self._inbox) > limits.recvq_lines:
            return True
        return sum(len(line) for line in self._inbox if line) > limits.recvq_bytes

    def _has_to_wait(self, lag: Fakelag, line: bytes | None, cost: float) -> bool:
        """Take a line's price; a line that is early goes back to where it was, and is waited for."""
        if self._paid:
            self._paid = False
            return False
        now = self.server.now()
        delay = lag.delay(now, cost)
        if not delay:
            return False
        if self.user is not None and may(self.server, self.user, "flood"):
            lag.settle()
            return False
        self._paid = self._lagging = True
        self._inbox.append(line)
        self.server.lagging.put(self, now + delay)
        return True

    def catch_up(self) -> None:
        """Go on with the line that waited for its time."""
        self._lagging = False
        try:
            self._work()
        except Exception:
            # A bug of ours, which the caller tells; as in `_go_on`.
            self._link.abort()
            raise

    def _work(self) -> None:
        """Handle the lines that wait, until there are none or one of them makes the others wait."""
        self.turn = self.server.turn
        inbox = self._inbox
        while inbox and not self._waiting and not self._lagging:
            if self._doomed or self.state is State.CLOSED:
                inbox.clear()
                return
            line = inbox.pop()
            if line is None:
                if self._lag is None or not self._has_to_wait(self._lag, line, 1.0):
                    self.reply(ERR_INPUTTOOLONG)
            elif not self._talk(line):
                self._handle(line)
        if self._paused is not self._waiting and not self._gone:
            self._paused = self._waiting
            if self._paused:
                self._link.pause()
            else:
                self._link.resume()

    def _talk(self, line: bytes) -> bool:
        """
        Take a line that says something plainly, and with it those behind it that say more to the same target.

        What people do most is done in few steps: nothing can change between two lines that come together,
        so who may hear it is found once, and a receiver's queue is given all of it in one piece.

        :return: whether that was all there is to do for the line.
        """
        user = self.user
        if user is None:
            return False
        head, _, text = line.partition(b" :")
        verb, _, target = head.partition(b" ")
        command = self.server.commands.get(verb)
        if command is None or command.route is None or not _is_plain(text):
            return False
        route = command.route(self, user, verb, target)
        if route is None:
            return False
        lag = self._lag
        if lag is not None and self._has_to_wait(lag, line, cost_of(verb)):
            return True
        texts = [text]
        inbox = self._inbox
        start = line[: -len(text)]
        while inbox:
            following = inbox[-1]
            if following is None or not following.startswith(start):
                break
            text = following[len(start) :]
            if not _is_plain(text):
                break
            inbox.pop()
            if lag is not None and self._has_to_wait(lag, following, cost_of(verb)):
                break
            texts.append(text)
        self.server.used[verb] += len(texts)
        route(texts)
        return True

    def _handle(self, line: bytes) -> None:
        message = parse(line)
        if not message.command:
            return
        name = message.command.upper()
        concerned = self.batch is not None and self.batch.concerns(message)
        lag = self._lag
        if lag is not None and self._has_to_wait(
            lag, line, _IN_BATCH if concerned else cost_of(name)
        ):
            return
        command = self.server.commands.get(name)
        if not self._introduced:
            self._meet(command)
        response = None
        if concerned:
            response, self._postponed = self._postponed, None
        elif message.tags and self.capabilities & _LABELS == _LABELS:
            label = message.tags.get(b"label")
            response = _Response(label) if label and len(label) <= MAX_LABEL else None
        if response is None:
            coroutine = self._answer(line, name, command, message)
        else:
            self._collect(response)
            try:
                coroutine = self._answer(line, name, command, message)
            finally:
                self._collected(response)
        if coroutine is not None:
            self._advance(coroutine, response, None)
        elif self._postponing:
            self._postponing = False
            self._postponed = response
        elif response is not None:
            self._finish(response)

    def _meet(self, command: Command | None) -> None:
        """Take the first line as that of an IRC client, which has no need to be told what this is, or not."""
        if self.state is State.UNREGISTERED and (command is None or command.registered):
            self._introduce()
        self._introduced = True

    def postpone(self) -> None:
        """Let the answer to the command at hand come with that to the end of the client's batch."""
        self._postponing = True

    def _answer(
        self, line: bytes, name: bytes, command: Command | None, message: Message
    ) -> _Running | None:
        """Run a command, or say what is wrong; gives back what is left to run if it has to wait."""
        if not line.isascii() and not _is_utf8(line):
            text = b"That was not UTF-8, and this server takes nothing else"
            known = b"*" if command is None else name
            self.say(b"FAIL", known, b"INVALID_UTF8", text=text)
        elif command is None:
            self.reply(ERR_UNKNOWNCOMMAND, message.command)
        elif command.registered and self.state is State.UNREGISTERED:
            self.reply(ERR_NOTREGISTERED)
        elif len(message.params) < command.params:
            self.reply(ERR_NEEDMOREPARAMS, name)
        else:
            self.server.used[name] += 1
            return command.run(self, message)
        return None

    def _advance(self, running: _Running, response: _Response | None, why: Failure | None) -> None:
        """Run a command up to where it is done or has to wait."""
        self._waiting = False
        awaited = None
        self._collect(response)
        try:
            awaited = (
                running.send(None) if why is None else why.throwExceptionIntoGenerator(running)
            )
        except StopIteration:
            pass
        finally:
            self._collected(response)
        if awaited is not None:
            self._waiting = True
            self._waits_for = awaited
            if response is not None and isinstance(awaited, Room):
                self._begin(response)
            awaited.addCallbacks(
                lambda _: self._go_on(running, response, None),
                lambda failure: self._go_on(running, response, failure),
            )
        elif response is not None:
            self._finish(response)

    def _go_on(self, running: _Running, response: _Response | None, why: Failure | None) -> None:
        """What a command waited for is there, or never will be."""
        self._waits_for = None
        if self._gone or self.state is State.CLOSED:
            running.close()
            return
        try:
            self._advance(running, response, why)
            self._work()
        except Exception:
            # A bug of ours: whoever does the I/O logs it; without it this session would wait for ever.
            self._waiting = False
            self._link.abort()
            raise

    def _collect(self, response: _Response | None) -> None:
        """From here on what is queued is part of an answer."""
        if response is not None:
            self._aside, self._pending = self._pending, response.lines

    def _collected(self, response: _Response | None) -> None:
        """And no more."""
        if response is not None and self._aside is not None:
            response.lines, self._pending, self._aside = self._pending, self._aside, None

    def _begin(self, response: _Response) -> None:
        """Queue what there is of an answer that has a label and is too long to wait for its end."""
        lines = [part(line, response.reference) for line in response.lines if response.reference]
        if response.reference is None:
            response.reference = self.server.new_batch()
            lines = opening(response.lines, response.label, self.server.name, response.reference)
        response.lines.clear()
        self._pending.extend(lines)
        self.server.touch(self)

    def _finish(self, response: _Response) -> None:
        """Queue an answer that has a label, or the rest of it."""
        if response.reference is not None:
            self._begin(response)
            self._pending.append(closing(self.server.name, response.reference))
            return
        reference = self.server.new_batch()
        for line in framed(response.lines, response.label, self.server.name, reference):
            if not self._pending:
                self.server.touch(self)
            self._pending.append(line)


def _is_plain(text: bytes) -> bool:
    """Say whether something is said to a person: words, not what a program says to a program (CTCP)."""
    return text[:1] not in _NOT_PLAIN and (text.isascii() or _is_utf8(text))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
