"""
Run irctest on the IRC server, and turn what pytest reports into the page that says how we do.

``python irctest_table.py CHECKOUT [WORDS]`` runs the three parts of the suite, each with a report in
JUnit's XML. Together they become a table with a row for each of the suite's files, and a list of what
did not pass, with the suite's reason. The whole suite's goes to docs/; with words for pytest, which
choose some of the tests, it goes to standard output. The exit status is 1 where anything failed, or
was expected to fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

__all__ = ["PARTS", "Result", "main", "page", "read"]

_FOLDER: Final = Path(__file__).parent
_PAGE: Final = _FOLDER.parents[1] / "docs" / "reference" / "irctest.md"

#: The parts of the suite, in the order of the reports, and the tests of each by pytest's markers. The
#: first two together are all that is not for Ergo alone.
PARTS: Final[Mapping[str, str]] = {
    "common": "not implementation-specific and not deprecated and not strict and not services",
    "services and strict": "not Ergo and not implementation-specific and not deprecated"
    " and (strict or services)",
    "Ergo's own": "Ergo and not deprecated",
}

_OUTCOMES: Final = ("passed", "failed", "skipped")

_HEAD: Final = """\
# irctest

<!-- Written by `nox -s irctest`, from the suite's own reports. -->

[irctest](https://github.com/progval/irctest) holds IRC servers to the
["Modern" specification](https://modern.ircdocs.horse/), the RFCs and [IRCv3](https://ircv3.net/irc/).
This is what it says of `twistd myproject-chat`, measured with its commit `{commit}`.

Our controller (`tests/interop/irctest_controller.py`) declares all that the server supports, so that a
test of it fails where it would be skipped otherwise. Each test has a process of its own; a traceback in
its log fails the test. "Common" are the tests for any server (`{common}`); "services and strict" need
accounts, or take a specification by its letter; "Ergo's own" are those that Ergo's authors wrote for
Ergo.

To measure again, on a checkout of the suite: `nox -s irctest -- PATH`.

"""


@dataclass(frozen=True)
class Result:
    """
    How one test went.

    :ivar file: the file of the suite it is in, without ``.py``.
    :ivar name: its name, and its parameters.
    :ivar outcome: passed, failed or skipped; one that was expected to fail, and did, has failed.
    :ivar reason: why not passed, in one line.
    """

    file: str
    name: str
    outcome: str
    reason: str


def read(report: Path) -> list[Result]:
    """
    Read a report.

    :param report: a file that ``pytest --junitxml`` wrote.
    :return: a result for each test; one whose end failed as well has failed once.
    """
    results: dict[tuple[str, str], Result] = {}
    for case in ET.parse(report).iter("testcase"):
        result = _result(case)
        key = (case.get("classname", ""), result.name)
        known = results.get(key)
        if known is None or known.outcome != "failed":
            results[key] = result
    return list(results.values())


def _result(case: ET.Element) -> Result:
    module, _, _ = case.get("classname", "").rpartition(".")
    file = module.removeprefix("irctest.server_tests.").replace(".", "/")
    outcome, reason = "passed", ""
    for told in case:
        if told.tag in ("failure", "error") or told.get("type") == "pytest.xfail":
            outcome, reason = "failed", told.get("message", "")
        elif told.tag == "skipped" and outcome == "passed":
            outcome, reason = "skipped", told.get("message", "")
    return Result(file, case.get("name", ""), outcome, " ".join(reason.split()))


def page(parts: Mapping[str, Sequence[Result]], commit: str) -> str:
    """
    Write the page.

    :param parts: the results of each part, by its name.
    :param commit: the suite's commit.
    :return: Markdown.
    """
    head = _HEAD.format(commit=commit, common=PARTS["common"])
    return head + "\n".join([*_table(parts), *_others(parts)]) + "\n"


def _table(parts: Mapping[str, Sequence[Result]]) -> Iterator[str]:
    yield "Passed / failed / skipped, by file of the suite:"
    yield ""
    yield "| file | " + " | ".join(parts) + " | all |"
    yield "|---|" + "---|" * (len(parts) + 1)
    everything = [result for results in parts.values() for result in results]
    for file in sorted({result.file for result in everything}):
        rows = [[one for one in each if one.file == file] for each in (*parts.values(), everything)]
        yield f"| {file} | " + " | ".join(map(_counts, rows)) + " |"
    totals = map(_counts, (*parts.values(), everything))
    yield "| all | " + " | ".join(totals) + " |"


def _counts(results: Iterable[Result]) -> str:
    counts = Counter(result.outcome for result in results)
    return " / ".join(str(counts[outcome]) for outcome in _OUTCOMES) if counts else ""


def _others(parts: Mapping[str, Sequence[Result]]) -> Iterator[str]:
    # In a table a bar is escaped even within code.
    bar = "\\|"
    for outcome in ("failed", "skipped"):
        chosen = [one for results in parts.values() for one in results if one.outcome == outcome]
        if chosen:
            yield ""
            yield f"## What {'failed' if outcome == 'failed' else 'was skipped'}"
            yield ""
            yield "| test | the suite's reason |"
            yield "|---|---|"
            for one in sorted(chosen, key=lambda each: (each.file, each.name)):
                yield f"| {one.file} `{one.name.replace('|', bar)}` | {_plain(one.reason)} |"


def _plain(reason: str) -> str:
    short = reason if len(reason) <= 160 else reason[:157] + "..."
    for char in "\\|<>*_`[]$":
        short = short.replace(char, f"\\{char}")
    return short


def _run(checkout: Path, expression: str, words: Sequence[str], report: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-m", expression]
    command += ["--controller", "irctest_controller", "--junitxml", str(report), "-q", "--tb=short"]
    # A test waits for ever for a reply that does not come. The slowest takes 10 seconds.
    command += ["--timeout=40", "--numprocesses", str(os.cpu_count()), "-p", "no:cacheprovider"]
    environ = {**os.environ, "PYTHONPATH": str(_FOLDER)}
    if not any((checkout / word.partition("::")[0]).exists() for word in words):
        command.append("irctest/server_tests")
    done = subprocess.run([*command, *words], cwd=checkout, env=environ, check=False)
    # 1: some tests failed; 5: the words left none of this part.
    if done.returncode not in (0, 1, 5):
        raise SystemExit(f"irctest_table: pytest ended with status {done.returncode}")


def main(words: Sequence[str]) -> int:
    """
    Run the suite, and write the page.

    :param words: the command line without the program: a checkout of irctest, then words for pytest.
    :return: the exit status: 0 where nothing failed.
    """
    if not words:
        raise SystemExit("irctest_table: give the path of a checkout of github.com/progval/irctest")
    checkout, chosen = Path(words[0]).resolve(), words[1:]
    git = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    parts: dict[str, list[Result]] = {}
    with tempfile.TemporaryDirectory(prefix="irctest-") as folder:
        for number, (name, expression) in enumerate(PARTS.items()):
            report = Path(folder) / f"{number}.xml"
            _run(checkout, expression, chosen, report)
            parts[name] = read(report)
    text = page(parts, commit)
    if chosen:
        sys.stdout.write(text)
    else:
        _PAGE.write_text(text)
    return int(any(one.outcome == "failed" for results in parts.values() for one in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
