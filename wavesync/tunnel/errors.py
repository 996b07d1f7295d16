"""Why no tunnel came about: a short code for programs, a sentence for people."""

import enum

from wavesync.errors import ConnectFailed

__all__ = ["TunnelError", "Why"]


class Why(enum.StrEnum):
    """What stood in the way of a tunnel."""

    UNREACHABLE = "unreachable"
    """No connection was made: refused, no such name, no route."""
    TLS = "tls"
    """The certificate is not one for that host, or nobody that is trusted signed it."""
    PROXY_PASSWORD = "proxy-password"
    """A proxy wants a password (407)."""
    PAGE = "page"
    """An HTML page came, or a redirect: a captive portal, or a proxy's own error page."""
    REFUSED = "refused"
    """An HTTP status that says no."""
    BUSY = "busy"
    """The mediator or relay has no room now (429, 503)."""
    NOT_HTTP = "not-http"
    """What came back is not HTTP/1.1."""
    CHANGED = "changed"
    """Something on the way changes what passes: the encoding, the switch, the hello."""
    CLOSED = "closed"
    """The connection was closed before a byte had come back through the tunnel."""
    SILENT = "silent"
    """Nothing came back in time."""


class TunnelError(ConnectFailed):
    """No tunnel by this method; the text is a sentence without a full stop.

    :ivar reason: what stood in the way.
    :ivar status: the HTTP status that said so; None where none did.
    :ivar retry_after: seconds after which to try again, as the server says; None where it does not.
    """

    def __init__(
        self,
        sentence: str,
        reason: Why,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.status = status
        self.retry_after = retry_after
