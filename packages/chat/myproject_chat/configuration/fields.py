"""What the fields of several tables are made of."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self

from msgspec import Meta, Struct

__all__ = [
    "CertificateFingerprint",
    "Exempt",
    "Fingerprint",
    "Name",
    "Network",
    "PasswordHash",
    "Table",
    "about",
    "number",
]


class Network:
    """
    A network of either IP version; ``address in network`` asks whether it has that address.

    :param network: the network.
    """

    __slots__ = ("network",)

    allowed = "an address, or a network such as 192.0.2.0/24 or 2001:db8::/32"

    def __init__(self, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> None:
        self.network = network

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read an address or a network.

        :param text: as a person writes it.
        :raises ValueError: with a clause that says what is wrong.
        """
        try:
            nearest = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError("it is not a network") from None
        try:
            return cls(ipaddress.ip_network(text))
        except ValueError:
            raise ValueError(f"it is an address within {nearest}, not a network") from None

    def __contains__(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return address in self.network

    def __str__(self) -> str:
        return str(self.network)

    def __repr__(self) -> str:
        return f"Network({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and self.network == other.network

    def __hash__(self) -> int:
        return hash(self.network)


class Fingerprint(str):
    """The SHA-256 of a client's certificate: 64 hexadecimal digits, small and without colons."""

    __slots__ = ()

    allowed = "the SHA-256 of the certificate: 64 hexadecimal digits, colons between them or not"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read a fingerprint as openssl and others print it.

        :param text: as a person writes it.
        :raises ValueError: with a clause that says what is wrong.
        """
        plain = text.replace(":", "").lower()
        if len(plain) != 64 or plain.strip("0123456789abcdef"):
            raise ValueError("it is not a SHA-256")
        return cls(plain)


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """A table of the file."""


def number(low: float, high: float, unit: str, description: str, *, restart: bool = False) -> Meta:
    """
    Describe a field that is a number.

    :param low: the least value allowed.
    :param high: the greatest value allowed.
    :param unit: its unit, in the plural.
    :param description: what it is, and why its default is what it is.
    :param restart: whether a change needs a restart though the rest of the table changes on reload.
    """
    extra = {"unit": unit, "restart": restart}
    return Meta(ge=low, le=high, description=description, extra=extra)


def about(description: str, **extra: object) -> Meta:
    """
    Describe a field.

    :param description: what it is, and why its default is what it is.
    :param extra: what else there is to say, as myproject.structures has it.
    """
    return Meta(description=description, extra=extra)


Name = Annotated[
    str,
    Meta(
        pattern=r"^[!-~]{1,64}\Z",
        description="What it is called: by OPER, or by the gateway.",
        extra={"form": "one word of up to 64 printable ASCII characters"},
    ),
]


PasswordHash = Annotated[
    str,
    Meta(
        pattern=r"^\$argon2id\$v=19\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+\Z",
        description="The password's hash: whoever reads the file cannot log in with it.",
        extra={"secret": True, "form": "an argon2id hash, which begins with $argon2id$v=19$"},
    ),
]
CertificateFingerprint = Annotated[
    Fingerprint,
    about("The client certificate that has to be shown over TLS; beside a password, both count."),
]
Exempt = Annotated[
    tuple[Network, ...],
    about(
        "Networks to which none of this applies. Not even loopback is one by default: a web"
        " gateway on"
        " the same machine connects from there for everyone."
    ),
]
