"""The front door and its hosted services as an operator runs them: a real ``twistd``, real sockets."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support import ask, exchange, free_port, run, start

DOOR = ("-n", "--pidfile=", "myproject")


class TwistdCase(SynchronousTestCase):
    """A folder, and a file of services in it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def write(self, **services: tuple[str, list[str]]) -> None:
        """Write services.toml, from names to plugins and arguments."""
        lines = [
            f"[services.{name}]\nplugin = {json.dumps(plugin)}\narguments = {json.dumps(words)}\n"
            for name, (plugin, words) in services.items()
        ]
        (self.folder / "services.toml").write_text("\n".join(lines))


class DoorTests(TwistdCase):
    """The door, with the echo server behind it."""

    def test_every_answer_reaches_a_client_that_has_closed_its_side(self) -> None:
        port = free_port()
        words = (*DOOR, "-p", str(port), "--offer", "myproject-echo")
        server = start(self, *words, cwd=self.folder).wait_for_port(port)
        self.assertEqual(b"myproject-echo\r\n", exchange(port, b"help\r\n"))
        payload = bytes(range(256)) * 200
        for name in (b"myproject-echo\r\n", b"MYPROJECT-ECHO\n"):
            self.assertEqual(b"+myproject-echo\r\n" + payload, exchange(port, name + payload))
        self.assertEqual(b"-no service was named\r\n", exchange(port, b"myproject-echo"))
        # Closed at once, the socket would be reset, and the refusal lost with what was sent.
        refusal = b"-no such service; HELP lists them\r\n"
        self.assertEqual(refusal, exchange(port, b"nonesuch\r\n" + payload * 40))
        server.stop()
        self.assertEqual("", server.stderr)

    def test_an_offer_that_cannot_be_had_is_one_line(self) -> None:
        done = run(*DOOR, "--offer", "myproject-ecko", cwd=self.folder)
        self.assertEqual((64, ""), (done.returncode, done.stdout))
        self.assertRegex(done.stderr, r"\Amyproject: --offer, .*did you mean myproject-echo.*\n\Z")


class HostedTests(TwistdCase):
    """Foreign plugins in one process."""

    def test_web_and_portforward_run_in_one_process_each_under_its_name(self) -> None:
        door, site, forward = free_port(), free_port(), free_port()
        (self.folder / "www").mkdir()
        (self.folder / "www" / "index.html").write_text("hello from the site\n")
        self.write(
            site=("web", ["--listen", f"tcp:{site}:interface=127.0.0.1", "--path", "www"]),
            forward=(
                "portforward",
                ["--port", f"tcp:{forward}", "--host", "127.0.0.1", "--dest_port", str(site)],
            ),
        )
        words = (*DOOR, "-p", str(door), "--offer", "myproject-echo", "--services", "services.toml")
        server = start(self, *words, cwd=self.folder).wait_for_port(door)
        request = b"GET /index.html HTTP/1.0\r\n\r\n"
        self.assertIn(b"\r\n\r\nhello from the site\n", ask(forward, request, b"the site\n"))
        self.assertEqual(b"myproject-echo\r\n", exchange(door, b"HELP\r\n"))
        server.wait_for_log("GET /index.html")
        server.stop()
        self.assertEqual("", server.stderr)
        for line in (
            rf"\[site\] Site starting on {site}\n",
            r'\[site\] "127.0.0.1" - - .*"GET /index.html HTTP/1.0" 200 ',
            rf"\[forward\] ProxyFactory starting on {forward}\n",
            r"\[forward/twisted.protocols.portforward.ProxyFactory\] Starting factory",
            rf"\[forward\] \(TCP Port {forward} Closed\)\n",
            rf"\[site\] \(TCP Port {site} Closed\)\n",
        ):
            self.assertRegex(server.stdout, line)

    def test_a_mistake_stops_the_start_with_one_line(self) -> None:
        taken = free_port()
        good = ("web", ["--listen", f"tcp:{taken}"])
        for status, bad, words in (
            (64, ("webb", []), "service 'bad': no plugin named 'webb' is installed"),
            (64, ("web", ["--pth", "x"]), "service 'bad': option --pth not recognized"),
            (64, ("myproject-echo", ["-p", "x"]), "service 'bad': myproject-echo: --port, from"),
            (69, ("portforward", ["-d", "x"]), "service 'bad' cannot be made: ValueError"),
            (
                69,
                ("portforward", ["--port", f"tcp:{taken}"]),
                f"service 'bad' cannot start: .*:{taken}: address already in use",
            ),
        ):
            self.write(good=good, bad=bad)
            words_of_door = ("-p", "0", "--services", "services.toml", "--offer", "myproject-echo")
            done = run(*DOOR, *words_of_door, cwd=self.folder)
            self.assertEqual(status, done.returncode, done.stderr)
            self.assertRegex(done.stderr, rf"\A[^\n]*{words}[^\n]*\n\Z")
            self.assertIn(str(self.folder / "services.toml"), done.stderr)

    def test_one_of_this_projects_own_that_cannot_listen_is_one_line(self) -> None:
        taken = str(free_port())
        self.write(
            good=("web", ["--listen", f"tcp:{taken}"]), bad=("myproject-echo", ["-p", taken])
        )
        words = ("-p", "0", "--services", "services.toml", "--offer", "myproject-echo")
        done = run(*DOOR, *words, cwd=self.folder)
        self.assertEqual(69, done.returncode)
        self.assertRegex(
            done.stderr, r"\A[^\n]*service 'bad' cannot [^\n]*address already in use[^\n]*\n\Z"
        )
