"""
Health: the pages ``/metrics``, ``/healthz`` and ``/readyz``, for those who watch a process.

=============  =========================================================================================
page           says
=============  =========================================================================================
``/metrics``   the metrics, in Prometheus' text format 0.0.4; in OpenMetrics 1.0.0 for who accepts that
               as gladly
``/healthz``   200: the process lives, and its reactor turns
``/readyz``    200 if connections are served; 503 while the service starts, drains, or says that it cannot do
               its work (:class:`~myproject.interfaces.IHasHealth`)
=============  =========================================================================================

They have ports of their own, which open before the service's and close after its last connection. A bare
number means the loopback: the pages say how much is going on here, and on what versions, to anyone who
asks. Another interface takes an endpoint description, and the decision of a person.

Whoever can connect can do little. A request is GET or HEAD with a head of ``HEAD_LIMIT`` bytes, and what
comes behind it is dropped; a connection serves one request, and ends ``DEADLINE`` seconds after it
began, finished or not; ``CONNECTIONS`` may be open. A scrape every 15 seconds has no use for more.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from twisted.application.service import MultiService
from twisted.internet import defer
from twisted.logger import Logger
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from myproject.families import Families, text
from myproject.gate import Gate
from myproject.limits import Limits
from myproject.service import PortsService, State

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IListeningPort
    from twisted.python.failure import Failure

__all__ = [
    "CONNECTIONS",
    "DEADLINE",
    "HEAD_LIMIT",
    "HealthPages",
    "HealthService",
    "Source",
    "prefers_openmetrics",
]

#: Gives the metrics of a scrape, now or later.
Source = Callable[[], "Iterable[Metric] | defer.Deferred[Iterable[Metric]]"]

#: Bytes of a request's head. Prometheus sends 350; nginx takes 8 KiB in large_client_header_buffers.
HEAD_LIMIT: Final = 8192

#: Seconds that a connection may last: Prometheus' own scrape_timeout.
DEADLINE: Final = 10.0

#: Connections that may be open at once, of the 32 descriptors that others leave alone.
CONNECTIONS: Final = 16

_TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
_PLAIN: Final = b"text/plain; charset=utf-8"


def prefers_openmetrics(accept: str) -> bool:
    """
    Choose a format (RFC 9110, section 12.5.1, less the order of ranges by how specific they are).

    :param accept: the request's ``Accept``, of whatever form.
    :return: whether OpenMetrics is accepted, and no text format is preferred to it.
    """
    quality = {"openmetrics": 0.0, "text": 0.0}
    for one in accept.split(","):
        kind, *rest = (part.strip().lower() for part in one.split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest)
        try:
            weight = float(parameters.get("q", "1"))
        except ValueError:
            continue
        if kind == "application/openmetrics-text":
            if parameters.get("version", "1.0.0") in ("0.0.1", "1.0.0"):
                quality["openmetrics"] = max(quality["openmetrics"], weight)
        elif kind in ("text/plain", "text/*", "*/*"):
            quality["text"] = max(quality["text"], weight)
    return 0 < quality["openmetrics"] >= quality["text"]


class HealthPages(Resource):
    """
    The pages, for a web site of anyone's.

    :param source: gives the metrics of a scrape.
    :param state: says how the service is.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, source: Source, state: Callable[[], State]) -> None:
        super().__init__()
        self._source = source
        self._state = state

    def render(self, request: Request) -> int:
        """
        Answer a request.

        :param request: the request, with any method and path.
        """
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            _answer(request, 405, b"only GET and HEAD are served here\n")
        elif request.path == b"/metrics":
            self._measure(request)
        elif request.path == b"/healthz":
            _answer(request, 200, b"alive\n")
        elif request.path == b"/readyz":
            state = self._state()
            _answer(request, 200 if state is State.READY else 503, f"{state.value}\n".encode())
        else:
            _answer(request, 404, b"there are /metrics, /healthz and /readyz\n")
        return NOT_DONE_YET

    def _measure(self, request: Request) -> None:
        measuring: defer.Deferred[Any] = defer.maybeDeferred(self._source)
        # Whoever has gone need not be told any more.
        request.notifyFinish().addErrback(lambda _: measuring.cancel())
        measuring.addCallback(self._tell, request)
        measuring.addErrback(self._fail, request)

    def _tell(self, families: Iterable[Metric], request: Request) -> None:
        if prefers_openmetrics(request.getHeader("accept") or ""):
            body, kind = openmetrics.generate_latest(Families(families)), _OPENMETRICS
        else:
            body, kind = text(families).encode(), _TEXT
        _answer(request, 200, body, kind)

    def _fail(self, failure: Failure, request: Request) -> None:
        if failure.check(defer.CancelledError) is None:
            self._log.failure("the metrics cannot be had", failure=failure)
            _answer(request, 500, b"the metrics cannot be had; the log says why\n")


def _answer(request: Request, code: int, body: bytes, kind: bytes = _PLAIN) -> None:
    request.setResponseCode(code)
    # What runs here is on /metrics, and nobody else's affair.
    request.responseHeaders.removeHeader(b"Server")
    request.setHeader(b"Content-Type", kind)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.setHeader(b"Cache-Control", b"no-store")
    # Of HEAD, twisted.web sends the headers alone.
    request.write(body)
    request.finish()


class _Request(Request):
    """A request whose body, which none of ours has, is dropped as it comes."""

    def gotLength(self, length: int | None) -> None:  # noqa: ARG002 (any length is the same)
        self.content = io.BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        pass


class _Channel(HTTPChannel):
    """A connection for one request, and not for long."""

    factory: _Site
    totalHeadersSize = HEAD_LIMIT
    MAX_LENGTH = HEAD_LIMIT
    _deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self._deadline = self.factory.reactor.callLater(DEADLINE, self._expire)

    def _expire(self) -> None:
        self._deadline = None
        cast("Any", self.transport).abortConnection()

    def checkPersistence(self, request: Any, version: bytes) -> bool:  # noqa: ARG002 (Twisted's)
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        super().connectionLost(reason)


class _Site(Site):
    """A site that logs nothing of its requests: there is one every few seconds, for ever."""

    noisy = False
    protocol = _Channel  # type: ignore[assignment]
    requestFactory = _Request
    # The channel has its own.
    timeOut = None

    def logPrefix(self) -> str:
        return "health"

    def startFactory(self) -> None:
        pass

    def stopFactory(self) -> None:
        pass

    def log(self, request: Any) -> None:
        pass


class _Ports(PortsService):
    """The ports of the pages."""

    _port = "metrics port"
    _setting = "metrics"

    def _listen(self, description: str) -> defer.Deferred[list[IListeningPort]]:
        loopback = f"tcp:{description}:interface=127.0.0.1"
        return super()._listen(loopback if description.isdigit() else description)


class HealthService(MultiService):
    """
    Serves the pages.

    :param descriptions: where, each a port number, of the loopback, or an endpoint description.
    :param source: gives the metrics of a scrape.
    :param state: says how the service is.
    :param reactor: the reactor; by default the global one, looked up when the service starts.
    """

    def __init__(
        self,
        descriptions: Sequence[str],
        source: Source,
        state: Callable[[], State],
        reactor: Any = None,
    ) -> None:
        super().__init__()
        self._pages = HealthPages(source, state)
        self._descriptions = descriptions
        self.reactor = reactor
        #: Has the ports; None before the start.
        self.listening: PortsService | None = None
        self._gate: Gate | None = None

    def privilegedStartService(self) -> None:
        """
        Bind the ports.

        :raises CannotStart: one of them cannot be had.
        """
        self._make_ports()
        super().privilegedStartService()

    def startService(self) -> None:
        """
        Serve; binds the ports unless that was done while privileged.

        :raises CannotStart: one of the ports cannot be had.
        """
        self._make_ports()
        super().startService()

    def _make_ports(self) -> None:
        if self.listening is not None:
            return
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        # Not earlier: a site wants its reactor when it is made, and nothing may install one before the start.
        site = _Site(self._pages, reactor=self.reactor)
        self._gate = Gate(site, Limits(max_connections=CONNECTIONS), self.reactor)
        self.listening = _Ports(self._gate, self._descriptions, self.reactor)
        self.listening.setServiceParent(self)

    @defer.inlineCallbacks
    def stopService(self) -> Generator[defer.Deferred[Any], Any, None]:
        """
        Close the ports, and cut what is open: a scrape that nobody has answered by now.

        :return: fires when all have stopped.
        """
        yield super().stopService()
        if self._gate is not None:
            for connection in self._gate:
                connection.abort()
            self._gate.end()
