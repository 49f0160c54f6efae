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
    from myproject_chat.session import Session
    from myproject_chat.state import User
    from myproject_chat.wire import Message

__all__ = ["INFORMATION", "send_isupport", "send_lusers", "send_motd"]

INFORMATION = Table()

# RFC 2812 section 3.4.9 means a city, an institution and an address for mail; they may be anything.
_ADMIN = (RPL_ADMINLOC1, RPL_ADMINLOC2, RPL_ADMINEMAIL)
# How many commands HELP names on one line.
_NAMES_A_LINE = 8


@INFORMATION.registered(b"LUSERS")
def lusers(session: Session, _user: User, _message: Message) -> None:
    """Say how many there are."""
    send_lusers(session)


def send_lusers(session: Session) -> None:
    """Answer with how many there are, as for LUSERS; part of every welcome."""
    server = session.server
    network = server.network
    users, invisible, most = len(network.users), network.with_mode[b"i"], network.most_users
    text = b"There are %d users and %d invisible on 1 server"
    session.reply(RPL_LUSERCLIENT, text=text % (users - invisible, invisible))
    session.reply(RPL_LUSEROP, b"%d" % network.with_mode[b"o"])
    session.reply(RPL_LUSERUNKNOWN, b"%d" % (len(server.sessions) - server.registered))
    session.reply(RPL_LUSERCHANNELS, b"%d" % len(network.channels))
    session.reply(RPL_LUSERME, text=b"I have %d clients and 0 servers" % users)
    numbers = (b"%d" % users, b"%d" % most)
    session.reply(RPL_LOCALUSERS, *numbers, text=b"Current local users %d, max %d" % (users, most))
    session.reply(
        RPL_GLOBALUSERS, *numbers, text=b"Current global users %d, max %d" % (users, most)
    )


@INFORMATION.registered(b"MOTD")
def motd(session: Session, _user: User, _message: Message) -> None:
    """Say the message of the day."""
    send_motd(session)


def send_motd(session: Session) -> None:
    """Answer with the message of the day, as for MOTD; the end of every welcome."""
    settings = session.server.settings
    if not settings.motd:
        session.reply(ERR_NOMOTD)
        return
    session.reply(RPL_MOTDSTART, text=b"Message of the day of " + settings.server_name)
    for line in settings.motd.splitlines():
        session.reply(RPL_MOTD, text=line)
    session.reply(RPL_ENDOFMOTD)


@INFORMATION.registered(b"VERSION")
def version(session: Session, _user: User, _message: Message) -> None:
    """Say what software this is, and what it supports."""
    session.reply(RPL_VERSION, session.server.settings.version, session.server.name, text=b"")
    send_isupport(session)


def send_isupport(session: Session) -> None:
    """Answer with what the server supports, as for VERSION; part of every welcome."""
    for tokens in tokens_by_line(session.server.settings):
        session.reply(RPL_ISUPPORT, *tokens)


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
    session.reply(RPL_INFO, text=server.settings.version + b", an IRC server on Twisted")
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
