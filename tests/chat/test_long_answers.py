"""Answers longer than the queue: they come in slices, as the client reads."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat import sending
from myproject_chat.state import User
from myproject_chat.wire import parse
from tests.chat.harness import EPOCH, Chat, Client

# The least that can be configured.
SENDQ = 1 << 14


class LongAnswerTests(SynchronousTestCase):
    """A channel of ten thousand on a server whose clients may have 16 KiB waiting."""

    def setUp(self) -> None:
        self.chat = Chat(sendq=SENDQ, max_channels=20_000)
        self.al = self.chat.join("al", "#a")
        self.network = self.chat.server.network

    def crowd(self, count: int) -> None:
        for number in range(count):
            user = User(
                b"member%d" % number, b"~u", real_name=b"r", host=b"a.host.example", since=EPOCH
            )
            self.network.add(user)
            self.network.join(user, b"#a", EPOCH)

    def stuff(self, client: Client) -> None:
        """Let the client read no more."""
        client.protocol.pauseProducing()

    def test_names_and_who_of_ten_thousand_arrive_whole(self) -> None:
        self.crowd(9_999)
        lines = self.al.type("NAMES #a")
        self.assertEqual(10_000, sum(len(line.split(" :")[1].split()) for line in lines[:-1]))
        self.assertEqual(10_001, len(self.al.codes("WHO #a")))
        self.assertEqual(10_001, len(self.al.codes("WHO * %tn,1")))

    def test_list_of_ten_thousand_channels_arrives_whole(self) -> None:
        for number in range(9_999):
            self.network.join(self.network.users[b"al"], b"#c%d" % number, EPOCH)
        self.assertEqual(10_002, len(self.al.codes("LIST")))

    def test_no_more_than_a_slice_waits_for_who_does_not_read(self) -> None:
        self.crowd(3_000)
        self.stuff(self.al)
        self.assertEqual([], self.al.type("WHO #a", "PING behind"))
        self.assertLess(self.al.protocol.session.queued, SENDQ * 3 // 4)
        self.al.protocol.resumeProducing()
        codes = [line.split()[1] for line in self.al.read()]
        self.assertEqual(["352"] * 3_001 + ["315", "PONG"], codes)

    def test_a_transport_that_fills_up_is_given_one_slice(self) -> None:
        self.crowd(1_000)
        transport = self.al.transport
        transport.on_write = lambda: self.stuff(self.al)
        before = len(transport.writes)
        self.al.type("WHO #a")
        self.assertEqual(1, len(transport.writes) - before)
        self.assertEqual(0, self.al.protocol.session.queued)

    def test_who_goes_meanwhile_is_left_out(self) -> None:
        self.crowd(1_000)
        self.stuff(self.al)
        self.al.type("WHO #a")
        self.network.remove(self.network.users[b"member999"])
        self.network.leave(self.network.users[b"member998"], self.network.channels[b"#a"])
        self.al.protocol.resumeProducing()
        self.assertEqual(999, len([line for line in self.al.read() if " 352 " in line]))

    def test_a_channel_that_goes_meanwhile_is_left_out_of_a_list(self) -> None:
        bo = self.chat.join("bo")
        for number in range(1_000):
            self.network.join(self.network.users[b"al"], b"#c%d" % number, EPOCH)
        self.stuff(bo)
        bo.type("LIST")
        self.network.leave(self.network.users[b"al"], self.network.channels[b"#c999"])
        bo.protocol.resumeProducing()
        self.assertEqual(1_000, len([line for line in bo.read() if " 322 " in line]))

    def test_with_a_label_all_of_it_is_one_batch(self) -> None:
        self.al.type("CAP REQ :labeled-response batch")
        self.crowd(1_000)
        self.stuff(self.al)
        self.al.type("@label=x WHO #a")
        self.network.users[b"al"].receivers[0].queue(b"aside\r\n")
        self.al.protocol.resumeProducing()
        lines = self.al.read()
        lines.remove("aside")
        first, last = parse(lines[0].encode()), parse(lines[-1].encode())
        self.assertEqual((b"BATCH", b"x"), (first.command, first.tags[b"label"]))
        name = first.params[0][1:]
        self.assertEqual((b"BATCH", b"-" + name), (last.command, last.params[0]))
        self.assertEqual(1_004, len(lines))
        for line in lines[1:-1]:
            self.assertEqual(name, parse(line.encode()).tags[b"batch"])

    def test_who_leaves_in_the_middle_leaves_nothing_behind(self) -> None:
        self.crowd(1_000)
        for end in ("vanish", "close"):
            client = self.chat.join("bo")
            self.stuff(client)
            client.type("WHO #a")
            if end == "vanish":
                client.vanish()
            else:
                client.protocol.session.close(b"out")
                self.assertTrue(client.read()[-1].startswith("ERROR "))
            self.assertNotIn(b"bo", self.network.users)
            self.assertIsNone(client.protocol.session._go_on_with)

    def test_who_reads_slowly_is_alive(self) -> None:
        self.crowd(3_000)
        self.stuff(self.al)
        self.al.type("WHO #a")
        for _ in range(4):
            self.chat.wait(100)
            self.al.protocol.resumeProducing()
            self.chat.server.flush()
            self.stuff(self.al)
        self.assertIn(b"al", self.network.users)

    def test_several_large_channels_may_be_joined_at_once(self) -> None:
        self.crowd(400)
        members = [user for user in self.network.users.values() if user.nick != b"al"]
        names = [b"#j%d" % number for number in range(6)]
        for name in names:
            for member in members:
                self.network.join(member, name, EPOCH)
        self.assertEqual(6, self.al.codes("JOIN " + b",".join(names).decode()).count("366"))

    def test_a_short_answer_does_not_wait(self) -> None:
        self.patch(sending, "_SLICE", 10_000)
        self.al.feed(b"WHO al\r\n")
        self.assertFalse(self.al.protocol.session._waiting)
