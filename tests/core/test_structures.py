"""Structures: tables of the configuration file, read by msgspec, told about in our words."""

from __future__ import annotations

import math
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Meta
from twisted.trial.unittest import SynchronousTestCase

import myproject
from myproject import SettingError, manual, reference
from myproject.options import Options
from myproject.optiontable import Subcommand, rows_of
from myproject.settings import FieldError, reloadable
from myproject.structures import Structure, structure, structures


class Pitch:
    """A type of one's own: a letter with an octave."""

    allowed = "a pitch such as a4"

    def __init__(self, letter: str, octave: int) -> None:
        self.letter = letter
        self.octave = octave

    @classmethod
    def parse(cls, text: str) -> Self:
        if len(text) != 2 or not "a" <= text[0] <= "g" or text[1] not in "0123456789":
            raise ValueError(f"{text} is no pitch")
        return cls(text[0], int(text[1]))

    def __str__(self) -> str:
        return f"{self.letter}{self.octave}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pitch) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def told(text: str, **extra: object) -> Meta:
    return Meta(description=text, extra=extra)


class Echoes(Structure, frozen=True):
    """An inner table."""

    count: Annotated[int, Meta(ge=0, le=9, description="How many.", extra={"unit": "echoes"})] = 1
    fade: Annotated[float, Meta(ge=0, description="How much each is weaker.")] = 0.5


class Limits(Structure, frozen=True):
    """A table with a field of each kind."""

    max_width: Annotated[
        int, Meta(ge=1, le=512, description="The longest line.", extra={"unit": "bytes"})
    ] = 72
    depth: Annotated[int, Meta(le=7, description="A depth.", extra={"restart": True})] = 3
    often: Annotated[bool, told("Whether often.")] = True
    mood: Annotated[Literal["calm", "loud"], told("How.")] = "calm"
    pitches: Annotated[tuple[Pitch, ...], Meta(max_length=3, description="In which pitches.")] = ()
    words: Annotated[
        tuple[Annotated[str, Meta(max_length=5)], ...], Meta(min_length=1, description="What.")
    ] = ("hey",)
    note: Annotated[str, Meta(max_length=80, description="Anything.")] | None = None
    token: (
        Annotated[str, Meta(min_length=3, description="A key.", extra={"secret": True})] | None
    ) = None
    key: Annotated[Pitch, told("A pitch.", secret=True)] | None = None
    echoes: Annotated[Echoes, told("Echoes.")] = Echoes()

    def __post_init__(self) -> None:
        if self.often and self.mood == "loud":
            raise ValueError("it is too much; be calm, or not often")


class Call(Structure, frozen=True):
    """One of a person's calls."""

    text: Annotated[str, told("What they call.", form="a word or two")]


class Person(Structure, frozen=True):
    """One of several."""

    name: Annotated[str, told("Whose.")]
    password: (
        Annotated[str, Meta(pattern=r"^\$x\$", description="A hash.", extra={"secret": True})]
        | None
    ) = None
    call: Annotated[tuple[Call, ...], told("Their calls.")] = msgspec.field(default_factory=tuple)


class Shout(Options):
    """A subcommand with tables."""

    tapname = "shout"

    volume = reloadable(myproject.integer(5, help="How loud."))
    limits = reloadable(structure(Limits, help="How much."))
    walls = structure(Echoes, help="What comes back.", default=Echoes(count=2))
    person = reloadable(structures(Person, help="Who."))


class ShoutCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = Path(self.mktemp()).absolute()

    def read(self, *lines: str, environ: dict[str, str] | None = None) -> Shout:
        self.file.write_text("\n".join(["[shout]", *lines]), encoding="utf-8")
        options = Shout(environ or {})
        options.resolve(self.file)
        return options

    def mistake(self, *lines: str) -> str:
        """The line that a mistake costs, without where the file is."""
        words = str(self.assertRaises(SettingError, self.read, *lines))
        source = f", from table [shout] of {self.file}: "
        self.assertIn(source, words)
        self.assertNotIn("\n", words)
        return words.replace(source, " | ")


class ReadingTests(ShoutCase):
    def test_without_a_table_each_field_has_its_default(self) -> None:
        options = self.read()
        self.assertEqual(
            (Limits(), Echoes(count=2), ()), (options.limits, options.walls, options.person)
        )
        self.assertEqual("its default", options.sources["limits"])

    def test_a_table_gives_what_it_has(self) -> None:
        options = self.read(
            "[shout.limits]", "max-width = 9", "pitches = ['a4']", "note = 'é'", "[shout.limits.echoes]",
            "count = 3", "fade = 2",
        )  # fmt: skip
        expected = Limits(
            max_width=9, pitches=(Pitch("a", 4),), note="é", echoes=Echoes(count=3, fade=2.0)
        )
        self.assertEqual(expected, options.limits)
        self.assertEqual(f"table [shout] of {self.file}", options.sources["limits"])

    def test_an_array_gives_each_in_order(self) -> None:
        options = self.read(
            "[[shout.person]]", "name = 'al'", "[[shout.person.call]]", "text = 'ho'",
            "[[shout.person]]", "name = 'bo'", "password = '$x$'",
        )  # fmt: skip
        expected = (Person(name="al", call=(Call(text="ho"),)), Person(name="bo", password="$x$"))
        self.assertEqual(expected, options.person)

    def test_a_structure_is_frozen(self) -> None:
        with self.assertRaises(AttributeError):
            self.read().limits.depth = 4  # type: ignore[misc]

    def test_no_other_source_is_asked(self) -> None:
        options = self.read(environ={"SHOUT_LIMITS": "9", "SHOUT_PERSON": "al"})
        self.assertEqual((Limits(), ()), (options.limits, options.person))
        self.assertNotIn("limits", [row.long for row in rows_of(options)])


class MistakeTests(ShoutCase):
    def check(self, expected: str, *lines: str) -> None:
        self.assertEqual(expected, self.mistake(*lines))

    def limits(self, line: str, expected: str) -> None:
        self.check(f"shout.limits.{expected}", "[shout.limits]", line)

    def test_an_unknown_key_suggests_the_nearest(self) -> None:
        known = "there is no such setting"
        self.limits(
            "max-with = 1", f"max-with | {known} (did you mean max-width?); correct or remove it"
        )
        self.limits("zzz = 1", f"zzz | {known}; correct or remove it")
        # The name that Python has for it is not the file's.
        self.limits(
            "max_width = 1", f"max_width | {known} (did you mean max-width?); correct or remove it"
        )
        self.limits(
            "echoes.cont = 1", f"echoes.cont | {known} (did you mean count?); correct or remove it"
        )

    def test_a_missing_key_is_named(self) -> None:
        self.check("shout.person[0].name | it is missing; give text", "[[shout.person]]")
        self.check(
            "shout.person[1].call[0].text | it is missing; give a word or two",
            "[[shout.person]]", "name = 'al'", "[[shout.person]]", "name = 'bo'", "call = [{}]",
        )  # fmt: skip

    def test_a_number_out_of_its_range(self) -> None:
        allowed = "give a whole number of bytes from 1 to 512"
        self.limits("max-width = 0", f"max-width | 0: it is too small; {allowed}")
        self.limits("max-width = 513", f"max-width | 513: it is too large; {allowed}")
        self.limits("max-width = 1.5", f"max-width | 1.5: it is a float; {allowed}")
        fade = "give a number of at least 0"
        self.limits("echoes.fade = -1", f"echoes.fade | -1: it is too small; {fade}")
        self.limits("echoes.fade = nan", f"echoes.fade | nan: it is not a number; {fade}")
        self.limits("echoes.fade = true", f"echoes.fade | True: it is a boolean; {fade}")

    def test_a_wrong_type_is_called_by_its_name_in_the_file(self) -> None:
        self.limits("often = 1", "often | 1: it is an integer; give true or false")
        self.limits("often = 'yes'", "often | 'yes': it is a string; give true or false")
        self.limits("note = []", "note | it is an array; give text of up to 80 characters")
        self.limits(
            "note = 2020-01-01", "note | it is a date or time; give text of up to 80 characters"
        )
        self.limits("echoes = 3", "echoes | 3: it is an integer; give a table")
        self.check("shout.limits | 3: it is an integer; give a table", "limits = 3")
        self.check("shout.limits | it is an array; give a table", "[[shout.limits]]")
        self.check("shout.person | it is a table; give an array of tables", "[shout.person]")
        self.check(
            "shout.person[1] | 3: it is an integer; give a table", "person = [{name='a'}, 3]"
        )

    def test_text_and_words(self) -> None:
        self.limits(
            "mood = 'laud'",
            "mood | 'laud': it is none of the choices (did you mean loud?); give one of calm, loud",
        )
        self.limits(
            f"note = '{'n' * 81}'",
            f"note | '{'n' * 81}': it is too long; give text of up to 80 characters",
        )

    def test_arrays_and_their_items(self) -> None:
        each = "each text of up to 5 characters"
        self.limits("words = []", f"words | it has too few items; give an array, {each}")
        self.limits("words = 'hey'", f"words | 'hey': it is a string; give an array, {each}")
        self.limits(
            "words = ['a', 'abcdef']",
            "words[1] | 'abcdef': it is too long; give text of up to 5 characters",
        )
        self.limits(
            "pitches = ['a1', 'a1', 'a1', 'a1']",
            "pitches | it has too many items; give an array of up to 3, each a pitch such as a4",
        )

    def test_a_type_of_ones_own_says_what_is_wrong(self) -> None:
        self.limits("pitches = ['x']", "pitches[0] | 'x': x is no pitch; give a pitch such as a4")
        self.limits("pitches = [4]", "pitches[0] | 4: it is an integer; give a pitch such as a4")

    def test_what_fields_say_together(self) -> None:
        self.check(
            "shout.limits | it is too much; be calm, or not often",
            "[shout.limits]",
            "mood = 'loud'",
        )

    def test_a_secret_is_not_in_its_own_refusal(self) -> None:
        for lines in (
            ["[shout.limits]", "token = 'oh'"],
            ["[shout.limits]", "key = 'oh'"],
            ["[[shout.person]]", "name = 'al'", "password = 'oh'"],
        ):
            words = self.mistake(*lines)
            self.assertNotIn("oh", words.replace("shout", ""))

    def test_a_mistake_of_the_subcommands_own_names_the_field(self) -> None:
        options = self.read("[[shout.person]]", "name = 'al'")
        for name in ("person[0].name", "limits.depth", "limits"):
            error = self.assertRaises(SettingError, options.refuse, name, "it is bad", "mend it")
            self.assertTrue(str(error).startswith(f"shout.{name}, from "), str(error))

    def test_check_config_tells_in_one_line(self) -> None:
        self.file.write_text("[shout.limits]\nmax-width = 0\n")
        done = self.run_shout("--config", str(self.file), "--check-config")
        self.assertEqual((64, ""), (done.returncode, done.stdout))
        self.assertEqual(1, len(done.stderr.splitlines()), done.stderr)
        self.assertTrue(done.stderr.startswith("shout: shout.limits.max-width, from "), done.stderr)

    def run_shout(self, *words: str) -> subprocess.CompletedProcess[str]:
        code = (
            "import sys; from tests.core.test_structures import Shout;"
            " Shout({}).parseOptions(sys.argv[1:])"
        )
        root = Path(__file__).parents[2]
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )


class Bare(Structure, frozen=True):
    """One whose field has no description."""

    width: int = 1


class Outer(Structure, frozen=True):
    """One with such a one inside."""

    inner: Annotated[Bare, told("Inner.")] = Bare()


class DeclarationTests(SynchronousTestCase):
    """A programmer's mistakes are told when somebody asks for the fields, or gives the table."""

    def test_a_structure_lets_nothing_unknown_pass_and_is_frozen(self) -> None:
        class Loose(msgspec.Struct, frozen=True):
            pass

        class Soft(msgspec.Struct, forbid_unknown_fields=True):
            pass

        for bad in (Loose, Soft):
            self.assertRaises(ValueError, lambda bad=bad: structure(bad, help="Bad.").fields)
            self.assertRaises(ValueError, structure(bad, help="Bad.").coerce, {})

    def test_every_field_is_described(self) -> None:
        for bad in (Bare, Outer):
            setting = structure(bad, help="Bad.")
            error = self.assertRaises(ValueError, lambda setting=setting: setting.fields)
            self.assertIn("Bare.width has no description", str(error))

    def test_part_of_an_array_cannot_wait_for_a_restart(self) -> None:
        self.assertRaises(ValueError, lambda: structures(Limits, help="Bad.").fields)

    def test_a_default_is_held_to_its_own_rules(self) -> None:
        bad = structure(Echoes, help="Bad.", default=Echoes(count=10))
        self.assertRaises(FieldError, lambda: bad.fields)

    def test_a_type_that_nobody_can_write_has_no_description(self) -> None:
        class Odd(Structure, frozen=True):
            raw: Annotated[bytes, told("Bytes.")] = b""

        self.assertRaises(TypeError, lambda: structure(Odd, help="Bad.").fields)


pitches = st.builds(Pitch, st.sampled_from("abcdefg"), st.integers(0, 9))
texts = st.text(st.characters(codec="utf-8"), max_size=9)
echoes = st.builds(
    Echoes,
    count=st.integers(0, 9),
    fade=st.floats(0, allow_infinity=True, allow_nan=False),
)
limits = st.builds(
    Limits,
    max_width=st.integers(1, 512),
    depth=st.integers(-(2**63), 7),
    often=st.booleans(),
    mood=st.just("calm"),
    pitches=st.lists(pitches, max_size=3).map(tuple),
    words=st.lists(st.text(st.characters(codec="utf-8"), max_size=5), min_size=1).map(tuple),
    note=st.none() | texts,
    echoes=echoes,
)
people = st.lists(
    st.builds(
        Person, name=texts, call=st.lists(st.builds(Call, text=texts), max_size=2).map(tuple)
    ),
    max_size=2,
).map(tuple)


class RoundTripTests(ShoutCase):
    @example(Limits(), Echoes(fade=math.inf), ())
    @example(Limits(), Echoes(fade=1e300), ())
    @given(limits, echoes, people)
    def test_what_print_config_prints_reads_the_same(
        self, some: Limits, walls: Echoes, person: tuple[Person, ...]
    ) -> None:
        options = self.read()
        for name, value in (("limits", some), ("walls", walls), ("person", person)):
            options[name] = value
        self.file.write_text(options.as_toml(), encoding="utf-8")
        again = Shout({})
        again.resolve(self.file)
        self.assertEqual((some, walls, person), (again.limits, again.walls, again.person))

    values: Any = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
        lambda inner: st.lists(inner) | st.dictionaries(
            st.sampled_from(["max-width", "words", "pitches", "echoes", "name", "call", "mood", "zz"])
            | st.text(), inner,
        ),
    )  # fmt: skip

    @given(values)
    def test_anything_is_read_or_refused(self, raw: object) -> None:
        for setting in (Shout.limits, Shout.person):
            try:
                setting.coerce(raw)
            except FieldError as error:
                self.assertTrue(error.problem)
                self.assertTrue(error.remedy)


class ShownTests(ShoutCase):
    def test_print_config_hides_secrets_and_says_what_is_not_set(self) -> None:
        shown = self.read(
            "[shout.limits]",
            "token = 'sesame'",
            "[[shout.person]]",
            "name = 'al'",
            "password = '$x$1'",
        ).as_toml()
        self.assertNotIn("sesame", shown)
        self.assertNotIn("$x$", shown)
        for line in (
            "# token: hidden", "# password: hidden", "# note: unset", "max-width = 72",
            f"[shout.limits]  # from table [shout] of {self.file}", "[shout.walls]  # from its default",
        ):  # fmt: skip
            self.assertIn(line, shown.splitlines())
        self.assertEqual("al", tomllib.loads(shown)["shout"]["person"][0]["name"])

    def test_an_array_of_none_is_shown_as_one(self) -> None:
        self.assertIn("person = []  # from its default", self.read().as_toml().splitlines())

    def test_the_help_names_the_tables_below_the_options(self) -> None:
        shown = Shout({}).getUsage(80)
        self.assertLessEqual(max(map(len, shown.splitlines())), 80)
        self.assertIn(
            "In the file only, see the reference or python -m myproject man shout:"
            " [shout.limits], [[shout.person]], [shout.walls].",
            " ".join(shown.split()),
        )
        self.assertNotIn("--limits", shown)
        self.assertNotIn("In the file only", Options({}).getUsage(80))

    def test_the_reference_has_each_field(self) -> None:
        page = reference.settings_page([("shout", "Shouts.", Shout)])
        for line in (
            "### `[shout.limits]`",
            "How much. Changes on reload.",
            "### `[[shout.person]]`",
            "Who. Any number of times. Changes on reload.",
            "| `max-width` | `72` | The longest line. Give a whole number of bytes from 1 to 512. |",
            "| `depth` | `3` | A depth. Give a whole number of at most 7. A change needs a restart. |",
            '| `words` | `["hey"]` | What. Give an array, each text of up to 5 characters. |',
            "| `token` | none | A key. Give text. Never shown. |",
            "| `echoes.count` | `1` | How many. Give a whole number of echoes from 0 to 9. |",
            "| `name` | must be given | Whose. Give text. |",
            "| `call` | `[]` | Their calls. Give an array of tables. |",
            "| `count` | `2` | How many. Give a whole number of echoes from 0 to 9. |",
            "| `call[].text` | must be given | What they call. Give a word or two. |",
        ):
            self.assertIn(line, page.splitlines())
        self.assertNotIn("--limits", page)
        self.assertNotIn("###", reference.settings_page([("plain", "Plain.", Options)]))

    def test_the_manual_page_has_each_field(self) -> None:
        page = manual.manual_page(Subcommand("shout", "Shouts.", Shout))
        for part in (
            ".SS [shout.limits]\nHow much.\n",
            ".SS [[shout.person]]\nWho. Any number of times.\n",
            ".TP\n\\fBmax\\-width\\fR\nThe longest line. Give a whole number of bytes from 1 to 512.",
            "A depth. Give a whole number of at most 7. Default: \\fB3\\fR. A change needs a restart.\n",
            "\\fBname\\fR\nWhose. Give text. It has to be given.\n",
            "\\fBnote\\fR\nAnything. Give text of up to 80 characters. Default: none.\n",
        ):
            self.assertIn(part, page)
        self.assertNotIn("SHOUT_LIMITS", page)


class ReloadTests(ShoutCase):
    """What is in force when a table was read again."""

    def test_a_structure_that_can_change_does(self) -> None:
        new = Limits(max_width=9)
        self.assertEqual((new, []), Shout.limits.merge(Limits(), new))
        people = (Person(name="al"),)
        self.assertEqual((people, []), Shout.person.merge((), people))

    def test_a_field_that_needs_a_restart_stays_and_is_named(self) -> None:
        value, waiting = Shout.limits.merge(Limits(), Limits(max_width=9, depth=4))
        self.assertEqual((Limits(max_width=9, depth=3), ["limits.depth"]), (value, waiting))

    def test_a_structure_that_cannot_change_stays_and_is_named(self) -> None:
        old, new = Echoes(count=2), Echoes(count=3)
        self.assertEqual((old, ["walls"]), Shout.walls.merge(old, new))
        self.assertEqual((old, []), Shout.walls.merge(old, Echoes(count=2)))


class ImportTests(SynchronousTestCase):
    def test_those_without_tables_do_without_msgspec(self) -> None:
        code = (
            "import sys; from myproject_echo.tap import Options; o = Options({}); o.resolve();"
            " o.as_toml(); o.getUsage(); sys.exit('msgspec' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], check=False)
        self.assertEqual(0, done.returncode)
