"""
The reference page of a subcommand's settings, written from the table that the settings are read from.

No setting is described twice: what ``--help`` says, what the page says and what the program does
have one source, and a test keeps the page in docs/ equal to what this module writes.
"""

from __future__ import annotations

from collections.abc import Iterable

from myproject.options import Options
from myproject.settings import ANY_TEXT, Field, Setting, TableSetting

__all__ = ["settings_page", "settings_table", "structure_tables"]


def settings_table(options: type[Options]) -> str:
    """
    Write one subcommand's settings as a Markdown table.

    :param options: the class of its options.
    """
    rows = [
        "| Command line | Environment | File | Default | |",
        "|---|---|---|---|---|",
    ]
    for name, setting in sorted(options.settings.items()):
        if isinstance(setting, TableSetting):
            continue
        flag = f"`--{name}`, `--no-{name}`"
        value = f"`--{name} {setting.kind.metavar}`"
        line = flag if setting.is_flag else value
        if setting.short:
            line = f"`-{setting.short}`, {line}"
        default = setting.shown_default
        cells = [
            line,
            f"`{setting.environment(options.tapname)}`",
            f"`{name}`" if setting.in_file else "no",
            f"`{default}`" if default else "none",
            " ".join([setting.help, *_allowed(setting), *_reloaded(setting)]),
        ]
        rows.append(_row(cells))
    return "\n".join(rows) + "\n"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def structure_tables(options: type[Options]) -> str:
    """
    Write the tables that only the file can have, as sections of Markdown; empty if there are none.

    :param options: the class of its options.
    """
    parts = []
    for _, setting in sorted(options.settings.items()):
        if isinstance(setting, TableSetting):
            times = ["Any number of times."] if setting.many else []
            said = " ".join([setting.help, *times, *_reloaded(setting)])
            rows = [_row(_field(field)) for field in setting.fields]
            head = [f"### `{setting.heading(options.tapname)}`", "", said, ""]
            parts.append("\n".join([*head, "| Key | Default | |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def _field(field: Field) -> list[str]:
    default = (
        "must be given" if field.required else f"`{field.default}`" if field.default else "none"
    )
    said = [field.help, f"Give {field.allowed}."]
    if field.secret:
        said.append("Never shown.")
    if field.restart:
        said.append("A change needs a restart.")
    return [f"`{field.name}`", default, " ".join(said)]


def _allowed(setting: Setting[object]) -> list[str]:
    """What a person may give, as a sentence; none for text, of which all is allowed."""
    if setting.kind.allowed == ANY_TEXT:
        return []
    return [f"Give {setting.kind.allowed}{', any number of times' if setting.many else ''}."]


def _reloaded(setting: Setting[object]) -> list[str]:
    """Whether a change needs no restart, as a sentence."""
    return ["Changes on reload."] if setting.reloadable else []


def settings_page(makers: Iterable[tuple[str, str, type[Options]]]) -> str:
    """
    Write the reference page of several subcommands.

    :param makers: each one's name, its description, and the class of its options.
    """
    parts = [_PREFACE]
    for tapname, description, options in sorted(makers, key=lambda maker: maker[0]):
        parts.append(f"## {tapname}\n\n{description}\n\n{settings_table(options)}")
        if tables := structure_tables(options):
            parts.append(tables)
    return "\n".join(parts)


_PREFACE = """\
# Settings

<!-- Written by docs/generate.py from the option tables. Change those, and run it. -->

A setting takes its value from the first of these that has one: the command line, the environment, the
file that `--config` names, the default. Whatever the source, it is checked in the same way, and a
mistake ends the process with one line on standard error and status 64 before anything opens.

In the environment, several values of one setting are separated as words in a shell. In the file they are
an array. The file is TOML, with a table for each subcommand:

```toml
[myproject-echo]
port = [7007, "tcp:7008:interface=127.0.0.1"]
```

Settings that belong together are a table inside that table, such as `[myproject-chat.limits]`, or any number
of them, each headed `[[myproject-chat.operator]]`. Only the file has these. A mistake in one is told with its
path, in which the first of several is number 0: `myproject-chat.operator[0].password`.

An unknown key, or a table that no installed subcommand has, is a mistake. `--check-config` says
whether all is well and exits; `--print-config` prints the settings in force as such a file, each with
its source.

`twistd`'s own options (`-n`, `--pidfile`, `--logfile`, `--reactor`, ...) come before the subcommand's name.
"""
