"""What the modes of a channel do, those of the first test file (n t i m s k l b) aside."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.chat.harness import EPOCH, Chat, Client

HOST = "192.168.1.1"


class Case(SynchronousTestCase):
    """An operator in a channel."""

    def setUp(self) -> None:
        self.chat = Chat()
        self.op = self.chat.join("op", "#a")

    def mode(self, letters: str, *params: str) -> None:
        line = " ".join((f"MODE #a {letters}", *params))
        self.assertIn("MODE", self.op.codes(line))

    def join(self, nick: str, account: str = "") -> Client:
        client = self.chat.join(nick)
        if account:
            self.chat.server.network.users[nick.encode()].account = account.encode()
        client.type("JOIN #a")
        self.chat.hush(self.op)
        return client

    def heard(self, client: Client, line: str) -> bool:
        """Whether the operator hears what a client says."""
        client.type(line)
        return self.op.read() != []


class ModeTests(Case):
    """Modes without a list."""

    def test_no_ctcp_but_actions(self) -> None:
        client = self.join("bo")
        self.mode("+C")
        client.read()
        self.assertTrue(self.heard(client, "PRIVMSG #a :\1ACTION waves\1"))
        self.assertFalse(self.heard(client, "NOTICE #a :\1PING 1\1"))
        self.assertEqual(["404"], client.codes("PRIVMSG #a :\1PING 1\1"))

    def test_only_accounts_may_join(self) -> None:
        self.mode("+R")
        self.assertEqual(["477"], self.chat.join("bo").codes("JOIN #a"))
        self.assertTrue(self.heard(self.join("cy", "cy"), "PRIVMSG #a :hi"))

    def test_only_accounts_may_speak(self) -> None:
        self.mode("+M")
        self.assertEqual(["477"], self.join("bo").codes("PRIVMSG #a :hi"))
        self.assertTrue(self.heard(self.join("cy", "cy"), "PRIVMSG #a :hi"))

    def test_what_is_moderated_away_reaches_operators_with_u(self) -> None:
        other, half, client = self.join("bo"), self.join("half"), self.join("cy")
        self.mode("+mUh", "half")
        self.chat.hush(other, half, client)
        self.assertTrue(self.heard(client, "PRIVMSG #a :hi"))
        self.assertEqual(1, len(half.read()))
        self.assertEqual([], other.read())
        self.assertTrue(self.heard(self.op, "PRIVMSG #a :hi") or other.read() != [])

    def test_in_an_auditorium_only_moderators_see_everybody(self) -> None:
        self.mode("+u")
        one, two = self.join("one"), self.join("two")
        self.assertEqual([], one.read())
        self.assertEqual([":irc.example 353 one = #a :@op one"], one.type("NAMES #a")[:1])
        self.assertEqual([":irc.example 353 op = #a :@op one two"], self.op.type("NAMES #a")[:1])
        self.assertEqual(["315"], one.codes("WHO two")[-1:])
        self.assertEqual(2, one.codes("WHO #a").count("352"))
        two.type("PART #a")
        self.assertEqual((1, []), (len(self.op.read()), one.read()))
        self.mode("+v", "one")
        self.chat.hush(one)
        three = self.join("three")
        self.assertEqual([f":one!~one@{HOST} NICK uno"], one.type("NICK uno")[-1:])
        self.assertEqual([f":one!~one@{HOST} NICK uno"], three.read()[-1:])
        three.vanish()
        self.assertEqual(([], 2), (one.read(), len(self.op.read())))

    def test_who_may_not_come_in_is_sent_elsewhere(self) -> None:
        self.op.type("JOIN #b")
        self.mode("+if", "#b")
        lines = self.chat.join("bo").type("JOIN #a")
        self.assertEqual(":irc.example 470 bo #a #b :Forwarding you to another channel", lines[0])
        self.assertEqual(f":bo!~bo@{HOST} JOIN #b", lines[1])
        self.op.type("MODE #b +i")
        self.assertEqual(["473"], self.chat.join("cy").codes("JOIN #a"))
        self.mode("-f")
        self.assertIsNone(self.chat.server.network.channels[b"#a"].forward)

    def test_only_operators_of_both_forward_and_only_to_what_there_is(self) -> None:
        self.chat.join("bo", "#b")
        self.assertEqual(["696"], self.op.codes("MODE #a +f #none"))
        self.assertEqual(["696"], self.op.codes("MODE #a +f #a"))
        self.assertEqual(["482"], self.op.codes("MODE #a +f #b"))
        self.assertEqual([], self.op.codes("MODE #a -f"))

    def test_the_modes_are_shown_with_what_they_take(self) -> None:
        self.op.type("JOIN #b")
        self.mode("+flk", "#b", "5", "key")
        self.assertIn(":irc.example 324 op #a +ntfkl #b key 5", self.op.type("MODE #a"))


class ListTests(Case):
    """Lists of masks."""

    def test_each_list_is_set_shown_and_unset(self) -> None:
        for letter, entry, end in (("b", 367, 368), ("e", 348, 349), ("I", 346, 347)):
            self.mode(f"+{letter}", "bo")
            lines = self.op.type(f"MODE #a {letter}")
            shown = f":irc.example {entry} op #a bo!*@* op!~op@{HOST} {EPOCH}"
            self.assertEqual(shown, lines[0])
            self.assertTrue(lines[1].startswith(f":irc.example {end} op #a :"))
            self.mode(f"-{letter}", "BO!*@*")
            self.assertEqual([str(end)], self.op.codes(f"MODE #a +{letter}"))

    def test_an_exception_outweighs_a_ban(self) -> None:
        self.mode("+be", "*", "bo")
        self.assertEqual(["474"], self.chat.join("cy").codes("JOIN #a"))
        self.assertTrue(self.heard(self.join("bo"), "PRIVMSG #a :hi"))

    def test_an_invitation_mask_opens_a_closed_channel(self) -> None:
        self.mode("+iI", "bo")
        self.assertEqual(["473"], self.chat.join("cy").codes("JOIN #a"))
        self.assertTrue(self.heard(self.join("bo"), "PRIVMSG #a :hi"))

    def test_accounts_can_be_banned_whatever_the_nick(self) -> None:
        client = self.join("bo", "evil")
        self.assertTrue(self.heard(client, "PRIVMSG #a :hi"))
        self.mode("+b", "a:EV*")
        self.assertFalse(self.heard(client, "PRIVMSG #a :hi"))
        client.type("PART #a")
        client.read()
        self.assertEqual(["474"], client.codes("JOIN #a"))
        self.assertTrue(self.heard(self.join("cy"), "PRIVMSG #a :hi"))

    def test_who_is_muted_may_come_in_but_not_speak(self) -> None:
        self.mode("+b", "m:bo")
        client = self.join("bo")
        self.assertFalse(self.heard(client, "PRIVMSG #a :hi"))
        client.type("NICK cy")
        self.op.read()
        self.assertTrue(self.heard(client, "PRIVMSG #a :hi"))
        self.mode("+bv", "m:a:x", "cy")
        self.chat.server.network.users[b"cy"].account = b"x"
        self.assertTrue(self.heard(client, "PRIVMSG #a :hi"))
        self.mode("-v", "cy")
        self.assertFalse(self.heard(client, "PRIVMSG #a :hi"))

    def test_a_cloak_is_no_way_around_a_ban_on_an_address(self) -> None:
        client = self.join("bo")
        user = self.chat.server.network.users[b"bo"]
        user.host = b"cloaked"
        user.rename(b"bo")
        self.mode("+b", f"*!*@{HOST}")
        self.assertFalse(self.heard(client, "PRIVMSG #a :hi"))

    def test_what_is_no_mask_is_refused(self) -> None:
        for mask in ("a:", "m:", "m:a:", ":x", "a:" + "x" * 41):
            code = self.op.codes(f"MODE #a +b {mask}")[0]
            self.assertEqual("696" if mask != ":x" else "MODE", code)
        self.assertEqual(["696"], self.op.codes("MODE #a +b :a b"))


class InviteTests(SynchronousTestCase):
    def test_ones_own_invitations_are_listed(self) -> None:
        chat = Chat()
        op, bo = chat.join("op", "#b", "#a"), chat.join("bo")
        op.type("INVITE bo #b", "INVITE bo #a")
        bo.read()
        lines = bo.type("INVITE")
        self.assertEqual([":irc.example 336 bo #a", ":irc.example 336 bo #b"], lines[:2])
        self.assertEqual(["461"], bo.codes("INVITE op"))

    def test_moderators_who_want_to_know_are_told(self) -> None:
        chat = Chat()
        op = chat.join("op", "#a")
        half = chat.join("half", "#a", caps="invite-notify")
        other = chat.join("other", "#a", caps="invite-notify")
        chat.join("bo")
        op.type("MODE #a +h half")
        chat.hush(half, other)
        op.type("INVITE bo #a")
        self.assertEqual([f":op!~op@{HOST} INVITE bo #a"], half.read())
        self.assertEqual([], other.read())


class ImplicitNamesTests(SynchronousTestCase):
    def test_names_come_only_when_asked_for(self) -> None:
        client = Chat().join("al", caps="draft/no-implicit-names")
        self.assertEqual([f":al!~al@{HOST} JOIN #a"], client.type("JOIN #a"))
        self.assertEqual(["353", "366"], client.codes("NAMES #a"))


class ListingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat()
        self.al = self.chat.join("al", "#old", "#big")
        self.chat.join("bo", "#big")
        self.chat.wait(100)
        self.al.type("JOIN #new", "TOPIC #new :news")

    def listed(self, words: str = "", client: Client | None = None) -> str:
        answer = (client or self.al).messages(f"LIST {words}")
        self.assertEqual([b"321", b"323"], [answer[0].command, answer[-1].command])
        return " ".join(message.params[1].decode() for message in answer[1:-1])

    def test_each_with_its_members_and_topic(self) -> None:
        lines = self.al.type("LIST")
        self.assertIn(":irc.example 322 al #big 2 :", lines)
        self.assertIn(":irc.example 322 al #new 1 :news", lines)

    def test_conditions(self) -> None:
        for words, expected in (
            ("", "#big #new #old"),
            ("#NEW", "#new"),
            ("#n*,#o*", "#new #old"),
            ("!#n*", "#big #old"),
            ("!#n*,!#b*", "#old"),
            (">1", "#big"),
            ("<2", "#new #old"),
            (">0,<2,#o*", "#old"),
            ("C>1", "#big #old"),
            ("c<1", "#new"),
            ("T<1", "#new"),
            ("T>1", ""),
            ("C>x", ""),
            (">" + "9" * 20, ""),
            ("C", ""),
            ("nonsense", ""),
        ):
            self.assertEqual((words, expected), (words, self.listed(words)))

    def test_secret_ones_show_to_those_inside(self) -> None:
        self.al.type("MODE #new +s")
        self.assertEqual("#big #new #old", self.listed())
        self.assertEqual("#big #old", self.listed(client=self.chat.join("cy")))


class RenameTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat()
        self.op = self.chat.join("op", "#a", caps="draft/channel-rename")
        self.old = self.chat.join("old", "#a")
        self.op.type("TOPIC #a :about")
        self.chat.hush(self.op, self.old)

    def test_each_is_told_in_a_way_it_understands(self) -> None:
        self.assertEqual([f":op!~op@{HOST} RENAME #a #b :why"], self.op.type("RENAME #a #b :why"))
        lines = self.old.read()
        self.assertEqual(f":old!~old@{HOST} PART #a :Changing to #b: why", lines[0])
        self.assertEqual(f":old!~old@{HOST} JOIN #b", lines[1])
        self.assertEqual(["332", "333", "353", "366"], [line.split()[1] for line in lines[2:]])
        self.old.type("PRIVMSG #B :hi")
        self.assertEqual([f":old!~old@{HOST} PRIVMSG #b :hi"], self.op.read())
        self.assertEqual(["403"], self.op.codes("MODE #a"))

    def test_its_case_alone_may_change(self) -> None:
        self.assertEqual(["RENAME"], self.op.codes("RENAME #a #A"))
        self.assertEqual(f":old!~old@{HOST} PART #a :Changing to #A", self.old.read()[0])

    def test_it_is_refused_for_each_thing_that_is_wrong(self) -> None:
        self.op.type("JOIN #c")
        self.assertEqual(["482"], self.old.codes("RENAME #a #b"))
        self.assertEqual(["403"], self.op.codes("RENAME #x #b"))
        for name, code in (("#c", "CHANNEL_NAME_IN_USE"), ("b", "CANNOT_RENAME")):
            self.assertIn(f"FAIL RENAME {code} #a {name} :", self.op.type(f"RENAME #a {name}")[0])
