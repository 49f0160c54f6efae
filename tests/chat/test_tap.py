"""``twistd myproject-chat``: what can be set, and what is refused."""

from __future__ import annotations

from pathlib import Path
from subprocess import run
from sys import executable

from twisted.trial.unittest import SynchronousTestCase

from myproject import SettingError, __version__
from myproject_chat import Settings
from myproject_chat.tap import Options, makeFactory, program


def options(**environ: str) -> Options:
    made = Options({f"MYPROJECT_CHAT_{name}": value for name, value in environ.items()})
    made.resolve()
    return made


class OptionsTests(SynchronousTestCase):
    def test_the_defaults_are_those_of_the_server(self) -> None:
        self.assertEqual(("6667",), options().port)
        state = str(Path.cwd() / "myproject-chat.sqlite")
        expected = Settings(version=program, state=state, web_port=("8097",))
        self.assertEqual(expected, makeFactory(options()).server.settings)
        self.assertEqual(f"myproject-{__version__}".encode(), program())

    def test_every_setting_reaches_the_server(self) -> None:
        made = makeFactory(
            options(
                SERVER_NAME="irc.test",
                NETWORK_NAME="Net",
                MOTD="é",
                REGISTRATION_TIMEOUT="7",
                PING_INTERVAL="8",
                PING_TIMEOUT="9",
                SENDQ="20000",
                MAX_CHANNELS="3",
                STATE=":memory:",
            )
        )
        self.assertEqual(
            Settings(
                server_name=b"irc.test",
                version=program,
                network_name=b"Net",
                web_port=("8097",),
                motd="é".encode(),
                registration_timeout=7,
                ping_interval=8,
                ping_timeout=9,
                sendq=20000,
                max_channels=3,
            ),
            made.server.settings,
        )

    def test_who_names_a_port_names_them_all(self) -> None:
        """Without any, there is IRC and the page; with one, what was named and no more."""
        self.assertEqual((("6667",), ("8097",)), (options().port, options().web_port))
        self.assertEqual((), options(PORT="6667").web_port)
        self.assertEqual((), options(WEB_PORT="").web_port)
        self.assertEqual(("1", "2"), options(WEB_PORT="1 2").web_port)

    def test_what_the_web_needs_is_imported_when_somebody_comes(self) -> None:
        """Not to listen, with a web port or without: it would be a twelfth of the time until then."""
        code = (
            "import sys; from myproject_chat.tap import Options, makeFactory;"
            " o = Options({'MYPROJECT_CHAT_%s': '1'}); o.resolve(); f = makeFactory(o); f.services();"
            " assert len(f.further_ports()) == %d;"
            " print(sorted({'h11', 'wsproto', 'myproject_chat.web', 'gzip'} & set(sys.modules)))"
        )
        for port, count in (("PORT", 0), ("WEB_PORT", 1)):
            done = run(
                [executable, "-c", code % (port, count)], check=True, capture_output=True, text=True
            )
            self.assertEqual("[]\n", done.stdout)

    def test_names_that_would_break_every_line_are_refused(self) -> None:
        for bad in ("nodot", "a b.c", ":a.b", "é.b", ".", "a." + "b" * 62, ""):
            self.assertRaises(SettingError, options, SERVER_NAME=bad)
        for bad in ("", "a b", ":a", "é", "n" * 64, "-"):
            self.assertRaises(SettingError, options, NETWORK_NAME=bad)

    def test_no_reactor_is_installed_by_making_a_factory(self) -> None:
        code = (
            "import sys; from myproject_chat.tap import Options, makeFactory; o = Options({});"
            " o.resolve(); makeFactory(o).buildProtocol(None);"
            " sys.exit('twisted.internet.reactor' in sys.modules)"
        )
        self.assertEqual(0, run([executable, "-c", code], check=False).returncode)
