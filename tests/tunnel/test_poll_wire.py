"""Tests of :mod:`wavesync.tunnel.poll_wire`: what requests and answers say."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.tunnel.poll_wire import (
    MAX_HOLD,
    MAX_LIVE,
    PollAnswer,
    PollError,
    PollRequest,
    read_answer,
    read_request,
)

_NUMBERS = st.integers(0, 2**53)
_GOOD = "serial=5; at=10; got=7; room=262144; keep=1; hold=20000; live=3.5"


class WireTests(SynchronousTestCase):
    """Headers that are written are read again, all others are refused."""

    @given(
        st.builds(
            PollRequest,
            st.integers(1, 2**53),
            _NUMBERS,
            _NUMBERS,
            _NUMBERS,
            st.integers(1, MAX_LIVE),
            st.integers(0, MAX_HOLD),
            st.lists(_NUMBERS, min_size=1, max_size=MAX_LIVE).map(tuple),
            st.booleans(),
            st.booleans(),
        )
    )
    def test_requests(self, request: PollRequest) -> None:
        """A request's header says what was meant."""
        self.assertEqual(read_request(request.encode()), request)

    @given(st.builds(PollAnswer, _NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS, st.booleans()))
    def test_answers(self, answer: PollAnswer) -> None:
        """An answer's header says what was meant."""
        self.assertEqual(read_answer(answer.encode()), answer)

    def test_as_documented(self) -> None:
        """The examples of the documentation."""
        request = PollRequest(5, 10, 7, 262144, 1, 20000, (3, 5))
        self.assertEqual(request.encode(), _GOOD)
        answer = PollAnswer(5, 7, 10, 262144, last=True)
        self.assertEqual(answer.encode(), "serial=5; at=7; got=10; room=262144; last")

    def test_malformed(self) -> None:
        """Numbers out of range, and anything else, are refused."""
        for old, new in (
            ("serial=5", "serial=0"),
            ("serial=5", "serial=-5"),
            ("serial=5", "serial=05"),
            ("at=10", f"at={2**53 + 1}"),
            ("got=7", "got="),
            ("keep=1", "keep=0"),
            ("keep=1", f"keep={MAX_LIVE + 1}"),
            ("hold=20000", f"hold={MAX_HOLD + 1}"),
            ("live=3.5", "live="),
            ("live=3.5", "live=3..5"),
            ("live=3.5", "live=" + ".".join("1" * (MAX_LIVE + 1))),
            ("live=3.5", "live=3.5; last; last"),
            ("live=3.5", "live=3.5; over; last"),
            ("live=3.5", "live=3.5; more"),
            ("; ", ";"),
        ):
            self.assertRaises(PollError, read_request, _GOOD.replace(old, new))
        for text in ("", "gone", "serial=1; at=0; got=0", "serial=1; at=0; got=0; room=0; over"):
            self.assertRaises(PollError, read_answer, text)
            self.assertRaises(PollError, read_request, text)


class LimitTests(SynchronousTestCase):
    """What is at the limits is taken."""

    def test_at_the_limits(self) -> None:
        """As many live requests, and as long a hold, as there may be."""
        text = _GOOD.replace("live=3.5", "live=" + ".".join("1" * MAX_LIVE))
        found = read_request(text.replace("hold=20000", f"hold={MAX_HOLD}"))
        self.assertEqual((len(found.live), found.hold), (MAX_LIVE, MAX_HOLD))
