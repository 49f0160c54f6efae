"""``python -m myproject_chat WORD``: see :mod:`myproject_chat.administration`."""

from __future__ import annotations

import signal
import sys

from myproject_chat.administration import main

if __name__ == "__main__":
    # Into a pipe whose reader has seen enough (`| head`) we end like other tools, without a traceback.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))
