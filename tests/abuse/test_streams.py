"""Garbage, endless, oversize and silent TCP connections to mediator and agent."""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.abuse.garbage import noise
from tests.abuse.strangers import host_of
from tests.abuse.world import MANY, AbuseCase, Storm
from wavesync.interfaces import Address
from wavesync.mediator.leg import IDLE_LIFE
from wavesync.session.server import MAX_PENDING
from wavesync.session.shell import HANDSHAKE_WITHIN
from wavesync.signalling.numbers import MAX_STREAM_MESSAGE
from wavesync.stun.message import BINDING, Message, MessageClass, encode

_CALLS = 500
"""Connections of each kind."""

_AT_ONCE = 50
_CROWD = 125
_BACKLOG = 20

_BINDING = encode(Message(BINDING, MessageClass.REQUEST, bytes(12)))


class Caller(Protocol):
    """Connects, says something, and waits for the end.

    :param words: what it says.
    :ivar received: bytes that came back.
    :ivar over: fires when the connection is closed.
    """

    transport: Any

    def __init__(self, words: bytes) -> None:
        self.received = 0
        self.over: Deferred[None] = Deferred()
        self._words = words

    def connectionMade(self) -> None:
        """Say it."""
        self.transport.write(self._words)

    def dataReceived(self, data: bytes) -> None:
        """Count."""
        self.received += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        self.over.callback(None)


class StreamCase(AbuseCase):
    """Has ways to make many connections."""

    async def dial_all(self, callers: Sequence[Caller], to: Address, host: str = "") -> None:
        """Connect all, no more at a time than a listening socket keeps waiting.

        :param host: where all of them are; each at another address if not said.
        """
        for number, caller in enumerate(callers):
            self.dial(caller, to, host)
            if number % _BACKLOG == 0:
                await self.reactor.turns(4)
        await self.reactor.turns(4)

    async def call(
        self, words: Callable[[], bytes], to: Address, number: int, *, wait: float = 0.0
    ) -> None:
        """Make *number* connections that the other side has to close.

        :param wait: time that has to pass until it does.
        """
        at_once = _CROWD if wait else _AT_ONCE
        while number > 0:
            callers = [Caller(words()) for _ in range(min(at_once, number))]
            number -= len(callers)
            await self.dial_all(callers, to)
            over = gatherResults([caller.over for caller in callers])
            if wait:
                await self.reactor.pause(0.1)
                self.assertFalse(over.called)
                await self.reactor.skip(wait)
            for _ in range(100):
                # Whoever was accepted late, too.
                if wait and not over.called:
                    await self.reactor.skip(1)
            await over

    def calling(
        self, words: Callable[[], bytes], to: Callable[[], Address], *, wait: float = 0.0
    ) -> Storm:
        """Such connections as a storm."""
        return lambda number: self.call(words, to(), number, wait=wait)


class MediatorStreamTests(StreamCase):
    """Nothing that is sent to a mediator's TCP port hurts anybody."""

    def test_storms(self) -> Deferred[None]:
        """What is no STUN is closed at once, what never ends after a while; clients connect."""

        def to() -> Address:
            return self.mediator_address

        http = b"GET / HTTP/1.1\r\nHost: mediator\r\n\r\n"
        # A header that announces more than is taken, and a message that never ends.
        size = (MAX_STREAM_MESSAGE + 4).to_bytes(2, "big")
        oversize = b"\x00\x56" + size + b"\x21\x12\xa4\x42"
        endless = b"\x00\x56\x0f\x00\x21\x12\xa4\x42" + bytes(1000)
        storms = {
            "garbage": self.calling(lambda: b"\xff" + noise(self.random), to),
            "http": self.calling(lambda: http, to),
            "oversize": self.calling(lambda: oversize, to),
            "endless": self.calling(lambda: endless, to, wait=IDLE_LIFE),
            "silent": self.calling(lambda: b"", to, wait=IDLE_LIFE),
        }
        return Deferred.fromCoroutine(self.measured(storms, count=_CALLS))

    def test_too_much(self) -> Deferred[None]:
        """Whoever asks too much is closed, too."""
        words = _BINDING * 250

        async def storm(number: int) -> None:
            for _ in range(number // 20):
                await self.call(lambda: words, self.mediator_address, 20)
                await self.reactor.skip(10)

        return Deferred.fromCoroutine(self.measured({"too much": storm}, count=40))

    def test_too_many(self) -> Deferred[None]:
        """One host has so many connections and no more; others are served meanwhile."""

        async def check() -> None:
            limit = self.limits.legs_per_host
            callers = [Caller(b"") for _ in range(limit + 100)]
            await self.dial_all(callers, self.mediator_address, host_of(0))
            await self.reactor.pause(0.1)
            self.assertEqual(sum(caller.over.called for caller in callers), 100)
            await self.good_connect()
            for caller in callers:
                caller.transport.abortConnection()
            await gatherResults([caller.over for caller in callers])
            await self.reactor.pause(0.05)
            self.assertEqual(len(self.mediator.legs), 1)

        return Deferred.fromCoroutine(check())


class AgentStreamTests(StreamCase):
    """Nothing that is sent to an agent's TCP port hurts anybody."""

    def test_storms(self) -> Deferred[None]:
        """What is no TLS is closed at once, what never ends after a while; clients connect."""

        def to() -> Address:
            return self.agent_tcp

        http = b"GET / HTTP/1.1\r\nHost: agent\r\n\r\n"
        # A record that is longer than one may be, and a ClientHello that never ends.
        oversize = b"\x16\x03\x01\xff\xff" + bytes(100)
        endless = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03" + bytes(1000)
        storms = {
            "garbage": self.calling(lambda: b"\xff" + noise(self.random) + bytes(5), to),
            "http": self.calling(lambda: http, to),
            "oversize": self.calling(lambda: oversize, to),
            "endless": self.calling(lambda: endless, to, wait=HANDSHAKE_WITHIN),
            "silent": self.calling(lambda: b"", to, wait=HANDSHAKE_WITHIN),
        }
        return Deferred.fromCoroutine(self.measured(storms, count=_CALLS))

    def test_too_many(self) -> Deferred[None]:
        """However many silent connections there are, a client gets in."""

        async def check() -> None:
            callers = [Caller(b"") for _ in range(MANY)]
            await self.dial_all(callers, self.agent_tcp)
            await self.reactor.pause(0.1)
            self.assertEqual(len(self.agent._sessions.pending), MAX_PENDING)
            for path in ("tcp", "udp"):
                await self.good_connect([path])
            for caller in callers:
                caller.transport.abortConnection()
            await gatherResults([caller.over for caller in callers])
            await self.reactor.pause(0.05)
            self.assertEqual(len(self.agent._sessions.pending), 0)

        return Deferred.fromCoroutine(check())
