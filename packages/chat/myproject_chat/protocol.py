"""
The chat on Twisted: bytes in from a transport, bytes out at the end of the reactor turn, and time.

This is the only module with a reactor in it, and that one is looked up when it is first needed. The
protocol is the session's link and the transport's producer: while the transport's buffer is full
the session keeps what is said, as far as its sendq allows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHandshakeListener,
    INegotiated,
    IPushProducer,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from myproject.interfaces import (
    FurtherPorts,
    IAsksToReload,
    IDrainable,
    IHasHealth,
    IHasMetrics,
    IHasPorts,
    IHasServices,
    IReloadable,
)
from myproject.reactor.transports import Corked, send_to_all
from myproject_chat.commands import COMMANDS
from myproject_chat.commands.network_operators import dismiss
from myproject_chat.expulsion import last_words
from myproject_chat.server import Server
from myproject_chat.settings import Settings

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from twisted.application.service import IService
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime

    from myproject.farewell import Farewell
    from myproject.reload import Reloaded
    from myproject_chat.session import Session
    from myproject_chat.store import Loaded, Store
    from myproject_chat.store.records import NetworkBan
    from myproject_chat.store.service import StoreService

__all__ = ["ChatFactory", "ChatProtocol"]

# Seconds between two looks at the wheel, whose buckets are one second wide.
_SWEEP = 1.0
# What clients are told when the server stops.
_FAREWELL = b"The server is shutting down"


@implementer(IDrainable, IHandshakeListener, IPushProducer)
class ChatProtocol(Protocol):
    """
    One connection.

    :ivar session: the conversation, from `connectionMade` on.
    """

    transport: ITransport
    session: Session

    def connectionMade(self) -> None:
        """Begin the session, and ask to be told when the transport is full."""
        # A line is a write of its own: with Nagle's algorithm it would wait for a delayed ACK. Corked
        # transports have turned it off; to do it twice is 2 % of what connecting and leaving costs.
        if not isinstance(self.transport, Corked) and ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        factory = cast("ChatFactory", self.factory)
        address, secure = self._peer()
        self.session = factory.server.connect(self, address, secure=secure)
        self.transport.registerProducer(self, True)  # type: ignore[attr-defined]
        factory.watch()

    def _peer(self) -> tuple[str, bool]:
        """Say whose connection it is, and whether nobody on the way can read along."""
        address = getattr(self.transport.getPeer(), "host", None)
        return str(address or "localhost"), bool(INegotiated.providedBy(self.transport))

    def handshakeCompleted(self) -> None:
        """Over TLS: note who the client has proved to be. No byte of its has been read before."""
        # Without TLS it is not needed, and brings OpenSSL in.
        from myproject.tls import peer_fingerprint

        shown = peer_fingerprint(self.transport)
        self.session.fingerprint = None if shown is None else shown.encode("ascii")

    def dataReceived(self, data: bytes) -> None:
        """Hand bytes to the session."""
        self.session.receive(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the session; the others see why."""
        done = isinstance(reason.value, ConnectionDone)
        self.session.lost(b"Connection closed" if done else b"Connection lost")

    def drain(self) -> None:
        """
        Say goodbye: what waits for the client is sent, then an ERROR line, then the connection closes.

        All sessions of the server end with this one, so that nobody is told of everybody's leaving: a
        channel of a thousand would be sent half a million lines.
        """
        cast("ChatFactory", self.factory).end()

    # session.Link

    def sender(self) -> Callable[[bytes], object]:
        """Give what writes lines in one piece, at the end of a turn."""
        transport = self.transport
        return transport.send_now if isinstance(transport, Corked) else transport.write

    def reached(self) -> tuple[str, int] | None:
        """Say where an IRC client would connect to."""
        here = self.transport.getHost()
        host, port = getattr(here, "host", None), getattr(here, "port", None)
        return (host, port) if isinstance(host, str) and isinstance(port, int) else None

    def way(self) -> object | None:
        """Give the transport, if it is one of those to which the same is sent in one loop."""
        return self.transport if isinstance(self.transport, Corked) else None

    def close(self, last: bytes = b"") -> None:
        """Close once the transport has sent what it has, and last lines; together, they cost it less."""
        if last:
            self.transport.write(last)
        # With a producer the transport would wait for more.
        self.transport.unregisterProducer()  # type: ignore[attr-defined]
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close now."""
        self.transport.abortConnection()  # type: ignore[attr-defined]

    def pause(self) -> None:
        """Read no more; the system's buffer, then the peer, will have to wait."""
        self.transport.pauseProducing()  # type: ignore[attr-defined]

    def resume(self) -> None:
        """Read again."""
        self.transport.resumeProducing()  # type: ignore[attr-defined]

    # IPushProducer

    def pauseProducing(self) -> None:
        """The transport is full."""
        self.session.choke()

    def resumeProducing(self) -> None:
        """The transport has room."""
        self.session.unchoke()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows and says so to the session."""


@implementer(IAsksToReload, IHasHealth, IHasMetrics, IHasPorts, IHasServices, IReloadable)
class ChatFactory(Factory):
    """
    An IRC server: one `Server`, and a `ChatProtocol` for each connection.

    :param settings: what the operator chose.
    :param clock: when; the reactor, looked up when the first connection comes, if not given.
    :param wall: seconds since 1970.
    :param run_in_thread: runs a function in another thread, for passwords; the reactor's thread pool, if
        not given.

    :ivar server: the server.
    :ivar ending: whether everybody has been told goodbye.
    """

    noisy = False
    protocol = ChatProtocol
    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        clock: IReactorTime | None = None,
        wall: Callable[[], float] = time.time,
        run_in_thread: Callable[[Callable[[], Any]], Deferred[Any]] | None = None,
    ) -> None:
        # Who asks for --help is spared the import of argon2.
        from myproject_chat.passwords import Cost, Passwords

        self._passwords = Passwords(
            Cost.of(settings.accounts.hash), run_in_thread or self._run_in_thread
        )
        self.ending = False
        self._wall = wall
        self._clock = clock
        self._flush: IDelayedCall | None = None
        self._sweep: IDelayedCall | None = None
        self._store: Store | None = None
        self._store_service: StoreService | None = None
        self.server = Server(
            settings,
            COMMANDS,
            self._now,
            wall,
            self._wake,
            passwords=self._passwords,
            send_to_all=send_to_all,
        )
        self.server.on_noted = self._noted

    def services(self) -> list[IService]:
        """The store: its file is open, and all that is small taken from it, before the first client comes."""
        # As above, of sqlite3.
        from myproject_chat.store.service import StoreService

        settings = self.server.settings
        history = settings.history
        service = StoreService(
            settings.state,
            self._loaded,
            self._wall,
            history_length=history.messages,
            history_age=history.days * 86400,
            flush=history.flush,
        )
        self._store, self._store_service = service.store, service
        return [service]

    def _loaded(self, loaded: Loaded) -> None:
        """Take what the store has; called once, before the first client."""
        if self._store is None:
            raise RuntimeError("the store is not there yet")
        self.take(self._store, loaded)

    def take(self, store: Store, loaded: Loaded) -> None:
        """
        Use a store that has been opened.

        :param store: the store.
        :param loaded: all that is small in it.
        """
        self._store = store
        store.on_written = self.server.wrote
        store.on_changed = self.server.refresh
        self.server.open(store, loaded)

    def _run_in_thread(self, function: Callable[[], Any]) -> Deferred[Any]:
        from twisted.internet.threads import deferToThread

        return deferToThread(function)

    @property
    def clock(self) -> IReactorTime:
        """What calls later: the reactor, unless another was handed in."""
        if self._clock is None:
            from twisted.internet import reactor

            self._clock = cast("IReactorTime", reactor)
        return self._clock

    def _now(self) -> float:
        # The first time; from then on the server asks the clock itself, with each piece that arrives.
        self.server.now = self.clock.seconds
        return self.server.now()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        Take a connection; whose address is banned is told so, and let go.

        :param addr: the peer's address.
        """
        return self.farewell(addr, last_words) or super().buildProtocol(addr)

    def farewell(
        self, addr: IAddress | None, words: Callable[[str, NetworkBan], bytes]
    ) -> Farewell | None:
        """
        See whether an address is banned.

        :param addr: a peer's address.
        :param words: given the address and the ban, what the peer is to be told.
        :return: what takes the connection to tell it; None if it is not banned.
        """
        host = getattr(addr, "host", None)
        ban = self.server.bans.of_address(host)
        if ban is None:
            return None
        # Who is let in is spared the import.
        from myproject.farewell import Farewell

        self.server.bans.hits[ban.kind] += 1
        return Farewell(words(str(host), ban), ban.reason.decode("utf-8", "replace"), self.clock)

    def offer_reload(self, reload: Callable[[], Reloaded]) -> None:
        """Let REHASH do what SIGHUP does."""
        self.server.reload_settings = reload

    def _noted(self, text: bytes) -> None:
        self._log.info("{text}", text=text.decode("utf-8", "replace"))

    def metrics(self) -> Iterator[Metric]:
        """Tell Prometheus of users, channels and messages."""
        # Who does not serve metrics is spared the import.
        from myproject_chat.metrics import chat_metrics

        return chat_metrics(self.server)

    def trouble(self) -> str | None:
        """Say so if what people say cannot be kept."""
        return "the store cannot be written to" if self.server.history.troubled else None

    def reload(self, options: Any, changed: frozenset[str]) -> None:
        """
        Take new settings; who is an operator of the server no more is told so.

        :param options: all of them, validated.
        :param changed: the names of those that changed.
        """
        from myproject_chat.passwords import Cost

        before = self.server.settings
        self.server.reload(before.updated(options, changed))
        self._passwords.set_cost(Cost.of(self.server.settings.accounts.hash))
        history = self.server.settings.history
        if self._store_service is not None and history != before.history:
            self._store_service.reload(
                history_length=history.messages,
                history_age=history.days * 86400,
                flush=history.flush,
            )
        dismiss(self.server)

    def further_ports(self) -> list[FurtherPorts]:
        """The web port, if there is to be one: the page, and IRC over WebSocket."""
        settings = self.server.settings
        if not (settings.web_port or settings.web_tls_port):
            return []
        from myproject_chat.webport import WebFactory

        web = WebFactory(self)
        plain, tls = settings.web_port, settings.web_tls_port
        return [FurtherPorts(web, "web-port", plain, "web-tls-port", tls)]

    def stopFactory(self) -> None:
        """Say goodbye to everybody: the last port has closed. Nothing here waits for it to arrive."""
        self.end()
        self.server.flush()
        self._passwords.stop()

    def end(self) -> None:
        """Say goodbye to everybody."""
        self.ending = True
        self.server.shut_down(_FAREWELL)

    def _wake(self) -> None:
        if self._flush is None:
            self._flush = self.clock.callLater(0, self._end_turn)

    def _end_turn(self) -> None:
        self._flush = None
        self.server.flush()

    def watch(self) -> None:
        """See to it that time passes for the sessions, while there are any."""
        if self._sweep is None:
            self._sweep = self.clock.callLater(_SWEEP, self._look)

    def _look(self) -> None:
        self._sweep = None
        try:
            self.server.sweep()
        finally:
            # A bug in a line that had to wait is logged, and time goes on for all.
            if self.server.wheel:
                self.watch()
