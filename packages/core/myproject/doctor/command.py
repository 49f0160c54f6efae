"""``python -m myproject doctor``: its command line, and what it prints for people."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from myproject.doctor.diagnosis import Diagnosis, examine
from myproject.doctor.findings import Finding, Severity

__all__ = ["main"]

PROGRAM = "python -m myproject doctor"

#: Seconds that a dropin has to load: a hundred times what a slow one takes.
_PATIENCE = 10.0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Refuse in one line, with the status of sysexits.h that all of this project uses."""
        self.exit(os.EX_USAGE, f"{self.prog}: {' '.join(message.split())}; --help says more\n")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


_seconds.__name__ = "number of seconds"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Say why a subcommand of twistd is not listed: look at every folder that Twisted"
        " searches, at every dropin and cache in it, and at what keeps others from being searched."
        " Nothing is written. The exit status is 1 if something is wrong.",
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", help="the subcommand that you miss")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=_PATIENCE,
        metavar="SECONDS",
        help="how long each dropin may take to load (default: %(default)g)",
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """
    Look, and print what was found.

    :param arguments: the words behind ``doctor``.
    :return: the exit status: 0, or 1 if a finding is an error or the subcommand asked for is not listed.
    :raises SystemExit: with status 64 for a mistake in the arguments, with 70 if the doctor
        itself fails, after one line on standard error; with 0 after ``--help``.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        diagnosis = examine(given.timeout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        detail = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip()
        last = detail.rpartition("\n")[2]
        why = f"{error}: {last}" if last else str(error)
        parser.exit(os.EX_SOFTWARE, f"{PROGRAM}: a fresh Python could not look: {why}\n")
    name: str | None = given.name
    said = [json.dumps(diagnosis.as_json(name), indent=2)] if given.json else lines(diagnosis, name)
    # The names of files may be no text at all.
    encoding = sys.stdout.encoding
    for line in said:
        sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    return 0 if diagnosis.is_fine(name) else 1


def lines(diagnosis: Diagnosis, name: str | None) -> Iterator[str]:
    """
    Yield what a person reads: about one subcommand, or about all.

    :param diagnosis: what is known.
    :param name: the subcommand, or None.
    """
    if name is None:
        found = diagnosis.findings
        yield from _overview(diagnosis)
    else:
        found = diagnosis.about(name)
        yield from _answer(diagnosis, name)
    for finding in found:
        yield from _shown(finding)
    errors = sum(one.severity is Severity.ERROR for one in found)
    if found:
        yield ""
        yield f"{_count(errors, 'error')}, {_count(len(found) - errors, 'warning')}"
    elif diagnosis.is_fine(name):
        yield "nothing is wrong"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _overview(diagnosis: Diagnosis) -> Iterator[str]:
    survey = diagnosis.survey
    yield f"Python {sys.executable}, Twisted {survey.version or 'not to be had'}"
    yield f"twistd {diagnosis.twistd or 'is not on PATH'}"
    missing = []
    for folder in dict.fromkeys(survey.folders):
        if not Path(folder).is_dir():
            missing.append(folder)
            continue
        found = diagnosis.dropins_of(folder)
        path = str(Path(folder, "dropin.cache"))
        states = [f", cache {view.state}" for view in diagnosis.caches if view.path == path]
        yield f"folder {folder}: {_count(len(found), 'dropin')}{''.join(states)}"
        if diagnosis.findings:
            # What each exports is of no interest to one with whom all is well.
            for dropin in found:
                names = [one.tapname or one.name for one in dropin.exports]
                yield f"  {os.path.relpath(dropin.file, folder)}: {', '.join(names) or dropin.state}"
    if diagnosis.findings and missing:
        yield f"searched too, but not there: {', '.join(missing)}"
    listed = sorted({one.name for one in diagnosis.subcommands if one.listed})
    yield f"subcommands: {', '.join(listed) or 'none'}"


def _answer(diagnosis: Diagnosis, name: str) -> Iterator[str]:
    found = diagnosis.named(name)
    for one in found:
        verb = "is listed by" if one.listed else "is not listed, though it is in"
        yield f"{name} {verb} {one.dropin} ({one.export}): {one.description}"
    if not found:
        near = diagnosis.nearest(name)
        hint = f"; near it: {', '.join(near)}" if near else ""
        yield f"{name} is not listed: no dropin that Twisted loads has a maker of this name{hint}"


def _shown(finding: Finding) -> Iterator[str]:
    yield ""
    yield f"{finding.severity}: {finding.code}: {finding.where}"
    yield f"  {finding.problem}"
    yield from (f"    {line}" for line in finding.detail)
    yield f"  what to do: {finding.remedy}"
