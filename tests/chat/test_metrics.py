"""What the chat tells Prometheus."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from myproject.interfaces import IHasMetrics
from tests.chat.harness import Chat


class MetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chat = Chat()

    def read(self) -> dict[str, float]:
        return {
            sample.name: sample.value
            for family in self.chat.factory.metrics()
            for sample in family.samples
        }

    def test_the_factory_has_metrics(self) -> None:
        self.assertTrue(verifyObject(IHasMetrics, self.chat.factory))

    def test_users_and_channels_are_those_that_there_are(self) -> None:
        self.chat.connect()
        al, _bo = self.chat.join("al", "#a"), self.chat.join("bo", "#b")
        found = self.read()
        self.assertEqual(2, found["myproject_chat_users"])
        self.assertEqual(2, found["myproject_chat_channels"])
        al.type("QUIT")
        found = self.read()
        self.assertEqual(1, found["myproject_chat_users"])
        self.assertEqual(1, found["myproject_chat_channels"])

    def test_a_message_counts_once_however_many_receive_it(self) -> None:
        al = self.chat.join("al", "#a")
        for nick in ("bo", "cy", "di"):
            self.chat.join(nick, "#a")
        before = self.read()["myproject_chat_messages_total"]
        al.type("PRIVMSG #a :hello")
        self.assertEqual(before + 1, self.read()["myproject_chat_messages_total"])
