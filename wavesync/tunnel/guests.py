"""How many tunnels there are, of every method, and from where."""

from collections import Counter

from twisted.internet.defer import Deferred

from wavesync.interfaces import Address
from wavesync.shares import Shares
from wavesync.stun.buckets import source_key
from wavesync.tunnel.answers import Refused
from wavesync.tunnel.limits import TunnelLimits
from wavesync.tunnel.place import METHODS

__all__ = ["Guests", "MethodGuests", "TunnelStatistics"]

_TRY_AGAIN = 5


class TunnelStatistics:
    """What an operator may want to know.

    :ivar opened: tunnels through which a hello came, by method.
    :ivar open: those that are open now.
    :ivar refused: requests and tunnels that came to nothing, by reason.
    """

    def __init__(self) -> None:
        self.opened: Counter[str] = Counter(dict.fromkeys(METHODS, 0))
        self.open: Counter[str] = Counter(dict.fromkeys(METHODS, 0))
        self.refused: Counter[str] = Counter()


class Guests:
    """Counts tunnels, within the limits.

    :param limits: of all of them, and of those from one address.
    :ivar statistics: for all methods.
    """

    def __init__(self, limits: TunnelLimits) -> None:
        self.statistics = TunnelStatistics()
        self._most = limits.tunnels
        self._count = 0
        self._hosts = Shares(limits.tunnels_per_host)
        self._closed = False
        self._empty: list[Deferred[None]] = []

    def __len__(self) -> int:
        """Count them."""
        return self._count

    def enter(self, source: Address) -> None:
        """Count one more.

        :raises Refused: there is no room, or nobody is taken any more.
        """
        if self._closed:
            sentence = "this server is going; use another."
            raise Refused(503, "going", sentence, retry_after=_TRY_AGAIN)
        host = source_key(source[0])
        if not self._hosts.room(host):
            sentence = "your address has as many tunnels here as it may have."
            raise Refused(429, "tunnels-of-host", sentence, retry_after=_TRY_AGAIN)
        if self._count >= self._most:
            sentence = "there is no room for another tunnel here."
            raise Refused(503, "tunnels", sentence, retry_after=_TRY_AGAIN)
        self._count += 1
        self._hosts.take(host)

    def leave(self, source: Address) -> None:
        """One that was counted is over."""
        self._count -= 1
        self._hosts.give_back(source_key(source[0]))
        if not self._count:
            empty, self._empty = self._empty, []
            for each in empty:
                each.callback(None)

    def close(self) -> None:
        """Take no more."""
        self._closed = True

    def when_empty(self) -> Deferred[None]:
        """Fires once there is none; at once when there is none."""
        waiting: Deferred[None] = Deferred()
        if self._count:
            self._empty.append(waiting)
        else:
            waiting.callback(None)
        return waiting


class MethodGuests:
    """The same for one method whose tunnels count once they are open.

    :param guests: counts all of them.
    :param method: which.
    """

    def __init__(self, guests: Guests, method: str) -> None:
        self._guests = guests
        self._method = method

    def enter(self, source: Address) -> None:
        """One more tunnel comes from there, its hello has come.

        :raises Refused: there is no room, or nobody is taken any more.
        """
        self._guests.enter(source)
        statistics = self._guests.statistics
        statistics.opened[self._method] += 1
        statistics.open[self._method] += 1

    def leave(self, source: Address) -> None:
        """One that was counted is over."""
        self._guests.statistics.open[self._method] -= 1
        self._guests.leave(source)

    def refused(self, reason: str) -> None:
        """Count a request that was refused."""
        self._guests.statistics.refused[reason] += 1
