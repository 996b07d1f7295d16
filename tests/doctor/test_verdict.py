"""Tests for wavesync.doctor.verdict, with advice and remarks."""

import itertools

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from tests.doctor.known import known, pair_of
from tests.lab.kinds import KINDS
from tests.lab.truth import SCENES, expected
from wavesync.doctor.findings import (
    SUMMARY,
    Family,
    Findings,
    Interface,
    Lifetime,
    Place,
    ProxyFound,
    RouterFound,
    Trial,
)
from wavesync.doctor.pairing import BOTH_ENDS, LAN, LIKELY, RELAY, TCP, UDP, UNKNOWN, YES
from wavesync.doctor.remarks import LARGEST_CLOCK_ERROR, remarks_on
from wavesync.doctor.summary import findings_of
from wavesync.doctor.verdict import Tried, Verdict, judge, judge_network
from wavesync.signalling.network_summary import NetworkSummary

OK = Trial(works=True, ms=20.0)
NO = Trial(works=False, why="the connection is refused")
RELAYED = Tried(path="relay", outcome="ok")


def site(kind: str, number: int, *, port: int | None = None, **more: object) -> Findings:
    """Findings at a site, with a relay that is reached."""
    relay = Place(name="http://relay:3356", host="relay", tcp=OK)
    base = {"ipv4": known(kind, number).ipv4, "relays": (relay,), "port": port, **more}
    return Findings(**base)  # type: ignore[arg-type]


def texts(verdict: Verdict) -> list[str]:
    """What to change, in order."""
    return [each.text for each in verdict.advice]


class AdviceTests(SynchronousTestCase):
    """What people are told to change, and where."""

    def test_symmetric_server(self) -> None:
        """The router is named, the port, and the host that it shall lead to."""
        server = site(
            "symmetric",
            2,
            port=7001,
            interfaces=(Interface(name="eth0", networks=("192.168.1.5/24",)),),
        )
        verdict = judge(site("port", 1), server, [RELAYED])
        self.assertEqual(verdict.taken, "relay")
        first = verdict.advice[0]
        self.assertEqual((first.side, first.gains), ("server", TCP))
        for words in ("(44.2.0.2)", "UPnP, NAT-PMP or PCP", "TCP port 7001", "192.168.1.5"):
            self.assertIn(words, first.text)
        self.assertIn("new port for every destination", verdict.why_not_better)
        self.assertEqual(verdict.why_not_better.count("Address and Port-Dependent Mapping"), 1)

    def test_both_symmetric(self) -> None:
        """No advice is given that would not help by itself: one router changed leaves the other one."""
        verdict = judge(site("symmetric", 1), site("symmetric", 2, port=7001), [RELAYED])
        self.assertEqual([each.gains for each in verdict.advice], [TCP])

    def test_advice_wherever_there_is_no_direct_path(self) -> None:
        """Nobody without a direct path is left alone, and nobody with one is bothered."""
        for client, server in itertools.product(KINDS, repeat=2):
            verdict = judge(site(client, 1), site(server, 2, port=7001))
            missing = expected(client, server) == {"error"}
            self.assertEqual(bool(verdict.advice), missing, f"{client} to {server}")

    def test_router_that_refuses(self) -> None:
        """A router that speaks a protocol and does not want to is told from one that is silent."""
        router = RouterFound(
            router="192.168.1.1", speaks=("PCP", "UPnP"), maps=False, why="not authorized"
        )
        verdict = judge(site("symmetric", 1), site("symmetric", 2, routers=(router,)), [RELAYED])
        self.assertIn("speaks PCP and UPnP", texts(verdict)[0])
        self.assertIn("not authorized", texts(verdict)[0])

    def test_double_nat(self) -> None:
        """Behind two routers it does not help to forward a port at the first one alone."""
        router = RouterFound(
            router="192.168.1.1", speaks=("UPnP",), external="100.64.0.9", another_nat=True
        )
        server = site("cgnat-symmetric", 2, port=7001, routers=(router,))
        verdict = judge(site("port", 1), server, [RELAYED])
        advice = "\n".join(texts(verdict))
        self.assertIn("192.168.1.1", advice)
        self.assertIn("internet provider", advice)
        self.assertIn("internet provider", texts(verdict)[-1])  # which is the most work
        self.assertIn("double NAT", "\n".join(each.text for each in verdict.remarks))

    def test_one_router_without_hairpinning(self) -> None:
        """Two homes behind one ISP's router are told of what it does not do."""
        scene = next(each for each in SCENES if each.name == "one CGNAT, no hairpin")
        verdict = judge(*pair_of(scene))
        # A port that it forwards could not be reached from within either.
        self.assertEqual(len(verdict.advice), 1, texts(verdict))
        self.assertIn("hairpinning", texts(verdict)[0])

    def test_symmetric_home_behind_a_common_router(self) -> None:
        """Two homes behind one ISP's router: the one whose own router gives new ports is told that it is
        that one, though only the ISP's address is seen."""
        name = "one CGNAT, hairpin, symmetric home of the client"
        scene = next(each for each in SCENES if each.name == name)
        client, server = pair_of(scene)
        for pair, side in (((client, server), "client"), ((server, client), "server")):
            verdict = judge(*pair)
            why = {each.path: each.why for each in verdict.paths}[UDP]
            self.assertIn(f"the {side}'s own router gives a new port", why)
            told = {str(each.side): each.text for each in verdict.advice if "new port" in each.text}
            self.assertEqual([*told], [side], texts(verdict))
            self.assertIn("own router, behind that at 44.99.0.2", told[side])

    def test_no_common_version(self) -> None:
        """One end with IPv6 only and one with IPv4 only: each is told what it lacks."""
        scene = next(each for each in SCENES if each.name == "IPv6-only client, IPv4 server")
        verdict = judge(*pair_of(scene))
        told = {each.side: each.text for each in verdict.advice}
        self.assertEqual([*told], ["server", "client"])
        self.assertIn("no IPv6", told["server"])
        self.assertIn("no IPv4", told["client"])

    def test_most_probably(self) -> None:
        """What most probably makes a path possible is told, too: nobody can see how a router that lets no
        UDP pass chooses ports for TCP."""
        verdict = judge(site("no-udp", 1), site("symmetric", 2, port=7001), [RELAYED])
        self.assertEqual([(each.side, each.gains) for each in verdict.advice],
                         [("server", TCP), ("server", BOTH_ENDS)])  # fmt: skip

    def test_relay_out_of_reach(self) -> None:
        """Where no relay is reached either, that comes after what makes a direct path."""
        lost = (Place(name="http://relay:3356", host="relay", tcp=NO),)
        client = Findings(ipv4=known("symmetric", 1).ipv4, relays=lost)
        verdict = judge(client, site("symmetric", 2), [Tried(outcome="no way")])
        self.assertEqual([each.gains for each in verdict.advice], [TCP, RELAY])
        self.assertFalse(verdict.fine)


class TakenTests(SynchronousTestCase):
    """What was just tried counts more than what was thought."""

    def test_what_worked_is_possible(self) -> None:
        """A path that has just been taken is never called impossible."""
        verdict = judge(
            site("symmetric", 1), site("symmetric", 2), [Tried(path="udp", outcome="ok")]
        )
        self.assertEqual({each.path: each.possible for each in verdict.paths}[UDP], YES)

    def test_relay_although_direct_is_possible(self) -> None:
        """The report tells why a path lost that should have worked."""
        candidates: tuple[dict[str, object], ...] = (
            {"kind": "udp", "address": "44.2.0.2:9", "result": "failed", "why": "silent"},
        )
        tried = Tried(path="relay", outcome="ok", candidates=candidates)
        verdict = judge(site("port", 1), site("port", 2), [tried])
        self.assertIn("udp 44.2.0.2:9: silent", verdict.why_not_better)
        self.assertIn("should have worked", verdict.why_not_better)

    def test_private_addresses_are_no_news(self) -> None:
        """That a private address of another site does not answer explains nothing."""
        candidates: tuple[dict[str, object], ...] = (
            {"kind": "tcp", "address": "192.168.2.2:9", "result": "failed", "why": "silent"},
        )
        tried = Tried(path="relay", outcome="ok", candidates=candidates)
        verdict = judge(site("port", 1), site("port", 2), [tried])
        self.assertNotIn("192.168.2.2", verdict.why_not_better)

    def test_likely_and_tried(self) -> None:
        """What was thought likely, and came to nothing, is promised no more; advice is given then."""
        unknown = Family(mapped="44.2.0.2", translated=True, udp=True, tcp=True)
        server = site("port", 2, ipv4=unknown, port=7001)
        before = judge(site("port", 1), server)
        self.assertEqual({each.path: each.possible for each in before.paths}[BOTH_ENDS], LIKELY)
        candidates: tuple[dict[str, object], ...] = (
            {"kind": "tcp", "address": "44.2.0.2:9", "result": "failed", "why": "nothing came"},
        )
        tried = Tried(path="relay", outcome="ok", candidates=candidates)
        after = judge(site("port", 1), server, [tried])
        self.assertEqual({each.path: each.possible for each in after.paths}[BOTH_ENDS], UNKNOWN)
        self.assertIn(TCP, {each.gains for each in after.advice})

    def test_mediators_without_a_second_address(self) -> None:
        """People are told why nobody knows what their routers do."""
        client, server = (
            site(
                "port",
                number,
                ipv4=Family(mapped=f"44.{number}.0.2", translated=True, udp=True, tcp=True),
            )
            for number in (1, 2)
        )
        self.assertIn("alternate", judge(client, server).remarks[-1].text)

    def test_best_path_taken(self) -> None:
        """Nobody is told why a direct path is no better one."""
        verdict = judge(site("port", 1), site("port", 2), [Tried(path="udp", outcome="ok")])
        self.assertEqual(verdict.why_not_better, "")
        self.assertTrue(verdict.fine)

    def test_failure(self) -> None:
        """A connect that came to nothing is not fine; the sentence that it ended with is kept."""
        verdict = judge(site("port", 1), None, [Tried(outcome="it is not online.")])
        self.assertFalse(verdict.fine)
        self.assertEqual(verdict.why_not_better, "it is not online")
        pair = judge(site("symmetric", 1), site("symmetric", 2), [Tried(outcome="no way.")])
        self.assertTrue(pair.why_not_better.startswith("no way (the local network: "))

    def test_server_unknown(self) -> None:
        """A server that tells nothing is said to."""
        verdict = judge(site("port", 1), None, [Tried(path="udp", outcome="ok")])
        self.assertIn("nothing is known", verdict.remarks[-1].text)
        self.assertEqual(verdict.paths, ())
        self.assertTrue(verdict.fine)

    def test_summary(self) -> None:
        """A summary has no details to be remarked upon."""
        server = Findings(source=SUMMARY, ipv4=known("port", 2).ipv4, mediators=(_place(NO),))
        self.assertEqual(judge(site("port", 1), server).remarks, ())

    def test_reports_are_read(self) -> None:
        """What ``--report`` writes is understood."""
        report = (
            b'{"target":"x","path":"lan","outcome":"ok","ms":{"introduced":null},"candidates":[]}'
        )
        tried = msgspec.json.decode(report, type=Tried)
        verdict = judge(site("port", 1), site("port", 2), [tried])
        self.assertEqual({each.path: each.possible for each in verdict.paths}[LAN], YES)


def _place(udp: Trial, tcp: Trial = NO, **more: object) -> Place:
    return Place(name="m:3345", host="m", udp=udp, tcp=tcp, **more)  # type: ignore[arg-type]


class RemarkTests(SynchronousTestCase):
    """What is said of one network."""

    def said(self, findings: Findings) -> str:
        """All remarks."""
        return "\n".join(each.text for each in remarks_on(findings, "client"))

    def test_fine(self) -> None:
        """A good network gets no remark."""
        good = Findings(
            ipv4=Family(udp=True, big_udp=True, lifetime=Lifetime(120.0, None)),
            mediators=(_place(OK, OK, clock_error=LARGEST_CLOCK_ERROR),),
            interfaces=(Interface(name="eth0", multicast=True),),
            proxy=ProxyFound(url="http://proxy:3128", reached=True),
        )
        self.assertEqual(self.said(good), "")
        self.assertTrue(judge_network(good).fine)

    def test_no_mediator(self) -> None:
        """It is needed, and why it is not reached is said."""
        verdict = judge_network(Findings(mediators=(_place(NO),)))
        self.assertFalse(verdict.fine)
        self.assertEqual(len(verdict.remarks), 1)
        self.assertIn("TCP: the connection is refused", verdict.remarks[0].text)

    def test_one_mediator_of_two(self) -> None:
        """One of several that is not reached is worth a remark, and no more."""
        verdict = judge_network(Findings(mediators=(_place(NO), _place(OK, OK))))
        self.assertTrue(verdict.fine)
        self.assertIn("cannot be reached", verdict.remarks[0].text)

    def test_clock(self) -> None:
        """A clock that is wrong is told, with which way; most mediators decide."""
        places = tuple(_place(OK, OK, clock_error=each) for each in (0.0, -90.0, -2 * 86400.0))
        self.assertIn("90 s slow", self.said(Findings(mediators=places)))
        self.assertIn("2.0 days", self.said(Findings(mediators=places[2:])))

    def test_udp_missing(self) -> None:
        """A mediator that only TCP reaches costs time."""
        self.assertIn("quarter of a second", self.said(Findings(mediators=(_place(NO, OK),))))

    def test_proxy(self) -> None:
        """A proxy that asks for a password, or is not there, is needed."""
        for proxy, words in (
            (ProxyFound(url="http://p:1", wants_password=True), "password"),
            (
                ProxyFound(url="http://p:1", reached=False, why="refused"),
                "cannot be reached: refused",
            ),
        ):
            verdict = judge_network(Findings(proxy=proxy))
            self.assertFalse(verdict.fine)
            self.assertIn(words, verdict.remarks[0].text)

    def test_portal(self) -> None:
        """Who has to log in first is told that before anything else."""
        verdict = judge_network(Findings(mediators=(_place(NO),), portal="HTTP 302 Found"))
        self.assertFalse(verdict.fine)
        self.assertEqual(len(verdict.remarks), 2)
        for words in ("captive portal", "log in", "HTTP 302 Found"):
            self.assertIn(words, verdict.remarks[0].text)

    def test_behind_a_proxy(self) -> None:
        """A server that says by the little it has signed that it is behind a proxy dials nobody by itself."""
        server = findings_of(NetworkSummary(translated=True, udp=False, proxy=True))
        verdict = judge(site("linux", 1), server, [Tried(outcome="no way")])
        said = [each.text for each in verdict.remarks if each.side == "server"]
        self.assertEqual(len(said), 1, said)
        self.assertIn("through an HTTP proxy only", said[0])
        paths = {each.path: each for each in verdict.paths}
        self.assertEqual(paths[BOTH_ENDS].possible, "no")
        self.assertIn("the server's network", paths[BOTH_ENDS].why)
        direct = judge(site("linux", 1), findings_of(NetworkSummary(translated=True, proxy=False)))
        self.assertEqual([each.text for each in direct.remarks if each.side == "server"], [])

    def test_small_things(self) -> None:
        """Lost large datagrams, hasty routers and deaf interfaces are told, and break nothing."""
        odd = Findings(
            ipv4=Family(mapped="1.1.1.1", udp=True, big_udp=False, lifetime=Lifetime(9.0, 12.0)),
            interfaces=(Interface(name="eth7", multicast=False),),
        )
        said = self.said(odd)
        for words in ("1200 bytes", "after 12 s", "eth7"):
            self.assertIn(words, said)
        self.assertTrue(judge_network(odd).fine)
