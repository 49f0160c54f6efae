"""Accounts, channels and history: what the server remembers, and for whom."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from myproject_chat.configuration.fields import Table, about, number

__all__ = ["Accounts", "Channels", "HashCost", "History"]


class HashCost(Table, frozen=True):
    """What hashing one password costs; those there already keep theirs until they are next used."""

    time: Annotated[
        int,
        number(1, 100, "passes", "Argon2's passes over the memory. OWASP's figure for 19 MiB."),
    ] = 2
    memory: Annotated[
        int,
        number(
            8,
            2**22,
            "KiB",
            "Argon2's memory for each password that is hashed at the moment. OWASP asks for 19"
            " MiB.",
        ),
    ] = 19456
    lanes: Annotated[
        int, number(1, 64, "threads", "Argon2's parallelism; logins run side by side already.")
    ] = 1
    iterations: Annotated[
        int,
        number(
            4096,
            10**7,
            "iterations",
            "PBKDF2's for SCRAM-SHA-256, which the client's phone has to do at each login. RFC"
            " 7677 asks for 4096 at least.",
        ),
    ] = 100000

    def __post_init__(self) -> None:
        if self.memory < 8 * self.lanes:
            raise ValueError("memory is too small for so many lanes; give at least 8 KiB for each")


class Accounts(Table, frozen=True):
    """Accounts: who may have one, and what it gives."""

    registration: Annotated[bool, about("Whether clients may register accounts themselves.")] = True
    before_connect: Annotated[
        bool, about("Whether they may before they have finished connecting: phones do.")
    ] = True
    email_required: Annotated[
        bool,
        about(
            "Whether a mail address has to be given, for an operator to write to; nothing is sent"
            " to it."
        ),
    ] = False
    required: Annotated[
        bool,
        about(
            "Whether a client has to log in with SASL to connect at all; a private server's choice."
        ),
    ] = False
    nick_reservation: Annotated[
        Literal["strict", "optional", "none"],
        about(
            "Whether an account's nick is its own: always (as Ergo has it), if the account wants"
            " that, or never."
        ),
    ] = "strict"
    multiclient: Annotated[
        Literal["on", "opt-in", "off"],
        about(
            "Whether several clients that log in to one account share its nick: all, those who"
            " want, or none."
        ),
    ] = "on"
    always_on: Annotated[
        Literal["off", "opt-in", "opt-out", "mandatory"],
        about(
            "Whether an account stays in its channels while no client is connected. opt-in as"
            " Ergo has it: not to vanish should be a choice."
        ),
    ] = "opt-in"
    default_modes: Annotated[
        str,
        Meta(
            pattern=r"^[RTiw]*\Z",
            description="The user modes that everybody begins with, logged in or not. i: WHO and the"
            " like do not show a user to strangers; so have it most networks, and Ergo.",
            extra={"form": "letters out of RTiw"},
        ),
    ] = "i"
    max_clients: Annotated[
        int,
        number(
            1,
            1000,
            "connections",
            "Clients that may be logged in to one account at once; people have fewer devices.",
        ),
    ] = 16
    password_length: Annotated[
        int,
        number(
            1,
            255,
            "characters",
            "The shortest password for a new account; NIST SP 800-63B asks for 8.",
        ),
    ] = 8
    hash: Annotated[HashCost, about("What hashing one password costs.")] = HashCost()


class History(Table, frozen=True):
    """What is kept of what was said."""

    enabled: Annotated[bool, about("Whether anything is.")] = True
    messages: Annotated[
        int,
        number(
            1,
            10**8,
            "messages",
            "Messages of each channel, and of each pair of users; the oldest go first. Some 3 MB"
            " in the file.",
        ),
    ] = 10000
    days: Annotated[
        float,
        number(
            0.001,
            36500,
            "days",
            "Days after which a message goes whatever the count is. Ergo has seven: what is not"
            " there cannot leak.",
        ),
    ] = 7
    chathistory_messages: Annotated[
        int, number(10, 10000, "messages", "The most in one answer to CHATHISTORY; Ergo has 1000.")
    ] = 1000
    events: Annotated[
        bool, about("Whether joins, parts, modes and the like are kept, for draft/event-playback.")
    ] = True
    direct_messages: Annotated[
        Literal["off", "accounts", "participants"],
        about(
            "Which messages between two users are kept: none, those between two accounts, or those"
            " with a guest too, as Ergo has it; they are for the one who has the account."
        ),
    ] = "participants"
    flush: Annotated[
        bool,
        about(
            "Whether what a client was told is written waits for the disk (SQLite's synchronous ="
            " FULL): a loss of power takes nothing then. Without it, it may take the last seconds;"
            " the end of the process never does."
        ),
    ] = False
    unregistered_channels: Annotated[
        bool,
        about(
            "Whether channels that nobody registered have history too; it goes when the last"
            " user leaves. A stop of the server is no leaving, but who was there is forgotten with it:"
            " what was said where not everybody could come in (i, k, R, s, bans) goes then."
        ),
    ] = True
    client_messages: Annotated[
        int,
        number(
            0,
            10000,
            "messages",
            "What an always-on user's client without CHATHISTORY is sent at most, of each channel"
            " and conversation, of what it has missed when it comes back; Ergo has 256.",
        ),
    ] = 256
    join_messages: Annotated[
        int,
        number(
            0,
            10000,
            "messages",
            "How many of the last messages of a channel a client without CHATHISTORY is sent when it"
            " joins; Ergo has 0: not everybody wants to be told what others have read.",
        ),
    ] = 0


class Channels(Table, frozen=True):
    """How channels begin."""

    default_modes: Annotated[
        str,
        Meta(
            pattern=r"^[CMRUimnstu]*\Z",
            description="The modes of a new channel: nobody outside speaks into it, and its operators have"
            " the topic.",
            extra={"form": "letters out of CMRUimnstu"},
        ),
    ] = "nt"
    registration: Annotated[
        bool, about("Whether accounts may register channels, and so keep them.")
    ] = True
    creation: Annotated[
        Literal["anyone", "accounts", "operators"],
        about(
            "Who makes a channel by joining it; operators with the privilege sajoin, where it is"
            " they."
        ),
    ] = "anyone"
    max_registered: Annotated[
        int,
        number(1, 10000, "channels", "Channels that one account may have registered; Ergo has 15."),
    ] = 15
