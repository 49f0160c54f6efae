"""The diagnosis: everything that the doctor looks at, put together, and its form as JSON."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from myproject.doctor import caches, dropins, editables, folders, interpreter
from myproject.doctor.caches import CacheView
from myproject.doctor.findings import Finding, Severity
from myproject.doctor.survey import Dropin, Survey, take

__all__ = ["Diagnosis", "Subcommand", "examine"]


@dataclass(frozen=True)
class Subcommand:
    """
    A subcommand that a dropin has.

    :ivar name: as behind ``twistd``.
    :ivar description: its line in ``twistd --help``.
    :ivar dropin: the file that it comes from.
    :ivar export: its maker's name in that file.
    :ivar listed: ``twistd --help`` lists it; a cache may hide it.
    """

    name: str
    description: str
    dropin: str
    export: str
    listed: bool


@dataclass(frozen=True)
class Diagnosis:
    """
    All that is known.

    :ivar survey: what the probe told.
    :ivar caches: the caches in the folders that have dropins.
    :ivar subcommands: by name.
    :ivar findings: what is wrong, errors first.
    :ivar twistd: the ``twistd`` on PATH, or None.
    :ivar user: the number of the user who asks.
    """

    survey: Survey
    caches: tuple[CacheView, ...]
    subcommands: tuple[Subcommand, ...]
    findings: tuple[Finding, ...]
    twistd: str | None
    user: int

    def is_fine(self, name: str | None = None) -> bool:
        """
        Tell whether no finding is an error; or, for one subcommand, whether it is listed as well.

        :param name: as behind ``twistd``; None for all.
        """
        found = self.findings if name is None else self.about(name)
        errors = any(one.severity is Severity.ERROR for one in found)
        return not errors and (name is None or self.is_listed(name))

    def named(self, name: str) -> list[Subcommand]:
        """
        The subcommands of one name; several if makers share it.

        :param name: as behind ``twistd``.
        """
        return [one for one in self.subcommands if one.name == name]

    def is_listed(self, name: str) -> bool:
        """
        Tell whether ``twistd --help`` lists a name.

        :param name: as behind ``twistd``.
        """
        return any(one.listed for one in self.named(name))

    def nearest(self, name: str) -> list[str]:
        """
        The names of subcommands that are near one, the nearest first.

        :param name: what was asked for.
        """
        known = sorted({one.name for one in self.subcommands})
        within = [one for one in known if name in one and one != name]
        close = [one for one in difflib.get_close_matches(name, known) if one != name]
        return list(dict.fromkeys([*close, *within]))

    def about(self, name: str) -> tuple[Finding, ...]:
        """
        The findings that matter to one subcommand: all of them, unless it is listed.

        :param name: as behind ``twistd``.
        """
        if not self.is_listed(name):
            return self.findings
        dropins = {one.dropin for one in self.named(name)}
        caches = {str(Path(file).with_name("dropin.cache")) for file in dropins}
        near = {name, self.twistd, *dropins, *caches}
        return tuple(one for one in self.findings if one.where in near)

    def as_json(self, name: str | None = None) -> dict[str, Any]:
        """
        Everything, as the how-to page describes it.

        :param name: the subcommand that was asked for, if one was.
        """
        asked = (
            {"name": name, "listed": self.is_listed(name), "nearest": self.nearest(name)}
            if name
            else None
        )
        return {
            "format": 1,
            "ok": self.is_fine(name),
            "python": sys.executable,
            "twisted": self.survey.version,
            "twistd": self.twistd,
            "user": self.user,
            "asked": asked,
            "folders": [self._folder(folder) for folder in self.survey.folders],
            "subcommands": [asdict(one) for one in self.subcommands],
            "findings": [asdict(one) for one in (self.about(name) if name else self.findings)],
        }

    def _folder(self, folder: str) -> dict[str, Any]:
        path = str(Path(folder, "dropin.cache"))
        cache = next((view for view in self.caches if view.path == path), None)
        return {
            "path": folder,
            "exists": Path(folder).is_dir(),
            "cache": cache and {"state": cache.state, "writable": cache.writable},
            "dropins": [asdict(one) for one in self.dropins_of(folder)],
        }

    def dropins_of(self, folder: str) -> list[Dropin]:
        """
        The dropins in a folder, packages included.

        :param folder: one of those that Twisted searches.
        """
        return [one for one in self.survey.dropins if Path(folder) in Path(one.file).parents]


def examine(seconds: float) -> Diagnosis:
    """
    Look at everything.

    :param seconds: how long one dropin may take to load.
    :raises OSError: no process can be started.
    :raises subprocess.SubprocessError: the probe failed.
    :raises ValueError: the probe gave no answer.
    """
    survey = take(seconds)
    user = os.geteuid()
    twistd = shutil.which("twistd")
    seen = caches.views(survey)
    found = [
        *_broken(survey),
        *folders.findings(survey, Path.cwd()),
        *dropins.findings(survey, seconds),
        *caches.findings(seen, user),
        *editables.findings(survey),
        *interpreter.findings(twistd),
    ]
    found.sort(key=lambda one: one.severity is not Severity.ERROR)
    makers = sorted(_subcommands(survey, seen), key=lambda one: (one.name, one.dropin))
    return Diagnosis(survey, seen, tuple(makers), tuple(found), twistd, user)


def _broken(survey: Survey) -> Iterator[Finding]:
    if survey.failure is not None:
        yield Finding(
            "twisted-broken",
            Severity.ERROR,
            sys.executable,
            f"this Python cannot import Twisted: {survey.failure.summary}",
            "mend what the traceback or another finding shows, or install Twisted",
            survey.failure.traceback,
        )


def _subcommands(survey: Survey, seen: tuple[CacheView, ...]) -> Iterator[Subcommand]:
    hidden = {(str(Path(view.path).parent), name) for view in seen for name in view.hidden}
    # While one dropin hangs, ends the process, or has a maker that cannot be asked, twistd lists none.
    stopped = any(
        dropin.state in ("hung", "died") or any(one.lacks for one in dropin.exports)
        for dropin in survey.dropins
    )
    for dropin in survey.dropins:
        for one in dropin.exports:
            if one.tapname is not None:
                listed = not stopped and (dropin.folder, one.tapname) not in hidden
                yield Subcommand(one.tapname, one.description, dropin.file, one.name, listed)
