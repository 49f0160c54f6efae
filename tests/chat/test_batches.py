"""Messages of several lines, as clients send them and as others get them."""

from __future__ import annotations

from myproject_chat.commands.multiline import TIMEOUT
from tests.chat.harness import Chat, Client
from tests.chat.test_history import ALL, HistoryCase, without_tags

NEW = "batch message-tags draft/multiline"


def shape(lines: list[str]) -> list[str]:
    """What stands behind the source, with the batch's name and the tags that are alike taken out."""
    return [" ".join(line.split(" ")[1:]) for line in without_tags(lines)]


class BatchTests(HistoryCase):
    """BATCH draft/multiline."""

    def send(self, client: Client, *lines: str, target: str = "#a", tags: str = "") -> list[str]:
        return client.type(
            f"{tags}BATCH +1 draft/multiline {target}",
            *(
                line if line.startswith("@") else f"@batch=1 PRIVMSG {target} :{line}"
                for line in lines
            ),
            "BATCH -1",
        )

    def pair(self, caps: str = NEW) -> tuple[Chat, Client, Client]:
        chat = self.chat()
        al, bo = self.member(chat, "al", "#a"), chat.join("bo", "#a", caps=caps)
        chat.hush(al)
        return chat, al, bo

    def test_who_knows_batches_gets_one(self) -> None:
        _, al, bo = self.pair()
        self.send(al, "one", "", "@batch=1;draft/multiline-concat PRIVMSG #a :two", tags="@+x=y ")
        lines = bo.read()
        first = lines[0].split(" ")[3].removeprefix("+")
        self.assertEqual(
            [
                f"BATCH +{first} draft/multiline #a",
                "PRIVMSG #a :one",
                "PRIVMSG #a :",
                "PRIVMSG #a :two",
                f"BATCH -{first}",
            ],
            shape(lines),
        )
        self.assertRegex(lines[0], "^@msgid=[^ ;]+;[+]x=y :al!")
        self.assertTrue(lines[1].startswith(f"@batch={first} "))
        self.assertTrue(lines[3].startswith(f"@batch={first};draft/multiline-concat "))

    def test_others_get_its_lines_the_first_with_the_name(self) -> None:
        _, al, bo = self.pair("message-tags")
        self.send(al, "one", "", "two", tags="@+x=y ")
        lines = bo.read()
        self.assertEqual(["PRIVMSG #a :one", "PRIVMSG #a :two"], shape(lines))
        self.assertIn("msgid=", lines[0])
        self.assertTrue(lines[1].startswith("@+x=y :"))

    def test_the_label_is_on_the_echo(self) -> None:
        _, al, _ = self.pair()
        lines = self.send(al, "one", "two", tags="@label=l ")
        self.assertEqual(4, len(lines))
        self.assertTrue(lines[0].startswith("@label=l;"))
        self.assertEqual(1, sum("label=" in line for line in lines))

    def test_without_an_echo_the_end_is_acknowledged(self) -> None:
        chat = self.chat()
        al = self.member(chat, "al", "#a", caps=NEW + " labeled-response")
        self.assertEqual(["@label=l :irc.example ACK"], self.send(al, "one", tags="@label=l "))

    def test_the_history_has_it_in_either_form(self) -> None:
        chat, al, bo = self.pair()
        self.send(al, "one", "", "@batch=1;draft/multiline-concat PRIVMSG #a :two")
        chat.hush(bo)
        lines = bo.type("CHATHISTORY LATEST #a * 9")
        outer, inner = (line.split(" +")[1].split(" ")[0] for line in lines[:2])
        self.assertIn(f"batch={outer}", lines[1])
        self.assertEqual(["PRIVMSG #a :one", "PRIVMSG #a :", "PRIVMSG #a :two"], shape(lines[2:5]))
        self.assertTrue(all(f"batch={inner}" in line for line in lines[2:5]))
        self.assertIn("draft/multiline-concat", lines[4])
        plain = chat.join("cy", "#a", caps="batch")
        lines = plain.type("CHATHISTORY LATEST #a * 9")
        self.assertEqual(["PRIVMSG #a :one", "PRIVMSG #a :two"], shape(lines[1:3]))
        self.assertTrue(all(line.startswith("@batch=") for line in lines[1:3]))

    def test_after_a_refusal_the_rest_is_dropped_without_a_word(self) -> None:
        _, al, bo = self.pair()
        lines = self.send(al, "one", "@batch=2 PRIVMSG #a :two", "three", tags="@label=l ")
        (refusal,) = lines
        self.assertTrue(refusal.startswith("@label=l;"), refusal)
        self.assertIn("FAIL BATCH MULTILINE_INVALID :", refusal)
        self.assertEqual([], bo.read())
        self.send(al, "again")
        self.assertEqual(3, len(bo.read()))

    def test_blank_lines_alone_are_refused(self) -> None:
        _, al, bo = self.pair()
        self.assertIn("FAIL BATCH MULTILINE_INVALID :", self.send(al, "", "")[0])
        self.assertEqual([], bo.read())

    def test_it_must_not_be_open_for_long(self) -> None:
        chat, al, bo = self.pair()
        al.type("BATCH +1 draft/multiline #a", "@batch=1 PRIVMSG #a :one")
        chat.wait(int(TIMEOUT))
        (line,) = al.type("BATCH -1")
        self.assertIn("FAIL BATCH TIMEOUT 1 :", line)
        self.assertEqual([], bo.read())

    def test_what_is_no_such_batch_is_refused(self) -> None:
        _, al, _ = self.pair()
        for line, code in (
            ("BATCH -9", "INVALID_REFTAG 9"),
            ("BATCH +", "INVALID_REFTAG *"),
            ("BATCH +1 netsplit", "UNKNOWN_TYPE 1 netsplit"),
            ("BATCH +1 draft/multiline", "MULTILINE_INVALID_TARGET * *"),
            ("BATCH +1 draft/multiline #a,#b", "MULTILINE_INVALID_TARGET #a,#b *"),
            ("@batch=7 PRIVMSG #a :x", "INVALID_REFTAG 7"),
        ):
            with self.subTest(line=line):
                (answer,) = al.type(line)
                self.assertIn(f"FAIL BATCH {code} :", answer)

    def test_who_has_not_asked_for_it_may_not(self) -> None:
        al = self.member(self.chat(), "al", "#a", caps=ALL.replace("draft/multiline", ""))
        self.assertIn("UNKNOWN_TYPE", al.type("BATCH +1 draft/multiline #a")[0])

    def test_other_lines_may_come_in_between(self) -> None:
        _, al, bo = self.pair()
        al.type("BATCH +1 draft/multiline #a", "PRIVMSG #a :aside", "@batch=1 PRIVMSG #a :in")
        self.assertEqual(["PRIVMSG #a :aside"], shape(bo.read()))
        al.type("BATCH -1")
        self.assertEqual("PRIVMSG #a :in", shape(bo.read())[1])
