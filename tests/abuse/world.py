"""A mediator, an agent and good clients in one process, and what is counted before and after."""

import gc
import os
import random
import socket
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.abuse.hurried import hurried
from wavesync.agent.introductions import MAX_REMEMBERED, MAX_RENDEZVOUS
from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.client.connector import MAX_TIMELINES, PATHS, Connector
from wavesync.client.opening import open_connector
from wavesync.identity.credentials import Credentials
from wavesync.identity.proofs import MAX_CACHED_CERTIFICATES
from wavesync.identity.system import SystemCredentials
from wavesync.interfaces import Address
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import Limits, MediatorSettings
from wavesync.signalling.urls import parse_mediators
from wavesync.stun.buckets import MAX_SOURCES
from wavesync.udt.closed import MAX_REMEMBERED as MAX_CLOSED
from wavesync.udt.port import Port

__all__ = [
    "HOST",
    "MANY",
    "MAX_GROWN_MEMORY",
    "MAX_GROWN_OBJECTS",
    "AbuseCase",
    "LogLines",
    "Measure",
    "Stranger",
    "reactor",
]

MANY = 1000
"""How often each bad thing is done."""

HOST = "127.0.0.1"
"""Where everybody good is."""

MAX_GROWN_MEMORY = 16 << 20
"""Bytes that a process may be larger after a thousand bad things: allocators keep some."""

MAX_GROWN_OBJECTS = 400
"""Objects that may be more: fewer than one for every other bad thing."""

_LONGEST_LIFE = 100.0
"""Seconds: more than the longest time for which anything of an attempt is remembered."""

_MAX_TIMES = 20
"""Times that the few connections of a test may have in their timetable, old ones included."""

_CONTAINERS = (dict, set, list, deque)
_BOUNDED = {"timelines", "_contexts", "_remembered"}
"""Attributes that hold caches with bounds, which are looked at by name."""

_PAYLOAD = bytes(range(256)) * 64

reactor: Any = _reactor


@implementer(ILogObserver)
class LogLines:
    """Keeps the lines that an operator would see, but for those of good connects and of the tests."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self)

    def __call__(self, event: LogEvent) -> None:
        """Take an event (ILogObserver)."""
        tests = str(event.get("log_namespace")).startswith("tests.")
        if event["log_level"] >= LogLevel.info and not tests:
            line = formatEvent(event)
            if ": ok, path " not in line:
                self.lines.append(line)

    def stop(self) -> None:
        """Listen no more."""
        globalLogPublisher.removeObserver(self)


class Stranger:
    """A UDP socket of somebody unknown, at a loopback address of its own.

    :ivar sent: bytes sent.
    :ivar answered: bytes that came back.
    :ivar longest: bytes of the longest datagram that came back.
    """

    def __init__(self, host: str = "127.0.0.2") -> None:
        self.sent = self.answered = self.longest = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((host, 0))

    @property
    def address(self) -> Address:
        """Where it is."""
        address: Address = self._socket.getsockname()
        return address

    def send(self, data: bytes, to: Address) -> None:
        """Send a datagram."""
        try:
            self._socket.sendto(data, to)
        except BlockingIOError:
            return
        self.sent += len(data)

    def take(self) -> list[bytes]:
        """Take what has come."""
        new = []
        while True:
            try:
                new.append(self._socket.recv(65536))
            except (BlockingIOError, ConnectionRefusedError):
                break
        self.answered += sum(map(len, new))
        self.longest = max([self.longest, *map(len, new)])
        return new

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class _EchoCheck(Protocol):
    """Has a payload echoed."""

    transport: Any

    def __init__(self) -> None:
        self.over: Deferred[bytes] = Deferred()
        self._got = b""

    def connectionMade(self) -> None:
        """Send it."""
        self.transport.write(_PAYLOAD)

    def dataReceived(self, data: bytes) -> None:
        """Take it back."""
        self._got += data
        if len(self._got) >= len(_PAYLOAD):
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        self.over.callback(self._got)


class _Once(ClientFactory):
    """Makes one connection for a protocol, which is told of its end even if it never stood."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Give the protocol."""
        return self._protocol

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """It was closed before it stood."""
        self._protocol.connectionLost(reason)


@dataclass
class Measure:
    """What there is at one moment.

    :ivar tables: sizes of tables that must come back to where they were.
    :ivar caches: sizes of bounded caches, with their bounds.
    :ivar calls: delayed calls by function.
    """

    descriptors: int
    calls: Counter[str]
    tables: dict[str, int]
    caches: dict[str, tuple[int, int]]
    objects: int
    memory: int
    kinds: Counter[str] = field(default_factory=Counter)


def _name(call: Any) -> str:
    return getattr(call.func, "__qualname__", repr(call.func))


def memory() -> int:
    """Bytes of this process in RAM."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def sizes(name: str, *holders: object) -> dict[str, int]:
    """Sizes of all containers that objects hold in their attributes."""
    found = {}
    for holder in holders:
        for attribute, value in vars(holder).items():
            if isinstance(value, _CONTAINERS) and attribute not in _BOUNDED:
                found[f"{name} {type(holder).__name__}.{attribute}"] = len(value)
    return found


def port_tables(port: Port, name: str) -> dict[str, int]:
    """Everything that grows in a UDT port."""
    acceptor = port._acceptor
    return {
        **sizes(name, port, port._sorter, acceptor, acceptor.listener),
        **sizes(name, *port._carriers.values()),
        f"{name} half-open": acceptor.listener.half_open,
    }


class AbuseCase(TestCase):
    """Runs the three roles on loopback, each with sockets of its own.

    :cvar limits: the mediator's.
    :ivar reactor: what all of them run on.
    """

    timeout = 120
    limits = Limits()
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
        settings = MediatorSettings(name=HOST, listen=(f"{HOST}:0",), limits=self.limits)
        self.mediator = MediatorService(settings, self.reactor)
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
            settings=AgentSettings(allow_loopback=True),
            wall_clock=self.reactor.seconds,
        )
        self.agent.startService()
        self.addCleanup(lambda: self.agent.stopService())
        await self.agent.links[0].when_registered()
        self.lines = LogLines()
        self.addCleanup(self.lines.stop)

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

    def dial(self, protocol: Protocol, to: Address, host: str = "127.0.0.3") -> None:
        """Connect over TCP from another host."""
        reactor.connectTCP(*to, _Once(protocol), bindAddress=(host, 0))

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
        check = _EchoCheck()
        await connector.connect(self.server.target, "echo", check)
        self.assertEqual(await check.over, _PAYLOAD)

    # The frame of every test.

    async def measured(
        self,
        storm: Callable[[int], Awaitable[None]],
        *,
        warm: int = 60,
        count: int = MANY,
        lines: int = 1,
        proven: bool = False,
        paths: Iterable[str] = PATHS,
    ) -> None:
        """Do something bad *count* times; nothing of it may stay, nor harm a good client.

        A few are done before the first measure, so that whatever is made once is there.

        :param storm: does it that many times.
        :param lines: lines in the log that each may cause at most.
        :param proven: strangers have shown that they are where they say.
        :param paths: how a good client connects when it is over.
        """
        await self.good_connect(paths)
        await storm(warm)
        await self.calm_down(paths)
        before = self.measure()
        said = len(self.lines.lines)
        began = reactor.seconds()
        await storm(count)
        self.log.info("{id}: {s:.2f} s", id=self.id(), s=reactor.seconds() - began)
        told = self.lines.lines[said:]
        await self.calm_down(paths)
        after = self.measure()
        self.log.info(
            "{id}: {count} times; {lines} log lines; memory {before:.1f} -> {after:.1f} MiB;"
            " objects {had} -> {has}; descriptors {files} -> {still}; delayed calls {calls} -> {left}",
            id=self.id(),
            count=count,
            lines=len(told),
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
        self.assertLessEqual(len(told), lines * count, told[:20])
        self.assertEqual(self.flushLoggedErrors(), [])
        if not proven:
            self.check_sizes()

    async def under_fire(
        self, storm: Coroutine[Any, Any, None], paths: Iterable[str] = PATHS
    ) -> None:
        """A good client connects while *storm* goes on."""
        raging = Deferred.fromCoroutine(storm)
        await self.reactor.turns(3)
        await self.good_connect(paths)
        await raging

    async def calm_down(self, paths: Iterable[str] = PATHS) -> None:
        """Let all time limits pass; a further connect has expired memories cleared away."""
        await self.reactor.skip(_LONGEST_LIFE, step=1.0)
        await self.good_connect(paths)
        await self.reactor.skip(_LONGEST_LIFE, step=1.0)
        await self.reactor.pause(0.02)

    def measure(self) -> Measure:
        """Count everything."""
        for stranger in self.strangers:
            stranger.take()
        gc.collect()
        objects = gc.get_objects()
        return Measure(
            len(os.listdir("/proc/self/fd")),
            Counter(
                _name(c) for c in [*self.reactor.getDelayedCalls(), *reactor.getDelayedCalls()]
            ),
            self.tables(),
            self.caches(),
            len(objects),
            memory(),
            Counter(type(each).__qualname__ for each in objects),
        )

    def compare(self, before: Measure, after: Measure) -> None:
        """All is where it was, or within a bound that has a name."""
        self.assertEqual(after.descriptors, before.descriptors)
        self.assertEqual(after.calls, before.calls)
        self.assertEqual(after.tables, before.tables)
        for name, (size, bound) in after.caches.items():
            self.assertLessEqual(size, bound, name)
        more = (after.kinds - before.kinds).most_common(10)
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
            "mediator buckets of clients": (len(core._connecting._clients), MAX_SOURCES),
            "mediator buckets of targets": (len(core._connecting._targets), MAX_SOURCES),
            "mediator certificates": (len(certificates), MAX_CACHED_CERTIFICATES),
            "agent ids": (len(introductions._remembered), MAX_REMEMBERED),
            "agent certificates": (len(introductions._checker), MAX_RENDEZVOUS),
            "agent closed": (len(agent.port._sorter.closed), MAX_CLOSED),
            "agent times": (len(agent.port._turns._timetable), _MAX_TIMES),
        }

    def client_tables(self, connector: Connector) -> dict[str, int]:
        """Sizes of everything that grows in a client."""
        self.assertLessEqual(len(connector.timelines), MAX_TIMELINES)
        introducer, port = connector._introducer, connector._port
        assert port is None or isinstance(port, Port)
        return {
            **sizes("client", connector, connector._ways, introducer),
            **(sizes("client", introducer._asker) if introducer._asker else {}),
            **(port_tables(port, "client") if port else {}),
        }

    def check_sizes(self) -> None:
        """No stranger has got more bytes than it sent."""
        for stranger in self.strangers:
            stranger.take()
            self.assertLessEqual(stranger.answered, stranger.sent)
