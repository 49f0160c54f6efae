"""
Structures: settings that belong together, as a table of the configuration file.

Some settings make sense only side by side (the limits of a throttle), or come any number of times (an
operator's name with its password). Such a group is a frozen ``msgspec.Struct``, and a setting like any
other but for its source: it is given in the file only, as a table inside the subcommand's::

    class Limits(Structure):
        width: Annotated[int, Meta(ge=1, description="The longest line.", extra={"unit": "bytes"})] = 72

    class Options(myproject.Options):
        tapname = "shout"
        limits = reloadable(structure(Limits, help="How much is allowed."))
        person = structures(Person, help="Who may shout.")

reads ``[shout.limits]`` and each ``[[shout.person]]``. msgspec judges what the file has; what is said
of a mistake is said here, in the form in which all mistakes are told, with the field's path.

A field's type is a boolean, a number, text, one of a few words (``Literal``), a tuple of those, another
structure or a tuple of them, each perhaps ``None``, which is "not given"; or a class of your own that
provides :class:`TextValue`. What a field is for stands in its ``msgspec.Meta``:

========================  ======================================================================
``description``           what it is, and why its default is what it is; required
``extra["unit"]``         the unit of a number, ``bytes`` for instance
``extra["form"]``         what a person may give, completing the words "give ..."
``extra["secret"]``       whether ``--print-config`` and errors must hide it
``extra["restart"]``      whether it cannot change on a reload though the structure can
========================  ======================================================================

Only ``from myproject.structures import ...`` imports msgspec; the other subcommands do without.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final, Protocol, Self, TypeVar, cast

import msgspec
from msgspec import inspect

from myproject.options import nearest
from myproject.settings import Field, FieldError, Kind, Scalar, TableSetting, toml_name, toml_text

__all__ = ["Structure", "TextValue", "structure", "structures"]

S = TypeVar("S", bound=msgspec.Struct)


class Structure(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"
):
    """
    A base for structures: frozen, its keys written with hyphens, and none of them unknown.

    A subclass checks its fields against each other in ``__post_init__``, where it raises
    ``ValueError("what is wrong; what to do")``. Inheriting is a convenience: any ``msgspec.Struct``
    with this configuration will do.
    """


class TextValue(Protocol):
    """A field's own type: made from text, and ``str()`` of it gives text that it is made from."""

    #: What a person may give, completing the words "give ...".
    allowed: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Make a value.

        :param text: what the file has.
        :raises ValueError: with a clause that says what is wrong.
        """


def structure(struct: type[S], *, help: str, default: S | None = None) -> TableSetting[S]:
    """
    Declare a setting that is a table of the file.

    :param struct: the structure; see the module for its fields.
    :param help: one sentence.
    :param default: its value when the file has none; by default, with each field's own.
    """
    return _StructureSetting(struct, struct() if default is None else default, help, many=False)


def structures(
    struct: type[S], *, help: str, default: tuple[S, ...] = ()
) -> TableSetting[tuple[S, ...]]:
    """
    Declare a setting that is an array of tables in the file.

    :param struct: the structure of each; see the module for its fields.
    :param help: one sentence.
    :param default: its value when the file has none.
    """
    return _StructureSetting(struct, default, help, many=True)


_TABLE: Final = Kind[Any]("TABLE", "a table", (dict,), str, str)
_TABLES: Final = Kind[Any]("TABLE", "an array of tables", (list,), str, str)


class _StructureSetting(TableSetting[Any]):
    """A table, or an array of them, that msgspec reads."""

    def __init__(self, struct: type[Any], default: object, help: str, *, many: bool) -> None:
        super().__init__(_TABLES if many else _TABLE, default, help=help, many=many)
        self._struct = struct

    @cached_property
    def _type(self) -> inspect.Type:
        """
        What msgspec knows of the structure, which is held to what the module promises of it.

        Found out when somebody asks, not when the setting is declared: a subcommand with a dozen of them
        would listen 6 ms later.
        """
        found = inspect.type_info(self._struct)
        _check(found, many=self.many)
        self._convert(msgspec.to_builtins(self.default, enc_hook=str))
        return found

    @property
    def shown_default(self) -> str:
        """Nothing: each field has its own."""
        return ""

    @property
    def fields(self) -> list[Field]:
        """Every field, those of inner structures by their dotted names."""
        return list(_documented(self._type, "", None if self.many else self.default))

    def coerce(self, raw: object) -> Any:
        """
        Make the structure, or the tuple of them.

        :param raw: what the file has, or the default.
        :raises FieldError: with the path of the field that is wrong.
        """
        if raw is self.default:
            return raw
        _ = self._type
        return self._convert(raw)

    def _convert(self, raw: object) -> Any:
        wanted: Any = tuple[self._struct, ...] if self.many else self._struct  # type: ignore[name-defined]
        try:
            return msgspec.convert(raw, wanted, dec_hook=_parse)
        except msgspec.ValidationError as error:
            _explain(error, raw, inspect.type_info(wanted))

    def merge(self, running: Any, read: Any) -> tuple[Any, list[str]]:
        """Keep the fields that need a restart: see :meth:`Setting.merge`."""
        if not self.reloadable or self.many:
            return super().merge(running, read)
        fixed = {
            field.name: field.encode_name
            for field in cast("inspect.StructType", self._type).fields
            if _notes(field.type).get("restart")
            and getattr(running, field.name) != getattr(read, field.name)
        }
        kept = {name: getattr(running, name) for name in fixed}
        return msgspec.structs.replace(read, **kept), [
            f"{self.name}.{one}" for one in fixed.values()
        ]

    def tables(self, name: str, value: Any, comment: str) -> Iterator[str]:
        """The value as lines of TOML: see :meth:`TableSetting.tables`."""
        for one in value if self.many else [value]:
            yield from _table(name, one, self._type, comment, many=self.many)


def _parse(wanted: Any, raw: object) -> object:
    """Make a value of a field's own type; msgspec calls this for types that it does not know."""
    if not isinstance(raw, str):
        raise ValueError(f"it is {toml_name(raw)}")  # noqa: TRY004 (msgspec adds the path to this one)
    return wanted.parse(raw)


def _check(found: inspect.Type, *, many: bool) -> None:
    """Hold a structure to what the module promises of it: a programmer's mistake."""
    if not isinstance(found, inspect.StructType):
        return
    name = found.cls.__qualname__
    config = found.cls.__struct_config__
    if not (config.frozen and config.forbid_unknown_fields):
        raise ValueError(f"{name} is not frozen, or lets unknown fields pass")
    for field in found.fields:
        notes = _notes(field.type)
        if not notes.get("description"):
            raise ValueError(f"{name}.{field.name} has no description")
        if many and notes.get("restart"):
            raise ValueError(f"{name}.{field.name} is in an array: all of it changes, or nothing")
        _check(_item(field.type), many=True)


def _bare(found: inspect.Type) -> inspect.Type:
    """A field's type without its notes, and without None beside it."""
    while True:
        if isinstance(found, inspect.Metadata):
            found = found.type
        elif isinstance(found, inspect.UnionType):
            (found,) = [one for one in found.types if not isinstance(one, inspect.NoneType)]
        else:
            return found


def _item(found: inspect.Type) -> inspect.Type:
    """The type of an array's items; of what is no array, its own."""
    bare = _bare(found)
    return _bare(bare.item_type) if isinstance(bare, inspect.VarTupleType) else bare


def _notes(found: inspect.Type) -> Mapping[str, Any]:
    """What a field's ``Meta`` says for us, the outer ones above the inner."""
    notes: dict[str, Any] = {}
    while isinstance(found, (inspect.Metadata, inspect.UnionType)):
        if isinstance(found, inspect.Metadata):
            notes = {**(found.extra_json_schema or {}), **(found.extra or {}), **notes}
            found = found.type
        else:
            (found,) = [one for one in found.types if not isinstance(one, inspect.NoneType)]
    return notes


def _allowed(found: inspect.Type) -> str:
    """What a person may give for a type, completing the words "give ..."."""
    notes, bare = _notes(found), _bare(found)
    if "form" in notes:
        return str(notes["form"])
    if isinstance(bare, (inspect.IntType, inspect.FloatType)):
        return _allowed_number(bare, notes.get("unit"))
    if isinstance(bare, inspect.VarTupleType):
        if isinstance(_bare(bare.item_type), inspect.StructType):
            return "an array of tables"
        most = "" if bare.max_length is None else f" of up to {bare.max_length}"
        return f"an array{most}, each {_allowed(bare.item_type)}"
    return _allowed_other(bare)


def _allowed_number(bare: inspect.IntType | inspect.FloatType, unit: str | None) -> str:
    sort = "a whole number" if isinstance(bare, inspect.IntType) else "a number"
    sort += f" of {unit}" if unit else ""
    if bare.ge is None:
        return sort if bare.le is None else f"{sort} of at most {_number(bare.le)}"
    least = _number(bare.ge)
    return (
        f"{sort} of at least {least}"
        if bare.le is None
        else f"{sort} from {least} to {_number(bare.le)}"
    )


def _allowed_other(bare: inspect.Type) -> str:
    match bare:
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType():
            return f"text of up to {bare.max_length} characters" if bare.max_length else "text"
        case inspect.LiteralType():
            return f"one of {', '.join(map(str, bare.values))}"
        case inspect.StructType():
            return "a table"
        case inspect.CustomType():
            return str(cast("Any", bare.cls).allowed)
    raise TypeError(f"{bare} cannot be in a structure")


def _number(value: float) -> str:
    return str(int(value) if float(value).is_integer() else value)


def _documented(found: inspect.Type, prefix: str, defaults: object) -> Iterator[Field]:
    """What is to be said of each field of a structure, whose own defaults count if no others are given."""
    for field in cast("inspect.StructType", found).fields:
        name, notes, item = prefix + field.encode_name, _notes(field.type), _item(field.type)
        default = _default(field) if defaults is None else getattr(defaults, field.name)
        array = isinstance(_bare(field.type), inspect.VarTupleType)
        if isinstance(item, inspect.StructType) and not array:
            yield from _documented(item, f"{name}.", default)
            continue
        unset = field.required or default is None
        yield Field(
            name=name,
            allowed=_allowed(field.type),
            default="" if unset else toml_text(_plain(default)),
            required=field.required,
            help=str(notes["description"]),
            secret=bool(notes.get("secret")),
            restart=bool(notes.get("restart")),
        )
        if isinstance(item, inspect.StructType):
            yield from _documented(item, f"{name}[].", None)


def _default(field: inspect.Field) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _plain(value: Any) -> Any:
    """A field's value as TOML has it."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    # Thirty seconds are 30; but what is beyond 64 bits is no integer of TOML's.
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value if isinstance(value, Scalar) else str(value)


def _table(
    name: str, value: Any, found: inspect.Type, comment: str, *, many: bool
) -> Iterator[str]:
    """A table's lines: its plain values first, then the tables inside it, as TOML wants."""
    yield ""
    yield (f"[[{name}]]" if many else f"[{name}]") + comment
    inner: list[Iterator[str]] = []
    for field in cast("inspect.StructType", found).fields:
        key, one, item = field.encode_name, getattr(value, field.name), _item(field.type)
        if one is None:
            yield f"# {key}: unset"
        elif _notes(field.type).get("secret"):
            yield f"# {key}: hidden"
        elif isinstance(item, inspect.StructType) and one != ():
            several = isinstance(one, tuple)
            inner += [
                _table(f"{name}.{key}", each, item, "", many=several)
                for each in (one if several else [one])
            ]
        else:
            yield f"{key} = {toml_text(_plain(one))}"
    for lines in inner:
        yield from lines


# How msgspec says where: "... - at `$.person[1].name`", or nothing for the whole.
_WHERE: Final = re.compile(r" - at `\$((?:\.[\w-]+|\[\d+\])+)`\Z")


def _explain(error: msgspec.ValidationError, raw: Any, found: inspect.Type) -> Any:
    """
    Say in our words what msgspec found wrong.

    :param error: what it raised; only the path is read from its words.
    :param raw: what it was given.
    :param found: what it was to make of that.
    :raises FieldError: always.
    """
    located = _WHERE.search(str(error))
    path = located[1] if located else ""
    secret = False
    for step in re.findall(r"[\w-]+", path):
        bare = _bare(found)
        if isinstance(bare, inspect.StructType):
            (found,) = [field.type for field in bare.fields if field.encode_name == step]
            raw = raw[step]
        else:
            found = cast("inspect.VarTupleType", bare).item_type
            raw = raw[int(step)]
        secret = secret or bool(_notes(found).get("secret"))
    bare = _bare(found)
    if isinstance(bare, inspect.StructType) and isinstance(raw, dict):
        _explain_table(path, raw, bare, error.__cause__)
    problem = _problem(raw, bare, error.__cause__, secret=secret)
    shown = f"{raw!r}: " if isinstance(raw, Scalar) and not secret else ""
    raise FieldError(path, shown + problem, f"give {_allowed(found)}") from None


def _explain_table(
    path: str, raw: Mapping[str, object], found: inspect.StructType, cause: BaseException | None
) -> None:
    """Say what is wrong with a table as such: unknown keys, missing ones, or what keys say together."""
    known = [field.encode_name for field in found.fields]
    for key in raw:
        if key not in known:
            problem = f"there is no such setting{nearest(key, known)}"
            raise FieldError(f"{path}.{key}", problem, "correct or remove it") from None
    for field in found.fields:
        if field.required and field.encode_name not in raw:
            raise FieldError(
                f"{path}.{field.encode_name}", "it is missing", f"give {_allowed(field.type)}"
            ) from None
    problem, _, remedy = str(cause).rpartition("; ")
    raise FieldError(path, problem, remedy) from None


def _problem(raw: Any, bare: inspect.Type, cause: BaseException | None, *, secret: bool) -> str:
    """What is wrong with one value, a clause."""
    if cause is not None:
        return "it is not allowed" if secret else str(cause)
    whole = isinstance(raw, int) and not isinstance(raw, bool)
    match bare:
        case inspect.IntType() | inspect.FloatType() if whole or (
            isinstance(raw, float) and isinstance(bare, inspect.FloatType)
        ):
            if math.isnan(raw):
                problem = "it is not a number"
            else:
                small = bare.ge is not None and raw < bare.ge
                problem = f"it is too {'small' if small else 'large'}"
        case inspect.StrType() if isinstance(raw, str):
            problem = "it does not have the right form"
            if bare.max_length is not None and len(raw) > bare.max_length:
                problem = "it is too long"
        case inspect.LiteralType() if isinstance(raw, str):
            problem = f"it is none of the choices{nearest(raw, map(str, bare.values))}"
        case inspect.VarTupleType() if isinstance(raw, list):
            problem = f"it has too {'many' if raw else 'few'} items"
        case _:
            problem = f"it is {toml_name(raw)}"
    return problem
