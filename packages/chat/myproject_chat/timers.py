"""
Deadlines of many connections on one timer.

A deadline falls into the bucket of its second. The one timer looks at the buckets that are due;
what stands there is asked for its next deadline. Activity touches nothing here: a connection that
was heard of meanwhile only names a later time when it is asked.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import ceil
from typing import Generic, TypeVar

__all__ = ["Wheel"]

T = TypeVar("T", bound=Hashable)


class Wheel(Generic[T]):
    """Things that want to be looked at, each at one time at most."""

    __slots__ = ("_buckets", "_seconds")

    def __init__(self) -> None:
        self._buckets: dict[int, dict[T, None]] = {}
        self._seconds: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._seconds)

    def put(self, thing: T, at: float) -> None:
        """
        Set when a thing is looked at, in place of what was set before.

        :param thing: what.
        :param at: the time in seconds; it will be looked at up to a second later.
        """
        self.drop(thing)
        second = ceil(at)
        self._seconds[thing] = second
        self._buckets.setdefault(second, {})[thing] = None

    def drop(self, thing: T) -> None:
        """Forget a thing, if it is known."""
        second = self._seconds.pop(thing, None)
        if second is not None:
            bucket = self._buckets[second]
            del bucket[thing]
            if not bucket:
                del self._buckets[second]

    def due(self, now: float) -> list[T]:
        """
        Take out what is due.

        :param now: the time in seconds.
        :return: the things whose time has come, the earliest first.
        """
        seconds = sorted(second for second in self._buckets if second <= now)
        things = [thing for second in seconds for thing in self._buckets[second]]
        for thing in things:
            self.drop(thing)
        return things
