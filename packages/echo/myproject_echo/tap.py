"""The subcommand ``myproject-echo``: its options, and the factory that they describe."""

from __future__ import annotations

import myproject
from myproject.settings import flag, ports
from myproject_echo.factory import EchoFactory

__all__ = ["Options", "makeFactory"]


class Options(myproject.Options):
    """Options of ``twistd myproject-echo``."""

    tapname = "myproject-echo"
    longdesc = "An echo server (RFC 862): every byte comes back, unchanged and in order."

    port = ports(7007)
    udp = flag(
        help="Echo UDP datagrams too, on the same port numbers. One that comes from a port below 1024,"
        " or from one of the server's own, is never answered, lest two servers echo for ever."
    )

    def validate(self) -> None:
        """
        See that UDP has a port number to go by.

        :raises SettingError: ``udp`` is on, and a port is an endpoint description.
        """
        if self.udp and not all(port.isdigit() for port in self.port):
            self.refuse(
                "udp",
                "an endpoint description says nothing of UDP",
                "give port numbers alone to --port, or leave --udp out",
            )


def makeFactory(options: Options) -> EchoFactory:
    """
    Make the factory.

    :param options: validated options.
    """
    return EchoFactory(options.port if options.udp else ())
