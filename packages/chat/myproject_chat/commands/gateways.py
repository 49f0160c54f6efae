"""
WEBIRC: a gateway says whose connection it brings, before anything else is said.

From then on the session is the client's: its address counts for bans, throttles, fakelag and the cloak. The
certificate that the gateway has shown is not the client's, and nobody can log in with it.

Source: https://ircv3.net/specs/extensions/webirc.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myproject.limits import address_of, is_among
from myproject_chat.accounts import Refused
from myproject_chat.commands.registry import Table
from myproject_chat.expulsion import turn_out
from myproject_chat.names import HOST_LENGTH, host_name
from myproject_chat.numerics import ERR_ALREADYREGISTERED
from myproject_chat.throttle import TOO_MANY, Busy

if TYPE_CHECKING:
    from myproject_chat.configuration import Webirc
    from myproject_chat.session import Session
    from myproject_chat.wire import Message

__all__ = ["GATEWAYS"]

GATEWAYS = Table()

_HOST = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"


@GATEWAYS.always(b"WEBIRC", params=4)
async def webirc(session: Session, message: Message) -> None:
    """Say, as a gateway, whose connection this is; it has to be the first command."""
    password, name, host, address = message.params[:4]
    if session.user is not None:
        session.reply(ERR_ALREADYREGISTERED)
        return
    if not session.is_new:
        session.close(b"WEBIRC has to be the first command")
        return
    gateway = _named(session, name)
    if gateway is None or not await _is_proven(session, gateway, password):
        # All that can be wrong is answered alike: whoever guesses learns nothing.
        session.close(b"No such gateway, or that is not what it has to show")
        return
    meant = address_of(address.decode("ascii", "replace"))
    if meant is None:
        session.close(b"WEBIRC gave no IP address")
        return
    words = b" ".join(message.params[4:]).split()
    _take_over(session, str(meant), host, secure=b"secure" in words)


def _named(session: Session, name: bytes) -> Webirc | None:
    """Find a gateway of that name that may come from where the session does."""
    for gateway in session.server.settings.gateways:
        networks = [one.network for one in gateway.networks]
        if gateway.name.encode("ascii") == name and is_among(session.address, networks):
            return gateway
    return None


async def _is_proven(session: Session, gateway: Webirc, password: bytes) -> bool:
    shown = (session.fingerprint or b"").decode("ascii")
    if gateway.fingerprint is not None and gateway.fingerprint != shown:
        return False
    if gateway.password_hash is None:
        return True
    server = session.server
    try:
        # No account has a space in its name, so these failures are counted apart from any account's.
        attempt = server.accounts.attempt(
            session.address, b"WEBIRC " + gateway.name.encode("ascii")
        )
    except Refused:
        return False
    try:
        right = await server.passwords.verify(gateway.password_hash, password)
    except Busy:
        server.accounts.logins.withdraw(attempt)
        return False
    except BaseException:
        # The client has gone.
        server.accounts.logins.withdraw(attempt)
        raise
    if right:
        server.accounts.succeed(attempt)
    return right


def _take_over(session: Session, address: str, host: bytes, *, secure: bool) -> None:
    """Let a session be that of a gateway's client."""
    server = session.server
    # What the gateway and we say is as private as the way between us.
    near = address_of(session.address)
    private = session.secure or near is None or near.is_loopback
    session.secure = secure and private
    session.fingerprint = None
    session.address = address
    session.host = server.hosts.of_address(address)
    if session.host == host_name(address) and _is_host(host):
        # Nothing is hidden here, and the gateway has looked up a name.
        session.host = host
    session.set_pace()
    if not server.admits(address):
        session.close(TOO_MANY)
        return
    ban = server.bans.of_address(address)
    if ban is not None:
        turn_out(server, session, ban)


def _is_host(host: bytes) -> bool:
    return b"." in host.strip(b".") and len(host) <= HOST_LENGTH and not host.translate(None, _HOST)
