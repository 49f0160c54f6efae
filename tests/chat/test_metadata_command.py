"""METADATA: what users and channels say of themselves, and who hears of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.commands import metadata
from myproject_chat.configuration import Limits
from myproject_chat.identity import set_account
from myproject_chat.keeper import Unwritten
from myproject_chat.store.records import Metadata
from tests.chat.harness import Chat, Client

CAPS = "draft/metadata-3 batch"


def inside(lines: list[str]) -> list[str]:
    """What is in the one batch that the lines are, without its tags."""
    first, *between, last = lines
    name = first.split()[2].removeprefix("+")
    assert first.split()[1:4] == ["BATCH", f"+{name}", "metadata"], first
    assert last == f":irc.example BATCH -{name}", last
    for line in between:
        assert line.startswith(f"@batch={name} "), line
    return [line.split(" ", 1)[1].removeprefix(":irc.example ") for line in between]


class MetadataTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat()
        self.al = self.chat.join("al", "#a", caps=CAPS)

    def said(self, client: Client, *lines: str) -> list[str]:
        return [line.removeprefix(":irc.example ") for line in client.type(*lines)]


class ReadingTests(MetadataTestCase):
    def test_what_is_set_can_be_read_and_unset(self) -> None:
        self.assertEqual(
            ["761 al al url * :http://x"], self.said(self.al, "METADATA * SET url :http://x")
        )
        self.assertEqual(
            ["761 al al url * :http://x", "766 al al color :is not set"],
            inside(self.al.type("METADATA AL GET url color")),
        )
        self.assertEqual(["766 al al url :is not set"], self.said(self.al, "METADATA al SET url"))
        self.assertEqual([], inside(self.al.type("METADATA * LIST")))

    def test_an_empty_value_is_one(self) -> None:
        self.al.type("METADATA * SET status :")
        self.assertEqual(["761 al al status * :"], inside(self.al.type("METADATA * LIST")))

    def test_keys_that_cannot_be_are_refused_in_their_place(self) -> None:
        self.assertEqual(
            [
                "766 al al a :is not set",
                "FAIL METADATA KEY_INVALID Up :Invalid key",
                "766 al al b :is not set",
            ],
            inside(self.al.type("METADATA * GET a Up b")),
        )

    def test_who_has_no_batches_gets_bare_lines(self) -> None:
        self.al.type("CAP REQ -batch")
        self.assertEqual(["766 al al a :is not set"], self.said(self.al, "METADATA * GET a"))

    def test_labelled_the_batch_has_the_label(self) -> None:
        self.al.type("CAP REQ labeled-response")
        lines = self.al.type("@label=x METADATA * GET a")
        self.assertTrue(lines[0].startswith("@label=x :irc.example BATCH +"))
        self.assertEqual(3, len(lines))

    def test_mistakes(self) -> None:
        for line, answer in {
            "METADATA": "461 al METADATA :Not enough parameters",
            "METADATA *": "461 al METADATA :Not enough parameters",
            "METADATA * SET": "461 al METADATA :Not enough parameters",
            "METADATA * FLY": "FAIL METADATA SUBCOMMAND_INVALID FLY :No such subcommand",
            "METADATA bo LIST": "FAIL METADATA INVALID_TARGET bo :No such nick or channel",
            "METADATA #x LIST": "FAIL METADATA INVALID_TARGET #x :No such nick or channel",
            "METADATA * SET Up x": "FAIL METADATA KEY_INVALID Up :Invalid key",
            "METADATA * SET a " + "x" * 301: "FAIL METADATA INVALID_VALUE a :Value is too long",
        }.items():
            self.assertEqual([answer], self.said(self.al, line), line)

    def test_whois_shows_it_to_those_who_know(self) -> None:
        self.al.type("METADATA * SET url :http://x")
        bo = self.chat.join("bo", caps=CAPS)
        self.assertIn(":irc.example 760 bo al url * :http://x", bo.type("WHOIS al"))
        bo.type("CAP REQ -draft/metadata-3")
        self.assertNotIn("760", bo.codes("WHOIS al"))

    def test_a_channel_that_keeps_people_out_keeps_its_metadata_in(self) -> None:
        self.al.type("METADATA #a SET url :secret")
        bo = self.chat.join("bo", caps=CAPS)
        self.assertEqual(["761 bo #a url * :secret"], inside(bo.type("METADATA #a LIST")))
        for mode, code in {
            "+i": "KEY_NO_PERMISSION #a *",
            "-i+k x": "KEY_NO_PERMISSION #a *",
            "-k+s x": "INVALID_TARGET #a",
        }.items():
            self.al.type(f"MODE #a {mode}")
            for subcommand in ("LIST", "GET url", "SYNC"):
                [answer] = self.said(bo, f"METADATA #a {subcommand}")
                self.assertTrue(answer.startswith(f"FAIL METADATA {code} :"), answer)
        self.assertEqual(1, len(inside(self.al.type("METADATA #a LIST"))))

    def test_a_channel_keeps_what_is_said_of_it_under_another_name_and_no_longer_than_it_is(
        self,
    ) -> None:
        self.al.type("METADATA #a SET url :x", "RENAME #a #b")
        self.assertEqual(["761 al #b url * :x"], inside(self.al.type("METADATA #b LIST")))
        self.al.type("PART #b", "JOIN #b")
        self.assertEqual([], inside(self.al.type("METADATA #b LIST")))


class SettingTests(MetadataTestCase):
    def test_others_and_their_channels_are_theirs(self) -> None:
        bo = self.chat.join("bo", "#a", caps=CAPS)
        for line, answer in {
            "METADATA al SET url x": "KEY_NO_PERMISSION al url",
            "METADATA al CLEAR": "KEY_NO_PERMISSION al *",
            "METADATA #a SET url x": "KEY_NO_PERMISSION #a url",
            "METADATA #a CLEAR": "KEY_NO_PERMISSION #a *",
        }.items():
            [said] = self.said(bo, line)
            self.assertTrue(said.startswith(f"FAIL METADATA {answer} :"), said)
        self.al.type("MODE #a +o bo")
        self.chat.hush(bo)
        self.assertEqual(["761 bo #a url * :x"], self.said(bo, "METADATA #a SET url x"))

    def test_clear_unsets_everything(self) -> None:
        self.al.type("METADATA * SET a :1", "METADATA * SET b :2")
        self.assertEqual(
            ["766 al al a :is not set", "766 al al b :is not set"],
            inside(self.al.type("METADATA * CLEAR")),
        )
        self.assertEqual([], inside(self.al.type("METADATA * CLEAR")))

    def test_there_is_an_end_of_keys(self) -> None:
        chat = Chat(limits=Limits(metadata_keys=2))
        al = chat.join("al", caps=CAPS)
        al.type("METADATA * SET a :1", "METADATA * SET b :2")
        self.assertEqual(
            [":irc.example FAIL METADATA LIMIT_REACHED al :Metadata limit reached"],
            al.type("METADATA * SET c :3"),
        )
        self.assertIn("761", al.codes("METADATA * SET b :3"))

    def test_key_and_value_fit_a_line_whatever_the_names(self) -> None:
        chat = Chat(limits=Limits(metadata_bytes=400), server_name=b"x" * 59 + b".org")
        long = "#" + "c" * 63
        al = chat.join("a" * 30, long, caps="draft/metadata-3")
        room = metadata._room(chat.server)
        [line] = al.type(f"METADATA {long} SET {'k' * 10} :{'v' * (room - 10)}")
        self.assertEqual(510, len(line))
        self.assertIn(
            "INVALID_VALUE", al.type(f"METADATA {long} SET {'k' * 10} :{'v' * (room - 9)}")[0]
        )

    def test_the_operator_may_turn_it_off(self) -> None:
        client = Chat(limits=Limits(metadata_keys=0)).connect()
        self.assertNotIn("metadata", client.type("CAP LS 302")[0])
        lines = " ".join(Chat().connect().type("CAP LS 302"))
        self.assertIn(
            "draft/metadata-3=before-connect,max-keys=20,max-subs=64,max-value-bytes=300", lines
        )

    def test_what_belongs_to_an_account_or_a_kept_channel_is_written_first(self) -> None:
        written: list[tuple[bytes, bytes, bytes | None]] = []

        class Writer(Unwritten):
            def put_metadata(self, metadata: Metadata, /) -> int:
                written.append((metadata.subject, metadata.key, metadata.value))
                return len(written)

            def delete_metadata(self, subject: bytes, key: bytes, /) -> int:
                written.append((subject, key, None))
                return len(written)

        self.chat.server.accounts.store = Writer()
        network = self.chat.server.network
        self.assertEqual(1, len(self.al.type("METADATA * SET a :1")))
        set_account(self.chat.server, network.users[b"al"], b"Al")
        del written[:]
        network.channels[b"#a"].kept = True
        self.assertEqual(
            [], self.al.type("METADATA * SET b :2", "METADATA #a SET c", "METADATA #a SET d :4")
        )
        self.assertEqual([(b"al", b"b", b"2"), (b"#a", b"d", b"4")], written)
        self.chat.server.wrote(2)
        self.assertEqual(3, len(self.al.read()))
        self.al.type("METADATA * CLEAR")
        self.assertEqual([(b"al", b"a", None), (b"al", b"b", None)], written[2:])


class SubscribingTests(MetadataTestCase):
    def test_keys_come_and_go(self) -> None:
        self.assertEqual(["770 al a b"], self.said(self.al, "METADATA * SUB a b a"))
        self.assertEqual(["770 al a"], self.said(self.al, "METADATA * SUB a"))
        self.assertEqual(["772 al a b"], self.said(self.al, "METADATA * SUBS"))
        self.assertEqual(["771 al a c"], self.said(self.al, "METADATA * UNSUB a c"))
        self.assertEqual(["772 al b"], self.said(self.al, "METADATA * SUBS"))
        self.assertEqual(
            ["FAIL METADATA KEY_INVALID Up :Invalid key", "770 al c"],
            self.said(self.al, "METADATA * SUB Up c"),
        )
        self.assertEqual(
            ["FAIL METADATA KEY_INVALID Up :Invalid key", "771 al c"],
            self.said(self.al, "METADATA * UNSUB Up c"),
        )

    def test_there_is_an_end_of_them_and_lines_hold_them(self) -> None:
        for start in range(0, 60, 10):
            keys = " ".join(f"{number}{'x' * 30}" for number in range(start, start + 10))
            self.al.type(f"METADATA * SUB {keys}")
        self.assertEqual(
            [
                "FAIL METADATA TOO_MANY_SUBS e :You are subscribed to as many keys as you can",
                "770 al a b c d",
            ],
            self.said(self.al, "METADATA * SUB a b c d e f"),
        )
        lines = self.al.type("METADATA * SUBS")
        self.assertTrue(all(len(line) <= 510 and len(line.split()) <= 15 for line in lines))
        self.assertEqual(64, sum(len(line.split()[3:]) for line in lines))

    def test_those_near_who_subscribe_hear_of_changes(self) -> None:
        bo = self.chat.join("bo", "#a", caps=CAPS)
        eve = self.chat.join("eve", "#a", caps=CAPS)
        far = self.chat.join("far", caps=CAPS)
        for client in (bo, far, self.al):
            client.type("METADATA * SUB url")
        self.chat.hush(self.al, bo, eve, far)
        self.al.type("METADATA * SET url :x", "METADATA * SET other :x", "METADATA * SET url :x")
        self.assertEqual(["761 bo al url * :x"], self.said(bo))
        self.al.type("METADATA #a SET url :c", "METADATA * SET url")
        self.assertEqual(["761 bo #a url * :c", "766 bo al url :is not set"], self.said(bo))
        self.assertEqual([], eve.read())
        self.assertEqual([], far.read())
        self.al.type("CAP REQ -draft/metadata-3")
        bo.type("METADATA * SET url :y")
        self.assertEqual([], self.al.read())

    def test_those_who_watch_hear_too_and_other_clients_of_ones_own(self) -> None:
        far = self.chat.join("far", caps=CAPS + " extended-monitor")
        far.type("MONITOR + al", "METADATA * SUB url")
        second = self.chat.connect()
        second.type(f"CAP REQ :{CAPS}", "METADATA * SUB url")
        second.protocol.session.attach(self.chat.server.network.users[b"al"])
        self.al.type("METADATA * SET url :x")
        self.assertEqual(["761 far al url * :x"], self.said(far))
        self.assertEqual(["761 al al url * :x"], self.said(second))

    def test_who_joins_is_told_of_those_there_and_they_of_who_joins(self) -> None:
        bo = self.chat.join("bo", caps=CAPS)
        for client in (self.al, bo):
            client.type("METADATA * SUB url")
            client.type("METADATA * SET url :mine", "METADATA * SET other :x")
        self.al.type("METADATA #a SET url :c")
        lines = bo.type("JOIN #a")
        self.assertEqual(
            ["761 bo #a url * :c", "761 bo al url * :mine", "761 bo bo url * :mine"],
            inside(lines[3:]),
        )
        self.assertEqual(["JOIN", "761"], [line.split()[1] for line in self.al.read()])

    def test_of_a_large_channel_the_client_asks_when_it_likes(self) -> None:
        self.patch(metadata, "_SYNC_MEMBERS", 1)
        bo = self.chat.join("bo", caps=CAPS)
        self.al.type("METADATA #a SET url :c")
        bo.type("METADATA * SUB url")
        self.assertEqual("774 bo #a", self.said(bo, "JOIN #a")[-1])
        self.assertEqual(["761 bo #a url * :c"], inside(bo.type("METADATA #a SYNC")))
        self.assertEqual([], inside(bo.type("METADATA al SYNC")))
        self.assertEqual(["770 bo x", "774 bo #a"], self.said(bo, "METADATA * SUB x"))

    def test_who_subscribes_later_is_told_what_is_there(self) -> None:
        self.al.type("METADATA #a SET url :c")
        lines = self.al.type("METADATA * SUB url")
        self.assertEqual(["761 al #a url * :c"], inside(lines[1:]))

    def test_in_an_auditorium_those_who_are_not_seen_say_nothing(self) -> None:
        self.al.type("MODE #a +u")
        bo, eve = self.chat.join("bo", "#a", caps=CAPS), self.chat.join("eve", "#a", caps=CAPS)
        eve.type("METADATA * SUB url")
        bo.type("METADATA * SET url :x")
        self.assertEqual([], eve.read())
        self.assertEqual([], inside(eve.type("METADATA #a SYNC")))


class BeforeRegistrationTests(SynchronousTestCase):
    def test_it_is_remembered_and_told_at_the_end(self) -> None:
        chat = Chat()
        client = chat.connect()
        client.type(f"CAP REQ :{CAPS}")
        self.assertEqual([":irc.example 761 * * url * :x"], client.type("METADATA * SET url :x"))
        self.assertEqual(["761 * * url * :x"], inside(client.type("METADATA * LIST")))
        client.type("METADATA * SET b :1", "METADATA * SET b", "METADATA * SUB url")
        self.assertEqual([], client.type("METADATA * SYNC"))
        for target in ("al", "#a"):
            self.assertIn("INVALID_TARGET", client.type(f"METADATA {target} LIST")[0])
        lines = client.type("NICK al", "USER al 0 * :Al", "CAP END")
        self.assertEqual(["761 al al url * :x"], inside(lines[-3:]))

    def test_who_asks_for_the_capability_later_is_told_then(self) -> None:
        al = Chat().join("al", caps="batch")
        al.type("METADATA * SET url :x")
        lines = al.type("CAP REQ draft/metadata-3")
        self.assertEqual(["761 al al url * :x"], inside(lines[1:]))
        self.assertEqual(1, len(al.type("CAP REQ draft/metadata-3")))


class AnythingTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["*", "al", "bo", "#a", "#b", ":", "é"]),
                st.sampled_from(["GET", "LIST", "SET", "CLEAR", "SUB", "UNSUB", "SUBS", "SYNC"]),
                st.text("ab1 :é\x01", max_size=12),
            ),
            max_size=8,
        )
    )
    def test_any_commands_are_answered(self, commands: list[tuple[str, str, str]]) -> None:
        chat = Chat(limits=Limits(metadata_keys=2))
        al, bo = chat.join("al", "#a", caps=CAPS), chat.join("bo", "#a", caps=CAPS)
        for target, subcommand, rest in commands:
            al.type(f"METADATA {target} {subcommand} {rest}")
            self.assertEqual(["PONG"], al.codes("PING x"))
            bo.read()
        user = chat.server.network.users[b"al"]
        self.assertLessEqual(len(user.metadata), 2)
