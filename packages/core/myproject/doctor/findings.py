"""A finding: one thing that is wrong, where, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["CODES", "Finding", "Severity"]


class Severity(enum.StrEnum):
    """How much a finding matters: an error makes the exit status 1, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


#: Every code that a finding may have, with what it means. Codes are stable: scripts may rely on them.
CODES = {
    "twisted-broken": "Twisted itself cannot be imported, so no command of it can run",
    "dropin-failed": "a dropin raised an exception while it was imported",
    "dropin-hangs": "a dropin was still being imported when the time was up",
    "dropin-ends-process": "importing a dropin ended the process",
    "dropin-misnamed": "Twisted skips a file in a plugin folder because of its name",
    "dropin-shadowed": "another dropin of the same name comes first",
    "maker-broken": "a maker has no name or no description that could be listed",
    "no-maker": "a dropin has something meant for Twisted that Twisted does not take",
    "duplicate-name": "two makers have the same name",
    "reactor-early": "importing a dropin installs the reactor",
    "cache-stale": "Twisted believes a cache that says something else than its dropins",
    "cache-unreadable": "a cache cannot be loaded",
    "cache-unwritable": "a cache needs writing and cannot be written",
    "stray-init": "an __init__.py hides a folder of plugins, or Twisted",
    "second-twisted": "another copy of Twisted has dropins that this one does not see",
    "editable-unseen": "an editable installation has dropins where Twisted does not look",
    "folder-unseen": "the current folder has dropins, and is not searched",
    "twistd-elsewhere": "the twistd on PATH belongs to another Python",
}


@dataclass(frozen=True)
class Finding:
    """
    One thing that is wrong.

    :ivar code: a key of :data:`CODES`.
    :ivar severity: how much it matters.
    :ivar where: a file, a folder, or the name of a subcommand.
    :ivar problem: what is wrong, a clause.
    :ivar remedy: what to do, a clause that begins with a verb.
    :ivar detail: more lines to show: a traceback, a chain of imports.
    """

    code: str
    severity: Severity
    where: str
    problem: str
    remedy: str
    detail: tuple[str, ...] = ()
