"""
What Twisted sees, told by a fresh interpreter: the only part of the doctor that runs others' code.

The doctor starts this file as a program (``python -P -B probe.py SECONDS``), with the ``sys.path`` that
``twistd`` has, and reads one line of JSON from it. That process imports Twisted and no dropin. For each
dropin and each cache it forks a process which loads that one thing, under a time limit and with its
output thrown away: one that fails, hangs, ends its process or installs the reactor spoils nothing else.

It imports nothing of this project, as ``sys.path`` may not lead there. Nothing is written, no
bytecode either.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import pickle
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["survey"]

#: What a reactor's installation leaves behind, whoever did it.
_REACTOR = "twisted.internet.reactor"

#: Frames of these say nothing about who imported whom.
_MACHINERY = ("<frozen importlib", __file__)

_Told = dict[str, Any]


def survey(seconds: float) -> _Told:
    """
    Tell all: the path, the folders that Twisted searches, each dropin and each cache in them.

    :param seconds: how long one dropin or cache may take to load.
    """
    told: _Told = {"path": sys.path, "twisted": None, "failure": None}
    try:
        # What twistd has imported when it comes to its plugins, and what examining one takes.
        import twisted.plugin
        import twisted.scripts.twistd
        from twisted.internet import main
        from twisted.python.modules import getModule

        plugins = import_module("twisted.plugins")
        found = [(one.name, one.filePath.path) for one in getModule(plugins.__name__).iterModules()]
    except BaseException as error:
        # Whatever stops Twisted here stops twistd, and a folder in Twisted's place may hold anything.
        return {**told, "failure": _described(error, "")}
    told["twisted"] = {"version": twisted.__version__, "folder": str(Path(twisted.__file__).parent)}
    told["folders"] = list(plugins.__path__)
    told["dropins"] = [
        {
            "module": name,
            "file": file,
            **_apart(functools.partial(examine, name, file, main), seconds),
        }
        for name, file in found
    ]
    caches = dict.fromkeys(str(Path(file).with_name("dropin.cache")) for _, file in found)
    told["caches"] = {
        path: _apart(functools.partial(unpickle, path), seconds)
        for path in caches
        if os.path.lexists(path)
    }
    return told


def _apart(look: Callable[[], _Told], seconds: float) -> _Told:
    """Look at something in a process of its own, and tell what came of it."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        _tell(look, writes)
    os.close(writes)
    answer, end = b"", time.monotonic() + seconds
    with os.fdopen(reads, "rb", buffering=0) as stream:
        while not answer.endswith(b"\n"):
            left = max(0.0, end - time.monotonic())
            ready = select.select([stream], [], [], left)[0]
            data = stream.read(65536) if ready else None
            if not data:
                break
            answer += data
    # A process that answered may not come to an end, and one that did may have left others behind.
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue
    _, status = os.waitpid(child, 0)
    if answer.endswith(b"\n"):
        told: _Told = json.loads(answer)
        return told
    if time.monotonic() >= end:
        return {"state": "hung", "seconds": seconds}
    return {"state": "died", "status": os.waitstatus_to_exitcode(status)}


def _tell(look: Callable[[], _Told], writes: int) -> None:  # pragma: no cover - ends its process
    """Be the process that looks: its own group, nobody's input or output, and an end without ado."""
    try:
        os.setpgid(0, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(nothing, standard)
        answer = json.dumps(look()).encode() + b"\n"
        with os.fdopen(writes, "wb") as stream:
            stream.write(answer)
    finally:
        os._exit(os.EX_SOFTWARE)


def examine(name: str, file: str, main: Any) -> _Told:
    """
    Load one dropin, and tell what it exports, imports and installs.

    :param name: its full name.
    :param file: its file, to know its own frames by.
    :param main: the module whose ``installReactor`` every reactor's ``install`` calls.
    """
    before = set(sys.modules)
    chain: list[_Told] = []
    install = main.installReactor

    def watched(reactor: object) -> None:
        chain.extend(importers(file))
        install(reactor)

    main.installReactor = watched
    told: _Told
    try:
        module = import_module(name)
        told = {"state": "loaded", **_exports(vars(module), module.__name__)}
    except BaseException as error:
        # As Twisted does: a dropin may raise SystemExit or KeyboardInterrupt, and is not listed.
        told = {"state": "failed", "error": _described(error, file)}
    finally:
        main.installReactor = install
    new = set(sys.modules) - before
    tops = {one.partition(".")[0] for one in new}
    told["imports"] = sorted(tops - set(sys.stdlib_module_names) - {"twisted"})
    told["reactor"] = (
        chain if chain or _REACTOR not in new else [{"module": name, "file": file, "line": 1}]
    )
    return told


def importers(file: str) -> list[_Told]:
    """
    Tell who is importing or calling whom now, from a file's code on: one step for each module.

    :param file: where to begin.
    """
    steps: list[_Told] = []
    for frame, line in reversed(list(traceback.walk_stack(inspect.currentframe()))):
        code = frame.f_code.co_filename
        if code.startswith(_MACHINERY) or not (steps or code == file):
            continue
        step = {"module": frame.f_globals.get("__name__"), "file": code, "line": line}
        if steps and steps[-1]["file"] == code:
            steps[-1] = step
        else:
            steps.append(step)
    return steps


def _exports(names: Mapping[str, object], module: str) -> _Told:
    """What Twisted would take from a dropin, and what it would not but was perhaps meant to."""
    from twisted.application.service import IServiceMaker
    from twisted.plugin import IPlugin
    from zope.interface import providedBy

    exports: list[_Told] = []
    missed: list[list[str]] = []
    for name, value in names.items():
        plugin = IPlugin(value, None)
        if plugin is not None:
            provides = [f"{one.__module__}.{one.__name__}" for one in providedBy(plugin)]
            maker: Any = IServiceMaker(plugin, None)
            export = {"name": name, "provides": provides, "maker": maker is not None}
            exports.append(export if maker is None else {**export, **_maker(maker)})
        elif isinstance(value, type):
            if value.__module__ == module and IServiceMaker.implementedBy(value):
                missed.append([name, "class"])
        elif IServiceMaker.providedBy(value):
            missed.append([name, "IPlugin"])
    missed += [
        [one["name"], "IServiceMaker"]
        for one in exports
        if not one["maker"] and _looks_like_a_maker(names[one["name"]])
    ]
    return {"exports": exports, "missed": missed}


def _looks_like_a_maker(value: object) -> bool:
    return all(inspect.getattr_static(value, one, None) for one in ("tapname", "makeService"))


def _maker(maker: Any) -> _Told:
    """What ``twistd --help`` asks of a maker; its options stay unread, as they may import anything."""
    told: _Told = {"tapname": None, "description": "", "lacks": []}
    for name in ("tapname", "description"):
        try:
            value = getattr(maker, name)
        except Exception as error:
            # A property's own code may raise anything.
            told["lacks"].append(f"{name} ({_last_line(error)})")
            continue
        if isinstance(value, str):
            told[name] = value
        else:
            told["lacks"].append(f"{name} (it is {value!r}, not text)")
    return told


def unpickle(path: str) -> _Told:
    """
    Read a cache as Twisted does, and tell what it would have Twisted believe.

    :param path: the cache's file.
    """
    try:
        with Path(path).open("rb") as stream:
            # Twisted loads it at every command of everybody's: no more is trusted here than there.
            cache = pickle.load(stream)  # noqa: S301
        dropins = {
            key: {
                plugin.name: sorted(f"{one.__module__}.{one.__name__}" for one in plugin.provided)
                for plugin in dropin.plugins
            }
            for key, dropin in cache.items()
        }
    except BaseException as error:
        # A pickle runs code.
        return {"state": "failed", "error": _described(error, "")}
    return {"state": "loaded", "dropins": dropins}


def _described(error: BaseException, file: str) -> _Told:
    """An exception, its traceback from a file's own frames on."""
    told = traceback.TracebackException.from_exception(error)
    _trim(told, file)
    return {"summary": _last_line(error), "traceback": "".join(told.format()).splitlines()}


def _trim(told: traceback.TracebackException, file: str) -> None:
    """Leave of a traceback, and of those it names as causes, what is below the dropin."""
    frames = list(told.stack)
    first = next((i for i, frame in enumerate(frames) if frame.filename == file), 0)
    kept = [frame for frame in frames[first:] if not frame.filename.startswith(_MACHINERY)]
    told.stack = traceback.StackSummary.from_list(kept)
    for other in (told.__cause__, told.__context__):
        if other is not None:
            _trim(other, file)


def _last_line(error: BaseException) -> str:
    text = str(traceback.TracebackException(type(error), error, None)).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _main() -> None:
    sys.stdout.write(json.dumps(survey(float(sys.argv[1]))) + "\n")


if __name__ == "__main__":
    _main()
