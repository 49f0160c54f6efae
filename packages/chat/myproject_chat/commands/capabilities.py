"""
Capability negotiation: CAP LS LIST REQ END.

Source: https://ircv3.net/specs/extensions/capability-negotiation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject_chat.capability import CAPABILITIES
from myproject_chat.commands.registration import finish
from myproject_chat.commands.registry import Table
from myproject_chat.delivery import pack
from myproject_chat.numerics import ERR_INVALIDCAPCMD
from myproject_chat.session import State

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.wire import Message

__all__ = ["CAPABILITY"]

CAPABILITY = Table()

# What a line can take behind ":server CAP nick LS * :", whatever the names.
_ROOM = 350


@CAPABILITY.always(b"CAP", params=1)
def cap(session: Session, message: Message) -> None:
    """Negotiate capabilities."""
    subcommand = message.params[0].upper()
    argument = message.params[1] if len(message.params) > 1 else b""
    if subcommand in (b"LS", b"REQ") and session.state is State.UNREGISTERED:
        session.negotiating = True
    if subcommand == b"LS":
        # Version 302 and above may be given a list on several lines.
        several = argument.isdigit() and len(argument) < 10 and int(argument) >= 302
        _list(session, b"LS", list(CAPABILITIES), several=several)
    elif subcommand == b"LIST":
        active = [name for name, bit in CAPABILITIES.items() if session.capabilities & bit]
        _list(session, b"LIST", active, several=True)
    elif subcommand == b"REQ":
        _request(session, argument)
    elif subcommand == b"END":
        session.negotiating = False
        finish(session)
    else:
        session.reply(ERR_INVALIDCAPCMD, message.params[0])


def _list(session: Session, subcommand: bytes, names: list[bytes], *, several: bool) -> None:
    target = session.nick or b"*"
    *more, last = (pack(names, _ROOM) if several else [b" ".join(names)]) or [b""]
    for line in more:
        session.say(b"CAP", target, subcommand, b"*", text=line)
    session.say(b"CAP", target, subcommand, text=last)


def _request(session: Session, argument: bytes) -> None:
    """Change all that is asked for, or nothing of it."""
    capabilities = session.capabilities
    verdict = b"ACK"
    for word in argument.split():
        bit = CAPABILITIES.get(word.removeprefix(b"-"))
        if bit is None:
            verdict = b"NAK"
            break
        capabilities = capabilities & ~bit if word.startswith(b"-") else capabilities | bit
    else:
        session.capabilities = capabilities
    session.say(b"CAP", session.nick or b"*", verdict, text=argument)
