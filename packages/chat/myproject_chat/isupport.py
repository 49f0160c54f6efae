"""
What the server says of itself when a client registers: 004 and 005.

Every token is made from the setting or constant that the code obeys, so none can promise what is not kept.

Sources: https://modern.ircdocs.horse/#rplisupport-parameters and #rplmyinfo-004,
https://ircv3.net/specs/extensions/utf8-only.
"""

from __future__ import annotations

from myproject_chat import modes
from myproject_chat.commands.modes import KEY_LENGTH
from myproject_chat.extbans import ACCOUNT, MUTE
from myproject_chat.names import HOST_LENGTH, USER_LENGTH
from myproject_chat.settings import Settings

__all__ = ["my_info", "tokens_by_line"]

# 005 ends with words for people, and a message has 15 parameters at most: nick, 13 tokens, words.
_TOKENS_PER_LINE = 13


def my_info(settings: Settings) -> tuple[bytes, ...]:
    """
    Give 004's parameters.

    :param settings: the server's settings.
    :return: name, version, user modes, channel modes, channel modes that take a parameter.
    """
    with_param = modes.CHANNEL_LISTS + modes.CHANNEL_KEY + modes.CHANNEL_SETTINGS
    with_param += b"".join(modes.PREFIXES)
    return (
        settings.server_name,
        settings.version(),
        modes.USER_MODES,
        _in_order(modes.CHANNEL_FLAGS + with_param),
        _in_order(with_param),
    )


def _in_order(letters: bytes) -> bytes:
    return bytes(sorted(letters))


def tokens_by_line(settings: Settings) -> list[list[bytes]]:
    """
    Give 005's tokens.

    :param settings: the server's settings.
    :return: the tokens of each line, at most 13.
    """
    letters, signs = b"".join(modes.PREFIXES), b"".join(modes.PREFIXES.values())
    types = (modes.CHANNEL_LISTS, modes.CHANNEL_KEY, modes.CHANNEL_SETTINGS, modes.CHANNEL_FLAGS)
    limits = settings.limits
    targets = b"JOIN:,KICK:,NAMES:,NOTICE:%d,PART:,PRIVMSG:%d,TAGMSG:%d,WHOIS:1"
    tokens = [
        b"ACCOUNTEXTBAN=" + ACCOUNT,
        b"AWAYLEN=%d" % limits.away,
        b"BOT=B",
        b"CASEMAPPING=ascii",
        b"CHANLIMIT=#:%d" % settings.max_channels,
        b"CHANMODES=" + b",".join(types),
        b"CHANNELLEN=%d" % limits.channel,
        b"CHANTYPES=#",
        b"ELIST=CMNTU",
        b"EXCEPTS=e",
        b"EXTBAN=," + ACCOUNT + MUTE,
        b"HOSTLEN=%d" % HOST_LENGTH,
        b"INVEX=I",
        b"KEYLEN=%d" % KEY_LENGTH,
        b"KICKLEN=%d" % limits.kick,
        b"MAXLIST=%b:%d" % (modes.CHANNEL_LISTS, limits.max_bans),
        b"MODES=%d" % modes.MAX_CHANGES,
        b"MONITOR=%d" % limits.monitor,
        b"NAMELEN=%d" % limits.real_name,
        b"NETWORK=" + settings.network_name,
        b"NICKLEN=%d" % limits.nick,
        b"PREFIX=(%b)%b" % (letters, signs),
        b"STATUSMSG=" + signs,
        b"TARGMAX=" + targets % ((limits.max_targets,) * 3),
        b"TOPICLEN=%d" % limits.topic,
        b"USERLEN=%d" % USER_LENGTH,
        b"UTF8ONLY",
        b"WHOX",
    ]
    if settings.history.enabled:
        tokens += [
            b"CHATHISTORY=%d" % settings.history.chathistory_messages,
            b"MSGREFTYPES=msgid,timestamp",
        ]
        tokens.sort()
    return [tokens[i : i + _TOKENS_PER_LINE] for i in range(0, len(tokens), _TOKENS_PER_LINE)]
