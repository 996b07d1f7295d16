"""Tests for :mod:`wavesync.tunnel`."""
