"""Tests of :mod:`wavesync.portmap`."""
