"""
``python -m myproject WORD``: what helps with the subcommands, beside running them.

Running them is the work of ``twistd`` and ``twist``. Each word here is a module that is loaded when it is
asked for, and has a function ``main`` from arguments to an exit status.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

__all__ = ["main"]

PROGRAM = "python -m myproject"

#: Each word's module, and what it does.
_WORDS = {
    "completion": ("myproject.completion", "Print a completion script for bash, zsh or fish."),
    "doctor": ("myproject.doctor", "Look for what keeps the subcommands from working."),
    "man": ("myproject.manual", "Print the manual page of a subcommand."),
}


def _usage() -> str:
    width = max(map(len, _WORDS))
    lines = [f"  {word:{width}}  {does}" for word, (_, does) in _WORDS.items()]
    return "\n".join(
        [
            f"Usage: {PROGRAM} WORD [ARGUMENTS]",
            "",
            *lines,
            "",
            f"{PROGRAM} WORD --help says more of each; twistd --help lists the subcommands.",
            "",
        ]
    )


def main(arguments: Sequence[str]) -> int:
    """
    Do what a command line says.

    :param arguments: its words, without the program.
    :returns: the exit status, 64 (``EX_USAGE`` of sysexits.h) for a mistake in the words.
    """
    if not arguments:
        sys.stderr.write(_usage())
        return os.EX_USAGE
    word, *rest = arguments
    if word in ("-h", "--help"):
        sys.stdout.write(_usage())
        return os.EX_OK
    if word in _WORDS:
        module, _ = _WORDS[word]
        status: int = import_module(module).main(rest)
        return status
    # Not before: the doctor has to work where Twisted cannot be imported.
    from myproject.options import Options, nearest

    if word == "--version":
        Options({}).opt_version()
    hint = nearest(word, [*_WORDS, "--help", "--version"])
    known = ", ".join(_WORDS)
    sys.stderr.write(f"{PROGRAM}: there is no word {word!r}{hint}; give one of {known}\n")
    return os.EX_USAGE


if __name__ == "__main__":
    # Into a pipe whose reader has seen enough (`| head`) we end like other tools, without a traceback.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))
