"""Where a tunnel goes to, and the heads of the requests for one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["AGENT", "METHODS", "NO_CACHE", "PATH", "TUNNEL_ID", "Place"]

METHODS: tuple[str, ...] = ("upgrade", "websocket", "get-post", "two", "poll")
"""The methods, as paths and reports name them."""

PATH = "/wavesync/1/tunnel/"
"""What the path of every request begins with; a method's name follows."""

TUNNEL_ID = "Wavesync-Tunnel"
"""The header that tells which tunnel a request is for: 32 hex digits."""

AGENT: tuple[tuple[str, str], ...] = (("User-Agent", "wavesync"), ("Accept", "*/*"))
"""Sent with every request: filters take one that does not say who asks for a robot's."""

NO_CACHE: tuple[tuple[str, str], ...] = (
    ("Cache-Control", "no-store, no-transform"),
    ("Pragma", "no-cache"),
)
"""Sent with every request: no cache may answer it, nothing on the way change it."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """An HTTP server, and how requests for it are written.

    :ivar authority: ``host:port``, IPv6 in brackets, for the Host header.
    :ivar tls: whether the connection to it is secured.
    :ivar prefix: ``http://host:port`` when the requests go to an HTTP proxy (absolute-form, RFC 9112
        section 3.2.2); empty else.
    :ivar headers: further ones, such as ``Proxy-Authorization``.
    """

    authority: str
    tls: bool
    prefix: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name, value in (("Host", self.authority), *self.headers):
            if not _TOKEN.fullmatch(name) or not value.isprintable() or not value.isascii():
                raise ValueError(f"the header {name!r} cannot be sent")
        if not self.prefix.isprintable() or not self.prefix.isascii() or " " in self.prefix:
            raise ValueError(f"{self.prefix!r} cannot begin a request's target")

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    def request(
        self,
        verb: str,
        method: str,
        tunnel: str,
        nonce: bytes = b"",
        headers: Iterable[tuple[str, str]] = (),
    ) -> bytes:
        """Return the head of a request.

        :param verb: ``GET`` or ``POST``.
        :param method: one of :data:`METHODS`.
        :param tunnel: the tunnel's id.
        :param nonce: 4 random bytes where the request is a GET: its URL is then like no other.
        :param headers: further ones.
        """
        query = f"?n={nonce.hex()}" if nonce else ""
        lines = [f"{verb} {self.prefix}{PATH}{method}{query} HTTP/1.1", f"Host: {self.authority}"]
        fields = (*AGENT, (TUNNEL_ID, tunnel), *NO_CACHE, *headers, *self.headers)
        lines += [f"{name}: {value}" for name, value in fields]
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")
