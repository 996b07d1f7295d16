"""A client whose mediator, and whose peer in a TCP connection that both open, are hostile."""

from collections.abc import Callable
from socket import socket
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import DatagramProtocol, Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from tests.abuse.garbage import flipped_stun, noise
from tests.abuse.strangers import EchoCheck, host_of
from tests.abuse.world import HOST, AbuseCase, Storm, reactor
from tests.tcp.support import free_port
from wavesync.client.asking import MAX_CHALLENGES
from wavesync.client.stream_asking import Together
from wavesync.client.stream_opening import OpenedPath
from wavesync.errors import ConnectFailed, WavesyncError
from wavesync.interfaces import Address
from wavesync.session.client import ClientSession, connect_session
from wavesync.signalling.messages import ConnectAnswer, ConnectionUpdate, Refusal
from wavesync.signalling.numbers import MAX_STREAM_MESSAGE, ErrorCode
from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import Message
from wavesync.tcp.accepting import Listeners
from wavesync.tcp.adopting import adopt
from wavesync.tcp.opening import Opening

_COUNT = 20
"""How often each is met: half of it before the first measure."""

_PATIENCE = 4.0
"""Seconds after which a client has given each of them up."""

_OVERSIZE = b"\x00\x56" + (MAX_STREAM_MESSAGE + 4).to_bytes(2, "big") + b"\x21\x12\xa4\x42"
_ENDLESS = b"\x00\x56\x0f\x00\x21\x12\xa4\x42" + bytes(1000)
_HELLO = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + bytes(60)
"""How a ServerHello begins; the end never comes."""

Reply = Callable[[Message], bytes]


class Hostile(Protocol):
    """Says something at once, and something to each request; or hangs up.

    :param words: what it says.
    :param reply: gives what it says to a request.
    :param leaves: it hangs up right after its words.
    :param live: has all that are connected.
    """

    transport: Any

    def __init__(
        self, words: bytes, reply: Reply | None, *, leaves: bool, live: "set[Hostile]"
    ) -> None:
        self._words = words
        self._reply = reply
        self._leaves = leaves
        self._live = live
        self._decoder = StreamDecoder()

    def connectionMade(self) -> None:
        """Say it."""
        self._live.add(self)
        self.transport.write(self._words)
        if self._leaves:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Reply."""
        if self._reply is not None:
            for message in self._decoder.feed(data):
                self.transport.write(self._reply(message))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Be gone."""
        self._live.discard(self)


class HostilePort(DatagramProtocol):
    """Replies to each datagram with some.

    :param reply: gives what it says.
    """

    noisy = False

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Reply twice."""
        (request,) = StreamDecoder().feed(datagram)
        assert self.transport is not None
        for _ in range(2):
            self.transport.write(self._reply(request), addr)


class HostileCase(AbuseCase):
    """Has hostile listeners.

    :ivar live: those who are connected.
    """

    def setUp(self) -> "Deferred[None]":  # type: ignore[override]
        """Nobody is."""
        self.live: set[Hostile] = set()
        return super().setUp()

    async def nobody_left(self) -> None:
        """See that everybody hostile was hung up on, without that time passes."""
        for _ in range(100):
            if not self.live:
                break
            await self.reactor.pause(0.01)
        self.assertEqual(self.live, set())

    def listen(
        self, words: Callable[[], bytes], reply: Reply | None = None, *, leaves: bool = False
    ) -> Address:
        """Listen with somebody hostile."""
        factory = ServerFactory.forProtocol(
            lambda: Hostile(words(), reply, leaves=leaves, live=self.live)
        )
        factory.noisy = False
        listening = reactor.listenTCP(0, factory, interface=HOST)
        self.addCleanup(listening.stopListening)
        return HOST, listening.getHost().port

    async def end_of(self, attempt: "Deferred[Any]") -> list[BaseException]:
        """Wait until an attempt fails, in a hurry.

        :returns: why it did.
        """
        why: list[BaseException] = []
        attempt.addCallbacks(lambda _: None, lambda failure: why.append(failure.value))
        for _ in range(20):
            if attempt.called and why:
                return why
            await self.reactor.turns()
        await self.reactor.skip(_PATIENCE)
        return why


class HostileMediatorTests(HostileCase):
    """Whatever a mediator says, a client ends with a sentence, or by another mediator."""

    def setUp(self) -> "Deferred[None]":  # type: ignore[override]
        """Nobody has been challenged yet."""
        self.challenged: set[bytes] = set()
        return super().setUp()

    def answer(self, request: Message) -> bytes:
        """A good answer to ``connect``."""
        return ConnectAnswer(
            self.random.randbytes(16).hex(),
            self.server.target,
            b"",
            (("198.51.100.7", 4000),),
            7,
            0.0,
            ("203.0.113.1", 1),
        ).encode(request.transaction_id)

    def changed(self, request: Message) -> bytes:
        """An answer, or a refusal, with a few bits changed, its FINGERPRINT right again."""
        refusal = self.challenge(request)
        return flipped_stun(self.random, [self.answer(request), refusal])

    def challenge(self, request: Message) -> bytes:
        """Ask for another signature."""
        self.challenged.add(request.transaction_id)
        refusal = Refusal(
            ErrorCode.STALE_NONCE, "", self.random.randbytes(24), HOST, self.reactor.seconds()
        )
        return refusal.encode(request.method, request.transaction_id)

    def updates(self) -> bytes:
        """Indications that nobody has asked for."""
        update = ConnectionUpdate(self.random.randbytes(16).hex(), 1, (("198.51.100.7", 4000),))
        return b"".join(update.encode(self.random.randbytes(12)) for _ in range(100))

    def asking(self, url: str) -> Storm:
        """Ask that mediator alone, and be told why there is no introduction."""

        async def storm(number: int) -> None:
            connector = self.connector(paths=["tcp"], mediators=[url])
            if url.startswith("udp"):
                connector = self.connector(mediators=[url])
            for _ in range(number):
                self.challenged.clear()
                check = EchoCheck()
                why = await self.end_of(connector.connect(self.server.target, "echo", check))
                self.assertEqual([isinstance(each, WavesyncError) for each in why], [True], why)
                self.assertLessEqual(len(self.challenged), MAX_CHALLENGES + 1)
            self.assertEqual(connector._introducer._running, {})
            await self.nobody_left()
            await connector.close()

        return storm

    def urls(self) -> dict[str, str]:
        """One mediator of each kind."""
        streams = {
            "garbage": self.listen(lambda: b"\xff" + noise(self.random)),
            "oversize": self.listen(lambda: _OVERSIZE),
            "endless": self.listen(lambda: _ENDLESS),
            "silent": self.listen(bytes),
            "leaving": self.listen(bytes, leaves=True),
            "changed": self.listen(bytes, self.changed),
            "asking for signatures": self.listen(bytes, self.challenge),
            "talkative": self.listen(self.updates, self.changed),
        }
        urls = {name: f"tcp://{HOST}:{port}" for name, (_, port) in streams.items()}
        for name, reply in (("changed", self.changed), ("asking", self.challenge)):
            port = reactor.listenUDP(0, HostilePort(reply), interface=HOST)
            self.addCleanup(port.stopListening)
            urls[f"{name} over UDP"] = f"udp://{HOST}:{port.getHost().port}"
        return urls

    def test_storms(self) -> Deferred[None]:
        """Nothing of it stays; with a good mediator behind a hostile one, clients connect."""

        async def check() -> None:
            urls = self.urls()
            storms = {name: self.asking(url) for name, url in urls.items()}
            await self.measured(storms, count=_COUNT)
            for name, url in urls.items():
                connector = self.connector(mediators=[url, self.url])
                echoed = EchoCheck()
                connecting = connector.connect(self.server.target, "echo", echoed)
                for _ in range(200):
                    if echoed.over.called:
                        break
                    await self.reactor.turns(5)
                    await self.reactor.skip(0.02)
                self.assertTrue(echoed.over.called, name)
                await connecting
                await connector.close()

        return Deferred.fromCoroutine(check())


class HostilePeerTests(HostileCase):
    """Whoever is met where the server should be, a client finds out, and the server gets in."""

    def path(self, own: Address, remote: Address) -> OpenedPath:
        """The client's end of a connection that both ends open."""

        def sessions() -> Any:
            return connect_session(
                self.client, self.server.target, self.reactor, wall_clock=self.reactor.seconds
            )

        return OpenedPath(self.reactor, Together(own, remote, 0.0), sessions, timeout=2.0)

    def meeting(self, remote: Address) -> Storm:
        """Open together with that peer, and fail."""

        async def storm(number: int) -> None:
            for _ in range(number):
                attempt = self.path(free_port(), remote).open()
                why = await self.end_of(attempt)
                if not why:
                    attempt.cancel()  # as a race does when its time is over
                for each in why:
                    self.assertIsInstance(each, WavesyncError | CancelledError)
            await self.nobody_left()

        return storm

    def test_storms(self) -> Deferred[None]:
        """Garbage, TLS that stops in the middle, silence, hanging up, a closed port: nothing stays."""
        storms = {
            "garbage": self.meeting(self.listen(lambda: b"\xff" + noise(self.random))),
            "truncated": self.meeting(self.listen(lambda: _HELLO)),
            "truncated and gone": self.meeting(self.listen(lambda: _HELLO, leaves=True)),
            "silent": self.meeting(self.listen(bytes)),
            "gone": self.meeting(self.listen(bytes, leaves=True)),
            "closed": self.meeting(free_port()),
        }

        async def check() -> None:
            await self.measured(storms, count=_COUNT)
            session: ClientSession = await self.path(free_port(), self.agent_tcp).open()
            session.close()
            await self.reactor.pause(0.02)

        return Deferred.fromCoroutine(check())

    def test_strangers_at_the_port(self) -> Deferred[None]:
        """Strangers who connect to the port while both ends open are sent away by the client, and to
        the agent are what they are at its own port; the two still meet."""

        async def check() -> None:
            own, theirs = free_port(), free_port()
            sessions = self.agent._sessions

            def adopted(made: socket) -> None:
                adopt(self.reactor, made, sessions)

            listeners = Listeners(self.reactor, adopted)
            opening = Opening(
                self.reactor, theirs, own, sessions, timeout=3.0, delay=2.0, listeners=listeners
            )
            waiting = self.path(own, free_port()).open()  # the client's, towards nobody
            waiting.addErrback(lambda failure: failure.trap(ConnectFailed, CancelledError))
            crowd: list[Hostile] = []
            for number in range(100):
                stranger = Hostile(noise(self.random), None, leaves=number % 2 == 0, live=self.live)
                crowd.append(stranger)
                self.dial(stranger, (own, theirs)[number % 2], host_of(number))
                await self.reactor.turns(2)
            await self.reactor.pause(0.05)
            waiting.cancel()
            session: ClientSession = await self.path(own, theirs).open()
            await opening.connected
            session.close()
            for stranger in crowd:
                if stranger.transport is not None:
                    stranger.transport.abortConnection()
            await self.reactor.pause(0.05)
            await self.reactor.skip(30)
            self.assertEqual(len(listeners), 0)
            self.assertEqual(len(sessions.pending), 0)
            self.assertEqual(self.flushLoggedErrors(), [])

        return Deferred.fromCoroutine(check())
