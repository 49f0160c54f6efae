# echo.tac
"""An echo server as a Twisted application configuration; run it with ``twistd -ny echo.tac``."""

from twisted.application.service import Application, IServiceMaker
from twisted.plugin import getPlugins

makers = {maker.tapname: maker for maker in getPlugins(IServiceMaker)}
maker = makers["myproject-echo"]

# Settings, as behind "twistd myproject-echo"; the environment and --config count here too.
options = maker.options()
options.parseOptions(["--udp"])

# twistd looks for this name.
application = Application("echo")
maker.makeService(options).setServiceParent(application)
