"""Lengths, numbers and frequencies: what the operator sets is what is kept, and what 005 says."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.configuration import Accounts, Channels, Limits, Operator, Throttle
from myproject_chat.configuration.fields import Fingerprint, Network
from tests.chat.harness import CHEAP, Chat, Client

SMALL = Limits(
    nick=9,
    channel=16,
    topic=50,
    kick=51,
    away=52,
    real_name=10,
    max_bans=2,
    max_targets=2,
    invitations=2,
    monitor=3,
)
LONG = "w" * 300
MARK = "cd" * 32


class LengthTests(SynchronousTestCase):
    def setUp(self) -> None:
        loose = Accounts(default_modes="", hash=CHEAP.hash, nick_reservation="optional")
        self.chat = Chat(limits=SMALL, accounts=loose)
        self.al = self.chat.join("al", "#a")

    def test_005_says_what_is_kept(self) -> None:
        told = " ".join(self.chat.connect().type("NICK eve", "USER eve 0 * :Eve"))
        for token in (
            *("AWAYLEN=52", "CHANNELLEN=16", "KICKLEN=51", "MAXLIST=Ibe:2", "MONITOR=3"),
            *("NAMELEN=10", "NICKLEN=9", "TOPICLEN=50", "PRIVMSG:2", "NOTICE:2", "TAGMSG:2"),
        ):
            self.assertIn(token, told)

    def test_nicks_and_accounts(self) -> None:
        self.assertEqual(["432"], self.al.codes("NICK " + "n" * 10))
        self.assertEqual(["NICK"], self.al.codes("NICK " + "n" * 9))
        self.assertIn(
            "BAD_ACCOUNT_NAME", self.al.type(f"REGISTER {'n' * 10} * long-enough-word")[0]
        )

    def test_channels_and_their_new_names(self) -> None:
        self.assertEqual(["403"], self.al.codes("JOIN #" + "c" * 16))
        self.assertIn("JOIN", self.al.codes("JOIN #" + "c" * 15))
        self.assertIn("CANNOT_RENAME", self.al.type("RENAME #a #" + "c" * 16)[0])

    def test_a_channel_from_before_may_be_joined(self) -> None:
        bo = self.chat.join("bo")
        self.chat.server.reload(replace(self.chat.server.settings, limits=Limits()))
        self.al.type("JOIN #" + "c" * 30)
        self.chat.server.reload(replace(self.chat.server.settings, limits=SMALL))
        self.assertIn("JOIN", bo.codes("JOIN #" + "c" * 30))

    def test_words(self) -> None:
        bo = self.chat.join("bo", "#a")
        self.al.read()
        for said, longest in (("TOPIC #a", 50), ("KICK #a bo", 51)):
            (line,) = self.al.type(f"{said} :{LONG}")
            self.assertEqual(longest, line.count("w"))
        self.al.type(f"AWAY :{LONG}")
        self.assertEqual(52, bo.type("PRIVMSG al :hi")[-1].count("w"))
        eve = self.chat.connect()
        eve.type("NICK eve", f"USER eve 0 * :{LONG}")
        (line,) = [line for line in eve.type("WHOIS eve") if " 311 " in line]
        self.assertEqual(10, line.count("w"))

    def test_targets_and_bans(self) -> None:
        for nick in "bo", "cy", "dee":
            self.chat.join(nick)
        self.assertEqual(["407"], self.al.codes("PRIVMSG bo,cy,dee :hi"))
        self.al.type("MODE #a +b a!*@*", "MODE #a +e b!*@*")
        self.assertEqual(["478"], self.al.codes("MODE #a +I c!*@*"))

    def test_the_oldest_invitation_goes(self) -> None:
        bo = self.chat.join("bo")
        for name in "#b", "#c", "#d":
            self.al.type(f"JOIN {name}", f"MODE {name} +i", f"INVITE bo {name}")
        bo.read()
        self.assertEqual(["473"], bo.codes("JOIN #b"))
        self.assertIn("JOIN", bo.codes("JOIN #c"))


class BeginningTests(SynchronousTestCase):
    def test_users_begin_with_the_modes_that_the_operator_chose(self) -> None:
        chat = Chat(accounts=Accounts())
        al = chat.connect()
        self.assertIn(":irc.example 221 al +i", al.type("NICK al", "USER al 0 * :Al"))
        (line,) = [line for line in al.type("LUSERS") if " 251 " in line]
        self.assertIn("0 users and 1 invisible", line)
        al.type("MODE al -i")
        (line,) = [line for line in al.type("LUSERS") if " 251 " in line]
        self.assertIn("1 users and 0 invisible", line)

    def test_channels_begin_with_the_modes_that_the_operator_chose(self) -> None:
        chat = Chat(channels=Channels(default_modes="ns"))
        self.assertEqual([":irc.example 324 al #a +ns"], chat.join("al", "#a").type("MODE #a")[:1])

    def test_who_makes_channels(self) -> None:
        for makers, code in ("accounts", "477"), ("operators", "403"):
            chat = Chat(
                channels=Channels(creation=makers),  # type: ignore[arg-type]
                accounts=CHEAP,
            )
            al = chat.join("al")
            self.assertEqual([code], al.codes("JOIN #a"))
            if makers == "accounts":
                al.type("REGISTER * * long-enough-word")
            else:
                chat.promote(al, "sajoin")
            self.assertIn("JOIN", al.codes("JOIN #a"))
            self.assertIn("JOIN", chat.join("bo").codes("JOIN #a"))


class FrequencyTests(SynchronousTestCase):
    def rename(self, client: Client, count: int) -> list[str]:
        return [client.codes(f"NICK al{number}")[0] for number in range(count)]

    def test_nicks_and_joins_have_a_number_in_a_while(self) -> None:
        chat = Chat(throttle=Throttle(window=60, nick_changes=3, joins=2))
        al = chat.join("al")
        self.assertEqual(["NICK"] * 3 + ["438"] * 2, self.rename(al, 5))
        self.assertEqual(["263"], al.codes("JOIN #a,#b,#c")[-1:])
        self.assertEqual(2, len(al.protocol.session.user.channels))  # type: ignore[union-attr]
        chat.wait(20)
        self.assertEqual(["NICK", "438"], self.rename(al, 2))
        chat.wait(10)
        self.assertIn("JOIN", al.codes("JOIN #d"))

    def test_connections_of_a_host_have_a_number_in_a_while(self) -> None:
        exempt = Network.parse("10.0.0.0/8")
        chat = Chat(throttle=Throttle(window=60, connections=2, exempt=(exempt,)))
        for address, told in (
            *(("192.168.1.1", []), ("192.168.1.1", []), ("192.168.1.2", [])),
            *(("192.168.1.1", ["ERROR"]), *((("10.0.0.1", []),) * 5)),
        ):
            client = chat.connect(address)
            self.assertEqual(told, [line.split()[0] for line in client.read()], address)
        chat.wait(30)
        self.assertEqual([], chat.connect("192.168.1.1").read())

    def test_who_is_exempt(self) -> None:
        mark = Fingerprint.parse(MARK)
        for settings in (
            Throttle(nick_changes=1, enabled=False),
            Throttle(nick_changes=1, exempt=(Network.parse("192.168.1.0/24"),)),
        ):
            al = Chat(throttle=settings).join("al")
            self.assertEqual(["NICK"] * 9, self.rename(al, 9))
        boss = Operator(name="boss", fingerprint=mark, privileges=("flood",))
        chat = Chat(throttle=Throttle(nick_changes=1), operators=(boss,))
        al = chat.join("al")
        al.protocol.session.fingerprint = MARK.encode()
        al.type("OPER boss")
        self.assertEqual(["NICK"] * 9, self.rename(al, 9))

    def test_the_numbers_of_logins_and_accounts_are_the_operators_and_change_on_reload(
        self,
    ) -> None:
        chat = Chat(throttle=Throttle(sasl_attempts=2, registrations=1, window=60))

        def tried(client: Client, count: int) -> int:
            lines = client.type(*["NS IDENTIFY nobody wrong-word"] * count)
            return sum("wait" in line for line in lines)

        self.assertEqual(1, tried(chat.join("al"), 4))
        chat.server.reload(
            replace(chat.server.settings, throttle=Throttle(sasl_attempts=9, window=60))
        )
        self.assertEqual(0, tried(chat.join("bo"), 5))
        first, second = chat.join("cy"), chat.join("dee")
        self.assertIn("SUCCESS", " ".join(first.type("REGISTER * * long-enough-word")))
        self.assertIn("SUCCESS", " ".join(second.type("REGISTER * * long-enough-word")))
