"""Whether a captive portal answers for everybody: at an address that nobody can have."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from wavesync.doctor.limits import within
from wavesync.interfaces import IReactor
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.roads import Roads
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.way import Route, Way

__all__ = ["NOBODY", "PATIENCE", "look_for_portal"]

NOBODY = TunnelURL("http", "192.0.2.1", 80)
"""An address for documentation only (RFC 5737 section 4), at which nobody ever answers: who does takes
all web pages for his own."""

PATIENCE = 1.0
"""Seconds in which a mediator that is there has most probably answered: till then nobody is asked."""

_TIMEOUT = 3.0


async def look_for_portal(
    reactor: IReactor,
    roads: Roads,
    tried: Deferred[None],
    reached: Callable[[], bool],
    where: TunnelURL = NOBODY,
) -> str:
    """Ask for a page where nobody has one, unless a mediator is reached.

    :param roads: makes connections.
    :param tried: fires when all ways to mediators have been tried; it is not waited for longer than
        :data:`PATIENCE`.
    :param reached: tells whether any mediator has answered.
    :param where: whom to ask.
    :returns: what came, a few words; empty where nothing did.
    """
    await within(reactor, PATIENCE, tried)
    if reached():
        return ""
    factory = Factory.forProtocol(Protocol)
    factory.noisy = False
    way = Way(where, Route.DIRECT, "upgrade")
    opening = roads.open(way, factory, timeout=_TIMEOUT, arrived=lambda: None)
    try:
        protocol = await within(reactor, _TIMEOUT, opening)
    except TunnelError as error:
        return str(error) if error.reason is Why.PAGE else ""
    if isinstance(protocol, Protocol) and protocol.transport is not None:
        protocol.transport.loseConnection()
    return ""
