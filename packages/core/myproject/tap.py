"""The subcommand ``myproject``: its options, and the front door that they describe."""

from __future__ import annotations

from myproject.frontdoor import NAME_TIMEOUT, MyFactory
from myproject.hosted import HostedServices, Plan, read_plans
from myproject.offers import Offer, choose_offers
from myproject.options import Options as CommonOptions
from myproject.settings import path, seconds, strings

__all__ = ["Options", "makeFactory"]


class Options(CommonOptions):
    """Options of ``twistd myproject``."""

    tapname = "myproject"
    longdesc = (
        "A front door (TCPMUX, RFC 1078): a client names a service, and the connection is that service's."
        " With --services, any installed plugins as well, in the same process."
    )

    offer = strings(
        help="Offer this installed subcommand at the front door; may be repeated."
        " Without it, all of myproject's own are offered."
    )
    services = path(help="Run the twistd plugins that this TOML file lists.")
    name_timeout = seconds(
        NAME_TIMEOUT, help="Seconds in which a client must name a service.", minimum=0.1
    )

    offers: list[Offer]
    plans: list[Plan]

    def validate(self) -> None:
        """
        Find what is offered, and read what is to run beside it.

        :raises SettingError: something is not installed, or its own options are not valid.
        """
        self.offers = choose_offers(
            self.offer,
            source=self.sources["offer"],
            config=self.config,
            environ=self.environ,
        )
        if self.workers > 1:
            self._check_shared()
        self.plans = []
        if self.services is not None:
            self.plans = read_plans(
                self.services, source=self.sources["services"], parent=self.parent
            )

    def _check_shared(self) -> None:
        """See that several processes can do all of it."""
        if self.services is not None:
            self.refuse(
                "workers",
                "the plugins of --services are for one process, which opens their ports",
                "leave one of the two out",
            )
        for offer in self.offers:
            why = getattr(offer.options, "one_process", "")
            if why:
                self.refuse(
                    "workers",
                    f"{offer.name}, which is offered, needs one process: {why}",
                    "name what else to offer with --offer, or leave --workers out",
                )


def makeFactory(options: Options) -> MyFactory:
    """
    Make the factory.

    :param options: validated options.
    """
    plans = options.plans
    return MyFactory(
        {offer.name: offer.make() for offer in options.offers},
        timeout=options.name_timeout,
        beside=lambda: [HostedServices(plans)] if plans else [],
    )
