"""Capability negotiation: CAP LS LIST REQ END."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat import Settings, server
from myproject_chat.commands import capabilities
from tests.chat.harness import Chat


class CapTests(SynchronousTestCase):
    def test_all_are_listed_with_their_values_for_those_who_know_of_values(self) -> None:
        chat = Chat()
        chat.server.offered = {b"setname": None, b"sasl": b"PLAIN"}
        client = chat.connect()
        for line in ("CAP LS", "CAP LS 301", "cap ls x"):
            self.assertEqual([":irc.example CAP * LS :setname sasl"], client.type(line))
        # Whoever has said so once need not say it again.
        for line in ("CAP LS 302", "CAP LS"):
            self.assertEqual([":irc.example CAP * LS :setname sasl=PLAIN"], client.type(line))

    def test_what_is_not_offered_is_not_granted(self) -> None:
        chat = Chat()
        chat.server.offered = {b"setname": None}
        client = chat.connect()
        self.assertEqual([":irc.example CAP * NAK :batch"], client.type("CAP REQ batch"))

    def test_version_302_has_cap_notify_for_good(self) -> None:
        client = Chat().connect()
        client.type("CAP LS 302")
        self.assertEqual(
            [":irc.example CAP * ACK :-cap-notify"], client.type("CAP REQ -cap-notify")
        )
        self.assertEqual([":irc.example CAP * LIST :cap-notify"], client.type("CAP LIST"))

    def test_a_list_too_long_for_a_line_is_split_for_those_who_know_how(self) -> None:
        self.patch(capabilities, "_ROOM", 60)
        chat = Chat()
        names = ["first-of-them", "second-of-them", "third-of-them", "fourth-of-them", "fifth"]
        chat.server.offered = dict.fromkeys(name.encode() for name in names)
        client = chat.connect()
        self.assertEqual(1, len(client.type("CAP LS 301")))
        lines = client.type("CAP LS 302")
        self.assertEqual([True, False], [" LS * :" in line for line in lines])
        self.assertEqual(names, " ".join(line.split(" :")[1] for line in lines).split())

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
                ":irc.example CAP * ACK :setname batch",
                ":irc.example CAP * NAK :-setname nonsense",
                ":irc.example CAP * LIST :batch setname",
                ":irc.example CAP * ACK :-setname",
                ":irc.example CAP * LIST :batch",
                ":irc.example CAP * ACK :",
            ],
            client.type(
                "CAP REQ :setname batch",
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


class ReloadTests(SynchronousTestCase):
    """What is offered changes while clients are connected."""

    def test_who_wants_to_know_is_told_and_what_is_gone_is_gone(self) -> None:
        chat = Chat()
        told = chat.join("al", caps="cap-notify setname")
        other = chat.join("bo", caps="setname")
        self.patch(server, "offered", lambda _: {b"cap-notify": None, b"batch": b"v"})
        chat.server.reload(Settings())
        lines = told.read()
        self.assertIn(" DEL :account-notify ", lines[0])
        self.assertEqual(":irc.example CAP al NEW :batch=v", lines[-1])
        self.assertEqual([":irc.example CAP al LIST :cap-notify"], told.type("CAP LIST"))
        self.assertEqual([":irc.example CAP bo LIST :"], other.type("CAP LIST"))
