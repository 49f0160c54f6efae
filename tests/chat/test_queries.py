"""Questions, and what users say of themselves: LUSERS MOTD WHO WHOIS ISON USERHOST AWAY SETNAME."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.chat.harness import EPOCH, Chat

HOST = "192.168.1.1"


class LusersTests(SynchronousTestCase):
    def test_the_numbers_add_up(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a")
        chat.join("bo").type("MODE bo +i")
        chat.join("eve").vanish()
        chat.connect()
        self.assertEqual(
            [
                ":irc.example 251 al :There are 1 users and 1 invisible on 1 server",
                ":irc.example 252 al 0 :operators online",
                ":irc.example 253 al 1 :connections not registered yet",
                ":irc.example 254 al 1 :channels formed",
                ":irc.example 255 al :I have 2 clients and 0 servers",
                ":irc.example 265 al 2 3 :Current local users 2, max 3",
                ":irc.example 266 al 2 3 :Current global users 2, max 3",
            ],
            al.type("LUSERS"),
        )

    def test_who_leaves_invisible_is_not_counted_any_more(self) -> None:
        chat = Chat()
        al, bo = chat.join("al"), chat.join("bo")
        bo.type("MODE bo +i", "QUIT")
        self.assertIn("There are 1 users and 0 invisible", al.type("LUSERS")[0])


class MotdTests(SynchronousTestCase):
    def test_it_is_said_again_on_demand(self) -> None:
        self.assertEqual(["375", "372", "376"], Chat(motd=b"x").join("al").codes("MOTD"))
        self.assertEqual(["422"], Chat().join("al").codes("MOTD"))


class WhoTests(SynchronousTestCase):
    def test_a_channel_is_listed_with_ranks_and_absence(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo", "#a")
        bo.type("AWAY :x")
        al.type("MODE #a +v al")
        self.assertEqual(
            [
                f":irc.example 352 al #a ~al {HOST} irc.example al H@ :0 Al Real",
                f":irc.example 352 al #a ~bo {HOST} irc.example bo G :0 Bo Real",
                ":irc.example 315 al #A :End of WHO",
            ],
            al.type("WHO #A"),
        )
        self.assertIn(" al H@+ :", al.type("CAP REQ multi-prefix", "WHO #a")[1])

    def test_outsiders_see_neither_secret_channels_nor_invisible_members(self) -> None:
        chat = Chat()
        al, eve = chat.join("al", "#a"), chat.join("eve")
        chat.join("bo", "#a").type("MODE bo +i")
        self.assertEqual(["352", "315"], eve.codes("WHO #a"))
        al.type("MODE #a +s")
        self.assertEqual(["315"], eve.codes("WHO #a"))
        self.assertEqual(["315"], eve.codes("WHO #x"))

    def test_a_mask_finds_by_nick_user_host_and_real_name(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a")
        chat.join("bo", "#a")
        for mask, count in {
            "b?": 1,
            "~a*": 1,
            HOST: 2,
            "*Real": 2,
            "*": 2,
            "0": 2,
            "x*": 0,
        }.items():
            self.assertEqual(count, al.codes(f"WHO :{mask}").count("352"), mask)
        self.assertEqual(["352", "352", "315"], al.codes("WHO"))
        self.assertIn(" 352 al #a ", al.type("WHO bo")[0])

    def test_who_is_invisible_is_found_by_the_whole_nick_or_by_those_nearby(self) -> None:
        chat = Chat()
        al, bo, eve = chat.join("al"), chat.join("bo", "#a"), chat.join("eve", "#a")
        bo.type("MODE bo +i")
        chat.hush(eve)
        self.assertEqual(["315"], al.codes("WHO b*"))
        self.assertIn(f" 352 al * ~bo {HOST} irc.example bo H :0", al.type("WHO Bo")[0])
        self.assertEqual(["352", "315"], eve.codes("WHO b*"))
        self.assertEqual(["352", "315"], bo.codes("WHO b*"))

    def test_nobody_is_an_operator_of_the_server(self) -> None:
        self.assertEqual(["315"], Chat().join("al", "#a").codes("WHO #a o"))


class WhoisTests(SynchronousTestCase):
    def test_what_is_known_is_said(self) -> None:
        chat = Chat(network_name=b"Net")
        al, bo = chat.join("al"), chat.join("bo", "#a")
        bo.type("AWAY :gone", "PRIVMSG bo :x")
        chat.wait(7)
        expected = [
            f":irc.example 311 al bo ~bo {HOST} * :Bo Real",
            ":irc.example 319 al bo :@#a",
            ":irc.example 312 al bo irc.example :Net",
            ":irc.example 301 al bo :gone",
            f":irc.example 317 al bo 7 {EPOCH} :seconds idle, signon time",
            ":irc.example 318 al bo :End of WHOIS",
        ]
        self.assertEqual(expected, al.type("WHOIS BO"))
        self.assertEqual(expected, al.type("WHOIS irc.example Bo,x"))

    def test_an_unknown_nick_gets_401_and_318_and_none_431(self) -> None:
        al = Chat().join("al")
        self.assertEqual(
            [
                ":irc.example 401 al ghost :No such nick",
                ":irc.example 318 al ghost :End of WHOIS",
                ":irc.example 431 al :No nickname given",
                ":irc.example 431 al :No nickname given",
            ],
            al.type("WHOIS ghost", "WHOIS", "WHOIS :"),
        )

    def test_secret_channels_and_those_of_invisible_users_show_to_members_only(self) -> None:
        chat = Chat()
        al, bo = chat.join("al"), chat.join("bo", "#a")
        bo.type("MODE #a +s")
        self.assertNotIn("319", al.codes("WHOIS bo"))
        bo.type("MODE #a -s", "MODE bo +i")
        self.assertNotIn("319", al.codes("WHOIS bo"))
        al.type("JOIN #a")
        self.assertIn("319", al.codes("WHOIS bo"))


class IsonTests(SynchronousTestCase):
    def test_who_is_there_is_named_as_written_by_themselves(self) -> None:
        chat = Chat()
        al = chat.join("al")
        chat.join("Bo")
        self.assertEqual([":irc.example 303 al :Bo al"], al.type("ISON bo ghost :al x"))
        self.assertEqual([":irc.example 303 al :"], al.type("ISON ghost"))

    def test_userhost_says_where_from_and_whether_away(self) -> None:
        chat = Chat()
        al = chat.join("al")
        chat.join("bo").type("AWAY :x")
        self.assertEqual(
            [f":irc.example 302 al :al=+~al@{HOST} bo=-~bo@{HOST}"], al.type("USERHOST al bo x")
        )
        self.assertEqual([":irc.example 302 al :"], al.type("USERHOST a b c d e al"))


class AwayTests(SynchronousTestCase):
    def test_going_and_coming_back_are_confirmed(self) -> None:
        al = Chat().join("al")
        self.assertEqual(
            ["306", "305", "305", "306", "305"],
            al.codes("AWAY :x", "AWAY", "AWAY", "AWAY :y", "AWAY :"),
        )

    def test_those_who_asked_are_told_of_changes_and_at_a_join(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a", "#b", caps="away-notify")
        bo, eve = chat.join("bo", "#a"), chat.join("eve", "#a")
        chat.hush(al, bo)
        eve.type("AWAY :x", "AWAY :x", "AWAY")
        self.assertEqual([f":eve!~eve@{HOST} AWAY :x", f":eve!~eve@{HOST} AWAY"], al.read())
        self.assertEqual([], bo.read())
        eve.type("AWAY :x")
        al.read()
        eve.type("JOIN #b")
        self.assertEqual([f":eve!~eve@{HOST} JOIN #b", f":eve!~eve@{HOST} AWAY :x"], al.read())


class SetnameTests(SynchronousTestCase):
    def test_a_new_real_name_is_told_to_those_who_asked(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a", caps="setname"), chat.join("bo", "#a", caps="setname")
        eve = chat.join("eve", "#a")
        chat.hush(al, bo, eve)
        news = [f":al!~al@{HOST} SETNAME :New Name"]
        self.assertEqual(news, al.type("SETNAME :New Name"))
        self.assertEqual(news, bo.read())
        self.assertEqual([], eve.read())
        self.assertIn(":New Name", eve.type("WHOIS al")[0])

    def test_one_that_is_empty_or_too_long_is_refused(self) -> None:
        al = Chat().join("al")
        for bad in ("", "x" * 129):
            (line,) = al.type(f"SETNAME :{bad}")
            self.assertTrue(line.startswith(":irc.example FAIL SETNAME INVALID_REALNAME :"), line)
