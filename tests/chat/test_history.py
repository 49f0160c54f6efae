"""What is kept, who may read it, who may take it back, and what happens when the disk does not keep up."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat import history
from myproject_chat.configuration import History
from myproject_chat.store import MEMORY, Database, Store
from myproject_chat.store import database as database_module
from myproject_chat.store.history import History as HistoryOfFile
from myproject_chat.store.records import Account
from tests.chat.harness import Chat, Client, at_once
from tests.chat.storing import capture, refuse

ALL = (
    "batch echo-message labeled-response message-tags server-time draft/chathistory"
    " draft/message-redaction draft/multiline draft/read-marker"
)

SPAN = "timestamp=2001-01-01T00:00:00.000Z timestamp=2002-01-01T00:00:00.000Z"


def without_tags(lines: list[str]) -> list[str]:
    """The lines without their tags."""
    return [line.partition(" ")[2] if line.startswith("@") else line for line in lines]


class HistoryCase(SynchronousTestCase):
    """A chat with a store in memory, whose writes happen when the turn ends."""

    def chat(self, path: str = MEMORY, **settings: Any) -> Chat:
        def database() -> Database:
            self.database = Database(path)
            self.addCleanup(self.database.close)
            return self.database

        chat = Chat(**settings)
        self.store = Store(database, at_once, chat.clock.callLater)
        chat.factory.take(self.store, self.store.open())
        return chat

    def member(self, chat: Chat, nick: str, *channels: str, caps: str = ALL) -> Client:
        """Somebody who is logged in to the account of that nick."""
        client = chat.join(nick, *channels, caps=caps)
        chat.server.accounts.save(Account(nick.encode(), 0))
        user = chat.server.network.user(nick.encode())
        assert user is not None
        user.account = nick.encode()
        return client

    def texts(self, client: Client, request: str) -> list[str]:
        """What a client gets of a history, without tags and the batch around it."""
        first, *lines, last = without_tags(client.type(request))
        self.assertIn(" BATCH +", first)
        self.assertIn(" BATCH -", last)
        return [line.partition(" ")[2] for line in lines]


class ChannelTests(HistoryCase):
    """What was said in a channel."""

    def test_who_is_in_it_reads_what_was_said_before(self) -> None:
        chat = self.chat()
        al = self.member(chat, "al", "#a")
        al.type("PRIVMSG #a :one", "NOTICE #a :two", "TAGMSG #a", "PRIVMSG @#a :for some")
        al.type("PRIVMSG #a :\x01VERSION\x01", "PRIVMSG #a :\x01ACTION waves\x01")
        bo = chat.join("bo", "#a", caps=ALL)
        kept = ["PRIVMSG #a :one", "NOTICE #a :two", "PRIVMSG #a :\x01ACTION waves\x01"]
        self.assertEqual(kept, self.texts(bo, "CHATHISTORY LATEST #A * 9"))
        self.assertEqual(kept[2:], self.texts(bo, "CHATHISTORY LATEST #a * 1"))

    def test_it_tells_what_a_bot_said(self) -> None:
        chat = self.chat()
        al = self.member(chat, "al", "#a")
        al.type("MODE al +B")
        told = al.type("PRIVMSG #a :one", "@+a=b PRIVMSG #a :two")
        told += [line for line in al.type("CHATHISTORY LATEST #a * 9") if "PRIVMSG" in line]
        self.assertEqual([True] * 4, ["bot" in line.split(" ")[0].split(";") for line in told])

    def test_it_has_the_name_and_the_time_it_had(self) -> None:
        chat = self.chat()
        al = self.member(chat, "al", "#a")
        (echo,) = al.type("PRIVMSG #a :one")
        chat.wait(5)
        _, again, _ = al.type("CHATHISTORY LATEST #a * 1")
        self.assertEqual(echo.split(" ", 1)[1], again.split(" ", 1)[1])
        self.assertLess(
            set(echo.split(" ")[0][1:].split(";")), set(again.split(" ")[0][1:].split(";"))
        )

    def test_nobody_else_does(self) -> None:
        chat = self.chat()
        self.member(chat, "al", "#a").type("PRIVMSG #a :one")
        eve = self.member(chat, "eve")
        for name in ("#a", "#nowhere"):
            with self.subTest(name=name):
                (line,) = without_tags(eve.type(f"CHATHISTORY LATEST {name} * 9"))
                self.assertIn(f"FAIL CHATHISTORY INVALID_TARGET LATEST {name} :", line)

    def test_a_channel_made_anew_has_no_past(self) -> None:
        chat = self.chat()
        al = self.member(chat, "al", "#a")
        al.type("PRIVMSG #a :one", "PART #a")
        al.type("JOIN #a")
        self.assertEqual([], self.texts(al, "CHATHISTORY LATEST #a * 9"))

    def test_a_channel_that_ends_leaves_nothing(self) -> None:
        chat = self.chat()
        al = self.member(chat, "al", "#a", "#b")
        al.type("PRIVMSG #a :one", "PRIVMSG #b :one", "PART #a")
        left = [one.target for one in self.database.history.export(None)]
        self.assertEqual({b"#b"}, set(left))
        al.type("PART #b", "JOIN #b", "PRIVMSG #b :two")
        self.assertEqual(["PRIVMSG #b :two"], self.texts(al, "CHATHISTORY LATEST #b * 9"))

    def restarted(self, chat: Chat, *, orderly: bool) -> Chat:
        """The server, started anew on the same file."""
        if orderly:
            chat.server.shut_down(b"Stopping")
            chat.turn()
        self.database.close()
        return self.chat(path=self.path)

    def test_a_stop_is_no_leaving(self) -> None:
        for orderly in (False, True):
            self.path = self.mktemp()
            chat = self.chat(path=self.path)
            self.member(chat, "al", "#a", "#b").type("PRIVMSG #a :one")
            chat = self.restarted(chat, orderly=orderly)
            cy, di = chat.join("cy", "#A", caps=ALL), chat.join("di", "#a", caps=ALL)
            for one in (cy, di):
                chat.hush(one)
                self.assertEqual(["PRIVMSG #a :one"], self.texts(one, "CHATHISTORY LATEST #a * 9"))
            # From now on it is as any other.
            cy.type("PART #a")
            di.type("PART #a")
            cy.type("JOIN #a")
            self.assertEqual([], self.texts(cy, "CHATHISTORY LATEST #a * 9"))

    def test_after_a_stop_nobody_reads_what_was_said_where_not_everybody_could_be(self) -> None:
        for mode in ("+i", "+k word", "+s", "+R", "+b eve!*@*"):
            with self.subTest(mode=mode):
                self.path = self.mktemp()
                chat = self.chat(path=self.path)
                al = self.member(chat, "al", "#a")
                sign = mode.replace("+", "-") if mode != "+k word" else "-k word"
                # Opening it again opens nothing of what was said.
                al.type(f"MODE #a {mode}", "PRIVMSG #a :one")
                al.type(f"MODE #a {sign}", "RENAME #a #b")
                chat = self.restarted(chat, orderly=True)
                eve = self.member(chat, "eve", "#b")
                chat.hush(eve)
                self.assertEqual([], self.texts(eve, "CHATHISTORY LATEST #b * 9"))
                self.assertEqual((), self.database.load().closed)

    def test_the_history_goes_with_a_renamed_channel(self) -> None:
        chat = self.chat()
        al = self.member(chat, "al", "#a")
        al.type("PRIVMSG #a :one", "MARKREAD #a timestamp=2001-09-09T01:46:40.000Z")
        al.type("RENAME #a #b")
        self.assertEqual(["PRIVMSG #a :one"], self.texts(al, "CHATHISTORY LATEST #b * 9"))
        (line,) = al.type("MARKREAD #b")
        self.assertIn("2001-09-09", line)

    def test_events_are_for_those_who_want_them(self) -> None:
        chat = self.chat()
        al = self.member(chat, "al", "#a", caps=ALL + " draft/event-playback extended-join")
        bo = self.member(chat, "bo", "#a")
        bo.type("NICK bob", "PRIVMSG #a :one", "PART #a :bye")
        chat.join("cy", "#a").type("QUIT :gone")
        al.type("TOPIC #a :new", "MODE #a +m")
        al.read()
        events = [line.split(" ")[0] for line in self.texts(al, "CHATHISTORY LATEST #a * 99")]
        self.assertEqual(
            ["JOIN", "JOIN", "NICK", "PRIVMSG", "PART", "JOIN", "QUIT", "TOPIC", "MODE"], events
        )
        joins = [
            line for line in self.texts(al, "CHATHISTORY LATEST #a * 99") if line.startswith("JOIN")
        ]
        self.assertEqual("JOIN #a * :Bo Real", joins[1])
        bo.type("JOIN #a")
        self.assertEqual(["PRIVMSG #a :one"], self.texts(bo, "CHATHISTORY LATEST #a * 99"))

    def test_what_is_not_to_be_kept_is_not(self) -> None:
        for choice in (History(enabled=False), History(unregistered_channels=False)):
            with self.subTest(choice=choice):
                chat = self.chat(history=choice)
                al = self.member(chat, "al", "#a", caps="batch message-tags echo-message")
                al.type("PRIVMSG #a :one")
                self.assertEqual([], self.texts(al, "CHATHISTORY LATEST #a * 9"))


class ConversationTests(HistoryCase):
    """What two people said to each other."""

    def test_the_two_read_it_and_nobody_else(self) -> None:
        chat = self.chat()
        al, bo, eve = (self.member(chat, nick) for nick in ("al", "bo", "eve"))
        al.type("PRIVMSG bo :one")
        bo.type("PRIVMSG al :two")
        chat.hush(al)
        said = ["PRIVMSG bo :one", "PRIVMSG al :two"]
        self.assertEqual(said, self.texts(al, "CHATHISTORY LATEST BO * 9"))
        chat.hush(bo)
        self.assertEqual(said, self.texts(bo, "CHATHISTORY LATEST al * 9"))
        for name in ("al", "bo"):
            self.assertEqual([], self.texts(eve, f"CHATHISTORY LATEST {name} * 9"))

    def test_a_guest_reads_nothing_not_even_what_was_said_to_it(self) -> None:
        chat = self.chat()
        al, bo = self.member(chat, "al"), chat.join("bo", caps=ALL)
        al.type("PRIVMSG bo :one")
        bo.type("PRIVMSG al :two")
        chat.hush(al)
        said = ["PRIVMSG bo :one", "PRIVMSG al :two"]
        self.assertEqual(said, self.texts(al, "CHATHISTORY LATEST bo * 9"))
        for _ in range(2):
            # Neither does the next guest of that nick.
            self.assertEqual([], self.texts(bo, "CHATHISTORY LATEST al * 9"))
            self.assertEqual([], self.texts(bo, f"CHATHISTORY TARGETS {SPAN} 9"))
            bo.vanish()
            bo = chat.join("bo", caps=ALL)
        # Nor who registers it.
        bo.vanish()
        bo = self.member(chat, "bo")
        self.assertEqual([], self.texts(bo, "CHATHISTORY LATEST al * 9"))
        self.assertEqual([], self.texts(bo, f"CHATHISTORY TARGETS {SPAN} 9"))
        # For al that name is from now on the account's.
        self.assertEqual([], self.texts(al, "CHATHISTORY LATEST bo * 9"))
        self.assertEqual([], self.texts(al, f"CHATHISTORY TARGETS {SPAN} 9"))

    def test_which_conversations_are_kept_is_a_choice(self) -> None:
        for choice, guests, accounts in (
            (History(direct_messages="off"), 0, 0),
            (History(direct_messages="accounts"), 0, 1),
            (History(direct_messages="participants"), 1, 1),
        ):
            with self.subTest(choice=choice):
                chat = self.chat(history=choice)
                al, cy = self.member(chat, "al"), self.member(chat, "cy")
                bo, di = chat.join("bo", caps=ALL), chat.join("di", caps=ALL)
                bo.type("PRIVMSG al :two", "PRIVMSG di :never")
                cy.type("PRIVMSG al :three")
                chat.hush(al, di)
                self.assertEqual(guests, len(self.texts(al, "CHATHISTORY LATEST bo * 9")))
                self.assertEqual(accounts, len(self.texts(al, "CHATHISTORY LATEST cy * 9")))
                self.assertEqual(guests + accounts, self.database.history.count())

    def test_targets_are_where_something_was_said(self) -> None:
        chat = self.chat()
        al, bo = self.member(chat, "al", "#A"), self.member(chat, "bo")
        al.type("PRIVMSG #a :one")
        chat.wait(2)
        bo.type("PRIVMSG al :two")
        chat.hush(al)
        self.assertEqual(
            [
                "CHATHISTORY TARGETS #A 2001-09-09T01:46:40.000Z",
                "CHATHISTORY TARGETS bo 2001-09-09T01:46:42.000Z",
            ],
            [line.replace(" :", " ") for line in self.texts(al, f"CHATHISTORY TARGETS {SPAN} 9")],
        )

    def test_a_bad_question_is_refused(self) -> None:
        (line,) = without_tags(self.member(self.chat(), "al").type("CHATHISTORY SOON #a * 9"))
        self.assertIn("FAIL CHATHISTORY INVALID_PARAMS SOON :", line)


class SafetyTests(HistoryCase):
    """A message that its sender saw is safe."""

    def test_the_echo_waits_for_the_disk_and_others_do_not(self) -> None:
        chat = self.chat()
        al, bo = self.member(chat, "al", "#a"), self.member(chat, "bo", "#a")
        chat.hush(al, bo)
        self.patch(self.store._journal, "_write", lambda _groups: Deferred())
        self.assertEqual([], al.type("PRIVMSG #a :one", "PING x"))
        self.assertEqual(1, len(bo.read()))
        ticket = self.store._journal.given
        chat.server.wrote(ticket)
        self.assertEqual(2, len(al.read()))
        # With a tag it goes another way.
        self.assertEqual([], al.type("@+a=b PRIVMSG #a :two", "PING x"))
        chat.server.wrote(ticket + 1)
        self.assertEqual(2, len(al.read()))

    def test_what_cannot_be_kept_is_refused_and_heard_by_nobody(self) -> None:
        chat = self.chat()
        al, bo = self.member(chat, "al", "#a"), self.member(chat, "bo", "#a")
        chat.hush(al, bo)
        self.store._journal.healthy = False
        (line,) = without_tags(al.type("PRIVMSG #a :one"))
        self.assertIn("FAIL PRIVMSG TEMPORARILY_UNAVAILABLE #a :", line)
        self.assertEqual([], bo.read())
        al.type("TAGMSG #a")
        self.assertEqual(1, len(bo.read()))
        self.store._journal.healthy = True
        al.type("PRIVMSG #a :two")
        self.assertEqual(1, len(bo.read()))

    def test_while_the_disk_is_full_nothing_is_said_and_nothing_is_lost(self) -> None:
        chat = self.chat(path=self.mktemp())
        al, bo = self.member(chat, "al", "#a"), self.member(chat, "bo", "#a")
        chat.hush(al)
        log = capture(self)
        # What it is called on a disk is of no matter to SQLite.
        execute = self.database._connection.execute
        (pages,) = execute("PRAGMA page_count").fetchone()
        execute(f"PRAGMA max_page_count = {pages + 5}")
        text = "x" * 400
        echoed = heard = 0
        while self.store.healthy:
            echoed += len(al.type(f"PRIVMSG #a :{text}"))
            heard += len(bo.read())
            self.assertLess(echoed, 1000)
        # The last was heard before it was known; its echo waits.
        self.assertEqual(echoed + 1, heard)
        self.assertEqual([], al.type("PING x"))
        (line,) = without_tags(bo.type("PRIVMSG #a :no"))
        self.assertIn("FAIL PRIVMSG TEMPORARILY_UNAVAILABLE #a :", line)
        self.assertEqual(echoed, len(self.texts(bo, "CHATHISTORY LATEST #a * 999")))
        chat.wait(5)
        execute(f"PRAGMA max_page_count = {pages + 500}")
        chat.wait(2)
        self.assertEqual(["PRIVMSG", "PONG"], [one.split(" ")[2] for one in al.read()])
        self.assertEqual(1, len(bo.type("PRIVMSG #a :yes")))
        self.assertEqual(echoed + 2, len(self.texts(bo, "CHATHISTORY LATEST #a * 999")))
        self.assertEqual(
            [
                "the store cannot be written to: database or disk is full; trying again every 1 s",
                "the store can be written to again",
            ],
            [formatEvent(event) for event in log],
        )

    def test_a_file_that_another_program_holds_can_be_read(self) -> None:
        self.patch(database_module, "_BUSY", 0.0)
        path = self.mktemp()
        chat = self.chat(path=path)
        al = self.member(chat, "al", "#a")
        al.type("PRIVMSG #a :one")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            self.assertEqual([], al.type("PRIVMSG #a :two"))
            self.assertFalse(self.store.healthy)
            bo = self.member(chat, "bo", "#a")
            self.assertEqual(["PRIVMSG #a :one"], self.texts(bo, "CHATHISTORY LATEST #a * 9"))
        chat.wait(2)
        self.assertEqual(2, len(self.texts(bo, "CHATHISTORY LATEST #a * 9")))

    def test_while_the_file_cannot_be_read_that_is_said_and_logged_once(self) -> None:
        chat = self.chat()
        al = self.member(chat, "al", "#a")
        al.type("PRIVMSG #a :one")
        broken = [
            self.patch(HistoryOfFile, name, refuse) for name in ("entries", "entry", "targets")
        ]
        log = capture(self)
        for line, answer in (
            ("CHATHISTORY LATEST #a * 9", "FAIL CHATHISTORY MESSAGE_ERROR LATEST #a :"),
            (f"CHATHISTORY TARGETS {SPAN} 9", "FAIL CHATHISTORY MESSAGE_ERROR TARGETS :"),
            ("REDACT #a x", "FAIL REDACT TEMPORARILY_UNAVAILABLE #a x :"),
        ):
            with self.subTest(line=line):
                (got,) = without_tags(al.type(line))
                self.assertIn(answer, got)
        self.assertEqual(
            ["the store cannot be read: database or disk is full"],
            [formatEvent(event) for event in log],
        )
        for patch in broken:
            patch.restore()
        self.assertEqual(["PRIVMSG #a :one"], self.texts(al, "CHATHISTORY LATEST #a * 9"))
        # After a round of looking after the file it would be said again.
        self.successResultOf(self.store.prune(0))
        self.patch(HistoryOfFile, "entries", refuse)
        al.type("CHATHISTORY LATEST #a * 9")
        self.assertEqual(2, len(log))

    def test_while_the_disk_fails_nothing_is_taken_back_and_nothing_marked(self) -> None:
        chat = self.chat()
        al, bo = self.member(chat, "al", "#a"), chat.join("bo", "#a", caps=ALL)
        chat.hush(al)
        self.assertIsNone(chat.factory.trouble())
        self.store._journal.healthy = False
        self.assertEqual("the store cannot be written to", chat.factory.trouble())
        when = "timestamp=2001-09-09T01:46:40.000Z"
        for line, answer in (
            ("REDACT #a x", "FAIL REDACT TEMPORARILY_UNAVAILABLE #a x :"),
            (f"MARKREAD #a {when}", "FAIL MARKREAD INTERNAL_ERROR #a :"),
        ):
            (got,) = without_tags(al.type(line))
            self.assertIn(answer, got)
        # How far a guest has read is not written down.
        self.assertIn(when, bo.type(f"MARKREAD #a {when}")[0])
        self.store._journal.healthy = True
        self.assertIn(when, al.type(f"MARKREAD #a {when}")[0])


class RedactionTests(HistoryCase):
    """REDACT."""

    def said(self, client: Client, target: str) -> str:
        (line,) = client.type(f"PRIVMSG {target} :oops")
        return line.partition("msgid=")[2].partition(" ")[0].partition(";")[0]

    def test_what_is_taken_back_is_gone(self) -> None:
        chat = self.chat()
        al, bo = self.member(chat, "al", "#a"), self.member(chat, "bo", "#a")
        old = chat.join("old", "#a")
        chat.hush(bo)
        msgid = self.said(bo, "#a")
        chat.hush(al, bo, old)
        (echo,) = without_tags(bo.type(f"REDACT #A {msgid} :typo"))
        self.assertEqual(f"REDACT #a {msgid} :typo", echo.partition(" ")[2])
        self.assertEqual([echo], without_tags(al.read()))
        self.assertEqual([], old.read())
        self.assertEqual([], self.texts(al, "CHATHISTORY LATEST #a * 9"))

    def test_operators_may_and_others_may_not(self) -> None:
        chat = self.chat()
        al, bo = self.member(chat, "al", "#a"), self.member(chat, "bo", "#a")
        chat.hush(al)
        msgid = self.said(al, "#a")
        chat.hush(bo)
        (line,) = without_tags(bo.type(f"REDACT #a {msgid}"))
        self.assertIn(f"FAIL REDACT REDACT_FORBIDDEN #a {msgid} :", line)
        msgid = self.said(bo, "#a")
        chat.hush(al)
        self.assertEqual(1, len(al.type(f"REDACT #a {msgid}")))

    def test_what_is_not_there_is_said(self) -> None:
        al = self.member(self.chat(), "al", "#a")
        for line, code in (
            ("REDACT #a nothing", "UNKNOWN_MSGID #a nothing"),
            ("REDACT #none x", "INVALID_TARGET #none"),
            ("REDACT nobody x", "UNKNOWN_MSGID nobody x"),
        ):
            with self.subTest(line=line):
                (answer,) = without_tags(al.type(line))
                self.assertIn(f"FAIL REDACT {code} :", answer)

    def test_in_a_conversation(self) -> None:
        chat = self.chat()
        al, bo = self.member(chat, "al"), self.member(chat, "bo")
        msgid = self.said(al, "bo")
        chat.hush(bo)
        (refused,) = without_tags(bo.type(f"REDACT al {msgid}"))
        self.assertIn("REDACT_FORBIDDEN", refused)
        self.assertEqual(1, len(al.type(f"REDACT bo {msgid}")))
        self.assertEqual(1, len(bo.read()))

    def test_a_guest_takes_back_what_it_said_to_somebody(self) -> None:
        chat = self.chat()
        al, bo = self.member(chat, "al"), chat.join("bo", caps=ALL)
        theirs = self.said(al, "bo")
        chat.hush(bo)
        own = self.said(bo, "al")
        chat.hush(al, bo)
        self.assertIn("REDACT_FORBIDDEN", bo.type(f"REDACT al {theirs}")[0])
        self.assertNotIn("FAIL", bo.type(f"REDACT al {own}")[0])
        self.assertEqual(1, len(al.read()))
        self.assertEqual(["PRIVMSG bo :oops"], self.texts(al, "CHATHISTORY LATEST bo * 9"))

    def test_a_guest_takes_back_its_own_only(self) -> None:
        chat = self.chat()
        self.member(chat, "al", "#a")
        bo = chat.join("bo", "#a", caps=ALL)
        msgid = self.said(bo, "#a")
        bo.vanish()
        chat.wait(2)
        bo = chat.join("bo", "#a", caps=ALL)
        self.assertIn("REDACT_FORBIDDEN", bo.type(f"REDACT #a {msgid}")[0])
        self.assertNotIn("FAIL", bo.type(f"REDACT #a {self.said(bo, '#a')}")[0])


class MarkerTests(HistoryCase):
    """MARKREAD."""

    EARLY = "timestamp=2001-09-09T01:46:40.000Z"
    LATE = "timestamp=2001-09-09T01:46:41.000Z"

    def test_it_goes_forward_only(self) -> None:
        al = self.member(self.chat(), "al", "#a")
        self.assertEqual([":irc.example MARKREAD #a *"], al.type("MARKREAD #a"))
        for asked, got in ((self.LATE, self.LATE), (self.EARLY, self.LATE)):
            self.assertEqual([f":irc.example MARKREAD #a {got}"], al.type(f"MARKREAD #a {asked}"))

    def test_it_is_told_at_joining_before_the_names_end(self) -> None:
        for caps, there in ((ALL, True), ("batch", False)):
            with self.subTest(caps=caps):
                chat = self.chat()
                al = self.member(chat, "al", caps=caps)
                codes = al.codes("JOIN #a")
                self.assertEqual(there, "MARKREAD" in codes[: codes.index("366")])

    def test_the_other_clients_are_told(self) -> None:
        chat = self.chat()
        al, other = self.member(chat, "al"), chat.join("tmp", caps=ALL)
        user = chat.server.network.user(b"al")
        assert user is not None
        user.receivers.append(other.protocol.session)
        news = al.type(f"MARKREAD bo {self.EARLY}")
        self.assertEqual(news, other.read())
        al.type(f"MARKREAD bo {self.EARLY}")
        self.assertEqual([], other.read())
        user.receivers.pop()

    def test_it_is_the_accounts_and_outlives_the_process(self) -> None:
        chat = self.chat()
        self.member(chat, "al").type(f"MARKREAD #a {self.EARLY}")
        (marker,) = self.database.load().markers
        self.assertEqual(
            (b"al", b"#a", 1_000_000_000_000), (marker.account, marker.target, marker.time)
        )

    def test_nobody_has_too_many(self) -> None:
        self.patch(history, "MAX_MARKERS", 2)
        al = self.chat().join("al", caps=ALL)
        for name, when in (("#a", self.EARLY), ("#b", self.LATE), ("#c", self.LATE)):
            al.type(f"MARKREAD {name} {when}")
        self.assertIn(" *", al.type("MARKREAD #a")[0])
        self.assertIn(self.LATE, al.type("MARKREAD #b")[0])

    def test_what_is_wrong_is_said(self) -> None:
        al = self.chat().join("al", caps=ALL)
        for line, code in (
            ("MARKREAD", "NEED_MORE_PARAMS"),
            ("MARKREAD #a *", "INVALID_PARAMS #a *"),
            ("MARKREAD #a timestamp=1969-01-01T00:00:00.000Z", "INVALID_PARAMS #a"),
            ("MARKREAD ~~ *", "INVALID_PARAMS ~~"),
        ):
            with self.subTest(line=line):
                self.assertIn(f"FAIL MARKREAD {code}", al.type(line)[0])
