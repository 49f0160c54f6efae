"""WeeChat without a terminal, driven through its fifo."""

from __future__ import annotations

import re
import subprocess

from tests.interop.clients import Client, ClientCase, Place, read, wait_for

__all__ = ["Weechat"]


def _tls() -> str:
    """What WeeChat calls TLS: ssl, before its version 4."""
    said = subprocess.run(["weechat-headless", "--version"], capture_output=True, check=True)
    match = re.match(rb"\d+", said.stdout)
    return "tls" if match is not None and int(match[0]) >= 4 else "ssl"


class Weechat(Client):
    """One headless WeeChat."""

    program = "weechat-headless"

    def begin(self, case: ClientCase, place: Place) -> None:
        self.fifo = self.home / "fifo"
        self.screen = self.home / "screen"
        server, tls = "irc.server.test", _tls()
        commands = [
            f"/set fifo.file.path {self.fifo}",
            "/set logger.file.flush_delay 0",
            # Nothing is left out of the logs.
            "/set logger.level.irc 9",
            "/set irc.look.smart_filter off",
            "/set irc.look.display_away channel",
            f"/server add test localhost/{place.port} -nicks={place.nick} -username={place.nick}",
            f"/set {server}.ipv6 off",
            f"/set {server}.anti_flood_prio_high 0",
            f"/set {server}.anti_flood_prio_low 0",
            f"/set {server}.{tls} {'off' if place.authority is None else 'on'}",
        ]
        if place.authority is not None:
            commands.append(f"/set weechat.network.gnutls_ca_user {place.authority}")
        if place.account is not None:
            commands += [
                f"/set {server}.sasl_username {place.account}",
                f"/set {server}.sasl_password {place.password}",
                f"/set {server}.sasl_fail disconnect",
            ]
        commands.append("/connect test")
        with self.screen.open("wb") as output:
            case.start(
                ["weechat-headless", "--stdout", "-d", str(self.home), "-r", ";".join(commands)],
                output=output,
            )
        wait_for(f"{self.nick}'s fifo", self.fifo.exists, self.detail)
        wait_for(f"{self.nick}'s server", (self.home / "logs").exists, self.detail)

    def seen(self) -> str:
        """All buffers' logs, in which a tab is between who and what."""
        return "\n".join(read(log) for log in sorted(self.home.glob("logs/irc.*.weechatlog")))

    def seen_in(self, buffer: str) -> str:
        """The log of one channel or person."""
        return read(self.home / "logs" / f"irc.test.{buffer}.weechatlog")

    def detail(self) -> str:
        return f"{self.seen()}\n{read(self.screen)[-4000:]}"

    def has_joined(self, channel: str) -> bool:
        return "has joined" in self.seen_in(channel)

    def type(self, line: str) -> None:
        with self.fifo.open("w", encoding="utf-8") as fifo:
            fifo.write(f"irc.server.test *{line}\n")
