"""Offers: which installed subcommands stand behind the front door, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.plugin import getPlugins

from myproject.errors import SettingError
from myproject.interfaces import IFactoryMaker
from myproject.nameline import check_name
from myproject.options import COMMAND_LINE, Options, nearest

if TYPE_CHECKING:
    from pathlib import Path

    from twisted.internet.interfaces import IProtocolFactory
    from twisted.python import usage

__all__ = ["Offer", "choose_offers"]

#: The subcommand that is the front door itself, which is not offered behind it.
_ITSELF: Final = "myproject"


@dataclass(frozen=True)
class Offer:
    """
    An installed subcommand that the front door offers, its settings resolved.

    :param maker: the plugin.
    :param options: an instance of its options, validated.
    """

    maker: IFactoryMaker
    options: usage.Options

    @property
    def name(self) -> str:
        """The name under which it is offered."""
        return self.maker.tapname

    def make(self) -> IProtocolFactory:
        """Make its factory."""
        return self.maker.makeFactory(self.options)


def choose_offers(
    names: Sequence[str] = (),
    *,
    source: str = COMMAND_LINE,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[Offer]:
    """
    Find the installed subcommands to offer, and resolve the settings of each.

    A subcommand has no command line of its own here: its settings come from its environment variables,
    its own table in the configuration file, and its defaults.

    :param names: which to offer; none for this project's own.
    :param source: where the names came from, for errors.
    :param config: the configuration file, if any.
    :param environ: the environment; the process's own by default.
    :raises SettingError: a name is not to be had, or a subcommand's settings are not valid.
    """
    makers = {maker.tapname: maker for maker in getPlugins(IFactoryMaker)}
    makers.pop(_ITSELF, None)
    chosen = dict.fromkeys(names)
    if not chosen:
        chosen = dict.fromkeys(sorted(name for name in makers if name.startswith(f"{_ITSELF}-")))

    def refuse(problem: str, remedy: str) -> SettingError:
        return SettingError("--offer", source, problem, remedy)

    taken: dict[bytes, str] = {}
    offers = []
    for name in chosen:
        if name == _ITSELF:
            raise refuse(f"{name} is the front door itself", "name what is behind it")
        if name not in makers:
            installed = ", ".join(sorted(makers)) or "nothing that is installed can be offered"
            raise refuse(
                f"no installed subcommand that can be offered is named {name!r}"
                f"{nearest(name, makers)}",
                f"choose from: {installed}",
            )
        try:
            key = check_name(name)
        except ValueError as error:
            raise refuse(str(error), "leave it out") from None
        if key in taken:
            raise refuse(f"{name!r} and {taken[key]!r} differ in case only", "leave one out")
        taken[key] = name
        try:
            options = _resolve(makers[name], config, environ)
        except SettingError:
            raise
        except (Exception, SystemExit) as error:
            words = " ".join(str(error).split()) or type(error).__name__
            raise refuse(f"{name} cannot be offered: {words}", "mend it or leave it out") from error
        offers.append(Offer(makers[name], options))
    return offers


def _resolve(
    maker: IFactoryMaker, config: Path | None, environ: Mapping[str, str] | None
) -> usage.Options:
    kind: Any = maker.options
    if isinstance(kind, type) and issubclass(kind, Options):
        ours = kind(environ)
        ours.resolve(config)
        return ours
    options: usage.Options = kind()
    options.parseOptions([])
    return options
