"""
WebSocket frames (RFC 6455): IRC lines out of a stream of bytes, and back. No transport and no clock inside.

One message is one IRC line without its end (https://ircv3.net/specs/extensions/websocket). What wsproto
reads is taken further here: fragments become a message of at most so many bytes; a ping is
answered; what breaks the rules ends the conversation with the code that RFC 6455 section 7.4.1 has for it.

=========  ==================================================================================
code       when
=========  ==================================================================================
1000       the session has ended
1001       the server stops
1002       the peer breaks the protocol: an unmasked frame, a reserved bit, an unknown opcode
1007       a text message that is not UTF-8
1009       a message that is larger than the limit
=========  ==================================================================================

A conversation is OPEN until one side sends a close frame. Who has sent one hears nothing more of the
peer's but its close frame. Both kinds of message are taken from every client, as a line says by itself
whether it is UTF-8; what is sent is of the kind that was agreed on. No extension is: compression
costs memory for each client (RFC 7692 section 7.2), and lets a few bytes become many.

Frames are read by the library, in all their variants. They are written here, where there is one variant, and
what is said to a thousand clients in one piece is framed once (:class:`Framer`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage

__all__ = ["BINARY", "GOING_AWAY", "NORMAL", "TEXT", "Conversation", "Framer", "choose"]

#: The subprotocols, by the names that IRCv3 gives them.
BINARY: Final = "binary.ircv3.net"
TEXT: Final = "text.ircv3.net"

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
_TOO_BIG: Final = 1009

# The first byte of a frame that is a whole message: FIN, and the opcode.
_TEXT_FRAME: Final = 0x81
_BINARY_FRAME: Final = 0x82


def choose(offered: Iterable[str]) -> str | None:
    """
    Choose a subprotocol: the first of those offered that is one of ours.

    :param offered: their names, the one that the client likes best first.
    """
    return next((name for name in offered if name in (BINARY, TEXT)), None)


class Framer:
    """
    Puts lines into frames of one kind, for any number of clients.

    :param binary: whether messages are binary; else they are text.
    """

    __slots__ = ("_first", "_frames", "_piece")

    def __init__(self, *, binary: bool) -> None:
        self._first = _BINARY_FRAME if binary else _TEXT_FRAME
        # What is said in a channel comes in the same piece for one member after the other.
        self._piece: bytes | None = None
        self._frames = b""

    def frame(self, pieces: Sequence[bytes]) -> bytes:
        """
        Frame lines.

        :param pieces: lines, or several in a piece, each with its CR LF.
        :return: the frames, in one piece.
        """
        if len(pieces) != 1:
            return self._make(b"".join(pieces))
        if pieces[0] is not self._piece:
            self._piece = pieces[0]
            self._frames = self._make(pieces[0])
        return self._frames

    def _make(self, piece: bytes) -> bytes:
        lines = piece.split(b"\r\n")
        lines.pop()
        return b"".join([self._frame(line) for line in lines])

    def _frame(self, line: bytes) -> bytes:
        first = self._first
        if first == _TEXT_FRAME and not line.isascii():
            # Browsers end the connection over bytes that are not UTF-8.
            line = line.decode("utf-8", "replace").encode()
        length = len(line)
        if length < 126:
            return bytes((first, length)) + line
        # A line never comes near 64 KiB.
        return bytes((first, 126, length >> 8, length & 0xFF)) + line


class Conversation:
    """
    One client's frames, from the handshake on.

    :param framer: frames what is sent, in the kind that was agreed on; without agreement, as text.
    :param limit: bytes that a message may have.

    :ivar closed: whether a close frame has been sent: nothing may be sent any more.
    :ivar over: whether both sides have sent one, or none is to be waited for: the connection can be closed.
    """

    __slots__ = ("_connection", "_framer", "_limit", "_message", "_pong", "closed", "over")

    def __init__(self, framer: Framer, limit: int) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        self._framer = framer
        self._limit = limit
        self._message = bytearray()
        self._pong = b""
        self.closed = False
        self.over = False

    def receive(self, data: bytes) -> list[bytes]:
        """
        Take bytes from the peer.

        :param data: any bytes, cut anywhere.
        :return: the lines that they complete, without ends. Behind these, :meth:`reply` has what to send.
        """
        lines: list[bytes] = []
        if self.over:
            return lines
        self._connection.receive_data(data)
        for event in self._connection.events():
            self._take(event, lines)
            if self.over:
                break
        return lines

    def _take(self, event: Event, lines: list[bytes]) -> None:
        if isinstance(event, CloseConnection):
            # The peer's; or, for what breaks the rules, the library's, with the code that says so.
            if not self.closed:
                self._pong += self._connection.send(event.response())
            self.closed = self.over = True
        elif self.closed:
            # Our side has ended the conversation: all that is still to come is a close frame.
            return
        elif isinstance(event, TextMessage | BytesMessage):
            part = event.data
            self._message += part.encode() if isinstance(part, str) else part
            if len(self._message) > self._limit:
                self._message.clear()
                self._end(_TOO_BIG)
            elif event.message_finished:
                lines.append(bytes(self._message))
                self._message.clear()
        elif isinstance(event, Ping):
            # Of several that wait, the last is the one to answer (RFC 6455 section 5.5.3).
            self._pong = self._connection.send(event.response())

    def _end(self, code: int) -> None:
        """The peer is not to be understood any more: there is no close frame of its to wait for."""
        self._pong += self.close(code)
        self.over = True

    @property
    def reply(self) -> bool:
        """Whether there is something that :meth:`take_reply` would give."""
        return bool(self._pong)

    def take_reply(self) -> bytes:
        """Give what the peer's own frames call for, and forget it."""
        reply, self._pong = self._pong, b""
        return reply

    def send(self, pieces: Sequence[bytes]) -> bytes:
        """
        Frame lines.

        :param pieces: lines, or several in a piece, each with its CR LF.
        :return: the frames, in one piece; nothing once the conversation is closed.
        """
        return b"" if self.closed else self._framer.frame(pieces)

    def close(self, code: int) -> bytes:
        """
        End the conversation.

        :param code: why.
        :return: the close frame; nothing if there was one.
        """
        if self.closed:
            return b""
        self.closed = True
        self._message.clear()
        return self._connection.send(CloseConnection(code=code))
