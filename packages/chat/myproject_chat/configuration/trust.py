"""Whom the server trusts, and what it shows of whom."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from myproject_chat.configuration.fields import (
    CertificateFingerprint,
    Name,
    Network,
    PasswordHash,
    Table,
    about,
)

__all__ = ["Cloak", "Operator", "Privilege", "Webirc"]


Privilege = Literal[
    "kill",
    "ban",
    "rehash",
    "wallops",
    "sajoin",
    "sanick",
    "samode",
    "see-all",
    "accounts",
    "stats",
    "flood",
    "die",
]


class Operator(Table, frozen=True):
    """One who may OPER."""

    name: Name
    password_hash: PasswordHash | None = None
    fingerprint: CertificateFingerprint | None = None
    privileges: Annotated[
        tuple[Privilege, ...],
        about(
            "What they may do. The default is what keeps a public network in order, and reads"
            " nobody's secrets."
        ),
    ] = ("kill", "ban", "wallops", "stats")
    networks: Annotated[
        tuple[Network, ...], about("Where they have to come from; empty for anywhere.")
    ] = ()

    def __post_init__(self) -> None:
        if self.password_hash is None and self.fingerprint is None:
            raise ValueError("anybody could be it; give password-hash, fingerprint or both")


class Webirc(Table, frozen=True):
    """A gateway that says whose connection it brings (WEBIRC)."""

    name: Name
    networks: Annotated[
        tuple[Network, ...], Meta(min_length=1, description="The gateway's own addresses.")
    ]
    password_hash: PasswordHash | None = None
    fingerprint: CertificateFingerprint | None = None

    def __post_init__(self) -> None:
        if self.password_hash is None and self.fingerprint is None:
            raise ValueError(
                "any program there could be it; give password-hash, fingerprint or both"
            )


class Cloak(Table, frozen=True):
    """What others see of a user's address."""

    enabled: Annotated[
        bool,
        about(
            "Whether it is hidden behind a keyed hash: on, as an address says where a person lives."
        ),
    ] = True
    secret: (
        Annotated[
            str,
            Meta(
                min_length=32,
                max_length=256,
                description="The key of the hash. Without it, one is made and kept in the state file; several"
                " servers of one network need the same.",
                extra={"secret": True, "form": "32 to 256 random characters"},
            ),
        ]
        | None
    ) = None
    suffix: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9-]{1,20}(\.[A-Za-z0-9-]{1,20}){0,2}\Z",
            max_length=26,
            description="What the hosts end with: a word, or the network's name.",
            extra={"form": "up to 26 letters, digits, dots and hyphens"},
        ),
    ] = "ip"
    accounts: Annotated[
        bool,
        about(
            "Whether who is logged in has a host that names the account, such as alice.users.ip. Off: others"
            " see the account anyway, and could not tell which users share a network."
        ),
    ] = False
