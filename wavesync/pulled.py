"""A pull producer as a push producer, for transports that know only the latter."""

from twisted.internet.interfaces import (
    IDelayedCall,
    IPullProducer,
    IPushProducer,
    IReactorTime,
)
from zope.interface import implementer

__all__ = ["Pulled"]


@implementer(IPushProducer)
class Pulled:
    """Asks a pull producer for more, turn by turn, whenever the path takes bytes.

    :param producer: is asked.
    :param clock: gives the turns.
    """

    def __init__(self, producer: IPullProducer, clock: IReactorTime) -> None:
        self._producer = producer
        self._clock = clock
        self._next: IDelayedCall | None = None

    def resumeProducing(self) -> None:
        """Ask from the next turn on (IPushProducer)."""
        if self._next is None:
            self._next = self._clock.callLater(0, self._pull)

    def pauseProducing(self) -> None:
        """Ask no more for now (IPushProducer)."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def stopProducing(self) -> None:
        """Tell it that nothing more is wanted (IPushProducer)."""
        self.pauseProducing()
        self._producer.stopProducing()

    def _pull(self) -> None:
        self._next = self._clock.callLater(0, self._pull)
        self._producer.resumeProducing()
