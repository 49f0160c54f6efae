"""
The dropin: Twisted finds these three makers and offers each as a subcommand of twistd and twist. And it
finds these reactors (docs/explanation/reactor.md), which ``--reactor`` may name for any other program.

Replacing ``__doc__`` is import-time work, the only place where we allow it: it reads two small files, so
that a ``dropin.cache`` made from other versions of them is refused. Twisted itself would only compare
modification times, which uv and system packagers keep from the past (docs/explanation/plugin-discovery.md).
"""

from twisted.application.reactors import Reactor

from myproject.maker import FactoryServiceMaker
from myproject.plugincache import stamped

__doc__ = stamped(__doc__, __name__, FactoryServiceMaker.__module__)

front_door = FactoryServiceMaker(
    "myproject",
    "myproject.tap",
    "A front door (TCPMUX, RFC 1078): one port for many services, any plugins in one process.",
)

echo = FactoryServiceMaker(
    "myproject-echo",
    "myproject_echo.tap",
    "An echo server (RFC 862), over TCP and UDP.",
)

chat = FactoryServiceMaker(
    "myproject-chat",
    "myproject_chat.tap",
    "An IRC server, for any IRC client.",
)

corked = Reactor(
    "corked",
    "myproject.reactor.epollreactor",
    "epoll(7), with transports that send once in a turn and a leaner loop; Linux only.",
)

corked_poll = Reactor(
    "corked-poll",
    "myproject.reactor.pollreactor",
    "poll(2), with transports that send once in a turn.",
)

corked_select = Reactor(
    "corked-select",
    "myproject.reactor.selectreactor",
    "select(2), with transports that send once in a turn.",
)

corked_asyncio = Reactor(
    "corked-asyncio",
    "myproject.reactor.asyncioreactor",
    "asyncio, with transports that send once in a turn.",
)
