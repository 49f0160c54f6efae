"""Tests with other people's programs on the other end of the wire."""
