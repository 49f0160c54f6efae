"""Being in channels: JOIN PART NAMES TOPIC KICK INVITE."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.chat.harness import EPOCH, Chat

HOST = "192.168.1.1"


class JoinTests(SynchronousTestCase):
    def test_who_makes_a_channel_is_its_operator(self) -> None:
        al = Chat().join("al")
        self.assertEqual(
            [
                f":al!~al@{HOST} JOIN #a",
                ":irc.example 353 al = #a :@al",
                ":irc.example 366 al #a :End of NAMES",
            ],
            al.type("JOIN #a"),
        )

    def test_the_next_sees_the_name_as_it_was_first_written_and_the_topic(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#Aa"), chat.join("bo")
        al.type("TOPIC #aa :words to say")
        self.assertEqual(
            [
                f":bo!~bo@{HOST} JOIN #Aa",
                ":irc.example 332 bo #Aa :words to say",
                f":irc.example 333 bo #Aa al!~al@{HOST} {EPOCH}",
                ":irc.example 353 bo = #Aa :@al bo",
                ":irc.example 366 bo #Aa :End of NAMES",
            ],
            bo.type("JOIN #aA"),
        )
        self.assertEqual([f":bo!~bo@{HOST} JOIN #Aa"], al.read())

    def test_several_at_once_with_keys_and_again_is_no_news(self) -> None:
        chat = Chat()
        chat.join("al", "#a", "#b").type("MODE #a +k one", "MODE #b +k two")
        bo = chat.join("bo")
        self.assertEqual(["475", "475"], bo.codes("JOIN #a,#b", "JOIN #b one")[:2])
        codes = bo.codes("JOIN #a,,#b one,,two", "JOIN #a one")
        self.assertEqual(["JOIN", "353", "366"] * 2, codes)

    def test_names_that_cannot_be_get_403(self) -> None:
        al = Chat().join("al")
        self.assertEqual(["403", "403", "403"], al.codes("JOIN a,&b,#", "JOIN :"))
        self.assertEqual(["461"], al.codes("JOIN"))

    def test_too_many_channels_get_405(self) -> None:
        al = Chat(max_channels=1).join("al", "#a")
        self.assertEqual(
            [":irc.example 405 al #b :You are in too many channels"], al.type("JOIN #b")
        )

    def test_zero_leaves_all_channels(self) -> None:
        al = Chat().join("al", "#b", "#a")
        self.assertEqual([f":al!~al@{HOST} PART #a", f":al!~al@{HOST} PART #b"], al.type("JOIN 0"))

    def test_a_full_a_closed_and_a_banned_channel_say_so_and_an_invitation_opens_them(self) -> None:
        for mode, code in (("+l 1", "471"), ("+i", "473"), ("+b bo", "474")):
            chat = Chat()
            al, bo = chat.join("al", "#a"), chat.join("bo")
            al.type(f"MODE #a {mode}")
            self.assertEqual([code], bo.codes("JOIN #a"))
            al.type("INVITE bo #a")
            bo.read()
            self.assertEqual(["JOIN", "353", "366"], bo.codes("JOIN #a"))
            bo.type("PART #a")
            self.assertEqual([code], bo.codes("JOIN #a"))

    def test_extended_join_adds_the_real_name_for_those_who_asked(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a", caps="extended-join"), chat.join("bo", "#a")
        chat.hush(al)
        chat.join("eve", "#a")
        self.assertEqual([f":eve!~eve@{HOST} JOIN #a * :Eve Real"], al.read())
        self.assertEqual([f":eve!~eve@{HOST} JOIN #a"], bo.read())


class PartTests(SynchronousTestCase):
    def test_everybody_is_told_with_the_reason(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a", "#b"), chat.join("bo", "#a")
        chat.hush(al)
        news = [f":al!~al@{HOST} PART #a :must go"]
        self.assertEqual(
            [*news, f":al!~al@{HOST} PART #b :must go"], al.type("PART #A,#b :must go")
        )
        self.assertEqual(news, bo.read())

    def test_a_channel_that_is_not_there_or_not_ones_own_is_refused(self) -> None:
        chat = Chat()
        chat.join("al", "#a")
        self.assertEqual(
            [
                ":irc.example 442 bo #a :You are not on that channel",
                ":irc.example 403 bo #x :No such channel",
                ":irc.example 461 bo PART :Not enough parameters",
            ],
            chat.join("bo").type("PART #A,#x", "PART"),
        )

    def test_a_channel_ends_with_its_last_member_and_forgets_everything(self) -> None:
        al = Chat().join("al", "#a")
        al.type("MODE #a +k x", "TOPIC #a :t", "PART #a")
        self.assertEqual(["JOIN", "353", "366"], al.codes("JOIN #a"))


class NamesTests(SynchronousTestCase):
    def test_the_highest_sign_or_every_sign_and_the_host_if_asked_for(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a")
        al.type("MODE #a +v al")
        self.assertIn(":irc.example 353 al = #a :@al", al.type("NAMES #a"))
        al.type("CAP REQ :multi-prefix userhost-in-names")
        self.assertIn(f":irc.example 353 al = #a :@+al!~al@{HOST}", al.type("NAMES #a"))

    def test_several_channels_and_none(self) -> None:
        al = Chat().join("al", "#a", "#b")
        self.assertEqual(["353", "353", "366"], al.codes("NAMES #a,#b"))
        self.assertEqual(":irc.example 366 al #a,#b :End of NAMES", al.type("NAMES #a,#b")[-1])
        self.assertEqual([":irc.example 366 al * :End of NAMES"], al.type("NAMES"))
        self.assertEqual([":irc.example 366 al #x :End of NAMES"], al.type("NAMES #x"))

    def test_outsiders_see_neither_secret_channels_nor_invisible_members(self) -> None:
        chat = Chat()
        al, bo, eve = chat.join("al", "#a"), chat.join("bo", "#a"), chat.join("eve")
        bo.type("MODE bo +i")
        self.assertEqual(":irc.example 353 eve = #a :@al", eve.type("NAMES #a")[0])
        al.type("MODE #a +s")
        self.assertEqual(["366"], eve.codes("NAMES #a"))
        chat.hush(bo)
        self.assertEqual(":irc.example 353 bo @ #a :@al bo", bo.type("NAMES #a")[0])

    def test_many_names_take_several_lines_that_fit(self) -> None:
        chat = Chat()
        nicks = [f"n{i:02}" + "x" * 27 for i in range(40)]
        clients = [chat.join(nick, "#" + "c" * 63) for nick in nicks]
        clients[0].read()
        lines = clients[0].type("CAP REQ userhost-in-names", f"NAMES #{'c' * 63}")[1:]
        self.assertGreater(len(lines), 3)
        found = [word for line in lines[:-1] for word in line.split(" :", 1)[1].split()]
        self.assertEqual(
            [f"{nick}!~{nick[:10]}@{HOST}" for nick in nicks], [f.lstrip("@") for f in found]
        )
        self.assertLess(max(map(len, lines)), 511)


class TopicTests(SynchronousTestCase):
    def test_it_is_asked_for_set_and_cleared(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo", "#a")
        chat.hush(al)
        self.assertEqual([":irc.example 331 al #a :No topic is set"], al.type("TOPIC #A"))
        news = [f":al!~al@{HOST} TOPIC #a :new"]
        self.assertEqual(news, al.type("TOPIC #A :new"))
        self.assertEqual(news, bo.read())
        self.assertEqual(["332", "333"], bo.codes("TOPIC #a"))
        self.assertEqual([f":al!~al@{HOST} TOPIC #a :"], al.type("TOPIC #a :"))
        self.assertEqual(["331"], al.codes("TOPIC #a"))

    def test_only_operators_set_it_until_t_is_taken_away(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo", "#a")
        self.assertEqual(["482"], bo.codes("TOPIC #a :x"))
        al.type("MODE #a -t")
        bo.read()
        self.assertEqual(["TOPIC"], bo.codes("TOPIC #a :x"))

    def test_it_is_for_members_only(self) -> None:
        chat = Chat()
        chat.join("al", "#a")
        bo = chat.join("bo")
        self.assertEqual(
            ["442", "442", "403", "461"], bo.codes("TOPIC #a", "TOPIC #a :x", "TOPIC #x", "TOPIC")
        )

    def test_a_long_one_is_cut_between_two_characters(self) -> None:
        al = Chat().join("al", "#a")
        self.assertEqual(
            [f":al!~al@{HOST} TOPIC #a :x{'é' * 149}"], al.type("TOPIC #a :x" + "é" * 200)
        )


class KickTests(SynchronousTestCase):
    def test_several_go_and_everybody_is_told(self) -> None:
        chat = Chat()
        al, bo, eve = chat.join("al", "#a"), chat.join("bo", "#a"), chat.join("eve", "#a")
        chat.hush(al, bo, eve)
        news = [f":al!~al@{HOST} KICK #a bo :out", f":al!~al@{HOST} KICK #a eve :out"]
        self.assertEqual(news, al.type("KICK #A BO,eve :out"))
        self.assertEqual(news[:1], bo.read())
        self.assertEqual(news, eve.read())
        self.assertEqual(["442"], bo.codes("PART #a"))

    def test_each_may_be_of_another_channel(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a", "#b"), chat.join("bo", "#a", "#b")
        chat.hush(al)
        self.assertEqual(["KICK", "KICK", "442"], al.codes("KICK #b,#a bo,al,x", "PART #a"))
        bo.read()
        self.assertEqual(["482", "442"], bo.codes("KICK #a,#b al,al"))

    def test_without_a_reason_it_is_the_nick(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a")
        chat.join("bo", "#a")
        al.read()
        self.assertEqual([f":al!~al@{HOST} KICK #a bo :al"], al.type("KICK #a bo"))

    def test_it_is_refused_for_each_thing_that_is_wrong(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo")
        self.assertEqual(["442", "403", "461"], bo.codes("KICK #a al", "KICK #x al", "KICK #a"))
        bo.type("JOIN #a")
        self.assertEqual(["482"], bo.codes("KICK #a al"))
        chat.join("eve")
        al.read()
        self.assertEqual(["401", "441"], al.codes("KICK #a ghost,eve"))


class InviteTests(SynchronousTestCase):
    def test_both_are_told(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo")
        self.assertEqual([":irc.example 341 al bo #a"], al.type("INVITE BO #A"))
        self.assertEqual([f":al!~al@{HOST} INVITE bo #a"], bo.read())

    def test_who_is_away_says_so(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a")
        chat.join("bo").type("AWAY :lunch")
        self.assertEqual(["341", "301"], al.codes("INVITE bo #a"))

    def test_it_is_refused_for_each_thing_that_is_wrong(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo")
        self.assertEqual(
            ["401", "403", "442", "461"],
            bo.codes("INVITE ghost #a", "INVITE al #x", "INVITE al #a", "INVITE al"),
        )
        bo.type("JOIN #a")
        self.assertEqual(["443"], bo.codes("INVITE al #a"))
        chat.join("eve")
        al.type("MODE #a +i")
        bo.read()
        self.assertEqual(["482"], bo.codes("INVITE eve #a"))

    def test_an_invitation_of_somebody_who_is_no_operator_opens_nothing(self) -> None:
        chat = Chat()
        al, bo, eve = chat.join("al", "#a"), chat.join("bo", "#a"), chat.join("eve")
        bo.type("INVITE eve #a")
        al.type("MODE #a +i")
        eve.read()
        self.assertEqual(["473"], eve.codes("JOIN #a"))

    def test_an_invitation_ends_with_the_user_and_with_the_channel(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo")
        al.type("INVITE bo #a")
        bo.vanish()
        self.assertEqual(set(), chat.server.network.channels[b"#a"].invited)
        eve = chat.join("eve")
        al.type("INVITE eve #a", "PART #a")
        self.assertEqual({}, chat.server.network.users[b"eve"].invited)
        eve.read()
