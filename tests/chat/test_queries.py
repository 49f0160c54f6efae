"""Questions, and what users say of themselves: LUSERS MOTD WHO WHOIS ISON USERHOST AWAY SETNAME."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat import state
from myproject_chat.commands import COMMANDS
from myproject_chat.configuration import Limits
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

    def test_operators_and_bots_are_marked_and_operators_found_alone(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo", "#a")
        chat.hush(al)
        self.assertEqual(["315"], al.codes("WHO #a o"))
        chat.promote(bo)
        bo.type("MODE bo +B")
        lines = al.type("WHO #a o")
        self.assertEqual(2, len(lines))
        self.assertIn(" bo H*B :0 Bo Real", lines[0])

    def test_operators_find_who_is_invisible_and_by_address(self) -> None:
        chat = Chat()
        op, _ = chat.join("op"), chat.join("bo").type("MODE bo +i")
        chat.server.network.users[b"bo"].host = b"cloak"
        self.assertEqual(["315"], op.codes("WHO b*"))
        chat.promote(op, "see-all")
        self.assertEqual(["352", "315"], op.codes("WHO b*"))
        self.assertEqual(2, op.codes(f"WHO {HOST}").count("352"))


class WhoxTests(SynchronousTestCase):
    def test_each_field_in_its_place_whatever_the_order_asked_for(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo", "#a")
        chat.server.network.users[b"bo"].account = b"Bob"
        chat.hush(al)
        chat.wait(3)
        rest = f"~bo 255.255.255.255 {HOST} irc.example bo H 0 3 Bob n/a :Bo Real"
        line = f":irc.example 354 al 12 #a {rest}"
        for letters in ("tcuihsnfdlaor", "roaldfnshiuct"):
            self.assertEqual(line, al.type(f"WHO bo %{letters},12")[0])
        self.assertIn(f" 354 bo ~bo {HOST}", bo.type("WHO bo %ui")[0])

    def test_what_is_not_asked_for_is_not_there(self) -> None:
        al = Chat().join("al")
        for words, shown in (
            ("%na", "al 0"),
            ("o%n", None),
            ("%t,7", "7"),
            ("%t,1234", "0"),
            ("%t,x", "0"),
        ):
            lines = al.type(f"WHO al {words}")
            expected = [] if shown is None else [f":irc.example 354 al {shown}"]
            self.assertEqual(expected, lines[:-1])


class WhoisTests(SynchronousTestCase):
    def test_what_is_known_is_said(self) -> None:
        chat = Chat(description=b"Ours")
        al, bo = chat.join("al"), chat.join("bo", "#a")
        bo.type("AWAY :gone", "PRIVMSG bo :x")
        chat.wait(7)
        expected = [
            f":irc.example 311 al bo ~bo {HOST} * :Bo Real",
            ":irc.example 319 al bo :@#a",
            ":irc.example 312 al bo irc.example :Ours",
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

    def test_what_else_there_is_to_know(self) -> None:
        chat = Chat()
        al, bo = chat.join("al"), chat.join("bo")
        bo.type("MODE bo +B")
        chat.promote(bo)
        user = chat.server.network.users[b"bo"]
        user.account = b"Bob"
        session = bo.protocol.session
        session.secure, session.fingerprint = True, b"ab" * 32
        public = [
            ":irc.example 313 al bo :is an operator of this server",
            ":irc.example 330 al bo Bob :is logged in as",
            ":irc.example 335 al bo :is a bot",
            ":irc.example 671 al bo :is using a secure connection",
        ]
        self.assertEqual(public, al.type("WHOIS bo")[2:-2])
        private = [
            ":irc.example 379 bo bo :is using modes +Bo",
            f":irc.example 338 bo bo ~bo@{HOST} {HOST} :is actually at",
            f":irc.example 276 bo bo :has client certificate fingerprint {'ab' * 32}",
        ]
        self.assertEqual(private, bo.type("WHOIS bo")[-5:-2])

    def test_operators_who_see_all_see_what_is_secret_and_who_hides(self) -> None:
        for privileges, seen in (("see-all",), True), (("ban", "stats"), False):
            chat = Chat()
            op, bo = chat.join("op"), chat.join("bo", "#a")
            bo.type("MODE #a +s", "MODE bo +i")
            chat.promote(op, *privileges)
            self.assertEqual(seen, "319" in op.codes("WHOIS bo"))
            self.assertEqual(seen, "322" in op.codes("LIST"))
            self.assertEqual(seen, "353" in op.codes("NAMES #a"))
            self.assertEqual(seen, "352" in op.codes("WHO #a"))
            self.assertEqual(seen, "352" in op.codes("WHO b*"))

    def test_whom_operators_who_ban_see_the_addresses_of(self) -> None:
        for privileges, seen in ((("ban",), True), (("see-all",), True), (("kill",), False)):
            chat = Chat()
            op, _ = chat.join("op"), chat.join("bo")
            chat.promote(op, *privileges)
            self.assertEqual(seen, "338" in op.codes("WHOIS bo"))
            shown = HOST if seen else "255.255.255.255"
            self.assertIn(f":irc.example 354 op {shown}", op.type("WHO bo %i"))


class WhowasTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat()
        self.al = self.chat.join("al")
        for _ in range(12):
            self.chat.join("bo").vanish()

    def test_the_last_come_first_and_ten_of_a_nick_are_remembered(self) -> None:
        lines = self.al.type("WHOWAS BO,x")
        self.assertEqual(f":irc.example 314 al bo ~bo {HOST} * :Bo Real", lines[0])
        self.assertEqual(":irc.example 312 al bo irc.example :2001-09-09 01:46:40 UTC", lines[1])
        self.assertEqual(10, len([line for line in lines if " 314 " in line]))
        self.assertEqual(":irc.example 369 al BO :End of WHOWAS", lines[-1])

    def test_a_count_bounds_them_if_it_is_one(self) -> None:
        for count, expected in (
            ("1", 1),
            ("2", 2),
            ("0", 10),
            ("-1", 10),
            ("x", 10),
            ("9" * 99, 10),
        ):
            self.assertEqual(expected, self.al.codes(f"WHOWAS bo {count}").count("314"))

    def test_who_takes_another_nick_was_somebody_too(self) -> None:
        self.al.type("NICK el")
        self.assertEqual(["314", "312", "369"], self.al.codes("WHOWAS al"))

    def test_nobody_and_nothing(self) -> None:
        self.assertEqual(["406", "369"], self.al.codes("WHOWAS ghost"))
        self.assertEqual(["431"], self.al.codes("WHOWAS"))

    def test_nicks_of_long_ago_are_forgotten(self) -> None:
        self.chat.server.reload(replace(self.chat.server.settings, limits=Limits(whowas=2)))
        for nick in ("cy", "dee"):
            self.chat.join(nick).vanish()
        self.assertEqual(2, len(self.chat.server.whowas))
        self.assertEqual(["406", "369"], self.al.codes("WHOWAS bo"))


class InformationTests(SynchronousTestCase):
    def test_what_the_server_says_of_itself(self) -> None:
        al = Chat(version=lambda: b"myproject-1").join("al")
        for line, expected in (
            ("TIME", [":irc.example 391 al irc.example :Sunday 2001-09-09 01:46:40 UTC"]),
            (
                "MAP",
                [":irc.example 006 al :irc.example (1 users)", ":irc.example 007 al :End of MAP"],
            ),
            (
                "INFO",
                [
                    ":irc.example 371 al :an IRC server",
                    ":irc.example 371 al :myproject-1, an IRC server on Twisted",
                    ":irc.example 371 al :Running since 2001-09-09 01:46:40 UTC",
                    ":irc.example 374 al :End of INFO",
                ],
            ),
        ):
            self.assertEqual(expected, al.type(line))
        lines = al.type("VERSION")
        self.assertEqual(":irc.example 351 al myproject-1 irc.example :", lines[0])
        self.assertEqual({"005"}, {line.split()[1] for line in lines[1:]})
        self.assertEqual([":irc.example 365 al * :End of LINKS"], al.type("LINKS"))

    def test_help_names_all_commands_and_knows_each(self) -> None:
        al = Chat().join("al")
        lines = al.type("HELP")
        self.assertEqual(
            ":irc.example 704 al * :Commands; HELP and the name of one says more", lines[0]
        )
        named = [name for line in lines[1:-1] for name in line.split(" :")[1].split()]
        self.assertEqual(sorted(name.decode() for name in COMMANDS), named)
        for name in named:
            codes = al.codes(f"HELP {name.lower()}")
            self.assertEqual(("704", "706", {"705"}), (codes[0], codes[-1], set(codes[1:-1])))
        self.assertEqual(al.type("HELP PRIVMSG"), al.type("HELPOP PRIVMSG"))
        self.assertEqual([":irc.example 524 al x :There is no help on that"], al.type("HELP x"))


class UserModeTests(SynchronousTestCase):
    def test_operator_is_not_for_oneself_to_be_but_to_cease_to_be(self) -> None:
        chat = Chat()
        al = chat.join("al")
        self.assertEqual([], al.type("MODE al +os"))
        chat.promote(al)
        notices = ":irc.example 008 al +fkox :are the notices that you hear"
        self.assertEqual([f":al!~al@{HOST} MODE al +sw", notices], al.type("MODE al +sw"))
        self.assertEqual([f":al!~al@{HOST} MODE al -os"], al.type("MODE al -o"))
        self.assertEqual([":irc.example 221 al +w"], al.type("MODE al"))

    def test_a_bots_messages_say_so(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", caps="message-tags"), chat.join("bo")
        bo.type("MODE bo +B", "PRIVMSG al :beep")
        self.assertRegex(al.read()[0], "^@msgid=[^;]+;bot :bo!")

    def test_who_wants_no_ctcp_gets_none_but_actions(self) -> None:
        chat = Chat()
        al, bo = chat.join("al"), chat.join("bo")
        bo.type("MODE bo +T")
        self.assertEqual(["531"], al.codes("PRIVMSG bo :\1VERSION\1"))
        self.assertEqual([], bo.read())
        al.type("PRIVMSG bo :\1ACTION waves\1")
        self.assertEqual(1, len(bo.read()))

    def test_who_wants_accounts_only_hears_those_it_accepts_or_wrote_to(self) -> None:
        chat = Chat()
        al, bo, cy = chat.join("al"), chat.join("bo"), chat.join("cy")
        bo.type("MODE bo +R")
        self.assertEqual(["477"], al.codes("PRIVMSG bo :hi"))
        self.assertEqual([], al.codes("NOTICE bo :hi"))
        self.assertEqual([], bo.codes("ACCEPT al,-cy,-ghost"))
        al.type("PRIVMSG bo :hi")
        self.assertEqual(1, len(bo.read()))
        self.assertEqual(
            [":irc.example 281 bo :al", ":irc.example 282 bo :End of ACCEPT"], bo.type("ACCEPT *")
        )
        bo.type("ACCEPT -al", "PRIVMSG cy :hello")
        self.assertEqual(["477"], al.codes("PRIVMSG bo :hi"))
        cy.type("PRIVMSG bo :hello yourself")
        chat.server.network.users[b"al"].account = b"al"
        al.type("PRIVMSG bo :hi")
        self.assertEqual(2, len(bo.read()))
        self.assertEqual(["401"], bo.codes("ACCEPT ghost"))

    def test_there_is_an_end_to_whom_one_accepts_and_the_gone_make_room(self) -> None:
        self.patch(state, "MAX_ACCEPTED", 2)
        chat = Chat()
        bo, first = chat.join("bo"), chat.join("first")
        for nick in ("second", "third"):
            chat.join(nick)
        self.assertEqual(["456"], bo.codes("ACCEPT first,second,third"))
        first.vanish()
        self.assertEqual([], bo.codes("ACCEPT third"))
        self.assertEqual(":irc.example 281 bo :second third", bo.type("ACCEPT *")[0])


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
