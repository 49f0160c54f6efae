"""The service maker: what a dropin exports to make a subcommand of ``twistd`` and ``twist``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin
from zope.interface import implementer

from myproject.interfaces import IAsksToReload, IFactoryMaker

if TYPE_CHECKING:
    from types import ModuleType

    from twisted.application.service import IService
    from twisted.internet.interfaces import IProtocolFactory
    from twisted.python import usage

    from myproject.options import Options
    from myproject.service import FactoryService
    from myproject.tls import TLSSettings

__all__ = ["FactoryServiceMaker"]


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """
    Meanwhile garbage is not looked for.

    What is imported and made for a start stays, but the collector would go through all of it time and
    again: a twentieth of the time until a server listens.
    """
    # Here, as whoever lists the plugins imports this module.
    import gc

    if not gc.isenabled():
        # Somebody chose so, or it is done already: the front door asks others for their options.
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@implementer(IPlugin, IServiceMaker, IFactoryMaker)
class FactoryServiceMaker:
    """
    A subcommand made from a module that has an ``Options`` class and a ``makeFactory`` function.

    The module is imported when its options are first asked for, never by listing plugins:
    ``twistd --help`` stays quick, and ``twistd --reactor`` has its say before anything of the
    module's can install a reactor.

    :param tapname: the subcommand's name.
    :param module: the module's full name.
    :param description: one line for ``twistd --help``.
    """

    def __init__(self, tapname: str, module: str, description: str) -> None:
        self.tapname = tapname
        self.module = module
        self.description = description

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.tapname} of {self.module}>"

    def _load(self) -> ModuleType:
        return import_module(self.module)

    @property
    def options(self) -> type[Options]:
        """
        The module's ``Options``.

        :raises TypeError: its ``tapname`` is another than the dropin says, so that its environment
            variables and its table in the file would not be those that the help promises.
        """
        with _nothing_to_collect():
            options = cast("type[Options]", self._load().Options)
        if options.tapname != self.tapname:
            raise TypeError(
                f"{self.module}.Options.tapname is {options.tapname!r}, but the dropin calls the"
                f" subcommand {self.tapname!r}; make them the same"
            )
        return options

    def makeFactory(self, options: usage.Options) -> IProtocolFactory:
        """
        Make the module's factory.

        :param options: an instance of :attr:`options`, validated.
        """
        return cast("IProtocolFactory", self._load().makeFactory(options))

    @staticmethod
    def _tls(options: Any) -> TLSSettings | None:
        if not options.listens_for_tls:
            return None
        # What most do without is not imported.
        from myproject.tls import TLSSettings

        return TLSSettings.of(options)

    @_nothing_to_collect()
    def makeService(self, options: Any) -> IService:
        """
        Make the service: the factory's ports, and the services beside them. Opens nothing.

        :param options: an instance of :attr:`options`, validated.
        :raises CannotStart: the module refused, after it said why on standard error.
        """
        from myproject.errors import CannotStart
        from myproject.journal import attach
        from myproject.logcontrol import Logging
        from myproject.reload import ReloadService

        logging = Logging.installed(self.tapname, options.log_level)
        try:
            if options.workers > 1:
                from myproject.workers import WorkersService

                return WorkersService(self, options, logging)
            service = self.make_alone(options, metrics=options.metrics)
        except CannotStart as refusal:
            refusal.report()
            raise
        reloads = ReloadService(options, service.reload, service.notify)
        reloads.setServiceParent(service)
        asker = cast("IAsksToReload | None", IAsksToReload(service.factory, None))
        if asker is not None:
            asker.offer_reload(reloads.reload)
        attach(service, logging, access=options.access_log)
        return service

    def make_alone(self, options: Any, **more: Any) -> FactoryService:
        """
        Make the service alone, without what concerns its process: signals, log files. Opens nothing.

        :param options: an instance of :attr:`options`, validated.
        :param more: what else :class:`~myproject.service.FactoryService` takes.
        :raises CannotStart: the module refused.
        """
        from myproject.limits import Limits
        from myproject.service import FactoryService

        return FactoryService(
            self.tapname,
            self.makeFactory(options),
            options.port,
            limits=Limits.of(options, more.get("share", (0, 1))),
            drain_timeout=options.drain_timeout,
            tls=self._tls(options),
            tls_descriptions=options.tls_port,
            **more,
        )
