"""
The ten-minute guide, followed: the settings and commands are read from its page, the people have WeeChat.

Only the ports differ from what it prints, as a test uses those that the system chooses.
"""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path

from tests.docs.console import Page, blocks, commands
from tests.interop.clients import ClientCase, Place, read, wait_for
from tests.interop.weechat import Weechat

_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-a-chat-for-your-team.md"
_PORTS = (
    "--port=tcp:0:interface=127.0.0.1",
    "--tls-port=tcp:0:interface=127.0.0.1",
)


class TenMinutesTests(ClientCase):
    """A server configured by the guide."""

    def setUp(self) -> None:
        super().setUp()
        self.need("weechat-headless", "openssl")
        text = _PAGE.read_text(encoding="utf-8")
        before, start, after = text.partition("## Start it")
        self.assertTrue(start)
        self.page = Page(self.folder)
        self.follow(before)
        self.start_server("--config", "chat.toml", *_PORTS)
        self.follow(after.partition("\n## ")[0])
        # People would wait for the second or two in which the server notices the accounts.
        self.restart()
        self.certificate = self.folder / "fullchain.pem"
        # The people type what the page says.
        self.said = [
            line
            for block in blocks(text)
            if block.language == "text"
            for line in block.text.splitlines()
        ]

    def restart(self) -> None:
        """Stop the server, and start it again."""
        self.server.send_signal(signal.SIGTERM)
        self.server.wait()
        self.start_server("--config", "chat.toml", *_PORTS)

    def follow(self, part: str) -> None:
        """Do what a part of the page says, but start the server."""
        for block in blocks(part):
            if block.language != "console":
                self.page.follow(block)
                continue
            for command in commands(block):
                if not command.line.startswith("twistd -n"):
                    self.page.do(command)

    def person(self, account: str, name: str = "") -> Weechat:
        """Somebody with the password that the guide has made."""
        password = read(self.folder / f"{account}.password").strip()
        place = Place(self.tls_port, account, self.certificate, account, password, name)
        return Weechat(self, place)

    def type_from_page(self, who: Weechat, beginning: str) -> None:
        """Type a line of the page."""
        (line,) = [line for line in self.said if line.startswith(beginning)]
        who.type(line)

    def make_channel(self) -> Weechat:
        alice = self.person("alice")
        alice.join()
        self.type_from_page(alice, "/msg ChanServ REGISTER")
        alice.wait_to_see("#team is registered")
        self.type_from_page(alice, "/msg ChanServ AMODE")
        return alice

    def test_two_people_log_in_over_tls_and_talk_in_a_registered_channel(self) -> None:
        alice = self.make_channel()
        bob = self.person("bob")
        bob.join()
        alice.wait_to_see("+o bob")
        alice.say("good day")
        bob.wait_to_see("good day")
        bob.say("and to you")
        alice.wait_to_see("and to you")
        self.assertIn("peer's certificate is trusted", alice.seen())
        self.assert_server_is_well()

    def test_who_has_no_account_is_not_let_in(self) -> None:
        place = Place(self.tls_port, "mallory", self.certificate)
        mallory = Weechat(self, place)
        mallory.wait_to_see("ACCOUNT_REQUIRED")
        self.assertNotIn("Welcome to", mallory.seen())

    def test_the_guides_operator_is_one(self) -> None:
        alice = self.person("alice")
        alice.wait_to_see("Welcome to ")
        password = read(self.folder / "operator.password").strip()
        alice.type(f"/oper alice {password}")
        alice.wait_to_see("You are now an operator of the server")

    def test_a_registered_channel_has_history_also_after_a_restart(self) -> None:
        alice = self.make_channel()
        alice.say("before you came")
        bob = self.person("bob")
        bob.join()
        self.type_from_page_history(bob)
        bob.wait_to_see("before you came")
        self.restart()
        shutil.rmtree(bob.home)
        bob = self.person("bob")
        # Always on, it is in the channel already.
        bob.join()
        self.type_from_page_history(bob)
        bob.wait_to_see("before you came")
        self.assert_server_is_well()

    def type_from_page_history(self, who: Weechat) -> None:
        """Ask for history in the words of the page."""
        match = re.search(r"`(/quote CHATHISTORY [^`]*)`", _PAGE.read_text(encoding="utf-8"))
        assert match is not None
        who.type(match[1])

    def test_the_same_nick_from_two_clients(self) -> None:
        alice = self.make_channel()
        other = self.person("alice", "phone")
        wait_for("the phone in #team", lambda: other.has_joined("#team"), other.detail)
        bob = self.person("bob")
        bob.join()
        bob.say("hello to both")
        alice.wait_to_see("hello to both")
        other.wait_to_see("hello to both")
        other.say("from the phone")
        bob.wait_to_see("from the phone")
        alice.wait_to_see("from the phone")
        self.assertNotIn("Nickname is already in use", other.seen())
        self.assert_server_is_well()

    def sees_away(self, who: Weechat, nick: str) -> bool:
        """Ask whether somebody is there without a client."""
        before = who.seen().count("End of WHOIS")
        who.type(f"/whois {nick}")
        who.wait_to_see("End of WHOIS", before + 1)
        return "No client is connected" in who.seen()

    def test_messages_missed_while_away(self) -> None:
        alice = self.make_channel()
        bob = self.person("bob")
        bob.join()
        bob.leave()
        wait_for("bob to be away", lambda: self.sees_away(alice, "bob"), alice.detail)
        alice.say("you missed this")
        alice.say("and this")
        back = self.person("bob", "back")
        wait_for("bob to be back", lambda: back.has_joined("#team"), back.detail)
        self.type_from_page_history(back)
        back.wait_to_see("you missed this")
        back.wait_to_see("and this")
        self.assert_server_is_well()
