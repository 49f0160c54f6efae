"""
What outlives the process: accounts, channels, bans, history, read markers, metadata, in one SQLite file.

`service.StoreService` opens the file and has the `Store`; `records` are what goes in and out. Those who have
to do with records only, as ``--help`` has, are spared the import of SQLite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject_chat.store.records import (
    Account,
    Entry,
    Loaded,
    Marker,
    Metadata,
    NetworkBan,
    RegisteredChannel,
    StoredMask,
    UnreadableError,
    conversation,
    party,
)

if TYPE_CHECKING:
    from myproject_chat.store.database import MEMORY, Database
    from myproject_chat.store.store import Store

__all__ = [
    "MEMORY",
    "Account",
    "Database",
    "Entry",
    "Loaded",
    "Marker",
    "Metadata",
    "NetworkBan",
    "RegisteredChannel",
    "Store",
    "StoredMask",
    "UnreadableError",
    "conversation",
    "party",
]

_LATE = {"MEMORY": "database", "Database": "database", "Store": "store"}


def __getattr__(name: str) -> object:
    """Import what needs SQLite when it is asked for (PEP 562)."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
