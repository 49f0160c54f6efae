"""
What outlives the process: accounts, channels, bans, history, read markers, metadata, in one SQLite file.

`StoreService` opens the file and has the `Store`; `records` are what goes in and out.
"""

from myproject_chat.store.database import MEMORY, Database
from myproject_chat.store.records import (
    Account,
    Entry,
    Loaded,
    Marker,
    Metadata,
    NetworkBan,
    RegisteredChannel,
    StoredMask,
    conversation,
    party,
)
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
    "conversation",
    "party",
]
