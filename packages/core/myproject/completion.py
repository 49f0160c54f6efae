"""
``python -m myproject completion SHELL``: scripts that complete ``twistd`` and ``twist`` in three shells.

A script is static: it holds the tables of options as they are when it is written, so that a press of TAB
starts no Python. All three find their way through a command line in the same manner, which is getopt's:
the first word that is neither an option nor an option's value is the subcommand, and what comes
behind it is the subcommand's.

Every word from a table goes into a script as a quoted string, and is data from there on: bash and zsh get
arrays that they compare and offer, never text that they evaluate. fish does evaluate what ``complete
--arguments`` gets, so there a word is quoted twice.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from myproject.options import nearest
from myproject.optiontable import Row, Subcommand, Value, find_subcommands, tools

__all__ = ["SHELLS", "bash", "fish", "main", "zsh"]

Tools = Mapping[str, Sequence[Row]]


def _quote(text: str) -> str:
    """One word for bash and zsh. Always in quotes: zsh expands even a bare ``=word``."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quote(text: str) -> str:
    """One word for fish, whose single quotes know two escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _brief(row: Row) -> str:
    """The first sentence of what an option does: the lists of shells have one line for each."""
    return row.help.partition(". ")[0].removesuffix(".")


def _table(tools: Tools, subcommands: Iterable[Subcommand]) -> dict[str, Sequence[Row]]:
    """Everything that has options we know, by the name that scripts have for it."""
    known = {f":{tool}": rows for tool, rows in tools.items()}
    known.update({one.name: one.rows() for one in subcommands if one.options is not None})
    return known


def _options(rows: Iterable[Row]) -> str:
    """The elements of an array: each option, with ``=`` behind it if it takes a value."""
    return " ".join(
        _quote(name + ("" if row.value is Value.NONE else "="))
        for row in rows
        for name in row.names
    )


def _cases(table: Mapping[str, Sequence[Row]], body: Callable[[Sequence[Row]], str]) -> str:
    """The branches of a ``case`` over the table."""
    return "\n".join(f"        {_quote(name)}) {body(rows)} ;;" for name, rows in table.items())


def _value_cases(table: Mapping[str, Sequence[Row]]) -> str:
    """The branches of a ``case`` over options that take a value which a shell can complete."""
    lines = []
    for name, rows in table.items():
        for row in rows:
            if row.value in (Value.NONE, Value.TEXT):
                continue
            pattern = "|".join(_quote(f"{name} {option}") for option in row.names)
            words = f" choices=({' '.join(map(_quote, row.words))})" if row.words else ""
            lines.append(f"        {pattern}) kind={row.value.name.lower()}{words} ;;")
    return "\n".join(lines)


#: Follows the words before the cursor, in bash and in zsh alike. Before it: ``before`` holds them. After it:
#: ``where`` is the table that the word at the cursor belongs to, and ``expects`` the option
#: whose value that word is.
_FOLLOW: Final = """\
    where=:$tool expects=
    _myproject_options "$where"
    for word in "${before[@]}"; do
        if [[ -n $expects ]]; then
            expects=
            continue
        fi
        case $word in
            --*=*) ;;
            --*) if _myproject_takes "$word"; then expects=$word; fi ;;
            -?*)
                # One letter or several: what is left behind one that takes a value is its value.
                rest=${word#-}
                while [[ -n $rest ]]; do
                    letter=-${rest%"${rest#?}"}
                    rest=${rest#?}
                    if _myproject_takes "$letter"; then
                        if [[ -z $rest ]]; then expects=$letter; fi
                        break
                    fi
                done
                ;;
            *)
                if [[ $where == :* ]]; then
                    where=$word
                    _myproject_options "$where"
                fi
                ;;
        esac
    done
"""

#: Whether an option takes a value, of those that ``known`` holds.
_TAKES: Final = """\
_myproject_takes() {
    local one
    for one in "${known[@]}"; do
        if [[ $one == "$1=" ]]; then return 0; fi
    done
    return 1
}
"""

_BASH: Final = (
    """\
# bash completion for twistd and twist, written by: python -m myproject completion bash
# Needs bash 4.3 or later and nothing else. Put it into ~/.bashrc, or where bash-completion looks.

_myproject_options() {
    known=()
    case $1 in
@OPTIONS@
        *) return 1 ;;
    esac
}

_myproject_value() {
    kind=text choices=()
    case "$1 $2" in
@VALUES@
    esac
}

"""
    + _TAKES
    + """
# Offers those of its arguments that begin with the current word, quoted where the shell needs it.
_myproject_offer() {
    local one quoted
    for one in "$@"; do
        printf -v quoted %q "$one"
        if [[ $one == "$current"* || $quoted == "$current"* ]]; then
            COMPREPLY+=("$lead${quoted#"$kept"}")
        fi
    done
}

_myproject_complete() {
    local -a before=() known=() words=()
    local tool where expects word rest letter kind current lead= kept= glue= i
    COMPREPLY=()
    # bash has cut the words at "=" and ":" (COMP_WORDBREAKS); getopt will not.
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $word && $word != *[!=:]* && $i -gt 1 ]]; then
            before[${#before[@]}-1]+=$word
            glue=yes
        elif [[ -n $glue ]]; then
            before[${#before[@]}-1]+=$word
            glue=
        else
            before+=("$word")
        fi
    done
    current=${before[${#before[@]}-1]}
    unset "before[${#before[@]}-1]"
    tool=${COMP_WORDS[0]##*/}
    if [[ $tool != twist ]]; then tool=twistd; fi
"""
    + _FOLLOW
    + """\
    if [[ -z $expects && $current == --*=* ]]; then
        expects=${current%%=*}
        current=${current#*=}
        if [[ $COMP_WORDBREAKS != *=* ]]; then lead=$expects=; fi
    fi
    if [[ -n $expects ]]; then
        _myproject_value "$where" "$expects"
        # What is offered takes the place of what stands behind the last cut.
        if [[ -z $lead ]]; then kept=${current%"${current##*[=:]}"}; fi
        case $kind in
            word) _myproject_offer "${choices[@]}" ;;
            # These let readline do the work, which knows about quotes, spaces and tildes.
            file) compopt -o default ;;
            folder) compopt -o dirnames ;;
            user) mapfile -t COMPREPLY < <(compgen -u -- "$current") ;;
            group) mapfile -t COMPREPLY < <(compgen -g -- "$current") ;;
        esac
    elif [[ $where == :* && $current != -* ]]; then
        _myproject_offer @SUBCOMMANDS@
    elif ((${#known[@]})); then
        # A subcommand takes no other words, so its options are offered before a dash is there.
        if [[ -z $current ]]; then current=--; fi
        _myproject_offer "${known[@]%=}"
    else
        compopt -o default
    fi
}

complete -F _myproject_complete @TOOLS@
"""
)


def bash(tools: Tools, subcommands: Sequence[Subcommand]) -> str:
    """
    Write the script for bash.

    :param tools: the options that each command takes before the subcommand's name.
    :param subcommands: what is installed.
    """
    table = _table(tools, subcommands)
    return _fill(
        _BASH,
        OPTIONS=_cases(table, lambda rows: f"known=({_options(rows)})"),
        VALUES=_value_cases(table),
        SUBCOMMANDS=" ".join(_quote(one.name) for one in subcommands),
        TOOLS=" ".join(sorted(tools, reverse=True)),
    )


_ZSH: Final = (
    """\
#compdef @TOOLS@
# zsh completion for twistd and twist, written by: python -m myproject completion zsh
# Save it as _myproject in a folder of $fpath that stands before zsh's own, or source it after compinit.
#
# zsh has a completer for Twisted's commands, _twisted, which starts the command at each press of TAB.
# This one takes its place for @TOOLS@, and hands subcommands that it does not know on to it.

_myproject_options() {
    known=() described=()
    case $1 in
@OPTIONS@
        *) return 1 ;;
    esac
}

_myproject_value() {
    kind=text choices=()
    case "$1 $2" in
@VALUES@
    esac
}

"""
    + _TAKES
    + """
_myproject_complete_value() {
    local kind
    local -a choices expl
    _myproject_value "$1" "$2"
    case $kind in
        word) _wanted values expl "$2" compadd -a choices ;;
        file) _files ;;
        folder) _files -/ ;;
        user) _users ;;
        group) _groups ;;
        *) _message "$2" ;;
    esac
}

_myproject() {
    local tool where expects word rest letter
    local -a before known described subcommands
    tool=${words[1]:t}
    if [[ $tool != twist ]]; then tool=twistd; fi
    before=("${(@Q)words[2,CURRENT-1]}")
"""
    + _FOLLOW
    + """\
    if [[ -n $expects ]]; then
        _myproject_complete_value "$where" "$expects"
    elif [[ $PREFIX == --*=* ]]; then
        expects=${PREFIX%%=*}
        compset -P 1 '*='
        _myproject_complete_value "$where" "$expects"
    elif [[ $where == :* && $PREFIX != -* ]]; then
        subcommands=(
@SUBCOMMANDS@
        )
        _describe -t subcommands subcommand subcommands
    elif (($#known)); then
        _describe -o option described
    elif (($+functions[_twisted])); then
        _twisted
    else
        _default
    fi
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _myproject "$@"
else
    compdef _myproject @TOOLS@
fi
"""
)


def _described(name: str, description: str) -> str:
    """An element of an array for zsh's ``_describe``."""
    # It takes the name up to the first colon, and a backslash before any character for a quote.
    name, description = (one.replace("\\", "\\\\") for one in (name, description))
    return _quote(name.replace(":", "\\:") + ":" + description)


def zsh(tools: Tools, subcommands: Sequence[Subcommand]) -> str:
    """
    Write the script for zsh.

    :param tools: the options that each command takes before the subcommand's name.
    :param subcommands: what is installed.
    """

    def arrays(rows: Sequence[Row]) -> str:
        described = [_described(name, _brief(row)) for row in rows for name in row.names]
        lines = "".join(f"\n            {one}" for one in described)
        return f"known=({_options(rows)}) described=({lines}\n        )"

    table = _table(tools, subcommands)
    return _fill(
        _ZSH,
        OPTIONS=_cases(table, arrays),
        VALUES=_value_cases(table),
        SUBCOMMANDS="\n".join(
            f"            {_described(one.name, one.description)}" for one in subcommands
        ),
        TOOLS=" ".join(sorted(tools, reverse=True)),
    )


_FISH: Final = """\
# fish completion for twistd and twist, written by: python -m myproject completion fish
# Save it as twistd.fish in ~/.config/fish/completions, with a link to it named twist.fish.

# Whether the word at the cursor belongs to a subcommand of the tool, or to the tool itself if none is named.
function __myproject_at --argument-names tool wanted
    set -l taking
    set -l expects 0
    switch $tool
@TAKING@
    end
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        if test $expects = 1
            set expects 0
            continue
        end
        switch $word
            case '--*=*'
            case '--*'
                contains -- $word $taking; and set expects 1
            case '-?*'
                # One letter or several: what is left behind one that takes a value is its value.
                set -l rest (string sub -s 2 -- $word)
                while test -n "$rest"
                    set -l letter -(string sub -l 1 -- $rest)
                    set rest (string sub -s 2 -- $rest)
                    if contains -- $letter $taking
                        test -z "$rest"; and set expects 1
                        break
                    end
                end
            case '*'
                test "$word" = "$wanted"
                return
        end
    end
    test -z "$wanted"
end

"""

_FISH_VALUES: Final = {
    Value.NONE: "",
    Value.TEXT: " -x",
    Value.FILE: " -r -F",
    Value.FOLDER: " -x -a '(__fish_complete_directories)'",
    Value.USER: " -x -a '(__fish_complete_users)'",
    Value.GROUP: " -x -a '(__fish_complete_groups)'",
}


def _fish_option(row: Row) -> str:
    """What ``complete`` has to know of an option."""
    names = "".join(f" -s {_fish_quote(letter)}" for letter in row.shorts)
    names += f" -l {_fish_quote(row.long)}"
    if row.value is Value.WORD:
        value = f" -x -a {_fish_quote(' '.join(map(_fish_quote, row.words)))}"
    else:
        value = _FISH_VALUES[row.value]
    return f"{names}{value} -d {_fish_quote(_brief(row))}"


def fish(tools: Tools, subcommands: Sequence[Subcommand]) -> str:
    """
    Write the script for fish.

    :param tools: the options that each command takes before the subcommand's name.
    :param subcommands: what is installed.
    """
    lines, taking = [], []
    for tool, rows in sorted(tools.items(), reverse=True):

        def at(name: str, *, tool: str = tool) -> str:
            condition = f"__myproject_at {tool} {_fish_quote(name)}"
            return f"complete -c {tool} -n {_fish_quote(condition)}"

        valued = [name for row in rows if row.value is not Value.NONE for name in row.names]
        words = " ".join(map(_fish_quote, valued))
        taking.append(f"        case {tool}\n            set taking {words}")
        lines += [f"{at('')} -f", *(at("") + _fish_option(row) for row in rows)]
        for one in subcommands:
            word = _fish_quote(_fish_quote(one.name))
            lines.append(f"{at('')} -a {word} -d {_fish_quote(one.description)}")
            if one.options is not None:
                lines.append(f"{at(one.name)} -f")
                lines += [at(one.name) + _fish_option(row) for row in one.rows()]
    return _fill(_FISH, TAKING="\n".join(taking)) + "\n".join(lines) + "\n"


def _fill(template: str, **parts: str) -> str:
    """Put the parts into a template's ``@NAMES@``, once: a part may hold anything."""
    return re.sub("@([A-Z]+)@", lambda found: parts[found[1]], template)


#: How to write the script of each shell.
SHELLS: Final[Mapping[str, Callable[[Tools, Sequence[Subcommand]], str]]] = {
    "bash": bash,
    "fish": fish,
    "zsh": zsh,
}

_USAGE: Final = """\
Usage: python -m myproject completion bash|fish|zsh

Print a script by which a shell completes twistd and twist: subcommands, options, values.
For one session: source <(python -m myproject completion bash), or zsh after compinit;
in fish: python -m myproject completion fish | source
"""


def main(arguments: Sequence[str]) -> int:
    """
    Print the completion script of a shell.

    :param arguments: the shell's name.
    :returns: the exit status, 64 (``EX_USAGE``) for a mistake in the words.
    """
    if list(arguments) in (["-h"], ["--help"]):
        sys.stdout.write(_USAGE)
        return os.EX_OK
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        given = " ".join(arguments)
        problem = (
            f"there is no shell {given!r}{nearest(given, SHELLS)}" if given else "no shell given"
        )
        sys.stderr.write(f"completion: {problem}; give one of {', '.join(SHELLS)}\n")
        return os.EX_USAGE
    sys.stdout.write(SHELLS[arguments[0]](tools(), find_subcommands()))
    return os.EX_OK
