"""CHATHISTORY's parameters: read, or refused with a reason."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from myproject_chat.selectors import Invalid, MessageId, Moment, Query, Subcommand, read
from myproject_chat.timestamps import LAST, stamp

TIME = b"timestamp=2019-01-04T14:33:26.123Z"
MOMENT = Moment(1546612406123)
ONE_BOUND = (Subcommand.AFTER, Subcommand.AROUND, Subcommand.BEFORE, Subcommand.LATEST)


def write(query: Query) -> list[bytes]:
    """The inverse of read."""
    bounds = [
        b"msgid=" + bound.id
        if isinstance(bound, MessageId)
        else b"timestamp=" + stamp(bound.milliseconds)
        for bound in query.bounds
    ]
    target = [query.target] if query.target else []
    return [query.subcommand.value, *target, *(bounds or [b"*"]), b"%d" % query.limit]


MOMENTS = st.builds(Moment, st.integers(0, LAST))
IDS = st.builds(MessageId, st.text("abc=-*:", min_size=1, max_size=64).map(str.encode))
TARGETS = st.sampled_from([b"#chan", b"bob", b"*"])
QUERIES = st.one_of(
    st.builds(
        Query,
        st.sampled_from(ONE_BOUND),
        TARGETS,
        st.tuples(MOMENTS | IDS),
        st.integers(1, 100),
    ),
    st.builds(Query, st.just(Subcommand.LATEST), TARGETS, st.just(()), st.integers(1, 100)),
    st.builds(
        Query,
        st.just(Subcommand.BETWEEN),
        TARGETS,
        st.tuples(MOMENTS | IDS, MOMENTS | IDS),
        st.integers(1, 100),
    ),
    st.builds(
        Query,
        st.just(Subcommand.TARGETS),
        st.just(b""),
        st.tuples(MOMENTS, MOMENTS),
        st.integers(1, 100),
    ),
)


class SelectorTests(SynchronousTestCase):
    def assert_invalid(self, line: bytes, code: bytes, context: bytes, text: bytes) -> None:
        expected = Invalid(code, tuple(context.split(b" ")), text)
        self.assertEqual(expected, read(line.split(b" "), 50), line)

    def test_one_bound(self) -> None:
        for subcommand in ONE_BOUND:
            for text, bound in ((TIME, MOMENT), (b"msgid=a=b", MessageId(b"a=b"))):
                self.assertEqual(
                    Query(subcommand, b"#c", (bound,), 10),
                    read([subcommand.value.lower(), b"#c", text, b"10"], 50),
                )

    def test_the_latest_of_all(self) -> None:
        expected = Query(Subcommand.LATEST, b"#c", (), 10)
        self.assertEqual(expected, read([b"LATEST", b"#c", b"*", b"10"], 50))

    def test_two_bounds_of_any_kinds_in_the_clients_order(self) -> None:
        self.assertEqual(
            Query(Subcommand.BETWEEN, b"bob", (MessageId(b"x"), MOMENT), 10),
            read([b"BETWEEN", b"bob", b"msgid=x", TIME, b"10"], 50),
        )

    def test_targets(self) -> None:
        self.assertEqual(
            Query(Subcommand.TARGETS, b"", (MOMENT, MOMENT), 10),
            read([b"TARGETS", TIME, TIME, b"10"], 50),
        )

    def test_who_asks_for_more_than_there_is_at_once_gets_that(self) -> None:
        query = read([b"LATEST", b"#c", b"*", b"999999999"], 50)
        self.assertEqual(50, query.limit if isinstance(query, Query) else None)

    def test_what_is_not_a_command(self) -> None:
        self.assertEqual(Invalid(b"INVALID_PARAMS", (b"*",), b"Unknown command"), read([], 50))
        self.assert_invalid(b"FOO #c * 9", b"INVALID_PARAMS", b"FOO", b"Unknown command")

    def test_too_few_and_too_many(self) -> None:
        for line in (b"LATEST", b"LATEST #c", b"BEFORE #c 10", b"BETWEEN #c * 10", b"TARGETS x 10"):
            name = line.split(b" ")[0]
            self.assert_invalid(line, b"INVALID_PARAMS", name, b"Insufficient parameters")
        for line in (b"LATEST #c * 10 x", b"BETWEEN #c a b 10 x", b"TARGETS #c a b 10"):
            name = line.split(b" ")[0]
            self.assert_invalid(line, b"INVALID_PARAMS", name, b"Too many parameters")

    def test_bounds_that_are_none(self) -> None:
        for bound in (
            b"*",
            b"msgid=",
            b"msgid=" + b"x" * 65,
            b"timestamp=",
            b"timestamp=2019-01-04T14:33:26Z",
            b"2019-01-04T14:33:26.123Z",
            b"id=x",
            b"MSGID=x",
        ):
            answer = (b"INVALID_PARAMS", b"BEFORE " + bound[:64], b"Invalid timestamp or msgid")
            self.assert_invalid(b"BEFORE #c " + bound + b" 10", *answer)

    def test_targets_by_id_are_not_supported(self) -> None:
        self.assert_invalid(
            b"TARGETS msgid=x " + TIME + b" 10",
            b"INVALID_MSGREFTYPE",
            b"TARGETS * msgid=x",
            b"TARGETS is asked for by timestamp only",
        )

    def test_limits_that_are_none(self) -> None:
        for limit in (b"0", b"-1", b"+1", b"x", b"1_0", b"1" * 10, b"1.5", b"00"):
            context = b"LATEST " + limit
            self.assert_invalid(
                b"LATEST #c * " + limit, b"INVALID_PARAMS", context, b"Invalid limit"
            )

    @settings(deadline=None, max_examples=300)
    @given(QUERIES)
    def test_what_was_written_is_read(self, query: Query) -> None:
        self.assertEqual(query, read(write(query), 100))

    @settings(deadline=None, max_examples=300)
    @given(
        st.lists(
            st.binary(max_size=12)
            | st.sampled_from(
                [*(each.value for each in Subcommand), TIME, b"*", b"10", b":x y", b""]
            ),
            max_size=7,
        )
    )
    def test_any_parameters_are_a_query_or_an_answer_that_can_be_sent(
        self, params: list[bytes]
    ) -> None:
        result = read(params, 100)
        if isinstance(result, Invalid):
            self.assertTrue(all(word and b" " not in word for word in result.context))
            self.assertTrue(all(word[:1] != b":" for word in result.context))
        else:
            self.assertTrue(1 <= result.limit <= 100)
