"""Tests for :mod:`wavesync.tunnel.ladder`, :mod:`~wavesync.tunnel.race` and :mod:`~wavesync.tunnel.way`."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.tunnel.ladder import AVOIDED_FOR, DEEPEST, OUTRUN, SINKS_BY, Ladder, Rung
from wavesync.tunnel.place import METHODS
from wavesync.tunnel.proxies import Proxy
from wavesync.tunnel.race import AILING_AFTER, MAX_UNDER_WAY, STAGGER, Race
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.way import MAX_WAYS, RAW, Route, Way, ways_of

PLAIN = TunnelURL("tcp", "mediator.example", 3345)
TUNNELS = TunnelURL("http", "mediator.example", 3355)
PROXY = Proxy("corp", 3128)


def direct(method: str) -> Way:
    """A way without a proxy."""
    return Way(PLAIN if method == RAW else TUNNELS, Route.DIRECT, method)


WAYS = tuple(direct(method) for method in (RAW, *METHODS))


def methods(ways: Sequence[Way]) -> list[str]:
    """What they are called, in short."""
    return [way.method for way in ways]


class WayTests(SynchronousTestCase):
    """All ways are found, those first that cost least."""

    def test_direct(self) -> None:
        """Without a proxy: the plain port, then tunnels."""
        found = ways_of([PLAIN], [TUNNELS], lambda url: None)
        self.assertEqual(found, WAYS)

    def test_proxy(self) -> None:
        """With one, it is asked to connect and to pass requests on, and gone past as well."""
        found = ways_of([PLAIN], [TUNNELS], lambda url: PROXY)
        short = [(way.method, way.route.value) for way in found]
        self.assertEqual(short[:2], [(RAW, "direct"), (RAW, "connect")])
        for method in METHODS:
            at = [route for each, route in short if each == method]
            self.assertEqual(at, ["direct", "connect", "absolute"])
        self.assertEqual(len(found), 2 + 3 * len(METHODS))

    def test_tls(self) -> None:
        """What goes through TLS cannot be passed on request by request."""
        relay = TunnelURL("https", "relay.example", 443)
        found = ways_of([relay], [relay], lambda url: PROXY)
        self.assertEqual({way.route for way in found}, {Route.DIRECT, Route.CONNECT})
        self.assertEqual(found[0], Way(relay, Route.DIRECT, RAW))

    def test_excepted(self) -> None:
        """Where no proxy leads, none is tried."""
        found = ways_of([PLAIN], [TUNNELS], lambda url: PROXY if url == TUNNELS else None)
        self.assertNotIn(Way(PLAIN, Route.CONNECT, RAW), found)
        self.assertIn(Way(TUNNELS, Route.CONNECT, "poll"), found)

    def test_limit(self) -> None:
        """Not more than some are kept, the cheapest."""
        urls = [TunnelURL("http", "mediator.example", port) for port in range(1, 20)]
        found = ways_of(urls, urls, lambda url: None)
        self.assertEqual(len(found), MAX_WAYS)
        self.assertEqual(methods(found[:19]), [RAW] * 19)

    def test_shown(self) -> None:
        """A person can tell ways apart, and so can a file."""
        found = ways_of([PLAIN], [TUNNELS], lambda url: PROXY)
        self.assertEqual(len({str(way) for way in found}), len(found))
        self.assertEqual(len({way.key for way in found}), len(found))
        self.assertEqual(
            str(Way(TUNNELS, Route.ABSOLUTE, "poll")),
            "tunnel poll to http://mediator.example:3355 through the proxy",
        )

    def test_no_url(self) -> None:
        """What cannot be a URL is none."""
        for scheme, host, port in (
            ("udp", "a", 1),
            ("http", "", 1),
            ("http", "a", 0),
            ("http", "a", 65536),
        ):
            self.assertRaises(ValueError, TunnelURL, scheme, host, port)
        self.assertEqual(str(TunnelURL("tcp", "::1", 1)), "tcp://[::1]:1")


class LadderTests(SynchronousTestCase):
    """Failures sink a way, time lifts it, success brings it up at once."""

    def setUp(self) -> None:
        self.ladder = Ladder(WAYS)

    def first(self, now: float) -> str:
        """The method that promises most."""
        return self.ladder.ranked(now)[0].method

    def test_nothing_known(self) -> None:
        """At first the cheaper ones come first."""
        self.assertEqual(methods(self.ladder.ranked(0.0)), [RAW, *METHODS])
        self.assertIsNone(self.ladder.proven)

    def test_sink_and_float(self) -> None:
        """One failure puts a way last; a second each brings it up again."""
        self.ladder.failed(direct(RAW), 0.0, "refused")
        self.assertEqual(methods(self.ladder.ranked(0.0))[-1], RAW)
        self.assertEqual(self.ladder.depth(direct(RAW), 0.0), SINKS_BY)
        self.assertEqual(self.first(SINKS_BY - 11), "upgrade")
        self.assertEqual(self.first(SINKS_BY - 9), RAW)
        self.assertEqual(self.ladder.depth(direct(RAW), 1e6), 0.0)
        self.assertEqual(self.ladder.why(direct(RAW)), "refused")

    def test_deepest(self) -> None:
        """However often it fails, ten minutes later it is tried again."""
        for _ in range(50):
            self.ladder.failed(direct(RAW), 0.0, "refused")
        self.assertEqual(self.ladder.depth(direct(RAW), 0.0), DEEPEST)
        self.assertEqual(self.first(DEEPEST), RAW)

    def test_lift(self) -> None:
        """Success undoes all failures."""
        for _ in range(3):
            self.ladder.failed(direct(RAW), 0.0, "refused")
        self.ladder.worked(direct(RAW), 1.0, took=0.2)
        self.assertEqual(self.first(1.0), RAW)
        self.assertEqual(self.ladder.proven, direct(RAW))
        self.assertEqual(self.ladder.took(direct(RAW)), 0.2)
        self.assertEqual(self.ladder.why(direct(RAW)), "")
        self.ladder.failed(direct(RAW), 2.0, "refused")
        self.assertIsNone(self.ladder.proven)

    def test_class(self) -> None:
        """Of the ways with one method, that comes first which worked last."""
        ladder = Ladder(ways_of([PLAIN], [TUNNELS], lambda url: PROXY))
        through = Way(PLAIN, Route.CONNECT, RAW)
        ladder.worked(through, 5.0)
        self.assertEqual(ladder.ranked(9.0)[:2], [through, direct(RAW)])
        ladder.worked(direct(RAW), 6.0)
        self.assertEqual(ladder.ranked(9.0)[:2], [direct(RAW), through])

    def test_road(self) -> None:
        """Where no connection can be made, no method is to be tried."""
        self.ladder.road_failed(direct("poll").road, 0.0, "refused")
        self.assertEqual(self.first(0.0), RAW)
        self.assertEqual(
            {self.ladder.depth(direct(each), 0.0) - direct(each).cost for each in METHODS},
            {SINKS_BY},
        )

    def test_better(self) -> None:
        """What is better than a way that works costs less, whatever is known of it."""
        self.ladder.failed(direct(RAW), 0.0, "refused")
        self.assertEqual(
            methods(self.ladder.better(direct("get-post"), 0.0)), ["upgrade", "websocket", RAW]
        )
        self.assertEqual(self.ladder.better(direct(RAW), 0.0), [])

    def test_restart(self) -> None:
        """What was learned counts in another process; the time between counts, too."""
        self.ladder.failed(direct(RAW), 0.0, "refused")
        self.ladder.worked(direct("poll"), 10.0, took=0.5)
        kept = self.ladder.export(20.0)
        other = Ladder(WAYS)
        other.restore(kept, 7000.0, age=30.0)
        self.assertEqual(other.depth(direct(RAW), 7000.0), SINKS_BY - 20 - 30)
        self.assertEqual(other.proven, direct("poll"))
        self.assertEqual(other.took(direct("poll")), 0.5)
        later = Ladder(WAYS)
        later.restore(kept, 0.0, age=1e5)
        self.assertEqual(methods(later.ranked(0.0)), [RAW, *METHODS])

    def test_cut(self) -> None:
        """Where connections do not last, nothing but short ones is tried on that road for an hour."""
        self.ladder.worked(direct("upgrade"), 0.0)
        self.ladder.cut(direct("upgrade"), 10.0, "cut")
        self.assertEqual(methods(self.ladder.ranked(700.0))[:2], [RAW, "poll"])
        self.assertEqual(methods(self.ladder.better(direct("poll"), 700.0)), [RAW])
        self.assertTrue(self.ladder.ails(direct("two"), 700.0))
        self.ladder.worked(direct("two"), 700.0)  # it comes about, and is cut again
        self.assertEqual(methods(self.ladder.ranked(701.0))[:2], [RAW, "poll"])
        other = Ladder(WAYS)
        other.restore(self.ladder.export(710.0), 0.0, age=100.0)
        self.assertEqual(methods(other.ranked(0.0))[:2], [RAW, "poll"])
        self.assertEqual(methods(other.ranked(AVOIDED_FOR - 800.0)), [RAW, *METHODS])
        self.assertEqual(methods(self.ladder.ranked(10.0 + AVOIDED_FOR)), [RAW, *METHODS])
        self.ladder.cut(direct("upgrade"), 9000.0, "cut")
        self.ladder.lasted(direct("two"))
        self.assertEqual(methods(self.ladder.better(direct("poll"), 9000.0)), [RAW, "two"])

    def test_cut_by_proxy(self) -> None:
        """A proxy that cuts one of its roads is believed to cut all; those past it are as good as ever."""
        ways = ways_of([PLAIN], [TUNNELS], lambda url: PROXY)
        ladder = Ladder(ways)
        ladder.cut(Way(PLAIN, Route.CONNECT, RAW), 10.0, "cut")
        useful = [way for way in ladder.ranked(700.0) if not ladder.ails(way, 700.0)]
        self.assertEqual({way.method for way in useful if way.route is not Route.DIRECT}, {"poll"})
        self.assertEqual([way for way in useful if way.route is Route.DIRECT], list(WAYS))

    def test_nonsense_kept(self) -> None:
        """What is not known, or makes no sense, is left out; a clock that went back does no harm."""
        good = direct(RAW).key
        for rung in (
            Rung("raw direct tcp://other:1", 50.0),
            Rung(good, -1.0),
            Rung(good, DEEPEST + 1),
            Rung(good, 1.0, worked=-5.0),
            Rung(good, 1.0, took=1e9),
            Rung(good, float("nan")),
            Rung(good, 1.0, avoided=-1.0),
            Rung(good, 1.0, avoided=1e9),
            Rung(good, 1.0, cuts=-1),
            Rung(good, 1.0, cuts=1000),
            Rung(good, 1.0, cuts=1, cut_after=1e9),
            Rung(good, 1.0, cuts=1, cut_ago=-1.0),
        ):
            ladder = Ladder(WAYS)
            ladder.restore([rung], 0.0, age=0.0)
            self.assertEqual(ladder.export(0.0), (), rung)
        ladder = Ladder(WAYS)
        ladder.restore([Rung(good, 50.0)], 0.0, age=-1000.0)
        self.assertEqual(ladder.depth(direct(RAW), 0.0), 50.0)

    def test_others_ways(self) -> None:
        """A way that is none of these is not taken in."""
        other = Way(TunnelURL("tcp", "other", 1), Route.DIRECT, RAW)
        self.ladder.failed(other, 0.0, "")
        self.ladder.worked(other, 0.0)
        self.ladder.outrun(other, 0.0)
        self.assertEqual(self.ladder.ways, WAYS)

    @given(
        st.lists(
            st.tuples(st.sampled_from(WAYS), st.sampled_from("fwo"), st.floats(0, 50)), max_size=40
        )
    )
    def test_bounds(self, happenings: list[tuple[Way, str, float]]) -> None:
        """Whatever happens, no way is lost, and none is deeper than the deepest."""
        ladder, now = Ladder(WAYS), 0.0
        for way, what, later in happenings:
            now += later
            if what == "f":
                ladder.failed(way, now, "x")
            elif what == "w":
                ladder.worked(way, now)
            else:
                ladder.outrun(way, now)
            self.assertEqual(set(ladder.ranked(now)), set(WAYS))
            for each in WAYS:
                self.assertTrue(each.cost <= ladder.depth(each, now) <= each.cost + DEEPEST)
        self.assertTrue(all(rung.sound for rung in ladder.export(now)))


class RaceTests(SynchronousTestCase):
    """The best two are raced; others follow one after the other, or at once when one has failed."""

    def setUp(self) -> None:
        self.ladder = Ladder(WAYS)

    def begun(self, race: Race, now: float) -> list[str]:
        """What is begun now."""
        return methods(race.due(now))

    def test_two_at_once(self) -> None:
        """Nothing is known: two begin, then one more each 0.3 s."""
        race = Race(self.ladder, 0.0)
        self.assertEqual(self.begun(race, 0.0), [RAW, "upgrade"])
        race.arrived(direct("upgrade"))
        self.assertEqual(race.deadline(), STAGGER)
        self.assertEqual(self.begun(race, STAGGER - 0.01), [])
        self.assertEqual(self.begun(race, STAGGER), ["websocket"])
        race.arrived(direct("websocket"))
        self.assertEqual(self.begun(race, 2 * STAGGER), ["get-post"])

    def test_at_once_after_failure(self) -> None:
        """Where one has failed, the next need not wait."""
        race = Race(self.ladder, 0.0)
        race.due(0.0)
        race.arrived(direct("upgrade"))
        race.failed(direct("upgrade"), 0.1, "HTTP 404")
        self.assertEqual(self.begun(race, 0.1), ["websocket"])
        self.assertEqual(self.begun(race, 0.1), [])

    def test_same_road(self) -> None:
        """Who knows whether a host can be reached at all is waited for, and failing, counts for all."""
        race = Race(self.ladder, 0.0)
        race.due(0.0)
        self.assertEqual(self.begun(race, 5.0), [])
        self.assertIsNone(race.deadline())
        race.failed(direct("upgrade"), 6.0, "refused")
        self.assertEqual(self.begun(race, 6.0), [])
        self.assertFalse(race.lost)
        race.failed(direct(RAW), 6.5, "refused")
        self.assertTrue(race.lost)
        self.assertEqual([fall.why for fall in race.falls], ["refused", "refused"])

    def test_passable(self) -> None:
        """Where one connection stood, another that does not come says nothing of the road."""
        race = Race(self.ladder, 0.0)
        race.due(0.0)
        race.arrived(direct("upgrade"))
        self.assertEqual(self.begun(race, 0.3), ["websocket"])
        self.assertEqual(self.begun(race, 0.6), ["get-post"])
        race.failed(direct("websocket"), 0.7, "no answer")
        self.assertEqual([fall.whole_road for fall in race.falls], [False])
        self.assertEqual(self.begun(race, 0.7), ["two"])

    def test_whole_road(self) -> None:
        """A proxy that wants a password wants it for every method."""
        race = Race(self.ladder, 0.0)
        race.due(0.0)
        race.arrived(direct("upgrade"))
        race.failed(direct("upgrade"), 0.1, "407", whole_road=True)
        self.assertEqual(self.begun(race, 5.0), [])

    def test_second_waits(self) -> None:
        """What is known to work begins alone, and has the time that it took before."""
        self.ladder.worked(direct(RAW), 0.0, took=0.05)
        race = Race(self.ladder, 1.0)
        self.assertEqual(self.begun(race, 1.0), [RAW])
        self.assertEqual(race.deadline(), 1.0 + STAGGER)
        self.ladder.worked(direct(RAW), 2.0, took=0.5)
        race = Race(self.ladder, 3.0)
        self.assertEqual(self.begun(race, 3.0), [RAW])
        self.assertEqual(race.deadline(), 4.0)
        self.assertEqual(self.begun(race, 4.0), ["upgrade"])

    def test_proven_is_one_of_two(self) -> None:
        """What works is begun at once, also beside cheaper ones that may work again."""
        self.ladder.worked(direct("poll"), 0.0, took=0.4)
        race = Race(self.ladder, 1.0)
        self.assertEqual(self.begun(race, 1.0), [RAW, "poll"])
        race.arrived(direct("poll"))
        self.assertEqual(race.deadline(), 1.8)

    def test_believed(self) -> None:
        """Where one way worked, others of its road need not wait; refused, it is refused for all."""
        self.ladder.worked(direct("two"), 0.0)
        race = Race(self.ladder, 1.0, usable=lambda way: way.method != RAW)
        self.assertEqual(self.begun(race, 1.0), ["upgrade", "two"])
        race.failed(direct("two"), 1.1, "refused")
        self.assertEqual(self.begun(race, 9.0), [])

    def test_ailing(self) -> None:
        """A plain connection that brought nothing lately does not win again by standing first."""
        self.ladder.failed(direct(RAW), 0.0, "no byte came back")
        race = Race(self.ladder, 1.0)
        self.assertEqual(self.begun(race, 1.0), ["upgrade"])
        self.assertEqual(race.deadline(), 1.0 + AILING_AFTER)
        self.assertEqual(self.begun(race, 2.9), [])
        self.assertEqual(self.begun(race, 1.0 + AILING_AFTER), [RAW])
        race = Race(self.ladder, 1.0)
        race.due(1.0)
        race.failed(direct("upgrade"), 1.1, "refused")
        self.assertFalse(race.lost)
        self.assertEqual(self.begun(race, 1.1), [RAW])
        self.assertEqual(
            self.begun(Race(self.ladder, 1.0 + SINKS_BY), 1.0 + SINKS_BY), [RAW, "upgrade"]
        )

    def test_lessons(self) -> None:
        """What failed, or was slow, sinks once another way is open."""
        race = Race(self.ladder, 0.0)
        race.due(0.0)
        race.arrived(direct("upgrade"))
        race.failed(direct("upgrade"), 0.1, "HTTP 404")
        race.due(0.1)
        race.arrived(direct("websocket"))
        self.assertEqual(self.begun(race, 0.1 + STAGGER), ["get-post"])
        race.arrived(direct("get-post"))
        self.assertEqual(self.ladder.export(0.4), ())
        race.won(direct("get-post"), 1.0)
        depths = {way.method: self.ladder.depth(way, 1.0) - way.cost for way in WAYS}
        self.assertEqual(
            depths,
            {
                RAW: SINKS_BY,
                "upgrade": SINKS_BY,
                "websocket": SINKS_BY,
                "get-post": 0,
                "two": 0,
                "poll": 0,
            },
        )
        self.assertEqual(race.due(9.0), [])

    def test_close_race(self) -> None:
        """Who began at the same time and was a little slower sinks a little."""
        race = Race(self.ladder, 0.0)
        race.due(0.0)
        race.won(direct(RAW), 0.1)
        self.assertEqual(self.ladder.depth(direct("upgrade"), 0.1), direct("upgrade").cost + OUTRUN)

    def test_nothing_open(self) -> None:
        """Where nothing works, it is the network's fault, and no way's."""
        race = Race(self.ladder, 0.0)
        race.due(0.0)
        for way in race.under_way:
            race.failed(way, 0.1, "network is unreachable")
        self.assertTrue(race.lost)
        self.assertEqual(self.ladder.export(0.1), ())

    def test_usable(self) -> None:
        """Ways can be left out."""
        race = Race(self.ladder, 0.0, usable=lambda way: way.method != RAW)
        self.assertEqual(self.begun(race, 0.0), ["upgrade"])
        self.assertTrue(Race(self.ladder, 0.0, usable=lambda way: False).lost)

    def test_late_words(self) -> None:
        """News of a way that is out of the race changes nothing."""
        race = Race(self.ladder, 0.0)
        race.arrived(direct("poll"))
        race.failed(direct("poll"), 0.0, "x")
        self.assertEqual(race.falls, ())

    def test_limit(self) -> None:
        """No more than some are tried at one time."""
        urls = [TunnelURL("tcp", "mediator.example", port) for port in range(1, MAX_UNDER_WAY + 3)]
        race = Race(Ladder(ways_of(urls, [], lambda url: None)), 0.0)
        for turn in range(50):
            race.due(turn * STAGGER)
        self.assertEqual(len(race.under_way), MAX_UNDER_WAY)
        self.assertIsNone(race.deadline())
        race.failed(race.under_way[0], 20.0, "refused")
        self.assertEqual(len(race.due(20.0)), 1)
