"""MODE: how changes are read and written, and what each mode does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.modes import ModeChange, format_changes, prefix_of, read_changes
from tests.chat.harness import EPOCH, Chat

HOST = "192.168.1.1"


class ReadTests(SynchronousTestCase):
    def test_parameters_go_to_the_letters_that_take_them(self) -> None:
        self.assertEqual(
            [
                ModeChange(True, b"o", b"al"),
                ModeChange(True, b"n", None),
                ModeChange(True, b"l", b"5"),
                ModeChange(False, b"l", None),
                ModeChange(False, b"k", b"key"),
                ModeChange(False, b"b", None),
            ],
            read_changes(b"on+l-lkb", (b"al", b"5", b"key")),
        )

    def test_what_misses_its_parameter_is_left_out_but_for_a_list_and_minus_k(self) -> None:
        self.assertEqual([], read_changes(b"+oklv-o", ()))
        self.assertEqual(
            [ModeChange(True, b"b", None), ModeChange(False, b"k", None)], read_changes(b"b-k", ())
        )

    def test_no_more_than_twenty_parameters_are_used(self) -> None:
        self.assertEqual(20, len(read_changes(b"o" * 30, (b"x",) * 30)))

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=20), st.lists(st.binary(max_size=5), max_size=5))
    def test_any_letters_are_read(self, letters: bytes, params: list[bytes]) -> None:
        for change in read_changes(letters, params):
            self.assertNotIn(change.letter, (b"+", b"-"))

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(
            st.builds(
                ModeChange, st.booleans(), st.sampled_from([b"o", b"v", b"b"]), st.just(b"n" * 20)
            )
            | st.builds(ModeChange, st.booleans(), st.sampled_from([b"n", b"m"]), st.none()),
            max_size=20,
        ),
        st.integers(30, 200),
    )
    def test_what_is_written_is_read_as_the_same_and_fits(
        self, changes: list[ModeChange], room: int
    ) -> None:
        lines = format_changes(changes, room)
        read = [change for line in lines for change in read_changes(line[0], line[1:])]
        self.assertEqual(changes, read)
        for line in lines:
            self.assertLessEqual(len(b" ".join(line)), room)

    def test_signs_come_in_the_order_of_rank(self) -> None:
        self.assertEqual(b"@", prefix_of(b"vo"))
        self.assertEqual(b"@+", prefix_of(b"vo", all_of_them=True))
        self.assertEqual(b"", prefix_of(b""))


class ChannelModeTests(SynchronousTestCase):
    def test_looking_shows_modes_and_age_and_the_key_to_members_only(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a")
        self.assertEqual(":irc.example 324 al #a +nt", al.type("MODE #a")[0])
        al.type("MODE #a +kl secret 5")
        self.assertEqual(
            [":irc.example 324 al #a +ntkl secret 5", f":irc.example 329 al #a {EPOCH}"],
            al.type("MODE #A"),
        )
        self.assertEqual(":irc.example 324 bo #a +ntkl * 5", chat.join("bo").type("MODE #a")[0])

    def test_changes_are_told_to_everybody_as_they_took_effect(self) -> None:
        chat = Chat()
        al, bo = chat.join("al", "#a"), chat.join("bo", "#a")
        chat.hush(al)
        news = [f":al!~al@{HOST} MODE #a +m-t+ov bo bo"]
        self.assertEqual(news, al.type("MODE #A +mn-ti+ov BO bo"))
        self.assertEqual(news, bo.read())
        self.assertEqual([f":bo!~bo@{HOST} MODE #a -o al"], bo.type("MODE #a -o+o al bo"))

    def test_who_is_no_operator_is_refused_once(self) -> None:
        chat = Chat()
        chat.join("al", "#a")
        bo = chat.join("bo", "#a")
        self.assertEqual(["482"], bo.codes("MODE #a +mi-t"))
        self.assertEqual(["482"], chat.join("eve").codes("MODE #a +m"))

    def test_unknown_letters_channels_and_nicks_are_named(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a")
        chat.join("bo")
        self.assertEqual(
            [
                ":irc.example 472 al Z :is a mode this server does not have",
                ":irc.example 403 al #x :No such channel",
                ":irc.example 401 al ghost :No such nick",
                ":irc.example 441 al bo #a :They are not on that channel",
                ":irc.example 461 al MODE :Not enough parameters",
            ],
            al.type("MODE #a +Z", "MODE #x", "MODE #a +o ghost", "MODE #a +v bo", "MODE"),
        )

    def test_a_key_is_set_changed_and_taken_away(self) -> None:
        al = Chat().join("al", "#a")
        self.assertEqual([], al.type("MODE #a -k x"))
        self.assertEqual([f":al!~al@{HOST} MODE #a +k one"], al.type("MODE #a +k one"))
        self.assertEqual([], al.type("MODE #a +k one"))
        self.assertEqual([f":al!~al@{HOST} MODE #a -k *"], al.type("MODE #a -k"))
        for bad in (":", ":a b", "a,b", "::a", "k" * 24):
            (line,) = al.type(f"MODE #a +k {bad}")
            self.assertTrue(line.startswith(":irc.example 696 al #a k * :"), line)

    def test_a_limit_is_set_changed_and_taken_away(self) -> None:
        al = Chat().join("al", "#a")
        self.assertEqual([f":al!~al@{HOST} MODE #a +l 7"], al.type("MODE #a +l 007"))
        self.assertEqual([], al.type("MODE #a +l 7"))
        self.assertEqual([f":al!~al@{HOST} MODE #a -l"], al.type("MODE #a -l"))
        for bad in ("0", "-1", "x", "9" * 11, "²", ":", "9" * 10):
            self.assertEqual(["696"], al.codes(f"MODE #a +l {bad}"), bad)

    def test_bans_are_set_shown_and_taken_away_whatever_their_case(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a")
        self.assertEqual(
            [f":al!~al@{HOST} MODE #a +bb bo!*@* *!*@host"], al.type("MODE #a +bb bo @host")
        )
        self.assertEqual([], al.type("MODE #a +b BO!*@*", "MODE #a -b nobody"))
        self.assertEqual(
            [
                f":irc.example 367 bo #a bo!*@* al!~al@{HOST} {EPOCH}",
                f":irc.example 367 bo #a *!*@host al!~al@{HOST} {EPOCH}",
                ":irc.example 368 bo #a :End of the ban list",
            ],
            chat.join("bo").type("MODE #a b"),
        )
        self.assertEqual([f":al!~al@{HOST} MODE #a -b bo!*@*"], al.type("MODE #a -b BO!*@*"))
        self.assertEqual(["368"], al.codes("MODE #a +b")[1:])
        self.assertEqual(["696", "696"], al.codes("MODE #a +b :a b", "MODE #a +b ::a"))

    def test_a_ban_list_has_an_end(self) -> None:
        al = Chat().join("al", "#a")
        for i in range(100):
            self.assertEqual(["MODE"], al.codes(f"MODE #a +b n{i}"))
        self.assertEqual(
            [":irc.example 478 al #a x!*@* :The ban list is full"], al.type("MODE #a +b x")
        )

    def test_many_long_changes_take_several_lines_that_fit(self) -> None:
        al = Chat().join("al", "#a")
        masks = [f"{'n' * 28}{i:02}!*@{'h' * 63}" for i in range(4)]
        lines = al.type(f"MODE #a +bbbb {' '.join(masks)}")
        self.assertEqual(2, len(lines))
        for mask in masks:
            self.assertIn(mask, "".join(lines))


class UserModeTests(SynchronousTestCase):
    def test_invisible_is_set_shown_and_taken_away(self) -> None:
        al = Chat().join("al")
        self.assertEqual([":irc.example 221 al +"], al.type("MODE AL"))
        self.assertEqual([f":al!~al@{HOST} MODE al +i"], al.type("MODE al +i"))
        self.assertEqual([], al.type("MODE al +i"))
        self.assertEqual([":irc.example 221 al +i"], al.type("MODE al"))
        self.assertEqual([f":al!~al@{HOST} MODE al -i"], al.type("MODE al -i"))

    def test_others_modes_and_unknown_letters_are_refused(self) -> None:
        chat = Chat()
        chat.join("bo")
        al = chat.join("al")
        self.assertEqual(
            ["502", "502", "401", "MODE", "501"],
            al.codes("MODE bo", "MODE bo +i", "MODE ghost", "MODE al +xiy"),
        )
