"""What operators decide about accounts: who may have one, and what it gives."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.accounts import Refused
from myproject_chat.configuration import Channels, Throttle
from myproject_chat.store import Loaded
from tests.chat.harness import Chat
from tests.chat.test_accounts import Notebook, logged_in, registered, replace_choices

WORD = "correct-horse"


class NickTests(SynchronousTestCase):
    def test_where_nothing_is_reserved_anybody_has_any_nick(self) -> None:
        chat = Chat(accounts=replace_choices(nick_reservation="none"))
        registered(chat).type("QUIT")
        self.assertIn("NICK al", chat.join("bo").type("NICK al")[0])

    def test_where_it_is_optional_the_account_says(self) -> None:
        chat = Chat(accounts=replace_choices(nick_reservation="optional"))
        al = registered(chat)
        al.type("NS SET reserve on", "QUIT")
        self.assertEqual(["433"], chat.join("bo").codes("NICK al"))
        # And an account may have another name than the nick.
        bo = chat.join("bo")
        self.assertIn("REGISTER SUCCESS other", bo.type(f"REGISTER other * {WORD}")[-1])

    def test_several_clients_are_the_operators_choice_first(self) -> None:
        for policy, chosen, shared in (
            ("off", "on", False),
            ("opt-in", "on", True),
            ("opt-in", None, False),
            ("on", None, True),
        ):
            chat = Chat(accounts=replace_choices(multiclient=policy))
            al = registered(chat)
            if chosen:
                al.type(f"NS SET multiclient {chosen}")
            _, lines = logged_in(chat, "al", "al")
            self.assertIs(shared, " 433 " not in lines[-1], (policy, chosen))

    def test_who_stays_is_the_operators_choice_first(self) -> None:
        for policy, chosen, stays in (
            ("off", "on", False),
            ("opt-in", None, False),
            ("opt-in", "on", True),
            ("opt-out", None, True),
            ("opt-out", "off", False),
            ("mandatory", "off", True),
        ):
            chat = Chat(accounts=replace_choices(always_on=policy))
            al = registered(chat)
            if chosen:
                al.type(f"NS SET always-on {chosen}")
            al.type("QUIT")
            self.assertIs(stays, b"al" in chat.server.network.users, (policy, chosen))


class RegistrationTests(SynchronousTestCase):
    def test_a_host_makes_a_few_accounts_and_then_has_to_wait(self) -> None:
        chat = Chat()
        results = [
            chat.join(f"al{number}").type(f"REGISTER * * {WORD}")[-1].split()[2]
            for number in range(40)
        ]
        made = results.count("SUCCESS")
        self.assertTrue(0 < made < 40, results)
        self.assertEqual({"SUCCESS", "REGISTER"}, set(results))
        exempt = Chat(throttle=Throttle(enabled=False))
        for number in range(40):
            registered(exempt, f"al{number}")

    def test_a_password_has_an_end(self) -> None:
        chat = Chat()
        al = registered(chat, password=WORD)
        done = Deferred.fromCoroutine(chat.server.accounts.set_password(b"al", b"x" * 1025))
        self.assertEqual(b"UNACCEPTABLE_PASSWORD", self.failureResultOf(done, Refused).value.code)
        self.assertIn("too short", al.type(f"NS PASSWD {WORD} short")[0])

    def test_operators_make_accounts_for_others(self) -> None:
        chat = Chat(throttle=Throttle(), accounts=replace_choices(email_required=True))
        root = chat.join("root")
        chat.server.network.set_mode(chat.server.network.users[b"root"], b"o", on=True)
        for number in range(40):
            [line] = root.type(f"NS SAREGISTER al{number} {WORD}")
            self.assertIn(f"The account al{number} is registered", line)
        self.assertIn("account's name", root.type(f"NS SAREGISTER ChanServ {WORD}")[0])

    def test_channels_are_registered_where_the_operator_lets(self) -> None:
        al = registered(Chat(channels=Channels(registration=False)))
        al.type("JOIN #a")
        self.assertIn("Nobody may register channels", al.type("CS REGISTER #a")[0])


class AnotherProgramTests(SynchronousTestCase):
    def test_what_is_not_written_yet_is_newer_than_the_file(self) -> None:
        chat = Notebook().restored()
        accounts = chat.server.accounts
        registered(chat)
        al = accounts.get(b"al")
        assert al is not None
        tickets = iter(range(5, 10))

        class Slow(Notebook):
            def put_account(self, _account: object, /) -> int:
                return next(tickets)

            def delete_account(self, _name: bytes, /) -> int:
                return next(tickets)

        accounts.store = Slow()
        accounts.save(replace(al, email=b"new"))
        accounts.save(replace(al, name=b"bo"))
        accounts.drop(b"bo")
        in_file = Loaded((replace(al, email=b"old"), replace(al, name=b"bo")))
        self.assertEqual([], accounts.refresh(in_file, 4))
        self.assertEqual([b"new"], [one.email for one in accounts.all()])
        # Once all of that is safe, the file is what counts.
        self.assertEqual([], accounts.refresh(in_file, 9))
        self.assertEqual([b"old", b""], [one.email for one in accounts.all()])
        self.assertEqual([b"bo"], accounts.refresh(Loaded((al,)), 9))


class GoneMeanwhileTests(SynchronousTestCase):
    def test_an_account_that_goes_while_a_proof_is_computed_lets_nobody_in(self) -> None:
        chat = Chat()
        al = registered(chat, password=WORD)
        client = chat.connect()
        client.type("AUTHENTICATE SCRAM-SHA-256")
        client.type(f"AUTHENTICATE {b64encode(b'n,,n=al,r=abc').decode()}")
        session = client.protocol.session
        login = session.login
        assert login is not None
        al.type(f"NS DROP {WORD}")
        # The proof is right, as far as the exchange knows.
        scram = login.exchange
        scram._proven = True  # type: ignore[attr-defined]
        self.assertEqual(["904"], client.codes("AUTHENTICATE +"))
        self.assertIsNone(session.account)

    def test_who_gives_up_after_the_salt_has_tried_no_password(self) -> None:
        chat = Chat()
        registered(chat)
        for _ in range(40):
            client = chat.connect()
            client.type("AUTHENTICATE SCRAM-SHA-256")
            client.type(f"AUTHENTICATE {b64encode(b'n,,n=al,r=abc').decode()}")
            self.assertEqual(["906"], client.codes("AUTHENTICATE *"))
        self.assertIn(" 903 ", " ".join(logged_in(chat, "al", "al")[1]))
