"""How a function becomes a command, and the table of those that did."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, cast

from myproject_chat.wire import Message

if TYPE_CHECKING:
    from myproject_chat.session import Session
    from myproject_chat.state import User

__all__ = ["Command", "Table"]


class Command(NamedTuple):
    """
    One row of the table.

    :ivar params: the fewest parameters; with fewer the client gets 461.
    :ivar registered: whether it needs registration; without, the client gets 451.
    :ivar run: does it.
    """

    params: int
    registered: bool
    run: Callable[[Session, Message], None]


class Table(dict[bytes, Command]):
    """
    The commands of one family, by their names in capitals.

    A family's module makes one and fills it with the decorators below.
    """

    def always(
        self, name: bytes, params: int = 0
    ) -> Callable[[Callable[[Session, Message], None]], Callable[[Session, Message], None]]:
        """
        Register a function of a session as a command that may be used at any time.

        :param name: the command in capitals.
        :param params: the fewest parameters.
        """

        def register(
            run: Callable[[Session, Message], None],
        ) -> Callable[[Session, Message], None]:
            self[name] = Command(params, False, run)
            return run

        return register

    def registered(
        self, name: bytes, params: int = 0
    ) -> Callable[
        [Callable[[Session, User, Message], None]], Callable[[Session, User, Message], None]
    ]:
        """
        Register a function of a session and its user as a command that needs registration.

        :param name: the command in capitals.
        :param params: the fewest parameters.
        """

        def register(
            function: Callable[[Session, User, Message], None],
        ) -> Callable[[Session, User, Message], None]:
            def run(session: Session, message: Message) -> None:
                # The session has answered 451 to those who have none.
                function(session, cast("User", session.user), message)

            self[name] = Command(params, True, run)
            return function

        return register
