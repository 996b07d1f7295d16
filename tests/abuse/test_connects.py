"""Clients that are refused: wrong keys, other systems, expired, unknown services, no mediator."""

import dataclasses
import os
import socket
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from tests.abuse.world import HOST, AbuseCase, Stranger
from wavesync.client.connector import Connector
from wavesync.errors import ConnectFailed, NotAllowed, WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.system import SystemCredentials
from wavesync.mediator.settings import Limits
from wavesync.session.errors import Refused
from wavesync.signalling.messages import Connect, Prover, Refusal
from wavesync.stun.message import MessageClass, decode

_AT_ONCE = 10
_DAY = 86400.0


class RefusedTests(AbuseCase):
    """Whoever cannot be served is told why in one sentence, and nothing of it stays."""

    # The tests' clients all sit on one host: what one may do in a second is tested elsewhere.
    limits = Limits(
        source_rate=1e6,
        source_burst=1e6,
        client_rate=1e6,
        client_burst=1e6,
        target_rate=1e6,
        target_burst=1e6,
        replays=300,
    )

    async def refused(
        self,
        connect: Callable[[], Deferred[object]],
        kind: type[WavesyncError],
        words: str,
        number: int,
        wait: float = 0.0,
    ) -> None:
        """Try *number* times; each fails with one sentence."""
        for _ in range(0, number, _AT_ONCE):
            results = [connect() for _ in range(_AT_ONCE)]
            if wait:
                await self.reactor.turns(10)
                await self.reactor.skip(wait)
            for result in results:
                try:
                    await result
                except kind as error:
                    sentence = str(error)
                    self.assertIn(words, sentence)
                    self.assertNotIn("\n", sentence)
                    self.assertNotIn("Traceback", sentence)
                else:
                    self.fail("it was served")

    async def check(
        self,
        connector: Connector,
        target: Target,
        service: str,
        kind: type[WavesyncError],
        words: str,
        *,
        wait: float = 0.0,
    ) -> None:
        """Have a connector refused a thousand times while a good client connects."""
        self.addCleanup(connector.close)

        def connect() -> Deferred[object]:
            return connector.connect(target, service, Protocol())  # type: ignore[return-value]

        async def storm(number: int) -> None:
            await self.under_fire(self.refused(connect, kind, words, number, wait))

        if kind is Refused:
            await self.echo(connector)  # the way to the agent stays known
        await self.reactor.skip(20)
        before = self.client_tables(connector)
        await self.measured(storm, lines=0)
        self.assertEqual(self.client_tables(connector), before)

    def test_expired(self) -> Deferred[None]:
        """A certificate that has expired."""
        old = self.system.add_client("old", now=self.reactor.seconds() - 30 * _DAY, days=1)
        return Deferred.fromCoroutine(
            self.check(self.connector(old), self.server.target, "echo", NotAllowed, "expired")
        )

    def test_other_system(self) -> Deferred[None]:
        """A client of another system: its own program says so."""
        other = SystemCredentials.create((self.url,))
        eve = other.add_client("eve", now=self.reactor.seconds())
        return Deferred.fromCoroutine(
            self.check(
                self.connector(eve), self.server.target, "echo", NotAllowed, "another system"
            )
        )

    def test_unknown_server(self) -> Deferred[None]:
        """A server that is not registered."""
        target = Target(self.server.system, "0" * 32)
        return Deferred.fromCoroutine(
            self.check(self.connector(), target, "echo", ConnectFailed, "not")
        )

    def test_unknown_service(self) -> Deferred[None]:
        """A service that the agent does not have: it names those that it has."""
        return Deferred.fromCoroutine(
            self.check(
                self.connector(paths=["tcp"]),
                self.server.target,
                "nonsense",
                Refused,
                "known: echo",
            )
        )

    def test_no_mediator(self) -> Deferred[None]:
        """A mediator that does not run: nothing listens at its ports."""
        with socket.socket() as closed:
            closed.bind((HOST, 0))
            url = f"{HOST}:{closed.getsockname()[1]}"
        connector = self.connector(mediators=[url])
        return Deferred.fromCoroutine(
            self.check(connector, self.server.target, "echo", ConnectFailed, "mediator", wait=12.0)
        )

    def test_silent_mediator(self) -> Deferred[None]:
        """A mediator that accepts and says nothing."""
        stranger = Stranger(HOST)
        self.addCleanup(stranger.close)
        silent = socket.socket()
        self.addCleanup(silent.close)
        silent.bind((HOST, stranger.address[1]))
        silent.listen(0)
        connector = self.connector(mediators=[f"{HOST}:{stranger.address[1]}"])

        async def check() -> None:
            await self.check(
                connector, self.server.target, "echo", ConnectFailed, "mediator", wait=12.0
            )

        return Deferred.fromCoroutine(check())


class HandMadeTests(AbuseCase):
    """The mediator tells nothing to whoever is not entitled, and remembers nothing of it."""

    limits = Limits(source_rate=1e6, source_burst=1e6, client_rate=1e6, client_burst=1e6)

    async def check(self, credentials: Credentials, code: int, reason: str = "") -> None:
        """Ask a thousand times by messages made by hand."""
        port = 5000

        async def ask(number: int) -> None:
            stranger = self.strangers[0] if self.strangers else self.stranger()
            for _ in range(number):
                connect = Connect(os.urandom(16).hex(), self.server.target, (("192.0.2.1", port),))
                prover = Prover(credentials, HOST, self.reactor.seconds())
                request = connect.encode(os.urandom(12), prover)
                stranger.send(request, self.mediator_address)
                while not (answers := stranger.take()):
                    await self.reactor.turns()
                (answer,) = map(decode, answers)
                self.assertIs(answer.message_class, MessageClass.ERROR)
                refusal = Refusal.decode(answer)
                self.assertEqual((refusal.code, refusal.reason), (code, reason))

        async def storm(number: int) -> None:
            await self.under_fire(ask(number))

        await self.measured(storm, lines=0)

    def test_other_system(self) -> Deferred[None]:
        """A good proof of another system: the server is as unknown as any other."""
        other = SystemCredentials.create((self.url,)).add_client("eve", now=self.reactor.seconds())
        return Deferred.fromCoroutine(self.check(other, 404))

    def test_wrong_key(self) -> Deferred[None]:
        """A proof by another key than the certificate's."""
        wrong = dataclasses.replace(self.client, private_key=Ed25519PrivateKey.generate())
        return Deferred.fromCoroutine(self.check(wrong, 403, "bad-signature"))

    def test_server_as_client(self) -> Deferred[None]:
        """A server's proof does not make it a client."""
        return Deferred.fromCoroutine(self.check(self.server, 403, "wrong-role"))
