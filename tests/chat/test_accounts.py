"""Accounts: the server's password, SASL, REGISTER, services, shared and reserved nicks, what is kept."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.store import Loaded
from myproject_chat.store.records import Metadata
from tests.chat.harness import CHEAP, Chat, Client

_SECRET = "correct horse"


def plain(account: str, password: str = _SECRET) -> str:
    """SASL PLAIN's response."""
    return b64encode(f"\0{account}\0{password}".encode()).decode()


def registered(chat: Chat, nick: str = "al", password: str = _SECRET) -> Client:
    """A client with an account of its nick."""
    client = chat.join(nick)
    lines = client.type(f"REGISTER * * :{password}")
    assert f":irc.example REGISTER SUCCESS {nick} :Account registered" in lines, lines
    return client


def logged_in(chat: Chat, account: str, nick: str, caps: str = "sasl") -> tuple[Client, list[str]]:
    """A client that logs in before it registers, and what it was told."""
    client = chat.connect()
    lines = client.type(
        f"CAP REQ :{caps}",
        "AUTHENTICATE PLAIN",
        f"AUTHENTICATE {plain(account)}",
        f"NICK {nick}",
        f"USER {nick} 0 * :Real",
        "CAP END",
    )
    return client, lines


class Notebook:
    """A store that remembers what it was given."""

    def __init__(self) -> None:
        self.accounts: dict[bytes, Any] = {}
        self.channels: dict[bytes, Any] = {}
        self.metadata: dict[tuple[bytes, bytes], Metadata] = {}
        self.secrets: dict[str, bytes] = {}

    def forget(self, subject: bytes) -> None:
        self.metadata = {key: one for key, one in self.metadata.items() if key[0] != subject}

    def put_account(self, account: Any, /) -> int:
        self.accounts[account.name.lower()] = account
        return 0

    def delete_account(self, name: bytes, /) -> int:
        del self.accounts[name.lower()]
        self.forget(name.lower())
        return 0

    def put_channel(self, channel: Any, /) -> int:
        self.channels[channel.name.lower()] = channel
        return 0

    def delete_channel(self, name: bytes, /) -> int:
        del self.channels[name.lower()]
        self.forget(name.lower())
        return 0

    def put_metadata(self, metadata: Metadata, /) -> int:
        self.metadata[metadata.subject, metadata.key] = metadata
        return 0

    def delete_metadata(self, subject: bytes, key: bytes, /) -> int:
        self.metadata.pop((subject, key), None)
        return 0

    def put_secret(self, name: str, value: bytes, /) -> int:
        self.secrets[name] = value
        return 0

    def restored(self, **settings: Any) -> Chat:
        """A server that starts with what was written."""
        chat = Chat(**settings)
        loaded = Loaded(
            tuple(self.accounts.values()),
            tuple(self.channels.values()),
            metadata=tuple(self.metadata.values()),
            secrets=self.secrets,
        )
        chat.server.accounts.open(self, loaded)
        chat.server.kept.restore(loaded.channels)
        chat.server.metadata.restore(loaded.metadata)
        return chat


class PasswordTests(SynchronousTestCase):
    def test_the_servers_password_is_asked_for(self) -> None:
        chat = Chat(password=b"sesame")
        for before, code in (((), "464"), (("PASS wrong",), "464"), (("PASS sesame",), "001")):
            codes = chat.connect().codes(*before, "NICK al", "USER al 0 * :Al")
            self.assertEqual(code, codes[0])
            self.assertIs(code == "464", codes[-1] == "ERROR")


class SaslTests(SynchronousTestCase):
    def test_plain_logs_in_and_a_wrong_password_reads_as_an_unknown_account(self) -> None:
        chat = Chat()
        registered(chat)
        client = chat.connect()
        self.assertEqual(["AUTHENTICATE +"], client.type("AUTHENTICATE PLAIN"))
        wrong = client.type(f"AUTHENTICATE {plain('al', 'wrong horse')}")
        client.type("AUTHENTICATE PLAIN")
        unknown = client.type(f"AUTHENTICATE {plain('nobody')}")
        self.assertEqual([":irc.example 904 * :SASL authentication failed"], wrong)
        self.assertEqual(wrong, unknown)
        client.type("AUTHENTICATE PLAIN")
        self.assertEqual(["900", "903"], client.codes(f"AUTHENTICATE {plain('AL')}"))
        self.assertEqual(b"al", client.protocol.session.account)

    def test_unknown_mechanisms_aborts_and_failures_have_an_end(self) -> None:
        chat = Chat()
        client = chat.connect()
        self.assertEqual(["908", "904"], client.codes("AUTHENTICATE FOO"))
        self.assertEqual(
            ["AUTHENTICATE", "906"], client.codes("AUTHENTICATE PLAIN", "AUTHENTICATE *")
        )
        for _ in range(2):
            client.type("AUTHENTICATE PLAIN", f"AUTHENTICATE {plain('nobody')}")
        codes = client.codes("AUTHENTICATE PLAIN", f"AUTHENTICATE {plain('nobody')}")
        self.assertEqual(["AUTHENTICATE", "904", "ERROR"], codes)

    def test_the_end_of_registration_gives_an_exchange_up(self) -> None:
        client = Chat().connect()
        client.type("CAP LS 302", "AUTHENTICATE PLAIN", "NICK al", "USER al 0 * :Al")
        self.assertEqual(["906", "001"], client.codes("CAP END")[:2])


class RegisterTests(SynchronousTestCase):
    def test_refusals_name_their_code(self) -> None:
        chat = Chat()
        client = chat.join("bo")
        for line, code in (
            ("REGISTER other * :long enough", "ACCOUNT_NAME_MUST_BE_NICK"),
            ("REGISTER * nomail :long enough", "INVALID_EMAIL"),
            ("REGISTER * * :short", "WEAK_PASSWORD"),
        ):
            self.assertIn(f"FAIL REGISTER {code} ", client.type(line)[0])
        client.type(f"REGISTER * * :{_SECRET}")
        self.assertIn("ALREADY_AUTHENTICATED", client.type("REGISTER * * :another one")[0])
        self.assertIn("INVALID_CODE", client.type("VERIFY bo 1")[0])

    def test_a_nick_that_is_somebodys_is_no_account_for_the_taking(self) -> None:
        chat = Chat()
        chat.join("root")
        client = chat.connect()
        self.assertEqual(["433"], client.codes("NICK root"))
        refused = [":irc.example FAIL REGISTER ACCOUNT_EXISTS root :Somebody else has that nick"]
        self.assertEqual(refused, client.type(f"REGISTER * * :{_SECRET}"))
        late = chat.connect()
        late.type("NICK late")
        chat.join("late")
        self.assertEqual(["433"], late.codes("USER u 0 * :U"))
        self.assertIn("ACCOUNT_EXISTS late", late.type(f"REGISTER * * :{_SECRET}")[0])
        self.assertIn("NEED_NICK", chat.connect().type(f"REGISTER * * :{_SECRET}")[0])

    def test_nobody_is_called_as_a_service(self) -> None:
        chat = Chat(accounts=replace_choices(nick_reservation="optional"))
        for name in ("NickServ", "chanserv"):
            line = chat.connect().type(f"REGISTER {name} * :{_SECRET}")[0]
            self.assertIn(f"BAD_ACCOUNT_NAME {name} ", line)

    def test_before_connect_is_a_setting(self) -> None:
        chat = Chat(accounts=replace_choices(before_connect=False))
        client = chat.connect()
        lines = client.type("NICK al", f"REGISTER * * :{_SECRET}")
        self.assertIn("COMPLETE_CONNECTION_REQUIRED", lines[0])

    def test_those_near_are_told_who_logs_in(self) -> None:
        chat = Chat()
        al = chat.join("al", "#a")
        bo = chat.join("bo", "#a", caps="account-notify")
        al.type(f"REGISTER * * :{_SECRET}")
        self.assertEqual([":al!~al@192.168.1.1 ACCOUNT al"], bo.read())
        al.type("NS LOGOUT")
        self.assertEqual([":al!~al@192.168.1.1 ACCOUNT *"], bo.read())

    def test_the_answer_comes_before_what_one_is_told_of_oneself(self) -> None:
        al = Chat().join("al", caps="account-notify")
        self.assertEqual(["900", "ACCOUNT", "REGISTER"], al.codes(f"REGISTER * * :{_SECRET}"))
        self.assertEqual(["901", "ACCOUNT"], al.codes("NS LOGOUT"))
        codes = al.codes("AUTHENTICATE PLAIN", f"AUTHENTICATE {plain('al')}")
        self.assertEqual(["AUTHENTICATE", "900", "ACCOUNT", "903"], codes)


def replace_choices(**choices: Any) -> Any:
    """The cheap settings of accounts, some of them others."""
    return type(CHEAP)(hash=CHEAP.hash, **choices)


class NickTests(SynchronousTestCase):
    def test_an_accounts_nick_is_nobody_elses(self) -> None:
        chat = Chat()
        registered(chat).type("QUIT")
        self.assertEqual(["433"], chat.connect().codes("NICK al", "USER al 0 * :Al"))
        self.assertEqual(["433"], chat.join("bo").codes("NICK al"))
        self.assertEqual(["433"], chat.join("cy").codes("NICK NickServ"))

    def test_a_second_client_shares_the_nick_and_sees_its_channels(self) -> None:
        chat = Chat()
        first = registered(chat)
        first.type("JOIN #a")
        other = chat.join("bo", "#a")
        chat.hush(first)
        second, lines = logged_in(chat, "al", "al")
        self.assertIn(":al!~al@192.168.1.1 JOIN #a", lines)
        self.assertEqual([], [*first.read(), *other.read()])
        first.type("PRIVMSG #a :hello")
        self.assertEqual([":al!~al@192.168.1.1 PRIVMSG #a :hello"], second.read())
        other.read()
        first.type("QUIT")
        self.assertEqual([], other.read())
        second.type("QUIT :gone")
        self.assertEqual([":al!~al@192.168.1.1 QUIT :Quit: gone"], other.read())

    def test_as_many_clients_share_a_nick_as_the_operator_lets(self) -> None:
        chat = Chat(accounts=replace_choices(max_clients=2))
        registered(chat)
        logged_in(chat, "al", "al")
        self.assertEqual(2, len(chat.server.network.users[b"al"].receivers))
        self.assertIn(" 433 ", logged_in(chat, "al", "al")[1][-1])

    def test_who_does_not_want_that_has_it_not(self) -> None:
        chat = Chat()
        registered(chat).type("NS SET multiclient off")
        self.assertIn(" 433 ", logged_in(chat, "al", "al")[1][-1])


class KeptTests(SynchronousTestCase):
    def test_a_registered_channel_outlives_its_members_and_the_server(self) -> None:
        notebook = Notebook()
        chat = notebook.restored()
        al = registered(chat)
        al.type("JOIN #a", "TOPIC #a :about", "MODE #a +b eve!*@*")
        lines = al.type("CS REGISTER #a")
        self.assertTrue(lines[0].endswith(" MODE #a +q al"), lines)
        chat = notebook.restored()
        bo = chat.join("bo")
        lines = bo.type("JOIN #a")
        self.assertIn(":irc.example 332 bo #a :about", lines)
        self.assertIn(":irc.example 353 bo = #a :bo", lines)
        self.assertEqual(["474"], chat.join("eve").codes("JOIN #a"))
        al, _ = logged_in(chat, "al", "al")
        self.assertIn(":irc.example 353 al = #a :bo ~al", al.type("JOIN #a"))

    def test_a_user_stays_if_its_account_wants_that(self) -> None:
        notebook = Notebook()
        chat = notebook.restored()
        al = registered(chat)
        al.type("JOIN #a", "NS SET always-on on")
        bo = chat.join("bo", "#a")
        al.type("QUIT")
        self.assertEqual([], bo.read())
        self.assertIn(":irc.example 353 bo = #a :@al bo", bo.type("NAMES #a"))
        chat = notebook.restored()
        self.assertIn(":irc.example 353 cy = #a :@al cy", chat.join("cy").type("JOIN #a"))
        al, lines = logged_in(chat, "al", "al")
        self.assertIn(":al!~al@192.168.1.1 JOIN #a", lines)
        al.type("NS SET always-on off", "QUIT")
        self.assertIsNone(chat.server.network.user(b"al"))

    def test_a_restart_keeps_the_secret_of_unknown_accounts(self) -> None:
        notebook = Notebook()
        one, other = notebook.restored(), notebook.restored()
        self.assertEqual(
            one.server.accounts.secrets().secret, other.server.accounts.secrets().secret
        )


class ServiceTests(SynchronousTestCase):
    def test_nickserv_does_what_it_says(self) -> None:
        chat = Chat()
        al = chat.join("al")
        for line, answer in (
            ("NS SET always-on on", "You are not logged in"),
            (f"PRIVMSG NickServ :REGISTER {'x' * 9}", "The account al is registered"),
            (f"NS PASSWD {'x' * 9} {'y' * 9}", "The password is changed"),
            ("NS LOGOUT", "901"),
            (f"NS IDENTIFY {'x' * 9}", "There is no such account, or"),
            (f"NS IDENTIFY {'y' * 9}", "You are logged in as al"),
            (f"NS CERT ADD {'ab' * 32}", "Done"),
            (f"NS CERT ADD {'ab' * 32}", "in use already"),
            ("NS CERT LIST", "1 certificates"),
            (f"NS CERT DEL {'ab' * 32}", "Done"),
            ("NS INFO", "multiclient is on"),
            ("NS SAREGISTER bo password1", "Only operators"),
            ("NS IDENTIFY", "Too few words"),
            ("NS WHAT", "no command"),
            ("NS HELP", "IDENTIFY [account] password - log in"),
            (f"NS DROP {'y' * 9}", "The account is deleted"),
        ):
            self.assertIn(answer, "\n".join(al.type(line)), line)

    def test_chanserv_does_what_it_says(self) -> None:
        chat = Chat()
        al, bo = registered(chat), registered(chat, "bo")
        chat.hush(al, bo)
        al.type("JOIN #a")
        bo.type("JOIN #a")
        for client, line, answer in (
            (bo, "CS REGISTER #a", "You are no operator"),
            (al, "CS REGISTER #a", "is registered, and yours"),
            (al, "CS REGISTER #a", "registered already"),
            (bo, "CS OP #a", "has no rank"),
            (al, "CS AMODE #a +o bo", "bo is given +o in #a"),
            (al, "CS AMODE #a", "bo +o"),
            (bo, "CS DROP #a", "not yours"),
            (al, "CS AMODE #a -o bo", "no rank"),
            (al, "CS INFO #a", "it is al's"),
            (al, "CS TRANSFER #a bo", "#a is offered to bo"),
            (bo, "CS ACCEPT #a", "#a is yours"),
            (bo, "CS INFO #a", "it is bo's"),
        ):
            self.assertIn(answer, "\n".join(client.type(line)), line)
