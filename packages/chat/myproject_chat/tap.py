"""``twistd myproject-chat``: its settings, and the factory that they make."""

from __future__ import annotations

import myproject
from myproject_chat.options import Options
from myproject_chat.protocol import ChatFactory
from myproject_chat.settings import Settings

__all__ = ["Options", "makeFactory", "program"]


def makeFactory(options: Options) -> ChatFactory:
    """
    Make the factory. It opens nothing and looks up no reactor.

    :param options: validated settings.
    """
    return ChatFactory(Settings.of(options, program))


def program() -> bytes:
    """Name this program, with its version: once somebody asks, as that takes milliseconds to find out."""
    return f"myproject-{myproject.__version__}".encode("ascii")
