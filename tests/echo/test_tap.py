"""The subcommand ``myproject-echo``: its settings, and what is made of them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from myproject import SettingError
from myproject.interfaces import IHasServices
from myproject.service import DatagramService
from myproject_echo import EchoFactory
from myproject_echo.tap import Options, makeFactory


def options(*words: str, **environ: str) -> Options:
    made = Options(environ)
    made.given = {}
    made.parseOptions(list(words))
    return made


class OptionsTests(SynchronousTestCase):
    """What can be set."""

    def test_defaults(self) -> None:
        """Alone, it listens on port 7007, and not to UDP."""
        made = options()
        self.assertEqual((("7007",), False), (made.port, made.udp))

    def test_environment(self) -> None:
        """The environment's names begin with the subcommand's."""
        made = options(MYPROJECT_ECHO_PORT="1 2", MYPROJECT_ECHO_UDP="yes")
        self.assertEqual((("1", "2"), True), (made.port, made.udp))

    def test_help_says_what_is_not_answered(self) -> None:
        """The help of --udp says whom it never answers."""
        words = " ".join(str(options()).split())
        self.assertIn("from a port below 1024", words)
        self.assertIn("7007", words)

    def test_udp_needs_a_number(self) -> None:
        """An endpoint has no UDP beside it, and the refusal says what to do."""
        made = Options({"MYPROJECT_ECHO_UDP": "yes", "MYPROJECT_ECHO_PORT": "tcp:1"})
        with self.assertRaises(SettingError) as caught:
            made.resolve()
        self.assertEqual(
            "--udp, from MYPROJECT_ECHO_UDP in the environment: an endpoint description says nothing"
            " of UDP; give port numbers alone to --port, or leave --udp out",
            str(caught.exception),
        )


class MakeFactoryTests(SynchronousTestCase):
    """From settings to a factory."""

    def test_tcp_alone(self) -> None:
        """Without --udp there is no service beside the ports."""
        factory = makeFactory(options())
        self.assertIsInstance(factory, EchoFactory)
        self.assertEqual([], list(IHasServices(factory).services()))

    def test_udp(self) -> None:
        """With --udp there is one, on the same numbers, and its sockets know each other's ports."""
        (service,) = makeFactory(options("--udp", "-p", "1", "-p", "2")).services()
        assert isinstance(service, DatagramService)
        self.assertEqual(("1", "2"), service.descriptions)
        first, second = service.make_protocol(), service.make_protocol()
        self.assertIsNot(first, second)
        self.assertIs(vars(first)["own_ports"], vars(second)["own_ports"])
