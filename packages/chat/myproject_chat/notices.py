"""
What operators of the server are told of what goes on: notices, each of a kind that has a letter.

An operator with user mode ``s`` hears those kinds whose letters it has chosen, ``MODE nick +s ckx`` for one;
without a choice, what operators do and what goes wrong. The letters are Ergo's where Ergo has that kind, else
those of InspIRCd.

======  =====================================================  ===========
letter  what                                                   by default
======  =====================================================  ===========
``c``   who comes                                              no
``q``   who goes                                               no
``f``   who sends or lets pile up too much                     yes
``k``   kills                                                  yes
``o``   what operators do, and who becomes one or tries to     yes
``x``   bans: set, unset, and whom they hit                    yes
======  =====================================================  ===========

Those that name addresses (``c``, ``q``, ``f``, ``x``) reach operators who may see these: with the privilege
``ban`` or ``see-all``. What operators do to others is in the server's log as well, whoever listens.

Sources: RFC 1459 section 4.2.3.2 (user mode ``s``), https://modern.ircdocs.horse/#rplsnomask-008,
https://docs.inspircd.org/4/snomasks, Ergo's HELP SNOMASKS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from myproject_chat.delivery import broadcast
from myproject_chat.operators import sees_addresses

if TYPE_CHECKING:
    from myproject_chat.server import Server

__all__ = [
    "BANS",
    "BY_DEFAULT",
    "COMING",
    "FLOODS",
    "GOING",
    "KILLS",
    "KINDS",
    "OPERATORS",
    "tell_operators",
]

COMING: Final = b"c"
GOING: Final = b"q"
FLOODS: Final = b"f"
KILLS: Final = b"k"
OPERATORS: Final = b"o"
BANS: Final = b"x"

#: All letters, and those that count where none was chosen.
KINDS: Final = b"cfkoqx"
BY_DEFAULT: Final = b"fkox"

_LOGGED: Final = frozenset({KILLS, OPERATORS, BANS})
_WITH_ADDRESSES: Final = frozenset({COMING, GOING, FLOODS, BANS})


def tell_operators(server: Server, kind: bytes, text: bytes) -> None:
    """
    Tell the operators who want to know.

    :param server: the server.
    :param kind: the letter of what happened.
    :param text: what happened, UTF-8.
    """
    if kind in _LOGGED:
        server.on_noted(text)
    those = [user for user in server.network.listeners if kind in user.notices]
    if kind in _WITH_ADDRESSES:
        those = [user for user in those if sees_addresses(server, user)]
    if those:
        broadcast(those, server.announcement(b"NOTICE", (b"*",), text))
