"""The chat's page, in a browser: people talk, come back, and nothing is asked of anyone else."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.interop.browser import Browser
from tests.interop.clients import ClientCase
from tests.support import Running, connect, free_port, start

VECTORS = Path(__file__).parents[1] / "chat" / "vectors" / "msg-split.json"
PASSWORD = "correct horse battery"

#: Browsers here type faster than people.
SETTINGS = """
[myproject-chat.throttle]
exempt = ["127.0.0.0/8"]

[myproject-chat.fakelag]
exempt = ["127.0.0.0/8"]
"""


class Plain:
    """Somebody with a plain IRC client."""

    def __init__(self, case: ClientCase, port: int, nick: str) -> None:
        self.socket = connect(port)
        case.addCleanup(self.socket.close)
        self.lines = self.socket.makefile("r", encoding="utf-8", newline="\r\n")
        case.addCleanup(self.lines.close)
        self.say(f"NICK {nick}", f"USER {nick} 0 * :{nick}")
        self.wait_for(" 376 ", " 422 ")

    def say(self, *lines: str) -> None:
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def wait_for(self, *words: str) -> str:
        for line in self.lines:
            if line.startswith("PING"):
                self.say(line.rstrip().replace("PING", "PONG"))
            if any(word in line for word in words):
                return line
        raise AssertionError(f"no {words} came")


class BrowserTests(ClientCase):
    """One server, and two browsers at most: each takes some seconds to start."""

    def setUp(self) -> None:
        super().setUp()
        self.need("chromium", "chromedriver")
        if find_spec("selenium") is None:
            self.lack("selenium is not installed")
        self.port, self.web = free_port(), free_port()
        self.chat = self.start_chat()

    def start_chat(self) -> Running:
        (self.folder / "chat.toml").write_text(SETTINGS)
        words = ("--config", "chat.toml", "-p", str(self.port), "--web-port", str(self.web))
        server = start(self, "-n", "--pidfile=", "myproject-chat", *words, cwd=self.folder)
        return server.wait_for_port(self.port).wait_for_port(self.web)

    def browser(self, **more: Any) -> Browser:
        return Browser(self, f"http://127.0.0.1:{self.web}", **more)

    def assert_clean(self, browser: Browser, *expected: str) -> None:
        """Nothing on the console but what was expected, and nothing asked of anyone but our server."""
        complaints = [
            one for one in browser.complaints if not any(word in one for word in expected)
        ]
        self.assertEqual([], complaints)
        place = f"//127.0.0.1:{self.web}/"
        self.assertEqual([], [one for one in browser.requests if place not in one])

    def test_two_browsers_and_a_plain_client_talk(self) -> None:
        al, bo = self.browser(), self.browser(width=400)
        al.enter("al", "#team")
        bo.enter("bo", "#team")
        al.wait_to_see("2 here", "count")
        bo.wait_to_see("2 here", "show-people")
        cy = Plain(self, self.port, "cy")
        cy.say("JOIN #team")
        al.wait_to_see("cy has joined")
        bo.wait_to_see("cy has joined")
        al.type("hello, <b>bo</b> & cy: http://example.org/a?b=c.")
        self.assertIn(":hello, <b>bo</b> & cy: http://example.org", cy.wait_for("PRIVMSG #team"))
        bo.wait_to_see("hello, <b>bo</b> & cy")
        link = bo.driver.find_element("css selector", "#log a")
        self.assertEqual("http://example.org/a?b=c", link.get_attribute("href"))
        cy.say("PRIVMSG #team :\x02bold\x02 é 👋")
        al.wait_to_see("bold é 👋")
        al.wait_to_see("3 here", "count")
        al.type("/topic our plans")
        bo.wait_to_see("our plans", "topic")
        bo.type("/msg al only for you")
        al.wait_to_see("bo", "buffers")
        al.go_to("bo")
        al.wait_to_see("only for you")
        al.type("/nick alice")
        cy.wait_for(" NICK alice", " NICK :alice")
        al.type("/whois cy")
        al.wait_to_see("cy is in #team")
        al.type("/no-such-command")
        al.wait_to_see("Unknown command")
        cy.say("QUIT :bye")
        bo.find("show-list").click()
        bo.go_to("#team")
        bo.wait_to_see("cy has gone (")
        self.assert_clean(al)
        self.assert_clean(bo)

    def test_an_account_its_history_and_a_server_that_comes_back(self) -> None:
        al = self.browser()
        al.enter("al", "#team", PASSWORD, "create")
        al.wait_to_see("#team", "title")
        for number in range(70):
            al.type(f"line {number}")
        al.wait_to_see("line 69")
        cy = Plain(self, self.port, "cy")
        cy.say("WHOIS al")
        self.assertIn(" al al :", cy.wait_for(" 330 "))

        # The server is gone for a moment; the page comes back by itself, and logs in.
        self.chat.stop()
        al.wait_to_see("The connection is lost", "status")
        self.chat = self.start_chat()
        al.wait_to_see("1 here", "count")
        cy = Plain(self, self.port, "cy")
        cy.say("WHOIS al", "JOIN #team", "PRIVMSG #team :said later")
        self.assertIn(" al al :", cy.wait_for(" 330 "))
        al.wait_to_see("said later")

        # The page is loaded again: the latest is there, and what was before it behind a scroll.
        al.driver.refresh()
        al.enter("al", "#team", "wrong")
        al.wait_to_see("The login failed", "problem")
        al.enter("al", "#team", PASSWORD)
        al.wait_to_see("said later")
        al.wait_to_see("line 69")
        self.assertNotIn("line 3\n", al.text("log"))
        al.run("document.getElementById('log').scrollTop = 0")
        al.wait_to_see("line 3\n")
        self.assertEqual(1, al.text("log").count("line 69"))
        # What Chromium says of a server that is not there.
        self.assert_clean(al, "ERR_CONNECTION_REFUSED", "Error during WebSocket handshake")

    def test_its_parser_reads_what_the_vectors_say(self) -> None:
        page = self.browser()
        tests = json.loads(VECTORS.read_text())
        inputs = json.dumps([one["input"] for one in tests])
        script = (
            "const { parse } = await import('/wire.js');"
            f"return {inputs}.map((line) => {{ const m = parse(line);"
            " const tags = Object.fromEntries(m.tags);"
            " return { tags, verb: m.command.toLowerCase(), params: m.params }; });"
        )
        read = page.run(script)
        for one, found in zip(tests, read, strict=True):
            atoms = one["atoms"]
            expected = {
                "tags": atoms.get("tags", {}),
                "verb": atoms["verb"].lower(),
                "params": atoms.get("params", []),
            }
            self.assertEqual(expected, found, one["input"])
        script = (
            "const { pieces, format, parse, base64 } = await import('/wire.js');"
            "const long = 'é'.repeat(50) + ' word'.repeat(30);"
            "const cut = pieces(long, 40);"
            "const sizes = cut.map((one) => new TextEncoder().encode(one).length);"
            "const line = format('PRIVMSG', ['#a', ' b\\r\\nQUIT'], { label: 'x; y\\\\' });"
            "return [cut.join('') === long, Math.max(...sizes) <= 40, line, parse(line).tags.get('label'),"
            " base64('é')];"
        )
        line = "@label=x\\:\\sy\\\\ PRIVMSG #a : b QUIT"
        self.assertEqual([True, True, line, "x; y\\", "w6k="], page.run(script))
        self.assert_clean(page)

    def test_a_foreign_page_may_not_connect(self) -> None:
        page = self.browser()
        page.driver.get("data:text/html,<title>elsewhere</title>")
        script = (
            f"return await new Promise((done) => {{ const s = new WebSocket('ws://127.0.0.1:{self.web}/');"
            " s.onopen = () => done('open'); s.onclose = () => done('closed'); });"
        )
        self.assertEqual("closed", page.run(script))
