"""Producers that write for as long as they may."""

from tests.session.cases import SessionCase
from tests.session.support import PathEnd, Recorder


class Eager(Recorder):
    """Writes until it is paused, from its first moment on."""

    written = 0
    paused = False

    def connectionMade(self) -> None:
        """Begin."""
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """Write."""
        self.paused = False
        while not self.paused and self.written < 10_000_000:
            self.transport.write(b"z" * 10_000)
            self.written += 10_000

    def pauseProducing(self) -> None:
        """Stop."""
        self.paused = True

    def stopProducing(self) -> None:
        """Stop."""
        self.paused = True


class EagerTests(SessionCase):
    """Who writes until it is told to stop is told to, whenever it begins."""

    def test_eager(self) -> None:
        """A service that writes from the start until it is paused is paused, and all arrives."""
        self.app_class = Eager
        app = Recorder()
        path, _ = self.opened(app)
        server = self.apps[0]
        assert isinstance(server, Eager)
        self.assertLess(path.server.peak, 2 * PathEnd.BUFFER)
        self.assertEqual(len(app.received), server.written)
