"""Tests for the figures of the three roles: what they say, and that nobody can make them grow."""

import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import wavesync.relay
from tests.cli.support import reactor
from tests.relay.test_shared_presence import Store
from tests.signalling.authority import Authority
from wavesync.agent.metrics import AgentMetrics
from wavesync.agent.service import AgentService
from wavesync.identity.ids import Target
from wavesync.identity.system import SystemCredentials
from wavesync.identity.verify import Reason
from wavesync.mediator.metrics import MediatorMetrics
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import Limits, MediatorSettings
from wavesync.mediator.statistics import OUTCOMES, PATHS
from wavesync.metrics.page import Observed
from wavesync.relay.metrics import ENDS, REASONS, RelayMetrics
from wavesync.relay.presence import MemoryPresence
from wavesync.relay.service import RelayService
from wavesync.relay.settings import RelaySettings
from wavesync.relay.shared_presence import SharedPresence
from wavesync.signalling.introducing import ConnectionResult
from wavesync.signalling.numbers import ConnectType, ResultCode
from wavesync.signalling.relay_urls import parse_relay
from wavesync.signalling.urls import parse_mediators
from wavesync.stun.message import decode

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class _Once(Collector):
    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def collect(self) -> Iterable[Metric]:
        return self._observed.collect()


def scrape(observed: Observed) -> Series:
    """All series as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(_Once(observed))
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class RoleCase(SynchronousTestCase):
    """One role that does not run."""

    def check_flood(self, observed: Observed, flood: Callable[[int], None]) -> Series:
        """See that no value brings a new series, and that every one is counted somewhere."""
        before = scrape(observed)
        for number in range(1000):
            flood(number)
        after = scrape(observed)
        self.assertEqual(set(before), set(after))
        return after

    def value(self, series: Series, name: str, **labels: str) -> float:
        """One of them."""
        return series[name, tuple(sorted(labels.items()))]


class MediatorTests(RoleCase):
    """A mediator's figures."""

    def setUp(self) -> None:
        """Make one."""
        settings = MediatorSettings(limits=Limits(registrations=1, legs=1))
        self.service = MediatorService(settings, reactor)
        self.metrics = MediatorMetrics(self.service)

    def report(self, result: int, kind: int, seconds: float = 0.2) -> None:
        """Have a client report."""
        told = ConnectionResult("ab" * 16, result, ConnectType(kind), seconds)
        decoded = ConnectionResult.decode(decode(told.encode(bytes(12))))
        self.service.mediator.statistics.report(decoded)

    def test_flood(self) -> None:
        """Results, paths and errors that nobody knows are counted together."""

        def flood(number: int) -> None:
            self.report(number * 4_000_000, number % 32, number * 4000.0)
            self.service.mediator.statistics.refused[number + 1000] += 1

        series = self.check_flood(self.metrics, flood)
        counted = [value for (name, _), value in series.items() if name.endswith("connects_total")]
        self.assertEqual(sum(counted), 1000)
        self.assertEqual(len(counted), len(PATHS) * len(OUTCOMES))
        self.assertEqual(
            self.value(series, "wavesync_mediator_refused_total", reason="other"), 1000
        )

    def test_connects(self) -> None:
        """A report is counted by path and outcome, and its time when it was a success."""
        self.report(ResultCode.OK, ConnectType.UDP, 0.26)
        self.report(ResultCode.NO_SUITABLE_PATH, ConnectType.NONE, 2.8)
        series = scrape(self.metrics)
        name = "wavesync_mediator_connects_total"
        self.assertEqual(self.value(series, name, path="udp", outcome="ok"), 1)
        self.assertEqual(self.value(series, name, path="none", outcome="no-suitable-path"), 1)
        name = "wavesync_mediator_connect_seconds"
        self.assertEqual(self.value(series, f"{name}_bucket", path="udp", le="0.2"), 0)
        self.assertEqual(self.value(series, f"{name}_bucket", path="udp", le="0.3"), 1)
        self.assertEqual(self.value(series, f"{name}_count", path="none"), 0)
        self.assertEqual(self.value(series, f"{name}_sum", path="udp"), 0.26)

    def test_health(self) -> None:
        """It tells what it has no room for."""
        self.assertEqual(self.metrics.ailments(), ["it does not listen"])
        self.service.addresses = (("127.0.0.1", 3345),)
        self.assertEqual(self.metrics.ailments(), [])
        registry: Any = [None]
        self.service.mediator.registry = registry
        self.assertEqual(
            self.metrics.ailments(), ["no room for more servers (limits.registrations)"]
        )


class RelayTests(RoleCase):
    """A relay's figures."""

    def setUp(self) -> None:
        """Make one."""
        self.service = RelayService(RelaySettings(), reactor)
        self.metrics = RelayMetrics(self.service)

    def test_flood(self) -> None:
        """Whatever is wrong with a request is one reason; what nobody knows is another."""
        statistics = self.service.house.statistics

        def flood(number: int) -> None:
            statistics.refused[f"head-{number}"] += 1
            statistics.refused[f"odd-{number}"] += 1
            statistics.ended[f"odd-{number}"] += 1

        series = self.check_flood(self.metrics, flood)
        refused = "wavesync_relay_refused_total"
        self.assertEqual(self.value(series, refused, reason="head"), 1000)
        self.assertEqual(self.value(series, refused, reason="other"), 1000)
        self.assertEqual(self.value(series, "wavesync_relay_ended_total", reason="other"), 1000)

    def test_all_reasons(self) -> None:
        """Every reason that a relay's modules count by has its own series."""
        found: set[str] = set()
        for path in Path(wavesync.relay.__file__).parent.glob("*.py"):
            text = " ".join(path.read_text().split())
            for pattern in (
                r'refused\["([a-z-]+)"\]',
                r'\), "([a-z-]+)" ?\)',
                r'_unavailable\( ?"([a-z-]+)"',
                r'_challenge\([^()]*"([a-z-]+)"\)',
                r'_forbidden\( ?"([a-z-]+)"',
            ):
                found.update(re.findall(pattern, text))
        self.assertGreater(len(found), 15)
        self.assertEqual(found - set(REASONS), set())
        self.assertLess({str(reason) for reason in Reason}, set(REASONS))
        ends = set()
        for path in Path(wavesync.relay.__file__).parent.glob("*.py"):
            ends.update(re.findall(r'(?:abort|pairs\.end)\("([a-z-]+)"', path.read_text()))
        self.assertEqual(ends - set(ENDS), set())
        self.assertIn("idle", ends)

    def test_health(self) -> None:
        """It is not well when it does not listen or drains."""
        self.assertEqual(self.metrics.ailments(), ["it does not listen"])
        self.service.addresses = (("127.0.0.1", 3356),)
        self.assertEqual(self.metrics.ailments(), [])
        self.service.connections.most = 0
        self.assertEqual(
            self.metrics.ailments(),
            ["no room for more connections (limits.connections, or open files)"],
        )
        self.service.connections.most = 1
        self.assertEqual(self.metrics.ailments(), [])
        self.service.house.drain()
        self.assertEqual(self.metrics.ailments(), ["it is draining"])
        self.assertEqual(self.value(scrape(self.metrics), "wavesync_relay_draining"), 1)

    def test_certificate(self) -> None:
        """It tells when the certificate for TLS expires, and that it has."""
        pem = Path(self.mktemp())
        pem.write_bytes(Authority().certify("relay.example"))
        settings = RelaySettings(
            tls_listen=("127.0.0.1:0",), certificate=str(pem), key=str(pem), listen=()
        )
        date = time.time()
        self.service = RelayService(settings, reactor, wall_clock=lambda: date)
        self.service.addresses = (("127.0.0.1", 3356),)
        self.metrics = RelayMetrics(self.service)
        name = "wavesync_relay_certificate_expires_seconds"
        expires = self.value(scrape(self.metrics), name)
        self.assertTrue(date + 86000 < expires < date + 87000, expires - date)
        self.assertEqual(self.metrics.ailments(), [])
        date += 90000
        self.assertEqual(self.metrics.ailments(), ["its certificate for TLS has expired"])
        service = RelayService(RelaySettings(), reactor)
        self.assertEqual(self.value(scrape(RelayMetrics(service)), name), 0)

    def test_presence(self) -> None:
        """It tells whether it can know of other relays, and how many servers those can find."""
        here = parse_relay("http://here.example")
        connecting: Deferred[Any] = Deferred()
        presence = SharedPresence(
            Clock(), here, "the store", lambda: connecting, random=lambda size: bytes(size)
        )
        self.service = RelayService(RelaySettings(), reactor, presence=presence)
        self.service.addresses = (("127.0.0.1", 3356),)
        self.metrics = RelayMetrics(self.service)
        lost = "the presence cannot be reached: clients are sent to no other relay"

        def shown() -> tuple[float, float, list[str]]:
            series, name = scrape(self.metrics), "wavesync_relay_presence"
            reachable, servers = (
                self.value(series, f"{name}_{what}") for what in ("reachable", "servers")
            )
            return reachable, servers, list(self.metrics.ailments())

        presence.start()
        presence.arrived(Target("b" * 32, "1" * 32))
        self.assertEqual(shown(), (0, 0, [lost]))
        store = Store()
        connecting.callback(store)
        self.assertEqual(shown(), (1, 1, []))
        presence.arrived(Target("b" * 32, "2" * 32))
        self.assertEqual(shown(), (1, 2, []))
        store.lose()
        self.assertEqual(shown(), (0, 0, [lost]))
        self.successResultOf(presence.stop())
        alone = MemoryPresence(relay=here)
        alone.arrived(Target("b" * 32, "1" * 32))
        self.assertEqual((alone.reachable, alone.shown), (True, 1))


class AgentTests(RoleCase):
    """An agent's figures."""

    def setUp(self) -> None:
        """Make one."""
        self.date = time.time()
        system = SystemCredentials.create(("127.0.0.1:1",))
        self.credentials = system.add_server(now=self.date, days=30)
        self.service = AgentService(
            reactor,
            self.credentials,
            {},
            parse_mediators(("127.0.0.1:1",)),
            wall_clock=lambda: self.date,
        )
        self.metrics = AgentMetrics(self.service)

    def test_flood(self) -> None:
        """Codes, paths and outcomes that nobody knows bring no series."""
        sessions = self.service.sessions.statistics

        def flood(number: int) -> None:
            sessions.refused[number + 1000] += 1
            sessions.opened[f"path-{number}"] += 1
            sessions.authenticated[""] += 1
            self.service.statistics.introductions[f"odd-{number}"] += 1

        series = self.check_flood(self.metrics, flood)
        self.assertEqual(self.value(series, "wavesync_agent_refused_total", reason="other"), 1000)

    def test_bytes(self) -> None:
        """Bytes of running sessions count, and go on counting when those are over."""
        statistics = self.service.sessions.statistics
        one, other = Stream("tcp", (3, 5)), Stream("tcp", (10, 20))
        statistics.begin(one, control=False)
        statistics.begin(other, control=False)
        statistics.begin(Stream("tcp", (0, 0)), control=True)

        def read() -> tuple[float, ...]:
            series = scrape(self.metrics)
            name = "wavesync_agent_bytes_total"
            moved = (self.value(series, name, path="tcp", direction=d) for d in ("in", "out"))
            return *moved, self.value(series, "wavesync_agent_sessions", path="tcp")

        self.assertEqual(read(), (13, 25, 2))
        one.moved = (4, 6)
        statistics.end(one)
        statistics.end(one)
        self.assertEqual(read(), (14, 26, 1))
        series = scrape(self.metrics)
        self.assertEqual(self.value(series, "wavesync_agent_holes_total", path="tcp"), 1)
        self.assertEqual(self.value(series, "wavesync_agent_opened_total", path="tcp"), 2)

    def test_health(self) -> None:
        """It tells that nobody can find it, and what is wrong with its certificate."""
        self.assertEqual(self.metrics.ailments(), ["it does not run"])
        self.service.running = True
        self.assertEqual(self.metrics.ailments(), ["not registered with any mediator"])
        links: Any = self.service.links
        links.append(Registered(False))
        self.assertEqual(self.metrics.ailments(), ["not registered with any mediator"])
        links.append(Registered(True))
        self.assertEqual(self.metrics.ailments(), [])
        self.date += 31 * 86400
        self.assertEqual(self.metrics.ailments(), ["its certificate has expired"])
        series = scrape(self.metrics)
        expires = self.value(series, "wavesync_agent_certificate_expires_seconds")
        self.assertEqual(expires, self.credentials.leaf.not_after)
        self.assertEqual(self.value(series, "wavesync_agent_registered"), 1)
        self.assertEqual(self.value(series, "wavesync_agent_mediators"), 2)


class Stream:
    """A session as it is counted."""

    def __init__(self, path_kind: str, moved: tuple[int, int]) -> None:
        self.path_kind = path_kind
        self.moved = moved


class Registered:
    """A link as it is counted."""

    def __init__(self, registered: bool) -> None:
        self.registered = registered
