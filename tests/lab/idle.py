"""``python -m tests.lab.idle [--timeout SECONDS]``: an idle hole behind routers that forget soon.

The agent and a client that holds a hole learn how long their NAT keeps a mapping; then the hole is
idle for three timeouts more, and has to carry another connection.  Prints one line of JSON: the pause
that each side has learned, and the packets that both sides have sent through the idle hole.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time

from tests.lab.product import WEB, Product
from tests.lab.topology import Lab, SiteSettings

__all__ = ["main"]

_PORT = 8100
_LEARNED = r"keeps an unused mapping for ([\d.]+) s or more: one packet each ([\d.]+) s"
_WITHIN = 150.0


def main(arguments: list[str]) -> int:
    """Do it.

    :return: 0 if the hole has lived.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.lab.idle", description=__doc__)
    parser.add_argument("--timeout", type=int, default=20, help="seconds (default: 20)")
    parser.add_argument("--kind", default="port", help="of both sites (default: port)")
    options = parser.parse_args(arguments)
    site = SiteSettings(options.kind, mapping_timeout=options.timeout)
    with Lab(site, site) as lab:
        product = Product(lab)
        product.payload("file", 1000)
        product.start()
        report = product.forward(WEB, _PORT)
        url = f"http://127.0.0.1:{_PORT}/file"
        lab.a.host.run(["curl", "-sS", "-o", "/dev/null", url])
        assert product.agent is not None
        found = product.agent.wait_for_line(_LEARNED, timeout=_WITHIN)
        time.sleep(30)  # the client began at about the same time
        before = product.counts()
        time.sleep(3.2 * options.timeout)
        client, server = (now - then for now, then in zip(product.counts(), before, strict=True))
        lab.a.host.run(["curl", "-sS", "-o", "/dev/null", url])
        last = product.reports(report, 2)[-1]
        seen = re.findall("sees this server's UDP port", product.agent.output())
    result = {
        "mapping_timeout": options.timeout,
        "agent_found": float(found[1]),
        "agent_pause": float(found[2]),
        "idle_seconds": round(3.2 * options.timeout, 1),
        "client_packets": client.udp_sent.packets,
        "server_packets": server.udp_sent.packets,
        "agent_to_mediator": server.mediator_sent.packets,
        "agent_mappings_seen": len(seen),
        "reused": last["reused"],
        "path": last["path"],
    }
    print(json.dumps(result))
    return 0 if last["reused"] and len(seen) == 1 else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
