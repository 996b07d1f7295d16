"""The laboratory: a small internet with a mediator and two sites behind routers.

::

    host (a)  -- router (a) --.
    host (a2) --'              core -- mediator (two addresses)
    host (b)  -- router (b) --'

The core routes public addresses only and knows nothing of what is behind a translating router.
Public addresses come from 44.0.0.0/8 and 45.0.0.0/8, because programs treat documentation ranges
as private; they exist inside these namespaces only.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.commands import LabError
from tests.lab.counters import Counts, counting_rules, read_counts
from tests.lab.hosts import Host
from tests.lab.kinds import Kind, kind_named
from tests.lab.links import DelayedLink, connect
from tests.lab.namespaces import Namespace, new_prefix
from tests.lab.rules import BLOCK_UDP, UNBLOCK_UDP, ruleset

__all__ = ["MEDIATOR_NAME", "Lab", "Site", "SiteSettings"]

#: The mediator's name; every namespace resolves it to its first address.
MEDIATOR_NAME = "mediator.test"

_CORE_TO_MEDIATOR = "44.0.0.1"
_MEDIATOR = ("44.0.0.2", "44.0.0.3")
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """
    What a site shall be.

    :ivar kind: its kind, or the name of one.
    :ivar delay: one way between its router and the core, in seconds.
    :ivar loss: probability of losing a packet there, in each direction.
    :ivar hosts: how many hosts its network has, 1 or more.
    :ivar mapping_timeout: seconds that an unused mapping of its router lives.
    """

    kind: Kind | str
    delay: float = 0.0
    loss: float = 0.0
    hosts: int = 1
    mapping_timeout: int = 120


class Site:
    """
    A router and the hosts behind it.

    :ivar name: ``a`` or ``b``.
    :ivar settings: as asked for.
    :ivar kind: its kind.
    :ivar router: the router's namespace; its outside interface is ``wan``, its inside one ``lan``.
    :ivar wan: the router's public address.
    :ivar network: the hosts' network.
    :ivar hosts: its hosts.
    :ivar link: its link to the core, when that has delay or loss; see `DelayedLink.set`.
    """

    def __init__(self, lab: Lab, name: str, number: int, settings: SiteSettings) -> None:
        self.name = name
        self.settings = settings
        self.kind = kind_named(settings.kind) if isinstance(settings.kind, str) else settings.kind
        self.wan = f"44.{number}.0.2"
        prefix = f"192.168.{number}" if self.kind.translates else f"45.{number}.0"
        self.network = f"{prefix}.0/24"
        self.router = lab._namespace(f"router{name}")
        self.link: DelayedLink | None = None
        self._connect_core(lab, number)
        self._make_router(f"{prefix}.1")
        self.hosts = tuple(
            self._make_host(lab, prefix, index) for index in range(1, settings.hosts + 1)
        )

    @property
    def host(self) -> Host:
        """Its first host."""
        return self.hosts[0]

    @property
    def public(self) -> tuple[str, ...]:
        """Everything public about it: its router's address, and its network if that is public."""
        return (self.wan,) if self.kind.translates else (self.wan, self.network)

    def counts(self) -> Counts:
        """Read what its router has passed so far."""
        return read_counts(self.router)

    def block_udp(self) -> None:
        """Let its router drop all UDP from now on."""
        self.router.nft(BLOCK_UDP)

    def unblock_udp(self) -> None:
        """Take `block_udp` back."""
        self.router.nft(UNBLOCK_UDP)

    def _connect_core(self, lab: Lab, number: int) -> None:
        device = f"site{self.name}"
        if self.settings.delay or self.settings.loss:
            self.link = DelayedLink(
                self.router,
                "wan",
                lab.core,
                device,
                delay=self.settings.delay,
                loss=self.settings.loss,
                log=lab.directory / f"link-{self.name}.log",
            )
        else:
            connect(self.router, "wan", lab.core, device)
        routes = [] if self.kind.translates else [f"route add {self.network} via {self.wan}"]
        lab.core.ip(f"addr add 44.{number}.0.1/24 dev {device}", *routes)
        self.router.ip(f"addr add {self.wan}/24 dev wan", f"route add default via 44.{number}.0.1")

    def _make_router(self, inside: str) -> None:
        timeout = self.settings.mapping_timeout
        self.router.ip(
            "link add lan type bridge", f"addr add {inside}/24 dev lan", "link set lan up"
        )
        self.router.nft(ruleset(self.kind, self.wan, mapping_timeout=timeout))
        self.router.sysctl(
            {
                "net.ipv4.ip_forward": 1,
                "net.ipv4.conf.all.send_redirects": 0,
                "net.netfilter.nf_conntrack_udp_timeout": timeout,
                "net.netfilter.nf_conntrack_udp_timeout_stream": timeout,
            }
        )

    def _make_host(self, lab: Lab, prefix: str, index: int) -> Host:
        name = self.name if index == 1 else f"{self.name}{index}"
        namespace = lab._namespace(f"host{name}")
        address = f"{prefix}.{index + 1}"
        connect(namespace, "eth0", self.router, f"port{index}")
        self.router.ip(f"link set port{index} master lan")
        namespace.ip(f"addr add {address}/24 dev eth0", f"route add default via {prefix}.1")
        return Host(name, namespace, [address], lab.directory)


class Lab:
    """
    A whole laboratory, from construction until `close`; also a context manager.

    :ivar directory: holds all logs and files of its hosts.
    :ivar core: the namespace that is the internet.
    :ivar mediator: the host of the mediator, with two addresses.
    :ivar a: the first site.
    :ivar b: the second site.
    """

    def __init__(
        self,
        a: SiteSettings | Kind | str,
        b: SiteSettings | Kind | str,
        *,
        delay: float = 0.0,
        loss: float = 0.0,
        directory: Path | None = None,
    ) -> None:
        """
        Build it.

        :param a: the first site; a kind or its name takes ``delay`` and ``loss`` from here.
        :param b: the second site, likewise.
        :param delay: one way between each site's router and the core, in seconds.
        :param loss: probability of losing a packet there.
        :param directory: made for logs and files, and kept; a temporary one, removed at the end,
            by default.
        :raises LabError: when it could not be built; nothing is left then.
        """
        self._prefix = new_prefix()
        self._namespaces: list[Namespace] = []
        self._temporary = directory is None
        self.directory = (directory or Path(tempfile.mkdtemp(prefix=f"{self._prefix}-"))).absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        atexit.register(self.close)
        try:
            self._build(
                *(
                    site if isinstance(site, SiteSettings) else SiteSettings(site, delay, loss)
                    for site in (a, b)
                )
            )
        except BaseException:
            self.close()
            raise

    def _build(self, a: SiteSettings, b: SiteSettings) -> None:
        self.core = self._namespace("core")
        self.core.ip(*(f"route add blackhole {network}" for network in _PRIVATE))
        self.core.sysctl({"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.send_redirects": 0})
        namespace = self._namespace("mediator")
        connect(namespace, "eth0", self.core, "mediator")
        self.core.ip(f"addr add {_CORE_TO_MEDIATOR}/24 dev mediator")
        namespace.ip(
            *(f"addr add {address}/24 dev eth0" for address in _MEDIATOR),
            f"route add default via {_CORE_TO_MEDIATOR}",
        )
        self.mediator = Host("mediator", namespace, _MEDIATOR, self.directory)
        self.a = Site(self, "a", 1, a)
        self.b = Site(self, "b", 2, b)
        for site, other in ((self.a, self.b), (self.b, self.a)):
            site.router.nft(counting_rules(other.public, _MEDIATOR))

    @property
    def sites(self) -> tuple[Site, Site]:
        """Both sites."""
        return self.a, self.b

    @property
    def namespaces(self) -> tuple[Namespace, ...]:
        """Every namespace of this laboratory."""
        return tuple(self._namespaces)

    def host(self, name: str) -> Host:
        """
        Find a host.

        :param name: ``mediator``, ``a``, ``a2``, ``b``, ...
        :raises LabError: when there is none of that name.
        """
        for host in (self.mediator, *self.a.hosts, *self.b.hosts):
            if host.name == name:
                return host
        raise LabError(f"no host {name!r} in this laboratory")

    def _namespace(self, role: str) -> Namespace:
        namespace = Namespace(f"{self._prefix}-{role}", hosts={MEDIATOR_NAME: _MEDIATOR[0]})
        self._namespaces.append(namespace)
        return namespace

    def close(self) -> None:
        """Kill every process inside, remove every namespace; harmless when done before."""
        atexit.unregister(self.close)
        for site in (getattr(self, "a", None), getattr(self, "b", None)):
            if site is None:
                continue
            for host in site.hosts:
                host.close()
            if site.link is not None:
                site.link.close()
        if hasattr(self, "mediator"):
            self.mediator.close()
        while self._namespaces:
            self._namespaces.pop().delete()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
