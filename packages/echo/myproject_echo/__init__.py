"""The Echo protocol of RFC 862, over TCP and UDP: every byte comes back, unchanged and in order."""

from __future__ import annotations

from myproject_echo.factory import EchoFactory
from myproject_echo.stream import EchoProtocol

__all__ = ["EchoFactory", "EchoProtocol"]
