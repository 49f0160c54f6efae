"""
Twisted's own tests, run on Twisted's epoll reactor and on the corked one: both must pass the same.

``python tests/interop/reactor_conformance.py`` (``nox -s conformance``; with ``quick`` behind it, the first
kind below alone, in half a minute; with ``poll``, ``select`` or ``asyncio`` it is those of our reactors and
of Twisted's) prints the counts of both, and ends
with 1 if a test passes on Twisted's reactor and not on ours, other than those of :data:`EXPLAINED`. A test
that differs is tried again alone first: some of Twisted's own mind a busy machine.

Tests that build a reactor of their own (``ReactorBuilder``) are told which; the others run on the process's.
With our reactor goes our TLS layer, :mod:`myproject.tlstransport`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

#: Differences that are meant to be, each with its reason.
EXPLAINED: Final = {
    "twisted.test.test_tcp.LoopbackTests.test_tcpNoDelay": (
        "it expects a new connection to have TCP_NODELAY off; ours have it on"
    ),
}

#: Tests that build their reactors.
BUILDERS: Final = [
    f"twisted.internet.test.test_{name}"
    for name in (
        *("tcp", "tls", "unix", "udp", "fdset", "core", "time", "threads", "process"),
        *("endpoints", "socket"),
    )
]

#: Tests that use the process's reactor.
USERS: Final = [
    *(
        f"twisted.test.test_{name}"
        for name in ("tcp", "ssl", "sslverify", "unix", "internet", "udp")
    ),
    *("twisted.protocols.test.test_tls", "twisted.web.test", "twisted.conch.test"),
]

#: By our reactors' modules: the module of Twisted's own, and its class.
STOCK: Final = {
    "myproject.reactor.epollreactor": ("twisted.internet.epollreactor", "EPollReactor"),
    "myproject.reactor.pollreactor": ("twisted.internet.pollreactor", "PollReactor"),
    "myproject.reactor.selectreactor": ("twisted.internet.selectreactor", "SelectReactor"),
    "myproject.reactor.asyncioreactor": (
        "twisted.internet.asyncioreactor",
        "AsyncioSelectorReactor",
    ),
}

#: Seconds for one run.
_LIMIT: Final = 600


def run(reactor: str, output: str, names: list[str]) -> None:
    """
    Run tests in this process, which must be a fresh one, and write down how each went.

    :param reactor: the reactor's module.
    :param output: the file to write.
    :param names: what to run, as for trial.
    """
    from importlib import import_module

    module: Any = import_module(reactor)
    module.install()
    # Some tests know by a reactor's name what it cannot do: ours cannot do what epoll(7) cannot.
    place, name = STOCK.get(reactor) or next(one for one in STOCK.values() if one[0] == reactor)
    stock = getattr(import_module(place), name)
    (beneath,) = [
        one for one in vars(module).values() if isinstance(one, type) and issubclass(one, stock)
    ]
    here: Any = sys.modules[__name__]
    setattr(here, name, type(name, (beneath,), {"__module__": __name__}))

    if reactor in STOCK:
        from twisted.protocols.tls import TLSMemoryBIOFactory

        from myproject.tlstransport import TLSTransport

        TLSMemoryBIOFactory.protocol = TLSTransport

    from twisted.internet.test.reactormixins import ReactorBuilder
    from twisted.trial.reporter import MinimalReporter
    from twisted.trial.runner import ErrorHolder, TestLoader, TrialRunner

    builder: Any = ReactorBuilder
    builder._reactors = [f"{__name__}.{name}"]  # there is no other way to add one
    outcomes: dict[str, str] = {}

    class Recorder(MinimalReporter):
        def addSuccess(self, test: Any) -> None:
            outcomes.setdefault(test.id(), "passed")
            super().addSuccess(test)

        def addSkip(self, test: Any, reason: Any) -> None:
            outcomes.setdefault(test.id(), "skipped")
            super().addSkip(test, reason)

        def addError(self, test: Any, error: Any) -> None:
            if isinstance(test, ErrorHolder):
                # A module that cannot be loaded would fail on both alike.
                raise SystemExit(f"{test.id()} cannot be loaded: {error}")
            outcomes[test.id()] = "failed"
            super().addError(test, error)

        def addFailure(self, test: Any, fail: Any) -> None:
            outcomes[test.id()] = "failed"
            super().addFailure(test, fail)

    loader = TestLoader()
    TrialRunner(Recorder, workingDirectory=f"{output}.trial").run(
        loader.loadByNames(names, recurse=True)
    )
    Path(output).write_text(json.dumps(outcomes))


def outcomes(reactor: str, names: list[str]) -> dict[str, str]:
    """
    Run tests in a process of their own.

    :param reactor: the reactor's module.
    :param names: what to run.
    :return: how each test went, by its id.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "outcomes")
        log = Path(folder, "log")
        with log.open("wb") as stream:
            words = [sys.executable, __file__, reactor, str(output), *names]
            subprocess.run(words, stdout=stream, stderr=stream, timeout=_LIMIT, check=False)
        if not output.exists():
            raise SystemExit(f"{reactor}: the tests did not end:\n{log.read_text()[-4000:]}")
        result: dict[str, str] = json.loads(output.read_text())
        return result


def lost(stock: dict[str, str], ours: dict[str, str]) -> list[str]:
    """
    Find the tests that passed on Twisted's reactor and not on ours.

    :param stock: how they went there.
    :param ours: how they went here.
    """
    return sorted(one for one, how in stock.items() if how == "passed" != ours.get(one))


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def main(ours: str, *, quick: bool) -> int:
    """
    Compare, and print the counts.

    :param ours: the module of our reactor.
    :param quick: whether to leave out the tests that use the process's reactor.
    :return: the status to exit with.
    """
    unexplained = []
    stock, _ = STOCK[ours]
    kinds = [("with reactors of their own", BUILDERS), ("on the process's", USERS)]
    for title, names in kinds[:1] if quick else kinds:
        both = {reactor: outcomes(reactor, names) for reactor in (stock, ours)}
        for reactor, each in both.items():
            counts = {
                how: list(each.values()).count(how) for how in ("passed", "skipped", "failed")
            }
            _say(f"{title}: {reactor}: {len(each)} tests, {counts}")
        different = lost(both[stock], both[ours])
        if different:
            _say(f"trying again: {', '.join(different)}")
            different = lost(outcomes(stock, different), outcomes(ours, different))
        for one in different:
            _say(f"differs: {one}: {EXPLAINED.get(one, 'NOT EXPLAINED')}")
            unexplained += [one] if one not in EXPLAINED else []
    return 1 if unexplained else 0


if __name__ == "__main__":
    words = sys.argv[1:]
    if len(words) > 2:
        run(words[0], words[1], words[2:])
    else:
        kind = next((word for word in words if word != "quick"), "epoll")
        sys.exit(main(f"myproject.reactor.{kind}reactor", quick="quick" in words))
