"""The dropin: Twisted finds these three makers and offers each as a subcommand of twistd and twist."""

from myproject.maker import FactoryServiceMaker

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
