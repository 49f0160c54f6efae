"""
The thread that uses the file: one, which runs one function after the other.

Twisted's thread pool would do, but it is made for many threads, and for functions that log in the context of
who called them: with it a commit that somebody waits for takes 63 us of CPU, with this 52.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

__all__ = ["FileThread"]

T = TypeVar("T")


class FileThread:
    """
    A thread for functions that wait for a disk.

    :param reactor: told what they gave.
    """

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Deferred[Any]] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="chat store")

    def start(self) -> None:
        """Begin. What was to be run before is run then."""
        self._thread.start()

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        """
        Run a function behind all that are to be run.

        :param function: the function.
        :return: fires in the reactor's thread, with what it returns or raises.
        """
        done: Deferred[T] = Deferred()
        self._jobs.put((function, done))
        return done

    def stop(self) -> None:
        """End behind all that are to be run, and wait for that; the thread has begun."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        # The loop is in a frame of its own, so that nothing keeps a function and its data until the next.
        while self._work_once():
            pass

    def _work_once(self) -> bool:
        job = self._jobs.get()
        if job is None:
            return False
        function, done = job
        try:
            result = function()
        except BaseException:
            self._reactor.callFromThread(done.errback, Failure())
        else:
            self._reactor.callFromThread(done.callback, result)
        return True
