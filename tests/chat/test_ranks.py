"""Ranks: who may give and take them, and what each may do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.modes import LEVELS_OF_SIGNS, PREFIXES, level_of, prefix_of
from tests.chat.harness import Chat, Client

HOST = "192.168.1.1"
RANKS = "qaohv"


class LevelTests(SynchronousTestCase):
    @given(st.lists(st.sampled_from(list(PREFIXES)), unique=True))
    def test_the_highest_rank_counts(self, letters: list[bytes]) -> None:
        held = b"".join(letters)
        highest = max((LEVELS_OF_SIGNS[PREFIXES[letter]] for letter in letters), default=0)
        self.assertEqual(highest, level_of(held))
        self.assertEqual(highest, LEVELS_OF_SIGNS.get(prefix_of(held), 0))


class RankTests(SynchronousTestCase):
    """In a channel where each of five has one rank, and one has none."""

    def setUp(self) -> None:
        self.chat = Chat()
        self.clients: dict[str, Client] = {}
        for rank in RANKS + "n":
            self.clients[rank] = self.chat.join(f"{rank}nick", "#a")
        channel = self.chat.server.network.channels[b"#a"]
        for rank in RANKS + "n":
            user = self.chat.server.network.users[f"{rank}nick".encode()]
            channel.members[user] = rank.encode().replace(b"n", b"")
        self.chat.hush(*self.clients.values())

    def outcome(self, rank: str, line: str) -> str:
        """What somebody of a rank is told first."""
        return self.clients[rank].codes(line)[0]

    def test_which_ranks_each_may_give(self) -> None:
        may = {"q": "qaohv", "a": "ohv", "o": "ohv", "h": "v", "v": "", "n": ""}
        for rank, letters in may.items():
            for letter in RANKS:
                expected = "MODE" if letter in letters else "482"
                self.assertEqual(expected, self.outcome(rank, f"MODE #a +{letter} nnick"))
                self.clients["q"].type(f"MODE #a -{letter} nnick")
                self.chat.hush(*self.clients.values())

    def test_nobody_takes_a_rank_from_those_above(self) -> None:
        self.assertEqual("482", self.outcome("o", "MODE #a -q qnick"))
        self.assertEqual("482", self.outcome("o", "MODE #a -a anick"))
        self.assertEqual("482", self.outcome("h", "MODE #a -o onick"))
        self.assertEqual("MODE", self.outcome("a", "MODE #a -o onick"))

    def test_an_operator_who_is_more_is_no_prey_for_operators(self) -> None:
        self.clients["q"].type("MODE #a +o qnick")
        self.chat.hush(*self.clients.values())
        self.assertEqual("482", self.outcome("o", "MODE #a -o qnick"))

    def test_everybody_may_give_up_a_rank_who_may_change_modes_at_all(self) -> None:
        for rank in "qaoh":
            self.assertEqual("MODE", self.outcome(rank, f"MODE #a -{rank} {rank}nick"))
            self.chat.hush(*self.clients.values())

    def test_who_may_put_whom_out(self) -> None:
        for rank, target, expected in (
            ("o", "q", "482"),
            ("o", "a", "482"),
            ("h", "o", "482"),
            ("v", "n", "482"),
            ("h", "v", "KICK"),
            ("a", "o", "KICK"),
            ("q", "a", "KICK"),
        ):
            self.assertEqual(expected, self.outcome(rank, f"KICK #a {target}nick"))
            self.chat.hush(*self.clients.values())

    def test_operators_may_put_each_other_out_half_operators_not(self) -> None:
        self.clients["q"].type("MODE #a +oh nnick vnick")
        self.chat.hush(*self.clients.values())
        self.assertEqual("482", self.outcome("h", "KICK #a vnick"))
        self.assertEqual("KICK", self.outcome("o", "KICK #a nnick"))

    def test_half_operators_moderate(self) -> None:
        for line in ("TOPIC #a :x", "MODE #a +im", "MODE #a +b x!*@*", "INVITE ghost #a"):
            expected = {"TOPIC #a :x": "TOPIC", "INVITE ghost #a": "401"}.get(line, "MODE")
            self.assertEqual(expected, self.outcome("h", line))
            self.chat.hush(*self.clients.values())
            self.assertEqual("401" if "ghost" in line else "482", self.outcome("v", line))
            self.chat.hush(*self.clients.values())

    def test_messages_for_a_rank_and_above(self) -> None:
        for sign, ranks in (("~", "q"), ("&", "qa"), ("@", "qao"), ("%", "qaoh"), ("+", "qaohv")):
            self.clients["n"].type(f"PRIVMSG {sign}#a :hi")
            heard = "".join(rank for rank in RANKS if self.clients[rank].read())
            self.assertEqual(ranks, heard)
