"""
Editable installations whose dropins Twisted cannot see.

Twisted walks the folders of ``sys.path``. An editable installation that puts its source folder there is
seen; one that has an import hook instead, as setuptools makes by default for many layouts, can be
imported, but leaves Twisted no folder to walk.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from myproject.doctor.findings import Finding, Severity
from myproject.doctor.folders import dropins_in, is_twisted
from myproject.doctor.survey import Survey

__all__ = ["findings", "mapped_folders", "source_folder"]


def findings(survey: Survey) -> Iterator[Finding]:
    """
    Yield an error for each editable installation with dropins that Twisted does not find.

    :param survey: what the probe told.
    """
    searched = {os.path.realpath(folder) for folder in survey.folders}
    known = {os.path.basename(dropin.file) for dropin in survey.dropins}
    told = set()
    for distribution in distributions(path=list(survey.path)):
        root = source_folder(distribution.read_text("direct_url.json") or "")
        places = _places(distribution, root)
        for plugins in sorted(
            {os.path.realpath(place / "twisted" / "plugins") for place in places}
        ):
            lost = [name for name in dropins_in(Path(plugins)) if name not in known]
            twisted = is_twisted(Path(plugins).parent)
            if not lost or twisted or plugins in searched or plugins in told:
                continue
            told.add(plugins)
            source = Path(plugins).parents[1]
            yield Finding(
                "editable-unseen",
                Severity.ERROR,
                plugins,
                f"{distribution.metadata['Name']} is installed as editable, but its source folder is"
                f" not on sys.path, so Twisted does not see {', '.join(lost)}",
                f"put {source} on sys.path: with setuptools, pip install --config-settings"
                f" editable_mode=compat -e {root or source}",
            )


def source_folder(direct_url: str) -> Path | None:
    """
    Read from a distribution's ``direct_url.json`` (PEP 610) where its source is, if it is editable.

    :param direct_url: the text of that file, empty if there is none.
    """
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
        told = json.loads(direct_url)
        if told["dir_info"].get("editable") is True:
            url = urlsplit(told["url"])
            if url.scheme == "file":
                return Path(url2pathname(url.path))
    return None


def mapped_folders(finder: str) -> list[Path]:
    """
    Read from setuptools' import hook which folders hold the packages that it maps.

    :param finder: the source of an ``__editable___NAME_finder.py``.
    """
    found = []
    with contextlib.suppress(SyntaxError, ValueError, RecursionError):
        for node in ast.parse(finder).body:
            targets = (
                [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
            )
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            value = getattr(node, "value", None)
            if value is not None and names & {"MAPPING", "NAMESPACES"}:
                found += _paths(ast.literal_eval(value))
    return [path.parent for path in found]


def _paths(mapping: object) -> list[Path]:
    """The values of a mapping from packages to their folders: each one folder, or a list of them."""
    if not isinstance(mapping, dict):
        return []
    each = [value if isinstance(value, list) else [value] for value in mapping.values()]
    return [Path(path) for paths in each for path in paths if isinstance(path, str) and path]


def _places(distribution: Distribution, root: Path | None) -> Iterator[Path]:
    """Where an editable distribution's ``twisted/plugins`` may be."""
    if root is not None:
        yield from (root, root / "src", root / "lib")
    for file in distribution.files or ():
        if file.name.startswith("__editable__") and file.suffix == ".py":
            with contextlib.suppress(OSError, UnicodeDecodeError):
                yield from mapped_folders(Path(str(file.locate())).read_text(encoding="utf-8"))
