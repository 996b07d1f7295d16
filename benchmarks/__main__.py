"""``python -m benchmarks NAME [RUNS]`` takes one figure and prints it as one line of JSON."""

import argparse
import importlib
import json
import os
import platform

_NAMES = ("congestion", "first_byte", "holes", "parking", "relay", "tunnel", "udt")
_QUICK = ("congestion", "parking")


def main() -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=_NAMES)
    parser.add_argument(
        "runs",
        type=int,
        nargs="?",
        help="how many runs, of parking how many agents (default: the figure's own)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="congestion: only a few cells; parking: only kill the relay",
    )
    arguments = parser.parse_args()
    module = importlib.import_module(f"benchmarks.{arguments.name}")
    options = {"quick": arguments.quick} if arguments.name in _QUICK else {}
    runs = [arguments.runs] if arguments.runs and arguments.name != "congestion" else []
    result = module.measure(*runs, **options)
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}"
    result["machine"] = f"{machine}, Python {platform.python_version()}"
    print(json.dumps({"figure": arguments.name, **result}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
