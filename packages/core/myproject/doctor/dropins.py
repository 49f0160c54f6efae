"""What is wrong with dropins: those that do not load, load too much, or export what nobody can use."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from myproject.doctor.findings import Finding, Severity
from myproject.doctor.survey import Dropin, Step, Survey

__all__ = ["culprit", "findings"]

#: Twisted's own modules; a dropin's name begins with twisted.plugins, whoever wrote it.
_TWISTED = re.compile(r"twisted\.(?!plugins\.)")

_MISSED = {
    "IPlugin": "provides IServiceMaker but not IPlugin, without which Twisted does not look at it",
    "IServiceMaker": "looks like a maker but does not provide IServiceMaker",
    "class": "is a class: Twisted takes instances only",
}

_MEND = {
    "IPlugin": "decorate its class with @implementer(IPlugin, IServiceMaker)",
    "IServiceMaker": "decorate its class with @implementer(IPlugin, IServiceMaker)",
    "class": "give the module an instance of it, under any name",
}


def findings(survey: Survey, seconds: float) -> Iterator[Finding]:
    """
    Yield what is wrong with each dropin, then with them together.

    :param survey: what the probe told.
    :param seconds: how long a dropin had to load.
    """
    for dropin in survey.dropins:
        yield from _loading(dropin, seconds)
        yield from _exporting(dropin)
        yield from _idle(dropin, survey)
    yield from _duplicates(survey.dropins)
    yield from _passed_over(survey)


def _loading(dropin: Dropin, seconds: float) -> Iterator[Finding]:
    error = Severity.ERROR
    if dropin.error is not None:
        yield Finding(
            "dropin-failed",
            error,
            dropin.file,
            f"it cannot be imported: {dropin.error.summary}",
            "mend what the traceback shows, or uninstall what the file belongs to",
            dropin.error.traceback,
        )
    elif dropin.state == "hung":
        yield Finding(
            "dropin-hangs",
            error,
            dropin.file,
            f"it was still being imported after {seconds:g} seconds: it stops any twistd that does so",
            "take out of it what waits; --timeout gives it longer, if it is only slow",
        )
    elif dropin.state == "died":
        yield Finding(
            "dropin-ends-process",
            error,
            dropin.file,
            f"importing it ends the process {_ending(dropin.ending)}: that of any twistd that does so",
            "uninstall what it belongs to, or mend it",
        )
    if dropin.reactor:
        who = culprit(dropin.reactor)
        yield Finding(
            "reactor-early",
            error,
            dropin.file,
            f"importing it installs the reactor, by {who}: twistd --reactor comes too late",
            "move what that line imports or calls into the function that needs it",
            tuple(f"{i * '  '}{step}" for i, step in enumerate(dropin.reactor)),
        )


def _ending(status: int | None) -> str:
    if status is None or status >= 0:
        return f"with status {status}"
    return f"by {signal.Signals(-status).name}"


def culprit(chain: Sequence[Step]) -> Step:
    """
    Find in a chain of imports the module that caused the reactor's installation.

    That is the last that is not Twisted's own: what follows is how Twisted comes to install one.

    :param chain: the steps, the dropin's first; at least one.
    """
    return next(
        (step for step in reversed(chain) if not _TWISTED.match(step.module)),
        chain[0],
    )


def _exporting(dropin: Dropin) -> Iterator[Finding]:
    for one in dropin.exports:
        if one.lacks:
            yield Finding(
                "maker-broken",
                Severity.ERROR,
                dropin.file,
                f"its maker {one.name} lacks {', '.join(one.lacks)}: twistd --help fails on it",
                "give it a tapname and a description, both text",
            )
    # A class that has an instance beside it is as it should be.
    has_instance = any(one.maker for one in dropin.exports) or any(
        lacks != "class" for _, lacks in dropin.missed
    )
    for name, lacks in dropin.missed:
        if lacks == "class" and has_instance:
            continue
        yield Finding(
            "no-maker", Severity.ERROR, dropin.file, f"{name} {_MISSED[lacks]}", _MEND[lacks]
        )


def _idle(dropin: Dropin, survey: Survey) -> Iterator[Finding]:
    # Some of Twisted's own export nothing where an optional package is missing.
    own = dropin.folder == str(Path(survey.twisted or "", "plugins"))
    is_twisteds = own and dropin.key.startswith(("twisted_", "cred_"))
    nothing = dropin.state == "loaded" and not dropin.exports and not dropin.missed
    if nothing and not is_twisteds:
        yield Finding(
            "no-maker",
            Severity.WARNING,
            dropin.file,
            "it is imported as a dropin, but exports nothing that provides IPlugin",
            "export a maker from it, or move it out of the folder",
        )


def _duplicates(dropins: Sequence[Dropin]) -> Iterator[Finding]:
    makers: dict[str, list[str]] = {}
    for dropin in dropins:
        for one in dropin.exports:
            if one.tapname is not None:
                makers.setdefault(one.tapname, []).append(f"{one.name} in {dropin.file}")
    for tapname, places in makers.items():
        if len(places) > 1:
            yield Finding(
                "duplicate-name",
                Severity.ERROR,
                tapname,
                f"{len(places)} makers have this name, and twistd runs only one of them",
                "give each a name of its own, or uninstall all but one",
                tuple(places),
            )


def _passed_over(survey: Survey) -> Iterator[Finding]:
    """Files in plugin folders that look like dropins, and are none to Twisted."""
    found = {os.path.realpath(dropin.file) for dropin in survey.dropins}
    first = {dropin.key: dropin.file for dropin in survey.dropins}
    seen: set[str] = set()
    for folder in survey.folders:
        for file in sorted(Path(folder).glob("*.py")):
            real = os.path.realpath(file)
            if real in found or real in seen or file.stem == "__init__":
                continue
            seen.add(real)
            if file.stem in first:
                yield Finding(
                    "dropin-shadowed",
                    Severity.WARNING,
                    str(file),
                    f"{first[file.stem]} has the same name and comes first, so this one is not loaded",
                    "rename or remove one of them",
                )
            else:
                yield Finding(
                    "dropin-misnamed",
                    Severity.WARNING,
                    str(file),
                    "its name is not that of a module, so Twisted skips it",
                    f"rename it to {_identifier(file.stem)}.py",
                )


def _identifier(stem: str) -> str:
    """A name near this one that Twisted takes."""
    return "".join(character if character.isalnum() else "_" for character in stem)
