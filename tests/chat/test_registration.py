"""Registration, and the connection itself: PASS NICK USER PING PONG QUIT."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.chat.harness import Chat


class RegistrationTests(SynchronousTestCase):
    def test_nick_and_user_in_either_order_complete_registration(self) -> None:
        for lines in (("NICK al", "USER al 0 * :Al"), ("USER al 0 * :Al", "NICK al")):
            client = Chat().connect()
            self.assertEqual([], client.type(lines[0]))
            codes = client.codes(lines[1])
            self.assertEqual(
                [
                    "001",
                    "002",
                    "003",
                    "004",
                    "005",
                    "251",
                    "252",
                    "253",
                    "254",
                    "255",
                    "265",
                    "266",
                    "422",
                ],
                # 005 comes as often as its tokens need.
                list(dict.fromkeys(codes)),
            )

    def test_the_welcome_names_the_user_and_the_server(self) -> None:
        client = Chat(server_name=b"irc.test", network_name=b"Net").connect()
        lines = client.type("NICK al", "USER al 0 * :Al")
        self.assertEqual(":irc.test 001 al :Welcome to Net, al!~al@192.168.1.1", lines[0])
        self.assertIn(":irc.test 003 al :This server was started 2001-09-09 at 01:46:40 UTC", lines)
        self.assertRegex(
            lines[3], "^:irc.test 004 al irc.test myproject [a-zA-Z]+ [a-zA-Z]+ [a-zA-Z]+$"
        )
        for letters in lines[3].split()[-3:]:
            self.assertEqual("".join(sorted(letters)), letters)

    def test_005_has_at_most_13_tokens_a_line_and_says_what_holds(self) -> None:
        client = Chat(network_name=b"Net", max_channels=7).connect()
        tokens: list[bytes] = []
        for message in client.messages("NICK al", "USER al 0 * :Al"):
            if message.command == b"005":
                self.assertLessEqual(len(message.params), 15)
                tokens += message.params[1:-1]
        for token in (
            "CASEMAPPING=ascii",
            "CHANLIMIT=#:7",
            "CHANMODES=Ibe,k,fl,CMRUimnstu",
            "NETWORK=Net",
            "NICKLEN=30",
            "PREFIX=(qaohv)~&@%+",
            "STATUSMSG=~&@%+",
            "UTF8ONLY",
        ):
            self.assertIn(token.encode(), tokens)
        self.assertEqual(sorted(tokens), tokens)

    def test_the_message_of_the_day_ends_the_welcome(self) -> None:
        client = Chat(motd=b"one\ntwo").connect()
        lines = client.type("NICK al", "USER al 0 * :Al")
        self.assertEqual(
            [":irc.example 372 al :one", ":irc.example 372 al :two"],
            [line for line in lines if " 372 " in line],
        )
        self.assertIn(" 376 ", lines[-1])

    def test_a_nick_is_refused_that_is_missing_wrong_or_taken(self) -> None:
        chat = Chat()
        chat.join("al")
        client = chat.connect()
        self.assertEqual(
            [
                ":irc.example 431 * :No nickname given",
                ":irc.example 431 * :No nickname given",
                ":irc.example 432 * 1x :That nickname is not allowed",
                ":irc.example 432 * x :That nickname is not allowed",
                ":irc.example 432 * * :That nickname is not allowed",
                ":irc.example 433 * AL :That nickname is in use",
            ],
            client.type("NICK", "NICK :", "NICK 1x", "NICK ::x", "NICK : ", "NICK AL"),
        )

    def test_of_two_who_wish_for_a_nick_the_first_to_finish_gets_it(self) -> None:
        chat = Chat()
        one, two = chat.connect(), chat.connect()
        one.type("NICK AL")
        two.type("NICK al")
        self.assertEqual("001", two.codes("USER b 0 * :B")[0])
        self.assertEqual(
            [":irc.example 433 * AL :That nickname is in use"], one.type("USER a 0 * :A")
        )
        self.assertEqual("001", one.codes("NICK bo")[0])

    def test_a_nick_is_free_when_its_user_is_gone(self) -> None:
        chat = Chat()
        chat.join("al").vanish()
        self.assertEqual("001", chat.connect().codes("NICK al", "USER al 0 * :Al")[0])

    def test_user_needs_four_parameters_a_name_and_a_real_name(self) -> None:
        client = Chat().connect()
        self.assertEqual(
            ["461", "461", "468", "468"],
            client.codes("USER a 0 *", "USER a 0 * :", "USER a@b 0 * :A", "USER é 0 * :A"),
        )

    def test_registering_again_is_refused(self) -> None:
        client = Chat().join("al")
        self.assertEqual(["462", "462"], client.codes("USER a 0 * :A", "PASS x"))

    def test_a_password_nobody_asked_for_is_fine(self) -> None:
        client = Chat().connect()
        self.assertEqual(["461"], client.codes("PASS", "PASS secret"))
        self.assertEqual("001", client.codes("NICK al", "USER al 0 * :Al")[0])

    def test_commands_before_registration_get_451_and_unknown_ones_421(self) -> None:
        client = Chat().connect()
        client.type("NICK al")
        self.assertEqual(
            [
                ":irc.example 451 al :You have not registered: send NICK and USER first",
                ":irc.example 421 al NONSENSE :Unknown command",
            ],
            client.type("JOIN #a", "NONSENSE a b"),
        )


class ConnectionTests(SynchronousTestCase):
    def test_ping_is_answered_with_its_token_before_and_after_registration(self) -> None:
        client = Chat().connect()
        self.assertEqual([":irc.example PONG irc.example :a b"], client.type("PING :a b"))
        client.type("NICK al", "USER al 0 * :Al")
        self.assertEqual([":irc.example PONG irc.example :x"], client.type("ping x"))

    def test_ping_without_a_token_gets_409_and_pong_nothing(self) -> None:
        self.assertEqual(["409", "409"], Chat().connect().codes("PING", "PING :", "PONG x", "PONG"))

    def test_pong_comes_behind_what_was_coming(self) -> None:
        client = Chat().join("al")
        self.assertEqual(["JOIN", "353", "366", "PONG"], client.codes("JOIN #a", "PING x"))

    def test_quit_before_registration_gets_error_and_a_close(self) -> None:
        client = Chat().connect()
        self.assertEqual(["ERROR :Closing link: 192.168.1.1 (Quit)"], client.type("QUIT"))
        self.assertTrue(client.transport.disconnecting)

    def test_quit_is_told_to_each_who_shares_a_channel_once(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a", "#b")
        bo = chat.join("bo", "#a", "#b")
        eve = chat.join("eve", "#c")
        chat.hush(al, bo, eve)
        self.assertEqual(
            ["ERROR :Closing link: 192.168.1.1 (Quit: so long)"], al.type("QUIT :so long")
        )
        self.assertEqual([":al!~al@192.168.1.1 QUIT :Quit: so long"], bo.read())
        self.assertEqual([], eve.read())

    def test_what_comes_behind_quit_is_not_read(self) -> None:
        chat = Chat()
        bo = chat.join("bo")
        chat.join("al").type("QUIT", "PRIVMSG bo :still here")
        self.assertEqual([], bo.read())

    def test_a_lost_connection_is_told_with_how_it_was_lost(self) -> None:
        chat = Chat()
        bo = chat.join("bo", "#a")
        for cleanly, words in ((True, "Connection closed"), (False, "Connection lost")):
            al = chat.join("al", "#a")
            bo.read()
            al.vanish(cleanly=cleanly)
            self.assertEqual([f":al!~al@192.168.1.1 QUIT :{words}"], bo.read())

    def test_losing_a_connection_that_was_closed_is_no_news(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo", "#a")
        al.type("QUIT")
        bo.read()
        al.vanish()
        self.assertEqual([], bo.read())
        self.assertEqual(1, len(chat.server.wheel))

    def test_losing_an_unregistered_connection_is_told_to_nobody(self) -> None:
        chat = Chat()
        bo = chat.join("bo")
        chat.connect().vanish()
        self.assertEqual([], bo.read())
        self.assertEqual(1, len(chat.server.sessions))


class NickChangeTests(SynchronousTestCase):
    def test_a_new_nick_is_told_to_oneself_and_peers_under_the_old_one(self) -> None:
        chat = Chat()
        al, bo, eve = chat.join("al", "#a"), chat.join("bo", "#a"), chat.join("eve")
        chat.hush(al, bo)
        news = [":al!~al@192.168.1.1 NICK alice"]
        self.assertEqual(news, al.type("NICK alice"))
        self.assertEqual(news, bo.read())
        self.assertEqual([], eve.read())
        self.assertEqual([], eve.type("PRIVMSG alice :x"))
        self.assertEqual([":eve!~eve@192.168.1.1 PRIVMSG alice :x"], al.read())

    def test_the_case_of_ones_own_nick_may_change_and_the_same_nick_is_no_news(self) -> None:
        al = Chat().join("al")
        self.assertEqual([":al!~al@192.168.1.1 NICK AL"], al.type("NICK AL"))
        self.assertEqual([], al.type("NICK AL"))

    def test_a_nick_in_use_or_wrong_is_refused_and_the_old_one_stays(self) -> None:
        chat = Chat()
        chat.join("bo")
        al = chat.join("al")
        self.assertEqual(["433", "432", "431"], al.codes("NICK BO", "NICK 9", "NICK"))
        self.assertEqual([":al!~al@192.168.1.1 NICK x"], al.type("NICK x"))
