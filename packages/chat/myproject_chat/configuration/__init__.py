"""
The tables of the configuration file: one frozen structure each, every field with its unit and its reason.

What stands here is all that the reference page says of a table, and all that the file may have in it. A
default is one that a public network could run with; where it follows a known server, it names it. "Ergo" is
its default.yaml, "InspIRCd" its inspircd.example.conf.

The module is sans-IO and knows nothing of how settings are read; what the keys in ``extra`` mean
is in :mod:`myproject.structures`.
"""

from __future__ import annotations

from myproject_chat.configuration.edge import Sts, WebSocket
from myproject_chat.configuration.fields import Fingerprint, Network
from myproject_chat.configuration.limits import Fakelag, Limits, Throttle
from myproject_chat.configuration.services import Accounts, Channels, HashCost, History
from myproject_chat.configuration.trust import Cloak, Operator, Privilege, Webirc

__all__ = [
    "Accounts",
    "Channels",
    "Cloak",
    "Fakelag",
    "Fingerprint",
    "HashCost",
    "History",
    "Limits",
    "Network",
    "Operator",
    "Privilege",
    "Sts",
    "Throttle",
    "WebSocket",
    "Webirc",
]
