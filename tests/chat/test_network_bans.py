"""KLINE and DLINE: who may set them, whom they hit, and that they stay."""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.testing import EventLoggingObserver, StringTransport
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from myproject.farewell import Farewell
from myproject_chat.administration import main
from myproject_chat.configuration import Cloak
from myproject_chat.protocol import ChatProtocol
from myproject_chat.store import MEMORY, Account, Database, NetworkBan, Store
from tests.chat.harness import EPOCH, Chat, Client, at_once

FAR = "198.51.100.7"
NO = ":irc.example 465 {} :You are banned from this server: {}"


class BanCase(SynchronousTestCase):
    """A chat with an operator, from elsewhere than the others."""

    def setUp(self) -> None:
        self.chat = Chat()
        self.op = self.promoted(self.chat)

    def promoted(self, chat: Chat, *privileges: str) -> Client:
        op = chat.join("op", address="203.0.113.1")
        chat.promote(op, *(privileges or ("ban", "stats")))
        return op

    def listening(self, chat: Chat) -> Client:
        """One more operator, who hears what the first does."""
        other = chat.join("root", address="203.0.113.2")
        chat.promote(other, "see-all")
        other.type("MODE root +s")
        return other

    def arrive(self, nick: str, *lines: str, address: str = FAR, chat: Chat | None = None) -> Any:
        """Register from an address; gives what came, or the words with which nobody was let in."""
        factory = (chat or self.chat).factory
        protocol = factory.buildProtocol(IPv4Address("TCP", address, 1))
        if isinstance(protocol, Farewell):
            transport = StringTransport()
            protocol.makeConnection(transport)
            protocol.connectionLost()
            return transport.value().decode()
        assert isinstance(protocol, ChatProtocol)
        client = Client(chat or self.chat, protocol, address)
        return client.codes(*lines, f"NICK {nick}", f"USER {nick} 0 * :x")


class GrammarTests(BanCase):
    """What is said, and what is answered."""

    def test_who_has_not_the_privilege_is_refused(self) -> None:
        bo = self.chat.join("bo")
        self.chat.promote(bo, "stats", "kill")
        for line in ("KLINE x!*@*", "UNKLINE x!*@*", "DLINE 192.0.2.1", "UNDLINE 192.0.2.1"):
            self.assertEqual(["481"], bo.codes(line))

    def test_each_word_in_its_place(self) -> None:
        for line, answer, reason, seconds in (
            ("KLINE x@y", "KLINE *!x@y for ever", b"", None),
            ("KLINE 1h30m x@y :spam", "KLINE *!x@y for 1h30m", b"spam", 5400),
            ("KLINE x@y spam and more", "KLINE *!x@y for ever", b"spam and more", None),
            ("KLINE x@y ON irc.example :spam | net", "KLINE *!x@y for ever", b"spam | net", None),
            ("KLINE ANDKILL MYSELF 7d *@* :so", "KLINE *!*@* for 1w", b"so", 604800),
            ("KLINE myself 90s a:Al*", "KLINE a:al* for 1m30s", b"", 90),
            ("KLINE on on :on on", "KLINE on!*@* for ever", b"", None),
            ("DLINE 2d 192.0.2.9/24 ON * x", "DLINE 192.0.2.0/24 for 2d", b"x", 172800),
            ("DLINE 2001:DB8::1", "DLINE 2001:db8::1 for ever", b"", None),
        ):
            chat = Chat()
            op = self.promoted(chat)
            lines = op.type(line)
            self.assertEqual(f":irc.example NOTICE op :{answer} is set", lines[0], line)
            kind = line[:5].lower()
            (ban,) = chat.server.bans.of_kind(kind)
            until = None if seconds is None else EPOCH + seconds
            self.assertEqual((b"op", reason, until), (ban.setter, ban.reason, ban.expires))

    def test_each_mistake_is_named(self) -> None:
        for line, answer in (
            ("KLINE 60 x@y", "60: it is no time; give one such as 90s, 1h30m or 7d"),
            ("DLINE 1d", "1d: it is no address; give one, or a network such as 192.0.2.0/24"),
            ("DLINE al :x", "al: it is no address; give one, or a network such as 192.0.2.0/24"),
            (
                "KLINE :a b@c",
                "a b@c: it is no mask; give nick!user@host, where * and ? stand for any",
            ),
            ("KLINE a:", "a:: it is no account; give a:account, where * and ? stand for any"),
            ("UNDLINE al", "al: it is no address; give one, or a network such as 192.0.2.0/24"),
        ):
            command = line.split()[0]
            self.assertEqual(
                [f":irc.example FAIL {command} INVALID_PARAMS :{answer}"], self.op.type(line)
            )
        self.assertEqual(["461"], self.op.codes("KLINE"))
        self.assertEqual(
            [":irc.example FAIL UNKLINE NO_SUCH_BAN :There is no such ban; STATS k lists all"],
            self.op.type("UNKLINE x@y"),
        )
        self.assertEqual(0, len(self.chat.server.bans))

    def test_nobody_is_banned_by_oneself_who_does_not_say_so(self) -> None:
        self.chat.server.network.users[b"op"].account = b"Op"
        for line in (
            "KLINE op",
            "KLINE *!*@203.0.113.*",
            "KLINE *@203.0.113.0/24",
            "KLINE 1h a:op",
            "DLINE 203.0.113.1",
            "DLINE 0.0.0.0/0",
        ):
            (answer,) = self.op.type(line)
            self.assertIn(" WOULD_BAN_YOU :", answer)
            self.assertIn("say MYSELF", answer)
        self.assertEqual(0, len(self.chat.server.bans))
        *_, error = self.op.type("DLINE MYSELF 203.0.113.1 :enough")
        self.assertEqual("ERROR :Closing link: 203.0.113.1 (Banned)", error)

    def test_not_even_by_the_address_of_another_client_of_ones_own(self) -> None:
        user = self.chat.server.network.users[b"op"]
        second = self.chat.connect(FAR)
        second.protocol.session.attach(user)
        self.assertIn(" WOULD_BAN_YOU :", self.op.type(f"DLINE {FAR}")[0])

    @given(
        st.lists(st.sampled_from(["ANDKILL", "MYSELF", "1h", "60", "ON", "*", "a:", "x@y", ":"]))
    )
    @settings(max_examples=100, deadline=None)
    def test_any_words_are_answered_once(self, words: list[str]) -> None:
        chat = Chat()
        op = self.promoted(chat)
        for command in ("KLINE", "DLINE", "UNKLINE", "UNDLINE"):
            codes = op.codes(f"{command} {' '.join(words)} MYSELF")
            self.assertIn(codes[0], ("NOTICE", "FAIL"))
            if len(codes) > 1:
                break


class EffectTests(BanCase):
    """Whom a ban hits, here and coming."""

    def test_who_is_here_goes_and_the_others_see_that_somebody_was_banned(self) -> None:
        bo = self.chat.join("bo", "#a", address=FAR)
        cy = self.chat.join("cy", "#a")
        root = self.listening(self.chat)
        bo.read()
        self.op.type("KLINE 2h *!*@198.51.100.* :spam | botnet 7")
        self.assertEqual(
            [
                NO.format("bo", "spam (until 2001-09-09 03:46 UTC)"),
                f"ERROR :Closing link: {FAR} (Banned)",
            ],
            bo.read(),
        )
        self.assertTrue(bo.transport.disconnecting)
        self.assertEqual([f":bo!~bo@{FAR} QUIT :Banned"], cy.read())
        mask = "KLINE *!*@198.51.100.* for 2h"
        self.assertEqual(
            [
                f":irc.example NOTICE * :op set {mask} (spam | botnet 7)",
                f":irc.example NOTICE * :{mask} hit 1 who were here",
            ],
            root.read(),
        )

    def test_notices_with_addresses_are_for_those_who_may_see_addresses(self) -> None:
        other = self.chat.join("other")
        self.chat.promote(other, "kill")
        other.type("MODE other +s cfkoqx")
        self.op.type("KLINE bo!*@*")
        self.arrive("bo")
        self.arrive("cy")
        self.assertEqual([], other.read())

    def test_the_cloak_of_an_account_counts_before_it_is_shown(self) -> None:
        chat = Chat(cloak=Cloak(secret="x" * 32, accounts=True))
        op = self.promoted(chat)
        bo = chat.connect(FAR)
        bo.protocol.session.account = b"bob"
        host = chat.server.hosts.of_session(bo.protocol.session).decode()
        self.assertNotEqual(FAR, host)
        op.type(f"KLINE *!*@{host}")
        self.assertEqual(["465", "ERROR"], bo.codes("NICK bo", "USER bo 0 * :x"))

    def test_who_comes_is_told_why_and_not_what_operators_know(self) -> None:
        mask = "*!*@198.51.100.*"
        self.op.type(f"KLINE {mask} :spam | botnet 7")
        root = self.listening(self.chat)
        bo = self.chat.connect(FAR)
        self.assertEqual(
            [NO.format("bo", "spam"), f"ERROR :Closing link: {FAR} (Banned)"],
            bo.type("NICK bo", "USER bo 0 * :x"),
        )
        self.assertNotIn(b"bo", self.chat.server.network.users)
        self.assertEqual(
            [
                f":irc.example NOTICE * :Kept out: bo!~bo@{FAR}, by kline {mask} (spam | botnet 7)",
            ],
            root.read(),
        )
        self.op.type("UNKLINE *!*@198.51.100.*")
        self.assertEqual("001", self.arrive("bo")[0])

    def test_what_a_mask_is_compared_with(self) -> None:
        for mask, hit in (
            ("bo", True),
            ("*!~bo@*", True),
            ("*!*@198.51.100.7", True),
            ("*!*@198.51.100.0/24", True),
            ("*!*@cloak.example", True),
            ("a:bob", True),
            ("a:al", False),
            ("*!*@203.0.113.0/30", False),
            ("b!*@*", False),
        ):
            chat = Chat()
            op, bo = self.promoted(chat), chat.join("bo", address=FAR)
            user = chat.server.network.users[b"bo"]
            user.account = b"Bob"
            user.move(b"cloak.example")
            op.type(f"KLINE MYSELF {mask}")
            self.assertEqual(hit, b"bo" not in chat.server.network.users, mask)
            self.assertEqual(hit, bo.transport.disconnecting)

    def test_who_logs_in_or_takes_another_nick_is_asked_again(self) -> None:
        self.op.type("KLINE evil*", "KLINE a:eve")
        bo, cy = self.chat.join("bo", "#a"), self.chat.join("cy", "#a")
        bo.read()
        lines = bo.type("NICK evilbo", "PRIVMSG #a :more")
        self.assertEqual(NO.format("evilbo", "No reason given"), lines[-2])
        self.assertTrue(bo.transport.disconnecting)
        server = self.chat.server
        server.accounts.save(Account(b"eve", 0))
        from myproject_chat.identity import log_in

        log_in(cy.protocol.session, b"eve")
        self.assertEqual("ERROR", cy.codes()[-1])

    def test_an_address_is_refused_before_anything_is_made_of_it(self) -> None:
        bo = self.chat.join("bo", address=FAR)
        waiting = self.chat.connect(FAR)
        self.op.type("DLINE 1d 198.51.100.0/24 :open proxies | see list")
        self.assertEqual("ERROR", bo.codes()[-1])
        self.assertEqual("ERROR", waiting.codes()[-1])
        sessions = len(self.chat.server.sessions)
        self.assertEqual(
            f"ERROR :Closing link: {FAR} (Banned: open proxies (until 2001-09-10 01:46 UTC))\r\n",
            self.arrive("cy"),
        )
        self.assertEqual(sessions, len(self.chat.server.sessions))
        self.assertEqual("001", self.arrive("cy", address="203.0.113.9")[0])
        self.chat.wait(86400)
        self.assertEqual("001", self.arrive("di")[0])

    def test_where_there_is_no_address_there_is_no_such_ban(self) -> None:
        self.op.type("DLINE MYSELF 0.0.0.0/0")
        self.assertIsInstance(self.chat.factory.buildProtocol(UNIXAddress(None)), ChatProtocol)

    def test_whoever_came_another_way_is_asked_when_it_registers(self) -> None:
        """A web page, or a gateway that says whose connection it brings."""
        bo = self.chat.connect()
        bo.protocol.session.address = FAR
        self.op.type(f"DLINE {FAR} :no")
        self.assertEqual("ERROR", bo.codes()[-1])
        cy = self.chat.connect()
        cy.protocol.session.address = FAR
        self.assertEqual(["465", "ERROR"], cy.codes("NICK cy", "USER cy 0 * :x"))

    def test_one_client_of_several_goes_alone(self) -> None:
        bo = self.chat.join("bo")
        user = self.chat.server.network.users[b"bo"]
        second = self.chat.connect(FAR)
        second.protocol.session.attach(user)
        self.op.type(f"DLINE {FAR}")
        self.assertEqual("ERROR", second.codes()[-1])
        self.assertEqual([], bo.read())
        self.assertIn(b"bo", self.chat.server.network.users)

    def test_who_stays_without_a_client_goes_too(self) -> None:
        bo, cy = self.chat.join("bo", "#a", address=FAR), self.chat.join("cy", "#a")
        user = self.chat.server.network.users[b"bo"]
        user.account = b"bo"
        self.patch(self.chat.server.accounts, "stays", lambda account: account == b"bo")
        bo.vanish()
        cy.read()
        self.assertIn(b"bo", self.chat.server.network.users)
        self.op.type("KLINE a:bo")
        self.assertEqual([f":bo!~bo@{FAR} QUIT :Banned"], cy.read())
        self.assertEqual(1, self.chat.server.bans.hits["kline"])

    def test_with_a_client_it_goes_as_well_and_does_not_stay(self) -> None:
        self.chat.join("bo", "#a", address=FAR)
        self.chat.server.network.users[b"bo"].account = b"bo"
        self.patch(self.chat.server.accounts, "stays", lambda _: True)
        self.op.type("KLINE a:bo")
        self.assertNotIn(b"bo", self.chat.server.network.users)

    def test_a_ban_ends(self) -> None:
        self.op.type("KLINE 1h bo!*@*")
        self.op.vanish()
        self.chat.clock.advance(3599)
        self.assertEqual(["465", "ERROR"], self.arrive("bo"))
        self.chat.clock.advance(1)
        self.assertEqual("001", self.arrive("bo")[0])
        self.assertEqual([], self.chat.server.bans.of_kind("kline"))

    def test_the_metrics_count(self) -> None:
        self.op.type("KLINE bo!*@*", f"DLINE {FAR}")
        self.arrive("bo", address="203.0.113.9")
        self.arrive("cy")
        found = {
            (sample.name, sample.labels["kind"]): sample.value
            for family in self.chat.factory.metrics()
            for sample in family.samples
            if "kind" in sample.labels
        }
        self.assertEqual(
            {
                ("myproject_chat_bans", "dline"): 1,
                ("myproject_chat_bans", "kline"): 1,
                ("myproject_chat_banned_total", "dline"): 1,
                ("myproject_chat_banned_total", "kline"): 1,
            },
            found,
        )

    def test_the_log_says_who_set_what(self) -> None:
        log = EventLoggingObserver()
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        self.op.type("KLINE 1h bo!*@* :spam")
        self.assertEqual(
            ["op set KLINE bo!*@* for 1h (spam)"], [str(event["text"]) for event in log]
        )


class ListTests(BanCase):
    """STATS and LIST."""

    def test_all_is_shown_to_operators(self) -> None:
        self.op.type("KLINE 1h bo :spam | net 7", "KLINE a:x", "DLINE 192.0.2.0/24 :no")
        klines = [
            f":irc.example 216 op K bo!*@* {EPOCH} {EPOCH + 3600} op :spam | net 7",
            f":irc.example 216 op K a:x {EPOCH} 0 op :",
        ]
        for line, end in (("STATS k", "k"), ("STATS K", "K")):
            self.assertEqual(
                [*klines, f":irc.example 219 op {end} :End of STATS"], self.op.type(line)
            )
        self.assertEqual(klines, self.op.type("KLINE LIST"))
        dlines = [f":irc.example 225 op D 192.0.2.0/24 {EPOCH} 0 op :no"]
        self.assertEqual(dlines, self.op.type("DLINE list"))
        self.assertEqual([dlines[0]], self.op.type("STATS d")[:1])

    def test_to_others_nothing(self) -> None:
        self.op.type("KLINE x@y")
        bo = self.chat.join("bo")
        for letter in "kKdD":
            self.assertEqual(["481", "219"], bo.codes(f"STATS {letter}"))
        self.chat.promote(bo, "kill")
        self.assertEqual(["481", "219"], bo.codes("STATS k"))
        self.assertEqual(["481"], bo.codes("KLINE LIST"))


class StoredTests(BanCase):
    """What is in the file."""

    def stored(self, path: str, **words: Any) -> Chat:
        """A chat with a store, whose writes happen when the turn ends."""

        def database() -> Database:
            self.database = Database(path)
            return self.database

        chat = Chat(**words)
        self.store = Store(database, at_once, chat.clock.callLater)
        chat.factory.take(self.store, self.store.open())
        self.addCleanup(self.database.close)
        return chat

    def test_a_restart_changes_nothing(self) -> None:
        path = self.mktemp()
        chat = self.stored(path)
        op = self.promoted(chat)
        op.type("KLINE bo!*@* :spam | net", "KLINE gone!*@*", f"DLINE 1h {FAR}", "UNKLINE gone")
        chat.turn()
        self.database.close()
        chat = self.stored(path)
        self.assertEqual(["465", "ERROR"], self.arrive("bo", address="203.0.113.9", chat=chat))
        self.assertEqual("001", self.arrive("gone", address="203.0.113.9", chat=chat)[0])
        self.assertIn("Banned: No reason given", self.arrive("cy", chat=chat))
        self.assertEqual(
            [("dline", b"op"), ("kline", b"op")],
            sorted((ban.kind, ban.setter) for ban in self.database.load().bans),
        )

    def test_the_answer_comes_when_it_is_safe(self) -> None:
        chat = self.stored(MEMORY)
        op = self.promoted(chat)
        self.store.on_written = lambda _: None
        self.assertEqual([], op.type("KLINE bo!*@*"))
        chat.server.written = 10**6
        chat.server.touch(op.protocol.session)
        self.assertEqual(["NOTICE"], op.codes())

    def test_who_stays_over_a_restart_and_was_banned_meanwhile_does_not(self) -> None:
        path = self.mktemp()
        chat = self.stored(path)
        chat.server.accounts.save(
            Account(
                b"bo",
                0,
                settings={"always-on": "on", "user-nick": "bo", "user-name": "~bo"},
            )
        )
        chat.turn()
        self.assertTrue(chat.server.accounts.stays(b"bo"))
        self.database.close()
        self.administrate(path, "add", "kline", "a:bo")
        chat = self.stored(path)
        self.assertNotIn(b"bo", chat.server.network.users)
        self.database.close()
        self.administrate(path, "del", "kline", "a:bo")
        self.assertIn(b"bo", self.stored(path).server.network.users)

    def look(self, chat: Chat) -> None:
        """Have the server see what another program has changed."""
        looking = self.store.look()
        chat.turn()
        self.successResultOf(looking)

    def administrate(self, path: str, *words: str) -> None:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            self.assertEqual(os.EX_OK, main(["--state", path, "ban", *words]), said.getvalue())

    def test_what_the_administration_does_takes_effect_on_a_running_server(self) -> None:
        path = self.mktemp()
        chat = self.stored(path)
        bo = chat.join("bo", address=FAR)
        self.administrate(path, "add", "dline", "198.51.100.0/24", "--reason", "no | proxies")
        self.look(chat)
        self.assertEqual(NO.format("bo", "no"), bo.read()[-2])
        self.assertIn("Banned: no)", self.arrive("cy", chat=chat))
        self.administrate(path, "del", "dline", "198.51.100.0/24")
        self.look(chat)
        self.assertEqual("001", self.arrive("cy", chat=chat)[0])

    def test_what_is_in_the_file_already_hits_nobody_again(self) -> None:
        path = self.mktemp()
        chat = self.stored(path)
        self.administrate(path, "add", "kline", "bo!*@*")
        self.look(chat)
        # As an exception would be: here, while the ban is.
        bo = chat.join("al")
        chat.server.network.rename(chat.server.network.users[b"al"], b"bo")
        self.administrate(path, "add", "kline", "cy!*@*")
        self.look(chat)
        self.assertEqual([], bo.read())
        self.assertEqual(
            NetworkBan("kline", b"cy!*@*", b"administrator", b"Banned", 0).mask,
            chat.server.bans.of_kind("kline")[1].mask,
        )
