"""
The session: one client's conversation, from its first byte to its last.

How it works. Bytes come in by `Session.receive`, which cuts them into lines and hands each to the
command it names; lines for the client go into a queue by `Session.queue`; `Session.flush`, once
in a reactor turn, gives the queue to the link. The link is whatever carries bytes (TCP, TLS, a
WebSocket); the session knows nothing more of it than `Link`, nor of time than what its server
tells.

A command that has to wait (for a password to be checked, for history to be read) is a coroutine. Until
it is done the session takes no other line: those that come wait in the inbox, and the link is asked to
read no more, so a client's commands take effect in the order in which it sent them and its inbox
has a bound.

A session is in one of three states, and goes through them in one direction only::

    UNREGISTERED --registered--> REGISTERED
         |                            |
         +----------- close ----------+--> CLOSED

The rules it keeps:

- A `User` exists precisely while the state is REGISTERED. Until then the nick and the rest are only
  wishes, kept here; a nick is not held for somebody who may never finish.
- The errors that any command can have (421 unknown, 451 too early, 461 too few parameters, 417 too
  long, bytes that are not UTF-8) are answered here and nowhere else.
- Whatever a peer sends is answered in the protocol. An exception is a bug of ours.
- An answer to a command with a label is collected and framed (response.py) when the command is done.
- A line that acknowledges something waits in the queue until what it acknowledges is safe (`hold`).
- What waits for a client that does not read has a bound. Who reaches it is marked, and is closed
  when the turn ends: in the middle of a delivery nobody's membership changes.
- An answer too long for the queue comes in slices: its command awaits `Session.drained` between lines.
- Nothing is sent to a CLOSED session but its ERROR line, and nothing it sends is read.

Sources: RFC 2812 section 3.1, https://modern.ircdocs.horse/#connection-setup.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from myproject_chat.capability import BATCH, CAP_NOTIFY, CAPABILITIES, LABELED_RESPONSE, SERVER_TIME
from myproject_chat.delivery import pack
from myproject_chat.lines import LineSplitter
from myproject_chat.numerics import (
    ERR_INPUTTOOLONG,
    ERR_NEEDMOREPARAMS,
    ERR_NOTREGISTERED,
    ERR_UNKNOWNCOMMAND,
    Numeric,
)
from myproject_chat.response import MAX_LABEL, closing, framed, opening, part, tagged
from myproject_chat.state import User
from myproject_chat.wire import Message, clip, format_message, parse, serialise

if TYPE_CHECKING:
    from myproject_chat.commands.registry import Command
    from myproject_chat.identity import Login
    from myproject_chat.server import Server

__all__ = ["Awaited", "Batch", "Failure", "Link", "Session", "State"]

# Most clients wish for no metadata, and share this.
_NOTHING: Mapping[bytes, bytes] = MappingProxyType({})
_LABELS = BATCH | LABELED_RESPONSE
# Bytes of a long answer that are queued at once; as many wait in the transport before it is full.
_SLICE = 1 << 16
# What CAP NEW can take behind ":server CAP nick NEW :", whatever the names.
_CAP_ROOM = 350
# Seconds that a closed connection may take to read its last lines before it is cut.
_CLOSE_GRACE = 5.0
# What a peer sent and we send back in an error is cut to this, so that the error still fits a line.
_MAX_ECHO = 100


class State(Enum):
    """Where a session is in its life."""

    UNREGISTERED = "unregistered"
    REGISTERED = "registered"
    CLOSED = "closed"


class Link(Protocol):
    """What carries a session's bytes."""

    def send(self, lines: list[bytes]) -> None:
        """Send lines, each with its CR LF; never blocks."""

    def close(self) -> None:
        """Close once everything has been sent; called once."""

    def abort(self) -> None:
        """Close now."""

    def pause(self) -> None:
        """Read no more until `resume`."""

    def resume(self) -> None:
        """Read again."""


class Awaited(Protocol):
    """What a command awaits: a Deferred, of which nothing but this is used here."""

    def addCallbacks(
        self, callback: Callable[[Any], object], errback: Callable[[Any], object]
    ) -> object:
        """Call one of the two back, with the result or with a `Failure`."""

    def cancel(self) -> None:
        """Nobody wants to know any more: let it fail, unless it is there."""


class Failure(Protocol):
    """Why there is no result."""

    def throwExceptionIntoGenerator(self, g: Any) -> Any:
        """Raise the exception where a coroutine waits, and go on with that."""


class Batch(Protocol):
    """What a client has opened by BATCH; see commands/multiline.py."""

    def concerns(self, message: Message) -> bool:
        """Say whether a message is part of it, its end, or meant to be."""

    def take(self, session: Session, message: Message) -> None:
        """Take a line."""

    def end(self, session: Session, user: User) -> None:
        """Send what has been collected."""


#: A command that has begun.
_Running = Coroutine[Awaited, None, None]


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


class _Room:
    """What a command awaits until what is queued for its client is on its way."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def __await__(self) -> Generator[Awaited, None, None]:
        yield self

    def addCallbacks(
        self, callback: Callable[[Any], object], _errback: Callable[[Any], object]
    ) -> None:
        self._session.wait_for_room(callback)

    def cancel(self) -> None:
        """Nothing: a session that closes calls back."""


class Session:
    """
    One connection's conversation.

    :param server: the server it belongs to.
    :param link: what carries its bytes.
    :param host: the peer, as it stands in ``nick!user@host``.
    :param address: the peer's address, as text.
    :param reached: the address and port the peer connected to, for telling people; None if unknown.
    :param secure: whether nobody on the way can read along.
    :param fingerprint: the SHA-256 of the certificate that the peer has shown to own, in hex; or None.

    :ivar state: where it is in its life.
    :ivar user: who it is, while the state is REGISTERED.
    :ivar nick: the nick wished for before registration, or None.
    :ivar refused: the nick wished for that is somebody else's, or None.
    :ivar user_name: the user name wished for, or None.
    :ivar real_name: the real name wished for.
    :ivar account: the account that it logged in to before registration, or None.
    :ivar login: its attempt to log in by SASL, while there is one.
    :ivar failures: how many of these failed.
    :ivar passed: whether it gave the server's password.
    :ivar away: why the user will be away from the beginning, or None; wished for before registration.
    :ivar metadata: what the user will say of itself; wished for before registration.
    :ivar subscriptions: the keys of others' metadata that the client wants to hear of.
    :ivar batch: the batch that the client has open, or None.
    :ivar negotiating: whether CAP holds registration up.
    :ivar cap_version: the version of capability negotiation that the client speaks.
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
        "_inbox",
        "_introduced",
        "_link",
        "_paused",
        "_pending",
        "_pinged",
        "_postponed",
        "_postponing",
        "_queued",
        "_reached",
        "_room",
        "_since",
        "_splitter",
        "_waiting",
        "_waits_for",
        "account",
        "address",
        "away",
        "batch",
        "cap_version",
        "capabilities",
        "choked",
        "failures",
        "fingerprint",
        "host",
        "login",
        "metadata",
        "negotiating",
        "nick",
        "passed",
        "real_name",
        "refused",
        "secure",
        "server",
        "state",
        "subscriptions",
        "turn",
        "user",
        "user_name",
    )

    def __init__(
        self,
        server: Server,
        link: Link,
        host: bytes,
        address: str,
        reached: tuple[str, int] | None = None,
        *,
        secure: bool = False,
        fingerprint: bytes | None = None,
    ) -> None:
        self.server = server
        self.host = host
        self.address = address
        self.secure = secure
        self.fingerprint = fingerprint
        self.state = State.UNREGISTERED
        self.user: User | None = None
        self.nick: bytes | None = None
        self.refused: bytes | None = None
        self.user_name: bytes | None = None
        self.real_name = b""
        self.account: bytes | None = None
        self.login: Login | None = None
        self.failures = 0
        self.passed = False
        self.away: bytes | None = None
        self.metadata: Mapping[bytes, bytes] = _NOTHING
        self.subscriptions: frozenset[bytes] = frozenset()
        self.batch: Batch | None = None
        self.negotiating = False
        self.cap_version = 301
        self.capabilities = 0
        self.choked = False
        self.turn = -1
        self._link = link
        self._reached = reached
        self._splitter = LineSplitter()
        self._inbox: deque[bytes | None] = deque()
        self._waiting = False
        self._waits_for: Awaited | None = None
        self._paused = False
        self._held = 0
        self._pending: list[bytes] = []
        # Where lines go that are no part of the answer, while one is collected in `_pending`.
        self._aside: list[bytes] | None = None
        self._queued = 0
        self._room = server.settings.sendq
        self._since = self._heard = server.now()
        self._pinged: float | None = None
        self._postponed: _Response | None = None
        self._postponing = False
        self._introduced = False
        self._go_on_with: Callable[[Any], object] | None = None
        self._doomed = False
        self._closing = False
        self._gone = False

    # In

    def receive(self, data: bytes) -> None:
        """
        Take bytes from the peer.

        :param data: any bytes, cut anywhere.
        """
        self._heard = self.server.now()
        self._inbox.extend(self._splitter.feed(data))
        self._work()
        if self._splitter.flooded:
            self.close(b"RecvQ exceeded")

    def _work(self) -> None:
        """Handle the lines that wait, until there are none or one of them makes the others wait."""
        self.turn = self.server.turn
        inbox = self._inbox
        while inbox and not self._waiting:
            if self._doomed or self.state is State.CLOSED:
                inbox.clear()
                return
            line = inbox.popleft()
            if line is None:
                self.reply(ERR_INPUTTOOLONG)
            else:
                self._handle(line)
        if self._paused is not self._waiting and not self._gone:
            self._paused = self._waiting
            if self._paused:
                self._link.pause()
            else:
                self._link.resume()

    def _handle(self, line: bytes) -> None:
        message = parse(line)
        if not message.command:
            return
        name = message.command.upper()
        command = self.server.commands.get(name)
        if self.state is State.UNREGISTERED and not self._introduced:
            if command is None or command.registered:
                self._introduce()
            # Who says one thing that only IRC clients say has no need to be told what this is.
            self._introduced = True
        response = None
        if self.batch is not None and self.batch.concerns(message):
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
            if response is not None and isinstance(awaited, _Room):
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

    def _introduce(self) -> None:
        """Tell a person who is here without an IRC client what to do; once in a connection."""
        self._introduced = True
        example = b""
        if self._reached is not None:
            host, port = self._reached
            example = f" (irssi -c {host} -p {port})".encode("ascii", "replace")
        text = (
            b"This is %b, a chat server that speaks IRC. Connect with an IRC client such as irssi%b,"
            b" WeeChat or HexChat; or go on by hand: type NICK yourname,"
            b" then USER yourname 0 * :Your Name"
        )
        self.say(b"NOTICE", b"*", text=text % (self.server.settings.network_name, example))

    # Out

    @property
    def since(self) -> float:
        """When it began, in seconds of the server's clock."""
        return self._since

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

    def _overflow(self) -> None:
        if self._doomed or self.state is State.CLOSED:
            return
        self._doomed = True
        self._room = -1
        self._pending.clear()
        self.server.doom(self)

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

    async def drained(self) -> None:
        """
        Wait until there is room for a few more lines; awaited between the lines of a long answer.

        Others come and go meanwhile. Whoever has lines enough queued waits for the end of the turn, and
        then for the client to read: so the longest answer needs no more of the sendq than the shortest.
        """
        if self._queued >= min(_SLICE, self._room // 2):
            await _Room(self)

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
        if self._pending:
            pending, self._pending = self._pending, []
            self._queued = 0
            self._link.send(pending)
        if self._go_on_with is not None and not self.choked:
            self.server.resume(self)
        if self.state is State.CLOSED and not self._closing:
            self._closing = True
            self._link.close()

    def choke(self) -> None:
        """The link cannot take more; what comes now waits here, as far as the sendq allows."""
        self.choked = True

    def unchoke(self) -> None:
        """The link can take more again."""
        self.choked = False
        if self._pending or self._go_on_with is not None:
            self.server.touch(self)

    # The end, and time

    def attach(self, user: User) -> None:
        """
        Enter REGISTERED: from here on this is one of a user's clients.

        :param user: the user, who is in the network.
        """
        user.receivers.append(self)
        self.server.registered += 1
        self.user = user
        self.state = State.REGISTERED
        self.server.wheel.put(self, self._heard + self.server.settings.ping_interval)

    def close(self, reason: bytes) -> None:
        """
        End the session: others are told why, and so is the client, in an ERROR line.

        :param reason: why.
        """
        if self.state is State.CLOSED:
            return
        self._leave(reason)
        self._room = -1
        farewell = b"Closing link: %b (%b)" % (self.host, reason)
        error = format_message(Message(b"ERROR", (clip(farewell, 400),)))
        self._pending.append(error + b"\r\n")
        self.server.touch(self)
        self.server.wheel.put(self, self.server.now() + _CLOSE_GRACE)

    def lost(self, reason: bytes) -> None:
        """
        The link is no more.

        :param reason: what others are told if the session had not been closed.
        """
        if self.state is not State.CLOSED:
            self._leave(reason)
        self._gone = True
        self._room = -1
        self._pending.clear()
        self._inbox.clear()
        self.server.wheel.drop(self)
        if self._waits_for is not None:
            self._waits_for.cancel()

    def _leave(self, reason: bytes) -> None:
        """Enter CLOSED: there is no user any more, and those who knew it are told."""
        self.state = State.CLOSED
        user, self.user = self.user, None
        self.server.depart(self, user, reason)
        # It finds the session closed, and ends.
        self.go_on()

    def tick(self, now: float) -> float | None:
        """
        Do what time asks for.

        :param now: the time in seconds.
        :return: when to look next, or None for never.
        """
        if self.state is State.UNREGISTERED:
            return self._tick_unregistered(now)
        if self.state is State.REGISTERED:
            return self._tick_registered(now)
        self._link.abort()
        return None

    def _tick_unregistered(self, now: float) -> float | None:
        settings = self.server.settings
        deadline = self._since + settings.registration_timeout
        if now >= deadline:
            self.close(b"Registration timed out")
            return None
        if not self._introduced and now >= self._since + settings.greeting_delay:
            self._introduce()
        return deadline

    def _tick_registered(self, now: float) -> float | None:
        settings = self.server.settings
        if self._pinged is not None and self._heard < self._pinged:
            # The wheel asks again at the end of the ping timeout, never before.
            self.close(b"Ping timeout: %d seconds" % (now - self._heard))
            return None
        if now < self._heard + settings.ping_interval:
            return self._heard + settings.ping_interval
        self._pinged = now
        ping = format_message(Message(b"PING", (self.server.name,)))
        self.queue(self._timed(ping + b"\r\n"))
        return now + settings.ping_timeout


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _word(param: bytes) -> bytes:
    """Make one word of what a peer sent, so that it can stand before the last parameter."""
    if param and param[:1] != b":" and b" " not in param and len(param) <= _MAX_ECHO:
        return param
    return clip(param.lstrip(b": ").partition(b" ")[0], _MAX_ECHO) or b"*"
