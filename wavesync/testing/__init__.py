"""Simulated networks for tests of what is built on wavesync, with virtual time."""
