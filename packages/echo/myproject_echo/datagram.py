"""
Echo over UDP (RFC 862): each datagram goes back to where it says it came from.

"Says" is the danger: one datagram with a forged source, another echo server's address, and the two
answer each other for ever (CERT advisory CA-1996-01). So nothing goes to a port below 1024, where echo, chargen
and their like live, nor to the port number that we ourselves listen on, where the next of our kind would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import DatagramProtocol

if TYPE_CHECKING:
    from twisted.internet.interfaces import IUDPTransport

__all__ = ["LOWEST_ANSWERED_PORT", "EchoDatagramProtocol"]

#: Ports below this one belong to system services (RFC 6335, section 6), a person's client never has one.
LOWEST_ANSWERED_PORT = 1024


class EchoDatagramProtocol(DatagramProtocol):
    """Sends every datagram back, unless that could begin a loop."""

    transport: IUDPTransport

    def startProtocol(self) -> None:
        """Learn the port, once it is bound."""
        self._own_port = self.transport.getHost().port

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Send it back.

        :param datagram: what came.
        :param addr: the sender's host and port, as the kernel has them.
        """
        if addr[1] < LOWEST_ANSWERED_PORT or addr[1] == self._own_port:
            return
        try:
            self.transport.write(datagram, addr)
        except OSError:
            # The route back is gone, or the socket's buffer full: UDP may lose what it likes.
            return
