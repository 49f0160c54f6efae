"""The public names are what they claim, and cost nothing until they are used."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

from twisted.trial.unittest import SynchronousTestCase

import myproject


class ExportTests(SynchronousTestCase):
    def test_every_public_name_can_be_imported(self) -> None:
        for name in myproject.__all__:
            self.assertEqual(name, getattr(myproject, name).__name__)

    def test_dir_lists_the_public_names(self) -> None:
        self.assertEqual(set(), set(myproject.__all__) - set(dir(myproject)))

    def test_an_unknown_name_is_an_attribute_error(self) -> None:
        error = self.assertRaises(AttributeError, getattr, myproject, "YourFactory")
        self.assertEqual("module 'myproject' has no attribute 'YourFactory'", str(error))

    def test_the_version_is_that_of_the_installed_distribution(self) -> None:
        self.assertEqual(version("myproject"), myproject.__version__)

    def test_importing_the_package_imports_no_module_of_it(self) -> None:
        code = (
            "import sys, myproject; print([m for m in sys.modules if m.startswith('myproject.')])"
        )
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        self.assertEqual("[]\n", found.stdout)

    def test_importing_every_public_name_installs_no_reactor(self) -> None:
        code = (
            "import sys; from myproject import *;print('twisted.internet.reactor' in sys.modules)"
        )
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        self.assertEqual("False\n", found.stdout)
