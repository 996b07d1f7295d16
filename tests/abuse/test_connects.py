"""Clients that are refused: wrong keys, other systems, expired, unknown services, no mediator."""

import dataclasses
import os
import socket
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from tests.abuse.strangers import Stranger
from tests.abuse.world import HOST, AbuseCase, Storm
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

_CONNECTS = 200
"""Connects of each kind."""


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
        unproven_rate=1e6,
        unproven_burst=1e6,
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

    def refusing(
        self,
        connector: Connector,
        target: Target,
        service: str,
        kind: type[WavesyncError],
        words: str,
        *,
        wait: float = 0.0,
    ) -> Storm:
        """Connects that are refused, as a storm."""
        self.addCleanup(connector.close)
        self.connectors.append(connector)

        def connect() -> Deferred[object]:
            return connector.connect(target, service, Protocol())  # type: ignore[return-value]

        return lambda number: self.refused(connect, kind, words, number, wait)

    def nobody(self) -> str:
        """A mediator's URL at which nothing listens."""
        with socket.socket() as closed:
            closed.bind((HOST, 0))
            return f"{HOST}:{closed.getsockname()[1]}"

    def silent(self) -> str:
        """A mediator's URL at which connections are accepted and nothing is said."""
        while True:
            stranger, silent = Stranger(HOST), socket.socket()
            self.addCleanup(stranger.close)
            self.addCleanup(silent.close)
            try:
                silent.bind((HOST, stranger.address[1]))
            except OSError:
                continue  # that port is free for UDP only
            silent.listen(0)
            return f"{HOST}:{stranger.address[1]}"

    def test_storms(self) -> Deferred[None]:
        """An expired certificate, another system, a server or service that is not there, and
        mediators that do not run or never answer."""
        now = self.reactor.seconds()
        self.connectors: list[Connector] = []
        own = self.server.target
        old = self.system.add_client("old", now=now - 30 * _DAY, days=1)
        eve = SystemCredentials.create((self.url,)).add_client("eve", now=now)
        away = Target(self.server.system, "0" * 32)
        fails = ConnectFailed
        tcp = self.connector(paths=["tcp"])
        storms = {
            "expired": self.refusing(self.connector(old), own, "echo", NotAllowed, "expired"),
            # Her own program says so.
            "other system": self.refusing(
                self.connector(eve), own, "echo", NotAllowed, "another system"
            ),
            "unknown server": self.refusing(self.connector(), away, "echo", fails, "not"),
            "unknown service": self.refusing(tcp, own, "nonsense", Refused, "known: echo"),
            "no mediator": self.refusing(
                self.connector(mediators=[self.nobody()]), own, "echo", fails, "mediator", wait=4.0
            ),
            "silent mediator": self.refusing(
                self.connector(mediators=[self.silent()]), own, "echo", fails, "mediator", wait=4.0
            ),
        }

        async def check() -> None:
            await self.echo(tcp)  # the way to the agent stays known
            await self.reactor.skip(20)
            before = [self.client_tables(each) for each in self.connectors]
            await self.measured(storms, count=_CONNECTS)
            self.assertEqual([self.client_tables(each) for each in self.connectors], before)

        return Deferred.fromCoroutine(check())


class HandMadeTests(AbuseCase):
    """The mediator tells nothing to whoever is not entitled, and remembers nothing of it."""

    limits = Limits(
        source_rate=1e6,
        source_burst=1e6,
        client_rate=1e6,
        client_burst=1e6,
        unproven_total_rate=1e6,
        unproven_total_burst=1e6,
    )

    def asking(self, credentials: Credentials, code: int, reason: str = "") -> Storm:
        """Messages made by hand, as a storm."""

        async def ask(number: int) -> None:
            crowd = self.crowd()
            for count in range(number):
                stranger = crowd[count % len(crowd)]
                connect = Connect(os.urandom(16).hex(), self.server.target, (("192.0.2.1", 5000),))
                prover = Prover(credentials, HOST, self.reactor.seconds())
                request = connect.encode(os.urandom(12), prover)
                stranger.send(request, self.mediator_address)
                while not (answers := stranger.take()):
                    await self.reactor.turns()
                (answer,) = map(decode, answers)
                self.assertIs(answer.message_class, MessageClass.ERROR)
                refusal = Refusal.decode(answer)
                self.assertEqual((refusal.code, refusal.reason), (code, reason))

        return ask

    def test_storms(self) -> Deferred[None]:
        """Another system's client, for whom the server is as unknown as any other; a proof by
        another key than the certificate's; a server's proof, which does not make a client."""
        other = SystemCredentials.create((self.url,)).add_client("eve", now=self.reactor.seconds())
        wrong = dataclasses.replace(self.client, private_key=Ed25519PrivateKey.generate())
        storms = {
            "other system": self.asking(other, 404),
            "wrong key": self.asking(wrong, 403, "bad-signature"),
            "server as client": self.asking(self.server, 403, "wrong-role"),
        }
        return Deferred.fromCoroutine(self.measured(storms, count=2 * _CONNECTS))
