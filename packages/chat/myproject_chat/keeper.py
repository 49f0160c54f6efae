"""What accounts, registered channels and their metadata are handed to, to be written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from myproject_chat.store.records import Account, Metadata, RegisteredChannel

__all__ = ["Keeper", "Unwritten"]


class Keeper(Protocol):
    """What writes down; each function gives a ticket, see `Server.wrote`."""

    def put_account(self, account: Account, /) -> int:
        """Write an account, new or changed."""

    def delete_account(self, name: bytes, /) -> int:
        """Delete an account."""

    def put_channel(self, channel: RegisteredChannel, /) -> int:
        """Write a channel, new or changed."""

    def delete_channel(self, name: bytes, /) -> int:
        """Delete a channel."""

    def put_metadata(self, metadata: Metadata, /) -> int:
        """Write what is said of an account or a channel."""

    def delete_metadata(self, subject: bytes, key: bytes, /) -> int:
        """Delete what was said."""

    def put_secret(self, name: str, value: bytes, /) -> int:
        """Write what this server alone knows."""


class Unwritten:
    """A store that keeps nothing: for as long as there is no other."""

    def put_account(self, _account: Account, /) -> int:
        """Write nothing."""
        return 0

    def delete_account(self, _name: bytes, /) -> int:
        """Delete nothing."""
        return 0

    def put_channel(self, _channel: RegisteredChannel, /) -> int:
        """Write nothing."""
        return 0

    def delete_channel(self, _name: bytes, /) -> int:
        """Delete nothing."""
        return 0

    def put_metadata(self, _metadata: Metadata, /) -> int:
        """Write nothing."""
        return 0

    def delete_metadata(self, _subject: bytes, _key: bytes, /) -> int:
        """Delete nothing."""
        return 0

    def put_secret(self, _name: str, _value: bytes, /) -> int:
        """Write nothing."""
        return 0
