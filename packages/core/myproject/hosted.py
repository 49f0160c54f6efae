"""
Hosted services: any number of installed ``twistd`` plugins, of anyone's, run in one process.

A TOML file lists them, a table for each, under a name that the operator chooses::

    [services.site]
    plugin = "web"
    arguments = ["--listen", "tcp:8080", "--path", "/srv/www"]

Everything that can be known to be wrong is refused while options are validated (:func:`read_plans`);
the services are made when the core asks for them and started when it starts
(:class:`HostedServices`). Each is made, started and stopped in a log context of its name.

The ports that a service opens as it starts are found by comparing what the reactor reads before
and after. They, and the connections that they accept, get the name in front of their own log
prefix: once for each connection, nothing for each chunk. What a service does later, in a timer or on an
outgoing connection, is logged as it always was; only a web site's access log has the name even then.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from twisted.application.service import IServiceCollection, IServiceMaker, MultiService
from twisted.internet import defer
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorFDSet
from twisted.logger import ILogObserver, Logger, LoggingFile, globalLogPublisher
from twisted.plugin import getPlugins
from twisted.python import context, usage
from twisted.python.log import ILogContext, callWithContext, logfile
from zope.interface import implementer

from myproject.errors import CannotStart, SettingError
from myproject.listening import why
from myproject.options import COMMAND_LINE, Options, nearest

if TYPE_CHECKING:
    from pathlib import Path

    from twisted.logger import LogEvent

__all__ = ["HostedService", "HostedServices", "Plan", "read_plans"]

T = TypeVar("T")

#: A service's name stands in the log's ``[system]``, where a space or a bracket would break it.
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")

#: The subcommand that runs the file; running itself, it would read the file for ever.
_ITSELF: Final = "myproject"


@dataclass(frozen=True)
class Plan:
    """
    A service that can be made: its plugin is installed, and took its arguments.

    :param name: the operator's name for it.
    :param file: the file that lists it.
    :param maker: the plugin.
    :param options: an instance of the plugin's options, with the arguments parsed.
    """

    name: str
    file: Path
    maker: IServiceMaker
    options: usage.Options

    def refuse(self, doing: str, error: BaseException) -> NoReturn:
        """
        Give up.

        :param doing: what failed, ``be made`` for instance.
        :param error: what was raised.
        :raises CannotStart: always.
        """
        remedy = (
            f"; correct its table in {self.file}, or give its plugin {self.maker.tapname!r}"
            " what it needs"
        )
        if isinstance(error, SystemExit):
            words = " ".join(str(error).split()) or "it gave up"
            # One of this project's own says what to do, though not where.
            remedy = f", in {self.file}" if isinstance(error, CannotStart) else remedy
        elif isinstance(error, CannotListenError):
            words = f"cannot listen on {error.interface or 'any'}:{error.port}: {why(error)}"
        else:
            words = why(error)
        # Name and cause come first: of a daemon's last words twistd shows a hundred bytes.
        raise CannotStart(f"service {self.name!r} cannot {doing}: {words}{remedy}") from error


def read_plans(
    file: Path, *, source: str = COMMAND_LINE, parent: usage.Options | None = None
) -> list[Plan]:
    """
    Read the file, find the plugins, and have each parse its arguments. What they print is not shown.

    :param file: the TOML file.
    :param source: where its name came from, for errors.
    :param parent: ``twistd``'s own options, which some plugins look at.
    :return: the services in the file's order, in which they start.
    :raises SettingError: anything is wrong; its one line names the file, the service, and why.
    """
    reader = _Reader(file, source, parent)
    return [reader.plan(name, table) for name, table in reader.tables().items()]


class _Reader:
    """Reads one file, for :func:`read_plans`, whose arguments it takes."""

    def __init__(self, file: Path, source: str, parent: usage.Options | None) -> None:
        self._file = file
        self._source = source
        self._parent = parent
        self._makers: dict[str, Any] = {}

    def _refuse(self, problem: str, remedy: str) -> NoReturn:
        raise SettingError("--services", self._source, f"{self._file}: {problem}", remedy)

    def tables(self) -> Mapping[str, object]:
        """The file's services by name."""
        import tomllib

        try:
            with self._file.open("rb") as stream:
                document = tomllib.load(stream)
        except OSError as error:
            self._refuse(why(error), "name a file that can be read")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            self._refuse(f"it is not TOML: {' '.join(str(error).split())}", "mend that line")
        self._known(document, ["services"], "the file")
        tables = document.get("services", {})
        if not isinstance(tables, dict) or not tables:
            self._refuse("it lists no service", "write a table [services.NAME] for each")
        return tables

    def _known(self, table: Mapping[str, object], keys: Collection[str], where: str) -> None:
        for key in table:
            if key not in keys:
                self._refuse(
                    f"{where} has an unknown key {key!r}{nearest(key, keys)}",
                    "correct or remove it",
                )

    def plan(self, name: str, table: object) -> Plan:
        """One service of the file."""
        where = f"service {name!r}"
        if not _NAME.fullmatch(name):
            self._refuse(f"{where} has no usable name", "use letters, digits, '.', '_' and '-'")
        if not isinstance(table, dict):
            self._refuse(f"{where} is not a table", f"write [services.{name}]")
        self._known(table, ["plugin", "arguments"], where)
        plugin = table.get("plugin")
        if not isinstance(plugin, str):
            self._refuse(f"{where} names no plugin", 'write plugin = "web", for instance')
        arguments = table.get("arguments", [])
        if not isinstance(arguments, list) or not all(isinstance(one, str) for one in arguments):
            self._refuse(f"{where}: arguments is not an array of strings", "quote each argument")
        if plugin == _ITSELF:
            self._refuse(f"{where} would run {_ITSELF} inside itself", "name another plugin")
        maker = self._maker(plugin, where)
        return Plan(name, self._file, maker, self._parse(maker, arguments, where))

    def _maker(self, plugin: str, where: str) -> Any:
        if not self._makers:
            self._makers = {maker.tapname: maker for maker in getPlugins(IServiceMaker)}
        if plugin not in self._makers:
            self._refuse(
                f"{where}: no plugin named {plugin!r} is installed{nearest(plugin, self._makers)}",
                "install it or correct the name; twistd --help lists those installed",
            )
        return self._makers[plugin]

    def _parse(self, maker: Any, arguments: Sequence[str], where: str) -> usage.Options:
        said = io.StringIO()
        remedy = f"twistd {maker.tapname} --help lists what it takes"
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
                options: usage.Options = maker.options()
                options.parent = self._parent
                options.parseOptions(arguments)
        except usage.UsageError as error:
            self._refuse(f"{where}: {' '.join(str(error).split())}", remedy)
        except SystemExit as error:
            # This project's own subcommands end like this, after one line on standard error.
            lines = said.getvalue().strip().splitlines() or ["its arguments end the process"]
            words = error.code if isinstance(error.code, str) else lines[-1]
            self._refuse(f"{where}: {' '.join(words.split())}", remedy)
        except Exception as error:
            # A plugin may do anything with its arguments, and be broken in any way.
            self._refuse(f"{where}: {why(error)}", remedy)
        if isinstance(options, Options) and options.workers > 1:
            self._refuse(f"{where}: what is hosted runs in this process", "leave --workers out")
        return options


class HostedService(MultiService):
    """
    One hosted service, made, started and stopped in a log context of its name.

    :param plan: what to make.
    :param reactor: the reactor, to find opened ports; the global one by default.
    :raises CannotStart: the plugin failed to make it.
    """

    def __init__(self, plan: Plan, reactor: Any = None) -> None:
        super().__init__()
        self.setName(plan.name)
        self.plan = plan
        self.reactor = reactor
        self._begun = False
        try:
            made = self._in_context(plan.maker.makeService, plan.options)
            made.setServiceParent(self)
        except (Exception, SystemExit) as error:
            plan.refuse("be made", error)

    def _in_context(self, call: Callable[..., T], *arguments: Any) -> T:
        made: T = callWithContext({"system": self.plan.name}, call, *arguments)
        return made

    def privilegedStartService(self) -> None:
        """
        Do what needs the rights that the process started with, binding ports for instance.

        :raises CannotStart: it failed; what it had begun is undone.
        """
        self._begin(super().privilegedStartService)

    def startService(self) -> None:
        """
        Start.

        :raises CannotStart: it failed; what it had begun is undone.
        """
        self._begin(super().startService)

    def _begin(self, start: Callable[[], None]) -> None:
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        # Who has such a service has imported it; for the others it would be a thirtieth of the start.
        internet = sys.modules.get("twisted.application.internet")
        for leaf in _leaves(self):
            # Left alone, such a service logs that it has no port, and runs on without one.
            if internet is not None and isinstance(leaf, internet.StreamServerEndpointService):
                leaf._raiseSynchronously = True  # noqa: SLF001 (as strports.service does)
        before = set(map(id, self._readers()))
        self._begun = True
        try:
            self._in_context(start)
        except (Exception, SystemExit) as error:
            self._undo()
            self.plan.refuse("start", error)
        for reader in self._readers():
            if id(reader) not in before and IListeningPort.providedBy(reader):
                _label(reader, self.plan.name)

    def _readers(self) -> Sequence[Any]:
        return self.reactor.getReaders() if IReactorFDSet.providedBy(self.reactor) else ()

    def _undo(self) -> None:
        """Stop a service that has half begun: each part by itself, as some will fail to stop."""
        self._begun = False
        self.running = 0
        for leaf in _leaves(self):
            stopping = self._in_context(defer.maybeDeferred, leaf.stopService)
            stopping.addErrback(lambda _: None)

    def stopService(self) -> defer.Deferred[Any]:
        """
        Stop, if it has begun.

        :return: fires when it has stopped.
        """
        if not self._begun:
            return defer.succeed(None)
        self._begun = False
        return self._in_context(super().stopService)


class HostedServices(MultiService):
    """
    All hosted services. If one fails to start, those that started before it are stopped.

    :param plans: what to run, in the order to start.
    :param reactor: the reactor; the global one by default, looked up when they start.
    :raises CannotStart: one of them cannot be made.
    """

    def __init__(self, plans: Iterable[Plan], reactor: Any = None) -> None:
        super().__init__()
        plans = list(plans)
        self._naming = _Naming(plan.name for plan in plans)
        try:
            for plan in plans:
                HostedService(plan, reactor).setServiceParent(self)
        except BaseException:
            self._naming.end()
            raise

    def privilegedStartService(self) -> None:
        """
        Do what needs the rights that the process started with.

        :raises CannotStart: one of the services failed.
        """
        self._begin(super().privilegedStartService)

    def startService(self) -> None:
        """
        Start all services.

        :raises CannotStart: one of them failed.
        """
        self._begin(super().startService)

    def _begin(self, start: Callable[[], None]) -> None:
        try:
            start()
        except BaseException:
            self.stopService()
            raise

    def stopService(self) -> defer.Deferred[Any]:
        """
        Stop all services that have begun.

        :return: fires when they have stopped.
        """
        stopped: defer.Deferred[Any] = super().stopService()
        return stopped.addBoth(self._stopped)

    def _stopped(self, result: Any) -> Any:
        self._naming.end()
        return result


@implementer(ILogObserver)
class _Naming:
    """
    A log observer that puts a hosted service's name on its events.

    Events of ``twisted.python.log`` carry their context's system; those of ``twisted.logger`` do not,
    so this adds it where the context is a hosted service's. It must stand in front of the
    observers that write, and does, being made before ``twistd`` begins to log.

    :param names: the services' names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._observing = True
        globalLogPublisher.addObserver(self)

    def __call__(self, event: LogEvent) -> None:
        if "log_system" not in event:
            system = str(context.get(ILogContext)["system"])
            for known in (system, event.get("log_namespace", "")):
                if known.partition("/")[0] in self._names:
                    event["log_system"] = known
                    return

    def end(self) -> None:
        """Observe no more."""
        if self._observing:
            self._observing = False
            globalLogPublisher.removeObserver(self)


def _leaves(service: Any) -> list[Any]:
    """The services in a tree of collections that are no collections themselves, last to start first."""
    if not IServiceCollection.providedBy(service):
        return [service]
    return [leaf for child in reversed(list(service)) for leaf in _leaves(child)]


def _label(port: Any, name: str) -> None:
    """Put a name in front of the log prefix of a port, and of the connections that it will accept."""
    prefix = f"{name}/{port.logPrefix()}"
    port.logPrefix = lambda: prefix
    # Called in a later turn than the service's stopService, and logs that the port has closed.
    port.connectionLost = partial(callWithContext, {"system": name}, port.connectionLost)
    kind = getattr(port, "transport", None)
    if isinstance(kind, type):

        def accept(*arguments: Any) -> Any:
            transport: Any = kind(*arguments)
            transport.logstr = f"{name}/{transport.logstr}"
            return transport

        port.transport = accept
    factory: Any = getattr(port, "factory", None)
    while hasattr(factory, "wrappedFactory"):
        factory = factory.wrappedFactory
    # A web site writes its access log from timers as well, where there is no context.
    if getattr(factory, "logFile", None) is logfile:
        factory.logFile = LoggingFile(logger=Logger(namespace=name))
