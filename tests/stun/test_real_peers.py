"""Our Binding client and server against coturn's."""

import os
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.stun.coturn import missing, start_turnserver, stunclient
from tests.stun.test_observe import has_ipv6_loopback
from wavesync.interfaces import Address
from wavesync.stun.binding_request import BindingFailed
from wavesync.stun.binding_server import BindingDatagrams
from wavesync.stun.observe import observe_address

reactor: Any = _reactor

PATIENCE = 200
"""How often a server that has just been started is asked, every 50 ms, before giving up."""


class _Case(TestCase):
    """A test with a directory for a program to run in."""

    timeout = 30

    def setUp(self) -> None:
        """Make the directory."""
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)


class AgainstTurnserver(_Case):
    """Our client, coturn's server."""

    skip = missing("turnserver")

    async def _observe(self, server: Address, over_tcp: bool) -> Address:
        """Ask *server*, again while it is still starting."""
        for _ in range(PATIENCE):
            try:
                return await observe_address(
                    reactor, server, over_tcp=over_tcp, interface=server[0], timeout=5.0
                )
            except BindingFailed as error:
                refusal = error
                await deferLater(reactor, 0.05)
        raise refusal

    async def _ask(self, host: str) -> None:
        _, port = await start_turnserver(self, self.directory, host)
        for over_tcp in (False, True):
            seen = await self._observe((host, port), over_tcp)
            self.assertEqual(seen[0], host)
            self.assertNotIn(seen[1], (0, port))
        seen = await observe_address(reactor, (host, port), interface=host)
        again = await observe_address(reactor, (host, port), interface=host, port=seen[1])
        self.assertEqual(again, seen)

    def test_ipv4(self) -> Deferred[None]:
        """coturn tells our address over UDP and TCP, from the port we ask from."""
        return Deferred.fromCoroutine(self._ask("127.0.0.1"))

    def test_ipv6(self) -> Deferred[None]:
        """The same over IPv6."""
        return Deferred.fromCoroutine(self._ask("::1"))

    if not has_ipv6_loopback():
        test_ipv6.skip = "no IPv6 on loopback"  # type: ignore[attr-defined]


class AgainstStunclient(_Case):
    """coturn's client, our server."""

    skip = missing("turnutils_stunclient")

    async def _serve(self, host: str) -> None:
        sources: list[Address] = []

        class Watched(BindingDatagrams):
            """A Binding server that tells who asked."""

            def datagramReceived(self, datagram: bytes, addr: Address) -> None:
                sources.append(addr)
                super().datagramReceived(datagram, addr)

        port = reactor.listenUDP(0, Watched(reactor), interface=host)
        self.addCleanup(port.stopListening)
        output = await stunclient(self, self.directory, host, port.getHost().port)
        self.assertTrue(sources)
        self.assertIn(f"UDP reflexive addr: {host}:{sources[0][1]}", output)

    def test_ipv4(self) -> Deferred[None]:
        """coturn's client learns its address from our server."""
        return Deferred.fromCoroutine(self._serve("127.0.0.1"))

    def test_ipv6(self) -> Deferred[None]:
        """The same over IPv6."""
        return Deferred.fromCoroutine(self._serve("::1"))

    if not has_ipv6_loopback():
        test_ipv6.skip = "no IPv6 on loopback"  # type: ignore[attr-defined]
