"""Tests for :mod:`wavesync.agent.relay_ranking`."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.agent.relay_ranking import best_relays, by_relay
from wavesync.signalling.relay_urls import Relay, parse_relay

A, B, C, D = (parse_relay(f"{name}.example") for name in "abcd")
ALL = (A, B, C, D)


class BestRelaysTests(SynchronousTestCase):
    """The nearest two, and no changes for nothing."""

    def best(
        self, *round_trips: float, current: tuple[Relay, ...] = (), hopeless: tuple[Relay, ...] = ()
    ) -> tuple[Relay, ...]:
        """Choose among all, given round trips in milliseconds, 0 for unknown ones."""
        measured = {each: ms / 1000 for each, ms in zip(ALL, round_trips, strict=False) if ms}
        return best_relays(ALL, measured, current, hopeless)

    def test_nearest(self) -> None:
        """The nearest are chosen, the nearest first."""
        self.assertEqual(self.best(40, 30, 20, 10), (D, C))

    def test_unknown(self) -> None:
        """Where nothing is known the order is that of the list; what answers goes first."""
        self.assertEqual(self.best(), (A, B))
        self.assertEqual(self.best(0, 0, 500, 0), (C, A))

    def test_stays(self) -> None:
        """One in use stays unless another is nearer by a quarter, and by 20 ms."""
        for other, chosen in ((76.0, (A, B)), (74.0, (A, C))):
            self.assertEqual(self.best(50, 100, other, 200, current=(A, B)), chosen)
        for other, chosen in ((11.0, (A, B)), (9.0, (A, C))):
            self.assertEqual(self.best(1, 30, other, 200, current=(A, B)), chosen)

    def test_hopeless(self) -> None:
        """For one that does not work another is taken as well; it is tried on itself."""
        self.assertEqual(self.best(10, 20, 30, 40, current=(A, B), hopeless=(A,)), (A, B, C))
        self.assertEqual(self.best(10, 20, 30, 40, current=(A, B, C), hopeless=(A, B)), ALL)
        self.assertEqual(self.best(10, 20, 30, 40, current=ALL, hopeless=(C,)), (A, B))
        self.assertEqual(self.best(10, 20, 30, 40, hopeless=ALL), ALL)

    def test_few(self) -> None:
        """One relay, or none, is all there is."""
        self.assertEqual(best_relays((A,), {}, (), ()), (A,))
        self.assertEqual(best_relays((), {}, (), ()), ())


A80, A443 = parse_relay("http://a.example"), parse_relay("https://a.example")
B80, B443 = parse_relay("http://b.example"), parse_relay("https://b.example")
PORTS = (A80, A443, B80, B443)


class PortsTests(SynchronousTestCase):
    """A relay with two ports is one relay: what is lost with it must not be all there is."""

    def best(
        self,
        *round_trips: float,
        candidates: tuple[Relay, ...] = PORTS,
        current: tuple[Relay, ...] = (),
        hopeless: tuple[Relay, ...] = (),
        costs: tuple[float, ...] = (),
    ) -> tuple[Relay, ...]:
        """Choose among both ports of two hosts, given round trips in milliseconds, 0 for unknown."""
        measured = {
            each: ms / 1000 for each, ms in zip(candidates, round_trips, strict=False) if ms
        }
        against = dict(zip(candidates, costs, strict=False))
        return best_relays(candidates, measured, current, hopeless, against)

    def test_another_host(self) -> None:
        """Another host takes the second place, however far it is."""
        self.assertEqual(self.best(10, 12, 300, 290), (A80, B443))
        self.assertEqual(self.best(), (A80, B80))
        self.assertEqual(self.best(10, 12, current=(A80, A443)), (A80, B80))
        self.assertEqual(self.best(0, 12), (A443, B80))

    def test_one_relay(self) -> None:
        """One port is enough: clients who come by the other one find the same connections."""
        self.assertEqual(self.best(10, 12, candidates=(A80, A443)), (A80,))
        self.assertEqual(self.best(10, 12, candidates=(A80, A443), hopeless=(A80,)), (A80, A443))

    def test_several_at_a_host(self) -> None:
        """Several URLs of a kind are several relays; another host is better all the same."""
        more = (A80, A443, parse_relay("a.example"))
        self.assertEqual(by_relay(more), [[A80], [A443], [more[2]]])
        self.assertEqual(self.best(10, 14, 12, candidates=more), (A80, more[2]))
        self.assertEqual(self.best(10, 14, 12, 500, candidates=(*more, B80)), (A80, B80))

    def test_hopeless_port(self) -> None:
        """A port that does not work is tried on, beside one that does, and beside the other host."""
        self.assertEqual(self.best(10, 12, 30, 40, hopeless=(A80,)), (A80, A443, B80))
        self.assertEqual(self.best(10, 12, 30, 40, hopeless=(A80, A443)), (A80, A443, B80))
        self.assertEqual(self.best(10, 12, 30, 40, hopeless=(B80, B443)), (A80, B80, B443))

    def test_cost(self) -> None:
        """Of two ports that one is taken to which the better way leads, even if it answers later."""
        self.assertEqual(self.best(10, 30, 20, 60, costs=(60, 0, 60, 0)), (A443, B443))
        self.assertEqual(self.best(10, 30, 200, 60, costs=(60, 0, 60, 60)), (A443, B443))
        self.assertEqual(self.best(10, 0, costs=(60,)), (A80, B80))
