"""What clients that cannot ask for history are sent of it: at joining, and when they come back."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from myproject_chat.configuration import Channels, History
from myproject_chat.store.history import History as HistoryOfFile
from myproject_chat.store.records import Account
from tests.chat.harness import CHEAP, Chat, Client
from tests.chat.storing import refuse
from tests.chat.test_history import HistoryCase, without_tags

TIMED = "batch server-time message-tags"


class JoinTests(HistoryCase):
    """The last messages of a channel."""

    def joined(self, chat: Chat, caps: str, line: str = "JOIN #a") -> list[str]:
        """What a guest gets of what was said when it joins, without tags."""
        client = chat.join("di", caps=caps)
        lines = without_tags(client.type(line))
        client.vanish()
        return [one.partition(" ")[2] for one in lines if " PRIVMSG " in one]

    def busy(self, **choices: Any) -> tuple[Chat, Client]:
        chat = self.chat(history=History(**choices))
        al = self.member(chat, "al", "#a")
        al.type("PRIVMSG #a :one", "PRIVMSG #a :two", "TOPIC #a :new", "PRIVMSG #a :three")
        return chat, al

    def test_there_are_as_many_as_is_wanted(self) -> None:
        for wanted, found in ((0, []), (2, ["two", "three"]), (9, ["one", "two", "three"])):
            chat, _ = self.busy(join_messages=wanted)
            self.assertEqual([f"PRIVMSG #a :{one}" for one in found], self.joined(chat, TIMED))

    def test_who_can_ask_is_sent_nothing(self) -> None:
        chat, _ = self.busy(join_messages=9)
        self.assertEqual([], self.joined(chat, f"{TIMED} draft/chathistory"))

    def test_they_come_behind_the_names_in_a_batch(self) -> None:
        chat, _ = self.busy(join_messages=1)
        client = chat.join("di", caps=TIMED)
        lines = client.type("JOIN #a", "PING x")
        start = next(index for index, line in enumerate(lines) if " 366 " in line) + 1
        opening, message, closing, pong = lines[start:]
        reference = opening.partition("BATCH +")[2].partition(" ")[0]
        self.assertTrue(opening.endswith(f"BATCH +{reference} chathistory #a"), opening)
        self.assertIn(f"batch={reference};", message)
        self.assertIn("time=2001-09-09T01:46:40.000Z;", message)
        self.assertTrue(closing.endswith(f"BATCH -{reference}"), closing)
        self.assertIn(" PONG ", pong)

    def test_without_times_these_are_in_front_of_the_words(self) -> None:
        chat, al = self.busy(join_messages=2)
        al.type("PRIVMSG #a :\x01ACTION waves\x01")
        self.assertEqual(
            [
                "PRIVMSG #a :[2001-09-09 01:46] three",
                "PRIVMSG #a :\x01ACTION [2001-09-09 01:46] waves\x01",
            ],
            self.joined(chat, ""),
        )

    def test_where_one_is_sent_instead(self) -> None:
        chat, al = self.busy(join_messages=1)
        al.type("JOIN #closed", "MODE #closed +if #a")
        self.assertEqual(["PRIVMSG #a :three"], self.joined(chat, TIMED, "JOIN #closed"))

    def test_nobody_is_told_that_the_file_cannot_be_read(self) -> None:
        chat, _ = self.busy(join_messages=1)
        self.patch(HistoryOfFile, "entries", refuse)
        self.assertEqual([], self.joined(chat, TIMED))

    def test_who_has_left_meanwhile_is_sent_nothing_and_who_stays_nothing_twice(self) -> None:
        for leaves in (True, False):
            chat, al = self.busy(join_messages=9)
            client = chat.join("di", caps=TIMED)
            reading: Deferred[Any] = Deferred()
            entries = self.store.entries
            patch = self.patch(self.store, "entries", lambda *_, reading=reading, **__: reading)
            client.type("JOIN #a")
            al.type("PRIVMSG #a :meanwhile", *["KICK #a di"] * leaves)
            found = [line for line in client.read() if " PRIVMSG " in line]
            self.assertEqual(1, len(found))
            patch.restore()
            chat.turn()
            # All that is in the file by now, of which it has heard the last.
            query = self.query(9)
            entries(b"#a", query, events=False).chainDeferred(reading)
            found = without_tags([line for line in client.read() if " PRIVMSG " in line])
            self.assertEqual(0 if leaves else 3, len(found), found)

    def query(self, limit: int) -> Any:
        """All of #a."""
        from myproject_chat.selectors import Query, Subcommand

        return Query(Subcommand.LATEST, b"#a", (), limit)


class MissedTests(HistoryCase):
    """What was said while one was not there."""

    def bouncer(self, path: str = ":memory:", **choices: Any) -> Chat:
        accounts = replace(CHEAP, always_on="mandatory")
        channels = Channels(default_modes="")
        return self.chat(path, accounts=accounts, channels=channels, history=History(**choices))

    def come(self, chat: Chat, name: str = "phone", caps: str = TIMED) -> tuple[Client, list[str]]:
        """A client of al, with its user name; and what it is sent of what was said."""
        chat.server.accounts.save(chat.server.accounts.get(b"al") or Account(b"al", 0))
        client = chat.connect()
        client.type(f"CAP REQ :{caps}")
        client.protocol.session.account = b"al"
        lines = client.type("CAP END", "NICK al", f"USER {name} 0 * :x")
        said = [line for line in without_tags(lines) if " PRIVMSG " in line]
        return client, [line.partition(" ")[2] for line in said]

    def away(self, chat: Chat, client: Client) -> None:
        chat.wait(1)
        client.vanish()
        chat.wait(1)

    def test_it_is_all_that_was_said_since_and_once(self) -> None:
        chat = self.bouncer()
        al, found = self.come(chat)
        self.assertEqual([], found)
        al.type("JOIN #a", "JOIN #b", "PRIVMSG #a :before")
        bo, cy = self.member(chat, "bo", "#a"), chat.join("cy", "#b")
        self.away(chat, al)
        bo.type("PRIVMSG #a :one", "NOTICE #a :two", "PRIVMSG al :three", "PART #a")
        cy.type("PRIVMSG #b :four", "PRIVMSG al :five")
        chat.wait(1)
        al, found = self.come(chat)
        self.assertEqual(
            ["PRIVMSG #a :one", "PRIVMSG #b :four", "PRIVMSG al :three", "PRIVMSG al :five"], found
        )
        self.away(chat, al)
        self.assertEqual([], self.come(chat)[1])

    def test_a_conversations_batch_has_the_others_name(self) -> None:
        chat = self.bouncer()
        al, _ = self.come(chat)
        bo = self.member(chat, "Bo")
        self.away(chat, al)
        bo.type("PRIVMSG al :one")
        chat.wait(1)
        client = chat.connect()
        client.type(f"CAP REQ :{TIMED}")
        client.protocol.session.account = b"al"
        lines = client.type("CAP END", "NICK al", "USER phone 0 * :x")
        self.assertTrue(any(line.endswith(" chathistory Bo") for line in lines), lines)

    def test_each_client_has_missed_something_else(self) -> None:
        chat = self.bouncer()
        phone, _ = self.come(chat, "phone")
        desk, _ = self.come(chat, "desk")
        phone.type("JOIN #a")
        bo = self.member(chat, "bo", "#a")
        self.away(chat, phone)
        bo.type("PRIVMSG #a :one")
        chat.wait(1)
        desk.vanish()
        chat.wait(1)
        bo.type("PRIVMSG #a :two")
        chat.wait(1)
        self.assertEqual(["PRIVMSG #a :two"], self.come(chat, "desk")[1])
        self.assertEqual(["PRIVMSG #a :one", "PRIVMSG #a :two"], self.come(chat, "phone")[1])
        self.assertEqual([], self.come(chat, "new")[1])

    def test_what_one_says_by_another_client_is_part_of_it(self) -> None:
        chat = self.bouncer()
        phone, _ = self.come(chat, "phone")
        desk, _ = self.come(chat, "desk")
        self.member(chat, "bo")
        phone.type("JOIN #a")
        self.away(chat, phone)
        desk.type("PRIVMSG #a :one", "PRIVMSG bo :two")
        chat.wait(1)
        self.assertEqual(["PRIVMSG #a :one", "PRIVMSG bo :two"], self.come(chat, "phone")[1])

    def test_there_is_a_limit_to_it(self) -> None:
        for limit, found in ((2, ["two", "three"]), (0, [])):
            chat = self.bouncer(client_messages=limit)
            al, _ = self.come(chat)
            al.type("JOIN #a")
            bo = self.member(chat, "bo", "#a")
            self.away(chat, al)
            bo.type("PRIVMSG #a :one", "PRIVMSG #a :two", "PRIVMSG #a :three")
            chat.wait(1)
            self.assertEqual([f"PRIVMSG #a :{one}" for one in found], self.come(chat)[1])

    def test_who_can_ask_asks(self) -> None:
        chat = self.bouncer()
        al, _ = self.come(chat)
        al.type("JOIN #a")
        bo = self.member(chat, "bo", "#a")
        self.away(chat, al)
        bo.type("PRIVMSG #a :one")
        chat.wait(1)
        self.assertEqual([], self.come(chat, caps=f"{TIMED} draft/chathistory")[1])

    def test_it_outlives_a_restart(self) -> None:
        path = self.mktemp()
        chat = self.bouncer(path)
        al, _ = self.come(chat)
        al.type("JOIN #a")
        self.away(chat, al)
        chat.join("bo", "#a").type("PRIVMSG #a :one")
        chat.wait(1)
        chat.server.shut_down(b"Stopping")
        chat.turn()
        self.database.close()
        chat = self.bouncer(path)
        # The clock began anew with it, as no process does in the millisecond of another.
        chat.server._run = b"2"
        chat.clock.advance(100)
        self.assertEqual(["PRIVMSG #a :one"], self.come(chat)[1])

    def test_whoever_does_not_stay_has_missed_nothing(self) -> None:
        chat = self.chat(channels=Channels(default_modes=""))
        phone, _ = self.come(chat, "phone")
        desk, _ = self.come(chat, "desk")
        desk.type("JOIN #a")
        self.away(chat, phone)
        desk.type("PRIVMSG #a :one")
        chat.wait(1)
        self.assertEqual([], self.come(chat, "phone")[1])
        self.assertEqual((), self.database.load().markers)

    def test_a_file_that_cannot_be_read_keeps_nobody_out(self) -> None:
        chat = self.bouncer()
        al, _ = self.come(chat)
        al.type("JOIN #a")
        self.away(chat, al)
        for name in ("entries", "targets"):
            self.patch(HistoryOfFile, name, refuse)
        al, found = self.come(chat)
        self.assertEqual([], found)
        self.assertIn("PONG", al.codes("PING x"))
