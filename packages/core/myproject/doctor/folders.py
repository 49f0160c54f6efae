"""
Folders that Twisted does not search, though someone may think so.

Twisted searches ``twisted/plugins`` below each entry of ``sys.path``, unless that has an ``__init__.py``.
So a stray one hides a folder of plugins (or, in ``twisted/``, all of Twisted), a second copy of
Twisted keeps its plugins to itself, and the current folder counts only if ``PYTHONPATH`` says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from myproject.doctor.findings import Finding, Severity
from myproject.doctor.survey import Survey

__all__ = ["dropins_in", "findings", "is_twisted"]


def findings(survey: Survey, current: Path) -> Iterator[Finding]:
    """
    Yield what is wrong with folders.

    :param survey: what the probe told.
    :param current: the folder from which the doctor was asked.
    """
    own = None if survey.twisted is None else os.path.realpath(survey.twisted)
    seen = set()
    for entry in survey.path:
        twisted = Path(entry or current) / "twisted"
        real = os.path.realpath(twisted)
        if real == own or real in seen:
            continue
        seen.add(real)
        yield from _second(survey, twisted) if is_twisted(twisted) else _strays(twisted)
    searched = {os.path.realpath(folder) for folder in survey.folders}
    plugins = current / "twisted" / "plugins"
    here = {os.path.realpath(Path(entry or current)) for entry in survey.path}
    if os.path.realpath(plugins) not in searched and os.path.realpath(current) not in here:
        unseen = dropins_in(plugins)
        if unseen and not is_twisted(plugins.parent):
            yield Finding(
                "folder-unseen",
                Severity.WARNING,
                str(plugins),
                f"it has {', '.join(unseen)}, but the current folder is not on twistd's sys.path",
                "set PYTHONPATH=. to use it from here, or install the project that it belongs to",
            )


def is_twisted(folder: Path) -> bool:
    """
    Tell a copy of Twisted from a folder that only has its name.

    :param folder: one called ``twisted``.
    """
    return (folder / "plugin.py").is_file() and (folder / "_version.py").is_file()


def dropins_in(folder: Path) -> list[str]:
    """
    List the names of what would be dropins if Twisted searched a folder.

    :param folder: it may be missing.
    """
    return sorted(file.name for file in folder.glob("*.py") if file.stem != "__init__")


def _strays(twisted: Path) -> Iterator[Finding]:
    hidden = {
        twisted / "__init__.py": "it makes this folder another package called twisted, which hides"
        " Twisted or is hidden by it",
        twisted / "plugins" / "__init__.py": "with it, this folder is no place for plugins, so that"
        " Twisted does not search it",
    }
    for file, problem in hidden.items():
        if file.is_file():
            yield Finding("stray-init", Severity.ERROR, str(file), problem, "delete it")


def _second(survey: Survey, twisted: Path) -> Iterator[Finding]:
    known = {os.path.basename(dropin.file) for dropin in survey.dropins}
    lost = [name for name in dropins_in(twisted / "plugins") if name not in known]
    if lost:
        yield Finding(
            "second-twisted",
            Severity.WARNING,
            str(twisted),
            f"this is another Twisted than that in {survey.twisted}, which does not see its"
            f" {', '.join(lost)}",
            "install what they belong to beside the Twisted that runs, and have only one",
        )
