"""
A channel: who is in it, what it is about, and who may do what there.

Members hold ranks, each a letter of `modes.PREFIXES`; a member's level is that of the highest. Whether
a list is about somebody is asked at every message, so a channel remembers its verdicts: one is good
until a list changes, or the user's nick, host or account does.

Sources: RFC 2811 sections 2 and 4, https://modern.ircdocs.horse/#channel-membership-prefixes,
https://modern.ircdocs.horse/#channel-modes.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from myproject_chat.extbans import MaskList
from myproject_chat.modes import HALF_OPERATOR, OPERATOR, VOICE, level_of

if TYPE_CHECKING:
    from myproject_chat.extbans import Mask
    from myproject_chat.state import User

__all__ = ["Channel", "Speech", "Topic"]


class Topic(NamedTuple):
    """
    What a channel is about.

    :ivar text: the words.
    :ivar setter: the source of who set it.
    :ivar when: seconds since 1970.
    """

    text: bytes
    setter: bytes
    when: int


class Speech(Enum):
    """What becomes of what somebody says in a channel."""

    HEARD = "heard by all"
    OPERATORS_ONLY = "heard by operators alone"
    REFUSED = "refused"
    UNKNOWN_SPEAKER = "refused, as only those who are logged in may speak"


class Channel:
    """
    A place where several talk.

    :ivar name: the name, in the case of who came first.
    :ivar members: everybody in it, in the order in which they came, with the letters of the ranks
        that they hold.
    :ivar topic: what it is about, or None.
    :ivar flags: the letters of its modes that take no parameter.
    :ivar key: the word that lets people in (``k``), or None.
    :ivar limit: how many may be in it (``l``), or None.
    :ivar forward: the channel where those go who may not come in (``f``), or None.
    :ivar bans: who may not join or speak (``b``).
    :ivar exceptions: whom bans do not concern (``e``).
    :ivar invitations: who may join although it is ``i`` (``I``).
    :ivar invited: who was invited by name, for once.
    :ivar created: when the first came, in seconds since 1970.
    :ivar kept: whether it goes on without members.
    :ivar metadata: what its operators say of it, by key.
    """

    __slots__ = (
        "_verdicts",
        "bans",
        "created",
        "exceptions",
        "flags",
        "forward",
        "invitations",
        "invited",
        "kept",
        "key",
        "limit",
        "members",
        "metadata",
        "name",
        "topic",
    )

    def __init__(self, name: bytes, created: int) -> None:
        self.name = name
        self.created = created
        self.members: dict[User, bytes] = {}
        self.topic: Topic | None = None
        # What people expect of a new channel, as InspIRCd's example file has it.
        self.flags = {b"n", b"t"}
        self.key: bytes | None = None
        self.limit: int | None = None
        self.forward: bytes | None = None
        self.bans = MaskList()
        self.exceptions = MaskList()
        self.invitations = MaskList()
        self.invited: set[User] = set()
        self.kept = False
        self.metadata: dict[bytes, bytes] = {}
        self._verdicts: dict[User, tuple[tuple[bytes, bytes | None], bool, bool]] = {}

    @property
    def secret(self) -> bool:
        """Whether it hides from those who are not in it: mode ``s``."""
        return b"s" in self.flags

    def level(self, user: User) -> int:
        """Give the level of a user's highest rank; 0 for none, and for who is not in it."""
        return level_of(self.members.get(user, b""))

    def is_operator(self, user: User) -> bool:
        """Say whether a user is an operator of it, or more."""
        return self.level(user) >= OPERATOR

    def may_moderate(self, user: User) -> bool:
        """Say whether a user may change its topic, modes and lists: half-operators and above."""
        return self.level(user) >= HALF_OPERATOR

    def at_least(self, level: int) -> list[User]:
        """Give the members of a level and above."""
        return [user for user, held in self.members.items() if held and level_of(held) >= level]

    # Lists

    def mask_list(self, letter: bytes) -> MaskList:
        """Give the list of a letter of `modes.CHANNEL_LISTS`."""
        lists = {b"b": self.bans, b"e": self.exceptions, b"I": self.invitations}
        return lists[letter]

    def add_mask(self, letter: bytes, mask: Mask) -> None:
        """Set an entry of a list."""
        self.mask_list(letter).add(mask)
        self._verdicts.clear()

    def remove_mask(self, letter: bytes, mask: Mask) -> Mask:
        """Unset an entry of a list, and give it."""
        self._verdicts.clear()
        return self.mask_list(letter).remove(mask)

    def _verdict(self, user: User) -> tuple[bool, bool]:
        """Say whether bans keep a user out, and whether they keep it silent."""
        if not self.bans:
            return False, False
        identity = (user.source, user.account)
        known = self._verdicts.get(user)
        if known is None or known[0] != identity:
            silent = self.bans.fits(user, mute=True)
            out = silent and self.bans.fits(user, mute=False)
            if silent and self.exceptions.fits(user, mute=True):
                out = silent = False
            if user in self.members:
                # Strangers are not remembered: there is no end of them.
                self._verdicts[user] = (identity, out, silent)
            return out, silent
        return known[1:]

    def forget(self, user: User) -> None:
        """Forget what is known of a user, who leaves or changes more than nick, host and account."""
        self._verdicts.pop(user, None)

    # Who may do what

    def is_banned(self, user: User) -> bool:
        """Say whether a ban keeps a user out, whatever the user's rank."""
        return self._verdict(user)[0]

    def is_silenced(self, user: User) -> bool:
        """Say whether a ban keeps a user without a rank from speaking."""
        return self._verdict(user)[1]

    def is_open_to(self, user: User) -> bool:
        """Say whether mode ``i`` lets a user in: it is not set, or an entry of ``I`` says so."""
        return b"i" not in self.flags or self.invitations.fits(user, mute=True)

    def speech(self, user: User) -> Speech:
        """
        Say what becomes of a user's message: modes n, m, M and U, and bans.

        :param user: who speaks.
        """
        held = self.members.get(user)
        if held:
            return Speech.HEARD
        flags = self.flags
        if held is None and b"n" in flags:
            return Speech.REFUSED
        if b"M" in flags and user.account is None:
            return Speech.UNKNOWN_SPEAKER
        if b"m" in flags or self.is_silenced(user):
            return Speech.OPERATORS_ONLY if b"U" in flags else Speech.REFUSED
        return Speech.OPERATORS_ONLY if b"U" in flags else Speech.HEARD

    def shows(self, member: User, to: User) -> bool:
        """
        Say whether a member is to be seen: in an auditorium (``u``) only those with a rank are.

        :param member: a member.
        :param to: who looks.
        """
        if b"u" not in self.flags or member is to or self.members[member]:
            return True
        return self.level(to) >= HALF_OPERATOR

    def audience(self, member: User) -> list[User]:
        """
        Give those who are told of a member's coming, going and changing.

        :param member: whom it is about, who is among them.
        """
        if b"u" not in self.flags or level_of(self.members[member]) >= VOICE:
            return list(self.members)
        return [
            user for user in self.members if user is member or self.level(user) >= HALF_OPERATOR
        ]
