"""
The commands, a module for each family of them.

To add one, write a function in its family's module and put the decorator of that module's `Table`
over it; a new family's table is added to the list below.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from myproject_chat.commands.accounts import ACCOUNTS
from myproject_chat.commands.authentication import AUTHENTICATION
from myproject_chat.commands.bans import NETWORK_BANS
from myproject_chat.commands.capabilities import CAPABILITY
from myproject_chat.commands.channels import CHANNELS
from myproject_chat.commands.gateways import GATEWAYS
from myproject_chat.commands.history import HISTORY
from myproject_chat.commands.information import INFORMATION
from myproject_chat.commands.listing import LISTING
from myproject_chat.commands.messages import MESSAGES
from myproject_chat.commands.metadata import METADATA
from myproject_chat.commands.moderation import MODERATION
from myproject_chat.commands.modes import MODES
from myproject_chat.commands.monitor import MONITOR
from myproject_chat.commands.multiline import BATCHES
from myproject_chat.commands.network_operators import NETWORK_OPERATORS
from myproject_chat.commands.readmarkers import READ_MARKERS
from myproject_chat.commands.registration import REGISTRATION
from myproject_chat.commands.registry import Command
from myproject_chat.commands.renaming import RENAMING
from myproject_chat.commands.statistics import STATISTICS
from myproject_chat.commands.users import USERS
from myproject_chat.commands.who import WHO
from myproject_chat.commands.whois import WHOIS

__all__ = ["COMMANDS", "Command"]

COMMANDS: Mapping[bytes, Command] = MappingProxyType(
    {
        name: command
        for family in (
            ACCOUNTS,
            AUTHENTICATION,
            BATCHES,
            CAPABILITY,
            CHANNELS,
            GATEWAYS,
            HISTORY,
            INFORMATION,
            LISTING,
            MESSAGES,
            METADATA,
            MODERATION,
            MODES,
            MONITOR,
            NETWORK_BANS,
            NETWORK_OPERATORS,
            READ_MARKERS,
            REGISTRATION,
            RENAMING,
            STATISTICS,
            USERS,
            WHO,
            WHOIS,
        )
        for name, command in family.items()
    }
)
