"""Findings from the few bytes that a server has signed, and the few bytes of findings."""

from wavesync.doctor.findings import SUMMARY, Family, Findings, ProxyFound, RouterFound
from wavesync.signalling.network_summary import NetworkSummary
from wavesync.stun.behaviour_words import Lifetime

__all__ = ["findings_of"]


def findings_of(summary: NetworkSummary, *, mapped: str = "") -> Findings:
    """Give what a summary tells as findings.

    :param mapped: the IPv4 host at which a mediator sees the server, where it does.
    """
    routers: tuple[RouterFound, ...] = ()
    if summary.router:
        speaks = (summary.router,) if summary.router != "none" else ()
        routers = (RouterFound(router="", speaks=speaks, maps=summary.forwarded),)
    return Findings(
        source=SUMMARY,
        ipv4=Family(
            mapped=mapped,
            translated=summary.translated,
            udp=summary.udp,
            tcp=False if summary.proxy else None,
            mapping=summary.mapping,
            filtering=summary.filtering,
            hairpinning=summary.hairpinning,
            lifetime=Lifetime(float(summary.lifetime), None) if summary.lifetime else None,
        ),
        ipv6=Family() if summary.ipv6 else None,
        routers=routers,
        discovery=summary.lan,
        proxy=ProxyFound(url="", reached=True) if summary.proxy else None,
    )
