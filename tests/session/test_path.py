"""Tests of :mod:`wavesync.session.path`."""

from typing import cast

from twisted.internet.interfaces import ITransport
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from wavesync.interfaces import ISparingTransport, IWaryTransport
from wavesync.session.path import peer_is_known


@implementer(IWaryTransport, ISparingTransport)
class Path:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def trust(self) -> None:
        """Note it."""
        self.told.append("trust")

    def keep_alive_every(self, seconds: float) -> None:
        """Note it."""
        self.told.append(seconds)


class PathTests(SynchronousTestCase):
    """A path holds more for a known peer, and leaves keep-alives to the session."""

    def test_told(self) -> None:
        """One that wants to know is told both."""
        path = Path()
        peer_is_known(cast(ITransport, path))
        self.assertEqual(path.told, ["trust", 15.0])

    def test_others(self) -> None:
        """One that does not is left alone."""
        peer_is_known(StringTransport())
