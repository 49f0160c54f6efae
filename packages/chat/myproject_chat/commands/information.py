"""
What the server says of itself: LUSERS MOTD VERSION TIME INFO ADMIN LINKS MAP HELP HELPOP.

A server's name behind any of them is accepted and makes no difference: there is only one.

Sources: RFC 2812 section 3.4, https://modern.ircdocs.horse/#server-queries-and-commands,
https://modern.ircdocs.horse/#help-message.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from myproject_chat.commands.registry import Table
from myproject_chat.forms import Open
from myproject_chat.isupport import tokens_by_line
from myproject_chat.numerics import (
    ERR_HELPNOTFOUND,
    ERR_NOADMININFO,
    ERR_NOMOTD,
    RPL_ADMINEMAIL,
    RPL_ADMINLOC1,
    RPL_ADMINLOC2,
    RPL_ADMINME,
    RPL_ENDOFHELP,
    RPL_ENDOFINFO,
    RPL_ENDOFLINKS,
    RPL_ENDOFMOTD,
    RPL_GLOBALUSERS,
    RPL_HELPSTART,
    RPL_HELPTXT,
    RPL_INFO,
    RPL_ISUPPORT,
    RPL_LOCALUSERS,
    RPL_LUSERCHANNELS,
    RPL_LUSERCLIENT,
    RPL_LUSERME,
    RPL_LUSEROP,
    RPL_LUSERUNKNOWN,
    RPL_MAP,
    RPL_MAPEND,
    RPL_MOTD,
    RPL_MOTDSTART,
    RPL_TIME,
    RPL_VERSION,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myproject_chat.forms import Row
    from myproject_chat.server import Server
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["INFORMATION", "isupport_rows", "lusers_rows", "motd_rows", "numbers"]

INFORMATION = Table()

# RFC 2812 section 3.4.9 means a city, an institution and an address for mail; they may be anything.
_ADMIN = (RPL_ADMINLOC1, RPL_ADMINLOC2, RPL_ADMINEMAIL)
# How many commands HELP names on one line.
_NAMES_A_LINE = 8


@INFORMATION.registered(b"LUSERS")
def lusers(session: Session, _user: User, _message: Message) -> None:
    """Say how many there are."""
    session.fill(session.server.forms.of(lusers_rows), numbers(session.server))


def lusers_rows(_server: Server) -> Iterator[Row]:
    """Say how many there are, as for LUSERS, with fields as from `numbers`; part of every welcome."""
    text = b"There are %(visible)d users and %(invisible)d invisible on 1 server"
    yield RPL_LUSERCLIENT, (), Open(text)
    yield RPL_LUSEROP, (Open(b"%(operators)d"),), None
    yield RPL_LUSERUNKNOWN, (Open(b"%(unknown)d"),), None
    yield RPL_LUSERCHANNELS, (Open(b"%(channels)d"),), None
    yield RPL_LUSERME, (), Open(b"I have %(users)d clients and 0 servers")
    both = Open(b"%(users)d"), Open(b"%(most)d")
    yield RPL_LOCALUSERS, both, Open(b"Current local users %(users)d, max %(most)d")
    yield RPL_GLOBALUSERS, both, Open(b"Current global users %(users)d, max %(most)d")


def numbers(server: Server) -> dict[bytes, int]:
    """Count what `lusers_rows` tells of."""
    network = server.network
    users, invisible = len(network.users), network.with_mode[b"i"]
    return {
        b"users": users,
        b"visible": users - invisible,
        b"invisible": invisible,
        b"operators": network.with_mode[b"o"],
        b"unknown": len(server.sessions) - server.registered,
        b"channels": len(network.channels),
        b"most": network.most_users,
    }


@INFORMATION.registered(b"MOTD")
def motd(session: Session, _user: User, _message: Message) -> None:
    """Say the message of the day."""
    session.fill(session.server.forms.of(motd_rows))


def motd_rows(server: Server) -> Iterator[Row]:
    """Say the message of the day, as for MOTD; part of every welcome."""
    settings = server.settings
    if not settings.motd:
        yield ERR_NOMOTD, (), None
        return
    yield RPL_MOTDSTART, (), b"Message of the day of " + settings.server_name
    for line in settings.motd.splitlines():
        yield RPL_MOTD, (), line
    yield RPL_ENDOFMOTD, (), None


@INFORMATION.registered(b"VERSION")
def version(session: Session, _user: User, _message: Message) -> None:
    """Say what software this is, and what it supports."""
    session.reply(RPL_VERSION, session.server.settings.version(), session.server.name, text=b"")
    session.fill(session.server.forms.of(isupport_rows))


def isupport_rows(server: Server) -> Iterator[Row]:
    """Say what the server supports, as for VERSION; part of every welcome."""
    for tokens in tokens_by_line(server.settings):
        yield RPL_ISUPPORT, tuple(tokens), None


@INFORMATION.registered(b"TIME")
def time_(session: Session, _user: User, _message: Message) -> None:
    """Say what time it is here."""
    now = datetime.fromtimestamp(session.server.wall(), UTC)
    text = now.strftime("%A %Y-%m-%d %H:%M:%S UTC").encode("ascii")
    session.reply(RPL_TIME, session.server.name, text=text)


@INFORMATION.registered(b"INFO")
def info(session: Session, _user: User, _message: Message) -> None:
    """Say something of this server and its software."""
    server = session.server
    started = datetime.fromtimestamp(server.started, UTC)
    session.reply(RPL_INFO, text=server.settings.description)
    session.reply(RPL_INFO, text=server.settings.version() + b", an IRC server on Twisted")
    session.reply(
        RPL_INFO, text=started.strftime("Running since %Y-%m-%d %H:%M:%S UTC").encode("ascii")
    )
    session.reply(RPL_ENDOFINFO)


@INFORMATION.registered(b"ADMIN")
def admin(session: Session, _user: User, _message: Message) -> None:
    """Say who runs this server, and whom to write to."""
    lines = session.server.settings.admin
    if not lines:
        session.reply(ERR_NOADMININFO, session.server.name)
        return
    session.reply(RPL_ADMINME, session.server.name)
    for numeric, line in zip(_ADMIN, lines, strict=False):
        session.reply(numeric, text=line)


@INFORMATION.registered(b"LINKS")
def links(session: Session, _user: User, _message: Message) -> None:
    """Say which servers the network has; as there is one, whose name everybody knows, none are listed."""
    session.reply(RPL_ENDOFLINKS, b"*")


@INFORMATION.registered(b"MAP")
def map_(session: Session, _user: User, _message: Message) -> None:
    """Draw the servers of the network: this one."""
    server = session.server
    session.reply(RPL_MAP, text=b"%b (%d users)" % (server.name, len(server.network.users)))
    session.reply(RPL_MAPEND)


@INFORMATION.registered(b"HELP")
def help_(session: Session, _user: User, message: Message) -> None:
    """Say what the commands are, or what one of them does."""
    topic = message.params[0].upper() if message.params else b""
    commands = session.server.commands
    if not topic:
        names = sorted(commands)
        _send_help(
            session,
            b"*",
            b"Commands; HELP and the name of one says more",
            [b" ".join(names[i : i + _NAMES_A_LINE]) for i in range(0, len(names), _NAMES_A_LINE)],
        )
        return
    command = commands.get(topic)
    if command is None:
        session.reply(ERR_HELPNOTFOUND, message.params[0])
        return
    _send_help(session, topic, topic, command.help.encode("utf-8").splitlines())


@INFORMATION.registered(b"HELPOP")
def helpop(session: Session, user: User, message: Message) -> None:
    """The same as HELP."""
    help_(session, user, message)


def _send_help(session: Session, topic: bytes, title: bytes, lines: list[bytes]) -> None:
    session.reply(RPL_HELPSTART, topic, text=title)
    for line in lines:
        session.reply(RPL_HELPTXT, topic, text=line)
    session.reply(RPL_ENDOFHELP, topic)
