"""Tests for :mod:`wavesync.lan.discovery`, :mod:`~wavesync.lan.listening` and
:mod:`~wavesync.lan.sockets`: real multicast, on loopback."""

import errno
from collections.abc import Callable
from typing import cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from wavesync.identity.ids import new_id
from wavesync.interfaces import Address, IReactor
from wavesync.lan.discovery import Discovery
from wavesync.lan.links import Link, find_links
from wavesync.lan.listening import Listener
from wavesync.lan.sockets import PORT, Datagram, GroupSocket, open_asking
from wavesync.lan.wire import QUERY_SIZE, Keys

reactor = cast(IReactor, _reactor)


def _coroutine(test: Callable[..., object]) -> Callable[..., Deferred[None]]:
    def wrapped(self: TestCase) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))  # type: ignore[arg-type]

    wrapped.__doc__, wrapped.__name__ = test.__doc__, test.__name__
    return wrapped


class DiscoveryTests(TestCase):
    """On this very host, a client finds the servers of its system."""

    timeout = 30

    def setUp(self) -> None:
        self.system = new_id()
        self.links: list[Link] = find_links(loopback=True)
        self.found: list[tuple[str, Address]] = []

    def listener(self, system: str = "", port: int = 7001) -> tuple[Listener, str]:
        """A server that answers; and its id."""
        server = new_id()
        listener = Listener(reactor, system or self.system, server, links=lambda: self.links)
        listener.start(port)
        self.addCleanup(listener.stop)
        return listener, server

    def search(self, server: str | None = None, system: str = "") -> Deferred[int]:
        """Search to the end."""
        discovery = Discovery.on(reactor, system or self.system, loopback=True)
        return discovery.search(server, lambda *found: self.found.append(found))

    @_coroutine
    async def test_any(self) -> None:
        """Two agents share the port, and both are found; one of another system stays silent."""
        (_, first), (_, second), (stranger, _) = (
            self.listener(),
            self.listener(port=7002),
            self.listener(new_id()),
        )
        self.assertEqual(await self.search(), 1)
        there = [(first, ("127.0.0.1", 7001)), (second, ("127.0.0.1", 7002))]
        self.assertEqual(sorted(self.found), sorted(there))
        self.assertEqual(stranger.answerer.answered, 0)

    @_coroutine
    async def test_one(self) -> None:
        """One of them is asked for: the other one says nothing."""
        (_, first), (other, _) = self.listener(), self.listener(port=7002)
        await self.search(first)
        self.assertEqual(self.found, [(first, ("127.0.0.1", 7001))])
        self.assertEqual(other.answerer.answered, 0)

    @_coroutine
    async def test_cancelled(self) -> None:
        """A search that is not needed any more leaves nothing."""
        searching = self.search()
        searching.cancel()
        await self.assertFailure(searching, CancelledError)

    @_coroutine
    async def test_no_network(self) -> None:
        """A host without interfaces knows at once that it is on no network."""
        discovery = Discovery(reactor, self.system, links=list)
        self.assertEqual(self.successResultOf(discovery.search(None, lambda *_: None)), 0)

    @_coroutine
    async def test_interfaces(self) -> None:
        """An interface that comes is joined, one that goes is left."""
        self.links, links = [], self.links
        listener, server = self.listener()
        self.assertEqual(listener.joined, ([], []))
        await self.search()
        self.assertEqual(self.found, [])
        self.links = links
        listener.look()
        listener.look()
        self.assertEqual(listener.joined[0], ["lo"])
        await self.search()
        self.assertEqual([each for each, _ in self.found], [server])
        self.links = []
        listener.look()
        self.assertEqual(listener.joined, ([], []))
        await self.search()
        self.assertEqual(len(self.found), 1)

    @_coroutine
    async def test_stopped(self) -> None:
        """An agent that has stopped says nothing, and can stop twice."""
        listener, _ = self.listener()
        listener.stop()
        listener.stop()
        await self.search()
        self.assertEqual(self.found, [])

    @_coroutine
    async def test_port_taken(self) -> None:
        """Another program has the port for itself: the agent says so, and goes on without."""

        def taken(*_: object) -> GroupSocket:
            raise OSError(errno.EADDRINUSE, "Address already in use")

        listener = Listener(reactor, self.system, new_id(), opening=taken)
        with capturedLogs() as logs:
            listener.start(7001)
        self.addCleanup(listener.stop)
        self.assertEqual(listener.joined, ([], []))
        (event,) = logs
        self.assertIn("UDP port 3347 cannot be used: Address already", formatEvent(event) or "")

    @_coroutine
    async def test_dropped(self) -> None:
        """What comes from another network, by a router, or not by the group is not answered."""
        listener, _ = self.listener()
        query = Keys(self.system).query(bytes(16), None)
        index = self.links[0].index
        good = Datagram(query, ("127.0.0.1", 9), 0, index, 1, True)
        listener._received(good)
        self.assertEqual(listener.answerer.answered, 1)
        for data, host, by, hops, multicast in (
            (query, "192.0.2.1", index, 1, True),
            (query, "127.0.0.1", index + 1, 1, True),
            (query, "127.0.0.1", index, 2, True),
            (query, "127.0.0.1", index, -1, True),
            (query, "127.0.0.1", index, 1, False),
            (query[:-1], "127.0.0.1", index, 1, True),
        ):
            listener._received(Datagram(data, (host, 9), 0, by, hops, multicast))
        self.assertEqual(listener.answerer.answered, 1)

    @_coroutine
    async def test_unicast(self) -> None:
        """A query that is sent to the host and not to the group gets no answer."""
        listener, _ = self.listener()
        heard: list[Datagram] = []
        asking = open_asking(reactor, False, heard.append)
        assert asking is not None
        self.addCleanup(asking.close)
        query = Keys(self.system).query(bytes(16), None)
        self.assertEqual(len(query), QUERY_SIZE)
        to = Datagram(b"", ("127.0.0.1", PORT), 0, self.links[0].index, 1, False)
        asking.reply(query, to)
        asking.ask(query, self.links[0])
        while not heard:
            await deferLater(reactor, 0.01)
        self.assertEqual(listener.answerer.answered, 1)
        self.assertEqual(heard[0].host, "127.0.0.1")
