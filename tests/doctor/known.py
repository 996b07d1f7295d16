"""Findings as they are where somebody knows the routers."""

from __future__ import annotations

from tests.lab.kinds import KINDS, Filtering, Kind, Mapping, kind_named
from tests.lab.sites import SiteSettings
from tests.lab.truth import Scene
from wavesync.doctor.findings import Dependence, Family, Findings, Interface

__all__ = ["LAN_OF", "known", "pair_of"]

LAN_OF = "192.168.1.5/24"

_MAPPINGS = {
    Mapping.NONE: Dependence.ENDPOINT_INDEPENDENT,
    Mapping.INDEPENDENT: Dependence.ENDPOINT_INDEPENDENT,
    Mapping.PRESERVING: Dependence.ENDPOINT_INDEPENDENT,
    Mapping.ADDRESS_DEPENDENT: Dependence.ADDRESS_DEPENDENT,
    Mapping.RANDOM: Dependence.ADDRESS_AND_PORT_DEPENDENT,
    Mapping.SEQUENTIAL: Dependence.ADDRESS_AND_PORT_DEPENDENT,
}
_FILTERINGS = {
    Filtering.OPEN: Dependence.ENDPOINT_INDEPENDENT,
    Filtering.INDEPENDENT: Dependence.ENDPOINT_INDEPENDENT,
    Filtering.ADDRESS_DEPENDENT: Dependence.ADDRESS_DEPENDENT,
    Filtering.ADDRESS_AND_PORT_DEPENDENT: Dependence.ADDRESS_AND_PORT_DEPENDENT,
}


def known(kind: str, number: int) -> Findings:
    """What is found at a site of its own.

    :param kind: the site's.
    :param number: another one for each site.
    """
    return Findings(ipv4=_ipv4(KINDS[kind], f"44.{number}.0.2"))


def pair_of(scene: Scene) -> tuple[Findings, Findings]:
    """What is found at the two ends of a scene."""
    if scene.b is None:
        both = _at(scene.a, 1, None)
        near = Findings(
            ipv4=both.ipv4,
            network="1" * 16,
            interfaces=(Interface(name="eth0", networks=(LAN_OF,), multicast=True),),
        )
        return near, near
    return _at(scene.a, 1, scene.isp), _at(scene.b, 2, scene.isp)


def _at(site: SiteSettings, number: int, isp: SiteSettings | None) -> Findings:
    ipv4 = ipv6 = None
    kind = kind_named(site.kind) if isinstance(site.kind, str) else site.kind
    if site.ipv4:
        ipv4 = _ipv4(kind, f"44.{number}.0.2", isp, site.hairpin)
    if site.ipv6:
        is_open = kind.filtering is Filtering.OPEN
        ipv6 = Family(
            mapped=f"2600:{number}::2",
            translated=False,
            udp=kind.udp,
            tcp=True,
            mapping=Dependence.ENDPOINT_INDEPENDENT,
            filtering=Dependence.ENDPOINT_INDEPENDENT
            if is_open
            else Dependence.ADDRESS_AND_PORT_DEPENDENT,
        )
    return Findings(ipv4=ipv4, ipv6=ipv6)


def _ipv4(
    kind: Kind, mapped: str, isp: SiteSettings | None = None, hairpin: bool = False
) -> Family:
    outermost, mapping = kind.outermost, _MAPPINGS[kind.outermost.mapping]
    if isp is not None:
        mapped, hairpin = "44.99.0.2", isp.hairpin
        outermost = kind_named(isp.kind) if isinstance(isp.kind, str) else isp.kind
        if mapping is Dependence.ENDPOINT_INDEPENDENT:
            mapping = _MAPPINGS[outermost.mapping]
        else:
            hairpin = False  # what comes back does so at another port, and does not pass
    translated = kind.translates
    if not kind.udp:
        return Family(mapped=mapped, translated=translated, udp=False, tcp=True)
    return Family(
        mapped=mapped,
        translated=translated,
        udp=True,
        tcp=True,
        mapping=mapping,
        filtering=_FILTERINGS[outermost.filtering],
        hairpinning=hairpin if translated else None,
    )
