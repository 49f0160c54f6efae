"""
A process for `test_store_kill`: makes a file of version 1 one of a version that takes a while.

    python -m tests.chat.store_migrator FILE
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from pathlib import Path
from typing import Final

from myproject_chat.store.schema import MIGRATIONS, migrate

#: Entries in the file.
ROWS: Final = 10_000

_FILL: Final = """
    INSERT INTO history
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)
    SELECT n, CAST(n AS BLOB), n, x'2361', x'78', NULL, x'505249564d5347', x'', zeroblob(100), x'', '', 0
    FROM number
"""
_STEP: Final = """
    ALTER TABLE history ADD COLUMN length INTEGER;
    UPDATE history SET length = length(text);
    CREATE INDEX history_by_length ON history (length, target, msgid);
"""


def filled(path: Path) -> int:
    """Make a file of version 1 with some megabytes in it; gives the number of entries."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, MIGRATIONS[:1])
        connection.execute(_FILL, (ROWS,))
    return ROWS


def main(path: str) -> None:
    """Migrate the file, if that was not done before."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # What a transaction has written so far goes to the disk page by page.
        connection.execute("PRAGMA cache_size = 10")
        migrate(connection, [MIGRATIONS[0], _STEP])


if __name__ == "__main__":
    main(sys.argv[1])
