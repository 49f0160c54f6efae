"""irssi, as Debian has it, on the real server."""

from __future__ import annotations

from tests.core.authority import issue
from tests.interop.clients import ClientCase, Place
from tests.interop.irssi import Irssi
from tests.interop.weechat import Weechat


class IrssiTests(ClientCase):
    def test_two_talk(self) -> None:
        self.assert_talk(Irssi, Irssi)

    def test_it_talks_with_weechat(self) -> None:
        self.assert_talk(Irssi, Weechat)

    def test_it_refuses_a_certificate_that_it_cannot_verify(self) -> None:
        self.need("irssi")
        self.start_team("alice")
        other = issue("localhost").write(self.folder / "other.pem")
        alice = Irssi(self, Place(self.tls_port, "alice", other, "alice"))
        alice.wait_to_see("Could not verify TLS servers certificate")

    def test_it_is_not_let_in_without_an_account(self) -> None:
        self.need("irssi")
        self.start_team()
        alice = Irssi(self, Place(self.tls_port, "alice", self.certificate))
        alice.wait_to_see("account")
        self.assertFalse(alice.has_joined("#team"))
