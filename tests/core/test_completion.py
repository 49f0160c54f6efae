"""Shell completion: real shells offer what the option tables say, whatever text is in them."""

from __future__ import annotations

import os
import shlex
import sys
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

import myproject
from myproject import completion
from myproject.maker import FactoryServiceMaker
from myproject.optiontable import Row, Subcommand, Value, find_subcommands, plain, rows_of, tools
from tests.core.shells import bash, fish, missing, type_in_bash, zsh
from tests.support import install_module, run

if TYPE_CHECKING:
    _Base = SynchronousTestCase
else:
    _Base = object

#: Text with everything in it that a shell takes for more than text.
nasty = st.text(
    st.sampled_from("ab-=:' \"`$\\[](){}<>|&;!#%^~*?@,.é€"), min_size=1, max_size=12
) | st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12)

HELP = 'Says "it\'s [so]": `date` or $(date), 100%; a\\b & <c>!'


class MadeOptions(myproject.Options):
    """Options of a subcommand that someone else wrote on the core."""

    tapname = "made"

    made_mode = myproject.choice("fast", ["fast", "slow", "a b"], help=HELP, short="m")
    made_log = myproject.path(help="Where to log.")
    made_loud = myproject.flag(help="Shout. This is a second sentence.", short="l")
    made_title = myproject.text("", help="Any words.")

    def opt_extra(self) -> None:
        """Do what is no setting."""


def made(options: type[myproject.Options] = MadeOptions) -> Subcommand:
    return Subcommand("made", "Made up: it's a test.", options)


FOREIGN = Subcommand("foreign", "Not on the core.", None)


def scripts(*subcommands: Subcommand) -> dict[str, str]:
    """The script of each shell."""
    known = tools()
    return {shell: write(known, subcommands) for shell, write in completion.SHELLS.items()}


class RowTests(SynchronousTestCase):
    """What is known of an option."""

    def test_of_settings_the_kind_of_value_is_known(self) -> None:
        rows = {row.long: row for row in made().rows()}
        self.assertEqual(
            (("-m", "--made-mode"), plain(HELP), Value.WORD, ("fast", "slow", "a b")),
            (
                rows["made-mode"].names,
                rows["made-mode"].help,
                rows["made-mode"].value,
                rows["made-mode"].words,
            ),
        )
        values = {
            name: rows[name].value
            for name in ("made-log", "made-loud", "no-made-loud", "made-title", "port")
        }
        self.assertEqual(
            {
                "made-log": Value.FILE,
                "made-loud": Value.NONE,
                "no-made-loud": Value.NONE,
                "made-title": Value.TEXT,
                "port": Value.TEXT,
            },
            values,
        )

    def test_options_that_are_no_settings_are_there(self) -> None:
        rows = {row.long: row for row in made().rows()}
        self.assertEqual(Row("extra", (), "Do what is no setting."), rows["extra"])
        self.assertEqual({"check-config", "help", "print-config", "version"} - set(rows), set())

    def test_twistds_own_options_are_what_it_accepts(self) -> None:
        from twisted.scripts import twistd

        options: usage.Options = twistd.ServerOptions()  # type: ignore[attr-defined]
        rows = {row.long: row for row in rows_of(options)}
        self.assertEqual({one.rstrip("=") for one in options.longOpt}, set(rows))
        letters = [letter for row in rows.values() for letter in row.shorts]
        self.assertEqual(sorted(options.shortOpt.replace(":", "")), sorted(letters))
        kinds = {name: rows[name].value for name in ("rundir", "uid", "gid", "python", "prefix")}
        expected = [Value.FOLDER, Value.USER, Value.GROUP, Value.FILE, Value.TEXT]
        self.assertEqual(expected, list(kinds.values()))
        self.assertIn("epoll", rows["reactor"].words)
        self.assertIn("cprofile", rows["profiler"].words)

    def test_twists_own_options_have_the_words_that_its_help_lists(self) -> None:
        rows = {row.long: row for row in tools()["twist"]}
        self.assertEqual(("text", "json"), rows["log-format"].words)
        self.assertIn("critical", rows["log-level"].words)

    def test_help_is_one_line_without_control_characters(self) -> None:
        self.assertEqual("a b [31mc", plain(" a\n\t b\x1b[31mc\x00"))


class FindTests(SynchronousTestCase):
    """Which subcommands have a table."""

    def setUp(self) -> None:
        self.module: Any = cast("Any", ModuleType("made.tap"))
        self.module.Options = MadeOptions
        install_module(self, "made.tap", self.module)
        self.patch(sys, "stderr", StringIO())

    def test_one_of_another_distribution_that_stands_on_the_core_has_its_table(self) -> None:
        maker = FactoryServiceMaker("made", "made.tap", "Made up:\nit's a test.")
        self.assertEqual([made()], find_subcommands([maker]))

    def test_one_that_does_not_is_known_by_name_and_its_module_is_not_imported(self) -> None:
        from twisted.application.service import ServiceMaker

        maker = ServiceMaker("Foreign", "no.such.module", "Not on the core.", "foreign")
        self.assertEqual([FOREIGN], find_subcommands([maker]))

    def test_one_whose_options_are_not_the_cores_is_known_by_name(self) -> None:
        self.module.Options = cast("Any", type("Options", (usage.Options,), {"tapname": "made"}))
        (found,) = find_subcommands([FactoryServiceMaker("made", "made.tap", "")])
        self.assertIsNone(found.options)
        self.assertEqual([], found.rows())

    def test_one_that_cannot_be_imported_is_known_by_name_and_one_line_says_why(self) -> None:
        maker = FactoryServiceMaker("made", "no_such_module", "")
        (found,) = find_subcommands([maker])
        self.assertIsNone(found.options)
        said = cast("StringIO", sys.stderr).getvalue()
        self.assertEqual(1, said.count("\n"))
        self.assertIn("made: its options cannot be read: ModuleNotFoundError", said)

    def test_all_that_are_installed_are_found_in_order(self) -> None:
        found = find_subcommands()
        self.assertEqual(sorted(one.name for one in found), [one.name for one in found])
        table = {one.name: one.options is not None for one in found}
        self.assertEqual(
            (True, True, False), (table["myproject"], table["myproject-echo"], table["web"])
        )


class _ShellTests(_Base):
    """What every shell offers; a subclass runs one."""

    shell: str

    def setUp(self) -> None:
        if why := missing(self.shell):
            self.skipTest(why)
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.script = scripts(made(), FOREIGN)[self.shell]

    def offered(self, line: str, script: str | None = None) -> set[str]:
        """What is offered at the end of a line."""
        raise NotImplementedError

    def test_subcommands_are_offered_behind_the_tools_options(self) -> None:
        for line in (
            "",
            "-n ",
            "-l x ",
            "-nl x ",
            "-nlx ",
            "--logfile x ",
            "--logfile=x ",
            "-l a:b ",
        ):
            self.assertEqual({"made", "foreign"}, self.offered(f"twistd {line}"), line)
        self.assertEqual({"made"}, self.offered("twist --log-level info ma"))

    def test_before_the_subcommand_options_are_the_tools(self) -> None:
        self.assertEqual({"--pidfile", "--prefix", "--profile", "--profiler", "--python"},
                         self.offered("twistd --p"))  # fmt: skip
        self.assertEqual({"--log-file", "--log-format", "--log-level"}, self.offered("twist --l"))

    def test_behind_it_they_are_the_subcommands(self) -> None:
        names = {f"--{row.long}" for row in made().rows()}
        self.assertEqual(names, self.offered("twistd -n made --"))
        self.assertEqual({"--made-loud", "--made-log"}, self.offered("twist made --made-lo"))
        self.assertEqual({"--no-made-loud"}, self.offered("twistd made -l --made-mode slow --no-m"))

    def test_a_value_of_an_option_is_no_subcommand(self) -> None:
        self.assertEqual({"--prefix"}, self.offered("twistd -l made --pre"))
        self.assertEqual(
            {"--made-loud"}, self.offered("twistd made --made-title foreign --made-lou")
        )

    def test_the_words_of_a_choice_are_offered(self) -> None:
        for option in ("--made-mode ", "-m "):
            self.assertEqual({"fast", "slow", "a b"}, self.offered(f"twistd made {option}"))
        self.assertEqual({"slow"}, self.offered("twistd made --made-mode s"))

    def test_the_words_of_a_tools_choice_are_offered(self) -> None:
        self.assertEqual({"epoll"}, self.offered("twistd -r ep"))
        self.assertEqual({"text", "json"}, self.offered("twist --log-format "))

    def test_users_and_groups_are_offered(self) -> None:
        self.assertIn("root", self.offered("twistd -u roo"))
        self.assertIn("root", self.offered("twistd --gid roo"))

    def test_nothing_is_offered_for_a_value_of_which_nothing_is_known(self) -> None:
        (self.folder / "a-file").touch()
        self.assertEqual(set(), self.offered("twistd made --made-title "))

    def check_words(self, words: list[str], said: str) -> None:
        """A choice of these words, described so, is offered as it is."""
        mode = myproject.choice(words[0], words, help=said)
        members = {"tapname": "made", "made_mode": mode}
        options = cast("type[myproject.Options]", type("Options", (myproject.Options,), members))
        described = Subcommand("made", plain(said), options)
        script = scripts(described)[self.shell]
        offered = self.offered("twistd made --made-mode ", script)
        self.assertEqual(self.shown(set(words)), self.shown(offered))
        self.check_description(script, completion._brief(Row("made-mode", (), plain(said))))

    def shown(self, words: set[str]) -> set[str]:
        """The words that the shell is sure to show before one of their letters is typed."""
        return words

    def check_description(self, script: str, said: str) -> None:
        """Compare what is said of the option."""


class BashTests(_ShellTests, SynchronousTestCase):
    shell = "bash"

    def reply(self, *words: str, script: str | None = None, breaks: str | None = None) -> list[str]:
        return bash(script or self.script, *words, folder=self.folder, breaks=breaks)

    def offered(self, line: str, script: str | None = None) -> set[str]:
        for cut in "=:":
            line = line.replace(cut, f" {cut} ")
        reply = self.reply(*line.split(" ") if line[-1] == " " else line.split(), script=script)
        return {word for one in reply for word in shlex.split(one)}

    def test_a_file_or_folder_is_left_to_readline(self) -> None:
        self.assertEqual(["compopt -o default"], self.reply("twistd", "made", "--made-log", ""))
        self.assertEqual(
            ["compopt -o default"], self.reply("twistd", "made", "--made-log", "=", "x")
        )
        self.assertEqual(["compopt -o dirnames"], self.reply("twistd", "-d", "x"))

    def test_keys_become_words_files_and_folders_at_a_terminal(self) -> None:
        (self.folder / "a file").touch()
        (self.folder / "a:folder").mkdir()
        for keys, typed in {
            "twistd mad\t-": ["made", "-"],
            "twistd made --made-mode=a\t-": ["made", "--made-mode=a b", "-"],
            "twistd made --made-log 'a f\t": ["made", "--made-log", "a file"],
            "twistd made --made-log=a\\ f\t-": ["made", "--made-log=a file", "-"],
            "twistd -d a\t": ["-d", "a:folder/"],
        }.items():
            self.assertEqual(typed, type_in_bash(self.script, keys, folder=self.folder), keys)

    def test_subcommands_that_are_not_known_get_what_bash_offers_by_itself(self) -> None:
        self.assertEqual(["compopt -o default"], self.reply("twistd", "foreign", "x"))

    def test_a_subcommands_options_are_offered_before_a_dash(self) -> None:
        self.assertIn("--made-loud", self.reply("twistd", "made", ""))

    def test_a_value_behind_an_equals_sign(self) -> None:
        for words in (("=",), ("=", "")):
            found = self.reply("twistd", "made", "--made-mode", *words)
            self.assertEqual(["fast", "slow", "a\\ b"], found)
        self.assertEqual(["slow"], self.reply("twistd", "made", "--made-mode", "=", "s"))

    def test_where_bash_does_not_cut_words_at_equals_signs(self) -> None:
        found = self.reply("twistd", "made", "--made-mode=s", breaks=" ")
        self.assertEqual(["--made-mode=slow"], found)

    def test_a_word_with_a_colon_is_offered_from_where_bash_cut_it(self) -> None:
        options = cast("type[myproject.Options]", type("Options", (myproject.Options,), {
            "tapname": "made", "made_mode": myproject.choice("a:b", ["a:b", "a:cd"], help="x")}))  # fmt: skip
        script = scripts(Subcommand("made", "", options))["bash"]
        found = self.reply("twistd", "made", "--made-mode", "a", ":", "c", script=script)
        self.assertEqual(["cd"], found)

    def test_the_tool_may_be_given_with_its_path(self) -> None:
        self.assertEqual(["--log-level"], self.reply("bin/twist", "--log-l"))

    @settings(deadline=None, max_examples=25)
    @given(words=st.lists(nasty, min_size=1, max_size=15, unique=True), said=nasty)
    def test_any_words_can_be_offered(self, words: list[str], said: str) -> None:
        self.check_words(words, said)


class FishTests(_ShellTests, SynchronousTestCase):
    shell = "fish"

    def offered(self, line: str, script: str | None = None) -> set[str]:
        found = fish(script or self.script, line, folder=self.folder)
        return {one for one in found if len(one) != 2 or one[0] != "-"}

    def shown(self, words: set[str]) -> set[str]:
        # The others may be kept back, as if they were hidden files, or options.
        return {word for word in words if word[0] not in ".-"}

    def test_words_are_described(self) -> None:
        found = fish(self.script, "twistd made --made-m", folder=self.folder)
        self.assertEqual({"--made-mode": plain(HELP)}, found)
        found = fish(self.script, "twistd ma", folder=self.folder)
        self.assertEqual({"made": "Made up: it's a test."}, found)

    def test_files_are_offered_where_they_belong(self) -> None:
        (self.folder / "a-file").touch()
        (self.folder / "a-folder").mkdir()
        self.assertEqual({"a-file", "a-folder/"}, self.offered("twistd made --made-log a-"))
        self.assertEqual({"a-folder/"}, self.offered("twistd -d a-"))
        self.assertEqual({"a-file", "a-folder/"}, self.offered("twistd foreign a-"))
        self.assertEqual(set(), self.offered("twistd made a-"))

    def check_description(self, script: str, said: str) -> None:
        self.assertEqual(
            {"--made-mode": said}, fish(script, "twistd made --made-m", folder=self.folder)
        )

    @settings(deadline=None, max_examples=10)
    @given(words=st.lists(nasty, min_size=1, max_size=15, unique=True), said=nasty)
    def test_any_words_can_be_offered(self, words: list[str], said: str) -> None:
        self.check_words(words, said)


class ZshTests(_ShellTests, SynchronousTestCase):
    shell = "zsh"

    def offered(self, line: str, script: str | None = None) -> set[str]:
        return set(zsh(script or self.script, line, folder=self.folder))

    def test_words_are_described(self) -> None:
        found = zsh(self.script, "twistd made --made-m", folder=self.folder)
        self.assertEqual({"--made-mode": plain(HELP)}, found)
        found = zsh(self.script, "twistd ma", folder=self.folder)
        self.assertEqual({"made": "Made up: it's a test."}, found)

    def test_files_are_offered_where_they_belong(self) -> None:
        (self.folder / "a-file").touch()
        (self.folder / "a-folder").mkdir()
        self.assertEqual({"a-file", "a-folder"}, self.offered("twistd made --made-log a-"))
        self.assertEqual({"a-file", "a-folder"}, self.offered("twistd made --made-log=a-"))
        self.assertEqual({"a-folder"}, self.offered("twistd -d a-"))
        self.assertEqual(set(), self.offered("twistd made a-"))

    def test_it_can_be_loaded_from_fpath_in_the_place_of_zshs_own(self) -> None:
        place = self.folder / "functions"
        place.mkdir()
        (place / "_myproject").write_text(self.script, encoding="utf-8")
        for word in ("made-lo", "made-lou"):
            found = zsh("", f"twistd made --{word}", folder=self.folder, fpath=[place])
            self.assertIn("--made-loud", found)

    def test_subcommands_that_are_not_known_are_left_to_zshs_own(self) -> None:
        found = zsh("_twisted() { compadd -- --theirs }\n" + self.script, "twistd foreign --t",
                    folder=self.folder)  # fmt: skip
        self.assertEqual({"--theirs": ""}, found)

    def test_without_zshs_own_they_get_files(self) -> None:
        (self.folder / "a-file").touch()
        script = f"unfunction _twisted 2>/dev/null\n{self.script}"
        self.assertEqual({"a-file"}, self.offered("twistd foreign a-", script))

    def check_description(self, script: str, said: str) -> None:
        self.assertEqual(
            {"--made-mode": said}, zsh(script, "twistd made --made-m", folder=self.folder)
        )

    @settings(deadline=None, max_examples=10)
    @given(words=st.lists(nasty, min_size=1, max_size=15, unique=True), said=nasty)
    def test_any_words_can_be_offered(self, words: list[str], said: str) -> None:
        self.check_words(words, said)


class MainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(sys, "stdout", StringIO())
        self.patch(sys, "stderr", StringIO())

    def main(self, *words: str) -> tuple[int, str, str]:
        status = completion.main(words)
        out, err = cast("StringIO", sys.stdout), cast("StringIO", sys.stderr)
        return status, out.getvalue(), err.getvalue()

    def test_each_shells_script_is_printed(self) -> None:
        for shell in completion.SHELLS:
            self.patch(sys, "stdout", StringIO())
            status, out, err = self.main(shell)
            self.assertEqual((0, ""), (status, err))
            self.assertIn(f"{shell} completion for twistd", out)
            self.assertTrue("max-channels" in out, shell)

    def test_another_shell_is_refused_in_one_line(self) -> None:
        self.assertEqual(
            (
                os.EX_USAGE,
                "",
                "completion: there is no shell 'zhs' (did you mean zsh?); give one of bash, fish, zsh\n",
            ),
            self.main("zhs"),
        )

    def test_no_shell_is_refused_in_one_line(self) -> None:
        expected = "completion: no shell given; give one of bash, fish, zsh\n"
        self.assertEqual((os.EX_USAGE, "", expected), self.main())

    def test_help_is_printed(self) -> None:
        status, out, _ = self.main("--help")
        self.assertEqual((0, True), (status, out.startswith("Usage: python -m myproject comp")))

    def test_a_real_process_prints_nothing_else(self) -> None:
        folder = Path(self.mktemp()).absolute()
        done = run("-m", "myproject", "completion", "bash", cwd=folder, tool="python")
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        self.assertEqual(
            ["--no-udp"], bash(done.stdout, "twistd", "myproject-echo", "--no-u", folder=folder)
        )
