"""Tests for :mod:`wavesync.metrics.service`, on real sockets."""

import socket
from collections.abc import Iterable

from prometheus_client.core import Metric
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import TestCase

from tests.cli.support import reactor
from wavesync.errors import SettingsError
from wavesync.metrics.service import Measured
from wavesync.metrics.settings import MetricsSettings


class Well:
    """What has no figures and nothing wrong."""

    def collect(self) -> Iterable[Metric]:
        """Nothing."""
        return []

    def ailments(self) -> list[str]:
        """Nothing."""
        return []


class Slow(Service):
    """A service that takes its time to stop."""

    def __init__(self) -> None:
        self.stopped: Deferred[None] = Deferred()

    def stopService(self) -> Deferred[None]:
        """Not yet."""
        super().stopService()
        return self.stopped


class Broken(Service):
    """A service that cannot start."""

    def startService(self) -> None:
        """No."""
        raise SettingsError("no")


class MeasuredTests(TestCase):
    """A service with its pages."""

    timeout = 20

    def setUp(self) -> None:
        """Take a port, and a role whose default it is."""
        taken = self.taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        where = f"127.0.0.1:{taken.getsockname()[1]}"

        class Role(MetricsSettings, frozen=True):
            listen: str = where

        self.default = Role()
        self.slow = Slow()

    def measured(self, settings: MetricsSettings) -> Measured:
        """The service with those settings."""
        return Measured(self.slow, Well(), reactor, settings)

    def warnings(self, measured: Measured) -> list[str]:
        """Start it; what it warns of."""
        with capturedLogs() as captured:
            measured.startService()
        return [event["why"] for event in captured if event.get("log_level") is LogLevel.warn]

    async def status(self, measured: Measured) -> bytes:
        """Ask it how it is; the first line of the answer."""
        heard: Deferred[bytes] = Deferred()

        class Ask(Protocol):
            got = b""

            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")

            def dataReceived(self, data: bytes) -> None:
                self.got += data

            def connectionLost(self, reason: object = None) -> None:
                heard.callback(self.got)

        await HostnameEndpoint(reactor, *measured.addresses[0]).connect(Factory.forProtocol(Ask))
        return (await heard).split(b"\r\n")[0]

    def test_default_taken(self) -> None:
        """Where the default address is taken, one warning says so and the service runs."""
        measured = self.measured(self.default)
        (why,) = self.warnings(measured)
        self.assertEqual(why, f"cannot listen on {self.default.listen}: Address already in use")
        self.assertEqual((self.slow.running, measured.addresses), (1, ()))

    def test_configured_taken(self) -> None:
        """An address that somebody has asked for has to be had."""
        measured = self.measured(MetricsSettings(listen=self.default.listen))
        error = self.assertRaises(SettingsError, measured.startService)
        self.assertEqual(
            str(error),
            f"metrics: cannot listen on {self.default.listen}: Address already in use",
        )
        self.assertFalse(self.slow.running)

    def test_broken(self) -> Deferred[None]:
        """Where the service cannot start, nothing stays open."""

        async def test() -> None:
            where = f"127.0.0.1:{self.taken.getsockname()[1]}"
            self.taken.close()
            measured = Measured(Broken(), Well(), reactor, MetricsSettings(listen=where))
            self.assertRaises(SettingsError, measured.startService)
            self.assertEqual(measured.addresses, ())
            await deferLater(reactor, 0)  # Twisted closes in its next turn
            socket.create_server(("127.0.0.1", int(where.rpartition(":")[2]))).close()

        return Deferred.fromCoroutine(test())

    def test_off(self) -> None:
        """Nothing listens where that is wished."""
        measured = self.measured(MetricsSettings(listen=""))
        self.assertEqual(self.warnings(measured), [])
        self.assertEqual((self.slow.running, measured.addresses), (1, ()))

    def test_wrong(self) -> None:
        """What is no address is said to be none."""
        error = self.assertRaises(ValueError, MetricsSettings, listen="9345")
        self.assertIn("'9345' is no address to listen on", str(error))

    def test_until_stopped(self) -> Deferred[None]:
        """The pages can be looked at until the service has stopped, again after a restart."""

        async def test() -> None:
            measured = self.measured(MetricsSettings(listen="127.0.0.1:0"))
            for _ in range(2):
                self.slow.stopped = Deferred()
                measured.startService()
                self.assertEqual(await self.status(measured), b"HTTP/1.1 200 OK")
                stopping = measured.stopService()
                self.assertEqual(await self.status(measured), b"HTTP/1.1 200 OK")
                ((host, port),) = measured.addresses
                self.slow.stopped.callback(None)
                await stopping
                self.assertEqual(measured.addresses, ())
                self.assertRaises(OSError, socket.create_connection, (host, port), 5)

        return Deferred.fromCoroutine(test())
