"""Where a mediator is: the URLs of credentials and settings, gathered by host."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from wavesync.errors import SettingsError

__all__ = ["DEFAULT_PORT", "Mediator", "parse_mediators"]

DEFAULT_PORT = 3345
"""The port for STUN over UDP and over TCP."""


@dataclass(frozen=True, slots=True)
class Mediator:
    """One mediator and the ways to it.

    :ivar host: a name or a numeric address, without brackets.  It is also the *audience* that
        proofs name, so a proof made for one mediator is useless at another.
    :ivar udp_port: where it takes STUN over UDP, or ``None`` if its URLs name no such way.
    :ivar tcp_port: the same over TCP.
    """

    host: str
    udp_port: int | None
    tcp_port: int | None

    @property
    def audience(self) -> str:
        """The name this mediator is expected to call itself by."""
        return self.host

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.tcp_port or self.udp_port}"


def parse_mediators(urls: Iterable[str]) -> tuple[Mediator, ...]:
    """Read mediator URLs: ``udp://host:3345``, ``tcp://host:3345``, or a bare ``host[:port]`` for both.

    URLs of the same host are gathered into one mediator; the order of first mention is kept.

    :raises SettingsError: with a sentence naming the URL that cannot be used, or when there is none.
    """
    ways: dict[str, dict[str, int]] = {}
    for url in urls:
        host, schemes, port = _parse(url)
        for scheme in schemes:
            ways.setdefault(host, {})[scheme] = port
    if not ways:
        raise SettingsError(
            "no mediator is named: add one to the credentials or use --mediator URL"
        )
    return tuple(Mediator(host, way.get("udp"), way.get("tcp")) for host, way in ways.items())


def _parse(url: str) -> tuple[str, tuple[str, ...], int]:
    """Split one URL into host, the transports it stands for, and a port."""
    scheme, separator, rest = url.strip().partition("://")
    schemes: tuple[str, ...] = ("udp", "tcp")
    if not separator:
        rest = url.strip()
    elif scheme in ("udp", "tcp"):
        schemes = (scheme,)
    elif scheme in ("http", "https"):
        raise SettingsError(f"mediator URL {url!r}: HTTP tunnels are not supported yet; use tcp://")
    else:
        raise SettingsError(f"mediator URL {url!r}: the scheme must be udp or tcp")
    if not separator and rest.count(":") > 1 and not rest.startswith("["):
        rest = f"[{rest}]"  # a bare IPv6 address
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise SettingsError(
            f"mediator URL {url!r}: the port must be a number from 1 to 65535"
        ) from None
    if not host or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in rest:
        raise SettingsError(
            f"mediator URL {url!r}: expected udp://HOST:PORT, tcp://HOST:PORT or HOST"
        )
    if port == 0:
        raise SettingsError(f"mediator URL {url!r}: the port must be a number from 1 to 65535")
    return host, schemes, port or DEFAULT_PORT
