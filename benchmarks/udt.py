"""One UDT flow over loopback, MSS 1500: ours against libudt 4.11, in interleaved runs.

Needs Debian's libudt-dev and g++.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["measure"]

_SECONDS = 5.0


def _build(directory: Path) -> str:
    """Compile the libudt program."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise SystemExit("this benchmark needs g++ and libudt-dev")
    program = directory / "udt_peer"
    source = Path(__file__).with_name("udt_peer.cpp")
    command = [compiler, "-std=c++17", "-O2", "-o", str(program), str(source), "-ludt", "-lpthread"]
    subprocess.run(command, check=True)
    return str(program)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _cpu(process: subprocess.Popen[str]) -> float:
    """Wait for the end of a process; its CPU seconds, user and system."""
    _, _, usage = os.wait4(process.pid, 0)
    return usage.ru_utime + usage.ru_stime


def _flow(command: list[str], seconds: float) -> dict[str, float]:
    """Run one flow between two processes of one kind."""
    port = str(_free_port())
    sink = subprocess.Popen([*command, "sink", port], stdout=subprocess.PIPE, text=True)
    assert sink.stdout is not None
    sink.stdout.readline()
    sender = subprocess.Popen([*command, "send", port, str(seconds)], text=True)
    total, took = sink.stdout.readline().split()
    sent_cpu, sunk_cpu = _cpu(sender), _cpu(sink)
    gigabytes = int(total) / 1e9
    return {
        "mbit_s": gigabytes * 8000 / float(took),
        "sender_cpu_s_per_gb": sent_cpu / gigabytes,
        "receiver_cpu_s_per_gb": sunk_cpu / gigabytes,
    }


def measure(runs: int = 5, seconds: float = _SECONDS) -> dict[str, object]:
    """Take the figures.

    :param runs: flows of each kind, interleaved.
    :param seconds: length of each.
    """
    flows: dict[str, list[dict[str, float]]] = {"ours": [], "libudt": []}
    with tempfile.TemporaryDirectory() as directory:
        commands = {
            "ours": [sys.executable, "-m", "benchmarks.udt_end"],
            "libudt": [_build(Path(directory))],
        }
        for _ in range(runs):
            for name, command in commands.items():
                flows[name].append(_flow(command, seconds))
    medians = {
        name: {figure: round(statistics.median(f[figure] for f in each), 3) for figure in each[0]}
        for name, each in flows.items()
    }
    ratio = {
        figure: round(medians["ours"][figure] / medians["libudt"][figure], 3)
        for figure in medians["ours"]
    }
    return {**medians, "ratio": ratio, "runs": runs}
