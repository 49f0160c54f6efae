"""Capability negotiation: CAP LS LIST REQ END."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.commands import capabilities
from tests.chat.harness import Chat

ALL = (
    "away-notify echo-message extended-join message-tags multi-prefix server-time setname"
    " standard-replies userhost-in-names"
)


class CapTests(SynchronousTestCase):
    def test_all_are_listed(self) -> None:
        client = Chat().connect()
        for line in ("CAP LS", "CAP LS 302", "cap ls x"):
            self.assertEqual([f":irc.example CAP * LS :{ALL}"], client.type(line))

    def test_a_list_too_long_for_a_line_is_split_for_those_who_know_how(self) -> None:
        self.patch(capabilities, "_ROOM", 60)
        client = Chat().connect()
        self.assertEqual(1, len(client.type("CAP LS 301")))
        lines = client.type("CAP LS 302")
        self.assertEqual([True, True, False], [" LS * :" in line for line in lines])
        self.assertEqual(ALL, " ".join(line.split(" :")[1] for line in lines))

    def test_negotiation_holds_registration_up_until_its_end(self) -> None:
        for first in ("CAP LS", "CAP REQ :setname"):
            client = Chat().connect()
            self.assertEqual(1, len(client.type(first, "NICK al", "USER al 0 * :Al")))
            self.assertEqual("001", client.codes("CAP END")[0])

    def test_an_end_alone_changes_nothing(self) -> None:
        client = Chat().connect()
        self.assertEqual([], client.type("CAP END"))
        self.assertEqual("001", client.codes("NICK al", "USER al 0 * :Al")[0])
        self.assertEqual([], client.type("CAP END"))

    def test_a_request_is_granted_whole_or_not_at_all(self) -> None:
        client = Chat().connect()
        self.assertEqual(
            [
                ":irc.example CAP * ACK :setname server-time",
                ":irc.example CAP * NAK :-setname nonsense",
                ":irc.example CAP * LIST :server-time setname",
                ":irc.example CAP * ACK :-setname",
                ":irc.example CAP * LIST :server-time",
                ":irc.example CAP * ACK :",
            ],
            client.type(
                "CAP REQ :setname server-time",
                "CAP REQ :-setname nonsense",
                "CAP LIST",
                "CAP REQ :-setname",
                "CAP LIST",
                "CAP REQ",
            ),
        )

    def test_it_may_change_later_and_does_not_hold_anything_up(self) -> None:
        client = Chat().join("al")
        self.assertEqual([":irc.example CAP al LIST :"], client.type("CAP LIST"))
        self.assertEqual([":irc.example CAP al ACK :setname"], client.type("CAP REQ setname"))
        self.assertEqual(["PONG"], client.codes("PING x"))

    def test_an_unknown_subcommand_is_named(self) -> None:
        client = Chat().connect()
        self.assertEqual(
            [
                ":irc.example 410 * NONSENSE :No such CAP subcommand",
                ":irc.example 461 * CAP :Not enough parameters",
            ],
            client.type("CAP NONSENSE", "CAP"),
        )
