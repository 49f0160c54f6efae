"""
Reload: on SIGHUP the settings are read again, from the same sources, and what can change does.

A reload is one of three things, and one log line says which:

====================================  ==============================================================
what was read                         what happens
====================================  ==============================================================
has a mistake                         nothing changes; the line is that which a start would print
changes what can change at run time   it is applied: settings that are declared ``reloadable``
changes anything else                 that stays as it is, and is named; the rest is applied
====================================  ==============================================================

Certificates are read again in any case: their files may have changed while their names did not.

The sources are the command line as it was given, the environment, and the configuration file as it
is now. Relative paths mean what they meant at the start, from whatever folder the process runs since.

A factory that provides :class:`~myproject.interfaces.IAsksToReload` may ask for a reload as well, in the
words of its own protocol, and is told in a :class:`Reloaded` what came of it.

A process has one handler for a signal, and may have several services of ours (one that hosts
others, a ``.tac`` file with two): each handler calls the one that was there before it. Python runs
handlers between any two instructions, so all that one does is to ask the reactor for a turn.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.logger import Logger

from myproject.errors import SettingError
from myproject.listening import why

if TYPE_CHECKING:
    from types import FrameType

    from myproject.notify import NotifyService
    from myproject.options import Options

__all__ = ["ReloadService", "Reloaded", "read_again"]


@dataclass(frozen=True)
class Reloaded:
    """
    What came of a reload; true if the settings that were read are in force.

    :param mistake: one line that says why they are not; empty if they are.
    :param changed: the names of the settings that changed.
    :param waiting: the names of those that would have, and need a restart for it.
    :param file: the configuration file that was read, if there is one.
    """

    mistake: str = ""
    changed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    file: Path | None = None

    def __bool__(self) -> bool:
        return not self.mistake


def read_again(options: Options, folder: Path) -> Options:
    """
    Read settings again, from the sources that they came from.

    :param options: resolved options.
    :param folder: the folder in which the process was when they were.
    :return: new ones, resolved.
    :raises SettingError: there is a mistake in what was read.
    :raises OSError: the folder is gone.
    """
    again = type(options)(options.environ)
    again.parent = options.parent
    again.given = {name: list(values) for name, values in options.given.items()}
    with contextlib.chdir(folder) if folder != Path.cwd() else contextlib.nullcontext():
        again.resolve(options.config)
    return again


class ReloadService(Service):
    """
    Reloads on SIGHUP.

    :param options: the settings in force.
    :param apply: called with newly read settings and the names of those reloadable ones that changed;
        returns whether all could be applied, and has logged why if not.
    :param notify: tells the service manager.
    :param reactor: the reactor; by default the global one, looked up when the service starts.
    """

    _log = Logger()

    def __init__(
        self,
        options: Options,
        apply: Callable[[Options, frozenset[str]], bool],
        notify: NotifyService | None = None,
        reactor: Any = None,
    ) -> None:
        #: The settings that were read last without a mistake.
        self.options = options
        self.reactor = reactor
        self._apply = apply
        self._notify = notify
        # twistd changes its folder, with --rundir, after the options were read and this was made.
        self._folder = Path.cwd()
        #: What runs, by the setting's name: of those that cannot change, the value at the start.
        self._running = dict(options)
        #: Reloads that were applied, and those that were refused, since this was made.
        self.applied = 0
        self.refused = 0
        #: When one was applied last, in Unix time; None before the first.
        self.last_applied: float | None = None
        self._previous: Any = None
        self._installed = False

    def startService(self) -> None:
        """Listen for the signal; a thread that is not the main one may not, and goes without."""
        super().startService()
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        # Still installed, it lies below another handler, which would call it twice, or for ever.
        if self._installed:
            return
        with contextlib.suppress(ValueError):
            self._previous = signal.signal(signal.SIGHUP, self._signalled)
            self._installed = True

    def stopService(self) -> None:
        """Put the handler back that was there before."""
        super().stopService()
        # One that came after ours calls ours, which then only passes the signal on.
        if self._installed and signal.getsignal(signal.SIGHUP) == self._signalled:
            # None: a handler that Python did not install, and cannot.
            signal.signal(signal.SIGHUP, self._previous or signal.SIG_DFL)
            self._installed = False

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if callable(self._previous):
            self._previous(number, frame)
        if self.running:
            self.reactor.callFromThread(self._reload_if_running)

    def _reload_if_running(self) -> None:
        # The parent stops before its children do, and connections may take their time between.
        if self.running and (self.parent is None or self.parent.running):
            self.reload()

    def reload(self) -> Reloaded:
        """
        Read the settings again, and apply what can be applied.

        :return: what came of it, which is logged as well.
        """
        if self._notify is not None:
            self._notify.reloading()
        try:
            done = self._reload()
        except Exception:
            # A bug, or a subclass's: what runs is to run on.
            self._log.failure("{name}: the reload failed", name=self.options.tapname)
            done = self._refused("it failed; the log says how")
        finally:
            if self._notify is not None:
                self._notify.ready()
        if done:
            self.applied += 1
            self.last_applied = time.time()
        else:
            self.refused += 1
        return done

    def _refused(self, mistake: str) -> Reloaded:
        return Reloaded(mistake, file=self.options.config)

    def _reload(self) -> Reloaded:
        try:
            again = read_again(self.options, self._folder)
        except SettingError as mistake:
            return self._keep(str(mistake))
        except OSError as failure:
            return self._keep(f"{self._folder}: {why(failure)}; give it back")
        fixed: list[str] = []
        for key, setting in again.settings.items():
            value, waiting = setting.merge(self._running[key], again[key])
            fixed += waiting
            if setting.reloadable:
                again[key] = value
        live = frozenset(
            key
            for key, setting in again.settings.items()
            if setting.reloadable and again[key] != self._running[key]
        )
        if not self._apply(again, live):
            return self._refused("what was read cannot be used; the log says why")
        self.options = again
        self._running.update({key: again[key] for key in live})
        done = Reloaded("", tuple(sorted(live)), tuple(sorted(fixed)), again.config)
        self._tell(done)
        return done

    def _tell(self, done: Reloaded) -> None:
        """Say what has changed, and what has not."""
        name = self.options.tapname
        changed = ", ".join(done.changed)
        self._log.info(
            "{name}: reloaded; {changed}",
            name=name,
            changed=f"changed: {changed}" if changed else "no setting has changed",
        )
        if done.waiting:
            self._log.warn(
                "{name}: not changed, as that needs a restart: {fixed}",
                name=name,
                fixed=", ".join(done.waiting),
            )

    def _keep(self, mistake: str) -> Reloaded:
        self._log.error(
            "{name}: the settings that were read before remain in force: {mistake}",
            name=self.options.tapname,
            mistake=mistake,
        )
        return self._refused(mistake)
