"""Tests for :mod:`wavesync.relay.joining`, with real sockets: whatever moves the bytes."""

import socket
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tests.relay.join_cases import HalfClosing, Joined, Talking
from tests.relay.join_support import (
    receive,
    receive_all,
    send,
    until,
)
from wavesync.relay.legs import bottom
from wavesync.relay.pair import CLIENT_BROKE
from wavesync.relay.plumbing import FEW, Plumbing
from wavesync.relay.portable import PortablePair


class Portable:
    """What joins over Twisted's transports share."""

    plumbing: Plumbing
    assertEqual: Any

    def held(self, pair: Any) -> int:
        """Count the bytes that wait in Twisted's buffers, of every layer."""
        total = 0
        for leg in (pair._client, pair._server):
            if leg.lost:
                continue
            wire = leg.wire
            beneath: Any = bottom(wire)
            total += len(beneath.dataBuffer) - beneath.offset + beneath._tempDataLen
            if wire is not beneath:
                total += sum(map(len, wire._appSendBuffer))
                total += sum(map(len, wire._aggregator._buffer))
        return total

    def tearDown(self) -> None:
        self.assertEqual((self.plumbing.spliced, self.plumbing.copied), (0, 0))


class TLSClosing:
    """What the end of a leg over TLS does (half-close: ``test_half_closing``)."""

    joined: Any
    ended: list[str]
    assertEqual: Any

    async def test_cut_off(self) -> None:
        """A leg over TLS that ends without saying so is broken, not ended."""
        _, client, server = await self.joined()
        await send(client, b"half a")
        self.assertEqual(await receive(server, 6), b"half a")
        client.close()
        await until(lambda: self.ended)
        self.assertEqual(self.ended, [CLIENT_BROKE])


class KernelTests(Joined, HalfClosing, TestCase):
    """Plain legs, joined in the kernel."""

    def tearDown(self) -> None:
        self.assertLess(self.plumbing.copied, 8 * FEW)


class CopyingTests(Joined, HalfClosing, TestCase):
    """Plain legs, their bytes copied by us."""

    kernel = False

    def tearDown(self) -> None:
        self.assertEqual(self.plumbing.spliced, 0)


class TLSClientTests(Portable, Joined, TLSClosing, TestCase):
    """The client's leg is over TLS."""

    client_tls = True

    async def test_server_ends(self) -> None:
        """What a plain server has said reaches a client over TLS before the end does."""
        _, client, server = await self.joined()
        await send(server, b"answer")
        server.shutdown(socket.SHUT_WR)
        self.assertEqual(await receive_all(client), b"answer")
        await send(client, b"more")
        self.assertEqual(await receive(server, 4), b"more")


class TLSServerTests(Portable, Talking, TestCase):
    """The server's leg is over TLS."""

    server_tls = True


class TLSTests(Portable, Talking, TLSClosing, TestCase):
    """Both legs are over TLS."""

    client_tls = server_tls = True


class PortableTests(Portable, Joined, HalfClosing, TestCase):
    """Plain legs that are joined as if nothing were known of them."""

    def make(self, client: Any, server: Any, **options: Any) -> Any:
        """Make a pair of them."""
        first = {"to_server": b"", "to_client": b"", **options}
        return PortablePair(reactor, client, server, shaper=None, **first)
