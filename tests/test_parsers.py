"""Tests for :mod:`wavesync.parsers`."""

import json
import subprocess
import sys

from twisted.internet.interfaces import (
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wavesync.parsers import LazyClientParser, LazyServerParser
from wavesync.udt.endpoints import UDTClientEndpoint, UDTServerEndpoint

_ASK = """
import json, sys
from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString
for text in ("tcp:127.0.0.1:80", "nothing:at:all"):
    try:
        clientFromString(reactor, text)
    except ValueError:
        pass
print(json.dumps([name for name in sys.modules if name.startswith("wavesync.")]))
"""


class LazyParserTests(SynchronousTestCase):
    """Having wavesync installed costs other programs nothing."""

    def test_interfaces(self) -> None:
        """Twisted takes them for plugins and parsers."""
        client, server = LazyClientParser("a", "b:c"), LazyServerParser("a", "b:c")
        for parser in (client, server):
            verifyObject(IPlugin, parser)
        verifyObject(IStreamClientEndpointStringParserWithReactor, client)
        verifyObject(IStreamServerEndpointStringParser, server)

    def test_made_at_first_use(self) -> None:
        """The real parser does the work, and is made once."""
        client = LazyClientParser("udt", "wavesync.udt.endpoints:UDTClientParser")
        server = LazyServerParser("udt", "wavesync.udt.endpoints:UDTServerParser")
        reactor = object()
        self.assertIsInstance(client.parseStreamClient(reactor, "h", "1"), UDTClientEndpoint)
        self.assertIsInstance(server.parseStreamServer(reactor, "1"), UDTServerEndpoint)
        self.assertIs(client._made(), client._made())

    def test_mistakes(self) -> None:
        """Its complaints come through."""
        client = LazyClientParser("udt", "wavesync.udt.endpoints:UDTClientParser")
        self.assertRaises(ValueError, client.parseStreamClient, object(), "h")

    def test_others_import_nothing(self) -> None:
        """A program that uses other endpoints loads no more of wavesync than this module."""
        done = subprocess.run(
            [sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=60, check=True
        )
        loaded = set(json.loads(done.stdout))
        # Twisted may find what it wants before it asks for ours.
        self.assertLessEqual(loaded, {"wavesync.parsers"})
