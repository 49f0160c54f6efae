"""Plain sockets on the real server: what no client does."""

from __future__ import annotations

import signal
import socket

from tests.interop.clients import PATIENCE, ClientCase, read


class SocketTests(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        config = self.folder / "chat.toml"
        # These tests send faster than people type.
        config.write_text('[myproject-chat.fakelag]\nexempt = ["127.0.0.0/8"]\n')
        words = ("--config", str(config), "--port", "tcp:0:interface=127.0.0.1")
        self.start_server(*words, "--sendq", "65536", tls=False)

    def connect(self, *, receive_buffer: int | None = None) -> socket.socket:
        person = socket.socket()
        self.addCleanup(person.close)
        if receive_buffer is not None:
            person.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        person.settimeout(PATIENCE)
        person.connect(("127.0.0.1", self.port))
        return person

    def read_until(self, person: socket.socket, words: bytes) -> bytes:
        """Read until some words have come; what came is given back."""
        got = b""
        while words not in got:
            data = person.recv(65536)
            self.assertTrue(data, got)
            got += data
        return got

    def test_a_person_without_a_client_is_told_once_what_this_is(self) -> None:
        person = self.connect()
        person.sendall(b"hello?\n")
        notice, _, error = self.read_until(person, b" 421 * hello? :").partition(b"\r\n")
        self.assertIn(b" NOTICE * :This is myproject, a chat server", notice)
        self.assertIn(b"irssi -c 127.0.0.1 -p %d" % self.port, notice)
        self.assertNotIn(b"NOTICE", error)

    def test_who_does_not_read_is_closed_and_others_see_why(self) -> None:
        slow, other = self.connect(receive_buffer=4096), self.connect()
        for nick, person in ((b"slow", slow), (b"other", other)):
            person.sendall(b"NICK %b\r\nUSER x 0 * :x\r\nJOIN #a\r\n" % nick)
            self.read_until(person, b" 366 ")
        for _ in range(200):
            other.sendall((b"PRIVMSG #a :" + b"x" * 400 + b"\r\n") * 100 + b"PING more\r\n")
            if b" QUIT :SendQ exceeded" in self.read_until(other, b"more\r\n"):
                break
        else:
            self.fail("8 MB later it was still there")
        self.assertNotIn("Traceback", read(self.server_log))

    def test_stopping_the_server_closes_connections_and_ends_well(self) -> None:
        person = self.connect()
        person.sendall(b"PING x\n")
        self.read_until(person, b"PONG")
        self.server.send_signal(signal.SIGTERM)
        said = b"".join(iter(lambda: person.recv(65536), b""))
        self.assertTrue(said.endswith(b"(The server is shutting down)\r\n"), said)
        self.assertEqual(0, self.server.wait(PATIENCE))
