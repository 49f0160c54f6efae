"""The web port: requests over a transport, and chatting over WebSocket like everybody else."""

from __future__ import annotations

import signal
import ssl
import struct
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from zope.interface.verify import verifyObject

from myproject.gate import Gate
from myproject.interfaces import IDrainable, IHasPorts
from myproject_chat.banmasks import DLINE, read_mask
from myproject_chat.configuration import WebSocket
from myproject_chat.configuration.fields import Network
from myproject_chat.web import PATIENCE
from myproject_chat.webport import WebFactory
from tests.chat.harness import Chat, Transport
from tests.chat.test_http import HANDSHAKE, Answer, request
from tests.support import connect, free_port, start

ADDRESS = IPv4Address("TCP", "192.168.1.1", 54321)


class Seated(Transport):
    """A transport that shows who has the connection."""

    protocol: Any = None
    lost = False

    def loseConnection(self) -> None:
        super().loseConnection()
        self.lost = True

    def resumeProducing(self) -> None:
        self.producerState = "producing"

    def pauseProducing(self) -> None:
        self.producerState = "paused"


class Browser:
    """Somebody at the other end of a connection to the web port."""

    def __init__(self, chat: Chat, address: Any = ADDRESS) -> None:
        self.chat = chat
        self.factory = WebFactory(chat.factory)
        self.transport = Seated()
        self.transport.protocol = self.factory.buildProtocol(address)
        self.transport.protocol.makeConnection(self.transport)
        self.frames = Connection(ConnectionType.CLIENT)

    def feed(self, data: bytes) -> bytes:
        """Let bytes arrive; give back what is sent at once."""
        self.transport.protocol.dataReceived(data)
        return self.take()

    def take(self) -> bytes:
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def handshake(self, rest: bytes = b"", **fields: str) -> bytes:
        named = {name.replace("-", "_"): value for name, value in HANDSHAKE.items()}
        return self.feed(request(**{**named, **fields}) + rest)

    def says(self, *events: Event | str) -> list[Event]:
        """Send messages, let the turn end, and give what comes."""
        sent = [TextMessage(one) if isinstance(one, str) else one for one in events]
        data = self.feed(b"".join(self.frames.send(one) for one in sent))
        self.chat.turn()
        self.frames.receive_data(data + self.take())
        return list(self.frames.events())

    def types(self, *lines: str) -> list[str]:
        """The same for lines."""
        return [str(event.data) for event in self.says(*lines) if isinstance(event, TextMessage)]

    def join(self, nick: str, channel: str) -> Browser:
        self.handshake()
        self.types(f"NICK {nick}", f"USER {nick} 0 * :{nick}", f"JOIN {channel}")
        return self


class RequestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat()
        self.browser = Browser(self.chat)

    def test_the_page_and_then_another_request(self) -> None:
        for _ in range(2):
            answer = Answer(self.browser.feed(request()))
            self.assertEqual(200, answer.code)
            self.assertIn(b"<!doctype html>", answer.body.lower())
        self.assertFalse(self.browser.transport.lost)
        self.assertTrue(self.browser.transport.no_delay)

    def test_who_sends_no_request_is_cut(self) -> None:
        for _ in range(int(PATIENCE) - 1):
            self.chat.clock.advance(1)
            self.browser.feed(b"G")
        self.assertFalse(self.browser.transport.cut)
        self.chat.clock.advance(1)
        self.assertTrue(self.browser.transport.cut)

    def test_each_request_has_its_time(self) -> None:
        self.chat.clock.advance(PATIENCE - 1)
        self.browser.feed(request())
        self.chat.clock.advance(PATIENCE - 1)
        self.assertFalse(self.browser.transport.cut)
        self.chat.clock.advance(1)
        self.assertTrue(self.browser.transport.cut)

    def test_what_is_no_request_is_answered_and_closed(self) -> None:
        self.assertEqual(400, Answer(self.browser.feed(b"nonsense\r\n\r\n")).code)
        self.assertTrue(self.browser.transport.lost)
        self.assertEqual(b"", self.browser.feed(request()))
        self.chat.clock.advance(PATIENCE)
        self.assertTrue(self.browser.transport.cut)

    def test_who_does_not_read_is_not_answered(self) -> None:
        protocol, transport = self.browser.transport.protocol, self.browser.transport
        self.assertIs(protocol, transport.producer)
        protocol.pauseProducing()
        self.assertEqual(b"", self.browser.feed(request() * 3))
        self.assertEqual("paused", transport.producerState)
        protocol.resumeProducing()
        self.assertEqual(3, self.browser.take().count(b"HTTP/1.1 200"))
        self.assertEqual("producing", transport.producerState)
        protocol.stopProducing()

    def test_a_drain_closes_it(self) -> None:
        self.assertTrue(verifyObject(IDrainable, self.browser.transport.protocol))
        self.browser.transport.protocol.drain()
        self.assertTrue(self.browser.transport.lost)

    def test_nothing_is_left_when_it_is_gone(self) -> None:
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        self.browser.transport.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([], self.chat.clock.getDelayedCalls())


class ChatTests(SynchronousTestCase):
    """Like everybody else, in frames."""

    def setUp(self) -> None:
        self.chat = Chat()

    def test_both_hear_each_other(self) -> None:
        bo = self.chat.join("bo", "#a")
        al = Browser(self.chat).join("al", "#a")
        bo.read()
        al.types("PRIVMSG #a :hé")
        self.assertEqual([":al!~al@192.168.1.1 PRIVMSG #a :hé"], bo.read())
        bo.type("PRIVMSG #a :hello")
        self.assertEqual([":bo!~bo@192.168.1.1 PRIVMSG #a :hello"], al.types())

    def test_what_several_say_in_a_turn_is_a_message_each(self) -> None:
        al = Browser(self.chat).join("al", "#a")
        others = [self.chat.join(nick, "#a") for nick in ("bo", "cy")]
        al.types()
        for other in others:
            other.feed(b"PRIVMSG #a :one\r\nPRIVMSG #a :two\r\n")
        heard = [line.partition(" ")[2] for line in al.types()]
        self.assertEqual(["PRIVMSG #a :one", "PRIVMSG #a :two"] * 2, heard)

    def test_a_line_behind_the_handshake_counts(self) -> None:
        browser = Browser(self.chat)
        early = browser.frames.send(TextMessage("PING early"))
        answer = browser.handshake(early)
        head, _, rest = answer.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 101 "))
        self.chat.turn()
        browser.frames.receive_data(rest + browser.take())
        (pong,) = browser.frames.events()
        self.assertIn("PONG", str(getattr(pong, "data", "")))

    def test_the_agreed_kind_is_sent(self) -> None:
        for offered, kind in (("", TextMessage), ("binary.ircv3.net", BytesMessage)):
            browser = Browser(self.chat)
            browser.handshake(Sec_WebSocket_Protocol=offered)
            (pong,) = browser.says("PING 1")
            self.assertIsInstance(pong, kind)

    def test_ends_of_lines_in_a_message_do_no_harm(self) -> None:
        browser = Browser(self.chat)
        browser.handshake()
        self.assertEqual(2, len(browser.types("PING 1\r\n", "PING 2")))

    def test_not_utf8_in_a_binary_message_is_answered_in_irc(self) -> None:
        browser = Browser(self.chat)
        browser.handshake(Sec_WebSocket_Protocol="text.ircv3.net")
        told = [str(getattr(one, "data", "")) for one in browser.says(BytesMessage(b"caf\xe9"))]
        self.assertIn("INVALID_UTF8", told[-1])
        self.assertNotIn("irssi -c", told[0])

    def test_pings_are_answered_when_there_is_room(self) -> None:
        browser = Browser(self.chat)
        browser.handshake()
        self.assertEqual([Pong(b"a")], browser.says(Ping(b"a")))
        protocol = browser.transport.protocol
        protocol.pauseProducing()
        self.assertEqual([], browser.says(Ping(b"b"), Ping(b"c")))
        protocol.resumeProducing()
        browser.frames.receive_data(browser.take())
        self.assertEqual([Pong(b"c")], list(browser.frames.events()))

    def test_quit_is_a_line_and_a_close_frame_and_then_the_clients(self) -> None:
        browser = Browser(self.chat).join("al", "#a")
        *_, error, close = browser.says("QUIT :bye")
        self.assertIn("ERROR :", str(getattr(error, "data", "")))
        assert isinstance(close, CloseConnection)
        self.assertEqual(1000, close.code)
        self.assertFalse(browser.transport.lost)
        browser.feed(browser.frames.send(close.response()))
        self.assertTrue(browser.transport.lost)
        self.assertIsNone(browser.transport.producer)

    def test_a_client_that_does_not_close_is_cut(self) -> None:
        browser = Browser(self.chat).join("al", "#a")
        browser.says("QUIT :bye")
        self.chat.wait(7)
        self.assertTrue(browser.transport.cut)

    def test_the_end_of_the_server_is_going_away(self) -> None:
        bo = self.chat.join("bo", "#a")
        browser = Browser(self.chat).join("al", "#a")
        self.assertTrue(verifyObject(IDrainable, browser.transport.protocol))
        browser.transport.protocol.drain()
        self.assertIn("ERROR", bo.read()[-1])
        *_, error, close = browser.says()
        self.assertIn("shutting down", str(getattr(error, "data", "")))
        assert isinstance(close, CloseConnection)
        self.assertEqual(1001, close.code)

    def test_a_client_that_leaves_is_answered_and_leaves(self) -> None:
        bo = self.chat.join("bo", "#a")
        browser = Browser(self.chat).join("al", "#a")
        (close,) = browser.says(CloseConnection(1001))
        self.assertIsInstance(close, CloseConnection)
        self.assertTrue(browser.transport.lost)
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        bo.read()
        browser.transport.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([":al!~al@192.168.1.1 QUIT :Connection closed"], bo.read())

    def test_what_breaks_the_protocol_ends_it(self) -> None:
        browser = Browser(self.chat).join("al", "#a")
        browser.frames.receive_data(browser.feed(b"\xff\xff\xff"))
        (close,) = browser.frames.events()
        self.assertEqual(1002, getattr(close, "code", None))
        self.assertTrue(browser.transport.lost)
        self.assertEqual(b"", browser.feed(b"more"))
        browser.transport.protocol.session.close(b"late")
        self.chat.turn()
        self.assertEqual(b"", browser.take())

    def test_a_message_beyond_the_limit(self) -> None:
        browser = Browser(self.chat)
        browser.handshake()
        (close,) = browser.says("x" * (WebSocket().message_size + 1))
        self.assertEqual(1009, getattr(close, "code", None))

    def test_who_does_not_read_is_dropped_by_the_sendq(self) -> None:
        self.chat = Chat(sendq=1 << 14)
        browser = Browser(self.chat).join("al", "#a")
        bo = self.chat.join("bo", "#a")
        browser.transport.protocol.pauseProducing()
        for _ in range(60):
            bo.type(f"PRIVMSG #a :{'x' * 400}")
        self.assertEqual([b"bo"], [user.nick for user in self.chat.server.network.users.values()])

    def test_an_address_that_a_trusted_proxy_tells(self) -> None:
        trusting = WebSocket(forwarded_from=(Network.parse("192.168.1.1"),))
        browser = Browser(Chat(websocket=trusting))
        browser.handshake(X_Forwarded_For="203.0.113.5", X_Forwarded_Proto="https")
        session = browser.transport.protocol.session
        self.assertEqual(("203.0.113.5", True), (session.address, session.secure))
        doubted = Browser(self.chat)
        doubted.handshake(X_Forwarded_For="203.0.113.5", X_Forwarded_Proto="https")
        session = doubted.transport.protocol.session
        self.assertEqual(("192.168.1.1", False), (session.address, session.secure))


class FactoryTests(SynchronousTestCase):
    def test_who_is_banned_sees_why(self) -> None:
        chat = Chat()
        chat.server.bans.add(DLINE, read_mask(DLINE, b"192.168.1.0/24"), b"", b"Spam|again", None)
        browser = Browser(chat)
        answer = Answer(browser.take())
        self.assertEqual((403, b"You are banned from here: Spam\n"), (answer.code, answer.body))
        self.assertEqual(b"", browser.feed(request()))

    def test_it_says_which_ports(self) -> None:
        chat = Chat(web_port=("1",), web_tls_port=("2",))
        self.assertTrue(verifyObject(IHasPorts, chat.factory))
        (ports,) = chat.factory.further_ports()
        self.assertIsInstance(ports.factory, WebFactory)
        self.assertEqual((("1",), ("2",)), (ports.descriptions, ports.tls_descriptions))
        self.assertEqual([], list(Chat().factory.further_ports()))

    def test_the_last_port_of_all_ends_the_chat(self) -> None:
        chat = Chat()
        browser = Browser(chat).join("al", "#a")
        web: Any = Gate(chat.factory).before(browser.factory)
        self.assertEqual("web", web.logPrefix())
        chat.factory.doStart()
        web.doStart()
        chat.factory.doStop()
        self.assertFalse(chat.factory.ending)
        web.doStop()
        self.assertTrue(chat.factory.ending)


class InstalledTests(SynchronousTestCase):
    """The installed program, with and without TLS."""

    def test_a_chat_over_ws_and_wss_until_the_server_ends(self) -> None:
        plain, tls = free_port(), free_port()
        ports = ("-p", str(free_port()), "--web-port", str(plain), "--web-tls-port", str(tls))
        state = ("--state", ":memory:", "--self-signed")
        server = start(self, "-n", "--pidfile=", "myproject-chat", *ports, *state)
        server.wait_for_port(plain).wait_for_port(tls)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        handshake = request(**{name.replace("-", "_"): text for name, text in HANDSHAKE.items()})
        with connect(plain, "::1") as one, context.wrap_socket(connect(tls)) as two:
            heard = b""
            for number, client in enumerate((one, two)):
                peer = Connection(ConnectionType.CLIENT)
                lines = [f"NICK n{number}", "USER n 0 * :n", "JOIN #a", "PRIVMSG n0 :hi"]
                client.sendall(handshake + b"".join(peer.send(TextMessage(line)) for line in lines))
                # Of two connections, either may be read first.
                while b"PRIVMSG n0 :hi" not in heard.partition(b":n%d!" % number)[2]:
                    heard += one.recv(65536)
            self.assertTrue(heard.startswith(b"HTTP/1.1 101 "))
            while b" 366 " not in (heard := two.recv(65536)):
                self.assertTrue(heard)
            server.signal(signal.SIGTERM)
            for client, number in ((one, 0), (two, 1)):
                said = b""
                while struct.pack("!BBH", 0x88, 2, 1001) not in said:
                    more = client.recv(65536)
                    self.assertTrue(more, number)
                    said += more
                self.assertIn(b"ERROR :Closing link: ", said)
                client.sendall(Connection(ConnectionType.CLIENT).send(CloseConnection(1001)))
        self.assertEqual(0, server.wait())
