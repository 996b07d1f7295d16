"""Clients that are known connect again from the same UDP port without a cookie round trip."""

from collections.abc import Callable

from twisted.internet.interfaces import ITransport

from wavesync.agent.udp_ports import UdpPorts
from wavesync.identity.verify import Peer
from wavesync.interfaces import Address
from wavesync.udt.port import Port

__all__ = ["TrustedClients"]


class TrustedClients:
    """Tells UDP ports whom they may trust.

    :param ports: gives the agent's ports; ``None`` while it does not run.
    """

    def __init__(self, ports: Callable[[], UdpPorts[Port] | None]) -> None:
        self._ports = ports
        self._trusted: dict[ITransport, tuple[Port, Address]] = {}

    def authenticated(self, peer: Peer, transport: ITransport) -> None:
        """A client has shown who it is."""
        there, ports = transport.getPeer(), self._ports()
        if ports is None or getattr(there, "type", "") != "UDP":
            return
        port = ports.at(transport.getHost().port)  # type: ignore[attr-defined]
        if port is not None:
            address: Address = there.host, there.port  # type: ignore[attr-defined]
            self._trusted[transport] = port, address
            port.trust(address)

    def lost(self, peer: Peer, transport: ITransport) -> None:
        """That client's path is gone."""
        trusted = self._trusted.pop(transport, None)
        if trusted is not None:
            port, address = trusted
            port.untrust(address)
