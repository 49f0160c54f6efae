"""
Telling the service manager: the protocol of sd_notify(3), in the few lines that it takes.

A manager such as systemd gives a service the address of a datagram socket in ``NOTIFY_SOCKET``. What we
send there are assignments, one to a line:

========================================  ==============================================================
``READY=1``                               all ports are open and the reactor runs; or a reload is done
``STATUS=...``                            how many connections are open, for ``systemctl status``
``RELOADING=1``, ``MONOTONIC_USEC=...``   a reload begins, and when
``STOPPING=1``                            the stop begins: ports close, connections drain
``WATCHDOG=1``                            the reactor turns: sent twice in each ``WATCHDOG_USEC``
========================================  ==============================================================

The variables are taken out of the environment, so that no process that we start speaks in our name. Where
several services of ours share a process, the first one to start speaks for the process.

No error of this conversation stops the service: it is logged once, and the service goes on.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from myproject.listening import why

__all__ = ["STATUS_INTERVAL", "NotifyService"]

#: Seconds between two looks at the number of connections; each change wakes the manager.
STATUS_INTERVAL: Final = 5.0

#: Messages kept for a manager that does not read: far more than a reload and a stop have.
_MOST_UNSENT: Final = 64


class NotifyService(Service):
    """
    Tells the service manager, if there is one, how the service is.

    :param connections: counts those that are open.
    :param reactor: the reactor; by default the global one, looked up when the service starts.
    :param environ: the environment, read and cleared when the service starts; the process's by default.
    """

    _log = Logger()

    def __init__(
        self,
        connections: Callable[[], int],
        reactor: Any = None,
        environ: MutableMapping[str, str] | None = None,
    ) -> None:
        self.reactor = reactor
        self._connections = connections
        self._environ = os.environ if environ is None else environ
        self._address: str | None = None
        #: Seconds between two signs of life; None if nobody waits for them.
        self._interval: float | None = None
        self._calls: list[LoopingCall] = []
        self._unsent: deque[str] = deque(maxlen=_MOST_UNSENT)
        self._prefix = "starting; "
        self._status = ""
        self._complained = False

    def startService(self) -> None:
        """Find out whether anyone wants to be told, and begin to give signs of life."""
        super().startService()
        self._prefix = "starting; "
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        self._read_environment()
        if self._address is None:
            return
        if self._interval is not None:
            self._repeat(self._interval, self._send, "WATCHDOG=1")
        self._repeat(STATUS_INTERVAL, self._look)

    def _read_environment(self) -> None:
        given, usec, pid = (
            self._environ.pop(name, "")
            for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        )
        # The rest of what may be there, vsock:CID:PORT, reaches the manager of a virtual machine's host.
        if given.startswith(("/", "@")):
            self._address = given if given.startswith("/") else f"\0{given[1:]}"
            mine = pid in ("", str(os.getpid()))
            if mine and usec.isascii() and usec.isdigit() and int(usec) > 0:
                self._interval = int(usec) / 1_000_000 / 2

    def _repeat(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        repeated = LoopingCall(call, *arguments)
        repeated.clock = self.reactor
        repeated.start(seconds, now=False)
        self._calls.append(repeated)

    def stopService(self) -> None:
        """Say no more."""
        super().stopService()
        calls, self._calls = self._calls, []
        for call in calls:
            call.stop()

    # What the core says

    def serving(self, opening: Iterable[defer.Deferred[bool]]) -> None:
        """
        Say that the service is ready, once its ports are open and the reactor runs.

        :param opening: one for each service that has ports; fires with whether they are open.
        """
        waiting = defer.gatherResults(list(opening))
        waiting.addCallback(
            lambda opened: all(opened) and self.reactor.callWhenRunning(self._serve)
        )

    def _serve(self) -> None:
        if self.running and self._prefix != "stopping; ":
            self.ready()

    def ready(self) -> None:
        """Say that the service serves: after its start, and after each :meth:`reloading`."""
        self._prefix = ""
        self._send("READY=1", self._describe())

    def reloading(self) -> None:
        """Say that a reload has begun; :meth:`ready` says that it has ended, well or not."""
        self._prefix = "reloading; "
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}", self._describe())

    def stopping(self) -> None:
        """Say that the stop begins. The signs of life go on until :meth:`stopService`."""
        self._prefix = "stopping; "
        self._send("STOPPING=1", self._describe())

    # What goes to the manager

    def _describe(self) -> str:
        number = self._connections()
        self._status = f"STATUS={self._prefix}{number} connection{'' if number == 1 else 's'} open"
        return self._status

    def _look(self) -> None:
        before = self._status
        if self._describe() != before:
            self._send(self._status)
        self._flush()

    def _send(self, *assignments: str) -> None:
        message = "\n".join(assignments)
        # Of signs of life that could not be sent, one is as good as many.
        if self._address is not None and self.running and message not in self._unsent:
            self._unsent.append(message)
            self._flush()

    def _flush(self) -> None:
        while self._unsent:
            try:
                self._send_now(self._unsent[0])
            except BlockingIOError:
                # The manager is behind with its reading. We ask again with the next status.
                return
            except (OSError, ValueError) as failure:
                if not self._complained:
                    self._complained = True
                    self._log.warn("cannot tell the service manager: {why}", why=why(failure))
            self._unsent.popleft()

    def _send_now(self, message: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(message.encode(), self._address or "")
