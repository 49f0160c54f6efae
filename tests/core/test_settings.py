"""One sort of value at a time: what each kind of setting takes, and what it refuses."""

from __future__ import annotations

import string
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject.settings import (
    Setting,
    choice,
    flag,
    integer,
    path,
    ports,
    seconds,
    strings,
    text,
)


class KindTests(SynchronousTestCase):
    def refused(self, setting: Setting[object], raw: object) -> str:
        return str(self.assertRaises(ValueError, setting.coerce, raw))

    def test_a_flag_takes_the_words_that_people_use_for_true_and_false(self) -> None:
        setting = flag(help="")
        values = [setting.coerce(word) for word in ("true", "YES", "on", "1", True)]
        self.assertEqual([True] * 5, values)
        values = [setting.coerce(word) for word in ("false", "No", "off", "0", False)]
        self.assertEqual([False] * 5, values)

    def test_a_flag_refuses_other_words(self) -> None:
        self.assertEqual(
            "'maybe': it is neither true nor false", self.refused(flag(help=""), "maybe")
        )

    def test_an_integer_is_kept_between_its_limits(self) -> None:
        setting = integer(5, help="", minimum=1, maximum=9)
        self.assertEqual([1, 9], [setting.coerce("1"), setting.coerce(9)])
        self.assertEqual("'0': it is too small", self.refused(setting, "0"))
        self.assertEqual("10: it is too large", self.refused(setting, 10))

    def test_an_integer_is_written_in_plain_digits(self) -> None:
        setting = integer(5, help="", minimum=-10)
        self.assertEqual(-7, setting.coerce("-7"))
        for wrong in ("", "-", "--1", "1_000", " 7", "7 ", "٧", "0x10", "1e3", "9" * 5000):
            self.refused(setting, wrong)

    def test_a_boolean_is_no_integer(self) -> None:
        self.assertEqual("True: it is a boolean", self.refused(integer(5, help=""), True))
        self.assertEqual("True: it is a boolean", self.refused(ports(1), True))

    def test_a_wrong_type_is_called_by_its_name_in_the_file(self) -> None:
        self.assertEqual("{}: it is a table", self.refused(text("", help=""), {}))
        self.assertEqual("1.5: it is a float", self.refused(integer(1, help=""), 1.5))
        self.assertEqual("it is an array", self.refused(text("", help=""), ["a"]))

    def test_seconds_are_finite_and_not_below_the_minimum(self) -> None:
        setting = seconds(1, help="", minimum=0.5)
        self.assertEqual([1.5, 2.0, 0.5], [setting.coerce(raw) for raw in ("1.5", 2, 0.5)])
        for wrong in ("nan", "inf", "-inf", "0.4", "soon", ""):
            self.refused(setting, wrong)

    def test_a_choice_is_one_of_its_words(self) -> None:
        setting = choice("a", ["a", "b"], help="")
        self.assertEqual("b", setting.coerce("b"))
        self.assertEqual("'c': it is none of the choices", self.refused(setting, "c"))
        self.assertEqual("one of a, b", setting.kind.allowed)

    def test_a_path_is_made_absolute_before_twistd_changes_folder(self) -> None:
        self.assertEqual(Path.cwd() / "x.toml", path(help="").coerce("x.toml"))
        self.assertEqual("'': it is empty", self.refused(path(help=""), ""))
        self.assertEqual("'\\x00': it has a NUL character", self.refused(path(help=""), "\0"))

    def test_a_port_is_a_number_or_an_endpoint_description(self) -> None:
        setting = ports(1)
        self.assertEqual(("7", "8"), setting.coerce(["7", 8]))
        given = "tcp:0:interface=127.0.0.1"
        self.assertEqual((given,), setting.coerce(given))

    def test_a_port_that_nothing_can_listen_on_is_refused(self) -> None:
        setting = ports(1)
        self.assertEqual("'65536': it is too large for a port", self.refused(setting, "65536"))
        self.assertEqual(
            "'echo': it is neither a port number nor an endpoint description",
            self.refused(setting, "echo"),
        )
        for wrong in (
            "tcp:65536",
            "tcp:-1",
            "tcp:x",
            "tcp6:99999",
            "nonsense:1",
            "tcp:1:no=2",
            "-1",
            "",
        ):
            self.refused(setting, wrong)

    def test_several_texts_stay_several(self) -> None:
        setting = strings(help="")
        self.assertEqual(("a b", "c"), setting.coerce(["a b", "c"]))
        self.assertEqual(["a b", "c"], setting.split("'a b' c"))

    def test_a_secret_is_not_in_its_own_refusal(self) -> None:
        setting = text("", help="", secret=True)
        self.assertNotIn("1234", self.refused(setting, 1234))


class EverySourceAgrees(SynchronousTestCase):
    """What a kind shows, it reads back; nothing it is given makes it raise anything but ValueError."""

    @given(st.integers(-(2**62), 2**62))
    def test_integers_read_back(self, number: int) -> None:
        kind = integer(0, help="", minimum=-(2**63)).kind
        self.assertEqual(number, kind.read(str(kind.show(number))))

    @given(st.floats(0, allow_nan=False, allow_infinity=False))
    def test_seconds_read_back(self, number: float) -> None:
        kind = seconds(0, help="").kind
        self.assertEqual(number, kind.read(kind.show(number)))

    @given(st.integers(0, 65535))
    def test_ports_read_back(self, number: int) -> None:
        kind = ports(0).kind
        self.assertEqual(str(number), kind.read(kind.show(kind.read(str(number)))))

    @given(
        st.one_of(
            st.text(),
            st.text(string.printable),
            st.from_regex(r"(tcp6?|unix|ssl|systemd|fd|tls|stdio|haproxy)(:[a-z0-9=\\]*)*"),
            st.integers(),
            st.floats(),
            st.booleans(),
            st.dates(),
            st.dictionaries(st.text(), st.integers()),
        )
    )
    def test_anything_is_read_or_refused(self, raw: object) -> None:
        settings: list[Setting[object]] = [
            flag(help=""),
            integer(0, help=""),
            seconds(0, help=""),
            choice("a", ["a"], help=""),
            path(help=""),
            ports(0),
            strings(help=""),
            text("", help=""),
        ]
        for setting in settings:
            try:
                setting.coerce(raw)
            except ValueError as error:
                self.assertNotIn("\n", str(error))
