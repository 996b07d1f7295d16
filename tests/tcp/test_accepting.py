"""Tests for wavesync.tcp.accepting: a listener for a short time."""

import socket
from typing import Any

from twisted.internet.interfaces import IReactorFDSet
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from wavesync.interfaces import Address
from wavesync.tcp.accepting import Accepting


class Watching:
    """What of a reactor is needed."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        """Watch it."""
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """Watch it no more."""
        self.readers.remove(reader)


class AcceptingTests(SynchronousTestCase):
    """What the reactor tells a listener."""

    def test_news_of_another(self) -> None:
        """What was meant for a socket that had this number before does not end the listening."""
        reactor: Any = Watching()
        directlyProvides(reactor, IReactorFDSet)
        taken: list[Address] = []

        def take(made: socket.socket, address: Address) -> None:
            taken.append(address)
            made.close()

        accepting = Accepting(reactor, ("127.0.0.1", 0), take)
        self.addCleanup(accepting.close)
        # A reactor that got several events at once, the first of which has replaced the socket.
        accepting.doWrite()
        accepting.doRead()
        self.assertEqual(reactor.readers, [accepting])
        with socket.create_connection(accepting._socket.getsockname()):  # type: ignore[union-attr]
            accepting.doRead()
        self.assertEqual(len(taken), 1)
