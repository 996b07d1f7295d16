"""Tests for L{wavesync.udt.courtesy}."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.courtesy import (
    FALLBACK,
    HALF_OPEN_TIME,
    REPEAT_AFTER,
    SETTLE,
    WAIT,
    Courtesy,
)


class CourtesyTests(SynchronousTestCase):
    """When a server may send to a new client."""

    def test_wavesync(self) -> None:
        """A wavesync client may be sent to at once."""
        courtesy = Courtesy(5.0, wavesync=True)
        self.assertFalse(courtesy.silent(5.0))
        courtesy.speak(5.0)
        self.assertFalse(courtesy.repeat_due(6.0))
        courtesy.show(5.1)
        self.assertFalse(courtesy.silent(5.1))

    def test_shown(self) -> None:
        """A libudt client may be sent to 5 ms after its first packet."""
        courtesy = Courtesy(0.0, wavesync=False)
        self.assertTrue(courtesy.silent(0.1))
        courtesy.show(0.1)
        self.assertTrue(courtesy.silent(0.1 + SETTLE - 0.001))
        self.assertFalse(courtesy.silent(0.1 + SETTLE))
        self.assertIsNone(courtesy.deadline(1.0))

    def test_speak(self) -> None:
        """A server that speaks first repeats the answer 5 ms after the first, and waits 20 ms."""
        courtesy = Courtesy(0.0, wavesync=False)
        courtesy.speak(0.001)
        courtesy.speak(0.002)
        self.assertEqual(courtesy.deadline(0.002), REPEAT_AFTER)
        self.assertFalse(courtesy.repeat_due(0.004))
        self.assertTrue(courtesy.repeat_due(REPEAT_AFTER))
        self.assertFalse(courtesy.repeat_due(REPEAT_AFTER))
        courtesy.answered(REPEAT_AFTER)
        self.assertTrue(courtesy.silent(REPEAT_AFTER + WAIT - 0.001))
        self.assertFalse(courtesy.silent(REPEAT_AFTER + WAIT + 0.001))

    def test_asked_again(self) -> None:
        """A client that asks again has missed the answer: the wait begins anew."""
        courtesy = Courtesy(0.0, wavesync=False)
        courtesy.speak(0.0)
        courtesy.answered(0.25)
        self.assertTrue(courtesy.silent(0.25 + WAIT - 0.001))

    def test_fallback(self) -> None:
        """Silence ends by itself: a client without the answer would have asked by then."""
        courtesy = Courtesy(0.0, wavesync=False)
        self.assertEqual(courtesy.deadline(0.0), FALLBACK)
        self.assertFalse(courtesy.silent(FALLBACK))

    def test_half_open(self) -> None:
        """A client that never shows itself is given up, once."""
        courtesy = Courtesy(0.0, wavesync=True)
        self.assertEqual(courtesy.deadline(1.0), HALF_OPEN_TIME)
        self.assertFalse(courtesy.expired(HALF_OPEN_TIME - 0.001))
        self.assertTrue(courtesy.expired(HALF_OPEN_TIME))
        self.assertFalse(courtesy.expired(HALF_OPEN_TIME))
        self.assertIsNone(courtesy.deadline(HALF_OPEN_TIME))
        shown = Courtesy(0.0, wavesync=True)
        shown.show(1.0)
        self.assertFalse(shown.expired(HALF_OPEN_TIME))
