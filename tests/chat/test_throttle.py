"""Throttles: connections, accounts and passwords, by host and by account."""

from __future__ import annotations

import ipaddress
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat import throttle
from myproject_chat.throttle import LoginThrottle, Rate, RegistrationThrottle, Throttle

HOST = "192.0.2.1"
OTHER = "192.0.2.2"
EXEMPT = (ipaddress.ip_network("198.51.100.0/24"), ipaddress.ip_network("::1/128"))
GATEWAY = "198.51.100.7"


class ThrottleTests(SynchronousTestCase):
    def test_so_many_at_once_and_then_as_many_in_the_time(self) -> None:
        throttle = Throttle(Rate(3, 60.0))
        self.assertEqual([True] * 3 + [False] * 2, [throttle.allow(HOST, 0.0) for _ in range(5)])
        self.assertEqual([True, False], [throttle.allow(HOST, 20.0) for _ in range(2)])
        self.assertEqual([True] * 3 + [False], [throttle.allow(HOST, 100.0) for _ in range(4)])

    def test_hosts_do_not_count_for_each_other_but_a_64_is_one(self) -> None:
        throttle = Throttle(Rate(1, 60.0))
        self.assertTrue(throttle.allow(HOST, 0.0))
        self.assertTrue(throttle.allow(OTHER, 0.0))
        self.assertTrue(throttle.allow("2001:db8::1", 0.0))
        self.assertFalse(throttle.allow("2001:db8::2", 0.0))

    def test_the_exempt_and_unix_sockets_are_let_through(self) -> None:
        throttle = Throttle(Rate(1, 60.0), EXEMPT)
        for address in (GATEWAY, "::1", "/run/chat.sock", ""):
            self.assertEqual([True] * 9, [throttle.allow(address, 0.0) for _ in range(9)], address)

    def test_the_loopback_is_a_host_unless_it_is_exempt(self) -> None:
        throttle = Throttle(Rate(1, 60.0))
        self.assertEqual([True, False], [throttle.allow("127.0.0.1", 0.0) for _ in range(2)])

    def test_no_limit(self) -> None:
        throttle = Throttle(Rate(0, 60.0))
        self.assertTrue(all(throttle.allow(HOST, 0.0) for _ in range(99)))


class RegistrationThrottleTests(SynchronousTestCase):
    def test_a_host_has_its_limit_and_all_have_one_together(self) -> None:
        throttle = RegistrationThrottle(Rate(2, 60.0), Rate(5, 60.0))
        hosts = [f"192.0.2.{number // 3}" for number in range(12)]
        allowed = [throttle.allow(host, 0.0) for host in hosts]
        self.assertEqual([True, True, False] * 2 + [True] + [False] * 5, allowed)

    def test_the_exempt_take_nothing_from_the_others(self) -> None:
        throttle = RegistrationThrottle(Rate(2, 60.0), Rate(2, 60.0), EXEMPT)
        self.assertTrue(all(throttle.allow(GATEWAY, 0.0) for _ in range(9)))
        self.assertTrue(throttle.allow(HOST, 0.0))

    def test_no_limit_for_all(self) -> None:
        throttle = RegistrationThrottle(Rate(1, 60.0), Rate(0, 60.0))
        self.assertTrue(all(throttle.allow(f"192.0.2.{number}", 0.0) for number in range(99)))


class LoginThrottleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.throttle = LoginThrottle(EXEMPT)

    def fail_for(self, address: str, account: bytes, times: int, now: float = 0.0) -> float:
        """Fail so often, each time as early as allowed; give the time."""
        for _ in range(times):
            wait = self.throttle.attempt(address, account, now).wait
            if wait:
                now += wait
                self.assertEqual(0.0, self.throttle.attempt(address, account, now).wait)
        return now

    def wait(self, address: str, account: bytes, now: float) -> float:
        """How long an attempt would have to wait, without making it."""
        attempt = self.throttle.attempt(address, account, now)
        self.throttle.withdraw(attempt)
        return attempt.wait

    def test_five_failures_are_free_and_then_the_wait_doubles(self) -> None:
        waits, now = [], 0.0
        for _ in range(15):
            waits.append(self.throttle.attempt(HOST, b"alice", now).wait)
            now += waits[-1]
            if waits[-1]:
                self.throttle.attempt(HOST, b"alice", now)
        self.assertEqual([0.0] * 6 + [2.0, 4, 8, 16, 32, 64, 128, 256, 256], waits)

    def test_attempts_at_once_count_before_they_have_failed(self) -> None:
        waits = [self.throttle.attempt(HOST, b"alice", 0.0).wait for _ in range(1000)]
        self.assertEqual([0.0] * 6 + [2.0] * 994, waits)

    def test_a_host_waits_whichever_account_it_tries(self) -> None:
        for number in range(6):
            self.throttle.attempt(HOST, b"%d" % number, 0.0)
        self.assertEqual(2.0, self.wait(HOST, b"alice", 0.0))
        self.assertEqual(0.0, self.wait(OTHER, b"alice", 0.0))

    def test_an_account_is_guarded_against_many_hosts(self) -> None:
        for number in range(6):
            self.throttle.attempt(f"192.0.2.{number}", b"alice", 0.0)
        self.assertEqual(2.0, self.wait("192.0.2.99", b"ALICE", 0.0))
        self.assertEqual(0.0, self.wait("192.0.2.99", b"bob", 0.0))

    def test_nobody_can_keep_the_owner_out(self) -> None:
        self.throttle.succeed(self.throttle.attempt(HOST, b"Alice", 0.0), 0.0)
        for number in range(6):
            self.throttle.attempt(f"192.0.2.9{number}", b"alice", 1.0)
        self.assertEqual(2.0, self.wait(OTHER, b"alice", 1.0))
        self.assertEqual(0.0, self.wait(HOST, b"alice", 1.0))

    def test_the_owners_host_is_known_for_a_month(self) -> None:
        self.throttle.succeed(self.throttle.attempt(HOST, b"alice", 0.0), 0.0)
        later = 31 * 86400.0
        for number in range(6):
            self.throttle.attempt(f"192.0.2.9{number}", b"alice", later)
        self.assertEqual(2.0, self.wait(HOST, b"alice", later))

    def test_a_known_host_that_guesses_has_to_wait_all_the_same(self) -> None:
        self.throttle.succeed(self.throttle.attempt(HOST, b"alice", 0.0), 0.0)
        self.fail_for(HOST, b"alice", 6)
        self.assertEqual(2.0, self.wait(HOST, b"alice", 0.0))

    def test_success_is_no_failure(self) -> None:
        for _ in range(50):
            attempt = self.throttle.attempt(HOST, b"alice", 0.0)
            self.assertEqual(0.0, attempt.wait)
            self.throttle.succeed(attempt, 0.0)

    def test_to_enter_an_account_of_ones_own_does_not_clear_the_failures(self) -> None:
        self.fail_for(HOST, b"alice", 5)
        self.throttle.succeed(self.throttle.attempt(HOST, b"mallory", 0.0), 0.0)
        self.throttle.attempt(HOST, b"alice", 0.0)
        self.assertEqual(2.0, self.wait(HOST, b"mallory", 0.0))

    def test_a_gateways_users_count_against_accounts_only_and_it_vouches_for_none(self) -> None:
        self.throttle.succeed(self.throttle.attempt(GATEWAY, b"alice", 0.0), 0.0)
        self.fail_for(GATEWAY, b"alice", 6)
        self.assertEqual(2.0, self.wait(GATEWAY, b"alice", 0.0))
        self.assertEqual(0.0, self.wait(GATEWAY, b"bob", 0.0))

    def test_after_an_hour_all_is_forgotten(self) -> None:
        now = self.fail_for(HOST, b"alice", 8)
        self.assertEqual([0.0] * 5, [self.wait(HOST, b"alice", now + 3700) for _ in range(5)])
        self.fail_for(HOST, b"alice", 5, now + 3700)
        self.assertEqual(0.0, self.wait(HOST, b"alice", now + 3700))

    def test_to_wait_is_no_attempt(self) -> None:
        self.fail_for(HOST, b"alice", 6)
        refused = self.throttle.attempt(HOST, b"alice", 1.0)
        self.throttle.withdraw(refused)
        self.assertEqual(1.0, self.throttle.attempt(HOST, b"alice", 1.0).wait)

    def test_the_memory_has_an_end(self) -> None:
        with patch.object(throttle, "MAX_BUCKETS", 10):
            for number in range(40):
                attempt = self.throttle.attempt(f"192.0.2.{number}", b"%d" % number * 999, 0.0)
                self.throttle.succeed(attempt, 0.0)
                self.assertLessEqual(len(self.throttle), 20)
            self.throttle.withdraw(self.throttle.attempt(HOST, b"x", 0.0))
        self.assertTrue(
            all(len(key) <= 64 for key in self.throttle._failures if isinstance(key, bytes))
        )

    def test_what_was_forgotten_meanwhile_needs_no_taking_back(self) -> None:
        attempt = self.throttle.attempt(HOST, b"alice", 0.0)
        with patch.object(throttle, "MAX_BUCKETS", 1):
            for number in range(9):
                self.throttle.attempt(f"198.18.0.{number}", b"bob", 0.0)
        self.throttle.withdraw(attempt)
        self.assertEqual(0.0, self.wait(HOST, b"alice", 0.0))

    @settings(deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([HOST, OTHER, GATEWAY, "2001:db8::1", "/run/x", "\0"]),
                st.sampled_from([b"alice", b"Alice", b"bob", b"\xff" * 99]),
                st.sampled_from(["fail", "succeed", "withdraw"]),
                st.floats(0, 300),
            ),
            max_size=60,
        )
    )
    def test_no_guesser_gets_more_than_the_free_failures_and_one_in_each_wait(
        self, acts: list[tuple[str, bytes, str, float]]
    ) -> None:
        throttle, now, failures = LoginThrottle(EXEMPT), 0.0, 0
        for address, account, act, pause in acts:
            now += pause
            attempt = throttle.attempt(address, account, now)
            self.assertLessEqual(attempt.wait, 256.0)
            self.assertGreaterEqual(attempt.wait, 0.0)
            if act == "succeed" and not attempt.wait:
                throttle.succeed(attempt, now)
            elif act == "withdraw":
                throttle.withdraw(attempt)
            elif address == HOST and not attempt.wait:
                failures += 1
        # Doubled from two seconds on, so many waits fit into that time, and in an hour all is forgotten.
        self.assertLessEqual(failures, 6 + now / 2 + 6 * (now / 3600))
