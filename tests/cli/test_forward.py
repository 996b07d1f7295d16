"""Tests for :mod:`wavesync.cli.forward`."""

import io
import json
import os
import select
import socket
import struct
from collections.abc import Callable, Coroutine, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocol,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests.cli.support import BLOB, Command, Site, reactor
from wavesync.cli.forward import ForwardFactory, listen_endpoint
from wavesync.client.opening import open_connector
from wavesync.client.report import Timeline
from wavesync.errors import ConnectFailed, SettingsError
from wavesync.identity.ids import Target


@implementer(IHalfCloseableProtocol)
class Caller(Protocol):
    """A local program: says something, ends its side, listens to the end."""

    def __init__(self, words: bytes) -> None:
        self.words = words
        self.heard = b""
        self.finished: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        """Say it."""
        assert self.transport is not None
        self.transport.write(self.words)
        self.transport.loseWriteConnection()  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        """Listen."""
        self.heard += data

    def readConnectionLost(self) -> None:
        """That was all."""
        assert self.transport is not None
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """It was said."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell what was heard, or that it was cut off."""
        if reason.check(ConnectionLost):
            self.finished.errback(reason)
        else:
            self.finished.callback(self.heard)


async def call(endpoint: IStreamClientEndpoint, words: bytes) -> bytes:
    """Say something to a local port; what came back."""
    caller = Caller(words)
    await endpoint.connect(Factory.forProtocol(lambda: caller))
    return await caller.finished


class Opener:
    """Stands for a connector: keeps what it is asked to open, and opens nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[IProtocol, Deferred[IProtocol]]] = []
        self.cancelled = 0

    def connect(
        self, target: Target, service: str, protocol: IProtocol, *, timeline: Timeline | None = None
    ) -> Deferred[IProtocol]:
        """Begin to open."""

        def cancel(_: object) -> None:
            self.cancelled += 1

        opening: Deferred[IProtocol] = Deferred(cancel)
        self.asked.append((protocol, opening))
        return opening


class ForwardFactoryTests(TestCase):
    """A forwarded connection lives exactly as long as somebody wants it."""

    timeout = 20

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Listen on a local port."""
        self.opener = Opener()
        self.report = str(Path(self.mktemp()).absolute())
        factory = ForwardFactory(
            reactor,
            self.opener,  # type: ignore[arg-type]
            Target("ab" * 16, None),
            "web",
            self.report,
        )

        def listening(port: IListeningPort) -> None:
            self.port = port
            self.where = port.getHost().port  # type: ignore[attr-defined]

        return listen_endpoint(reactor, "0").listen(factory).addCallback(listening)

    def tearDown(self) -> Deferred[Any]:  # type: ignore[override]
        """Listen no more."""
        stop: Callable[[], Any] = self.port.stopListening
        return DeferredList([maybeDeferred(stop)])

    async def until(self, what: str, true: Any) -> None:
        """Wait for something to be true."""
        for _ in range(400):
            if true():
                return
            await deferLater(reactor, 0.01)
        self.fail(what)

    def lines(self) -> list[dict[str, Any]]:
        """The report."""
        if not os.path.exists(self.report):
            return []
        return [json.loads(line) for line in Path(self.report).read_text().splitlines()]

    def test_gone_while_opening(self) -> Deferred[None]:
        """A program that gives up while the way is being looked for ends the looking."""

        async def test() -> None:
            with socket.create_connection(("127.0.0.1", self.where)) as program:
                program.sendall(b"GET / HTTP/1.0\r\n\r\n")
                await self.until("nothing was opened", lambda: self.opener.asked)
                # Closed without ceremony, as by a program that is killed.
                linger = struct.pack("ii", 1, 0)
                program.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            await self.until("it was not cancelled", lambda: self.opener.cancelled)
            await self.until("no report", self.lines)
            self.assertIn("given up", self.lines()[0]["outcome"])

        return Deferred.fromCoroutine(test())

    def test_half_closed_while_opening(self) -> Deferred[None]:
        """A program that has said everything still waits for its answer."""

        async def test() -> None:
            with socket.create_connection(("127.0.0.1", self.where)) as program:
                program.sendall(b"GET / HTTP/1.0\r\n\r\n")
                program.shutdown(socket.SHUT_WR)
                await self.until("nothing was opened", lambda: self.opener.asked)
                await deferLater(reactor, 0.05)
                self.assertEqual(self.opener.cancelled, 0)
                self.opener.asked[0][1].cancel()

        return Deferred.fromCoroutine(test())

    def test_failed(self) -> Deferred[None]:
        """A program whose connection cannot be made sees a reset, never an empty answer."""

        async def test() -> None:
            complaints = io.StringIO()
            with (
                redirect_stderr(complaints),
                socket.create_connection(("127.0.0.1", self.where)) as program,
            ):
                program.setblocking(False)
                await self.until("nothing was opened", lambda: self.opener.asked)
                self.opener.asked[0][1].errback(ConnectFailed("no path works"))
                await self.until("no report", self.lines)
                await deferLater(reactor, 0.05)
                self.assertRaises(ConnectionResetError, program.recv, 100)
            self.assertEqual(complaints.getvalue(), "wavesync: no path works\n")

        return Deferred.fromCoroutine(test())

    def test_outage(self) -> Deferred[None]:
        """While nothing works there is one line about it, however many connections are tried."""

        async def test() -> None:
            complaints = io.StringIO()
            asked = self.opener.asked
            with redirect_stderr(complaints):
                for number in range(3):
                    with socket.create_connection(("127.0.0.1", self.where)):
                        await self.until("nothing was opened", lambda n=number: len(asked) > n)
                        asked[number][1].errback(ConnectFailed("no path works"))
                        await self.until("no report", lambda n=number: len(self.lines()) > n)
            self.assertEqual(complaints.getvalue(), "wavesync: no path works\n")

        return Deferred.fromCoroutine(test())


class ListenEndpointTests(SynchronousTestCase):
    """Where to listen is a port number or an endpoint; a mistake is a sentence."""

    def test_mistakes(self) -> None:
        """Nothing of that can be listened on."""
        for text in ("", "http", "99999999999", "tcp", "tcp:x", "nosuch:1", "-1", "ssl:1"):
            error = self.assertRaises(SettingsError, listen_endpoint, reactor, text)
            self.assertIn("cannot listen on", str(error))


class ForwardTests(TestCase):
    """The command as people run it."""

    timeout = 60

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Start a mediator and an agent."""
        self.site = Site(Path(self.mktemp()).absolute())
        return Deferred.fromCoroutine(self.site.start())

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        """Stop them."""
        return Deferred.fromCoroutine(self.site.stop())

    def go(self, test: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        """Run a test."""
        return Deferred.fromCoroutine(test)

    def forward(self, service: str, listen: str, *more: str) -> Command:
        """Start ``wavesync forward``."""
        return Command(
            "forward", *self.site.options(), *more, self.site.server, service, listen, stdin=None
        )

    @staticmethod
    def port_in(output: bytes) -> int:
        """The port it says it listens on."""
        return int(output.split(b",")[0].rpartition(b":")[2])

    def test_forward(self) -> Deferred[None]:
        """Many connections, one of them first: all whole, one way, and a line of report each."""

        async def test() -> None:
            report = self.site.directory / "report"
            command = self.forward("shout", "0", "--report", str(report), "--paths", "udp")
            said = await command.output_with(b"listening on")
            self.assertIn(f"forwarding to shout of {self.site.server}".encode(), said)
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port_in(said))
            texts = [b"text %d " % number * 1000 for number in range(5)]
            answers: Sequence[bytes] = await gatherResults(
                [Deferred.fromCoroutine(call(endpoint, text)) for text in texts]
            )
            self.assertEqual(list(answers), [text.upper() for text in texts])
            command.signal("INT")
            status, _, complaints = await command.ended
            self.assertEqual((status, complaints), (130, ""))
            lines = [json.loads(line) for line in report.read_text().splitlines()]
            self.assertEqual([line["outcome"] for line in lines], ["ok"] * 5)
            self.assertEqual(sorted(line["reused"] for line in lines), [False] + [True] * 4)

        return self.go(test())

    def test_broken_off(self) -> Deferred[None]:
        """Who stops a download, or all of them, is not told that something broke."""

        async def test() -> None:
            report = self.site.directory / "report"
            command = self.forward("endless", "0", "--report", str(report))
            number = self.port_in(await command.output_with(b"listening on"))

            def ended(count: int) -> bool:
                return report.exists() and len(report.read_text().splitlines()) == count

            for stops, stop in enumerate(
                (lambda program: program.close(), lambda _: command.signal("INT")), 1
            ):
                with socket.create_connection(("127.0.0.1", number)) as program:
                    program.setblocking(False)
                    await deferLater(reactor, 0.1)
                    while not select.select([program], [], [], 0)[0]:
                        await deferLater(reactor, 0.01)
                    stop(program)
                    while not ended(stops):
                        await deferLater(reactor, 0.01)
            status, _, complaints = await command.ended
            self.assertEqual((status, complaints), (130, ""))
            lines = [json.loads(line) for line in report.read_text().splitlines()]
            self.assertEqual(
                [line["outcome"] for line in lines],
                ["the local side broke its connection off", "interrupted"],
            )

        return self.go(test())

    def test_unix(self) -> Deferred[None]:
        """Any endpoint of Twisted can be listened on."""

        async def test() -> None:
            # The name of a socket has a hundred letters at most.
            where = os.path.relpath(self.site.directory / "s")
            command = self.forward("blob", f"unix:{where}")
            await command.output_with(b"listening on")
            endpoint = UNIXClientEndpoint(reactor, where)
            self.assertEqual(await call(endpoint, b""), BLOB)
            command.signal("TERM")
            await command.ended

        return self.go(test())

    def test_unknown_service(self) -> Deferred[None]:
        """Each connection to a service that is not there is reset, and one line says why."""

        async def test() -> None:
            command = self.forward("nothing", "0")
            endpoint = TCP4ClientEndpoint(
                reactor, "127.0.0.1", self.port_in(await command.output_with(b"listening on"))
            )
            await self.assertFailure(Deferred.fromCoroutine(call(endpoint, b"x")), ConnectionLost)
            await command.output_with(b"no service 'nothing' here")
            command.signal("INT")
            self.assertEqual((await command.ended)[0], 130)
            self.assertEqual(len(command.complaints.splitlines()), 1)

        return self.go(test())

    def test_port_in_use(self) -> Deferred[None]:
        """A port that is taken is one sentence and status 2."""

        async def test() -> None:
            with socket.create_server(("127.0.0.1", 0)) as taken:
                number = taken.getsockname()[1]
                command = self.forward("echo", str(number))
                beyond = self.forward("echo", "tcp:70000")
                status, output, complaints = await command.ended
            self.assertEqual((status, output), (2, b""))
            status, output, sentence = await beyond.ended
            self.assertEqual((status, output, len(sentence.splitlines())), (2, b"", 1))
            self.assertIn("cannot listen on tcp:70000", sentence)
            self.assertEqual(
                complaints,
                f"wavesync: cannot listen on {number}: [Errno 98] Address already in use\n",
            )

        return self.go(test())

    def test_cut_off(self) -> Deferred[None]:
        """When the server goes away in the middle, the program sees a reset, not an end."""

        async def test() -> None:
            connector = open_connector(
                reactor, self.site.client_credentials, allow_loopback=True, paths={"tcp"}
            )
            factory = ForwardFactory(reactor, connector, self.site.target, "echo")
            port = await listen_endpoint(reactor, "0").listen(factory)
            caller = Caller(b"")
            caller.connectionMade = lambda: None  # type: ignore[method-assign]
            number = port.getHost().port  # type: ignore[attr-defined]
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", number)
            await endpoint.connect(Factory.forProtocol(lambda: caller))
            assert caller.transport is not None
            caller.transport.write(b"x")
            while not caller.heard:
                await deferLater(reactor, 0.01)
            complaints = io.StringIO()
            with redirect_stderr(complaints):
                await self.site.agent.stopService()
                await self.assertFailure(caller.finished, ConnectionLost)
            self.assertEqual(len(complaints.getvalue().splitlines()), 1)
            await maybeDeferred(port.stopListening)
            await connector.close()

        return self.go(test())
