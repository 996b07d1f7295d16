"""Abuse for longer than a test run has time for.

::

    python -m tests.abuse fuzz --minutes 5 [--only WORDS]      mutated input for every parser
    python -m tests.abuse half-open [--number 100000]          half-open handshakes, with memory
    python -m tests.abuse removed [--only WORDS]               tests without the checks they are for
    python -m tests.abuse relay [--seconds 30]                 a relay in a flood, an agent at a liar
    python -m tests.abuse tunnels [--number 5000]              bad tunnels at a mediator and a relay
    python -m tests.abuse stalled [--pairs 200]                pairs that stop reading, with memory
"""

import argparse
import sys
import time
from collections.abc import Sequence

from tests.abuse.test_fuzz import TARGETS

_ROUND = 2000


def fuzz_for(minutes: float, only: str, seed: int) -> int:
    """Fuzz all targets in turn until the time is up; new inputs in each round."""
    from tests.abuse.fuzzing import fuzz

    chosen = [target for target in TARGETS if only in target.name]
    until = time.monotonic() + 60 * minutes
    tried = dict.fromkeys((target.name for target in chosen), 0)
    bad = 0
    while time.monotonic() < until and chosen:
        for target in chosen:
            report = fuzz(target, min(_ROUND, target.count), seed)
            tried[target.name] += report.count
            for finding in report.findings:
                bad += 1
                print(f"{target.name}: {finding.error!r} on {finding.data.hex()}")
        seed += 1
    for name, count in tried.items():
        print(f"{count:10,} inputs: {name}")
    print(f"{sum(tried.values()):10,} inputs in all, {bad} findings; last seed {seed - 1}")
    return 1 if bad or not chosen else 0


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.abuse", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    fuzzing = commands.add_parser("fuzz")
    fuzzing.add_argument("--minutes", type=float, default=5.0)
    fuzzing.add_argument("--only", default="")
    fuzzing.add_argument("--seed", type=int, default=1)
    half_open = commands.add_parser("half-open")
    half_open.add_argument("--number", type=int, default=100_000)
    removed = commands.add_parser("removed")
    removed.add_argument("--only", default="")
    relay = commands.add_parser("relay")
    relay.add_argument("--seconds", type=float, default=30.0)
    tunnels = commands.add_parser("tunnels")
    tunnels.add_argument("--number", type=int, default=5000)
    stalled = commands.add_parser("stalled")
    stalled.add_argument("--pairs", type=int, default=200)
    given = parser.parse_args(arguments)
    if given.command == "stalled":
        from tests.abuse import stalled as stalled_pairs

        return stalled_pairs.report(given.pairs)
    if given.command == "tunnels":
        from tests.abuse import relay_long

        return relay_long.report_tunnels(given.number)
    if given.command == "relay":
        from tests.abuse import relay_long

        return relay_long.report(given.seconds)
    if given.command == "removed":
        from tests.abuse import removals

        return removals.report(given.only)
    if given.command == "fuzz":
        return fuzz_for(given.minutes, given.only, given.seed)
    from tests.abuse.half_open import report

    return report(given.number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
