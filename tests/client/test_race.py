"""Tests for :mod:`wavesync.client.race`."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.client.race import PEER_REFLEXIVE, Race, Winner
from wavesync.client.report import Timeline
from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address


class FakePath:
    """A path whose end the test decides."""

    def __init__(self, kind: str, host: str) -> None:
        self.kind = kind
        self.addresses: list[Address] = [(host, 1)]
        self.on_heard: Callable[[], None] | None = None
        self.cancelled = False
        self.opened: Deferred[str] = Deferred(self._cancel)

    def _cancel(self, _: object) -> None:
        self.cancelled = True

    def open(self) -> Deferred[str]:
        return self.opened

    def heard(self) -> None:
        """Something answers."""
        assert self.on_heard is not None
        self.on_heard()


class FakeSession:
    """A session that can be closed, and lost."""

    closed = lost = False

    def close(self) -> None:
        """Note it."""
        self.closed = True


class RaceTests(SynchronousTestCase):
    """Connecting takes as long as the fastest path that works, and leaves nothing of the others."""

    def setUp(self) -> None:
        self.timeline = Timeline("t", Clock().seconds)
        self.race: Race[str] = Race(self.timeline)

    def results(self) -> dict[str, tuple[str, str]]:
        """What the report says of each address."""
        return {c.address: (c.result, c.why) for c in self.timeline.candidates}

    def test_first_verified_wins(self) -> None:
        """The first to be verified is taken, whatever its kind; the others are given up."""
        tcp, udp = FakePath("tcp", "a"), FakePath("udp", "b")
        self.race.enter([tcp, udp])
        self.race.no_more()
        udp.opened.callback("session")
        winner = self.successResultOf(self.race.result)
        self.assertIsInstance(winner, Winner)
        self.assertIs(winner.path, udp)
        self.assertEqual(winner.session, "session")
        self.assertTrue(tcp.cancelled)
        self.assertEqual(
            self.results(), {"a:1": ("lost", "another path was faster"), "b:1": ("won", "")}
        )

    def test_failure_of_one_does_not_end_it(self) -> None:
        """One wrong address costs nothing while another may work."""
        tcp, udp = FakePath("tcp", "a"), FakePath("udp", "b")
        self.race.enter([tcp, udp])
        self.race.no_more()
        tcp.opened.errback(ConnectionRefusedError())
        self.assertNoResult(self.race.result)
        udp.opened.callback("session")
        self.assertEqual(self.successResultOf(self.race.result).session, "session")

    def test_all_fail(self) -> None:
        """When nothing works, one sentence tells what became of each kind."""
        paths = [FakePath("tcp", "a"), FakePath("tcp", "b"), FakePath("udp", "c")]
        self.race.enter(paths)
        self.race.no_more()
        for path in paths[:2]:
            path.opened.errback(ConnectFailed("refused"))
        self.assertNoResult(self.race.result)
        paths[2].opened.errback(ConnectFailed("never heard the other side."))
        failure = self.failureResultOf(self.race.result, ConnectFailed)
        self.assertEqual(
            failure.getErrorMessage(),
            "no path works: tcp: refused (2 addresses); udp: never heard the other side",
        )

    def test_more_may_come(self) -> None:
        """Until all candidates are known, failures so far do not end the race."""
        first, second = FakePath("tcp", "a"), FakePath("tcp", "b")
        self.race.enter([first])
        first.opened.errback(ConnectFailed("x"))
        self.assertNoResult(self.race.result)
        self.race.enter([second])
        self.race.no_more()
        self.assertNoResult(self.race.result)
        second.opened.callback("session")
        self.assertIs(self.successResultOf(self.race.result).path, second)

    def test_nothing_to_try(self) -> None:
        """No candidate at all is said at once."""
        self.race.no_more()
        failure = self.failureResultOf(self.race.result, ConnectFailed)
        self.assertIn("no address", failure.getErrorMessage())

    def test_too_late(self) -> None:
        """A candidate that arrives after the race is not even tried."""
        self.race.no_more()
        self.failureResultOf(self.race.result, ConnectFailed)
        late = FakePath("udp", "z")
        self.race.enter([late])
        self.assertEqual(self.results(), {})

    def test_wins_at_once(self) -> None:
        """A path that is verified while the others are being started wins over those, too."""
        ready, other = FakePath("udp", "a"), FakePath("tcp", "b")
        ready.opened.callback("session")
        self.race.enter([ready, other])
        self.assertIs(self.successResultOf(self.race.result).path, ready)
        self.assertEqual(self.results(), {"a:1": ("won", "")})

    def test_one_address_of_several(self) -> None:
        """The report names the one address that was used, even one that nobody had named."""
        for place, expected in (
            (("b", 2), {"a:1": "lost", "b:2": "won"}),
            (("c", 3), {"a:1": "lost", "b:2": "lost", "c:3": "won"}),
        ):
            self.timeline = Timeline("t", Clock().seconds)
            race: Race[str] = Race(self.timeline, lambda session, at=place: at)  # type: ignore[misc]
            path = FakePath("udp", "a")
            path.addresses.append(("b", 2))
            race.enter([path])
            path.opened.callback("session")
            self.successResultOf(race.result)
            self.assertEqual(
                {address: result for address, (result, _) in self.results().items()}, expected
            )
            why = PEER_REFLEXIVE if place == ("c", 3) else ""
            self.assertEqual(self.results()[f"{place[0]}:{place[1]}"], ("won", why))

    def test_address_learnt_meanwhile(self) -> None:
        """An address that the mediator has told of later is none that nobody had named."""
        race: Race[str] = Race(self.timeline, lambda session: ("b", 2))
        path = FakePath("udp", "a")
        race.enter([path])
        path.addresses.append(("b", 2))
        path.opened.callback("session")
        self.successResultOf(race.result)
        self.assertEqual(self.results()["b:2"], ("won", ""))

    def test_cancel(self) -> None:
        """Giving up a connect gives up every path."""
        path = FakePath("tcp", "a")
        self.race.enter([path])
        self.race.result.cancel()
        self.failureResultOf(self.race.result)
        self.assertTrue(path.cancelled)
        self.assertEqual(self.results(), {"a:1": ("lost", "given up")})


class RelayTests(SynchronousTestCase):
    """A relay makes connecting certain without keeping anybody from a direct path."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.timeline = Timeline("t", self.clock.seconds)
        self.race: Race[str] = Race(self.timeline, clock=self.clock)
        self.relay, self.udp, self.tcp = (FakePath(kind, kind) for kind in ("relay", "udp", "tcp"))

    def begin(self, *paths: FakePath) -> None:
        """All that there is to try."""
        self.race.enter(paths)
        self.race.no_more()

    def winner(self) -> FakePath:
        """The path that won."""
        path = self.successResultOf(self.race.result).path
        assert isinstance(path, FakePath)
        return path

    def outcome(self, kind: str) -> tuple[str, str]:
        """What the report says of a path."""
        (found,) = [(c.result, c.why) for c in self.timeline.candidates if c.kind == kind]
        return found

    def test_nothing_heard(self) -> None:
        """Where no direct path has heard anything, the relay is taken without a wait."""
        self.begin(self.udp, self.tcp, self.relay)
        self.relay.opened.callback("relayed")
        self.assertIs(self.winner(), self.relay)
        self.assertEqual(self.outcome("relay"), ("won", ""))
        self.assertNoResult(self.race.over)
        self.assertFalse(self.udp.cancelled)

    def test_heard_path_is_waited_for(self) -> None:
        """A direct path that was heard gets the time of a handshake, and wins in it."""
        self.begin(self.udp, self.relay)
        self.relay.heard()
        self.clock.advance(0.08)
        self.udp.heard()
        self.relay.opened.callback("relayed")
        self.assertNoResult(self.race.result)
        self.clock.advance(0.09)
        self.assertNoResult(self.race.result)
        self.udp.opened.callback("direct")
        self.assertIs(self.winner(), self.udp)
        self.assertIsNone(self.successResultOf(self.race.over))
        self.assertEqual(self.outcome("relay"), ("lost", "another path was faster"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_heard_path_is_not_waited_for_longer(self) -> None:
        """A direct path that cannot prove who it is costs a round trip, no more."""
        self.begin(self.udp, self.relay)
        self.relay.heard()
        self.clock.advance(0.08)
        self.udp.heard()
        self.relay.opened.callback("relayed")
        self.clock.advance(0.101)
        self.assertIs(self.winner(), self.relay)

    def test_better_path_later(self) -> None:
        """After the relay was taken, the race goes on: the next connection can go direct."""
        self.begin(self.udp, self.tcp, self.relay)
        self.relay.opened.callback("relayed")
        self.clock.advance(0.3)
        self.udp.opened.callback("direct")
        better = self.successResultOf(self.race.over)
        assert better is not None
        self.assertIs(better.path, self.udp)
        self.assertEqual(better.session, "direct")
        self.assertTrue(self.tcp.cancelled)
        self.assertEqual(
            self.outcome("udp"), ("lost", "the relay was taken first; the next connections go here")
        )

    def test_nothing_better(self) -> None:
        """When all direct paths have failed after the relay was taken, that is the end of it."""
        self.begin(self.udp, self.relay)
        self.relay.opened.callback("relayed")
        self.udp.opened.errback(ConnectFailed("never heard"))
        self.assertIs(self.winner(), self.relay)
        self.assertIsNone(self.successResultOf(self.race.over))

    def test_time_is_up_afterwards(self) -> None:
        """The search for a better path has its end, too."""
        self.begin(self.udp, self.relay)
        self.relay.opened.callback("relayed")
        self.race.expire()
        self.assertIsNone(self.successResultOf(self.race.over))
        self.assertTrue(self.udp.cancelled)
        self.assertIs(self.winner(), self.relay)

    def test_time_is_up_before(self) -> None:
        """A relay that was held back is taken when the others have run out of time."""
        race: Race[str] = Race(self.timeline, clock=self.clock, hold=5.0)
        race.enter([self.udp, self.relay])
        race.no_more()
        self.relay.opened.callback("relayed")
        race.expire()
        self.assertIs(self.successResultOf(race.result).path, self.relay)
        self.assertIsNone(self.successResultOf(race.over))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_held_for_what_worked_before(self) -> None:
        """Where a direct path has worked, it is waited for; where it fails this time, no longer."""
        for fails in (False, True):
            race: Race[str] = Race(self.timeline, clock=self.clock, hold=0.6)
            relay, tcp = FakePath("relay", "r"), FakePath("tcp", "t")
            race.enter([relay, tcp])
            race.no_more()
            relay.opened.callback("relayed")
            self.clock.advance(0.5)
            self.assertNoResult(race.result)
            if fails:
                tcp.opened.errback(ConnectFailed("refused"))
                self.assertIs(self.successResultOf(race.result).path, relay)
            else:
                tcp.opened.callback("direct")
                self.assertIs(self.successResultOf(race.result).path, tcp)

    def test_all_direct_fail(self) -> None:
        """A relay that waits is taken as soon as there is nothing to wait for."""
        self.begin(self.udp, self.relay)
        self.udp.heard()
        self.relay.opened.callback("relayed")
        self.assertNoResult(self.race.result)
        self.udp.opened.errback(ConnectFailed("somebody else"))
        self.assertIs(self.winner(), self.relay)

    def test_second_relay(self) -> None:
        """One relayed session is enough; the other is given up, whether it was verified or not."""
        other, third = FakePath("relay", "x"), FakePath("relay", "y")
        self.begin(self.udp, self.relay, other)
        self.relay.opened.callback("relayed")
        self.assertTrue(other.cancelled)
        self.race.enter([third])
        self.assertEqual(len(self.timeline.candidates), 3)

    def test_second_relay_while_waiting(self) -> None:
        """A second relayed session that is verified while the first one waits is closed."""
        race: Race[Any] = Race(self.timeline, clock=self.clock, hold=1.0)
        sessions = [FakeSession(), FakeSession()]
        paths = [FakePath("relay", "x"), FakePath("relay", "y"), FakePath("udp", "z")]
        race.enter(paths)
        for path, session in zip(paths, sessions, strict=False):
            path.opened.callback(session)  # type: ignore[arg-type]
        self.assertEqual([session.closed for session in sessions], [False, True])
        paths[2].opened.callback("direct")
        self.assertEqual([session.closed for session in sessions], [True, True])

    def test_lost_while_waiting(self) -> None:
        """A relayed session that is lost while it waits is not taken."""
        race: Race[Any] = Race(self.timeline, clock=self.clock, hold=1.0)
        session = FakeSession()
        relay, udp = FakePath("relay", "x"), FakePath("udp", "z")
        race.enter([relay, udp])
        race.no_more()
        relay.opened.callback(session)  # type: ignore[arg-type]
        session.lost = True
        self.clock.advance(1.0)
        self.assertNoResult(race.result)
        udp.opened.callback("direct")
        self.assertIs(self.successResultOf(race.result).path, udp)

    def test_refused(self) -> None:
        """When it must not be, nothing wins, not even a relayed session that is verified; who has
        won already has.
        """
        race: Race[Any] = Race(self.timeline, clock=self.clock, hold=1.0)
        session = FakeSession()
        relay, udp = FakePath("relay", "x"), FakePath("udp", "z")
        race.enter([relay, udp])
        relay.opened.callback(session)  # type: ignore[arg-type]
        race.refuse("it is not wanted")
        told = self.failureResultOf(race.result, ConnectFailed).getErrorMessage()
        self.assertEqual(told, "no path works: relay: it is not wanted; udp: it is not wanted")
        self.assertEqual((session.closed, udp.cancelled), (True, True))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        race.refuse("again")
        self.begin(self.udp, self.relay)
        self.relay.opened.callback("relayed")
        self.race.refuse("too late")
        self.assertIs(self.winner(), self.relay)
        self.assertFalse(self.udp.cancelled)

    def test_questioned(self) -> None:
        """Once there is a question, whoever is verified has to be cleared: the one that waits, too."""
        asked: list[tuple[str, Deferred[str]]] = []

        def ask(session: str) -> Deferred[str]:
            asked.append((session, Deferred()))
            return asked[-1][1]

        race: Race[str] = Race(self.timeline, clock=self.clock, hold=1.0)
        race.enter([self.udp, self.relay])
        self.relay.opened.callback("relayed")
        race.question(ask)
        self.udp.opened.callback("direct")
        self.assertEqual([session for session, _ in asked], ["relayed", "direct"])
        self.clock.advance(2.0)
        self.assertNoResult(race.result)
        asked[0][1].errback(ConnectFailed("nobody knows"))
        self.assertNoResult(race.result)
        asked[1][1].callback("direct")
        self.assertIs(self.successResultOf(race.result).path, self.udp)
        self.assertEqual(self.outcome("relay"), ("failed", "nobody knows"))
        race.question(ask)
        self.assertEqual(len(asked), 2)

    def test_questioned_in_vain(self) -> None:
        """Nobody wins who is not cleared; who gives up cancels the question."""
        for given_up in (False, True):
            asked: Deferred[str] = Deferred()
            race: Race[str] = Race(self.timeline, clock=self.clock)
            relay = FakePath("relay", "x")
            race.enter([relay])
            race.question(lambda session, asked=asked: asked)  # type: ignore[misc]
            relay.opened.callback("relayed")
            if given_up:
                race.end()
                self.assertTrue(asked.called)
                self.assertIsNone(self.successResultOf(race.over))
            else:
                asked.errback(ConnectFailed("nobody knows"))
                failure = self.failureResultOf(race.result, ConnectFailed)
                self.assertIn("relay: nobody knows", failure.getErrorMessage())

    def test_relay_alone_fails(self) -> None:
        """When not even the relay works, its reason is told with the others."""
        self.begin(self.udp, self.relay)
        self.udp.opened.errback(ConnectFailed("never heard"))
        self.relay.opened.errback(ConnectFailed("the server is not there"))
        failure = self.failureResultOf(self.race.result, ConnectFailed)
        self.assertIn("relay: the server is not there", failure.getErrorMessage())
        self.assertIsNone(self.successResultOf(self.race.over))

    def test_given_up(self) -> None:
        """Whoever gives up leaves nothing running, before and after the relay was taken."""
        self.begin(self.udp, self.relay)
        self.relay.opened.callback("relayed")
        self.race.end()
        self.assertTrue(self.udp.cancelled)
        self.assertIsNone(self.successResultOf(self.race.over))
        second: Race[str] = Race(self.timeline, clock=self.clock)
        paths = [FakePath("tcp", "a"), FakePath("relay", "b")]
        second.enter(paths)
        second.result.cancel()
        self.assertTrue(all(path.cancelled for path in paths))
        self.failureResultOf(second.result)
