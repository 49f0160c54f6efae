"""
Masks of ban, exception and invitation lists, and what they match.

A mask is ``nick!user@host`` with wildcards, or one of these letters, a colon, and what it takes:

- ``a:account``: whoever is logged in to that account, wildcards allowed;
- ``m:mask``: in a ban list, whoever the mask matches may join but not speak. The mask may be an ``a:``.

A host is compared with what others see of a user and with the address behind it, so that a cloak is
no way around a ban, and an operator who knows the address need not look up the cloak.

Sources: https://modern.ircdocs.horse/#extban-parameter, https://ircv3.net/specs/extensions/account-extban.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from myproject_chat.names import ACCOUNT_LENGTH, fold, matches, whole_mask

if TYPE_CHECKING:
    from myproject_chat.state import User

__all__ = ["ACCOUNT", "MUTE", "Mask", "MaskList", "read_mask"]

ACCOUNT = b"a"
MUTE = b"m"


class Mask(NamedTuple):
    """
    One entry of a list.

    :ivar text: the mask as it is shown.
    :ivar mute: whether it only keeps from speaking.
    :ivar account: the account it is about, with wildcards; None if it is about ``hostmask``.
    :ivar hostmask: ``nick!user@host``, with wildcards.
    :ivar setter: the source of who set it.
    :ivar when: seconds since 1970.
    """

    text: bytes
    mute: bool
    account: bytes | None
    hostmask: bytes
    setter: bytes
    when: int

    def fits(self, user: User) -> bool:
        """Say whether the mask is about a user."""
        if self.account is not None:
            return user.account is not None and matches(self.account, user.account)
        return any(matches(self.hostmask, source) for source in user.sources)


def read_mask(text: bytes, setter: bytes, when: int) -> Mask | None:
    """
    Read what was given for a list.

    :param text: the mask, of which parts may be left out.
    :param setter: the source of who sets it.
    :param when: seconds since 1970.
    :return: the entry; None if that is no mask.
    """
    rest = text
    mute = rest[:2] == MUTE + b":"
    if mute:
        rest = rest[2:]
    head = (MUTE + b":") if mute else b""
    if rest[:2] == ACCOUNT + b":":
        account = rest[2:]
        if not account or b" " in account or len(account) > ACCOUNT_LENGTH:
            return None
        return Mask(head + rest, mute, account, b"", setter, when)
    mask = whole_mask(rest)
    if not rest or b" " in mask or mask.startswith(b":"):
        return None
    return Mask(head + mask, mute, None, mask, setter, when)


class MaskList:
    """
    One list of a channel.

    :param masks: what is in it.
    """

    __slots__ = ("_masks",)

    def __init__(self, masks: Iterable[Mask] = ()) -> None:
        self._masks = {fold(mask.text): mask for mask in masks}

    def __len__(self) -> int:
        return len(self._masks)

    def __contains__(self, mask: Mask) -> bool:
        return fold(mask.text) in self._masks

    def masks(self) -> list[Mask]:
        """The entries, in the order in which they were set."""
        return list(self._masks.values())

    def add(self, mask: Mask) -> None:
        """Set an entry."""
        self._masks[fold(mask.text)] = mask

    def remove(self, mask: Mask) -> Mask:
        """Unset the entry that looks the same, whatever its case, and give it."""
        return self._masks.pop(fold(mask.text))

    def fits(self, user: User, *, mute: bool) -> bool:
        """
        Say whether an entry is about a user.

        :param user: whom.
        :param mute: whether those count that only keep from speaking.
        """
        return any((mute or not mask.mute) and mask.fits(user) for mask in self._masks.values())
