"""The store's records: what is written comes back, and what others write is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from myproject_chat.scram import ScramCredentials
from myproject_chat.store import (
    Account,
    Database,
    Loaded,
    Marker,
    Metadata,
    NetworkBan,
    RegisteredChannel,
    Store,
    StoredMask,
)
from myproject_chat.store.rows import put_account
from tests.chat.storing import StoreCase


class RecordTests(StoreCase):
    """All that is small comes back as it was."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.mktemp()
        self.store = self.open(self.path)

    def again(self) -> Loaded:
        """Close the file and open it again."""
        closed = self.store.close()
        self.turn()
        self.successResultOf(closed)
        self.store = self.open(self.path)
        return self.loaded

    def test_every_kind(self) -> None:
        account = Account(
            b"Al",
            5,
            "$argon2id$x",
            ScramCredentials(b"salt\0", 4096, b"\xff" * 32, b"\0" * 32),
            (b"ab" * 32, b"cd" * 32),
            b"al@example.org",
            False,
            {"always-on": "true"},
        )
        masks = (StoredMask(b"b", b"a!*@*", b"al", 7), StoredMask(b"I", b"a:x", b"al", 8))
        channel = RegisteredChannel(
            b"#A", b"Al", 1, 2, (b"topic", b"al", 3), b"nt", b"key", 9, b"#b", masks, {b"bo": b"o"}
        )
        bare = RegisteredChannel(b"#bare", b"Al", 1, 2)
        ban = NetworkBan("dline", b"192.0.2.0/24", b"op", b"why", 1, 2)
        marker, metadata = Marker(b"al", b"#a", 6), Metadata(b"al", b"url", b"\xc3\xa9")
        self.store.put_account(account)
        self.store.put_account(Account(b"bo", 1))
        self.store.put_channel(channel)
        self.store.put_channel(bare)
        self.store.put_ban(ban)
        self.store.put_marker(marker)
        self.store.put_metadata(metadata)
        self.store.put_secret("cloak", b"\0\1")
        expected = Loaded(
            (account, Account(b"bo", 1)),
            (channel, bare),
            (ban,),
            (marker,),
            (metadata,),
            {"cloak": b"\0\1"},
        )
        self.assertEqual(expected, self.again())
        # Again, whatever the case; what hangs on it goes with it.
        self.store.put_account(Account(b"AL", 6))
        self.store.put_channel(RegisteredChannel(b"#a", b"bo", 3, 4))
        self.store.delete_account(b"BO")
        self.store.delete_channel(b"#BARE")
        self.store.delete_ban("dline", b"192.0.2.0/24")
        self.store.delete_metadata(b"al", b"url")
        loaded = self.again()
        self.assertEqual((Account(b"AL", 6),), loaded.accounts)
        self.assertEqual((RegisteredChannel(b"#a", b"bo", 3, 4),), loaded.channels)
        self.assertEqual(((), ()), (loaded.bans, loaded.metadata))

    def test_what_another_program_changes_is_noticed(self) -> None:
        seen: list[Loaded] = []
        self.store.on_changed = seen.append
        self.store.put_account(Account(b"al", 1))
        self.turn()
        self.successResultOf(self.store.look())
        self.assertEqual([], seen)
        other = Database(self.path, exclusive=False)
        self.addCleanup(other.close)
        other.write([("DELETE FROM accounts", ())])
        self.successResultOf(self.store.look())
        self.assertEqual([()], [loaded.accounts for loaded in seen])

    def test_what_we_change_meanwhile_is_not_undone_by_what_was_read_before(self) -> None:
        held: list[tuple[Callable[[], Any], Deferred[Any]]] = []

        def hold(function: Callable[[], Any]) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            held.append((function, done))
            return done

        def go_on() -> None:
            function, done = held.pop(0)
            done.callback(function())

        path = self.mktemp()
        store = Store(lambda: Database(path), hold, self.clock.callLater)
        store.open()
        self.addCleanup(store.database.close)
        seen: list[Loaded] = []
        store.on_changed = seen.append
        other = Database(path, exclusive=False)
        self.addCleanup(other.close)
        other.write(put_account(Account(b"al", 1)))
        looked = store.look()
        go_on()
        # It is being read; now we change something.
        store.put_account(Account(b"bo", 2))
        go_on()
        self.turn()
        self.assertEqual([], seen)
        go_on()
        go_on()
        self.successResultOf(looked)
        self.assertEqual([(Account(b"al", 1), Account(b"bo", 2))], [one.accounts for one in seen])

    def test_a_store_that_closes_meanwhile_tells_nothing(self) -> None:
        self.patch(self.store.database, "has_changed", lambda: True)
        self.patch(self.store, "_database", None)
        self.assertIsNone(self.store._looked(changed=True))
