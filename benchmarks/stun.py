"""STUN Binding requests answered a second by one process: our mediator against coturn, interleaved.

The servers on one CPU, the load on another one: 16 sockets with 32 requests outstanding each, and 200
with one; each socket has a loopback address of its own.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.figures import Bar, Row, compared, line
from benchmarks.programs import Broken, Program, cpu_seconds, free_port
from benchmarks.samples import Sample, interleave

__all__ = ["measure"]

_LOADS = {"16x32": (16, 32), "200x1": (200, 1)}
_SECONDS = 3.0
_WARM = 0.3
"""Seconds that the load runs before it counts."""
_HOST = "127.0.0.1"
_BAR = Bar(1.05, 1.35)
_REQUEST = bytes.fromhex("000100002112a442") + bytes(12)
# Nothing is dropped: it is the answering that is measured.
_SETTINGS = """
name = "{host}"
listen = ["{host}:{port}"]
http_listen = []
[metrics]
listen = ""
[limits]
source_rate = 1000000000.0
source_burst = 1000000000.0
"""


def _build_load(directory: Path) -> str:
    compiler = shutil.which("g++")
    if compiler is None:
        raise SystemExit("this benchmark needs g++")
    program = directory / "stun_load"
    source = Path(__file__).with_name("stun_load.cpp")
    subprocess.run([compiler, "-std=c++17", "-O2", "-o", str(program), str(source)], check=True)
    return str(program)


def _ours(directory: Path, port: int) -> list[str]:
    settings = directory / "mediator.toml"
    settings.write_text(_SETTINGS.format(host=_HOST, port=port))
    command = [sys.executable, "-m", "twisted", "--log-level=critical"]
    return [*command, "wavesync-mediator", "--config", str(settings)]


def _coturn(directory: Path, port: int) -> list[str]:
    program = shutil.which("turnserver")
    if program is None:
        raise SystemExit("this benchmark needs Debian's coturn")
    command = [program, "-n", "-L", _HOST, "-p", str(port), "--stun-only", "--relay-threads=1"]
    command += ["--no-tls", "--no-dtls", "--no-cli", "--no-software-attribute"]
    command += ["--log-file", "/dev/null", "--pidfile", str(directory / "coturn.pid")]
    return [*command, "--userdb", str(directory / "coturn.db")]


_SERVERS = {"ours": _ours, "coturn": _coturn}


@contextlib.contextmanager
def _answering(kind: str, directory: Path, processor: int) -> Iterator[tuple[Program, int]]:
    port = free_port(socket.SOCK_STREAM)
    with Program(_SERVERS[kind](directory, port), processor=processor) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.1)
            for _ in range(200):
                with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                    probe.sendto(_REQUEST, (_HOST, port))
                    probe.recv(1500)
                    break
            else:
                raise Broken(f"nobody answers: {server}")
        yield server, port


def _sample(kind: str, load: str, program: str, seconds: float, directory: Path) -> Sample:
    processors = sorted(os.sched_getaffinity(0))
    sockets, outstanding = _LOADS[load]
    with _answering(kind, directory, processors[-1]) as (server, port):
        command = ["taskset", "-c", str(processors[0]), program]
        command += [str(port), str(sockets), str(outstanding), str(seconds)]
        before = cpu_seconds(server.pid)
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        used = cpu_seconds(server.pid) - before
    answered, took, wrong, lost = done.stdout.split()
    if int(wrong) or int(lost) > int(answered) // 20:
        raise Broken(f"{kind}: {wrong} answers are wrong, {lost} requests were lost")
    busy = used * float(took) / (float(took) + _WARM)
    return {"per_s": int(answered) / float(took), "per_cpu_s": int(answered) / busy}


def measure(runs: int = 5, *, seconds: float = _SECONDS) -> Row:
    """Take the figures.

    :param runs: measurements of each server, interleaved.
    :param seconds: length of each.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        program = _build_load(directory)
        for load, (sockets, outstanding) in _LOADS.items():
            kinds = {
                kind: partial(_sample, kind, load, program, seconds, directory) for kind in _SERVERS
            }
            taken = interleave(kinds, runs)
            what = f"{sockets} sockets with {outstanding} outstanding"
            for figure, unit in (("per_s", "1/s"), ("per_cpu_s", "1/CPU s")):
                rows.append(
                    compared(
                        f"STUN Binding requests, {what}",
                        unit,
                        figure,
                        taken["ours"],
                        taken["coturn"],
                        _BAR,
                        peer="coturn",
                    )
                )
    return line(
        rows, runs=runs, settings={"seconds": seconds, "reply_bytes": "ours 32, coturn 44 up"}
    )
