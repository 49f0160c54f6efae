"""
A worker: ``python -m myproject.worker``, one of the processes of a subcommand that runs as several.

Its supervisor (:mod:`myproject.workers`) starts it with a pipe for each of its three streams. Standard
input and output are the channel between the two (:mod:`myproject.channel`); they are moved away at once,
so that nothing that prints can break in. Standard error is for the interpreter's last words.

A worker is in a session of its own. A Ctrl-C on the terminal reaches the supervisor alone, which says what
it means. ``SIGTERM`` drains, however often it comes: a service manager may send it to all
processes at once, and then the supervisor sends it again.

What it serves is in :mod:`myproject.workerservice`, which is imported when the process is ready for it:
Twisted looks for the sockets of a service manager when its endpoints are imported.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from myproject.channel import Assignment, Downlink, Uplink, outlived
from myproject.errors import CannotStart, SettingError

if TYPE_CHECKING:
    from myproject.workerservice import Worker

__all__ = ["LAST_WORDS", "OUTLIVED", "main"]

#: Seconds that a worker may be alone, stuck or still starting, before it ends.
OUTLIVED: Final = 15.0

#: Seconds in which a supervisor must have read what a worker says at its end.
LAST_WORDS: Final = 1.0


def _streams() -> tuple[int, int]:
    """Take the channel's ends for ourselves, and leave streams that others may use."""
    down, up = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return down, up


def main() -> int:
    """
    Be a worker.

    :return: the exit status.
    """
    with contextlib.suppress(PermissionError):
        os.setsid()
    # Those of the supervisor's, sent to all processes at once; it says what they mean.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    down, up = _streams()
    uplink = Uplink(up)
    workers: list[Worker] = []

    def abandoned() -> None:
        for worker in workers:
            worker.abandoned()

    downlink = Downlink(down, abandoned)
    message = downlink.first()
    if message is None:
        return os.EX_UNAVAILABLE
    assignment = Assignment.of(message)
    outlived(down, OUTLIVED)
    sys.path[:] = assignment.path
    if assignment.sockets:
        # Whom they are for: the supervisor could not know before we were.
        os.environ["LISTEN_PID"] = str(os.getpid())
    try:
        from myproject.workerservice import begin

        workers.append(begin(assignment, uplink, downlink))
    except (CannotStart, SettingError) as refusal:
        uplink.send({"kind": "refused", "why": str(refusal)})
        uplink.last_words(LAST_WORDS)
        return os.EX_UNAVAILABLE
    except Exception:
        Logger().failure("a worker cannot start")
        uplink.last_words(LAST_WORDS)
        return os.EX_SOFTWARE
    from twisted.internet import reactor

    run: Any = reactor
    run.run()
    uplink.last_words(LAST_WORDS)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
