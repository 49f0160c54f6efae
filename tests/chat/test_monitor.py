"""MONITOR, extended-monitor, draft/pre-away, and hosts that change."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.configuration import Limits
from myproject_chat.hosts import change_host
from myproject_chat.session import Session
from tests.chat.harness import Chat, Client

HOST = "192.168.1.1"


class MonitorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat()
        self.al = self.chat.join("al")

    def test_who_is_there_and_who_is_not_is_said_at_once(self) -> None:
        self.chat.join("bo")
        self.assertEqual(
            [f":irc.example 730 al :bo!~bo@{HOST}", ":irc.example 731 al :Eve,zed"],
            self.al.type("MONITOR + Bo,Eve,zed"),
        )

    def test_coming_and_going_are_told(self) -> None:
        self.al.type("MONITOR + bo")
        bo = self.chat.join("Bo")
        self.assertEqual([f":irc.example 730 al :Bo!~Bo@{HOST}"], self.al.read())
        bo.vanish()
        self.assertEqual([":irc.example 731 al :Bo"], self.al.read())

    def test_a_nick_is_left_and_taken_but_not_by_a_change_of_case(self) -> None:
        bo = self.chat.join("bo")
        self.al.type("MONITOR + bo,eve")
        bo.type("NICK BO")
        self.assertEqual([], self.al.read())
        bo.type("NICK eve")
        self.assertEqual(
            [":irc.example 731 al :BO", f":irc.example 730 al :eve!~bo@{HOST}"], self.al.read()
        )

    def test_a_user_is_there_until_its_last_client_has_gone(self) -> None:
        bo = self.chat.join("bo")
        user = self.chat.server.network.users[b"bo"]
        second = self.chat.connect()
        second.protocol.session.attach(user)
        self.al.type("MONITOR + bo")
        bo.vanish()
        self.assertEqual([], self.al.read())
        second.vanish()
        self.assertEqual([":irc.example 731 al :bo"], self.al.read())

    def test_the_list(self) -> None:
        self.al.type("MONITOR + bo,Eve", "MONITOR + BO")
        self.assertEqual(
            [":irc.example 732 al :bo,Eve", ":irc.example 733 al :End of MONITOR list"],
            self.al.type("MONITOR L"),
        )
        self.assertEqual([":irc.example 731 al :bo,Eve"], self.al.type("MONITOR S"))
        self.assertEqual([], self.al.type("MONITOR - eve,nobody"))
        self.assertIn(" :bo", self.al.type("monitor l")[0])
        self.assertEqual([], self.al.type("MONITOR C", "MONITOR S"))
        self.assertEqual(["733"], self.al.codes("MONITOR L"))
        self.chat.join("bo").vanish()
        self.assertEqual([], self.al.read())

    def test_the_list_has_an_end(self) -> None:
        chat = Chat(limits=Limits(monitor=2))
        al = chat.join("al")
        self.assertEqual(
            [":irc.example 731 al :a,b,A", ":irc.example 734 al 2 c,d :The MONITOR list is full"],
            al.type("MONITOR + a,b,c,A,d"),
        )
        self.assertEqual(["731"], al.codes("MONITOR + b"))
        al.type("MONITOR - a")
        self.assertEqual(["731"], al.codes("MONITOR + c"))

    def test_the_limit_is_announced(self) -> None:
        self.assertIn(
            " MONITOR=7 ", " ".join(Chat(limits=Limits(monitor=7)).join("al").type("VERSION"))
        )

    def test_many_need_several_lines(self) -> None:
        nicks = ["x" * 20 + str(number) for number in range(60)]
        for start in range(0, 60, 15):
            self.al.type("MONITOR + " + ",".join(nicks[start : start + 15]))
        lines = self.al.type("MONITOR L")
        self.assertTrue(all(len(line) <= 510 for line in lines))
        self.assertEqual(nicks, ",".join(line.split(" :")[1] for line in lines[:-1]).split(","))

    def test_masks_and_strange_words_are_nothing(self) -> None:
        self.assertEqual([], self.al.type("MONITOR + *!u@h,#a,:", "MONITOR +", "MONITOR X y"))
        self.assertEqual(["461"], self.al.codes("MONITOR"))

    def test_a_client_that_goes_leaves_nothing_behind(self) -> None:
        self.al.type("MONITOR + bo,eve")
        self.al.vanish()
        self.assertEqual(0, len(self.chat.server.watchers))
        self.chat.join("bo")

    def test_a_stop_tells_nobody(self) -> None:
        bo = self.chat.join("bo")
        self.al.type("MONITOR + bo")
        self.chat.server.shut_down(b"x")
        self.assertEqual(["ERROR"], [line.split()[0] for line in self.al.read()])
        bo.read()


class ExtendedMonitorTests(SynchronousTestCase):
    def watcher(self, *channels: str, caps: str) -> Client:
        watcher = self.chat.join("al", *channels, caps=caps)
        watcher.type("MONITOR + bo")
        return watcher

    def setUp(self) -> None:
        self.chat = Chat()
        self.bo = self.chat.join("bo", "#a", caps="setname")

    def changes(self) -> None:
        self.bo.type("AWAY :x", "SETNAME :New")
        change_host(self.chat.server, self.chat.server.network.users[b"bo"], b"cloak")

    def test_who_watches_is_told_what_else_it_negotiated(self) -> None:
        al = self.watcher(caps="extended-monitor away-notify setname chghost")
        self.changes()
        self.assertEqual(
            [
                f":bo!~bo@{HOST} AWAY :x",
                f":bo!~bo@{HOST} SETNAME :New",
                f":bo!~bo@{HOST} CHGHOST ~bo cloak",
            ],
            al.read(),
        )

    def test_without_either_capability_nothing_is_told(self) -> None:
        for caps in ("extended-monitor", "away-notify setname chghost"):
            al = self.watcher(caps=caps)
            self.changes()
            self.assertEqual([], al.read())
            self.bo.type("AWAY", f"SETNAME :{caps}")
            change_host(self.chat.server, self.chat.server.network.users[b"bo"], HOST.encode())
            al.type("QUIT")

    def test_who_is_near_too_is_told_once(self) -> None:
        al = self.watcher("#a", caps="extended-monitor away-notify")
        self.bo.type("AWAY :x")
        self.assertEqual([f":bo!~bo@{HOST} AWAY :x"], al.read())


class PreAwayTests(SynchronousTestCase):
    def test_who_connects_may_be_away_from_the_beginning(self) -> None:
        chat = Chat()
        client = chat.connect()
        self.assertEqual(["451"], client.codes("AWAY :x"))
        client.type("CAP REQ draft/pre-away")
        self.assertEqual(
            [":irc.example 306 * :You are now marked as being away"], client.type("AWAY *")
        )
        client.type("CAP END", "NICK al", "USER al 0 * :Al")
        self.assertIn(":irc.example 301 bo al :*", chat.join("bo").type("PRIVMSG al :x"))

    def test_it_may_be_back_before_it_is_there(self) -> None:
        chat = Chat()
        client = chat.connect()
        client.type("CAP REQ draft/pre-away", "AWAY :x", "AWAY", "CAP END")
        client.type("NICK al", "USER al 0 * :Al")
        self.assertIsNone(chat.server.network.users[b"al"].away)


class HostTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat()
        self.bo = self.chat.join("bo", "#a", "#b", caps="chghost")
        self.user = self.chat.server.network.users[b"bo"]

    def change(self, host: bytes = b"new.host") -> None:
        change_host(self.chat.server, self.user, host)

    def test_the_user_itself_and_those_who_know_get_one_line(self) -> None:
        al = self.chat.join("al", "#a", "#b", caps="chghost")
        self.chat.hush(self.bo)
        self.change()
        line = f":bo!~bo@{HOST} CHGHOST ~bo new.host"
        self.assertEqual([line], al.read())
        self.assertEqual(
            [line, ":irc.example 396 bo new.host :is your visible host now"], self.bo.read()
        )
        self.assertEqual(b"bo!~bo@new.host", self.user.source)

    def test_the_others_see_the_user_go_and_come(self) -> None:
        al = self.chat.join("al", "#a", "#c", caps="away-notify")
        eve = self.chat.join("eve", "#b", caps="extended-join")
        self.bo.type("MODE #a +v bo", "AWAY :x", "MODE #b -o bo")
        self.chat.hush(al, eve)
        self.change()
        self.assertEqual(
            [
                f":bo!~bo@{HOST} QUIT :Changing host",
                ":bo!~bo@new.host JOIN #a",
                ":irc.example MODE #a +ov bo bo",
                ":bo!~bo@new.host AWAY :x",
            ],
            al.read(),
        )
        self.assertEqual(
            [f":bo!~bo@{HOST} QUIT :Changing host", ":bo!~bo@new.host JOIN #b * :Bo Real"],
            eve.read(),
        )

    def test_strangers_and_clients_that_would_believe_they_left_are_spared(self) -> None:
        al = self.chat.join("al")
        self.bo.type("CAP REQ -chghost")
        self.change()
        self.assertEqual([], al.read())
        self.assertEqual(["396"], [line.split()[1] for line in self.bo.read()])

    def test_the_same_host_is_no_news(self) -> None:
        self.change(HOST.encode())
        self.assertEqual([], self.bo.read())

    def test_bans_hold_the_new_host(self) -> None:
        self.bo.type("JOIN #own", "MODE #own +b *!*@new.host")
        own = self.chat.server.network.channels[b"#own"]
        self.assertFalse(own.is_banned(self.user))
        self.change()
        self.assertTrue(own.is_banned(self.user))


class WatchersMachine(RuleBasedStateMachine):
    """The index from either end, against a plain list of pairs."""

    NICKS = st.sampled_from(["al", "AL", "bo", "eve"])
    CLIENTS = st.integers(0, 2)

    def __init__(self) -> None:
        super().__init__()
        self.server = Chat().server
        self.sessions: list[Session] = [Chat().connect().protocol.session for _ in range(3)]
        self.pairs: dict[tuple[int, str], str] = {}

    @rule(client=CLIENTS, nick=NICKS)
    def add(self, client: int, nick: str) -> None:
        self.server.watchers.add(self.sessions[client], nick.encode())
        self.pairs.setdefault((client, nick.lower()), nick)

    @rule(client=CLIENTS, nick=NICKS)
    def remove(self, client: int, nick: str) -> None:
        self.server.watchers.remove(self.sessions[client], nick.encode())
        self.pairs.pop((client, nick.lower()), None)

    @rule(client=CLIENTS)
    def clear(self, client: int) -> None:
        self.server.watchers.clear(self.sessions[client])
        self.pairs = {pair: nick for pair, nick in self.pairs.items() if pair[0] != client}

    @invariant()
    def both_ends_agree(self) -> None:
        watchers = self.server.watchers
        for client, session in enumerate(self.sessions):
            mine = [nick.encode() for pair, nick in self.pairs.items() if pair[0] == client]
            assert watchers.watched_by(session) == mine
        watched = {nick for _, nick in self.pairs}
        assert len(watchers) == len(watched)
        for nick in ("al", "bo", "eve"):
            those = {self.sessions[client] for client, one in self.pairs if one == nick}
            assert set(watchers.of(nick.upper().encode())) == those


class WatchersTests(SynchronousTestCase):
    def test_both_ends_of_the_index_agree(self) -> None:
        run_state_machine_as_test(
            WatchersMachine,
            settings=settings(deadline=None, max_examples=40, stateful_step_count=25),
        )
