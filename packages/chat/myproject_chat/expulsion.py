"""
What a ban does: those whom it hits do not come in, and those who are here go.

The client is told why, in 465 and ERROR; the others see that somebody was banned, and no more. A user
several of whose clients are connected goes with the last of them, even if its account would have it stay
without a client.

Sources: https://modern.ircdocs.horse/#erryourebannedcreep-465, https://modern.ircdocs.horse/#error-message.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from myproject.limits import address_of
from myproject_chat.banmasks import Person
from myproject_chat.bans import public_reason
from myproject_chat.names import host_name
from myproject_chat.notices import BANS, tell_operators
from myproject_chat.numerics import ERR_YOUREBANNEDCREEP
from myproject_chat.wire import Message, clip, format_message

if TYPE_CHECKING:
    from myproject_chat.banmasks import Rule
    from myproject_chat.bans import Bans
    from myproject_chat.server import Server
    from myproject_chat.session import Session
    from myproject_chat.state import Receiver, User
    from myproject_chat.store.records import NetworkBan

__all__ = ["expel", "expel_all", "is_hit", "is_kept_out", "last_words", "said_of", "turn_out"]

# What others see when somebody is banned.
_QUIT = b"Banned"
_TEXT_LENGTH = 400


def _as_person(user: User) -> Person:
    """Describe a user without its clients."""
    hosts = tuple(dict.fromkeys((user.host, user.address)))
    address = user.address.decode("ascii", "replace")
    return Person(user.nick, user.user_name, hosts, address, user.account)


def _client_as_person(user: User, client: Receiver) -> Person:
    hosts = tuple(dict.fromkeys((user.host, client.host, host_name(client.address))))
    return Person(user.nick, user.user_name, hosts, client.address, user.account)


def is_hit(rule: Rule, user: User) -> bool:
    """
    Say whether a ban would be about one of a user's clients.

    :param rule: what the ban says.
    :param user: the user.
    """
    persons = [_client_as_person(user, one) for one in user.receivers]
    return any(rule.fits(person, address_of(person.address)) for person in persons)


def said_of(ban: NetworkBan) -> bytes:
    """Say to whom a ban hits why, and until when."""
    text = public_reason(ban)
    if ban.expires is not None:
        until = datetime.fromtimestamp(ban.expires, UTC)
        text += until.strftime(" (until %Y-%m-%d %H:%M UTC)").encode("ascii")
    return clip(text, _TEXT_LENGTH)


def last_words(address: str, ban: NetworkBan) -> bytes:
    """
    Give the line for a connection that is not let in at all.

    :param address: whose it is.
    :param ban: what keeps it out.
    """
    farewell = b"Closing link: %b (Banned: %b)" % (host_name(address), said_of(ban))
    return format_message(Message(b"ERROR", (farewell,))) + b"\r\n"


def is_kept_out(session: Session) -> bool:
    """
    Say whether a ban keeps a client out that is about to register; if so, it is told, and goes.

    :param session: the client, of which nick and user name are known.
    """
    server = session.server
    if not len(server.bans):
        return False
    nick, user_name = session.nick or b"*", session.user_name or b"*"
    address = host_name(session.address)
    hosts = tuple(dict.fromkeys((server.hosts.of_session(session), session.host, address)))
    person = Person(nick, user_name, hosts, session.address, session.account)
    ban = server.bans.of_person(person)
    if ban is None:
        return False
    who = b"%b!%b@%b" % (nick, user_name, address)
    what = b"%b %b (%b)" % (ban.kind.encode("ascii"), ban.mask, ban.reason)
    tell_operators(server, BANS, b"Kept out: %b, by %b" % (who, what))
    turn_out(server, session, ban)
    return True


def expel_all(server: Server, bans: Bans) -> int:
    """
    Make everybody go whom a ban hits.

    :param server: the server.
    :param bans: the bans that count: those that are new.
    :return: how many connections ended, and users that had none.
    """
    gone = 0
    # Of those that have not registered the others are asked when they do.
    for session in list(server.sessions):
        if session.user is None:
            ban = bans.of_address(session.address)
            if ban is not None:
                turn_out(server, session, ban)
                gone += 1
    for user in list(server.network.users.values()):
        gone += expel(server, user, bans)
    return gone


def expel(server: Server, user: User, bans: Bans) -> int:
    """
    Make a user go whom a ban hits.

    :param server: the server.
    :param user: the user; it may have gone already.
    :param bans: the bans that count.
    :return: how many of its connections ended; one if it had none.
    """
    if server.network.user(user.nick) is not user:
        return 0
    gone = 0
    for receiver in list(user.receivers):
        ban = bans.of_person(_client_as_person(user, receiver))
        if ban is not None:
            turn_out(server, receiver, ban)
            gone += 1
    if not user.receivers and server.network.user(user.nick) is user:
        # Its account has it stay without a client, but not if the ban is about the user, too.
        ban = bans.of_person(_as_person(user))
        if ban is not None:
            server.bans.hits[ban.kind] += not gone
            server.quit(user, _QUIT)
            gone = gone or 1
    return gone


def turn_out(server: Server, receiver: Receiver, ban: NetworkBan) -> None:
    """
    Tell a client why it is banned, and close it.

    :param server: the server.
    :param receiver: the client.
    :param ban: what it was hit by.
    """
    server.bans.hits[ban.kind] += 1
    text = said_of(ban)
    receiver.reply(ERR_YOUREBANNEDCREEP, text=b"You are banned from this server: " + text)
    receiver.close(_QUIT)
