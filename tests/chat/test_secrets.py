"""
Nothing secret in what a server writes down or shows: its log, ``--print-config``, STATS.

One server, with everything logged that can be; each secret is said to it once, right and wrong.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from argon2 import PasswordHasher
from twisted.trial.unittest import TestCase

from tests.support import ask, free_port, run, start

SERVER = "the-word-of-the-server"
OPERATOR = "the-word-of-the-operator"
GATEWAY = "the-word-of-the-gateway"
ACCOUNT = "the-word-of-the-account"
WRONG = "the-word-that-is-wrong"
CLOAK = "the-key-of-the-cloak-of-32-bytes-or-more"

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASHES = {word: HASHER.hash(word) for word in (OPERATOR, GATEWAY)}
PLAIN = b64encode(f"\0al\0{ACCOUNT}".encode()).decode()
PLAIN_WRONG = b64encode(f"\0al\0{WRONG}".encode()).decode()
SECRETS = (
    *(SERVER, OPERATOR, GATEWAY, ACCOUNT, WRONG, CLOAK, PLAIN, PLAIN_WRONG),
    *(encoded.rpartition("$")[2] for encoded in HASHES.values()),
)

SETTINGS = f"""
[myproject-chat]
port = "tcp:{{port}}:interface=127.0.0.1"
state = "chat.sqlite"
password = "{SERVER}"
log-level = "debug"
access-log = true
[myproject-chat.fakelag]
enabled = false
[myproject-chat.accounts]
hash = {{{{time = 1, memory = 8, iterations = 4096}}}}
[myproject-chat.cloak]
secret = "{CLOAK}"
[[myproject-chat.operator]]
name = "boss"
password-hash = "{HASHES[OPERATOR]}"
privileges = ["stats", "kill", "ban", "see-all", "rehash"]
[[myproject-chat.webirc]]
name = "kiwi"
networks = ["127.0.0.0/8"]
password-hash = "{HASHES[GATEWAY]}"
"""

COMMON = f"PASS {SERVER}", "NICK al", "USER al 0 * :Al"
TALKS = (
    (
        *COMMON,
        f"REGISTER * * {ACCOUNT}",
        f"PRIVMSG NickServ :IDENTIFY {WRONG}",
        f"NS IDENTIFY al {ACCOUNT}",
        f"NS PASSWD {WRONG} {ACCOUNT}",
        f"OPER boss {WRONG}",
        f"OPER boss {OPERATOR}",
        "REHASH",
        *(f"STATS {letter}" for letter in "abcdefghijklmnopqrstuvwxyzCDEHIKLMOPSTUVXYZ"),
        "WHOIS al",
        "ADMIN",
        "INFO",
        "VERSION",
    ),
    (f"WEBIRC {GATEWAY} kiwi host.example 203.0.113.9", *COMMON[:1], "NICK bo", COMMON[2]),
    (f"WEBIRC {WRONG} kiwi host.example 203.0.113.9",),
    (f"PASS {WRONG}", "NICK cy", "USER cy 0 * :Cy"),
    (
        *("CAP REQ :sasl", "AUTHENTICATE PLAIN", f"AUTHENTICATE {PLAIN}"),
        *("AUTHENTICATE PLAIN", f"AUTHENTICATE {PLAIN_WRONG}"),
        *(f"PASS {SERVER}", "NICK dee", "USER dee 0 * :Dee", "CAP END"),
    ),
)


class SecretTests(TestCase):
    def test_no_secret_is_shown_or_written_down(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        port = free_port()
        (folder / "chat.toml").write_text(SETTINGS.format(port=port))
        words = ("myproject-chat", "--config", "chat.toml")
        server = start(self, "-n", "--pidfile=", *words, cwd=folder).wait_for_port(port)
        told = [
            ask(
                port, "".join(f"{line}\r\n" for line in (*lines, "QUIT")).encode(), b"ERROR"
            ).decode()
            for lines in TALKS
        ]
        # Each was right where it was meant to be: it is the secrets that were said.
        for talk, marks in zip(
            told,
            ((" 381 ", " 219 ", "SUCCESS"), (" 001 ",), ("ERROR",), (" 464 ",), (" 903 ", " 904 ")),
            strict=True,
        ):
            for mark in marks:
                self.assertIn(mark, talk)
        shown = run(*words, "--print-config", cwd=folder).stdout
        server.stop()
        self.assertIn("kiwi", shown)
        self.assertIn("connection", server.log)
        for secret in SECRETS:
            self.assertNotIn(secret, shown)
            self.assertNotIn(secret, server.log)
            for talk in told:
                self.assertNotIn(secret, talk)
