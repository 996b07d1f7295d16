"""What proxies let through, and what their logs have to show after the product went through them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.lab.office import Buffering
from tests.lab.topology import MEDIATOR_NAME, RELAY_NAME
from tests.tunnel.proxy_processes import PASSWORD, USER, ProxyProcess, Squid, Tinyproxy

__all__ = ["POSTURES", "Posture"]

_SECRET = f"{USER}:{PASSWORD}"


@dataclass(frozen=True, slots=True)
class Posture:
    """A kind of proxy.

    :ivar name: for people.
    :ivar make: makes one.
    :ivar tunnel: whether its CONNECT leads to the relay; otherwise ``method`` does.
    :ivar method: of the tunnels that have to be used.
    :ivar secret: user and password, or "".
    :ivar verdicts: statuses of what it answers to CONNECT to port 443, to CONNECT to port 80, and to a
        GET of the relay, with the secret.
    """

    name: str
    make: Callable[[], ProxyProcess]
    tunnel: bool
    method: str
    verdicts: tuple[int, int, int]
    secret: str = ""

    @property
    def traces(self) -> tuple[tuple[str, ...], ...]:
        """What its log has a line with, all words of it: at once, and when connections have ended."""
        if self.tunnel:
            user = (USER,) if self.secret else ()
            return tuple(("CONNECT", f"{host}:443", *user) for host in (MEDIATOR_NAME, RELAY_NAME))
        return ((f"/wavesync/1/tunnel/{self.method}",),)


POSTURES = (
    Posture(
        "Squid: CONNECT to 443",
        lambda: Squid(connect_ports=[443]),
        tunnel=True,
        method="",
        verdicts=(200, 403, 404),
    ),
    Posture(
        "Squid: CONNECT to 443, with a password",
        lambda: Squid(connect_ports=[443], password=True),
        tunnel=True,
        method="",
        verdicts=(200, 403, 404),
        secret=_SECRET,
    ),
    Posture(
        "Squid: no CONNECT",
        lambda: Squid(connect=False),
        tunnel=False,
        method="poll",
        verdicts=(403, 403, 404),
    ),
    Posture(
        "tinyproxy: no CONNECT to either port",
        lambda: Tinyproxy(connect_ports=[563]),
        tunnel=False,
        method="get-post",
        verdicts=(403, 403, 404),
    ),
    Posture(
        "tinyproxy: CONNECT to 443",
        lambda: Tinyproxy(connect_ports=[443]),
        tunnel=True,
        method="",
        verdicts=(200, 403, 404),
    ),
    Posture(
        "a proxy that holds every body until it is whole",
        Buffering,
        tunnel=False,
        method="poll",
        verdicts=(403, 403, 404),
    ),
)
"""Every posture."""
