"""
Names: which nicks, channels and user names there can be, and when two are the same.

The server announces CASEMAPPING=ascii, so two names are the same if they differ in the case of
the letters A to Z only; `bytes.lower` does precisely that. Nicks are ASCII, channels are UTF-8.

Sources: RFC 2812 section 2.3.1 (the grammar of nicks), RFC 1459 section 1.3 (channels),
https://modern.ircdocs.horse/#clients and #channels.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = [
    "ACCOUNT_LENGTH",
    "CHANNEL_LENGTH",
    "HOST_LENGTH",
    "NICK_LENGTH",
    "USER_LENGTH",
    "fold",
    "host_name",
    "is_channel",
    "is_nick",
    "is_user_name",
    "matches",
    "whole_mask",
]

# The most that limits.nick and limits.channel allow: what has to fit behind the longest source and channel
# is reckoned with these.
NICK_LENGTH = 40
# Accounts are named as nicks are, so that everybody can have the nick of their account.
ACCOUNT_LENGTH = NICK_LENGTH
CHANNEL_LENGTH = 96
# With the "~" that says nobody vouched for it; InspIRCd's default, too.
USER_LENGTH = 11
# RFC 2812 section 2.3.1: a host name has at most 63 characters.
HOST_LENGTH = 63

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NICK_START = _LETTERS + b"[]\\`_^{|}"
_NICK_REST = _NICK_START + b"0123456789-"
_NOT_IN_CHANNEL = b" ,\x07\0\r\n"
_USER_BYTES = bytes(byte for byte in range(0x21, 0x7F) if byte not in b"!@:")


def fold(name: bytes) -> bytes:
    """
    Give the form in which names are compared.

    :param name: a nick or channel.
    :return: the name with A to Z made small, as CASEMAPPING=ascii says.
    """
    return name.lower()


def is_nick(name: bytes, longest: int = NICK_LENGTH) -> bool:
    """
    Say whether there can be such a nick.

    :param name: what the client asked for.
    :param longest: the most bytes that it may have; given where a nick is to be had.
    """
    return (
        0 < len(name) <= longest
        and name[:1] in _NICK_START
        and not name.translate(None, _NICK_REST)
    )


def is_channel(name: bytes, longest: int = CHANNEL_LENGTH) -> bool:
    """
    Say whether there can be such a channel.

    :param name: what the client named, with its ``#``.
    :param longest: the most bytes that it may have; given where a channel is to be made.
    """
    return (
        1 < len(name) <= longest
        and name[:1] == b"#"
        and len(name) == len(name.translate(None, _NOT_IN_CHANNEL))
    )


def is_user_name(name: bytes) -> bool:
    """
    Say whether a user name can stand in ``nick!user@host``: printable ASCII without ``!@:``.

    :param name: USER's first parameter.
    """
    return bool(name) and not name.translate(None, _USER_BYTES)


# Asked for several times in each connection, and again when the client comes again.
@lru_cache(1024)
def host_name(address: str) -> bytes:
    """
    Give the host part for a peer.

    :param address: its address as text.
    :return: the address, as a word that can stand anywhere in a line: an IPv6 address that begins
        with a colon gets a zero in front.
    """
    host = address.encode("ascii", "replace").replace(b" ", b"?")[:HOST_LENGTH] or b"unknown"
    return b"0" + host if host.startswith(b":") else host


def whole_mask(mask: bytes) -> bytes:
    """
    Fill in a mask that leaves parts out.

    :param mask: ``nick``, ``user@host``, ``nick!user`` or all of it.
    :return: ``nick!user@host`` with ``*`` for what was missing, each part cut to its length.
    """
    rest, at, host = mask.partition(b"@")
    nick, bang, user = rest.partition(b"!")
    if at and not bang:
        nick, user = b"", nick
    return b"%b!%b@%b" % (
        nick[:NICK_LENGTH] or b"*",
        user[:USER_LENGTH] or b"*",
        host[:HOST_LENGTH] or b"*",
    )


def matches(mask: bytes, name: bytes) -> bool:
    """
    Compare a name with a mask of ``*`` (any bytes) and ``?`` (one byte).

    It goes back to the last star only, so the work is at most the product of the lengths: a mask
    is a peer's input, and a regular expression made of it could be made to take for ever.

    :param mask: the mask; its case does not matter.
    :param name: what to compare it with.
    """
    mask, name = mask.lower(), name.lower()
    at_mask = at_name = 0
    star = resume = -1
    while at_name < len(name):
        wanted = mask[at_mask : at_mask + 1]
        if wanted == b"*":
            star, resume = at_mask, at_name
            at_mask += 1
        elif wanted in (b"?", name[at_name : at_name + 1]):
            at_mask += 1
            at_name += 1
        elif star >= 0:
            resume += 1
            at_mask, at_name = star + 1, resume
        else:
            return False
    return not mask[at_mask:].strip(b"*")
