"""What Twisted sees in a fresh interpreter, as frozen objects: :func:`take` has ``probe.py`` look."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["Broken", "Cache", "Dropin", "Export", "Step", "Survey", "take"]

#: Seconds for all of it together: for what no single limit covers, such as a ``.pth`` file that hangs.
_LONG = 900


@dataclass(frozen=True)
class Broken:
    """
    An exception that kept something from loading.

    :ivar summary: its type and message, one line.
    :ivar traceback: its traceback from the dropin's own frames on, line by line.
    """

    summary: str
    traceback: tuple[str, ...]


@dataclass(frozen=True)
class Export:
    """
    What Twisted takes from a dropin.

    :ivar name: its name in the module.
    :ivar provides: the full names of the interfaces that it provides.
    :ivar maker: it makes a subcommand.
    :ivar tapname: the subcommand's name; None if it is no maker, or one without a name.
    :ivar description: the subcommand's line in ``twistd --help``.
    :ivar lacks: what a maker should have and has not.
    """

    name: str
    provides: tuple[str, ...]
    maker: bool
    tapname: str | None = None
    description: str = ""
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One module in a chain of imports, and the line at which it went on to the next."""

    module: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.module} ({self.file}:{self.line})"


@dataclass(frozen=True)
class Dropin:
    """
    One dropin that Twisted finds.

    :ivar module: its full name.
    :ivar file: its file.
    :ivar state: ``loaded``, ``failed``, ``hung`` or ``died``.
    :ivar error: the exception, if it failed.
    :ivar ending: how it ended its process, if it died: an exit status, or minus a signal's number.
    :ivar exports: what Twisted takes from it.
    :ivar missed: names of what Twisted does not take, each with what is missing: ``IPlugin``,
        ``IServiceMaker``, or ``class`` for a class without an instance.
    :ivar imports: the top-level packages that it imports, Python's and Twisted's own left out.
    :ivar reactor: the chain of imports that installed the reactor, or empty.
    """

    module: str
    file: str
    state: str
    error: Broken | None = None
    ending: int | None = None
    exports: tuple[Export, ...] = ()
    missed: tuple[tuple[str, str], ...] = ()
    imports: tuple[str, ...] = ()
    reactor: tuple[Step, ...] = ()

    @property
    def key(self) -> str:
        """Its name in the cache."""
        return self.module.rpartition(".")[2]

    @property
    def folder(self) -> str:
        """Where it is, and its cache."""
        return str(Path(self.file).parent)


@dataclass(frozen=True)
class Cache:
    """
    What a cache would have Twisted believe.

    :ivar dropins: the names in each dropin and the interfaces that each provides; None if unreadable.
    :ivar reason: why it is unreadable, one line.
    """

    dropins: Mapping[str, Mapping[str, Sequence[str]]] | None
    reason: str = ""


@dataclass(frozen=True)
class Survey:
    """
    All that the probe told.

    :ivar path: the interpreter's ``sys.path``, as ``twistd`` has it.
    :ivar failure: why Twisted cannot be imported, or None.
    :ivar version: Twisted's.
    :ivar twisted: the folder of the package ``twisted``.
    :ivar folders: where Twisted searches, in its order, whether there or not.
    :ivar dropins: what it finds there.
    :ivar caches: the caches that are there, by their path.
    """

    path: tuple[str, ...]
    failure: Broken | None = None
    version: str | None = None
    twisted: str | None = None
    folders: tuple[str, ...] = ()
    dropins: tuple[Dropin, ...] = ()
    caches: Mapping[str, Cache] | None = None


def take(seconds: float) -> Survey:
    """
    Have a fresh interpreter look: the one that runs this, started without the current folder on its path.

    :param seconds: how long one dropin may take to load.
    :raises OSError: no process can be started.
    :raises subprocess.SubprocessError: it failed, or took very long.
    :raises ValueError: it gave no answer.
    """
    spec = find_spec(f"{__package__}.probe")
    if spec is None or spec.origin is None:
        raise ValueError("the doctor's own probe.py is missing")
    done = subprocess.run(  # noqa: S603 - our own file
        # -P: twistd, too, has no current folder on its path. -B: nothing is written.
        [sys.executable, "-P", "-B", spec.origin, str(seconds)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_LONG,
        check=True,
    )
    # A .pth file may have printed something before.
    return read(json.loads(done.stdout.splitlines()[-1]))


def read(told: Mapping[str, Any]) -> Survey:
    """
    Make objects of the probe's answer.

    :param told: the answer, decoded.
    """
    path = tuple(told["path"])
    if told["failure"] is not None:
        return Survey(path, failure=_broken(told["failure"]))
    return Survey(
        path,
        version=told["twisted"]["version"],
        twisted=told["twisted"]["folder"],
        folders=tuple(told["folders"]),
        dropins=tuple(map(_dropin, told["dropins"])),
        caches={path: _cache(cache) for path, cache in told["caches"].items()},
    )


def _broken(told: Mapping[str, Any]) -> Broken:
    return Broken(told["summary"], tuple(told["traceback"]))


def _dropin(told: Mapping[str, Any]) -> Dropin:
    exports = [
        Export(**{**one, "provides": tuple(one["provides"]), "lacks": tuple(one.get("lacks", ()))})
        for one in told.get("exports", ())
    ]
    return Dropin(
        told["module"],
        told["file"],
        told["state"],
        error=_broken(told["error"]) if "error" in told else None,
        ending=told.get("status"),
        exports=tuple(exports),
        missed=tuple((name, lacks) for name, lacks in told.get("missed", ())),
        imports=tuple(told.get("imports", ())),
        reactor=tuple(Step(**step) for step in told.get("reactor", ())),
    )


def _cache(told: Mapping[str, Any]) -> Cache:
    if told["state"] == "loaded":
        return Cache(told["dropins"])
    reason = told["error"]["summary"] if "error" in told else f"loading it {told['state']}"
    return Cache(
        None,
        {
            "loading it hung": "loading it takes too long",
            "loading it died": "loading it ends the process",
        }.get(reason, reason),
    )
