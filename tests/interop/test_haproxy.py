"""
haproxy, as Debian has it, before the servers: clients are who they are, whoever ends their TLS.

Each test starts haproxy with a file of its own, and the installed ``twistd`` behind it. Clients come to
haproxy from 127.0.0.2, so that neither haproxy (127.0.0.1) nor the server can be taken for them. Where
haproxy is not installed the tests are skipped, or fail if MYPROJECT_REQUIRE_INTEROP=1.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.core.authority import issue
from tests.support import PATIENCE, Running, free_port, start, wait_until

#: Where clients come from.
CLIENT = "127.0.0.2"

_HEAD = """
global
    log stdout format raw local0
defaults
    mode tcp
    timeout connect 20s
    timeout client 60s
    timeout server 60s
    timeout client-fin 30s
"""


class HaproxyCase(SynchronousTestCase):
    """A server, haproxy before it, and clients."""

    def setUp(self) -> None:
        found = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if found is None:
            if os.environ.get("MYPROJECT_REQUIRE_INTEROP") == "1":
                self.fail("haproxy is not installed and MYPROJECT_REQUIRE_INTEROP=1")
            raise SkipTest("haproxy is not installed")
        self.haproxy = found
        self.folder = Path(tempfile.mkdtemp(prefix="myproject-haproxy-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.certificate = issue("haproxy.test").write(self.folder / "both.pem")

    def serve(self, subcommand: str, *words: str) -> int:
        """Start a server that believes haproxy; its port."""
        self.behind = free_port()
        if "--tls-port" not in words:
            words = ("-p", f"tcp:{self.behind}:interface=127.0.0.1", *words)
        else:
            at = words.index("--tls-port") + 1
            here = f"tcp:{self.behind}:interface=127.0.0.1"
            words = ("-p", f"tcp:{free_port()}:interface=127.0.0.1", *words[:at], here, *words[at:])
        self.server = start(
            self, "-n", subcommand, *words, "--proxy-from", "127.0.0.1", "--access-log"
        )
        self.server.wait_for_port(self.behind)
        return self.behind

    def balance(self, server: str, bind: str = "") -> int:
        """Start haproxy; the port that it listens on."""
        before = free_port()
        file = self.folder / "haproxy.cfg"
        file.write_text(
            f"{_HEAD}\nlisten test\n    bind 127.0.0.1:{before} {bind}\n"
            f"    server one 127.0.0.1:{self.behind} {server}\n"
        )
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            process = subprocess.Popen(
                [self.haproxy, "-db", "-f", str(file)], stdout=out, stderr=err
            )
        self.proxy = Running(process.pid, self.folder, process)
        self.addCleanup(self.proxy.stop)
        self.proxy.wait_for_port(before)
        return before

    def connect(self, port: int) -> tuple[socket.socket, str]:
        """A client, and its address as a log has it."""
        client = socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=(CLIENT, 0))
        self.addCleanup(client.close)
        return client, f"{CLIENT}:{client.getsockname()[1]}"

    def wrap(self, client: socket.socket) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=self.certificate)
        wrapped = context.wrap_socket(client, server_hostname="haproxy.test")
        self.addCleanup(wrapped.close)
        return wrapped

    def assert_served(self, port: int, *, encrypted: bool = False) -> None:
        """All that a client sends comes back, and the server knows who it is and where it came to."""
        client, name = self.connect(port)
        talking = self.wrap(client) if encrypted else client
        data = os.urandom(100_000)
        received = b""
        for start_at in range(0, len(data), 10_000):
            talking.sendall(data[start_at : start_at + 10_000])
            while len(received) < start_at + 10_000:
                more = talking.recv(65536)
                self.assertTrue(more, "closed too early")
                received += more
        self.assertEqual(data, received)
        self.server.wait_for_log(f" from {name} to 127.0.0.1:{port} opened")
        talking.close()
        self.server.wait_for_log(f" from {name} closed")
        self.assertNotIn("Traceback", self.server.log)


class HaproxyTests(HaproxyCase):
    """With both versions of the header."""

    def test_plain(self) -> None:
        for version in ("send-proxy", "send-proxy-v2"):
            self.serve("myproject-echo")
            self.assert_served(self.balance(version))

    def test_tls_passed_through(self) -> None:
        """The client's TLS is with our server; haproxy puts the header before it."""
        for version in ("send-proxy", "send-proxy-v2"):
            self.serve("myproject-echo", "--tls-port", "--certificate", str(self.certificate))
            self.assert_served(self.balance(version), encrypted=True)

    def test_tls_ended_by_haproxy(self) -> None:
        """The client's TLS is with haproxy, which says so in vectors behind the addresses."""
        bind = f"ssl crt {self.certificate}"
        options = "proxy-v2-options ssl,cert-cn,ssl-cipher,authority,crc32c,unique-id"
        for version in ("send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"):
            self.serve("myproject-echo")
            words = f"{version} {options}" if version == "send-proxy-v2" else version
            self.assert_served(self.balance(words, bind), encrypted=True)

    def test_tls_on_both_sides(self) -> None:
        """The balancer ends the client's TLS and begins its own: the header is before that."""
        self.serve("myproject-echo", "--tls-port", "--certificate", str(self.certificate))
        bind = f"ssl crt {self.certificate}"
        self.assert_served(self.balance("send-proxy-v2 ssl verify none", bind), encrypted=True)

    def test_chat(self) -> None:
        """The chat sees the client's address, and --deny keeps that one out."""
        self.serve("myproject-chat")
        client, _ = self.connect(self.balance("send-proxy-v2"))
        client.sendall(b"QUIT :bye\r\n")
        said = b"".join(iter(lambda: client.recv(65536), b""))
        self.assertIn(f"Closing link: {CLIENT}".encode(), said)
        self.serve("myproject-chat", "--deny", CLIENT)
        client, _ = self.connect(self.balance("send-proxy-v2"))
        self.server.wait_for_log(f"the last from {CLIENT}: their network is denied")

    def test_health_check(self) -> None:
        """The balancer's checks are its own: no limit refuses them, and no client's is spent."""
        for version in ("send-proxy", "send-proxy-v2"):
            self.serve(
                "myproject-echo", "--connection-rate", "1", "--max-connections-per-host", "1"
            )
            port = self.balance(f"{version} check inter 50ms rise 1 fall 1")
            wait_until(lambda: self.server.log.count(" from 127.0.0.1:") > 5)
            self.assert_served(port)
            self.assertNotIn("is DOWN", self.proxy.log)
            self.assertNotIn("refused", self.server.log)

    def test_without_a_header(self) -> None:
        """A balancer that was not told to send one is refused, and the log says why."""
        self.serve("myproject-echo")
        client, _ = self.connect(self.balance(""))
        client.sendall(b"hello")
        self.assertEqual(b"", client.recv(100))
        self.server.wait_for_log(
            "valid PROXY header, as those of --proxy-from must (there is none)"
        )
