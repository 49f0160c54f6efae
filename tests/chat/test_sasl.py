"""SASL: each mechanism from the line that names it to the end, and any bytes in between."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient  # type: ignore[import-untyped]
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat import sasl
from myproject_chat.sasl import (
    CHUNK,
    MAX_RESPONSE,
    Challenge,
    Exchange,
    Failure,
    NeedCertificate,
    NeedCredentials,
    Reason,
    Secrets,
    Step,
    Success,
    Verify,
    begin,
    chunks,
    mechanisms,
)
from myproject_chat.scram import MINIMUM_ITERATIONS, derive

SERVER = Secrets(b"s" * 32, MINIMUM_ITERATIONS, lambda: b"nonce")
ALL = mechanisms(certificate=True)
CREDENTIALS = derive(b"sesame", bytes(16), MINIMUM_ITERATIONS)
REFUSED = Failure(Reason.REFUSED)
MALFORMED = Failure(Reason.MALFORMED)


def started(mechanism: bytes, fingerprint: bytes | None = b"f00") -> Exchange:
    exchange, step = begin(mechanism, ALL, SERVER, fingerprint)
    assert exchange is not None
    assert step == Challenge(b"")
    return exchange


def send(exchange: Exchange, response: bytes) -> Step | None:
    """Send a response as a client does, and give the last step."""
    *before, last = [exchange.receive(chunk) for chunk in chunks(response)]
    assert not any(before)
    return last


class BeginTests(SynchronousTestCase):
    def test_external_is_offered_to_those_with_a_certificate(self) -> None:
        self.assertEqual((b"EXTERNAL", b"SCRAM-SHA-256", b"PLAIN"), mechanisms(certificate=True))
        self.assertEqual((b"SCRAM-SHA-256", b"PLAIN"), mechanisms(certificate=False))

    def test_each_mechanism_offered_lets_the_client_begin_in_any_case(self) -> None:
        for name in ALL:
            started(name.lower())

    def test_what_is_not_offered_is_none(self) -> None:
        for name in (b"FOO", b"", b"+", b"external"):
            failure = Failure(Reason.MECHANISM)
            self.assertEqual((None, failure), begin(name, (b"PLAIN",), SERVER))
        self.assertEqual((None, failure), begin(b"EXTERNAL", ALL, SERVER, None))

    def test_giving_up_before_the_beginning(self) -> None:
        self.assertEqual((None, Failure(Reason.ABORTED)), begin(b"*", ALL, SERVER))

    def test_reasons_name_numerics(self) -> None:
        numerics = {reason.numeric for reason in Reason}
        self.assertEqual({904, 905, 906}, numerics)
        self.assertTrue(all(reason.text for reason in Reason))


class ChunkTests(SynchronousTestCase):
    def test_a_response_of_a_multiple_of_400_is_closed_by_a_plus(self) -> None:
        self.assertEqual([b"+"], list(chunks(b"")))
        self.assertEqual([b"A" * 400, b"+"], list(chunks(bytes(300))))
        self.assertEqual([b"A" * 400, b"A" * 400, b"+"], list(chunks(bytes(600))))
        self.assertEqual([b"A" * 400, b"AA=="], list(chunks(bytes(301))))

    @settings(deadline=None)
    @given(st.binary(max_size=900))
    def test_chunks_put_together_are_what_was_cut(self, data: bytes) -> None:
        cut = list(chunks(data))
        self.assertTrue(all(len(chunk) == CHUNK for chunk in cut[:-1]))
        self.assertTrue(0 < len(cut[-1]) < CHUNK)
        self.assertEqual(
            data, b64decode(b"".join(cut).rstrip(b"+") if cut[-1] == b"+" else b"".join(cut))
        )

    @settings(deadline=None)
    @given(st.binary(min_size=1, max_size=900).map(lambda data: data.replace(b"\0", b"x")))
    def test_a_password_of_any_length_arrives_whole(self, password: bytes) -> None:
        step = send(started(b"PLAIN"), b"\0a\0" + password)
        try:
            password.decode()
        except UnicodeDecodeError:
            self.assertEqual(MALFORMED, step)
        else:
            self.assertEqual(Verify(b"a", password), step)

    def test_too_long_a_line(self) -> None:
        exchange = started(b"PLAIN")
        self.assertEqual(Failure(Reason.TOO_LONG), exchange.receive(b"A" * 401))
        self.assertTrue(exchange.over)

    def test_lines_without_end_are_not_kept(self) -> None:
        exchange = started(b"PLAIN")
        steps = [exchange.receive(b"A" * 400) for _ in range(1000)]
        self.assertEqual([None] * 10 + [Failure(Reason.TOO_MUCH)], steps[:11])
        self.assertFalse(any(steps[11:]))
        self.assertEqual(b"", exchange._encoded)

    def test_the_longest_response_that_is_taken(self) -> None:
        exchange = started(b"PLAIN")
        size = MAX_RESPONSE // 4 * 3 - len(b"\0a\0")
        self.assertEqual(Verify(b"a", b"x" * size), send(exchange, b"\0a\0" + b"x" * size))

    def test_what_is_not_base64(self) -> None:
        for parameter in (b"A", b"====", b"AAA", b"!!!!", b"AAAA=", b"AA==AA==", b"\xff"):
            self.assertEqual(MALFORMED, started(b"PLAIN").receive(parameter), parameter)

    def test_giving_up(self) -> None:
        for name in ALL:
            exchange = started(name)
            self.assertEqual(Failure(Reason.ABORTED), exchange.receive(b"*"))
            self.assertTrue(exchange.over)
            self.assertIsNone(exchange.receive(b"+"))


class PlainTests(SynchronousTestCase):
    def test_the_right_password(self) -> None:
        exchange = started(b"PLAIN")
        self.assertEqual(Verify(b"alice", b"sesame"), send(exchange, b"\0alice\0sesame"))
        self.assertEqual(Success(b"Alice"), exchange.checked(b"Alice"))
        self.assertTrue(exchange.over)

    def test_the_wrong_one(self) -> None:
        exchange = started(b"PLAIN")
        send(exchange, b"\0alice\0sesame")
        self.assertEqual(REFUSED, exchange.checked(None))

    def test_to_act_as_oneself_is_allowed_in_any_case(self) -> None:
        step = send(started(b"PLAIN"), b"ALICE\0alice\0sesame")
        self.assertEqual(Verify(b"alice", b"sesame"), step)

    def test_to_act_as_somebody_else_is_not(self) -> None:
        self.assertEqual(REFUSED, send(started(b"PLAIN"), b"bob\0alice\0sesame"))

    def test_messages_that_are_not_plains(self) -> None:
        for message in (
            b"",
            b"alice",
            b"\0alice",
            b"\0\0x",
            b"\0alice\0",
            b"\0a\0b\0c",
            b"\0a\0\xff",
        ):
            self.assertEqual(MALFORMED, send(started(b"PLAIN"), message), message)

    def test_the_password_is_not_shown(self) -> None:
        self.assertNotIn("sesame", repr(Verify(b"alice", b"sesame")))

    def test_giving_up_while_the_password_is_checked(self) -> None:
        exchange = started(b"PLAIN")
        send(exchange, b"\0alice\0sesame")
        self.assertEqual(Failure(Reason.ABORTED), exchange.receive(b"*"))
        self.assertIsNone(exchange.checked(b"alice"))

    def test_talking_while_the_password_is_checked(self) -> None:
        exchange = started(b"PLAIN")
        send(exchange, b"\0alice\0sesame")
        self.assertEqual(MALFORMED, send(exchange, b"\0alice\0sesame"))
        self.assertIsNone(exchange.checked(b"alice"))

    def test_answers_that_nobody_asked_for_are_bugs(self) -> None:
        self.assertRaises(RuntimeError, started(b"PLAIN").checked, b"alice")
        self.assertRaises(RuntimeError, started(b"PLAIN").found, b"alice", None)
        exchange = started(b"PLAIN")
        send(exchange, b"\0alice\0sesame")
        self.assertRaises(RuntimeError, exchange.found, b"alice", None)


class ExternalTests(SynchronousTestCase):
    def test_the_certificates_account(self) -> None:
        exchange = started(b"EXTERNAL")
        self.assertEqual(NeedCertificate(b"f00", b""), exchange.receive(b"+"))
        self.assertEqual(Success(b"alice"), exchange.checked(b"alice"))

    def test_nobodys_certificate(self) -> None:
        exchange = started(b"EXTERNAL")
        exchange.receive(b"+")
        self.assertEqual(REFUSED, exchange.checked(None))

    def test_the_account_that_is_wanted_has_to_be_the_certificates(self) -> None:
        for owner, expected in ((b"alice", Success(b"alice")), (b"bob", REFUSED)):
            exchange = started(b"EXTERNAL")
            self.assertEqual(NeedCertificate(b"f00", b"Alice"), send(exchange, b"Alice"))
            self.assertEqual(expected, exchange.checked(owner))

    def test_names_that_are_none(self) -> None:
        for name in (b"a\0b", b"\xff"):
            self.assertEqual(MALFORMED, send(started(b"EXTERNAL"), name))


class ScramTests(SynchronousTestCase):
    def conversation(
        self, password: str, *, known: bool = True, name: str = "alice"
    ) -> tuple[Exchange, ScramClient, Step | None]:
        """Go as far as the client's proof."""
        client = ScramClient(["SCRAM-SHA-256"], name, password)
        exchange = started(b"SCRAM-SHA-256")
        self.assertEqual(
            NeedCredentials(name.encode()), send(exchange, client.get_client_first().encode())
        )
        challenge = exchange.found(b"Alice", CREDENTIALS if known else None)
        assert isinstance(challenge, Challenge)
        client.set_server_first(challenge.data.decode())
        return exchange, client, send(exchange, client.get_client_final().encode())

    def test_the_right_password(self) -> None:
        exchange, client, step = self.conversation("sesame")
        assert isinstance(step, Challenge)
        client.set_server_final(step.data.decode())
        self.assertFalse(exchange.over)
        self.assertEqual(Success(b"Alice"), exchange.receive(b"+"))
        self.assertTrue(exchange.over)

    def test_the_wrong_password_and_the_unknown_account_end_alike(self) -> None:
        _, _, wrong = self.conversation("Sesame")
        _, _, unknown = self.conversation("sesame", known=False)
        self.assertEqual([REFUSED] * 2, [wrong, unknown])

    def test_no_proof_is_good_enough_for_an_unknown_account(self) -> None:
        """Not even one that fits what was made up for it."""
        with patch.object(sasl, "fake_credentials", return_value=CREDENTIALS):
            _, _, step = self.conversation("sesame", known=False)
        self.assertEqual(REFUSED, step)

    def test_an_unknown_account_is_answered_as_a_known_one_and_always_the_same(self) -> None:
        def asked(*, known: bool) -> list[bytes]:
            exchange = started(b"SCRAM-SHA-256")
            send(exchange, b"n,,n=alice,r=x")
            step = exchange.found(b"alice", CREDENTIALS if known else None)
            assert isinstance(step, Challenge)
            return step.data.split(b",")

        fake, again, real = asked(known=False), asked(known=False), asked(known=True)
        self.assertEqual(fake, again)
        self.assertEqual([len(part) for part in real], [len(part) for part in fake])
        self.assertEqual(real[2], fake[2])
        self.assertNotEqual(real[1], fake[1])

    def test_more_than_an_empty_response_behind_the_proof_is_too_much(self) -> None:
        exchange, _, _ = self.conversation("sesame")
        self.assertEqual(MALFORMED, send(exchange, b"x"))

    def test_acting_as_somebody_else(self) -> None:
        exchange = started(b"SCRAM-SHA-256")
        self.assertEqual(REFUSED, send(exchange, b"n,a=bob,n=alice,r=x"))

    def test_acting_as_oneself(self) -> None:
        exchange = started(b"SCRAM-SHA-256")
        self.assertEqual(NeedCredentials(b"alice"), send(exchange, b"n,a=Alice,n=alice,r=x"))

    def test_messages_that_are_not_scrams(self) -> None:
        self.assertEqual(MALFORMED, send(started(b"SCRAM-SHA-256"), b"x"))
        exchange = started(b"SCRAM-SHA-256")
        send(exchange, b"n,,n=alice,r=x")
        exchange.found(b"alice", CREDENTIALS)
        self.assertEqual(MALFORMED, send(exchange, b"x"))

    def test_giving_up_while_the_account_is_looked_up(self) -> None:
        exchange = started(b"SCRAM-SHA-256")
        send(exchange, b"n,,n=alice,r=x")
        exchange.receive(b"*")
        self.assertIsNone(exchange.found(b"alice", CREDENTIALS))

    def test_the_credentials_answer_no_other_question(self) -> None:
        exchange = started(b"SCRAM-SHA-256")
        send(exchange, b"n,,n=alice,r=x")
        self.assertRaises(RuntimeError, exchange.checked, b"alice")


RESPONSES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b"\0alice\0sesame", b"n,,n=alice,r=x", b"c=biws,r=xnonce,p=" + b64encode(bytes(32)), b""]
    ),
).map(b64encode)
PARAMETERS = st.one_of(RESPONSES, st.sampled_from([b"+", b"*", b"A" * 400, b"A" * 401]))


class AnyTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(ALL), st.lists(PARAMETERS | st.binary(max_size=9), max_size=14))
    def test_any_lines_end_nowhere_or_once_and_never_log_in(
        self, mechanism: bytes, lines: Iterable[bytes]
    ) -> None:
        """Nobody here knows a password: whatever is sent, and whoever looks, there is no success."""
        exchange = started(mechanism)
        for line in lines:
            over = exchange.over
            step = exchange.receive(line)
            if isinstance(step, Verify | NeedCertificate):
                step = exchange.checked(None)
            elif isinstance(step, NeedCredentials):
                step = exchange.found(b"alice", CREDENTIALS)
            if over:
                self.assertIsNone(step)
            self.assertNotIsInstance(step, Success)
            self.assertEqual(over or isinstance(step, Failure), exchange.over)
            self.assertLessEqual(len(exchange._encoded), MAX_RESPONSE)
