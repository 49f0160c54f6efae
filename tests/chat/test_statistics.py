"""ADMIN and STATS, and what INFO and WHOIS say of the server."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.chat.harness import Chat


class AdminTests(SynchronousTestCase):
    def test_each_line_has_its_numeric(self) -> None:
        al = Chat(admin=(b"Here", "Zoë".encode())).join("al")
        self.assertEqual(
            [
                ":irc.example 256 al irc.example :Administrative information",
                ":irc.example 257 al :Here",
                ":irc.example 258 al :Zoë",
            ],
            al.type("ADMIN"),
        )
        three = Chat(admin=(b"a", b"b", b"c")).join("al")
        self.assertEqual(["256", "257", "258", "259"], three.codes("ADMIN irc.example"))

    def test_without_any_it_is_said_that_there_are_none(self) -> None:
        self.assertEqual(["423"], Chat().join("al").codes("ADMIN"))


class DescriptionTests(SynchronousTestCase):
    def test_info_and_whois_show_it(self) -> None:
        al = Chat(description=b"our server").join("al")
        self.assertEqual(":irc.example 371 al :our server", al.type("INFO")[0])
        self.assertIn(":irc.example 312 al al irc.example :our server", al.type("WHOIS al"))


class StatsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat()
        self.al = self.chat.join("al")
        self.chat.promote(self.al, "stats")
        self.bo = self.chat.join("bo")

    def test_everybody_may_know_since_when_it_runs(self) -> None:
        self.chat.server.started -= 86400 + 3661
        self.assertEqual(
            [
                ":irc.example 242 bo :Server up 1 days 1:01:01",
                ":irc.example 219 bo u :End of STATS",
            ],
            self.bo.type("STATS u"),
        )

    def test_everybody_may_know_which_operators_are_here(self) -> None:
        self.assertEqual(
            [":irc.example 243 bo O * * al", ":irc.example 219 bo o :End of STATS"],
            self.bo.type("STATS o"),
        )

    def test_what_users_do_is_for_operators(self) -> None:
        for letter in "lm":
            self.assertEqual(["481", "219"], self.bo.codes(f"STATS {letter}"))
        self.al.type("PING x", "PING y", "NONSENSE", "MODE")
        lines = self.al.type("STATS m")
        self.assertIn(":irc.example 212 al PING 2", lines)
        self.assertNotIn("NONSENSE", " ".join(lines))
        self.assertNotIn(" MODE ", " ".join(lines))

    def test_connections(self) -> None:
        self.chat.connect()
        self.chat.clock.advance(3)
        lines = self.al.type("STATS l")
        self.assertEqual(4, len(lines))
        self.assertIn(":irc.example 211 al bo 0 3 :192.168.1.1", lines)
        self.assertIn(":irc.example 211 al * 0 3 :192.168.1.1", lines)

    def test_other_letters_show_nothing(self) -> None:
        for line, letter in (
            ("STATS", "*"),
            ("STATS x", "x"),
            ("STATS :", "*"),
            ("STATS unix", "u"),
        ):
            self.assertEqual(f":irc.example 219 bo {letter} :End of STATS", self.bo.type(line)[-1])
