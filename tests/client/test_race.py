"""Tests for :mod:`wavesync.client.race`."""

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
        self.cancelled = False
        self.opened: Deferred[str] = Deferred(self._cancel)

    def _cancel(self, _: object) -> None:
        self.cancelled = True

    def open(self) -> Deferred[str]:
        return self.opened


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
