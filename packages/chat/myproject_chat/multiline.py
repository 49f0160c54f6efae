"""
Multiline: one message of several lines, sent as a batch.

A client opens ``BATCH +ref draft/multiline target``, sends PRIVMSG or NOTICE lines that name the batch, and
closes it with ``BATCH -ref``. `Assembly` collects the lines of one batch and says at the first that is wrong
what to answer, so a batch without end holds no more than its limits. What comes of it is a `Multiline`: it
keeps the client's own division into lines, as that is what those without the capability are sent.

Who opens batches, which are open, and what their references are, is not known here.

Sources: https://ircv3.net/specs/extensions/multiline, https://ircv3.net/specs/extensions/client-batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from myproject_chat.names import fold
from myproject_chat.wire import clip

__all__ = [
    "BATCH_TYPE",
    "CONCAT_TAG",
    "MAX_BYTES",
    "MAX_LINES",
    "Assembly",
    "Line",
    "Multiline",
    "Refusal",
    "capability_value",
]

#: What BATCH's second parameter and the capability are called.
BATCH_TYPE: Final = b"draft/multiline"
CONCAT_TAG: Final = b"draft/multiline-concat"

#: Ergo's example file has the same bytes, and 100 lines. 32 are half a screen, and take less than 20 KB
#: of each receiver's queue (sendq).
MAX_BYTES: Final = 4096
MAX_LINES: Final = 32

_COMMANDS: Final = (b"PRIVMSG", b"NOTICE")
_OWN_TAGS: Final = frozenset((b"batch", CONCAT_TAG))


def capability_value(max_bytes: int = MAX_BYTES, max_lines: int = MAX_LINES) -> bytes:
    """
    Give what CAP LS 302 shows behind ``draft/multiline=``.

    :param max_bytes: bytes of a message.
    :param max_lines: lines of a message.
    """
    return b"max-bytes=%d,max-lines=%d" % (max_bytes, max_lines)


class Line(NamedTuple):
    """
    One line of a message.

    :ivar text: its text, perhaps empty.
    :ivar concat: whether it goes on with the line before without a line feed.
    """

    text: bytes
    concat: bool


class Refusal(NamedTuple):
    """
    Why a batch is refused: ``FAIL BATCH code context... :text``.

    :ivar code: the standard reply's code.
    :ivar context: its parameters.
    :ivar text: what to say.
    """

    code: bytes
    context: tuple[bytes, ...]
    text: bytes


@dataclass(frozen=True, slots=True)
class Multiline:
    """
    A whole message.

    :ivar command: PRIVMSG or NOTICE.
    :ivar target: the batch's target, as the client wrote it.
    :ivar lines: the lines, as the client divided them.
    """

    command: bytes
    target: bytes
    lines: tuple[Line, ...]

    def text(self) -> bytes:
        """Give the message in one piece, its lines joined by line feeds."""
        first, *others = self.lines
        return first.text + b"".join(
            line.text if line.concat else b"\n" + line.text for line in others
        )

    def fallback(self) -> Iterator[bytes]:
        """Give the lines for those without the capability: none of them is blank, and one there is."""
        return (line.text for line in self.lines if line.text)


def _invalid(text: bytes) -> Refusal:
    return Refusal(b"MULTILINE_INVALID", (), text)


class Assembly:
    """
    One batch, from its opening to its end.

    :param target: to whom it goes, BATCH's third parameter.
    :param max_bytes: bytes of the message, the line feeds that join its lines counted.
    :param max_lines: lines of the message.
    """

    def __init__(
        self, target: bytes, max_bytes: int = MAX_BYTES, max_lines: int = MAX_LINES
    ) -> None:
        self._target = target
        self._max_bytes = max_bytes
        self._max_lines = max_lines
        self._command = b""
        self._lines: list[Line] = []
        self._size = 0

    def add(
        self, command: bytes, params: Sequence[bytes], tags: Collection[bytes]
    ) -> Refusal | None:
        """
        Take a line that names this batch.

        :param command: its command, in capitals.
        :param params: its parameters.
        :param tags: the names of its tags.
        :return: None if it fits; else what to answer, once, and the batch is no more: the
            caller drops what still comes for it.
        """
        concat = CONCAT_TAG in tags
        refusal = self._misplaced(command, params, tags) or self._too_much(params[1], concat=concat)
        if refusal is not None:
            return refusal
        if concat and not params[1]:
            return _invalid(b"Invalid multiline batch with concatenated blank line")
        self._command = command
        self._lines.append(Line(params[1], concat and bool(self._lines)))
        return None

    def _misplaced(
        self, command: bytes, params: Sequence[bytes], tags: Collection[bytes]
    ) -> Refusal | None:
        """Say what is wrong with a line that does not belong into such a batch."""
        if command not in _COMMANDS or (self._lines and command != self._command):
            return _invalid(b"Invalid multiline batch: one of PRIVMSG or NOTICE only")
        if len(params) != 2:
            return _invalid(b"Invalid multiline batch: a line has a target and a text")
        if fold(params[0]) != fold(self._target):
            # The one that was given is a peer's word; it is sent back, but not all of it if it is long.
            context = (self._target, clip(params[0].replace(b" ", b"_"), 64).lstrip(b":") or b"*")
            return Refusal(b"MULTILINE_INVALID_TARGET", context, b"Invalid multiline target")
        if not _OWN_TAGS.issuperset(tags):
            return _invalid(b"Invalid multiline batch: tags belong on the BATCH command")
        return None

    def _too_much(self, text: bytes, *, concat: bool) -> Refusal | None:
        """Count a line."""
        if len(self._lines) >= self._max_lines:
            context = (b"%d" % self._max_lines,)
            return Refusal(b"MULTILINE_MAX_LINES", context, b"Multiline batch max-lines exceeded")
        self._size += len(text) + bool(self._lines and not concat)
        if self._size > self._max_bytes:
            context = (b"%d" % self._max_bytes,)
            return Refusal(b"MULTILINE_MAX_BYTES", context, b"Multiline batch max-bytes exceeded")
        return None

    def finish(self) -> Multiline | Refusal:
        """Take the end of the batch: give the message, or what to answer."""
        if not any(line.text for line in self._lines):
            text = b"Invalid multiline batch with blank lines only"
            return _invalid(text if self._lines else b"Invalid multiline batch without lines")
        return Multiline(self._command, self._target, tuple(self._lines))
