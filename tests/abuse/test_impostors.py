"""Wrong keys, other systems, expired and odd certificates, by TLS made by hand."""

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import Deferred, gatherResults

from tests.abuse.impostor import Impostor
from tests.abuse.world import HOST, AbuseCase, Storm
from wavesync.identity.credentials import Credentials
from wavesync.identity.system import SystemCredentials
from wavesync.session.frames import FrameDecoder, Open, Opened, encode

_AT_ONCE = 20
_DAY = 86400.0

_KNOCKS = 1000
"""Connections of each kind: each takes a millisecond or two of both ends' signatures."""


class ImpostorTests(AbuseCase):
    """An agent serves nobody who cannot show a valid certificate of its system and sign with it."""

    async def knock(self, make: Callable[[], Impostor], alerts: set[int], number: int) -> None:
        """Connect over TCP, several at a time; nothing is served, and an alert says why."""
        for _ in range(0, number, _AT_ONCE):
            now = [make() for _ in range(_AT_ONCE)]
            for each in now:
                self.dial(each, self.agent_tcp)
            await gatherResults([each.over for each in now])
            for each in now:
                self.assertEqual(each.received, b"")
                self.assertIn(each.alert, alerts)

    def knocking(self, make: Callable[[], Impostor], alerts: set[int]) -> Storm:
        """Such connections as a storm."""
        return lambda number: self.knock(make, alerts, number)

    def test_control(self) -> Deferred[None]:
        """The hand-made client is served when its key is right: it is a good client."""

        async def check() -> None:
            impostor = Impostor(
                self.client.certificate_der, self.client.private_key, encode(Open("echo"))
            )
            self.dial(impostor, self.agent_tcp)
            while not impostor.received:
                await self.reactor.turns()
            (frame,) = FrameDecoder().feed(impostor.received)
            self.assertIsInstance(frame, Opened)
            impostor.transport.abortConnection()
            await impostor.over
            await self.reactor.pause(0.02)

        return Deferred.fromCoroutine(check())

    def test_storms(self) -> Deferred[None]:
        """A stolen certificate without its key, another system's, an expired one, a server's,
        one with bits changed."""
        now = self.reactor.seconds()
        good = self.client
        wrong = Ed25519PrivateKey.generate()
        other = SystemCredentials.create((HOST,)).add_client("eve", now=now)
        old = self.system.add_client("old", now=now - 30 * _DAY, days=1)
        server = self.system.add_server(now=now)
        words = encode(Open("echo"))

        def showing(who: Credentials) -> Callable[[], Impostor]:
            return lambda: Impostor(who.certificate_der, who.private_key, words)

        def changed() -> Impostor:
            certificate = bytearray(good.certificate_der)
            for bit in self.random.sample(range(8 * len(certificate)), self.random.randint(1, 3)):
                certificate[bit // 8] ^= 1 << bit % 8
            return Impostor(bytes(certificate), good.private_key, words)

        storms = {
            "wrong key": self.knocking(lambda: Impostor(good.certificate_der, wrong, words), {51}),
            "other system": self.knocking(showing(other), {42, 48, 51}),
            "expired": self.knocking(showing(old), {42, 45, 46}),
            "server as client": self.knocking(showing(server), {42, 43, 46, 48}),
            "changed": self.knocking(changed, set(range(256))),
        }
        return Deferred.fromCoroutine(self.measured(storms, count=_KNOCKS))
