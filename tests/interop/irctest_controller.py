"""
How irctest (https://github.com/progval/irctest) starts, configures and ends the IRC server.

irctest is a suite of its own, run by pytest, and knows a server by a module like this one: ``pytest
--controller irctest_controller`` with this folder on ``PYTHONPATH``. It is no part of the project: the
nox session takes the path of a checkout. What is declared here is what the suite insists on: a test of
something declared fails where it would be skipped otherwise.

Each test has a server of its own: a process, a port, a folder with the configuration and the state.
What the server logs is printed when the test ends, which pytest shows for those that fail, and a
traceback in it fails the test: nothing that a client sends may raise.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, get_args

from irctest import patma  # type: ignore[import-not-found]
from irctest.basecontrollers import (  # type: ignore[import-not-found]
    BaseServerController,
    DirectoryBasedController,
)
from irctest.runner import NotImplementedByController  # type: ignore[import-not-found]
from irctest.specifications import (  # type: ignore[import-not-found]
    Capabilities,
    OptionalBehaviors,
)

from myproject_chat.configuration import Privilege

__all__ = ["MyprojectController", "get_irctest_controller_class"]

_SUBCOMMAND: Final = "myproject-chat"
_HERE: Final = "127.0.0.1"
_NETWORK: Final = "127.0.0.0/8"
# A line has 512 bytes, of which "REGISTER * * :" takes some.
_LONGEST_IN_A_LINE: Final = 480
# "operpassword", hashed as cheaply as argon2 can.
_OPERPASSWORD: Final = (
    "$argon2id$v=19$m=8,t=1,p=1$aXJjdGVzdC1vcGVydXNlcg$CFvuBwhpQbioRCBC0JzJPgq5LYH2wBHP2CEPiKIELpQ"
)

# Most of what the suite knows how to alter for one test is written in Ergo's words. This is as much
# of Ergo's configuration as tests alter; `_translate` says the same in ours.
_ERGO: Final[Mapping[str, Any]] = {
    "server": {"casemapping": "ascii", "listeners": {}},
    "accounts": {"default-user-modes": "", "multiclient": {"always-on": "opt-in"}},
    "history": {"znc-maxmessages": 0},
}


class MyprojectController(BaseServerController, DirectoryBasedController):  # type: ignore[misc]
    """What the suite asks of a server under test: ``run``, ``registerUser``, ``kill``."""

    software_name = "myproject-chat"
    supported_sasl_mechanisms: Final = {"PLAIN", "SCRAM-SHA-256"}
    supports_sts = True
    extban_mute_char = "m"
    _port_wait_interval = 0.02
    #: Those whose server runs. A test that is skipped while it is set up does not end its own.
    _started: ClassVar[list[MyprojectController]] = []

    capabilities = frozenset(Capabilities)
    optional_behaviors = frozenset(OptionalBehaviors) - {
        # The opposite of UTF8ONLY.
        OptionalBehaviors.NON_UTF8_MESSAGE,
    }
    isupport: Final[Mapping[str, Any]] = {
        "ACCOUNTEXTBAN": patma.ANYSTR,
        "BOT": "B",
        "CASEMAPPING": "ascii",
        "ELIST": "CMNTU",
        "EXCEPTS": patma.ANYOPTSTR,
        "EXTBAN": patma.ANYSTR,
        "INVEX": patma.ANYOPTSTR,
        "MONITOR": patma.ANYSTR,
        "MSGREFTYPES": "msgid,timestamp",
        "PREFIX": "(qaohv)~&@%+",
        "STATUSMSG": "~&@%+",
        "TARGMAX": patma.ANYSTR,
        "UTF8ONLY": None,
        "WHOX": None,
    }

    def run(
        self,
        hostname: str,
        port: int,
        *,
        password: str | None,
        ssl: bool,
        run_services: bool,  # noqa: ARG002 - ours are part of the server
        faketime: str | None,
        websocket_hostname: str | None = None,  # noqa: ARG002 - as the other one
        websocket_port: int | None = None,
    ) -> None:
        """
        Start a server; the suite then waits for its port.

        :param hostname: where clients connect to: any address of this machine.
        :param port: a port that is free.
        :param password: what clients have to say with PASS, if anything.
        :param ssl: whether the port is for TLS.
        :param run_services: whether the test needs NickServ.
        :param faketime: how time passes for the server, as faketime(1) writes it.
        :param websocket_hostname: the same for WebSockets, if the test uses any.
        :param websocket_port: a port that is free for them.
        :raises NotImplementedByController: the test asks for what we do not have.
        """
        ergo = json.loads(json.dumps(_ERGO))
        ergo["server"]["listeners"][f"{_HERE}:{port}"] = None
        if self.test_config.ergo_config is not None:
            self.test_config.ergo_config(ergo)
        settings = _settings(ergo, self.test_config)
        self.hostname, self.port = hostname, port
        self.create_config()
        listen = f"tcp:{port}:interface={_HERE}"
        settings["port"] = [listen]
        settings["state"] = str(self.directory / "state.sqlite")
        if password is not None:
            settings["password"] = password
        if ssl:
            self.gen_ssl()
            settings["port"] = []
            settings["tls-port"] = [listen]
            settings["certificate"] = str(self.pem_path)
            settings["private-key"] = str(self.key_path)
        if websocket_port is not None:
            settings["web-port"] = [f"tcp:{websocket_port}:interface={_HERE}"]
        for left in [*self._started]:
            left.kill()
        self._started.append(self)
        atexit.register(self.kill)
        self._settings = settings
        self._prefix: list[str] = []
        if faketime and shutil.which("faketime"):
            self._prefix = ["faketime", "-f", faketime]
            self.faketime_enabled = True
            for name in ("registration-timeout", "ping-interval", "ping-timeout"):
                # Such a minute passes in two seconds.
                settings[name] *= 60
        self._start()

    def _start(self) -> None:
        self._write()
        twistd = Path(sys.executable).with_name("twistd")
        words = ["-n", "--pidfile=", _SUBCOMMAND, "--config", "server.toml"]
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("MYPROJECT")
        }
        with self._log_path.open("ab") as log:
            self.proc = self.execute(
                [*self._prefix, str(twistd), *words],
                cwd=self.directory,
                env=kept,
                stdout=log,
                stderr=log,
            )

    def _write(self) -> None:
        text = "\n".join(_toml(_SUBCOMMAND, self._settings))
        (self.directory / "server.toml").write_text(text + "\n")

    @property
    def _log_path(self) -> Path:
        return Path(self.directory) / "server.log"

    def restart(self) -> None:
        """Stop the server and start it again with the same state."""
        self.kill_proc()
        self.port_open = False
        self._start()
        self.wait_for_port()

    def kill(self) -> None:
        """
        End the server and remove its folder.

        :raises AssertionError: there is a traceback in its log.
        """
        atexit.unregister(self.kill)
        if self in self._started:
            self._started.remove(self)
        log = ""
        if self.proc:
            self.kill_proc()
        if self.directory:
            log = self._log_path.read_text(errors="replace") if self._log_path.exists() else ""
        super().kill()
        sys.stdout.write(f"---- the server's log ----\n{log}")
        if "Traceback" in log:
            raise AssertionError("the server logged a traceback")

    def wait_for_services(self) -> None:
        """NickServ is there when the port is."""

    def registerUser(self, case: Any, username: str, password: str | None = None) -> None:
        """
        Make an account: by draft/account-registration, or as an operator does if the line would be too long.

        :param case: the test.
        :param username: its name.
        :param password: its password.
        """
        if not case.run_services:
            raise ValueError("only tests that are marked as services' may register accounts")
        if password is not None and len(password.encode()) > _LONGEST_IN_A_LINE:
            self._add_account(case, username, password)
            return
        client = case.addClient(show_io=True)
        case.sendLine(client, "CAP LS 302")
        offered = case.getCapLs(client)
        if "draft/account-registration" not in offered:
            raise NotImplementedByController("account registration")
        case.requestCapabilities(client, ["draft/account-registration"])
        case.sendLine(client, f"NICK {username}")
        case.sendLine(client, "USER r e g :user")
        case.sendLine(client, "CAP END")
        while case.getRegistrationMessage(client).command != "001":
            pass
        case.getMessages(client)
        case.sendLine(client, f"REGISTER * * {password}")
        done = case.getMessage(client)
        while done.command == "900":
            done = case.getMessage(client)
        case.assertMessageMatch(
            done, command="REGISTER", params=["SUCCESS", username, patma.ANYSTR]
        )
        case.sendLine(client, "QUIT")
        case.assertDisconnected(client)

    def _add_account(self, case: Any, username: str, password: str) -> None:
        """Make an account by the program for that, and wait until the server knows it."""
        self.wait_for_port()
        state = str(self.directory / "state.sqlite")
        words = ["-m", "myproject_chat", "--state", state, "account", "add", username]
        subprocess.run([sys.executable, *words], input=f"{password}\n", text=True, check=True)
        client = "asks_for_account"
        case.connectClient(client, name=client)
        while True:
            case.sendLine(client, f"NS INFO {username}")
            if any(
                line.params[-1].startswith(f"{username} was registered on")
                for line in case.getMessages(client)
            ):
                break
            time.sleep(0.1)
        case.sendLine(client, "QUIT")
        case.assertDisconnected(client)

    def getConfig(self) -> dict[str, Any]:
        """The configuration in Ergo's words, for a test to alter."""
        return dict(json.loads(json.dumps(_ERGO)))

    def rehash(self, case: Any, config: Mapping[str, Any]) -> None:
        """
        Take another configuration while the server runs.

        :param case: the test.
        :param config: all of it, in Ergo's words.
        """
        self._settings.update(_settings(config, self.test_config))
        self._write()
        name = "operator_for_rehash"
        case.connectClient(nick=name, name=name)
        case.sendLine(name, "OPER operuser operpassword")
        case.sendLine(name, "REHASH")
        case.getMessages(name)
        case.sendLine(name, "QUIT")
        case.assertDisconnected(name)


def _settings(ergo: Mapping[str, Any], wanted: Any) -> dict[str, Any]:
    """What every test's server is told, and what this test asks for, some of it in Ergo's words."""
    if ergo["server"]["casemapping"] != "ascii":
        raise NotImplementedByController(f"casemapping {ergo['server']['casemapping']}")
    settings: dict[str, Any] = {
        "server-name": "My.Little.Server",
        "network-name": "testnet",
        "description": "test server",
        # A client that waits in vain goes on waiting until the server hangs up.
        "registration-timeout": 20,
        "ping-interval": 20,
        "ping-timeout": 10,
        "drain-timeout": 1,
        "throttle": {"exempt": [_NETWORK]},
        "fakelag": {"exempt": [_NETWORK]},
        "accounts": {
            "default-modes": ergo["accounts"]["default-user-modes"].removeprefix("+"),
            "before-connect": wanted.account_registration_before_connect,
            "email-required": bool(wanted.account_registration_requires_email),
            "always-on": ergo["accounts"]["multiclient"]["always-on"],
            # The suite's shortest password has three letters.
            "password-length": 1,
            # As cheap as they can be: a test logs in several times.
            "hash": {"time": 1, "memory": 8, "iterations": 4096},
        },
        "operator": [
            {
                "name": "operuser",
                "password-hash": _OPERPASSWORD,
                "privileges": sorted(get_args(Privilege)),
            }
        ],
    }
    if any((listener or {}).get("proxy") for listener in ergo["server"]["listeners"].values()):
        settings["proxy-from"] = [_NETWORK]
    return settings


def _toml(name: str, table: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a table of TOML: plain values first, then the tables inside it."""
    yield f"[{name}]"
    inner: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) or _is_tables(value):
            inner[key] = value
        else:
            # What JSON writes for these types, TOML reads: text, numbers, booleans, lists of them.
            yield f"{key} = {json.dumps(value)}"
    for key, value in inner.items():
        for one in [value] if isinstance(value, Mapping) else value:
            first, *rest = _toml(f"{name}.{key}", one)
            yield first if isinstance(value, Mapping) else f"[{first}]"
            yield from rest


def _is_tables(value: object) -> bool:
    return isinstance(value, Sequence) and bool(value) and isinstance(value[0], Mapping)


def get_irctest_controller_class() -> type[MyprojectController]:
    """Tell irctest which class it is."""
    return MyprojectController
