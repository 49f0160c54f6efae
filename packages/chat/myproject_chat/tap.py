"""``twistd myproject-chat``: its settings, and the factory that they make."""

from __future__ import annotations

import myproject
from myproject import integer, ports, seconds, text
from myproject_chat.protocol import ChatFactory
from myproject_chat.settings import Settings

__all__ = ["Options", "makeFactory"]

_DEFAULTS = Settings()


class Options(myproject.Options):
    """Settings of the IRC server."""

    tapname = "myproject-chat"

    port = ports(6667)
    server_name = text(
        _DEFAULTS.server_name.decode(), help="The server's name, a word with a dot in it."
    )
    network_name = text(_DEFAULTS.network_name.decode(), help="The network's name, one word.")
    motd = text("", help="The message of the day; empty for none.")
    registration_timeout = seconds(
        _DEFAULTS.registration_timeout,
        minimum=1,
        help="Seconds in which a new connection has to register.",
    )
    ping_interval = seconds(
        _DEFAULTS.ping_interval,
        minimum=1,
        help="Seconds of silence after which a client is pinged.",
    )
    ping_timeout = seconds(
        _DEFAULTS.ping_timeout, minimum=1, help="Seconds that a pinged client has to say anything."
    )
    sendq = integer(
        _DEFAULTS.sendq,
        minimum=1 << 14,
        metavar="BYTES",
        help="Bytes that may wait for a client that does not read, before it is disconnected.",
    )
    max_channels = integer(
        _DEFAULTS.max_channels, minimum=1, help="Channels that one user may be in."
    )

    def validate(self) -> None:
        """Check the names, which stand in front of every line."""
        if not _is_word(self.server_name) or "." not in self.server_name:
            self.refuse(
                "server-name",
                f"{self.server_name!r} cannot be a server's name",
                "give a name like irc.example.org, of up to 63 letters, digits, dots and hyphens",
            )
        if not _is_word(self.network_name):
            self.refuse(
                "network-name",
                f"{self.network_name!r} cannot be a network's name",
                "give one word of up to 63 letters, digits, dots and hyphens",
            )


def _is_word(name: str) -> bool:
    plain = name.replace(".", "").replace("-", "")
    return len(name) <= 63 and name.isascii() and plain.isalnum()


def makeFactory(options: Options) -> ChatFactory:
    """
    Make the factory. It opens nothing and looks up no reactor.

    :param options: validated settings.
    """
    return ChatFactory(
        Settings(
            server_name=options.server_name.encode("ascii"),
            version=f"myproject-{myproject.__version__}".encode("ascii"),
            network_name=options.network_name.encode("ascii"),
            motd=options.motd.encode("utf-8", "replace"),
            registration_timeout=options.registration_timeout,
            ping_interval=options.ping_interval,
            ping_timeout=options.ping_timeout,
            sendq=options.sendq,
            max_channels=options.max_channels,
        )
    )
