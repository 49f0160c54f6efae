"""
The front door: TCPMUX (RFC 1078), one port at which a client names the service that it wants.

A client sends a service's name and CRLF. The answer is a line that begins with ``+``, and from then on
the connection is that service's; or a line that begins with ``-``, and the connection closes. To
``HELP`` the answer is the names of all services, one to a line, and the connection closes. (Since RFC 7805
the protocol is "historic", among others that never saw widespread use.)

A connection is in one of three states, and never goes back:

========  ===============================================  ===========================================
state     what happens                                     then
========  ===============================================  ===========================================
NAMING    the line names a service, which takes it         ``+`` and its name; HANDED
NAMING    the line is HELP                                 the list; CLOSING
NAMING    the line names no service, or one that refuses   ``-`` and a reason; CLOSING
NAMING    the line grows beyond ``NAME_LIMIT``             ``-`` and a reason; CLOSING
NAMING    ``timeout`` passes, or the client's input ends   ``-`` and a reason; CLOSING
NAMING    the server stops                                 ``-`` and a reason; CLOSING
CLOSING   bytes                                            are dropped
CLOSING   the client's input ends                          close
CLOSING   ``LINGER`` passes                                abort
HANDED    whatever happens                                 is the service's affair, not ours
========  ===============================================  ===========================================

Rules it keeps. No bytes whatever raise an exception. No byte of the client's is ever sent back, so that
a reply has no more lines than we mean, whatever the name was. A name line ends with CRLF, or a bare LF, as
people at a terminal send. Names compare without case, in ASCII. The time limit is for the whole line:
a client that sends one byte a second gains nothing by it. What came behind the name line reaches the
service first.

CLOSING exists because a client that sent its data behind an unknown name would else never see why
(`myproject.handover.close_behind`): the rest is read and dropped for a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet import defer
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from zope.interface import implementer

from myproject.handover import abort, close_behind, hand_over
from myproject.interfaces import IDrainable, IHasMetrics, IHasServices
from myproject.nameline import HELP, NAME_LIMIT, Asked, NameLine, TooLong, check_name
from myproject.offers import choose_offers

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from twisted.application.service import IService
    from twisted.internet.interfaces import IAddress, IProtocolFactory, IReactorTime
    from twisted.python.failure import Failure

__all__ = [
    "LINGER",
    "NAME_TIMEOUT",
    "FrontDoor",
    "MyFactory",
]

#: Seconds for the name line. Programs send it at once; this leaves a person at a terminal the time to
#: type it. nginx gives a request's header 60 s; the BSDs' inetd waits for ever.
NAME_TIMEOUT: Final = 30.0

#: Seconds in which a client must close after our last line. nginx's lingering_timeout is 5 s.
LINGER: Final = 5.0


@implementer(IDrainable, IHalfCloseableProtocol)
class FrontDoor(Protocol):
    """
    One client at the door, until the service that it names takes over.

    :param door: the factory that made it.
    :param address: the client's, for the service's factory.
    """

    factory: MyFactory
    _log = Logger()

    def __init__(self, door: MyFactory, address: IAddress | None) -> None:
        self.factory = door
        self._address = address
        self._line: NameLine | None = NameLine()
        self._timer: Any = None

    def connectionMade(self) -> None:
        """Give the client its time."""
        self._timer = self.factory.clock.callLater(self.factory.timeout, self._expire)

    def dataReceived(self, data: bytes) -> None:
        """Read on towards the end of the name line; drop bytes once the connection is closing."""
        if self._line is None:
            return
        said = self._line.feed(data)
        if isinstance(said, TooLong):
            self._close(b"-the service name is too long; the limit is %d bytes\r\n" % NAME_LIMIT)
        elif said is not None:
            self._serve(said)

    def _serve(self, asked: Asked) -> None:
        offered = self.factory.offered
        if asked.name == HELP:
            names = [f"{name}\r\n".encode("ascii") for name, _ in offered.values()]
            self._close(b"".join(names))
            return
        if asked.name not in offered:
            self._close(b"-no such service; HELP lists them\r\n")
            return
        name, factory = offered[asked.name]
        try:
            new = factory.buildProtocol(cast("IAddress", self._address))
        except Exception:
            self._log.failure("the service {name} failed to take a connection", name=name)
            self._close(b"-the service has failed; try again later\r\n")
            return
        if new is None:
            self._close(b"-the service takes no more connections now; try again later\r\n")
            return
        self._line = None
        self._timer.cancel()
        transport: Any = self.transport
        transport.write(f"+{name}\r\n".encode("ascii"))
        hand_over(self, new, asked.rest, self.factory.clock)

    def _expire(self) -> None:
        if self._line is not None:
            self._close(b"-no service was named in time\r\n")
        else:
            abort(self.transport)

    def _close(self, reply: bytes, *, at_once: bool = False) -> None:
        """
        Send a last line and close.

        :param at_once: whether the client will send no more, so that there is nothing to drop.
        """
        self._line = None
        if self._timer.active():
            self._timer.cancel()
        # TLS waits for the peer's consent to close, a socket for its window: neither for ever.
        self._timer = self.factory.clock.callLater(LINGER, self._expire)
        transport: Any = self.transport
        transport.write(reply)
        if at_once:
            transport.loseConnection()
        else:
            close_behind(self)

    def drain(self) -> None:
        """Turn away a client that has named no service yet; one that was, is leaving already."""
        if self._line is not None:
            self._close(b"-the server is stopping; try again later\r\n")

    def readConnectionLost(self) -> None:
        """The client has sent all it will send: refuse it if it named no service, and close."""
        if self._line is not None:
            self._close(b"-no service was named\r\n", at_once=True)
        else:
            cast("Any", self.transport).loseConnection()

    def writeConnectionLost(self) -> None:
        """Our side is closed; the client's bytes are dropped until it closes too."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 (Twisted's)
        """Forget the clock; a service that took over hears of the loss in our place."""
        self._line = None
        if self._timer.active():
            self._timer.cancel()


@implementer(IHasServices, IHasMetrics)
class MyFactory(Factory):
    """
    The factory of the front door, for the core, or for any endpoint or ``internet.TCPServer``.

    It starts and stops the factories behind it as it is started and stopped. The further services
    that they need (:class:`~myproject.interfaces.IHasServices`) are handed to whoever asks with
    :meth:`services`; if nobody asks before the first port opens, the factory runs them itself.

    :param services: what to offer, a factory for each name; by default every sibling installed, each
        with the settings of its own environment variables. They are found when they are first needed.
    :param timeout: seconds in which a client must name a service.
    :param clock: tells the time; the reactor by default, looked up when it is first needed.
    :param beside: further services to run beside the ports, made when they are asked for.
    :raises ValueError: a name cannot be offered, or two differ in case only.
    """

    def __init__(
        self,
        services: Mapping[str, IProtocolFactory] | None = None,
        *,
        timeout: float = NAME_TIMEOUT,
        clock: IReactorTime | None = None,
        beside: Callable[[], Iterable[IService]] = tuple,
    ) -> None:
        self.timeout = timeout
        self._clock = clock
        self._beside = beside
        self._offered = None if services is None else _by_key(services)
        self._services_taken = False
        self._running: list[IService] = []
        self._started: list[IProtocolFactory] = []

    @property
    def clock(self) -> IReactorTime:
        """What tells the time."""
        if self._clock is None:
            from twisted.internet import reactor

            self._clock = cast("IReactorTime", reactor)
        return self._clock

    @property
    def offered(self) -> Mapping[bytes, tuple[str, IProtocolFactory]]:
        """
        What is offered: by its name in lower case, the name as clients see it, and its factory.

        :raises SettingError: a sibling's settings are not valid.
        """
        if self._offered is None:
            self._offered = _by_key({one.name: one.make() for one in choose_offers()})
        return self._offered

    def services(self) -> list[IService]:
        """The further services of this factory and of all those behind it, in the order to start them."""
        self._services_taken = True
        found = list(self._beside())
        for _, factory in self.offered.values():
            provider = IHasServices(factory, None)
            if provider is not None:
                found.extend(provider.services())
        return found

    def metrics(self) -> Iterator[Metric]:
        """What those behind the door have to tell, each with its name as the label ``offered``."""
        from myproject.families import labelled

        for name, factory in self.offered.values():
            provider = cast("IHasMetrics | None", IHasMetrics(factory, None))
            for family in provider.metrics() if provider is not None else ():
                yield labelled(family, offered=name)

    def buildProtocol(self, addr: IAddress | None) -> FrontDoor:  # type: ignore[override]
        """
        Receive a client.

        :param addr: its address.
        """
        return FrontDoor(self, addr)

    def startFactory(self) -> None:
        """
        Start the factories behind this one, as the first port opens.

        :raises SettingError: a sibling's settings are not valid.
        :raises Exception: what one of them raises; those started before it are stopped again.
        """
        try:
            if not self._services_taken:
                for service in self.services():
                    self._running.append(service)
                    service.privilegedStartService()
                    service.startService()
            for _, factory in self.offered.values():
                factory.doStart()
                self._started.append(factory)
        except BaseException:
            self.stopFactory()
            raise

    def stopFactory(self) -> None:
        """Stop the factories behind this one, as the last port closes."""
        while self._started:
            self._started.pop().doStop()
        while self._running:
            self._services_taken = False
            stopping = defer.maybeDeferred(self._running.pop().stopService)
            stopping.addErrback(self._stop_failed)

    def _stop_failed(self, failure: Failure) -> None:
        Logger().failure("a service beside the front door did not stop", failure=failure)


def _by_key(
    services: Mapping[str, IProtocolFactory],
) -> dict[bytes, tuple[str, IProtocolFactory]]:
    found: dict[bytes, tuple[str, IProtocolFactory]] = {}
    for name, factory in services.items():
        key = check_name(name)
        if key in found:
            raise ValueError(f"{name!r} and {found[key][0]!r} differ in case only")
        found[key] = (name, factory)
    return found
