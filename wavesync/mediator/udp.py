"""The mediator's UDP ports, without their sockets."""

from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from wavesync.interfaces import Address
from wavesync.mediator.core import Mediator
from wavesync.stun.alternate import AddressPair
from wavesync.stun.elsewhere import answer_elsewhere
from wavesync.stun.many import Batch
from wavesync.stun.quick import quick_answer

__all__ = ["MediatorDatagrams", "PairedDatagrams", "Wire"]


class Wire(Protocol):
    """What sends datagrams."""

    def write(self, data: bytes, address: tuple[str | int, ...]) -> None:
        """Send one.

        :raises OSError: the host cannot send it.
        """


class MediatorDatagrams:
    """Hands datagrams to the mediator's core and sends what it answers.

    :param mediator: the core.
    :param clock: gives the time.
    :param turn: called after datagrams came, to set the core's timer.
    :ivar wire: what sends; ``None`` while there is no socket.
    :ivar turn: see above.
    """

    def __init__(self, mediator: Mediator, clock: IReactorTime, turn: Callable[[], None]) -> None:
        self.wire: Wire | None = None
        self.turn = turn
        self._mediator = mediator
        self._clock = clock

    def received(self, data: bytes, source: Address, scope: int = 0) -> None:
        """Take one datagram.

        :param source: where it came from.
        :param scope: of that, for an address that means something on one link only; 0 without.
        """
        now = self._clock.seconds()
        answer = self._mediator.datagram(data, source, self, now, self.binding)
        if answer is not None:
            self._send(answer, (*source, 0, scope) if scope else source)

    def answered(self, batch: Batch, count: int) -> bool:
        """Answer the first *count* of a batch all together, if that can be.

        :returns: whether that was done; if not, nothing was.
        """
        if not batch.plain(count) or not self._mediator.allow_all(
            batch.hosts(count), self._clock.seconds()
        ):
            return False
        self._mediator.statistics.dropped += batch.answer(count)
        return True

    def binding(self, data: bytes, source: Address) -> bytes | None:
        """Answer a Binding request, at another port of its sender if it asks for that."""
        answer = quick_answer(data, source)
        if answer is not None:
            return answer
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
        self._send(data, address)

    def _send(self, data: bytes, name: tuple[str | int, ...]) -> None:
        if self.wire is None:
            return
        try:
            self.wire.write(data, name)
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

    def answered(self, batch: Batch, count: int) -> bool:
        """Nothing: each answer tells of the other address."""
        return False

    def binding(self, data: bytes, source: Address) -> bytes | None:
        """Have the right one of the four answer a Binding request."""
        reply = self._pair.answer(data, source, self._at)
        if reply is not None:
            self._ports[reply.origin].send_datagram(reply.data, reply.destination)
        return None
