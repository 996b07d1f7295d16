"""Measurements, one module a figure: ``python -m benchmarks NAME`` prints one line of JSON."""
