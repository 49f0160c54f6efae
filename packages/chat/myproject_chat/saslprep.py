"""
SASLprep: one form for passwords that look the same, however they were typed.

A non-ASCII password reaches the server as different bytes from different keyboards: "é" is one
character or two. SCRAM's client and server derive keys from the bytes, so both have to settle on one
form first, and RFC 5802 section 2.2 names this one. PLAIN takes the same road here (RFC 4616 section 2),
so that a password that was set over one mechanism opens the account over the other.

The profile is RFC 4013's, over stringprep's tables (RFC 3454), which are those of Unicode 3.2. A
password that it does not admit, one with an emoji for instance, is used as it is: PostgreSQL does
likewise, and clients do; to refuse it would lock out people for the age of a table.

Sources: RFC 4013, RFC 3454, RFC 5802 section 2.2, RFC 4616 section 2.
"""

from __future__ import annotations

import stringprep
from unicodedata import ucd_3_2_0

__all__ = ["prepared", "saslprep"]

# RFC 4013 section 2.3.
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def saslprep(text: str) -> str:
    """
    Prepare a string as a stored string, in which unassigned characters are not allowed.

    :param text: what was typed.
    :return: the form that is compared; it may be empty.
    :raises ValueError: if the profile does not admit the string.
    """
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if not stringprep.in_table_b1(character)
    )
    normal = ucd_3_2_0.normalize("NFKC", mapped)
    if any(prohibits(character) for character in normal for prohibits in _PROHIBITED):
        raise ValueError("a character is not allowed by RFC 4013 section 2.3")
    # RFC 3454 section 6: right to left all through, or not at all.
    if any(stringprep.in_table_d1(character) for character in normal):
        if any(stringprep.in_table_d2(character) for character in normal):
            raise ValueError("right-to-left and left-to-right are mixed (RFC 3454 section 6)")
        if not (stringprep.in_table_d1(normal[0]) and stringprep.in_table_d1(normal[-1])):
            raise ValueError("right-to-left text begins or ends otherwise (RFC 3454 section 6)")
    return normal


def prepared(password: bytes) -> bytes:
    """
    Give the bytes of a password from which everything else is derived.

    :param password: what the client sent; printable ASCII stays as it is.
    :return: its SASLprep form, or the bytes as they are where there is no such form.
    """
    try:
        return saslprep(password.decode("utf-8")).encode("utf-8") or password
    except ValueError:
        return password
