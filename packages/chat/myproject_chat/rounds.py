"""
A round: what is said in one channel in one turn of the reactor, handed to its members together.

What a message costs for each of its receivers is what a server's speed is made of. So while people talk in a
channel nothing is done for any of its members: the messages are kept here, and at the end of the turn each
member is given all of them in one piece, which is put together once for all who have the same
capabilities. Eight things said in a channel of a thousand cost a thousand steps, not eight thousand.

The order in which a client is told of things is that in which they happened, as if each had been queued
at once:

- whoever is to be told anything else, catches up first (`Round.catch_up`), and so does who speaks, as a
  speaker is told of all but its own words;
- a round ends, and its members are given what is in it, before anybody comes or goes, before a client's
  capabilities change, and before something is said in another channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from myproject_chat.delivery import MATTERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from myproject_chat.channel import Channel
    from myproject_chat.delivery import Outgoing
    from myproject_chat.state import Receiver, User

__all__ = ["Round"]


class Client(Protocol):
    """What of a client is needed to tell it something."""

    capabilities: int

    def queue_aside(self, line: bytes) -> None:
        """Append lines to what it will be sent, and to no answer."""


class Round:
    """
    What has been said in a channel in this turn.

    :param channel: the channel.

    :ivar channel: the channel.
    """

    __slots__ = ("_lines", "_messages", "_pieces", "_told", "channel")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        # Each with the bits of the capabilities that a client must have all of.
        self._messages: list[tuple[Outgoing, int]] = []
        # How many of them a client has been told, or is not to be told; nobody else has been told any.
        self._told: dict[Client, int] = {}
        # By capabilities, what each message is for them; by the number of the first one as well, these in
        # one piece.
        self._lines: dict[int, list[bytes]] = {}
        self._pieces: dict[tuple[int, int], bytes] = {}

    def add(self, message: Outgoing, speaker: User, needs: int) -> None:
        """
        Note a message, which its speaker is not told.

        :param message: the message.
        :param speaker: who says it; no member, maybe.
        :param needs: the bits of the capabilities that a client must have all of.
        """
        for client in speaker.receivers:
            self.catch_up(client, speaker)
        self._messages.append((message, needs))
        self._pieces.clear()
        if speaker in self.channel.members:
            for client in speaker.receivers:
                self._told[client] = len(self._messages)

    def catch_up(self, client: Client, user: User | None) -> None:
        """
        Queue what a client is to be told, if it is a member's.

        :param client: the client.
        :param user: whose it is, if anybody's.
        """
        told = self._told.get(client, 0)
        if told == len(self._messages) or user is None or user not in self.channel.members:
            return
        self._told[client] = len(self._messages)
        piece = self._piece(told, client.capabilities & MATTERS)
        if piece:
            # It is no part of an answer that may be collected for this client.
            client.queue_aside(piece)

    def hand_out(self, send_to_all: Callable[[list[object], bytes], object] | None) -> None:
        """
        Give each member what it has not been told; nothing may be added after this.

        :param send_to_all: sends the same to all those ways at once (`Receiver.way`), as the turn ends, and
            nothing else can come for who has nothing waiting; None if it does not end.
        """
        told = self._told
        # By capabilities: those who have been told nothing, nearly all.
        fresh: dict[int, list[Receiver]] = {}
        for user in self.channel.members:
            for client in user.receivers:
                capabilities = client.capabilities & MATTERS
                if client in told:
                    piece = self._piece(told[client], capabilities)
                    _hand([client], piece, send_to_all)
                elif capabilities in fresh:
                    fresh[capabilities].append(client)
                else:
                    fresh[capabilities] = [client]
        for capabilities, clients in fresh.items():
            _hand(clients, self._piece(0, capabilities), send_to_all)

    def _piece(self, first: int, capabilities: int) -> bytes:
        """Put together what was said from a message on."""
        key = first, capabilities
        piece = self._pieces.get(key)
        if piece is None:
            lines = self._lines.setdefault(capabilities, [])
            for message, needs in self._messages[len(lines) :]:
                known = capabilities & needs == needs
                lines.append(message.line_for(capabilities) if known else b"")
            piece = self._pieces[key] = b"".join(lines[first:])
        return piece


def _hand(
    clients: list[Receiver],
    piece: bytes,
    send_to_all: Callable[[list[object], bytes], object] | None,
) -> None:
    if not piece:
        return
    if send_to_all is None:
        for client in clients:
            client.queue_aside(piece)
        return
    size = len(piece)
    ways = []
    for client in clients:
        way = client.way(size)
        if way is None:
            client.give(piece)
        else:
            ways.append(way)
    # Whom the first of these wakes sleeps again unless the others follow at once.
    send_to_all(ways, piece)
