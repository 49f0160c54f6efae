"""
What a session stands between: the link below it, and above it what its commands wait for and collect.

The session knows no more of the reactor than this; the names are Twisted's where Twisted's objects fit.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["GONE", "Awaited", "Batch", "Failure", "Link", "State"]


class State(Enum):
    """Where a session is in its life."""

    UNREGISTERED = "unregistered"
    REGISTERED = "registered"
    CLOSED = "closed"


class Link(Protocol):
    """What carries a session's bytes."""

    def sender(self) -> Callable[[bytes], object]:
        """Give what sends lines, each with its CR LF: called at the end of a turn, once; never blocks."""

    def reached(self) -> tuple[str, int] | None:
        """Give the address and port the peer connected to, for telling people; None if unknown."""

    def way(self) -> object | None:
        """Give what the server's ``send_to_all`` takes, if `sender` has nothing to add to lines."""

    def close(self, last: bytes) -> None:
        """Send the last lines, if there are any, and close once everything has been sent; called once."""

    def abort(self) -> None:
        """Close now."""

    def pause(self) -> None:
        """Read no more until `resume`."""

    def resume(self) -> None:
        """Read again."""


class _Gone:
    """A link that is no more."""

    def sender(self) -> Callable[[bytes], object]:
        """Give what sends nothing."""
        return self._send

    def _send(self, lines: bytes) -> None: ...

    def way(self) -> None:
        """Give none."""

    def reached(self) -> None:
        """Say nothing."""

    def close(self, last: bytes) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""

    def pause(self) -> None:
        """Do nothing."""

    def resume(self) -> None:
        """Do nothing."""


#: What a session has in place of a link that is lost: it and its link would hold each other, and all that was
#: theirs would stay until the garbage collector comes. That took 5 % of what connecting and leaving costs.
GONE: Final = _Gone()


class Awaited(Protocol):
    """What a command awaits: a Deferred, of which nothing but this is used here."""

    def addCallbacks(
        self, callback: Callable[[Any], object], errback: Callable[[Any], object]
    ) -> object:
        """Call one of the two back, with the result or with a `Failure`."""

    def cancel(self) -> None:
        """Nobody wants to know any more: let it fail, unless it is there."""


class Failure(Protocol):
    """Why there is no result."""

    def throwExceptionIntoGenerator(self, g: Any) -> Any:
        """Raise the exception where a coroutine waits, and go on with that."""


class Batch(Protocol):
    """What a client has opened by BATCH; see commands/multiline.py."""

    def concerns(self, message: Message) -> bool:
        """Say whether a message is part of it, its end, or meant to be."""

    def take(self, session: Session, message: Message) -> None:
        """Take a line."""

    def end(self, session: Session, user: User) -> None:
        """Send what has been collected."""
