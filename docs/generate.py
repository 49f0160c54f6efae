"""
Write the pages of docs/ that come from the code.

Run ``python docs/generate.py`` after a change of a setting. With ``--check`` it writes nothing, and
fails if a page differs from what the code says.
"""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.plugin import getPlugins

from myproject.interfaces import IFactoryMaker
from myproject.options import Options
from myproject.reference import settings_page

DOCS = Path(__file__).parent


def pages() -> dict[Path, str]:
    """Each generated page's path, and what it should hold."""
    makers = [
        (maker.tapname, maker.description, maker.options)
        for maker in getPlugins(IFactoryMaker)
        if maker.tapname.startswith("myproject") and issubclass(maker.options, Options)
    ]
    return {DOCS / "reference" / "settings.md": settings_page(makers)}


def main(arguments: list[str]) -> int:
    """Write the pages, or check them; the exit status."""
    stale = []
    for path, content in pages().items():
        if "--check" not in arguments:
            path.write_text(content, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != content:
            stale.append(path.name)
    if stale:
        print(f"{', '.join(stale)} differs from the code: run python docs/generate.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
