"""A router that maps ports when asked: miniupnpd beside the rules of a site's router."""

from __future__ import annotations

from tests.lab.processes import Process, poll
from tests.lab.sites import Site

__all__ = ["PROTOCOLS", "PortMapRouter"]

PROTOCOLS = ("PCP", "NAT-PMP", "UPnP")
"""What it may be spoken to with."""

_PORT = 5351
_SETTINGS = """
ext_ifname=wan
listening_ip=lan
enable_natpmp={natpmp}
enable_upnp={upnp}
secure_mode=yes
system_uptime=no
min_lifetime=20
max_lifetime=86400
notify_interval=900
clean_ruleset_interval=600
uuid=5a34308c-1a2c-4546-ac5d-7663dd01dca1
upnp_table_name=filter
upnp_nat_table_name=portmap
upnp_forward_chain=opened
upnp_nat_chain=forwarded
upnp_nat_postrouting_chain=returned
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
_RULES = """
table inet portmap
delete table inet portmap
table inet filter {
    chain opened { }
}
insert rule inet filter forward jump opened
table inet portmap {
    chain prerouting { type nat hook prerouting priority dstnat - 10; jump forwarded; }
    chain postrouting { type nat hook postrouting priority srcnat - 10; jump returned; }
    chain forwarded { }
    chain returned { }
}
"""
# Drops what is asked in one of the two versions that share a port: the first byte is the version.
_ONLY = """
table inet only {{
    chain input {{
        type filter hook input priority filter - 5;
        iifname "lan" udp dport {port} @th,64,8 {version} drop
    }}
}}
"""
_OTHERS = {"PCP": 0, "NAT-PMP": 2}


class PortMapRouter:
    """miniupnpd on a site's router.

    :param site: whose router; it has to be of a kind that filters.
    :param protocols: some of :data:`PROTOCOLS`.
    """

    def __init__(self, site: Site, protocols: tuple[str, ...] = PROTOCOLS) -> None:
        self._site = site
        self._protocols = protocols
        self._files = site.host.directory("miniupnpd")
        self._starts = 0
        self._process: Process | None = None
        for protocol, other in _OTHERS.items():
            if protocol in protocols and not set(_OTHERS) <= set(protocols):
                site.router.nft(_ONLY.format(port=_PORT, version=other))
        self.start()

    def start(self) -> None:
        """Start it, with nothing mapped."""
        self._site.router.nft(_RULES)
        settings = self._files / "settings"
        natpmp = bool(set(_OTHERS) & set(self._protocols))
        settings.write_text(
            _SETTINGS.format(natpmp=_word(natpmp), upnp=_word("UPnP" in self._protocols))
        )
        self._starts += 1
        self._process = Process(
            self._site.router,
            "miniupnpd",
            ["miniupnpd", "-d", "-f", str(settings), "-P", str(self._files / "pid")],
            self._files / f"{self._starts}.log",
        )
        self._process.wait_for_line("Listening for" if natpmp else "HTTP listening on")

    def stop(self) -> None:
        """Kill it: what it has mapped stays in the rules."""
        assert self._process is not None
        self._process.kill()

    def reboot(self) -> None:
        """Reboot the router: all it has mapped is forgotten."""
        self.stop()
        self._site.reboot()
        self.start()

    @property
    def rules(self) -> list[str]:
        """The rules that forward ports now: one line each."""
        return _chain(self._site, "portmap", "forwarded")

    @property
    def pinholes(self) -> list[str]:
        """The rules that let packets in now."""
        return _chain(self._site, "filter", "opened")

    def wait_for_rules(self, count: int, timeout: float) -> list[str]:
        """Wait until so many ports are forwarded.

        :raises LabError: not in time.
        """
        poll(lambda: len(self.rules) == count, timeout, lambda: f"{self.rules}\n{self.output()}")
        return self.rules

    def output(self) -> str:
        """What it has said since its last start."""
        assert self._process is not None
        return self._process.output()


def _chain(site: Site, table: str, chain: str) -> list[str]:
    listed = site.router.run(["nft", "list", "chain", "inet", table, chain]).stdout
    return [line.strip() for line in listed.splitlines() if "dport" in line]


def _word(value: bool) -> str:
    return "yes" if value else "no"
