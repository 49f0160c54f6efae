"""
The core of myproject: what turns a Twisted protocol factory into a service that people deploy.

Most users need four names. :class:`FactoryServiceMaker` goes into a dropin and makes a subcommand of
``twistd``; :class:`Options` is the base of that subcommand's settings, each declared once with
:func:`flag`, :func:`integer`, :func:`text`, :func:`choice`, :func:`seconds`, :func:`path`,
:func:`ports`, :func:`networks` or :func:`strings`; :class:`MyFactory` is the front door (RFC 1078),
which hands a connection to the service that the client names.

Names load when they are first used: a dropin that imports this package while ``twistd --help``
lists plugins pays for nothing but the maker.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

    from myproject.errors import CannotStart, MyprojectError, SettingError
    from myproject.frontdoor import MyFactory
    from myproject.interfaces import (
        FurtherPorts,
        IDrainable,
        IFactoryMaker,
        IHasHealth,
        IHasMetrics,
        IHasPorts,
        IHasServices,
    )
    from myproject.maker import FactoryServiceMaker
    from myproject.options import Options
    from myproject.settings import (
        Setting,
        choice,
        flag,
        integer,
        networks,
        path,
        ports,
        seconds,
        strings,
        text,
        tls_ports,
    )

__all__ = [
    "CannotStart",
    "FactoryServiceMaker",
    "FurtherPorts",
    "IDrainable",
    "IFactoryMaker",
    "IHasHealth",
    "IHasMetrics",
    "IHasPorts",
    "IHasServices",
    "MyFactory",
    "MyprojectError",
    "Options",
    "Setting",
    "SettingError",
    "choice",
    "flag",
    "integer",
    "networks",
    "path",
    "ports",
    "seconds",
    "strings",
    "text",
    "tls_ports",
]

_HOME = {
    "CannotStart": "errors",
    "FactoryServiceMaker": "maker",
    "FurtherPorts": "interfaces",
    "IDrainable": "interfaces",
    "IFactoryMaker": "interfaces",
    "IHasHealth": "interfaces",
    "IHasMetrics": "interfaces",
    "IHasPorts": "interfaces",
    "IHasServices": "interfaces",
    "MyFactory": "frontdoor",
    "MyprojectError": "errors",
    "Options": "options",
    "SettingError": "errors",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use (PEP 562)."""
    if name == "__version__":
        # Reading an installed distribution's metadata takes some milliseconds.
        value: object = import_module("importlib.metadata").version("myproject")
        globals()[name] = value
        return value
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME.get(name, 'settings')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
