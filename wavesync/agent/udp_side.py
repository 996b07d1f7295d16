"""The UDP side of a registration: where the mediator is, for the mapping that is kept warm."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from wavesync.agent.enrolment import Granted
from wavesync.agent.warm import WarmMapping
from wavesync.interfaces import Address
from wavesync.signalling.leg import Leg
from wavesync.signalling.urls import Mediator

__all__ = ["UdpSide"]


class UdpSide:
    """Warms the mapping up for as long as the server is registered.

    :param mediator: which one.
    :param warm: the mapping.
    :param resolve: finds the mediator's addresses, when UDP is to be shown to it in both families.
    :param locate: finds them where a proxy hides them.
    """

    def __init__(
        self,
        mediator: Mediator,
        warm: WarmMapping,
        resolve: Callable[[str], Deferred[Sequence[str]]] | None,
        locate: Callable[[str], Deferred[Sequence[str]]] | None,
    ) -> None:
        self._mediator = mediator
        self._warm = warm
        self._resolve = resolve
        self._locate = locate
        self._granted: Granted | None = None

    def begin(self, leg: Leg, granted: Granted) -> None:
        """The server is registered over this leg."""
        self._granted = granted
        port, host = self._mediator.udp_port, leg.mediator_host
        if port is None:
            return
        if host is not None:
            self._begin((host, port), granted)
        elif self._locate is not None:
            self._locate(self._mediator.host).addCallback(self._located, port, granted)

    def end(self) -> None:
        """It is not registered any more."""
        self._granted = None
        self._warm.end()

    def _located(self, hosts: Sequence[str], port: int, granted: Granted) -> None:
        """A proxy leads to the mediator; UDP may lead there all the same."""
        found = sorted(hosts, key=lambda host: ":" in host)
        if found and self._granted is granted:
            self._begin((found[0], port), granted)

    def _begin(self, address: Address, granted: Granted) -> None:
        self._warm.begin(address, granted.id, granted.key)
        if self._resolve is not None:
            self._resolve(self._mediator.host).addCallback(self._resolved, address, granted)

    def _resolved(self, hosts: Sequence[str], known: Address, granted: Granted) -> None:
        """Show the UDP port to the mediator in the family that the leg has not."""
        if self._granted is not granted:
            return
        for host in hosts:
            if (":" in host) != (":" in known[0]):
                self._warm.also((host, known[1]))
                return
