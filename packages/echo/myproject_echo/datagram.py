"""
Echo over UDP (RFC 862): each datagram goes back to where it says it came from.

"Says" is the danger: one datagram with a forged source, another echo server's address, and the two
answer each other for ever (CERT advisory CA-1996-01). So nothing goes to a port below 1024, where
echo, chargen and their like live, nor to any port number that we ourselves answer on, where the
next of our kind would, or another socket of our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.protocol import DatagramProtocol

if TYPE_CHECKING:
    from twisted.internet.interfaces import IUDPTransport

__all__ = ["LOWEST_ANSWERED_PORT", "EchoDatagramProtocol"]

#: Ports below this one are for system services (RFC 6335, section 6); a person's client has none.
LOWEST_ANSWERED_PORT: Final = 1024


class EchoDatagramProtocol(DatagramProtocol):
    """
    Sends every datagram back, unless that could begin a loop.

    :param own_ports: the ports that this server answers on, shared by all its sockets; each adds its
        own when it is bound.
    """

    transport: IUDPTransport

    # The ports say in the log when they open and close.
    noisy = False

    def __init__(self, own_ports: set[int]) -> None:
        self.own_ports = own_ports

    def startProtocol(self) -> None:
        """Make the port known, now that it is bound."""
        self.own_ports.add(self.transport.getHost().port)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Send it back.

        :param datagram: what came.
        :param addr: the sender's host and port, as the kernel has them.
        """
        port = addr[1]
        if port < LOWEST_ANSWERED_PORT or port in self.own_ports:
            return
        try:
            self.transport.write(datagram, addr)
        except OSError:
            # The route back is gone, or the socket's buffer full: UDP may lose what it likes.
            return
