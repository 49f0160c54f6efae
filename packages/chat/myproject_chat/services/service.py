"""
A service: somebody who is not there, does what is said to it, and answers by NOTICE.

What it understands is a table of functions, each with the fewest words that it takes; a function refuses by
raising `Refused`. Its docstring is what HELP says: first the words, then what they do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import getdoc
from typing import TYPE_CHECKING, NamedTuple

from myproject_chat.accounts import Refused
from myproject_chat.delivery import broadcast
from myproject_chat.wire import clip, serialise

if TYPE_CHECKING:
    from myproject_chat.commands.registry import Outcome
    from myproject_chat.server import Server
    from myproject_chat.session import Session
    from myproject_chat.state import User

__all__ = ["Asked", "Service"]

_MAX_ECHO = 60


class Asked(NamedTuple):
    """
    What somebody asks of a service.

    :ivar session: the client that asks.
    :ivar user: whose it is.
    :ivar words: what follows the command.
    :ivar say: answers a line.
    """

    session: Session
    user: User
    words: list[bytes]
    say: Callable[[bytes], None]

    @property
    def account(self) -> bytes:
        """
        The account of who asks.

        :raises Refused: there is none.
        """
        if self.user.account is None:
            raise Refused(b"ACCOUNT_REQUIRED", b"You are not logged in")
        return self.user.account


_Function = Callable[[Asked], "Awaitable[None] | None"]


class Service:
    """
    One service.

    :param nick: what it is called.
    """

    def __init__(self, nick: bytes) -> None:
        self.nick = nick
        self._commands: dict[bytes, tuple[int, _Function]] = {}

    def command(self, name: bytes, words: int = 0) -> Callable[[_Function], _Function]:
        """
        Register a function as a command.

        :param name: the command in capitals.
        :param words: the fewest words behind it.
        """

        def register(function: _Function) -> _Function:
            self._commands[name] = (words, function)
            return function

        return register

    def hear(self, session: Session, user: User, text: bytes) -> Outcome:
        """
        Do what somebody says.

        :param session: the client that says it.
        :param user: whose it is.
        :param text: the words.
        :return: what is left to run if it has to wait.
        """
        name, *words = text.split() or [b"HELP"]
        asked = Asked(session, user, words, lambda line: self._say(session, line))
        if name.upper() == b"HELP":
            self._help(asked)
            return None
        return self._run(name, asked)

    async def _run(self, name: bytes, asked: Asked) -> None:
        needed, function = self._commands.get(name.upper(), (0, None))
        if function is None:
            shown = clip(name, _MAX_ECHO)
            asked.say(b"%b is no command; say HELP for those there are" % shown)
        elif len(asked.words) < needed:
            asked.say(b"Too few words: " + _usage(function)[0])
        else:
            try:
                waiting = function(asked)
                if waiting is not None:
                    await waiting
            except Refused as refusal:
                asked.say(refusal.text)

    def _help(self, asked: Asked) -> None:
        wanted = asked.words[0].upper() if asked.words else None
        if wanted is not None and wanted not in self._commands:
            asked.say(b"%b is no command; say HELP for those there are" % clip(wanted, _MAX_ECHO))
            return
        for name, (_, function) in self._commands.items():
            if wanted is None or name == wanted:
                words, does = _usage(function)
                asked.say(b"%b - %b" % (words, does))

    def tell(self, server: Server, user: User, line: bytes) -> None:
        """
        Tell all clients of a user something that it has not asked for.

        :param server: the server.
        :param user: whom.
        :param line: what.
        """
        news = server.announcement(b"NOTICE", (user.nick,), line, source=self.source(server))
        broadcast((user,), news)

    def source(self, server: Server) -> bytes:
        """Give the service's ``nick!user@host``."""
        return b"%b!%b@%b" % (self.nick, self.nick, server.name)

    def _say(self, session: Session, line: bytes) -> None:
        source = self.source(session.server)
        session.queue(serialise(source, b"NOTICE", (session.target,), line))


def _usage(function: _Function) -> tuple[bytes, bytes]:
    """Take a docstring apart: the words, and what they do."""
    words, _, does = (getdoc(function) or "").partition(": ")
    return words.encode(), does.encode()
