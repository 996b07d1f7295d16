"""Tests for :mod:`wavesync.metrics.page`, over connections in memory."""

import json
from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wavesync.metrics.page import LIFE, MAX_CONNECTIONS, MAX_REQUEST, PageFactory


class Patient:
    """What is looked at."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.asked = 0

    def collect(self) -> Iterable[Metric]:
        """Give one figure: how often it was asked."""
        self.asked += 1
        return [GaugeMetricFamily("asked", "Times.", value=self.asked)]

    def ailments(self) -> list[str]:
        """Tell what is wrong."""
        return self.wrong


class Wire(StringTransport):
    """A connection that is told when it is closed."""

    closed = ""
    protocol: Protocol

    def loseConnection(self) -> None:
        """Close in order."""
        self._close("done", ConnectionDone())

    def abortConnection(self) -> None:
        """Close at once."""
        self._close("aborted", ConnectionAborted())

    def _close(self, how: str, why: Exception) -> None:
        if not self.closed:
            self.closed = how
            self.protocol.connectionLost(Failure(why))


class PageTests(SynchronousTestCase):
    """The two pages, and whoever misuses them."""

    def setUp(self) -> None:
        """Make the pages."""
        self.clock = Clock()
        self.patient = Patient()
        self.factory = PageFactory(self.patient, self.clock)
        self.factory.doStart()
        self.addCleanup(self.factory.doStop)

    def connect(self) -> Wire:
        """Connect."""
        wire = Wire()
        protocol = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        assert protocol is not None
        wire.protocol = protocol
        protocol.makeConnection(wire)
        return wire

    def ask(self, request: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
        """Send a request; status, headers and body of the answer, after which all is closed."""
        wire = self.connect()
        wire.protocol.dataReceived(request)
        self.assertEqual(wire.closed, "done")
        self.assertEqual(self.factory.protocols, {})
        head, _, body = wire.value().partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        self.assertEqual(headers[b"connection"], b"close")
        return int(first.split()[1]), headers, body

    def get(self, path: bytes, method: bytes = b"GET") -> tuple[int, dict[bytes, bytes], bytes]:
        """Ask for a page."""
        return self.ask(method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")

    def test_metrics(self) -> None:
        """Prometheus can read what it gets: ours and the process's, new at each scrape."""
        for expected in (1, 2):
            status, headers, body = self.get(b"/metrics")
            self.assertEqual(status, 200)
            self.assertTrue(headers[b"content-type"].startswith(b"text/plain; version="))
            found = {
                sample.name: sample.value
                for family in text_string_to_metric_families(body.decode())
                for sample in family.samples
            }
            self.assertEqual(found["asked"], expected)
            self.assertGreater(found["process_open_fds"], 0)

    def test_health(self) -> None:
        """200 when all is well, 503 with the reasons when not."""
        status, headers, body = self.get(b"/health")
        self.assertEqual((status, headers[b"content-type"]), (200, b"application/json"))
        self.assertEqual(json.loads(body), {"ok": True, "wrong": []})
        self.patient.wrong = ["no room", "it is draining"]
        status, _, body = self.get(b"/health")
        self.assertEqual(status, 503)
        self.assertEqual(json.loads(body), {"ok": False, "wrong": ["no room", "it is draining"]})
        self.assertEqual(body.count(b"\n"), 1)

    def test_head(self) -> None:
        """HEAD is GET without the body."""
        _, _, body = self.get(b"/health")
        status, headers, nothing = self.get(b"/health", b"HEAD")
        self.assertEqual((status, nothing), (200, b""))
        self.assertEqual(int(headers[b"content-length"]), len(body))
        status, headers, nothing = self.get(b"/metrics", b"HEAD")
        self.assertEqual((status, nothing), (200, b""))
        self.assertGreater(int(headers[b"content-length"]), 500)  # it changes with the process

    def test_nothing_else(self) -> None:
        """There are no other pages, and no other methods."""
        for path in (b"/", b"/metricsx", b"/metrics/x", b"/health/", b"/../metrics", b"/%2e%2e"):
            self.assertEqual(self.get(path)[0], 404, path)
        for method in (b"PUT", b"DELETE", b"OPTIONS", b"BREW"):
            self.assertIn(self.get(b"/metrics", method)[0], (405, 501), method)
        post = b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
        self.assertEqual(self.ask(post)[0], 405)
        self.assertEqual(self.patient.asked, 0)

    def test_one_request(self) -> None:
        """A connection gets one answer, however many requests it brings."""
        request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        wire = self.connect()
        wire.protocol.dataReceived(3 * request)
        self.assertEqual(wire.value().count(b"HTTP/1.1 200"), 1)
        self.assertEqual(wire.closed, "done")

    def test_long_request(self) -> None:
        """What is longer than a request needs to be is not taken."""
        head = b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        for more, closed in ((0, ""), (1, "aborted")):
            wire = self.connect()
            wire.protocol.dataReceived(head)
            wire.protocol.dataReceived(b"x" * (MAX_REQUEST - len(head) + more))
            self.assertEqual(wire.closed, closed)

    def test_slow_request(self) -> None:
        """Who takes his time is sent away, however busy he looks."""
        wire = self.connect()
        wire.protocol.dataReceived(b"GET /health HTTP/1.1\r\n")
        for number in range(9):
            self.clock.advance(LIFE / 10)
            wire.protocol.dataReceived(b"X-%d: x\r\n" % number)
        self.assertEqual(wire.closed, "")
        self.clock.advance(LIFE / 10)
        self.assertEqual(wire.closed, "aborted")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many_connections(self) -> None:
        """Whoever holds connections open shuts nobody out: the oldest goes."""
        wires = [self.connect() for _ in range(MAX_CONNECTIONS)]
        self.assertEqual([wire.closed for wire in wires], [""] * MAX_CONNECTIONS)
        last = self.connect()
        closed = [wire.closed for wire in wires]
        self.assertEqual(closed, ["aborted"] + [""] * (MAX_CONNECTIONS - 1))
        last.protocol.dataReceived(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b" 200 OK", last.value())

    def test_no_timers_left(self) -> None:
        """Nothing wakes an idle service up."""
        self.get(b"/metrics")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.connect()
        self.factory.close_all()
        self.assertEqual(self.clock.getDelayedCalls(), [])
