"""A mediator, an agent and good clients in one process, and what is counted before and after."""

import gc
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.protocols.wire import Echo
from twisted.trial.unittest import TestCase

from tests.abuse.hurried import hurried
from tests.abuse.measures import Measure, forget_events, name_of, port_tables, sizes
from tests.abuse.memory import memory
from tests.abuse.strangers import PAYLOAD, EchoCheck, LogLines, Once, Stranger, host_of
from wavesync.agent.introductions import MAX_REMEMBERED, MAX_RENDEZVOUS
from wavesync.agent.service import AgentService
from wavesync.agent.settings import AUTO, AgentSettings
from wavesync.client.connector import MAX_TIMELINES, Connector
from wavesync.client.opening import open_connector
from wavesync.client.options import PATHS
from wavesync.doctor.flights import MAX_FLIGHTS
from wavesync.identity.credentials import Credentials
from wavesync.identity.proofs import MAX_CACHED_CERTIFICATES
from wavesync.identity.system import SystemCredentials
from wavesync.interfaces import Address
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import Limits, MediatorSettings
from wavesync.signalling.urls import parse_mediators
from wavesync.stun.buckets import MAX_SOURCES
from wavesync.udt.closed import MAX_REMEMBERED as MAX_CLOSED
from wavesync.udt.link import Link
from wavesync.udt.port import Port

__all__ = ["HOST", "MANY", "AbuseCase", "Storm", "reactor"]

MANY = 1000
"""How often each bad thing is done: half of it before the first measure, half after."""

HOST = "127.0.0.1"
"""Where everybody good is."""

MAX_GROWN_MEMORY = 2 << 20
"""Bytes that the second half of the storms may add: what is made once was made in the first."""

MAX_GROWN_OBJECTS = 400
"""Objects that may be more: fewer than one for every other bad thing."""

_LONGEST_LIFE = 100.0
"""Seconds: more than the longest time for which anything of an attempt is remembered."""

_STEP = 3.0
"""Seconds that pass at a time meanwhile: whoever waits for an answer waits longer than that, or gets
the turns in which it comes before his time is looked at again."""

_MAX_TIMES = 20
"""Times that the few connections of a test may have in their timetable, old ones included."""

_STRANGERS = 50

Storm = Callable[[int], Awaitable[None]]
"""Does something bad, that many times."""

reactor: Any = _reactor


class AbuseCase(TestCase):
    """Runs the three roles on loopback, each with sockets of its own.

    :cvar limits: the mediator's.
    :ivar relays: where the agent parks.
    :ivar reactor: what all of them run on.
    """

    timeout = 120
    limits = Limits()
    relays: tuple[str, ...] = ()
    log = Logger()

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Start them."""
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        """Start a mediator, and an agent that is registered with it."""
        self.random = random.Random(self.id())
        self.reactor = hurried(reactor)
        self.addCleanup(self.reactor.stop_clock)
        self.strangers: list[Stranger] = []
        self._dialled = 0
        self.prepare()
        free = (f"{HOST}:0",)
        settings = MediatorSettings(name=HOST, listen=free, http_listen=free, limits=self.limits)
        self.mediator = MediatorService(settings, self.reactor, wall_clock=self.reactor.seconds)
        self.mediator.startService()
        self.addCleanup(lambda: self.mediator.stopService())
        self.url = f"{HOST}:{self.mediator.addresses[0][1]}"
        self.system = SystemCredentials.create((self.url,))
        now = self.reactor.seconds()
        self.server, self.client = self.system.add_server(now=now), self.new_client("good")
        self.agent = AgentService(
            self.reactor,
            self.server,
            {"echo": Factory.forProtocol(Echo)},
            parse_mediators((self.url,)),
            settings=AgentSettings(allow_loopback=True, lan=False, relays=self.relays or AUTO),
            wall_clock=self.reactor.seconds,
        )
        self.agent.startService()
        self.addCleanup(lambda: self.agent.stopService())
        await self.agent.links[0].when_registered()
        self.fill_flights()
        self.lines = LogLines()
        self.addCleanup(self.lines.stop)

    def prepare(self) -> None:
        """Start what has to be there before them."""

    def fill_flights(self) -> None:
        """Have the agent keep as many connects as it ever does: what comes next replaces one."""
        for number in range(MAX_FLIGHTS):
            self.agent.doctor.flights.note(f"{number:032x}", "relayed", owner="by nobody")

    # Where things are.

    @property
    def mediator_address(self) -> Address:
        """The mediator's UDP and TCP address."""
        return self.mediator.addresses[0]

    @property
    def agent_udp(self) -> Address:
        """The agent's UDP port."""
        assert self.agent.port is not None
        return HOST, self.agent.port.address[1]

    @property
    def agent_tcp(self) -> Address:
        """The agent's TCP port."""
        return HOST, self.agent.tcp_port

    def new_client(self, name: str, days: int = 365) -> Credentials:
        """Credentials of a client of the same system."""
        return self.system.add_client(name, now=self.reactor.seconds(), days=days)

    def crowd(self) -> list[Stranger]:
        """Some strangers, each at an address of its own."""
        while len(self.strangers) < _STRANGERS:
            self.stranger(host_of(len(self.strangers)))
        return self.strangers

    def stranger(self, host: str = "127.0.0.2") -> Stranger:
        """A socket to attack from."""
        stranger = Stranger(host)
        self.strangers.append(stranger)
        self.addCleanup(stranger.close)
        return stranger

    def connector(
        self,
        credentials: Credentials | None = None,
        *,
        paths: Iterable[str] = PATHS,
        mediators: Iterable[str] = (),
    ) -> Connector:
        """A client; whoever asks for it closes it."""
        return open_connector(
            self.reactor,
            credentials if credentials is not None else self.client,
            mediators=tuple(mediators),
            paths=set(paths),
            allow_loopback=True,
            wall_clock=self.reactor.seconds,
        )

    def dial(self, protocol: Protocol, to: Address, host: str = "") -> None:
        """Connect over TCP from another host: from each of a thousand in turn, if not said."""
        self._dialled += 1
        where = host or host_of(self._dialled % 1000)
        reactor.connectTCP(*to, Once(protocol), bindAddress=(where, 0))

    # What the good do.

    async def good_connect(self, paths: Iterable[str] = PATHS) -> None:
        """A client is introduced, connects, and has a payload echoed."""
        connector = self.connector(paths=paths)
        try:
            await self.echo(connector)
        finally:
            await connector.close()

    async def echo(self, connector: Connector) -> None:
        """Have a payload echoed over *connector*."""
        check = EchoCheck()
        await connector.connect(self.server.target, "echo", check)
        self.assertEqual(await check.over, PAYLOAD)

    # The frame of every test.

    async def measured(
        self,
        storms: Mapping[str, Storm],
        *,
        count: int = MANY,
        lines: int = 1,
        proven: bool = False,
        paths: Iterable[str] = PATHS,
        connector: Connector | None = None,
    ) -> None:
        """Do bad things *count* times each; nothing of it may stay, nor harm a good client.

        Each storm comes twice: what the first one makes, and is not forgotten, the second one must
        not make again.

        :param storms: by name.
        :param lines: lines in the log that each bad thing may cause at most.
        :param proven: strangers have shown that they are where they say.
        :param paths: how a good client connects when it is over.
        :param connector: a good client whose connections no storm may end.
        """
        await self.good_connect(paths)
        measures = []
        for _ in range(2):
            for name, storm in storms.items():
                held = await self.use(connector)
                said, began = len(self.lines.lines), reactor.seconds()
                await self.under_fire(storm(count // 2), paths)
                told = self.lines.lines[said:]
                self.assertLessEqual(len(told), lines * count // 2, (name, told[:20]))
                self.log.info("{name}: {s:.2f} s", name=name, s=reactor.seconds() - began)
                if not proven:
                    self.check_sizes(name)
                for link in held:
                    self.assertIsNone(link.connection._closed, name)
            await self.use(connector)
            await self.calm_down(paths)
            measures.append(self.measure())
        before, after = measures
        self.log.info(
            "{id}: {count} times each; memory {before:.1f} -> {after:.1f} MiB;"
            " objects {had} -> {has}; descriptors {files} -> {still}; delayed calls {calls} -> {left}",
            id=self.id(),
            count=count,
            before=before.memory / 2**20,
            after=after.memory / 2**20,
            had=before.objects,
            has=after.objects,
            files=before.descriptors,
            still=after.descriptors,
            calls=before.calls.total(),
            left=after.calls.total(),
        )
        self.compare(before, after)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def use(self, connector: Connector | None) -> list[Link]:
        """Have an echo over the hole that a client has.

        :returns: the connections that both ends have then, and should keep.
        """
        if connector is None:
            return []
        await self.echo(connector)
        await self.reactor.skip(3)
        assert isinstance(connector._port, Port) and self.agent.port is not None
        links = [*connector._port._sorter.links.values(), *self.agent.port._sorter.links.values()]
        live = [link for link in links if link.connection._closed is None]
        self.assertGreaterEqual(len(live), 2)
        return live

    async def under_fire(self, storm: Awaitable[None], paths: Iterable[str] = PATHS) -> None:
        """A good client connects while *storm* goes on."""

        async def rage() -> None:
            await storm

        raging = Deferred.fromCoroutine(rage())
        await self.reactor.turns(3)
        await self.good_connect(paths)
        await raging

    async def calm_down(self, paths: Iterable[str] = PATHS) -> None:
        """Let all time limits pass; a further connect has expired memories cleared away."""
        await self.reactor.skip(_LONGEST_LIFE, step=_STEP)
        await self.good_connect(paths)
        await self.reactor.skip(_LONGEST_LIFE, step=_STEP)
        await self.reactor.pause(0.02)

    def measure(self) -> Measure:
        """Count everything."""
        for stranger in self.strangers:
            stranger.take()
        forget_events()
        gc.collect()
        objects = gc.get_objects()
        return Measure(
            len(os.listdir("/proc/self/fd")),
            Counter(
                name_of(c) for c in [*self.reactor.getDelayedCalls(), *reactor.getDelayedCalls()]
            ),
            self.tables(),
            self.caches(),
            len(objects),
            memory(),
            Counter(map(type, objects)),
        )

    def compare(self, before: Measure, after: Measure) -> None:
        """All is where it was, or within a bound that has a name."""
        self.assertEqual(after.descriptors, before.descriptors)
        # Whatever comes again and again may be under way at the one moment and not at the other.
        more_calls = after.calls.total() - before.calls.total()
        self.assertLessEqual(more_calls, 2, after.calls - before.calls)
        self.assertEqual(after.tables, before.tables)
        for name, (size, bound) in after.caches.items():
            self.assertLessEqual(size, bound, name)
        more = [(kind.__qualname__, n) for kind, n in (after.kinds - before.kinds).most_common(10)]
        self.assertLess(after.objects - before.objects, MAX_GROWN_OBJECTS, more)
        self.assertLess(after.memory - before.memory, MAX_GROWN_MEMORY)

    def tables(self) -> dict[str, int]:
        """Sizes of everything that must come back to where it was."""
        core, agent = self.mediator.mediator, self.agent
        introductions, link = agent._introductions, agent.links[0]
        assert agent.port is not None and introductions is not None
        return {
            **sizes("mediator", self.mediator, core, self.mediator.legs, core.registry),
            **sizes("mediator", core.introductions, core._connecting),
            "mediator replays": core.replays,
            **sizes("agent", agent, agent._sessions, introductions, link, link.warm._asker),
            **sizes("agent", agent.doctor.flights, agent.doctor.recorder),
            **sizes("agent leg", link._leg, link._leg._asker if link._leg else None),
            **port_tables(agent.port, "agent"),
        }

    def caches(self) -> dict[str, tuple[int, int]]:
        """Sizes of bounded caches, and their bounds."""
        core, agent = self.mediator.mediator, self.agent
        introductions = agent._introductions
        assert agent.port is not None and introductions is not None
        certificates = core.admission._checker
        return {
            "mediator sources": (len(core.sources), MAX_SOURCES),
            "mediator sources of proofs": (len(core.stream_proofs), MAX_SOURCES),
            "mediator buckets of clients": (len(core._connecting._clients), MAX_SOURCES),
            "mediator buckets of targets": (len(core._connecting._targets), MAX_SOURCES),
            "mediator certificates": (len(certificates), MAX_CACHED_CERTIFICATES),
            "agent ids": (len(introductions._remembered), MAX_REMEMBERED),
            "agent certificates": (len(introductions._checker), MAX_RENDEZVOUS),
            "agent closed": (len(agent.port._sorter.closed), MAX_CLOSED),
            "agent flights": (len(agent.doctor.flights), MAX_FLIGHTS),
            "agent times": (len(agent.port._turns._timetable), _MAX_TIMES),
        }

    def client_tables(self, connector: Connector) -> dict[str, int]:
        """Sizes of everything that grows in a client."""
        self.assertLessEqual(len(connector.timelines), MAX_TIMELINES)
        introducer, port = connector._introducer, connector._port
        assert port is None or isinstance(port, Port)
        return {
            **sizes("client", connector, connector._ways, introducer),
            **(port_tables(port, "client") if port else {}),
        }

    def check_sizes(self, name: str) -> None:
        """No stranger has got more bytes than it sent."""
        for stranger in self.strangers:
            stranger.take()
            self.assertLessEqual(stranger.answered, stranger.sent, name)
