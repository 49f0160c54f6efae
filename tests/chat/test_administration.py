"""``python -m myproject_chat``, on a file that a server has open and on one that none has."""

from __future__ import annotations

import errno
import getpass
import io
import json
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import NoReturn

from twisted.trial.unittest import SynchronousTestCase

from myproject_chat import administration
from myproject_chat.administration import main
from myproject_chat.passwords import Cost, hash_password
from myproject_chat.store import Account, Database, Entry, RegisteredChannel, conversation
from myproject_chat.store import database as database_module
from myproject_chat.store.rows import put_account, put_channel, put_entries
from myproject_chat.store.schema import VERSION
from tests.chat.storing import refuse


class Case(SynchronousTestCase):
    """A server's file, which a server has open."""

    def setUp(self) -> None:
        # What a password costs is no subject here.
        cheap = Cost(time=1, memory=8, iterations=4096)
        self.patch(administration, "hash_password", lambda password: hash_password(password, cheap))
        self.patch(administration, "Cost", lambda: cheap)
        self.path = self.mktemp()
        self.database = Database(self.path)
        self.addCleanup(self.database.close)

    def ask(self, *words: str, stdin: str = "", state: str | None = None) -> tuple[int, str, str]:
        """Run the command line; gives its status and what it printed."""
        out, err = io.StringIO(), io.StringIO()
        for name, stream in (("stdin", io.StringIO(stdin)), ("stdout", out), ("stderr", err)):
            self.patch(sys, name, stream)
        status = main(["--state", state or self.path, *words])
        return status, out.getvalue(), err.getvalue()

    def refusal(self, *words: str, stdin: str = "", state: str | None = None) -> str:
        """The one line of a refusal, without the program."""
        status, out, err = self.ask(*words, stdin=stdin, state=state)
        self.assertEqual((os.EX_USAGE, ""), (status, out))
        program, _, line = err.partition(": ")
        self.assertEqual(("python -m myproject_chat", 1), (program, line.count("\n")))
        return line.rstrip("\n")

    def accounts(self) -> dict[bytes, Account]:
        return {account.name: account for account in self.database.load().accounts}


class AccountTests(Case):
    def test_one_is_added_changed_listed_and_deleted(self) -> None:
        self.assertEqual((0, "", ""), self.ask("account", "add", "Al", stdin="secret\n"))
        account = self.accounts()[b"Al"]
        assert account.password is not None and account.scram is not None
        self.assertTrue(account.password.startswith("$argon2id$"))
        self.assertEqual((0, "", ""), self.ask("account", "passwd", "al", stdin="other\n"))
        self.assertNotEqual(account.password, self.accounts()[b"Al"].password)
        self.database.write(put_account(Account(b"cy", 0, None, None, (b"ab",), verified=False)))
        _, out, _ = self.ask("account", "list")
        self.assertRegex(
            out, r"^Al +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  password\ncy .*  1 certificates  \(not"
        )
        self.assertEqual((0, "", ""), self.ask("account", "delete", "AL"))
        self.assertEqual([b"cy"], list(self.accounts()))

    def test_each_mistake_is_named(self) -> None:
        self.ask("account", "add", "al", stdin="x")
        for words, stdin, problem in (
            (("add", "AL"), "x", "there is an account 'AL'; passwd gives it another password"),
            (
                ("add", "1 2"),
                "x",
                "'1 2' cannot be a nick, so it cannot be an account; give another name",
            ),
            (("add", "bo"), "", "a password has 1 to 1024 bytes, not 0; give another"),
            (("passwd", "bo"), "x", "there is no account 'bo'; list shows all"),
            (("delete", "bo"), "x", "there is no account 'bo'; list shows all"),
        ):
            self.assertEqual(problem, self.refusal("account", *words, stdin=stdin))

    def test_who_owns_channels_is_not_deleted(self) -> None:
        self.ask("account", "add", "al", stdin="x")
        self.database.write(put_channel(RegisteredChannel(b"#a", b"Al", 1, 1)))
        self.assertEqual(
            "'al' owns #a; transfer or drop them first", self.refusal("account", "delete", "al")
        )

    def test_a_person_is_asked_twice(self) -> None:
        terminal = io.StringIO()
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        for answers, status in ((["a", "a"], 0), (["a", "b"], os.EX_USAGE)):
            self.patch(sys, "stdin", terminal)
            self.patch(sys, "stderr", io.StringIO())
            self.patch(getpass, "getpass", lambda _, answers=answers: answers.pop(0))
            self.assertEqual(status, main(["--state", self.path, "account", "add", f"n{status}"]))


class BanTests(Case):
    def test_one_is_added_listed_and_deleted(self) -> None:
        self.assertEqual(0, self.ask("ban", "add", "dline", "192.0.2.0/24", "--for", "2d")[0])
        self.assertEqual(0, self.ask("ban", "add", "kline", "x@*", "--reason", "Spam")[0])
        dline, kline = self.database.load().bans
        self.assertEqual(
            (2 * 86400, b"Banned"), ((dline.expires or 0) - dline.created, dline.reason)
        )
        self.assertEqual((None, b"Spam"), (kline.expires, kline.reason))
        _, out, _ = self.ask("ban", "list")
        self.assertRegex(
            out, r"^dline  192.0.2.0/24 +until .*  Banned\nkline  \*!x@\* +for ever  Spam\n$"
        )
        self.assertEqual(0, self.ask("ban", "add", "dline", "192.0.2.9/24")[0])
        self.assertEqual(0, self.ask("ban", "add", "dline", "2001:DB8::1/128")[0])
        self.assertEqual(
            [b"192.0.2.0/24", b"2001:db8::1", b"*!x@*"],
            [one.mask for one in self.database.load().bans],
        )
        for one in ("2001:db8:0::1", "192.0.2.0/24"):
            self.assertEqual(0, self.ask("ban", "del", "dline", one)[0])
        self.assertEqual(0, self.ask("ban", "del", "kline", "X@*")[0])
        self.assertEqual((), self.database.load().bans)

    def test_one_that_has_ended_is_not_listed(self) -> None:
        for words in (("a:al", "--for", "1h30m"), ("b!*@*",)):
            self.ask("ban", "add", "kline", *words)
        then = time.time() + 5400
        self.patch(time, "time", lambda: then)
        self.assertEqual(1, self.ask("ban", "list")[1].count("kline"))

    def test_each_mistake_is_named(self) -> None:
        no_mask = "it is no mask; give nick!user@host, where * and ? stand for any"
        no_address = "it is no address; give one, or a network such as 192.0.2.0/24"
        for words, problem in (
            (("add", "kline", "a b@c"), f"'a b@c': {no_mask}"),
            (("add", "kline", ""), f"'': {no_mask}"),
            (
                ("add", "kline", "a:"),
                "'a:': it is no account; give a:account, where * and ? stand for any",
            ),
            (("add", "dline", "al"), f"'al': {no_address}"),
            (("del", "dline", "192.0.2.0/33"), f"'192.0.2.0/33': {no_address}"),
            (
                ("add", "kline", "a@b", "--for", "soon"),
                "--for: 'soon': it is no time; give one such as 90s, 1h30m or 7d",
            ),
            (
                ("add", "kline", "a@b", "--reason", "x\r\nERROR"),
                "--reason: 'x\\r\\nERROR' is not one line; give one",
            ),
            (("add", "kline", "\udcff@b"), "what was given is not UTF-8; give it in UTF-8"),
            (("del", "kline", "a@b"), "there is no kline 'a@b'; list shows all"),
        ):
            self.assertEqual(problem, self.refusal("ban", *words))


class FileTests(Case):
    def test_a_sound_file(self) -> None:
        expected = f"{self.path} is sound: 0 accounts, 0 channels, 0 bans, 0 entries of history\n"
        self.assertEqual((0, expected, ""), self.ask("check"))

    def test_a_damaged_one(self) -> None:
        self.patch(Database, "check", lambda _: ["wrong # of entries in index history_by_time"])
        status, out, _ = self.ask("check")
        self.assertEqual(1, status)
        self.assertTrue(out.endswith(f"{self.path} is damaged; restore a backup\n"), out)

    def test_one_that_is_damaged_indeed(self) -> None:
        names = [Account(b"n%d" % number, 1, "x" * 500) for number in range(50)]
        self.database.write(statement for one in names for statement in put_account(one))
        self.database.close()
        with Path(self.path).open("r+b") as stream:
            stream.seek(4096 * 20)
            stream.write(b"\xff" * 4096 * 30)
        status, out, err = self.ask("check")
        self.assertEqual((1, ""), (status, err))
        self.assertTrue(out.endswith(f"{self.path} is damaged; restore a backup\n"), out)

    def test_one_whose_header_says_so(self) -> None:
        def malformed(_: Database) -> list[str]:
            failure = sqlite3.DatabaseError("database disk image is malformed")
            failure.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise failure

        self.patch(Database, "check", malformed)
        self.assertIn("malformed", self.ask("check")[1])

    def test_tables_that_are_not_as_they_should_be(self) -> None:
        for statement in ("DROP INDEX history_by_time", "CREATE TABLE mine (x)"):
            self.database.write([(statement, ())])
        status, out, _ = self.ask("check")
        self.assertEqual(1, status)
        self.assertEqual(
            ["index history_by_time is missing", "table mine should not be there"],
            out.splitlines()[:2],
        )

    def test_the_file_may_be_named_behind_the_words_too(self) -> None:
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.assertEqual(0, main(["ban", "list", "--state", self.path]))
        self.assertEqual(0, main(["check", "--state", self.path]))
        self.assertIn("is sound", out.getvalue())

    def test_a_file_that_another_program_holds(self) -> None:
        self.patch(database_module, "_BUSY", 0.0)
        self.database.write([])
        connection = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(connection.close)
        connection.execute("BEGIN IMMEDIATE")
        status, _, err = self.ask("account", "add", "al", stdin="x")
        self.assertEqual(os.EX_IOERR, status)
        self.assertIn("database is locked; see to the disk and try again", err)

    def test_a_file_of_an_older_version_that_a_server_has(self) -> None:
        self.database.write([("PRAGMA user_version = 0", ())])
        status, _, err = self.ask("check")
        self.assertEqual(os.EX_DATAERR, status)
        self.assertIn("a server of an older version has it; restart that one first", err)

    def test_a_file_that_is_somebody_elses(self) -> None:
        def denied(*_: object, **_more: object) -> NoReturn:
            raise PermissionError(errno.EACCES, "Permission denied")

        self.patch(administration, "Database", denied)
        status, _, err = self.ask("check")
        self.assertEqual(os.EX_IOERR, status)
        self.assertIn("permission denied; do this as the user that runs the server", err)

    def test_a_copy_for_which_there_is_no_room(self) -> None:
        copy = self.mktemp()
        self.patch(Database, "backup", refuse)
        self.assertIn("disk is full; name a file where there is", self.refusal("backup", copy))

    def test_a_copy_is_whole_and_overwrites_nothing(self) -> None:
        self.ask("account", "add", "al", stdin="x")
        copy = self.mktemp()
        self.assertEqual((0, "", ""), self.ask("backup", copy))
        self.assertEqual(0o600, Path(copy).stat().st_mode & 0o777)
        self.assertIn("1 accounts", self.ask("check", state=copy)[1])
        self.assertIn("there is such a file", self.refusal("backup", copy))
        self.assertIn("no such file or directory; name", self.refusal("backup", "/nowhere/copy"))

    def test_history_is_a_json_object_a_line(self) -> None:
        for target in (b"#a", b"#b"):
            entry = Entry(
                b"id" + target, 1500, target, b"al!~al@h", None, b"PRIVMSG", (target,), b"h\xc3\xa9"
            )
            self.database.write(put_entries([entry]))
        _, out, _ = self.ask("export")
        self.assertEqual(2, len(out.splitlines()))
        pair = Entry(b"idp", 1, conversation(b"al", b"bo"), b"al!~al@h", b"al", b"NOTICE", (b"Bo",))
        self.database.write(put_entries([pair]))
        _, out, _ = self.ask("export", "--target", "Bo,Al")
        self.assertEqual(["idp"], [json.loads(line)["msgid"] for line in out.splitlines()])
        _, out, _ = self.ask("export", "--target", "#A")
        self.assertEqual(
            {
                "time": "1970-01-01T00:00:01.500Z",
                "msgid": "id#a",
                "target": "#a",
                "source": "al!~al@h",
                "account": None,
                "command": "PRIVMSG",
                "params": ["#a"],
                "text": "hé",
                "tags": "",
            },
            json.loads(out),
        )

    def test_what_is_no_state_file(self) -> None:
        self.assertIn(
            "there is no such file; name the server's", self.refusal("check", state="/nope")
        )
        other = self.mktemp()
        Path(other).write_text("something else " * 100)
        status, _, err = self.ask("check", state=other)
        self.assertEqual(os.EX_DATAERR, status)
        self.assertIn(f"{other}: file is not a database; name a state file with --state", err)
        empty = self.mktemp()
        Path(empty).touch()
        status, _, err = self.ask("check", state=empty)
        self.assertEqual((os.EX_DATAERR, b""), (status, Path(empty).read_bytes()))
        self.assertIn(f"{empty}: there is nothing in it; name a state file with --state", err)
        newer = self.mktemp()
        Database(newer).close()
        connection = sqlite3.connect(newer)
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        connection.close()
        status, _, err = self.ask("check", state=newer)
        self.assertEqual(os.EX_DATAERR, status)
        self.assertIn("install the version that wrote it", err)

    def test_a_mistake_in_the_words_and_help(self) -> None:
        self.assertEqual(os.EX_USAGE, self.ask("nonsense")[0])
        status, out, _ = self.ask("--help")
        self.assertEqual(0, status)
        self.assertIn("backup", out)

    def test_a_hash_for_the_configuration(self) -> None:
        status, out, _ = self.ask("hash-password", stdin="secret\n")
        self.assertEqual((0, "$argon2id$"), (status, out[:10]))
