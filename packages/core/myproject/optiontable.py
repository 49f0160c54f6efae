"""
The tables of options as data, for what is written from them: shell completion and manual pages.

A subcommand's own table is known if it stands on the core. The modules of other plugins are not
imported for it: that may be slow, install a reactor, or fail.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from twisted.python import usage

from myproject.options import Options
from myproject.settings import Setting

__all__ = ["Row", "Subcommand", "Value", "find_subcommands", "plain", "rows_of", "tools"]


class Value(Enum):
    """What the value of an option is, as far as a shell can help with it."""

    NONE = "the option takes no value"
    TEXT = "text of which nothing is known"
    WORD = "one of a few words"
    FILE = "the name of a file"
    FOLDER = "the name of a folder"
    USER = "the name of a user"
    GROUP = "the name of a group"


@dataclass(frozen=True)
class Row:
    """
    One option of a command.

    :ivar long: its long name, without dashes.
    :ivar shorts: its letters.
    :ivar help: what it does: one line.
    :ivar value: what it takes.
    :ivar words: the words that it takes, for :attr:`Value.WORD`.
    :ivar metavar: what stands for the value in a help text; empty if it takes none.
    """

    long: str
    shorts: tuple[str, ...]
    help: str
    value: Value = Value.NONE
    words: tuple[str, ...] = ()
    metavar: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Its names with their dashes, the short ones first."""
        return (*[f"-{letter}" for letter in self.shorts], f"--{self.long}")


@dataclass(frozen=True)
class Subcommand:
    """
    An installed plugin.

    :ivar name: the word behind ``twistd``.
    :ivar description: one line.
    :ivar options: the class of its options; ``None`` if it does not stand on the core.
    """

    name: str
    description: str
    options: type[Options] | None

    def rows(self) -> list[Row]:
        """Its options; none if they are not known."""
        return [] if self.options is None else rows_of(self.options())


def plain(text: str) -> str:
    """
    Make one line of a help text, without control characters, which a terminal would obey.

    :param text: any text.
    """
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


_METAVARS: Mapping[str, Value] = {
    "FILE": Value.FILE,
    "PATH": Value.FILE,
    "DIR": Value.FOLDER,
    "DIRECTORY": Value.FOLDER,
    "FOLDER": Value.FOLDER,
}

#: Twisted's metadata for completion, the parts that its own two tools use.
_COMPLETERS: Mapping[type, Value] = {
    usage.CompleteFiles: Value.FILE,
    usage.CompleteDirs: Value.FOLDER,
    usage.CompleteUsernames: Value.USER,
    usage.CompleteGroups: Value.GROUP,
    usage.Completer: Value.TEXT,
}

#: How ``twist`` lists the words that an option takes: (options: "text", "json"; default: ...
_LISTED = re.compile(r'\(options: ("[^"]+"(?:, "[^"]+")*)')


def _listed_words(name: str, help: str) -> tuple[str, ...]:
    """The words that an option of Twisted's own takes, where it says so."""
    from twisted.application import app, reactors

    if name == "reactor":
        return tuple(sorted({one.shortName for one in reactors.getReactorTypes()}))
    if name == "profiler":
        return tuple(sorted(app.AppProfiler.profilers))
    found = _LISTED.search(help)
    return tuple(re.findall('"([^"]+)"', found[1])) if found else ()


def _completers(options: usage.Options) -> Mapping[str, object]:
    """What Twisted's metadata says of each option, its subclass's word above its base's."""
    actions: dict[str, object] = {}
    for base in reversed(type(options).__mro__):
        data = vars(base).get("compData")
        if isinstance(data, usage.Completions):
            actions.update(data.optActions)
    return actions


def _row_of_setting(setting: Setting[Any], help: str) -> Row:
    kind = setting.kind
    value = Value.NONE
    if not setting.is_flag:
        value = Value.WORD if kind.words else _METAVARS.get(kind.metavar, Value.TEXT)
    shorts = tuple(setting.short)
    return Row(setting.name, shorts, help, value, kind.words, kind.metavar)


def rows_of(options: usage.Options) -> list[Row]:
    """
    List a command's options, by their names.

    :param options: its options; settings are known for what they are, and of all others what
        ``usage.Options`` and its metadata for completion say.
    """
    settings = options.settings if isinstance(options, Options) else {}
    actions = _completers(options)
    rows: dict[str, Row] = {}
    for entry in options.longOpt:
        name = entry.rstrip("=")
        if name in settings:
            rows[name] = _row_of_setting(settings[name], plain(settings[name].help))
            continue
        letters = [one for one, long in options.synonyms.items() if long == name and len(one) == 1]
        said = plain(options.docs.get(name) or "")
        words: tuple[str, ...] = ()
        value = Value.NONE
        if entry.endswith("="):
            words = _listed_words(name, said)
            # Where nothing is said, Twisted's own completion for zsh offers files as well.
            known = _COMPLETERS.get(type(actions.get(name)), Value.FILE)
            value = Value.WORD if words else known
        metavar = "" if value is Value.NONE else "VALUE"
        rows[name] = Row(name, tuple(letters), said, value, words, metavar)
    return [rows[name] for name in sorted(rows)]


def tools() -> dict[str, list[Row]]:
    """The options that ``twistd`` and ``twist`` take before the subcommand's name."""
    from twisted.application.twist._options import TwistOptions
    from twisted.scripts import twistd

    # Twisted's stubs do not say that it is there: it comes from another module for each platform.
    server_options = twistd.ServerOptions  # type: ignore[attr-defined]
    return {"twist": rows_of(TwistOptions()), "twistd": rows_of(server_options())}


def _options_of(maker: object) -> type[Options] | None:
    from myproject.interfaces import IFactoryMaker

    if not IFactoryMaker.providedBy(maker):
        return None
    factory_maker = IFactoryMaker(maker)
    try:
        options = factory_maker.options
        # The interface asks for no more than usage.Options.
        return options if issubclass(options, Options) else None
    except Exception as error:  # other people's modules are imported here
        name = plain(factory_maker.tapname)
        sys.stderr.write(f"{name}: its options cannot be read: {plain(repr(error))}\n")
        return None


def find_subcommands(makers: Iterable[Any] | None = None) -> list[Subcommand]:
    """
    List the installed subcommands, by their names.

    One whose options cannot be read is listed without them, and a line on standard error says why.

    :param makers: service makers; all that are installed, by default.
    """
    if makers is None:
        from twisted.application.service import IServiceMaker
        from twisted.plugin import getPlugins

        makers = getPlugins(IServiceMaker)
    found = {
        maker.tapname: Subcommand(maker.tapname, plain(maker.description), _options_of(maker))
        for maker in makers
    }
    return [found[name] for name in sorted(found)]
