"""Cloaks: hosts that say which networks users share, and no more."""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.cloak import MAX_SUFFIX, MIN_KEY, Cloak
from myproject_chat.names import HOST_LENGTH, NICK_LENGTH, is_nick, matches

KEY = b"k" * MIN_KEY
CLOAK = Cloak(KEY, b"ip")
LONGEST = Cloak(KEY, b"n" * MAX_SUFFIX)
HOST_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789-_."
ADDRESSES = st.ip_addresses().map(str)
NICKS = st.text(alphabet="ab[]\\`_^{|}-1", min_size=1, max_size=NICK_LENGTH).map(str.encode)


def labels(address: str) -> list[bytes]:
    return CLOAK.host(address).split(b".")


class CloakTests(SynchronousTestCase):
    def test_a_cloak_does_not_change_between_versions(self) -> None:
        """Bans on cloaks are kept: these may only change with the key."""
        self.assertEqual(b"z5cklkbjo6l64.alezzwtj.4kh2hhcv.ip", CLOAK.host("192.0.2.1"))
        self.assertEqual(b"6kmhyhxaedz46.xc2comjn.y7zcseav.ip", CLOAK.host("2001:db8::1"))
        self.assertEqual(b"alice.users.ip", CLOAK.account_host(b"Alice"))

    def test_ipv4_networks_are_the_address_the_24_and_the_16(self) -> None:
        one = labels("192.0.2.1")
        self.assertEqual(one[1:], labels("192.0.2.2")[1:])
        self.assertNotEqual(one[0], labels("192.0.2.2")[0])
        self.assertEqual(one[2:], labels("192.0.3.1")[2:])
        self.assertNotEqual(one[1], labels("192.0.3.1")[1])
        self.assertNotEqual(one[2], labels("192.1.2.1")[2])

    def test_ipv6_networks_are_the_64_the_48_and_the_32(self) -> None:
        one = labels("2001:db8:1:1::1")
        self.assertEqual(one, labels("2001:db8:1:1:ffff::9"))
        self.assertEqual(one[1:], labels("2001:db8:1:2::1")[1:])
        self.assertNotEqual(one[0], labels("2001:db8:1:2::1")[0])
        self.assertEqual(one[2:], labels("2001:db8:2:1::1")[2:])
        self.assertNotEqual(one[1], labels("2001:db8:2:1::1")[1])
        self.assertNotEqual(one[2], labels("2001:db9:1:1::1")[2])

    def test_a_mapped_address_is_the_ipv4_address_that_it_maps(self) -> None:
        self.assertEqual(CLOAK.host("192.0.2.1"), CLOAK.host("::ffff:192.0.2.1"))

    def test_a_ban_on_the_16_has_all_of_it(self) -> None:
        mask = b"*!*@*." + labels("192.0.2.1")[2] + b".ip"
        self.assertTrue(matches(mask, b"a!b@" + CLOAK.host("192.0.77.9")))
        self.assertFalse(matches(mask, b"a!b@" + CLOAK.host("192.1.2.1")))

    def test_what_is_no_address_has_a_cloak_as_well(self) -> None:
        for text in ("/run/chat.sock", "", "a b!c@d", "\udcff"):
            self.assertEqual(2, len(labels(text)), text)

    def test_keys_and_suffixes_that_will_not_do(self) -> None:
        self.assertRaises(ValueError, Cloak, KEY[1:], b"ip")
        for suffix in (b"", b".", b"a..b", b"a b", b"a!b", b"\xff", b"n" * (MAX_SUFFIX + 1)):
            self.assertRaises(ValueError, Cloak, KEY, suffix)
        Cloak(KEY, b"Chat.Example")

    def test_accounts_that_would_look_alike_do_not(self) -> None:
        hosts = {
            CLOAK.account_host(name) for name in (b"a-b", b"a[b", b"a.b", b"a\xffb", b"", b"-")
        }
        self.assertEqual(6, len(hosts))

    @settings(deadline=None, max_examples=300)
    @given(ADDRESSES)
    def test_a_cloak_is_a_host_and_never_holds_the_address(self, address: str) -> None:
        for cloak in (CLOAK, LONGEST):
            host = cloak.host(address)
            self.assertLessEqual(len(host), HOST_LENGTH)
            self.assertFalse(host.translate(None, HOST_BYTES))
            self.assertNotIn(address.encode(), host)
            self.assertEqual(host, cloak.host(address))
        self.assertNotEqual(labels(address), Cloak(b"l" * 32, b"ip").host(address).split(b"."))

    @settings(deadline=None)
    @given(ADDRESSES, ADDRESSES)
    def test_two_share_of_their_cloaks_what_they_share_of_networks(
        self, one: str, two: str
    ) -> None:
        def networks(text: str) -> list[object]:
            address = ipaddress.ip_address(text)
            if isinstance(address, ipaddress.IPv6Address):
                address = address.ipv4_mapped or address
            sizes = (32, 24, 16) if address.version == 4 else (64, 48, 32)
            return [ipaddress.ip_network((address, size), strict=False) for size in sizes]

        expected = [mine == yours for mine, yours in zip(networks(one), networks(two), strict=True)]
        shared = zip(labels(one)[:3], labels(two)[:3], strict=True)
        self.assertEqual(expected, [mine == yours for mine, yours in shared])

    @settings(deadline=None, max_examples=300)
    @given(NICKS | st.binary(max_size=80), NICKS)
    def test_an_accounts_host_is_one_and_nobody_elses(self, one: bytes, two: bytes) -> None:
        host = LONGEST.account_host(one)
        self.assertLessEqual(len(host), HOST_LENGTH)
        self.assertFalse(host.lower().translate(None, HOST_BYTES))
        self.assertEqual(one.lower() == two.lower(), host == LONGEST.account_host(two))
        if is_nick(one):
            self.assertEqual(host, LONGEST.account_host(one.upper()))
