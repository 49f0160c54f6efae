"""The factory of the echo server, and the UDP service beside its ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.protocol import Factory
from zope.interface import implementer

from myproject.interfaces import IHasServices
from myproject.service import DatagramService
from myproject_echo.datagram import EchoDatagramProtocol
from myproject_echo.stream import EchoProtocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.application.service import IService

__all__ = ["EchoFactory"]


@implementer(IHasServices)
class EchoFactory(Factory):
    """
    Makes an echo for each connection.

    :param udp_ports: the UDP ports to answer on, as digits; none by default.
    """

    protocol = EchoProtocol

    # The ports say in the log when they open and close.
    noisy = False

    def __init__(self, udp_ports: Sequence[str] = ()) -> None:
        self.udp_ports = tuple(udp_ports)

    def services(self) -> list[IService]:
        """The UDP service, if any port asks for it."""
        if not self.udp_ports:
            return []
        own_ports: set[int] = set()
        return [DatagramService(lambda: EchoDatagramProtocol(own_ports), self.udp_ports)]
