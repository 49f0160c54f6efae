"""Messages: PRIVMSG NOTICE TAGMSG, to users, channels and ranks."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.chat.harness import Chat

HOST = "192.168.1.1"


class TargetTests(SynchronousTestCase):
    def test_a_channel_gets_it_but_for_the_sender(self) -> None:
        chat = Chat()
        al, bo, eve = chat.join("al", "#a"), chat.join("bo", "#a"), chat.join("eve")
        chat.hush(al)
        self.assertEqual([], al.type("PRIVMSG #A :hi there", "NOTICE #a x"))
        self.assertEqual(
            [f":al!~al@{HOST} PRIVMSG #a :hi there", f":al!~al@{HOST} NOTICE #a :x"], bo.read()
        )
        self.assertEqual([], eve.read())

    def test_several_targets_each_get_their_own_once(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo", "#a")
        bo.read()
        al.type("PRIVMSG BO,#a,,BO :x")
        self.assertEqual(
            [f":al!~al@{HOST} PRIVMSG bo :x", f":al!~al@{HOST} PRIVMSG #a :x"], bo.read()[:2]
        )

    def test_a_fifth_target_gets_407(self) -> None:
        chat = Chat()
        al = chat.join("al")
        for nick in "bcdef":
            chat.join(nick)
        self.assertEqual(
            [":irc.example 407 al f :Too many targets"], al.type("PRIVMSG b,c,d,e,f :x")
        )

    def test_oneself_gets_it_too(self) -> None:
        al = Chat().join("al")
        self.assertEqual([f":al!~al@{HOST} PRIVMSG al :x"], al.type("PRIVMSG al x"))

    def test_a_rank_of_a_channel_gets_it(self) -> None:
        chat = Chat()
        op, voice, plain = chat.join("op", "#a"), chat.join("vo", "#a"), chat.join("pl", "#a")
        op.type("MODE #a +v vo")
        chat.hush(op, voice, plain)
        plain.type("PRIVMSG @#a :to ops", "PRIVMSG +#A :to voices")
        voices = f":pl!~pl@{HOST} PRIVMSG +#a :to voices"
        self.assertEqual([f":pl!~pl@{HOST} PRIVMSG @#a :to ops", voices], op.read())
        self.assertEqual([voices], voice.read())
        self.assertEqual(["401", "403"], plain.codes("PRIVMSG @+#a :x", "PRIVMSG @#x :x"))


class RefusalTests(SynchronousTestCase):
    def test_what_is_missing_or_not_there_is_named(self) -> None:
        al = Chat().join("al")
        self.assertEqual(
            [
                ":irc.example 411 al :No recipient given",
                ":irc.example 411 al :No recipient given",
                ":irc.example 412 al :No text to send",
                ":irc.example 412 al :No text to send",
                ":irc.example 401 al ghost :No such nick",
                ":irc.example 403 al #x :No such channel",
            ],
            al.type("PRIVMSG", "PRIVMSG :", "PRIVMSG al", "PRIVMSG al :", "PRIVMSG ghost,#x :x"),
        )

    def test_a_notice_is_never_answered(self) -> None:
        chat = Chat()
        chat.join("bo").type("AWAY :x")
        lines = ("NOTICE", "NOTICE al", "NOTICE ghost :x", "NOTICE #x :x", "NOTICE bo :x")
        self.assertEqual([], chat.join("al").type(*lines))

    def test_outsiders_are_kept_out_until_n_is_taken_away(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo")
        self.assertEqual(
            [":irc.example 404 bo #a :Cannot send to channel"], bo.type("PRIVMSG #A :x")
        )
        al.type("MODE #a -n")
        self.assertEqual([], bo.type("PRIVMSG #a :x"))
        self.assertEqual([f":bo!~bo@{HOST} PRIVMSG #a :x"], al.read())

    def test_a_moderated_channel_hears_those_with_a_rank(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo", "#a")
        al.type("MODE #a +m")
        bo.read()
        self.assertEqual(["404"], bo.codes("PRIVMSG #a :x"))
        al.type("MODE #a +v bo")
        bo.read()
        self.assertEqual([], bo.type("PRIVMSG #a :x"))

    def test_a_banned_member_is_silent_unless_voiced(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo", "#a")
        al.type("MODE #a +b BO!*@*")
        bo.read()
        self.assertEqual(["404"], bo.codes("PRIVMSG #a :x"))
        al.type("MODE #a +v bo")
        bo.read()
        self.assertEqual([], bo.type("PRIVMSG #a :x"))

    def test_who_writes_to_somebody_away_is_told_why(self) -> None:
        chat = Chat()
        chat.join("bo").type("AWAY :at lunch")
        self.assertEqual([":irc.example 301 al bo :at lunch"], chat.join("al").type("PRIVMSG bo x"))


def nameless(lines: list[str]) -> list[str]:
    """The lines without the message ids, which only have to be there."""
    return [re.sub("msgid=[^; ]+", "msgid=", line) for line in lines]


class TagTests(SynchronousTestCase):
    def test_client_tags_reach_those_who_asked_for_tags(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a", caps="message-tags")
        bo, eve = chat.join("bo", "#a", caps="message-tags"), chat.join("eve", "#a")
        chat.hush(al, bo)
        al.type(r"@+a/b=x\sy;plain=1;+=1;+bad!=1;+empty= PRIVMSG #a :hi")
        self.assertEqual(
            [rf"@msgid=;+a/b=x\sy;+empty :al!~al@{HOST} PRIVMSG #a :hi"], nameless(bo.read())
        )
        self.assertEqual([f":al!~al@{HOST} PRIVMSG #a :hi"], eve.read())

    def test_tagmsg_goes_only_to_those_who_asked_for_tags(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a", caps="message-tags echo-message")
        bo, eve = chat.join("bo", "#a", caps="message-tags"), chat.join("eve", "#a")
        chat.hush(al, bo)
        news = al.type("@+typing=active TAGMSG #a")
        self.assertEqual([f"@msgid=;+typing=active :al!~al@{HOST} TAGMSG #a"], nameless(news))
        self.assertEqual(news, bo.read())
        self.assertEqual([], eve.read())
        self.assertEqual(["411", "401"], al.codes("TAGMSG", "TAGMSG ghost"))

    def test_the_server_time_is_the_same_for_all_and_in_utc(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a")
        bo = chat.join("bo", "#a", caps="server-time")
        eve = chat.join("eve", "#a", caps="server-time message-tags")
        chat.clock.advance(1.5)
        chat.hush(al, bo)
        al.type("@+x PRIVMSG #a :hi")
        stamp = "time=2001-09-09T01:46:41.500Z"
        self.assertEqual([f"@{stamp} :al!~al@{HOST} PRIVMSG #a :hi"], bo.read())
        self.assertEqual(
            [f"@{stamp};msgid=;+x :al!~al@{HOST} PRIVMSG #a :hi"], nameless(eve.read())
        )

    def test_echo_message_gives_the_sender_what_was_sent(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a", caps="echo-message")
        chat.join("bo")
        self.assertEqual([f":al!~al@{HOST} PRIVMSG #a :x"], al.type("PRIVMSG #a x"))
        self.assertEqual([f":al!~al@{HOST} NOTICE bo :x"], al.type("NOTICE bo x"))
        self.assertEqual([f":al!~al@{HOST} PRIVMSG al :x"] * 2, al.type("PRIVMSG al x"))
        self.assertEqual([], al.type("TAGMSG #a"))
        self.assertEqual(["401"], al.codes("PRIVMSG ghost x"))

    def test_tags_of_the_largest_size_are_relayed_with_a_full_line(self) -> None:
        chat = Chat()
        al = chat.join("al", caps="message-tags")
        bo = chat.join("bo", caps="message-tags server-time")
        tags = "+a=" + "v" * 4091
        self.assertEqual([], al.type(f"@{tags} PRIVMSG bo :{'x' * 490}"))
        (line,) = bo.read()
        self.assertIn(f";{tags} :al!", line)
        self.assertEqual(510, len(line.split(" ", 1)[1]))
        self.assertEqual(["417"], al.codes(f"@{tags}v PRIVMSG bo :x"))
