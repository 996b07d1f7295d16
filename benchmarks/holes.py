"""Many connections over one hole, all wanted at once: how many a second are opened.

A client behind a port-restricted NAT has one connection to a server behind another, and then asks
for all the others in the same moment.  Each sends 1000 bytes with its request and has to get them
back from an echo service; all stay open until the last has.  The routers have no delay; the rate is
that of the processors, which client, agent and echo service share.  Needs root (network namespaces).
"""

import json
import sys

from tests.lab.processes import processor_time
from tests.lab.product import Product
from tests.lab.topology import Lab

__all__ = ["ECHO", "measure"]

ECHO = """
import asyncio
async def answer(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 7100, backlog=1024)
    await server.serve_forever()
asyncio.run(main())
"""


def measure(connections: int = 500) -> dict[str, object]:
    """Take the figure.

    :param connections: how many, besides the first.
    """
    with Lab("port", "port") as lab:
        product = Product(lab, services={"echo": "tcp:127.0.0.1:7100"})
        echo = product.server_site.host.start([sys.executable, "-c", ECHO], name="echo")
        echo.wait_for_port(7100)
        product.start_mediator()
        product.start_agent()
        assert product.agent is not None
        before, counts = processor_time(product.agent.pid), product.counts()
        done = lab.a.host.run(
            [
                *(sys.executable, "-m", "benchmarks.holes_client"),
                *(str(product.client_file), str(product.server.target), "echo", str(connections)),
            ],
            timeout=120,
        )
        agent = processor_time(product.agent.pid) - before
        client, server = (
            (now - then).udp_sent.packets
            for now, then in zip(product.counts(), counts, strict=True)
        )
        assert product.mediator is not None
        introductions = product.mediator.output().count(" ms (report ")
    result: dict[str, object] = json.loads(done.stdout)
    result["agent_cpu_seconds"] = round(agent, 2)
    # How long the processors need for one connection: what is left of the figure on a busy machine.
    result["cpu_milliseconds_per_connection"] = tuple(
        round(seconds * 1000 / connections, 2)
        for seconds in (float(str(result["client_cpu_seconds"])), agent)
    )
    result["packets_per_connection"] = (
        round(client / connections, 1),
        round(server / connections, 1),
    )
    return {**result, "introductions": introductions}
