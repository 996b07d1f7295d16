"""Where a mediator is: the URLs of credentials and settings, gathered by host."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from wavesync.errors import SettingsError
from wavesync.tunnel.urls import TunnelURL

__all__ = ["DEFAULT_HTTP_PORT", "DEFAULT_PORT", "Mediator", "parse_mediators"]

DEFAULT_PORT = 3345
"""The port for STUN over UDP and over TCP."""

DEFAULT_HTTP_PORT = 3355
"""The port for tunnels over HTTP, without TLS."""

_DEFAULTS = {"udp": DEFAULT_PORT, "tcp": DEFAULT_PORT, "http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Mediator:
    """One mediator and the ways to it.

    :ivar host: a name or a numeric address, without brackets.  It is also the *audience* that
        proofs name, so a proof made for one mediator is useless at another.
    :ivar udp_port: where it takes STUN over UDP, or ``None`` if its URLs name no such way.
    :ivar tcp_port: the same over TCP.
    :ivar http_port: where it takes tunnels over HTTP, likewise.
    :ivar https_port: the same over TLS; its certificate has to be good for the host.
    """

    host: str
    udp_port: int | None
    tcp_port: int | None
    http_port: int | None = None
    https_port: int | None = None

    @property
    def audience(self) -> str:
        """The name this mediator is expected to call itself by."""
        return self.host

    @property
    def raw(self) -> tuple[TunnelURL, ...]:
        """Where it takes STUN over a byte stream as it is."""
        return () if self.tcp_port is None else (TunnelURL("tcp", self.host, self.tcp_port),)

    @property
    def tunnels(self) -> tuple[TunnelURL, ...]:
        """Where it takes tunnels."""
        ports = (("http", self.http_port), ("https", self.https_port))
        return tuple(TunnelURL(name, self.host, port) for name, port in ports if port is not None)

    @property
    def streams(self) -> bool:
        """Whether it takes byte streams at all: registering and revocation lists need one."""
        return bool(self.raw or self.tunnels)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        ports = (self.tcp_port, self.udp_port, self.http_port, self.https_port)
        return f"{host}:{next((port for port in ports if port), '')}"


def parse_mediators(urls: Iterable[str]) -> tuple[Mediator, ...]:
    """Read mediator URLs.

    ``udp://host[:3345]`` and ``tcp://host[:3345]`` are STUN, ``http://host[:80]`` and
    ``https://host[:443]`` tunnels.  A bare ``host`` means UDP, TCP and HTTP at the mediator's default
    ports, which are 3345, 3345 and 3355; ``host:port`` means UDP and TCP at that port.

    URLs of the same host are gathered into one mediator; the order of first mention is kept.

    :raises SettingsError: with a sentence naming the URL that cannot be used, or when there is none.
    """
    ways: dict[str, dict[str, int]] = {}
    for url in urls:
        host, ports = _parse(url)
        ways.setdefault(host, {}).update(ports)
    if not ways:
        raise SettingsError(
            "no mediator is named: add one to the credentials or use --mediator URL"
        )
    return tuple(
        Mediator(host, *(way.get(scheme) for scheme in _DEFAULTS)) for host, way in ways.items()
    )


def _parse(url: str) -> tuple[str, dict[str, int]]:
    """Split one URL into host, and ports by what they are for."""
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        rest = url.strip()
    elif scheme not in _DEFAULTS:
        raise SettingsError(f"mediator URL {url!r}: the scheme must be udp, tcp, http or https")
    if not separator and rest.count(":") > 1 and not rest.startswith("["):
        rest = f"[{rest}]"  # a bare IPv6 address
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise SettingsError(
            f"mediator URL {url!r}: the port must be a number from 1 to 65535"
        ) from None
    extra = "@" in rest or "?" in rest or "#" in rest
    if not host or parts.path not in ("", "/") or extra:
        raise SettingsError(
            f"mediator URL {url!r}: expected udp://HOST:PORT, tcp://HOST:PORT, http://HOST:PORT,"
            " https://HOST:PORT or HOST"
        )
    if port == 0:
        raise SettingsError(f"mediator URL {url!r}: the port must be a number from 1 to 65535")
    if separator:
        return host, {scheme: port or _DEFAULTS[scheme]}
    if port is not None:
        return host, {"udp": port, "tcp": port}
    return host, {"udp": DEFAULT_PORT, "tcp": DEFAULT_PORT, "http": DEFAULT_HTTP_PORT}
