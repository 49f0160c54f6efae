"""
HTTP on the web port (RFC 9112): requests in, the page or a short answer out, or the way into a WebSocket.

No transport, no clock and no file inside. h11 reads requests and writes answers; what is here is which
answer. A client may do little: GET and HEAD without a body, ``HEAD_LIMIT`` bytes of head, ``REQUESTS``
requests in one connection.

====================================  ======================================================================
a request                             its answer
====================================  ======================================================================
for a WebSocket                       101, if its origin may (403), in version 13 (426)
GET or HEAD of a file of the page     200; 304 to whom it has not changed for
of anything else                      404
with another method                   405
with a body, or none that h11 reads   400, 413, 431; the connection closes
====================================  ======================================================================

Origins. A page of anyone's, opened in a browser that can reach this server, could have that browser connect
here. So a WebSocket is for the page that the server itself has served, whose origin has the host that the
request was sent to, and for those that the operator names. A client that names no origin is no browser.

Who is behind a proxy. ``Forwarded`` (RFC 7239) and ``X-Forwarded-For`` are believed of the networks that the
operator trusts, and only as far as these reach: from the last address backwards to the first that is
not itself trusted.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import h11
from wsproto.utilities import generate_accept_token

from myproject_chat.configuration.edge import WebSocket
from myproject_chat.configuration.fields import Network
from myproject_chat.websocket import choose

__all__ = ["HEAD_LIMIT", "REQUESTS", "Asked", "File", "Upgrade", "WebRequests", "forwarded"]

#: Bytes of a request's head; nginx takes 8 KiB in a line of it, and browsers send less than one.
HEAD_LIMIT: Final = 8192

#: Requests in one connection: nginx's keepalive_requests is 1000; the page has five files.
REQUESTS: Final = 100

_PLAIN: Final = "text/plain; charset=utf-8"

#: Of every answer: nothing but the page's own files is loaded, run, shown in or framed by anything else.
_GUARDS: Final = (
    (
        "Content-Security-Policy",
        (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; manifest-src 'self';"
            " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
            " require-trusted-types-for 'script'; trusted-types 'none'"
        ),
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)

_DEFAULT_PORT: Final = {"http": "80", "https": "443"}


@dataclass(frozen=True)
class File:
    """
    A file of the page.

    :ivar kind: its media type.
    :ivar body: its bytes.
    :ivar packed: the same, gzipped.
    :ivar etag: what tells this version from others, without quotes.
    """

    kind: str
    body: bytes
    packed: bytes
    etag: str


@dataclass(frozen=True)
class Upgrade:
    """
    A WebSocket that may begin.

    :ivar subprotocol: what both speak; None if the client offered nothing that we know.
    :ivar headers: the request's, for :func:`forwarded`.
    :ivar answer: what to send.
    :ivar rest: what came behind the request.
    """

    subprotocol: str | None
    headers: Headers
    answer: bytes
    rest: bytes


class Headers:
    """
    The fields of a head.

    :param fields: names, in small letters, and values.
    """

    def __init__(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        self._fields = fields

    def all(self, name: bytes) -> list[str]:
        """
        Give a field's values, in their order.

        :param name: the field.
        """
        return [value.decode("latin-1") for known, value in self._fields if known == name]

    def one(self, name: bytes) -> str | None:
        """
        Give the value of a field that comes once; None if there is none, or there are several.

        :param name: the field.
        """
        values = self.all(name)
        return values[0] if len(values) == 1 else None

    def words(self, name: bytes) -> list[str]:
        """
        Give the parts of a list.

        :param name: the field.
        """
        parts = ",".join(self.all(name)).split(",")
        return [part.strip() for part in parts if part.strip()]


Asked = bytes | Upgrade


class WebRequests:
    """
    The requests of one connection.

    :param files: the page, by path; ``/`` among them.
    :param settings: which origins may.
    :param now: seconds since 1970, for the date of an answer.

    :ivar closing: whether the connection is to be closed behind the last answer.
    """

    def __init__(self, files: Mapping[str, File], settings: WebSocket, now: float) -> None:
        self._files = files
        self._settings = settings
        self._now = now
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._left = REQUESTS
        # Whether the request at hand wants the head of its answer alone.
        self._head_alone = False
        self.closing = False

    def feed(self, data: bytes, now: float) -> None:
        """
        Take bytes from the client.

        :param data: any bytes, cut anywhere.
        :param now: seconds since 1970.
        """
        self._now = now
        if not self.closing:
            self._connection.receive_data(data)

    def answers(self) -> Iterator[Asked]:
        """Give answers, one at a time, as long as requests are there; an `Upgrade` is the last."""
        while not self.closing:
            try:
                event = self._connection.next_event()
                if isinstance(event, h11.Request):
                    yield self._answer(event)
                elif isinstance(event, h11.EndOfMessage):
                    if self._connection.our_state is h11.DONE:
                        self._connection.start_next_cycle()
                    else:
                        self.closing = True
                elif event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                else:
                    # A body, or the end.
                    self.closing = True
            except h11.RemoteProtocolError as failure:
                self.closing = True
                if self._connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                    yield self._say(failure.error_status_hint, "This is not HTTP as it should be.")

    def _answer(self, request: h11.Request) -> Asked:
        headers = Headers(list(request.headers))
        self._left -= 1
        path, _, _ = request.target.decode("latin-1").partition("?")
        method = request.method.decode("ascii")
        self._head_alone = method == "HEAD"
        if method not in ("GET", "HEAD"):
            answer: Asked = self._refuse(
                405, "There are GET and HEAD here.", [("Allow", "GET, HEAD")]
            )
        elif headers.all(b"transfer-encoding") or headers.one(b"content-length") not in (None, "0"):
            answer = self._refuse(413, "A request here has no body.")
        elif "websocket" in (word.lower() for word in headers.words(b"upgrade")):
            answer = self._upgrade(method, headers)
        elif path not in self._files:
            answer = self._say(404, "There is no such page; the chat is at /.")
        else:
            answer = self._serve(self._files[path], headers)
        return answer

    # The page

    def _serve(self, file: File, headers: Headers) -> bytes:
        packed = "gzip" in (
            part.partition(";")[0].strip().lower()
            for part in headers.words(b"accept-encoding")
            if not re.search(r";\s*q=0(\.0*)?\s*\Z", part)
        )
        etag = f'"{file.etag}-gzip"' if packed else f'"{file.etag}"'
        fields = [
            ("ETag", etag),
            ("Vary", "Accept-Encoding"),
            # It is asked for each time, and answered with 304: a new version is seen at once.
            ("Cache-Control", "no-cache"),
        ]
        known = {part.removeprefix("W/") for part in headers.words(b"if-none-match")}
        if etag in known or "*" in known:
            return self._send(304, b"", fields)
        fields.append(("Content-Type", file.kind))
        if packed:
            fields.append(("Content-Encoding", "gzip"))
        return self._send(200, file.packed if packed else file.body, fields)

    # WebSocket

    def _upgrade(self, method: str, headers: Headers) -> Asked:
        key = headers.one(b"sec-websocket-key")
        if headers.words(b"sec-websocket-version") != ["13"]:
            return self._refuse(
                426,
                "There is version 13 of WebSocket here.",
                [("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket")],
            )
        if method != "GET" or not _is_key(key) or "upgrade" not in _lower(headers, b"connection"):
            return self._refuse(400, "This is no handshake of a WebSocket.")
        if not self._may(headers):
            return self._refuse(403, "Pages of this origin may not connect here.")
        subprotocol = choose(headers.words(b"sec-websocket-protocol"))
        fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", generate_accept_token(str(key).encode("ascii")).decode()),
        ]
        if subprotocol is not None:
            fields.append(("Sec-WebSocket-Protocol", subprotocol))
        # The end of the message, which has no body.
        self._connection.next_event()
        response = h11.InformationalResponse(
            status_code=101, headers=fields, reason=b"Switching Protocols"
        )
        answer = self._connection.send(response) or b""
        rest, _ = self._connection.trailing_data
        return Upgrade(subprotocol, headers, answer, rest)

    def _may(self, headers: Headers) -> bool:
        settings = self._settings
        named = headers.all(b"origin")
        if not named:
            return not settings.origin_required
        origin = named[0].lower()
        if "*" in settings.origins or origin in (one.lower() for one in settings.origins):
            return True
        scheme, _, place = origin.partition("://")
        host = (headers.one(b"host") or "").lower()
        port = _DEFAULT_PORT.get(scheme)
        return port is not None and bool(place) and _whole(place, port) == _whole(host, port)

    # Answers

    def _refuse(self, code: int, text: str, fields: Sequence[tuple[str, str]] = ()) -> bytes:
        """Answer, and serve no more."""
        self._left = 0
        return self._say(code, text, fields)

    def _say(self, code: int, text: str, fields: Sequence[tuple[str, str]] = ()) -> bytes:
        body = f"{text}\n".encode()
        return self._send(code, body, [*fields, ("Content-Type", _PLAIN)])

    def _send(self, code: int, body: bytes, fields: Sequence[tuple[str, str]]) -> bytes:
        sent = [("Date", formatdate(self._now, usegmt=True)), *_GUARDS, *fields]
        if code != 304:
            sent.append(("Content-Length", str(len(body))))
        if self._left <= 0:
            sent.append(("Connection", "close"))
        connection = self._connection
        response = h11.Response(status_code=code, headers=sent)
        answer = connection.send(response) or b""
        if not self._head_alone:
            answer += connection.send(h11.Data(data=body)) or b""
        return answer + (connection.send(h11.EndOfMessage()) or b"")


def _lower(headers: Headers, name: bytes) -> list[str]:
    return [word.lower() for word in headers.words(name)]


def _is_key(key: str | None) -> bool:
    """Whether it is sixteen bytes in base64 (RFC 6455 section 4.1)."""
    try:
        return key is not None and len(b64decode(key, validate=True)) == 16
    except (ValueError, binascii.Error):
        return False


def _whole(place: str, port: str) -> str:
    """A host with its port, whether that was named or not."""
    return place if re.search(r":[0-9]+\Z", place) else f"{place}:{port}"


# Proxies

_Address = IPv4Address | IPv6Address


def forwarded(headers: Headers, peer: str, trusted: Collection[Network]) -> tuple[str, bool | None]:
    """
    Say whose request it is, and whether it came over TLS.

    :param headers: the request's.
    :param peer: the address of who sent it to us.
    :param trusted: networks whose word counts.
    :return: the client's address; whether it reached the proxy over TLS, None if nobody trusted says so.
    """
    address = _parse(peer)
    if address is None or not _is_trusted(address, trusted):
        return peer, None
    chain, secure = _chain(headers)
    for text in reversed(chain):
        further = _parse(text)
        if further is None:
            # Hidden, or nonsense: who passed it on is the last that is known.
            break
        address = further
        if not _is_trusted(further, trusted):
            break
    return str(address), secure


def _is_trusted(address: _Address, trusted: Collection[Network]) -> bool:
    return any(address in network for network in trusted)


def _chain(headers: Headers) -> tuple[list[str], bool | None]:
    """The addresses that are named, the client's first; and the protocol that it spoke."""
    elements = headers.words(b"forwarded")
    if elements:
        pairs = [
            {
                name.strip().lower(): value.strip().strip('"')
                for name, _, value in (pair.partition("=") for pair in element.split(";"))
            }
            for element in elements
        ]
        protocol = pairs[-1].get("proto", "").lower()
        return [one.get("for", "") for one in pairs], protocol == "https" if protocol else None
    protocols = _lower(headers, b"x-forwarded-proto")
    secure = protocols[-1] == "https" if protocols else None
    return headers.words(b"x-forwarded-for"), secure


def _parse(text: str) -> _Address | None:
    """An address; with a port, and brackets around one of IPv6, or without."""
    plain = text
    if text.startswith("["):
        plain = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        plain = text.partition(":")[0]
    try:
        address = ip_address(plain)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
