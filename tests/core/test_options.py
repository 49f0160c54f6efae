"""Where a setting's value comes from, and how a mistake in it is told."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from myproject.errors import SettingError
from myproject.options import Options, nearest
from myproject.settings import flag, integer, path, ports, seconds, strings, text


class Shout(Options):
    """A subcommand of a third party."""

    tapname = "shout-it"

    port = ports(4000)
    width = integer(72, help="Characters to a line.", minimum=1, maximum=500, short="w")
    loud = flag(help="Say it louder.")
    pause = seconds(0.5, help="How long to wait.")
    word = strings(help="A word to shout.")
    name = text("", help="Whose shout it is.")
    key = text("", help="Who may shout.", secret=True)
    file = path(help="Where to shout from.")

    def validate(self) -> None:
        if self.loud and self.width > 400:
            self.refuse("width", "too wide to be loud", "make it 400 at most")


class OptionsCase(SynchronousTestCase):
    def file(self, content: str) -> str:
        """A configuration file."""
        name = self.mktemp() + ".toml"
        Path(name).write_text(content, encoding="utf-8")
        return str(Path(name).absolute())

    def parse(self, *words: str, file: str | None = None, **environ: str) -> Shout:
        """What the options are, given these sources."""
        options = Shout(environ)
        if file is not None:
            words = ("--config", self.file(file), *words)
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        try:
            options.parseOptions(list(words))
        except SystemExit as end:
            self.status, self.out, self.err = end.code, out.getvalue(), err.getvalue()
            end.add_note(self.err)
            raise
        return options

    def mistake(self, *words: str, file: str | None = None, **environ: str) -> str:
        """The one line that a mistake costs."""
        self.assertRaises(SystemExit, self.parse, *words, file=file, **environ)
        self.assertEqual((os.EX_USAGE, ""), (self.status, self.out))
        self.assertEqual(1, self.err.count("\n"), self.err)
        return self.err.rstrip("\n").removeprefix("shout-it: ")


class PrecedenceTests(OptionsCase):
    def test_the_default_holds_when_no_source_speaks(self) -> None:
        options = self.parse()
        self.assertEqual(
            (("4000",), 72, False, 0.5), (options.port, options.width, options.loud, options.pause)
        )
        self.assertEqual((None, ()), (options.file, options.word))

    def test_the_file_beats_the_default(self) -> None:
        options = self.parse(file="[shout-it]\nwidth = 10\nloud = true\nport = [1, 'tcp:2']\n")
        self.assertEqual((10, True, ("1", "tcp:2")), (options.width, options.loud, options.port))

    def test_the_environment_beats_the_file(self) -> None:
        options = self.parse(file="[shout-it]\nwidth = 10\n", SHOUT_IT_WIDTH="11")
        self.assertEqual(11, options.width)

    def test_the_command_line_beats_the_environment(self) -> None:
        self.assertEqual(12, self.parse("-w", "12", SHOUT_IT_WIDTH="11").width)

    def test_a_flag_can_be_turned_off_against_other_sources(self) -> None:
        self.assertEqual(True, self.parse("--loud", SHOUT_IT_LOUD="no").loud)
        self.assertEqual(False, self.parse("--no-loud", SHOUT_IT_LOUD="yes").loud)

    def test_the_last_of_two_single_values_counts(self) -> None:
        self.assertEqual(2, self.parse("--width", "1", "--width", "2").width)

    def test_repeated_values_add_up(self) -> None:
        self.assertEqual(("1", "2"), self.parse("-p", "1", "--port", "2").port)

    def test_the_environment_separates_values_as_a_shell_does(self) -> None:
        self.assertEqual(("a b", "c"), self.parse(SHOUT_IT_WORD="'a b' c").word)

    def test_the_environment_may_name_the_file(self) -> None:
        config = self.file("[shout-it]\nwidth = 33\n")
        self.assertEqual(33, self.parse(SHOUT_IT_CONFIG=config).width)

    def test_values_are_items_too_as_twisted_has_it(self) -> None:
        self.assertEqual(7, self.parse("--width=7")["width"])

    def test_resolving_without_a_command_line_takes_a_file_from_the_caller(self) -> None:
        options = Shout({"SHOUT_IT_LOUD": "on"})
        options.resolve(Path(self.file("[shout-it]\nwidth = 44\n")))
        self.assertEqual((44, True), (options.width, options.loud))

    def test_the_process_environment_is_the_default(self) -> None:
        self.patch(os, "environ", {"SHOUT_IT_WIDTH": "21"})
        options = Shout()
        options.resolve()
        self.assertEqual(21, options.width)

    @given(
        st.integers(1, 400),
        st.booleans(),
        st.floats(0, 1e6),
        st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))),
    )
    def test_every_source_gives_the_same_settings(
        self, width: int, loud: bool, pause: float, words: list[str]
    ) -> None:
        document = {"width": width, "loud": loud, "pause": pause, "word": words}
        file = "[shout-it]\n" + "".join(
            f"{key} = {json.dumps(value, ensure_ascii=False)}\n".replace("\x7f", "\\u007f")
            for key, value in document.items()
        )
        line = [f"--width={width}", "--loud" if loud else "--no-loud", f"--pause={pause}"]
        line += [f"--word={word}" for word in words]
        environ = {
            "SHOUT_IT_WIDTH": str(width),
            "SHOUT_IT_LOUD": str(loud),
            "SHOUT_IT_PAUSE": str(pause),
            "SHOUT_IT_WORD": shlex.join(words),
        }
        found = [self.parse(*line), self.parse(**environ), self.parse(file=file)]
        for options in found:
            self.assertEqual(
                (width, loud, pause, tuple(words)),
                (options.width, options.loud, options.pause, options.word),
            )

    @given(
        st.sampled_from(["width", "pause", "port", "loud"]),
        st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    )
    def test_every_source_refuses_the_same_values(self, name: str, value: str) -> None:
        # A flag has no value on the command line, so the two others must agree.
        sources: list[dict[str, str]] = [
            {f"SHOUT_IT_{name.upper()}": shlex.quote(value) if name == "port" else value},
            {
                "file": f"[shout-it]\n{name} = {json.dumps(value, ensure_ascii=False)}\n".replace(
                    "\x7f", "\\u007f"
                )
            },
        ]
        verdicts = set()
        for source in sources:
            try:
                verdicts.add(repr(self.parse(**source)[name]))
            except SystemExit:
                verdicts.add(self.err.partition(": ")[2].partition(": ")[2])
        if name != "loud":
            try:
                verdicts.add(repr(self.parse(f"--{name}={value}")[name]))
            except SystemExit:
                verdicts.add(self.err.partition(": ")[2].partition(": ")[2])
        self.assertEqual(1, len(verdicts), verdicts)


class MistakeTests(OptionsCase):
    def test_a_mistake_names_the_setting_its_source_and_the_remedy(self) -> None:
        self.assertEqual(
            "--width, from the command line: '0': it is too small; give a whole number from 1 to 500",
            self.mistake("--width", "0"),
        )
        self.assertEqual(
            "--width, from SHOUT_IT_WIDTH in the environment: 'x': it is not a whole number;"
            " give a whole number from 1 to 500",
            self.mistake(SHOUT_IT_WIDTH="x"),
        )

    def test_a_mistake_in_the_file_names_the_table(self) -> None:
        said = self.mistake(file="[shout-it]\nwidth = 1.5\n")
        self.assertTrue(said.startswith("--width, from table [shout-it] of /"), said)
        self.assertTrue(
            said.endswith(": 1.5: it is a float; give a whole number from 1 to 500"), said
        )

    def test_a_line_break_in_a_value_cannot_break_the_line(self) -> None:
        self.assertIn("'a\\nb'", self.mistake("--width", "a\nb"))

    def test_an_unknown_option_suggests_the_nearest(self) -> None:
        self.assertEqual(
            "option --widht not recognized (did you mean --width?); --help lists the options",
            self.mistake("--widht", "3"),
        )

    def test_an_option_of_twistd_in_the_wrong_place_is_told_so(self) -> None:
        self.assertEqual(
            "option -n not recognized; give twistd's own options before shout-it",
            self.mistake("-n"),
        )

    def test_an_option_without_its_value_is_a_mistake(self) -> None:
        self.assertEqual("option --width requires argument", self.mistake("--width"))

    def test_a_stray_word_is_a_mistake(self) -> None:
        self.assertEqual("unexpected argument 'loudly'; give options only", self.mistake("loudly"))

    def test_an_unknown_key_suggests_the_nearest(self) -> None:
        said = self.mistake(file="[shout-it]\nwidht = 3\n")
        self.assertTrue(said.startswith("'widht', from table [shout-it] of /"), said)
        self.assertIn("there is no such setting (did you mean width?); correct or remove it", said)

    def test_what_the_file_may_not_set_is_unknown_to_it(self) -> None:
        self.assertIn("there is no such setting", self.mistake(file="[shout-it]\nconfig = 'x'\n"))

    def test_a_table_that_no_subcommand_has_is_a_mistake(self) -> None:
        said = self.mistake(file="[shout-ti]\nwidth = 3\n")
        self.assertIn("no installed subcommand has that name (did you mean shout-it?)", said)

    def test_a_setting_outside_any_table_is_a_mistake(self) -> None:
        said = self.mistake(file="width = 3\n")
        self.assertIn("put settings into the table of their subcommand", said)

    def test_a_table_of_another_subcommand_is_left_to_it(self) -> None:
        self.assertEqual(72, self.parse(file="[myproject-echo]\nanything = 1\n").width)

    def test_a_table_that_is_a_value_is_a_mistake(self) -> None:
        self.assertIn("shout-it in /", self.mistake(file="shout-it = 3\n"))

    def test_a_missing_file_is_a_mistake(self) -> None:
        self.assertEqual(
            "--config, from the command line: /no/such.toml: no such file or directory;"
            " name a file that can be read",
            self.mistake("--config", "/no/such.toml"),
        )

    def test_a_file_that_is_not_toml_is_a_mistake(self) -> None:
        self.assertIn("is not TOML: ", self.mistake(file="[shout-it\n"))

    def test_a_file_that_the_parser_gives_up_on_is_a_mistake(self) -> None:
        for value in ("9" * 5000, "[" * 5000):
            self.assertIn("is not TOML: ", self.mistake(file=f"[shout-it]\nwidth = {value}\n"))

    def test_a_file_that_is_not_text_is_a_mistake(self) -> None:
        name = self.mktemp()
        Path(name).write_bytes(b"\xff\xfe\x00")
        self.assertIn("is not TOML: ", self.mistake("--config", name))

    def test_an_array_for_one_value_is_a_mistake(self) -> None:
        self.assertIn("it is an array", self.mistake(file="[shout-it]\nwidth = [3]\n"))

    def test_open_quotes_in_the_environment_are_a_mistake(self) -> None:
        self.assertEqual(
            "--word, from SHOUT_IT_WORD in the environment: no closing quotation;"
            " quote its words as for a shell",
            self.mistake(SHOUT_IT_WORD="'a"),
        )

    def test_what_settings_say_together_is_checked_with_the_source_named(self) -> None:
        self.assertEqual(
            "--width, from SHOUT_IT_WIDTH in the environment: too wide to be loud; make it 400 at most",
            self.mistake("--loud", SHOUT_IT_WIDTH="401"),
        )

    def test_callers_without_a_command_line_get_an_exception(self) -> None:
        error = self.assertRaises(SettingError, Shout({"SHOUT_IT_WIDTH": "0"}).resolve)
        self.assertIsInstance(error, UsageError)
        self.assertEqual("--width", error.setting)

    def test_a_default_is_validated_when_it_is_declared(self) -> None:
        def declare() -> None:
            class Wrong(Options):
                tapname = "wrong"
                width = integer(0, help="", minimum=1)

        error = self.assertRaises(ValueError, declare)
        self.assertIn("Wrong.width is not allowed: 0: it is too small", str(error))

    def test_nothing_is_suggested_when_nothing_is_near(self) -> None:
        self.assertEqual("", nearest("zzz", ["width"]))


class QuestionTests(OptionsCase):
    """The options that answer and exit."""

    def answer(self, *words: str, **environ: str) -> str:
        self.assertRaises(SystemExit, self.parse, *words, **environ)
        self.assertEqual((0, ""), (self.status, self.err))
        return self.out

    def test_check_config_says_that_all_is_well(self) -> None:
        self.assertEqual("shout-it: the configuration is valid\n", self.answer("--check-config"))

    def test_check_config_says_what_is_not(self) -> None:
        self.assertIn("too small", self.mistake("--check-config", "--width=0"))

    def test_print_config_shows_each_setting_with_its_source(self) -> None:
        shown = self.answer("--print-config", "-w5", SHOUT_IT_LOUD="1").splitlines()
        self.assertEqual("[shout-it]", shown[0])
        self.assertIn("width = 5  # from the command line", shown)
        self.assertIn("loud = true  # from SHOUT_IT_LOUD in the environment", shown)
        self.assertIn("port = [4000]  # from its default", shown)
        self.assertIn("# file: unset  # from its default", shown)

    def test_print_config_hides_secrets(self) -> None:
        shown = self.answer("--print-config", SHOUT_IT_KEY="opensesame")
        self.assertIn("# key: hidden  # from SHOUT_IT_KEY in the environment\n", shown)
        self.assertNotIn("opensesame", shown)

    @given(
        st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        st.lists(st.text(st.characters(codec="utf-8"))),
    )
    def test_print_config_prints_a_file_that_config_reads(
        self, name: str, words: list[str]
    ) -> None:
        options = Shout({})
        options.given.update({"name": [name], "word": words, "width": ["9"]})
        options.resolve()
        table = tomllib.loads(options.as_toml())["shout-it"]
        self.assertEqual((name, words, 9), (table["name"], table["word"], table["width"]))

    def test_help_shows_defaults_and_environment_variables(self) -> None:
        shown = " ".join(self.answer("--help").split())
        self.assertIn("Characters to a line. [default: 72, env: SHOUT_IT_WIDTH]", shown)
        self.assertIn("[default: 4000, env: SHOUT_IT_PORT]", shown)
        self.assertIn("Whose shout it is. [env: SHOUT_IT_NAME]", shown)
        self.assertIn("-w, --width=", shown)

    def test_version_names_all_three(self) -> None:
        self.assertRegex(self.answer("--version"), r"^myproject \S+, Twisted \S+, Python \S+\n$")
