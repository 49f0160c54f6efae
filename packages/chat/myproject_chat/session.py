"""
The session: one client's conversation, from its first byte to its last.

How it works. Bytes come in by `Session.receive`, which cuts them into lines and hands each to the
command it names (receiving.py); lines for the client go into a queue by `Session.queue`; `Session.flush`,
once in a reactor turn, gives the queue to the link (sending.py). The link is whatever carries bytes (TCP,
TLS, a WebSocket); the session knows nothing more of it than `Link`, nor of time than what its server
tells. Here is its life: how it begins, becomes a user's client, and ends.

A session is in one of three states, and goes through them in one direction only::

    UNREGISTERED --registered--> REGISTERED
         |                            |
         +----------- close ----------+--> CLOSED

The rules it keeps:

- A `User` exists precisely while the state is REGISTERED. Until then the nick and the rest are only
  wishes, kept here; a nick is not held for somebody who may never finish.
- Whatever a peer sends is answered in the protocol. An exception is a bug of ours.
- Nothing is sent to a CLOSED session but its ERROR line, and nothing it sends is read.

Sources: RFC 2812 section 3.1, https://modern.ircdocs.horse/#connection-setup.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from myproject_chat.fakelag import Fakelag
from myproject_chat.links import GONE, Awaited, Batch, Failure, Link, State
from myproject_chat.names import host_name
from myproject_chat.operators import may
from myproject_chat.receiving import Receiving
from myproject_chat.throttle import Bucket, Rate, is_exempt
from myproject_chat.wire import Message, clip, format_message

if TYPE_CHECKING:
    from myproject_chat.identity import Login
    from myproject_chat.server import Server
    from myproject_chat.state import User

__all__ = ["Awaited", "Batch", "Failure", "Link", "Session", "State"]

# Most clients wish for no metadata, nor for others', and share these.
_NOTHING: Mapping[bytes, bytes] = MappingProxyType({})
_NO_KEYS: frozenset[bytes] = frozenset()
# Seconds that a closed connection may take to read its last lines before it is cut.
_CLOSE_GRACE = 5.0


class Session(Receiving):
    """
    One connection's conversation.

    :param server: the server it belongs to.
    :param link: what carries its bytes.
    :param host: the peer, as it stands in ``nick!user@host``.
    :param address: the peer's address, as text.
    :param secure: whether nobody on the way can read along.
    :param fingerprint: the SHA-256 of the certificate that the peer has shown to own, in hex; or None.

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
    :ivar negotiating: whether CAP holds registration up.
    :ivar cap_version: the version of capability negotiation that the client speaks.
    """

    __slots__ = (
        "_joins",
        "_nick_changes",
        "_pinged",
        "_since",
        "account",
        "address",
        "away",
        "cap_version",
        "failures",
        "fingerprint",
        "host",
        "login",
        "metadata",
        "negotiating",
        "passed",
        "real_name",
        "refused",
        "secure",
        "subscriptions",
        "user_name",
    )

    def __init__(
        self,
        server: Server,
        link: Link,
        host: bytes,
        address: str,
        *,
        secure: bool = False,
        fingerprint: bytes | None = None,
    ) -> None:
        self.server = server
        super().__init__(server, link)
        self.host = host
        self.address = address
        self.secure = secure
        self.fingerprint = fingerprint
        self.refused: bytes | None = None
        self.user_name: bytes | None = None
        self.real_name = b""
        self.account: bytes | None = None
        self.login: Login | None = None
        self.failures = 0
        self.passed = False
        self.away: bytes | None = None
        self.metadata: Mapping[bytes, bytes] = _NOTHING
        self.subscriptions = _NO_KEYS
        self.negotiating = False
        self.cap_version = 301
        # Most clients do neither often enough to be counted.
        self._nick_changes: Bucket | None = None
        self._joins: Bucket | None = None
        self.set_pace()
        self._since = self._heard
        self._pinged: float | None = None

    @property
    def is_new(self) -> bool:
        """Whether the client has said nothing yet of what it wants to be."""
        said = self.nick, self.refused, self.user_name, self.login, self.account, self.user
        return not (self.negotiating or self.capabilities or self.passed or any(said))

    def set_pace(self) -> None:
        """See how fast the client may go, by the settings in force and where it is."""
        fakelag, pace = self.server.settings.fakelag, self.server.pace
        if not fakelag.enabled or is_exempt(self.address, fakelag.exempt):
            self._lag = None
        elif self._lag is None:
            self._lag = Fakelag(pace)
        else:
            self._lag.pace = pace

    def may_rename(self) -> bool:
        """Count a change of the nick, if it is allowed."""
        if self._nick_changes is None:
            self._nick_changes = Bucket()
        return self._allows(self._nick_changes, self.server.settings.throttle.nick_changes)

    def may_join(self) -> bool:
        """Count an entry into a channel, if it is allowed."""
        if self._joins is None:
            self._joins = Bucket()
        return self._allows(self._joins, self.server.settings.throttle.joins)

    def _allows(self, bucket: Bucket, count: int) -> bool:
        throttle = self.server.settings.throttle
        if not throttle.enabled or bucket.take(self.server.now(), Rate(count, throttle.window)):
            return True
        if is_exempt(self.address, throttle.exempt):
            return True
        return self.user is not None and may(self.server, self.user, "flood")

    @property
    def since(self) -> float:
        """When it began, in seconds of the server's clock."""
        return self._since

    def _introduce(self) -> None:
        """Tell a person who is here without an IRC client what to do; once in a connection."""
        self._introduced = True
        example = b""
        reached = self._link.reached()
        if reached is not None:
            host, port = reached
            example = f" (irssi -c {host} -p {port})".encode("ascii", "replace")
        text = (
            b"This is %b, a chat server that speaks IRC. Connect with an IRC client such as irssi%b,"
            b" WeeChat or HexChat; or go on by hand: type NICK yourname,"
            b" then USER yourname 0 * :Your Name"
        )
        self.say(b"NOTICE", b"*", text=text % (self.server.settings.network_name, example))

    def attach(self, user: User) -> None:
        """
        Enter REGISTERED: from here on this is one of a user's clients.

        :param user: the user, who is in the network.
        """
        self.server.settle()
        user.receivers.append(self)
        self.server.registered += 1
        self.user = user
        self.state = State.REGISTERED
        self.server.wheel.put(self, self._heard + self.server.settings.ping_interval)

    def _flooded(self) -> None:
        self.server.note_flood(self, b"RecvQ exceeded")
        self.close(b"RecvQ exceeded")

    def _overflow(self) -> None:
        if self._doomed or self.state is State.CLOSED:
            return
        self._doomed = True
        self._room = -1
        self._pending.clear()
        self.server.doom(self)

    def close(self, reason: bytes) -> None:
        """
        End the session: others are told why, and so is the client, in an ERROR line.

        :param reason: why.
        """
        if self.state is State.CLOSED:
            return
        self._leave(reason)
        self._stop_lagging()
        self._room = -1
        # Its own address is no secret to a client: who runs a balancer sees here what it tells.
        farewell = b"Closing link: %b (%b)" % (host_name(self.address), reason)
        self._pending.append(b"ERROR :" + clip(farewell, 400) + b"\r\n")
        self.server.touch(self)
        self.server.wheel.put(self, self.server.now() + _CLOSE_GRACE)

    def lost(self, reason: bytes) -> None:
        """
        The link is no more.

        :param reason: what others are told if the session had not been closed.
        """
        self._gone = True
        if self.state is not State.CLOSED:
            self._leave(reason)
        self._room = -1
        self._pending.clear()
        self._inbox.clear()
        self._stop_lagging()
        self.server.wheel.drop(self)
        if self._waits_for is not None:
            self._waits_for.cancel()
        self._link = GONE
        self._send = GONE.sender()
        self._way = None

    def _stop_lagging(self) -> None:
        if self._lagging:
            self._lagging = False
            self.server.lagging.drop(self)

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
