"""
A process for `test_store_kill`: writes as fast as it can, and says on its standard output what is safe.

    python -m tests.chat.store_writer FILE FIRST
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, cast

from myproject_chat.store.service import StoreService
from tests.chat.storing import entry

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorCore, IReactorTime

#: How many entries may wait.
AHEAD = 300


def main(path: str, first: int) -> None:
    """Write entries whose names are numbers until killed."""
    from twisted.internet import reactor as installed

    reactor = cast("IReactorCore", installed)
    clock = cast("IReactorTime", installed)
    number = first
    safe = first - 1

    def write() -> None:
        nonlocal number
        # A few hundred may wait, as behind a busy network; it is the disk that sets the pace.
        for _ in range(7 if number - safe < AHEAD else 0):
            service.store.add(entry(number, b"#a" if number % 2 else b"al bo"))
            number += 1
        service.store.hurry()
        clock.callLater(0, write)

    def report(ticket: int) -> None:
        nonlocal safe
        safe = first + ticket - 1
        # Past Python's buffers: what is killed flushes none.
        os.write(1, b"%d\n" % safe)

    service = StoreService(path, lambda _: None, lambda: 0.0)
    service.store.on_written = report
    service.startService()
    reactor.callWhenRunning(write)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
