"""Where a relay is: the URLs of settings, credentials, lists and redirects."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from wavesync.errors import SettingsError
from wavesync.tunnel.urls import TunnelURL

__all__ = [
    "DEFAULT_RELAY_PORT",
    "MAX_RELAYS",
    "MAX_RELAY_URL",
    "Relay",
    "host_name",
    "parse_relay",
    "parse_relays",
]

DEFAULT_RELAY_PORT = 3356
"""Where a relay listens unless told otherwise, without TLS."""

MAX_RELAYS = 4
"""Relays in the longest list."""

MAX_RELAY_URL = 128
"""Bytes of the longest relay URL."""

_SCHEME_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(
    r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\.?"
)


@dataclass(frozen=True, slots=True)
class Relay:
    """One relay.

    :ivar host: a name in small letters or a numeric address, without brackets.
    :ivar port: TCP port, 1 to 65535.
    :ivar tls: whether its certificate is checked and everything goes through TLS.
    """

    host: str
    port: int
    tls: bool

    @property
    def audience(self) -> str:
        """The name that proofs are made out to: a proof for one relay is useless at another."""
        return self.host

    @property
    def authority(self) -> str:
        """Host and port, IPv6 in brackets, as the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> TunnelURL:
        """Where it takes requests, and tunnels."""
        return TunnelURL("https" if self.tls else "http", self.host, self.port)

    def same_as(self, other: "Relay") -> bool:
        """Tell whether two URLs lead to one relay: it is a host's, once without TLS and once with it."""
        return self == other or (self.host == other.host and self.tls != other.tls)

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"


def host_name(text: str) -> str | None:
    """Read the name of a host or a numeric address, without brackets.

    :returns: it in small letters; ``None`` where *text* is neither.
    """
    lower = text.lower()
    if ":" in lower:
        try:
            return ipaddress.IPv6Address(lower).compressed if "%" not in lower else None
        except ValueError:
            return None
    return lower if _NAME.fullmatch(lower) else None


def parse_relay(text: str) -> Relay:
    """Read a relay's URL: ``http://host[:80]``, ``https://host[:443]``, or ``host[:3356]``, no TLS.

    :raises SettingsError: with a sentence that names the text.
    """
    text = text.strip()
    shown = repr(text[:MAX_RELAY_URL])
    if len(text.encode("utf-8", "surrogatepass")) > MAX_RELAY_URL:
        raise SettingsError(f"relay URL {shown}... is longer than {MAX_RELAY_URL} bytes")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
        if rest.count(":") > 1 and not rest.startswith("["):
            rest = f"[{rest}]"  # a bare IPv6 address
    elif scheme not in _SCHEME_PORTS:
        raise SettingsError(f"relay URL {shown}: the scheme must be http or https")
    try:
        parts = urlsplit(f"//{rest}")
        written, port = parts.hostname, parts.port
    except ValueError:
        raise SettingsError(
            f"relay URL {shown}: the port must be a number from 1 to 65535"
        ) from None
    host = host_name(written) if written else None
    extra = "@" in rest or "?" in rest or "#" in rest
    if host is None or parts.path not in ("", "/") or extra:
        raise SettingsError(
            f"relay URL {shown}: expected http://HOST:PORT, https://HOST:PORT or HOST:PORT"
        )
    if port == 0:
        raise SettingsError(f"relay URL {shown}: the port must be a number from 1 to 65535")
    relay = Relay(host, port or _SCHEME_PORTS.get(scheme, DEFAULT_RELAY_PORT), scheme == "https")
    if len(str(relay)) > MAX_RELAY_URL:
        raise SettingsError(f"relay URL {shown} is longer than {MAX_RELAY_URL} bytes")
    return relay


def parse_relays(texts: Iterable[str]) -> tuple[Relay, ...]:
    """Read a list of relays; one that is named twice counts once.

    :raises SettingsError: one cannot be used, or there are more than :data:`MAX_RELAYS`.
    """
    relays = tuple(dict.fromkeys(parse_relay(text) for text in texts))
    if len(relays) > MAX_RELAYS:
        raise SettingsError(f"there are {len(relays)} relays, and {MAX_RELAYS} are the most")
    return relays
