"""A client and a server on one network: found by multicast, with the mediator and the internet down."""

from __future__ import annotations

import re
import sys

from tests.lab.case import LabCase
from tests.lab.hosts import Host
from tests.lab.links import connect
from tests.lab.processes import Process, poll
from tests.lab.product import WEB, Fetched, Product
from tests.lab.topology import SiteSettings

_SIZE = 300_000
_LIMIT = 500.0  # milliseconds from the call to the server's first answer, on a network of no length
_FORWARD = 7000
_TCP = 7001
_FORGED = """
import sys
from twisted.internet import reactor
from wavesync.lan.listening import Listener
listener = Listener(reactor, sys.argv[1], sys.argv[2])
listener.start(int(sys.argv[3]))
print("ready", flush=True)
reactor.run()
"""
_ANSWERS = """
table inet answers {
    counter sent { }
    chain out { type filter hook output priority 0; udp sport 3347 counter name sent; }
}
"""


def _answers(host: Host) -> int:
    """How many packets have left the port of LAN discovery."""
    listed = host.run(["nft", "-j", "list", "counter", "inet", "answers", "sent"]).stdout
    (packets,) = re.findall(r'"packets": (\d+)', listed)
    return int(packets)


class LANTests(LabCase):
    """Real multicast."""

    def fetch(self, product: Product, *options: str, target: str | None = None) -> Fetched:
        """Fetch as a client that has never been here; it goes by the LAN, and is soon there."""
        self.forget(product)
        fetched = product.fetch("file", *options, target=target)
        self.assertEqual((fetched.status, fetched.digest), (0, self.digest), fetched.errors)
        self.assertEqual(fetched.report["path"], "lan", fetched.report)
        (won,) = [each for each in fetched.report["candidates"] if each["result"] == "won"]
        accepted = fetched.report["ms"]["accepted"]
        print(
            f"\n{options} {won['address']}: answered after {won['started']:.0f} ms,"
            f" accepted after {accepted:.0f} ms"
        )
        # On a busy machine the first query, or the program itself, may come late.
        self.assertLess(accepted, 4 * _LIMIT)
        self.accepted.append(accepted)
        return fetched

    def forget(self, product: Product) -> None:
        """Remove what the client remembers."""
        for file in product.files.glob("known-*.json"):
            file.unlink()

    def agent(self, product: Product, host: Host) -> Process:
        """Start an agent that accepts at a known port."""
        lines = [f'credentials = "{product.server_file}"', f"tcp_port = {_TCP}"]
        lines += ["[services]", 'web = "tcp:127.0.0.1:8080"']
        (product.files / "agent.toml").write_text("\n".join(lines) + "\n")
        return product.agent_on(host)

    def setUp(self) -> None:
        self.accepted: list[float] = []
        self.digest = ""

    def test_one_network(self) -> None:
        """No mediator, no internet: over both families, and over nothing but link-local IPv6.

        (With a mediator that answers: the scenes "one LAN" of the matrix.)
        """
        lab = self.lab(SiteSettings("port", hosts=2, ipv6=True), "none")
        client, server = lab.a.hosts
        product = Product(lab, hosts=(client, server))
        self.digest = product.payload("file", _SIZE)
        server.namespace.nft(_ANSWERS)
        product.start_web()
        lab.a.router.ip("link set wan down")
        self.agent(product, server).wait_for_line("accepts on TCP port", 60)
        self.fetch(product, target=product.system.system)
        self.assertGreater(_answers(server), 0)
        self.forget(product)
        pinged = product.wavesync("ping", "-c", "2", str(product.server.target))
        self.assertEqual(pinged.status, 0, pinged.stderr)
        self.assertIn("lan", pinged.stdout)
        product.forward(WEB, _FORWARD)
        url = f"http://127.0.0.1:{_FORWARD}/file"
        for _ in range(2):
            done = client.run(["sh", "-c", f"curl -sf {url} | sha256sum"], timeout=30)
            self.assertEqual(done.stdout.split()[0], self.digest)

        self.check_silence(product)
        self.check_cable(product, lab.b.host)

        for host in (client, server):
            host.namespace.ip("addr flush dev eth0 scope global")
        fetched = self.fetch(product)
        places = [each["address"] for each in fetched.report["candidates"]]
        self.assertTrue(any(place.startswith("[fe80::") for place in places), places)
        self.assertLess(min(self.accepted), _LIMIT)

    def check_silence(self, product: Product) -> None:
        """Whoever does not know the system gets no packet, though an agent of it is there."""
        before = _answers(product.server_host)
        self.forget(product)
        stranger = Product(product.lab, hosts=(product.server_host, product.client_host))
        failed = product.wavesync(
            *("connect", "--paths", "lan", str(stranger.server.target), WEB),
            credentials=stranger.client_file,
        )
        self.assertEqual(failed.status, 1, failed.stderr)
        self.assertIn("does not answer on this network", failed.stderr)
        self.assertEqual(_answers(product.server_host), before)

    def check_cable(self, product: Product, stranger: Host) -> None:
        """A cable to a host of another network: the agent notices the interface within seconds."""
        server = product.server_host
        connect(stranger.namespace, "eth1", server.namespace, "eth1")
        for number, host in enumerate((stranger, server)):
            host.namespace.ip(f"addr add 10.77.0.{1 + number}/24 dev eth1")
        ping = product.command("ping", "-c", "1", "--paths", "lan", str(product.server.target))
        poll(
            lambda: stranger.run(ping, check=False).status == 0,
            40,
            lambda: "the server is not found over the second interface",
        )

    def test_wrong_host(self) -> None:
        """Two sites with one private network: the neighbour has the server's address, and says so, too."""
        # The server is far away, so that whoever is wrong has the time to be found out.
        lab = self.lab(SiteSettings("port", hosts=2), SiteSettings("port", delay=0.25))
        neighbour, server = lab.a.hosts[1], lab.b.host
        server.namespace.ip(f"addr add {neighbour.address}/24 dev eth0")
        product = Product(lab)
        self.digest = product.payload("file", _SIZE)
        product.start_web()
        product.start_mediator()
        wrong = Product(lab, hosts=(neighbour, neighbour))
        agents = [self.agent(wrong, neighbour), self.agent(product, server)]
        system, name = product.server.target.system, product.server.target.server
        forged = neighbour.start([sys.executable, "-c", _FORGED, system, str(name), str(_TCP)])
        forged.wait_for_line("ready")
        for agent in agents:
            agent.wait_for_line("sees this server's UDP port", 60)
        fetched = product.fetch("file")
        self.assertEqual((fetched.status, fetched.digest), (0, self.digest), fetched.errors)
        self.assertIn(fetched.report["path"], ("udp", "tcp"))
        there = f"{neighbour.address}:{_TCP}"
        tried = {
            each["kind"]: (each["result"], each["why"])
            for each in fetched.report["candidates"]
            if each["address"] == there
        }
        self.assertEqual(set(tried), {"lan", "tcp"}, fetched.report)
        self.assertEqual({result for result, _ in tried.values()}, {"failed"}, tried)
