"""WEBIRC: whose connection a gateway brings; and STS: where clients are told to come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from argon2 import PasswordHasher
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.configuration import Cloak, Fakelag, Sts, Throttle, Webirc
from myproject_chat.configuration.fields import Fingerprint, Network
from tests.chat.harness import Chat, Client

WORD = "open-sesame"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(WORD)
MARK = "ef" * 32
THERE = (Network.parse("192.168.1.0/24"),)
BY_WORD = Webirc(name="kiwi", networks=THERE, password_hash=HASH)
BY_MARK = Webirc(name="lounge", networks=THERE, fingerprint=Fingerprint.parse(MARK))
BOTH = Webirc(name="both", networks=THERE, fingerprint=Fingerprint.parse(MARK), password_hash=HASH)
ALL = BY_WORD, BY_MARK, BOTH


def gates(**settings: Any) -> Chat:
    return Chat(gateways=ALL, **settings)


def webirc(client: Client, *options: str, name: str = "kiwi", word: str = WORD) -> list[str]:
    tail = f" :{' '.join(options)}" if options else ""
    return client.type(f"WEBIRC {word} {name} home.example.net 203.0.113.9{tail}")


class WebircTests(SynchronousTestCase):
    def test_the_client_is_where_the_gateway_says(self) -> None:
        client = gates().connect()
        self.assertEqual([], webirc(client))
        lines = client.type("NICK al", "USER al 0 * :Al", "WHOIS al")
        self.assertIn(":Welcome to myproject, al!~al@home.example.net", " ".join(lines))
        (actually,) = [line for line in lines if " 338 " in line]
        self.assertIn(" 203.0.113.9 ", actually)

    def test_with_cloaks_neither_the_address_nor_the_name_is_seen(self) -> None:
        chat = gates(cloak=Cloak(secret="k" * 32))
        client = chat.connect()
        webirc(client)
        lines = client.type("NICK al", "USER al 0 * :Al")
        self.assertNotIn("home.example", " ".join(lines))
        self.assertIn(chat.server.hosts.of_address("203.0.113.9").decode(), " ".join(lines))

    def test_a_host_that_is_none_is_not_shown(self) -> None:
        for host in "local", "a!b@c.d", "x" * 63 + ".d":
            client = gates().connect()
            client.type(f"WEBIRC {WORD} kiwi {host} 203.0.113.9", "NICK al")
            self.assertIn("@203.0.113.9", client.type("USER al 0 * :Al")[0])

    def test_by_certificate_and_by_both(self) -> None:
        cases = [
            *(("lounge", "x", MARK, True), ("lounge", "x", "", False)),
            *(("both", WORD, MARK, True), ("both", "x", MARK, False), ("both", WORD, "", False)),
        ]
        for name, word, mark, right in cases:
            client = gates().connect()
            client.protocol.session.fingerprint = mark.encode() or None
            told = webirc(client, name=name, word=word)
            self.assertEqual(right, told == [], (name, word, mark))
            if right:
                self.assertIsNone(client.protocol.session.fingerprint)

    def test_who_is_no_gateway_is_told_the_same_whatever_is_wrong(self) -> None:
        chat = gates()
        told = [
            webirc(chat.connect(), word="wrong-word"),
            webirc(chat.connect(), name="nobody"),
            webirc(chat.connect("192.168.2.1")),
        ]
        self.assertEqual(1, len({line.rpartition("(")[2] for lines in told for line in lines}))
        self.assertTrue(all(lines[0].startswith("ERROR ") for lines in told))

    def test_passwords_cannot_be_guessed_fast(self) -> None:
        chat = gates()
        for _ in range(8):
            webirc(chat.connect(), word="wrong-word")
        self.assertIn("ERROR", webirc(chat.connect())[0])

    def test_it_comes_first_or_not_at_all(self) -> None:
        for before in (
            "NICK al",
            "USER al 0 * :Al",
            "CAP LS 302",
            "CAP REQ :batch",
            "AUTHENTICATE PLAIN",
        ):
            client = gates().connect()
            client.type(before)
            self.assertIn("WEBIRC has to be the first command", webirc(client)[-1])
        self.assertIn(" 462 ", webirc(gates().join("al"))[0])

    def test_connections_count_for_whom_they_are_brought(self) -> None:
        chat = gates(throttle=Throttle(connections=2))
        told = [webirc(chat.connect()) for _ in range(3)]
        self.assertEqual([[], []], told[:2])
        self.assertIn("Too many connections", told[2][0])
        other = chat.connect().type(f"WEBIRC {WORD} kiwi host.example 203.0.113.10")
        self.assertEqual([], other)

    def test_an_address_that_is_none_ends_it(self) -> None:
        client = gates().connect()
        (line,) = client.type(f"WEBIRC {WORD} kiwi host.example nowhere")
        self.assertIn("no IP address", line)

    def test_only_a_private_way_to_a_private_gateway_is_secure(self) -> None:
        for address, tls, options, secure in (
            ("192.168.1.1", True, ("secure", "local-port=6697"), True),
            ("192.168.1.1", True, (), False),
            ("192.168.1.1", False, ("secure",), False),
            ("127.0.0.1", False, ("secure",), True),
        ):
            near = replace_networks("127.0.0.1", "192.168.1.0/24")
            client = Chat(gateways=(near,)).connect(address)
            client.protocol.session.secure = tls
            webirc(client, *options)
            self.assertIs(secure, client.protocol.session.secure)

    def test_bans_and_the_pace_are_those_of_the_client(self) -> None:
        exempt = Fakelag(exempt=THERE)
        chat = gates(fakelag=exempt)
        op = chat.join("op")
        chat.promote(op, "ban")
        client = chat.connect()
        webirc(client)
        self.assertEqual(40, len(client.type(*["PING x"] * 100)))
        op.type("DLINE 203.0.113.0/24 :out")
        late = chat.connect()
        told = webirc(late)
        self.assertEqual(["465", "ERROR"], [line.split()[line[0] == ":"] for line in told])

    def test_a_server_that_is_busy_lets_nobody_through(self) -> None:
        chat = gates()
        chat.factory._passwords.stop()
        self.assertIn("ERROR", webirc(chat.connect())[0])


def replace_networks(*networks: str) -> Webirc:
    return Webirc(
        name="kiwi",
        networks=tuple(Network.parse(network) for network in networks),
        password_hash=HASH,
    )


class StsTests(SynchronousTestCase):
    def offered(self, chat: Chat, *, secure: bool) -> list[str]:
        client = chat.connect()
        client.protocol.session.secure = secure
        words = " ".join(client.type("CAP LS 302")).split()
        return [word.removeprefix(":") for word in words if "sts" in word]

    def test_it_says_where_to_come_or_for_how_long(self) -> None:
        chat = Chat(sts=Sts(enabled=True, port=6697, duration=600, preload=True))
        self.assertEqual(["sts=port=6697,duration=600"], self.offered(chat, secure=False))
        self.assertEqual(["sts=duration=600,preload"], self.offered(chat, secure=True))

    def test_it_is_off_by_default_and_never_shown_without_a_value(self) -> None:
        self.assertEqual([], self.offered(Chat(), secure=True))
        self.assertNotIn("sts", Chat(sts=Sts(enabled=True)).connect().type("CAP LS")[0])

    def test_nobody_can_ask_for_it(self) -> None:
        chat = Chat(sts=Sts(enabled=True))
        for words in "sts", "sts=port=1", "batch sts":
            self.assertIn(" NAK ", chat.connect().type(f"CAP REQ :{words}")[0])

    def test_changes_are_told_and_what_goes_has_a_duration_of_nothing(self) -> None:
        chat = Chat(sts=Sts(enabled=True))
        plain, tls = chat.join("al", caps="cap-notify"), chat.join("bo", caps="cap-notify")
        tls.protocol.session.secure = True
        for sts, to_plain, to_tls in (
            (Sts(enabled=True, duration=9), ["sts=port=6697,duration=9"], ["sts=duration=9"]),
            (Sts(enabled=True, duration=9), [], []),
            (Sts(enabled=True, duration=9, preload=True), [], ["sts=duration=9,preload"]),
            (Sts(), [], ["sts=duration=0"]),
        ):
            chat.server.reload(replace(chat.server.settings, sts=sts))
            for client, expected in (plain, to_plain), (tls, to_tls):
                lines = client.read()
                self.assertEqual(expected, [line.rpartition(":")[2] for line in lines])
                self.assertTrue(all(" CAP " in line and " NEW " in line for line in lines))
