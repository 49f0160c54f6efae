"""ChanServ: registered channels."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from myproject_chat.accounts import Refused
from myproject_chat.delivery import broadcast
from myproject_chat.modes import PREFIXES
from myproject_chat.names import fold
from myproject_chat.services.service import Service

if TYPE_CHECKING:
    from myproject_chat.channel import Channel
    from myproject_chat.services.service import Asked
    from myproject_chat.state import User
    from myproject_chat.store.records import RegisteredChannel

__all__ = ["CHANSERV"]

CHANSERV = Service(b"ChanServ")


def _channel(asked: Asked) -> Channel:
    channel = asked.session.server.network.channel(asked.words[0])
    if channel is None:
        raise Refused(b"INVALID_PARAMS", b"There is no such channel")
    return channel


def _registered(asked: Asked) -> RegisteredChannel:
    kept = asked.session.server.kept.get(asked.words[0])
    if kept is None:
        raise Refused(b"INVALID_PARAMS", b"That channel is not registered")
    return kept


def _own(asked: Asked) -> RegisteredChannel:
    kept = _registered(asked)
    if fold(kept.founder) != fold(asked.account):
        raise Refused(b"NOPRIVS", b"That channel is not yours")
    return kept


def _account(asked: Asked, name: bytes) -> bytes:
    account = asked.session.server.accounts.get(name)
    if account is None:
        raise Refused(b"ACCOUNT_UNKNOWN", b"There is no such account")
    return account.name


def _give(asked: Asked, channel: Channel, user: User, letter: bytes) -> None:
    """Give a member a rank, and tell the channel."""
    held = channel.members[user]
    if letter in held:
        return
    channel.members[user] = held + letter
    server = asked.session.server
    server.network.changed.add(user)
    words = (channel.name, b"+" + letter, user.nick)
    news = server.announcement(b"MODE", words, source=CHANSERV.source(server))
    broadcast(channel.members, news)


@CHANSERV.command(b"REGISTER", 1)
def register(asked: Asked) -> None:
    """REGISTER #channel: keep a channel that you are an operator of"""
    account = asked.account
    channel = _channel(asked)
    if not channel.is_operator(asked.user):
        raise Refused(b"NOPRIVS", b"You are no operator of that channel")
    asked.session.hold(asked.session.server.kept.register(channel, account))
    _give(asked, channel, asked.user, b"q")
    asked.say(b"%b is registered, and yours" % channel.name)


@CHANSERV.command(b"DROP", 1)
def drop(asked: Asked) -> None:
    """DROP #channel [code]: keep your channel no more"""
    kept = _own(asked)
    code = asked.session.server.accounts.code(b"channel", kept.name, b"%d" % kept.registered)
    if asked.words[1:2] != [code]:
        asked.say(b"Nobody will own %b, and its ranks are gone with that" % kept.name)
        asked.say(b"If you mean it: DROP %b %b" % (kept.name, code))
        return
    asked.session.hold(asked.session.server.kept.drop(kept))
    asked.say(b"%b is not registered any more" % kept.name)


@CHANSERV.command(b"TRANSFER", 2)
def transfer(asked: Asked) -> None:
    """TRANSFER #channel account: offer your channel to somebody else; to yourself, offer it no more"""
    kept = _own(asked)
    account = _account(asked, asked.words[1])
    server = asked.session.server
    if fold(account) == fold(kept.founder):
        text = b"%b is offered to nobody" if server.kept.withdraw(kept) else b"%b was not offered"
        asked.say(text % kept.name)
        return
    server.kept.offer(kept, account)
    asked.say(
        b"%b is offered to %b, who can ACCEPT it until the server restarts" % (kept.name, account)
    )
    offer = b"%b offers you %b. To take it: /msg ChanServ ACCEPT %b" % (
        kept.founder,
        kept.name,
        kept.name,
    )
    for user in server.network.users_of(account):
        CHANSERV.tell(server, user, offer)


@CHANSERV.command(b"ACCEPT", 1)
def accept(asked: Asked) -> None:
    """ACCEPT #channel: take a channel that is offered to you"""
    account, kept = asked.account, _registered(asked)
    server = asked.session.server
    asked.session.hold(server.kept.accept(kept, account))
    asked.say(b"%b is yours" % kept.name)
    channel = server.network.channel(kept.name)
    if channel is not None and asked.user in channel.members:
        _give(asked, channel, asked.user, b"q")


@CHANSERV.command(b"AMODE", 1)
def amode(asked: Asked) -> None:
    """AMODE #channel [+|-letter account]: say which rank an account is given when it joins"""
    kept = _own(asked)
    if len(asked.words) < 3:
        for key, held in kept.ranks.items():
            asked.say(b"%b +%b" % (key, held))
        asked.say(b"%d accounts are given a rank in %b" % (len(kept.ranks), kept.name))
        return
    change, name = asked.words[1:3]
    sign, letter = change[:1], change[1:]
    if sign not in (b"+", b"-") or letter not in PREFIXES or letter == b"q":
        raise Refused(b"INVALID_PARAMS", b"A rank is one of +a, +o, +h and +v")
    server = asked.session.server
    if sign == b"-":
        if kept.ranks.get(fold(name)) != letter:
            raise Refused(b"INVALID_PARAMS", b"That account is not given that rank")
        asked.session.hold(server.kept.set_rank(kept, name, b""))
        asked.say(b"%b is given no rank in %b" % (name, kept.name))
        return
    account = _account(asked, name)
    asked.session.hold(server.kept.set_rank(kept, account, letter))
    channel = _channel(asked)
    for user in list(channel.members):
        if user.account is not None and fold(user.account) == fold(account):
            _give(asked, channel, user, letter)
    asked.say(b"%b is given +%b in %b" % (account, letter, kept.name))


@CHANSERV.command(b"OP", 1)
def op(asked: Asked) -> None:
    """OP #channel: take the rank that your account has there"""
    channel = _channel(asked)
    letter = asked.session.server.kept.rank(channel, asked.account)
    if not letter:
        raise Refused(b"NOPRIVS", b"Your account has no rank in that channel")
    if asked.user not in channel.members:
        raise Refused(b"INVALID_PARAMS", b"You are not in that channel")
    _give(asked, channel, asked.user, letter)


@CHANSERV.command(b"INFO", 1)
def info(asked: Asked) -> None:
    """INFO #channel: say whose a channel is"""
    kept = _registered(asked)
    channel = _channel(asked)
    if channel.secret and channel not in asked.user.channels:
        raise Refused(b"INVALID_PARAMS", b"That channel is not registered")
    when = datetime.fromtimestamp(kept.registered, UTC).strftime("%Y-%m-%d").encode("ascii")
    asked.say(b"%b was registered on %b; it is %b's" % (kept.name, when, kept.founder))
