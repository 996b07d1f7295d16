"""The agent's answers to clients on its own networks (:mod:`wavesync.lan`): on unless settings say no."""

from functools import partial

from twisted.internet.interfaces import IAddress

from wavesync.agent.settings import AgentSettings
from wavesync.identity.ids import Target
from wavesync.interfaces import IReactor
from wavesync.lan.links import find_links
from wavesync.lan.listening import Listener

__all__ = ["LAN"]


class LAN:
    """Answers where it may; where the port cannot be had, the agent goes on without.

    :param server: the agent's whole name.
    :ivar listener: answers; ``None`` where settings have switched it off.
    """

    def __init__(self, reactor: IReactor, settings: AgentSettings, server: Target) -> None:
        self.listener: Listener | None = None
        if settings.lan and server.server is not None:
            links = partial(
                find_links,
                loopback=settings.allow_loopback,
                virtual=True,
                names=settings.lan_interfaces,
            )
            self.listener = Listener(reactor, server.system, server.server, links=links)

    def start(self, accepting: IAddress) -> None:
        """Answer from now on.

        :param accepting: where the agent accepts TCP.
        """
        if self.listener is not None:
            host, port = accepting.host, accepting.port  # type: ignore[attr-defined]
            self.listener.start(port, ipv6=":" in host)

    @property
    def interfaces(self) -> int:
        """Interfaces on which it answers now."""
        if self.listener is None:
            return 0
        ipv4, ipv6 = self.listener.joined
        return len({*ipv4, *ipv6})

    @property
    def answered(self) -> int:
        """Answers given since the start."""
        return 0 if self.listener is None else self.listener.answerer.answered

    def stop(self) -> None:
        """Answer nothing any more."""
        if self.listener is not None:
            self.listener.stop()
