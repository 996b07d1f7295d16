"""Tests for :mod:`wavesync.tunnel.judging`: what stands in the way is named."""

from collections.abc import Callable

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    TimeoutError,
)
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.session.support import Recorder
from tests.tunnel.world import PLACE, SIZE, STREAMS, World
from wavesync.errors import ConnectFailed, SettingsError
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.judging import explain
from wavesync.tunnel.methods import Place

_PAGE = b"<html><title>Please log in</title></html>"


def _answer(status: str, *fields: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """An answer that was not asked for."""
    lines = [f"HTTP/{version} {status}", f"Content-Length: {len(body)}", *fields]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1") + body


_HTML = "Content-Type: text/html; charset=utf-8"
_SQUID = "Via: 1.1 proxy.corp (squid/5.7)"

ANSWERS: dict[bytes, tuple[Why, str]] = {
    _answer("200 OK", _HTML, body=_PAGE): (
        Why.PAGE,
        "a page came instead of a tunnel: a captive portal or a proxy's page (HTTP 200 OK)",
    ),
    _answer("302 Found", "Location: http://portal.example/"): (
        Why.PAGE,
        "a redirect came instead of a tunnel: a captive portal or a proxy's page (HTTP 302 Found)",
    ),
    _answer("511 Network Authentication Required", _HTML, body=_PAGE): (
        Why.PAGE,
        (
            "a page came instead of a tunnel: a captive portal or a proxy's page "
            "(HTTP 511 Network Authentication Required)"
        ),
    ),
    _answer("407 Proxy Authentication Required", _SQUID, _HTML, body=_PAGE): (
        Why.PROXY_PASSWORD,
        (
            "the proxy wants a password (HTTP 407 Proxy Authentication Required "
            "by 1.1 proxy.corp (squid/5.7))"
        ),
    ),
    _answer("403 Forbidden", "Server: squid/5.7", _HTML, body=_PAGE): (
        Why.REFUSED,
        "the request was refused by HTTP 403 Forbidden by squid/5.7, with a page that is not ours",
    ),
    _answer("502 Bad Gateway"): (
        Why.REFUSED,
        "the request was refused by HTTP 502 Bad Gateway",
    ),
    _answer("503 Service Unavailable"): (
        Why.REFUSED,
        "the request was refused by HTTP 503 Service Unavailable",
    ),
    _answer("503 Service Unavailable", "Wavesync-Reason: tunnels", "Retry-After: 5"): (
        Why.BUSY,
        "http://mediator.example:3355 has no room now (HTTP 503 Service Unavailable)",
    ),
    _answer("404 Not Found", "Wavesync-Reason: path"): (
        Why.REFUSED,
        "http://mediator.example:3355 refuses the tunnel: HTTP 404 Not Found",
    ),
    _answer("799 Odd"): (Why.REFUSED, "the request was refused by HTTP 799"),
    _answer("204 No Content"): (
        Why.CHANGED,
        "something on the way answered or changed the answer (HTTP 204 No Content)",
    ),
    _answer("101 Switching Protocols", "Connection: Upgrade", "Upgrade: h2c"): (
        Why.CHANGED,
        "something on the way answered or changed the answer (HTTP 101 Switching Protocols)",
    ),
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n": (
        Why.NOT_HTTP,
        (
            "what answers for http://mediator.example:3355 does not speak HTTP/1.1 "
            "(not HTTP/1.1: illegal status line)"
        ),
    ),
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000: (
        Why.NOT_HTTP,
        (
            "what answers for http://mediator.example:3355 does not speak HTTP/1.1 "
            "(not HTTP/1.1: Receive buffer too long)"
        ),
    ),
}
"""What a portal, a proxy or a stranger answers, and what is said of it."""


class AnswerTests(SynchronousTestCase):
    """Answers that are no tunnel."""

    def error(
        self, method: str, answer: bytes, *, limit: int = 65536, place: Place = PLACE
    ) -> TunnelError:
        """What comes of this answer to every request."""
        world = World(limit=limit)

        def answering() -> IProtocol:
            server = Recorder()
            said: list[bytes] = []

            def say(data: bytes) -> None:
                if not said:
                    said.append(answer)
                    server.transport.write(answer)

            server.on_data = say
            return server

        opening = world.open(method, dial=world.dial(answering), place=place)
        world.pump()
        error = self.failureResultOf(opening, TunnelError).value
        assert isinstance(error, TunnelError)
        for path in world.paths:
            self.assertTrue(path[0].lost)
        self.assertEqual(world.clock.getDelayedCalls(), [])
        return error

    def test_table(self) -> None:
        """Each answer, to every method, at once and byte by byte."""
        for answer, (reason, sentence) in ANSWERS.items():
            for method in STREAMS:
                for limit in (1, 65536):
                    error = self.error(method, answer, limit=limit)
                    self.assertEqual((error.reason, str(error)), (reason, sentence), method)
                    self.assertIsInstance(error, ConnectFailed)

    def test_status(self) -> None:
        """Programs get the status and the time to wait as numbers."""
        busy = self.error("upgrade", _answer("429 X", "Wavesync-Reason: x", "Retry-After: 7"))
        self.assertEqual((busy.status, busy.retry_after), (429, 7.0))
        self.assertEqual((busy.reason, busy.reason.value), (Why.BUSY, "busy"))
        odd = self.error("upgrade", _answer("429 X", "Wavesync-Reason: x", "Retry-After: soon"))
        self.assertEqual(odd.retry_after, None)

    def test_password(self) -> None:
        """A password that was sent and refused is told from one that was not sent, and not told."""
        place = Place(
            PLACE.authority,
            False,
            "http://mediator.example:3355",
            (("Proxy-Authorization", "Basic czM="),),
        )
        error = self.error("two", _answer("407 X"), place=place)
        self.assertEqual(
            str(error), "the proxy refuses the password (HTTP 407 Proxy Authentication Required)"
        )
        self.assertNotIn("czM=", f"{place} {place!r}")

    def test_changed(self) -> None:
        """An answer whose body is chunked, compressed, shorter or retyped on the way carries no stream."""
        good = (f"Content-Length: {SIZE}", "Content-Type: application/octet-stream")
        bad = (
            (good[1], "Transfer-Encoding: chunked"),
            (*good, "Transfer-Encoding: chunked"),
            (*good, "Content-Encoding: gzip"),
            (good[1], "Content-Length: 5000"),
            (good[0], "Content-Type: text/plain"),
            (*good, "X: \xe9"),
        )
        for fields in bad:
            head = "".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", *fields, ""))
            for method in ("get-post", "two"):
                error = self.error(method, head.encode("latin-1"))
                self.assertEqual(error.reason, Why.CHANGED, fields)

    def test_squid(self) -> None:
        """What comes through Squid carries no stream up, as good as it looks: short polls do not break."""
        fields = (f"Content-Length: {SIZE}", "Content-Type: application/octet-stream", _SQUID)
        head = "".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", *fields, ""))
        for method in ("get-post", "two"):
            error = self.error(method, head.encode("latin-1"))
            self.assertEqual((error.reason, error.status), (Why.REFUSED, 200))
            self.assertIn("Squid is on the way, which breaks off long uploads", str(error))

    def test_wrong_socket(self) -> None:
        """A WebSocket that answers another key, or agrees to what was not asked for, is none of ours."""
        for old, new in (
            (b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: A"),
            (b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Refuse: "),
            (b"Sec-WebSocket-Protocol: wavesync-tunnel-1", b"Sec-WebSocket-Protocol: chat"),
            (b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions: x\r\nSec-WebSocket-Protocol"),
            (b"Upgrade: websocket", b"Upgrade: h2c"),
        ):
            world = World()
            opening = world.open("websocket")
            world.paths[0][1].change = lambda data, old=old, new=new: data.replace(old, new)
            world.pump()
            error = self.failureResultOf(opening, TunnelError).value
            assert isinstance(error, TunnelError)
            self.assertEqual(error.reason, Why.CHANGED, new)


class SecondTests(SynchronousTestCase):
    """The second connection of two."""

    def test_up_refused(self) -> None:
        """A proxy that lets the GET pass and not the POST is named; also when it calls that success."""
        world = World()
        for said, reason in (
            (_answer("413 Content Too Large", "Via: 1.1 proxy.corp"), Why.REFUSED),
            (_answer("200 OK", _HTML, body=_PAGE), Why.PAGE),
        ):
            opening = world.open("two")
            world.paths[-1][1].write(said)
            world.pump()
            error = self.failureResultOf(opening, TunnelError).value
            assert isinstance(error, TunnelError)
            self.assertEqual(error.reason, reason)
            world.wait(10.0)
            self.assertEqual((len(world.server), len(world.front)), (0, 0))

    def test_up_fails(self) -> None:
        """Where the second connection is not made, the first one is closed, and the other way round."""
        for failing in (0, 1):
            world = World()
            dial = _Failing(ConnectionRefusedError(), world.dial(), failing)
            error = self.failureResultOf(world.open("two", dial=dial), TunnelError).value
            self.assertIn("Connection was refused", str(error))
            world.pump()
            self.assertEqual([path[0].lost for path in world.paths], [True] * failing)
            self.assertEqual((len(world.server), len(world.front)), (0, 0))
            self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_late_connection(self) -> None:
        """A connection that stands when all is over is closed unused."""
        world = World()
        dial = _Late(world.dial())
        opening = world.open("upgrade", dial=dial, timeout=1.0)
        world.wait(1.0)
        self.failureResultOf(opening, TunnelError)
        dial.go_on()
        world.pump()
        self.assertEqual(
            [(path[0].lost, bytes(path[0].sent)) for path in world.paths], [(True, b"")]
        )

    def test_bytes_too_early(self) -> None:
        """Bytes that come down before any have gone up are not the server's."""
        world = World()
        dial = _Failing(ConnectionRefusedError(), world.dial(), 5)
        dial.pending = 1
        opening = world.open("two", dial=dial)
        world.paths[0][1].write(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n")
        world.paths[0][1].write(f"Content-Length: {SIZE}\r\n\r\nWST1".encode("ascii"))
        world.pump()
        error = self.failureResultOf(opening, TunnelError).value
        assert isinstance(error, TunnelError)
        self.assertEqual(error.reason, Why.CHANGED)


@implementer(IStreamClientEndpoint)
class _Late:
    """An endpoint that cannot be stopped any more, and is slow."""

    def __init__(self, dial: IStreamClientEndpoint) -> None:
        self._dial = dial
        self.go_on: Callable[[], object] = lambda: None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.go_on = lambda: self._dial.connect(protocolFactory)
        return Deferred()


@implementer(IStreamClientEndpoint)
class _Failing:
    """An endpoint that cannot connect, or not this time.

    :param good: what connects else.
    :param failing: which connection fails, from 0; all where *good* is None.
    :ivar pending: which is never made.
    """

    def __init__(
        self, error: Exception, good: IStreamClientEndpoint | None = None, failing: int = 0
    ) -> None:
        self._error = error
        self._good = good
        self._failing = failing
        self._count = -1
        self.pending = -1

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self._count += 1
        if self._count == self.pending:
            return Deferred()
        if self._good is None or self._count == self._failing:
            return fail(self._error)
        return self._good.connect(protocolFactory)


class DialTests(SynchronousTestCase):
    """Connections that are not made, or end."""

    def test_table(self) -> None:
        """Each has its sentence."""
        place = Place("relay.example:443", True)
        own = TunnelError("the proxy refuses CONNECT", Why.REFUSED, status=403)
        unverified = SSL.Error([("SSL routines", "", "certificate verify failed")])
        table: list[tuple[Exception, Why, str]] = [
            (
                ConnectionRefusedError(),
                Why.UNREACHABLE,
                "no connection for https://relay.example:443: Connection was refused by other side",
            ),
            (
                DNSLookupError("no such name"),
                Why.UNREACHABLE,
                "no connection for https://relay.example:443: DNS lookup failed: no such name",
            ),
            (
                TimeoutError(),
                Why.UNREACHABLE,
                "no connection for https://relay.example:443: User timeout caused connection failure",
            ),
            (own, Why.REFUSED, "the proxy refuses CONNECT"),
            (SettingsError("no such proxy"), Why.UNREACHABLE, "no such proxy"),
            (
                VerificationError([]),
                Why.TLS,
                "the certificate that came for relay.example is another host's",
            ),
            (
                unverified,
                Why.TLS,
                "the certificate that came for relay.example is signed by nobody that this host trusts: something may intercept TLS here",
            ),
            (
                SSL.Error([("SSL routines", "", "wrong version number")]),
                Why.TLS,
                "TLS with relay.example failed (wrong version number)",
            ),
            (SSL.Error(), Why.TLS, "TLS with relay.example failed (no reason given)"),
            (ConnectionLost(), Why.CLOSED, "the connection was broken off"),
            (ConnectionDone(), Why.CLOSED, "the connection was closed without an answer"),
            (OSError("odd"), Why.UNREACHABLE, "no connection for https://relay.example:443: odd"),
        ]
        for error, reason, sentence in table:
            said = explain(Failure(error), place)
            self.assertEqual((said.reason, str(said)), (reason, sentence))
            for method in STREAMS:
                world = World()
                opening = world.open(method, dial=_Failing(error), place=place)
                failed = self.failureResultOf(opening, TunnelError).value
                self.assertEqual(str(failed), sentence)
                self.assertEqual(world.clock.getDelayedCalls(), [])
        self.assertIs(explain(Failure(own), place), own)


class PlaceTests(SynchronousTestCase):
    """Places that cannot be written into a request."""

    def test_refused(self) -> None:
        """A line break, a space or a letter that HTTP does not take cannot get into a head."""
        for arguments in (
            ("a:1\r\nX: y", False),
            ("a:1", False, "http://a b"),
            ("a:1", False, "http://a\n"),
            ("a:1", False, "", (("X", "a\r\nY: b"),)),
            ("a:1", False, "", (("X y", "a"),)),
            ("a:1", False, "", (("X", "\xe9"),)),
        ):
            self.assertRaises(ValueError, Place, *arguments)

    def test_request(self) -> None:
        """Absolute-form where a prefix says so; further headers behind ours."""
        place = Place(
            "[2001:db8::1]:80", False, "http://[2001:db8::1]:80", (("Proxy-Authorization", "x"),)
        )
        text = place.request("GET", "two", "ab" * 16, b"\1\2\3\4").decode("ascii")
        lines = text.split("\r\n")
        self.assertEqual(
            lines[0], "GET http://[2001:db8::1]:80/wavesync/1/tunnel/two?n=01020304 HTTP/1.1"
        )
        self.assertEqual(lines[1], "Host: [2001:db8::1]:80")
        self.assertEqual(lines[2:4], ["User-Agent: wavesync", "Accept: */*"])
        self.assertEqual(lines[-3:], ["Proxy-Authorization: x", "", ""])
