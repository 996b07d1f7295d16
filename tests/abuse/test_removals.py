"""The tests against forged and spoofed packets fail without the checks that they are for."""

from twisted.trial.unittest import SynchronousTestCase

from tests.abuse.removals import REMOVALS, ROOT, passes, remove


class RemovalTests(SynchronousTestCase):
    """``python -m tests.abuse removed`` takes out each check in turn; here only the first."""

    def test_all_fit(self) -> None:
        """Each check that can be taken out still stands in the sources, once."""
        for removal in REMOVALS:
            text = (ROOT / removal.path).read_text("utf-8")
            self.assertNotEqual(remove(removal, text), text)
            compile(remove(removal, text), removal.path, "exec")

    def test_gone(self) -> None:
        """A check that stands there no more is told of, so that none is forgotten."""
        for text in ("", REMOVALS[0].check * 2):
            with self.assertRaises(ValueError) as caught:
                remove(REMOVALS[0], text)
            self.assertIn(REMOVALS[0].path, str(caught.exception))

    def test_noticed(self) -> None:
        """NAKs of what was never sent: the test, which passes with the check, fails without."""
        self.assertFalse(passes(REMOVALS[0].tests, REMOVALS[0]))
