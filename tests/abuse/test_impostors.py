"""Wrong keys, other systems, expired and odd certificates, by TLS made by hand."""

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import Deferred, gatherResults

from tests.abuse.impostor import Impostor
from tests.abuse.world import HOST, AbuseCase
from wavesync.identity.system import SystemCredentials
from wavesync.session.frames import FrameDecoder, Open, Opened, encode

_AT_ONCE = 20
_DAY = 86400.0


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

    async def check(self, make: Callable[[], Impostor], alerts: set[int]) -> None:
        """Knock a thousand times while a good client connects."""

        async def storm(number: int) -> None:
            await self.under_fire(self.knock(make, alerts, number))

        await self.measured(storm)

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

    def test_wrong_key(self) -> Deferred[None]:
        """A stolen certificate without its key is worth nothing."""
        wrong = Ed25519PrivateKey.generate()
        certificate = self.client.certificate_der
        return Deferred.fromCoroutine(
            self.check(lambda: Impostor(certificate, wrong, encode(Open("echo"))), {51})
        )

    def test_other_system(self) -> Deferred[None]:
        """A good client of another system is refused."""
        other = SystemCredentials.create((HOST,)).add_client("eve", now=self.reactor.seconds())
        return Deferred.fromCoroutine(
            self.check(
                lambda: Impostor(other.certificate_der, other.private_key, encode(Open("echo"))),
                {42, 48, 51},
            )
        )

    def test_expired(self) -> Deferred[None]:
        """A client whose certificate has expired is refused."""
        past = self.reactor.seconds() - 30 * _DAY
        old = self.system.add_client("old", now=past, days=1)
        return Deferred.fromCoroutine(
            self.check(
                lambda: Impostor(old.certificate_der, old.private_key, encode(Open("echo"))),
                {42, 45, 46},
            )
        )

    def test_server_as_client(self) -> Deferred[None]:
        """A server's certificate does not make a client."""
        server = self.system.add_server(now=self.reactor.seconds())
        return Deferred.fromCoroutine(
            self.check(
                lambda: Impostor(server.certificate_der, server.private_key, encode(Open("echo"))),
                {42, 43, 46},
            )
        )

    def test_mutated_certificates(self) -> Deferred[None]:
        """A certificate with some bits changed is refused, whatever becomes of it."""
        good = self.client.certificate_der
        key = self.client.private_key

        def make() -> Impostor:
            certificate = bytearray(good)
            for bit in self.random.sample(range(8 * len(good)), self.random.randint(1, 3)):
                certificate[bit // 8] ^= 1 << bit % 8
            return Impostor(bytes(certificate), key, encode(Open("echo")))

        return Deferred.fromCoroutine(self.check(make, set(range(256))))
