"""
Every exception that myproject raises on purpose, each with the moment at which it is raised.

All of them are a person's to mend, not a peer's: what a peer gets wrong is answered in its protocol.
"""

from __future__ import annotations

import os
import sys

from twisted.python import usage

__all__ = ["CannotStart", "MyprojectError", "SettingError"]


class MyprojectError(Exception):
    """The base of all errors here, so that a caller can catch them together."""


class SettingError(MyprojectError, usage.UsageError):
    """
    A setting cannot be used: raised while settings are resolved and validated, before anything opens.

    It is a ``UsageError`` as well, because that is what Twisted's own tools expect of bad options.

    :param setting: the setting as a person writes it, ``--port``.
    :param source: where its value came from, ``the command line`` or ``MYPROJECT_PORT in the environment``.
    :param problem: what is wrong, a clause without a full stop.
    :param remedy: what to do, a clause that begins with a verb.
    """

    def __init__(self, setting: str, source: str, problem: str, remedy: str) -> None:
        self.setting = setting
        self.source = source
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{setting}, from {source}: {problem}; {remedy}")


class CannotStart(MyprojectError, SystemExit):
    """
    The service cannot start: raised by ``makeService`` and ``startService``, for a port in use for instance.

    It is a ``SystemExit`` as well as an ``Exception``. ``twistd`` catches the latter, removes its
    pidfile and tells the process that waits for the daemon; what it raises again is the former, which
    ends the process with status 69 (``EX_UNAVAILABLE`` of sysexits.h) and without a traceback.

    :param message: one line: what could not start, why, and what to do.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = os.EX_UNAVAILABLE

    def report(self) -> None:
        """Print the line on the process's real standard error: ``sys.stderr`` may lead to the log."""
        if sys.__stderr__ is not None:
            print(f"{os.path.basename(sys.argv[0])}: {self}", file=sys.__stderr__)
