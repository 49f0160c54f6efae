"""pydle, a client library for Python, on the real server: bots are written with such."""

from __future__ import annotations

from importlib.util import find_spec

from tests.core.authority import issue
from tests.interop.clients import ClientCase, Place
from tests.interop.pydle_client import Pydle


class PydleTests(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        # SASL is an extra of pydle's, another package.
        for module in ("pydle", "puresasl"):
            if find_spec(module) is None:
                self.lack(f"{module} is not installed")

    def test_two_talk_one_is_away_and_is_kicked(self) -> None:
        self.start_team("alice", "bob")
        alice = Pydle(self, self.at("alice"))
        alice.join()
        alice.wait_to_see("account alice\n")
        bob = Pydle(self, self.at("bob"))
        bob.join()
        alice.wait_to_see("join #team bob\n")
        alice.say("good day, é")
        bob.wait_to_see("message #team alice good day, é\n")
        bob.type("AWAY :catching fish")
        bob.say("gone")
        alice.wait_to_see("message #team bob gone\n")
        alice.say("are you there?", "bob")
        bob.wait_to_see("message bob alice are you there?\n")
        alice.wait_to_see("away bob catching fish\n")
        alice.type("KICK #team bob :come back later")
        bob.wait_to_see("kick #team bob alice come back later\n")
        self.assert_server_is_well()

    def test_it_fetches_history(self) -> None:
        self.start_team("alice", "bob")
        alice = Pydle(self, self.at("alice"))
        alice.join()
        alice.say("before you came")
        bob = Pydle(self, self.at("bob"))
        bob.join()
        bob.type("CHATHISTORY LATEST #team * 10")
        bob.wait_to_see("message #team alice before you came\n")
        self.assert_server_is_well()

    def test_it_refuses_a_certificate_that_it_cannot_verify(self) -> None:
        self.start_team("alice")
        other = issue("localhost").write(self.folder / "other.pem")
        alice = Pydle(self, Place(self.tls_port, "alice", other, "alice"))
        alice.wait_to_see("CERTIFICATE_VERIFY_FAILED")
