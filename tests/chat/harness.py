"""A chat server in memory: clients that type lines, a clock that tests turn, no sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from myproject_chat import ChatFactory, Settings
from myproject_chat.configuration import Accounts, Cloak, Fakelag, HashCost, Operator, Throttle
from myproject_chat.configuration.fields import Fingerprint
from myproject_chat.protocol import ChatProtocol
from myproject_chat.wire import Message, parse

__all__ = ["CHEAP", "EAGER", "EPOCH", "MARK", "PLAIN", "UNHURRIED", "Chat", "Client", "at_once"]

# As little as a password can cost.
CHEAP = Accounts(default_modes="", hash=HashCost(time=1, memory=8, iterations=4096))
# A certificate that nobody has.
MARK = Fingerprint("ab" * 32)
# Clients here say a lot at once.
UNHURRIED = Fakelag(enabled=False)
# Clients here come, go and change as they like.
EAGER = Throttle(connections=10**6, nick_changes=10**6, joins=10**6)
# Hosts can be read off the address.
PLAIN = Cloak(enabled=False)
EASY: dict[str, Any] = {
    "accounts": CHEAP,
    "cloak": PLAIN,
    "fakelag": UNHURRIED,
    "throttle": EAGER,
}
# 2001-09-09 01:46:40 UTC.
EPOCH = 1_000_000_000


def at_once(function: Callable[[], Any]) -> Deferred[Any]:
    """Run a function as another thread would, on the spot."""
    try:
        return succeed(function())
    except Exception:
        return fail(Failure())


class Transport(StringTransport):
    """Remembers each write, and that Nagle's algorithm was turned off."""

    def __init__(self, peerAddress: Any = None) -> None:
        super().__init__(peerAddress=peerAddress)
        self.no_delay = False
        self.cut = False
        self.writes: list[bytes] = []
        #: Called behind each write.
        self.on_write: Callable[[], object] = lambda: None
        directlyProvides(self, ITCPTransport)

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)
        self.on_write()

    def abortConnection(self) -> None:
        self.cut = True
        super().abortConnection()

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled


class Client:
    """Somebody at the other end of one connection."""

    def __init__(self, chat: Chat, protocol: ChatProtocol, address: str = "192.168.1.1") -> None:
        self.chat = chat
        self.protocol = protocol
        self.transport = Transport(peerAddress=IPv4Address("TCP", address, 54321))
        protocol.makeConnection(self.transport)

    def feed(self, data: bytes) -> None:
        """Let bytes arrive, without the turn ending."""
        self.protocol.dataReceived(data)

    def type(self, *lines: str) -> list[str]:
        """Send lines, let the turn end, and give back what came."""
        self.feed("".join(line + "\r\n" for line in lines).encode())
        return self.read()

    def read(self) -> list[str]:
        """Let the turn end, and give the lines that came since the last time."""
        self.chat.turn()
        data = self.transport.value()
        self.transport.clear()
        *lines, rest = data.split(b"\r\n")
        assert rest == b"", rest
        return [line.decode() for line in lines]

    def messages(self, *lines: str) -> list[Message]:
        """As `type`, each line taken apart."""
        return [parse(line.encode()) for line in self.type(*lines)]

    def codes(self, *lines: str) -> list[str]:
        """As `type`, the commands and numerics alone."""
        return [message.command.decode() for message in self.messages(*lines)]

    def vanish(self, *, cleanly: bool = True) -> None:
        """Let the connection be gone."""
        why: Any = ConnectionDone() if cleanly else ConnectionLost()
        self.protocol.connectionLost(Failure(why))
        self.chat.turn()


class Chat:
    """The server and its clock."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.factory = ChatFactory(
            Settings(**{**EASY, **settings}),
            self.clock,
            wall=lambda: EPOCH + self.clock.seconds(),
            run_in_thread=at_once,
        )
        self.server = self.factory.server

    def turn(self) -> None:
        """End the reactor's turn."""
        self.clock.advance(0)

    def wait(self, seconds: int) -> None:
        """Let time pass, a second at a time as a reactor would."""
        for _ in range(seconds):
            self.clock.advance(1)
        self.turn()

    def connect(self, address: str = "192.168.1.1") -> Client:
        """Open a connection."""
        protocol = self.factory.buildProtocol(IPv4Address("TCP", address, 54321))
        assert isinstance(protocol, ChatProtocol)
        return Client(self, protocol, address)

    def join(
        self, nick: str, *channels: str, caps: str = "", address: str = "192.168.1.1"
    ) -> Client:
        """Open a connection, register and join; what came of that is read and gone."""
        client = self.connect(address)
        if caps:
            client.type(f"CAP REQ :{caps}", "CAP END")
        client.type(f"NICK {nick}", f"USER {nick} 0 * :{nick.title()} Real")
        for channel in channels:
            client.type(f"JOIN {channel}")
        client.read()
        return client

    def promote(self, client: Client, *privileges: Any) -> None:
        """Make a client's user an operator of the server, without a word."""
        user = client.protocol.session.user
        assert user is not None
        operator = Operator(name=user.nick.decode(), fingerprint=MARK, privileges=privileges)
        settings = self.server.settings
        self.server.settings = replace(settings, operators=(*settings.operators, operator))
        user.operator = user.nick
        self.server.network.set_mode(user, b"o", on=True)

    def hush(self, *clients: Client) -> None:
        """Forget what has come for clients so far."""
        for client in clients:
            client.read()
