"""Tests for wavesync.doctor.flights: what a server keeps of each connect."""

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.doctor.flights import (
    MAX_EVENTS,
    MAX_FILE,
    MAX_FLIGHTS,
    MAX_TEXT,
    SAVE_AFTER,
    Flight,
    FlightEvent,
    Flights,
)

NOW = 1_795_000_000.0
ID = "c0" * 16
ALICE, BOB = "aa" * 32, "bb" * 32


class FlightsTests(SynchronousTestCase):
    """What became of a connect can be asked for later, by its client and by nobody else."""

    def setUp(self) -> None:
        """Make a ring in a file."""
        self.path = Path(self.mktemp())
        self.clock = Clock()
        self.clock.advance(100)
        self.flights = self.again()

    def again(self) -> Flights:
        """Start anew, with what is in the file."""
        return Flights(self.clock, wall_clock=lambda: NOW + self.clock.seconds(), path=self.path)

    def begin(self, connection: str = ID, owner: str = ALICE) -> None:
        """A client was introduced."""
        self.flights.note(
            connection, "introduced", "by m", client="alice@s", owner=owner, verified=True
        )

    def events(self, owner: str = ALICE) -> list[tuple[float, str]]:
        """What the client is told."""
        flight = self.flights.find(ID, owner)
        assert flight is not None
        return [(each.ms, each.what) for each in flight.events]

    def test_story(self) -> None:
        """Events are told in milliseconds from the first one; what was earlier is before it."""
        self.begin()
        self.clock.advance(0.04)
        self.flights.note(ID, "heard")
        self.flights.note(ID, "path", when=self.clock.seconds() - 0.06)
        self.assertEqual(self.events(), [(0.0, "introduced"), (40.0, "heard"), (-20.0, "path")])
        flight = self.flights.find(ID, ALICE)
        assert flight is not None
        self.assertEqual((flight.at, flight.client), (NOW + 100, "alice@s"))

    def test_own_only(self) -> None:
        """Nobody learns of others' connects, even with their id; nor can he write into them."""
        self.begin()
        self.assertIsNone(self.flights.find(ID, BOB))
        self.flights.note(ID, "asked", client="bob@s", owner=BOB, verified=True)
        self.assertEqual(self.events(), [(0.0, "introduced")])
        self.assertIsNone(self.flights.find(ID, BOB))

    def test_relayed(self) -> None:
        """What a relay tells belongs to nobody until the client has shown who it is."""
        self.flights.note(ID, "relayed", client="alice@s", owner="by r")
        self.assertIsNone(self.flights.find(ID, "by r"))
        self.assertIsNone(self.flights.find(ID, ALICE))
        self.flights.note(ID, "asked", client="alice@s", owner=ALICE, verified=True)
        self.assertEqual([what for _, what in self.events()], ["relayed", "asked"])

    def test_unknown(self) -> None:
        """Without an id, or for a connect that nobody began, nothing is kept."""
        self.flights.note("", "asked", owner=ALICE, verified=True)
        self.flights.note(ID, "heard")
        self.assertEqual(len(self.flights), 0)

    def test_limits(self) -> None:
        """Events, texts and connects are bounded; the client with most connects loses its oldest."""
        self.begin()
        for _ in range(MAX_EVENTS):
            self.flights.note(ID, "heard", "x" * (MAX_TEXT + 1) + "\n")
        flight = self.flights.find(ID, ALICE)
        assert flight is not None
        self.assertEqual((len(flight.events), flight.left_out), (MAX_EVENTS, 1))
        self.assertEqual(flight.events[-1].why, "x" * MAX_TEXT)
        for number in range(MAX_FLIGHTS - 1):
            self.begin(f"{number:032x}", BOB)
        self.assertEqual(len(self.flights), MAX_FLIGHTS)
        self.begin(f"{MAX_FLIGHTS:032x}", BOB)
        self.assertEqual(len(self.flights), MAX_FLIGHTS)
        self.assertIsNotNone(self.flights.find(ID, ALICE))
        self.assertIsNone(self.flights.find(f"{0:032x}", BOB))

    def test_restart(self) -> None:
        """What was kept is there after a restart, and goes on where it was."""
        self.begin()
        self.clock.advance(SAVE_AFTER)
        self.assertTrue(self.path.exists())
        self.flights.note(ID, "heard")
        self.flights.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(5)
        self.flights = self.again()
        self.flights.note(ID, "ended")
        self.assertEqual(
            self.events(), [(0.0, "introduced"), (10000.0, "heard"), (15000.0, "ended")]
        )

    def test_file_size(self) -> None:
        """The file is bounded; the newest connects are in it."""
        for number in range(MAX_FLIGHTS):
            self.begin(f"{number:032x}")
            for _ in range(MAX_EVENTS - 1):
                self.flights.note(f"{number:032x}", "heard", "x" * MAX_TEXT)
        self.flights.close()
        self.assertLessEqual(self.path.stat().st_size, MAX_FILE)
        self.flights = self.again()
        self.assertGreater(len(self.flights), 50)
        self.assertIsNotNone(self.flights.find(f"{MAX_FLIGHTS - 1:032x}", ALICE))

    def test_damaged(self) -> None:
        """A file that is no such file is not used; nor is what no honest writer writes."""
        self.path.write_text("[{]")
        self.assertEqual(len(self.again()), 0)
        event = FlightEvent(0.0, "x" * (MAX_TEXT + 1))
        for flight in (
            Flight("short", NOW),
            Flight(ID, NOW, "a\n"),
            Flight(ID, NOW, events=[event]),
            Flight(ID, NOW, events=[FlightEvent(0.0, "x")] * (MAX_EVENTS + 1)),
        ):
            self.assertFalse(flight.sound())
        self.assertTrue(Flight(ID, NOW, "a", [FlightEvent(0.0, "x")]).sound())
