"""
What the discovery tests install, and where: distributions, fresh environments, two installers.

All of it lies in one temporary folder, made when first asked for and removed when the process ends.
Packages come over the network, or from wherever pip is told to look, once; every installation after
that is from a folder of wheels.
"""

from __future__ import annotations

import ast
import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.plugin.listing import WIDE, commands
from tests.support import PATIENCE, Daemon, Running, clean_environment, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from unittest import TestCase

__all__ = [
    "NEW",
    "OLD",
    "Environment",
    "Release",
    "checkout",
    "make_read_only",
    "release",
]

ROOT: Final = Path(__file__).parents[2]

#: The version under test, and one before it that had no ``myproject-chat``.
NEW: Final = version("myproject")
OLD: Final = "0.0.0"

#: Seconds for building and installing, which wait_until's patience is not made for.
_LONG: Final = 300

#: Gives up the rights by which root may write and read where the modes of files say no:
#: PR_CAPBSET_DROP of CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER (capabilities(7)).
#: Root keeps its number, and so its home, where the interpreter may be.
_AS_ANYONE: Final = """
import ctypes, os, sys
if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    for right in range(4):
        if libc.prctl(24, right, 0, 0, 0):
            sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"""


def _environ(**more: str) -> dict[str, str]:
    """
    The environment, without what would show Twisted another copy of the project.

    Bytecode is written, as it is for most people: it is one more thing that may be out of date, or left.
    """
    environ = clean_environment(**more)
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"):
        environ.pop(name, None)
    return environ


def run(
    *words: str | Path, cwd: Path | None = None, seconds: float = _LONG
) -> subprocess.CompletedProcess[str]:
    """
    Run a command that must succeed.

    :param words: the command.
    :param cwd: the folder to run it in; by default one that has nothing to do with the project.
    :param seconds: how long it may take.
    :raises AssertionError: it failed; the message has all that it printed.
    """
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd or _folder(),
        env=_environ(**WIDE),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{words} exited with {done.returncode}: {done.stdout}{done.stderr}")
    return done


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="myproject-discovery-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder.resolve()


def _new_folder(prefix: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=prefix, dir=_folder()))


@cache
def _pip() -> Path:
    """A Python that has pip: the environment of these tests may have been made without."""
    home = _folder() / "pip"
    run(sys.executable, "-m", "venv", home)
    return home / "bin" / "python"


@cache
def _wheelhouse() -> Path:
    """A folder with the wheels of all that installing the project takes, as pip is set up to get it."""
    wheels = _folder() / "wheels"
    # hatchling asks for editables when it makes an editable install.
    wanted = [f"hatchling=={version('hatchling')}", "editables"]
    for requirement in requires("myproject") or ():
        wanted_name = re.split(r"[^\w.\[\]-]", requirement)[0]
        wanted.append(f"{wanted_name}=={version(wanted_name.partition('[')[0])}")
    run(_pip(), "-m", "pip", "wheel", "--quiet", "--wheel-dir", wheels, *wanted)
    return wheels


def _not_ours(folder: str, names: list[str]) -> set[str]:
    """What lies about in a working copy, and what only its hosts and tools care for."""
    listed = (ROOT / ".gitignore").read_text().split()
    made = shutil.ignore_patterns(*[line.rstrip("/").rpartition("/")[2] for line in listed])
    hidden = {name for name in names if name.startswith(".") and name != ".gitignore"}
    return made(folder, names) | hidden


def checkout(name: str) -> Path:
    """
    Copy the project as someone has it who cloned it, and has run it there: caches lie about.

    :param name: what to call the copy, which is a new one each time.
    """
    tree = _new_folder(f"checkout-{name}-")
    shutil.copytree(ROOT, tree, ignore=_not_ours, dirs_exist_ok=True)
    (tree / "twisted/plugins/dropin.cache").write_bytes(b"not a pickle")
    for module in (
        tree / "packages/core/myproject/maker.py",
        tree / "twisted/plugins/myproject.py",
    ):
        run(sys.executable, "-m", "py_compile", module)
    return tree


def _without_chat(tree: Path) -> None:
    """Make a checkout one of an older version, whose dropin has a maker fewer."""
    dropin = tree / "twisted/plugins/myproject.py"
    source = dropin.read_text()
    (chat,) = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and "myproject-chat" in ast.unparse(node)
    ]
    lines = source.splitlines(keepends=True)
    del lines[chat.lineno - 1 : chat.end_lineno]
    dropin.write_text("".join(lines))
    project = tree / "pyproject.toml"
    stated = project.read_text().splitlines(keepends=True)
    changed = [f'version = "{OLD}"\n' if line.startswith("version =") else line for line in stated]
    project.write_text("".join(changed))


@dataclass(frozen=True)
class Release:
    """
    What one version is distributed as.

    :ivar tree: the checkout it was built in.
    :ivar wheel: the wheel.
    :ivar sdist: the archive of its source.
    """

    tree: Path
    wheel: Path
    sdist: Path


@cache
def release(number: str) -> Release:
    """
    Build a version's distributions.

    :param number: :data:`NEW` or :data:`OLD`.
    """
    tree, dist = checkout(number), _new_folder(f"dist-{number}-")
    if number == OLD:
        _without_chat(tree)
    run(sys.executable, "-m", "hatchling", "build", "-d", dist, cwd=tree)
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    return Release(tree, wheel, sdist)


class Environment:
    """
    A fresh virtual environment.

    :param name: what to call it.
    :param installer: ``pip``, ``uv``, or ``uv-`` and how it links: ``hardlink``, ``symlink``, ``copy``.
    """

    def __init__(self, name: str, installer: str) -> None:
        self.path = _new_folder(f"environment-{name}-")
        self.unrelated = _new_folder("unrelated-")
        self._installer, _, mode = installer.partition("-")
        self._link = ["--link-mode", mode] if mode else []
        run(sys.executable, "-m", "venv", "--without-pip", self.path)

    def _run(self, action: str, *words: str | Path) -> None:
        python = self.path / "bin" / "python"
        if self._installer == "pip":
            run(_pip(), "-m", "pip", "--python", python, "--quiet", action, *words)
        else:
            # A cache of its own, on the same disk as the environments, so that it can link.
            general = ["--quiet", "--no-config", "--cache-dir", str(_folder() / "uv")]
            run(sys.executable, "-m", "uv", *general, "pip", action, "--python", python, *words)

    def install(self, *words: str | Path) -> None:
        """
        Install, or upgrade, with what it needs.

        :param words: what, as the installer's command line has it.
        """
        link = [] if self._installer == "pip" else self._link
        self._run("install", *link, "--no-index", "--find-links", _wheelhouse(), *words)

    def uninstall(self) -> None:
        """Uninstall the project, and nothing else."""
        self._run("uninstall", *(["--yes"] if self._installer == "pip" else []), "myproject")

    @property
    def site_packages(self) -> Path:
        """Where packages are installed."""
        (found,) = self.path.glob("lib/python*/site-packages")
        return found

    @property
    def plugins(self) -> Path:
        """Where Twisted's own plugins are, and those of an installed wheel."""
        return self.site_packages / "twisted" / "plugins"

    def command(self, tool: str, *words: str, restricted: bool = False) -> list[str]:
        """
        A command line for a tool that is installed here.

        :param tool: its name.
        :param words: its arguments.
        :param restricted: run by one who may write only where the modes of files allow it, root or not.
        """
        line = [str(self.path / "bin" / tool), *words]
        return [sys.executable, "-c", _AS_ANYONE, *line] if restricted else line

    def listed(self, tool: str, *, restricted: bool = False) -> dict[str, str]:
        """
        The subcommands in a tool's help, each with its description, seen from an unrelated folder.

        :param tool: ``twistd`` or ``twist``.
        :param restricted: as in :meth:`command`.
        :raises AssertionError: the tool failed, or complained of anything.
        """
        line = self.command(tool, "--help", restricted=restricted)
        done = run(*line, cwd=self.unrelated, seconds=PATIENCE)
        if done.stderr:
            raise AssertionError(f"{tool} --help complained:\n{done.stderr}")
        return commands(done.stdout)

    def start(self, case: TestCase, *words: str, restricted: bool = False) -> Running:
        """
        Start ``twistd`` in the foreground; it ends with the test at the latest.

        :param case: the test.
        :param words: its arguments.
        :param restricted: as in :meth:`command`.
        """
        folder = Path(tempfile.mkdtemp(dir=self.unrelated))
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            process = subprocess.Popen(
                self.command("twistd", "-n", "--pidfile=", *words, restricted=restricted),
                cwd=folder,
                env=_environ(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        running = Running(process.pid, folder, process)
        case.addCleanup(running.stop)
        return running

    def start_daemon(self, case: TestCase, *words: str) -> Daemon:
        """
        Start ``twistd`` in the background; it ends with the test at the latest.

        :param case: the test.
        :param words: its arguments.
        """
        folder = Path(tempfile.mkdtemp(dir=self.unrelated))
        pidfile, logfile = folder / "twistd.pid", folder / "twistd.log"
        files = ("--pidfile", str(pidfile), "--logfile", str(logfile))
        run(*self.command("twistd", *files, *words), cwd=folder, seconds=PATIENCE)
        wait_until(pidfile.exists, what="there is a pidfile")
        wait_until(pidfile.read_text, what="the pidfile has a number")
        daemon = Daemon(int(pidfile.read_text()), folder, pidfile, logfile)
        case.addCleanup(daemon.stop)
        return daemon


def _set_writable(folders: Sequence[Path], *, writable: bool) -> None:
    for folder in folders:
        folder.chmod(0o755 if writable else 0o555)


def make_read_only(case: TestCase, root: Path) -> None:
    """
    Take from all folders under one the right to write, until the test ends.

    :param case: the test.
    :param root: the folder.
    """
    folders = [Path(folder) for folder, _, _ in os.walk(root)]
    _set_writable(folders, writable=False)
    case.addCleanup(_set_writable, folders, writable=True)
