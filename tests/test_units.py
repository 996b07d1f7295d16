"""Tests of the sample systemd units."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from wavesync.agent.settings import AgentSettings
from wavesync.mediator.settings import MediatorSettings
from wavesync.relay.descriptors import SPARE
from wavesync.relay.pipes import MAX_PIPES
from wavesync.relay.settings import RelaySettings
from wavesync.tcp.doors import MAX_WAITING

UNITS = Path(__file__).resolve().parents[1] / "etc" / "systemd"
ROLES = ("agent", "mediator", "relay")


class UnitTests(SynchronousTestCase):
    """A machine that runs the units as they are."""

    def unit(self, role: str) -> dict[str, str]:
        """What a unit sets."""
        lines = (UNITS / f"wavesync-{role}.service").read_text().splitlines()
        return dict(
            line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")
        )

    def test_all(self) -> None:
        """Every role has a unit, and there is no other."""
        names = sorted(path.name for path in UNITS.iterdir())
        self.assertEqual(names, [f"wavesync-{role}.service" for role in ROLES])

    def test_readable_journal(self) -> None:
        """The journal gets lines for people: twist writes JSON where there is no terminal."""
        for role in ROLES:
            command = self.unit(role)["ExecStart"].split()
            self.assertEqual(command[1:4], ["--log-format", "text", f"wavesync-{role}"])
            self.assertEqual(command[4:], ["--config", f"/etc/wavesync/{role}.toml"])

    def test_contained(self) -> None:
        """Each comes back when it ends, runs as nobody in particular, and writes nowhere but to its own."""
        for role in ROLES:
            unit = self.unit(role)
            for name, value in (
                ("Restart", "always"),
                ("DynamicUser", "yes"),
                ("NoNewPrivileges", "yes"),
                ("ProtectSystem", "strict"),
                ("ProtectHome", "yes"),
                ("PrivateTmp", "yes"),
                ("WantedBy", "multi-user.target"),
            ):
                self.assertEqual(unit.get(name), value, (role, name))

    def test_open_files(self) -> None:
        """Each may open as many files as its default limits can need."""
        for role, needed in (
            ("agent", 2 * AgentSettings().max_sessions),
            ("mediator", MediatorSettings().limits.legs + MAX_WAITING),
            ("relay", RelaySettings().limits.connections + MAX_WAITING + 2 * MAX_PIPES),
        ):
            self.assertGreaterEqual(int(self.unit(role)["LimitNOFILE"]), needed + SPARE, role)

    def test_drains(self) -> None:
        """A relay has the time to drain before systemd kills it."""
        seconds = int(self.unit("relay")["TimeoutStopSec"])
        self.assertGreater(seconds, RelaySettings().drain_grace + 5)
