"""The mediator's UDP ports."""

from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol

from wavesync.interfaces import Address
from wavesync.mediator.core import Mediator
from wavesync.stun.alternate import AddressPair
from wavesync.stun.elsewhere import answer_elsewhere

__all__ = ["MediatorDatagrams", "PairedDatagrams"]


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
        now = self._clock.seconds()
        answer = self._mediator.datagram(datagram, source, self, now, self.binding)
        if answer is not None:
            self.send_datagram(answer, (addr[0], addr[1]))
        self._turn()

    def binding(self, data: bytes, source: Address) -> bytes | None:
        """Answer a Binding request, at another port of its sender if it asks for that."""
        reply = answer_elsewhere(data, source)
        if reply is None:
            return None
        answer, destination = reply
        if destination == source:
            return answer
        self.send_datagram(answer, destination)
        return None

    def send_datagram(self, data: bytes, address: Address) -> None:
        """Send one datagram; what the host cannot send is as lost as on any network."""
        if self.transport is None:
            return
        try:
            self.transport.write(data, address)
        except OSError:
            self._mediator.statistics.dropped += 1


class PairedDatagrams(MediatorDatagrams):
    """One of the four ports of a mediator with two addresses (RFC 5780).

    :param pair: the two addresses.
    :param at: which of the four this is.
    :param ports: all four, filled in before the first datagram comes.
    """

    def __init__(
        self,
        mediator: Mediator,
        clock: IReactorTime,
        turn: Callable[[], None],
        pair: AddressPair,
        at: Address,
        ports: Mapping[Address, MediatorDatagrams],
    ) -> None:
        super().__init__(mediator, clock, turn)
        self._pair = pair
        self._at = at
        self._ports = ports

    def binding(self, data: bytes, source: Address) -> bytes | None:
        """Have the right one of the four answer a Binding request."""
        reply = self._pair.answer(data, source, self._at)
        if reply is not None:
            self._ports[reply.origin].send_datagram(reply.data, reply.destination)
        return None
