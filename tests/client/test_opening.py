"""Tests for :mod:`wavesync.client.opening`."""

import gc
import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.cli.support import Site, reactor
from tests.client.world import Talker
from wavesync.client.opening import open_connector
from wavesync.errors import SettingsError


def descriptors() -> int:
    """How many descriptors this process has."""
    # Twisted leaves a socket that it could not bind to the garbage collector.
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


class OpenConnectorTests(TestCase):
    """A connector is made from credentials alone, and leaves nothing when it is closed."""

    timeout = 30

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Start a mediator and an agent."""
        self.site = Site(Path(self.mktemp()).absolute())
        return Deferred.fromCoroutine(self.site.start())

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        """Stop them."""
        return Deferred.fromCoroutine(self.site.stop())

    def test_open(self) -> Deferred[None]:
        """Each kind of path by itself, with real sockets; all descriptors come back."""

        async def test() -> None:
            for paths in ({"tcp"}, {"udp"}, {"tcp", "udp"}):
                connector = open_connector(
                    reactor, self.site.client_credentials, paths=paths, allow_loopback=True
                )
                talker = Talker(b"over " + bytes(sorted(paths)[0], "ascii"))
                await connector.connect(self.site.target, "echo", talker)
                self.assertIn(connector.timelines[0].path, paths)
                await connector.close()

        return Deferred.fromCoroutine(test())

    def test_mistakes(self) -> None:
        """What cannot be used is refused before a socket is opened, or the socket is closed."""
        before = descriptors()
        credentials = self.site.client_credentials
        mistakes: tuple[dict[str, Any], ...] = (
            {"paths": {"smoke"}},
            {"paths": set()},
            {"mediators": ["ftp://m"]},
        )
        for options in mistakes:
            self.assertRaises(SettingsError, open_connector, reactor, credentials, **options)
        self.assertRaises(SettingsError, open_connector, reactor, self.site.server_credentials)
        self.assertEqual(descriptors(), before)
