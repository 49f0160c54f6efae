"""What somebody learns who tries names and passwords: nothing but whether both were right."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from argon2 import PasswordHasher
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.configuration import HashCost, Throttle
from myproject_chat.options import Options
from myproject_chat.passwords import Cost
from myproject_chat.store import MEMORY, Database
from myproject_chat.store.rows import put_account
from tests.chat.harness import CHEAP, Chat, Client, at_once
from tests.chat.test_accounts import plain, registered

WORD = "correct-horse"


def chat_with_accounts(**more: Any) -> Chat:
    """One account with a password, one that only a certificate logs in to, and one that is not verified."""
    chat = Chat(**more)
    registered(chat, password=WORD)
    accounts = chat.server.accounts
    known = accounts.get(b"al")
    assert known is not None
    accounts.save(type(known)(b"certonly", 0, fingerprints=(b"ab" * 32,)))
    accounts.save(type(known)(b"waits", 0, known.password, known.scram, verified=False))
    return chat


class Argon:
    """Sees what argon2 is asked to do: the parameters of each check."""

    def __init__(self) -> None:
        self.runs: list[str] = []

    def __enter__(self) -> list[str]:
        before = PasswordHasher.verify

        def verify(hasher: PasswordHasher, encoded: str, password: bytes) -> bool:
            self.runs.append(encoded.rpartition("$")[0].rpartition("$")[0])
            assert len(encoded) == len(_LENGTH), encoded
            return before(hasher, encoded, password)

        self._patch = patch.object(PasswordHasher, "verify", verify)
        self._patch.start()
        return self.runs

    def __exit__(self, *_why: object) -> None:
        self._patch.stop()


_LENGTH = "$argon2id$v=19$m=8,t=1,p=1$" + "s" * 22 + "$" + "h" * 43


def by_plain(client: Client, name: str, word: str) -> bytes:
    client.type("AUTHENTICATE PLAIN")
    return said(client, f"AUTHENTICATE {plain(name, word)}")


def by_identify(client: Client, name: str, word: str) -> bytes:
    client.type("NICK guest", "USER guest 0 * :Guest")
    return said(client, f"NS IDENTIFY {name} {word}")


def by_scram(client: Client, name: str, word: str) -> bytes:
    """The last answer of an exchange whose proof is wrong."""
    client.type("AUTHENTICATE SCRAM-SHA-256")
    client.type(f"AUTHENTICATE {b64encode(f'n,,n={name},r=abc'.encode()).decode()}")
    final = b"c=biws,r=abc,p=" + b64encode(word.encode().ljust(32)[:32])
    return said(client, f"AUTHENTICATE {b64encode(final).decode()}")


def said(client: Client, line: str) -> bytes:
    """What a line is answered with, octet by octet."""
    client.read()
    client.feed(line.encode() + b"\r\n")
    client.chat.turn()
    octets: bytes = client.transport.value()
    client.transport.clear()
    return octets


WAYS: list[Callable[[Client, str, str], bytes]] = [by_plain, by_identify, by_scram]


class UnknownAccountTests(SynchronousTestCase):
    def test_a_name_that_nobody_has_costs_and_answers_what_a_wrong_password_does(self) -> None:
        for way in WAYS:
            seen = []
            for name in ("al", "AL", "nobody", "certonly", "waits", "x" * 200, "é"):
                chat = chat_with_accounts()
                client = chat.connect()
                with Argon() as runs:
                    answer = way(client, name, "wrong-horse")
                seen.append((answer, runs))
            self.assertEqual([seen[0]] * len(seen), seen, way.__name__)
            argon_runs = 0 if way is by_scram else 1
            self.assertEqual(["$argon2id$v=19$m=8,t=1,p=1"] * argon_runs, seen[0][1])

    def test_who_has_not_been_verified_or_has_no_password_does_not_get_in_with_it(self) -> None:
        for way in WAYS[:2]:
            seen = []
            for name, word in (("al", "wrong-horse"), ("waits", WORD), ("certonly", WORD)):
                with Argon() as runs:
                    answer = way(chat_with_accounts().connect(), name, word)
                seen.append((answer, runs))
            self.assertEqual([seen[0]] * 3, seen)

    def test_scrams_first_answer_is_of_one_kind_and_the_same_each_time(self) -> None:
        chat = chat_with_accounts(throttle=Throttle(enabled=False))
        kinds = []
        for name in ("al", "nobody", "certonly", "waits"):
            salts = set()
            for _ in range(2):
                client = chat.connect()
                client.type("AUTHENTICATE SCRAM-SHA-256")
                first = f"n,,n={name},r=abc".encode()
                [line] = client.type(f"AUTHENTICATE {b64encode(first).decode()}")
                challenge = b64decode(line.split()[1]).decode()
                nonce, salt, count = challenge.split(",")
                salts.add(salt)
                kinds.append((len(nonce), len(salt), count))
            self.assertEqual(1, len(salts), name)
        self.assertEqual(1, len(set(kinds)), kinds)

    def test_too_many_attempts_answer_the_same_whether_there_is_such_an_account(self) -> None:
        """And then the right password is answered as the wrong one is."""

        def answers(name: str) -> list[bytes]:
            chat = chat_with_accounts()
            return [by_plain(chat.connect(), name, "wrong-horse") for _ in range(40)]

        known, unknown = answers("al"), answers("nobody")
        self.assertEqual(known, unknown)
        self.assertIn(b"Too many attempts", known[-1])
        chat = chat_with_accounts()
        for _ in range(40):
            by_plain(chat.connect(), "al", "wrong-horse")
        with Argon() as runs:
            self.assertIn(b"Too many attempts", by_plain(chat.connect(), "al", WORD))
            self.assertIn(b"Too many attempts", by_identify(chat.connect(), "al", WORD))
        self.assertEqual([], runs)

    @settings(max_examples=50, deadline=None)
    @given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1))
    def test_whatever_the_name_there_is_one_check(self, name: str) -> None:
        client = Chat().connect()
        with Argon() as runs:
            answer = by_plain(client, name[:60], "wrong-horse")
        self.assertEqual(b":irc.example 904 * :SASL authentication failed\r\n", answer)
        self.assertEqual(1, len(runs))


class BusyTests(SynchronousTestCase):
    def test_when_too_many_wait_the_client_is_told_at_once_and_nothing_counts(self) -> None:
        chat = chat_with_accounts()
        al = chat.join("guest")
        chat.factory._passwords.stop()
        client = chat.connect()
        busy = b"The server is busy; try again in a minute"
        for _ in range(10):
            client.type("AUTHENTICATE PLAIN")
            answer = said(client, f"AUTHENTICATE {plain('al', WORD)}")
            self.assertEqual(b":irc.example 904 * :" + busy + b"\r\n", answer)
        self.assertEqual(0, client.protocol.session.failures)
        self.assertEqual(0, chat.server.accounts.logins.attempt("192.168.1.1", b"al", 0).wait)
        self.assertIn(busy, said(al, f"NS IDENTIFY al {WORD}"))
        self.assertIn(
            b"FAIL REGISTER TEMPORARILY_UNAVAILABLE guest", said(al, "REGISTER * * word12345")
        )

    def test_who_goes_meanwhile_is_not_checked(self) -> None:
        waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

        def later(work: Callable[[], Any]) -> Deferred[Any]:
            waiting.append((work, Deferred()))
            return waiting[-1][1]

        chat = chat_with_accounts()
        chat.factory._passwords._run_in_thread = later
        clients = [chat.connect() for _ in range(5)]
        for client in clients:
            client.type("AUTHENTICATE PLAIN", f"AUTHENTICATE {plain('al', WORD)}")
        # Two at once, the others wait for their turn.
        self.assertEqual((2, 3), (len(waiting), chat.factory._passwords.waiting))
        for client in clients[1:]:
            client.vanish()
        self.assertEqual(0, chat.factory._passwords.waiting)
        for work, done in waiting[:2]:
            done.callback(work())
        self.assertEqual(["900", "903"], [line.split()[1] for line in clients[0].read()])


class CostTests(SynchronousTestCase):
    def test_a_password_costs_what_the_operator_wants_once_it_has_been_used(self) -> None:
        chat = Chat()
        registered(chat, password=WORD)
        dearer = HashCost(time=2, memory=16, iterations=5000)
        choices = type(CHEAP)(hash=dearer)
        options = Options({})
        options.resolve(None)
        options["accounts"] = choices
        chat.factory.reload(options, frozenset({"accounts"}))
        self.assertEqual(b"904", by_plain(chat.connect(), "al", "wrong-horse").split()[1])
        self.assertIn("m=8,t=1", encoded(chat))
        self.assertEqual(b"900", by_plain(chat.connect(), "al", WORD).split()[1])
        self.assertIn("m=16,t=2", encoded(chat))
        self.assertEqual(5000, chat.server.accounts.get(b"al").scram.iterations)  # type: ignore[union-attr]
        # And it is the same password.
        self.assertEqual(b"900", by_plain(chat.connect(), "al", WORD).split()[1])

    def test_if_the_server_is_busy_it_is_done_another_time(self) -> None:
        chat = Chat()
        registered(chat, password=WORD)
        passwords = chat.factory._passwords
        passwords.set_cost(Cost(2, 16, 1, 5000))

        def once(work: Callable[[], Any]) -> Deferred[Any]:
            passwords.stop()
            return at_once(work)

        passwords._run_in_thread = once
        self.assertEqual(b"900", by_plain(chat.connect(), "al", WORD).split()[1])
        self.assertIn("m=8,t=1", encoded(chat))


def encoded(chat: Chat) -> str:
    account = chat.server.accounts.get(b"al")
    assert account is not None
    assert account.password is not None
    return account.password


class SecretTests(SynchronousTestCase):
    def test_scrams_credentials_are_stored_apart_from_the_hash(self) -> None:
        chat = Chat()
        registered(chat, password=WORD)
        account = chat.server.accounts.get(b"al")
        assert account is not None
        assert account.scram is not None
        assert account.password is not None
        base = Database(MEMORY)
        self.addCleanup(base.close)
        base.write(put_account(account))
        tables = {
            name: list(base._connection.execute(f"SELECT * FROM {name}"))
            for (name,) in base._connection.execute(
                "SELECT name FROM sqlite_master WHERE type='table'"
            )
        }
        with_hash = {name for name, rows in tables.items() if account.password in str(rows)}
        with_scram = {
            name
            for name, rows in tables.items()
            if any(
                account.scram.stored_key in row or account.scram.server_key in row for row in rows
            )
        }
        self.assertEqual(({"accounts"}, {"scram"}), (with_hash, with_scram))

    def test_what_is_shown_of_an_account_has_no_secret(self) -> None:
        chat = Chat()
        registered(chat, password=WORD)
        shown = repr(chat.server.accounts.get(b"al"))
        self.assertIn("b'al'", shown)
        self.assertNotRegex(shown, re.compile("argon|stored_key|salt"))

    def test_a_code_is_about_one_thing_alone_and_of_one_server(self) -> None:
        one, other = Chat().server.accounts, Chat().server.accounts
        self.assertEqual(one.code(b"a", b"b"), one.code(b"a", b"b"))
        codes = {one.code(b"a", b"b"), one.code(b"ab"), one.code(b"a"), other.code(b"a", b"b")}
        self.assertEqual(4, len(codes))
