"""The ways in beside the plain port: strict transport security, WebSocket."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from myproject_chat.configuration.fields import Network, Table, about, number

__all__ = ["Sts", "WebSocket"]


class Sts(Table, frozen=True):
    """Strict transport security (IRCv3 sts): clients are told to come back over TLS."""

    enabled: Annotated[
        bool, about("Whether they are; off, as a client that has heard it cannot be called back.")
    ] = False
    port: Annotated[
        int, number(1, 65535, "the port's number", "The TLS port as clients reach it.")
    ] = 6697
    duration: Annotated[
        int,
        number(
            0,
            10**9,
            "seconds",
            "How long a client remembers it, from its last visit; 0 takes it back. A month.",
        ),
    ] = 2592000
    preload: Annotated[bool, about("Whether clients may ship this in a list of theirs.")] = False

    def __post_init__(self) -> None:
        if self.preload and not (self.enabled and self.duration):
            raise ValueError(
                "preload promises what is not on; set enabled and a duration, or preload to false"
            )


class WebSocket(Table, frozen=True):
    """IRC over WebSocket, for clients in the browser."""

    origins: Annotated[
        tuple[
            Annotated[
                str,
                Meta(
                    pattern=r"^(https?://[^/\s]+|\*)\Z",
                    extra={"form": "an origin such as https://chat.example.org, or *"},
                ),
            ],
            ...,
        ],
        about(
            "The pages that may connect beside the one that the server itself serves; * for any. A page of"
            " anyone's could else have its readers' browsers connect, from inside their networks."
        ),
    ] = ()
    origin_required: Annotated[
        bool,
        about(
            "Whether clients that name no origin are refused: off, as those are programs, which could"
            " name any."
        ),
    ] = False
    forwarded_from: Annotated[
        tuple[Network, ...],
        about(
            "Web servers that pass connections on, whose Forwarded or X-Forwarded-For says whose they are."
            " None by default: anyone can write such a line."
        ),
    ] = ()
    message_size: Annotated[
        int,
        number(
            8703,
            2**20,
            "bytes",
            "The largest message: one IRC line, of which 8191 bytes are tags at most; the rest"
            " is a frame's usual size.",
        ),
    ] = 16384
