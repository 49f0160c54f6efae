"""The errors: what each is to Twisted, to the system, and to a person."""

from __future__ import annotations

import os
import sys
from io import StringIO

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from myproject.errors import CannotStart, MyprojectError, SettingError


class SettingErrorTests(SynchronousTestCase):
    """A setting that cannot be used."""

    def test_one_line_with_all_four(self) -> None:
        """It names the setting and where its value came from, what is wrong and what to do."""
        error = SettingError("--port", "the command line", "'x': it is no port", "give a number")
        self.assertEqual(
            "--port, from the command line: 'x': it is no port; give a number", str(error)
        )

    def test_is_what_twisted_expects(self) -> None:
        """Twisted's tools know it as a mistake in the options, and ours as one of our errors."""
        error = SettingError("a", "b", "c", "d")
        self.assertIsInstance(error, usage.UsageError)
        self.assertIsInstance(error, MyprojectError)


class CannotStartTests(SynchronousTestCase):
    """A service that cannot start."""

    def test_ends_the_process(self) -> None:
        """Twisted catches it as an exception, and raised again it ends the process with status 69."""
        error = CannotStart("the port is taken")
        self.assertIsInstance(error, Exception)
        self.assertIsInstance(error, SystemExit)
        self.assertEqual((os.EX_UNAVAILABLE, "the port is taken"), (error.code, str(error)))

    def test_reports_on_the_real_standard_error(self) -> None:
        """Its line goes to the terminal even while sys.stderr leads to the log."""
        terminal, log = StringIO(), StringIO()
        self.patch(sys, "__stderr__", terminal)
        self.patch(sys, "stderr", log)
        self.patch(sys, "argv", ["/usr/bin/twistd", "-n"])
        CannotStart("the port is taken").report()
        self.assertEqual(("twistd: the port is taken\n", ""), (terminal.getvalue(), log.getvalue()))

    def test_no_standard_error(self) -> None:
        """A process without one, as under pythonw, has nobody to tell."""
        self.patch(sys, "__stderr__", None)
        CannotStart("the port is taken").report()
