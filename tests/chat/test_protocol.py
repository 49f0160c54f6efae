"""The Twisted side: the factory, its clock, and one write for each receiver and turn."""

from __future__ import annotations

import weakref

from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from myproject.interfaces import IDrainable
from myproject_chat import ChatFactory, Settings
from tests.chat.harness import Chat


class ProtocolTests(SynchronousTestCase):
    def test_it_is_the_producer_of_its_transport(self) -> None:
        client = Chat().connect()
        self.assertTrue(verifyObject(IPushProducer, client.protocol))
        self.assertIs(client.protocol, client.transport.producer)
        self.assertTrue(client.transport.streaming)
        client.protocol.stopProducing()

    def test_nagle_is_off_where_there_is_such_a_thing(self) -> None:
        self.assertTrue(Chat().connect().transport.no_delay)
        plain = StringTransport()
        protocol = ChatFactory(Settings(), Clock()).buildProtocol(plain.getPeer())
        assert protocol is not None
        protocol.makeConnection(plain)
        self.assertIs(protocol, plain.producer)

    def test_a_receiver_gets_one_write_for_all_that_was_said_in_a_turn(self) -> None:
        chat = Chat()
        al, bo, eve = chat.join("al", "#a"), chat.join("bo", "#a"), chat.join("eve", "#a")
        chat.hush(al, bo)
        eve.transport.writes.clear()
        al.feed(b"PRIVMSG #a :1\r\nPRIVMSG #a :2\r\n")
        bo.feed(b"PRIVMSG #a :3\r\n")
        self.assertEqual([], eve.transport.writes)
        chat.turn()
        (written,) = eve.transport.writes
        self.assertEqual([b"1", b"2", b"3"], [line[-1:] for line in written.splitlines()])

    def test_the_producer_goes_before_the_connection_is_closed(self) -> None:
        client = Chat().connect()
        client.type("QUIT")
        self.assertIsNone(client.transport.producer)

    def test_what_is_lost_is_freed_at_once(self) -> None:
        """The garbage collector has nothing to look for: neither holds the other any more."""
        for polite in (True, False):
            client = Chat().join("al", "#c")
            gone = weakref.ref(client.protocol)
            if polite:
                client.type("QUIT")
            client.vanish()
            # The transport may have it still; the protocol that transport, no more.
            client.transport.producer = client.protocol
            client.protocol.transport = StringTransport()
            del client
            self.assertIsNone(gone())

    def test_told_to_drain_it_says_goodbye_behind_all_that_waits(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo", "#a")
        chat.hush(al, bo)
        bo.transport.writes.clear()
        al.feed(b"PRIVMSG #a :last words\r\n")
        self.assertTrue(verifyObject(IDrainable, al.protocol))
        al.protocol.drain()
        bo.protocol.drain()
        chat.turn()
        said, error = b"".join(bo.transport.writes).splitlines()
        self.assertTrue(said.endswith(b" PRIVMSG #a :last words"))
        self.assertTrue(error.startswith(b"ERROR :Closing link: "))
        self.assertTrue(error.endswith(b" (The server is shutting down)"))
        self.assertIsNone(bo.transport.producer)


class FactoryTests(SynchronousTestCase):
    def test_nothing_is_scheduled_until_somebody_comes_and_after_they_went(self) -> None:
        chat = Chat()
        self.assertEqual([], chat.clock.getDelayedCalls())
        one, two = chat.connect(), chat.connect()
        self.assertEqual(1, len(chat.clock.getDelayedCalls()))
        one.vanish()
        two.vanish()
        chat.wait(2)
        self.assertEqual([], chat.clock.getDelayedCalls())

    def test_all_connections_share_one_timer(self) -> None:
        chat = Chat()
        for i in range(50):
            chat.join(f"n{i}")
        chat.wait(3)
        self.assertEqual(1, len(chat.clock.getDelayedCalls()))

    def test_a_flush_between_turns_takes_nothing_from_the_next(self) -> None:
        chat = Chat()
        client = chat.connect()
        client.feed(b"PING 1\r\n")
        chat.server.flush()
        client.feed(b"PING 2\r\n")
        self.assertEqual(2, len(client.read()))

    def test_when_its_ports_have_closed_everybody_is_told(self) -> None:
        chat = Chat()
        al, guest = chat.join("al", "#a"), chat.connect()
        chat.join("bo", "#a")
        al.read()
        chat.factory.doStart()
        chat.factory.doStop()
        goodbye = "ERROR :Closing link: 192.168.1.1 (The server is shutting down)"
        self.assertEqual([goodbye], al.read()[-1:])
        self.assertEqual([goodbye], guest.read())
        self.assertTrue(al.transport.disconnecting)
        self.assertEqual({}, chat.server.sessions)

    def test_without_a_clock_it_takes_the_reactor_when_it_is_needed(self) -> None:
        from twisted.internet import reactor

        self.assertIs(reactor, ChatFactory(Settings()).clock)
