"""
``python -m myproject_chat``: looking after the state of a chat server that runs, or does not.

It works on the file, not on the server: SQLite lets several programs at it, and a server that runs notices
within a second or two. Passwords are asked for, or read from standard input, never given as an argument:
other users of the machine see those.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from myproject_chat.banmasks import DLINE, KLINE, read_mask
from myproject_chat.bans import is_over
from myproject_chat.durations import read_duration
from myproject_chat.names import fold, is_nick
from myproject_chat.passwords import Cost, hash_password
from myproject_chat.scram import derive
from myproject_chat.store import Account, Database, Entry, Loaded, NetworkBan, conversation
from myproject_chat.store.database import InUseError
from myproject_chat.store.rows import delete_account, delete_ban, put_account, put_ban
from myproject_chat.store.schema import NewerVersionError

__all__ = ["PROGRAM", "main"]

PROGRAM = "python -m myproject_chat"

_STATE = "myproject-chat.sqlite"
_SALT_SIZE = 16
_SETTER = b"administrator"


class _MistakeError(Exception):
    """The person at the keyboard is to do something else. The text says what."""


def _parser() -> argparse.ArgumentParser:
    # Before the words or behind them, as people type it.
    state = argparse.ArgumentParser(add_help=False)
    state.add_argument(
        "--state",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="FILE",
        help=f"the server's state file (default: {_STATE} in this folder)",
    )
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Look after the state of a chat server, running or stopped.",
        parents=[state],
    )
    words = parser.add_subparsers(metavar="WORD", required=True)

    def add(
        parent: Any, word: str, run: Callable[[argparse.Namespace], int], does: str
    ) -> argparse.ArgumentParser:
        one: argparse.ArgumentParser = parent.add_parser(word, help=does, parents=[state])
        one.set_defaults(run=run)
        return one

    account = words.add_parser("account", help="accounts").add_subparsers(
        metavar="WORD", required=True
    )
    for word, run, does in (
        ("add", _account_add, "register an account; its password is asked for"),
        ("passwd", _account_passwd, "give an account another password, which is asked for"),
        ("delete", _account_delete, "delete an account and its conversations"),
    ):
        add(account, word, run, does).add_argument("name", metavar="NAME")
    add(account, "list", _account_list, "list all accounts")
    ban = words.add_parser("ban", help="bans of the server").add_subparsers(
        metavar="WORD", required=True
    )
    adding = add(ban, "add", _ban_add, "keep somebody out")
    deleting = add(ban, "del", _ban_del, "let somebody in again")
    for one in (adding, deleting):
        one.add_argument("kind", choices=(KLINE, DLINE), help="kline: a person; dline: an address")
        one.add_argument(
            "mask",
            metavar="MASK",
            help="nick!user@host or a:account; of a dline an address or a network",
        )
    adding.add_argument(
        "--reason",
        default="Banned",
        help="what those are told whom it hits, and behind a | what operators alone see",
    )
    adding.add_argument(
        "--for", dest="duration", metavar="TIME", help="90s, 1h30m, 7d or the like; else for ever"
    )
    add(ban, "list", _ban_list, "list all bans")
    add(words, "check", _check, "look for damage in the file")
    add(words, "backup", _backup, "copy the file as it is at this moment").add_argument(
        "copy", type=Path, metavar="COPY"
    )
    add(words, "export", _export, "print the history, a JSON object a line").add_argument(
        "--target",
        metavar="TARGET",
        help="of one channel, or of two accounts with a comma between them",
    )
    words.add_parser(
        "hash-password", help="print the hash of a password, for an operator in the configuration"
    ).set_defaults(run=_hash_password)
    return parser


def main(arguments: Sequence[str]) -> int:
    """
    Do what a command line says.

    :param arguments: its words, without the program.
    :return: the exit status: 64 for a mistake in the words, 65 for a file that is not what it should be,
        74 for a disk that fails, 1 if `check` found damage.
    """
    try:
        chosen = _parser().parse_args(arguments, argparse.Namespace(state=Path(_STATE)))
    except SystemExit as end:
        # argparse knows of status 2 only.
        return os.EX_USAGE if end.code else os.EX_OK
    run: Callable[[argparse.Namespace], int] = chosen.run
    try:
        return run(chosen)
    except (
        _MistakeError,
        NewerVersionError,
        InUseError,
        sqlite3.Error,
        OSError,
        UnicodeError,
    ) as failure:
        return _fail(*_problem(failure, chosen.state))


def _problem(failure: Exception, state: Path) -> tuple[str, int]:
    """Say what is wrong and what to do, and the exit status."""
    match failure:
        case UnicodeError():
            return "what was given is not UTF-8; give it in UTF-8", os.EX_USAGE
        case _MistakeError():
            return str(failure), os.EX_USAGE
        case NewerVersionError():
            problem, status = f"{failure}; install the version that wrote it", os.EX_DATAERR
        case InUseError():
            problem = "a server of an older version has it; restart that one first"
            status = os.EX_DATAERR
        case sqlite3.OperationalError():
            problem, status = f"{failure}; see to the disk and try again", os.EX_IOERR
        case OSError():
            why = (failure.strerror or type(failure).__name__).lower()
            problem, status = f"{why}; do this as the user that runs the server", os.EX_IOERR
        case _:
            problem = f"{failure}; name a state file with --state, or restore a backup"
            status = os.EX_DATAERR
    return f"{state}: {problem}", status


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _fail(line: str, status: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {line}\n")
    return status


def _refuse(problem: str) -> NoReturn:
    raise _MistakeError(problem)


@contextlib.contextmanager
def _opened(chosen: argparse.Namespace) -> Iterator[Database]:
    if not chosen.state.is_file():
        _refuse(f"{chosen.state}: there is no such file; name the server's with --state")
    with contextlib.closing(Database(str(chosen.state), exclusive=False)) as database:
        yield database


def _password() -> bytes:
    """Ask for a password, twice; or take the one line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n").encode("utf-8")
    first = getpass.getpass("Password: ")
    if first != getpass.getpass("Again: "):
        _refuse("the two passwords differ; try again")
    return first.encode("utf-8")


def _hashed(password: bytes) -> str:
    try:
        return hash_password(password)
    except ValueError as mistake:
        _refuse(f"{mistake}; give another")


def _when(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


# Accounts


def _found(database: Database, name: str) -> Account | None:
    key = fold(name.encode("utf-8"))
    return next((one for one in database.load().accounts if fold(one.name) == key), None)


def _with_password(account: Account) -> Account:
    password = _password()
    hashed = _hashed(password)
    scram = derive(password, os.urandom(_SALT_SIZE), Cost().iterations)
    return replace(account, password=hashed, scram=scram)


def _account_add(chosen: argparse.Namespace) -> int:
    name = chosen.name.encode("utf-8")
    if not is_nick(name):
        _refuse(f"{chosen.name!r} cannot be a nick, so it cannot be an account; give another name")
    with _opened(chosen) as database:
        if _found(database, chosen.name) is not None:
            _refuse(f"there is an account {chosen.name!r}; passwd gives it another password")
        database.write(put_account(_with_password(Account(name, int(time.time())))))
    return os.EX_OK


def _existing(database: Database, name: str) -> Account:
    account = _found(database, name)
    if account is None:
        _refuse(f"there is no account {name!r}; list shows all")
    return account


def _account_passwd(chosen: argparse.Namespace) -> int:
    with _opened(chosen) as database:
        account = _existing(database, chosen.name)
        database.write(put_account(_with_password(account)))
    return os.EX_OK


def _account_delete(chosen: argparse.Namespace) -> int:
    with _opened(chosen) as database:
        key = fold(_existing(database, chosen.name).name)
        owned = [one.name for one in database.load().channels if fold(one.founder) == key]
        if owned:
            names = b", ".join(owned).decode("utf-8", "replace")
            _refuse(f"{chosen.name!r} owns {names}; transfer or drop them first")
        database.write(delete_account(key))
    return os.EX_OK


def _account_list(chosen: argparse.Namespace) -> int:
    with _opened(chosen) as database:
        for account in database.load().accounts:
            logins = "password" if account.password else ""
            if account.fingerprints:
                logins += f"{', ' if logins else ''}{len(account.fingerprints)} certificates"
            state = "" if account.verified else "  (not verified)"
            name = account.name.decode("utf-8", "replace")
            _say(f"{name:30}  {_when(account.created)}  {logins}{state}")
    return os.EX_OK


# Bans


def _mask(kind: str, mask: str) -> bytes:
    """Read a mask in the form in which servers have it."""
    try:
        return read_mask(kind, mask.encode("utf-8")).mask
    except UnicodeError:
        # It is a ValueError as well; `main` says what is wrong.
        raise
    except ValueError as mistake:
        _refuse(f"{mask!r}: {mistake}")


def _ban_add(chosen: argparse.Namespace) -> int:
    now = int(time.time())
    expires = None
    if chosen.duration is not None:
        try:
            expires = now + read_duration(chosen.duration)
        except ValueError as mistake:
            _refuse(f"--for: {chosen.duration!r}: {mistake}; give one such as 90s, 1h30m or 7d")
    mask = _mask(chosen.kind, chosen.mask)
    if any(ord(character) < ord(" ") for character in chosen.reason):
        _refuse(f"--reason: {chosen.reason!r} is not one line; give one")
    words = (mask, _SETTER, chosen.reason.encode("utf-8"))
    with _opened(chosen) as database:
        database.write(put_ban(NetworkBan(chosen.kind, *words, now, expires)))
    return os.EX_OK


def _ban_del(chosen: argparse.Namespace) -> int:
    key = _mask(chosen.kind, chosen.mask)
    with _opened(chosen) as database:
        if not any(one.kind == chosen.kind and one.mask == key for one in database.load().bans):
            _refuse(f"there is no {chosen.kind} {chosen.mask!r}; list shows all")
        database.write(delete_ban(chosen.kind, key))
    return os.EX_OK


def _ban_list(chosen: argparse.Namespace) -> int:
    with _opened(chosen) as database:
        for ban in database.load().bans:
            if is_over(ban, time.time()):
                continue
            until = "for ever" if ban.expires is None else f"until {_when(ban.expires)}"
            mask, reason = (one.decode("utf-8", "replace") for one in (ban.mask, ban.reason))
            _say(f"{ban.kind}  {mask:40}  {until}  {reason}")
    return os.EX_OK


# The whole


def _check(chosen: argparse.Namespace) -> int:
    try:
        with _opened(chosen) as database:
            problems = database.check()
            loaded = Loaded() if problems else database.load()
            entries = 0 if problems else database.history.count()
    except sqlite3.DatabaseError as failure:
        if getattr(failure, "sqlite_errorcode", None) != sqlite3.SQLITE_CORRUPT:
            raise
        problems = [str(failure)]
    if problems:
        for problem in problems:
            _say(problem)
        _say(f"{chosen.state} is damaged; restore a backup")
        return 1
    _say(
        f"{chosen.state} is sound: {len(loaded.accounts)} accounts, {len(loaded.channels)} channels,"
        f" {len(loaded.bans)} bans, {entries} entries of history"
    )
    return os.EX_OK


def _backup(chosen: argparse.Namespace) -> int:
    with _opened(chosen) as database:
        try:
            database.backup(str(chosen.copy))
        except FileExistsError:
            _refuse(f"{chosen.copy}: there is such a file; name one that is not there yet")
        except OSError as failure:
            problem = (failure.strerror or "").lower()
            _refuse(f"{chosen.copy}: {problem}; name a file in a folder that can be written")
        except sqlite3.OperationalError as failure:
            _refuse(f"{chosen.copy}: {failure}; name a file where there is room")
    return os.EX_OK


def _target(words: str) -> bytes:
    folded = fold(words.encode("utf-8"))
    one, comma, other = folded.partition(b",")
    return conversation(one, other) if comma else folded


def _export(chosen: argparse.Namespace) -> int:
    target = None if chosen.target is None else _target(chosen.target)
    with _opened(chosen) as database:
        for entry in database.history.export(target):
            _say(json.dumps(_as_json(entry), ensure_ascii=False))
    return os.EX_OK


def _as_json(entry: Entry) -> dict[str, Any]:
    def words(value: bytes | None) -> str | None:
        return None if value is None else value.decode("utf-8", "replace")

    moment = datetime.fromtimestamp(entry.time / 1000, UTC)
    return {
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "msgid": words(entry.msgid),
        "target": words(entry.target),
        "source": words(entry.source),
        "account": words(entry.account),
        "command": words(entry.command),
        "params": [words(param) for param in entry.params],
        "text": words(entry.text),
        "tags": words(entry.tags),
    }


def _hash_password(_chosen: argparse.Namespace) -> int:
    _say(_hashed(_password()))
    return os.EX_OK
