"""
Accounts against a model: who is logged in to what, who has which nick, who is there without a client.

Every rule does one thing on the server and on the model; after each, the same users are there with the
same accounts and as many clients, and the same accounts have the same certificates. That a password opens,
or opens no more, is seen by logging in.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.configuration import Throttle
from tests.chat.harness import Chat, Client
from tests.chat.test_accounts import Notebook, plain, replace_choices

NICKS = st.sampled_from(["al", "AL", "bo", "cy"])
WORDS = st.sampled_from(["w1", "w2"])
MARKS = st.sampled_from(["aa" * 32, "bb" * 32])
MOST_CLIENTS = 3


@dataclass(eq=False)
class Owned:
    """An account."""

    name: str
    word: str
    marks: list[str] = field(default_factory=list)
    always_on: bool = False
    multiclient: bool = True

    @property
    def stays(self) -> bool:
        return self.always_on and self.multiclient


@dataclass(eq=False)
class Somebody:
    """A user, with or without clients."""

    nick: str
    account: Owned | None
    clients: list[Client] = field(default_factory=list)


class Accounts(RuleBasedStateMachine):
    """The server and the model, side by side."""

    clients = Bundle("clients")

    @initialize(
        target=clients,
        clients=st.integers(1, MOST_CLIENTS),
        marks=st.sampled_from([[], ["aa" * 32], ["aa" * 32, "bb" * 32]]),
        stays=st.booleans(),
        another=st.booleans(),
    )
    def start(self, clients: int, marks: list[str], stays: bool, another: bool) -> object:
        """Begin in the middle: there may be accounts, with certificates, and clients of them."""
        self.notebook = Notebook()
        self.accounts: dict[str, Owned] = {}
        self.users: dict[str, Somebody] = {}
        self.open()
        first = self.come("al")
        assert isinstance(first, Client)
        self.register(first, "w1")
        for mark in marks:
            self.change_certificates(first, True, mark)
        if stays:
            self.choose(first, "always-on", True)
        there = [first] + [self.come_with_a_password("al", "al", "w1") for _ in range(1, clients)]
        there.append(self.come("bo"))
        if another:
            bo = there[-1]
            assert isinstance(bo, Client)
            self.register(bo, "w2")
        return multiple(*there)

    def open(self) -> None:
        self.chat: Chat = self.notebook.restored(
            accounts=replace_choices(password_length=1, max_clients=MOST_CLIENTS),
            throttle=Throttle(enabled=False),
        )

    # The model's own words

    def of(self, client: Client) -> Somebody | None:
        """Whose a client is; None if it has gone meanwhile, or was from before a restart."""
        return next((user for user in self.users.values() if client in user.clients), None)

    def right(self, name: str, word: str) -> Owned | None:
        account = self.accounts.get(name.lower())
        return account if account is not None and account.word == word else None

    def reserved(self, nick: str, account: Owned | None) -> bool:
        return self.accounts.get(nick.lower(), account) is not account

    def enter(self, client: Client, nick: str, account: Owned | None) -> bool:
        """Let a client in that has said who it is; gives whether it may have the nick."""
        holder = self.users.get(nick.lower())
        if holder is not None:
            shares = account is not None and holder.account is account and account.multiclient
            if not shares or len(holder.clients) >= MOST_CLIENTS:
                return False
            holder.clients.append(client)
        elif self.reserved(nick, account):
            return False
        else:
            self.users[nick.lower()] = Somebody(nick, account, [client])
        return True

    def remove(self, user: Somebody) -> None:
        del self.users[user.nick.lower()]

    def end_absent(self, account: Owned) -> None:
        """Whoever is there without a client goes if the account stays no more."""
        for user in [*self.users.values()]:
            if user.account is account and not user.clients and not account.stays:
                self.remove(user)

    def take(self, user: Somebody, nick: str) -> bool:
        """Let a user have another nick, if it may."""
        if self.users.get(nick.lower(), user) is not user or self.reserved(nick, user.account):
            return False
        self.remove(user)
        user.nick = nick
        self.users[nick.lower()] = user
        return True

    # Coming and going

    def arrive(self, client: Client, nick: str, account: Owned | None, *last: str) -> object:
        codes = client.codes(f"NICK {nick}", "USER u 0 * :U", *last)
        entered = self.enter(client, nick, account)
        assert ("001" in codes, "433" in codes) == (entered, not entered), codes
        if entered:
            return client
        client.vanish()
        return multiple()

    @rule(target=clients, nick=NICKS)
    def come(self, nick: str) -> object:
        return self.arrive(self.chat.connect(), nick, None)

    @rule(target=clients, nick=NICKS, name=NICKS, word=WORDS)
    def come_with_a_password(self, nick: str, name: str, word: str) -> object:
        client = self.chat.connect()
        client.type("CAP REQ sasl", "AUTHENTICATE PLAIN")
        account = self.right(name, word)
        codes = client.codes(f"AUTHENTICATE {plain(name, word)}")
        assert codes == (["904"] if account is None else ["900", "903"])
        return self.arrive(client, nick, account, "CAP END")

    @rule(target=clients, nick=NICKS, name=NICKS | st.just(""), mark=MARKS)
    def come_with_a_certificate(self, nick: str, name: str, mark: str) -> object:
        client = self.chat.connect()
        client.protocol.session.fingerprint = mark.encode()
        client.type("CAP REQ sasl", "AUTHENTICATE EXTERNAL")
        account = next((one for one in self.accounts.values() if mark in one.marks), None)
        if account is not None and name.lower() not in ("", account.name.lower()):
            account = None
        codes = client.codes(f"AUTHENTICATE {b64encode(name.encode()).decode() or '+'}")
        assert codes == (["904"] if account is None else ["900", "903"])
        return self.arrive(client, nick, account, "CAP END")

    @rule(client=consumes(clients), politely=st.booleans())
    def go(self, client: Client, politely: bool) -> None:
        user = self.of(client)
        if user is None:
            return
        if politely:
            client.type("QUIT")
        else:
            client.vanish()
        user.clients.remove(client)
        if not user.clients and not (user.account is not None and user.account.stays):
            self.remove(user)

    @rule()
    def restart(self) -> None:
        """Those who stay come back; of several users of one account one does."""
        before = self.users
        self.chat.server.flush()
        self.open()
        self.users = {}
        for one in self.chat.server.network.users.values():
            account = self.accounts[(one.account or b"").decode().lower()]
            assert account.stays
            self.users[one.nick.decode().lower()] = Somebody(one.nick.decode(), account)
        for user in before.values():
            if user.account is not None and user.account.stays:
                nicks = {one.nick for one in before.values() if one.account is user.account}
                theirs = {one.nick for one in self.users.values() if one.account is user.account}
                assert len(theirs) <= 1, theirs
                assert theirs <= nicks or not theirs, (theirs, nicks)
                assert theirs or nicks & {one.nick for one in self.users.values()}, nicks

    # Accounts

    @rule(client=clients, word=WORDS)
    def register(self, client: Client, word: str) -> None:
        user = self.of(client)
        if user is None:
            return
        lines = " ".join(client.type(f"REGISTER * * {word}"))
        if user.account is not None:
            assert "ALREADY_AUTHENTICATED" in lines
        elif user.nick.lower() in self.accounts:
            assert "ACCOUNT_EXISTS" in lines
        else:
            assert "REGISTER SUCCESS" in lines
            user.account = self.accounts[user.nick.lower()] = Owned(user.nick, word)

    @rule(client=clients, name=NICKS, word=WORDS, by_sasl=st.booleans())
    def log_in(self, client: Client, name: str, word: str, by_sasl: bool) -> None:
        user, account = self.of(client), self.right(name, word)
        if user is None:
            return
        if by_sasl:
            client.type("AUTHENTICATE PLAIN")
            codes = client.codes(f"AUTHENTICATE {plain(name, word)}")
        else:
            codes = client.codes(f"NS IDENTIFY {name} {word}")
        assert ("900" in codes) is (account is not None)
        if account is not None:
            user.account = account

    @rule(client=clients)
    def log_out(self, client: Client) -> None:
        user = self.of(client)
        if user is not None:
            assert ("901" in client.codes("NS LOGOUT")) is (user.account is not None)
            user.account = None

    @rule(client=clients, old=WORDS, new=WORDS)
    def change_password(self, client: Client, old: str, new: str) -> None:
        user = self.of(client)
        if user is None:
            return
        done = "The password is changed" in " ".join(client.type(f"NS PASSWD {old} {new}"))
        assert done is (user.account is not None and user.account.word == old)
        if done and user.account is not None:
            user.account.word = new

    @rule(client=clients, word=WORDS)
    def drop(self, client: Client, word: str) -> None:
        user = self.of(client)
        if user is None:
            return
        done = "The account is deleted" in " ".join(client.type(f"NS DROP {word}"))
        account = user.account
        assert done is (account is not None and account.word == word)
        if done and account is not None:
            del self.accounts[account.name.lower()]
            for other in [*self.users.values()]:
                if other.account is account:
                    other.account = None
                    if not other.clients:
                        self.remove(other)

    @rule(client=clients, add=st.sampled_from([True, True, False]), mark=MARKS)
    def change_certificates(self, client: Client, add: bool, mark: str) -> None:
        user = self.of(client)
        if user is None:
            return
        done = "Done" in " ".join(client.type(f"NS CERT {'add' if add else 'del'} {mark}"))
        account = user.account
        free = all(mark not in one.marks for one in self.accounts.values())
        assert done is (account is not None and (free if add else mark in account.marks))
        if done and account is not None:
            (account.marks.append if add else account.marks.remove)(mark)

    @rule(
        client=clients,
        option=st.sampled_from(["always-on", "always-on", "multiclient"]),
        on=st.sampled_from([True, True, False]),
    )
    def choose(self, client: Client, option: str, on: bool) -> None:
        user = self.of(client)
        if user is None:
            return
        client.type(f"NS SET {option} {'on' if on else 'off'}")
        if user.account is not None:
            setattr(user.account, option.replace("-", "_"), on)
            self.end_absent(user.account)

    # Nicks

    @rule(client=clients, nick=NICKS)
    def rename(self, client: Client, nick: str) -> None:
        user = self.of(client)
        if user is None:
            return
        refused = "433" in client.codes(f"NICK {nick}")
        if nick.lower() == user.nick.lower() and self.reserved(nick, user.account):
            # Who has logged out has its nick still, and may not even write it otherwise.
            assert refused
        else:
            assert refused is not self.take(user, nick)

    @rule(client=clients, nick=NICKS, take=st.booleans())
    def put_out(self, client: Client, nick: str, take: bool) -> None:
        user = self.of(client)
        if user is None:
            return
        holder = self.users.get(nick.lower())
        account = user.account
        client.type(f"NS {'REGAIN' if take else 'GHOST'} {nick}")
        if holder is not None and holder is not user:
            if account is None:
                return
            own = nick.lower() == account.name.lower() or holder.account is account
            if not own:
                return
            for gone in holder.clients:
                assert "wants the nick" in gone.read()[-1]
            self.remove(holder)
        if take:
            self.take(user, nick)

    # What must hold

    @invariant()
    def the_same_users_are_there(self) -> None:
        there = {
            user.nick.decode(): (
                None if user.account is None else user.account.decode(),
                len(user.receivers),
            )
            for user in self.chat.server.network.users.values()
        }
        model = {
            user.nick: (None if user.account is None else user.account.name, len(user.clients))
            for user in self.users.values()
        }
        assert there == model, (there, model)

    @invariant()
    def the_same_accounts_are_there(self) -> None:
        there = {
            one.name.decode(): [mark.decode() for mark in one.fingerprints]
            for one in self.chat.server.accounts.all()
        }
        assert there == {one.name: one.marks for one in self.accounts.values()}
        assert sorted(self.notebook.accounts) == sorted(name.encode() for name in self.accounts)
        for name, one in self.accounts.items():
            assert self.chat.server.accounts.stays(name.encode()) is one.stays


class AccountsModelTests(SynchronousTestCase):
    def test_accounts_are_as_the_model_has_them(self) -> None:
        run_state_machine_as_test(
            Accounts,
            settings=settings(deadline=None, max_examples=120, stateful_step_count=30),
        )
