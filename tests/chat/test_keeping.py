"""What outlives its users is written when it changes, once, and nothing else is."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.store.records import Account, RegisteredChannel, StoredMask
from tests.chat.harness import Chat, Client
from tests.chat.test_accounts import Notebook, logged_in, registered


class Journal(Notebook):
    """Remembers how often it was given something, too."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def put_account(self, account: Account, /) -> int:
        self.written.append(account.name.decode())
        return super().put_account(account)

    def put_channel(self, channel: RegisteredChannel, /) -> int:
        self.written.append(channel.name.decode())
        return super().put_channel(channel)


class KeepingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.journal = Journal()
        self.chat: Chat = self.journal.restored()
        self.al = registered(self.chat)
        self.al.type("JOIN #a", "CS REGISTER #a")
        self.journal.written.clear()

    def written(self, *lines: str, by: Client | None = None) -> list[str]:
        """What is written because somebody says something, all in one turn."""
        self.journal.written.clear()
        (by or self.al).type(*lines)
        return sorted(self.journal.written)

    def kept(self) -> RegisteredChannel:
        kept: RegisteredChannel = self.journal.channels[b"#a"]
        return kept


class ChannelTests(KeepingTestCase):
    def test_what_changes_in_one_turn_is_written_once(self) -> None:
        lines = ("TOPIC #a :about", "MODE #a +imk key", "MODE #a +l 7", "MODE #a +b eve!*@*")
        self.assertEqual(["#a"], self.written(*lines))
        kept = self.kept()
        self.assertEqual((b"about", b"al!~al@192.168.1.1"), (kept.topic or ())[:2])
        self.assertEqual((b"imnt", b"key", 7), (kept.flags, kept.key, kept.limit))
        self.assertEqual([(b"b", b"eve!*@*")], [(mask.letter, mask.mask) for mask in kept.masks])
        self.assertIsInstance(kept.masks[0], StoredMask)

    def test_what_comes_to_nothing_is_not_written(self) -> None:
        self.assertEqual([], self.written("MODE #a +n", "MODE #a +m-m", "MODE #a -k x"))
        self.assertEqual([], self.written("PRIVMSG #a :hello", "MODE #a", "NAMES #a"))
        bo = self.chat.join("bo")
        self.assertEqual([], self.written("JOIN #a", "PART #a", "QUIT", by=bo))

    def test_each_list_is_written_and_what_is_taken_off_is_not(self) -> None:
        self.written("MODE #a +beI a!*@* b!*@* c!*@*")
        self.assertEqual({b"b": b"a!*@*", b"e": b"b!*@*", b"I": b"c!*@*"}, self.masks())
        self.assertEqual(["#a"], self.written("MODE #a -e b!*@*"))
        self.assertEqual({b"b": b"a!*@*", b"I": b"c!*@*"}, self.masks())

    def masks(self) -> dict[bytes, bytes]:
        return {mask.letter: mask.mask for mask in self.kept().masks}

    def test_a_channel_that_is_not_registered_is_nobodys_to_write(self) -> None:
        self.assertEqual([], self.written("JOIN #b", "TOPIC #b :about", "MODE #b +m"))
        bo = self.chat.join("bo", "#b")
        self.assertEqual([], self.written("QUIT", by=bo))

    def test_a_change_is_written_in_the_turn_that_has_it_and_in_no_later_one(self) -> None:
        self.assertEqual(["#a"], self.written("MODE #a +m"))
        self.assertEqual([], self.written("PING x"))
        self.assertEqual(0, len(self.chat.server.network.changed))

    def test_it_is_there_after_a_restart(self) -> None:
        self.written("TOPIC #a :about", "MODE #a +sk key", "MODE #a +b m:eve!*@*")
        chat = self.journal.restored()
        al, _ = logged_in(chat, "al", "al")
        lines = al.type("JOIN #a key", "MODE #a", "MODE #a b")
        self.assertIn(":irc.example 324 al #a +nstk key", lines)
        self.assertIn(":irc.example 332 al #a :about", lines)
        self.assertTrue(any(" 367 al #a m:eve!*@* " in line for line in lines), lines)


class UserTests(KeepingTestCase):
    def test_where_somebody_is_who_stays_is_written(self) -> None:
        self.assertEqual([], self.written("JOIN #b", "PART #b"))
        self.assertEqual(["al"], sorted(set(self.written("NS SET always-on on"))))
        self.assertEqual(["al"], self.written("JOIN #b,#c", "PART #c"))
        self.assertEqual("oq#a,o#b", self.journal.accounts[b"al"].settings["user-channels"])
        self.assertEqual(["al"], self.written("NICK other"))
        self.assertEqual("other", self.journal.accounts[b"al"].settings["user-nick"])
        self.assertEqual([], self.written("PRIVMSG #b :hello", "AWAY :gone"))

    def test_who_has_the_nick_of_somebody_who_is_gone_is_not_taken_for_them(self) -> None:
        self.written("NS SET always-on on")
        before = self.journal.accounts[b"al"]
        gone = self.chat.server.network.users[b"al"]
        self.chat.server.quit(gone, b"Killed")
        self.chat.server.network.changed.add(gone)
        self.assertEqual([], self.written("PING x", by=self.chat.join("bo")))
        self.assertIs(before, self.journal.accounts[b"al"])
        self.al.protocol.session.user = None

    def test_a_rank_that_is_given_or_taken_is_written(self) -> None:
        self.written("NS SET always-on on")
        self.assertEqual(["al"], self.written("JOIN #b", "MODE #b +v al"))
        self.assertEqual("oq#a,ov#b", self.journal.accounts[b"al"].settings["user-channels"])
        self.assertEqual(["al"], self.written("MODE #b -o al"))
        self.assertEqual("oq#a,v#b", self.journal.accounts[b"al"].settings["user-channels"])
