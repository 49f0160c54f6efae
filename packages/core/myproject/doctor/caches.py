"""
Twisted's plugin caches: whether each says what its dropins export, and whether it can be written.

Twisted believes a cache about a dropin that it names and whose file is older than the cache; it imports
every other dropin, and then writes the cache anew. So a wrong cache that is believed hides subcommands,
while one that is not believed costs time, at every command if nobody can write it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from myproject.doctor.findings import Finding, Severity
from myproject.doctor.survey import Dropin, Survey

__all__ = ["CacheView", "findings", "views"]

#: A maker's interface, as a cache names it.
_MAKER = "twisted.application.service.IServiceMaker"


@dataclass(frozen=True)
class CacheView:
    """
    One cache, beside the dropins in its folder.

    :ivar path: the file, there or not.
    :ivar state: ``missing``, ``unreadable``, ``stale`` (believed, and wrong), ``outdated`` (to be
        written anew by the next command) or ``good``.
    :ivar writable: this user may write it.
    :ivar reason: why it is unreadable, or how it is stale: one line.
    :ivar hidden: the names of subcommands that it hides.
    """

    path: str
    state: str
    writable: bool
    reason: str = ""
    hidden: tuple[str, ...] = ()


def views(survey: Survey) -> tuple[CacheView, ...]:
    """
    Look at the cache of every folder that has dropins.

    :param survey: what the probe told.
    """
    folders: dict[str, list[Dropin]] = {}
    for dropin in survey.dropins:
        folders.setdefault(dropin.folder, []).append(dropin)
    return tuple(_view(survey, folder, dropins) for folder, dropins in folders.items())


def _view(survey: Survey, folder: str, dropins: Sequence[Dropin]) -> CacheView:
    path = str(Path(folder, "dropin.cache"))
    # A new file is written beside it and renamed, so the folder's rights count, not the file's.
    writable = os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
    cache = (survey.caches or {}).get(path)
    if cache is None:
        return CacheView(path, "missing", writable)
    if cache.dropins is None:
        return CacheView(path, "unreadable", writable, cache.reason)
    believed = {
        one.key for one in dropins if one.key in cache.dropins and _is_older(one.file, path)
    }
    differs = [
        one
        for one in dropins
        if one.key in believed and one.state == "loaded" and _exports(one) != cache.dropins[one.key]
    ]
    if differs:
        hidden = tuple(name for one in differs for name in _hidden(one, cache.dropins[one.key]))
        said = "; ".join(_difference(one, cache.dropins[one.key]) for one in differs)
        return CacheView(path, "stale", writable, said, hidden)
    known = believed == set(cache.dropins) == {one.key for one in dropins}
    return CacheView(path, "good" if known else "outdated", writable)


def _is_older(file: str, cache: str) -> bool:
    """Compare times as Twisted does, to the fraction of a second."""
    return Path(file).stat().st_mtime < Path(cache).stat().st_mtime


def _exports(dropin: Dropin) -> dict[str, list[str]]:
    return {one.name: sorted(one.provides) for one in dropin.exports}


def _hidden(dropin: Dropin, cached: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for one in dropin.exports:
        if one.tapname is not None and _MAKER not in cached.get(one.name, ()):
            yield one.tapname


def _difference(dropin: Dropin, cached: Mapping[str, Sequence[str]]) -> str:
    """How a cache differs from a dropin, a clause."""
    now = _exports(dropin)
    kinds = {
        "lacks": sorted(set(now) - set(cached)),
        "still has": sorted(set(cached) - set(now)),
        "has other interfaces for": sorted(
            name for name in set(now) & set(cached) if now[name] != cached[name]
        ),
    }
    said = [f"{verb} {', '.join(names)}" for verb, names in kinds.items() if names]
    return f"of {os.path.basename(dropin.file)} it {' and '.join(said)}"


def findings(seen: Iterable[CacheView], user: int) -> Iterator[Finding]:
    """
    Yield what is wrong with the caches.

    :param seen: the caches.
    :param user: the number of the user who asks.
    """
    for view in seen:
        refresh = (
            "delete it, and run twistd --help"
            if view.writable
            else "have someone who may write there delete it and run twistd --help"
        )
        if view.state == "stale":
            yield Finding(
                "cache-stale",
                Severity.ERROR,
                view.path,
                f"Twisted believes this cache, since it is newer than the dropin, but {view.reason}",
                refresh,
            )
        elif view.state == "unreadable":
            yield Finding(
                "cache-unreadable",
                Severity.WARNING,
                view.path,
                f"it cannot be loaded ({view.reason}), so Twisted imports all dropins instead",
                "run twistd --help, which writes it anew" if view.writable else refresh,
            )
        if view.state != "good" and not view.writable:
            yield Finding(
                "cache-unwritable",
                Severity.WARNING,
                view.path,
                f"it is {view.state}, and the user with number {user} may not write it: every twistd"
                " command imports all dropins, and complains in its log",
                "have someone who may write there run twistd --help once after each installation",
            )
