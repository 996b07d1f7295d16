"""Tests for :mod:`wavesync.client.relay_path`, :mod:`~wavesync.client.relay_dials` and
:mod:`~wavesync.client.relay_leg`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.signalling.provers import NOW, client, server
from wavesync.client.relay_choice import RelayOption
from wavesync.client.relay_path import ANSWER_WITHIN, MAX_HOPS, MAX_REPEATS, Relaying, RelayPath
from wavesync.errors import ConnectFailed
from wavesync.identity.proofs import check_proof
from wavesync.identity.verify import Role
from wavesync.session.client import ClientSession
from wavesync.signalling.numbers import Purpose
from wavesync.signalling.relay_answers import Challenge, RelayAnswer
from wavesync.signalling.relay_urls import Relay, parse_relay
from wavesync.signalling.relay_wire import RelayRequest, RequestReader
from wavesync.tunnel.watch import Watch
from wavesync.tunnel.way import Route, Way

CONNECTION = "ab" * 16
ONE, TWO = parse_relay("one.relays.example"), parse_relay("two.relays.example")
HELLO = b"client hello"


class _Session:
    """What stands for a verified session."""

    def __init__(self) -> None:
        self.path_kind = ""
        self.path_address: tuple[str, int] | None = None
        self.path_words = ""
        self.parting = False


class _PathEnd(Protocol):
    """The protocol of a path, which speaks first."""

    def __init__(self, verified: "Deferred[Any]") -> None:
        self.verified = verified
        self.heard = b""
        self.lost = False
        self.told: list[float] = []

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(HELLO)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True
        self.told.append(0.0)


class _Call:
    """One dial of a relay."""

    def __init__(self, relay: Relay, factory: IProtocolFactory) -> None:
        self.relay = relay
        self.cancelled = False
        self.connecting: Deferred[IProtocol] = Deferred(self._cancel)
        self.transport = StringTransport()
        self._factory = factory
        self.leg: IProtocol | None = None

    def _cancel(self, _: object) -> None:
        self.cancelled = True

    def stand(self, watch: Callable[[IProtocol], IProtocol] = lambda leg: leg) -> None:
        """The relay is there.

        :param watch: what stands between transport and leg.
        """
        leg = self._factory.buildProtocol(self.transport.getPeer())
        assert leg is not None
        self.leg = leg
        watch(leg).makeConnection(self.transport)
        self.connecting.callback(leg)

    def request(self) -> tuple[RelayRequest, bytes]:
        """What the relay is asked, and what came behind it."""
        reader = RequestReader()
        request = reader.feed(self.transport.value())
        assert request is not None, self.transport.value()
        return request, reader.rest

    def say(self, answer: RelayAnswer, more: bytes = b"") -> None:
        """The relay answers."""
        assert self.leg is not None
        self.leg.dataReceived(answer.encode() + more)

    def drop(self) -> None:
        """The relay is gone."""
        assert self.leg is not None
        self.leg.connectionLost(Failure(ConnectionDone()))

    @property
    def ended(self) -> bool:
        """Whether the client has ended the connection."""
        return self.cancelled or self.transport.disconnecting or self.transport.disconnected


@implementer(IStreamClientEndpoint)
class _Dial:
    """The endpoint of a relay."""

    def __init__(self, calls: list[_Call], relay: Relay) -> None:
        self._calls, self._relay = calls, relay

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        call = _Call(self._relay, protocolFactory)
        self._calls.append(call)
        return call.connecting


class _Cuts:
    """Hears of a connection that was cut (:class:`wavesync.tunnel.watch.Observer`)."""

    def __init__(self, told: list[float]) -> None:
        self._told = told

    def cut(self, watch: Watch, lasted: float) -> None:
        self._told.append(lasted)

    def works(self, watch: Watch) -> None:
        """Nothing."""

    def fails(self, watch: Watch, why: str) -> None:
        """Nothing."""

    def opened(self, watch: Watch) -> None:
        """Nothing."""

    def ended(self, watch: Watch, lasted: float, by_peer: bool) -> None:
        """Nothing."""


class RelayPathTests(SynchronousTestCase):
    """A client asks the nearest relay, says who it is, and loses no time over it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.calls: list[_Call] = []
        self.ends: list[_PathEnd] = []
        self.heard: list[float] = []

    def sessions(self) -> tuple[IProtocolFactory, Deferred[ClientSession]]:
        """A path's protocol, and what fires when the test says so."""
        verified: Deferred[Any] = Deferred(lambda _: None)
        end = _PathEnd(verified)
        self.ends.append(end)

        class Once(Factory):
            noisy = False

            def buildProtocol(self, addr: object) -> _PathEnd:
                return end

        return Once(), verified

    def path(self, *options: RelayOption) -> RelayPath:
        """A path through these relays."""
        relaying = Relaying(
            self.clock,
            client(),
            lambda relay: _Dial(self.calls, relay),
            wall_clock=lambda: NOW + self.clock.seconds(),
        )
        path = RelayPath(relaying, server().target, options, CONNECTION, self.sessions)
        path.on_heard = lambda: self.heard.append(self.clock.seconds())
        return path

    def opened(self, *relays: Relay) -> Deferred[ClientSession]:
        """A path being opened through relays of unknown distance, the first of which is there."""
        opening = self.path(*(RelayOption(relay) for relay in relays)).open()
        opening.addErrback(lambda failure: failure)
        self.calls[0].stand()
        return opening

    def verify(self, end: _PathEnd) -> _Session:
        """The server is verified."""
        session = _Session()
        end.verified.callback(session)
        return session

    def check(self, request: RelayRequest, audience: str, nonce: bytes = b"") -> None:
        """The request has the client's proof for that relay."""
        proof: Callable[..., Any] = check_proof
        proof(
            request.proof,
            purpose=Purpose.RELAY_CONNECT,
            audience=audience,
            message=request.covered(),
            role=Role.CLIENT,
            now=None if nonce else NOW,
            nonce_ok=lambda value: value == nonce,
            at=NOW,
        )

    def test_one_flight(self) -> None:
        """The request and the path's first bytes leave together; the answer makes it the path."""
        opening = self.opened(ONE)
        (call,) = self.calls
        request, behind = call.request()
        self.assertEqual(behind, HELLO)
        self.assertEqual((request.target, request.connection), (server().target, CONNECTION))
        self.check(request, ONE.audience)
        self.assertEqual(self.heard, [0.0])
        call.say(RelayAnswer(101), b"server hello")
        self.assertEqual(self.ends[0].heard, b"server hello")
        self.assertNoResult(opening)
        session = self.verify(self.ends[0])
        self.assertIs(self.successResultOf(opening), session)
        self.assertEqual(session.path_kind, "relay")
        self.assertEqual(session.path_address, (ONE.host, ONE.port))
        assert call.leg is not None
        call.leg.dataReceived(b" and more")
        self.assertEqual(self.ends[0].heard, b"server hello and more")
        call.drop()
        self.assertTrue(self.ends[0].lost)

    def test_trip(self) -> None:
        """The path tells how long the bytes were on their way, whatever is calculated before and after."""
        path = self.path(RelayOption(ONE))
        opening = path.open()
        self.clock.advance(0.04)
        self.calls[0].stand()
        self.clock.advance(0.08)
        self.assertIsNone(path.trip)
        self.calls[0].say(RelayAnswer(101))
        self.clock.advance(0.01)
        self.verify(self.ends[0])
        self.successResultOf(opening)
        self.assertAlmostEqual(path.trip or 0.0, 0.08)

    def _watched(self, way: Way, observer: _Cuts, leg: IProtocol) -> Watch:
        return Watch(self.clock, way, leg, observer, 0.0)

    def test_broken(self) -> None:
        """A session that is broken off behind a proxy counts against the way: the proxy may do that always.

        One that is over anyway, or that has no proxy before it, does not.  That is known before the path's
        end is, with which a command may end.
        """
        for route, parting, cuts in (
            (Route.CONNECT, False, 1),
            (Route.ABSOLUTE, False, 1),
            (Route.CONNECT, True, 0),
            (Route.DIRECT, False, 0),
        ):
            told: list[float] = []
            way = Way(ONE.url, route, "upgrade")
            self.calls.clear()
            self.ends.clear()
            opening = self.path(RelayOption(ONE)).open()
            self.calls[0].stand(partial(self._watched, way, _Cuts(told)))
            self.calls[0].say(RelayAnswer(101))
            session = self.verify(self.ends[0])
            self.assertIs(self.successResultOf(opening), session)
            self.assertIn("the relay", session.path_words)
            self.clock.advance(20.0)
            session.parting = parting
            self.ends[0].told = told
            self.calls[0].drop()
            self.assertEqual(told, [*[20.0] * cuts, 0.0], (route, parting))

    def test_prepared_in_vain(self) -> None:
        """What was made ready while relays were dialled does not outlive the dialling."""
        opening = self.path(RelayOption(ONE)).open()
        self.assertEqual(len(self.ends), 1)
        opening.cancel()
        self.assertTrue(self.ends[0].verified.called)
        self.failureResultOf(opening)

    def test_answer_in_pieces(self) -> None:
        """The answer may come byte by byte."""
        opening = self.opened(ONE)
        (call,) = self.calls
        assert call.leg is not None
        for byte in RelayAnswer(101).encode() + b"xyz":
            call.leg.dataReceived(bytes([byte]))
        self.assertEqual(self.ends[0].heard, b"xyz")
        self.verify(self.ends[0])
        self.successResultOf(opening)

    def test_nearest(self) -> None:
        """Of two relays the one with the shorter way in all is asked; the other is left alone."""
        opening = self.path(RelayOption(ONE, 0.1), RelayOption(TWO, 0.01)).open()
        self.clock.advance(0.01)
        self.calls[0].stand()
        self.assertEqual(self.calls[0].transport.value(), b"")
        self.clock.advance(0.02)
        self.calls[1].stand()
        self.calls[1].say(RelayAnswer(101))
        self.verify(self.ends[0])
        self.successResultOf(opening)
        self.assertTrue(self.calls[0].ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silent_relay(self) -> None:
        """A relay that might be nearer but does not answer is waited for a moment only."""
        self.path(RelayOption(ONE, 0.1), RelayOption(TWO, 0.01)).open()
        self.clock.advance(0.01)
        self.calls[0].stand()
        self.clock.advance(0.0901)
        self.assertTrue(self.calls[0].transport.value())

    def test_next_relay(self) -> None:
        """When the first relay does not have the server, the second one is asked."""
        opening = self.opened(ONE, TWO)
        self.calls[1].stand()
        self.calls[0].say(RelayAnswer(404, sentence="no"))
        self.assertTrue(self.calls[0].ended)
        self.assertTrue(self.ends[0].verified.called)
        self.calls[1].say(RelayAnswer(101))
        self.verify(self.ends[1])
        self.successResultOf(opening)

    def test_broken_relay(self) -> None:
        """A relay that goes away before it answers is as good as none."""
        opening = self.opened(ONE, TWO)
        self.calls[1].stand()
        self.calls[0].drop()
        self.calls[1].say(RelayAnswer(101))
        self.verify(self.ends[1])
        self.successResultOf(opening)

    def test_relay_keeps_silent(self) -> None:
        """A relay that takes the request and does not answer, however slowly it talks, keeps nobody
        from the next one; where there is none, it may take its time."""
        opening = self.opened(ONE, TWO)
        self.calls[1].stand()
        leg = self.calls[0].leg
        assert leg is not None
        for byte in b"HTTP/1.1 ":
            leg.dataReceived(bytes([byte]))
            self.clock.advance(0.1)
        self.assertFalse(self.calls[0].ended)
        self.clock.advance(0.2)
        self.assertTrue(self.calls[0].ended)
        self.assertTrue(self.ends[0].verified.called)
        self.calls[1].say(RelayAnswer(101))
        self.verify(self.ends[1])
        self.successResultOf(opening)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.setUp()
        opening = self.opened(ONE)
        self.clock.advance(ANSWER_WITHIN + 1)
        self.calls[0].say(RelayAnswer(101))
        self.verify(self.ends[0])
        self.successResultOf(opening)

    def test_lost_before_asked(self) -> None:
        """A relay that was reached and lost before it was asked is not asked."""
        opening = self.path(RelayOption(ONE, 0.1), RelayOption(TWO, 0.01)).open()
        self.calls[0].stand()
        self.calls[0].drop()
        self.calls[1].connecting.errback(ConnectionRefusedError())
        failure = self.failureResultOf(opening, ConnectFailed)
        self.assertIn("two.relays.example:3356 cannot be reached", failure.getErrorMessage())

    def test_no_relay(self) -> None:
        """When nothing works, the sentence tells what became of each."""
        opening = self.opened(ONE, TWO)
        self.calls[1].connecting.errback(ConnectionRefusedError())
        self.calls[0].say(RelayAnswer(503, retry_after=7, sentence="full"))
        message = self.failureResultOf(opening, ConnectFailed).getErrorMessage()
        self.assertIn("http://one.relays.example:3356 is busy: try again in 7 s", message)
        self.assertIn("http://two.relays.example:3356 cannot be reached", message)

    def test_nothing_known(self) -> None:
        """Without any relay there is nothing to wait for."""
        failure = self.failureResultOf(self.path().open(), ConnectFailed)
        self.assertEqual(failure.getErrorMessage(), "no relay is known")

    def test_refusals(self) -> None:
        """Each refusal is a sentence that a person can act on."""
        for answer, words in (
            (RelayAnswer(403, reason="revoked"), "does not accept these credentials: revoked"),
            (RelayAnswer(404), "does not have the server"),
            (RelayAnswer(429, retry_after=3), "allows no more connections now: try again in 3 s"),
            (RelayAnswer(503), "is busy"),
            (RelayAnswer(400), "answers with error 400"),
            (RelayAnswer(401), "does not accept these credentials"),
            (
                RelayAnswer(401, challenge=Challenge(b"n", NOW, "other.example")),
                "calls itself 'other.example', but is known here as 'one.relays.example'",
            ),
        ):
            self.calls.clear()
            opening = self.opened(ONE)
            self.calls[0].say(answer)
            failure = self.failureResultOf(opening, ConnectFailed)
            self.assertIn(words, failure.getErrorMessage())
            self.assertEqual(len(self.calls), 1)

    def test_no_relay_at_all(self) -> None:
        """Something else that listens there is called what it is, however much it says."""
        for garbage in (b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20000):
            self.calls.clear()
            opening = self.opened(ONE)
            assert self.calls[0].leg is not None
            self.calls[0].leg.dataReceived(garbage)
            self.failureResultOf(opening, ConnectFailed)
            self.assertTrue(self.calls[0].ended)

    def test_speaks_unasked(self) -> None:
        """A relay that speaks before it is asked is none."""
        self.path(RelayOption(ONE, 0.1), RelayOption(TWO, 0.01)).open()
        self.calls[0].stand()
        assert self.calls[0].leg is not None
        self.calls[0].leg.dataReceived(b"hello?")
        self.assertTrue(self.calls[0].ended)

    def test_wrong_clock(self) -> None:
        """A relay that wants its nonce signed gets it, on a new connection, and not for ever."""
        opening = self.opened(ONE)
        for number in range(MAX_REPEATS):
            nonce = bytes([number]) * 8
            challenge = Challenge(nonce, NOW + 172800, ONE.audience)
            self.calls[-1].say(RelayAnswer(401, challenge=challenge))
            self.assertEqual(len(self.calls), number + 2)
            self.calls[-1].stand()
            request, behind = self.calls[-1].request()
            self.assertEqual(behind, HELLO)
            self.check(request, ONE.audience, nonce)
        self.calls[-1].say(RelayAnswer(401, challenge=Challenge(b"x", NOW, ONE.audience)))
        self.failureResultOf(opening, ConnectFailed)

    def test_redirect(self) -> None:
        """The relay that has the server is asked instead, with a proof for that one."""
        opening = self.opened(ONE)
        self.calls[0].say(RelayAnswer(307, location=TWO))
        self.assertEqual(self.calls[1].relay, TWO)
        self.calls[1].stand()
        request, _ = self.calls[1].request()
        self.check(request, TWO.audience)
        self.calls[1].say(RelayAnswer(101))
        session = self.verify(self.ends[1])
        self.successResultOf(opening)
        self.assertEqual(session.path_address, (TWO.host, TWO.port))

    def test_redirect_bounds(self) -> None:
        """A lying relay cannot aim clients at others, take TLS away, or send them in circles."""
        secure = parse_relay("https://one.relays.example")
        bare = parse_relay("192.0.2.1")
        for asked, location in (
            (ONE, parse_relay("http://victim.example:22")),
            (ONE, parse_relay("relays.example.org")),
            (secure, TWO),
            (bare, parse_relay("192.0.2.2")),
            (parse_relay("relay.example"), parse_relay("other.example")),
        ):
            self.calls.clear()
            opening = self.opened(asked)
            self.calls[0].say(RelayAnswer(307, location=location))
            failure = self.failureResultOf(opening, ConnectFailed)
            self.assertIn("is not followed", failure.getErrorMessage())
            self.assertEqual(len(self.calls), 1)
        self.calls.clear()
        opening = self.opened(ONE)
        for hop in range(MAX_HOPS):
            self.calls[hop].say(RelayAnswer(307, location=(TWO, ONE)[hop % 2]))
            self.calls[hop + 1].stand()
        self.calls[-1].say(RelayAnswer(307, location=TWO))
        self.failureResultOf(opening, ConnectFailed)

    def test_given_up(self) -> None:
        """Giving up ends every connection, whatever it is in the middle of."""
        opening = self.opened(ONE, TWO)
        opening.cancel()
        self.failureResultOf(opening)
        self.assertTrue(all(call.ended for call in self.calls))
        self.calls.clear()
        late = self.path(RelayOption(ONE)).open()
        late.cancel()
        self.failureResultOf(late)
        self.assertTrue(self.calls[0].cancelled)

    def test_server_refused(self) -> None:
        """Somebody else behind the relay is not taken for the server."""
        opening = self.opened(ONE)
        self.calls[0].say(RelayAnswer(101))
        self.ends[0].verified.errback(ConnectFailed("somebody else"))
        failure = self.failureResultOf(opening, ConnectFailed)
        self.assertIn("somebody else", failure.getErrorMessage())
