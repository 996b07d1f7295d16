"""Where streams and tunnels are to be had."""

from dataclasses import dataclass

__all__ = ["TunnelURL"]

_SCHEMES = ("tcp", "http", "https")


@dataclass(frozen=True, slots=True)
class TunnelURL:
    """Where a way leads.

    :ivar scheme: ``tcp``: nothing but the stream is there; ``http``, ``https``: tunnels, and on a relay
        the stream as well.
    :ivar host: a name or a numeric address, without brackets.
    :ivar port: TCP port, 1 to 65535.
    """

    scheme: str
    host: str
    port: int

    def __post_init__(self) -> None:
        """Refuse what no URL can say."""
        if self.scheme not in _SCHEMES or not self.host or not 1 <= self.port <= 65535:
            raise ValueError(f"{self.scheme!r}, {self.host!r} and {self.port!r} make no URL")

    @property
    def tls(self) -> bool:
        """Whether the host has to show a certificate, and everything goes through TLS."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Host and port, IPv6 in brackets, as a Host header and CONNECT have it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"
