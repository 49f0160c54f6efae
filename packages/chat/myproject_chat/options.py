"""What ``twistd myproject-chat`` can be told: its table of settings, and what they have to be together."""

from __future__ import annotations

import os
from typing import Final

import myproject
from myproject import Setting, integer, path, ports, seconds, strings, text, tls_ports
from myproject.options import DEFAULT
from myproject.settings import Kind, reloadable
from myproject.structures import structure, structures
from myproject_chat import configuration
from myproject_chat.settings import Settings

__all__ = ["Options"]

_DEFAULTS = Settings()

# Where Ergo's example file has its WebSocket.
_WEB_PORT: Final = "8097"

# Who names one of these names all that there are to be.
_PORTS: Final = ("port", "tls-port", "web-port", "web-tls-port")

_MEMORY: Final = ":memory:"

# A message of the day is sent to everyone who connects, in lines.
_LARGEST_MOTD: Final = 1 << 16

# The three that ADMIN answers with: 257, 258 and 259.
_ADMIN_LINES: Final = 3


def _parse_state(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError("it cannot be a file's name")
    return value


_STATE: Final = Kind[str]("FILE", f"the path of a file, or {_MEMORY}", (str,), _parse_state, str)


class Options(myproject.Options):
    """Settings of the IRC server."""

    tapname = "myproject-chat"
    one_process = "its users and channels are in that process's memory"

    port = ports(6667)
    web_port = ports(
        None,
        help="Where to serve the chat's page, and IRC over WebSocket: as for --port, and beside it; may be"
        f" repeated. {_WEB_PORT} if no port at all is named.",
        short="",
    )
    web_tls_port = tls_ports(
        help="The same with TLS (https and wss), with the certificate of --tls-port; may be repeated."
    )
    server_name = text(
        _DEFAULTS.server_name.decode(), help="The server's name, a word with a dot in it."
    )
    network_name = text(_DEFAULTS.network_name.decode(), help="The network's name, one word.")
    description = reloadable(
        text(_DEFAULTS.description.decode(), help="What the server is, one line.")
    )
    motd = reloadable(text("", help="The message of the day; empty for none."))
    motd_file = reloadable(
        path(
            help="A file that has the message of the day, UTF-8, of 64 KiB at most; in place of --motd."
        )
    )
    admin = reloadable(
        strings(
            metavar="LINE",
            help="A line that ADMIN answers with (where the server is, whose it is, whom to write to); up to"
            " three.",
        )
    )
    password = reloadable(
        text(
            "",
            secret=True,
            help="What clients have to give with PASS before they may connect; empty for nothing. Better in"
            " the file: other users of the machine see the command line.",
        )
    )
    # In the folder that twistd is started in, as its own pidfile and log are: systemd's WorkingDirectory
    # and a container's WORKDIR name the place once, and a trial needs no rights elsewhere.
    state: Setting[str] = Setting(
        _STATE,
        "myproject-chat.sqlite",
        help="Where accounts, channels, bans and history are kept: an SQLite file, made when it is missing;"
        f" or {_MEMORY}, for nothing that outlives the process.",
    )
    registration_timeout = reloadable(
        seconds(
            _DEFAULTS.registration_timeout,
            minimum=1,
            help="Seconds in which a new connection has to register.",
        )
    )
    ping_interval = reloadable(
        seconds(
            _DEFAULTS.ping_interval,
            minimum=1,
            help="Seconds of silence after which a client is pinged.",
        )
    )
    ping_timeout = reloadable(
        seconds(
            _DEFAULTS.ping_timeout,
            minimum=1,
            help="Seconds that a pinged client has to say anything.",
        )
    )
    sendq = reloadable(
        integer(
            _DEFAULTS.sendq,
            minimum=1 << 14,
            metavar="BYTES",
            help="Bytes that may wait for a client that does not read, before it is disconnected.",
        )
    )
    max_channels = reloadable(
        integer(_DEFAULTS.max_channels, minimum=1, help="Channels that one user may be in.")
    )

    limits = reloadable(
        structure(
            configuration.Limits,
            help="How long and how many, in bytes of UTF-8 where it is a length; beside --sendq and"
            " --max-channels.",
        )
    )
    throttle = reloadable(
        structure(
            configuration.Throttle,
            help="What one host (an IPv4 address, an IPv6 /64) may do in a while.",
        )
    )
    fakelag = reloadable(
        structure(
            configuration.Fakelag,
            help="How fast one client's lines are obeyed; faster ones wait.",
        )
    )
    accounts = reloadable(
        structure(configuration.Accounts, help="Who may have an account, and what it gives.")
    )
    history = reloadable(
        structure(configuration.History, help="What is kept of what was said, and for how long.")
    )
    channels = reloadable(structure(configuration.Channels, help="How channels begin."))
    # Not reloadable: with another key, every ban of a cloaked host would hold someone else, or nobody.
    cloak = structure(configuration.Cloak, help="What others see of a user's address.")
    sts = reloadable(
        structure(configuration.Sts, help="Whether clients are told to come back over TLS only.")
    )
    websocket = reloadable(
        structure(configuration.WebSocket, help="IRC over WebSocket, for clients in the browser.")
    )
    operator = reloadable(structures(configuration.Operator, help="Someone who may OPER."))
    webirc = reloadable(
        structures(
            configuration.Webirc,
            help="A gateway that may say whose connection it brings (WEBIRC).",
        )
    )

    def validate(self) -> None:
        """Check the names, which stand in front of every line, and what settings say together."""
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
        for name, line in [
            ("description", self.description),
            *(("admin", one) for one in self.admin),
        ]:
            if not line.isprintable() or len(line.encode("utf-8", "replace")) > 300:
                self.refuse(
                    name, "it is no line to show", "give up to 300 bytes without control characters"
                )
        if len(self.admin) > _ADMIN_LINES:
            self.refuse("admin", f"it has {len(self.admin)} lines", "give up to three")
        # Neither CR, LF nor NUL can be sent in a line, nor 512 bytes with PASS in front.
        if not self.password.isprintable() or len(self.password.encode("utf-8", "replace")) > 500:
            self.refuse(
                "password",
                "no client could send it",
                "give up to 500 bytes without control characters",
            )
        if self.state != _MEMORY:
            # twistd changes its folder later; a reload, which knows the first one, comes to the same.
            self["state"] = os.path.abspath(self.state)
        self._read_motd()
        self._check_together()

    def _read_motd(self) -> None:
        """Take the message of the day from its file, now: what changed there is then seen as a change."""
        if self.motd_file is None:
            return
        try:
            with self.motd_file.open("rb") as file:
                content = file.read(_LARGEST_MOTD + 1)
        except OSError as error:
            words = (error.strerror or type(error).__name__).lower()
            self.refuse("motd-file", f"{self.motd_file}: {words}", "name a file that can be read")
        if len(content) > _LARGEST_MOTD:
            self.refuse("motd-file", f"{self.motd_file} is too large", "give 64 KiB at most")
        try:
            self["motd"] = content.decode()
        except UnicodeDecodeError:
            self.refuse("motd-file", f"{self.motd_file} is not UTF-8", "write it as UTF-8")
        self.sources["motd"] = str(self.motd_file)

    def _check_together(self) -> None:
        if all(self.sources[name] == DEFAULT for name in _PORTS):
            self["web-port"] = (_WEB_PORT,)
        if self.sts.enabled and not self.tls_port:
            self.refuse(
                "sts",
                "clients would be sent to a TLS port that is not there",
                "give --tls-port, or set enabled to false",
            )
        self._check_names("operator", [one.name for one in self.operator])
        self._check_names("webirc", [one.name for one in self.webirc])

    def _check_names(self, setting: str, names: list[str]) -> None:
        for index, name in enumerate(names):
            if name in names[:index]:
                where = f"{setting}[{index}].name"
                self.refuse(where, f"{name!r} is there twice", "give each another name")


def _is_word(name: str) -> bool:
    plain = name.replace(".", "").replace("-", "")
    return len(name) <= 63 and name.isascii() and plain.isalnum()
