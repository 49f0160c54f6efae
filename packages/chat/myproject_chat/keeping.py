"""
What outlives its users: registered channels, and the users whose accounts stay.

A registered channel is there while nobody is in it, as it was: topic, modes, lists, and the ranks that
accounts have in it. A user whose account is always on stays in its channels while no client is connected,
also over a restart. Both are written down at the end of a turn in which they changed: `Network.changed`
names what did.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from myproject_chat.accounts import ALWAYS_ON, Refused
from myproject_chat.channel import Channel, Topic
from myproject_chat.extbans import read_mask
from myproject_chat.modes import CHANNEL_LISTS, PREFIXES
from myproject_chat.names import fold, is_nick, is_user_name
from myproject_chat.state import User
from myproject_chat.store.records import RegisteredChannel, StoredMask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from myproject_chat.server import Server
    from myproject_chat.store.records import Account

__all__ = ["Kept"]

# Under which names an account's settings hold its user while it is always on.
_NICK: Final = "user-nick"
_USER_NAME: Final = "user-name"
_REAL_NAME: Final = "user-real-name"
_HOST: Final = "user-host"
_CHANNELS: Final = "user-channels"
_WRITTEN: Final = (_NICK, _USER_NAME, _REAL_NAME, _HOST, _CHANNELS)
_RANKS: Final = b"".join(PREFIXES)


class Kept:
    """
    What one server keeps.

    :param server: the server.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._channels: dict[bytes, RegisteredChannel] = {}
        # To whom a channel is offered, by their folded names; forgotten at the end of the process.
        self._offers: dict[bytes, bytes] = {}

    # Registered channels

    def get(self, name: bytes) -> RegisteredChannel | None:
        """Find a registered channel by name, whatever its case."""
        return self._channels.get(fold(name))

    def founded_by(self, account: bytes) -> list[RegisteredChannel]:
        """Give the channels that are an account's."""
        key = fold(account)
        return [one for one in self._channels.values() if fold(one.founder) == key]

    def rank(self, channel: Channel, account: bytes | None) -> bytes:
        """
        Give the rank that an account has in a channel when it joins.

        :param channel: the channel.
        :param account: the account, or None.
        :return: the letter of a rank, or nothing.
        """
        kept = self._channels.get(fold(channel.name)) if channel.kept else None
        if kept is None or account is None:
            return b""
        if fold(kept.founder) == fold(account):
            return b"q"
        return kept.ranks.get(fold(account), b"")

    def register(self, channel: Channel, account: bytes) -> int:
        """
        Keep a channel.

        :param channel: the channel.
        :param account: whose it is.
        :return: the ticket of the write.
        :raises Refused: it is kept already, or that would be one too many.
        """
        settings = self._server.settings.channels
        if not settings.registration:
            raise Refused(b"DISALLOWED", b"Nobody may register channels here")
        if channel.kept:
            raise Refused(b"CHANNEL_EXISTS", b"That channel is registered already")
        self._check_room(account)
        channel.kept = True
        now = int(self._server.wall())
        self._server.metadata.keep(channel)
        return self._put(_described(channel, RegisteredChannel(channel.name, account, now, now)))

    def _put(self, kept: RegisteredChannel) -> int:
        self._channels[fold(kept.name)] = kept
        return self._server.accounts.store.put_channel(kept)

    def offer(self, kept: RegisteredChannel, account: bytes) -> None:
        """
        Offer a channel to another account: nobody is made to answer for what they do not want.

        :param kept: the channel; an offer of before is no more.
        :param account: the account.
        """
        self._offers[fold(kept.name)] = fold(account)

    def withdraw(self, kept: RegisteredChannel) -> bool:
        """Take back the offer of a channel; gives whether there was one."""
        return self._offers.pop(fold(kept.name), None) is not None

    def accept(self, kept: RegisteredChannel, account: bytes) -> int:
        """
        Take a channel that is offered.

        :param kept: the channel.
        :param account: the account that takes it.
        :return: the ticket of the write.
        :raises Refused: it is not offered to that account, or would be one too many.
        """
        if self._offers.get(fold(kept.name)) != fold(account):
            raise Refused(b"NOPRIVS", b"That channel is not offered to you")
        self._check_room(account)
        self.withdraw(kept)
        return self._put(replace(kept, founder=account))

    def _check_room(self, account: bytes) -> None:
        if len(self.founded_by(account)) >= self._server.settings.channels.max_registered:
            raise Refused(b"TOO_MANY", b"You have registered as many channels as you can")

    def set_rank(self, kept: RegisteredChannel, account: bytes, letter: bytes) -> int:
        """
        Say what rank an account is given when it joins.

        :param kept: the channel.
        :param account: the account.
        :param letter: of the rank; nothing for none.
        :return: the ticket of the write.
        """
        ranks = {key: held for key, held in kept.ranks.items() if key != fold(account)}
        if letter:
            ranks[fold(account)] = letter
        return self._put(replace(kept, ranks=ranks))

    def drop(self, kept: RegisteredChannel) -> int:
        """Keep a channel no more; it ends if nobody is in it. Gives the ticket."""
        self.withdraw(kept)
        del self._channels[fold(kept.name)]
        channel = self._server.network.channel(kept.name)
        if channel is not None:
            channel.kept = False
            if not channel.members:
                self._server.network.end(channel)
        return self._server.accounts.store.delete_channel(kept.name)

    def rename(self, before: bytes, channel: Channel) -> None:
        """A channel has another name now; its registration goes with it."""
        kept = self._channels.pop(fold(before), None)
        if kept is not None:
            self.withdraw(kept)
            if fold(before) != fold(channel.name):
                self._server.accounts.store.delete_channel(before)
                self._server.metadata.keep(channel)
            self._put(replace(kept, name=channel.name))

    def forget_account(self, account: bytes) -> None:
        """Forget an account that is no more: what was said of it, offered to it, and its ranks."""
        self._server.metadata.forget(account)
        key = fold(account)
        self._offers = {name: offered for name, offered in self._offers.items() if offered != key}
        for kept in list(self._channels.values()):
            if fold(account) in kept.ranks:
                self.set_rank(kept, account, b"")

    # At the start, and as things change

    def restore(self, channels: Iterable[RegisteredChannel]) -> None:
        """
        Bring back what was there before.

        :param channels: the registered channels; the accounts have been taken up already.
        """
        for kept in channels:
            self._channels[fold(kept.name)] = kept
            self._server.network.channels[fold(kept.name)] = _revived(kept)
        for account in self._server.accounts.all():
            if self._server.accounts.stays(account.name):
                self._bring_back(account)

    def _bring_back(self, account: Account) -> None:
        """Let a user be there whose account stays."""
        said = {key: account.settings.get(key, "").encode() for key in _WRITTEN}
        nick, user_name = said[_NICK], said[_USER_NAME]
        network = self._server.network
        if not is_nick(nick) or not is_user_name(user_name) or network.user(nick) is not None:
            return
        user = User(
            nick,
            user_name,
            real_name=said[_REAL_NAME],
            host=said[_HOST] or b"unknown",
            since=int(self._server.wall()),
        )
        user.account = account.name
        self._server.metadata.adopt(user)
        network.add(user)
        for entry in filter(None, said[_CHANNELS].split(b",")):
            letters, sign, rest = entry.partition(b"#")
            channel = network.join(user, sign + rest, int(self._server.wall()))
            channel.members[user] = bytes(filter(_RANKS.__contains__, letters))
        network.changed.clear()

    def write_changes(self) -> None:
        """Write down what has changed in this turn; called at its end."""
        network = self._server.network
        changed, network.changed = network.changed, set()
        accounts = self._server.accounts
        for one in changed:
            if isinstance(one, Channel):
                kept = self._channels.get(fold(one.name))
                now = None if kept is None else _described(one, kept)
                if now is not None and now != kept:
                    self._put(now)
            elif network.user(one.nick) is one and accounts.stays(one.account):
                self.write_user(one)

    def write_user(self, user: User) -> None:
        """Write down a user whose account stays, if anything of it is new."""
        account = None if user.account is None else self._server.accounts.get(user.account)
        if account is None:
            return
        channels = b",".join(
            channel.members[user] + channel.name
            for channel in sorted(user.channels, key=lambda channel: channel.name)
        )
        words = (user.nick, user.user_name, user.real_name, user.host, channels)
        texts = [word.decode("utf-8", "replace") for word in words]
        settings = {**account.settings, **dict(zip(_WRITTEN, texts, strict=True))}
        if settings != account.settings:
            self._server.accounts.save(replace(account, settings=settings))

    def succeed(self, account: bytes | None) -> None:
        """
        Have another user of an account be the one that comes back: who was is gone, or somebody else's.

        :param account: the account; None for none.
        """
        if self._server.accounts.stays(account) and account is not None:
            network = self._server.network
            network.changed.update(network.users_of(account))

    def set_always_on(self, user: User, account: bytes, *, on: bool) -> int:
        """
        Let a user stay while no client is connected, or not.

        :param user: the user, who is logged in to the account.
        :param account: the account.
        :param on: whether.
        :return: the ticket of the last write.
        """
        self._server.network.changed.add(user)
        return self._server.accounts.choose(account, ALWAYS_ON, "on" if on else "off")


def _described(channel: Channel, kept: RegisteredChannel) -> RegisteredChannel:
    """Describe a channel as it is now."""
    topic = channel.topic
    return replace(
        kept,
        name=channel.name,
        created=channel.created,
        topic=None if topic is None else (topic.text, topic.setter, topic.when),
        flags=b"".join(sorted(channel.flags)),
        key=channel.key,
        limit=channel.limit,
        forward=channel.forward,
        masks=tuple(
            StoredMask(letter, mask.text, mask.setter, mask.when)
            for letter in (CHANNEL_LISTS[i : i + 1] for i in range(len(CHANNEL_LISTS)))
            for mask in channel.mask_list(letter).masks()
        ),
    )


def _revived(kept: RegisteredChannel) -> Channel:
    """Make the channel that was described."""
    channel = Channel(kept.name, kept.created)
    channel.kept = True
    channel.topic = None if kept.topic is None else Topic(*kept.topic)
    channel.flags = {kept.flags[i : i + 1] for i in range(len(kept.flags))}
    channel.key, channel.limit, channel.forward = kept.key, kept.limit, kept.forward
    for stored in kept.masks:
        mask = read_mask(stored.mask, stored.setter, stored.when)
        if mask is not None:
            channel.add_mask(stored.letter, mask)
    return channel
