"""The mediator's UDP ports."""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol

from wavesync.interfaces import Address
from wavesync.mediator.core import Mediator

__all__ = ["MediatorDatagrams"]


class MediatorDatagrams(DatagramProtocol):
    """Hands datagrams to the mediator's core and sends what it answers.

    :param mediator: the core.
    :param clock: gives the time.
    :param turn: called after each datagram, to set the core's timer.
    """

    noisy = False

    def __init__(self, mediator: Mediator, clock: IReactorTime, turn: Callable[[], None]) -> None:
        self._mediator = mediator
        self._clock = clock
        self._turn = turn

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Take one datagram."""
        # The scope of a link-local address means something to this host only.
        source = (addr[0].partition("%")[0], addr[1])
        answer = self._mediator.datagram(datagram, source, self, self._clock.seconds())
        if answer is not None:
            self.send_datagram(answer, (addr[0], addr[1]))
        self._turn()

    def send_datagram(self, data: bytes, address: Address) -> None:
        """Send one datagram; what the host cannot send is as lost as on any network."""
        if self.transport is None:
            return
        try:
            self.transport.write(data, address)
        except OSError:
            self._mediator.statistics.dropped += 1
