"""The interfaces between the core, the subcommands built on it, and Twisted's plugin system."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService
from twisted.internet.interfaces import IProtocolFactory
from twisted.python import usage
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from myproject.reload import Reloaded

__all__ = [
    "FurtherPorts",
    "IAsksToReload",
    "IDrainable",
    "IFactoryMaker",
    "IHasHealth",
    "IHasMetrics",
    "IHasPorts",
    "IHasServices",
    "IReloadable",
]


class IDrainable(Interface):
    """
    A protocol that can be told that its server is stopping.

    The core tells whichever protocol has the connection at that moment: behind the front door, the
    service's. One that does not provide this has until ``--drain-timeout`` like every other, and
    hears nothing.
    """

    def drain() -> None:
        """
        Bring the connection to an end: say goodbye, finish what is half done, then close.

        Called once in a connection, in a turn of its own, never after ``connectionLost``. It returns at once;
        the connection may go on for as long as it must, and is aborted if it outlasts
        ``--drain-timeout``.
        """


class IFactoryMaker(Interface):
    """
    A plugin that makes a protocol factory from options.

    ``IServiceMaker`` tells Twisted how to run a subcommand; this tells others, the front door for
    one, how to serve the same protocol on a connection that they accepted themselves.
    """

    tapname: str = Attribute("The subcommand's name, ``myproject-echo``.")
    description: str = Attribute("One line for ``twistd --help``.")
    options: type[usage.Options] = Attribute("The class of the subcommand's options.")

    def makeFactory(options: usage.Options) -> IProtocolFactory:
        """
        Make the factory. Opens no file, socket, thread or database.

        :param options: an instance of ``options``, validated.
        """


class IHasHealth(Interface):
    """A factory that can be unable to do its work although its ports are open: its disk is full, for one."""

    def trouble() -> str | None:
        """
        Say what is wrong: when ``/readyz`` is asked for, in the reactor's thread, so with a glance at most.

        :return: a few words; None if all is well.
        """


class IHasMetrics(Interface):
    """A factory that has something to tell Prometheus beside what the core tells of every service."""

    def metrics() -> Iterable[Metric]:
        """
        Say how things stand: at each scrape, in the reactor's thread, so with no more than a glance.

        :return: prometheus_client's metric families, which may be made here or collected from
            metrics that the factory keeps. Each sample gets the label ``service``.
        """


@dataclass(frozen=True)
class FurtherPorts:
    """
    Ports beside ``--port``, on which a subcommand serves in another way.

    :param factory: makes a protocol for each connection there.
    :param setting: the setting that says where, ``web-port`` for one: who cannot listen there is told of it.
    :param descriptions: what it says, each a port number or an endpoint description; may be empty.
    :param tls_setting: the same with TLS, if there is such a setting: one declared with
        :func:`~myproject.settings.tls_ports`.
    :param tls_descriptions: what that says.
    """

    factory: IProtocolFactory
    setting: str
    descriptions: Sequence[str]
    tls_setting: str = ""
    tls_descriptions: Sequence[str] = ()


class IHasPorts(Interface):
    """
    A factory that serves on further ports as well: in another way, with another factory.

    These are behind the same gate as ``--port``: the same limits, PROXY headers, drain, metrics and logs; a
    worker has its share of them. With TLS they serve the certificates of ``--certificate``. The
    front door offers none of them.
    """

    def further_ports() -> Iterable[FurtherPorts]:
        """
        Say which: asked once, when the service is made.

        :return: each way of serving once.
        """


class IHasServices(Interface):
    """
    A factory that needs services beside its ports: a store, a second socket, a page.

    The core asks for them once, when it makes the service. It starts them before it accepts
    connections and stops them after the ports have closed.
    """

    def services() -> Iterable[IService]:
        """The services, in the order in which they start; they stop in the opposite one."""


class IReloadable(Interface):
    """A factory, some of whose settings can change while it runs: those declared ``reloadable``."""

    def reload(options: Any, changed: frozenset[str]) -> None:
        """
        Take new settings.

        :param options: all of them, validated; only those in ``changed`` are to be read.
        :param changed: the names of the reloadable ones that differ from those in force, or none.
        """


class IAsksToReload(Interface):
    """
    A factory whose protocol has a word for reading the settings again, as IRC has ``REHASH``.

    The core hands it the way to ask when the service is made. Where nobody does, in a worker or behind
    the front door, the settings are not this factory's alone, and there is only the signal.
    """

    def offer_reload(reload: Callable[[], Reloaded]) -> None:
        """
        Be told how to ask; called once, before anything starts.

        :param reload: reads the settings again and applies them, as SIGHUP has it done, and says what came of
            it; to be called while the service runs. It may call `IReloadable.reload` before it returns.
        """
