"""Tests for the drawings of state machines."""

from twisted.trial.unittest import SynchronousTestCase

from tests.tools.diagrams import DIRECTORY, MACHINES, draw, initial, load, transitions


class DiagramTests(SynchronousTestCase):
    """The drawings in ``docs/diagrams`` show the machines as they are."""

    def test_current(self) -> None:
        """Whoever changes a machine renews its drawing."""
        for name, place in MACHINES:
            with self.subTest(name):
                path = DIRECTORY / f"{name}.dot"
                self.assertTrue(
                    path.exists(), f"{path}: run python -m tests.tools.diagrams --write"
                )
                self.assertEqual(path.read_text(), draw(name, load(place)))

    def test_no_strays(self) -> None:
        """No drawing is left of a machine that is gone."""
        drawn = {path.stem for path in DIRECTORY.glob("*.dot")}
        self.assertEqual(drawn, {name for name, _place in MACHINES})

    def test_complete(self) -> None:
        """Every state of every machine takes every input: no message of a peer is unforeseen."""
        for name, place in MACHINES:
            with self.subTest(name):
                table = transitions(load(place))
                states = {start for start, _, _, _ in table} | {end for _, _, end, _ in table}
                inputs = {symbol for _, symbol, _, _ in table}
                handled = {(start, symbol) for start, symbol, _, _ in table}
                missing = {(s, i) for s in states for i in inputs} - handled
                self.assertEqual(missing, set())

    def test_changed_machine(self) -> None:
        """A drawing shows start, transitions and outputs, and nothing that is ignored."""
        machine = load("wavesync.udt.connecting:connecting")
        text = draw("x", machine)
        self.assertEqual(initial(machine), "asking")
        self.assertIn('"asking" -> "answering" [label="challenged\\nshow_cookie"]', text)
        self.assertNotIn('"failed" -> "failed"', text)
