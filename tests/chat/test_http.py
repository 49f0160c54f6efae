"""Requests on the web port, their answers, and who may open a WebSocket."""

from __future__ import annotations

import gzip
import ipaddress
from typing import Any

import h11
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.configuration import WebSocket
from myproject_chat.configuration.fields import Network
from myproject_chat.http import (
    HEAD_LIMIT,
    REQUESTS,
    Asked,
    File,
    Headers,
    Upgrade,
    WebRequests,
    forwarded,
)
from myproject_chat.page import load_page
from myproject_chat.websocket import TEXT

PAGE = File("text/html", b"<p>" * 100, gzip.compress(b"<p>" * 100), "abc")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = {
    "Host": "chat.example:8097",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def request(method: str = "GET", target: str = "/", body: str = "", **fields: str) -> bytes:
    named = {"Host": "chat.example", **{k.replace("_", "-"): v for k, v in fields.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n{body}".encode("latin-1")


class Answer:
    """An answer, taken apart."""

    def __init__(self, data: bytes, method: str = "GET") -> None:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        head: Any = client.next_event()
        self.code = head.status_code
        self.fields = {name.decode(): value.decode() for name, value in head.headers}
        self.body = b""
        while isinstance(event := client.next_event(), h11.Data):
            self.body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage), event
        self.rest, _ = client.trailing_data


class HTTPCase(SynchronousTestCase):
    def ask(self, data: bytes, **settings: Any) -> list[Asked]:
        self.requests = WebRequests({"/": PAGE}, WebSocket(**settings), 0.0)
        self.requests.feed(data, 1_000_000_000)
        return list(self.requests.answers())

    def answer(
        self, method: str = "GET", target: str = "/", body: str = "", **fields: str
    ) -> Answer:
        (answer,) = self.ask(request(method, target, body, **fields))
        assert isinstance(answer, bytes)
        return Answer(answer, method)


class PageTests(HTTPCase):
    def test_the_page(self) -> None:
        answer = self.answer(target="/?from=a+link")
        self.assertEqual((200, PAGE.body), (answer.code, answer.body))
        self.assertEqual("text/html", answer.fields["content-type"])
        self.assertEqual("Sun, 09 Sep 2001 01:46:40 GMT", answer.fields["date"])
        self.assertFalse(self.requests.closing)

    def test_it_is_gzipped_for_those_who_take_that(self) -> None:
        answer = self.answer(Accept_Encoding="br, gzip;q=0.5")
        self.assertEqual(("gzip", PAGE.packed), (answer.fields["content-encoding"], answer.body))
        plain = self.answer(Accept_Encoding="gzip;q=0, br")
        self.assertEqual(PAGE.body, plain.body)
        self.assertNotEqual(answer.fields["etag"], plain.fields["etag"])
        self.assertEqual("Accept-Encoding", plain.fields["vary"])

    def test_who_has_it_is_told_so(self) -> None:
        etag = self.answer(Accept_Encoding="gzip").fields["etag"]
        known = self.answer(Accept_Encoding="gzip", If_None_Match=f'"x", W/{etag}')
        self.assertEqual((304, b"", etag), (known.code, known.body, known.fields["etag"]))
        self.assertNotIn("content-length", known.fields)
        self.assertEqual(200, self.answer(If_None_Match=etag).code)

    def test_head_is_the_same_without_the_body(self) -> None:
        answer = self.answer("HEAD")
        self.assertEqual((200, b"", b""), (answer.code, answer.body, answer.rest))
        self.assertEqual("300", answer.fields["content-length"])

    def test_nothing_else_may_run_or_be_loaded(self) -> None:
        for answer in (self.answer(), self.answer(target="/no")):
            policy = answer.fields["content-security-policy"]
            for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"):
                self.assertIn(part, policy)
            self.assertNotIn("unsafe", policy)
            self.assertEqual("nosniff", answer.fields["x-content-type-options"])
            self.assertEqual("no-referrer", answer.fields["referrer-policy"])

    def test_requests_that_follow_each_other(self) -> None:
        answers = self.ask(request() + request("HEAD") + request(target="/no"))
        self.assertEqual(3, len(answers))
        self.assertFalse(self.requests.closing)
        self.requests.feed(request(), 0)
        self.assertEqual(1, len(list(self.requests.answers())))

    def test_there_is_a_last_one(self) -> None:
        answers = self.ask(request(target="/no") * (REQUESTS + 5))
        self.assertEqual((REQUESTS, True), (len(answers), self.requests.closing))
        assert isinstance(answers[-1], bytes)
        self.assertEqual("close", Answer(answers[-1]).fields["connection"])
        self.requests.feed(request(), 0)
        self.assertEqual([], list(self.requests.answers()))

    def test_what_is_installed(self) -> None:
        page = load_page()
        self.assertIn("/", page)
        for path, file in page.items():
            self.assertRegex(path, r"\A/[a-z.-]*\Z")
            self.assertEqual(file.body, gzip.decompress(file.packed))
        self.assertEqual(page, load_page())


class RefusalTests(HTTPCase):
    def refused(self, data: bytes, **settings: Any) -> Answer:
        (answer,) = self.ask(data, **settings)
        assert isinstance(answer, bytes)
        return Answer(answer)

    def test_another_page(self) -> None:
        answer = self.answer(target="/../etc/passwd")
        self.assertEqual((404, False), (answer.code, self.requests.closing))

    def test_another_method(self) -> None:
        answer = self.answer("POST", body="x", Content_Length="1")
        self.assertEqual((405, "GET, HEAD"), (answer.code, answer.fields["allow"]))
        self.assertTrue(self.requests.closing)

    def test_a_body(self) -> None:
        self.assertEqual(413, self.answer(body="abc", Content_Length="3").code)
        self.assertTrue(self.requests.closing)
        self.assertEqual(413, self.answer(Transfer_Encoding="chunked").code)

    def test_no_http(self) -> None:
        for data in (b"NICK al\r\nUSER al 0 * :Al\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n"):
            self.assertEqual(400, self.refused(data).code)
            self.assertTrue(self.requests.closing)

    def test_a_head_without_end(self) -> None:
        self.assertEqual(431, self.refused(b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_LIMIT).code)
        self.assertTrue(self.requests.closing)

    def test_half_a_request_waits(self) -> None:
        self.assertEqual([], self.ask(request()[:-2]))
        self.requests.feed(b"\r\n", 0)
        self.assertEqual(1, len(list(self.requests.answers())))

    @given(st.lists(st.binary(max_size=200) | st.just(request()) | st.just(b"\r\n\r\n")))
    def test_any_bytes_are_answered_or_wait(self, chunks: list[bytes]) -> None:
        requests = WebRequests({"/": PAGE}, WebSocket(), 0)
        for chunk in chunks:
            requests.feed(chunk, 0)
            list(requests.answers())


class UpgradeTests(HTTPCase):
    def upgrade(self, rest: bytes = b"", **settings: Any) -> Upgrade:
        (upgrade,) = self.ask(self.handshake() + rest, **settings)
        assert isinstance(upgrade, Upgrade)
        return upgrade

    def handshake(self, **changes: str | None) -> bytes:
        fields = {**HANDSHAKE, **{k.replace("_", "-"): v for k, v in changes.items()}}
        return request(**{k.replace("-", "_"): v for k, v in fields.items() if v is not None})

    def code(self, settings: dict[str, Any] | None = None, **changes: str | None) -> int:
        (answer,) = self.ask(self.handshake(**changes), **(settings or {}))
        return 101 if isinstance(answer, Upgrade) else Answer(answer).code

    def test_the_example_of_the_rfc(self) -> None:
        upgrade = self.upgrade(b"rest")
        self.assertIn(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", upgrade.answer)
        self.assertTrue(upgrade.answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n"))
        self.assertNotIn(b"Sec-WebSocket-Protocol", upgrade.answer)
        self.assertEqual((None, b"rest"), (upgrade.subprotocol, upgrade.rest))

    def test_a_subprotocol_is_agreed_on_and_no_extension(self) -> None:
        offers = {
            "Sec_WebSocket_Protocol": f"x, {TEXT}",
            "Sec_WebSocket_Extensions": "permessage-deflate",
        }
        (upgrade,) = self.ask(self.handshake(**offers))
        assert isinstance(upgrade, Upgrade)
        self.assertEqual(TEXT, upgrade.subprotocol)
        self.assertIn(f"Sec-WebSocket-Protocol: {TEXT}\r\n".encode(), upgrade.answer)
        self.assertNotIn(b"Extensions", upgrade.answer)

    def test_another_version_is_told_which(self) -> None:
        (answer,) = self.ask(self.handshake(Sec_WebSocket_Version="8"))
        assert isinstance(answer, bytes)
        taken = Answer(answer)
        self.assertEqual((426, "13"), (taken.code, taken.fields["sec-websocket-version"]))

    def test_half_a_handshake(self) -> None:
        self.assertEqual(400, self.code(Sec_WebSocket_Key=None))
        self.assertEqual(400, self.code(Sec_WebSocket_Key="c2hvcnQ="))
        self.assertEqual(400, self.code(Sec_WebSocket_Key="!" * 24))
        self.assertEqual(400, self.code(Connection="close"))
        self.assertEqual(200, self.code(Upgrade="h2c"))

    def test_the_servers_own_page_may(self) -> None:
        self.assertEqual(101, self.code(Origin="http://chat.example:8097"))
        self.assertEqual(101, self.code(Origin="https://CHAT.example", Host="chat.example:443"))
        self.assertEqual(101, self.code(Origin="https://chat.example", Host="chat.example"))

    def test_pages_of_others_may_not(self) -> None:
        for origin in (
            "http://evil.example",
            "http://chat.example",
            "null",
            "",
            "ftp://chat.example:8097",
        ):
            self.assertEqual(403, self.code(Origin=origin), origin)

    def test_pages_that_are_named_may(self) -> None:
        named = {"origins": ("https://kiwi.example",)}
        self.assertEqual(101, self.code(named, Origin="https://kiwi.example"))
        self.assertEqual(101, self.code(named, Origin="http://chat.example:8097"))
        self.assertEqual(403, self.code(named, Origin="http://kiwi.example"))
        self.assertEqual(101, self.code({"origins": ("*",)}, Origin="null"))

    def test_programs_name_none(self) -> None:
        self.assertEqual(101, self.code())
        self.assertEqual(403, self.code({"origin_required": True}))


class ForwardedTests(SynchronousTestCase):
    TRUSTED = tuple(Network(ipaddress.ip_network(one)) for one in ("10.0.0.0/8", "2001:db8::1"))

    def whose(self, *fields: tuple[str, str], peer: str = "10.0.0.1") -> tuple[str, bool | None]:
        raw = [(name.lower().encode(), value.encode()) for name, value in fields]
        return forwarded(Headers(raw), peer, self.TRUSTED)

    def test_nobody_else_is_believed(self) -> None:
        claim = ("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")
        self.assertEqual(("203.0.113.9", None), self.whose(*claim, peer="203.0.113.9"))
        self.assertEqual(("localhost", None), self.whose(*claim, peer="localhost"))

    def test_the_last_that_is_not_trusted(self) -> None:
        """What stands before it, the client may have written itself."""
        for chain in (
            "192.0.2.1",
            "6.6.6.6, 192.0.2.1",
            "6.6.6.6, 192.0.2.1, 10.1.1.1, [2001:db8::1]:99",
        ):
            self.assertEqual(("192.0.2.1", None), self.whose(("X-Forwarded-For", chain)))
        two = ("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "192.0.2.1:8080")
        self.assertEqual(("192.0.2.1", None), self.whose(*two))

    def test_all_trusted_or_none_named(self) -> None:
        self.assertEqual(("10.0.0.7", None), self.whose(("X-Forwarded-For", "10.0.0.7, 10.0.0.8")))
        self.assertEqual(("10.0.0.1", None), self.whose())
        self.assertEqual(("10.0.0.1", None), self.whose(("X-Forwarded-For", "unknown")))

    def test_the_standards_own_header(self) -> None:
        value = 'for=6.6.6.6, For="[2001:db8:cafe::17]:4711";proto=https;by=10.0.0.1'
        self.assertEqual(("2001:db8:cafe::17", True), self.whose(("Forwarded", value)))
        hidden = "for=192.0.2.1, for=_hidden;proto=http"
        self.assertEqual(("10.0.0.1", False), self.whose(("Forwarded", hidden)))

    def test_whether_it_came_over_tls(self) -> None:
        proto = ("X-Forwarded-Proto", "https")
        self.assertEqual(("10.0.0.1", True), self.whose(proto))
        self.assertEqual(("10.0.0.1", False), self.whose(("X-Forwarded-Proto", "http")))

    def test_an_ipv4_address_in_the_clothes_of_ipv6(self) -> None:
        self.assertEqual(("192.0.2.1", None), self.whose(("X-Forwarded-For", "::ffff:192.0.2.1")))

    @given(st.text(max_size=60), st.text(max_size=60))
    def test_any_text_is_survived(self, one: str, other: str) -> None:
        raw = [(b"forwarded", one.encode()), (b"x-forwarded-for", other.encode())]
        forwarded(Headers(raw), "10.0.0.1", self.TRUSTED)
        forwarded(Headers(raw[1:]), "10.0.0.1", self.TRUSTED)
