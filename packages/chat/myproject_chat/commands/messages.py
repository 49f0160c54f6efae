"""
Messages: PRIVMSG NOTICE TAGMSG.

A target is a nick, a channel, or a channel behind a prefix sign (STATUSMSG), which means those of
its members who hold at least that rank. NOTICE is never answered, not even with an error, so that
two programs cannot answer each other for ever.

What is to be kept (history.py) is written down as it is sent, and its sender's echo, or the answer to its
label, waits until it is safe. While it cannot be written down, it is refused.

Sources: RFC 2812 section 3.3, https://modern.ircdocs.horse/#sending-messages,
https://ircv3.net/specs/extensions/message-tags, .../message-ids, https://ircv3.net/specs/extensions/echo-message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from myproject_chat.capability import ECHO_MESSAGE, LABELED_RESPONSE, MESSAGE_TAGS
from myproject_chat.channel import Channel, Speech
from myproject_chat.commands.lookup import is_operator, names
from myproject_chat.commands.registry import Outcome, Route, Table
from myproject_chat.delivery import MATTERS, OutgoingMultiline, broadcast
from myproject_chat.modes import HALF_OPERATOR, LEVELS_OF_SIGNS
from myproject_chat.names import fold
from myproject_chat.numerics import (
    ERR_CANNOTSENDTOCHAN,
    ERR_CANNOTSENDTOUSER,
    ERR_NEEDREGGEDNICK,
    ERR_NORECIPIENT,
    ERR_NOSUCHCHANNEL,
    ERR_NOSUCHNICK,
    ERR_NOTEXTTOSEND,
    ERR_TOOMANYTARGETS,
    RPL_AWAY,
    Numeric,
)
from myproject_chat.services import SERVICES
from myproject_chat.wire import MAX_BODY, format_tags

if TYPE_CHECKING:
    from myproject_chat.delivery import Outgoing
    from myproject_chat.multiline import Line, Multiline
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["MESSAGES", "client_tags", "send_lines"]

MESSAGES = Table()


# Who has one of these may be told that a message was sent.
_ACKNOWLEDGED = ECHO_MESSAGE | LABELED_RESPONSE

# message-tags: a key is letters, digits and hyphens, behind a vendor's host name and a slash.
_TAG_NAME = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-./"


class _Said(NamedTuple):
    """What is sent, to whomever: a verb, words or None, escaped client-only tags; perhaps several lines."""

    verb: bytes
    text: bytes | None
    tags: bytes
    lines: Sequence[Line] = ()

    @property
    def is_ctcp(self) -> bool:
        """Whether it is meant for a program and not for a person; /me is for people."""
        text = self.text
        return text is not None and text[:1] == b"\x01" and text[:8] != b"\x01ACTION "


@MESSAGES.registered(b"PRIVMSG")
def privmsg(session: Session, user: User, message: Message) -> Outcome:
    """Say something."""
    params = message.params
    if len(params) > 1 and params[0][:1] != b"#" and b"batch" not in message.tags:
        service = SERVICES.get(fold(params[0]))
        if service is not None:
            return service.hear(session, user, params[1])
    _send(session, user, message, b"PRIVMSG")
    return None


@MESSAGES.registered(b"NOTICE")
def notice(session: Session, user: User, message: Message) -> None:
    """Say something that must not be answered by a program."""
    _send(session, user, message, b"NOTICE")


@MESSAGES.registered(b"TAGMSG")
def tagmsg(session: Session, user: User, message: Message) -> None:
    """Send tags without words, to those who understand tags."""
    _send(session, user, message, b"TAGMSG")


def _send(session: Session, user: User, message: Message, verb: bytes) -> None:
    params = message.params
    if message.tags and b"batch" in message.tags:
        if session.batch is None:
            reference, why = message.tags[b"batch"], b"There is no such batch"
            session.say(b"FAIL", b"BATCH", b"INVALID_REFTAG", reference, text=why)
        else:
            session.batch.take(session, message)
        return
    if not params or not params[0]:
        _complain(session, verb, ERR_NORECIPIENT)
        return
    text = None
    if verb != b"TAGMSG":
        text = params[1] if len(params) > 1 else b""
        if not text:
            _complain(session, verb, ERR_NOTEXTTOSEND)
            return
    user.spoke = int(session.server.wall())
    said = _Said(verb, text, client_tags(message.tags) if message.tags else b"")
    most = session.server.settings.limits.max_targets
    for index, target in enumerate(names(params[0])):
        if index >= most:
            _complain(session, verb, ERR_TOOMANYTARGETS, target)
            return
        _to(session, user, target, said)


def send_lines(session: Session, user: User, message: Multiline, tags: bytes) -> None:
    """
    Send a message of several lines.

    :param session: whose message.
    :param user: whose that is.
    :param message: the message.
    :param tags: what clients say to each other in tags, escaped and joined.
    """
    user.spoke = int(session.server.wall())
    said = _Said(message.command, message.text(), tags, message.lines)
    _to(session, user, message.target, said)


@MESSAGES.routed(b"PRIVMSG", b"NOTICE")
def route(session: Session, user: User, verb: bytes, target: bytes) -> Route | None:
    """Find the way for plain words; there is none where anybody has to be told anything but these."""
    history = session.server.history
    network = session.server.network
    found: Channel | User
    if target[:1] == b"#":
        channel = network.channels.get(fold(target))
        if channel is None or channel.speech(user) is not Speech.HEARD:
            return None
        found, kept = channel, history.channel(channel)
    else:
        receiver = network.users.get(fold(target))
        # Who speaks to oneself is told each thing twice, one after the other.
        if receiver is None or receiver is user or receiver.away is not None:
            return None
        if b"R" in receiver.modes:
            return None
        found, kept = receiver, history.between(user, receiver)
    if kept is not None and history.troubled:
        return None
    return partial(_say, session, user, (verb, found, kept))


def _say(
    session: Session,
    user: User,
    way: tuple[bytes, Channel | User, bytes | None],
    texts: Sequence[bytes],
) -> None:
    """
    Say plain words, one after the other, to who wants to hear them.

    :param way: the verb, to whom, and under which name it is kept, if it is.
    """
    verb, to, kept = way
    server = session.server
    user.spoke = int(server.wall())
    receivers: Channel | tuple[User]
    if isinstance(to, Channel):
        target, receivers = to.name, to
    else:
        user.accept(to, server.network)
        if kept is None and _say_barely(session, user, verb, to, texts):
            return
        target, receivers = to.nick, (to,)
    message = server.run(user, verb, target, texts)
    if kept is not None:
        _hold(user, server.history.said_at_once(message, kept, bot=b"B" in user.modes))
    _hand_out(session, user, message, receivers)


def _say_barely(
    session: Session, user: User, verb: bytes, to: User, texts: Sequence[bytes]
) -> bool:
    """Say plain words to somebody whose clients want nothing else, and to nobody besides, if it is so."""
    if user.receivers != [session] or session.capabilities & ECHO_MESSAGE:
        return False
    for client in to.receivers:
        if client.capabilities & MATTERS:
            return False
    start = b":%b %b %b :" % (user.source, verb, to.nick)
    if len(start) + max(map(len, texts)) > MAX_BODY:
        return False
    lines = start + (b"\r\n" + start).join(texts) + b"\r\n"
    for client in to.receivers:
        client.queue(lines)
    return True


def _to(session: Session, user: User, target: bytes, said: _Said) -> None:
    is_channel = target[:1] == b"#" or (target[:1] in LEVELS_OF_SIGNS and target[1:2] == b"#")
    (_to_channel if is_channel else _to_user)(session, user, target, said)


def _to_channel(session: Session, user: User, target: bytes, said: _Said) -> None:
    sign = target.partition(b"#")[0]
    channel = session.server.network.channel(target.removeprefix(sign))
    if channel is None:
        _complain(session, said.verb, ERR_NOSUCHCHANNEL, target)
        return
    speech = channel.speech(user)
    if b"C" in channel.flags and said.is_ctcp:
        text = b"Cannot send to the channel: it takes no CTCP (+C)"
        _complain(session, said.verb, ERR_CANNOTSENDTOCHAN, channel.name, text=text)
    elif speech is Speech.REFUSED:
        _complain(session, said.verb, ERR_CANNOTSENDTOCHAN, channel.name)
    elif speech is Speech.UNKNOWN_SPEAKER:
        _complain(session, said.verb, ERR_NEEDREGGEDNICK, channel.name)
    else:
        level = LEVELS_OF_SIGNS.get(sign, 0)
        if speech is Speech.OPERATORS_ONLY:
            level = max(level, HALF_OPERATOR)
        if level:
            # Who may read what goes to some of them alone changes: that is not kept.
            some = [member for member in channel.at_least(level) if member is not user]
            _deliver(session, user, sign + channel.name, said, some, kept=None)
        else:
            kept = session.server.history.channel(channel)
            _deliver(session, user, channel.name, said, channel, kept=kept)


def _to_user(session: Session, user: User, target: bytes, said: _Said) -> None:
    receiver = session.server.network.user(target)
    if receiver is None:
        _complain(session, said.verb, ERR_NOSUCHNICK, target)
        return
    refusal = _refusal(user, receiver, said)
    if refusal is not None:
        _complain(session, said.verb, refusal, receiver.nick)
        return
    # Who writes to somebody may be answered, whatever one's own mode R says.
    user.accept(receiver, session.server.network)
    if receiver.away is not None and said.verb == b"PRIVMSG":
        session.reply(RPL_AWAY, receiver.nick, text=receiver.away)
    # Who speaks to oneself gets two: the message, and with echo-message its echo, which alone has
    # a label (labeled-response, "Messages sent to self").
    kept = session.server.history.between(user, receiver)
    _deliver(session, user, receiver.nick, said, (receiver,), kept=kept)


def _refusal(user: User, receiver: User, said: _Said) -> Numeric | None:
    """Say why somebody does not want a message, if so: user modes R and T."""
    if receiver is user or is_operator(user):
        return None
    if b"T" in receiver.modes and said.is_ctcp:
        return ERR_CANNOTSENDTOUSER
    if b"R" in receiver.modes and user.account is None and user not in receiver.accepted:
        return ERR_NEEDREGGEDNICK
    return None


def _deliver(
    session: Session,
    user: User,
    target: bytes,
    said: _Said,
    to: Channel | Sequence[User],
    *,
    kept: bytes | None,
) -> None:
    """Send what is said to all members of a channel but who says it, or to some users."""
    history = session.server.history
    if kept is not None and not history.wants(said.text, said.tags):
        kept = None
    if kept is not None and history.troubled:
        text = b"The server cannot keep messages at present; this one was not sent, try again later"
        session.say(b"FAIL", said.verb, b"TEMPORARILY_UNAVAILABLE", target, text=text)
        return
    message = session.server.message(user, said.verb, (target,), said.text, tags=said.tags)
    if said.lines:
        message = OutgoingMultiline(message, said.lines, session.server.new_batch())
    if kept is not None:
        # What may tell those who say it that it was sent waits until it is safe.
        _hold(user, history.said(message, kept, said.tags, bot=b"B" in user.modes))
    _hand_out(session, user, message, to, MESSAGE_TAGS if said.text is None else 0)


def _hold(user: User, ticket: int) -> None:
    for client in user.receivers:
        if client.capabilities & _ACKNOWLEDGED:
            client.hold(ticket)


def _hand_out(
    session: Session,
    user: User,
    message: Outgoing,
    to: Channel | Sequence[User],
    needs: int = 0,
) -> None:
    to_self = False
    if isinstance(to, Channel):
        session.server.tell(to, message, user, needs)
    elif user in to:
        to_self = True
        for client in user.receivers:
            if client.capabilities & needs == needs:
                client.queue_aside(message.line_for(client.capabilities))
    else:
        broadcast(to, message, needs=needs)
    _echo(session, user, message, needs, to_self=to_self)


def _echo(session: Session, user: User, message: Outgoing, needs: int, *, to_self: bool) -> None:
    """Tell the sender's clients: those that did not send it whatever they can do, unless they were told."""
    for client in user.receivers:
        wanted = needs | ECHO_MESSAGE if client is session or to_self else needs
        if client.capabilities & wanted == wanted:
            client.queue(message.line_for(client.capabilities))


def _complain(
    session: Session, verb: bytes, numeric: Numeric, *params: bytes, text: bytes | None = None
) -> None:
    if verb != b"NOTICE":
        session.reply(numeric, *params, text=text)


def client_tags(tags: Mapping[bytes, bytes]) -> bytes:
    """
    Keep what clients may say to each other in tags: those with ``+``.

    :param tags: all tags of a message.
    :return: these, escaped and joined.
    """
    return format_tags(
        {
            name: value
            for name, value in tags.items()
            if name[:1] == b"+" and len(name) > 1 and not name[1:].translate(None, _TAG_NAME)
        }
    )
