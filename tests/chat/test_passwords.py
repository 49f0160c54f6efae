"""Passwords: hashed and checked a few at a time, with an end to the queue."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from argon2.exceptions import InvalidHashError
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.passwords import MAX_PASSWORD, Busy, Cost, Passwords, hash_password
from myproject_chat.scram import MINIMUM_ITERATIONS, derive

CHEAP = Cost(time=1, memory=8, lanes=1, iterations=MINIMUM_ITERATIONS)


class Threads:
    """Runs work when it is told to, in the order in which it came."""

    def __init__(self) -> None:
        self.work: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def run(self, work: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.work.append((work, done))
        return done

    def finish(self) -> None:
        work, done = self.work.pop(0)
        maybeDeferred(work).chainDeferred(done)


class PasswordTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.passwords = Passwords(CHEAP, maybeDeferred)

    def test_a_password_opens_what_was_made_of_it_and_another_does_not(self) -> None:
        made = self.successResultOf(self.passwords.credentials(b"sesame"))
        self.assertTrue(self.successResultOf(self.passwords.verify(made.encoded, b"sesame")))
        self.assertFalse(self.successResultOf(self.passwords.verify(made.encoded, b"Sesame")))

    def test_the_hash_is_argon2id_and_says_with_which_parameters(self) -> None:
        made = self.successResultOf(self.passwords.credentials(b"sesame"))
        self.assertTrue(made.encoded.startswith("$argon2id$v=19$m=8,t=1,p=1$"), made.encoded)

    def test_no_two_hashes_of_one_password_are_the_same(self) -> None:
        one = self.successResultOf(self.passwords.credentials(b"sesame"))
        other = self.successResultOf(self.passwords.credentials(b"sesame"))
        self.assertNotEqual(one.encoded, other.encoded)
        self.assertNotEqual(one.scram.salt, other.scram.salt)

    def test_the_scram_credentials_are_those_of_the_password(self) -> None:
        made = self.successResultOf(self.passwords.credentials(b"sesame")).scram
        self.assertEqual(made, derive(b"sesame", made.salt, MINIMUM_ITERATIONS))

    def test_one_byte_is_a_password_and_so_are_592_and_the_longest(self) -> None:
        for password in (b"x", b"x" * 592, b"x" * MAX_PASSWORD):
            made = self.successResultOf(self.passwords.credentials(password))
            self.assertTrue(self.successResultOf(self.passwords.verify(made.encoded, password)))
            # No byte is left out: bcrypt would stop at 72.
            longer = password[:-1] + b"y"
            self.assertFalse(self.successResultOf(self.passwords.verify(made.encoded, longer)))

    def test_none_is_not_a_password_and_neither_is_too_much(self) -> None:
        for password in (b"", b"x" * (MAX_PASSWORD + 1)):
            self.failureResultOf(self.passwords.credentials(password), ValueError)
            self.assertFalse(self.successResultOf(self.passwords.verify(None, password)))
            self.assertRaises(ValueError, hash_password, password, CHEAP)

    def test_the_form_in_which_it_was_typed_does_not_matter(self) -> None:
        forms = ("caf\u00e9".encode(), "cafe\u0301".encode())
        for chosen in forms:
            made = self.successResultOf(self.passwords.credentials(chosen))
            operators = hash_password(chosen, CHEAP)
            for typed in forms:
                for encoded in (made.encoded, operators):
                    self.assertTrue(self.successResultOf(self.passwords.verify(encoded, typed)))

    def test_nobodys_password_is_wrong(self) -> None:
        for password in (b"x", bytes(16), bytes(32)):
            self.assertFalse(self.successResultOf(self.passwords.verify(None, password)))

    def test_nobodys_password_is_compared_with_a_hash_of_the_same_cost(self) -> None:
        """The whole of the work is done: argon2 takes the made-up hash for one that does not fit."""
        seen: list[tuple[str, bytes]] = []

        class Spy:
            def verify(self, encoded: str, password: bytes) -> None:
                seen.append((encoded, password))

        patch = self.patch(Cost, "hasher", lambda _: Spy())
        self.successResultOf(self.passwords.verify(None, b"x"))
        patch.restore()
        [(encoded, password)] = seen
        self.assertEqual(b"x", password)
        self.assertFalse(CHEAP.hasher().check_needs_rehash(encoded))
        salt, digest = encoded.split("$")[-2:]
        real = hash_password(b"x", CHEAP).split("$")
        self.assertEqual([len(part) for part in real[-2:]], [len(salt), len(digest)])

    def test_a_hash_with_other_parameters_works_and_is_outdated(self) -> None:
        other = hash_password(b"sesame", replace(CHEAP, time=2))
        self.assertTrue(self.successResultOf(self.passwords.verify(other, b"sesame")))
        self.assertTrue(self.passwords.is_outdated(other))
        self.assertFalse(self.passwords.is_outdated(hash_password(b"sesame", CHEAP)))

    def test_a_hash_that_is_none_is_an_error_and_no_answer(self) -> None:
        self.failureResultOf(self.passwords.verify("$2b$04$abc", b"x"), InvalidHashError)
        self.assertTrue(
            self.successResultOf(self.passwords.verify(hash_password(b"x", CHEAP), b"x"))
        )

    def test_an_operators_password_is_hashed_at_full_cost_unless_told_otherwise(self) -> None:
        self.assertFalse(Cost().hasher().check_needs_rehash(hash_password(b"sesame")))

    def test_the_defaults_are_not_below_owasps(self) -> None:
        cost = Cost()
        self.assertGreaterEqual(cost.memory, 19456)
        self.assertGreaterEqual(cost.time, 2)
        self.assertGreaterEqual(cost.iterations, MINIMUM_ITERATIONS)

    @settings(deadline=None, max_examples=50)
    @given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40))
    def test_any_bytes_are_a_password_and_raise_nothing(self, one: bytes, other: bytes) -> None:
        encoded = hash_password(one, CHEAP)
        self.assertTrue(self.successResultOf(self.passwords.verify(encoded, one)))
        self.successResultOf(self.passwords.verify(encoded, other))

    def test_secrets_do_not_show_the_password(self) -> None:
        made = self.successResultOf(self.passwords.credentials(b"sesame"))
        self.assertNotIn("sesame", repr(made))
        self.assertNotIn(hashlib.sha256(b"sesame").hexdigest(), repr(made))


class QueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.threads = Threads()
        self.passwords = Passwords(CHEAP, self.threads.run, at_once=2, queued=3)
        self.encoded = hash_password(b"x", CHEAP)

    def submit(self) -> Deferred[bool]:
        return self.passwords.verify(self.encoded, b"x")

    def test_no_more_than_allowed_run_at_once(self) -> None:
        answers = [self.submit() for _ in range(5)]
        self.assertEqual((2, 3), (self.passwords.running, self.passwords.waiting))
        self.assertEqual(2, len(self.threads.work))
        for answer in answers:
            self.assertNoResult(answer)
            self.threads.finish()
            self.assertTrue(self.successResultOf(answer))
        self.assertEqual((0, 0), (self.passwords.running, self.passwords.waiting))

    def test_one_more_than_may_wait_is_told_at_once(self) -> None:
        answers = [self.submit() for _ in range(5)]
        self.failureResultOf(self.submit(), Busy)
        self.failureResultOf(self.passwords.credentials(b"x"), Busy)
        self.threads.finish()
        last = self.submit()
        for _ in range(5):
            self.threads.finish()
        self.assertTrue(all(self.successResultOf(answer) for answer in (*answers, last)))

    def test_without_a_queue_there_is_still_work(self) -> None:
        passwords = Passwords(CHEAP, self.threads.run, at_once=1, queued=0)
        answer = passwords.verify(None, b"x")
        self.failureResultOf(passwords.verify(None, b"x"), Busy)
        self.threads.finish()
        self.assertFalse(self.successResultOf(answer))

    def test_work_that_nobody_waits_for_is_not_begun(self) -> None:
        answers = [self.submit() for _ in range(5)]
        answers[3].cancel()
        self.failureResultOf(answers[3], CancelledError)
        self.assertEqual(2, self.passwords.waiting)
        for _ in range(4):
            self.threads.finish()
        self.assertEqual([], self.threads.work)
        self.assertTrue(self.successResultOf(answers[4]))

    def test_work_that_runs_is_finished_though_nobody_waits(self) -> None:
        answer, following = self.submit(), [self.submit() for _ in range(2)]
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual((2, 1), (self.passwords.running, self.passwords.waiting))
        for _ in range(3):
            self.threads.finish()
        self.assertTrue(all(self.successResultOf(other) for other in following))

    def test_an_error_goes_to_who_asked_and_the_next_is_begun(self) -> None:
        wrong = self.passwords.verify("nonsense", b"x")
        answers = [self.submit() for _ in range(2)]
        for _ in range(3):
            self.threads.finish()
        self.failureResultOf(wrong, InvalidHashError)
        self.assertTrue(all(self.successResultOf(answer) for answer in answers))

    def test_after_stopping_those_that_wait_are_told_and_nothing_is_begun(self) -> None:
        answers = [self.submit() for _ in range(4)]
        self.passwords.stop()
        for answer in answers[2:]:
            self.failureResultOf(answer, Busy)
        self.failureResultOf(self.submit(), Busy)
        self.threads.finish()
        self.threads.finish()
        self.assertEqual([], self.threads.work)
        self.assertTrue(all(self.successResultOf(answer) for answer in answers[:2]))

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.sampled_from(["submit", "finish", "cancel"]), max_size=40))
    def test_whatever_comes_the_bounds_hold_and_each_gets_one_answer(self, acts: list[str]) -> None:
        threads = Threads()
        passwords = Passwords(CHEAP, threads.run, at_once=2, queued=3)
        answers: list[Deferred[bool]] = []
        results: list[object] = []
        for act in acts:
            if act == "submit":
                answer = passwords.verify(self.encoded, b"x")
                answers.append(answer)
                answer.addBoth(results.append)
            elif act == "finish" and threads.work:
                threads.finish()
            elif act == "cancel" and answers:
                answers[len(answers) // 2].cancel()
            self.assertLessEqual(passwords.running, 2)
            self.assertLessEqual(passwords.waiting, 3)
            self.assertEqual(len(threads.work), passwords.running)
        while threads.work:
            threads.finish()
        self.assertEqual(len(answers), len(results))
        self.assertEqual((0, 0), (passwords.running, passwords.waiting))
