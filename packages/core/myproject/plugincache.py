"""
Twisted's plugin cache, and how a dropin keeps it honest.

Twisted pickles what each dropin exports, and the dropin's docstring, into a ``dropin.cache`` beside it.
It reads a dropin anew only if the file's modification time is not older than the cache. Installers that
keep the time at which they first unpacked a file (uv, when it links from its own cache; dpkg; images
with all times alike) replace the file by an older one, and the subcommands stay those of the old version:
a new one is missing, one that has gone is a traceback.

So a dropin's docstring takes a checksum of the dropin's file with it into the pickle, and loading it
compares the two. If they differ, the load fails; Twisted then does what it does with any cache that it
cannot read, which is to ask the dropins. Nothing is written or removed, no time is touched, and
this very run is right, also where nobody may write.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from zlib import crc32

__all__ = ["stamped"]


class _Stamped(str):
    """A dropin's docstring that can be unpickled only while the files it depends on are as they were."""

    __slots__ = ("checksum", "modules")

    checksum: int
    modules: tuple[str, ...]

    def __reduce__(self) -> tuple[object, ...]:
        return _unpickle, (str(self), self.modules, self.checksum)


def stamped(description: str | None, *modules: str) -> str:
    """
    Make a dropin's docstring one that keeps Twisted's cache honest.

    To be called by the dropin itself, as it loads: the checksum must be that of the files which
    were loaded. A process that runs on through an upgrade would otherwise vouch for what it has not read.

    :param description: the docstring; None under ``python -OO``.
    :param modules: the full names of the modules that decide what is cached: the dropin, its
        ``__name__``, and those of the plugins' classes, as the cache keeps what these provide.
    :return: the same text; a plain one if a module's file cannot be read (in a zip archive, for
        instance), and then Twisted trusts modification times as it always did.
    """
    try:
        checksum = _checksum(modules)
    except (ImportError, OSError, ValueError):
        return description or ""
    return _make(description or "", modules, checksum)


def _make(description: str, modules: tuple[str, ...], checksum: int) -> _Stamped:
    made = _Stamped(description)
    made.modules = modules
    made.checksum = checksum
    return made


def _unpickle(description: str, modules: tuple[str, ...], checksum: int) -> _Stamped:
    # Caches out there name this function: under another name, or with other parameters, they are
    # refused, which costs one slow start.
    if _checksum(modules) != checksum:
        raise UnpicklingError(f"{modules} changed since Twisted's plugin cache was written")
    return _make(description, modules, checksum)


def _checksum(modules: tuple[str, ...]) -> int:
    checksum = 0
    for module in modules:
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            raise ImportError(f"{module} has no file", name=module)
        checksum = crc32(Path(spec.origin).read_bytes(), checksum)
    return checksum
