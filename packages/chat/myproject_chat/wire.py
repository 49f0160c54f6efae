"""
The IRC line: how it is taken apart and put together.

One line is ``[@tags] [:source] command [params] [:trailing]``, in bytes, without its line end.
Nothing here knows what a command means, and nothing here raises because of what a peer sent:
`parse` gives a `Message` for any bytes at all, if need be one whose command is empty.

Sources: RFC 1459 section 2.3 and RFC 2812 section 2.3 (form of a line; several spaces separate as
one does), https://ircv3.net/specs/extensions/message-tags (tags, their escapes, their size),
https://modern.ircdocs.horse/#message-format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

__all__ = [
    "MAX_BODY",
    "MAX_TAG_DATA",
    "Message",
    "clip",
    "format_message",
    "format_tags",
    "parse",
    "serialise",
    "split_source",
]

# RFC 1459 section 2.3: 512 bytes with the two of the line end.
MAX_BODY = 510
# message-tags, "Size limit": what a client may put between the "@" and the space behind the tags.
MAX_TAG_DATA = 4094

_NO_TAGS: Mapping[bytes, bytes] = MappingProxyType({})
_ESCAPES = {b";": rb"\:", b" ": rb"\s", b"\\": rb"\\", b"\r": rb"\r", b"\n": rb"\n"}
_UNESCAPES = {escape[1]: plain for plain, escape in _ESCAPES.items()}
_BACKSLASH = 0x5C
_COLON = 0x3A
_IN_FRONT = frozenset((b"@", b":", b" "))


class Message(NamedTuple):
    """
    One line, taken apart.

    :ivar command: the verb or the three digits, in the case it came in; empty if there was none.
    :ivar params: the parameters; the last may be empty or contain spaces.
    :ivar source: what stood behind the colon in front, or None.
    :ivar tags: tag names, with their ``+`` if they have one, to unescaped values; a tag without a
        value has the empty one, as message-tags asks.
    """

    command: bytes
    params: tuple[bytes, ...] = ()
    source: bytes | None = None
    tags: Mapping[bytes, bytes] = _NO_TAGS


def parse(line: bytes) -> Message:
    """
    Take a line apart.

    :param line: one line without its line end. Any bytes are accepted.
    :return: the message; its command is empty where the line holds none.
    """
    tags = _NO_TAGS
    source = None
    rest = line
    # Most lines have neither.
    if rest[:1] in _IN_FRONT:
        if rest[:1] == b"@":
            tag_data, _, rest = rest[1:].partition(b" ")
            tags = _parse_tags(tag_data)
        rest = rest.lstrip(b" ")
        if rest[:1] == b":":
            source, _, rest = rest[1:].partition(b" ")
            rest = rest.lstrip(b" ")
    head, colon, trailing = rest.partition(b" :")
    words = head.split(b" ")
    if b"" in words:
        words = [word for word in words if word] or [b""]
    command = words[0]
    if colon:
        words.append(trailing)
    return Message(command, tuple(words[1:]), source, tags)


def _parse_tags(data: bytes) -> dict[bytes, bytes]:
    """Read ``a=b;c``; the last of two equal names counts, and a tag without a name is dropped."""
    tags = {}
    for item in data.split(b";"):
        name, _, value = item.partition(b"=")
        if name:
            tags[name] = _unescape(value) if b"\\" in value else value
    return tags


def _unescape(value: bytes) -> bytes:
    """Undo the escapes in one pass; an unknown escape is the byte itself, a last backslash is lost."""
    plain = bytearray()
    values = iter(value)
    for byte in values:
        if byte == _BACKSLASH:
            following = next(values, None)
            if following is None:
                break
            plain += _UNESCAPES.get(following, bytes((following,)))
        else:
            plain.append(byte)
    return bytes(plain)


def format_tags(tags: Mapping[bytes, bytes]) -> bytes:
    """
    Write tags as they stand between ``@`` and the space.

    :param tags: names to plain values; an empty value is written as a name alone.
    :return: the escaped tag data, empty for no tags.
    """
    items = []
    for name, value in tags.items():
        if value:
            bytes_of_it = (value[i : i + 1] for i in range(len(value)))
            items.append(name + b"=" + b"".join(_ESCAPES.get(b, b) for b in bytes_of_it))
        else:
            items.append(name)
    return b";".join(items)


def format_message(message: Message) -> bytes:
    """
    Put a message together, the inverse of `parse`.

    :param message: what to write.
    :return: the line without its line end, of any length.
    :raises ValueError: if a part cannot be written so that it is read back the same: a command
        that is empty or contains a space, a parameter before the last that is empty, contains a
        space or begins with a colon, a NUL, CR or LF outside a tag's value, and the like.
    """
    words = [message.command, *message.params[:-1]]
    if message.source is not None:
        _check_word("source", message.source, colon=True)
    for index, word in enumerate(words):
        _check_word("parameter" if index else "command", word)
    if message.command[:1] == b"@" and message.source is None and not message.tags:
        raise ValueError(f"a command cannot begin with '@': {message.command!r}")
    line = b" ".join(words)
    for last in message.params[-1:]:
        _check_bytes("last parameter", last)
        plain = last and last[0] != _COLON and b" " not in last
        line += (b" " if plain else b" :") + last
    if message.source is not None:
        line = b":" + message.source + b" " + line
    if message.tags:
        for name in message.tags:
            _check_word("tag name", name, colon=True)
            if b";" in name or b"=" in name:
                raise ValueError(f"a tag name cannot contain ';' or '=': {name!r}")
            _check_bytes("tag value", message.tags[name].translate(None, b"\r\n"))
        line = b"@" + format_tags(message.tags) + b" " + line
    return line


def _check_bytes(what: str, value: bytes) -> None:
    if b"\r" in value or b"\n" in value or b"\0" in value:
        raise ValueError(f"a {what} cannot contain NUL, CR or LF: {value!r}")


def _check_word(what: str, value: bytes, *, colon: bool = False) -> None:
    _check_bytes(what, value)
    if not value or b" " in value or (value[0] == _COLON and not colon):
        raise ValueError(f"a {what} must be one word that has no colon in front: {value!r}")


def serialise(
    source: bytes, command: bytes, params: Sequence[bytes] = (), text: bytes | None = None
) -> bytes:
    """
    Write a line of the server's own: the way out, where every part is known to be sound.

    :param source: who says it: the server's name, or a user's ``nick!user@host``.
    :param command: a verb or a numeric.
    :param params: parameters that are words.
    :param text: a last parameter that may be anything, or None for no such.
    :return: the line with CR LF, cut to 512 bytes, never through a UTF-8 character.
    """
    line = b" ".join((b":" + source, command, *params))
    if text is not None:
        line += b" :" + text
    if len(line) > MAX_BODY:
        line = clip(line, MAX_BODY)
    return line + b"\r\n"


def clip(data: bytes, size: int) -> bytes:
    """
    Cut UTF-8 down to a size, between two characters.

    :param data: UTF-8.
    :param size: how many bytes may remain.
    :return: the longest beginning of the data, made of whole characters, that fits.
    """
    if len(data) <= size:
        return data
    while size > 0 and data[size] & 0xC0 == 0x80:
        size -= 1
    return data[:size]


def split_source(source: bytes) -> tuple[bytes, bytes, bytes]:
    """
    Split ``nick!user@host``.

    :param source: a source, or a mask of that form.
    :return: the three parts, each empty where it is missing.
    """
    rest, _, host = source.partition(b"@")
    nick, _, user = rest.partition(b"!")
    return nick, user, host
