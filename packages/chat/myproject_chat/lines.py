"""
Lines out of a stream of bytes, with bounded memory.

CR, LF and CR LF all end a line, blank lines are nothing, and NUL is dropped as no IRC message may
hold it (RFC 1459 section 2.3.1). So the cuts between chunks cannot matter: a CR at the end of one
chunk and an LF at the start of the next are a line end and a blank line.

A line is too long once any beginning of it is: more than 510 bytes without tags, or tag data of
more than 4094 bytes, or more than 510 bytes behind the tags. That is known as soon as the byte
too many is there, so what is kept between two chunks never exceeds one line's limit; the rest of
such a line is thrown away up to its end.
"""

from __future__ import annotations

from myproject_chat.wire import MAX_BODY, MAX_TAG_DATA

__all__ = ["MAX_HELD", "MAX_LINE", "LineSplitter"]

# "@" + tag data + " " + body: the most that can be kept of one unfinished line.
MAX_HELD = 1 + MAX_TAG_DATA + 1 + MAX_BODY
# Whose line is longer than this is no IRC client. Ergo's bound, about thrice the longest line there can be.
MAX_LINE = 16384

_LINE_ENDS = bytes.maketrans(b"\r", b"\n")


def _too_long(line: bytes) -> bool:
    """Say whether a line, or a beginning of one, is over a limit."""
    if len(line) <= MAX_BODY:
        return False
    if line[:1] != b"@":
        return True
    space = line.find(b" ", 1, MAX_TAG_DATA + 2)
    if space < 0:
        return len(line) > MAX_TAG_DATA + 1
    return len(line) - space - 1 > MAX_BODY


class LineSplitter:
    """
    Cuts chunks into lines.

    :ivar held: what has come of the line that is not finished; at most `MAX_HELD` bytes.
    :ivar flooded: whether a line was longer than `MAX_LINE`.
    """

    __slots__ = ("_discarding", "_thrown", "flooded", "held")

    def __init__(self) -> None:
        self.held = b""
        self.flooded = False
        self._discarding = False
        # How much of the line that is being thrown away has come.
        self._thrown = 0

    def feed(self, data: bytes) -> list[bytes | None]:
        """
        Take the next chunk.

        :param data: any bytes.
        :return: the lines that it finished, without their ends; None stands for a line that was
            too long, once, at the place where that line was.
        """
        whole = self.held + data.translate(_LINE_ENDS, b"\0")
        lines = whole.split(b"\n")
        short = len(whole) <= MAX_BODY or max(map(len, lines)) <= MAX_BODY
        if short and not self._discarding:
            # As nearly always.
            self.held = lines.pop()
            return [line for line in lines if line]
        last = lines.pop()
        events: list[bytes | None] = []
        for line in lines:
            if self._discarding:
                self._discarding = False
                self._throw(line)
                self._thrown = 0
            elif _too_long(line):
                events.append(None)
                self._throw(line)
                self._thrown = 0
            elif line:
                events.append(line)
        if self._discarding:
            self._throw(last)
            last = b""
        elif _too_long(last):
            events.append(None)
            self._discarding = True
            self._throw(last)
            last = b""
        self.held = last
        return events

    def _throw(self, part: bytes) -> None:
        self._thrown += len(part)
        if self._thrown > MAX_LINE:
            self.flooded = True
