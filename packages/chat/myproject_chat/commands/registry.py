"""How a function becomes a command, and the table of those that did."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from inspect import getdoc
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from myproject_chat.wire import Message

if TYPE_CHECKING:
    from myproject_chat.session import Awaited, Session
    from myproject_chat.state import User

__all__ = ["Command", "Outcome", "Route", "Table"]

#: What a command's function gives back: nothing, or, for an ``async def``, what is left to run.
Outcome: TypeAlias = "Coroutine[Awaited, None, None] | None"

#: Says several things, one after the other, to whom it was found for.
Route: TypeAlias = "Callable[[Sequence[bytes]], None]"


class Command(NamedTuple):
    """
    One row of the table.

    :ivar params: the fewest parameters; with fewer the client gets 461.
    :ivar registered: whether it needs registration; without, the client gets 451.
    :ivar run: does it.
    :ivar help: what it does, for HELP.
    :ivar route: given a session, its user, the command and a target, finds the way by which plain words go
        there; None if there is anything to be asked, refused or answered. It changes nothing.
    """

    params: int
    registered: bool
    # Any, for a Session: who calls it is what that is made of, and a cast would cost as much as a call.
    run: Callable[[Any, Message], Outcome]
    help: str = ""
    route: Callable[[Any, Any, bytes, bytes], Route | None] | None = None


class Table(dict[bytes, Command]):
    """
    The commands of one family, by their names in capitals.

    A family's module makes one and fills it with the decorators below; the function's docstring is
    what HELP says of the command. A function may be an
    ``async def`` that awaits Deferreds: the session's other lines wait until it is done.
    """

    def always(
        self, name: bytes, params: int = 0
    ) -> Callable[[Callable[[Session, Message], Outcome]], Callable[[Session, Message], Outcome]]:
        """
        Register a function of a session as a command that may be used at any time.

        :param name: the command in capitals.
        :param params: the fewest parameters.
        """

        def register(
            run: Callable[[Session, Message], Outcome],
        ) -> Callable[[Session, Message], Outcome]:
            self[name] = Command(params, False, run, getdoc(run) or "")
            return run

        return register

    def registered(
        self, name: bytes, params: int = 0
    ) -> Callable[
        [Callable[[Session, User, Message], Outcome]], Callable[[Session, User, Message], Outcome]
    ]:
        """
        Register a function of a session and its user as a command that needs registration.

        :param name: the command in capitals.
        :param params: the fewest parameters.
        """

        def register(
            function: Callable[[Session, User, Message], Outcome],
        ) -> Callable[[Session, User, Message], Outcome]:
            def run(session: Session, message: Message) -> Outcome:
                # The session has answered 451 to those who have none.
                return function(session, cast("User", session.user), message)

            self[name] = Command(params, True, run, getdoc(function) or "")
            return function

        return register

    def routed(
        self, *names: bytes
    ) -> Callable[
        [Callable[[Session, User, bytes, bytes], Route | None]],
        Callable[[Session, User, bytes, bytes], Route | None],
    ]:
        """
        Register a function that finds the way for plain words, see `Command.route`.

        :param names: the commands, which have been registered.
        """

        def register(
            function: Callable[[Session, User, bytes, bytes], Route | None],
        ) -> Callable[[Session, User, bytes, bytes], Route | None]:
            for name in names:
                self[name] = self[name]._replace(route=function)
            return function

        return register
