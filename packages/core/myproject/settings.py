"""
Settings: one typed declaration, from which the help, the environment's names, the file's keys and
the reference page all come.

A setting is a class attribute of an :class:`~myproject.options.Options` subclass::

    class Options(myproject.Options):
        tapname = "shout"
        port = ports(4000)
        width = integer(72, help="Characters to a line.", minimum=1)

``options.width`` is an ``int``, whoever gave it: ``--width 80``, ``SHOUT_WIDTH=80``, ``width = 80`` in
the ``[shout]`` table of the file, or the default; all four pass through the same
:class:`Kind`, so they are coerced and refused alike.
"""

from __future__ import annotations

import json
import math
import os
import shlex
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, overload

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network
    from typing import Self

    from myproject.options import Options

__all__ = [
    "ANY_TEXT",
    "Field",
    "FieldError",
    "Kind",
    "Setting",
    "TableSetting",
    "choice",
    "flag",
    "integer",
    "networks",
    "path",
    "places",
    "ports",
    "reloadable",
    "seconds",
    "strings",
    "text",
    "tls_ports",
    "toml_name",
    "toml_text",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: A value as TOML has it, and the way back into TOML.
Scalar = str | int | float | bool


@dataclass(frozen=True)
class Kind(Generic[T]):
    """
    How one sort of value is read, whatever its source, and written back.

    :param metavar: what stands for the value in the help; empty for a flag.
    :param allowed: what a person may give, completing the words "give ...".
    :param toml: the TOML types that the file may use.
    :param parse: text to value; raises ``ValueError`` with a clause that says what is wrong.
    :param show: value to a TOML scalar that ``parse`` reads back.
    :param words: all that a person may give, where that is a few words: what a shell completes.
    """

    metavar: str
    allowed: str
    toml: tuple[type, ...]
    parse: Callable[[str], T]
    show: Callable[[T], Scalar]
    words: tuple[str, ...] = ()

    def read(self, raw: object) -> T:
        """
        Turn text, or a TOML scalar, into a value.

        :raises ValueError: it is of another type, or not allowed.
        """
        # bool is an int to Python, and is not to anyone who writes `port = true`.
        if not isinstance(raw, self.toml) or (isinstance(raw, bool) and bool not in self.toml):
            raise ValueError(f"it is {toml_name(raw)}")
        if isinstance(raw, bool):
            raw = "true" if raw else "false"
        return self.parse(str(raw))


_TOML_NAMES: Final[Mapping[type, str]] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    list: "an array",
    dict: "a table",
}


def toml_name(raw: object) -> str:
    """
    Name the type of a value in TOML's words, with its article.

    :param raw: the value.
    """
    return _TOML_NAMES.get(type(raw), "a date or time")


def toml_text(value: Scalar | list[Scalar]) -> str:
    """
    Write a value in TOML.

    JSON's notation is TOML's for everything that settings have but for infinity, once its escapes are kept
    to those that TOML knows: no surrogate pairs, and DEL escaped.

    :param value: the value.
    """
    if isinstance(value, list):
        return f"[{', '.join(map(toml_text, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


class FieldError(ValueError):
    """
    A field of a table cannot be used: raised by a :class:`TableSetting`, for its options to tell.

    :ivar path: where in the setting the field is: ``[1].password``, or empty for all of it.
    :ivar problem: what is wrong, a clause without a full stop.
    :ivar remedy: what to do, a clause that begins with a verb.
    """

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        self.path = path
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{path}: {problem}; {remedy}")


class Setting(Generic[T_co]):
    """
    One row of a subcommand's table of settings; a descriptor, typed by what it yields.

    :param kind: how its value, or each of its values, is read.
    :param default: the value, or a sequence of values, when no source gives one; ``None`` for none.
    :param help: one sentence.
    :param short: a letter for the command line, optional.
    :param many: whether it takes several values; then it yields a tuple. From the command line
        each repetition adds one, in the environment they are separated as words in a shell, and the
        file has an array.
    :param in_file: whether the file may set it.
    :param secret: whether ``--print-config`` and errors must hide it.
    """

    #: Whether a change takes effect while the service runs: :func:`reloadable`.
    reloadable = False

    #: Whether it says where to listen for TLS: :func:`tls_ports`.
    for_tls = False

    name: str
    attribute: str

    def __init__(
        self,
        kind: Kind[Any],
        default: object,
        *,
        help: str,
        short: str = "",
        many: bool = False,
        in_file: bool = True,
        secret: bool = False,
    ) -> None:
        self.kind = kind
        self.default = default
        self.help = help
        self.short = short
        self.many = many
        self.in_file = in_file
        self.secret = secret

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = name
        self.name = name.replace("_", "-")

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Options, owner: type) -> T_co: ...
    def __get__(self, instance: Options | None, owner: type) -> Self | T_co:
        if instance is None:
            return self
        return cast("T_co", instance[self.name])

    @property
    def is_flag(self) -> bool:
        """Whether the command line gives it without a value."""
        return not self.kind.metavar

    @property
    def shown_default(self) -> str:
        """
        The default as a person would write it; empty for none.

        :raises ValueError: it is not allowed.
        """
        if self.default is None:
            return ""
        shown = self.toml(self.coerce(self.default))
        if isinstance(shown, bool):
            return "on" if shown else "off"
        return " ".join(map(str, shown)) if isinstance(shown, list) else str(shown)

    def coerce(self, raw: object) -> T_co:
        """
        Make the value from what one source gave.

        :param raw: text, a TOML value, a default, or a sequence of them.
        :raises ValueError: with a clause that says what is wrong.
        """
        if not self.many:
            if isinstance(raw, list):
                raise ValueError("it is an array")
            return cast("T_co", self._one(raw))
        given = raw if isinstance(raw, Sequence) and not isinstance(raw, str) else [raw]
        return cast("T_co", tuple(self._one(one) for one in given))

    def _one(self, raw: object) -> object:
        try:
            return self.kind.read(raw)
        except ValueError as error:
            if self.secret:
                raise ValueError("it is not allowed") from None
            raise ValueError(f"{raw!r}: {error}") from None

    def split(self, value: str) -> object:
        """
        Read what an environment variable holds.

        :raises ValueError: its quotes do not match.
        """
        return shlex.split(value) if self.many else value

    def environment(self, tapname: str) -> str:
        """The environment variable that sets it for a subcommand: ``MYPROJECT_ECHO_PORT``."""
        return f"{tapname}-{self.name}".replace("-", "_").upper()

    def toml(self, value: object) -> Scalar | list[Scalar] | None:
        """The value as the file would have it; ``None`` when there is none."""
        if value is None:
            return None
        if self.many:
            return [self.kind.show(one) for one in cast("tuple[object, ...]", value)]
        return self.kind.show(value)

    def merge(self, running: Any, read: Any) -> tuple[Any, list[str]]:
        """
        Say what is in force after a reload.

        :param running: the value before it.
        :param read: the value that was read.
        :return: the value behind it, and the names of what changed but needs a restart.
        """
        if self.reloadable or running == read:
            return read, []
        return running, [self.name]


@dataclass(frozen=True)
class Field:
    """
    What there is to say of a field of a :class:`TableSetting`.

    :ivar name: its key, dotted for one of an inner table.
    :ivar allowed: what a person may give, completing the words "give ...".
    :ivar default: its default as the file would have it; empty for none.
    :ivar required: whether it has to be given.
    :ivar help: some sentences.
    :ivar secret: whether it is hidden.
    :ivar restart: whether a change needs a restart though the others may change on a reload.
    """

    name: str
    allowed: str
    default: str
    required: bool
    help: str
    secret: bool
    restart: bool


class TableSetting(Setting[T_co]):
    """A setting that is a table of the file, or an array of them, and has no other source."""

    @property
    @abstractmethod
    def fields(self) -> list[Field]:
        """Its fields, for those who write about them."""

    @abstractmethod
    def tables(self, name: str, value: Any, comment: str) -> Iterator[str]:
        """
        Write a value as lines of TOML, with secrets hidden.

        :param name: the table's full name.
        :param value: the value.
        :param comment: what stands behind each table's head.
        """

    def heading(self, tapname: str) -> str:
        """
        Write its head as in the file: ``[shout.limits]`` or ``[[shout.person]]``.

        :param tapname: the subcommand's name.
        """
        name = f"[{tapname}.{self.name}]"
        return f"[{name}]" if self.many else name


def _parse_flag(value: str) -> bool:
    # The words systemd, Git and TOML itself take for a boolean; the wider set costs nothing.
    known = {"true": True, "yes": True, "on": True, "1": True}
    known.update({"false": False, "no": False, "off": False, "0": False})
    try:
        return known[value.lower()]
    except KeyError:
        raise ValueError("it is neither true nor false") from None


#: What a setting of text allows.
ANY_TEXT: Final = "any text"

_FLAG: Final = Kind[bool]("", "true or false", (bool, str), _parse_flag, bool)
_TEXT: Final = Kind[str]("TEXT", ANY_TEXT, (str,), str, str)


def flag(*, help: str, default: bool = False, short: str = "") -> Setting[bool]:
    """
    Declare a setting that is on or off: ``--udp``, and ``--no-udp`` against another source.

    :param help: one sentence.
    :param default: its value when no source gives one.
    :param short: a letter for the command line.
    """
    return Setting(_FLAG, default, help=help, short=short)


def text(default: str, *, help: str, short: str = "", secret: bool = False) -> Setting[str]:
    """
    Declare a setting that is text.

    :param default: its value when no source gives one.
    :param help: one sentence.
    :param short: a letter for the command line.
    :param secret: whether it must not be shown.
    """
    return Setting(_TEXT, default, help=help, short=short, secret=secret)


def strings(*, help: str, short: str = "", metavar: str = "NAME") -> Setting[tuple[str, ...]]:
    """
    Declare a setting that is any number of texts, none by default.

    :param help: one sentence.
    :param short: a letter for the command line.
    :param metavar: what stands for one of them in the help.
    """
    kind = Kind[str](metavar, ANY_TEXT, (str,), str, str)
    return Setting(kind, (), help=help, short=short, many=True)


def integer(
    default: int,
    *,
    help: str,
    minimum: int = 0,
    maximum: int = 2**63 - 1,
    short: str = "",
    metavar: str = "NUMBER",
) -> Setting[int]:
    """
    Declare a setting that is a whole number.

    :param default: its value when no source gives one.
    :param help: one sentence, with the unit.
    :param minimum: the least value allowed.
    :param maximum: the greatest value allowed.
    :param short: a letter for the command line.
    :param metavar: what stands for it in the help, ``BYTES`` for instance.
    """

    def parse(value: str) -> int:
        digits = value.removeprefix("-")
        # int() would take "1_000", " 7" and Arabic digits, and raise for more than 4,300 of them.
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
            raise ValueError("it is not a whole number")
        number = int(value)
        if number < minimum:
            raise ValueError("it is too small")
        if number > maximum:
            raise ValueError("it is too large")
        return number

    limits = f"from {minimum} to {maximum}" if maximum < 2**63 - 1 else f"of at least {minimum}"
    kind = Kind[int](metavar, f"a whole number {limits}", (int, str), parse, int)
    return Setting(kind, default, help=help, short=short)


def seconds(default: float, *, help: str, minimum: float = 0.0, short: str = "") -> Setting[float]:
    """
    Declare a setting that is a time in seconds, fractions allowed.

    :param default: its value when no source gives one.
    :param help: one sentence.
    :param minimum: the least value allowed.
    :param short: a letter for the command line.
    """

    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            raise ValueError("it is not a number") from None
        if not math.isfinite(number):
            raise ValueError("it is not a finite number")
        if number < minimum:
            raise ValueError("it is too small")
        return number

    allowed = f"a number of seconds of at least {minimum:g}"
    kind = Kind[float]("SECONDS", allowed, (float, int, str), parse, _plain)
    return Setting(kind, default, help=help, short=short)


def _plain(number: float) -> float | int:
    """Thirty seconds are 30, not 30.0."""
    return int(number) if number.is_integer() else number


def choice(default: str, options: Sequence[str], *, help: str, short: str = "") -> Setting[str]:
    """
    Declare a setting that is one of a few words.

    :param default: its value when no source gives one.
    :param options: the words.
    :param help: one sentence.
    :param short: a letter for the command line.
    """

    def parse(value: str) -> str:
        if value not in options:
            raise ValueError("it is none of the choices")
        return value

    words = tuple(options)
    kind = Kind[str]("WORD", "one of " + ", ".join(words), (str,), parse, str, words)
    return Setting(kind, default, help=help, short=short)


def path(*, help: str, short: str = "", in_file: bool = True) -> Setting[Path | None]:
    """
    Declare a setting that names a file, none by default.

    The path is made absolute when it is read: ``twistd`` changes its folder later, with ``--rundir``.

    :param help: one sentence.
    :param short: a letter for the command line.
    :param in_file: whether the configuration file may set it.
    """

    def parse(value: str) -> Path:
        if not value:
            raise ValueError("it is empty")
        if "\0" in value:
            raise ValueError("it has a NUL character")
        return Path(os.path.abspath(value))

    kind = Kind[Path]("FILE", "the path of a file", (str,), parse, str)
    return Setting(kind, None, help=help, short=short, in_file=in_file)


def _parse_port(value: str) -> str:
    # Imported here: the module costs 20 ms, and --help has no need of it.
    from myproject.listening import check_description

    check_description(value)
    return value


_PORT: Final = Kind[str](
    "PORT",
    "a port number from 0 to 65535, or an endpoint description such as tcp:8080:interface=127.0.0.1",
    (int, str),
    _parse_port,
    lambda value: int(value) if value.isdigit() else value,
)


def ports(
    default: int | str | None,
    *,
    help: str = "Where to listen: a port number (IPv4 and IPv6), or an endpoint description; may be"
    " repeated.",
    short: str = "p",
) -> Setting[tuple[str, ...]]:
    """
    Declare the setting that says where a subcommand listens; every subcommand has it as ``port``.

    :param default: a port number (0: any free one), or an endpoint description; None for none.
    :param help: one sentence.
    :param short: a letter for the command line.
    """
    return Setting(
        _PORT,
        [] if default is None else [default],
        help=help,
        short=short,
        many=True,
    )


def tls_ports(*, help: str) -> Setting[tuple[str, ...]]:
    """
    Declare a setting that says where to listen for TLS, nowhere by default.

    Whoever gives it has to give a certificate too, as for ``--tls-port``.

    :param help: one sentence.
    """
    setting = ports(None, help=help, short="")
    setting.for_tls = True
    return setting


def _parse_network(value: str) -> IPv4Network | IPv6Network:
    import ipaddress

    try:
        return ipaddress.ip_network(value)
    except ValueError:
        pass
    try:
        nearest = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError("it is not a network") from None
    raise ValueError(f"it is an address within {nearest}, not a network")


_NETWORK: Final = Kind["IPv4Network | IPv6Network"](
    "NETWORK",
    "an address, or a network such as 192.0.2.0/24 or 2001:db8::/32",
    (str,),
    _parse_network,
    str,
)


def networks(*, help: str) -> Setting[tuple[IPv4Network | IPv6Network, ...]]:
    """
    Declare a setting that is any number of networks of either IP version, none by default.

    :param help: one sentence.
    """
    return Setting(_NETWORK, (), help=help, many=True)


def _parse_place(value: str) -> IPv4Network | IPv6Network | str:
    return value if value == "unix" else _parse_network(value)


_PLACE: Final = Kind["IPv4Network | IPv6Network | str"](
    "NETWORK",
    "an address, a network such as 192.0.2.0/24 or 2001:db8::/32, or unix for Unix sockets",
    (str,),
    _parse_place,
    str,
)


def places(*, help: str) -> Setting[tuple[IPv4Network | IPv6Network | str, ...]]:
    """
    Declare a setting that is any number of networks, none by default.

    Among them, the word ``unix`` stands for Unix sockets.

    :param help: one sentence.
    """
    return Setting(_PLACE, (), help=help, many=True)


S = TypeVar("S", bound=Setting[Any])


def reloadable(setting: S) -> S:
    """
    Say of a setting that a change of it takes effect while the service runs.

    Whoever reads it then says so with :class:`~myproject.interfaces.IReloadable`.

    :param setting: the setting.
    :return: the same.
    """
    setting.reloadable = True
    return setting
