"""The three services as people run them, looked at with curl after a connect through the relay."""

import json
import re
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutput
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.cli.support import Command, reactor, save
from tests.client.world import Talker
from tests.metrics.reading import Scrape, complaints
from tests.test_twist import TWIST
from wavesync.agent.settings import AgentSettings
from wavesync.client.opening import open_connector
from wavesync.errors import SettingsError
from wavesync.identity.system import SystemCredentials
from wavesync.mediator.settings import MediatorSettings
from wavesync.relay.settings import RelaySettings
from wavesync.settings import parse_settings

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
PATIENCE = 40.0
EXPRESSION = re.compile(r"expr: (?:>-\n)?(.*?)\n(?=\s*(?:for|annotations|labels):)", re.DOTALL)


def expressions() -> dict[str, list[str]]:
    """What the dashboard and the alerts ask for, by file."""
    board = json.loads((ROOT / "etc" / "grafana-dashboard.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    asked += [each["definition"] for each in board["templating"]["list"] if "definition" in each]
    alerts = (ROOT / "etc" / "prometheus-alerts.yml").read_text()
    found = EXPRESSION.findall(alerts)
    assert len(found) == alerts.count("- alert:")
    return {"grafana-dashboard.json": asked, "prometheus-alerts.yml": found}


class RealTests(TestCase):
    """Mediator, relay and agent, each a process."""

    timeout = 120

    def setUp(self) -> None:
        """Make a directory for files."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.commands: list[Command] = []

    def tearDown(self) -> Deferred[Any]:  # type: ignore[override]
        """End all processes."""
        for command in self.commands:
            if not command.ended.called:
                command.signal("KILL")
        return gatherResults([command.ended for command in self.commands])

    async def twist(self, name: str, text: str, ready: str) -> tuple[str, str]:
        """Start a service; where it listens, and where its pages are."""
        path = self.directory / f"{name}.toml"
        path.write_text(text)
        options = ("--log-format", "text", f"wavesync-{name}", "--config", str(path))
        command = Command(*options, module=TWIST, cwd=self.directory)
        self.commands.append(command)
        output = await command.output_with(ready.encode()).addTimeout(PATIENCE, reactor)
        await command.output_with(b"Starting reactor").addTimeout(PATIENCE, reactor)
        output = command.output
        pages = re.search(rb"metrics at (http://\S+)/metrics", output)
        where = re.search(rb"is ready on (\S+?),?\s", output)
        assert pages is not None, output
        return where[1].decode() if where is not None else "", pages[1].decode()

    async def curl(self, url: str) -> str:
        """What curl shows."""
        output: bytes = await getProcessOutput("curl", ["-s", url])
        return output.decode()

    async def until(self, url: str, words: str) -> str:
        """Ask for a page until it has those words."""
        limit = time.monotonic() + PATIENCE
        while True:
            text = await self.curl(url)
            if words in text:
                return text
            self.assertLess(time.monotonic(), limit, text)
            await deferLater(reactor, 0.1)

    def test_relayed(self) -> Deferred[None]:
        """Health, the figures of a connect through the relay, and all that the samples in ``etc`` name."""

        async def test() -> None:
            listen = f'name = "{HOST}"\nlisten = ["{HOST}:0"]\n'
            metrics = f'[metrics]\nlisten = "{HOST}:0"\n'
            at, relay = await self.twist("relay", listen + metrics, "is ready on")
            also = f'relays = ["http://{at}"]\n'
            url, mediator = await self.twist("mediator", listen + also + metrics, "is ready on")
            system = SystemCredentials.create((url,))
            now = time.time()
            server, client = system.add_server(now=now), system.add_client("alice", now=now)
            credentials = save(server, self.directory, "server.pem")
            text = f'credentials = "{credentials}"\nallow_loopback = true\n{metrics}'
            text += f'[services]\nstatus = "tcp:{HOST}:{relay.rpartition(":")[2]}"\n'
            _, agent = await self.twist("agent", text, "accepts on")
            pages = (mediator, relay, agent)
            for each in pages:
                await self.until(f"{each}/health", '{"ok": true, "wrong": []}')
            await self.until(f"{agent}/metrics", "wavesync_agent_parked 7.0")
            await self.until(f"{relay}/metrics", "wavesync_relay_parked 7.0")
            before = [Scrape.of(await self.curl(f"{each}/metrics")) for each in pages]

            connector = open_connector(reactor, client, paths=("relay",), allow_loopback=True)
            talker = Talker(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            await connector.connect(server.target, "status", talker)
            limit = time.monotonic() + PATIENCE
            while not talker.lost:
                self.assertLess(time.monotonic(), limit)
                await deferLater(reactor, 0.02)
            self.assertIn(b"200 OK", talker.heard)
            await connector.close()
            await self.until(f"{relay}/metrics", "wavesync_relay_pairs 0.0")
            await self.until(
                f"{mediator}/metrics",
                'wavesync_mediator_connects_total{outcome="ok",path="relay"} 1.0',
            )
            after = [Scrape.of(await self.curl(f"{each}/metrics")) for each in pages]
            self.check_moved(before, after, len(talker.words), len(talker.heard))
            for old, new in zip(before, after, strict=True):
                self.assertEqual(set(old.values), set(new.values))
            self.check_samples(after)
            self.check_docs(after)
            self.commands[1].signal("TERM")  # the mediator
            await self.until(f"{agent}/health", "not registered with any mediator")

        return Deferred.fromCoroutine(test())

    def check_moved(self, old: list[Scrape], new: list[Scrape], sent: int, heard: int) -> None:
        """See that the connect is counted, everywhere and once."""
        bytes_of = {
            way: new[1].value("wavesync_relay_bytes_total", direction=way) for way in ("up", "down")
        }
        self.assertGreater(bytes_of["up"], sent)
        self.assertGreater(bytes_of["down"], heard)
        for number, name, labels, more in (
            (0, "wavesync_mediator_introductions_total", {}, 1),
            (0, "wavesync_mediator_connect_seconds_count", {"path": "relay"}, 1),
            (1, "wavesync_relay_clients_total", {}, 1),
            (1, "wavesync_relay_joined_total", {}, 1),
            (2, "wavesync_agent_relayed_total", {"outcome": "taken"}, 1),
            (2, "wavesync_agent_clients_total", {"path": "relay"}, 1),
            (2, "wavesync_agent_opened_total", {"path": "relay"}, 1),
            (2, "wavesync_agent_first_byte_seconds_count", {"path": "relay"}, 1),
            (2, "wavesync_agent_bytes_total", {"path": "relay", "direction": "in"}, sent),
            (2, "wavesync_agent_bytes_total", {"path": "relay", "direction": "out"}, heard),
        ):
            moved = new[number].value(name, **labels) - old[number].value(name, **labels)
            self.assertEqual(moved, more, name)
        self.assertEqual(new[0].value("wavesync_mediator_registered"), 1)
        ended = [
            v for (name, _), v in new[1].values.items() if name == "wavesync_relay_ended_total"
        ]
        self.assertEqual(sum(ended), 1)

    def check_samples(self, scrapes: list[Scrape]) -> None:
        """See that the samples name nothing that does not exist."""
        for file, asked in expressions().items():
            for expression in asked:
                self.assertEqual(complaints(expression, scrapes), [], (file, expression))

    def check_docs(self, scrapes: list[Scrape]) -> None:
        """See that the documentation names every family, and no other."""
        text = (ROOT / "docs" / "operating.rst").read_text()
        named = set(re.findall(r"^``(wavesync_\w+)``", text, re.MULTILINE))
        there = {name for scrape in scrapes for name in scrape.families if "wavesync" in name}
        self.assertEqual(named, there)


class SampleTests(SynchronousTestCase):
    """The samples by themselves."""

    def test_scrape_file(self) -> None:
        """The sample for Prometheus comes to where the services are by default."""
        text = (ROOT / "etc" / "prometheus.yml").read_text()
        found = re.findall(r'job_name: (\S+)\n.*\n.*targets: \["(\S+)"\]', text)
        defaults = {
            "wavesync-mediator": MediatorSettings().metrics.listen,
            "wavesync-relay": RelaySettings().metrics.listen,
            "wavesync-agent": AgentSettings().metrics.listen,
        }
        self.assertEqual(dict(found), defaults)
        for each in defaults.values():
            self.assertTrue(each.startswith("127.0.0.1:"))

    def test_settings(self) -> None:
        """Each role's table ``metrics`` has its own default, an empty table too, and can be off."""
        roles: tuple[Any, ...] = (MediatorSettings, RelaySettings, AgentSettings)
        for role in roles:
            text = "[metrics]\n"
            self.assertEqual(parse_settings(text, role, name="x").metrics, role().metrics)
            off = parse_settings(f'{text}listen = ""', role, name="x")
            self.assertEqual(off.metrics.listen, "")
            with self.assertRaises(SettingsError) as caught:
                parse_settings(f'{text}listen = "9345"', role, name="x")
            self.assertIn("setting 'metrics': '9345' is no address", str(caught.exception))

    def test_dashboard(self) -> None:
        """The dashboard is whole: no panel on top of another, none without a name or a question."""
        board = json.loads((ROOT / "etc" / "grafana-dashboard.json").read_text())
        panels = board["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24)
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            self.assertEqual(cells & taken, set(), panel["title"])
            taken |= cells
            self.assertTrue(panel["title"])
            self.assertEqual(panel["type"] == "row", not panel.get("targets"))

    def test_reading(self) -> None:
        """The check of the samples finds what is wrong with them."""
        text = '# TYPE wavesync_x counter\nwavesync_x_total{path="udp"} 1\n'
        scrape = [Scrape.of(text)]
        for expression, wrong in (
            ('sum by (path) (rate(wavesync_x_total{job="a",path="udp"}[5m]))', []),
            ("sum(wavesync_y_total)", ["no series wavesync_y_total"]),
            ('wavesync_x_total{path=~"udp|tcp"}', ["wavesync_x_total has no path='tcp'"]),
            ('wavesync_x_total{way="udp"}', ["wavesync_x_total has no way='udp'"]),
            ("sum by (way) (wavesync_x_total)", ["nothing has the label way"]),
            ("vector(1)", ["no series is named"]),
        ):
            self.assertEqual(complaints(expression, scrape), wrong)
