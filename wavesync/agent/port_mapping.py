"""The agent's ports at the routers in front of it (:mod:`wavesync.portmap`): on unless settings say no."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed

from wavesync.agent.publishing import Listed
from wavesync.agent.settings import AgentSettings
from wavesync.interfaces import IReactor
from wavesync.portmap.gateways import find_gateways
from wavesync.portmap.service import PortMapper, Standing
from wavesync.portmap.words import TCP, UDP, Wanted
from wavesync.signalling.local import route_source

__all__ = ["OFF", "PortMapping"]

OFF = "off"
"""The state where settings have switched it off, or everything is on one host."""


class PortMapping:
    """Has the agent's ports forwarded, if it may.

    :param on_change: called when :attr:`addresses` may be others.
    :param observed: the hosts at which mediators see this agent.
    :param mapper: what maps; made as the settings say when None.
    """

    def __init__(
        self,
        reactor: IReactor,
        settings: AgentSettings,
        on_change: Callable[[], None],
        observed: Callable[[], Collection[str]],
        mapper: PortMapper | None = None,
    ) -> None:
        if mapper is None and settings.port_mapping and not settings.allow_loopback:
            mapper = PortMapper.on(
                reactor,
                on_change,
                gateways=partial(find_gateways, source=route_source),
                observed=observed,
            )
        self._mapper = mapper
        self._tcp = 0

    def start(self, tcp: int, udp: int) -> None:
        """Map these ports."""
        self._tcp = tcp
        if self._mapper is not None:
            self._mapper.start((Wanted(TCP, tcp), Wanted(UDP, udp)))

    def moved(self, udp: Sequence[int]) -> None:
        """Other UDP ports are used from now on.

        :param udp: first the one to tell, then older ones, which stay mapped for who was told of them.
        """
        if self._mapper is not None:
            newest, *old = (Wanted(UDP, port) for port in udp)
            self._mapper.want((Wanted(TCP, self._tcp), newest), old)

    def stop(self) -> Deferred[Any]:
        """Give all mappings back; fires within 2 s."""
        return succeed(None) if self._mapper is None else self._mapper.stop()

    @property
    def addresses(self) -> Listed:
        """Where routers forward TCP to this host, and UDP."""
        return ((), ()) if self._mapper is None else self._mapper.addresses

    @property
    def standing(self) -> list[Standing]:
        """What each router does for us."""
        return [] if self._mapper is None else self._mapper.standing

    @property
    def state(self) -> str:
        """In a word: one of :data:`wavesync.portmap.service.STATES`, or :data:`OFF`."""
        return OFF if self._mapper is None else self._mapper.state
