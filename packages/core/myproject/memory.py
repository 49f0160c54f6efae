"""
Giving memory back when a crowd has gone.

What connections took, glibc's allocator keeps in pieces between what is still in use: after a peak of a
thousand TLS clients nine tenths of a server's memory were free, and none of it the system's.
``malloc_trim`` gives whole pages back, from between as well. What hinders it is garbage: cycles that the
collector has not come by lie scattered among what was freed, and after ten minutes of coming and going held
six megabytes of pages. So they are collected first. All of it takes some tens of milliseconds, in
which nobody is served; it is done when at least half of the peak's connections have
gone and `QUIET` seconds more have passed, again for each half of those that remained, and not at all for
peaks that are none.

Other C libraries have no such function, and are left alone.

The other way round, a server that reads 64 KiB at a time takes and gives back the same pages with every
read, unless the C library is told to keep some (:func:`keep_buffers`).

Source: malloc_trim(3), mallopt(3).
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["KEPT", "QUIET", "SMALLEST_PEAK", "Trimmer", "keep_buffers", "malloc_trim"]

#: Bytes up to which an allocation comes from the heap; twice as many may lie free at its end.
KEPT: Final = 4 * 2**20

#: Seconds from when half of a crowd has gone until memory is given back: the others may be leaving, too.
QUIET: Final = 10.0

#: Connections that a peak has to have: fewer leave less than is worth a stop.
SMALLEST_PEAK: Final = 200


def malloc_trim() -> None:
    """Collect garbage, and give free memory back to the system, if the C library can."""
    # Seldom needed, and not free to import.
    import ctypes

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_buffers() -> None:
    """
    Have the C library keep some megabytes that are free, rather than ask the system for them each time.

    glibc gives the end of its heap back as soon as 128 KiB of it are free, and finds better bounds when a
    larger allocation is freed that it had mapped (``M_MMAP_THRESHOLD`` in mallopt(3)). So one is made,
    of which no page is touched: that is quicker than to load what calls C functions.
    """
    bytes(KEPT)


class Trimmer:
    """
    Sees how many connections there are, and gives memory back after a peak.

    :param clock: gives the clock, once there is a connection.
    :param trim: gives memory back.
    """

    __slots__ = ("_clock", "_count", "_peak", "_timer", "_trim")

    def __init__(
        self, clock: Callable[[], IReactorTime], trim: Callable[[], None] = malloc_trim
    ) -> None:
        self._clock = clock
        self._trim = trim
        self._peak = 0
        self._count = 0
        self._timer: IDelayedCall | None = None

    def opened(self, count: int) -> None:
        """
        A connection has come.

        :param count: how many there are now.
        """
        if count >= SMALLEST_PEAK:
            self._peak = max(self._peak, count)

    def closed(self, count: int) -> None:
        """
        A connection has gone.

        :param count: how many there are now.
        """
        self._count = count
        if self._timer is None and 0 < self._peak >= count * 2:
            self._timer = self._clock().callLater(QUIET, self._give_back)

    def _give_back(self) -> None:
        self._timer = None
        self._peak = self._count
        self._trim()

    def end(self) -> None:
        """Let go of the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
