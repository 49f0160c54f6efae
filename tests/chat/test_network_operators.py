"""Operators of the server: becoming one, and what each may do to whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from myproject.interfaces import IAsksToReload
from myproject.maker import FactoryServiceMaker
from myproject.reload import Reloaded
from myproject_chat.configuration import Operator
from myproject_chat.configuration.fields import Fingerprint, Network
from myproject_chat.options import Options
from myproject_chat.passwords import Cost, hash_password
from myproject_chat.store import Account
from myproject_chat.throttle import Busy
from tests.chat.harness import Chat, Client

HASH = hash_password(b"secret", Cost(time=1, memory=8))
EVERYTHING: Any = ("kill", "ban", "rehash", "wallops", "sajoin", "sanick", "samode")
ROOT = Operator(name="root", password_hash=HASH, privileges=EVERYTHING)
MARK = "ab" * 32


class OperTests(SynchronousTestCase):
    """OPER, by password and by certificate."""

    def chat(self, *operators: Operator) -> Client:
        """Give a client of a server that has operators."""
        self.server = Chat(operators=operators)
        return self.server.join("al")

    def test_right_password(self) -> None:
        """It makes an operator, with one MODE, whom WHOIS shows."""
        al = self.chat(ROOT)
        self.assertEqual(
            [
                ":irc.example 381 al :You are now an operator of the server",
                ":al!~al@192.168.1.1 MODE al +o",
            ],
            al.type("OPER root secret"),
        )
        self.assertIn("313", al.codes("WHOIS al"))
        self.assertEqual(["381"], al.codes("OPER root secret"))

    def test_wrong(self) -> None:
        """A wrong password, no password, and a name that nobody has get the same answer."""
        al = self.chat(ROOT)
        refusal = ":There is no such operator, or that is not what it has to show"
        for line in ("OPER root wrong", "OPER root", "OPER nobody secret", "OPER ROOT secret"):
            self.assertEqual([f":irc.example 464 al {refusal}"], al.type(line))
        self.assertEqual(["461"], al.codes("OPER"))
        self.assertEqual([":irc.example 221 al +"], al.type("MODE al"))

    def test_unknown_name_costs_a_hash(self) -> None:
        """So that nobody can time which names there are."""
        al = self.chat(ROOT)
        asked: list[str | None] = []
        verify = self.server.server.passwords.verify

        def count(encoded: str | None, password: bytes) -> Any:
            asked.append(encoded)
            return verify(encoded, password)

        self.patch(self.server.server.passwords, "verify", count)
        al.type("OPER nobody secret", "OPER root secret")
        self.assertEqual([None, HASH], asked)

    def test_nobody_from_there(self) -> None:
        """Where no operator may come from, nothing is checked."""
        self.assertEqual(["491"], self.chat().codes("OPER root secret"))
        far = replace_operator(ROOT, networks=(Network.parse("10.0.0.0/8"),))
        self.assertEqual(["491"], self.chat(far).codes("OPER root secret"))
        other = Operator(name="other", password_hash=HASH)
        self.assertEqual(["464"], self.chat(far, other).codes("OPER root secret"))
        near = replace_operator(ROOT, networks=(Network.parse("192.168.0.0/16"),))
        self.assertEqual(["381", "MODE"], self.chat(near).codes("OPER root secret"))

    def test_certificate(self) -> None:
        """It is enough by itself; beside a password, both count."""
        alone = Operator(name="cert", fingerprint=Fingerprint(MARK))
        both = Operator(name="both", fingerprint=Fingerprint(MARK), password_hash=HASH)
        al = self.chat(alone, both)
        self.assertEqual(["464", "464"], al.codes("OPER cert", "OPER both secret"))
        al.protocol.session.fingerprint = MARK.encode()
        self.assertEqual(["464"], al.codes("OPER both wrong"))
        self.assertEqual(["381", "MODE"], al.codes("OPER cert"))
        self.assertEqual(["381"], al.codes("OPER both secret"))

    def test_too_many_attempts(self) -> None:
        """Who guesses has to wait, with the right password, too."""
        al = self.chat(ROOT)
        for _ in range(6):
            al.type("OPER root wrong")
        self.assertEqual(
            [":irc.example 464 al :Too many attempts; wait 3 s"], al.type("OPER root secret")
        )
        self.server.wait(3)
        self.assertEqual(["381", "MODE"], al.codes("OPER root secret"))

    def test_busy(self) -> None:
        """What nobody has looked at is no failure."""
        al = self.chat(ROOT)
        refusal = ":irc.example 464 al :The server is busy; try again in a minute"
        for _ in range(9):
            waiting: Deferred[bool] = Deferred()
            self.patch(self.server.server.passwords, "verify", lambda *_, it=waiting: it)
            self.assertEqual([], al.codes("OPER root secret"))
            waiting.errback(Busy())
            self.assertEqual([refusal], al.read())

    def test_right_ones_are_not_counted(self) -> None:
        """However often an operator says OPER, the next time it need not wait."""
        al = self.chat(ROOT)
        self.assertEqual(["381", "MODE", *["381"] * 9], al.codes(*["OPER root secret"] * 10))

    def test_client_that_goes(self) -> None:
        """Nobody becomes an operator who is not there any more."""
        al = self.chat(ROOT)
        waiting: Deferred[bool] = Deferred()
        self.patch(self.server.server.passwords, "verify", lambda *_: waiting)
        al.type("OPER root secret")
        al.vanish()
        waiting.addErrback(lambda _: None)
        if not waiting.called:
            waiting.callback(True)
        self.assertEqual(0, self.server.server.network.with_mode[b"o"])

    def test_settings_change_meanwhile(self) -> None:
        """Who is no operator any more when the password has been checked is none."""
        al = self.chat(ROOT)
        waiting: Deferred[bool] = Deferred()
        self.patch(self.server.server.passwords, "verify", lambda *_: waiting)
        al.type("OPER root secret")
        self.server.server.reload(replace(self.server.server.settings, operators=()))
        waiting.callback(True)
        self.assertIn(" 464 ", al.read()[0])

    def test_privileges_go_with_the_settings(self) -> None:
        """What is taken away in the file cannot be done any more."""
        al = self.chat(ROOT)
        al.type("OPER root secret")
        self.server.server.reload(replace(self.server.server.settings, operators=()))
        self.assertEqual(["481"], al.codes("WALLOPS :hello"))

    def test_reload(self) -> None:
        """Who is not in the file any more loses the rank; the others keep it."""
        al = self.chat(ROOT)
        bo = self.server.join("bo")
        al.type("OPER root secret", "MODE al +s")
        options = Options({})
        options.resolve(None)
        options["operator"] = (replace_operator(ROOT, name="other"),)
        options["motd"] = "new"
        self.server.factory.reload(options, frozenset({"motd"}))
        self.assertEqual([], al.read())
        self.assertIn("372", al.codes("MOTD"))
        self.server.factory.reload(options, frozenset({"operator"}))
        self.assertEqual([":al!~al@192.168.1.1 MODE al -os"], al.read())
        self.assertEqual([], bo.read())
        self.assertEqual(["381", "MODE"], bo.codes("OPER other secret"))
        self.assertEqual(b"irc.example", self.server.server.settings.server_name)

    def test_gone_without_quitting(self) -> None:
        """Who stays as an account while no client is there does not stay an operator."""
        al = self.chat(ROOT)
        al.type("OPER root secret", "MODE al +sw")
        self.patch(self.server.server.accounts, "stays", lambda _: True)
        al.vanish()
        user = self.server.server.network.user(b"al")
        assert user is not None
        self.assertEqual({b"w"}, user.modes)

    def test_no_more(self) -> None:
        """MODE -o ends it."""
        al = self.chat(ROOT)
        al.type("OPER root secret", "MODE al -o")
        self.assertEqual(["481"], al.codes("KILL al"))


def replace_operator(operator: Operator, **changes: Any) -> Operator:
    """Give an operator with some things changed."""
    return Operator(
        **{
            "name": operator.name,
            "password_hash": operator.password_hash,
            "privileges": operator.privileges,
            **changes,
        }
    )


class PowerTests(SynchronousTestCase):
    """What an operator does to others."""

    def setUp(self) -> None:
        self.chat = Chat(operators=(ROOT, Operator(name="weak", password_hash=HASH, privileges=())))
        self.op = self.chat.join("op")
        self.bo = self.chat.join("bo", "#a")
        self.cy = self.chat.join("cy", "#a")
        self.op.type("OPER root secret", "MODE op +s")
        self.chat.hush(self.op, self.bo, self.cy)

    def test_privileges(self) -> None:
        """Each command needs its own: users, and operators without it, are refused."""
        self.cy.type("OPER weak secret")
        self.op.read()
        for line in (
            "KILL op",
            "WALLOPS :hello",
            "SAJOIN #b",
            "SAPART bo #a",
            "SANICK bo di",
            "SAMODE #a +m",
            "REHASH",
        ):
            for client in (self.bo, self.cy):
                self.assertEqual(["481"], client.codes(line), line)
        self.assertEqual([], self.op.read())

    def test_kill(self) -> None:
        """The victim and those who knew it are told why, and so are operators."""
        lines = self.op.type("KILL bo,nobody :flooding")
        self.assertEqual(
            [
                ":irc.example NOTICE * :op killed bo (flooding)",
                ":irc.example 401 op nobody :No such nick",
            ],
            lines,
        )
        self.assertEqual(
            [
                ":op!~op@192.168.1.1 KILL bo :flooding",
                "ERROR :Closing link: 192.168.1.1 (Killed (op (flooding)))",
            ],
            self.bo.read(),
        )
        self.assertTrue(self.bo.transport.disconnecting)
        self.assertEqual([":bo!~bo@192.168.1.1 QUIT :Killed (op (flooding))"], self.cy.read())

    def test_kill_without_a_reason(self) -> None:
        self.op.type("KILL bo")
        self.assertIn("(Killed (op (No reason given)))", self.bo.read()[-1])

    def test_kill_oneself(self) -> None:
        """It ends there, whoever stands behind oneself in the list."""
        lines = self.op.type("KILL op,bo :enough")
        self.assertIn("ERROR :Closing link", lines[-1])
        self.assertEqual([], self.bo.read())

    def test_wallops(self) -> None:
        """Those with mode w hear it."""
        self.bo.type("MODE bo +w")
        self.assertEqual([], self.op.type("WALLOPS :hi everyone"))
        self.assertEqual([":op!~op@192.168.1.1 WALLOPS :hi everyone"], self.bo.read())
        self.assertEqual([], self.cy.read())
        self.assertEqual(["461"], self.op.codes("WALLOPS :"))

    def test_sajoin(self) -> None:
        """It goes through keys and bans; one's own joining needs no nick."""
        self.bo.type("MODE #a +ik key")
        self.chat.hush(self.bo, self.cy)
        self.assertEqual(
            ["JOIN", "353", "366", "NOTICE"],
            self.op.codes("SAJOIN #a"),
        )
        self.assertEqual([":op!~op@192.168.1.1 JOIN #a"], self.bo.read())
        self.op.type("SAJOIN cy #b,#c")
        self.assertEqual(
            {b"#a", b"#b", b"#c"},
            {channel.name for channel in self.cy.protocol.session.user.channels},  # type: ignore[union-attr]
        )
        self.assertEqual(
            ["443", "403", "401"],
            self.op.codes("SAJOIN cy #a", "SAJOIN cy nonsense", "SAJOIN nobody #a"),
        )

    def test_sanick(self) -> None:
        """It gives another nick, which may be the same in another case, but nobody else's."""
        self.assertEqual([":irc.example NOTICE * :op made bo be di"], self.op.type("SANICK bo di"))
        change = ":bo!~bo@192.168.1.1 NICK di"
        self.assertEqual(([change], [change]), (self.bo.read(), self.cy.read()))
        self.chat.server.accounts.save(Account(b"eve", 0))
        for line, answer in (
            ("SANICK nobody x", "401 op nobody :No such nick"),
            ("SANICK di cy", "433 op cy :That nickname is in use"),
            ("SANICK di nickserv", "433 op nickserv :That nickname is in use"),
            ("SANICK di eve", "433 op eve :That nickname is in use"),
            ("SANICK di 1x", "432 op 1x :That nickname is not allowed"),
        ):
            self.assertEqual([f":irc.example {answer}"], self.op.type(line))
        self.assertEqual(["NOTICE"], self.op.codes("SANICK di Di"))
        self.assertEqual(["461"], self.op.codes("SANICK di"))

    def test_sapart(self) -> None:
        self.op.type("SAPART bo #a :go home")
        self.assertEqual([":bo!~bo@192.168.1.1 PART #a :go home"], self.cy.read())
        self.assertEqual(
            ["441", "403", "401"],
            self.op.codes("SAPART bo #a", "SAPART bo #none", "SAPART nobody #a"),
        )

    def test_samode(self) -> None:
        """It changes what a founder could, without a rank."""
        self.op.type("SAMODE #a +mo cy")
        self.assertEqual([":op!~op@192.168.1.1 MODE #a +mo cy"], self.cy.read())
        self.assertEqual(["403"], self.op.codes("SAMODE #none +m"))
        self.assertEqual(["NOTICE"], self.op.codes("SAMODE #a b"))

    def test_what_is_done_is_logged_whoever_listens(self) -> None:
        self.op.type("MODE op -s")
        log = EventLoggingObserver()
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        lines = ("SAJOIN bo #b", "SAPART bo #b", "SANICK bo di", "SAMODE #a +m", "KILL di :no")
        self.op.type(*lines, "WALLOPS :hi")
        self.assertEqual(
            [
                "op put bo into #b",
                "op took bo out of #b",
                "op made bo be di",
                "op used SAMODE #a +m",
                "op killed di (no)",
            ],
            [str(event["text"]) for event in log],
        )

    def test_operators_are_told(self) -> None:
        """Of others who become operators, and of those who try."""
        self.cy.type("OPER root wrong")
        self.assertEqual([":irc.example NOTICE * :OPER failed: cy!~cy@192.168.1.1"], self.op.read())
        self.cy.type("OPER root secret")
        self.assertEqual([":irc.example NOTICE * :cy is now an operator (root)"], self.op.read())
        self.assertEqual([], self.bo.read())


class NoticeTests(SynchronousTestCase):
    """What operators hear, and how they choose it."""

    def setUp(self) -> None:
        self.chat = Chat(operators=(ROOT,))
        self.op = self.chat.join("op")
        self.op.type("OPER root secret")

    def chosen(self, line: str) -> str:
        """The letters that are heard after a line."""
        for answer in self.op.type(line):
            if answer.startswith(":irc.example 008 op "):
                return answer.split()[3]
        return ""

    def test_kinds_are_chosen_by_letters(self) -> None:
        for line, letters in (
            ("MODE op +s", "+fkox"),
            ("MODE op", "+fkox"),
            ("MODE op +s ck", "+ck"),
            ("MODE op +s +x", "+ckx"),
            ("MODE op +s", "+ckx"),
            ("MODE op +s -c+q-z", "+kqx"),
            ("MODE op +s Z!\x7f", "+"),
            ("MODE op +s cfkoqx", "+cfkoqx"),
            ("MODE op -s", ""),
            ("MODE op", ""),
            ("MODE op +s +c", "+cfkox"),
        ):
            self.assertEqual(letters, self.chosen(line), line)

    def test_who_is_no_operator_hears_nothing(self) -> None:
        bo = self.chat.join("bo")
        self.assertEqual([], bo.type("MODE bo +s c"))
        self.chat.join("cy")
        self.assertEqual([], bo.read())
        self.op.type("MODE op +s c", "MODE op -o")
        self.chat.join("di")
        self.assertEqual([], self.op.read())
        self.assertEqual({}, self.chat.server.network.listeners)

    def test_who_comes_and_who_goes(self) -> None:
        self.op.type("MODE op +s c")
        bo = self.chat.join("bo")
        said = ":irc.example NOTICE * :Connected: bo!~bo@192.168.1.1 (Bo Real)"
        self.assertEqual([said], self.op.read())
        self.op.type("MODE op +s q")
        bo.type("QUIT :bye")
        said = ":irc.example NOTICE * :Gone: bo!~bo@192.168.1.1 (Quit: bye)"
        self.assertEqual([said], self.op.read())

    def test_by_default_they_hear_what_goes_wrong(self) -> None:
        self.op.type("MODE op +s")
        bo = self.chat.join("bo")
        self.assertEqual([], self.op.read())
        bo.protocol.session.choke()
        for _ in range(3000):
            bo.feed(b"PRIVMSG bo :" + b"x" * 400 + b"\r\n")
        self.chat.turn()
        self.assertEqual(
            [":irc.example NOTICE * :SendQ exceeded: bo (192.168.1.1)"], self.op.read()
        )


class RehashTests(SynchronousTestCase):
    """REHASH, and what the operator is told of it."""

    def setUp(self) -> None:
        self.chat = Chat(operators=(ROOT,))
        self.op = self.chat.join("op")
        self.op.type("OPER root secret")
        self.done = Reloaded()
        self.chat.factory.offer_reload(lambda: self.done)

    def test_the_factory_asks_to_reload(self) -> None:
        self.assertTrue(verifyObject(IAsksToReload, self.chat.factory))

    def test_what_has_changed_is_said_and_what_waits(self) -> None:
        self.done = Reloaded("", ("motd", "sendq"), ("port",), Path("/etc/somewhere/chat.toml"))
        self.op.type("MODE op +s")
        self.assertEqual(
            [
                ":irc.example 382 op chat.toml :Reading the settings again",
                ":irc.example NOTICE op :The settings have been read; changed: motd, sendq",
                ":irc.example NOTICE op :Not changed, as that needs a restart: port",
                ":irc.example NOTICE * :op used REHASH, which changed motd, sendq",
            ],
            self.op.type("REHASH"),
        )

    def test_where_there_is_no_file(self) -> None:
        self.assertEqual(
            [
                ":irc.example 382 op * :Reading the settings again",
                ":irc.example NOTICE op :The settings have been read; changed: nothing",
            ],
            self.op.type("REHASH"),
        )

    def test_a_mistake_is_said_in_its_line(self) -> None:
        self.done = Reloaded("--sendq, from table [x] of\nchat.toml: no\0; yes")
        self.op.type("MODE op +s")
        self.assertEqual(
            [
                ":irc.example FAIL REHASH CONFIG_BAD :--sendq, from table [x] of chat.toml: no; yes",
                ":irc.example NOTICE * :op used REHASH, which found a mistake and changed nothing",
            ],
            self.op.type("REHASH")[1:],
        )

    def test_a_long_one_comes_whole(self) -> None:
        words = [f"word{number}" for number in range(200)]
        self.done = Reloaded(" ".join(words))
        _, *lines = self.op.messages("REHASH")
        self.assertEqual(b"FAIL", lines[0].command)
        said = b" ".join(line.params[-1] for line in lines).decode()
        self.assertEqual(" ".join(words), said)

    def test_where_nobody_has_said_how(self) -> None:
        """Behind the front door the settings are not the chat's alone."""
        self.chat.server.reload_settings = None
        (answer,) = self.op.type("REHASH")
        self.assertIn(" FAIL REHASH NOT_HERE :", answer)

    def test_the_service_reads_the_file_again_and_tells_no_secret(self) -> None:
        path = Path(self.mktemp()).absolute()
        path.write_text('[myproject-chat]\nstate = ":memory:"\nmotd = "old"\n')
        options = Options({})
        options.resolve(path)
        maker = FactoryServiceMaker("myproject-chat", "myproject_chat.tap", "")
        service: Any = maker.makeService(options)
        server = service.factory.server
        path.write_text('[myproject-chat]\nstate = ":memory:"\nmotd = "new"\nnetwork-name = "o"\n')
        self.assertEqual(Reloaded("", ("motd",), ("network-name",), path), server.reload_settings())
        self.assertEqual(b"new", server.settings.motd)
        path.write_text("[[myproject-chat.operator]]\nname = 'al'\npassword-hash = 'hunter2'\n")
        mistake = server.reload_settings().mistake
        self.assertIn("operator[0].password-hash", mistake)
        self.assertNotIn("hunter2", mistake)
        self.assertEqual(b"new", server.settings.motd)
