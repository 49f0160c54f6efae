"""The test matrix tests what it says: the interpreter and the Twisted that a session asked for."""

from __future__ import annotations

import os
import sys
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

import twisted


def release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


class MatrixTests(SynchronousTestCase):
    def intended(self, name: str) -> str:
        if name not in os.environ:
            raise SkipTest(f"no session of the matrix has set {name}")
        return os.environ[name]

    def test_python_is_the_intended_one(self) -> None:
        intended = self.intended("MYPROJECT_EXPECT_PYTHON")
        self.assertEqual(intended, f"{sys.version_info[0]}.{sys.version_info[1]}")

    def test_twisted_is_the_intended_one(self) -> None:
        intended = self.intended("MYPROJECT_EXPECT_TWISTED")
        if intended.startswith(">="):
            self.assertGreaterEqual(release(twisted.__version__), release(intended[2:]))
        else:
            self.assertEqual(intended, twisted.__version__)
