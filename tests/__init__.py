"""All tests.  Hypothesis judges no speed: on a machine that is busy with others it would find fault with it."""

try:
    from hypothesis import HealthCheck, settings
except ImportError:
    pass  # benchmarks use the laboratory, and no Hypothesis
else:
    settings.register_profile(
        "wavesync", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("wavesync")
