"""Tests for the small parts of :mod:`wavesync.relay`."""

import os

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.relay.world import NAME, connect_request, park_request
from tests.signalling.provers import NOW, client, prover, server
from wavesync.deadlines import Deadlines
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.nonces import NONCE_LIFE
from wavesync.identity.proofs import PROOF_FRESHNESS
from wavesync.identity.replays import REPLAY_LIFE
from wavesync.relay.admission import HELD_SHARE, Admission, Refused
from wavesync.relay.presence import Board, IPresence, MemoryPresence
from wavesync.relay.quotas import MAX_SPARE_BUCKETS, Place, Quotas, Rates
from wavesync.relay.settings import Limits
from wavesync.relay.vitality import seems_dead
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.relay_wire import RelayRequest, RequestReader
from wavesync.stun.buckets import SourceBuckets

HOST, ELSEWHERE = "192.0.2.1", "192.0.2.2"


class DeadlineTests(SynchronousTestCase):
    """Things are due one period after they began."""

    def test_due(self) -> None:
        """In their order, and not when they have ended or begun anew."""
        due: Deadlines[str] = Deadlines(10.0)
        self.assertEqual((due.deadline(), due.oldest(), len(due)), (None, None, 0))
        for number, thing in enumerate("abcd"):
            due.begin(thing, float(number))
        self.assertEqual((due.deadline(), due.oldest()), (10.0, "a"))
        due.end("b")
        due.end("x")
        due.begin("a", 3.5)
        self.assertEqual(due.take_due(11.9), [])
        self.assertEqual(due.take_due(13.0), ["c", "d"])
        self.assertEqual((list(due), "a" in due, "c" in due), (["a"], True, False))
        self.assertEqual(due.take_due(13.5), ["a"])


class PresenceTests(SynchronousTestCase):
    """Relays of one process find each other's servers."""

    def test_find(self) -> None:
        """The relay to which a server came last; never the one that asks."""
        board = Board()
        urls = [Relay(name, 3356, False) for name in "abc"]
        relays = [MemoryPresence(board, url) for url in urls]
        system = Target("1" * 32, "2" * 32)
        for relay in relays:
            verifyObject(IPresence, relay)
        self.assertIsNone(self.successResultOf(relays[0].find(system)))
        for relay in relays[:2]:
            relay.arrived(system)
        self.assertEqual(self.successResultOf(relays[2].find(system)), urls[1])
        self.assertEqual(self.successResultOf(relays[1].find(system)), urls[0])
        relays[0].arrived(system)
        self.assertEqual(self.successResultOf(relays[2].find(system)), urls[0])
        relays[0].left(system)
        relays[0].left(system)
        self.assertEqual(self.successResultOf(relays[2].find(system)), urls[1])
        self.successResultOf(relays[1].stop())
        self.assertEqual(board.where, {})

    def test_alone(self) -> None:
        """A relay without a URL is found by nobody."""
        board = Board()
        alone = MemoryPresence(board)
        alone.arrived(Target("1" * 32, "2" * 32))
        alone.left(Target("1" * 32, "2" * 32))
        self.assertEqual(board.where, {})


class QuotaTests(SynchronousTestCase):
    """Pairs, and bytes a second."""

    def test_places(self) -> None:
        """Each owner has so many places, and gets them back."""
        quotas = Quotas(
            Limits(pairs=5, pairs_per_system=4, pairs_per_client=2, pairs_per_address=3)
        )
        places = [quotas.enter("s", b"c", HOST) for _ in range(2)]
        self.assertEqual(quotas.enter("s", b"c", HOST), "client")
        places.append(quotas.enter("s", b"d", HOST))
        self.assertEqual(quotas.enter("s", b"d", HOST), "address")
        places.append(quotas.enter("s", b"e", ELSEWHERE))
        self.assertEqual(quotas.enter("s", b"f", "192.0.2.3"), "system")
        places.append(quotas.enter("t", b"f", "192.0.2.3"))
        self.assertEqual(quotas.enter("u", b"g", "192.0.2.4"), "relay")
        self.assertEqual(len(quotas), 5)
        for place in places:
            assert isinstance(place, Place)
            quotas.leave(place)
        self.assertEqual(len(quotas), 0)
        self.assertIsInstance(quotas.enter("s", b"c", HOST), Place)

    def test_no_shape(self) -> None:
        """Without limits of bytes nothing is shaped."""
        quotas = Quotas(Limits())
        place = quotas.enter("s", b"c", HOST)
        assert isinstance(place, Place)
        self.assertIsNone(quotas.shape(place, 0.0))
        quotas.release(place)

    def test_shared(self) -> None:
        """Pairs of one system share its bytes; another system has its own."""
        quotas = Quotas(Limits(system_bytes=100_000.0))
        places = [quotas.enter(system, b"c", HOST) for system in ("s", "s", "t")]
        shapers = []
        for place in places:
            assert isinstance(place, Place)
            shapers.append(quotas.shape(place, 0.0))
        one, two, other = shapers
        assert one is not None and two is not None and other is not None
        self.assertGreater(one.take(1_000_000, 0.0), 9.0)
        self.assertGreater(two.take(1, 0.0), 9.0)
        self.assertEqual(other.take(1, 0.0), 0.0)

    def test_debt_stays(self) -> None:
        """Whoever ends a pair and begins another is in debt as before; only so many are remembered."""
        rates = Rates(100_000.0)
        (bucket,) = rates.enter(b"owner", 0.0)
        bucket.take(1_000_000, 0.0)
        rates.leave(b"owner")
        (again,) = rates.enter(b"owner", 0.0)
        self.assertGreater(again.take(0, 0.0), 9.0)
        rates.leave(b"owner")
        for number in range(MAX_SPARE_BUCKETS + 10):
            rates.enter(b"%d" % number, 0.0)
            rates.leave(b"%d" % number)
        self.assertEqual(len(rates), MAX_SPARE_BUCKETS)


class AdmissionTests(SynchronousTestCase):
    """Whose request is it, and may they?"""

    def admission(
        self,
        *,
        systems: frozenset[str] | None = None,
        replays: int = 100,
        burst: float = 1000.0,
        offset: float = 0.0,
    ) -> Admission:
        """Make one whose *now* is not the date."""
        return Admission(
            NAME,
            systems,
            os.urandom,
            checks=SourceBuckets(0.0, burst),
            replays=replays,
            wall=lambda now: NOW + now - offset,
        )

    def request(self, data: bytes) -> RelayRequest:
        """Read a request."""
        found = RequestReader().feed(data)
        assert found is not None
        return found

    def refused(
        self, admission: Admission, request: RelayRequest, now: float = 0.0, host: str = HOST
    ) -> RelayAnswer:
        """The answer to a request that is refused."""
        with self.assertRaises(Refused) as caught:
            admission.check(request, host, now)
        error: Refused = caught.exception
        return error.answer

    def signed(
        self, credentials: Credentials, nonce: bytes = b"", late: float = 0.0
    ) -> RelayRequest:
        """A client's request."""
        prove = prover(credentials, audience=NAME, now=NOW + late, nonce=nonce)
        return self.request(connect_request(credentials, server().target, prove=prove))

    def test_good(self) -> None:
        """A server parks for itself, a client asks for a server of its system."""
        admission = self.admission(systems=frozenset({server().system}))
        checked = admission.check(self.request(park_request(server())), HOST, 0.0)
        self.assertEqual(checked.peer, server().peer)
        checked = admission.check(self.signed(client()), HOST, 0.0)
        self.assertEqual(checked.peer, client().peer)

    def test_policy(self) -> None:
        """A system that is not on the list is refused, with its good proof."""
        admission = self.admission(systems=frozenset({server(of=2).system}))
        answer = self.refused(admission, self.signed(client()))
        self.assertEqual((answer.status, answer.reason), (403, "not-served"))

    def test_freshness(self) -> None:
        """A proof of thirty seconds is fresh, one that is older is not."""
        for late, fresh in ((-PROOF_FRESHNESS, True), (-PROOF_FRESHNESS - 0.1, False)):
            admission = self.admission()
            request = self.signed(client(), late=late)
            if fresh:
                admission.check(request, HOST, 0.0)
            else:
                self.assertEqual(self.refused(admission, request).status, 401)

    def test_nonce(self) -> None:
        """A nonce is good for a minute, for its address, and once."""
        admission = self.admission()
        challenge = self.refused(admission, self.signed(client(), late=-500.0)).challenge
        assert challenge is not None
        request = self.signed(client(), challenge.nonce, late=-500.0)
        for now, host in ((0.0, ELSEWHERE), (NONCE_LIFE + 0.1, HOST)):
            self.assertEqual(self.refused(admission, request, now, host).status, 401)
        admission.check(request, HOST, NONCE_LIFE)
        self.assertEqual(self.refused(admission, request, NONCE_LIFE).status, 401)

    def test_replay(self) -> None:
        """A proof is good once, for as long as it would be fresh."""
        admission = self.admission()
        request = self.signed(client(), late=PROOF_FRESHNESS)
        admission.check(request, HOST, 0.0)
        for now in (0.0, 2 * PROOF_FRESHNESS):
            self.assertEqual(self.refused(admission, request, now).status, 401)
        self.assertEqual(admission.remembered, 1)
        admission.forget_old(REPLAY_LIFE)
        self.assertEqual(admission.remembered, 0)

    def test_many(self) -> None:
        """With no room for more proofs everybody has to sign with a nonce, and then may."""
        admission = self.admission(replays=2)
        for name in ("alice", "bob"):
            admission.check(self.signed(client(name)), HOST, 0.0)
        answer = self.refused(admission, self.signed(client("carol")))
        assert answer.challenge is not None
        admission.check(self.signed(client("carol"), answer.challenge.nonce), HOST, 0.0)
        self.assertEqual(admission.remembered, 2)

    def test_source(self) -> None:
        """So many bad proofs of a source are looked at; good ones count a twentieth."""
        admission = self.admission(burst=10.0)
        bad = self.request(connect_request(client(), server().target, prove=prover(client())))
        for _ in range(10):
            self.assertEqual(self.refused(admission, bad).status, 403)
        self.assertEqual(self.refused(admission, bad), RelayAnswer(429, retry_after=1))
        self.assertEqual(self.refused(admission, bad, host=ELSEWHERE).status, 403)
        admission = self.admission(burst=10.0, replays=10_000)
        good = round(9.0 / HELD_SHARE)
        for _ in range(good):
            admission.check(self.signed(client()), HOST, 0.0)
        for _ in range(30):
            if self.refused(admission, bad).status == 429:
                break
        else:
            self.fail("good proofs count nothing")

    def test_no_proof(self) -> None:
        """Whoever shows no proof gets a nonce, and costs nothing."""
        admission = self.admission(burst=1.0)
        request = self.request(connect_request(client(), server().target))
        bare = RelayRequest(request.kind, request.target, request.connection)
        for _ in range(5):
            answer = self.refused(admission, bare)
            self.assertEqual((answer.status, answer.challenge is not None), (401, True))

    def test_wrong_clocks(self) -> None:
        """Many whose clocks are wrong are all told how to do better."""
        admission = self.admission(burst=2.0)
        for _ in range(5):
            self.assertEqual(self.refused(admission, self.signed(client(), late=-99.0)).status, 401)
        made_up = self.signed(client(), bytes(24), late=-99.0)
        statuses = [self.refused(admission, made_up).status for _ in range(3)]
        self.assertEqual(statuses, [401, 401, 429])


class VitalityTests(SynchronousTestCase):
    """What the kernel tells of a leg."""

    def test_no_socket(self) -> None:
        """A leg without a socket, or one that is closed, is not dead."""

        class Closed:
            """A transport whose socket is gone."""

            connected = False

            def getHandle(self) -> object:
                """There is none."""
                raise AttributeError("socket")

        self.assertFalse(seems_dead(object()))
        self.assertFalse(seems_dead(Closed()))
