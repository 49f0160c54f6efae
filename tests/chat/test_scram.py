"""SCRAM-SHA-256 and SASLprep, against the RFCs' examples and scramp as the client."""

from __future__ import annotations

import contextlib
from base64 import b64decode

from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient, ScramException  # type: ignore[import-untyped]
from scramp.core import saslprep as scramps_saslprep  # type: ignore[import-untyped]
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.saslprep import prepared, saslprep
from myproject_chat.scram import (
    MINIMUM_ITERATIONS,
    ScramCredentials,
    ScramError,
    ServerScram,
    derive,
    fake_credentials,
)

SALT = bytes(range(16))
CREDENTIALS = derive(b"sesame", SALT, MINIMUM_ITERATIONS)
NONCE = b"server"
#: Each of these can stand beside any other in SASLprep.
TEXTS = st.text("aZ9 =,2CD\u00e9\u0301\u212b\u03a9\u6f22\u00df\u2168", min_size=1, max_size=20)


class SaslprepTests(SynchronousTestCase):
    def test_the_examples_of_rfc_4013(self) -> None:
        for text, expected in (
            ("I\u00adX", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u00aa", "a"),
            ("\u2168", "IX"),
            ("a\u00a0b", "a b"),
        ):
            self.assertEqual(expected, saslprep(text))

    def test_what_rfc_4013_does_not_admit_is_an_error(self) -> None:
        for text in ("\u0007", "\u0627\u0031", "\u0627a\u0627", "\ue000", "\U0001f600"):
            self.assertRaises(ValueError, saslprep, text)

    def test_right_to_left_all_through_is_fine(self) -> None:
        self.assertEqual("\u0627\u0031\u0628", saslprep("\u0627\u0031\u0628"))

    def test_a_password_without_such_a_form_is_used_as_it_is(self) -> None:
        for password in ("\U0001f600".encode(), b"\xff", b"\x07", "\u00ad".encode()):
            self.assertEqual(password, prepared(password))

    @settings(deadline=None)
    @given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1))
    def test_printable_ascii_stays_as_it_is(self, text: str) -> None:
        self.assertEqual(text.encode(), prepared(text.encode()))

    @settings(deadline=None, max_examples=300)
    @given(st.text(st.characters(exclude_characters="\u200b")))
    def test_it_does_as_scramp_does(self, text: str) -> None:
        try:
            mine = saslprep(text)
        except ValueError:
            mine = None
        try:
            theirs = scramps_saslprep(text)
        except ScramException:
            theirs = None
        self.assertEqual(theirs, mine)

    @settings(deadline=None)
    @given(st.binary())
    def test_any_bytes_have_a_form_that_is_not_empty(self, password: bytes) -> None:
        self.assertEqual(bool(password), bool(prepared(password)))


class ScramTests(SynchronousTestCase):
    def client(self, name: str = "alice", password: str = "sesame") -> ScramClient:
        return ScramClient(["SCRAM-SHA-256"], name, password)

    def exchange(self, client: ScramClient, credentials: ScramCredentials) -> bytes | None:
        scram = ServerScram(client.get_client_first().encode(), NONCE)
        client.set_server_first(scram.server_first(credentials).decode())
        final = scram.server_final(client.get_client_final().encode())
        if final is not None:
            client.set_server_final(final.decode())
        return final

    def test_the_example_of_rfc_7677(self) -> None:
        salt = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
        scram = ServerScram(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
        self.assertEqual((b"user", b""), (scram.account, scram.authzid))
        self.assertEqual(
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            scram.server_first(derive(b"pencil", salt, 4096)),
        )
        self.assertEqual(
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            scram.server_final(
                b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
            ),
        )

    def test_scramp_gets_in_and_finds_that_we_have_its_credentials(self) -> None:
        self.assertIsNotNone(self.exchange(self.client(), CREDENTIALS))

    def test_a_wrong_password_does_not_get_in(self) -> None:
        self.assertIsNone(self.exchange(self.client(password="Sesame"), CREDENTIALS))

    def test_no_password_fits_a_made_up_account(self) -> None:
        fake = fake_credentials(b"secret", b"alice", MINIMUM_ITERATIONS)
        self.assertIsNone(self.exchange(self.client(), fake))

    def test_a_made_up_salt_is_always_the_same_and_differs_by_name_and_by_secret(self) -> None:
        fake = fake_credentials(b"secret", b"alice", 4096)
        self.assertEqual(fake, fake_credentials(b"secret", b"ALICE", 4096))
        self.assertEqual(len(SALT), len(fake.salt))
        for other in (
            fake_credentials(b"secret", b"bob", 4096),
            fake_credentials(b"Secret", b"alice", 4096),
        ):
            self.assertNotEqual(fake.salt, other.salt)

    def test_too_few_iterations_are_refused(self) -> None:
        self.assertRaises(ValueError, derive, b"x", SALT, MINIMUM_ITERATIONS - 1)

    def test_the_final_message_comes_after_the_first(self) -> None:
        scram = ServerScram(b"n,,n=a,r=x", NONCE)
        self.assertRaises(RuntimeError, scram.server_final, b"c=biws,r=xserver,p=")

    def test_first_messages_that_are_not_scrams(self) -> None:
        for message in (
            b"",
            b"n,,n=a",
            b"p=tls-unique,,n=a,r=x",
            b"x,,n=a,r=x",
            b"n,b=c,n=a,r=x",
            b"n,a=,n=a,r=x",
            b"n,,m=1,n=a,r=x",
            b"n,,n=,r=x",
            b"n,,n=a,r=",
            b"n,,n=a,r=x y",
            b"n,,n=a=b,r=x",
            b"n,,n=\xff,r=x",
            b"n,,n=a\0,r=x",
            b"n,,r=x,n=a",
        ):
            self.assertRaises(ScramError, ServerScram, message, NONCE)

    def test_commas_and_equals_signs_in_names(self) -> None:
        scram = ServerScram(b"y,a=a=2Cb,n=c=3D=2Cd,r=x,extension", NONCE)
        self.assertEqual((b"a,b", b"c=,d"), (scram.authzid, scram.account))

    def test_final_messages_that_are_not_those_of_the_exchange(self) -> None:
        proof = b"A" * 43 + b"="
        for message in (
            b"",
            b"c=biws",
            b"c=biws,p=" + proof,
            b"c=eSws,r=xserver,p=" + proof,
            b"c=biws,r=x,p=" + proof,
            b"c=biws,r=xservers,p=" + proof,
            b"c=biws,r=xserver,p=AAAA",
            b"c=biws,r=xserver,p=!",
            b"c=biws,r=xserver," + proof,
            b"r=xserver,c=biws,p=" + proof,
        ):
            scram = ServerScram(b"n,,n=a,r=x", NONCE)
            scram.server_first(CREDENTIALS)
            self.assertRaises(ScramError, scram.server_final, message)

    @settings(deadline=None, max_examples=25)
    @given(TEXTS, TEXTS)
    def test_names_and_passwords_in_all_forms_get_in(self, name: str, password: str) -> None:
        client = self.client(name, password)
        scram = ServerScram(client.get_client_first().encode(), NONCE)
        self.assertEqual(saslprep(name), saslprep(scram.account.decode()))
        credentials = derive(password.encode(), SALT, MINIMUM_ITERATIONS)
        client.set_server_first(scram.server_first(credentials).decode())
        self.assertIsNotNone(scram.server_final(client.get_client_final().encode()))

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=60) | st.text("nya=,r2CD3xc", max_size=30).map(str.encode))
    def test_any_bytes_are_a_message_or_an_error_of_ours(self, message: bytes) -> None:
        try:
            scram = ServerScram(message, NONCE)
        except ScramError:
            scram = ServerScram(b"n,,n=a,r=x", NONCE)
        scram.server_first(CREDENTIALS)
        with contextlib.suppress(ScramError):
            self.assertIsNone(scram.server_final(message))
