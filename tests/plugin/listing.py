"""Reading the list of subcommands, as ``twistd --help`` and ``twist --help`` print it."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["SUBCOMMANDS", "TOOLS", "WIDE", "commands"]

#: What a person sees of this project in the help of Twisted's tools.
SUBCOMMANDS: Final = ("myproject", "myproject-chat", "myproject-echo")

#: Twisted's tools that run plugins.
TOOLS: Final = ("twistd", "twist")

#: For the environment: no description is so long that the help breaks it into lines.
WIDE: Final = {"COLUMNS": "1000"}

_COMMAND: Final = re.compile(r"^    (?P<name>\S+)(?: +(?P<description>.*))?$")


def commands(help_text: str) -> dict[str, str]:
    """
    Take the subcommands from a help text, each with its description.

    :param help_text: what the tool printed, :data:`WIDE` in its environment.
    """
    listed = help_text.rpartition("\nCommands:\n")[2].splitlines()
    found = (_COMMAND.match(line) for line in listed)
    return {one["name"]: one["description"] or "" for one in found if one is not None}
