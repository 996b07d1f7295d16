"""A site of the laboratory: hosts behind a router, which may be behind an ISP's router."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab.commands import LabError
from tests.lab.counters import Counts, read_counts
from tests.lab.hosts import Host
from tests.lab.kinds import Kind, kind_named
from tests.lab.links import DelayedLink, connect
from tests.lab.routers import STANDARD_MTU, Router
from tests.lab.rules import BLOCK_UDP, UNBLOCK_UDP

if TYPE_CHECKING:
    from tests.lab.topology import Lab

__all__ = ["ISP_GATEWAY", "Site", "SiteSettings", "connect_core"]

#: The inside address of an ISP's router.
ISP_GATEWAY = "100.64.0.1"


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """
    What a site shall be.

    :ivar kind: its kind, or the name of one.
    :ivar delay: one way between its router and the core, in seconds.
    :ivar loss: probability of losing a packet there, in each direction.
    :ivar hosts: how many hosts its network has, 1 or more.
    :ivar mapping_timeout: seconds that an unused mapping of its routers lives.
    :ivar hairpin: whether its hosts reach each other at the router's public address.
    :ivar mtu: octets of the largest packet between its router and the core.
    :ivar too_big: whether senders of larger packets are told so.
    :ivar jitter: up to this much more delay to the core, random for each packet, in seconds.
    :ivar ipv4: whether its hosts have IPv4 addresses.
    :ivar ipv6: whether its hosts have public IPv6 addresses, filtered as the kind says: there is
        no translation, and what comes in needs a flow, except at an open site.
    """

    kind: Kind | str
    delay: float = 0.0
    loss: float = 0.0
    hosts: int = 1
    mapping_timeout: int = 120
    hairpin: bool = False
    mtu: int = STANDARD_MTU
    too_big: bool = True
    jitter: float = 0.0
    ipv4: bool = True
    ipv6: bool = False


class Site:
    """
    A router and the hosts behind it.

    :ivar name: ``a`` or ``b``.
    :ivar settings: as asked for.
    :ivar kind: its kind.
    :ivar gateway: its router.
    :ivar isp: its ISP's router, when it has one.
    :ivar router: its router's namespace; its outside interface is ``wan``, its inside one ``lan``.
    :ivar network: the hosts' IPv4 network.
    :ivar network6: the hosts' IPv6 network; empty without one.
    :ivar hosts: its hosts.
    """

    def __init__(
        self, lab: Lab, name: str, number: int, settings: SiteSettings, isp: Router | None
    ) -> None:
        self.name = name
        self.settings = settings
        self.kind = kind_named(settings.kind) if isinstance(settings.kind, str) else settings.kind
        if settings.ipv6 and (isp is not None or self.kind.behind is not None):
            raise LabError("behind an ISP's router there is no IPv6")
        prefix = f"192.168.{number}" if self.kind.translates else f"45.{number}.0"
        self.network = f"{prefix}.0/24"
        self.network6 = f"2600:{number}:0:1::/64" if settings.ipv6 else ""
        self.gateway = self._make_router(lab, f"router{name}", self.kind)
        self.router = self.gateway.namespace
        self.isp = isp
        self._behind_shared = isp is not None
        if isp is not None:
            self._connect_to_isp(lab, number, isp, settings.delay, settings.loss)
        elif self.kind.behind is not None:
            self.isp = self._make_router(lab, f"isp{name}", self.kind.behind)
            connect_core(lab, self.isp, number, settings, name)
            self.isp.namespace.ip(f"addr add {ISP_GATEWAY}/16 dev lan")
            self._connect_to_isp(lab, number, self.isp, 0.0, 0.0)
        else:
            connect_core(lab, self.gateway, number, settings, name)
        routes = [] if self.kind.translates else [f"route add {self.network} via {self.wan}"]
        if routes:
            lab.core.ip(*routes)
        self.router.ip(f"addr add {prefix}.1/24 dev lan")
        if settings.ipv6:
            self._add_ipv6(lab, number)
        self.hosts = tuple(
            self._make_host(lab, prefix, number, index) for index in range(1, settings.hosts + 1)
        )

    @property
    def host(self) -> Host:
        """Its first host."""
        return self.hosts[0]

    @property
    def outermost(self) -> Router:
        """The router that the internet sees."""
        return self.isp or self.gateway

    @property
    def wan(self) -> str:
        """The public IPv4 address."""
        return self.outermost.wan

    @property
    def link(self) -> DelayedLink | None:
        """The link to the core, or to a shared ISP, if it has delay or loss."""
        return self.gateway.link if self._behind_shared else self.outermost.link

    @property
    def public(self) -> tuple[str, ...]:
        """Everything public about it, before and after `renumber`; and its public networks."""
        networks = [] if self.kind.translates else [self.network]
        networks += [self.network6] if self.network6 else []
        return (self.wan, _second(self.wan), *networks)

    def counts(self) -> Counts:
        """Read what its router has passed so far."""
        return read_counts(self.router)

    def block_udp(self) -> None:
        """Let its router drop all UDP from now on."""
        self.router.nft(BLOCK_UDP)

    def unblock_udp(self) -> None:
        """Take `block_udp` back."""
        self.router.nft(UNBLOCK_UDP)

    def reboot(self) -> None:
        """Reboot the router that the internet sees: its mappings and flows are gone at once."""
        self.outermost.reboot()

    def renumber(self) -> None:
        """
        Give the site another public address: its second one, or its first one back.

        :raises LabError: when its hosts have public addresses of their own.
        """
        self.outermost.renumber(_second(self.wan))

    def _make_router(self, lab: Lab, name: str, kind: Kind) -> Router:
        return Router(
            lab.make_namespace(name),
            kind,
            mapping_timeout=self.settings.mapping_timeout,
            hairpin=self.settings.hairpin,
        )

    def _connect_to_isp(
        self, lab: Lab, number: int, isp: Router, delay: float, loss: float
    ) -> None:
        device = f"home{self.name}"
        log = lab.directory / f"link-{self.name}.log"
        self.gateway.connect(isp.namespace, device, delay=delay, loss=loss, log=log)
        isp.namespace.ip(f"link set {device} master lan")
        self.gateway.number(f"100.64.{number}.2", ISP_GATEWAY)

    def _add_ipv6(self, lab: Lab, number: int) -> None:
        outside = f"2600:{number}::"
        lab.core.ip(
            f"addr add {outside}1/64 dev site{self.name}",
            f"route add {self.network6} via {outside}2",
        )
        self.router.ip(
            f"addr add {outside}2/64 dev wan",
            f"route add ::/0 via {outside}1",
            f"addr add 2600:{number}:0:1::1/64 dev lan",
        )
        self.router.sysctl({"net.ipv6.conf.all.forwarding": 1})

    def _make_host(self, lab: Lab, prefix: str, number: int, index: int) -> Host:
        name = self.name if index == 1 else f"{self.name}{index}"
        settings = self.settings
        namespace = lab.make_namespace(f"host{name}", ipv4=settings.ipv4, ipv6=settings.ipv6)
        connect(namespace, "eth0", self.router, f"port{index}")
        self.router.ip(f"link set port{index} master lan")
        addresses = []
        if settings.ipv4:
            addresses.append(f"{prefix}.{index + 1}")
            namespace.ip(
                f"addr add {addresses[-1]}/24 dev eth0", f"route add default via {prefix}.1"
            )
        if settings.ipv6:
            inside = f"2600:{number}:0:1::"
            addresses.append(f"{inside}{index + 1}")
            namespace.ip(f"addr add {addresses[-1]}/64 dev eth0", f"route add ::/0 via {inside}1")
        return Host(name, namespace, addresses, lab.directory)


def connect_core(lab: Lab, router: Router, number: int, settings: SiteSettings, name: str) -> None:
    """
    Link a router to the core, and give it public IPv4 addresses.

    :param number: its network is 44.number.0.0/16.
    :param settings: of the link.
    :param name: of the site, for the core's interface ``site...`` and the link's log.
    """
    device = f"site{name}"
    router.connect(
        lab.core,
        device,
        delay=settings.delay,
        loss=settings.loss,
        jitter=settings.jitter,
        mtu=settings.mtu,
        log=lab.directory / f"link-{name}-core.log",
    )
    lab.core.ip(f"addr add 44.{number}.0.1/16 dev {device}")
    router.number(f"44.{number}.0.2", f"44.{number}.0.1")
    if not settings.too_big:
        router.mute_too_big()
        lab.mute_too_big()


def _second(address: str) -> str:
    """Give the other one of the two public addresses that a site may have."""
    head, _, last = address.rpartition(".")
    return f"{head}.{5 - int(last)}"
