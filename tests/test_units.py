"""Tests of the sample systemd units."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

UNITS = Path(__file__).resolve().parents[1] / "etc" / "systemd"


class UnitTests(SynchronousTestCase):
    """A machine that runs the units as they are."""

    def test_readable_journal(self) -> None:
        """The journal gets lines for people: twist writes JSON where there is no terminal."""
        for service in ("agent", "mediator"):
            lines = (UNITS / f"wavesync-{service}.service").read_text().splitlines()
            (start,) = [line for line in lines if line.startswith("ExecStart=")]
            command = start.removeprefix("ExecStart=").split()
            self.assertEqual(command[1:4], ["--log-format", "text", f"wavesync-{service}"])
            self.assertEqual(command[4:], ["--config", f"/etc/wavesync/{service}.toml"])
