"""
What an operator can choose, in the form in which the server uses it: frozen, in bytes where lines are made.

The tables of the configuration file are structures, which :mod:`myproject_chat.configuration` describes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from myproject_chat.configuration import (
    Accounts,
    Channels,
    Cloak,
    Fakelag,
    History,
    Limits,
    Operator,
    Sts,
    Throttle,
    Webirc,
    WebSocket,
)

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """
    One server's settings.

    :ivar server_name: its name on the network, a word with a dot in it.
    :ivar version: gives what it says of itself, a word.
    :ivar network_name: the network's name, a word.
    :ivar description: what the server is, UTF-8; WHOIS and INFO show it.
    :ivar motd: the message of the day, UTF-8, any number of lines; empty for none.
    :ivar admin: up to three lines that ADMIN answers with, UTF-8.
    :ivar web_port: where the page and IRC over WebSocket are.
    :ivar web_tls_port: the same with TLS.
    :ivar password: what PASS has to give before a client may register; empty for nothing.
    :ivar state: the path of the SQLite file, or ``:memory:``.
    :ivar greeting_delay: seconds of silence after which a new connection is told what this is.
    :ivar registration_timeout: seconds in which a connection has to register.
    :ivar ping_interval: seconds of silence after which a client is sent PING.
    :ivar ping_timeout: seconds that it then has to say anything at all.
    :ivar sendq: bytes that may wait for one client; over that it is disconnected.
    :ivar max_channels: channels that one user may be in.
    :ivar limits: how long and how many.
    :ivar throttle: what one host may do in a while.
    :ivar fakelag: how fast lines are obeyed.
    :ivar accounts: who may have an account, and what it gives.
    :ivar history: what is kept of what was said.
    :ivar channels: how channels begin.
    :ivar cloak: what others see of addresses.
    :ivar sts: whether clients are told to come back over TLS.
    :ivar websocket: IRC over WebSocket.
    :ivar operators: those who may OPER.
    :ivar gateways: those who may WEBIRC.
    """

    server_name: bytes = b"irc.example"
    version: Callable[[], bytes] = lambda: b"myproject"
    network_name: bytes = b"myproject"
    description: bytes = b"an IRC server"
    motd: bytes = b""
    admin: tuple[bytes, ...] = ()
    web_port: tuple[str, ...] = ()
    web_tls_port: tuple[str, ...] = ()
    password: bytes = b""
    state: str = ":memory:"
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
    limits: Limits = field(default_factory=Limits)
    throttle: Throttle = field(default_factory=Throttle)
    fakelag: Fakelag = field(default_factory=Fakelag)
    accounts: Accounts = field(default_factory=Accounts)
    history: History = field(default_factory=History)
    channels: Channels = field(default_factory=Channels)
    cloak: Cloak = field(default_factory=Cloak)
    sts: Sts = field(default_factory=Sts)
    websocket: WebSocket = field(default_factory=WebSocket)
    operators: tuple[Operator, ...] = ()
    gateways: tuple[Webirc, ...] = ()

    @classmethod
    def of(cls, options: Mapping[str, Any], version: Callable[[], bytes] = version) -> Self:
        """
        Make settings of options: at the start, and for each reload.

        :param options: validated ones, by the names that they have in the file.
        :param version: gives what the server says of itself.
        """
        return cls(
            server_name=options["server-name"].encode("ascii"),
            version=version,
            network_name=options["network-name"].encode("ascii"),
            description=_utf8(options["description"]),
            motd=_utf8(options["motd"]),
            admin=tuple(map(_utf8, options["admin"])),
            web_port=options["web-port"],
            web_tls_port=options["web-tls-port"],
            password=_utf8(options["password"]),
            state=options["state"],
            registration_timeout=options["registration-timeout"],
            ping_interval=options["ping-interval"],
            ping_timeout=options["ping-timeout"],
            sendq=options["sendq"],
            max_channels=options["max-channels"],
            limits=options["limits"],
            throttle=options["throttle"],
            fakelag=options["fakelag"],
            accounts=options["accounts"],
            history=options["history"],
            channels=options["channels"],
            cloak=options["cloak"],
            sts=options["sts"],
            websocket=options["websocket"],
            operators=options["operator"],
            gateways=options["webirc"],
        )

    def updated(self, options: Mapping[str, Any], changed: Collection[str]) -> Self:
        """
        Take some of the options, and leave what others make as it is.

        :param options: validated ones, by the names that they have in the file.
        :param changed: the names of those to take.
        """
        read = self.of(options, self.version)
        fields = {_FIELDS.get(name, name.replace("-", "_")) for name in changed}
        return replace(self, **{name: getattr(read, name) for name in fields})


# Options whose fields have another name; a file's text becomes that of the option beside it.
_FIELDS = {"operator": "operators", "webirc": "gateways", "motd-file": "motd"}


def _utf8(text: str) -> bytes:
    # Words of a command line that are not UTF-8 hold what only Python understands.
    return text.encode("utf-8", "replace")
