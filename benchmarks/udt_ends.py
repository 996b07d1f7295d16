"""The ends of UDT flows, ours and libudt's: how to start them, and what a run of two of them gives."""

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.programs import Broken, Program, free_port, proportional_memory
from benchmarks.samples import Sample
from benchmarks.udt_places import LOOPBACK, Place

__all__ = [
    "LIBUDT",
    "OURS",
    "PACKAGES",
    "Kind",
    "best_libudt",
    "flow",
    "idle",
    "libudt",
    "ours",
    "ping",
]

OURS, LIBUDT = "ours", "libudt"
PACKAGES = ("libudt-dev",)
"""Debian packages of the peer, for its version."""

_SOURCE = Path(__file__).with_name("udt_peer.cpp")
_BUILD = Path(__file__).with_name("build")
_HEADER = Path("/usr/include/udt/udt.h")
_LARGE = 32 << 20
_SECONDS_A_CONNECT = 0.05
_SLACK = 30.0
"""Seconds that a flow may take longer than it sends, for what is queued."""


@dataclass(frozen=True, slots=True)
class Kind:
    """An implementation with its settings.

    :ivar command: program and first arguments; role, host, port and numbers follow.
    :ivar settings: for people.
    :ivar environment: variables to add.
    """

    command: Sequence[str]
    settings: str
    environment: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def _program() -> str:
    """Compile the libudt program, unless it was before.

    :raises Broken: the sentence says what to install.
    """
    compiler = shutil.which("g++")
    if compiler is None or not _HEADER.exists():
        raise Broken("This figure needs Debian's g++ and libudt-dev.")
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    program = _BUILD / f"udt_peer-{digest}"
    if not program.exists():
        _BUILD.mkdir(exist_ok=True)
        fresh = program.with_suffix(f".{os.getpid()}")
        command = [compiler, "-std=c++17", "-O2", "-o", str(fresh), str(_SOURCE)]
        subprocess.run([*command, "-ludt", "-lpthread"], check=True)
        fresh.rename(program)
    return str(program)


def ours(carrier: str = "", layers: Sequence[str] = ()) -> Kind:
    """Give our ends.

    :param carrier: how packets are carried; empty for the product's own choice.
    :param layers: what is put on UDT: a kind, and the directory of its credentials.
    """
    command = [sys.executable, "-m", "benchmarks.udt_end"]
    if layers:
        command += ["--layers", *layers]
    environment = {"WAVESYNC_BENCHMARK_CARRIER": carrier} if carrier else {}
    return Kind(command, f"carrier {carrier or 'auto'}", environment)


def libudt(buffers: int = 0) -> Kind:
    """Give libudt's ends.

    :param buffers: bytes for all its buffers; 0 for its own choice.
    """
    if not buffers:
        return Kind([_program()], "default buffers")
    return Kind([_program(), "--buffers", str(buffers)], f"{buffers >> 20} MB buffers")


def best_libudt(trial: Callable[[Kind], float]) -> tuple[Kind, dict[str, float]]:
    """Try libudt's default and large buffers once each.

    :param trial: gives what a kind reaches; more is better.
    :return: the better one, and what each reached, by its settings.
    """
    reached = {kind.settings: (trial(kind), kind) for kind in (libudt(), libudt(_LARGE))}
    _, best = max(reached.values(), key=lambda each: each[0])
    return best, {settings: round(value, 1) for settings, (value, _) in reached.items()}


@contextlib.contextmanager
def pair(
    kind: Kind,
    place: Place,
    roles: tuple[str, str],
    numbers: Sequence[object],
    processor: int | None = None,
) -> Iterator[tuple[Program, Program]]:
    """Start a receiving side, and then a sending one, each ready.

    :param roles: of the receiving and the sending side.
    :param numbers: arguments of both; those after the first are the sending side's.
    :param processor: the only CPU that both may use.
    """
    port = free_port()

    def started(where: Callable[[Sequence[str]], list[str]], *words: object) -> Program:
        command = where([*kind.command, *map(str, words)])
        return Program(command, environment=kind.environment, processor=processor)

    with started(place.far, roles[0], place.host, port, numbers[0]) as far:
        far.ready()
        with started(place.near, roles[1], place.host, port, *numbers) as near:
            near.ready()
            yield far, near


def flow(
    kind: Kind, place: Place = LOOPBACK, *, seconds: float, flows: int = 1
) -> dict[str, float]:
    """Send as fast as it goes.

    :param flows: how many, all between the same two UDP ports.
    :return: ``mbit_s`` of payload, ``sender_cpu_s_per_gb`` and ``receiver_cpu_s_per_gb``.
    """
    with pair(kind, place, ("sink", "send"), (flows, seconds)) as (far, near):
        total, took = far.line(seconds + _SLACK).split()
        near_cpu, far_cpu = near.wait(_SLACK), far.wait(_SLACK)
    gigabytes = int(total) / 1e9
    if not gigabytes or not float(took):
        raise Broken(f"nothing arrived: {near}")
    return {
        "mbit_s": gigabytes * 8000 / float(took),
        "sender_cpu_s_per_gb": near_cpu / gigabytes,
        "receiver_cpu_s_per_gb": far_cpu / gigabytes,
    }


def ping(kind: Kind, *, size: int, seconds: float, processor: int | None) -> Sample:
    """Send a message back and forth on loopback.

    :param size: bytes.
    :param processor: the only CPU that both ends may use.
    :return: ``p50_us`` and ``p99_us``.
    """
    with pair(kind, LOOPBACK, ("echo", "ping"), (size, seconds), processor) as (_, near):
        p50, p99, count = near.line(seconds + _SLACK).split()
    return {"p50_us": float(p50), "p99_us": float(p99), "count": float(count)}


def idle(kind: Kind, *, count: int) -> dict[str, float]:
    """Open connections on loopback that do nothing.

    :param count: how many, all between the same two UDP ports.
    :return: ``kb``: what the receiving side's memory grows by, for each; ``dial_kb``: the other's.
    """
    with pair(kind, LOOPBACK, ("accept", "dial"), (count,)) as ends:
        before = [proportional_memory(end.pid) for end in ends]
        for end in ends:
            end.ready("held", _SLACK + count * _SECONDS_A_CONNECT)
        far, near = (
            (proportional_memory(end.pid) - start) / count / 1000
            for end, start in zip(ends, before, strict=True)
        )
    return {"kb": far, "dial_kb": near}
