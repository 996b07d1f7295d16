"""An agent at a relay that lies: bounded handshakes, and nobody who comes directly notices."""

import gc
import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.abuse.memory import memory
from tests.abuse.world import HOST, AbuseCase, reactor
from wavesync.agent.parking import DIALS_A_SECOND, DIALS_AT_ONCE, MIN_IDLE, Parking
from wavesync.session.crowd import RELAYED_SHARE
from wavesync.signalling.relay_answers import Challenge, RelayAnswer
from wavesync.signalling.relay_answers import Parking as Wanted
from wavesync.signalling.relay_lines import Idle, Move, Open, Ping
from wavesync.signalling.relay_urls import Relay

SECONDS = 1.5
"""For how long clients come who are none, each of two times."""

LIES_FOR = 8.0
"""Seconds, of a clock that is hurried, for which each lie is told."""

_PARKED = RelayAnswer(101, parking=Wanted(7, 0, 600.0, 0)).encode()
_WANTED = RelayAnswer(101, parking=Wanted(65535, 65535, 0.001, 2**62)).encode()
_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300)
_MAX_GROWN = 6 << 20
"""Bytes: the second half has more connections at one time than the first may have had."""


class Liar(Protocol):
    """One connection: it takes the request, and says what its relay wants said."""

    transport: Any

    def __init__(self, relay: "LyingRelay") -> None:
        self.relay = relay
        self.heard = b""

    def connectionMade(self) -> None:
        """Count."""
        self.relay.legs[self] = None
        self.relay.dials += 1

    def dataReceived(self, data: bytes) -> None:
        """The request, then whatever."""
        was, self.heard = self.heard, (self.heard + data)[:4096]
        if b"\r\n\r\n" in self.heard and b"\r\n\r\n" not in was:
            self.relay.asked += 1
            for piece in self.relay.words():
                self.transport.write(piece)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Count."""
        self.relay.legs.pop(self, None)


class LyingRelay(Factory):
    """What a server believes to be a relay.

    :ivar says: what it says to each request; nothing but that it has parked when None.
    :ivar dials: connections made to it.
    :ivar asked: requests that came.
    """

    noisy = False

    def __init__(self) -> None:
        self.says: Any = None
        self.dials = self.asked = 0
        self.legs: dict[Liar, None] = {}

    def buildProtocol(self, addr: object) -> Liar:
        """One more."""
        return Liar(self)

    def words(self) -> list[bytes]:
        """What to say."""
        return [_PARKED] if self.says is None else self.says(self.asked)

    def lose(self) -> None:
        """End everything."""
        for leg in list(self.legs):
            leg.transport.abortConnection()


def _client(number: int) -> bytes:
    """Somebody comes: each time from somewhere else."""
    where = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return Open(f"{number:032x}", "alice", (where, 1024)).encode()


class LyingRelayTests(AbuseCase):
    """A real agent, whose only relay lies."""

    seconds = SECONDS

    async def start(self) -> None:
        """Start the relay first."""
        self.relay = LyingRelay()
        listening = reactor.listenTCP(0, self.relay, backlog=1000, interface=HOST)
        self.addCleanup(listening.stopListening)
        self.relays = (f"{HOST}:{listening.getHost().port}",)
        await super().start()
        await self.parked()

    async def parked(self) -> None:
        """Wait until the agent has parked, and has nothing else there."""
        for _ in range(300):
            legs = len(self.relay.legs)
            if legs == MIN_IDLE and all(parking.idle == legs for parking in self.parkings()):
                return
            if legs > MIN_IDLE:
                self.relay.lose()  # no relay wants so many: it closes some
            await self.reactor.skip(1.0)
            await self.reactor.pause(0.01)
        raise AssertionError("the agent does not park")

    def parkings(self) -> list[Parking]:
        """What the agent has at relays."""
        return list(self.agent.relays.parkings.values())

    async def calm(self) -> tuple[int, int]:
        """The relay is good again: when all is over, count open files and memory."""
        self.relay.says = None
        self.relay.lose()
        await self.reactor.skip(90.0, step=1.0)
        await self.parked()
        self.assertEqual(len(self.agent._sessions.pending), 0)
        await self.reactor.pause(0.05)
        gc.collect()
        return len(os.listdir("/proc/self/fd")), memory()

    def test_clients(self) -> Deferred[None]:
        """Clients come as fast as connections are there, from addresses that are made up: so many
        are heard, no more; those who come directly are served at once."""

        async def check() -> None:
            sessions = self.agent._sessions
            found = []
            for _ in range(2):
                begun, dials = reactor.seconds(), self.relay.dials
                self.relay.says = lambda number: [
                    _PARKED,
                    _client(number),
                    _HELLO if number % 2 else b"GET / HTTP/1.1\r\n",
                ]
                for number, leg in enumerate(list(self.relay.legs)):
                    leg.transport.write(_client(number) + _HELLO)
                most, slowest = 0, 0.0
                # On a busy machine it takes longer until there were enough.
                while reactor.seconds() < begun + self.seconds or self.relay.dials < dials + 100:
                    before = reactor.seconds()
                    await self.good_connect(("tcp", "udp"))
                    slowest = max(slowest, reactor.seconds() - before)
                    relayed = [each for each in sessions.pending if each.path_kind == "relay"]
                    most = max(most, len(relayed))
                    await self.reactor.pause(0.02)
                took = reactor.seconds() - begun
                dialled = self.relay.dials - dials
                self.log.info(
                    "{dialled} connections in {took:.1f} s; {most} clients pending; the slowest"
                    " good client took {slowest:.2f} s",
                    dialled=dialled,
                    took=took,
                    most=most,
                    slowest=slowest,
                )
                self.assertLessEqual(dialled, DIALS_AT_ONCE + DIALS_A_SECOND * (took + 1) + 7)
                self.assertLessEqual(most, sessions.max_pending * RELAYED_SHARE)
                found.append(await self.calm())
            (files, before_), (still, after) = found
            self.assertEqual(still, files)
            self.assertLess(after - before_, _MAX_GROWN)
            said = [line for line in self.lines.lines if "relay" in line]
            self.assertLess(len(said), 20, said)
            self.assertEqual(self.flushLoggedErrors(), [])

        return Deferred.fromCoroutine(check())

    def test_words(self) -> Deferred[None]:
        """Whatever else it says: the agent asks again now and then, and is as good as before."""
        mine = Relay(HOST, 1, False)
        lies: dict[str, Any] = {
            "garbage": lambda n: [b"SSH-2.0-x\r\n\r\n"],
            "endless": lambda n: [b"HTTP/1.1 101 A\r\nX: " + b"x" * 70_000] * 10,
            "interim": lambda n: [b"HTTP/1.1 100 C\r\n\r\n" * 1000],
            "nothing": lambda n: [],
            "parked, then garbage": lambda n: [_PARKED, b"\0" * 300],
            "pings": lambda n: [_PARKED, Ping().encode() * 200_000],
            "wants": lambda n: [_WANTED, Idle(65535, 65535).encode() * 5000],
            "moves": lambda n: [_PARKED, Move().encode() * 500],
            "sign again": lambda n: [
                RelayAnswer(401, challenge=Challenge(os.urandom(24), 1.0, HOST)).encode()
            ],
            "sign for another": lambda n: [
                RelayAnswer(401, challenge=Challenge(b"n" * 24, 1.0, "bank.example")).encode()
            ],
            "elsewhere": lambda n: [RelayAnswer(307, location=mine).encode()],
            "refused": lambda n: [RelayAnswer(403, reason="revoked").encode()],
            "enough": lambda n: [RelayAnswer(409).encode()],
            "later": lambda n: [RelayAnswer(503, retry_after=0.0).encode()],
            "client with garbage": lambda n: [_PARKED + b"OPEN " + b"\xff" * 300],
        }

        async def check() -> None:
            counts = {}
            for name, says in lies.items():
                said, dials = len(self.lines.lines), self.relay.dials
                self.relay.says = says
                self.relay.lose()
                await self.reactor.skip(LIES_FOR, step=0.25)
                for _ in range(50):
                    if self.relay.dials > dials:
                        break
                    await self.reactor.skip(0.5)
                    await self.reactor.pause(0.01)
                counts[name] = self.relay.dials - dials
                self.assertGreater(counts[name], 0, name)
                self.assertLess(counts[name], DIALS_AT_ONCE + LIES_FOR * DIALS_A_SECOND, name)
                told = self.lines.lines[said:]
                self.assertLess(len(told), 12, (name, told))
                self.assertLess(max(map(len, told), default=0), 400, name)
                self.relay.says = None
                self.relay.lose()
                refused = name in ("refused", "sign for another")
                await self.reactor.skip(200.0 if refused else 15.0, step=1.0)
                await self.parked()
            self.log.info("connections made: {counts}", counts=counts)
            await self.good_connect(("tcp", "udp"))
            self.assertEqual(self.flushLoggedErrors(), [])

        return Deferred.fromCoroutine(check())
