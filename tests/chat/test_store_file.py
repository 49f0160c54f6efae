"""The file: which will do, which will not, and the service that opens it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from myproject.errors import CannotStart
from myproject_chat.store import Database
from myproject_chat.store.schema import APPLICATION_ID, VERSION
from myproject_chat.store.service import StoreService


class FileTests(SynchronousTestCase):
    """Files that will do, and files that will not."""

    def refusal(self, path: str) -> str:
        service = StoreService(path, lambda _: None, lambda: 0.0, reactor=Clock())
        return str(self.assertRaises(CannotStart, service.startService))

    def test_a_copy_of_a_live_file_is_whole(self) -> None:
        path, copy = self.mktemp(), self.mktemp()
        database = Database(path)
        self.addCleanup(database.close)
        database.write([("INSERT INTO secrets VALUES ('a', 'b')", ())])
        database.backup(copy)
        other = Database(copy)
        self.addCleanup(other.close)
        self.assertEqual((database.load(), []), (other.load(), other.check()))

    def test_a_file_that_another_server_has(self) -> None:
        path = self.mktemp()
        database = Database(path)
        self.addCleanup(database.close)
        self.assertEqual(
            f"cannot use the state file {path}: another server has it;"
            " stop that one, or give each its own with --state",
            self.refusal(path),
        )

    def test_a_file_of_a_newer_version(self) -> None:
        path = self.mktemp()
        Database(path).close()
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        connection.close()
        self.assertIn(f"its version is {VERSION + 1}, and this program knows", self.refusal(path))

    def test_what_is_no_database_or_another_programs(self) -> None:
        path = self.mktemp()
        Path(path).write_text("something else entirely, of some length" * 50)
        self.assertIn("file is not a database", self.refusal(path))
        other = self.mktemp()
        with sqlite3.connect(other) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        connection.close()
        self.assertIn("it is another program's database", self.refusal(other))

    def test_a_folder_that_is_not_there(self) -> None:
        self.assertIn(
            "no such file or directory; give a file in a folder", self.refusal("/nowhere/x")
        )

    def test_a_new_file_says_what_it_is(self) -> None:
        path = self.mktemp()
        Database(path).close()
        with sqlite3.connect(path) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        connection.close()
        self.assertEqual((APPLICATION_ID, "wal"), (application, journal))
