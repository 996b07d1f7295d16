"""Tests for :mod:`wavesync.portmap.asking`."""

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.interfaces import Address
from wavesync.portmap.asking import WAITS, Asker
from wavesync.portmap.sockets import Received
from wavesync.portmap.words import PortMapError, Reason


class Link:
    """A socket that keeps what is sent."""

    def __init__(self, received: Received, refused: Callable[[], None]) -> None:
        self.received, self.refused = received, refused
        self.sent: list[bytes] = []
        self.closed = 0

    def send(self, data: bytes, destination: Address | None = None) -> None:
        """Keep it."""
        self.sent.append(data)

    def close(self) -> None:
        """Count it."""
        self.closed += 1


class AskerTests(SynchronousTestCase):
    """A question is asked again until it is answered, and not for ever."""

    def setUp(self) -> None:
        """Make one."""
        self.clock = Clock()
        self.links: list[Link] = []
        self.asker = Asker(self.clock, self.open, "the router")

    def open(self, received: Received, refused: Callable[[], None]) -> Link:
        """Open a way to the router."""
        self.links.append(Link(received, refused))
        return self.links[-1]

    def read(self, data: bytes) -> bytes | None:
        """An answer begins with "yes"; "no" is the end of it."""
        if data == b"no":
            raise PortMapError(Reason.REFUSED, "no")
        return data if data.startswith(b"yes") else None

    def test_answered(self) -> None:
        """The first answer counts; the socket is closed, and no timer is left."""
        asked = self.asker.ask(b"?", self.read)
        (link,) = self.links
        link.received(b"something else", ("192.168.1.1", 5351))
        self.assertNoResult(asked)
        link.received(b"yes 1", ("192.168.1.1", 5351))
        link.received(b"yes 2", ("192.168.1.1", 5351))
        self.assertEqual(self.successResultOf(asked), b"yes 1")
        self.assertEqual((link.closed, self.clock.getDelayedCalls()), (1, []))

    def test_again(self) -> None:
        """It is asked four times in all, with longer and longer waits; then there is no answer."""
        asked = self.asker.ask(b"?", self.read)
        (link,) = self.links
        for count, wait in enumerate(WAITS, 1):
            self.assertEqual(len(link.sent), count)
            self.clock.advance(wait - 0.01)
            self.assertEqual(len(link.sent), count)
            self.clock.advance(0.01)
        self.assertEqual(self.failureResultOf(asked, PortMapError).value.reason, Reason.NO_ANSWER)
        self.assertEqual((len(link.sent), link.closed), (4, 1))

    def test_refused(self) -> None:
        """Where nobody listens, or the answer is no, nobody waits."""
        for number, end in enumerate(
            (lambda link: link.refused(), lambda link: link.received(b"no", ("", 0)))
        ):
            asked = self.asker.ask(b"?", self.read)
            end(self.links[number])
            self.failureResultOf(asked, PortMapError)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_way(self) -> None:
        """Where there is no way to the router, that is the answer."""

        def closed(received: Received, refused: Callable[[], None]) -> Link:
            raise PortMapError(Reason.NO_ANSWER, "no way")

        asked = Asker(self.clock, closed, "it").ask(b"?", self.read)
        self.assertIn("no way", str(self.failureResultOf(asked, PortMapError).value))

    def test_close(self) -> None:
        """What is under way ends, and nothing is left."""
        asked = self.asker.ask(b"?", self.read)
        self.asker.close()
        self.failureResultOf(asked, PortMapError)
        self.assertEqual((self.links[0].closed, self.clock.getDelayedCalls()), (1, []))

    def test_cancel(self) -> None:
        """Who does not want to know any more leaves nothing behind."""
        asked = self.asker.ask(b"?", self.read)
        asked.addErrback(lambda failure: None)
        asked.cancel()
        self.asker.close()
        self.assertEqual((self.links[0].closed, self.clock.getDelayedCalls()), (1, []))
