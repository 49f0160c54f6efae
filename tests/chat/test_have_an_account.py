"""What the page for people who chat has them type is understood."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.chat.harness import Chat
from tests.chat.test_accounts import registered

_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "have-an-account.md"
_ANSWERS = {
    "NickServ REGISTER": "is registered, and you are logged in",
    "NickServ IDENTIFY": "You are logged in as alice",
    "NickServ REGAIN": "^$",
    "NickServ PASSWD": "The password is changed",
    "NickServ SET": "Noted|is on|is off",
    "NickServ INFO": "alice was registered on",
    "NickServ CLIENTS": "(this one)|none of that number|this client",
    "NickServ CERT": "Done|1 certificates",
    "NickServ LOGOUT": "You are logged out",
    "NickServ UNREGISTER": "If you mean it: UNREGISTER ",
    "NickServ HELP": "REGISTER password",
    "ChanServ REGISTER": "#garden is registered, and yours",
    "ChanServ AMODE": r"bob is given \+o in #garden",
    "ChanServ INFO": "it is alice's",
    "ChanServ TRANSFER": "#garden is offered to bob",
    "ChanServ ACCEPT": "not offered to you",
    "ChanServ DROP": "If you mean it: DROP #garden",
    "ChanServ HELP": "REGISTER #channel",
}


class PageTests(SynchronousTestCase):
    def test_each_line_for_a_service_does_what_the_page_says(self) -> None:
        chat = Chat()
        registered(chat, "bob")
        alice = chat.join("guest")
        alice.protocol.session.fingerprint = b"ab" * 32
        page = _PAGE.read_text(encoding="utf-8")
        # What the text puts into the line is left out: the blocks are what is typed.
        typed = re.findall(r"^/(\w+) (.*)$", page, re.MULTILINE)
        done = set()
        for command, words in typed:
            if command == "msg":
                lines = " ".join(alice.type(f"PRIVMSG {words.replace(' ', ' :', 1)}"))
                name = " ".join(words.split()[:2])
                self.assertRegex(lines, _ANSWERS[name], words)
                done.add(name)
                if name == "NickServ LOGOUT":
                    alice.type("NS IDENTIFY alice another-word-battery")
            elif command in ("nick", "join"):
                alice.type(f"{command} {words}")
        mentioned = set(re.findall(r"/msg ((?:Nick|Chan)Serv [A-Z]+)", page))
        self.assertEqual(set(_ANSWERS), mentioned)
        self.assertLessEqual(
            mentioned - done, {"ChanServ ACCEPT", "NickServ HELP", "ChanServ HELP"}
        )

    def test_the_page_names_every_command_of_the_services_that_people_need(self) -> None:
        page = _PAGE.read_text(encoding="utf-8")
        alice = registered(Chat(), "alice")
        # Other words for the same, and what operators do.
        others = {"RECOVER", "GHOST", "SAREGISTER", "SET-ALWAYS-ON", "OP"}
        for service in ("NS", "CS"):
            for line in alice.type(f"{service} HELP"):
                name = line.split(" :", 1)[1].split()[0]
                self.assertTrue(name in others or name in page, name)
