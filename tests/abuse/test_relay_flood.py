"""A relay's port in a flood: good clients are served, memory stays, nothing is told or dialled."""

import gc
import json
import os
import re
import statistics
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutput
from twisted.logger import Logger

from tests.abuse.memory import memory
from tests.abuse.relay_flood import SOURCES
from tests.abuse.watched import EveryLine, Listening
from tests.relay.world import RelayCase, Site, Visit, connect_request, park_request, reactor, until
from tests.signalling.provers import client, server
from wavesync.relay.settings import Limits

SECONDS = 0.8
"""For how long there is a flood, each of two times."""

_WITHIN = 1.0
"""Seconds within which a good client is served meanwhile, mostly."""

_SLOWEST = 3.0
"""The same for all of them: where the kernel turns one away it tries again after 1 and 3 s."""

_MAX_GROWN = 3 << 20
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PAYLOAD = b"what nobody else has to know"


class RelayFloodTests(RelayCase):
    """As many connections as one process opens, all bad."""

    limits = Limits(head_time=1.0, check_rate=10.0, check_burst=20.0)
    log = Logger()
    seconds = SECONDS

    def setUp(self) -> None:
        """Start a relay that is watched."""
        self.watched = self.reactor = Listening(reactor)
        self.lines = EveryLine()
        self.addCleanup(self.lines.stop)
        super().setUp()

    def captured(self) -> list[bytes]:
        """Requests as somebody on the way may have seen them."""
        other = server(2)
        return [
            connect_request(client(), server().target),
            connect_request(client("bob"), server(3).target),
            park_request(other),
        ]

    async def serve(self, site: Site) -> float:
        """A good client comes, and has something echoed; tell how long it took."""
        began = reactor.seconds()
        visit = await self.visit(site.credentials.target, _PAYLOAD)
        await until(lambda: visit.data == _PAYLOAD)
        took: float = reactor.seconds() - began
        visit.wire.abortConnection()
        await visit.lost
        return took

    async def flood(self, requests: list[bytes], site: Site) -> list[float]:
        """Flood while good clients come; tell how long each took."""
        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            file.writelines(request.hex() + "\n" for request in requests)
        port = self.service.addresses[0][1]
        flood: Deferred[bytes] = getProcessOutput(
            sys.executable,
            ("-m", "tests.abuse.relay_flood", os.path.abspath(path), str(port), str(self.seconds)),
            env={**os.environ, "PYTHONPATH": _ROOT},
            path=_ROOT,
            reactor=reactor,
            errortoo=True,
        )
        took = []
        while not flood.called:
            took.append(await self.serve(site))
        told = json.loads(await flood)
        self.log.info(
            "{id}: {told}; {number} good clients, the slowest {slowest:.2f} s",
            id=self.id(),
            told=told,
            number=len(took),
            slowest=max(took),
        )
        self.assertGreater(told["connections"], 200 * self.seconds)
        # A connection that was begun in the middle of it may need some seconds.
        await until(lambda: all(leg.answer or leg.closed for leg in site.legs))
        house = self.service.house
        await until(lambda: len(self.service.connections) == len(house.roll))
        self.assertEqual(len(self.service.connections.heads), 0)
        return took

    def test_flood(self) -> Deferred[None]:
        """Twice the same flood: the second takes no more memory than the first has taken."""

        async def test() -> None:
            site = self.site(wanted=7)
            site.refills = True
            await site.park(7)
            requests = self.captured()
            for request in requests:  # what was seen on the way has been used
                visit: Any = await self.connect(Visit(request))
                await visit.answered
                visit.wire.abortConnection()
            began = reactor.seconds()
            took = await self.flood(requests, site)
            gc.collect()
            before = memory()
            took += await self.flood(requests, site)
            gc.collect()
            self.log.info("memory grew by {n} bytes", n=memory() - before)
            self.assertLess(memory() - before, _MAX_GROWN)
            self.assertLess(statistics.median(took), _WITHIN)
            self.assertLess(max(took), _SLOWEST)
            # What a signature costs is paid for in advance.
            refused = self.service.house.statistics.refused
            checked = refused["bad-signature"] + refused["malformed"] + refused["replay"]
            elapsed = reactor.seconds() - began
            self.assertGreater(refused["source"], 0)
            self.assertLessEqual(checked, SOURCES * (20 + 10 * elapsed) + len(requests))
            self.assertEqual(self.service.house.statistics.refused["head-500"], 0)
            site.refills = False
            self.check_quiet(requests)
            self.assertEqual(self.flushLoggedErrors(), [])

        return Deferred.fromCoroutine(test())

    def check_quiet(self, requests: list[bytes]) -> None:
        """Nothing was dialled, and the log holds no proof, no key and no payload."""
        self.assertEqual(self.watched.tried, [])
        everything = "\n".join(self.lines.of("wavesync"))
        self.assertLess(len(self.lines.of("wavesync")), 40, self.lines.of("wavesync")[:50])
        for request in requests:
            found = re.search(rb"Authorization: Wavesync (\S+)", request)
            assert found is not None
            proof = found.group(1).decode()
            for start in range(0, len(proof) - 20, 20):
                self.assertNotIn(proof[start : start + 20], everything)
        self.assertNotIn(_PAYLOAD.decode(), everything)
        self.assertNotIn("PRIVATE KEY", everything)
