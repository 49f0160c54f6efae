"""Whose ``twistd`` the shell runs: often another Python's than the one that a package was installed for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from myproject.doctor.findings import Finding, Severity

__all__ = ["findings", "interpreter_of"]

#: Installers write this where a path is too long, or has a space in it, for the first line of a script.
_EXEC = re.compile(r"""^'''exec' "?(?P<path>[^"\n]+?)"? "\$0" "\$@"$""", re.MULTILINE)

#: Seconds for asking a Python where it lives.
_PATIENCE = 10

#: Characters of a script within which its interpreter is named: the longest path has 4096.
_HEAD = 8192


def interpreter_of(script: str, search: str | None = None) -> str | None:
    """
    Read from a script's first lines which Python it runs with; None if it does not tell.

    :param script: the beginning of its text.
    :param search: the folders that ``env`` looks through; by default those of PATH.
    """
    first, _, rest = script.partition("\n")
    words = first[2:].split() if first.startswith("#!") else []
    if not words:
        return None
    name = os.path.basename(words[0])
    if name == "sh" and (found := _EXEC.search(rest)):
        return found["path"]
    if name == "env" and len(words) == 2:
        words, name = [shutil.which(words[1], path=search) or ""], words[1]
    return words[0] if words[0] and name.startswith(("python", "pypy")) else None


def findings(twistd: str | None) -> Iterator[Finding]:
    """
    Yield a warning if a ``twistd`` belongs to another Python.

    :param twistd: its path, or None if there is none.
    """
    if twistd is None:
        return
    try:
        with Path(twistd).open(encoding="utf-8", errors="replace") as stream:
            python = interpreter_of(stream.read(_HEAD))
    except OSError:
        return
    if python is None or _home(python) == str(Path(sys.prefix).resolve()):
        return
    yield Finding(
        "twistd-elsewhere",
        Severity.WARNING,
        twistd,
        f"this twistd, the first on PATH, runs with {python}; all else here is about {sys.executable}",
        f"run {Path(sys.executable).with_name('twistd')}, or ask {python} -m myproject doctor",
    )


def _home(python: str) -> str | None:
    """The environment that a Python belongs to; None if it cannot be run."""
    code = "import os, sys; print(os.path.realpath(sys.prefix))"
    try:
        done = subprocess.run(  # noqa: S603 - what the shell's own twistd runs
            [python, "-B", "-c", code],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.rpartition("\n")[0].rpartition("\n")[2]
