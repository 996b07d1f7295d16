"""Two relays, as processes: clients get to the one that has the server, and outlive the other."""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.utils import getProcessOutput
from twisted.protocols.wire import Echo
from twisted.trial.unittest import TestCase

from tests.cli.support import Command, Shout, save
from tests.client.world import Talker
from tests.relay.processes import RelayProcess, TwistProcess
from tests.relay.redis_server import HOST, RedisServer, free_port
from tests.relay.world import Leg, connect_request, reactor, until
from wavesync.agent.parking import MIN_IDLE
from wavesync.agent.parking_waits import ParkingWaits
from wavesync.agent.relays import Relays
from wavesync.client.relay_choice import RelayOption
from wavesync.client.relay_path import Relaying, RelayPath
from wavesync.errors import ConnectFailed
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import new_id
from wavesync.identity.system import SystemCredentials
from wavesync.session.client import connect_session
from wavesync.session.server import NamedServices, ServerSessionFactory
from wavesync.signalling.proved import Prover
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_endpoint import relay_endpoint
from wavesync.signalling.relay_urls import Relay


class Stream(Protocol):
    """Counts what comes.

    :ivar lost: whether it is over.
    """

    def __init__(self) -> None:
        self.count = 0
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        """Count."""
        self.count += len(data)

    def connectionLost(self, reason: object = None) -> None:
        """It is over."""
        self.lost = True


class Ticks(Protocol):
    """Says something twenty times a second."""

    def connectionMade(self) -> None:
        """Begin."""
        self._ticking = LoopingCall(self._tick)
        self._ticking.start(0.05)

    def _tick(self) -> None:
        assert self.transport is not None
        self.transport.write(b"tick" * 250)

    def connectionLost(self, reason: object = None) -> None:
        """Enough."""
        self._ticking.stop()


class TwoRelaysCase(TestCase):
    """Two relays, and a client that comes to one of them.

    :ivar notes: figures that are printed in the end.
    """

    timeout = 110

    def setUp(self) -> None:
        """A system."""
        self.system = SystemCredentials.create(())
        self.server = self.system.add_server(now=time.time())
        self.client = self.system.add_client("alice", now=time.time())
        self.notes: list[str] = []
        self.addCleanup(lambda: print("\n".join(self.notes)))  # noqa: T201

    def relays(self, *settings: str) -> tuple[RelayProcess, RelayProcess]:
        """Start two; they end with the test."""
        pair = tuple(RelayProcess(Path(self.mktemp()), *settings) for _ in range(2))
        for each in pair:
            each.start()
            self.addCleanup(each.kill)
        return pair[0], pair[1]

    def note(self, what: str, began: float, limit: float) -> None:
        """Keep how long something took, and hold it against a limit."""
        took = reactor.seconds() - began
        self.notes.append(f"{what}: {took:.2f} s")
        self.assertLess(took, limit, what)

    async def come(self, relay: Relay, protocol: Protocol, service: str = "echo") -> RelayPath:
        """Come through a relay, or where it sends us, and use a service."""
        dial = partial(relay_endpoint, reactor)
        relaying = Relaying(reactor, self.client, dial, wall_clock=time.time)
        target = self.server.target
        path = RelayPath(
            relaying,
            target,
            [RelayOption(relay)],
            new_id(),
            lambda: connect_session(self.client, target, reactor),
        )
        session = await path.open()
        self.addCleanup(session.abort)
        await session.open(service, protocol)
        return path

    async def echo(self, relay: Relay) -> Relay | None:
        """Come through a relay and hear an echo.

        :returns: the relay that had the server.
        """
        talker = Talker()
        path = await self.come(relay, talker)
        await until(lambda: talker.heard == b"hello")
        return path.relay

    async def answer(self, relay: Relay, credentials: Credentials | None = None) -> RelayAnswer:
        """Ask a relay for the server, and hear what it says first."""
        credentials = credentials or self.client
        prove = Prover(credentials, relay.audience, time.time())
        leg = Leg(
            connect_request(credentials, self.server.target, connection=new_id(), prove=prove)
        )
        endpoint = HostnameEndpoint(reactor, relay.host, relay.port)
        await connectProtocol(endpoint, leg)
        answer = await leg.answered
        leg.wire.abortConnection()
        await leg.lost
        assert answer is not None
        return answer

    async def becomes(self, relay: Relay, status: int, location: Relay | None = None) -> None:
        """Wait until a relay answers so."""
        end = reactor.seconds() + 60  # processes take their time to start on a busy machine
        while True:
            answer = await self.answer(relay)
            if (answer.status, answer.location) == (status, location):
                return
            assert reactor.seconds() < end, answer
            await deferLater(reactor, 0.02)


class SharedTests(TwoRelaysCase):
    """Relays that share a Redis server."""

    def test_redis(self) -> Deferred[None]:
        """A relay without the server sends clients to the one with it, also after Redis was
        restarted; when Redis hangs or is gone, nobody else notices; a relay that died may come back.
        """
        password = Path(self.mktemp()).absolute()
        password.write_text("sesame\n")
        redis = RedisServer(Path(self.mktemp()), "--requirepass", "sesame")
        redis.start()
        self.addCleanup(redis.stop)
        first, second = self.relays(
            f'presence = "redis://{HOST}:{redis.port}/1"', f'presence_password_file = "{password}"'
        )
        here, there = first.relay, second.relay
        services = NamedServices({"echo": Factory.forProtocol(Echo)})
        agent = Relays(
            reactor,
            self.server,
            partial(relay_endpoint, reactor),
            ServerSessionFactory(self.server, services, reactor),
            lambda: None,
            own=(here,),
            wall_clock=time.time,
            chance=lambda: 0.0,
        )
        self.addCleanup(agent.stop)

        async def wrong(relay: RelayProcess) -> list[str]:
            """What a relay says that is wrong with it."""
            page: bytes = await getProcessOutput("curl", ["-s", relay.health])
            found: list[str] = json.loads(page)["wrong"]
            return found

        async def alone(what: str) -> None:
            """Without Redis: the own server is served at once, others are not here."""
            began = reactor.seconds()
            self.assertEqual(await self.echo(here), here)
            self.note(f"through the server's relay, {what}", began, 2.0)
            began = reactor.seconds()
            self.assertEqual((await self.answer(there)).status, 404)
            self.note(f"404 from the other relay, {what}", began, 1.5)
            with self.assertRaises(ConnectFailed):
                await self.echo(there)

        async def test() -> None:
            await gatherResults([Deferred.fromCoroutine(each.ready()) for each in (first, second)])
            self.assertEqual((await self.answer(there)).status, 404)
            agent.start()
            await until(lambda: agent.parkings[here].idle == MIN_IDLE)
            await self.becomes(there, 307, here)
            began = reactor.seconds()
            self.assertEqual(await self.echo(there), here)
            self.note("by a redirect", began, 2.0)

            self.assertEqual([await wrong(each) for each in (first, second)], [[], []])

            redis.stop()
            await alone("Redis gone")
            for each in (first, second):
                self.assertIn("presence cannot be reached", "".join(await wrong(each)))
            redis.start()
            began = reactor.seconds()
            await self.becomes(there, 307, here)
            self.assertEqual([await wrong(each) for each in (first, second)], [[], []])
            self.note("redirects again after an empty Redis has started", began, 8.0)

            redis.freeze(True)
            await alone("Redis hanging")
            redis.freeze(False)
            await self.becomes(there, 307, here)

            first.kill()
            agent.stop()
            first.start()
            await first.ready()
            began = reactor.seconds()
            # What it told before it died is not believed any more.
            await self.becomes(there, 404)
            self.note("what a killed relay said forgotten", began, 2.0)
            agent.start()
            await self.becomes(there, 307, here)
            self.note("redirects after the relay's restart", began, 15.0)
            for each in (first, second):
                self.assertNotIn("Traceback", each.log)
                self.assertNotIn("sesame", each.log)
                self.assertLess(each.log.count("clients are sent to no other relay"), 8)

        return Deferred.fromCoroutine(test())


class KilledTests(TwoRelaysCase):
    """A mediator that names two relays, and a server that has parked at both."""

    def test_killed(self) -> Deferred[None]:
        """Killing one ends what goes through it, and nothing else; a new connect takes the other one
        within 2 s, and the server is back when the relay is.
        """
        first, second = self.relays()
        here, there = first.relay, second.relay
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        port = free_port()
        mediator = TwistProcess(
            "wavesync-mediator",
            directory / "mediator",
            f'name = "{HOST}"\nlisten = ["{HOST}:{port}"]\nrelays = ["{here}", "{there}"]\n'
            '[metrics]\nlisten = ""\n',
        )
        self.system = SystemCredentials.create((f"{HOST}:{port}",))
        self.server = self.system.add_server(now=time.time())
        self.client = self.system.add_client("alice", now=time.time())
        servers = [
            reactor.listenTCP(0, Factory.forProtocol(each), interface=HOST)
            for each in (Shout, Ticks)
        ]
        for each in servers:
            self.addCleanup(each.stopListening)
        shout, ticks = (each.getHost().port for each in servers)
        agent = TwistProcess(
            "wavesync-agent",
            directory / "agent",
            f'credentials = "{save(self.server, directory, "server.pem")}"\n'
            "allow_loopback = true\n"
            f'[services]\nshout = "tcp:{HOST}:{shout}"\nticks = "tcp:{HOST}:{ticks}"\n'
            '[metrics]\nlisten = ""\n',
        )
        for process in (mediator, agent):
            process.start()
            self.addCleanup(process.kill)
        client = save(self.client, directory, "client.pem")
        options = ["--credentials", client, "--allow-loopback", "--paths", "relay"]

        async def connect(what: str) -> str:
            """Run ``wavesync connect``; give the address of the relay that it took."""
            report = directory / "report.json"
            report.unlink(missing_ok=True)
            target = str(self.server.target)
            began = reactor.seconds()
            command = Command(
                "connect", *options, "--report", str(report), target, "shout", stdin=b"hello"
            )
            status, output, complaints = await command.ended
            self.assertEqual((status, output), (0, b"HELLO"), complaints)
            told: dict[str, Any] = json.loads(report.read_text())
            first_byte = told["ms"]["first_byte"]
            took = reactor.seconds() - began
            self.notes.append(
                f"wavesync connect, {what}: {first_byte:.0f} ms to the first byte; {took:.2f} s with"
                " the start of the process"
            )
            self.assertLess(first_byte, 2000, told)
            return next(str(e["address"]) for e in told["candidates"] if e["result"] == "won")

        async def test() -> None:
            await gatherResults([Deferred.fromCoroutine(each.ready()) for each in (first, second)])
            for relay in (here, there):
                await self.becomes(relay, 101)
            taken = await connect("both relays there")
            # The one that was taken is what the client will try first.
            dead, alive = (first, second) if here.authority == taken else (second, first)
            self.assertEqual(dead.relay.authority, taken)
            broken, whole = Stream(), Stream()
            for relay, stream in ((dead.relay, broken), (alive.relay, whole)):
                path = await self.come(relay, stream, "ticks")
                self.assertEqual(path.relay, relay)
            await until(lambda: broken.count and whole.count)
            dead.kill()
            began = reactor.seconds()
            await until(lambda: broken.lost)
            self.note("the end of a stream over the relay that was killed", began, 5.0)
            self.assertEqual(await connect("that relay killed"), alive.relay.authority)
            count = whole.count
            await until(lambda: whole.count > count)
            dead.start()
            await dead.ready()
            began = reactor.seconds()
            await self.becomes(dead.relay, 101)
            # The agent's pause grows for as long as the relay needed to start.
            self.note("the server back at the relay", began, ParkingWaits.LONGEST + 9.0)
            self.assertFalse(whole.lost)

        return Deferred.fromCoroutine(test())
