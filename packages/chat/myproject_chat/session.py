"""
The session: one client's conversation, from its first byte to its last.

How it works. Bytes come in by `Session.receive`, which cuts them into lines and hands each to the
command it names; lines for the client go into a queue by `Session.queue`; `Session.flush`, once
in a reactor turn, gives the queue to the link. The link is whatever carries bytes (TCP, TLS, a
WebSocket); the session knows nothing more of it than `Link`, nor of time than what its server
tells.

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
- What waits for a client that does not read has a bound. Who reaches it is marked, and is closed
  when the turn ends: in the middle of a delivery nobody's membership changes.
- Nothing is sent to a CLOSED session but its ERROR line, and nothing it sends is read.

Sources: RFC 2812 section 3.1, https://modern.ircdocs.horse/#connection-setup.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from myproject_chat.lines import LineSplitter
from myproject_chat.numerics import (
    ERR_INPUTTOOLONG,
    ERR_NEEDMOREPARAMS,
    ERR_NOTREGISTERED,
    ERR_UNKNOWNCOMMAND,
    Numeric,
)
from myproject_chat.state import User
from myproject_chat.wire import Message, clip, format_message, parse, serialise

if TYPE_CHECKING:
    from myproject_chat.server import Server

__all__ = ["Link", "Session", "State"]

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


class Session:
    """
    One connection's conversation.

    :param server: the server it belongs to.
    :param link: what carries its bytes.
    :param host: the peer, as it stands in ``nick!user@host``.
    :param reached: the address and port the peer connected to, for telling people; None if unknown.

    :ivar state: where it is in its life.
    :ivar user: who it is, while the state is REGISTERED.
    :ivar nick: the nick; before registration the one wished for, or None.
    :ivar user_name: the user name wished for, or None.
    :ivar real_name: the real name wished for.
    :ivar negotiating: whether CAP holds registration up.
    :ivar capabilities: the bits of what it has negotiated.
    :ivar choked: whether the link cannot take more at present.
    :ivar turn: the number of the last reactor turn in which it was heard.
    """

    __slots__ = (
        "_closing",
        "_doomed",
        "_gone",
        "_heard",
        "_introduced",
        "_link",
        "_pending",
        "_pinged",
        "_queued",
        "_reached",
        "_room",
        "_since",
        "_splitter",
        "capabilities",
        "choked",
        "host",
        "negotiating",
        "nick",
        "real_name",
        "server",
        "state",
        "turn",
        "user",
        "user_name",
    )

    def __init__(
        self, server: Server, link: Link, host: bytes, reached: tuple[str, int] | None = None
    ) -> None:
        self.server = server
        self.host = host
        self.state = State.UNREGISTERED
        self.user: User | None = None
        self.nick: bytes | None = None
        self.user_name: bytes | None = None
        self.real_name = b""
        self.negotiating = False
        self.capabilities = 0
        self.choked = False
        self.turn = -1
        self._link = link
        self._reached = reached
        self._splitter = LineSplitter()
        self._pending: list[bytes] = []
        self._queued = 0
        self._room = server.settings.sendq
        self._since = self._heard = server.now()
        self._pinged: float | None = None
        self._introduced = False
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
        self.turn = self.server.turn
        for line in self._splitter.feed(data):
            if self._doomed or self.state is State.CLOSED:
                return
            if line is None:
                self.reply(ERR_INPUTTOOLONG)
            else:
                self._handle(line)

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
        if not line.isascii() and not _is_utf8(line):
            text = b"That was not UTF-8, and this server takes nothing else"
            self.say(b"FAIL", b"*", b"INVALID_UTF8", text=text)
        elif command is None:
            self.reply(ERR_UNKNOWNCOMMAND, message.command)
        elif command.registered and self.state is State.UNREGISTERED:
            self.reply(ERR_NOTREGISTERED)
        elif len(message.params) < command.params:
            self.reply(ERR_NEEDMOREPARAMS, name)
        else:
            command.run(self, message)

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

    def _overflow(self) -> None:
        if self._doomed or self.state is State.CLOSED:
            return
        self._doomed = True
        self._room = -1
        self._pending.clear()
        self.server.doom(self)

    def say(self, command: bytes, *params: bytes, text: bytes | None = None) -> None:
        """
        Say something in the server's name.

        :param command: the verb.
        :param params: words; what a peer sent and cannot stand there is made a word.
        :param text: the last parameter, free words, or None.
        """
        self.queue(serialise(self.server.name, command, [_word(param) for param in params], text))

    def reply(self, numeric: Numeric, *params: bytes, text: bytes | None = None) -> None:
        """
        Answer with a numeric.

        :param numeric: which.
        :param params: the words behind the client's nick, as for `say`.
        :param text: the free words, in place of the numeric's own.
        """
        target = self.nick or b"*"
        self.say(numeric.code, target, *params, text=numeric.text if text is None else text)

    def flush(self) -> None:
        """Give the link what waits, unless it cannot take it; called at the end of a turn."""
        if self._gone or (self.choked and self.state is not State.CLOSED):
            return
        if self._pending:
            pending, self._pending = self._pending, []
            self._queued = 0
            self._link.send(pending)
        if self.state is State.CLOSED and not self._closing:
            self._closing = True
            self._link.close()

    def choke(self) -> None:
        """The link cannot take more; what comes now waits here, as far as the sendq allows."""
        self.choked = True

    def unchoke(self) -> None:
        """The link can take more again."""
        self.choked = False
        if self._pending:
            self.server.touch(self)

    # The end, and time

    def register(self, nick: bytes, user_name: bytes) -> User:
        """
        Enter REGISTERED: from here on there is a user.

        :param nick: the nick, which nobody has.
        :param user_name: the user name.
        :return: the user.
        """
        now = int(self.server.wall())
        user = User(self, nick, user_name, real_name=self.real_name, host=self.host, since=now)
        self.server.network.add(user)
        self.user = user
        self.state = State.REGISTERED
        self.server.wheel.put(self, self._heard + self.server.settings.ping_interval)
        return user

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
        self.server.wheel.drop(self)

    def _leave(self, reason: bytes) -> None:
        """Enter CLOSED: there is no user any more, and those who knew it are told."""
        self.state = State.CLOSED
        user, self.user = self.user, None
        self.server.depart(self, user, reason)

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
        self.queue(ping + b"\r\n")
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
