"""irssi, driven through a terminal."""

from __future__ import annotations

import os
import pty
import re

from tests.interop.clients import Client, ClientCase, Place, read

__all__ = ["Irssi"]

_CONFIG = """
chatnets = {{ test = {{ type = "IRC"; {login} }}; }};
servers = ({{
  address = "localhost"; family = "inet"; chatnet = "test"; port = "{port}"; autoconnect = "yes"; {tls}
}});
settings = {{
  "irc/core" = {{ cmd_queue_speed = "20msec"; }};
  core = {{ nick = "{nick}"; user_name = "{nick}"; real_name = "An irssi"; }};
  "fe-common/core" = {{ autolog = "yes"; autolog_level = "ALL"; autolog_path = "{home}/$0.log"; }};
}};
"""

# What a terminal is told besides text: colours, and where the cursor goes.
_ESCAPE = re.compile(r"\x1b(\[[\d;?]*[A-Za-z]|[()].|[=>78M])")


class Irssi(Client):
    """One irssi on a terminal of its own."""

    program = "irssi"

    def begin(self, case: ClientCase, place: Place) -> None:
        login = tls = ""
        if place.account is not None:
            login = f'sasl_mechanism = "PLAIN"; sasl_username = "{place.account}";'
            login += f' sasl_password = "{place.password}";'
        if place.authority is not None:
            tls = f'use_tls = "yes"; tls_verify = "yes"; tls_cafile = "{place.authority}";'
        config = _CONFIG.format(
            port=place.port, nick=place.nick, home=self.home, login=login, tls=tls
        )
        (self.home / "config").write_text(config, "utf-8")
        self.screen = self.home / "screen"
        self.keyboard, terminal = pty.openpty()
        case.addCleanup(os.close, self.keyboard)
        with self.screen.open("wb") as output:
            case.start(["irssi", f"--home={self.home}"], output=output, stdin=terminal)
        os.close(terminal)
        # What is typed earlier may be typed at nobody.
        self.wait_to_see("Irssi v")

    def seen(self) -> str:
        logs = [read(log) for log in sorted(self.home.glob("*.log"))]
        return "\n".join([*logs, _ESCAPE.sub("", read(self.screen))])

    def has_joined(self, channel: str) -> bool:
        return f"{self.nick} [" in read(self.home / f"{channel}.log")

    def type(self, line: str) -> None:
        os.write(self.keyboard, f"{line}\r".encode())
