"""
The doctor: why is my subcommand not listed?

``python -m myproject doctor`` looks at every place where Twisted looks for plugins, anyone's, and at
places where it does not look though someone may think so. A fresh interpreter does the looking
(``probe``, ``survey``); ``dropins``, ``caches``, ``folders``, ``editables`` and ``interpreter`` judge what it
saw, each yielding a :class:`Finding` for what is wrong; ``diagnosis`` puts them together and ``command``
prints them. Nothing here writes a file or imports Twisted, which may be what is broken.
"""

from __future__ import annotations

from myproject.doctor.command import main
from myproject.doctor.findings import CODES, Finding, Severity

__all__ = ["CODES", "Finding", "Severity", "main"]
