"""Servers registered with one mediator: ten thousand real agents, a hundred thousand without sockets.

The real ones live in other processes, each with its own connection and UDP port; those without
sockets show what the mediator itself needs for each.  Memory in bytes of the mediator's process.
"""

import contextlib
import socket
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Bar, Row, absolute, line
from benchmarks.machine import all_descriptors
from benchmarks.programs import Broken, Program, cpu_seconds, free_port, proportional_memory
from benchmarks.relay_peers import dialled
from benchmarks.samples import Sample

__all__ = ["measure"]

_HOST = "127.0.0.1"
_PROCESSES = 4
_REAL = 10_000
_WITHOUT_SOCKETS = 100_000
_LIMIT = 900.0
_SETTLED = 20.0
"""Seconds that the real ones stay: longer than the time between two keep-alives."""
_MEGABYTE = 1e6
_MEMORY = Bar(400, 400, higher=False)
_SETTINGS = """
name = "{host}"
listen = ["{host}:{port}"]
http_listen = []
[metrics]
listen = ""
[limits]
registrations = 1000000
registrations_per_system = 1000000
legs = 1000000
legs_per_host = 1000000
source_rate = 1000000000.0
source_burst = 1000000000.0
stream_proof_rate = 1000000000.0
stream_proof_burst = 1000000000.0
"""


def _without_sockets(count: int) -> Sample:
    command = [sys.executable, "-m", "benchmarks.registrations_memory", str(count)]
    with Program(command) as program:
        before, after = map(int, program.line(_LIMIT).split())
    return {"megabytes": after / _MEGABYTE, "bytes_each": (after - before) / count}


def _real(count: int) -> Sample:
    port = free_port(socket.SOCK_STREAM)
    each = count // _PROCESSES
    with contextlib.ExitStack() as stack:
        settings = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "mediator.toml"
        settings.write_text(_SETTINGS.format(host=_HOST, port=port))
        command = [sys.executable, "-m", "twisted", "--log-level=critical"]
        command += ["wavesync-mediator", "--config", str(settings)]
        mediator = stack.enter_context(Program(command))
        dialled(port).close()
        before, used, start = (
            proportional_memory(mediator.pid),
            cpu_seconds(mediator.pid),
            time.time(),
        )
        loads = []
        for _ in range(_PROCESSES):
            command = [
                sys.executable,
                "-m",
                "benchmarks.registrations_agents",
                str(port),
                str(each),
            ]
            loads.append(stack.enter_context(Program(command)))
        registered = sum(int(load.line(_LIMIT)) for load in loads)
        took, used = time.time() - start, cpu_seconds(mediator.pid) - used
        grown = proportional_memory(mediator.pid) - before
        resting = cpu_seconds(mediator.pid)
        time.sleep(_SETTLED)
        resting = cpu_seconds(mediator.pid) - resting
        for load in loads:
            load.finish()
        stayed = sum(int(load.line(_LIMIT)) for load in loads)
    if registered != each * _PROCESSES or stayed != registered:
        raise Broken(f"{registered} were registered, {stayed} after {_SETTLED:g} s")
    return {
        "registered": stayed,
        "seconds": took,
        "registered_per_cpu_s": registered / used,
        "bytes_each": grown / registered,
        "cpu_share_at_rest": resting / _SETTLED,
    }


def measure(runs: int = 1, *, real: int = _REAL, count: int = _WITHOUT_SOCKETS) -> Row:
    """Take the figures.

    :param runs: how often.
    :param real: agents with sockets.
    :param count: agents without.
    """
    all_descriptors()
    samples = [_without_sockets(count) for _ in range(runs)]
    lived = [_real(real) for _ in range(runs)]
    rows = [
        absolute(
            f"{count} registered servers without sockets",
            "MB",
            "megabytes",
            samples,
            _MEMORY,
        ),
        absolute(
            f"{real} real agents registered with one process",
            "agents",
            "registered",
            lived,
            Bar(real, real),
        ),
    ]
    return line(
        rows,
        runs=runs,
        settings={"processes_of_agents": _PROCESSES},
        bytes_each_without_sockets=round(samples[-1]["bytes_each"]),
        real={name: round(value, 3) for name, value in lived[-1].items()},
    )
