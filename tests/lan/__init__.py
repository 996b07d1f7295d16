"""Tests of :mod:`wavesync.lan`."""
