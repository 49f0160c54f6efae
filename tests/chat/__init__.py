"""Tests of myproject-chat: the codec, the rules of each command, and whole conversations."""
