"""What a connection tells its owner, in order: data that has come, and the end behind it."""

from wavesync.udt.events import Closed, DataReceived, Event
from wavesync.udt.receiver import Receiver

__all__ = ["Deliveries"]


class Deliveries:
    """The events of one connection that wait to be taken.

    :param receiver: has the data.
    :ivar paused: neither data nor the end that follows it is given out.
    """

    __slots__ = ("_events", "_receiver", "paused")

    def __init__(self, receiver: Receiver) -> None:
        """Begin with nothing to tell."""
        self.paused = False
        self._receiver = receiver
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        """Note what happened."""
        self._events.append(event)

    def collect(self) -> None:
        """Move received bytes into an event, ahead of the end."""
        if self.paused or not self._receiver.readable:
            return
        events: list[Event] = [DataReceived(data) for data in self._receiver.take()]
        if events:
            at = len(self._events)
            if at and isinstance(self._events[-1], Closed):
                at -= 1
            self._events[at:at] = events

    def take(self) -> list[Event]:
        """Give, and forget, what happened since the last call, oldest first."""
        self.collect()
        if not self._events:
            return []
        events, self._events = self._events, []
        if self.paused and events and isinstance(events[-1], Closed) and self._receiver.readable:
            self._events.append(events.pop())
        return events
