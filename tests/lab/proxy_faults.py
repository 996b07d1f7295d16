"""Proxies that break, cut, or answer in the server's place; each ends in another way, or in a sentence."""

from __future__ import annotations

import hashlib
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import Completed, LabError
from tests.lab.office import PROXY_PORT, Office, Rude, office
from tests.lab.processes import Process, poll
from tests.lab.proxied import ProxiedProduct
from tests.lab.topology import MEDIATOR_NAME, RELAY_NAME, Lab, Site
from tests.signalling.authority import Authority
from tests.tunnel.proxy_processes import Squid

__all__ = ["FAULTS", "Ending", "Strangers", "restarted_below"]

_DELAY = 0.01
_SIZE = 10_000_000
_CUT = 20  # seconds that a connection lasts
_NOTICED = 2.0  # seconds until a client knows that the agent's proxy was killed
_GONE_OVER = 2 * _CUT + 25  # seconds until short polls are taken; 49 without other work
_PATIENCE = 120.0
_PORTAL_PORT = 8080
_PORTAL = f"""
table ip portal {{
    chain incoming {{
        type nat hook prerouting priority dstnat - 5; policy accept;
        iifname "lan" ip saddr != PORTAL tcp dport {{ 80, 443 }} dnat ip to PORTAL:{_PORTAL_PORT}
    }}
    chain outgoing {{
        type nat hook postrouting priority srcnat - 5; policy accept;
        oifname "lan" masquerade
    }}
}}
table inet portal {{
    chain forward {{
        type filter hook forward priority -20; policy accept;
        iifname "lan" ip daddr != PORTAL ct state new drop
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a fault ended.

    :ivar what: the fault.
    :ivar said: what the user was told, or what worked.
    :ivar seconds: how long that took.
    :ivar right: whether it is as it should be.
    """

    what: str
    said: str
    seconds: float
    right: bool


def restarted_below(product: ProxiedProduct, here: Office, size: int = _SIZE) -> Ending:
    """Kill the client's proxy in the middle of a download by short polls, and start it again.

    :raises LabError: the download did not come, or was damaged.
    """
    data = os.urandom(size)
    began = time.monotonic()
    process, file = _downloading(product, data)
    poll(lambda: file.exists() and file.stat().st_size > size // 5, 60, process.output)
    here.kill()
    time.sleep(1.0)
    if file.stat().st_size == size:
        raise LabError("it was over before the proxy was killed")
    here.start()
    status = process.wait(_PATIENCE)
    took = time.monotonic() - began
    if status or hashlib.sha256(file.read_bytes()).digest() != hashlib.sha256(data).digest():
        raise LabError(f"{file.stat().st_size} bytes came; {process.output()}")
    return Ending(
        "Squid is killed under short polls, and started a second later",
        f"the same stream goes on: {size / 1e6:g} MB came undamaged",
        took,
        right=True,
    )


def _downloading(product: ProxiedProduct, data: bytes) -> tuple[Process, Path]:
    """Begin a download into a file."""
    (product.files / "file").write_bytes(data)
    file = product.files / f"came-{time.monotonic_ns()}"
    command = shlex.join(product.command("connect", str(product.server.target), "file"))
    process = product.client_host.start(
        ["sh", "-c", f"exec {command} < /dev/null > {file}"],
        name="download",
        env=product.environments["client"],
    )
    return process, file


def _restarted_connect() -> Ending:
    """Kill a proxy that connects in the middle of a download, and start it again."""
    with closing(Lab("port", office(_DELAY), delay=_DELAY)) as lab:
        here = Office(lab.b, Squid(connect_ports=[443]))
        product = ProxiedProduct(lab, (lab.a.host, lab.b.host), agent=here.variables)
        product.start()
        process, file = _downloading(product, os.urandom(20 * _SIZE))
        poll(lambda: file.exists() and file.stat().st_size > _SIZE, 60, process.output)
        began = time.monotonic()
        here.kill()
        status = process.wait(_PATIENCE)
        noticed = time.monotonic() - began
        here.start()
        began = time.monotonic()
        said = process.output().strip().splitlines()[-1:]
        while True:
            try:
                product.download(1000)
                break
            except LabError:
                if time.monotonic() - began > _PATIENCE:
                    raise
        took = time.monotonic() - began
    return Ending(
        "Squid is killed under a CONNECT of the agent, and started again",
        f"the stream ends after {noticed:.1f} s ({' '.join(said)}); from then until the next one has worked",
        took,
        right=bool(status)
        and "in the middle of the session" in "".join(said)
        and noticed < _NOTICED,
    )


def _restarted_polls() -> Ending:
    """The same with short polls, of client and agent."""
    with closing(Lab(office(_DELAY), office(_DELAY))) as lab:
        here = [Office(site, Squid(connect=False)) for site in lab.sites]
        client, agent = (each.variables for each in here)
        product = ProxiedProduct(lab, (lab.a.host, lab.b.host), client=client, agent=agent)
        product.start()
        return restarted_below(product, here[0])


def _cut() -> Ending:
    """A proxy that cuts each connection after 20 s: the agent takes short polls, and stays."""
    with closing(Lab("port", office(_DELAY), delay=_DELAY)) as lab:
        here = Office(lab.b, Rude("cut", "--seconds", str(_CUT)))
        product = ProxiedProduct(lab, (lab.a.host, lab.b.host), agent=here.variables)
        product.start()
        assert product.agent is not None
        began = time.monotonic()
        command = shlex.join(product.command("connect", str(product.server.target), "echo"))
        stream = product.client_host.start(
            ["sh", "-c", f"sleep {_PATIENCE} | {command}"],
            name="stream",
            env=product.environments["client"],
        )
        broken = stream.wait_for_line(f".*{_BROKEN}.*", 2 * _CUT)[0]
        for name in (MEDIATOR_NAME, RELAY_NAME):
            product.agent.wait_for_line(rf"{name}\S* is reached by tunnel poll", 12 * _CUT)
        took = time.monotonic() - began
        lasted = _lasting(product, 1.5 * _CUT)
    return Ending(
        f"the agent's proxy cuts each connection after {_CUT} s",
        f"a stream ends ({broken}); the agent goes over to short polls, and a stream"
        f" through them lasts {1.5 * _CUT:g} s{_unless(lasted)}",
        took,
        right=lasted.stdout == "onetwo" and took < _GONE_OVER,
    )


def _cut_client() -> Ending:
    """The client's proxy does so: a command for one connection learns from those before."""
    with closing(Lab(office(_DELAY), "port", delay=_DELAY)) as lab:
        here = Office(lab.a, Rude("cut", "--seconds", str(_CUT)))
        product = ProxiedProduct(lab, (lab.a.host, lab.b.host), client=here.variables)
        product.start()
        product.download(1000)  # now the client knows its router, hence the network
        began = time.monotonic()
        broken = [_lasting(product, 1.5 * _CUT) for _ in range(2)]
        took = time.monotonic() - began
        lasted = _lasting(product, 1.5 * _CUT)
    return Ending(
        f"the client's proxy cuts each connection after {_CUT} s",
        f"two streams end ({broken[-1].stderr.strip()}); the next one goes by short polls, and lasts"
        f" {1.5 * _CUT:g} s{_unless(lasted)}",
        took,
        right=all(_BROKEN in each.stderr for each in broken) and lasted.stdout == "onetwo",
    )


_BROKEN = "in the middle of the session, after"


def _unless(lasted: Completed) -> str:
    return "" if lasted.stdout == "onetwo" else f"; it did not: {lasted}"


def _lasting(product: ProxiedProduct, seconds: float) -> Completed:
    """Have a stream last so long, if it can: a word at its beginning, and one at its end."""
    command = shlex.join(product.command("connect", str(product.server.target), "echo"))
    script = f"(printf one; sleep {seconds}; printf two) | {command}"
    env = product.environments["client"]
    return product.client_host.run(
        ["sh", "-c", script], env=env, check=False, timeout=2 * seconds + 30
    )


class Strangers:
    """A client among those that answer in the server's place; its agent is at an open site.

    :param lab: its first site is an office without a proxy.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.product = ProxiedProduct(lab, (lab.a.host, lab.b.host))
        self._offices: list[Office] = []
        self._ports = iter(range(PROXY_PORT, PROXY_PORT + 100))

    def endings(self) -> Iterator[Ending]:
        """Start everything, and meet them all."""
        self.product.start()
        site = self._lab.add_site(office(_DELAY))
        yield self.page()
        yield self.friendly_page()
        yield self.intercepting()
        yield self.trusted()
        yield self.portal(site)

    def page(self) -> Ending:
        """A proxy has a page of its own for everything."""
        here = self._office(Rude("page"))
        return self._ends(
            "a proxy answers all with an HTML page of its own (403)", here.variables, "403"
        )

    def friendly_page(self) -> Ending:
        """The same, but its status says that all is well."""
        here = self._office(Rude("page", "--status", "200 OK"))
        what = "a proxy answers all with an HTML page of its own (200)"
        return self._ends(what, here.variables, "proxy's page")

    def intercepting(self) -> Ending:
        """A proxy opens TLS with an authority of its own."""
        self.interceptor = Authority("Example Corp Inspection")
        certificate = self.product.files / "intercepting.pem"
        certificate.write_bytes(self.interceptor.certify(MEDIATOR_NAME, RELAY_NAME))
        here = self._office(Rude("intercept", "--certificate", str(certificate)))
        what = "a proxy opens TLS with an authority of its own"
        return self._ends(what, here.variables, "Example Corp Inspection")

    def trusted(self) -> Ending:
        """The same, and the user trusts that authority."""
        here = self._offices[-1]
        known = dict(self.product.environments)
        self.product.trust(self.product.authority, self.interceptor)
        self.product.environments["client"] = {
            **self.product.environments["client"],
            **here.variables,
        }
        moved = self.product.download(_SIZE)
        self.product.environments = known
        return Ending(
            "the same, and its authority is trusted (SSL_CERT_FILE)",
            f"{_SIZE / 1e6:g} MB came: {moved.way}",
            moved.seconds,
            right=True,
        )

    def portal(self, site: Site) -> Ending:
        """A captive portal answers what is meant for web servers.

        :param site: another one, of two hosts.
        """
        portal = Rude("portal")
        here = Office(site, portal, port=_PORTAL_PORT, fenced=False)
        site.router.nft(_PORTAL.replace("PORTAL", portal.address))
        self.product.client_host = here.user
        try:
            return self._ends(
                "a captive portal answers at ports 80 and 443, all else is dropped",
                {},
                "captive portal",
            )
        finally:
            self.product.client_host = self._lab.a.host

    def _office(self, proxy: Rude) -> Office:
        self._offices.append(Office(self._lab.a, proxy, port=next(self._ports)))
        return self._offices[-1]

    def _ends(self, what: str, variables: Mapping[str, str], words: str) -> Ending:
        """Connect in vain, and read why."""
        known = self.product.environments["client"]
        self.product.environments["client"] = {**known, **variables}
        (self.product.files / "ways.json").unlink(missing_ok=True)
        began = time.monotonic()
        done = self.product.wavesync("connect", str(self.product.server.target), "echo")
        took = time.monotonic() - began
        self.product.environments["client"] = known
        right = done.status == 1 and words in done.stderr and "Traceback" not in done.stderr
        return Ending(what, " ".join(done.stderr.split()), took, right)


FAULTS: tuple[Callable[[], Ending], ...] = (
    _restarted_polls,
    _restarted_connect,
    _cut,
    _cut_client,
)
"""Those that need a laboratory of their own."""
