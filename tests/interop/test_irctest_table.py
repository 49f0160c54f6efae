"""What pytest reports of irctest becomes a page that hides nothing."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.irctest_table import PARTS, Result, main, page, read

_REPORT = """\
<testsuites><testsuite>
<testcase classname="irctest.server_tests.chmodes.ban.BanTestCase" name="testBan">
<system-out>1 -> S: JOIN</system-out></testcase>
<testcase classname="irctest.server_tests.join.JoinTestCase" name="testJoin">
<failure message="expected 366,&#10;got 421">trace</failure></testcase>
<testcase classname="irctest.server_tests.join.JoinTestCase" name="testJoin">
<error message="the server logged a traceback">trace</error></testcase>
<testcase classname="irctest.server_tests.join.OtherTestCase" name="testJoin"/>
<testcase classname="irctest.server_tests.part.PartTestCase" name="testPart"/>
<testcase classname="irctest.server_tests.part.PartTestCase" name="testPart">
<error message="the server logged a traceback">trace</error></testcase>
<testcase classname="irctest.server_tests.sasl.SaslTestCase" name="testNul">
<skipped type="pytest.xfail" message="not required"/></testcase>
<testcase classname="irctest.server_tests.sasl.SaslTestCase" name="testLong[a|b]">
<skipped type="pytest.skip" message="Unsupported SASL mechanism: X"/></testcase>
</testsuite></testsuites>
"""


class ReadTests(SynchronousTestCase):
    def setUp(self) -> None:
        report = Path(self.mktemp())
        report.write_text(_REPORT)
        self.results = read(report)

    def test_each_test_is_counted_once_and_the_worst_outcome_stays(self) -> None:
        self.assertEqual(
            [
                Result("chmodes/ban", "testBan", "passed", ""),
                Result("join", "testJoin", "failed", "expected 366, got 421"),
                Result("join", "testJoin", "passed", ""),
                Result("part", "testPart", "failed", "the server logged a traceback"),
                Result("sasl", "testNul", "failed", "not required"),
                Result("sasl", "testLong[a|b]", "skipped", "Unsupported SASL mechanism: X"),
            ],
            self.results,
        )

    def test_the_page_has_a_row_for_each_file_and_names_all_that_did_not_pass(self) -> None:
        common, more, ergo = PARTS
        text = page({common: self.results, more: self.results[:1], ergo: []}, "b00c039")
        self.assertIn("`b00c039`", text)
        self.assertIn("\n| chmodes/ban | 1 / 0 / 0 | 1 / 0 / 0 |  | 2 / 0 / 0 |\n", text)
        self.assertIn("\n| sasl | 0 / 1 / 1 |  |  | 0 / 1 / 1 |\n", text)
        self.assertIn("\n| all | 2 / 3 / 1 | 1 / 0 / 0 |  | 3 / 3 / 1 |\n", text)
        self.assertIn("\n| part `testPart` | the server logged a traceback |\n", text)
        self.assertIn("\n| sasl `testLong[a\\|b]` | Unsupported SASL mechanism: X |\n", text)


class MainTests(SynchronousTestCase):
    def test_without_a_checkout_it_says_what_to_give(self) -> None:
        refused = self.assertRaises(SystemExit, main, [])
        self.assertIn("checkout", str(refused))
