"""Probes sent step by step: what the searches into a NAT's behaviour have in common.

Sans-I/O.  A script is a generator: each step is some probes, and goes on when all are over, or a number
of seconds to be silent.  What it returns is the outcome.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Generic, NamedTuple, Protocol, TypeVar

from wavesync.interfaces import Address
from wavesync.stun.message import decode
from wavesync.stun.transactions import Transactions

__all__ = ["Outgoing", "Probe", "ProbeScript"]


class Outgoing(NamedTuple):
    """A datagram to be sent.

    :ivar second: from the second local port.
    """

    data: bytes
    destination: Address
    second: bool


class Probe(Protocol):
    """One request.

    :ivar transaction_id: its transaction's.
    :ivar request: its bytes.
    :ivar destination: where it goes.
    :ivar second: sent from the second port.
    :ivar over: it was answered, or never will be.
    """

    transaction_id: bytes
    request: bytes
    destination: Address
    second: bool
    over: bool


_Probe = TypeVar("_Probe", bound=Probe)
_Found = TypeVar("_Found")


class ProbeScript(ABC, Generic[_Probe, _Found]):
    """Runs a script.

    :param steps: the script.
    :ivar outcome: what it returned, or None while it runs.
    """

    def __init__(self, steps: Generator[list[_Probe] | float, None, _Found], now: float) -> None:
        self.outcome: _Found | None = None
        self._probes: dict[bytes, _Probe] = {}
        self._until: float | None = None
        self._transactions = Transactions()
        self._steps = steps
        self._advance(now)

    def datagrams(self, now: float) -> list[Outgoing]:
        """What to send at *now*."""
        return [
            Outgoing(data, destination, self._probes[decode(data).transaction_id].second)
            for data, destination in self._transactions.due(now)
        ]

    def timer(self, now: float) -> None:
        """The deadline came."""
        for silent in self._transactions.timed_out(now):
            self._probes[silent.transaction_id].over = True
        self._advance(now)

    def deadline(self) -> float | None:
        """When :meth:`datagrams` or :meth:`timer` will next have something to do."""
        if self.outcome is not None:
            return None
        return self._transactions.deadline() if self._until is None else self._until

    @abstractmethod
    def _new_transactions(self, step: list[_Probe]) -> Transactions:
        """The transactions of one step."""

    def _advance(self, now: float) -> None:
        """Go on as far as no probe and no wait is left."""
        while self.outcome is None:
            if self._until is not None and now < self._until:
                return
            if not all(probe.over for probe in self._probes.values()):
                return
            self._until = None
            self._probes = {}
            try:
                step = next(self._steps)
            except StopIteration as end:
                self.outcome = end.value
                return
            if isinstance(step, float):
                self._until = now + step
                continue
            self._probes = {probe.transaction_id: probe for probe in step}
            self._transactions = self._new_transactions(step)
            for probe in step:
                self._transactions.start(probe.request, probe.destination, now)
