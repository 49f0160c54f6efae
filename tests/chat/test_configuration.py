"""The tables of the chat's configuration, and the settings that they become."""

from __future__ import annotations

import ast
import contextlib
import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from myproject import SettingError
from myproject.reload import ReloadService, read_again
from myproject.settings import TableSetting
from myproject_chat import Settings, configuration, names
from myproject_chat.configuration import (
    Accounts,
    Channels,
    Cloak,
    Fakelag,
    Fingerprint,
    HashCost,
    History,
    Limits,
    Network,
    Operator,
    Sts,
    Throttle,
    Webirc,
    WebSocket,
)
from myproject_chat.configuration.fields import Table
from myproject_chat.options import Options
from myproject_chat.tap import program

ROOT = Path(__file__).parents[2]

#: The hash of a password, as argon2-cffi writes it.
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b/dWRWJTmaaJObG"
FINGERPRINT = "ab" * 32


class ConfigurationCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = self.folder / "chat.toml"

    def read(self, *lines: str) -> Options:
        self.file.write_text("\n".join(["[myproject-chat]", *lines]), encoding="utf-8")
        options = Options({})
        options.resolve(self.file)
        return options

    def refuse(self, words: str, *lines: str) -> None:
        """Expect one line that has these words and begins with the setting's name or path."""
        error = str(self.assertRaises(SettingError, self.read, *lines))
        self.assertIn(words, error)
        self.assertNotIn("\n", error)


class SchemaTests(ConfigurationCase):
    def test_the_defaults_are_those_of_the_structures(self) -> None:
        found = Settings.of(self.read())
        state = str(Path.cwd() / "myproject-chat.sqlite")
        self.assertEqual(Settings(state=state, web_port=("8097",)), found)

    def test_settings_without_words_need_no_file(self) -> None:
        settings = Settings()
        self.assertEqual(":memory:", settings.state)
        self.assertEqual((30, True, "nt"), (settings.limits.nick, settings.throttle.enabled,
                                           settings.channels.default_modes))  # fmt: skip

    def test_every_table_reaches_the_server(self) -> None:
        found = Settings.of(
            self.read(
                'description = "é"',
                'admin = ["a", "b"]',
                'password = "sesame"',
                'state = ":memory:"',
                'tls-port = "tcp:0"',
                "web-port = 0",
                "self-signed = true",
                "[myproject-chat.limits]\nrecvq-lines = 99\nreal-name = 50",
                "[myproject-chat.throttle]\nconnections = 3\nexempt = ['127.0.0.0/8', '::1']",
                "[myproject-chat.fakelag]\nrate = 3.5",
                "[myproject-chat.accounts]\nmulticlient = 'off'\n[myproject-chat.accounts.hash]\ntime = 1",
                "[myproject-chat.history]\ndays = 0.5",
                "[myproject-chat.channels]\ndefault-modes = 'nts'",
                f"[myproject-chat.cloak]\nsecret = '{'s' * 32}'",
                "[myproject-chat.sts]\nenabled = true\npreload = true",
                "[myproject-chat.websocket]\norigins = ['https://a.example']\norigin-required = true",
                f"[[myproject-chat.operator]]\nname = 'al'\npassword-hash = '{HASH}'",
                f"[[myproject-chat.operator]]\nname = 'bo'\nfingerprint = '{'AB:' * 31}AB'",
                f"[[myproject-chat.webirc]]\nname = 'web'\npassword-hash = '{HASH}'",
                "networks = ['192.0.2.1']",
            ),
            program,
        )
        one = Network(ipaddress.ip_network("192.0.2.1"))
        self.assertEqual(
            Settings(
                version=program,
                description="é".encode(),
                admin=(b"a", b"b"),
                password=b"sesame",
                state=":memory:",
                web_port=("0",),
                limits=Limits(recvq_lines=99, real_name=50),
                throttle=Throttle(
                    connections=3, exempt=(Network.parse("127.0.0.0/8"), Network.parse("::1"))
                ),
                fakelag=Fakelag(rate=3.5),
                accounts=Accounts(multiclient="off", hash=HashCost(time=1)),
                history=History(days=0.5),
                channels=Channels(default_modes="nts"),
                cloak=Cloak(secret="s" * 32),
                sts=Sts(enabled=True, preload=True),
                websocket=WebSocket(origins=("https://a.example",), origin_required=True),
                operators=(
                    Operator(name="al", password_hash=HASH),
                    Operator(name="bo", fingerprint=Fingerprint(FINGERPRINT)),
                ),
                gateways=(Webirc(name="web", password_hash=HASH, networks=(one,)),),
            ),
            found,
        )

    def test_every_field_has_a_sentence_and_every_number_a_unit_and_an_end(self) -> None:
        for setting in Options.settings.values():
            if not isinstance(setting, TableSetting):
                continue
            for field in setting.fields:
                where = f"{setting.name}.{field.name}"
                self.assertTrue(field.help[0].isupper(), where)
                self.assertTrue(field.help.endswith("."), where)
                if "number" in field.allowed and "form" not in field.allowed:
                    self.assertRegex(field.allowed, r" of .* from \S+ to \S+$", where)

    def test_every_key_of_every_table_is_asked_for_somewhere(self) -> None:
        """One that nobody reads would promise people what is not kept."""
        folder = ROOT / "packages/chat/myproject_chat"
        modules = [one for one in folder.rglob("*.py") if one.parent.name != "configuration"]
        attributes = {
            node.attr
            for module in modules
            for node in ast.walk(ast.parse(module.read_bytes()))
            if isinstance(node, ast.Attribute)
        }
        for table in vars(configuration).values():
            if isinstance(table, type) and issubclass(table, Table):
                for field in table.__struct_fields__:
                    self.assertIn(field, attributes, f"{table.__name__}.{field} is not used")

    def test_the_longest_names_allowed_are_those_that_fit_a_line(self) -> None:
        for field, longest in ("nick", names.NICK_LENGTH), ("channel", names.CHANNEL_LENGTH):
            msgspec.convert({field: longest}, Limits)
            with self.assertRaises(msgspec.ValidationError):
                msgspec.convert({field: longest + 1}, Limits)

    def test_deploys_example_is_right_as_it_stands_and_with_all_that_is_commented_out(self) -> None:
        example = (ROOT / "deploy/config/myproject-chat.toml").read_text(encoding="utf-8")
        self.file.write_text(example, encoding="utf-8")
        Options({}).resolve(self.file)
        shown = re.sub(r"(?m)^# (?=\[|[a-z-]+ = )", "", example)
        self.assertNotEqual(shown, example)
        self.file.write_text(
            re.sub(r"(?m)^(certificate|private-key) = .*\n", "", shown), encoding="utf-8"
        )
        options = Options({"MYPROJECT_CHAT_SELF_SIGNED": "yes"})
        options.resolve(self.file)
        self.assertEqual(["alice"], [one.name for one in options.operator])
        self.assertTrue(options.sts.enabled)

    def test_what_print_config_prints_reads_the_same_but_for_secrets(self) -> None:
        options = self.read(
            "admin = ['a']", "[myproject-chat.throttle]\nexempt = ['::1', '10.0.0.0/8']",
            f"[[myproject-chat.operator]]\nname = 'bo'\nfingerprint = '{FINGERPRINT}'",
            "networks = ['::/0']\nprivileges = []",
        )  # fmt: skip
        self.file.write_text(options.as_toml(), encoding="utf-8")
        again = Options({})
        again.resolve(self.file)
        self.assertEqual(Settings.of(options), Settings.of(again))

    def test_print_config_shows_no_secret(self) -> None:
        shown = self.read(
            "password = 'sesame'",
            f"[myproject-chat.cloak]\nsecret = '{'s' * 32}'",
            f"[[myproject-chat.operator]]\nname = 'al'\npassword-hash = '{HASH}'",
            f"[[myproject-chat.webirc]]\nname = 'w'\npassword-hash = '{HASH}'\nnetworks = ['::1']",
        ).as_toml()
        for secret in ("sesame", "s" * 32, HASH):
            self.assertNotIn(secret, shown)
        self.assertEqual("al", tomllib.loads(shown)["myproject-chat"]["operator"][0]["name"])


class RefusalTests(ConfigurationCase):
    def test_someone_who_could_be_anybody(self) -> None:
        self.refuse(
            "myproject-chat.operator[0], from", "[[myproject-chat.operator]]", "name = 'al'"
        )
        self.refuse(
            "any program there could be it",
            "[[myproject-chat.webirc]]", "name = 'w'", "networks = ['::1']",
        )  # fmt: skip

    def test_a_gateway_that_could_be_anywhere(self) -> None:
        self.refuse(
            "myproject-chat.webirc[0].networks, from",
            "[[myproject-chat.webirc]]", "name = 'w'", "networks = []", f"password-hash = '{HASH}'",
        )  # fmt: skip

    def test_a_password_in_the_place_of_its_hash_is_not_shown(self) -> None:
        lines = ("[[myproject-chat.operator]]", "name = 'al'", "password-hash = 'sesame'")
        self.refuse("myproject-chat.operator[0].password-hash, from", *lines)
        error = str(self.assertRaises(SettingError, self.read, *lines))
        self.assertNotIn("sesame", error)

    def test_two_of_one_name(self) -> None:
        one = f"[[myproject-chat.operator]]\nname = 'al'\nfingerprint = '{FINGERPRINT}'"
        self.refuse("myproject-chat.operator[1].name, from", one, one)

    def test_networks_and_fingerprints_that_are_none(self) -> None:
        for text in ("", "x", "10.0.0.1/8", "1.2.3.4/33"):
            self.assertRaises(ValueError, Network.parse, text)
        for text in ("", "ab" * 31, "xy" * 32, "ab" * 33, "é" * 64):
            self.assertRaises(ValueError, Fingerprint.parse, text)

    def test_what_cannot_be_together(self) -> None:
        self.refuse("myproject-chat.sts, from", "[myproject-chat.sts]", "enabled = true")
        self.refuse("myproject-chat.sts, from", "[myproject-chat.sts]", "preload = true")
        self.refuse(
            "myproject-chat.accounts.hash, from",
            "[myproject-chat.accounts.hash]", "memory = 8", "lanes = 2",
        )  # fmt: skip

    def test_an_origin_is_no_url(self) -> None:
        self.refuse(
            "myproject-chat.websocket.origins[0], from",
            "[myproject-chat.websocket]", "origins = ['https://a.example/page']",
        )  # fmt: skip

    def test_lines_that_cannot_be_sent(self) -> None:
        self.refuse("--description, from", r'description = "a\nb"')
        self.refuse("--admin, from", r'admin = ["a", "b\u0000"]')
        self.refuse("--admin, from", 'admin = ["a", "b", "c", "d"]')
        self.refuse("--password, from", r'password = "a\r"')
        self.refuse("--password, from", f"password = '{'p' * 501}'")

    def test_a_state_file_without_a_name(self) -> None:
        self.refuse("--state, from", "state = ''")
        self.refuse("--state, from", r'state = "a\u0000"')

    @given(st.text())
    def test_any_text_is_a_network_or_refused(self, text: str) -> None:
        with contextlib.suppress(ValueError):
            self.assertEqual(Network.parse(text), Network.parse(str(Network.parse(text))))

    @given(st.binary(min_size=32, max_size=32), st.sampled_from(["", ":"]), st.booleans())
    def test_a_fingerprint_is_one_however_it_is_written(
        self, digest: bytes, between: str, upper: bool
    ) -> None:
        text = digest.hex(between) if between else digest.hex()
        found = Fingerprint.parse(text.upper() if upper else text)
        self.assertEqual(digest.hex(), found)


class NetworkTests(SynchronousTestCase):
    def test_it_has_addresses_of_its_version_only(self) -> None:
        network = Network.parse("10.0.0.0/8")
        self.assertIn(ipaddress.ip_address("10.1.2.3"), network)
        self.assertNotIn(ipaddress.ip_address("11.1.2.3"), network)
        self.assertNotIn(ipaddress.ip_address("::1"), network)

    def test_equal_ones_are_one(self) -> None:
        self.assertEqual(1, len({Network.parse("::1"), Network.parse("0::1")}))
        self.assertNotEqual(Network.parse("::1"), "::1/128")
        self.assertEqual("Network('10.0.0.0/8')", repr(Network.parse("10.0.0.0/8")))


class MotdTests(ConfigurationCase):
    def setUp(self) -> None:
        super().setUp()
        self.motd = self.folder / "motd"

    def test_the_file_takes_the_place_of_the_setting(self) -> None:
        self.motd.write_text("eins\nzwei é\n", encoding="utf-8")
        options = self.read("motd = 'one'", f"motd-file = '{self.motd}'")
        self.assertEqual("eins\nzwei é\n".encode(), Settings.of(options).motd)
        self.assertEqual(str(self.motd), options.sources["motd"])

    def test_a_file_that_cannot_be_shown_is_refused(self) -> None:
        line = f"motd-file = '{self.motd}'"
        self.refuse("no such file", line)
        self.motd.write_bytes(b"\xff")
        self.refuse("is not UTF-8", line)
        self.motd.write_bytes(b"x" * 65537)
        self.refuse("is too large", line)


class ReloadTests(ConfigurationCase):
    def test_the_state_file_stays_where_it_was_from_whatever_folder(self) -> None:
        with contextlib.chdir(self.folder):
            options = self.read()
        self.assertEqual(str(self.folder / "myproject-chat.sqlite"), options.state)
        self.assertEqual(options.state, read_again(options, self.folder)["state"])

    def test_what_can_change_does_and_what_cannot_is_named(self) -> None:
        (self.folder / "motd").write_text("one")
        lines = [f"motd-file = '{self.folder / 'motd'}'", "state = ':memory:'"]
        log = EventLoggingObserver()
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        applied: list[tuple[Settings, list[str]]] = []

        def apply(options: Any, changed: frozenset[str]) -> bool:
            applied.append((Settings.of(options), sorted(changed)))
            return True

        service = ReloadService(self.read(*lines), apply)
        (self.folder / "motd").write_text("two")
        self.read(
            *lines,
            "[myproject-chat.limits]\nnick = 20\ntopic = 200",
            "[myproject-chat.cloak]\nenabled = false",
        )
        self.assertTrue(service.reload())
        ((settings, changed),) = applied
        self.assertEqual(["limits", "motd"], changed)
        self.assertEqual((b"two", Limits(topic=200)), (settings.motd, settings.limits))
        named = str(log[-1]["fixed"])
        self.assertEqual("cloak, limits.nick", named)

    def test_a_mistake_changes_nothing(self) -> None:
        applied: list[object] = []

        def apply(*of: object) -> bool:
            applied.append(of)
            return True

        service = ReloadService(self.read(), apply)
        self.file.write_text("[myproject-chat.limits]\nnik = 9\n")
        self.assertFalse(service.reload())
        self.assertEqual([], applied)


class FrozenTests(SynchronousTestCase):
    def test_no_table_can_be_changed(self) -> None:
        for table in (Limits(), Throttle(), Accounts(), History(), Cloak(), Sts(), WebSocket()):
            name = msgspec.structs.fields(table)[0].name
            self.assertRaises(AttributeError, setattr, table, name, None)
