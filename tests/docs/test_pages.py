"""Every command in the README and in docs/ works as printed, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.docs.console import Block, Command, Page, blocks, commands, expected

ROOT = Path(__file__).parents[2]
PAGES = [
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "tests" / "README.md"]
    if "_build" not in path.parts
]

#: A link to a file of the repository, without what follows a "#".
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")


class PageTests(SynchronousTestCase):
    """One test for each page that has commands; they are added below."""

    timeout = 300

    def check(self, path: Path) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        Page(folder).run(path.read_text(encoding="utf-8"))


def add_page(path: Path) -> None:
    def test(self: PageTests) -> None:
        self.check(path)

    name = re.sub(r"\W", "_", str(path.relative_to(ROOT).with_suffix("")))
    setattr(PageTests, f"test_{name}", test)


for _path in PAGES:
    if "```console" in _path.read_text(encoding="utf-8"):
        add_page(_path)


class LinkTests(SynchronousTestCase):
    def test_links_between_pages_lead_somewhere(self) -> None:
        broken = [
            f"{path.relative_to(ROOT)}: {target}"
            for path in PAGES
            for target in _LINK.findall(path.read_text(encoding="utf-8"))
            if not (path.parent / target).exists()
        ]
        self.assertEqual([], broken)

    def test_every_page_of_the_docs_is_in_the_index(self) -> None:
        index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
        pages = [
            path.relative_to(ROOT / "docs").with_suffix("") for path in ROOT.glob("docs/*/**/*.md")
        ]
        missing = [
            str(page) for page in pages if page.parts[0] != "_build" and str(page) not in index
        ]
        self.assertEqual([], missing)


class ReadmeTests(SynchronousTestCase):
    def test_the_example_of_a_subcommand_has_at_most_15_lines(self) -> None:
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        code = [block.text for block in blocks(text) if block.language == "python"]
        lines = [line for line in "".join(code).splitlines() if line and not line.startswith("# ")]
        self.assertEqual(2, len(code))
        self.assertLessEqual(len(lines), 15)

    def test_there_are_two_commands_to_run_by_hand(self) -> None:
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        self.assertEqual(2, len([block for block in blocks(text) if block.language == "sh"]))


class ConsoleTests(SynchronousTestCase):
    """The runner of pages can tell right from wrong."""

    def page(self, text: str) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        Page(folder).run(text)

    def test_blocks_are_found_with_their_language_and_without_their_indentation(self) -> None:
        text = "- a\n  ```toml\n  x = 1\n  ```\n\n```console\n$ true\n```\n"
        self.assertEqual(
            [Block("toml", "x = 1\n"), Block("console", "$ true\n")], list(blocks(text))
        )

    def test_commands_are_told_from_output(self) -> None:
        block = Block("console", "$ a \\\n  b\nx\ny\n$ c\n")
        self.assertEqual([Command("a b", ("x", "y")), Command("c", ())], list(commands(block)))

    def test_three_dots_stand_for_any_text(self) -> None:
        pattern = expected(("a...c", "...", "d"))
        self.assertTrue(pattern.match("abc\n1\n2\nd\n"))
        self.assertFalse(pattern.match("abc\n1\n2\n"))

    def test_output_as_printed_passes(self) -> None:
        self.page("```toml\n# a.toml\nx = 1\n```\n```console\n$ cat a.toml\n# a.toml\nx = 1\n```\n")

    def test_other_output_fails(self) -> None:
        text = "```console\n$ echo yes\nno\n```\n"
        error = self.assertRaises(AssertionError, self.page, text)
        self.assertIn("$ echo yes\nshould print\nno\nbut printed\nyes\n", str(error))

    def test_a_server_that_does_not_start_fails(self) -> None:
        text = "```console\n$ twistd -n myproject-echo -p x\n... starting on x\n```\n"
        error = self.assertRaises(AssertionError, self.page, text)
        self.assertIn("neither a port number nor", str(error))
