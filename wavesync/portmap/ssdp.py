"""SSDP: how UPnP devices are searched (UPnP Device Architecture 1.1, section 1.3)."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from wavesync.interfaces import Address
from wavesync.portmap.words import PortMapError, Reason

__all__ = ["GROUP", "TARGETS", "location", "on_host", "search"]

GROUP: Address = ("239.255.255.250", 1900)
"""Where devices listen."""

TARGETS = (
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
)
"""What is searched; routers of the newer kind answer to both."""

_MAX_HEADERS = 64
_MAX_URL = 512


def search(target: str, destination: Address) -> bytes:
    """Ask for a kind of device.

    :param destination: where the question goes: the group, or one router.
    """
    host, port = destination
    lines = (
        "M-SEARCH * HTTP/1.1",
        f"HOST: {host}:{port}",
        'MAN: "ssdp:discover"',
        "MX: 1",
        f"ST: {target}",
        "",
        "",
    )
    return "\r\n".join(lines).encode("ascii")


def location(data: bytes, source: str) -> str:
    """Read an answer: where the device describes itself.

    :param source: the address that it came from; nothing else may be named.
    :raises PortMapError: it is no answer to our question, or not to be believed.
    """
    lines = data.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/1.") or lines[0].split(" ")[1:2] != ["200"]:
        raise PortMapError(Reason.MALFORMED, "no answer to a search")
    headers: dict[str, str] = {}
    for line in lines[1 : 1 + _MAX_HEADERS]:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    if headers.get("st") not in TARGETS:
        raise PortMapError(Reason.MALFORMED, "the answer of another kind of device")
    return on_host(headers.get("location", ""), source)


def on_host(url: str, host: str) -> str:
    """Check that a URL leads to *host* itself, by plain HTTP.

    :returns: it.
    :raises PortMapError: it does not.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 80
        good = (
            len(url) <= _MAX_URL
            and url.isascii()
            and url.isprintable()
            and " " not in url
            and parts.scheme == "http"
            and parts.username is None
            and bool(port)
            and ip_address(parts.hostname or "") == ip_address(host)
        )
    except ValueError:
        good = False
    if not good:
        raise PortMapError(Reason.MALFORMED, "a router that names an address other than its own")
    return url
