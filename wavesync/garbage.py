"""How often Python looks for what is unreachable only in circles."""

import gc

__all__ = ["COLLECT_AFTER", "collect_seldom"]

COLLECT_AFTER = 10_000
"""Objects that come into being, and stay, before their circles are looked for: a few megabytes.
Python's default is 700, which a handful of new connections make: then every tenth of the work of opening
hundreds is looking through all the others."""


def collect_seldom() -> None:
    """Look for circles less often from now on; for a process that is ours alone."""
    _, *older = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *older)
