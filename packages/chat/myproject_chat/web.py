"""
The web port on Twisted: requests, and the WebSockets that some of them become.

A connection begins as a :class:`WebRequestProtocol`'s. When a request asks for a WebSocket, it is handed over
(:mod:`myproject.handover`) to a :class:`WebSocketProtocol`, which is the chat's protocol with frames
between it and the session, and nothing else is left in between: sendq, backpressure, drain and time
limits are those of TCP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.interfaces import IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from zope.interface import implementer

from myproject.handover import abort, hand_over
from myproject.interfaces import IDrainable
from myproject_chat.http import Upgrade, WebRequests, forwarded
from myproject_chat.protocol import ChatProtocol
from myproject_chat.websocket import BINARY, GOING_AWAY, NORMAL, Conversation, Framer

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from myproject_chat.http import Asked
    from myproject_chat.protocol import ChatFactory
    from myproject_chat.webport import WebFactory

__all__ = ["PATIENCE", "WebRequestProtocol", "WebSocketProtocol"]

#: Seconds for a request's head, for the answer to be taken, and between two requests. nginx waits 60 for
#: each; no browser needs as long, and who does nothing else holds a place.
PATIENCE: Final = 30.0


@implementer(IDrainable, IPushProducer)
class WebRequestProtocol(Protocol):
    """
    A connection that speaks HTTP.

    :param web: the factory that made it.
    """

    factory: WebFactory

    def __init__(self, web: WebFactory) -> None:
        self.factory = web
        self._requests = WebRequests(web.files, web.chat.server.settings.websocket, web.now())
        self._answers: Iterator[Asked] | None = None
        self._timer: IDelayedCall | None = None
        self._full = False
        self._done = False

    def connectionMade(self) -> None:
        """Begin to wait for a request."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        cast("Any", self.transport).registerProducer(self, True)
        self._timer = self.factory.chat.clock.callLater(PATIENCE, self._expire)

    def dataReceived(self, data: bytes) -> None:
        """Answer what is asked."""
        if not self._done:
            self._requests.feed(data, self.factory.now())
            self._work()

    def _work(self) -> None:
        """Answer one request after the other, as long as the client takes the answers."""
        answers = self._answers = self._answers or self._requests.answers()
        transport: Any = self.transport
        while not self._full:
            answer = next(answers, None)
            if answer is None:
                self._answers = None
                break
            if isinstance(answer, Upgrade):
                self._upgrade(answer)
                return
            if self._timer is not None:
                self._timer.reset(PATIENCE)
            transport.write(answer)
        if self._requests.closing and self._answers is None:
            self._close()

    def _upgrade(self, upgrade: Upgrade) -> None:
        transport: Any = self.transport
        self._end()
        transport.unregisterProducer()
        transport.write(upgrade.answer)
        framer = self.factory.framers[upgrade.subprotocol == BINARY]
        new = WebSocketProtocol(self.factory.chat, upgrade, framer)
        hand_over(self, new, upgrade.rest, self.factory.chat.clock)

    def _close(self) -> None:
        transport: Any = self.transport
        if not self._done:
            # The timer goes on: who does not take the last answer is cut.
            self._done = True
            transport.unregisterProducer()
            transport.loseConnection()

    def _end(self) -> None:
        self._done = True
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _expire(self) -> None:
        abort(self.transport)

    def drain(self) -> None:
        """Close behind what was answered."""
        self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 (Twisted's)
        """The client has gone."""
        self._end()

    # IPushProducer

    def pauseProducing(self) -> None:
        """The transport is full: answer no more, and read no more."""
        self._full = True
        cast("Any", self.transport).pauseProducing()

    def resumeProducing(self) -> None:
        """The transport has room."""
        self._full = False
        if not self._done:
            self._work()
        if not self._done:
            cast("Any", self.transport).resumeProducing()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows."""


class WebSocketProtocol(ChatProtocol):
    """
    A connection that speaks IRC in WebSocket frames.

    :param chat: the chat.
    :param upgrade: what the handshake said.
    :param framer: frames what is sent.
    """

    def __init__(self, chat: ChatFactory, upgrade: Upgrade, framer: Framer) -> None:
        self.factory = chat
        settings = chat.server.settings.websocket
        self._trusted = settings.forwarded_from
        self._headers = upgrade.headers
        self._conversation = Conversation(framer, settings.message_size)
        self._closing = False

    def _peer(self) -> tuple[str, bool]:
        """Whose connection it is, and whether nobody on the way can read along."""
        address, secure = super()._peer()
        address, told = forwarded(self._headers, address, self._trusted)
        return address, secure if told is None else told

    def reached(self) -> None:
        """Say nowhere: what is here is no IRC client's port."""

    def dataReceived(self, data: bytes) -> None:
        """Hand lines to the session, and answer what calls for an answer."""
        conversation = self._conversation
        lines = conversation.receive(data)
        if lines:
            # Whatever a message holds, it ends a line.
            self.session.receive(b"\r\n".join([*lines, b""]))
        if not self.session.choked:
            self._reply()
        if conversation.over:
            self._finish()

    def _reply(self) -> None:
        """Send a pong, or the answer to a close frame: while the client takes nothing, they wait."""
        if self._conversation.reply:
            self.transport.write(self._conversation.take_reply())

    def _finish(self) -> None:
        """Both sides have said what they had to say."""
        if not self._closing:
            self._closing = True
            self._reply()
            super().close()

    def sender(self) -> Callable[[bytes], object]:
        """Give what writes lines, a frame each, in one piece."""
        write = super().sender()
        return lambda lines: write(self._conversation.send([lines]))

    def way(self) -> None:
        """Nothing: each client's frames are its own."""

    def close(self, last: bytes = b"") -> None:
        """
        Say why in a close frame, and wait for the client's.

        Its browser closes first then, and nothing that was sent is lost; if it does not, the session cuts it.
        """
        if self._closing:
            return
        if last:
            self.transport.write(self._conversation.send([last]))
        self._reply()
        code = GOING_AWAY if cast("ChatFactory", self.factory).ending else NORMAL
        self.transport.write(self._conversation.close(code))
        # The session may have had it paused, and there is a frame to come.
        self.transport.resumeProducing()  # type: ignore[attr-defined]

    def resumeProducing(self) -> None:
        """The transport has room."""
        self._reply()
        super().resumeProducing()
