"""Floods from a thousand addresses: good clients connect, nobody gets more than he sent."""

import json
import os
import sys
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutput

from tests.abuse.test_datagrams import DatagramCase
from tests.abuse.world import reactor
from wavesync.mediator.settings import Limits
from wavesync.stun.buckets import MAX_SOURCES
from wavesync.udt.listening import MAX_HALF_OPEN

_SECONDS = 1.5
"""For how long there is a flood."""

_WITHIN = 10.0
"""Seconds that a client has to connect meanwhile, on a machine that is busy with the flood."""

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class FloodTests(DatagramCase):
    """Real datagrams in real time, as many as one processor sends."""

    limits = Limits()

    async def flooded(self, packets: Sequence[bytes], port: int, paths: Sequence[str]) -> None:
        """Flood a port while a client connects, again and again."""
        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            file.writelines(packet.hex() + "\n" for packet in packets if packet[:2] != b"\0\1")
        flood: Deferred[bytes] = getProcessOutput(
            sys.executable,
            ("-m", "tests.abuse.flood", os.path.abspath(path), str(port), str(_SECONDS)),
            env={**os.environ, "PYTHONPATH": _ROOT},
            path=_ROOT,
            reactor=reactor,
            errortoo=True,
        )
        took: list[float] = []
        while not flood.called:
            began = reactor.seconds()
            await self.good_connect(paths)
            took.append(reactor.seconds() - began)
            await self.reactor.pause(0.1)
        told = json.loads(await flood)
        self.log.info(
            "{id}: {told}; {number} good connects, the slowest {slowest:.2f} s",
            id=self.id(),
            told=told,
            number=len(took),
            slowest=max(took),
        )
        self.assertEqual(told["sources"], 1000)
        self.assertGreater(told["datagrams"], 1000)
        self.assertLessEqual(told["worst"], 0)
        self.assertLess(max(took), _WITHIN)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_mediator(self) -> Deferred[None]:
        """At the mediator's UDP port."""

        async def check() -> None:
            heard = await self.conversation()
            await self.flooded(heard.to_mediator, self.mediator_address[1], ("udp", "tcp"))
            core = self.mediator.mediator
            self.assertLessEqual(len(core.sources), MAX_SOURCES)
            self.assertLess(len(core.introductions), 20)
            self.assertLess(core.replays, 20)

        return Deferred.fromCoroutine(check())

    def test_agent(self) -> Deferred[None]:
        """At the agent's UDP port."""

        async def check() -> None:
            heard = await self.conversation()
            packets = [*heard.to_agent, *heard.to_mediator]
            await self.flooded(packets, self.agent_udp[1], ("udp",))
            assert self.agent.port is not None
            self.assertLessEqual(self.agent.port._acceptor.listener.half_open, MAX_HALF_OPEN)
            self.assertLess(len(self.agent.port._sorter.links), 50)

        return Deferred.fromCoroutine(check())
