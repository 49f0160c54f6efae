"""
NickServ and ChanServ, for those who know these: fronts over accounts.py and keeping.py.

They are no users: nobody can have their nicks, and what is said to them reaches nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from myproject_chat.names import fold
from myproject_chat.services.chanserv import CHANSERV
from myproject_chat.services.nickserv import NICKSERV
from myproject_chat.services.service import Service

__all__ = ["CHANSERV", "NICKSERV", "SERVICES", "Service"]

#: The services, by folded nick.
SERVICES: Mapping[bytes, Service] = MappingProxyType(
    {fold(service.nick): service for service in (NICKSERV, CHANSERV)}
)
