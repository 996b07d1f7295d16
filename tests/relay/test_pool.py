"""Tests for :mod:`wavesync.relay.pool`: who gets which connection, and how many are wanted."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.identity.ids import Target
from wavesync.relay.pool import HERE, HOLD, MAX_REMEMBERED, WINDOW, Asked, Pool

SERVER, OTHER = Target("a" * 32, "b" * 32), Target("a" * 32, "c" * 32)


class Leg:
    """A parked connection: keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def tell(self, wanted: int, waiting: int) -> None:
        """Keep it."""
        self.told.append((wanted, waiting))


class Client:
    """A client."""


def make(waiting: int = 100, waiting_per_server: int = 50) -> Pool[Leg, Client]:
    """A pool with the default numbers of connections."""
    return Pool(
        idle=7,
        max_idle=64,
        parked_per_server=128,
        waiting=waiting,
        waiting_per_server=waiting_per_server,
    )


def parked(pool: Pool[Leg, Client], many: int, now: float = 0.0) -> list[Leg]:
    """Park connections."""
    legs = [Leg() for _ in range(many)]
    for leg in legs:
        assert pool.park(SERVER, leg, now)
    return legs


class TakeTests(SynchronousTestCase):
    """Clients get connections."""

    def test_newest_first(self) -> None:
        """The connection that was parked last is taken first."""
        pool = make()
        first, second = parked(pool, 2)
        self.assertIs(pool.ask(SERVER, Client(), 0.0), second)
        self.assertIs(pool.ask(SERVER, Client(), 0.0), first)
        self.assertEqual(pool.parked, 0)

    def test_queue(self) -> None:
        """Who waits longest is served first; who has had a dead one goes before all."""
        pool = make()
        parked(pool, 1)
        pool.ask(SERVER, Client(), 0.0)
        one, two, again = Client(), Client(), Client()
        for client in (one, two):
            self.assertIs(pool.ask(SERVER, client, 0.0), Asked.WAITS)
        self.assertIs(pool.ask(SERVER, again, 0.0, again=True), Asked.WAITS)
        self.assertEqual(pool.waiting_for(SERVER), 3)
        served = []
        for _ in range(3):
            (leg,) = parked(pool, 1)
            found = pool.next_waiting(SERVER, 0.0)
            assert found is not None
            self.assertIs(found[0], leg)
            served.append(found[1])
        self.assertEqual(served, [again, one, two])
        self.assertIsNone(pool.next_waiting(SERVER, 0.0))
        self.assertEqual((pool.waiting, pool.parked), (0, 0))

    def test_no_overtaking(self) -> None:
        """A connection that is idle just now is not for a client that comes later than those who wait."""
        pool = make()
        parked(pool, 1)
        pool.ask(SERVER, Client(), 0.0)
        pool.ask(SERVER, Client(), 0.0)
        parked(pool, 1)
        self.assertIs(pool.ask(SERVER, Client(), 0.0), Asked.WAITS)

    def test_absent(self) -> None:
        """A server that is not here is told from one that is expected back."""
        pool = make()
        self.assertIs(pool.ask(SERVER, Client(), 0.0), Asked.ABSENT)
        (leg,) = parked(pool, 1)
        self.assertIs(pool.ask(OTHER, Client(), 0.0), Asked.ABSENT)
        pool.leave(SERVER, leg, 5.0)
        waits = Client()
        self.assertIs(pool.ask(SERVER, waits, 5.0 + HERE), Asked.WAITS)
        self.assertTrue(pool.give_up(SERVER, waits, 5.0 + HERE))
        self.assertFalse(pool.give_up(SERVER, waits, 5.0 + HERE))
        self.assertIs(pool.ask(SERVER, Client(), 5.1 + HERE), Asked.ABSENT)

    def test_full(self) -> None:
        """So many may wait for one server, and for all; one more may not."""
        pool = make(waiting=3, waiting_per_server=2)
        for server in (SERVER, OTHER):
            pool.park(server, Leg(), 0.0)
            pool.ask(server, Client(), 0.0)
        asked = [pool.ask(SERVER, Client(), 0.0) for _ in range(3)]
        self.assertEqual(asked, [Asked.WAITS, Asked.WAITS, Asked.FULL])
        asked = [pool.ask(OTHER, Client(), 0.0) for _ in range(2)]
        self.assertEqual(asked, [Asked.WAITS, Asked.FULL])

    def test_left(self) -> None:
        """A connection that is gone is not given to anybody; one that was taken may go, too."""
        pool = make()
        first, second = parked(pool, 2)
        pool.leave(SERVER, second, 0.0)
        self.assertIs(pool.ask(SERVER, Client(), 0.0), first)
        pool.leave(SERVER, first, 0.0)
        self.assertEqual(pool.parked, 0)


class ElasticTests(SynchronousTestCase):
    """As many connections as clients need."""

    def test_few(self) -> None:
        """Three clients a second are no reason to park more."""
        pool = make()
        parked(pool, 7)
        for number in range(9):
            pool.ask(SERVER, Client(), number * (WINDOW + 0.1) / 3)
            parked(pool, 1, number / 3)
        self.assertEqual(pool.wanted(SERVER), 7)

    def test_grows(self) -> None:
        """Each of several clients at once has more parked, told on the connection it takes."""
        pool = make()
        legs = parked(pool, 7)
        for _ in range(7):
            pool.ask(SERVER, Client(), 0.0)
        told = [leg.told for leg in reversed(legs)]
        self.assertEqual(told, [[], [], [], [(8, 0)], [(10, 0)], [(12, 0)], [(14, 0)]])
        for _ in range(43):
            self.assertIs(pool.ask(SERVER, Client(), 0.0), Asked.WAITS)
        self.assertEqual((pool.wanted(SERVER), pool.waiting_for(SERVER)), (64, 43))
        parked(pool, 1)
        self.assertIsNotNone(pool.next_waiting(SERVER, 5.0))
        self.assertEqual(pool.wanted(SERVER), 64)

    def test_shrinks(self) -> None:
        """After a minute without demand the surplus is closed, and the server told."""
        pool = make()
        parked(pool, 7)
        for _ in range(10):
            pool.ask(SERVER, Client(), 0.0)
        self.assertEqual(pool.wanted(SERVER), 20)
        parked(pool, 3)
        while pool.next_waiting(SERVER, 0.0):
            pass
        legs = parked(pool, 20)
        self.assertTrue(pool.restless)
        self.assertEqual(pool.tick(HOLD - 0.1), [])
        self.assertEqual(pool.tick(HOLD), legs[:13])
        self.assertEqual([leg.told for leg in legs[-3:]], [[], [(7, 0)], [(7, 0)]])
        self.assertEqual((pool.parked, pool.wanted(SERVER), pool.restless), (7, 7, False))

    def test_steps(self) -> None:
        """While some demand stays, as many as it needs are kept."""
        pool = make()
        parked(pool, 7)
        for _ in range(10):
            pool.ask(SERVER, Client(), 0.0)
        parked(pool, 14)
        while pool.next_waiting(SERVER, 0.0):
            pass
        for _ in range(5):
            pool.ask(SERVER, Client(), 30.0)
        pool.tick(HOLD)
        self.assertEqual(pool.wanted(SERVER), 10)
        pool.tick(2 * HOLD - 0.1)
        self.assertEqual(pool.wanted(SERVER), 10)
        pool.tick(2 * HOLD)
        self.assertEqual(pool.wanted(SERVER), 7)

    def test_enough(self) -> None:
        """Seven more than are wanted are taken, the next is not; and never more than the limit."""
        pool = make()
        parked(pool, 14)
        self.assertFalse(pool.park(SERVER, Leg(), 0.0))
        self.assertTrue(pool.park(OTHER, Leg(), 0.0))
        small: Pool[Leg, Client] = Pool(
            idle=7, max_idle=64, parked_per_server=8, waiting=1, waiting_per_server=1
        )
        parked(small, 8)
        self.assertFalse(small.park(SERVER, Leg(), 0.0))


class MemoryTests(SynchronousTestCase):
    """Servers that are gone are forgotten, and others are told."""

    def test_presence(self) -> None:
        """A server is here from its first connection on until ten seconds after its last."""
        pool = make()
        (leg,) = parked(pool, 1)
        self.assertEqual(pool.arrivals, [SERVER])
        pool.leave(SERVER, leg, 0.0)
        pool.tick(HERE)
        self.assertEqual(pool.departures, [])
        pool.tick(HERE + 0.1)
        self.assertEqual(pool.departures, [SERVER])
        parked(pool, 1, HERE + 1.0)
        self.assertEqual(pool.arrivals, [SERVER, SERVER])

    def test_short_absence(self) -> None:
        """Nobody hears of a server that was away for a moment."""
        pool = make()
        (leg,) = parked(pool, 1)
        pool.leave(SERVER, leg, 0.0)
        parked(pool, 1, 5.0)
        pool.tick(100.0)
        self.assertEqual((pool.arrivals, pool.departures), ([SERVER], []))

    def test_forgotten(self) -> None:
        """After a minute nothing is known of it; of very many, the oldest are forgotten before."""
        pool = make()
        (leg,) = parked(pool, 1)
        pool.leave(SERVER, leg, 0.0)
        self.assertEqual(len(pool), 1)
        pool.tick(HOLD + 0.1)
        self.assertEqual((len(pool), pool.restless), (0, False))
        for number in range(MAX_REMEMBERED + 1):
            server, leg = Target("a" * 32, f"{number:032x}"), Leg()
            pool.park(server, leg, 100.0)
            pool.leave(server, leg, 100.0)
        self.assertEqual(len(pool), MAX_REMEMBERED)
        self.assertEqual(pool.departures, [SERVER, Target("a" * 32, "0" * 32)])


class AnyOrderTests(SynchronousTestCase):
    """Whatever happens in whatever order, nothing is lost or counted twice."""

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["park", "leave", "ask", "again", "give", "next", "tick"]),
                st.booleans(),
                st.integers(0, 40),
            ),
            max_size=80,
        )
    )
    def test_any(self, steps: list[tuple[str, bool, int]]) -> None:
        """Connections and clients are where they should be."""
        pool = make(waiting=6, waiting_per_server=4)
        now = 0.0
        idle: dict[Target, list[Leg]] = {SERVER: [], OTHER: []}
        waiting: dict[Target, list[Client]] = {SERVER: [], OTHER: []}
        for what, first, number in steps:
            server = SERVER if first else OTHER
            now += number / 4
            match what:
                case "park":
                    leg = Leg()
                    if pool.park(server, leg, now):
                        idle[server].append(leg)
                case "leave" if idle[server]:
                    pool.leave(server, idle[server].pop(number % len(idle[server])), now)
                case "ask" | "again":
                    client = Client()
                    asked = pool.ask(server, client, now, again=what == "again")
                    if asked is Asked.WAITS:
                        waiting[server].insert(0 if what == "again" else 9999, client)
                    elif not isinstance(asked, Asked):
                        self.assertIs(asked, idle[server].pop())
                case "give" if waiting[server]:
                    client = waiting[server].pop(number % len(waiting[server]))
                    self.assertTrue(pool.give_up(server, client, now))
                case "next":
                    found = pool.next_waiting(server, now)
                    self.assertEqual(found is not None, bool(idle[server] and waiting[server]))
                    if found is not None:
                        self.assertIs(found[0], idle[server].pop())
                        self.assertIs(found[1], waiting[server].pop(0))
                case "tick":
                    for leg in pool.tick(now):
                        next(legs for legs in idle.values() if leg in legs).remove(leg)
            for each in (SERVER, OTHER):
                self.assertEqual(pool.idle_of(each), idle[each])
                self.assertEqual(pool.waiting_for(each), len(waiting[each]))
                self.assertTrue(7 <= pool.wanted(each) <= 64)
            self.assertEqual(pool.parked, sum(map(len, idle.values())))
            self.assertEqual(pool.waiting, sum(map(len, waiting.values())))
