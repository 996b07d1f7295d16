"""Tests for :mod:`wavesync.identity.proofs`."""

import struct
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.identity.fixed import (
    CLIENT_SERIAL,
    DAY,
    NOW,
    OTHER_KEY,
    OTHER_SYSTEM,
    SERVER_KEY,
    SYSTEM,
    SYSTEM_KEY,
    client_credentials,
    server_credentials,
)
from wavesync.identity.certificates import make_client_certificate
from wavesync.identity.credentials import Credentials
from wavesync.identity.proofs import (
    MAX_AUDIENCE,
    MAX_CACHED_CERTIFICATES,
    MAX_NONCE,
    MAX_PROOF,
    MAX_PURPOSE,
    PROOF_FRESHNESS,
    CheckedProof,
    ProofChecker,
    check_proof,
    sign_proof,
)
from wavesync.identity.verify import Reason, Role, VerificationError

MESSAGE = b"a connect request"
CLIENT = client_credentials()


def prove(
    credentials: Credentials = CLIENT,
    *,
    purpose: str = "connect",
    audience: str = "mediator.example",
    now: float = NOW,
    nonce: bytes = b"",
    message: bytes = MESSAGE,
) -> bytes:
    """Sign what the tests below check unless told otherwise."""
    return sign_proof(
        credentials, purpose=purpose, audience=audience, now=now, nonce=nonce, message=message
    )


BLOB = prove()

EXPECTED: dict[str, Any] = {
    "purpose": "connect",
    "audience": "mediator.example",
    "message": MESSAGE,
    "role": Role.CLIENT,
    "now": NOW,
}


def look(blob: bytes = BLOB, **changes: Any) -> CheckedProof:
    """Check a proof, expecting what :func:`prove` makes but for the changes."""
    return check_proof(blob, **{**EXPECTED, **changes})


class Case(SynchronousTestCase):
    """What the tests below share."""

    def refused(self, reason: str, blob: bytes = BLOB, **changes: Any) -> None:
        """Check that a proof is refused for that reason."""
        with self.assertRaises(VerificationError) as caught:
            look(blob, **changes)
        self.assertEqual(caught.exception.reason, reason)


class ProofTests(Case):
    """Proofs between two that were never introduced."""

    def test_good(self) -> None:
        """A mediator without accounts learns who asks."""
        checked = look()
        self.assertEqual(checked.peer.text, f"alice@{SYSTEM}")
        self.assertEqual((checked.time, checked.nonce), (NOW, b""))

    def test_server(self) -> None:
        """A server proves itself the same way."""
        self.assertEqual(look(prove(server_credentials()), role=Role.SERVER).peer.role, Role.SERVER)

    def test_wrong_role(self) -> None:
        """A client cannot register as a server."""
        self.refused(Reason.WRONG_ROLE, role=Role.SERVER)

    def test_bound_to_everything(self) -> None:
        """A proof made for one purpose, audience or message is useless for another."""
        self.refused(Reason.BAD_SIGNATURE, purpose="listen")
        self.refused(Reason.BAD_SIGNATURE, audience="other.example")
        self.refused(Reason.BAD_SIGNATURE, message=MESSAGE + b"!")

    def test_fields_cannot_run_together(self) -> None:
        """Bytes cannot be moved from one field into the next."""
        blob = prove(purpose="connectm", audience="ediator.example")
        self.refused(Reason.BAD_SIGNATURE, blob)

    def test_bound_to_time_and_nonce(self) -> None:
        """An old proof cannot be given a new time or nonce."""
        later = BLOB[:1] + struct.pack("!Q", round(NOW * 1000) + 1) + BLOB[9:]
        self.refused(Reason.BAD_SIGNATURE, later)
        self.refused(Reason.BAD_SIGNATURE, BLOB[:9] + b"\1n" + BLOB[10:])

    def test_freshness(self) -> None:
        """Thirty seconds either way are fresh, a millisecond more is not."""
        for offset in (-PROOF_FRESHNESS, PROOF_FRESHNESS):
            look(now=NOW + offset)
            self.refused(Reason.STALE, now=NOW + offset * 1.0001)

    def test_clock_two_days_off(self) -> None:
        """With the audience's nonce the clock does not matter."""
        blob = prove(now=NOW - 2 * DAY, nonce=b"seen")
        self.refused(Reason.STALE, blob)
        self.refused(Reason.STALE, blob, nonce_ok=lambda nonce: nonce == b"other")
        self.assertEqual(look(blob, nonce_ok=lambda nonce: nonce == b"seen").nonce, b"seen")

    def test_no_nonce_is_never_asked_about(self) -> None:
        """An empty nonce does not count as one."""
        self.refused(Reason.STALE, prove(now=NOW - DAY), nonce_ok=lambda nonce: True)

    def test_nonce_insisted_on(self) -> None:
        """Without a time of reference only a good nonce will do."""
        good: Callable[[bytes], bool] = lambda nonce: nonce == b"seen"  # noqa: E731
        self.refused(Reason.STALE, BLOB, now=None, nonce_ok=good)
        self.refused(Reason.STALE, prove(nonce=b"other"), now=None, nonce_ok=good)
        look(prove(nonce=b"seen"), now=None, nonce_ok=good)

    def test_nonce_is_spent_by_good_proofs_only(self) -> None:
        """Nobody can use up another's nonce with a proof that does not hold."""
        spent: list[bytes] = []

        def spend(nonce: bytes) -> bool:
            spent.append(nonce)
            return True

        blob = prove(now=NOW - DAY, nonce=b"n")
        self.refused(Reason.BAD_SIGNATURE, blob, message=b"other", nonce_ok=spend)
        self.assertEqual(spent, [])
        look(blob, nonce_ok=spend)
        self.assertEqual(spent, [b"n"])

    def test_age_left_to_others(self) -> None:
        """An agent checks again what the mediator has forwarded, whatever its own clock says."""
        self.assertEqual(look(prove(now=NOW - DAY), now=None).time, NOW - DAY)

    def test_certificate_time(self) -> None:
        """The certificate has to be valid when checked, not only when signed."""
        after = NOW + 4000 * DAY
        self.refused(Reason.EXPIRED, prove(now=after), now=after)
        self.refused(Reason.EXPIRED, prove(now=after), now=None)
        self.refused(Reason.EXPIRED, now=None, at=after)
        backdated = prove(nonce=b"n")
        self.refused(Reason.EXPIRED, backdated, now=after, nonce_ok=lambda nonce: True)
        self.refused(Reason.NOT_YET_VALID, prove(now=NOW - DAY * 8), now=NOW - DAY * 8)

    def test_revoked(self) -> None:
        """A revoked client proves nothing."""
        self.refused(Reason.REVOKED, revoked=lambda serial: serial == CLIENT_SERIAL)

    def test_stolen_certificate(self) -> None:
        """Another's certificate, without its key, proves nothing."""
        thief = Credentials(Role.CLIENT, OTHER_KEY, CLIENT.certificate, CLIENT.system_certificate)
        self.refused(Reason.BAD_SIGNATURE, prove(thief))

    def test_another_systems_key(self) -> None:
        """A proof cannot be moved into another system by exchanging the key in it."""
        other = client_credentials(system_key=OTHER_KEY)
        at = BLOB.index(CLIENT.system_key_bytes)
        self.refused(Reason.OTHER_SYSTEM, BLOB[:at] + other.system_key_bytes + BLOB[at + 32 :])
        self.assertEqual(look(prove(other)).peer.system, OTHER_SYSTEM)

    def test_digest(self) -> None:
        """A repeat has the same digest; any other proof has another."""
        blobs = [
            prove(),
            prove(now=NOW + 0.001),
            prove(nonce=b"n"),
            prove(Credentials(Role.CLIENT, SERVER_KEY, *_certify_again())),
        ]
        digests = [look(blob).digest for blob in blobs]
        self.assertEqual(look().digest, digests[0])
        self.assertEqual(len(set(digests)), len(blobs))
        self.assertEqual({len(digest) for digest in digests}, {32})


def _certify_again() -> tuple[Any, Any]:
    """Certify another key under the client's name."""
    certificate = make_client_certificate(SYSTEM_KEY, SERVER_KEY.public_key(), "alice", now=NOW)
    return certificate, CLIENT.system_certificate


class LimitTests(Case):
    """Sizes: a proof has to fit a datagram with all else."""

    def test_the_longest_proof(self) -> None:
        """The longest name, nonce and dates still fit 512 bytes."""
        far = 2_600_000_000.0  # 2052: both dates as GeneralizedTime
        longest = client_credentials("n" * 63, now=far)
        blob = prove(longest, now=far, nonce=bytes(MAX_NONCE))
        self.assertLessEqual(len(blob), MAX_PROOF)
        self.assertEqual(look(blob, now=far).peer.name, "n" * 63)

    def test_oversize(self) -> None:
        """One byte past the limit is refused unread; at the limit it is read."""
        self.refused(Reason.MALFORMED, BLOB.ljust(MAX_PROOF, b"\0"))
        self.refused(Reason.OVERSIZE, BLOB.ljust(MAX_PROOF + 1, b"\0"))

    def test_nonce(self) -> None:
        """The longest nonce works, a longer one is refused on both sides."""
        look(prove(nonce=bytes(MAX_NONCE)))
        self.assertRaises(ValueError, prove, nonce=bytes(MAX_NONCE + 1))
        blob = BLOB[:9] + bytes([MAX_NONCE + 1]) + bytes(MAX_NONCE + 1) + BLOB[10:]
        self.refused(Reason.MALFORMED, blob)

    def test_purpose_and_audience(self) -> None:
        """Longest purpose and audience work; empty and longer ones are our mistake."""
        for key, limit in (("purpose", MAX_PURPOSE), ("audience", MAX_AUDIENCE)):
            changes: dict[str, Any] = {key: "x" * limit}
            look(prove(**changes), **changes)
            for text in ("", "x" * (limit + 1)):
                bad: dict[str, Any] = {key: text}
                self.assertRaises(ValueError, prove, **bad)

    def test_time_range(self) -> None:
        """Times that the wire cannot carry are our mistake; the last one it can is only stale."""
        self.assertRaises(ValueError, prove, now=-1.0)
        self.assertRaises(ValueError, prove, now=2.0**64)
        self.refused(Reason.STALE, BLOB[:1] + b"\xff" * 8 + BLOB[9:])

    def test_other_version(self) -> None:
        """A version that we do not know is refused."""
        self.refused(Reason.MALFORMED, b"\2" + BLOB[1:])

    def test_every_truncation(self) -> None:
        """A proof cut short anywhere, or with a byte more, is refused."""
        for size in range(len(BLOB)):
            self.refused(Reason.MALFORMED, BLOB[:size])
        self.refused(Reason.MALFORMED, BLOB + b"\0")

    def test_every_changed_byte(self) -> None:
        """No byte can be changed without being noticed."""
        for position in range(len(BLOB)):
            changed = bytearray(BLOB)
            changed[position] ^= 1 << position % 8
            with self.assertRaises(VerificationError):
                look(bytes(changed))

    @given(st.binary(max_size=MAX_PROOF + 2))
    def test_garbage(self, garbage: bytes) -> None:
        """Any bytes are refused with the one error."""
        for blob in (garbage, b"\1" + garbage, BLOB[:44] + garbage):
            with self.assertRaises(VerificationError):
                look(blob, now=None)

    @given(
        message=st.binary(max_size=1200),
        nonce=st.binary(max_size=MAX_NONCE),
        now=st.floats(NOW, NOW + DAY),
    )
    def test_round_trip(self, message: bytes, nonce: bytes, now: float) -> None:
        """Whatever is signed is believed."""
        checked = look(prove(message=message, nonce=nonce, now=now), message=message, now=now)
        self.assertEqual(checked.nonce, nonce)
        self.assertLess(abs(checked.time - now), 0.001)


class CheckerTests(SynchronousTestCase):
    """A mediator that sees the same clients again and again."""

    def check(self, checker: ProofChecker, blob: bytes = BLOB, **changes: Any) -> CheckedProof:
        """Check a proof with a checker."""
        return checker.check(blob, **{**EXPECTED, **changes})

    def refused(self, checker: ProofChecker, reason: str, **changes: Any) -> None:
        """Check that a checker refuses a proof for that reason."""
        with self.assertRaises(VerificationError) as caught:
            self.check(checker, **changes)
        self.assertEqual(caught.exception.reason, reason)

    def test_same_answer_twice(self) -> None:
        """What is remembered gives what was found the first time, and the plain check finds."""
        checker = ProofChecker()
        self.assertEqual([self.check(checker) for _ in range(2)], [look(), look()])
        self.assertEqual(len(checker), 1)

    def test_remembered_is_not_believed_for_ever(self) -> None:
        """Role, time, message and revocation are judged anew each time."""
        revoked: set[tuple[str, int]] = set()
        checker = ProofChecker(revoked=lambda system, serial: (system, serial) in revoked)
        self.check(checker)
        self.refused(checker, Reason.WRONG_ROLE, role=Role.SERVER)
        self.refused(checker, Reason.EXPIRED, now=None, at=NOW + 4000 * DAY)
        self.refused(checker, Reason.BAD_SIGNATURE, message=b"other")
        revoked.add((OTHER_SYSTEM, CLIENT_SERIAL))
        self.check(checker)
        revoked.add((SYSTEM, CLIENT_SERIAL))
        self.refused(checker, Reason.REVOKED)

    def test_remembered_under_its_system(self) -> None:
        """A remembered certificate is not taken for another system's."""
        checker = ProofChecker()
        self.check(checker)
        at = BLOB.index(CLIENT.system_key_bytes)
        other = client_credentials(system_key=OTHER_KEY).system_key_bytes
        self.refused(checker, Reason.OTHER_SYSTEM, blob=BLOB[:at] + other + BLOB[at + 32 :])

    def test_failures_are_not_remembered(self) -> None:
        """Strangers' garbage takes no place."""
        checker = ProofChecker()
        self.refused(checker, Reason.MALFORMED, blob=BLOB[:44] + bytes(300))
        self.assertEqual(len(checker), 0)

    def test_capacity(self) -> None:
        """The table holds its limit and not one more, and forgets who was not seen for longest."""
        self.assertEqual(MAX_CACHED_CERTIFICATES, 1024)
        self.assertRaises(ValueError, ProofChecker, 0)
        blobs = [prove(client_credentials(f"client{n}")) for n in range(4)]
        checker = ProofChecker(capacity=3)
        for number, size in ((0, 1), (1, 2), (2, 3), (0, 3), (3, 3)):
            self.check(checker, blobs[number])
            self.assertEqual(len(checker), size)
        names = [leaf.peer.name for leaf in checker._leaves.values()]
        self.assertEqual(names, ["client2", "client0", "client3"])
