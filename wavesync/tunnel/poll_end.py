"""What both ends of a tunnel of short polls do alike: bytes between its streams and its transport."""

from abc import ABC, abstractmethod

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wavesync.tunnel.poll_core import WINDOW
from wavesync.tunnel.poll_streams import Incoming, Outgoing
from wavesync.tunnel.transport import TunnelTransport

__all__ = ["LEAST_DELAY", "PollEnd"]

LEAST_DELAY = 0.001
"""Seconds that a timer is set for at least: rounding must not make it come too early again and again."""


class PollEnd(ABC):
    """One end (a :class:`~.transport.Carrier`, but for its ``abort``).

    :param clock: gives the time and timers.
    :param outgoing: what is sent.
    :param incoming: what comes.
    :param held: bytes to be sent that are held; more are written while they leave only.
    """

    def __init__(
        self,
        clock: IReactorTime,
        outgoing: Outgoing,
        incoming: Incoming,
        held: int = WINDOW,
    ) -> None:
        self._clock = clock
        self._most = held
        self._outgoing = outgoing
        self._incoming = incoming
        self._transport: TunnelTransport | None = None
        self._paused = self._full = self._over = self._turning = False
        self._soon: IDelayedCall | None = None

    # Carrier.

    def write(self, data: bytes) -> None:
        """Send."""
        if not (self._over or self._outgoing.ended):
            self._outgoing.write(data)
            self._tell_room()
            self._touch()

    def close(self) -> None:
        """Send what was written, then end."""
        if not self._over:
            self._outgoing.end()
            self._touch()

    @abstractmethod
    def abort(self) -> None:
        """End at once."""

    def pause(self) -> None:
        """Bring nothing more for now."""
        self._paused = True

    def resume(self) -> None:
        """Bring more."""
        self._paused = False
        self._touch()

    # Turns.

    def _touch(self) -> None:
        """Have a turn soon: not now, since whoever writes may write more."""
        if self._soon is None and not (self._turning or self._over):
            self._soon = self._clock.callLater(0, self._come)

    def _come(self) -> None:
        self._soon = None
        self._turn()

    @abstractmethod
    def _turn(self) -> None:
        """Deliver, send, and set the timer."""

    def _deliver(self) -> None:
        incoming = self._incoming
        while incoming.waiting and not self._over and (incoming.ended or not self._paused):
            self._received(incoming.deliver())

    def _received(self, data: bytes) -> None:
        """Bytes have come."""
        assert self._transport is not None
        self._transport.received(data)

    def _tell_room(self) -> None:
        """Tell whoever writes whether there is room for more."""
        transport, kept = self._transport, len(self._outgoing)
        if transport is None:
            return
        if not self._full and kept >= self._most:
            self._full = True
            transport.full()
        elif self._full and kept <= self._most // 2:
            self._full = False
            transport.free()
