"""The facts and the wheel of deadlines, where no command leads."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.delivery import pack
from myproject_chat.timers import Wheel
from tests.chat.harness import Chat


class NetworkTests(SynchronousTestCase):
    def test_a_nick_that_is_somebodys_is_never_given_twice(self) -> None:
        chat = Chat()
        chat.join("al")
        chat.join("bo")
        network = chat.server.network
        al = network.users[b"al"]
        self.assertRaises(ValueError, network.add, al)
        self.assertRaises(ValueError, network.rename, al, b"BO")

    def test_what_most_users_have_they_have_together(self) -> None:
        """Ten thousand users who are idle are to cost as little as they can."""
        chat = Chat()
        for nick in ("al", "bo"):
            client = chat.join(nick, "#c")
            client.type(f"MODE {nick} +iT", f"MODE {nick} -T", "PART #c")
        al, bo = chat.server.network.users.values()
        self.assertEqual((frozenset((b"i",)), frozenset()), (al.modes, al.channels))
        self.assertIs(al.modes, bo.modes)
        self.assertIs(al.channels, bo.channels)
        self.assertIs(al.accepted, bo.accepted)


class PackTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.integers(1, 12).map(lambda n: b"x" * n), max_size=20), st.integers(1, 30))
    def test_all_words_are_there_in_order_and_lines_fit(
        self, words: list[bytes], room: int
    ) -> None:
        lines = pack(words, room)
        self.assertEqual(words, b" ".join(lines).split())
        for line in lines:
            self.assertTrue(len(line) <= room or b" " not in line)


class WheelTests(SynchronousTestCase):
    def test_things_come_out_when_their_second_has_come_the_earliest_first(self) -> None:
        wheel: Wheel[str] = Wheel()
        wheel.put("b", 2.5)
        wheel.put("a", 1.0)
        wheel.put("c", 9.0)
        wheel.put("gone", 1.0)
        wheel.drop("gone")
        wheel.drop("unknown")
        self.assertEqual([], wheel.due(0.9))
        self.assertEqual(["a"], wheel.due(2.9))
        self.assertEqual(["b"], wheel.due(3.0))
        self.assertEqual(1, len(wheel))
        wheel.put("c", 20.0)
        self.assertEqual([], wheel.due(19.0))
        self.assertEqual(["c"], wheel.due(20.0))
        self.assertEqual(0, len(wheel))
