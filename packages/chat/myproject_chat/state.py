"""
State: who is there, and who is where.

These are plain facts and the few operations that keep them consistent; nothing here writes a line
or knows about connections. A `User` exists from the moment registration is complete until it has
quit, so there is no such thing as half a user; its ways out to its clients are its `Receiver`s.

Rules that hold between any two calls: a nick belongs to one user, a channel exists while somebody
is in it, ``user in channel.members`` if and only if ``channel in user.channels``, and an
invitation is of a user who is there to a channel that exists. A channel that is ``kept`` exists without
members, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from myproject_chat.channel import Channel
from myproject_chat.names import fold
from myproject_chat.numerics import Numeric

__all__ = ["MAX_ACCEPTED", "Network", "Receiver", "User"]

# As many as InspIRCd's callerid allows by default twice over; each is a name in a set.
MAX_ACCEPTED = 64


_NO_CHANNELS: frozenset[Channel] = frozenset()
_NO_MODES: frozenset[bytes] = frozenset()
_NOBODY: frozenset[User] = frozenset()


class Receiver(Protocol):
    """One of a user's clients: where what is said to the user goes."""

    host: bytes
    address: str
    capabilities: int
    subscriptions: frozenset[bytes]
    secure: bool
    fingerprint: bytes | None

    def queue(self, line: bytes) -> None:
        """Append a line, with its CR LF, to what this client will be sent."""

    def queue_aside(self, line: bytes) -> None:
        """As `queue`, for what is no part of an answer."""

    def give(self, lines: bytes) -> None:
        """As `queue_aside`, at the end of a turn; at once, if nothing is in the way."""

    def way(self, size: int) -> object | None:
        """Give by what many are sent the same, at the end of a turn; None if that is for `give`."""

    def hold(self, ticket: int) -> None:
        """Keep what is queued, and what comes behind it, until something has been written."""

    def reply(
        self,
        numeric: Numeric,
        *params: bytes,
        text: bytes | None = None,
        batch: bytes | None = None,
    ) -> None:
        """Answer with a numeric."""

    def close(self, reason: bytes) -> None:
        """Disconnect this client; with its last client a user goes, and others are told why."""


class User:
    """
    Somebody who has registered.

    :ivar nick: the nick, in the case it was asked for.
    :ivar user_name: the user name, with ``~``: nobody vouched for it.
    :ivar real_name: free words.
    :ivar host: what others see of where the user is.
    :ivar address: where the user is.
    :ivar source: ``nick!user@host``, as it stands in front of what the user says.
    :ivar account: the account that the user is logged in to, or None.
    :ivar receivers: the clients that the user has connected, in the order in which they came.
    :ivar channels: where the user is.
    :ivar invited: the channels that have invited the user, the oldest first.
    :ivar modes: the letters of the user modes that are set; `Network.set_mode` changes them.
    :ivar operator: the name under which the user said OPER; it counts while mode ``o`` is set.
    :ivar notices: the letters of the notices that the user hears; they count while mode ``s`` is set.
    :ivar accepted: who may write to the user although mode ``R`` would not have it.
    :ivar away: why the user is away, or None.
    :ivar metadata: what the user says of itself, by key; the account's own dict, if that is kept.
    :ivar since: when registration was complete, in seconds since 1970.
    :ivar spoke: when the user last said something, in seconds since 1970.
    """

    __slots__ = (
        "accepted",
        "account",
        "address",
        "away",
        "channels",
        "host",
        "invited",
        "metadata",
        "modes",
        "nick",
        "notices",
        "operator",
        "real_name",
        "receivers",
        "since",
        "source",
        "spoke",
        "user_name",
    )

    def __init__(
        self,
        nick: bytes,
        user_name: bytes,
        *,
        real_name: bytes,
        host: bytes,
        since: int,
        address: bytes | None = None,
    ) -> None:
        self.receivers: list[Receiver] = []
        self.account: bytes | None = None
        self.user_name = user_name
        self.real_name = real_name
        self.host = host
        self.address = host if address is None else address
        # Sets that are replaced, not changed: most are empty for most users, and one of its own takes 216
        # bytes, empty or not.
        self.channels: frozenset[Channel] = _NO_CHANNELS
        self.invited: dict[Channel, None] = {}
        self.modes: frozenset[bytes] = _NO_MODES
        self.operator = b""
        self.notices = b""
        self.accepted: frozenset[User] = _NOBODY
        self.away: bytes | None = None
        self.metadata: dict[bytes, bytes] = {}
        self.since = self.spoke = since
        self.rename(nick)

    @property
    def sources(self) -> set[bytes]:
        """``nick!user@host`` with each host that a mask may name: what is seen, and what is behind it."""
        hosts = {self.host, self.address, *(client.host for client in self.receivers)}
        return {b"%b!%b@%b" % (self.nick, self.user_name, host) for host in hosts}

    def rename(self, nick: bytes) -> None:
        """
        Take a nick; `Network.rename` is what makes sure that nobody else has it.

        :param nick: the new nick.
        """
        self.nick = nick
        self.source = b"%b!%b@%b" % (nick, self.user_name, self.host)

    def move(self, host: bytes) -> None:
        """
        Show another host; `hosts.change_host` is what tells others.

        :param host: what they see from now on.
        """
        self.host = host
        self.rename(self.nick)

    def accept(self, other: User, network: Network) -> bool:
        """
        Let somebody write to the user, whatever mode ``R`` says.

        :param other: whom.
        :param network: by which it is known who is still there; the others are forgotten.
        :return: whether there was room for one more.
        """
        if other not in self.accepted:
            if len(self.accepted) >= MAX_ACCEPTED:
                there = (one for one in self.accepted if network.user(one.nick) is one)
                self.accepted = frozenset(there)
            if len(self.accepted) >= MAX_ACCEPTED:
                return False
            self.accepted |= {other}
        return True

    @property
    def real_source(self) -> bytes:
        """``nick!user@address``, for those who keep people out."""
        return b"%b!%b@%b" % (self.nick, self.user_name, self.address)

    @property
    def invisible(self) -> bool:
        """Whether the user hides from those who share no channel: user mode ``i``."""
        return b"i" in self.modes

    def shares_channel_with(self, other: User) -> bool:
        """Say whether the two are in a channel together."""
        return not self.channels.isdisjoint(other.channels)


class Network:
    """
    Everybody and every channel.

    :param before_change: called before somebody comes to a channel, or leaves one.

    :ivar users: by folded nick.
    :ivar channels: by folded name.
    :ivar with_mode: how many users have a user mode, by its letter.
    :ivar listeners: those with mode ``s``.
    :ivar most_users: the most users there have been at once.
    :ivar ended: the folded names of channels that have ended since this was last emptied.
    :ivar changed: users who came to a channel or left one, and channels with another topic or mode, since
        this was last emptied: what outlives them is to be written.
    """

    __slots__ = (
        "_before_change",
        "_modes",
        "changed",
        "channels",
        "ended",
        "listeners",
        "most_users",
        "users",
        "with_mode",
    )

    def __init__(self, before_change: Callable[[], None] = lambda: None) -> None:
        self._before_change = before_change
        # Each once, for all users who have them set.
        self._modes: dict[frozenset[bytes], frozenset[bytes]] = {_NO_MODES: _NO_MODES}
        self.users: dict[bytes, User] = {}
        self.channels: dict[bytes, Channel] = {}
        self.with_mode: Counter[bytes] = Counter()
        self.listeners: dict[User, None] = {}
        self.most_users = 0
        self.ended: set[bytes] = set()
        self.changed: set[User | Channel] = set()

    def user(self, nick: bytes) -> User | None:
        """Find a user by nick, whatever its case."""
        return self.users.get(fold(nick))

    def channel(self, name: bytes) -> Channel | None:
        """Find a channel by name, whatever its case."""
        return self.channels.get(fold(name))

    def add(self, user: User) -> None:
        """
        Let a user in.

        :raises ValueError: the nick is somebody's. Callers look first.
        """
        key = fold(user.nick)
        if key in self.users:
            raise ValueError(f"the nick {user.nick!r} is in use")
        self.users[key] = user
        self.most_users = max(self.most_users, len(self.users))

    def users_of(self, account: bytes) -> list[User]:
        """
        Give the users that are logged in to an account, by whatever nick.

        :param account: the account.
        """
        key = fold(account)
        return [
            user
            for user in self.users.values()
            if user.account is not None and fold(user.account) == key
        ]

    def rename(self, user: User, nick: bytes) -> None:
        """
        Give a user another nick.

        :raises ValueError: the nick is somebody else's. Callers look first.
        """
        if self.users.get(fold(nick), user) is not user:
            raise ValueError(f"the nick {nick!r} is in use")
        del self.users[fold(user.nick)]
        user.rename(nick)
        self.users[fold(nick)] = user
        self.changed.add(user)

    def remove(self, user: User) -> None:
        """Take a user out of everything."""
        for channel in list(user.channels):
            self.leave(user, channel)
        for channel in user.invited:
            channel.invited.discard(user)
        user.invited.clear()
        for letter in list(user.modes):
            self.set_mode(user, letter, on=False)
        del self.users[fold(user.nick)]

    def set_mode(self, user: User, letter: bytes, *, on: bool) -> bool:
        """
        Set or unset a user mode.

        :return: whether that changed anything.
        """
        if on is (letter in user.modes):
            return False
        modes = user.modes | {letter} if on else user.modes - {letter}
        # There are as many as there are letters, and their combinations.
        user.modes = self._modes.setdefault(modes, modes)
        self.with_mode[letter] += 1 if on else -1
        if letter == b"s":
            if on:
                self.listeners[user] = None
            else:
                del self.listeners[user]
        return True

    def join(self, user: User, name: bytes, now: int) -> Channel:
        """
        Put a user into a channel, which is made if need be; who makes it is its operator.

        :param user: who.
        :param name: the channel.
        :param now: seconds since 1970.
        :return: the channel.
        """
        self._before_change()
        channel = self.channels.get(fold(name))
        held = b""
        if channel is None:
            channel = self.channels[fold(name)] = Channel(name, now)
            held = b"o"
        channel.members[user] = held
        user.channels |= {channel}
        self.changed.add(user)
        self.forget_invitation(user, channel)
        return channel

    def leave(self, user: User, channel: Channel) -> None:
        """Take a user out of a channel, which ends if that was the last and it is not kept."""
        self._before_change()
        del channel.members[user]
        channel.forget(user)
        user.channels = user.channels - {channel} or _NO_CHANNELS
        self.changed.add(user)
        if not channel.members and not channel.kept:
            self.end(channel)

    def end(self, channel: Channel) -> None:
        """Let a channel that nobody is in be no more."""
        for invited in channel.invited:
            invited.invited.pop(channel, None)
        channel.invited.clear()
        del self.channels[fold(channel.name)]
        self.ended.add(fold(channel.name))

    def rename_channel(self, channel: Channel, name: bytes) -> None:
        """
        Give a channel another name.

        :raises ValueError: the name is another's. Callers look first.
        """
        if self.channels.get(fold(name), channel) is not channel:
            raise ValueError(f"the name {name!r} is in use")
        del self.channels[fold(channel.name)]
        channel.name = name
        self.channels[fold(name)] = channel

    def invite(self, user: User, channel: Channel, most: int) -> None:
        """
        Note that a user may join a channel although it is ``i``.

        :param user: who.
        :param channel: where.
        :param most: how many invitations a user can have; the oldest goes for one more.
        """
        user.invited.pop(channel, None)
        while len(user.invited) >= most:
            self.forget_invitation(user, next(iter(user.invited)))
        channel.invited.add(user)
        user.invited[channel] = None

    def forget_invitation(self, user: User, channel: Channel) -> None:
        """An invitation is good for one entry."""
        channel.invited.discard(user)
        user.invited.pop(channel, None)

    def peers(self, user: User) -> Iterator[User]:
        """
        Give everybody else who sees what a user does, each once.

        The order is that of channels' members, so that the same history gives the same output.
        """
        seen = {user}
        for channel in sorted(user.channels, key=lambda channel: channel.name):
            for member in channel.audience(user):
                if member not in seen:
                    seen.add(member)
                    yield member
