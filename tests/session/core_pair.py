"""Two session cores and the bytes between them."""

from wavesync.session.core import (
    SessionCore,
    Side,
)
from wavesync.session.events import (
    Event,
)
from wavesync.session.frames import (
    Frame,
    FrameDecoder,
)


def frames(data: bytes) -> list[Frame]:
    """The frames in these bytes."""
    return list(FrameDecoder().feed(data))


class Pair:
    """A client and a server core, and the bytes between them."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now
        self.client = SessionCore(Side.CLIENT, now)
        self.server = SessionCore(Side.SERVER, now)

    def exchange(self) -> tuple[list[Event], list[Event]]:
        """Carry everything both ways; the events of client and server."""
        ours: list[Event] = []
        theirs: list[Event] = []
        while True:
            up, down = self.client.data_to_send(), self.server.data_to_send()
            if not up and not down:
                break
            self.server.receive(up, self.now)
            self.client.receive(down, self.now)
            ours += self.client.events()
            theirs += self.server.events()
        return ours + self.client.events(), theirs + self.server.events()

    def open(self, service: str = "echo") -> None:
        """Open a service."""
        self.client.open(service, self.now)
        self.exchange()
        self.server.accept(self.now)
        self.exchange()

    def until(self, end: float) -> list[tuple[float, list[Frame], list[Frame]]]:
        """Let both cores live up to a time; what each sent when a timer came."""
        log: list[tuple[float, list[Frame], list[Frame]]] = []
        while True:
            due = [d for d in (self.client.deadline(), self.server.deadline()) if d is not None]
            if not due or min(due) > end:
                self.now = end
                return log
            self.now = max(self.now, min(due))
            self.client.timer(self.now)
            self.server.timer(self.now)
            up, down = self.client.data_to_send(), self.server.data_to_send()
            log.append((self.now, frames(up), frames(down)))
            self.server.receive(up, self.now)
            self.client.receive(down, self.now)
            self.exchange()
