"""How much of everything a server of tunnels has room for."""

from wavesync.settings import Section
from wavesync.tunnel.poll_limits import PollLimits

__all__ = ["TunnelLimits", "check_limits"]


def check_limits(section: Section) -> None:
    """Refuse what would switch tunnels off.

    :raises ValueError: a number of a section of limits is 0 or less, and that means something.
    """
    for name in section.__struct_fields__:
        if name != "poll_rate" and not getattr(section, name) > 0:
            raise ValueError(f"{name} must be more than 0")


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
    :ivar poll_waiting: short polls of one tunnel that wait for an answer at one time.
    :ivar poll_bytes: bytes that are held each way for one tunnel of short polls.
    :ivar poll_rate: short polls of one tunnel that are answered a second; 0 for as many as come.
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
    poll_waiting: int = PollLimits().waiting
    poll_bytes: int = PollLimits().held
    poll_rate: float = PollLimits().rate

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_limits(self)
        _ = self.polls

    @property
    def polls(self) -> PollLimits:
        """Those of one tunnel of short polls."""
        return PollLimits(self.poll_waiting, self.poll_bytes, self.poll_rate)
