"""
Forms: lines that everybody is told, made once, with what differs left open.

Who registers is told twenty lines and more. But for the nick and some numbers they are the same for all, and
making them one by one was a fifth of what it costs to connect, register and quit. A form is those lines
as one template, and is filled in by one operation.

What is made of settings is made again when there are other settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from myproject_chat.modes import USER_MODES
from myproject_chat.names import HOST_LENGTH, NICK_LENGTH, USER_LENGTH
from myproject_chat.wire import MAX_BODY, clip

if TYPE_CHECKING:
    from myproject_chat.numerics import Numeric
    from myproject_chat.server import Server
    from myproject_chat.settings import Settings

__all__ = ["Fields", "Form", "Forms", "Open", "Row", "fixed"]


class Open(bytes):
    """Text with fields in it, as in ``%(source)b``; any other text is taken as it stands."""

    __slots__ = ()


#: A numeric, the words behind the nick, and the free words in place of the numeric's own.
Row: TypeAlias = "tuple[Numeric, tuple[bytes, ...], bytes | None]"

#: What is filled in: bytes for ``b``, numbers for ``d``.
Fields: TypeAlias = Mapping[bytes, bytes | int]


class _Longest(dict[bytes, bytes | int]):
    """What takes the most room that each field can; those that are not words are numbers."""

    def __missing__(self, key: bytes) -> int:
        return 10**10


_LONGEST: Final = _Longest(
    {
        b"source": b"x" * (NICK_LENGTH + 1 + USER_LENGTH + 1 + HOST_LENGTH),
        b"host": b"x" * HOST_LENGTH,
        b"modes": b"x" * (1 + len(USER_MODES)),
    }
)


# The nick is in each line: to replace what no line can hold takes less time than to fill in twenty fields.
_NICK: Final = b"\0"


def fixed(text: bytes) -> bytes:
    """Give what stands for a text in one with fields."""
    return text.replace(b"%", b"%%").replace(_NICK, b"")


def _template(text: bytes) -> bytes:
    return text if isinstance(text, Open) else fixed(text)


class Form:
    """
    Some numerics.

    :param source: the server's name.
    :param rows: what they say. Words have to be words.
    """

    __slots__ = ("_fits", "_template")

    def __init__(self, source: bytes, rows: Iterable[Row]) -> None:
        lines = []
        for numeric, params, own in rows:
            text = numeric.text if own is None else own
            words = [b":" + fixed(source), numeric.code, _NICK, *map(_template, params)]
            if text is not None:
                words.append(b":" + _template(text))
            lines.append(b" ".join(words) + b"\r\n")
        self._template = b"".join(lines)
        longest = (self._template % _LONGEST).replace(_NICK, b"x" * NICK_LENGTH)
        self._fits = max(map(len, longest.split(b"\r\n"))) <= MAX_BODY

    def fill(self, nick: bytes, fields: Fields) -> bytes:
        """
        Give the lines, each with CR LF and at most 512 bytes long.

        :param nick: whom they are said to.
        :param fields: what is filled in.
        """
        filled = (self._template % fields).replace(_NICK, nick)
        if self._fits:
            return filled
        # A message of the day may have any lines.
        return b"".join(clip(line, MAX_BODY) + b"\r\n" for line in filled.split(b"\r\n")[:-1])


class Forms:
    """
    The forms of one server, each made when it is first asked for.

    :param server: the server.
    """

    __slots__ = ("_made", "_server", "_settings")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._settings: Settings | None = None
        self._made: dict[tuple[object, ...], Form] = {}

    def of(self, rows: Callable[..., Iterable[Row]], *choices: bool) -> Form:
        """
        Give a form.

        :param rows: gives its rows, by the server and the choices; what they say is to depend on nothing
            but these and the server's settings.
        :param choices: which of the forms that it can give.
        """
        settings = self._server.settings
        if self._settings is not settings:
            self._settings = settings
            self._made.clear()
        key = (rows, *choices)
        form = self._made.get(key)
        if form is None:
            form = self._made[key] = Form(self._server.name, rows(self._server, *choices))
        return form
