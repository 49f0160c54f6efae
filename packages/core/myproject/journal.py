"""The journal: which connection is which in the log, and the access log."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from twisted.logger import Logger

from myproject.logcontrol import LogsService
from myproject.logs import ConnectionPrefix, escape

if TYPE_CHECKING:
    from twisted.application.service import IServiceCollection
    from twisted.python.failure import Failure

    from myproject.connection import Connection
    from myproject.gate import Gate
    from myproject.logcontrol import Logging

__all__ = ["Journal", "attach"]

# A process has one sequence of connections, however many services share it.
_numbers = itertools.count(1)


class Journal:
    """
    Numbers a gate's connections, names them in the log, and writes the access log if there is one.

    :param subcommand: whose connections they are.
    :param gate: tells the time.
    :param access: whether a connection's beginning and end are logged.

    :ivar access: as given; may be set at any time. The end is logged of those whose beginning was.
    """

    _log = Logger()

    def __init__(self, subcommand: str, gate: Gate, *, access: bool) -> None:
        self._subcommand = subcommand
        self._gate = gate
        self.access = access
        self._open: dict[Connection, tuple[Mapping[str, Any], float]] = {}

    def opened(self, connection: Connection) -> None:
        """
        Name a connection.

        :param connection: one that has just passed the gate.
        """
        number = next(_numbers)
        transport = connection.transport
        peer = _address(transport.getPeer)
        lowest = connection.socket
        prefix = getattr(lowest, "logstr", None)
        if isinstance(prefix, str):
            # Twisted's is NAME,NUMBER,HOST, with a number that is the port's own.
            name, _, rest = prefix.partition(",")
            words = f"{name},{number},{rest.partition(',')[2]}"
            lowest.logstr = ConnectionPrefix(  # type: ignore[union-attr]
                words, number, peer, self._subcommand
            )
        if self.access:
            known = {
                "connection": number,
                "peer": peer,
                "local": _address(transport.getHost),
                "subcommand": self._subcommand,
            }
            self._open[connection] = known, self._gate.clock.seconds()
            self._log.info("connection {connection} from {peer} to {local} opened", **known)

    def closed(self, connection: Connection, reason: Failure | None = None) -> None:
        """
        Say how a connection went.

        :param connection: one that has just been lost.
        :param reason: why.
        """
        known, since = self._open.pop(connection, (None, 0.0))
        if known is None:
            return
        counted: dict[str, object] = {}
        words = "connection {connection} from {peer} closed after {duration:.3f} s"
        if connection.socket is not None:
            counted = {"received": connection.socket.received, "sent": connection.socket.sent}
            words += ", {received} bytes received, {sent} sent"
        self._log.info(
            words + ": {reason}",
            duration=self._gate.clock.seconds() - since,
            reason="unknown" if reason is None else reason.getErrorMessage().rstrip("."),
            **known,
            **counted,
        )


def _address(ask: Callable[[], Any]) -> str:
    """An address as a person writes it; ``unix`` for one without a name."""
    address = ask()
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is not None:
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    name = getattr(address, "name", None)
    # The name is the peer's choice, and Twisted's own log escapes nothing but line ends.
    return f"unix:{escape(os.fsdecode(name))}" if name else "unix"


def attach(service: Any, logging: Logging, *, access: bool) -> None:
    """
    Have a subcommand's service log as its settings say.

    :param service: a :class:`~myproject.service.FactoryService`.
    :param logging: what its process logs with.
    :param access: whether there is an access log.
    """
    service.gate.journal = Journal(service.name, service.gate, access=access)
    # One is enough for the files of a process, and says what its level is.
    if service.name == logging.subcommand:
        service.logging = logging
        LogsService(logging).setServiceParent(cast("IServiceCollection", service))
