"""How long, how many and how fast: what one client, or one host, may do."""

from __future__ import annotations

from typing import Annotated

from myproject_chat.configuration.fields import Exempt, Table, about, number

__all__ = ["Fakelag", "Limits", "Throttle"]


class Limits(Table, frozen=True):
    """How long, and how many. A length is in bytes of UTF-8."""

    nick: Annotated[
        int,
        number(
            9,
            40,
            "bytes",
            "The longest nick. InspIRCd allows 30, which leaves room for a place or a role.",
            restart=True,
        ),
    ] = 30
    channel: Annotated[
        int,
        number(
            16,
            96,
            "bytes",
            "The longest name of a channel. InspIRCd and Ergo allow 64.",
            restart=True,
        ),
    ] = 64
    topic: Annotated[
        int,
        number(
            50,
            390,
            "bytes",
            "The longest topic; of more, a line of 512 could not show all. InspIRCd allows 330,"
            " Ergo 390.",
        ),
    ] = 300
    kick: Annotated[
        int, number(50, 390, "bytes", "The longest reason of a KICK, as InspIRCd has it.")
    ] = 255
    away: Annotated[
        int, number(50, 390, "bytes", "The longest AWAY message, as InspIRCd has it.")
    ] = 200
    real_name: Annotated[
        int, number(10, 300, "bytes", "The longest real name. InspIRCd allows 130.")
    ] = 128
    recvq_bytes: Annotated[
        int,
        number(
            16384,
            2**24,
            "bytes",
            "What one client may have sent that has not been obeyed yet, before it is"
            " disconnected. Four multiline messages of 4096.",
        ),
    ] = 32768
    recvq_lines: Annotated[
        int,
        number(
            16,
            10000,
            "lines",
            "The same in lines: a client that joins 100 channels when it connects is no flood.",
        ),
    ] = 256
    max_bans: Annotated[
        int,
        number(
            1,
            10000,
            "masks",
            "Entries in a channel's lists (b, e, I) together. InspIRCd allows 100; each message may"
            " be held against all.",
        ),
    ] = 100
    max_targets: Annotated[
        int,
        number(
            1,
            20,
            "targets",
            "Whom one PRIVMSG or NOTICE may go to. Ergo has 4: more serves advertisers.",
        ),
    ] = 4
    monitor: Annotated[
        int,
        number(1, 10000, "nicks", "Nicks that one client may MONITOR. Ergo and others have 100."),
    ] = 100
    invitations: Annotated[
        int,
        number(
            1,
            1000,
            "channels",
            "Invitations that one user can have waiting; the oldest goes first.",
        ),
    ] = 50
    whowas: Annotated[
        int,
        number(
            0,
            10**6,
            "entries",
            "Nicks that WHOWAS remembers, each with its last ten users, in memory: about 1 KiB each.",
        ),
    ] = 1000
    list_results: Annotated[
        int,
        number(
            10,
            10**6,
            "channels",
            "Channels in one answer to LIST; the largest network's list would take minutes.",
        ),
    ] = 10000
    metadata_keys: Annotated[
        int, number(0, 1000, "keys", "METADATA keys that one user or channel may have.")
    ] = 20
    metadata_bytes: Annotated[
        int, number(16, 400, "bytes", "The longest value of one of them.")
    ] = 300
    multiline_bytes: Annotated[
        int,
        number(
            512,
            65536,
            "bytes",
            "The longest message of several lines (draft/multiline), its lines together; Ergo"
            " has 4096.",
        ),
    ] = 4096
    multiline_lines: Annotated[int, number(2, 1000, "lines", "Lines of such a message.")] = 32


class Throttle(Table, frozen=True):
    """What one host (an IPv4 address, an IPv6 /64) may do in a while."""

    enabled: Annotated[bool, about("Whether this is counted at all.")] = True
    window: Annotated[
        float,
        number(1, 86400, "seconds", "The while in which the others count. Ergo has ten minutes."),
    ] = 600
    connections: Annotated[
        int,
        number(
            1,
            10**6,
            "connections",
            "Connections; by a gateway (WEBIRC), those of its users. Ergo has 32: a household or a small"
            " school that loses its link comes back at once.",
        ),
    ] = 32
    registrations: Annotated[
        int,
        number(
            1, 10**6, "accounts", "Accounts that may be registered: a household's, not a spammer's."
        ),
    ] = 3
    nick_changes: Annotated[
        int,
        number(
            1,
            10**6,
            "changes",
            "Times that one client may change its nick: who does it more often annoys others.",
        ),
    ] = 20
    joins: Annotated[
        int,
        number(
            1,
            10**6,
            "channels",
            "Channels that one client may join: thrice as many as it can be in, for one that rejoins all.",
        ),
    ] = 300
    sasl_attempts: Annotated[
        int,
        number(
            1,
            10**6,
            "attempts",
            "Wrong passwords from one host without a consequence; after one more it has to wait for 2 s,"
            " then 4 s, up to 256 s. A person who tries all theirs needs fewer.",
        ),
    ] = 5
    sasl_attempts_per_account: Annotated[
        int,
        number(
            1,
            10**6,
            "attempts",
            "The same for one account from anywhere; a host that has logged in to it before does not wait"
            " for what others do.",
        ),
    ] = 5
    sasl_attempts_per_connection: Annotated[
        int,
        number(
            1,
            100,
            "attempts",
            "Failures after which a connection is closed; three typing errors are human.",
        ),
    ] = 3
    exempt: Exempt = ()


class Fakelag(Table, frozen=True):
    """How fast one client's lines are obeyed; faster ones wait in its recvq."""

    enabled: Annotated[bool, about("Whether clients are slowed at all.")] = True
    burst: Annotated[
        int,
        number(
            1,
            10000,
            "lines",
            "Lines that are obeyed at once after silence. Ergo has 5; clients send some 10 when"
            " they join.",
        ),
    ] = 10
    rate: Annotated[
        float,
        number(
            0.1,
            10000,
            "lines a second",
            "Lines that are obeyed from then on. Ergo has 2, which nobody types.",
        ),
    ] = 2
    exempt: Exempt = ()
