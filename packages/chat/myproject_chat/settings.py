"""What an operator can choose, in the form in which the server uses it: frozen, and in bytes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """
    One server's settings.

    :ivar server_name: its name on the network, a word with a dot in it.
    :ivar version: what it says of itself, a word.
    :ivar network_name: the network's name, a word.
    :ivar motd: the message of the day, UTF-8, any number of lines; empty for none.
    :ivar greeting_delay: seconds of silence after which a new connection is told what this is.
    :ivar registration_timeout: seconds in which a connection has to register.
    :ivar ping_interval: seconds of silence after which a client is sent PING.
    :ivar ping_timeout: seconds that it then has to say anything at all.
    :ivar sendq: bytes that may wait for one client; over that it is disconnected.
    :ivar max_channels: channels that one user may be in.
    """

    server_name: bytes = b"irc.example"
    version: bytes = b"myproject"
    network_name: bytes = b"myproject"
    motd: bytes = b""
    # irssi and WeeChat send CAP within milliseconds; a person looks at an empty screen this long.
    greeting_delay: float = 5.0
    # InspIRCd gives 90 s by default; a client asks its user for nothing meanwhile.
    registration_timeout: float = 60.0
    # InspIRCd's example file has the same; a shorter one costs phones their battery.
    ping_interval: float = 120.0
    ping_timeout: float = 60.0
    # InspIRCd's hard limit (hardsendq). A reply to WHO of a channel of 10,000 has about that size.
    sendq: int = 1 << 20
    max_channels: int = 100
