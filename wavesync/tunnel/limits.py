"""How much of everything a server of tunnels has room for."""

from wavesync.settings import Section

__all__ = ["TunnelLimits"]


class TunnelLimits(Section, frozen=True):
    """The limits.

    :ivar connections: connections to a port that has nothing but tunnels.
    :ivar connections_per_host: those from one address (an IPv6 /64 is one); whole offices come from
        one.
    :ivar heads: those whose request has not come yet.
    :ivar head_time: seconds that a request may take to come.
    :ivar tunnels: tunnels, half-made ones as well.
    :ivar tunnels_per_host: those from one address.
    :ivar half_made: tunnels through which the client's hello has not come yet.
    :ivar hello_time: seconds that it may take.
    :ivar idle_time: seconds without a byte from the client after which a tunnel is closed.
    """

    connections: int = 8_000
    connections_per_host: int = 1_000
    heads: int = 1_000
    head_time: float = 10.0
    tunnels: int = 4_000
    tunnels_per_host: int = 500
    half_made: int = 1_000
    hello_time: float = 10.0
    idle_time: float = 300.0

    def __post_init__(self) -> None:
        """Refuse what would switch tunnels off."""
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0")
