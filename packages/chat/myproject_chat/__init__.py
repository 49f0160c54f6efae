"""
An IRC server: ``twistd myproject-chat``.

From the bytes to the state everything is sans-IO: ``wire`` and ``lines`` take lines apart and put
them together, ``session`` is one client's conversation, ``commands`` does what lines ask for,
``state`` knows who is where, ``delivery`` brings one message to many, and ``server`` holds what all
sessions share. Only ``protocol`` is Twisted's, and ``tap`` makes it a subcommand. To embed a server,
make a :class:`ChatFactory` from :class:`Settings` and listen with it.
"""

from __future__ import annotations

from myproject_chat.protocol import ChatFactory, ChatProtocol
from myproject_chat.settings import Settings

__all__ = ["ChatFactory", "ChatProtocol", "Settings"]
