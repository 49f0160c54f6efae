"""
Capability negotiation: CAP LS LIST REQ END.

Source: https://ircv3.net/specs/extensions/capability-negotiation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject_chat.capability import CAP_NOTIFY, CAPABILITIES, METADATA, sts_value, written
from myproject_chat.commands.metadata import send_own
from myproject_chat.commands.registration import finish
from myproject_chat.commands.registry import Table
from myproject_chat.delivery import pack
from myproject_chat.numerics import ERR_INVALIDCAPCMD
from myproject_chat.sasl import mechanisms
from myproject_chat.session import State

if TYPE_CHECKING:
    from myproject_chat.commands.registry import Outcome
    from myproject_chat.session import Session
    from myproject_chat.wire import Message

__all__ = ["CAPABILITY"]

CAPABILITY = Table()

# The version of capability negotiation that brought values, lists on several lines and cap-notify.
_WITH_VALUES = 302
# What a line can take behind ":server CAP nick LS * :", whatever the names.
_ROOM = 350


@CAPABILITY.always(b"CAP", params=1)
def cap(session: Session, message: Message) -> Outcome:
    """Negotiate capabilities."""
    subcommand = message.params[0].upper()
    argument = message.params[1] if len(message.params) > 1 else b""
    if subcommand in (b"LS", b"REQ") and session.state is State.UNREGISTERED:
        session.negotiating = True
    if subcommand == b"LS":
        _offer(session, argument)
    elif subcommand == b"LIST":
        active = [name for name, bit in CAPABILITIES.items() if session.capabilities & bit]
        _list(session, b"LIST", active, several=True)
    elif subcommand == b"REQ":
        _request(session, argument)
    elif subcommand == b"END":
        session.negotiating = False
        return finish(session)
    else:
        session.reply(ERR_INVALIDCAPCMD, message.params[0])
    return None


def _offer(session: Session, version: bytes) -> None:
    offered = session.server.offered
    if version.isdigit() and len(version) < 10 and int(version) >= _WITH_VALUES:
        # "Version 302 enables cap-notify implicitly", and it cannot be turned off then.
        session.cap_version = max(session.cap_version, int(version))
        session.capabilities |= CAP_NOTIFY
    if session.cap_version >= _WITH_VALUES:
        values = dict(offered)
        if session.fingerprint is not None:
            # Who has shown a certificate can log in with it.
            values[b"sasl"] = b",".join(mechanisms(certificate=True))
        sts = sts_value(session.server.settings, secure=session.secure)
        if sts is not None:
            values[b"sts"] = sts
        _list(session, b"LS", [written(*one) for one in values.items()], several=True)
    else:
        _list(session, b"LS", list(offered), several=False)


def _list(session: Session, subcommand: bytes, names: list[bytes], *, several: bool) -> None:
    target = session.target
    *more, last = (pack(names, _ROOM) if several else [b" ".join(names)]) or [b""]
    for line in more:
        session.say(b"CAP", target, subcommand, b"*", text=line)
    session.say(b"CAP", target, subcommand, text=last)


def _request(session: Session, argument: bytes) -> None:
    """Change all that is asked for, or nothing of it."""
    capabilities = session.capabilities
    for word in argument.split():
        name = word.removeprefix(b"-")
        bit = CAPABILITIES.get(name)
        if bit is None or (name is word and name not in session.server.offered):
            break
        capabilities = capabilities & ~bit if word.startswith(b"-") else capabilities | bit
    else:
        session.server.settle()
        before, session.capabilities = session.capabilities, capabilities
        if session.cap_version >= _WITH_VALUES:
            session.capabilities |= CAP_NOTIFY
        session.say(b"CAP", session.target, b"ACK", text=argument)
        if session.user is not None and capabilities & ~before & METADATA:
            send_own(session, session.user)
        return
    session.say(b"CAP", session.target, b"NAK", text=argument)
