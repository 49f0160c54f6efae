"""
Metadata as it changes: told to those who subscribe, and kept where its subject is.

A guest's goes with the guest. An account's is the account's own: there is one dict of it, which every user
that is logged in to it shows, and which is written down; what somebody has set as a guest goes along when
it logs in. A registered channel's is written down, too. What is written goes with its account or channel.

Source: https://ircv3.net/specs/extensions/metadata (Notifications).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from myproject_chat.capability import EXTENDED_MONITOR
from myproject_chat.capability import METADATA as CAPABILITY
from myproject_chat.channel import Channel
from myproject_chat.metadata import check_room, limits_of
from myproject_chat.names import fold
from myproject_chat.numerics import RPL_KEYNOTSET, RPL_KEYVALUE
from myproject_chat.store.records import Metadata

if TYPE_CHECKING:
    from myproject_chat.server import Server
    from myproject_chat.state import Receiver, User

__all__ = ["MetadataChanges", "receivers_of", "send_value"]

# Keys that everybody may see: there are no others.
_VISIBLE: Final = b"*"


def send_value(
    receiver: Receiver, name: bytes, key: bytes, value: bytes | None, batch: bytes | None = None
) -> None:
    """
    Tell a client what a user or channel says under a key.

    :param receiver: the client.
    :param name: the user or channel.
    :param key: the key.
    :param value: the value; None for none.
    :param batch: the name of the batch that it is part of, or None.
    """
    if value is None:
        receiver.reply(RPL_KEYNOTSET, name, key, batch=batch)
    else:
        receiver.reply(RPL_KEYVALUE, name, key, _VISIBLE, text=value, batch=batch)


def receivers_of(users: Iterable[User]) -> Iterator[Receiver]:
    """Give the clients of users that subscribe to anything."""
    for user in users:
        for receiver in user.receivers:
            if receiver.subscriptions and receiver.capabilities & CAPABILITY:
                yield receiver


class MetadataChanges:
    """
    What is said of the users and channels of one server, where it is set, moved and forgotten.

    :param server: the server.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._accounts: dict[bytes, dict[bytes, bytes]] = {}

    def restore(self, loaded: Iterable[Metadata]) -> None:
        """
        Take what was written before; the accounts and channels have been taken up already.

        :param loaded: what was written.
        """
        for one in loaded:
            channel = self._server.network.channel(one.subject)
            if channel is not None:
                channel.metadata[one.key] = one.value
            elif self._server.accounts.get(one.subject) is not None:
                self.of(one.subject)[one.key] = one.value

    def of(self, account: bytes) -> dict[bytes, bytes]:
        """Give an account's metadata: the dict itself."""
        return self._accounts.setdefault(fold(account), {})

    def forget(self, account: bytes) -> None:
        """Forget what was said of an account that is no more; its users are logged out next."""
        self._accounts.pop(fold(account), None)

    def change(
        self, subject: User | Channel, key: bytes, value: bytes | None, but: Receiver | None = None
    ) -> int:
        """
        Set or unset a key, write it down if its subject is kept, and tell those who subscribe to it.

        :param subject: the user or channel.
        :param key: the key.
        :param value: the value; None to unset it.
        :param but: a client that is told otherwise.
        :return: the ticket of the write; 0 if there was none.
        """
        if value is None:
            subject.metadata.pop(key, None)
        else:
            subject.metadata[key] = value
        if isinstance(subject, Channel):
            kept = fold(subject.name) if subject.kept else None
        else:
            kept = None if subject.account is None else fold(subject.account)
        self._tell(subject, key, value, but)
        return 0 if kept is None else self._write(kept, key, value)

    def _write(self, kept: bytes, key: bytes, value: bytes | None) -> int:
        store = self._server.accounts.store
        if value is None:
            return store.delete_metadata(kept, key)
        return store.put_metadata(Metadata(kept, key, value))

    def _tell(
        self, subject: User | Channel, key: bytes, value: bytes | None, but: Receiver | None
    ) -> None:
        if isinstance(subject, Channel):
            name, receivers = subject.name, receivers_of(subject.members)
        else:
            name, receivers = subject.nick, self._audience(subject)
        for receiver in receivers:
            if key in receiver.subscriptions and receiver is not but:
                send_value(receiver, name, key, value)

    def _audience(self, user: User) -> Iterator[Receiver]:
        """Give the clients that hear of a user: its own, those near, those that watch it; each once."""
        near = {user: None, **dict.fromkeys(self._server.network.peers(user))}
        yield from receivers_of(near)
        far = CAPABILITY | EXTENDED_MONITOR
        for watcher in self._server.watchers.of(user.nick):
            if watcher.capabilities & far == far and watcher.user not in near:
                yield watcher

    def adopt(self, user: User, former: bytes | None = None) -> None:
        """
        Let a user show its account's metadata, or a guest's, which is none; tells nobody.

        :param user: the user, who is logged in or out already.
        :param former: the account that it was logged in to before. Who was a guest takes along what it
            has set, as far as there is room: it is the same person's last word.
        """
        before, account = user.metadata, user.account
        if account is not None:
            user.metadata = self.of(account)
            if former is None:
                for key, value in self._fitting(user, before):
                    user.metadata[key] = value
                    self._write(fold(account), key, value)
        elif former is not None:
            user.metadata = {}

    def _fitting(self, user: User, wished: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Give what is new of what somebody has set before, as long as there is room."""
        limits = limits_of(self._server.settings)
        for key, value in wished.items():
            held = user.metadata
            if held.get(key) != value and check_room(b"*", key, held, limits) is None:
                yield key, value

    def add(self, user: User, wished: Mapping[bytes, bytes]) -> None:
        """Set what a further client of a user has wished for before it had registered."""
        for key, value in self._fitting(user, wished):
            self.change(user, key, value)

    def swap(self, user: User, former: bytes | None) -> None:
        """As `adopt`, and tell those who subscribe to what is different now."""
        before = dict(user.metadata)
        self.adopt(user, former)
        after = user.metadata
        for key in dict.fromkeys([*before, *after]):
            if before.get(key) != after.get(key):
                self._tell(user, key, after.get(key), None)

    def keep(self, channel: Channel) -> None:
        """Write down all that is said of a channel: it is kept from now on, or has another name."""
        for key, value in channel.metadata.items():
            self._write(fold(channel.name), key, value)
