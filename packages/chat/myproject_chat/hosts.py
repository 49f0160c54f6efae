"""
What others see of where a user is, and changing that.

By default it is a cloak (cloak.py), from the first moment on. There is no user mode for it: nobody shows
where they live by a slip, or between connecting and setting a mode. InspIRCd has user mode x, which most
networks set for everybody; Ergo does as is done here.

Who negotiated chghost is told with one line. Everybody else would go on showing, and banning, a host that
is no more; the page leaves it to servers to show these a user who goes and comes again: QUIT, and for each
channel JOIN, with MODE for the ranks. It is done here, as InspIRCd does: masks that are typed from a
client's memory then fit. The user's own clients are spared this: some would believe that they had left; 396
tells them.

Sources: https://ircv3.net/specs/extensions/chghost, https://modern.ircdocs.horse/#rplvisiblehost-396.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

from myproject_chat.capability import AWAY_NOTIFY, CHGHOST, EXTENDED_JOIN
from myproject_chat.cloak import MIN_KEY, Cloak
from myproject_chat.delivery import broadcast
from myproject_chat.modes import PREFIXES
from myproject_chat.monitor import notify
from myproject_chat.names import host_name
from myproject_chat.numerics import RPL_VISIBLEHOST

if TYPE_CHECKING:
    from myproject_chat import configuration
    from myproject_chat.channel import Channel
    from myproject_chat.delivery import Outgoing
    from myproject_chat.server import Server
    from myproject_chat.session import Session
    from myproject_chat.state import User

__all__ = ["Hosts", "SecretKeeper", "change_host"]

_REASON = b"Changing host"
# The name of the key in the store.
_KEY: Final = "cloak"


class SecretKeeper(Protocol):
    """What writes secrets down."""

    def put_secret(self, name: str, value: bytes, /) -> int:
        """Write one, by its name."""


class Hosts:
    """
    Which host others see of whom.

    :param choices: what the operator chose.
    """

    __slots__ = ("_choices", "_cloak")

    def __init__(self, choices: configuration.Cloak) -> None:
        self._choices = choices
        self._cloak: Cloak | None = None
        if choices.enabled:
            key = (choices.secret or secrets.token_hex(MIN_KEY)).encode()
            self._cloak = Cloak(key, choices.suffix.encode("ascii"))

    def open(self, store: SecretKeeper, known: Mapping[str, bytes]) -> None:
        """
        Take the key of the runs before, or make one for those to come.

        :param store: what writes it down.
        :param known: the secrets that it has.
        """
        if self._cloak is None or self._choices.secret is not None:
            return
        key = known.get(_KEY)
        if key is None:
            key = secrets.token_bytes(MIN_KEY)
            store.put_secret(_KEY, key)
        self._cloak = Cloak(key, self._choices.suffix.encode("ascii"))

    def of_address(self, address: str) -> bytes:
        """
        Give the host of who is known by an address alone.

        :param address: the address, as text.
        """
        return host_name(address) if self._cloak is None else self._cloak.host(address)

    def of_session(self, session: Session) -> bytes:
        """Give the host of a client that is about to register."""
        return self._of_account(session.account) or session.host

    def of_user(self, user: User) -> bytes:
        """Give the host that a user should have; one without a client keeps the one it has."""
        first = next(iter(user.receivers), None)
        return self._of_account(user.account) or (user.host if first is None else first.host)

    def _of_account(self, account: bytes | None) -> bytes | None:
        if self._cloak is None or account is None or not self._choices.accounts:
            return None
        return self._cloak.account_host(account)


def change_host(server: Server, user: User, host: bytes) -> None:
    """
    Give a user another host, and tell all whom it concerns.

    :param server: the server.
    :param user: the user, who is in the network.
    :param host: the new host, one that can stand in ``nick!user@host``; the same one changes nothing.
    """
    if host == user.host:
        return
    change = server.message(user, b"CHGHOST", (user.user_name, host))
    notify(server, user, change, CHGHOST, otherwise=server.message(user, b"QUIT", text=_REASON))
    broadcast((user,), change, needs=CHGHOST)
    user.move(host)
    for receiver in user.receivers:
        receiver.reply(RPL_VISIBLEHOST, host)
    for channel in sorted(user.channels, key=lambda channel: channel.name):
        _come_again(server, user, channel)


def _come_again(server: Server, user: User, channel: Channel) -> None:
    """Let those who saw the user go see how it comes to a channel."""
    plain = server.message(user, b"JOIN", (channel.name,))
    words = (channel.name, user.account or b"*")
    extended = server.message(user, b"JOIN", words, user.real_name)
    modes = _ranks(server, user, channel)
    away = None if user.away is None else server.message(user, b"AWAY", text=user.away)
    for member in channel.audience(user):
        for receiver in member.receivers if member is not user else ():
            capabilities = receiver.capabilities
            if capabilities & CHGHOST:
                continue
            joined = extended if capabilities & EXTENDED_JOIN else plain
            receiver.queue(joined.line_for(capabilities))
            if modes is not None:
                receiver.queue(modes.line_for(capabilities))
            if away is not None and capabilities & AWAY_NOTIFY:
                receiver.queue(away.line_for(capabilities))


def _ranks(server: Server, user: User, channel: Channel) -> Outgoing | None:
    """The MODE that gives a user the ranks that it has, in the server's name."""
    letters = [letter for letter in PREFIXES if letter in channel.members[user]]
    if not letters:
        return None
    words = (channel.name, b"+" + b"".join(letters), *(user.nick,) * len(letters))
    return server.announcement(b"MODE", words)
