"""Tests for :mod:`wavesync.udt.dual`."""

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from wavesync.errors import SettingsError
from wavesync.udt.carrier import AUTO, PLAIN
from wavesync.udt.dual import MODE_VARIABLE, mode_from, open_carriers
from wavesync.udt.outlets import PlainOutlet


class DualTests(TestCase):
    """One port number in both families."""

    def test_same_number(self) -> None:
        """Both carriers have one number, IPv4 first, and work in the mode that was asked for."""
        carriers = open_carriers(reactor, mode=PLAIN)
        for carrier in carriers:
            self.addCleanup(carrier.stop)
            self.assertIsInstance(carrier._outlet, PlainOutlet)
        self.assertEqual(len({carrier.address[1] for carrier in carriers}), 1)
        self.assertNotIn(":", carriers[0].address[0])

    def test_environment(self) -> None:
        """A client goes by the environment; what makes no sense is refused with a sentence."""
        self.assertEqual(mode_from({}), AUTO)
        self.assertEqual(mode_from({MODE_VARIABLE: ""}), AUTO)
        self.assertEqual(mode_from({MODE_VARIABLE: "plain"}), PLAIN)
        refused = self.assertRaises(SettingsError, mode_from, {MODE_VARIABLE: "fast"})
        self.assertIn("auto, gso or plain", str(refused))
