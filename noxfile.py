"""
The test matrix.

``nox`` runs what a contributor needs before a commit, in under ten minutes on two cores; ``nox -l``
lists the rest. pyproject.toml is the one source of Python versions (its classifiers) and of the
lowest versions of what we depend on.

An interpreter that is missing is skipped with a line. CI names those that it promises to have in
``MYPROJECT_PYTHONS``, ``3.11,3.12`` for instance, and there a missing one is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
# With CI set, nox would make every missing interpreter an error: not all machines have them all.
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)

#: The Twisted that is current as this is written: "latest" must be this one or a later one.
CURRENT_TWISTED = "26.10"

#: Where Twisted's trunk is to be had.
TRUNK = "https://github.com/twisted/twisted/archive/refs/heads/trunk.zip"

#: Not the full product: the floor where it is likeliest to break, the latest on every Python.
MATRIX = [
    nox.param(PYTHONS[0], "floor", id=f"{PYTHONS[0]}-floor"),
    *[nox.param(python, "latest", id=f"{python}-latest") for python in PYTHONS],
]


# What a contributor needs. The rest of the matrix (nox -s tests) and of the installs (nox -s discovery)
# is CI's: the floor is where it is likeliest to break, coverage runs the same tests with the newest.
nox.options.sessions = [
    f"tests({MATRIX[0].id})",
    *("coverage", "reactors", "lint", "types", "docs"),
]


def is_here(python: str) -> bool:
    """Whether an interpreter answers to its name: a version manager's shim may stand there in vain."""
    name = f"python{python}"
    if shutil.which(name) is None:
        return False
    return subprocess.run([name, "--version"], capture_output=True, check=False).returncode == 0


for promised in filter(None, os.environ.get("MYPROJECT_PYTHONS", "").split(",")):
    if not is_here(promised):
        raise SystemExit(f"noxfile: MYPROJECT_PYTHONS promises Python {promised}; install it")

#: The newest interpreter that is here, for sessions that need one only; None: the one that runs nox.
NEWEST = next(filter(is_here, reversed(PYTHONS)), None)


def group(name: str) -> list[str]:
    """The requirements of a dependency group."""
    return list(nox.project.dependency_groups(PROJECT, name))


#: The tests that may run side by side; those of the docs use the ports that they print.
SIDE_BY_SIDE = [
    *("tests.chat", "tests.core", "tests.echo", "tests.plugin"),
    "tests.interop.test_irctest_table",
]
ONE_BY_ONE = ["tests.docs"]

#: How many at once: more than four are no quicker, as some tests take long.
JOBS = min(4, len(os.sched_getaffinity(0)))


def trial(session: nox.Session, *words: str, runner: tuple[str, ...] = (), **env: str) -> None:
    """Print what is about to be tested, then run trial; ``tests/__init__.py`` makes warnings errors."""
    versions = "'Python', sys.version.split()[0], 'and Twisted', twisted.__version__"
    session.run("python", "-c", f"import sys, twisted; print('testing on', {versions})")
    folder = f"--temp-directory={session.create_tmp()}/trial"
    side_by_side = [f"-j{JOBS}", *SIDE_BY_SIDE] if JOBS > 1 else SIDE_BY_SIDE
    for chosen in [words] if words else [side_by_side, ONE_BY_ONE]:
        session.run(
            "python", "-W", "error", *runner, "-m", "twisted.trial", folder, *chosen, env=env
        )


@nox.session
@nox.parametrize(["python", "twisted"], MATRIX)
def tests(session: nox.Session, twisted: str) -> None:
    """All quick tests, on each Python, with the oldest and the latest Twisted that we support."""
    floors = [one.replace(">=", "==") for one in PROJECT["project"]["dependencies"]]
    if twisted == "floor":
        expected = next(one for one in floors if one.startswith("twisted[")).partition("==")[2]
        session.install("-e", ".", *floors, *group("test"))
    else:
        expected = f">={CURRENT_TWISTED}"
        session.install("--upgrade", "-e", ".", "twisted", *group("test"))
    trial(
        session,
        *session.posargs,
        # Before 26.10 Twisted forgot to close a socket that it could not bind (its #6108).
        MYPROJECT_IGNORED_WARNING="ResourceWarning" if twisted == "floor" else "",
        MYPROJECT_EXPECT_PYTHON=str(session.python),
        MYPROJECT_EXPECT_TWISTED=expected,
    )


@nox.session(python=NEWEST)
def trunk(session: nox.Session) -> None:
    """All quick tests with Twisted's trunk; its failures are news, not errors."""
    session.install("-e", ".", *group("test"))
    try:
        session.install("--upgrade", f"twisted @ {TRUNK}", silent=True)
    except nox.command.CommandFailed:
        session.skip("Twisted's trunk cannot be had from here")
    try:
        trial(session, *session.posargs)
    except nox.command.CommandFailed:
        session.warn("the tests fail with Twisted's trunk")


@nox.session(python=NEWEST)
def reactors(session: nox.Session) -> None:
    """Every subcommand on every reactor that Linux has."""
    session.install("-e", ".", *group("test"))
    trial(session, "tests.core.test_reactors")


@nox.session(python=NEWEST)
def conformance(session: nox.Session) -> None:
    """Twisted's own tests on our reactor and on its own pass the same; "quick": half a minute of them."""
    # What those tests need; without it they skip.
    session.install("-e", ".", "twisted[tls,conch,http2]")
    session.install("pyhamcrest", "httpx[http2]", "hypothesis")
    session.run("python", "tests/interop/reactor_conformance.py", *session.posargs)


@nox.session(python=NEWEST)
def discovery(session: nox.Session) -> None:
    """Twisted finds the subcommands however they were installed: wheel, sdist, editable; pip, uv."""
    session.install("-e", ".", *group("discovery"))
    trial(session, *(session.posargs or ["tests.plugin"]), MYPROJECT_DISCOVERY="1")


@nox.session(python=NEWEST)
def coverage(session: nox.Session) -> None:
    """All quick tests with the newest Python and Twisted, and their branch coverage of packages/."""
    session.install("-e", ".", *group("coverage"))
    session.run("coverage", "erase")
    trial(session, *session.posargs, runner=("-m", "coverage", "run"))
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(python=NEWEST)
def lint(session: nox.Session) -> None:
    """Style, and the direction of imports."""
    session.install("-e", ".", *group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session(python=NEWEST)
def types(session: nox.Session) -> None:
    """Types, strictly, with zope.interface understood."""
    session.install("-e", ".", *group("types"))
    session.run("mypy")


@nox.session(python=NEWEST)
def docs(session: nox.Session) -> None:
    """Build the documentation, its warnings errors; the tests run its commands."""
    session.install("-e", ".", *group("docs"))
    session.run("python", "docs/generate.py", "--check")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "docs", "docs/_build/html")


@nox.session(python=NEWEST)
def interop(session: nox.Session) -> None:
    """Real clients and a browser talk to the servers; installs Debian's packages if it may."""
    # Each is the name of a program and of its package, but for the one that has another.
    wanted = ("irssi", "weechat-headless", "haproxy", "openssl", "chromium", "chromedriver")
    packages = {"chromedriver": "chromium-driver"}
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    missing = [packages.get(one, one) for one in wanted if shutil.which(one, path=path) is None]
    if missing:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            session.skip(f"install these first: {' '.join(missing)}")
        session.run("apt-get", "update", "-qq", external=True)
        session.run("apt-get", "install", "-y", "-qq", *missing, external=True, silent=True)
    # pydle's extra for SASL, by its own name: it is what logs in.
    clients = ("pydle>=1.2", "pure-sasl>=0.6.2", "selenium>=4.20")
    session.install("-e", ".", *group("test"), *clients)
    trial(session, "tests.interop", MYPROJECT_REQUIRE_INTEROP="1")


@nox.session(python=NEWEST, default=False)
def irctest(session: nox.Session) -> None:
    """How the IRC server conforms: give the path of a checkout of irctest, or MYPROJECT_IRCTEST."""
    checkout, *words = session.posargs or [os.environ.get("MYPROJECT_IRCTEST", "")]
    if not checkout:
        session.error("give the path of a checkout: nox -s irctest -- PATH [words for pytest]")
    session.install(
        "-e", ".", "-r", f"{checkout}/requirements.txt", "pytest-xdist", "pytest-timeout"
    )
    # Without faketime(1) two tests wait for minutes, which are seconds with it.
    session.run("python", "tests/interop/irctest_table.py", checkout, *words)


@nox.session(python=NEWEST)
def kills(session: nox.Session) -> None:
    """Kill the chat server twenty times under load: no message is lost, and none is there twice."""
    session.install(".", *group("test"))
    trial(session, "tests.chat.test_server_kill.KillTests", MYPROJECT_KILLS="20")


@nox.session(python=NEWEST)
def help_cost(session: nox.Session) -> None:
    """What `twistd --help` costs more with the project installed than without."""
    session.install(".")
    session.run("python", "benchmarks/help_cost.py", *session.posargs)


@nox.session(python=NEWEST, default=False)
def bench(session: nox.Session) -> None:
    """What a message costs here and on other servers, in half an hour; installs Debian's if it may."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    wanted = {"cc": "gcc", "inspircd": "inspircd", "ngircd": "ngircd"}
    missing = [package for one, package in wanted.items() if shutil.which(one, path=path) is None]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        # invoke-rc.d starts nothing at this runlevel: the benchmark starts its own.
        quiet = {"RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
        session.run("apt-get", "update", "-qq", external=True)
        words = ("-y", "-qq", "--no-install-recommends", *missing, "libssl-dev", "libc6-dev")
        session.run("apt-get", "install", *words, env=quiet, external=True, silent=True)
    session.install(".", "uvloop>=0.21", "miniircd>=2.3")
    session.run("python", "benchmarks/speed.py", *(session.posargs or ["--write"]))


@nox.session(python=NEWEST, default=False)
def soak(session: nox.Session) -> None:
    """Servers under two thousand clients that misbehave, for some fifteen minutes: nothing leaks."""
    session.install(".")
    session.run("python", "benchmarks/soak.py", *session.posargs)
