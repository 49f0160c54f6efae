"""
Which reactor a subcommand runs on, when nobody has said.

Twisted installs its reactor when something first imports it. While a subcommand reads its options that
has not happened yet, unless ``--reactor`` was given, or the program that runs the subcommand has its own
reactor: both have had their say then, and keep it. Otherwise the corked one is installed here, on Linux.
``MYPROJECT_REACTOR=default`` leaves the choice to Twisted.

Installed before ``twistd`` goes into the background, it goes with it: the child has the same epoll(7) set and
the same pipe to wake it, and the parent, which exits at once, touches neither.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

from twisted.logger import Logger

from myproject.errors import SettingError

__all__ = ["CORKED", "DEFAULT", "VARIABLE", "choose"]

#: The environment variable, and what it may say.
VARIABLE: Final = "MYPROJECT_REACTOR"
CORKED: Final = "corked"
DEFAULT: Final = "default"

#: What we build on of Twisted's own that it does not document, by the class that has it.
_BENEATH: Final = {
    "twisted.internet.abstract.FileDescriptor": (
        *("SEND_LIMIT", "dataBuffer", "offset", "_writeDisconnecting", "_writeDisconnected"),
        *("_maybePauseProducer", "_postLoseConnection", "_closeWriteConnection"),
        *("bufferSize", "producerPaused", "streamingProducer", "disconnecting"),
    ),
    "twisted.internet.tcp.Connection": ("TLS", "_aborting", "_dataReceived", "writeSomeData"),
    "twisted.internet.tcp.Client": ("_connectDone",),
    "twisted.internet.tcp.Connector": ("_makeTransport",),
    "twisted.internet.tcp.Port": ("transport", "_logger"),
    "twisted.internet.epollreactor.EPollReactor": (
        *("_disconnectSelectable", "_doReadOrWrite", "_supportedAddressFamilies"),
        *("runUntilCurrent", "timeout", "doPoll", "mainLoop"),
    ),
}

_log = Logger()


def choose(environ: Mapping[str, str]) -> None:
    """
    Install the corked reactor, if the choice is ours; say in one line of the log which it is.

    :param environ: the environment.
    :raises SettingError: the variable says what it may not.
    """
    word = environ.get(VARIABLE, CORKED)
    if word not in (CORKED, DEFAULT):
        raise SettingError(
            "the reactor",
            f"{VARIABLE} in the environment",
            f"{word!r} is neither {CORKED} nor {DEFAULT}",
            "give one of them, or name any other with twistd's --reactor",
        )
    if "twisted.internet.reactor" in sys.modules or sys.platform != "linux":
        return
    if word == DEFAULT:
        _log.info("reactor: Twisted's default, as {variable} says", variable=VARIABLE)
        return
    try:
        _check()
        from myproject.reactor.epollreactor import install

        install()
    except Exception as error:
        # Its absence costs speed; that is no reason not to serve.
        _log.warn("reactor: Twisted's default, as the corked one cannot be: {error}", error=error)
        return
    _log.info("reactor: corked; --reactor, or {variable}=default, has another", variable=VARIABLE)


def _check() -> None:
    """
    See that Twisted is built as we expect.

    :raises RuntimeError: it is not.
    """
    from twisted.python.reflect import namedAny

    for name, wanted in _BENEATH.items():
        found = namedAny(name)
        missing = [attribute for attribute in wanted if not hasattr(found, attribute)]
        if missing:
            raise RuntimeError(f"this Twisted's {name} has no {missing[0]}")
