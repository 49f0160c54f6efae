"""
Real shells that complete a command line and tell what they offer.

bash runs the function with the variables that it would set itself. fish has a command for it. zsh
completes only in its line editor, so it gets a terminal, and completes as soon as it would prompt.
"""

from __future__ import annotations

import atexit
import os
import pty
import select
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.support import PATIENCE

__all__ = ["bash", "fish", "missing", "type_in_bash", "zsh"]

#: What a shell offers: each word, and what it says of it.
Offer = dict[str, str]

_BASH = """
source "$1"
shift
# It may only be called while readline completes.
compopt() { printf 'compopt %s\\0' "$*"; }
COMP_WORDBREAKS=${BREAKS-$COMP_WORDBREAKS} COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"$(complete -p "${1##*/}" | sed 's/.*-F \\([^ ]*\\) .*/\\1/')" "$1" "${@: -1}"
for one in "${COMPREPLY[@]}"; do
    printf '%s\\0' "$one"
done
"""

_ZSH = r"""
autoload -Uz compinit
if [[ -n $DUMP ]]; then
    compinit -u -C -d $DUMP
else
    compinit -u -D
fi
PROMPT= RPROMPT= LISTMAX=100000 COLUMNS=10000
zstyle ':completion:*' verbose yes
zstyle ':completion:*' list-separator ''
[[ -n $SCRIPT ]] && source $SCRIPT
compadd() {
    local -a __words __shown
    local __given
    if (( ${argv[(I)-[OAD]]} )); then
        builtin compadd "$@"
        return
    fi
    if (( ${argv[(I)-*d]} )); then
        __given=$argv[${argv[(I)-*d]}+1]
        __shown=("${(@P)__given}")
    fi
    builtin compadd -A __words -D __shown "$@"
    local i
    for (( i = 1; i <= $#__words; i++ )); do
        # The words come quoted, as they would be put into the line.
        print -rN -u $OUT -- "${(Q)__words[i]}" "$__shown[i]"
    done
    builtin compadd "$@"
}
zle -C offer list-choices _main_complete
zle-line-init() {
    exec {OUT}>$ZDOTDIR/offered
    BUFFER=$LINE CURSOR=$#LINE
    zle offer
    exit
}
zle -N zle-line-init
"""


@cache
def _zsh_dump() -> str:
    """What ``compinit`` finds out about zsh's own functions, which takes it a third of a second."""
    folder = tempfile.mkdtemp(prefix="myproject-zsh-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    dump = f"{folder}/dump"
    code = f"autoload -Uz compinit; compinit -u -d {dump}"
    subprocess.run(["zsh", "-f", "-c", code], check=True, timeout=PATIENCE)
    return dump


def missing(shell: str) -> str | None:
    """Why a test of a shell is skipped, if it is."""
    return None if shutil.which(shell) else f"it needs {shell}"


def bash(script: str, *words: str, folder: Path, breaks: str | None = None) -> list[str]:
    """
    Complete with bash.

    :param script: the completion script.
    :param words: the command line, cut as bash cuts it; the last is what is being completed.
    :param folder: a folder for its files.
    :param breaks: where bash cuts, if not where it does by default.
    :returns: what it offers, and ``compopt ...`` for what it leaves to readline.
    """
    file = folder / "script.bash"
    file.write_text(script, encoding="utf-8")
    done = subprocess.run(
        ["bash", "--norc", "-c", _BASH, "bash", str(file), *words],
        env={**os.environ, "LC_ALL": "C.UTF-8", **({} if breaks is None else {"BREAKS": breaks})},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    if done.stderr:
        raise AssertionError(done.stderr)
    return done.stdout.split("\0")[:-1]


def type_in_bash(script: str, keys: str, *, folder: Path) -> list[str]:
    """
    Type a command line of twistd into a bash that has a terminal.

    :param script: the completion script.
    :param keys: what to type, TAB included, without the end of the line.
    :param folder: a folder for its files.
    :returns: the arguments that twistd would get.
    """
    (folder / "script.bash").write_text(script, encoding="utf-8")
    rc = "source script.bash\ntwistd() { printf '%s\\0' \"$@\" >typed; exit; }\nPS1=ready:\n"
    (folder / "rc.bash").write_text(rc, encoding="utf-8")
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            ["bash", "--rcfile", "rc.bash", "-i"],
            env={**os.environ, "LC_ALL": "C.UTF-8", "TERM": "dumb", "INPUTRC": os.devnull},
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        # Before its prompt the terminal is not readline's yet.
        printed = _read(ours, until=b"ready:")
        os.write(ours, f"{keys}\n".encode())
        printed += _read(ours)
        process.wait(PATIENCE)
    finally:
        os.close(ours)
    typed = folder / "typed"
    if not typed.exists():
        raise AssertionError(printed.decode(errors="replace"))
    return typed.read_text(encoding="utf-8").split("\0")[:-1]


def fish(script: str, line: str, *, folder: Path) -> Offer:
    """
    Complete with fish.

    :param script: the completion script.
    :param line: the command line, the cursor at its end.
    :param folder: a folder for its files.
    """
    file = folder / "script.fish"
    file.write_text(script, encoding="utf-8")
    done = subprocess.run(
        ["fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", str(file), line],
        env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    if done.stderr:
        raise AssertionError(done.stderr)
    rows = (row.partition("\t") for row in done.stdout.splitlines())
    return {word: said for word, _, said in rows}


def zsh(script: str, line: str, *, folder: Path, fpath: Sequence[Path] = ()) -> Offer:
    """
    Complete with zsh.

    :param script: the completion script, sourced after ``compinit``; empty for none.
    :param line: the command line, the cursor at its end.
    :param folder: a folder for its files.
    :param fpath: folders to put before those that zsh looks for functions in.
    """
    places = " ".join(f"'{one}'" for one in fpath)
    (folder / ".zshrc").write_text(f"fpath=({places} $fpath)\n{_ZSH}", encoding="utf-8")
    file = folder / "script.zsh"
    file.write_text(script, encoding="utf-8")
    offered = folder / "offered"
    offered.unlink(missing_ok=True)
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            ["zsh", "-d", "-i"],
            env={
                **os.environ,
                "LC_ALL": "C.UTF-8",
                "TERM": "dumb",
                "ZDOTDIR": str(folder),
                "SCRIPT": str(file) if script else "",
                "LINE": line,
                "DUMP": "" if fpath else _zsh_dump(),
            },
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        printed = _read(ours)
        process.wait(PATIENCE)
    finally:
        os.close(ours)
    if not offered.exists():
        raise AssertionError(printed.decode(errors="replace"))
    parts = offered.read_text(encoding="utf-8").split("\0")[:-1]
    # It shows the word itself as well, in a column of its own.
    offer = zip(parts[::2], parts[1::2], strict=True)
    return {word: shown.removeprefix(word).strip() for word, shown in offer}


def _read(terminal: int, until: bytes = b"") -> bytes:
    """What is printed on a terminal until some text has come, or nobody has it open any more."""
    printed = b""
    while not until or until not in printed:
        if not select.select([terminal], [], [], PATIENCE)[0]:
            raise AssertionError(f"the shell waits for more: {printed!r}")
        try:
            more = os.read(terminal, 65536)
        except OSError:  # Linux's way to say so
            more = b""
        if not more:
            break
        printed += more
    return printed
