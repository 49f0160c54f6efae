"""WeeChat, as Debian has it, on the real server."""

from __future__ import annotations

from tests.core.authority import issue
from tests.interop.clients import ClientCase, Place
from tests.interop.weechat import Weechat


class WeechatTests(ClientCase):
    def test_two_talk_and_one_leaves(self) -> None:
        alice, bob = self.assert_talk(Weechat, Weechat)
        bob.join("#other")
        alice.join("#other")
        bob.leave()
        alice.wait_to_see("so long")

    def test_it_fetches_history(self) -> None:
        self.need("weechat-headless")
        self.start_team("alice", "bob")
        alice = Weechat(self, self.at("alice"))
        alice.join()
        for number in range(3):
            alice.say(f"before you came, number {number}")
        bob = Weechat(self, self.at("bob"))
        bob.join()
        # Of this version's own it knows neither batches nor CHATHISTORY; it shows what comes.
        bob.type("/quote CHATHISTORY LATEST #team * 10")
        for number in range(3):
            bob.wait_to_see(f"before you came, number {number}")
        self.assert_server_is_well()

    def test_it_refuses_a_certificate_that_it_cannot_verify(self) -> None:
        self.need("weechat-headless")
        self.start_team("alice")
        other = issue("localhost").write(self.folder / "other.pem")
        alice = Weechat(self, Place(self.tls_port, "alice", other, "alice"))
        alice.wait_to_see("certificate is NOT trusted")

    def test_it_is_told_of_a_wrong_password(self) -> None:
        self.need("weechat-headless")
        self.start_team("alice")
        place = Place(self.tls_port, "alice", self.certificate, "alice", "wrong")
        alice = Weechat(self, place)
        alice.wait_to_see("SASL authentication failed")
