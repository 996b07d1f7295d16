"""The way to a relay, for servers and clients alike: the one place where a relay is dialled."""

from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS

from wavesync.interfaces import IReactor
from wavesync.signalling.relay_urls import Relay

__all__ = ["DIAL_TIMEOUT", "NEXT_HOST_DELAY", "relay_endpoint"]

DIAL_TIMEOUT = 6.0
"""Seconds for a connection to a relay to stand, finding its addresses included."""

NEXT_HOST_DELAY = 0.25
"""Seconds after which the next address of a name is tried as well (RFC 8305 section 5)."""


def relay_endpoint(
    reactor: IReactor, relay: Relay, *, timeout: float = DIAL_TIMEOUT, trust_root: Any = None
) -> IStreamClientEndpoint:
    """Make the endpoint of a relay.

    Over TLS the relay's certificate has to be good for the host that the URL names (RFC 6125); what
    sessions need is nothing of that: they verify each other inside.

    :param timeout: seconds for the TCP connection to stand.
    :param trust_root: who may have signed the certificates of relays, as
        :func:`twisted.internet.ssl.optionsForClientTLS` wants it; the system's own when None.
    """
    endpoint = HostnameEndpoint(
        reactor, relay.host, relay.port, timeout=timeout, attemptDelay=NEXT_HOST_DELAY
    )
    if not relay.tls:
        return endpoint
    return wrapClientTLS(optionsForClientTLS(relay.host, trustRoot=trust_root), endpoint)
