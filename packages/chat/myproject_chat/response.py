"""
Labelled responses: what one command's answer is put into when the client named it.

A client may put a label on a command, and the answer carries it back: on the line, if the answer is
one line; on a batch, if it is several; on an ACK, if it is none. So the lines of an answer are
collected before they are queued. An answer that is one batch by itself (history, say) needs no other
around it, and its first line takes the label.

The lines are whole already. Nothing is parsed for it but the verb of the first and the last.

Sources: https://ircv3.net/specs/extensions/labeled-response, https://ircv3.net/specs/extensions/batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from myproject_chat.wire import Message, format_tags, parse, serialise

__all__ = ["MAX_LABEL", "closing", "framed", "opening", "part", "tagged"]

# labeled-response: "MUST NOT" be longer.
MAX_LABEL = 64


def tagged(line: bytes, tag: bytes) -> bytes:
    """
    Put one more tag on a line.

    :param line: a line, with tags or without.
    :param tag: the escaped tag.
    """
    if line[:1] == b"@":
        return b"@" + tag + b";" + line[1:]
    return b"@" + tag + b" " + line


def framed(lines: Sequence[bytes], label: bytes, server: bytes, reference: bytes) -> list[bytes]:
    """
    Make a command's answer one that its sender recognises.

    :param lines: the answer, each line with its CR LF.
    :param label: the label's plain value.
    :param server: the server's name.
    :param reference: a name for the batch, should there be one.
    :return: the lines to send.
    """
    tag = format_tags({b"label": label})
    if not lines:
        return [tagged(serialise(server, b"ACK"), tag)]
    if len(lines) == 1 or _is_one_batch(lines):
        return [tagged(lines[0], tag), *lines[1:]]
    return [*opening(lines, label, server, reference), closing(server, reference)]


def opening(lines: Sequence[bytes], label: bytes, server: bytes, reference: bytes) -> list[bytes]:
    """
    Begin a batch for an answer that will be more than one line.

    :param lines: what there is of it; for the others, see `framed`.
    """
    tag = format_tags({b"label": label})
    begin = serialise(server, b"BATCH", (b"+" + reference, b"labeled-response"))
    return [tagged(begin, tag), *(part(line, reference) for line in lines)]


def part(line: bytes, reference: bytes) -> bytes:
    """
    Make a line one of a batch, if it is not one of another already.

    :param line: the line.
    :param reference: the batch's name.
    """
    return line if _is_in_batch(line) else tagged(line, b"batch=" + reference)


def closing(server: bytes, reference: bytes) -> bytes:
    """
    End a batch.

    :param server: the server's name.
    :param reference: the batch's name.
    """
    return serialise(server, b"BATCH", (b"-" + reference,))


def _is_in_batch(line: bytes) -> bool:
    return line[:1] == b"@" and b"batch" in parse(line).tags


def _is_one_batch(lines: Sequence[bytes]) -> bool:
    first, last = _read(lines[0]), _read(lines[-1])
    if b"batch" in first.tags or first.command != b"BATCH" or last.command != b"BATCH":
        return False
    opened = first.params[0]
    return opened[:1] == b"+" and last.params[0] == b"-" + opened[1:]


def _read(line: bytes) -> Message:
    return parse(line.removesuffix(b"\r\n"))
