"""Tests for L{wavesync.udt.listening}."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wavesync.interfaces import Address
from wavesync.udt.cookies import KEY_SIZE, CookieJar
from wavesync.udt.handshake import (
    ANSWER,
    CALL,
    HANDSHAKE_SIZE,
    REFUSED,
    REQUEST,
    Handshake,
    Offer,
    decode_handshake,
)
from wavesync.udt.listening import Accept, Listener, Reply

SOURCE: Address = ("192.0.2.1", 4000)
FIRST = Handshake(REQUEST, 77, 1000, timestamp=0)


class ListenerTests(SynchronousTestCase):
    """What a listener does with requests."""

    def setUp(self) -> None:
        """Make a listener."""
        self.limited()

    def limited(self, **limits: int) -> None:
        """Make a listener with other limits."""
        self.listener = Listener(CookieJar(bytes(KEY_SIZE)), **limits)

    def cookie(self, source: Address = SOURCE) -> int:
        """:return: the cookie that the listener gives to *source*."""
        reply = self.listener.receive(FIRST, source, 0.0)
        assert isinstance(reply, Reply)
        return decode_handshake(reply.datagram).cookie

    def second(self, source: Address = SOURCE, **changes: Any) -> Accept | Reply | None:
        """:return: the decision on a request that shows the right cookie."""
        values = {"request": ANSWER, "cookie": self.cookie(source), **changes}
        return self.listener.receive(FIRST.replied(**values), source, 0.0)

    def accept(self, number: int, source: Address = SOURCE) -> bytes:
        """:return: our answer to the client with this id."""
        decision = self.second(source, socket_id=number)
        assert isinstance(decision, Accept), decision
        return self.listener.accepted(decision, Offer(1_000_000 + number, 0))

    def refused(self, decision: Accept | Reply | None) -> bool:
        """:return: whether the decision is to refuse."""
        if not isinstance(decision, Reply):
            return False
        return decode_handshake(decision.datagram).request == REFUSED

    def test_challenge(self) -> None:
        """A first request comes back with a cookie, to the client's id, and nothing is kept."""
        reply = self.listener.receive(FIRST, SOURCE, 0.0)
        assert isinstance(reply, Reply)
        challenge = decode_handshake(reply.datagram)
        self.assertEqual(
            (challenge.request, challenge.socket_id, challenge.destination, challenge.isn),
            (REQUEST, 77, 77, 1000),
        )
        self.assertEqual(len(self.listener), 0)

    def test_stateless(self) -> None:
        """10,000 first requests from everywhere leave nothing behind, and get no more than they
        gave."""
        for number in range(10_000):
            reply = self.listener.receive(FIRST, (f"10.0.{number >> 8}.{number & 255}", 1), 0.0)
            assert isinstance(reply, Reply)
            self.assertLessEqual(len(reply.datagram), HANDSHAKE_SIZE)
        self.assertEqual((len(self.listener), self.listener.half_open), (0, 0))
        self.assertFalse(self.listener._answers or self.listener._per_host)
        self.assertFalse(self.listener._half_open_per_host)

    def test_accept(self) -> None:
        """A request with the right cookie is accepted; the answer takes the client's sequence
        number and the smaller packet size."""
        decision = self.second(mss=1400)
        assert isinstance(decision, Accept)
        answer = decode_handshake(self.listener.accepted(decision, Offer(5, 999, 1450, 100)))
        self.assertEqual(
            (answer.request, answer.socket_id, answer.destination, answer.isn, answer.mss),
            (ANSWER, 5, 77, 1000, 1400),
        )
        self.assertEqual((answer.window, answer.version, answer.socket_type), (100, 4, 1))
        self.assertEqual(answer.peer_ip[:4], bytes([1, 2, 0, 192]))

    def test_wrong_cookie(self) -> None:
        """A wrong cookie is met with silence."""
        wrong = FIRST.replied(request=ANSWER, cookie=self.cookie() ^ 1)
        self.assertIsNone(self.listener.receive(wrong, SOURCE, 0.0))
        other = FIRST.replied(request=ANSWER, cookie=self.cookie(("192.0.2.9", 1)))
        self.assertIsNone(self.listener.receive(other, SOURCE, 0.0))

    def test_rendezvous(self) -> None:
        """A rendezvous handshake, or a refusal, at a listener is met with silence."""
        for request in (CALL, REFUSED):
            packet = FIRST.replied(request=request, cookie=self.cookie())
            self.assertIsNone(self.listener.receive(packet, SOURCE, 0.0))

    def test_exact_request_is_no_matter(self) -> None:
        """Any negative request type with the right cookie will do, as for libudt."""
        self.assertIsInstance(self.second(request=-5), Accept)

    def test_repeated(self) -> None:
        """A repeated request gets the same answer, and no second connection."""
        answer = self.accept(77)
        self.assertEqual(self.second(), Reply(answer))
        self.assertEqual(len(self.listener), 1)
        self.assertEqual(self.listener.answer(1_000_077), answer)

    def test_again_after_close(self) -> None:
        """The same client may come again when its connection is over."""
        self.accept(77)
        self.listener.closed(1_000_077)
        self.assertIsInstance(self.second(), Accept)
        self.assertIsNone(self.listener.answer(1_000_077))

    def test_unsuitable(self) -> None:
        """Another version, datagram sockets, tiny packets and no window are refused."""
        unsuitable: list[dict[str, Any]] = [
            {"version": 5},
            {"socket_type": 2},
            {"mss": 75},
            {"window": 1},
        ]
        for changes in unsuitable:
            with self.subTest(changes):
                self.assertTrue(self.refused(self.second(**changes)))

    def test_trusted(self) -> None:
        """A source with an authenticated connection needs no cookie and no second request."""
        self.assertIsInstance(self.listener.receive(FIRST, SOURCE, 0.0, trusted=True), Accept)

    def test_half_open_limit(self) -> None:
        """So many clients may be silent after the answer, one more is refused until one speaks."""
        self.limited(max_half_open=3)
        for number in range(1, 4):
            self.accept(number, (f"10.0.0.{number}", 1))
        self.assertTrue(self.refused(self.second()))
        known = FIRST.replied(socket_id=99)
        trusted = self.listener.receive(known, ("192.0.2.9", 9), 0.0, trusted=True)
        self.assertIsInstance(trusted, Accept)
        self.listener.shown(1_000_001)
        self.assertIsInstance(self.second(), Accept)

    def test_half_open_host_limit(self) -> None:
        """So many of them may come from one source, with all of an IPv6 /64 being one: whoever is
        silent shuts out himself, and nobody else."""
        self.limited(max_half_open_per_host=3)
        for first, last, other in (
            ("192.0.2.{}", "192.0.2.1", "192.0.2.9"),
            ("2001:db8::{}", "2001:db8::9", "2001:db8:0:1::9"),
        ):
            for number in range(1, 4):
                source = first.format(number if ":" in first else 1), number
                self.accept(number + 10 * (":" in first), source)
            self.assertTrue(self.refused(self.second((last, 5))))
            self.assertIsInstance(self.second((other, 1)), Accept)
        neighbour = FIRST.replied(socket_id=99)
        trusted = self.listener.receive(neighbour, ("192.0.2.1", 9), 0.0, trusted=True)
        self.assertIsInstance(trusted, Accept)
        self.listener.shown(1_000_001)
        self.listener.closed(1_000_011)
        self.assertIsInstance(self.second(("192.0.2.1", 5)), Accept)
        self.assertIsInstance(self.second(("2001:db8::9", 5)), Accept)

    def test_host_limit(self) -> None:
        """One host may have so many connections, one more is refused; another host's is not."""
        self.limited(max_accepted_per_host=3)
        for number in range(1, 4):
            self.accept(number)
        self.assertTrue(self.refused(self.second()))
        self.assertIsInstance(self.second(("192.0.2.2", 1)), Accept)
        self.listener.closed(1_000_001)
        self.assertIsInstance(self.second(), Accept)

    def test_total_limit(self) -> None:
        """So many connections there may be, one more is refused."""
        self.limited(max_accepted=3)
        for number in range(1, 4):
            self.accept(number, (f"10.0.0.{number}", 1))
            self.listener.shown(1_000_000 + number)
        self.assertTrue(self.refused(self.second()))

    def test_baseline(self) -> None:
        """After the last connection nothing is kept of any."""
        for number in range(1, 4):
            self.accept(number)
            self.listener.closed(1_000_000 + number)
            self.listener.closed(1_000_000 + number)
        self.assertEqual((len(self.listener), self.listener.half_open), (0, 0))
        self.assertFalse(self.listener._answers or self.listener._per_host)
        self.assertFalse(self.listener._half_open_per_host)
