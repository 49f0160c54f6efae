"""
The server: what all sessions share, still without a reactor.

It holds the network's state, the table of commands, the wheel of deadlines and the list of sessions
that have something to be sent. Whoever does the I/O hands in two clocks and one function, `wake`,
which is called once when that list stops being empty; at the end of its turn it calls `Server.flush`.
So every receiver gets one send for a turn, whatever was said in it.

Those who spoke in a turn are sent theirs last: a message is on its way to its receiver before its
sender reads the PONG that it may be waiting for.

A session whose queue acknowledges what is not safe yet is kept back until `Server.wrote` says that it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from myproject_chat.accounts import Accounts
from myproject_chat.bans import Bans
from myproject_chat.capability import AWAY_NOTIFY, offered, sts_news, written
from myproject_chat.delivery import Outgoing, OutgoingRun, broadcast
from myproject_chat.expulsion import expel, expel_all
from myproject_chat.fakelag import Pace
from myproject_chat.forms import Forms
from myproject_chat.history import History
from myproject_chat.hosts import Hosts
from myproject_chat.identity import forget_account
from myproject_chat.keeping import Kept
from myproject_chat.metadata_changes import MetadataChanges
from myproject_chat.modes import OPERATORS_USER_MODES
from myproject_chat.monitor import Watchers, notify
from myproject_chat.names import host_name
from myproject_chat.notices import COMING, FLOODS, GOING, tell_operators
from myproject_chat.rounds import Round
from myproject_chat.session import Link, Session
from myproject_chat.settings import Settings
from myproject_chat.state import Network, User
from myproject_chat.throttle import TOO_MANY, is_exempt, throttle_of
from myproject_chat.timers import Wheel
from myproject_chat.timestamps import stamp
from myproject_chat.whowas import Whowas

if TYPE_CHECKING:
    from pathlib import Path

    from myproject_chat.accounts import Hasher
    from myproject_chat.bans import BanKeeper
    from myproject_chat.channel import Channel
    from myproject_chat.commands.registry import Command
    from myproject_chat.history import Reader
    from myproject_chat.keeper import Keeper
    from myproject_chat.receiving import Receiving
    from myproject_chat.sending import Sending
    from myproject_chat.store.records import Loaded, NetworkBan

    class Storing(Keeper, Reader, BanKeeper, Protocol):
        """A store."""


class Reloaded(Protocol):
    """What came of reading the settings again; the core has the like."""

    @property
    def mistake(self) -> str:
        """Why nothing changed; empty if there is no mistake."""

    @property
    def changed(self) -> Sequence[str]:
        """The names of the settings that changed."""

    @property
    def waiting(self) -> Sequence[str]:
        """The names of those that need a restart."""

    @property
    def file(self) -> Path | None:
        """The file that was read."""


__all__ = ["Reloaded", "Server"]


# Why somebody is away whose account stays while no client of it is connected.
_ABSENT = b"No client is connected"
_OPERATORS = frozenset(bytes((byte,)) for byte in OPERATORS_USER_MODES)


class Server:
    """
    One IRC server.

    :param settings: what the operator chose.
    :param commands: the commands by their names in capitals.
    :param now: the time in seconds that never goes back, for deadlines.
    :param wall: the time in seconds since 1970, for people.
    :param wake: called when there is something to flush and there was nothing before.
    :param passwords: hashes and checks passwords.
    :param send_to_all: sends the same bytes to some of what links gave as their ways.

    :ivar name: the server's name.
    :ivar offered: the capabilities that a client may ask for, with their values.
    :ivar forms: what everybody is told in the same words.
    :ivar network: who is there, and where.
    :ivar whowas: who was there.
    :ivar passwords: hashes and checks passwords.
    :ivar accounts: who has an account.
    :ivar kept: what outlives its users.
    :ivar metadata: what users and channels say of themselves, where it changes.
    :ivar history: what was said, and how far people have read.
    :ivar watchers: which clients are to be told of whose coming and going.
    :ivar registered: how many of the sessions have registered.
    :ivar sessions: those that are not closed, in the order in which they came.
    :ivar wheel: when each of them is looked at next.
    :ivar lagging: when those whose lines wait for their time go on.
    :ivar pace: how fast clients may go.
    :ivar round: what is being said in a channel, if anything has been said in this turn.
    :ivar turn: how many turns have been flushed.
    :ivar started: when the server was made, in seconds since 1970.
    :ivar written: the last ticket of what has been written safely.
    :ivar bans: who is kept out.
    :ivar connections: how often a host may connect.
    :ivar hosts: what others see of where somebody is.
    :ivar reload_settings: reads the settings again, and says what came of it; None if nobody has said how.
    :ivar on_noted: called with what operators have done to others, for the log.
    :ivar used: how often each command was given, by its name.
    """

    def __init__(
        self,
        settings: Settings,
        commands: Mapping[bytes, Command],
        now: Callable[[], float],
        wall: Callable[[], float],
        wake: Callable[[], None],
        *,
        passwords: Hasher,
        send_to_all: Callable[[list[Any], bytes], object],
    ) -> None:
        self.settings = settings
        self.commands = commands
        self.now = now
        self.wall = wall
        self.name = settings.server_name
        self.offered = offered(settings)
        self.forms = Forms(self)
        self.network = Network(self.settle)
        self.whowas = Whowas(lambda: self.settings.limits.whowas)
        self.watchers = Watchers()
        self.passwords = passwords
        self.accounts = Accounts(lambda: self.settings, passwords, now, wall)
        self.kept = Kept(self)
        self.metadata = MetadataChanges(self)
        self.bans = Bans(wall)
        self.hosts = Hosts(settings.cloak)
        self.connections = throttle_of(settings)
        self.reload_settings: Callable[[], Reloaded] | None = None
        self.on_noted: Callable[[bytes], None] = lambda _: None
        self.history = History(self)
        self.registered = 0
        self.sessions: dict[Session, None] = {}
        self.wheel: Wheel[Session] = Wheel()
        self.lagging: Wheel[Receiving] = Wheel()
        self.pace = Pace(settings.fakelag.burst, settings.fakelag.rate)
        self.round: Round | None = None
        self.turn = 0
        self.started = wall()
        self.written = 0
        self.used: Counter[bytes] = Counter()
        self._messages = 0
        self._run = b"%x" % int(self.started * 1000)
        self._batches = 0
        self._stamped: tuple[float, bytes] = (-1.0, b"")
        self._kept: list[Sending] = []
        self._roomy: list[Sending] = []
        self._shutting_down = False
        self._wake = wake
        self._send_to_all = send_to_all
        self._dirty: list[Sending] = []
        self._doomed: list[Session] = []
        self._suspects: dict[User, None] = {}

    def connect(
        self,
        link: Link,
        address: str,
        *,
        secure: bool = False,
        fingerprint: bytes | None = None,
    ) -> Session:
        """
        Begin a session.

        :param link: what carries its bytes.
        :param address: the peer's address.
        :param secure: whether nobody on the way can read along.
        :param fingerprint: the SHA-256 of the certificate that the peer has shown to own, in hex; or None.
        :return: the session.
        """
        session = Session(
            self,
            link,
            self.hosts.of_address(address),
            address,
            secure=secure,
            fingerprint=fingerprint,
        )
        self.sessions[session] = None
        first = min(self.settings.greeting_delay, self.settings.registration_timeout)
        self.wheel.put(session, self.now() + first)
        # Of a gateway's connections each counts for whom it is brought; see commands/gateways.py.
        gateways = [network for one in self.settings.gateways for network in one.networks]
        if not (gateways and is_exempt(address, gateways)) and not self.admits(address):
            session.close(TOO_MANY)
        return session

    def admits(self, address: str) -> bool:
        """
        Count a connection, if there have not been too many from there.

        :param address: whose, as text.
        """
        return not self.settings.throttle.enabled or self.connections.allow(address, self.now())

    def touch(self, session: Sending) -> None:
        """Note that a session has something to be sent, and see to it that it will be."""
        if not self._dirty and not self._doomed:
            self._wake()
        self._dirty.append(session)

    def tell(self, channel: Channel, message: Outgoing, speaker: User, needs: int = 0) -> None:
        """
        Send a message to all members of a channel, but for its speaker, by the end of the turn.

        :param channel: the channel.
        :param message: the message.
        :param speaker: who says it.
        :param needs: the bits of the capabilities that a client must have all of.
        """
        if self.round is None or self.round.channel is not channel:
            self.settle()
            if not self._dirty and not self._doomed:
                self._wake()
            self.round = Round(channel)
        self.round.add(message, speaker, needs)

    def settle(self, *, at_once: bool = False) -> None:
        """
        Give those whom it concerns what has been said in a channel: something is about to change.

        :param at_once: whether that is the turn's end.
        """
        told, self.round = self.round, None
        if told is not None:
            told.hand_out(self._send_to_all if at_once else None)

    def enforce(self, bans: Sequence[NetworkBan]) -> int:
        """
        Make those go whom new bans hit.

        :param bans: the bans.
        :return: how many went.
        """
        if not bans:
            return 0
        new = Bans(self.wall)
        new.refresh(bans)
        return expel_all(self, new)

    def suspect(self, user: User) -> None:
        """Note that a user is somebody else now: the bans are asked again at the end of the turn."""
        if len(self.bans):
            self._suspects[user] = None

    def note_flood(self, session: Session, what: bytes) -> None:
        """
        Tell operators of a client that sent, or let pile up, too much.

        :param session: the client, as it was before it is closed.
        :param what: too much of what, as it is told when it is closed.
        """
        address = host_name(session.address)
        tell_operators(self, FLOODS, b"%b: %b (%b)" % (what, session.target, address))

    def doom(self, session: Session) -> None:
        """Note that a session is to be closed at the end of the turn: too much waits for it."""
        if not self._dirty and not self._doomed:
            self._wake()
        self._doomed.append(session)

    def flush(self) -> None:
        """End a turn: close those who do not read, then send everybody what waits for them."""
        self.settle(at_once=True)
        if self._suspects:
            suspects, self._suspects = self._suspects, {}
            for user in suspects:
                expel(self, user, self.bans)
        while self._doomed:
            flooded = self._doomed.pop()
            self.note_flood(flooded, b"SendQ exceeded")
            flooded.close(b"SendQ exceeded")
        if self.network.changed or self.network.ended:
            self.history.follow()
            self.kept.write_changes()
        turn = self.turn
        self.turn = turn + 1
        dirty, self._dirty = self._dirty, []
        speakers = []
        for session in dirty:
            if session.turn == turn:
                speakers.append(session)
            else:
                session.flush()
        for session in speakers:
            session.flush()
        while self._roomy:
            self._roomy.pop().go_on()

    def reload(self, settings: Settings) -> None:
        """
        Take new settings; clients are told of capabilities that come or go.

        :param settings: the settings.
        """
        sts = sts_news(self.settings, settings)
        anew = settings.throttle != self.settings.throttle
        self.settings = settings
        if anew:
            self.accounts.set_throttles()
            self.connections = throttle_of(settings)
        self.pace = Pace(settings.fakelag.burst, settings.fakelag.rate)
        before, self.offered = self.offered, offered(settings)
        gone = [name for name in before if name not in self.offered]
        new = [
            written(name, value)
            for name, value in self.offered.items()
            if name not in before or before[name] != value
        ]
        for session in list(self.sessions):
            session.set_pace()
            session.reoffer(gone, [*new, *sts[session.secure]])

    def open(self, store: Storing, loaded: Loaded) -> None:
        """
        Bring back what was written before, and write down from now on; called before the first client.

        :param store: what writes down.
        :param loaded: what was written.
        """
        self.hosts.open(store, loaded.secrets)
        self.accounts.open(store, loaded)
        self.history.open(store, loaded)
        self.kept.restore(loaded.channels)
        self.bans.open(store, loaded.bans)
        expel_all(self, self.bans)
        self.metadata.restore(loaded.metadata)

    def refresh(self, loaded: Loaded) -> None:
        """
        Take what another program has changed.

        :param loaded: what is in the file.
        """
        for key in self.accounts.refresh(loaded, self.written):
            forget_account(self, key)
        self.enforce(self.bans.refresh(loaded.bans))

    def resume(self, session: Sending) -> None:
        """Note that a session's command can go on at the end of the turn: there is room for its lines."""
        self._roomy.append(session)

    def keep(self, session: Sending) -> None:
        """Note that a session is not to be sent anything before what it waits for is written: soon, then."""
        self._kept.append(session)
        if self.history.store is not None:
            self.history.store.hurry()

    def wrote(self, ticket: int) -> None:
        """
        Note that something is safe now, and let those go on who waited for it.

        :param ticket: its number; everything with a smaller one is safe, too.
        """
        self.written = max(self.written, ticket)
        kept, self._kept = self._kept, []
        for session in kept:
            self.touch(session)

    def sweep(self) -> None:
        """Do what time asks for; called about once in a second."""
        now = self.now()
        self._catch_up(now)
        for session in self.wheel.due(now):
            again = session.tick(now)
            if again is not None:
                self.wheel.put(session, again)

    def _catch_up(self, now: float) -> None:
        """Let those go on who sent faster than they may; a bug in the way of one stops no other."""
        bugs: list[Exception] = []
        for session in self.lagging.due(now):
            try:
                session.catch_up()
            except Exception as bug:
                bugs.append(bug)
        if bugs:
            raise ExceptionGroup("lines that had to wait", bugs)

    def shut_down(self, reason: bytes) -> None:
        """
        Close every session. Nobody is told that the others leave: all do.

        :param reason: what each client is told.
        """
        self._shutting_down = True
        for session in list(self.sessions):
            session.close(reason)
        # Nobody has left: they are to find what was said when they come back.
        self.network.ended.clear()
        self._shutting_down = False

    def message(
        self,
        user: User,
        command: bytes,
        params: Sequence[bytes] = (),
        text: bytes | None = None,
        *,
        tags: bytes = b"",
    ) -> Outgoing:
        """
        Make a message that a user is the source of.

        :param user: whose.
        :param command: the verb.
        :param params: its parameters that are words.
        :param text: its last parameter, or None.
        :param tags: what those who negotiated message-tags get, escaped and joined.
        """
        if b"B" in user.modes:
            tags = b"bot;" + tags if tags else b"bot"
        return Outgoing(
            self.wall,
            user.source,
            command,
            params,
            text,
            msgid=self.new_message_id(),
            tags=tags,
            account=user.account,
        )

    def run(self, user: User, command: bytes, target: bytes, texts: Sequence[bytes]) -> OutgoingRun:
        """
        Make messages that a user says to one target at once.

        :param user: who.
        :param command: the verb.
        :param target: to whom.
        :param texts: the words of each.
        """
        first = self._messages + 1
        self._messages += len(texts)
        numbers = range(first, first + len(texts))
        return OutgoingRun(
            self.wall,
            user.source,
            command,
            (target,),
            texts,
            names=lambda: [b"%b-%x" % (self._run, number) for number in numbers],
            tags=b"bot" if b"B" in user.modes else b"",
            account=user.account,
        )

    def announcement(
        self,
        command: bytes,
        params: Sequence[bytes] = (),
        text: bytes | None = None,
        *,
        source: bytes | None = None,
    ) -> Outgoing:
        """
        Make a message that the server itself is the source of, for many.

        :param command: the verb.
        :param params: its parameters that are words.
        :param text: its last parameter, or None.
        :param source: a service, in whose name it is instead.
        """
        source = self.name if source is None else source
        return Outgoing(self.wall, source, command, params, text, msgid=self.new_message_id())

    def stamp(self) -> bytes:
        """Give the time as IRC writes it."""
        moment = self.wall()
        if self._stamped[0] != moment:
            self._stamped = (moment, stamp(int(moment * 1000)))
        return self._stamped[1]

    def new_batch(self) -> bytes:
        """Give a name for a batch that no other has."""
        self._batches += 1
        return b"%x" % self._batches

    @property
    def messages(self) -> int:
        """How many messages have had a name from `new_message_id`."""
        return self._messages

    def new_message_id(self) -> bytes:
        """Give a name for a message that no other has, of this run or one before."""
        self._messages += 1
        return b"%b-%x" % (self._run, self._messages)

    def is_named_after(self, msgid: bytes, named: int) -> bool:
        """
        Say whether a message had its name after so many others had had theirs.

        :param msgid: the name, of this run or one before.
        :param named: how many, as `messages` once said.
        """
        run, _, number = msgid.partition(b"-")
        return run == self._run and int(number, 16) > named

    def depart(self, session: Session, user: User | None, reason: bytes) -> None:
        """
        Take out a session that has closed; with the last of a user's clients the user goes, and
        those who shared a channel are told.

        :param session: which.
        :param user: whose it was, None if nobody had registered.
        :param reason: why.
        """
        self.settle()
        del self.sessions[session]
        self.watchers.clear(session)
        if user is None:
            return
        self.registered -= 1
        user.receivers.remove(session)
        self.history.seen(user, session.user_name or b"")
        if user.receivers:
            return
        if not self._shutting_down and self.accounts.stays(user.account):
            # Whoever comes back by the account's password has not shown the operator's.
            for letter in sorted(user.modes & _OPERATORS):
                self.network.set_mode(user, letter, on=False)
            self.kept.write_user(user)
            if user.away is None:
                self._set_away(user, _ABSENT)
            return
        self.quit(user, reason)

    def come_back(self, user: User) -> None:
        """
        The first client of a user is there who stayed without one.

        :param user: who; if its own client had said that it is away, it still is.
        """
        if user.away == _ABSENT:
            self._set_away(user, None)

    def _set_away(self, user: User, why: bytes | None) -> None:
        user.away = why
        notify(self, user, self.message(user, b"AWAY", text=why), AWAY_NOTIFY)

    def arrive(self, user: User) -> None:
        """
        Let a user in, and tell those who wait for it.

        :raises ValueError: the nick is somebody's. Callers look first.
        """
        self.network.add(user)
        if user.account is not None:
            self.network.changed.add(user)
        self.watchers.tell_online(user)
        if self.network.listeners:
            tell_operators(self, COMING, b"Connected: %b (%b)" % (user.real_source, user.real_name))

    def quit(self, user: User, reason: bytes) -> None:
        """
        Take out a user who has no client left, and tell all whom it concerns.

        :param user: who.
        :param reason: why.
        """
        self.history.forget(user)
        if self._shutting_down:
            self.network.remove(user)
            return
        self.whowas.remember(user, int(self.wall()))
        if user.channels:
            peers = list(self.network.peers(user))
            message = self.message(user, b"QUIT", text=reason)
            self.history.happened(message, list(user.channels))
            self.network.remove(user)
            broadcast(peers, message)
        else:
            # There is nobody to see it.
            self.network.remove(user)
        self.kept.succeed(user.account)
        self.watchers.tell_offline(user.nick)
        if self.network.listeners:
            tell_operators(self, GOING, b"Gone: %b (%b)" % (user.real_source, reason))
