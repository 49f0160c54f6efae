"""Metadata that outlives: accounts' and registered channels', over logins, restarts and renames."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.configuration import Limits
from tests.chat.harness import Client
from tests.chat.test_accounts import Notebook, logged_in, registered

# Words to NickServ are words: a password of two is one by AUTHENTICATE alone.
WORD = "correct-horse"
CAPS = "draft/metadata-3 extended-monitor"


def told(client: Client) -> list[str]:
    """What came of metadata: numeric, whose, key and value."""
    return [
        line.removeprefix(":irc.example ") for line in client.read() if line.split()[1][:2] == "76"
    ]


def said(client: Client, target: str = "*") -> dict[str, str]:
    """What a user or channel says of itself."""
    lines = [line.split(" ", 6) for line in client.type(f"METADATA {target} LIST")]
    return {line[4]: line[6].removeprefix(":") for line in lines if line[1] == "761"}


class AccountTests(SynchronousTestCase):
    def test_an_accounts_is_there_after_a_restart_whatever_the_nick(self) -> None:
        notebook = Notebook()
        al = registered(notebook.restored())
        al.type("METADATA * SET url :http://x", "METADATA * SET a 1", "METADATA * SET a")
        chat = notebook.restored()
        again, lines = logged_in(chat, "al", "other", caps=f"sasl {CAPS}")
        self.assertIn(":irc.example 761 other other url * :http://x", lines)
        self.assertEqual({"url": "http://x"}, said(again))
        self.assertEqual({"url": "http://x"}, said(chat.join("bo"), "other"))

    def test_what_a_guest_has_set_goes_along_and_a_guest_has_nothing_of_the_account(self) -> None:
        chat = Notebook().restored(limits=Limits(metadata_keys=3))
        al = registered(chat, password=WORD)
        al.type("METADATA * SET a 1", "METADATA * SET b 2", "NS LOGOUT")
        self.assertEqual({}, said(al))
        al.type("METADATA * SET a 9", "METADATA * SET c 3", "METADATA * SET d 4")
        al.type(f"NS IDENTIFY {WORD}")
        # There was no room for d.
        self.assertEqual({"a": "9", "b": "2", "c": "3"}, said(al))

    def test_from_one_account_to_another_nothing_goes_along(self) -> None:
        chat = Notebook().restored()
        registered(chat, "bo", WORD).type("METADATA * SET a bos", "QUIT")
        al = registered(chat, password=WORD)
        al.type("METADATA * SET a als", "METADATA * SET b als")
        al.type(f"NS IDENTIFY bo {WORD}")
        self.assertEqual({"a": "bos"}, said(al))
        al.type(f"NS IDENTIFY al {WORD}")
        self.assertEqual({"a": "als", "b": "als"}, said(al))

    def test_those_who_subscribe_are_told_what_a_login_changes(self) -> None:
        chat = Notebook().restored()
        al = registered(chat, password=WORD)
        al.type("JOIN #a", "METADATA * SET a 1", "METADATA * SET same 1", "NS LOGOUT")
        al.type("METADATA * SET same 1")
        near, far = chat.join("bo", "#a", caps=CAPS), chat.join("cy", caps=CAPS)
        deaf = chat.join("dee", "#a", caps=CAPS)
        far.type("MONITOR + al")
        for client in (near, far):
            client.type("METADATA * SUB a same")
        deaf.type("METADATA * SUB other")
        al.type(f"NS IDENTIFY {WORD}")
        self.assertEqual([["761 bo al a * :1"], ["761 cy al a * :1"]], [told(near), told(far)])
        al.type("NS LOGOUT")
        self.assertEqual(
            ["766 bo al a :is not set", "766 bo al same :is not set"],
            [line.split(" :")[0] + " :is not set" for line in told(near)],
        )
        self.assertEqual([], told(deaf))

    def test_a_further_clients_wishes_are_the_users(self) -> None:
        chat = Notebook().restored()
        al = registered(chat)
        second = chat.connect()
        second.type(f"CAP REQ :sasl {CAPS}", "METADATA * SET a 1")
        second.type("AUTHENTICATE PLAIN", "AUTHENTICATE AGFsAGNvcnJlY3QgaG9yc2U=")
        second.type("NICK al", "USER al 0 * :Al", "CAP END")
        self.assertEqual({"a": "1"}, said(al))

    def test_it_goes_with_the_account(self) -> None:
        notebook = Notebook()
        chat = notebook.restored()
        al = registered(chat, password=WORD)
        al.type("METADATA * SET a 1", f"NS DROP {WORD}")
        self.assertEqual(({}, {}), (said(al), notebook.metadata))
        al.type("REGISTER * * :another horse")
        self.assertEqual({}, said(al))
        al.type("METADATA * SET b 1")
        notebook.accounts.clear()
        self.assertEqual(0, len(notebook.restored().server.metadata.of(b"al")))

    def test_who_stays_shows_it_without_a_client(self) -> None:
        notebook = Notebook()
        registered(notebook.restored()).type("JOIN #a", "NS SET always-on on", "METADATA * SET a 1")
        self.assertEqual({"a": "1"}, said(notebook.restored().join("bo"), "al"))


class ChannelTests(SynchronousTestCase):
    def test_a_registered_channels_is_there_after_a_restart_and_a_rename(self) -> None:
        notebook = Notebook()
        al = registered(notebook.restored())
        al.type("JOIN #a", "METADATA #a SET before 1", "CS REGISTER #a", "METADATA #a SET a 2")
        chat = notebook.restored()
        al, _ = logged_in(chat, "al", "al")
        self.assertEqual({"before": "1", "a": "2"}, said(al, "#a"))
        al.type("JOIN #a", "RENAME #a #b", "METADATA #b SET before")
        self.assertEqual({"a": "2"}, said(notebook.restored().join("bo"), "#b"))
        al.type("RENAME #b #B")
        self.assertEqual({"a": "2"}, said(notebook.restored().join("bo"), "#b"))

    def test_it_goes_with_the_registration(self) -> None:
        notebook = Notebook()
        al = registered(notebook.restored())
        al.type("JOIN #a", "CS REGISTER #a", "METADATA #a SET a 1")
        [_, last] = al.type("CS DROP #a")
        al.type(f"CS DROP #a {last.rsplit(' ', 1)[1]}")
        self.assertEqual({}, notebook.metadata)
        al.type("METADATA #a SET b 1")
        self.assertEqual({}, notebook.metadata)
        self.assertEqual({"a": "1", "b": "1"}, said(al, "#a"))
