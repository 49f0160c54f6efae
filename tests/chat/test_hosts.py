"""What others see of where somebody is: a cloak, by default and from the beginning."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.configuration import Cloak
from tests.chat.harness import CHEAP, Chat, Client

ADDRESS = "192.168.1.1"
HIDDEN = Cloak(secret="k" * 32)
BY_ACCOUNT = Cloak(secret="k" * 32, accounts=True, suffix="example.net")


def cloaked(cloak: Cloak = HIDDEN) -> Chat:
    return Chat(cloak=cloak)


def host_of(client: Client, nick: str = "al") -> str:
    """As a client is told."""
    (words,) = [line for line in client.type(f"USERHOST {nick}") if " 302 " in line]
    return words.rpartition("@")[2]


class CloakedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = cloaked()
        self.al = self.chat.join("al", "#a")
        self.bo = self.chat.join("bo", "#a", address="10.9.8.7")
        self.chat.hush(self.al, self.bo)

    def test_nobody_else_is_shown_an_address_whatever_they_ask(self) -> None:
        host = host_of(self.bo)
        self.assertTrue(host.endswith(".ip"))
        asked = [
            *("WHOIS al", "WHOWAS al", "WHO al", "WHO #a %acdfhilnrstuo", "WHO #a", "USERHOST al"),
            *("NAMES #a", "STATS l", "STATS L", "MODE #a b", "LINKS", "METADATA al LIST"),
        ]
        lines = self.bo.type(*asked)
        for words in (
            "PRIVMSG bo :hello",
            "NICK alan",
            "TOPIC #a :new",
            "AWAY :out",
            "PART #a",
            "QUIT",
        ):
            self.al.type(words)
            lines += self.bo.read()
        lines += self.bo.type("WHOWAS alan")
        self.assertNotIn(ADDRESS, "\n".join(lines))
        self.assertIn(host, "\n".join(lines))

    def test_one_is_told_ones_host_and_sees_ones_own_address(self) -> None:
        eve = self.chat.connect()
        (told,) = [line for line in eve.type("NICK eve", "USER eve 0 * :Eve") if " 396 " in line]
        host = host_of(eve, "eve")
        self.assertEqual(f":irc.example 396 eve {host} :is your visible host now", told)
        (actually,) = [line for line in eve.type("WHOIS eve") if " 338 " in line]
        self.assertIn(f" {ADDRESS} ", actually)

    def test_bans_are_held_against_the_cloak_and_the_address(self) -> None:
        host = host_of(self.bo, "bo")
        self.bo.type("PART #a")
        self.al.type("JOIN #b")
        wide = "*." + host.split(".", 1)[1]
        for mask in f"*!*@{host}", "*!*@10.9.8.7", f"*!*@{wide}", "*!*@10.9.*":
            self.al.type(f"MODE #b +b {mask}")
            self.assertEqual(["474"], self.bo.codes("JOIN #b"), mask)
            self.al.type(f"MODE #b -b {mask}")
        self.assertIn("JOIN", self.bo.codes("JOIN #b"))


class PlainTests(SynchronousTestCase):
    def test_without_cloaks_the_host_is_the_address(self) -> None:
        al = Chat().connect()
        lines = al.type("NICK al", "USER al 0 * :Al")
        self.assertFalse([line for line in lines if " 396 " in line])
        self.assertEqual(ADDRESS, host_of(al))


class AccountTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat(cloak=BY_ACCOUNT, accounts=CHEAP)
        self.bo = self.chat.join("bo", "#a", caps="chghost")
        self.al = self.chat.join("al", "#a")
        self.before = host_of(self.bo)
        self.chat.hush(self.bo, self.al)

    def test_who_logs_in_changes_hosts_and_who_logs_out_does_so_again(self) -> None:
        told = self.al.type("REGISTER * * long-enough-for-it")
        self.assertTrue(any(" 396 al al.users.example.net " in line for line in told), told)
        source = f":al!~al@{self.before}"
        self.assertIn(f"{source} CHGHOST ~al al.users.example.net", self.bo.read())

    def test_a_ban_on_the_cloak_holds_whoever_is_logged_in(self) -> None:
        self.al.type("REGISTER * * long-enough-for-it")
        self.bo.type("JOIN #b", f"MODE #b +b *!*@{self.before}")
        self.assertEqual(["474"], self.al.codes("JOIN #b"))


class KeyTests(SynchronousTestCase):
    def test_the_key_is_made_once_and_kept(self) -> None:
        """So a ban on a cloak is one on the same person after a restart."""
        hosts = []
        secrets: dict[str, bytes] = {}
        for _ in range(2):
            chat = cloaked(Cloak())
            store = Secrets(secrets)
            chat.server.hosts.open(store, dict(secrets))
            hosts.append(host_of(chat.join("al")))
        self.assertEqual(hosts[0], hosts[1])
        self.assertEqual(["cloak"], list(secrets))
        self.assertNotEqual(hosts[0], host_of(cloaked(Cloak()).join("al")))

    def test_a_key_of_the_configuration_is_not_written_down(self) -> None:
        secrets: dict[str, bytes] = {}
        chat = cloaked()
        before = chat.server.hosts.of_address(ADDRESS)
        chat.server.hosts.open(Secrets(secrets), {"cloak": b"x" * 32})
        self.assertEqual({}, secrets)
        self.assertEqual(before, chat.server.hosts.of_address(ADDRESS))


class Secrets:
    """A store of secrets."""

    def __init__(self, kept: dict[str, bytes]) -> None:
        self.kept = kept

    def put_secret(self, name: str, value: bytes, /) -> int:
        self.kept[name] = value
        return len(self.kept)
