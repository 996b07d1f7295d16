"""Runs of several kinds in turn."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.samples import Sample, interleave, median, ratios


class InterleaveTests(SynchronousTestCase):
    """A machine that slows down slows all kinds down alike."""

    def test_order(self) -> None:
        """The kinds run in turn, and every run's sample is kept with its kind, in order."""
        ran: list[str] = []
        told: list[tuple[str, Sample]] = []

        def kind(name: str) -> Sample:
            ran.append(name)
            return {"value": float(len(ran))}

        taken = interleave(
            {"a": lambda: kind("a"), "b": lambda: kind("b")}, 3, lambda *each: told.append(each)
        )
        self.assertEqual("".join(ran), "ababab")
        self.assertEqual([sample["value"] for sample in taken["a"]], [1, 3, 5])
        self.assertEqual([sample["value"] for sample in taken["b"]], [2, 4, 6])
        self.assertEqual(told[1], ("b", {"value": 2.0}))

    def test_no_runs(self) -> None:
        """Nobody gets figures of no runs."""
        self.assertRaises(ValueError, interleave, {"a": dict}, 0)

    def test_medians(self) -> None:
        """One wild run does not move a figure."""
        samples = [{"value": value} for value in (3.0, 1.0, 100.0)]
        self.assertEqual(median(samples, "value"), 3)

    def test_ratios(self) -> None:
        """Each run is divided by the other kind's run beside it."""
        ours = [{"value": 8.0}, {"value": 2.0}]
        peers = [{"value": 2.0}, {"value": 1.0}]
        self.assertEqual(ratios(ours, peers, "value"), [4, 2])
        self.assertRaises(ValueError, ratios, ours, peers[:1], "value")
