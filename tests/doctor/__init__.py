"""Tests of what examines networks."""
