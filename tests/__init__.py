"""
The tests. Warnings are errors in all of them, wherever they run.

trial's workers (``trial -j``) are given no ``-W``, so the filter is set here.
``MYPROJECT_IGNORED_WARNING`` names one category that an old Twisted cannot help.
"""

import builtins
import os
import warnings

warnings.simplefilter("error")
if ignored := os.environ.get("MYPROJECT_IGNORED_WARNING"):
    warnings.simplefilter("ignore", getattr(builtins, ignored))
