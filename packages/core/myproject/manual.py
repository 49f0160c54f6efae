"""
``python -m myproject man NAME``: the manual page of a subcommand, written from its table of options.

The page uses the macros of man(7), which every ``man`` knows, and is plain ASCII: characters beyond it have
names in roff. Its name is ``twistd-NAME``, as Git has ``git-commit``: ``man twistd-myproject-echo``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from myproject.options import Options, nearest
from myproject.optiontable import Row, Subcommand, find_subcommands
from myproject.settings import ANY_TEXT, Field, Setting, TableSetting

__all__ = ["main", "manual_page", "page_name"]

#: What roff would not print as it stands, or would print as a typographer's sign: groff_char(7).
_SIGNS: Final = {
    "\\": "\\e",
    "'": "\\(aq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
    '"': "\\(dq",
    "-": "\\-",
}


def _escape(text: str) -> str:
    """
    Text that roff prints as it is, anywhere but at the start of a line.

    Every hyphen becomes a minus, the character that a person can search for and copy: options,
    file names and keys stand in the middle of sentences.
    """

    def sign(one: str) -> str:
        return _SIGNS.get(one, one if one.isascii() else f"\\[u{ord(one):04X}]")

    return "".join(sign(one) for one in " ".join(text.split()) if one.isprintable())


def _line(text: str) -> str:
    """A line of text: an escaped one may begin with a dot, which roff would take for a request."""
    return "\\&" + text if text.startswith((".", "'")) else text


def _bold(text: str) -> str:
    return f"\\fB{_escape(text)}\\fR"


def _italic(text: str) -> str:
    return f"\\fI{_escape(text)}\\fR"


def page_name(subcommand: str) -> str:
    """
    Name a subcommand's page: ``twistd-myproject-echo``.

    :param subcommand: the subcommand's name.
    """
    return f"twistd-{subcommand}"


def _head(row: Row) -> str:
    """An option with what it takes, as it stands above its description."""
    metavar = f" {_italic(row.metavar)}" if row.metavar else ""
    return ", ".join(_bold(name) + metavar for name in row.names)


def _setting_notes(setting: Setting[Any], tapname: str) -> list[str]:
    """What the reference says of a setting behind its one sentence."""
    notes = []
    if setting.kind.allowed != ANY_TEXT and not setting.is_flag:
        times = ", any number of times" if setting.many else ""
        notes.append(f"Give {_escape(setting.kind.allowed)}{times}.")
    default = setting.shown_default
    known = "hidden" if setting.secret else _bold(default)
    notes.append(f"Default: {known if default else 'none'}.")
    notes.append(f"Environment: {_bold(setting.environment(tapname))}.")
    return notes


def _option(row: Row, options: type[Options]) -> Iterable[str]:
    yield ".TP"
    yield _line(_head(row))
    yield _line(_sentence(row.help))
    if row.long in options.settings:
        yield from map(_line, _setting_notes(options.settings[row.long], options.tapname))


def _tables(options: type[Options]) -> Iterable[str]:
    """The tables that only the file can have, with their fields."""
    for _, setting in sorted(options.settings.items()):
        if isinstance(setting, TableSetting):
            times = " Any number of times." if setting.many else ""
            yield f".SS {_escape(setting.heading(options.tapname))}"
            yield _line(_sentence(setting.help) + times)
            yield from _listed((_bold(one.name), _field(one)) for one in setting.fields)


def _field(field: Field) -> str:
    default = f"Default: {_bold(field.default) if field.default else 'none'}."
    notes = [
        _sentence(field.help),
        f"Give {_escape(field.allowed)}.",
        "It has to be given." if field.required else default,
    ]
    if field.restart:
        notes.append("A change needs a restart.")
    return " ".join(notes)


def _sentence(text: str) -> str:
    """Text that ends as a sentence does."""
    escaped = _escape(text)
    return escaped if escaped.endswith((".", "!", "?")) else f"{escaped}."


def _paragraph(*lines: str) -> list[str]:
    return [".PP", *map(_line, lines)]


def _example(*lines: str) -> list[str]:
    return [".PP", ".RS 4", ".nf", *map(_line, lines), ".fi", ".RE"]


def _listed(entries: Iterable[tuple[str, str]]) -> Iterable[str]:
    for head, text in entries:
        yield ".TP"
        yield _line(head)
        yield _line(text)


def manual_page(subcommand: Subcommand) -> str:
    """
    Write the manual page of a subcommand.

    :param subcommand: one whose options are known.
    :raises ValueError: they are not.
    """
    if subcommand.options is None:
        raise ValueError(f"the options of {subcommand.name} are not known")
    name, rows = subcommand.name, subcommand.rows()
    tapname = subcommand.options.tapname
    table = subcommand.options.settings
    settings = [table[row.long] for row in rows if row.long in table]
    lines = [
        f'.TH {_escape(page_name(name).upper())} 1 "" {_argument(name)} {_argument("Twisted subcommands")}',
        # A word that is cut in two cannot be searched for, nor copied.
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_escape(page_name(name))} \\- {_escape(subcommand.description.rstrip('.'))}",
        ".SH SYNOPSIS",
    ]
    for tool in ("twistd", "twist"):
        lines += [
            *([".br"] if tool == "twist" else []),
            f"{_bold(tool)} [{_italic(f'{tool} options')}] {_bold(name)} [{_italic('options')}]",
        ]
    lines += [
        ".SH DESCRIPTION",
        _line(_sentence(subcommand.description)),
        *_paragraph(
            f"{_bold(name)} is a subcommand of {_bold('twistd')}, which runs it in the background or,"
            f" with {_bold('-n')}, in the foreground, and of {_bold('twist')}.",
            f"The options of those two, {_bold('--logfile')} or {_bold('--reactor')} for instance,"
            " come before its name, and its own behind it.",
        ),
        *_paragraph(
            "A setting takes its value from the first of these that has one: the command line, the"
            f" environment, the file that {_bold('--config')} names, its default.",
            "Whatever the source, it is checked in the same way, before anything opens.",
        ),
        ".SH OPTIONS",
    ]
    for row in rows:
        lines += _option(row, subcommand.options)
    lines += [
        ".SH ENVIRONMENT",
        "Several values of one setting are separated as words in a shell.",
        f"A flag is {_bold('true')} or {_bold('false')}.",
        *_listed(
            (_bold(one.environment(tapname)), f"as {_bold(f'--{one.name}')}") for one in settings
        ),
        ".SH FILES",
        f"The file that {_bold('--config')} names is TOML.",
        f"The settings are in its table {_bold(f'[{tapname}]')};",
        "several values of one setting are an array.",
        "A key that is no setting is a mistake.",
        f"{_bold('--check-config')} says whether all is well, and",
        f"{_bold('--print-config')} prints the settings in force as such a file, each with its source.",
        *_listed(
            (_bold(one.name), f"{_toml_type(one)}, as {_bold(f'--{one.name}')}")
            for one in settings
            if one.in_file
        ),
        *_tables(subcommand.options),
        ".SH EXIT STATUS",
        *_listed(
            [
                (_bold("0"), "It stopped as it was told to, or only had to print something."),
                (
                    _bold("64"),
                    "A setting cannot be used; one line on standard error says which and why.",
                ),
                (
                    _bold("69"),
                    "It could not start, because a port is in use for instance; one line says why.",
                ),
            ]
        ),
        *_paragraph(f"In the background, {_bold('twistd')} passes on the status of the start."),
        ".SH EXAMPLES",
        "Run it in the foreground, with its log on the terminal:",
        *_example(f"twistd \\-n {_escape(name)}"),
        *_paragraph(
            "Say whether a configuration file is right, and run with it in the background:"
        ),
        *_example(
            f"twistd {_escape(name)} \\-\\-config site.toml \\-\\-check\\-config",
            f"twistd {_escape(name)} \\-\\-config site.toml",
        ),
        ".SH SEE ALSO",
        f"{_bold('twistd')}(1), {_bold('twist')}(1)",
    ]
    return "\n".join(lines) + "\n"


def _argument(text: str) -> str:
    """An argument of a macro; a quote in it is a sign with a name by now."""
    return f'"{_escape(text)}"'


#: The TOML types' names, by what a setting's kind lists.
_TOML_TYPES: Final = (
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a number"),
    (str, "a string"),
)


def _toml_type(setting: Setting[Any]) -> str:
    """The types that a setting has in the file."""
    kinds = setting.kind.toml
    names = [
        name for one, name in _TOML_TYPES if one in kinds and not (one is int and float in kinds)
    ]
    # Numbers and flags may be strings as well, which is for the environment's sake.
    shown = names[:-1] if len(names) > 1 and setting.kind.metavar != "PORT" else names
    return ("an array of: " if setting.many else "") + " or ".join(shown)


_USAGE: Final = """\
Usage: python -m myproject man NAME

Print the manual page of the subcommand NAME, from the table of its options.
To read it: python -m myproject man NAME | man -l -
"""


def main(arguments: Sequence[str]) -> int:
    """
    Print the manual page of a subcommand.

    :param arguments: the subcommand's name.
    :returns: the exit status, 64 (``EX_USAGE``) for a mistake in the words.
    """
    if list(arguments) in (["-h"], ["--help"]):
        sys.stdout.write(_USAGE)
        return os.EX_OK
    found = {one.name: one for one in find_subcommands()}
    known = [name for name, one in found.items() if one.options is not None]
    given = " ".join(arguments)
    if given in known:
        sys.stdout.write(manual_page(found[given]))
        return os.EX_OK
    if not given:
        problem = "no subcommand given"
    elif given in found:
        problem = f"{given!r} does not stand on myproject's core; see twistd {given} --help"
    else:
        problem = f"there is no subcommand {given!r}{nearest(given, known)}"
    sys.stderr.write(f"man: {problem}; give one of {', '.join(known)}\n")
    return os.EX_USAGE
