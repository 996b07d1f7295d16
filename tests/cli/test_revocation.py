"""Revocation from end to end: the command, a mediator, two agents, and clients as processes."""

import contextlib
import io
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.cli.support import Command, Site, reactor, save
from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.cli.main import main
from wavesync.identity.credentials import Credentials
from wavesync.identity.revocations import LOOK_INTERVAL, Revocations, list_path
from wavesync.signalling.urls import parse_mediators

LIMIT = 5.0
"""Seconds in which whatever was revoked has to be over."""


class RevocationTests(TestCase):
    """Whoever is revoked goes, and is told; the others notice nothing."""

    timeout = 90

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Start a mediator and two agents; only the first is ever handed a list."""
        self.directory = Path(self.mktemp()).absolute()
        self.site = Site(self.directory / "system")
        self.site.system.save(self.site.directory / "system.pem")
        self.handed_in = self.directory / "handed-in.pem"
        self.credentials = [self.site.system.add_server(now=time.time()) for _ in range(2)]
        self.agents = [self.agent(n) for n in range(2)]
        return Deferred.fromCoroutine(self.start())

    def tearDown(self) -> Deferred[Any]:  # type: ignore[override]
        """Stop everything."""

        async def stop() -> None:
            for agent in self.agents:
                await agent.stopService()
            await self.site.mediator.stopService()

        return Deferred.fromCoroutine(stop())

    async def start(self) -> None:
        """Come to the registration of both agents."""
        for agent in self.agents:
            agent.startService()
            await agent.links[0].when_registered().addTimeout(20, reactor)

    def agent(self, number: int) -> AgentService:
        """An agent that keeps what it learns, with the state of earlier ones of that number."""
        credentials = self.credentials[number]
        return AgentService(
            reactor,
            credentials,
            self.site.services,
            parse_mediators((self.site.url,)),
            settings=AgentSettings(allow_loopback=True, lan=False),
            revocations=Revocations(
                credentials.system_key_bytes,
                state=self.directory / f"state-{number}.pem",
                handed_in=self.handed_in if number == 0 else None,
            ),
        )

    def client(self, name: str) -> str:
        """Give a person credentials, in a directory of their own."""
        directory = self.directory / name
        directory.mkdir()
        return save(self.site.system.add_client(name, now=time.time()), directory, "client.pem")

    def connect(self, credentials: str, service: str, *more: str, to: int = 1) -> Command:
        """Start ``wavesync connect`` as somebody; by default to the second server."""
        options = ["--credentials", credentials, "--allow-loopback", *more]
        target = str(self.credentials[to].target)
        return Command("connect", *options, target, service, stdin=None)

    def revoke(self, who: str) -> Path:
        """Run ``wavesync system revoke`` and give the new list."""
        with contextlib.redirect_stdout(io.StringIO()):
            status = main(["system", "revoke", who, "--directory", str(self.site.directory)])
        self.assertEqual(status, 0)
        return list_path(self.site.directory, self.site.system.system)

    def hand_in(self, path: Path) -> None:
        """Copy a list to where the first agent looks."""
        self.handed_in.write_bytes(path.read_bytes())

    def served(self, number: int) -> list[str | None]:
        """The clients that an agent serves, one for each session."""
        return [peer.name for peer in self.agents[number]._sessions.serving.values()]

    async def in_time(self, what: str, over: Callable[[], bool]) -> None:
        """Wait for the end of something, which has to come in time; print how long it took."""
        began = reactor.seconds()
        while not over():
            await deferLater(reactor, 0.02)
            self.assertLess(reactor.seconds() - began, LIMIT, what)
        print(f"\n{what} ended after {reactor.seconds() - began:.2f} s")  # noqa: T201

    def go(self, test: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        """Run a test."""
        return Deferred.fromCoroutine(test)

    def test_client(self) -> Deferred[None]:
        """A revoked client's streams end within five seconds of the list coming to any agent.

        It is refused from then on with exit status 3; others go on; an older list brings nobody
        back, not even after a restart.
        """

        async def test() -> None:
            alice, bob = self.client("alice"), self.client("bob")
            running = [
                self.connect(who, "endless", "--paths", kind)
                for who in (alice, bob)
                for kind in ("tcp", "udp")
            ]
            await gatherResults([each.output_with(b"and so on") for each in running])
            older = self.revoke(self.client("carol")).read_bytes()
            self.hand_in(self.revoke(bob))
            await self.in_time("streams of a revoked client", lambda: "bob" not in self.served(1))
            for status, _, complaint in await gatherResults([each.ended for each in running[2:]]):
                self.assertIn("the client's credentials were revoked", complaint)
                self.assertEqual(status, 3, complaint)
            self.assertGreaterEqual(self.served(1).count("alice"), 2)

            status, _, complaint = await self.connect(bob, "echo").ended
            self.assertEqual(status, 3, complaint)
            # By the mediator, or by the agent, at the address that is remembered.
            self.assertRegex(complaint, "credentials(: they)? were revoked")

            # The list without bob comes back, and the agent is started again.
            self.handed_in.write_bytes(older)
            await deferLater(reactor, 1.5 * LOOK_INTERVAL)
            await self.agents[0].stopService()
            self.agents[0] = self.agent(0)
            self.agents[0].startService()
            await self.agents[0].links[0].when_registered().addTimeout(20, reactor)
            status, _, complaint = await self.connect(bob, "echo", to=0).ended
            self.assertEqual(status, 3, complaint)

            heard = [len(each.output) for each in running[:2]]
            await deferLater(reactor, 0.5)
            for each, before in zip(running, heard, strict=False):
                self.assertGreater(len(each.output), before)
                each.signal("KILL")
            await gatherResults([each.ended for each in running[:2]])

        return self.go(test())

    def test_server(self) -> Deferred[None]:
        """A revoked server is found no more, not connected to, and left by those who learn of it."""

        async def test() -> None:
            alice = self.client("alice")
            stream = self.connect(alice, "endless")
            await stream.output_with(b"and so on")
            await self.agents[0].links[0].when_registered()
            path = self.revoke(self.saved(self.credentials[1]))
            self.hand_in(path)
            await self.in_time(
                "the registration of a revoked server",
                lambda: not self.agents[1].links[0].registered,
            )
            status, _, complaint = await self.connect(alice, "echo").ended
            self.assertEqual(status, 1)
            self.assertIn("is not online", complaint)

            # Any introduction brings the list: the running stream ends for it.
            other = self.connect(alice, "shout", to=0)
            other.process.closeStdin()
            self.assertEqual((await other.ended)[0], 0)
            await self.in_time("its stream", lambda: "alice" not in self.served(1))
            self.assertIn("the server's credentials were revoked", (await stream.ended)[2])
            self.flushLoggedErrors()

        return self.go(test())

    def saved(self, credentials: Credentials) -> str:
        """The file of a server's credentials."""
        return save(credentials, self.directory, "lost-server.pem")

    def test_lying_mediator(self) -> Deferred[None]:
        """A client that knows refuses a revoked server, though its mediator still introduces it."""

        async def test() -> None:
            alice = self.client("alice")
            path = self.revoke(self.saved(self.credentials[1]))
            own = list_path(self.directory / "alice", self.site.system.system)
            own.write_bytes(path.read_bytes())
            status, _, complaint = await self.connect(alice, "echo").ended
            self.assertEqual(status, 1, complaint)
            self.assertIn("the certificate was revoked", complaint)
            self.assertTrue(self.agents[1].links[0].registered)

        return self.go(test())
