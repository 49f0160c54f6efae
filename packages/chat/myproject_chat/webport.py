"""
The web port's factory, without what it is made of.

HTTP and WebSocket are imported when the first connection comes: the server listens that much sooner.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from twisted.internet.protocol import Factory, Protocol

from myproject_chat.bans import public_reason

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

    from myproject_chat.http import File
    from myproject_chat.protocol import ChatFactory
    from myproject_chat.store.records import NetworkBan
    from myproject_chat.websocket import Framer

__all__ = ["WebFactory"]


class WebFactory(Factory):
    """
    The web port's factory: a `WebRequestProtocol` for each connection.

    :param chat: the chat that WebSockets are connections of.
    """

    noisy = False

    def __init__(self, chat: ChatFactory) -> None:
        self.chat = chat

    @cached_property
    def framers(self) -> tuple[Framer, Framer]:
        """For text, and for binary."""
        from myproject_chat.websocket import Framer

        return Framer(binary=False), Framer(binary=True)

    @cached_property
    def files(self) -> dict[str, File]:
        """The page, read when it is first needed."""
        from myproject_chat.page import load_page

        return load_page()

    def now(self) -> float:
        """Seconds since 1970."""
        return self.chat.server.wall()

    def doStart(self) -> None:
        """A port has opened: of the chat's."""
        self.chat.doStart()

    def doStop(self) -> None:
        """A port has closed; when it was the last, the chat says goodbye."""
        self.chat.doStop()

    def logPrefix(self) -> str:
        """Be called in the log what it is."""
        return "web"

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """
        Take a connection; whose address is banned is told so, and let go.

        :param addr: the peer's address.
        """
        # h11 and wsproto take as long to import as a twelfth of the start; they are not needed to listen.
        from myproject_chat.web import WebRequestProtocol

        return self.chat.farewell(addr, _refusal) or WebRequestProtocol(self)


def _refusal(_: str, ban: NetworkBan) -> bytes:
    """What somebody who is banned sees in place of the page."""
    text = b"You are banned from here: %b\n" % public_reason(ban)
    head = (
        b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"X-Content-Type-Options: nosniff\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    )
    return head % len(text) + text
