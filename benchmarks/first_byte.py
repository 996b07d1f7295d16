"""Time to first byte across two port-restricted NATs, in round trips.

Cold: nothing is remembered, the mediator is asked, a hole is punched, both ends verify each other,
and 100 bytes are answered to a request.  Warm: the same once more over the open hole.  20 ms one
way for each site, the mediator in the core.  The unit is the pinged round trip between the sites.
Needs root (network namespaces).
"""

import json
import re
import statistics
import sys

from tests.lab.product import Product
from tests.lab.topology import Lab

__all__ = ["measure"]

_DELAY = 0.020
_ANSWER = """
import socketserver
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(1)
        self.request.sendall(bytes(100))
        self.request.recv(1)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
with Server(("127.0.0.1", 7100), Answer) as server:
    server.serve_forever()
"""


def _ping(lab: Lab) -> float:
    """The round trip between the sites, in milliseconds: the median of ten pings."""
    done = lab.a.host.run(["ping", "-c", "10", "-i", "0.1", lab.b.wan])
    return statistics.median(float(ms) for ms in re.findall(r"time=([\d.]+) ms", done.stdout))


def measure(runs: int = 50) -> dict[str, object]:
    """Take the figures.

    :param runs: cold connects.
    """
    with Lab("port", "port", delay=_DELAY) as lab:
        product = Product(lab, services={"answer": "tcp:127.0.0.1:7100"})
        server = product.server_site.host.start([sys.executable, "-c", _ANSWER], name="answer")
        server.wait_for_port(7100)
        product.start_web()
        product.start_mediator()
        product.start_agent()
        rtt = _ping(lab)
        done = lab.a.host.run(
            [
                *(sys.executable, "-m", "benchmarks.first_byte_client"),
                *(str(product.client_file), str(product.server.target), "answer", str(runs)),
            ],
            timeout=60 + 3 * runs,
        )
        rtt_after = _ping(lab)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    result: dict[str, object] = {"rtt_ms": rtt, "rtt_ms_after": rtt_after, "runs": len(lines)}
    for kind in ("cold", "warm"):
        times = sorted(line[kind]["ms"] for line in lines)
        p50, p95 = statistics.median(times), times[int(0.95 * (len(times) - 1))]
        result[kind] = {
            "p50_ms": round(p50, 1),
            "p95_ms": round(p95, 1),
            "p50_round_trips": round(p50 / rtt, 2),
            "p95_round_trips": round(p95 / rtt, 2),
            "paths": sorted({line[kind]["path"] for line in lines}),
        }
    result["cold_stages_p50_ms"] = {
        stage: round(statistics.median(line["cold"]["stages"][stage] for line in lines), 1)
        for stage in ("introduced", "authenticated", "accepted")
    }
    return result
