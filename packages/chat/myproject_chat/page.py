"""The page in the browser: its files, as they are installed, ready to be served."""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files
from typing import Final

from myproject_chat.http import File

__all__ = ["load_page"]

_KINDS: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}


def load_page() -> dict[str, File]:
    """Read the files, by the path at which each is served: ``/`` is the page itself."""
    page: dict[str, File] = {}
    for one in files(__package__).joinpath("page").iterdir():
        kind = _KINDS.get(one.name.rpartition(".")[2])
        if kind is None:
            continue
        body = one.read_bytes()
        # Without a time in it, so that all servers of one version have the same bytes.
        packed = gzip.compress(body, mtime=0)
        etag = hashlib.sha256(body).hexdigest()[:16]
        page["/" if one.name == "index.html" else f"/{one.name}"] = File(kind, body, packed, etag)
    return page
