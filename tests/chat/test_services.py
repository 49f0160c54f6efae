"""NickServ and ChanServ: what they do beyond the first steps, and what they refuse."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.configuration import Channels
from myproject_chat.store import Loaded
from tests.chat.harness import Chat, Client
from tests.chat.test_accounts import Notebook, registered, replace_choices

WORD = "correct-horse"


def answers(client: Client, line: str) -> list[str]:
    """What a service answers."""
    client.read()
    return [said.split(" :", 1)[1] for said in client.type(line) if " NOTICE " in said]


def code_of(client: Client, line: str) -> str:
    """The code that a service wants to be told."""
    return answers(client, line)[-1].rsplit(" ", 1)[1]


def optional() -> Chat:
    """A server on which whoever wants that keeps its nick for itself."""
    return Chat(accounts=replace_choices(nick_reservation="optional"))


class HelpTests(SynchronousTestCase):
    def test_help_tells_of_one_command_or_all(self) -> None:
        al = Chat().join("al")
        every = answers(al, "NS HELP")
        self.assertIn("IDENTIFY [account] password - log in", every)
        self.assertEqual(["IDENTIFY [account] password - log in"], answers(al, "NS HELP identify"))
        self.assertIn("no command", answers(al, "NS HELP what")[0])
        # Each says its own name first, or nobody would know what to type.
        for service in ("NS", "CS"):
            for line in answers(al, f"{service} HELP"):
                words, does = line.split(" - ")
                self.assertTrue(words.split()[0].isupper() and does, line)


class NickTests(SynchronousTestCase):
    def test_regain_takes_the_nick_from_a_client_that_hangs(self) -> None:
        chat = Chat()
        registered(chat, password=WORD).type("NS SET multiclient off", "JOIN #a")
        other = chat.join("other", "#a")
        self.assertEqual(["You are not logged in"], answers(other, "NS REGAIN al"))
        other.type(f"NS IDENTIFY al {WORD}")
        lines = other.type("NS REGAIN al")
        self.assertEqual(
            [
                ":al!~al@192.168.1.1 QUIT :Its owner, other, wants the nick",
                ":other!~other@192.168.1.1 NICK al",
            ],
            lines,
        )
        self.assertEqual([], other.type("NS REGAIN al"))

    def test_ghost_leaves_strangers_alone(self) -> None:
        chat = Chat()
        al, bo = registered(chat), chat.join("bo")
        for nick, answer in (
            ("bo", "That nick is not your account's"),
            ("al", "That is you"),
            ("nobody", "Nobody has that nick"),
        ):
            self.assertEqual([answer], answers(al, f"NS GHOST {nick}"))
        self.assertEqual([], bo.read())

    def test_a_stranger_has_to_give_up_a_nick_that_is_reserved(self) -> None:
        chat = optional()
        registered(chat, password=WORD).type("QUIT")
        chat.join("al")
        me = chat.join("me")
        me.type(f"NS IDENTIFY al {WORD}")
        self.assertEqual(["That nick is not your account's"], answers(me, "NS GHOST al"))
        me.type("NS SET reserve on")
        self.assertEqual(["al is free"], answers(me, "NS GHOST al"))
        self.assertEqual([":me!~me@192.168.1.1 NICK al"], me.type("NICK al"))

    def test_who_stays_without_a_client_can_be_put_out(self) -> None:
        chat = Chat()
        registered(chat, password=WORD).type("NS SET always-on on", "JOIN #a", "QUIT")
        other = chat.join("other", "#a")
        other.type(f"NS IDENTIFY al {WORD}")
        lines = other.type("NS RECOVER al")
        self.assertIn(":al!~al@192.168.1.1 QUIT :Its owner, other, wants the nick", lines)
        self.assertIn(":other!~other@192.168.1.1 NICK al", lines)


class ClientsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat()
        self.first = registered(self.chat, password=WORD)
        self.chat.wait(60)
        self.second = logged_in_with(self.chat, "al")
        self.chat.wait(60)
        self.third = self.chat.join("elsewhere")
        self.third.type(f"NS IDENTIFY al {WORD}")

    def numbers(self) -> list[str]:
        return [line.split(":")[0] for line in answers(self.third, "NS CLIENTS")[:-1]]

    def test_all_are_told_with_where_and_when(self) -> None:
        lines = [line.partition(": ")[2] for line in answers(self.third, "NS CLIENTS list")]
        self.assertEqual(
            [
                "al from 192.168.1.1 since 2001-09-09 01:46 UTC",
                "al from 192.168.1.1 since 2001-09-09 01:47 UTC",
                "elsewhere from 192.168.1.1 since 2001-09-09 01:48 UTC (this one)",
                "",
            ],
            lines,
        )
        self.assertEqual(3, len(set(self.numbers())))
        bo = self.chat.join("bo")
        self.assertEqual(["You are not logged in"], answers(bo, "NS CLIENTS"))

    def test_one_is_logged_out_and_the_others_stay(self) -> None:
        self.assertEqual(
            ["Done"], answers(self.third, f"NS CLIENTS logout {self.numbers()[0].upper()}")
        )
        self.assertIn("Logged out by another client", self.first.read()[-1])
        self.assertEqual(["PONG"], self.second.codes("PING x"))
        self.assertEqual(2, len(self.numbers()))

    def test_all_the_others_are_logged_out(self) -> None:
        self.assertEqual(["Done"], answers(self.third, "NS CLIENTS logout all"))
        self.assertEqual(1, len(self.numbers()))

    def test_refusals(self) -> None:
        for words, answer in (
            ("what", "Say list"),
            ("logout", "Say list"),
            ("logout zz", "There is none of that number"),
            (f"logout {self.numbers()[2]}", "That is this client"),
        ):
            self.assertIn(answer, answers(self.third, f"NS CLIENTS {words}")[0])
        self.assertEqual(3, len(self.numbers()))


def logged_in_with(chat: Chat, nick: str) -> Client:
    """One more client of the account, which shares its nick."""
    client = chat.connect()
    client.type("CAP REQ sasl", "AUTHENTICATE PLAIN", "AUTHENTICATE AGFsAGNvcnJlY3QtaG9yc2U=")
    client.type(f"NICK {nick}", f"USER {nick} 0 * :Al", "CAP END")
    return client


class AccountTests(SynchronousTestCase):
    def test_unregister_wants_to_be_told_twice(self) -> None:
        chat = Chat()
        al = registered(chat, password=WORD)
        code = code_of(al, "NS UNREGISTER")
        self.assertEqual(code, code_of(al, "NS UNREGISTER wrong"))
        self.assertEqual(["The account is deleted"], answers(al, f"NS UNREGISTER {code}"))
        chat.wait(60)
        al.type(f"NS REGISTER {WORD}")
        # It is another account, whatever its name.
        self.assertNotEqual(code, code_of(al, "NS UNREGISTER"))

    def test_nobody_inherits_from_an_account_that_was_deleted(self) -> None:
        chat = Chat()
        al = registered(chat, password=WORD)
        early = chat.connect()
        early.type("CAP REQ sasl", "AUTHENTICATE PLAIN", "AUTHENTICATE AGFsAGNvcnJlY3QtaG9yc2U=")
        second = logged_in_with(chat, "al")
        elsewhere = chat.join("else")
        elsewhere.type(f"NS IDENTIFY al {WORD}")
        al.type(f"NS DROP {WORD}", "QUIT")
        early.type("NICK early", "USER early 0 * :Early", "CAP END")
        for client in (early, second, elsewhere):
            self.assertEqual(["You are not logged in"], answers(client, "NS CERT list"))
        self.assertIn("REGISTER SUCCESS al", second.type("REGISTER * * :another one")[1])

    def test_who_stays_goes_with_the_account_also_by_another_programs_hand(self) -> None:
        for by_hand in (False, True):
            notebook = Notebook()
            chat = notebook.restored()
            registered(chat, password=WORD).type("JOIN #a", "NS SET always-on on", "QUIT")
            bo = chat.join("bo", "#a")
            if by_hand:
                chat.server.refresh(empty())
            else:
                me = chat.join("me")
                me.type(f"NS IDENTIFY al {WORD}", f"NS DROP {WORD}")
            self.assertIn(":al!~al@192.168.1.1 QUIT :Account deleted", bo.read())
            self.assertNotIn(b"al", chat.server.network.users)

    def test_a_mail_address_can_be_changed(self) -> None:
        chat = Chat()
        al = registered(chat)
        self.assertEqual(["That is no mail address"], answers(al, "NS SET email nothing"))
        self.assertIn("Noted", answers(al, "NS SET email al@example.org")[0])
        self.assertEqual(b"al@example.org", account(chat).email)
        self.assertIn("Noted", answers(al, "NS SET email none")[0])
        self.assertEqual(b"", account(chat).email)
        chat = Chat(accounts=replace_choices(email_required=True))
        al = chat.join("al")
        al.type(f"REGISTER * al@example.org {WORD}")
        self.assertEqual(["That is no mail address"], answers(al, "NS SET email none"))

    def test_a_setting_is_on_or_off_and_one_of_those_there_are(self) -> None:
        al = registered(Chat())
        self.assertEqual(["Say on or off"], answers(al, "NS SET multiclient maybe"))
        self.assertIn("There are always-on", answers(al, "NS SET colour on")[0])
        self.assertEqual(["always-on is on"], answers(al, "NS SET-ALWAYS-ON true"))
        self.assertIn("lets nobody stay", answers(unlasting(), "NS SET always_on on")[0])

    def test_certificates_are_ten_at_most_and_nobody_elses(self) -> None:
        chat = Chat()
        al, bo = registered(chat), registered(chat, "bo")
        marks = [f"{number:02x}" * 32 for number in range(11)]
        for mark in marks[:10]:
            self.assertEqual(["Done"], answers(al, f"NS CERT add {mark}"))
        self.assertIn("as many certificates", answers(al, f"NS CERT add {marks[10]}")[0])
        self.assertIn("in use already", answers(bo, f"NS CERT add {marks[0].upper()}")[0])
        self.assertIn("no such certificate", answers(bo, f"NS CERT del {marks[0]}")[0])
        for words, answer in (
            ("add", "you have shown no certificate"),
            ("add 12:34", "64 hexadecimal digits"),
            ("what", "Say list, add or del"),
        ):
            self.assertIn(answer, answers(bo, f"NS CERT {words}")[0])
        self.assertEqual(11, len(answers(al, "NS CERT list")))

    def test_a_certificate_is_free_when_its_account_is_deleted(self) -> None:
        chat = Chat()
        al, bo = registered(chat, password=WORD), registered(chat, "bo")
        mark = "ab" * 32
        al.type(f"NS CERT add {mark}")
        self.assertIn("in use already", answers(bo, f"NS CERT add {mark}")[0])
        al.type(f"NS DROP {WORD}")
        self.assertEqual(["Done"], answers(bo, f"NS CERT add {mark}"))

    def test_who_may_not_register_is_told_why(self) -> None:
        closed = Chat(accounts=replace_choices(registration=False)).join("al")
        self.assertIn("Nobody may register", answers(closed, f"NS REGISTER {WORD}")[0])
        al = registered(Chat())
        self.assertIn("logged in to an account already", answers(al, f"NS REGISTER {WORD}")[0])
        self.assertIn("no such account", answers(al, "NS INFO nobody")[0])


def unlasting() -> Client:
    """A client of a server on which nobody stays."""
    return registered(Chat(accounts=replace_choices(always_on="off")))


def account(chat: Chat) -> Any:
    return chat.server.accounts.get(b"al")


def empty() -> Loaded:
    """What another program has left in the file: nothing."""
    return Loaded()


class ChannelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat(channels=Channels(max_registered=1))
        self.al = registered(self.chat)
        self.bo = registered(self.chat, "bo")
        self.al.type("JOIN #a")
        self.bo.type("JOIN #a")
        self.al.type("CS REGISTER #a")
        self.chat.hush(self.al, self.bo)

    def founder(self) -> bytes | None:
        kept = self.chat.server.kept.get(b"#A")
        return None if kept is None else kept.founder

    def test_drop_wants_to_be_told_twice(self) -> None:
        code = code_of(self.al, "CS DROP #a")
        self.assertEqual(b"al", self.founder())
        self.assertEqual(["That channel is not yours"], answers(self.bo, f"CS DROP #a {code}"))
        answers(self.al, "CS DROP #a wrong")
        self.assertEqual(b"al", self.founder())
        self.assertEqual(["#a is not registered any more"], answers(self.al, f"CS DROP #a {code}"))
        self.assertIsNone(self.founder())

    def test_a_channel_is_whose_it_is_until_the_offer_is_accepted(self) -> None:
        self.assertIn("not offered to you", answers(self.bo, "CS ACCEPT #a")[0])
        self.al.type("CS TRANSFER #a bo")
        offer = "al offers you #a. To take it: /msg ChanServ ACCEPT #a"
        self.assertEqual([f":ChanServ!ChanServ@irc.example NOTICE bo :{offer}"], self.bo.read())
        self.assertEqual(b"al", self.founder())
        lines = self.bo.type("CS ACCEPT #a")
        self.assertIn(":ChanServ!ChanServ@irc.example MODE #a +q bo", lines)
        self.assertEqual(b"bo", self.founder())
        self.assertIn("not offered to you", answers(self.bo, "CS ACCEPT #a")[0])

    def test_an_offer_can_be_taken_back_and_made_to_another(self) -> None:
        cy = registered(self.chat, "cy")
        self.assertEqual(["#a was not offered"], answers(self.al, "CS TRANSFER #a al"))
        self.al.type("CS TRANSFER #a bo", "CS TRANSFER #a cy")
        self.assertIn("not offered to you", answers(self.bo, "CS ACCEPT #a")[0])
        self.assertEqual(["#a is offered to nobody"], answers(self.al, "CS TRANSFER #a al"))
        self.assertIn("not offered to you", answers(cy, "CS ACCEPT #a")[0])
        self.assertIn("no such account", answers(self.al, "CS TRANSFER #a nobody")[0])

    def test_who_has_as_many_as_can_be_takes_no_more(self) -> None:
        self.bo.type("JOIN #b", "CS REGISTER #b")
        self.al.type("CS TRANSFER #a bo")
        self.assertIn("as many channels as you can", answers(self.bo, "CS ACCEPT #a")[0])
        self.assertEqual(b"al", self.founder())
        self.al.type("JOIN #c")
        self.assertIn("as many channels as you can", answers(self.al, "CS REGISTER #c")[0])

    def test_an_offer_goes_with_the_name_the_registration_and_the_account(self) -> None:
        self.al.type("CS TRANSFER #a bo", "RENAME #a #b")
        self.assertIn("not offered to you", answers(self.bo, "CS ACCEPT #b")[0])
        self.al.type("CS TRANSFER #b bo")
        self.al.type(f"CS DROP #b {code_of(self.al, 'CS DROP #b')}", "CS REGISTER #b")
        self.assertIn("not offered to you", answers(self.bo, "CS ACCEPT #b")[0])
        self.al.type("CS TRANSFER #b bo")
        self.bo.type(f"NS UNREGISTER {code_of(self.bo, 'NS UNREGISTER')}")
        self.bo.type("REGISTER * * :another one")
        self.assertIn("not offered to you", answers(self.bo, "CS ACCEPT #b")[0])

    def test_an_account_that_owns_a_channel_cannot_go(self) -> None:
        code = code_of(self.al, "NS UNREGISTER")
        self.assertIn("It owns 1 channels", answers(self.al, f"NS UNREGISTER {code}")[0])

    def test_refusals(self) -> None:
        self.bo.type("JOIN #s", "MODE #s +s", "CS REGISTER #s")
        for line, answer in (
            ("CS INFO #s", "not registered"),
            ("CS INFO #none", "not registered"),
            ("CS REGISTER #none", "no such channel"),
            ("CS AMODE #a +q bo", "A rank is one of"),
            ("CS AMODE #a -v bo", "not given that rank"),
        ):
            self.assertIn(answer, answers(self.al, line)[0])
        self.al.type("PART #a")
        self.assertEqual(["You are not in that channel"], answers(self.al, "CS OP #a"))

    def test_op_gives_back_the_rank_that_one_has(self) -> None:
        self.al.type("CS AMODE #a +o bo", "MODE #a -o bo")
        self.bo.read()
        self.assertEqual([":ChanServ!ChanServ@irc.example MODE #a +o bo"], self.bo.type("CS OP #a"))
        self.assertEqual([], self.bo.type("CS OP #a"))
        self.bo.type("PART #a")
        self.bo.type("JOIN #a")
        self.assertEqual(b"o", rank(self.chat, b"bo"))


def rank(chat: Chat, nick: bytes) -> bytes:
    network = chat.server.network
    return network.channels[b"#a"].members[network.users[nick]]
