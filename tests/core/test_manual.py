"""The manual page: roff that formatters take without complaint, with all that the option table says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import myproject
from myproject import manual
from myproject.optiontable import Subcommand, find_subcommands, plain
from tests.support import PATIENCE, run

#: Text with everything in it that roff takes for more than text.
nasty = st.text(st.sampled_from("ab .'\"\\-`^~[]()*\n\tfB%&é€😀{}$"), max_size=20) | st.text(
    max_size=20
)


class MadeOptions(myproject.Options):
    """Options of a subcommand that someone else wrote on the core."""

    tapname = "made"

    made_mode = myproject.choice("fast", ["fast", "slow"], help="How fast.", short="m")
    made_flag = myproject.flag(help="Shout")
    made_names = myproject.strings(help="Their names.")
    made_secret = myproject.text("sesame", help="Opens.", secret=True)
    made_share = myproject.seconds(1.5, help="A while.")


MADE = Subcommand("made", "Made up.", MadeOptions)


def described(help: str, description: str) -> Subcommand:
    """A subcommand with these texts."""
    members: dict[str, Any] = {"tapname": "made", "made_text": myproject.text("", help=help)}
    options = type("Options", (myproject.Options,), members)
    return Subcommand("made", description, cast("type[myproject.Options]", options))


def formatted(command: Sequence[str], page: str) -> str:
    """What a formatter makes of a page, its lines and blanks as one."""
    done = subprocess.run(
        command,
        input=page,
        env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "10000", "MAN_KEEP_FORMATTING": ""},
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=True,
    )
    if done.stderr:
        raise AssertionError(done.stderr)
    return " ".join(re.sub("\x1b\\[[0-9;]*m|.\x08", "", done.stdout).split())


class PageTests(SynchronousTestCase):
    """What is in the page."""

    def setUp(self) -> None:
        self.page = manual.manual_page(MADE)

    def section(self, name: str) -> str:
        return re.split(r"^\.SH ", self.page.partition(f".SH {name}\n")[2], flags=re.MULTILINE)[0]

    def test_it_has_the_sections_that_readers_expect_in_their_order(self) -> None:
        expected = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES",
                    "EXIT STATUS", "EXAMPLES", "SEE ALSO"]  # fmt: skip
        self.assertEqual(expected, re.findall(r"^\.SH (.*)", self.page, re.MULTILINE))

    def test_an_option_has_its_names_its_words_its_default_and_its_variable(self) -> None:
        self.assertIn(
            ".TP\n\\fB\\-m\\fR \\fIWORD\\fR, \\fB\\-\\-made\\-mode\\fR \\fIWORD\\fR\nHow fast.\n"
            "Give one of fast, slow.\nDefault: \\fBfast\\fR.\nEnvironment: \\fBMADE_MADE_MODE\\fR.\n",
            self.section("OPTIONS"),
        )

    def test_a_flag_has_its_opposite_and_no_value(self) -> None:
        options = self.section("OPTIONS")
        shown = "\\fB\\-\\-made\\-flag\\fR\nShout.\nDefault: \\fBoff\\fR.\n"
        self.assertIn(shown, options)
        self.assertIn("\\fB\\-\\-no\\-made\\-flag\\fR\n", options)

    def test_a_setting_without_a_default_says_so(self) -> None:
        shown = "\\fB\\-\\-made\\-names\\fR \\fINAME\\fR\nTheir names.\nDefault: none.\n"
        self.assertIn(shown, self.section("OPTIONS"))

    def test_the_default_of_a_secret_is_not_shown(self) -> None:
        self.assertNotIn("sesame", self.page)
        self.assertIn("Opens.\nDefault: hidden.", self.page)

    def test_options_that_are_no_settings_are_there(self) -> None:
        self.assertIn("\\fB\\-\\-check\\-config\\fR\nValidate all", self.section("OPTIONS"))
        self.assertNotIn("CHECK", self.page)

    def test_every_variable_is_in_the_environment(self) -> None:
        found = re.findall(r"\\fB(MADE_\w+)", self.section("ENVIRONMENT"))
        expected = [one.environment("made") for one in MadeOptions.settings.values()]
        self.assertEqual(sorted(expected), sorted(found))

    def test_every_key_is_in_the_files_with_its_type(self) -> None:
        files = self.section("FILES")
        found = re.findall(r"\.TP\n\\fB(.*?)\\fR\n", files)
        expected = [name for name, one in MadeOptions.settings.items() if one.in_file]
        self.assertEqual(sorted(expected), sorted(one.replace("\\-", "-") for one in found))
        for key, kind in {
            "mode": "a string", "flag": "a boolean", "names": "an array of: a string",
            "share": "a number"}.items():  # fmt: skip
            self.assertIn(f"\\fBmade\\-{key}\\fR\n{kind}, as", files)
        self.assertIn("\\fBport\\fR\nan array of: an integer or a string, as", files)
        self.assertIn("\\fB[made]\\fR", files)

    def test_every_exit_status_is_there(self) -> None:
        self.assertEqual(["0", "64", "69"], re.findall(r"\\fB(\d+)", self.section("EXIT STATUS")))

    def test_without_a_table_there_is_no_page(self) -> None:
        error = self.assertRaises(
            ValueError, manual.manual_page, Subcommand("foreign", "Not on the core.", None)
        )
        self.assertEqual("the options of foreign are not known", str(error))

    @settings(deadline=None)
    @given(help=nasty, description=nasty)
    @example(help=".SH no", description="'br")
    def test_text_never_becomes_a_request_or_an_escape(self, help: str, description: str) -> None:
        harmless = manual.manual_page(described("x", "x"))
        page = manual.manual_page(described(help, plain(description)))
        requests = re.compile(r"^[.'].*", re.MULTILINE)
        self.assertEqual(requests.findall(harmless), requests.findall(page))
        self.assertTrue(page.isascii())
        escapes = set(re.findall(r"\\(\[u[0-9A-F]{4,6}\]|\(..|.)", page))
        known = {"e", "-", "&", "(aq", "(ga", "(ha", "(ti", "(dq", "fB", "fI", "fR", "f"}
        self.assertEqual(set(), {one for one in escapes if one not in known and one[:2] != "[u"})


class FormatterTests(SynchronousTestCase):
    """Real formatters, where they are installed."""

    def need(self, program: str) -> None:
        if shutil.which(program) is None:
            self.skipTest(f"it needs {program}")

    def pages(self) -> dict[str, str]:
        ours = [one for one in find_subcommands() if one.options is not None]
        return {one.name: manual.manual_page(one) for one in [*ours, MADE]}

    def test_mandoc_finds_nothing_to_say(self) -> None:
        """But that the page has no date, which would differ with each day, and has long lines."""
        self.need("mandoc")
        for name, page in self.pages().items():
            done = subprocess.run(
                ["mandoc", "-T", "lint", "-W", "warning"],
                input=page,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            found = [line for line in done.stdout.splitlines() if "missing date" not in line]
            self.assertEqual([], found, name)

    def test_groff_has_no_warnings(self) -> None:
        self.need("groff")
        for page in self.pages().values():
            self.assertIn("EXIT STATUS", formatted(["groff", "-man", "-ww", "-Tutf8"], page))

    def test_man_shows_it(self) -> None:
        self.need("man")
        page = manual.manual_page(MADE)
        shown = formatted(["man", "-l", "-"], page)
        self.assertIn("-m WORD, --made-mode WORD How fast. Give one of fast, slow.", shown)
        self.assertIn("twistd -n made", shown)

    def check(self, command: Sequence[str], help: str) -> None:
        page = manual.manual_page(described(help, "Made up."))
        self.assertIn(f"TEXT {plain(help)}", formatted(command, page))

    @settings(deadline=None, max_examples=30)
    @given(help=st.text(st.sampled_from("ab .'\"\\-`^~[]()*fB%&é€"), min_size=1, max_size=25))
    @example(help=".SH \\fBa\\fR 'b' \"c\" --d `e` ^~ \\[u0041] \\")
    def test_text_is_shown_as_it_is_by_groff(self, help: str) -> None:
        self.need("groff")
        self.check(["groff", "-man", "-ww", "-Tutf8", "-rLL=10000n"], help)

    @settings(deadline=None, max_examples=30)
    @given(help=st.text(st.sampled_from("ab .'\"\\-`^~[]()*fB%&é€"), min_size=1, max_size=25))
    @example(help=".SH \\fBa\\fR 'b' \"c\" --d `e` ^~ \\[u0041] \\")
    def test_text_is_shown_as_it_is_by_mandoc(self, help: str) -> None:
        self.need("mandoc")
        self.check(["mandoc", "-T", "utf8", "-O", "width=500"], help)


class MainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(sys, "stdout", StringIO())
        self.patch(sys, "stderr", StringIO())

    def main(self, *words: str) -> tuple[int, str, str]:
        status = manual.main(words)
        out, err = cast("StringIO", sys.stdout), cast("StringIO", sys.stderr)
        return status, out.getvalue(), err.getvalue()

    def refused(self, *words: str) -> str:
        status, out, err = self.main(*words)
        self.assertEqual((os.EX_USAGE, "", 1), (status, out, err.count("\n")))
        return err

    def test_the_page_of_a_subcommand_is_printed(self) -> None:
        status, out, err = self.main("myproject-echo")
        self.assertEqual((0, ""), (status, err))
        self.assertTrue(out.startswith(".TH TWISTD\\-MYPROJECT\\-ECHO 1"), out[:80])

    def test_a_subcommand_of_others_is_refused_with_advice(self) -> None:
        self.assertIn("'web' does not stand on myproject's core; see twistd web --help;"
                      " give one of myproject, ", self.refused("web"))  # fmt: skip

    def test_an_unknown_one_is_refused_with_the_nearest(self) -> None:
        self.assertIn("there is no subcommand 'myproject-ecko' (did you mean myproject-echo?)",
                      self.refused("myproject-ecko"))  # fmt: skip

    def test_none_is_refused(self) -> None:
        self.assertIn("man: no subcommand given; give one of", self.refused())

    def test_help_is_printed(self) -> None:
        status, out, _ = self.main("-h")
        self.assertEqual((0, True), (status, out.startswith("Usage: python -m myproject man")))

    def test_a_plugin_of_others_on_the_core_has_a_page(self) -> None:
        """As the README's: a module, a dropin, and nothing else."""
        folder = Path(self.mktemp()).absolute()
        (folder / "twisted" / "plugins").mkdir(parents=True)
        (folder / "shout.py").write_text(
            "import myproject\n"
            "class Options(myproject.Options):\n"
            "    tapname = 'shout'\n"
            "    shout_width = myproject.integer(72, help='Characters to a line.')\n"
        )
        (folder / "twisted" / "plugins" / "shout_dropin.py").write_text(
            "from myproject import FactoryServiceMaker\n"
            "shout = FactoryServiceMaker('shout', 'shout', 'Says it back, louder.')\n"
        )
        environ = {**os.environ, "PYTHONPATH": str(folder)}
        for words, shown in {
            ("man", "shout"): "\\fB\\-\\-shout\\-width\\fR \\fINUMBER\\fR\nCharacters to a line.",
            ("completion", "bash"): "'--shout-width='",
        }.items():
            done = run("-m", "myproject", *words, cwd=folder, tool="python", environ=environ)
            self.assertEqual((0, ""), (done.returncode, done.stderr))
            self.assertTrue(shown in done.stdout, words)
