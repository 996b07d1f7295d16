"""How a router describes itself: which of its services maps ports (UPnP Device Architecture 1.1, section 2)."""

from dataclasses import dataclass
from urllib.parse import urljoin

from wavesync.portmap.markup import parse
from wavesync.portmap.ssdp import on_host
from wavesync.portmap.words import PortMapError, Reason

__all__ = ["MAX_SERVICES", "SERVICES", "Service", "mapping_services"]

SERVICES = (
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
"""Services that map ports, the best first."""

MAX_SERVICES = 4
"""Services of one router that are tried: one for each of its connections."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that maps ports.

    :ivar kind: one of :data:`SERVICES`.
    :ivar control: URL that takes its actions.
    """

    kind: str
    control: str


def mapping_services(document: bytes, url: str, host: str) -> list[Service]:
    """Find them in a description.

    :param url: where it was got.
    :param host: the router's address: no other may be named.
    :returns: one or more, the best first.
    :raises PortMapError: it makes no sense, or there is none.
    """
    root = parse(document)
    base = urljoin(url, root.value("URLBase") or url)
    found: list[Service] = []
    for element in root.walk():
        kind = element.value("serviceType")
        if element.name != "service" or kind not in SERVICES:
            continue
        try:
            control = on_host(urljoin(base, element.value("controlURL")), host)
        except (PortMapError, ValueError):
            continue
        found.append(Service(kind, control))
    if not found:
        raise PortMapError(Reason.REFUSED, "it is a UPnP router that does not map ports")
    return sorted(found, key=lambda each: SERVICES.index(each.kind))[:MAX_SERVICES]
