"""What is said of ratios."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Bar, absolute, compared, line, plain


class BarTests(SynchronousTestCase):
    """A ratio is judged the way round that is meant."""

    def test_higher(self) -> None:
        """Where more is better, what must be counts as reached, and a little less does not."""
        bar = Bar(4, 7)
        for ratio, reached, goal in ((3.999, False, False), (4, True, False), (7, True, True)):
            judged = bar.judge(ratio)
            self.assertEqual((judged["reached"], judged["goal_reached"]), (reached, goal))
        self.assertEqual(judged["better"], "higher")

    def test_lower(self) -> None:
        """Where less is better, it is the other way round."""
        bar = Bar(0.25, 0.14, higher=False)
        for ratio, reached, goal in ((0.251, False, False), (0.25, True, False), (0.1, True, True)):
            judged = bar.judge(ratio)
            self.assertEqual((judged["reached"], judged["goal_reached"]), (reached, goal))
        self.assertEqual(judged["better"], "lower")

    def test_goal_is_no_easier(self) -> None:
        """A bar with must and goal mixed up is noticed before anything is measured."""
        self.assertRaises(ValueError, Bar, 7, 4)
        self.assertRaises(ValueError, Bar, 0.14, 0.25, higher=False)


class RowTests(SynchronousTestCase):
    """A figure tells all that is needed to believe it."""

    ours = ({"value": 8.0}, {"value": 9.0}, {"value": 80.0})
    peers = ({"value": 2.0}, {"value": 3.0}, {"value": 8.0})

    def test_compared(self) -> None:
        """Medians and ranges of both, and the median of the rounds' ratios with its range."""
        row = compared("speed", "Mbit/s", "value", self.ours, self.peers, Bar(4, 7), peer="other")
        self.assertEqual((row["ours"], row["ours_range"]), (9, [8, 80]))
        self.assertEqual((row["peer"], row["peer_range"], row["peer_name"]), (3, [2, 8], "other"))
        self.assertEqual((row["ratio"], row["ratio_range"]), (4, [3, 10]))
        self.assertTrue(row["reached"])
        self.assertFalse(row["goal_reached"])

    def test_absolute(self) -> None:
        """A share is judged as it is, whatever the peer reaches."""
        row = absolute("share", "", "value", self.ours, Bar(8, 10), peers=self.peers, peer="other")
        self.assertEqual((row["ratio"], row["peer"]), (9, 3))
        self.assertTrue(row["reached"])
        alone = absolute("share", "", "value", self.ours, Bar(8, 10))
        self.assertIs(alone["peer"], None)

    def test_line(self) -> None:
        """The first figure is the line's own; the others of the same runs come along."""
        bar = Bar(4, 7)
        rows = [
            compared(what, "s", "value", self.ours, self.peers, bar, peer="other")
            for what in ("one", "two")
        ]
        made = line(rows, runs=3, settings={"seconds": 2.0}, medians={"ours": plain(self.ours)})
        self.assertEqual((made["what"], made["runs"]), ("one", 3))
        self.assertEqual([row["what"] for row in made["also"]], ["two"])
        self.assertEqual(made["settings"], {"seconds": 2.0})
        self.assertEqual(made["medians"], {"ours": {"value": 9}})
        self.assertNotIn("also", line(rows[:1], runs=3, settings={}))
