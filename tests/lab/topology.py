"""The laboratory: a small internet with a mediator and two sites behind routers.

::

    host (a)  -- router (a) --.
    host (a2) --'              core -- mediator (two addresses)
    host (b)  -- router (b) --'

The core routes public addresses only and knows nothing of what is behind a translating router.
A site may have an ISP's router of its own between its router and the core, or both may share one.
Further sites can be added.
Public addresses come from 44.0.0.0/8 and 45.0.0.0/8, because programs treat documentation ranges
as private; they exist inside these namespaces only.
"""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.commands import LabError
from tests.lab.counters import counting_rules
from tests.lab.hosts import Host
from tests.lab.kinds import Kind, kind_named
from tests.lab.links import connect
from tests.lab.namespaces import Namespace, new_prefix
from tests.lab.routers import Router
from tests.lab.rules import MUTE_TOO_BIG
from tests.lab.sites import ISP_GATEWAY, Site, SiteSettings, connect_core

__all__ = ["MEDIATOR_NAME", "RELAY_NAME", "Lab", "Site", "SiteSettings"]

#: The mediator's name; every namespace resolves it to its first address.
MEDIATOR_NAME = "mediator.test"

#: A name of its second address, for a relay with ports of its own.
RELAY_NAME = "relay.test"

_CORE_TO_MEDIATOR = "44.0.0.1"
_MEDIATOR = ("44.0.0.2", "44.0.0.3")
_CORE_TO_MEDIATOR6 = "2600:0:0:1::1"
_MEDIATOR6 = "2600:0:0:1::2"
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
_SHARED_NUMBER = 3  # of the ISP's router that both sites are behind
_FIRST_FURTHER = 10  # number of the first site that is added


class Lab:
    """
    A whole laboratory, from construction until `close`; also a context manager.

    :ivar directory: holds all logs and files of its hosts.
    :ivar core: the namespace that is the internet.
    :ivar mediator: the host of the mediator, with two addresses.
    :ivar a: the first site.
    :ivar b: the second site.
    :ivar isp: the router of the ISP that both sites share, if they do.
    """

    def __init__(
        self,
        a: SiteSettings | Kind | str,
        b: SiteSettings | Kind | str,
        *,
        delay: float = 0.0,
        loss: float = 0.0,
        directory: Path | None = None,
        isp: SiteSettings | None = None,
    ) -> None:
        """
        Build it.

        :param a: the first site; a kind or its name takes ``delay`` and ``loss`` from here.
        :param b: the second site, likewise.
        :param delay: one way between each site's router and the core, in seconds.
        :param loss: probability of losing a packet there.
        :param directory: made for logs and files, and kept; a temporary one, removed at the end,
            by default.
        :param isp: an ISP's router that both sites are behind, hosts and IPv6 aside.
        :raises LabError: when it could not be built; nothing is left then.
        """
        self._prefix = new_prefix()
        self._namespaces: list[Namespace] = []
        self._sites: list[Site] = []
        self._isps: list[Router] = []
        self._numbers = itertools.count(_FIRST_FURTHER)
        self._temporary = directory is None
        self.directory = (directory or Path(tempfile.mkdtemp(prefix=f"{self._prefix}-"))).absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        atexit.register(self.close)
        try:
            self._build(_settings(a, delay, loss), _settings(b, delay, loss), isp)
        except BaseException:
            self.close()
            raise

    def _build(self, a: SiteSettings, b: SiteSettings, isp: SiteSettings | None) -> None:
        self._ipv6 = a.ipv6 or b.ipv6
        self._muted = False
        self.core = self.make_namespace("core", ipv6=self._ipv6)
        self.core.ip(*(f"route add blackhole {network}" for network in _PRIVATE))
        self.core.sysctl({"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.send_redirects": 0})
        self._build_mediator()
        self.isp = None if isp is None else self._build_isp("isp", _SHARED_NUMBER, isp)
        self.a = self._build_site("a", 1, a, self.isp)
        self.b = self._build_site("b", 2, b, self.isp)
        for site, other in ((self.a, self.b), (self.b, self.a)):
            site.router.nft(counting_rules(other.public, self.mediator.addresses))

    def _build_mediator(self) -> None:
        namespace = self.make_namespace("mediator", ipv6=self._ipv6)
        connect(namespace, "eth0", self.core, "mediator")
        self.core.ip(f"addr add {_CORE_TO_MEDIATOR}/24 dev mediator")
        namespace.ip(
            *(f"addr add {address}/24 dev eth0" for address in _MEDIATOR),
            f"route add default via {_CORE_TO_MEDIATOR}",
        )
        addresses = list(_MEDIATOR)
        if self._ipv6:
            self.core.sysctl({"net.ipv6.conf.all.forwarding": 1})
            self.core.ip(f"addr add {_CORE_TO_MEDIATOR6}/64 dev mediator")
            namespace.ip(
                f"addr add {_MEDIATOR6}/64 dev eth0", f"route add ::/0 via {_CORE_TO_MEDIATOR6}"
            )
            addresses.append(_MEDIATOR6)
        self.mediator = Host("mediator", namespace, addresses, self.directory)

    def add_site(self, settings: SiteSettings, isp: Router | None = None) -> Site:
        """
        Add a site; counters know nothing of it.

        :param settings: of the site; for IPv6 the laboratory must have begun with a site that has it.
        :param isp: one of `add_isp`.
        """
        number = next(self._numbers)
        return self._build_site(f"s{number}", number, settings, isp)

    def add_isp(self, settings: SiteSettings) -> Router:
        """
        Add an ISP's router, for sites to be behind.

        :param settings: as for the one that both first sites may share.
        """
        number = next(self._numbers)
        return self._build_isp(f"isp{number}", number, settings)

    def _build_site(
        self, name: str, number: int, settings: SiteSettings, isp: Router | None
    ) -> Site:
        site = Site(self, name, number, settings, isp)
        self._sites.append(site)
        return site

    def _build_isp(self, name: str, number: int, settings: SiteSettings) -> Router:
        kind = kind_named(settings.kind) if isinstance(settings.kind, str) else settings.kind
        router = Router(
            self.make_namespace(name),
            kind,
            mapping_timeout=settings.mapping_timeout,
            hairpin=settings.hairpin,
        )
        router.namespace.ip(f"addr add {ISP_GATEWAY}/16 dev lan")
        connect_core(self, router, number, settings, name)
        self._isps.append(router)
        return router

    def mute_too_big(self) -> None:
        """Let the core tell no sender that its packets are too big."""
        if not self._muted:
            self._muted = True
            self.core.nft(MUTE_TOO_BIG)

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

    def make_namespace(self, role: str, *, ipv4: bool = True, ipv6: bool = False) -> Namespace:
        """
        Make a namespace of this laboratory, where the mediator's name is known.

        :param role: last part of its name.
        :param ipv4: whether to know the mediator's IPv4 address.
        :param ipv6: the same for IPv6.
        """
        known = [_MEDIATOR[0]] * ipv4 + [_MEDIATOR6] * ipv6
        ipv6 = ipv6 or (self._ipv6 and role.startswith("router"))
        hosts = {MEDIATOR_NAME: known, RELAY_NAME: [_MEDIATOR[1]] * ipv4}
        namespace = Namespace(f"{self._prefix}-{role}", hosts=hosts, ipv6=ipv6)
        self._namespaces.append(namespace)
        return namespace

    def close(self) -> None:
        """Kill every process inside, remove every namespace; harmless when done before."""
        atexit.unregister(self.close)
        for site in self._sites:
            for host in site.hosts:
                host.close()
            for router in (site.gateway, site.isp):
                if router is not None:
                    router.close()
        for router in self._isps:
            router.close()
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


def _settings(site: SiteSettings | Kind | str, delay: float, loss: float) -> SiteSettings:
    return site if isinstance(site, SiteSettings) else SiteSettings(site, delay, loss)
