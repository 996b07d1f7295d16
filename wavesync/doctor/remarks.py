"""What is wrong with one end's network, or worth knowing, in sentences for people."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from wavesync.doctor.findings import Family, Findings, Place

__all__ = ["LARGEST_CLOCK_ERROR", "SHORT_LIFETIME", "Remark", "remarks_on"]

Side: TypeAlias = Literal["client", "server"]

LARGEST_CLOCK_ERROR = 30.0
"""Seconds that a clock may be wrong before each first request is asked a second time."""

SHORT_LIFETIME = 20.0
"""Seconds; a router that forgets UDP mappings sooner costs many packets."""

_DAY = 86400.0


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """One remark.

    :ivar side: whose network.
    :ivar text: a sentence, without its full stop.
    :ivar needed: something that is needed does not work.
    """

    side: Side
    text: str
    needed: bool = False


def remarks_on(findings: Findings, side: Side) -> Iterator[Remark]:
    """Say what is wrong at one end, the worst first."""
    for text in _needed(findings):
        yield Remark(side=side, text=text, needed=True)
    for text in _worse(findings):
        yield Remark(side=side, text=text)


def _needed(findings: Findings) -> Iterator[str]:
    if findings.portal:
        yield (
            "a captive portal answers here for all the internet: open any web page in a browser, and log in"
            f" or agree ({findings.portal})"
        )
    nowhere = [each for each in findings.mediators if each.works is False]
    if nowhere and len(nowhere) == len(findings.mediators):
        names = ", ".join(each.name for each in nowhere)
        yield f"no mediator can be reached ({names}): {_why(nowhere[0])}"
    lost = [each for each in findings.relays if each.works is False]
    if lost and len(lost) == len(findings.relays):
        names = ", ".join(each.name for each in lost)
        yield f"no relay can be reached ({names}): {_why(lost[0])}"
    proxy = findings.proxy
    if proxy is not None and proxy.wants_password:
        yield (
            f"the proxy {proxy.url} asks for a user name and a password, or does not accept them:"
            " name them in the settings, or the password in WAVESYNC_PROXY_PASSWORD"
        )
    elif proxy is not None and proxy.reached is False:
        because = f": {proxy.why}" if proxy.why else ""
        yield f"the proxy {proxy.url} cannot be reached{because}"


def _worse(findings: Findings) -> Iterator[str]:
    any_mediator = any(each.works for each in findings.mediators)
    for each in findings.mediators:
        if each.works is False and any_mediator:
            yield f"the mediator {each.name} cannot be reached: {_why(each)}"
        elif each.works and each.udp is not None and not each.udp.works:
            yield (
                f"the mediator {each.name} does not answer over UDP: every connect takes a quarter of a"
                " second more, and there is no path by UDP"
            )
        elif each.works and each.tcp is not None and not each.tcp.works:
            yield f"the mediator {each.name} is not reached by TCP: {each.tcp.why}"
    if findings.proxy is not None and not findings.proxy.url:
        yield (
            "mediators are reached through an HTTP proxy only: no TCP connection can be made to anywhere"
            " from this network"
        )
    for each in findings.relays:
        if each.works is False and any(other.works for other in findings.relays):
            yield f"the relay {each.name} cannot be reached: {_why(each)}"
    error = findings.clock_error
    if error is not None and abs(error) > LARGEST_CLOCK_ERROR:
        how = f"{abs(error) / _DAY:.1f} days" if abs(error) > _DAY else f"{abs(error):.0f} s"
        fast = "fast" if error > 0 else "slow"
        yield (
            f"this host's clock is {how} {fast}, as mediators say (unsigned): set it, or certificates"
            " will be refused"
        )
    for family in (findings.ipv4, findings.ipv6):
        if family is not None:
            yield from _of_family(family)
    for router in findings.routers:
        if router.another_nat:
            yield (
                f"the router {router.router} has a private address outside"
                f"{f' ({router.external})' if router.external else ''}: there is one more router behind"
                " it (double NAT), so that ports it forwards are not reached from the internet"
            )
    for interface in findings.interfaces:
        if interface.multicast is False:
            yield (
                f"multicast does not come back on {interface.name}: a firewall on this host keeps servers"
                " of this local network from being found"
            )


def _of_family(family: Family) -> Iterator[str]:
    name = "IPv6" if ":" in (family.mapped or family.local) else "IPv4"
    if family.udp and family.big_udp is False:
        yield (
            f"small UDP datagrams pass over {name}, and those of 1200 bytes do not: a smaller MTU is on the"
            " way, or something drops fragments"
        )
    lifetime = family.lifetime
    if lifetime is not None and lifetime.gone is not None and lifetime.gone <= SHORT_LIFETIME:
        yield (
            f"the router forgets UDP mappings after {lifetime.gone:.0f} s of silence: that costs packets,"
            " and is set there as a UDP timeout"
        )


def _why(place: Place) -> str:
    whys = [
        f"{name}: {trial.why or 'no answer'}"
        for name, trial in (("UDP", place.udp), ("TCP", place.tcp), ("HTTP", place.http))
        if trial is not None and not trial.works
    ]
    return "; ".join(whys)
