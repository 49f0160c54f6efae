"""
What ``deploy`` has is right: the tools that read it say so, and what it starts starts.

Where such a tool is missing, its test says which. No test needs a service manager, root, or an engine
for containers.
"""

from __future__ import annotations

import getpass
import grp
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.core.test_socket_activation import Activated
from tests.core.test_twistd import SUBCOMMANDS, EndToEnd
from tests.support import (
    PATIENCE,
    Running,
    ask,
    clean_environment,
    exchange,
    free_port,
    run,
    start,
)

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
UNITS: Final = DEPLOY / "systemd"
CONTAINER: Final = DEPLOY / "container"

#: Where the units and the image have the programs.
INSTALLED: Final = "/opt/myproject/bin/"

#: The most that `systemd-analyze security` may find: 1.5 of 10, where 10 is an unprotected service.
EXPOSURE: Final = 15


def tool(name: str, package: str) -> str:
    """Where a tool is."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise SkipTest(f"{name} is missing: install {package}")
    return found


def unit(name: str) -> dict[str, list[str]]:
    """The assignments of a unit, by key; a key may have several."""
    assignments: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            assignments.setdefault(key, []).append(value)
    return assignments


def names(folder: Path) -> list[str]:
    """What is in a folder, but for what the chat keeps in the one that its unit calls StateDirectory."""
    everything = (path.name for path in folder.iterdir())
    return sorted(name for name in everything if not name.startswith("myproject-chat.sqlite"))


def succeed(case: SynchronousTestCase, *command: str) -> str:
    """Run a command that is to succeed; what it printed."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=ROOT
    )
    case.assertEqual(0, done.returncode, done.stdout + done.stderr)
    return done.stdout + done.stderr


class UnitTests(Activated):
    """The systemd units, one of each kind for each subcommand."""

    def test_each_subcommand_has_its_units(self) -> None:
        expected = {f"{name}.{kind}" for name in SUBCOMMANDS for kind in ("service", "socket")}
        found = {path.name for path in UNITS.iterdir() if path.suffix in (".service", ".socket")}
        self.assertEqual(expected, found)

    def test_systemd_understands_them(self) -> None:
        analyze = tool("systemd-analyze", "systemd")
        folder = self.folder()
        for path in [*UNITS.glob("*.service"), *UNITS.glob("*.socket")]:
            here = path.read_text(encoding="utf-8").replace(INSTALLED, f"{folder}/")
            (folder / path.name).write_text(here, encoding="utf-8")
        # Verification wants the program to be there.
        (folder / "twistd").symlink_to(Path(sys.executable).with_name("twistd"))
        said = succeed(self, analyze, "verify", *map(str, sorted(folder.glob("*.s*e*"))))
        self.assertEqual([], [line for line in said.splitlines() if "myproject" in line])

    def test_systemd_finds_them_hardened(self) -> None:
        analyze = tool("systemd-analyze", "systemd")
        for name in SUBCOMMANDS:
            succeed(
                self,
                analyze,
                "security",
                "--offline=true",
                f"--threshold={EXPOSURE}",
                str(UNITS / f"{name}.service"),
            )

    def test_what_matters_most_is_not_left_to_a_figure(self) -> None:
        for name in SUBCOMMANDS:
            assignments = unit(f"{name}.service")
            for key, value in {
                "Type": "notify",
                "User": "myproject",
                "ProtectSystem": "strict",
                "ProtectHome": "yes",
                "PrivateTmp": "yes",
                "PrivateDevices": "yes",
                "NoNewPrivileges": "yes",
                "CapabilityBoundingSet": "",
                "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
            }.items():
                self.assertEqual([value], assignments.get(key), key)

    def test_systemd_takes_the_user(self) -> None:
        sysusers = tool("systemd-sysusers", "systemd")
        said = succeed(
            self, sysusers, "--dry-run", str(UNITS / "myproject.sysusers.conf"), "--root=/"
        )
        self.assertNotIn("ignoring", said)
        for name in SUBCOMMANDS:
            self.assertEqual(["myproject"], unit(f"{name}.service")["User"])

    def test_the_socket_has_the_name_and_the_ports_of_its_subcommand(self) -> None:
        for name, (port, _, _) in SUBCOMMANDS.items():
            assignments = unit(f"{name}.socket")
            self.assertEqual([name], assignments["FileDescriptorName"])
            self.assertEqual([f"0.0.0.0:{port}", f"[::]:{port}"], assignments["ListenStream"])

    def check(self, subcommand: str) -> None:
        """Start a unit's command as its manager would, with sockets as its socket unit has them."""
        (command,) = unit(f"{subcommand}.service")["ExecStart"]
        program, *words = shlex.split(command)
        self.assertEqual(f"{INSTALLED}twistd", program)
        config = f"/etc/myproject/{subcommand}.toml"
        self.assertIn(config, words)
        example = str(DEPLOY / "config" / Path(config).name)
        words = [example if word == config else word for word in words]
        four = self.listening(socket.AF_INET, "127.0.0.1")
        six = self.listening(socket.AF_INET6, "::1")
        server = self.activate([(subcommand, four), (subcommand, six)], *words)
        _, question, marker = SUBCOMMANDS[subcommand]
        for one, host in ((four, "127.0.0.1"), (six, "::1")):
            self.assertIn(marker, ask(one.getsockname()[1], question, marker, host))
        self.told("READY=1")
        self.assertEqual(0, server.stop())
        self.assertEqual(["stderr", "stdout"], names(server.folder))

    def test_front_door(self) -> None:
        self.check("myproject")

    def test_echo(self) -> None:
        self.check("myproject-echo")

    def test_chat(self) -> None:
        self.check("myproject-chat")


class RotationTests(EndToEnd):
    """The logrotate file."""

    def test_logrotate_understands_it(self) -> None:
        logrotate = tool("logrotate", "logrotate")
        text = (DEPLOY / "myproject.logrotate").read_text(encoding="utf-8")
        owner = f"{getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name}"
        file = self.folder() / "logrotate"
        file.write_text(text.replace("myproject myproject", owner), encoding="utf-8")
        file.chmod(0o644)
        said = succeed(self, logrotate, "--debug", str(file))
        self.assertEqual([], re.findall(r"^error:.*", said, re.MULTILINE))

    def test_it_rotates_where_the_units_may_write(self) -> None:
        text = (DEPLOY / "myproject.logrotate").read_text(encoding="utf-8")
        for name in SUBCOMMANDS:
            (folder,) = unit(f"{name}.service")["LogsDirectory"]
            self.assertIn(f"/var/log/{folder}/*.log", text)
            self.assertRegex(text, rf"for unit in .*\b{name}\b.*; do")
            self.assertEqual(["/bin/kill -HUP $MAINPID"], unit(f"{name}.service")["ExecReload"])


class ConfigurationTests(EndToEnd):
    """The example of each subcommand's file."""

    def test_each_is_valid(self) -> None:
        for name in SUBCOMMANDS:
            file = str(DEPLOY / "config" / f"{name}.toml")
            done = run(name, "--config", file, "--check-config", cwd=self.folder())
            said = (done.returncode, done.stdout, done.stderr)
            self.assertEqual((0, f"{name}: the configuration is valid\n", ""), said)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each its word and the rest."""
    text = (CONTAINER / "Dockerfile").read_text(encoding="utf-8")
    plain = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "")
    return [
        (word.upper(), rest.strip())
        for word, _, rest in (line.partition(" ") for line in plain.splitlines() if line.strip())
    ]


class ImageTests(EndToEnd):
    """The Dockerfile."""

    def last(self, word: str) -> str:
        """What the instruction says in the stage that is the image."""
        every = instructions()
        stage = max(index for index, (known, _) in enumerate(every) if known == "FROM")
        return [rest for known, rest in every[stage:] if known == word][-1]

    def command(self) -> list[str]:
        """What the container runs: only JSON's form is without a shell, which would keep the signals."""
        entry, default = json.loads(self.last("ENTRYPOINT")), json.loads(self.last("CMD"))
        assert isinstance(entry, list)
        assert isinstance(default, list)
        return [*entry, *default]

    def test_does_not_run_as_root(self) -> None:
        user, _, group = self.last("USER").partition(":")
        self.assertGreater(int(user), 0)
        self.assertGreater(int(group), 0)

    def test_leaves_no_pidfile_and_stays_in_the_foreground(self) -> None:
        self.assertEqual(["twistd", "-n", "--pidfile=", "myproject"], self.command())

    def test_exposes_the_ports_of_all_subcommands(self) -> None:
        ports = {int(port) for port in self.last("EXPOSE").split()}
        self.assertEqual({port for port, _, _ in SUBCOMMANDS.values()}, ports)

    def test_what_it_copies_is_there(self) -> None:
        ignored = CONTAINER / "Dockerfile.dockerignore"
        kept = [line[1:] for line in ignored.read_text().splitlines() if line.startswith("!")]
        self.assertEqual([], [name for name in kept if not (ROOT / name).exists()])

    def test_ends_by_the_signals_that_its_first_process_gets(self) -> None:
        """The kernel keeps from PID 1 any signal that it has no handler for."""
        unshare = tool("unshare", "util-linux")
        flags = ["--user", "--map-root-user"] if os.getuid() else []
        space = [unshare, *flags, "--pid", "--fork", "--kill-child"]
        trial = subprocess.run([*space, "true"], capture_output=True, check=False)
        if trial.returncode:
            raise SkipTest("unshare may not make a pid namespace here")
        program, *words = self.command()
        command = [str(Path(sys.executable).with_name(program)), *words]
        for number in (signal.SIGTERM, signal.SIGINT):
            port = free_port()
            folder = self.folder()
            with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
                process = subprocess.Popen(
                    [*space, *command, "-p", f"{port}"],
                    cwd=folder,
                    env=clean_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                )
            outside = Running(process.pid, folder, process)
            self.addCleanup(outside.stop, signal.SIGKILL)
            outside.wait_for_port(port)
            # Ports open before there are handlers for signals: an answer is a sign of both.
            ask(port, b"HELP\r\n", b"myproject-echo")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            (first,) = children.split()
            os.kill(int(first), number)
            self.assertEqual(0, outside.wait())
            self.assertIn("Server Shut Down.", outside.stdout)
            self.assertEqual(["stderr", "stdout"], names(folder))


class ComposeTests(EndToEnd):
    """haproxy before the containers."""

    def test_compose_understands_it(self) -> None:
        docker = tool("docker", "docker.io and docker-compose-v2")
        probe = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
        if probe.returncode:
            raise SkipTest("docker has no compose: install docker-compose-v2")
        file = str(CONTAINER / "compose.yaml")
        succeed(self, docker, "compose", "--file", file, "config", "--quiet")

    def test_each_subcommand_has_a_container_of_few_rights_and_its_file(self) -> None:
        try:
            yaml = importlib.import_module("yaml")
        except ImportError:
            raise SkipTest("yaml is missing: install PyYAML") from None
        document = yaml.safe_load((CONTAINER / "compose.yaml").read_text(encoding="utf-8"))
        for name in SUBCOMMANDS:
            (service,) = [
                one for one in document["services"].values() if name in one.get("command", [])
            ]
            self.assertEqual((["ALL"], True), (service["cap_drop"], service["read_only"]))
            ((source, target, mode),) = [one.split(":") for one in service["volumes"]]
            _, option, file = service["command"]
            there = CONTAINER / source / Path(file).relative_to(target)
            self.assertEqual(("--config", "ro", True), (option, mode, there.exists()))

    def test_haproxy_understands_its_file(self) -> None:
        haproxy = tool("haproxy", "haproxy")
        succeed(self, haproxy, "-c", "-f", str(CONTAINER / "haproxy.cfg"))

    def test_haproxy_knows_every_port(self) -> None:
        text = (CONTAINER / "haproxy.cfg").read_text(encoding="utf-8")
        ports = {port for port, _, _ in SUBCOMMANDS.values()}
        self.assertEqual(ports, {int(port) for port in re.findall(r"bind :(\d+)", text)})
        self.assertEqual(ports, {int(port) for port in re.findall(r"server \w+ \w+:(\d+)", text)})

    def test_haproxy_says_whose_connections_they_are_and_is_believed(self) -> None:
        text = (CONTAINER / "haproxy.cfg").read_text(encoding="utf-8")
        servers = re.findall(r"^    server .*", text, re.MULTILINE)
        self.assertEqual(len(SUBCOMMANDS), len([one for one in servers if "send-proxy-v2" in one]))
        text = (CONTAINER / "compose.yaml").read_text(encoding="utf-8")
        (address,) = re.findall(r"ipv4_address: (\S+)", text)
        believed = dict(re.findall(r"(MYPROJECT\w*_PROXY_FROM): (\S+)", text))
        prefixes = [name.upper().replace("-", "_") for name in SUBCOMMANDS]
        self.assertEqual({f"{one}_PROXY_FROM": address for one in prefixes}, believed)

    def test_haproxy_in_front_of_the_echo_server(self) -> None:
        """All bytes come back through it, after a half-close as well."""
        haproxy = tool("haproxy", "haproxy")
        behind, before = free_port(), free_port()
        start(self, "-n", "myproject-echo", "-p", f"{behind}").wait_for_port(behind)
        text = (CONTAINER / "haproxy.cfg").read_text(encoding="utf-8")
        head = text.partition("frontend door")[0]
        file = self.folder() / "haproxy.cfg"
        file.write_text(
            f"{head}\nlisten echo\n    bind 127.0.0.1:{before}\n    server echo 127.0.0.1:{behind}\n"
        )
        with (file.parent / "log").open("wb") as log:
            process = subprocess.Popen([haproxy, "-db", "-f", str(file)], stdout=log, stderr=log)
        (file.parent / "stdout").touch()
        (file.parent / "stderr").touch()
        proxy = Running(process.pid, file.parent, process)
        self.addCleanup(proxy.stop)
        proxy.wait_for_port(before)
        data = os.urandom(100_000)
        self.assertEqual(data, exchange(before, data))
