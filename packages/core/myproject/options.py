"""
The common base of every subcommand's options: where settings come from, and how they are refused.

Each setting takes its value from the first of these that has one: the command line, the environment,
the subcommand's table in the TOML file that ``--config`` names, its default. Whatever the source,
the value is coerced and validated by the same code, and all of it before a service exists: there a
mistake costs the operator one line, while in ``makeService`` Twisted would print a traceback.
"""

from __future__ import annotations

import difflib
import os
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from twisted.python import usage

from myproject.errors import SettingError
from myproject.settings import (
    FieldError,
    Setting,
    TableSetting,
    choice,
    flag,
    integer,
    networks,
    path,
    places,
    ports,
    reloadable,
    seconds,
    tls_ports,
    toml_text,
)

__all__ = ["COMMAND_LINE", "DEFAULT", "Options", "nearest"]

COMMAND_LINE = "the command line"
DEFAULT = "its default"

#: Of the settings of TLS, those beside the ports that say that there is to be TLS.
_TLS = ("certificate", "private-key", "self-signed", "client-ca")


def _option_methods(setting: Setting[Any], tapname: str, default: str) -> Iterable[tuple[str, Any]]:
    """The methods by which ``usage.Options`` takes a setting from the command line."""
    if isinstance(setting, TableSetting):
        return
    name = setting.name

    def give(self: Options, value: str) -> None:
        self.given.setdefault(name, []).append(value)

    def turn_on(self: Options) -> None:
        give(self, "true")

    def turn_off(self: Options) -> None:
        give(self, "false")

    method = turn_on if setting.is_flag else give
    said = f"default: {default}, " if default else ""
    method.__doc__ = f"{setting.help} [{said}env: {setting.environment(tapname)}]"
    yield f"opt_{setting.attribute}", method
    if setting.short:
        yield f"opt_{setting.short}", method
    if setting.is_flag:
        turn_off.__doc__ = f"Turn --{name} off, whatever other sources say."
        yield f"opt_no_{setting.attribute}", turn_off


class _Declared(usage.Options):
    """Collects the settings that a subclass declares."""

    tapname: ClassVar[str]
    settings: ClassVar[Mapping[str, Setting[Any]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        settings: dict[str, Setting[Any]] = {}
        for base in reversed(cls.__mro__):
            for attribute in vars(base).values():
                if isinstance(attribute, Setting):
                    settings[attribute.name] = attribute
        cls.settings = settings
        for setting in settings.values():
            try:
                default = setting.shown_default
            except ValueError as error:
                where = f"{cls.__module__}.{cls.__qualname__}.{setting.attribute}"
                raise ValueError(f"the default of {where} is not allowed: {error}") from None
            for name, method in _option_methods(setting, cls.tapname, default):
                setattr(cls, name, method)


class Options(_Declared):
    """
    Options of a subcommand: a table of settings, each declared as a class attribute.

    A subclass states ``tapname``, adds settings, and may redeclare ``port`` with its own default.
    An instance holds the values: ``options.port``, or ``options["port"]``. ``settings`` has every
    setting by its name, those of the base classes first.

    :param environ: the environment; the process's own by default.
    """

    #: The subcommand's name: the prefix of its environment variables, and its table in the file.
    tapname: ClassVar[str] = "myproject"

    #: Why the subcommand needs one process, a clause (``its users are in memory``): ``--workers`` is
    #: refused with it. Empty if several can do its work, each for the connections that it has.
    one_process: ClassVar[str] = ""

    port = ports(1235)
    config = path(help="Read settings from this TOML file.", in_file=False)
    # 8: `docker stop` kills after 10 s, and what stops after the connections needs a moment too.
    drain_timeout = reloadable(
        seconds(
            8,
            help="Seconds that open connections have to end by themselves when the server stops; then they"
            " are aborted.",
        )
    )
    # Why these defaults: myproject.limits. What depends on who the clients are is off.
    max_connections = reloadable(
        integer(
            0,
            help="Connections that may be open; 0 for as many as the process's file descriptors permit,"
            " less 32 that are kept for other use.",
        )
    )
    max_connections_per_host = reloadable(
        integer(
            0,
            help="Connections that one host (an IPv4 address, an IPv6 /64) may have open; 0 for any number.",
        )
    )
    connection_rate = reloadable(
        integer(0, help="Connections that one host may open in a minute; 0 for any number.")
    )
    allow = reloadable(networks(help="Let in this network only; may be repeated."))
    deny = reloadable(
        networks(help="Keep this network out, even if --allow has it; may be repeated.")
    )
    idle_timeout = reloadable(
        seconds(
            0,
            help="Seconds without a byte in either direction after which a connection is closed; 0 for"
            " never.",
        )
    )
    max_buffered = reloadable(
        integer(
            64 * 2**20,
            metavar="BYTES",
            help="Bytes that may wait to be sent to one peer before its connection is aborted; 0 for any"
            " number.",
        )
    )

    # What this means: myproject.proxy.
    proxy_from = reloadable(
        places(
            help="Connections from this network (unix: on Unix sockets) begin with a PROXY header, version"
            " 1 or 2, that says whose they are; may be repeated."
        )
    )

    # What these mean together, and why these defaults: myproject.tls, myproject.certificates.
    tls_port = tls_ports(
        help="Where to listen for TLS: as for --port, and beside it; may be repeated."
    )
    certificate = reloadable(
        path(
            help="The certificate for TLS, followed by those of its authorities; or a folder of them, from"
            " which the name that a client asks for chooses. A change of the file is noticed within 30"
            " seconds."
        )
    )
    private_key = reloadable(
        path(help="The certificate's private key; without it, the certificate's file has both.")
    )
    self_signed = reloadable(
        flag(
            help="For trying out: make a throw-away certificate at each start, and log its fingerprint."
        )
    )
    tls_minimum = reloadable(
        choice("1.2", ["1.2", "1.3"], help="The oldest version of TLS that is accepted.")
    )
    client_certificates = reloadable(
        choice(
            "none",
            ["none", "request", "require"],
            help="Whether clients are asked for a certificate. Without --client-ca any will do, of which"
            " only the fingerprint means something.",
        )
    )
    client_ca = reloadable(
        path(help="The authorities, one of which must have signed a client's certificate.")
    )

    # What is served there, and why a number means the loopback: myproject.health.
    metrics = ports(
        None,
        help="Where to serve /metrics for Prometheus, /healthz and /readyz: a port number (of 127.0.0.1"
        " alone), or an endpoint description; may be repeated.",
        short="",
    )

    # How they share: myproject.workers.
    workers = integer(
        1,
        minimum=1,
        maximum=1024,
        help="Processes that share the ports and their connections: as many as there are cores to use."
        " --max-connections is divided among them; limits per host are each worker's own.",
    )

    log_level = reloadable(
        choice(
            "info",
            ["debug", "info", "warn", "error", "critical"],
            help="The least important events that are logged.",
        )
    )
    access_log = reloadable(
        flag(help="Log when a connection opens, and when it closes and how it went.")
    )

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.environ = os.environ if environ is None else environ
        #: What the command line gave, by the setting's name.
        self.given: dict[str, list[str]] = {}
        #: Where each setting's value came from, by its name, once resolved.
        self.sources: dict[str, str] = {}
        self._check_only = False
        self._print_only = False

    def opt_version(self) -> NoReturn:
        """Print the versions of myproject, Twisted and Python, and exit."""
        from myproject import __version__
        from twisted import __version__ as twisted_version

        python = ".".join(map(str, sys.version_info[:3]))
        print(f"myproject {__version__}, Twisted {twisted_version}, Python {python}")
        sys.exit(0)

    def opt_check_config(self) -> None:
        """Validate all settings, say whether they are good, and exit."""
        self._check_only = True

    def opt_print_config(self) -> None:
        """Print all settings in force as TOML, each with its source, and exit."""
        self._print_only = True

    def getUsage(self, width: int | None = None) -> str:
        """
        Write the help; the tables that only the file can have are named below the options.

        :param width: columns of the terminal.
        """
        shown = super().getUsage(width)
        tables = [
            setting.heading(self.tapname)
            for _, setting in sorted(self.settings.items())
            if isinstance(setting, TableSetting)
        ]
        if not tables:
            return shown
        said = (
            f"In the file only, see the reference or python -m myproject man {self.tapname}:"
            f" {', '.join(tables)}."
        )
        lines = textwrap.wrap(said, width or 80, break_on_hyphens=False, break_long_words=False)
        return "\n".join([shown.rstrip("\n"), *lines, ""])

    def parseArgs(self, *arguments: str) -> None:
        """Refuse words that are not options: a subcommand takes none unless it overrides this."""
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}; give options only")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line, then every other source.

        A mistake ends the process here: one line on standard error and status 64 (``EX_USAGE`` of
        sysexits.h). Twisted would print the whole help on standard output above that line.

        :param options: the words; those of the process by default.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as mistake:
            print(f"{self.tapname}: {self._explain(mistake)}", file=sys.stderr)
            sys.exit(os.EX_USAGE)

    def _explain(self, mistake: usage.UsageError) -> str:
        if isinstance(mistake, SettingError):
            return str(mistake)
        words = " ".join(str(mistake).split())
        # getopt's own words, and the only place that has the wrong option's name.
        start, _, rest = words.partition(" ")
        unknown = words.split()[1] if start == "option" and rest.endswith("not recognized") else ""
        if unknown.startswith("--"):
            known = [option.rstrip("=") for option in self.longOpt]
            return f"{words}{nearest(unknown[2:], known, '--')}; --help lists the options"
        if unknown:
            return f"{words}; give twistd's own options before {self.tapname}"
        return words

    def postOptions(self) -> None:
        """Resolve and validate all settings; then do what ``--check-config``, ``--print-config`` ask."""
        if not (self._print_only or self._check_only):
            # Before anything that the settings name is loaded, which may install another.
            from myproject.reactor.choice import choose

            choose(self.environ)
        self.resolve()
        if self._print_only:
            print(self.as_toml(), end="")
        elif self._check_only:
            print(f"{self.tapname}: the configuration is valid")
        if self._print_only or self._check_only:
            sys.exit(0)

    def resolve(self, config: Path | None = None) -> None:
        """
        Give every setting its value, then :meth:`validate` them together.

        For those who have no command line to parse; ``postOptions`` calls it for those who do.

        :param config: a configuration file to read if no source names one.
        :raises SettingError: a value is not allowed, or the file has a mistake.
        """
        table: Mapping[str, object] = {}
        self._set(self.settings["config"], self._candidates("config", table, DEFAULT))
        file = self.config or config
        if file is not None:
            self["config"] = file
            table = self._read(file)
        where = f"table [{self.tapname}] of {file}"
        for name, setting in self.settings.items():
            if name != "config":
                self._set(setting, self._candidates(name, table, where))
        self._check_tls()
        if self.workers > 1:
            self._check_workers()
        self.validate()

    def _check_workers(self) -> None:
        if self.one_process:
            self.refuse(
                "workers",
                f"{self.tapname} needs one process: {self.one_process}",
                "leave the setting out",
            )
        if self.self_signed:
            self.refuse(
                "self-signed",
                "each worker would make a certificate of its own",
                "name one with --certificate, or leave --workers out",
            )
        if 0 < self.max_connections < self.workers:
            self.refuse(
                "max-connections",
                f"{self.max_connections} cannot be divided among {self.workers} workers",
                "give each at least one, or 0 for any number",
            )

    @property
    def listens_for_tls(self) -> bool:
        """Whether there is a port for TLS."""
        return any(self[name] for name, setting in self.settings.items() if setting.for_tls)

    def _check_tls(self) -> None:
        # Most have no use for TLS, and are spared the import.
        if self.listens_for_tls or any(self[name] for name in _TLS):
            from myproject.tls import check

            check(self)

    def validate(self) -> None:
        """
        Check what one setting alone cannot show; for subclasses to override.

        :raises SettingError: see :meth:`refuse`.
        """

    def refuse(self, name: str, problem: str, remedy: str) -> NoReturn:
        """
        Refuse a setting, saying where its value came from.

        :param name: the setting's name, as in the file; of a table, its field's path may follow.
        :param problem: what is wrong, a clause.
        :param remedy: what to do, a clause that begins with a verb.
        :raises SettingError: always.
        """
        table = name.partition(".")[0].partition("[")[0]
        in_table = isinstance(self.settings[table], TableSetting)
        shown = f"{self.tapname}.{name}" if in_table else f"--{name}"
        raise SettingError(shown, self.sources[table], problem, remedy)

    def _candidates(self, name: str, table: Mapping[str, object], where: str) -> tuple[object, str]:
        """The first source's value, still raw, and the source's name."""
        setting = self.settings[name]
        variable = setting.environment(self.tapname)
        if isinstance(setting, TableSetting):
            return (table[name], where) if name in table else (setting.default, DEFAULT)
        if name in self.given:
            given = self.given[name]
            return (given if setting.many else given[-1]), COMMAND_LINE
        if variable in self.environ:
            source = f"{variable} in the environment"
            try:
                return setting.split(self.environ[variable]), source
            except ValueError as error:
                raise SettingError(
                    f"--{name}", source, str(error).lower(), "quote its words as for a shell"
                ) from None
        if name in table:
            return table[name], where
        return setting.default, DEFAULT

    def _set(self, setting: Setting[Any], candidate: tuple[object, str]) -> None:
        raw, source = candidate
        self.sources[setting.name] = source
        if raw is None and source == DEFAULT:
            self[setting.name] = None
            return
        try:
            self[setting.name] = setting.coerce(raw)
        except FieldError as wrong:
            name = f"{self.tapname}.{setting.name}{wrong.path}"
            raise SettingError(name, source, wrong.problem, wrong.remedy) from None
        except ValueError as error:
            self.refuse(setting.name, str(error), f"give {setting.kind.allowed}")

    def _read(self, file: Path) -> Mapping[str, object]:
        """The subcommand's table in the file, its keys known to be settings."""
        # Most start without a file.
        import tomllib

        try:
            with file.open("rb") as stream:
                document = tomllib.load(stream)
        except OSError as error:
            words = (error.strerror or type(error).__name__).lower()
            self.refuse("config", f"{file}: {words}", "name a file that can be read")
        # Beside its own error and that of UTF-8, tomllib lets pass what int() and the stack have to say.
        except (ValueError, RecursionError) as error:
            words = " ".join(str(error).split())
            self.refuse("config", f"{file} is not TOML: {words}", "mend that line")
        self._check_tables(file, document)
        table = document.get(self.tapname, {})
        if not isinstance(table, dict):
            self.refuse(
                "config", f"{self.tapname} in {file} is no table", f"write [{self.tapname}]"
            )
        known = [name for name, setting in self.settings.items() if setting.in_file]
        for key in table:
            if key not in known:
                raise SettingError(
                    f"{key!r}",
                    f"table [{self.tapname}] of {file}",
                    f"there is no such setting{nearest(key, known)}",
                    "correct or remove it",
                )
        return table

    def _check_tables(self, file: Path, document: Mapping[str, object]) -> None:
        """One file may serve several subcommands; a table that belongs to none is a slip of the pen."""
        strange = [name for name in document if name != self.tapname]
        if not strange:
            return
        known = [self.tapname, *_installed()]
        for name in strange:
            if name not in known:
                raise SettingError(
                    f"{name!r}",
                    str(file),
                    f"no installed subcommand has that name{nearest(name, known)}",
                    "put settings into the table of their subcommand",
                )

    def as_toml(self) -> str:
        """The settings in force as a file that ``--config`` reads, each with its source behind it."""
        lines = [f"[{self.tapname}]"]
        tables: list[str] = []
        for name, setting in sorted(self.settings.items()):
            source = f"  # from {self.sources[name]}".replace("\n", " ")
            # A table has to stand behind the plain values, and an array of none is one of those.
            if isinstance(setting, TableSetting) and self[name] != ():
                tables += setting.tables(f"{self.tapname}.{name}", self[name], source)
                continue
            value = setting.toml(self[name])
            if not setting.in_file or value is None:
                shown = "unset" if value is None else toml_text(value)
                lines.append(f"# {name}: {shown}{source}")
            elif setting.secret:
                lines.append(f"# {name}: hidden{source}")
            else:
                lines.append(f"{name} = {toml_text(value)}{source}")
        return "\n".join(lines + tables) + "\n"


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """
    Suggest what a person meant, as a clause to put behind a complaint; empty if nothing is near.

    :param word: what they wrote.
    :param known: what they might have meant.
    :param prefix: what to put before the suggestion, ``--`` for instance.
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""


def _installed() -> list[str]:
    """The names of all installed subcommands."""
    from twisted.application.service import IServiceMaker
    from twisted.plugin import getPlugins

    return [maker.tapname for maker in getPlugins(IServiceMaker)]
