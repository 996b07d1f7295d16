"""Targets: proofs, certificates and revocation lists."""

from functools import cache

from cryptography.x509 import load_der_x509_crl

from tests.abuse.fuzzing import Target
from tests.identity.fixed import (
    NOW,
    OTHER_KEY,
    SYSTEM_KEY,
    SYSTEM_RAW,
    client_credentials,
    server_credentials,
    signed,
)
from tests.signalling.provers import AUDIENCE
from wavesync.identity.crl import make_crl, read_crl
from wavesync.identity.proofs import ProofChecker, sign_proof
from wavesync.identity.verify import VerificationError, verify_leaf

__all__ = ["IDENTITY_TARGETS", "good_crl"]

_MESSAGE = b"what the proof is about"


@cache
def good_crl() -> bytes:
    """A list of a few revoked certificates."""
    return make_crl(SYSTEM_KEY, dict.fromkeys((*range(1, 9), 1 << 100), NOW), number=3, now=NOW).der


def _proofs() -> list[bytes]:
    made = [(server_credentials(), "bind"), (client_credentials(), "connect")]
    return [
        sign_proof(who, purpose=purpose, audience=AUDIENCE, now=NOW, nonce=nonce, message=_MESSAGE)
        for who, purpose in made
        for nonce in (b"", b"n" * 24)
    ]


def check_proof(data: bytes) -> object:
    """Check a proof over a server's addresses."""
    return ProofChecker(4).check(
        data,
        purpose="bind",
        audience=AUDIENCE,
        message=_MESSAGE,
        role=None,
        now=NOW,
        nonce_ok=lambda nonce: False,
    )


def _leaves() -> list[bytes]:
    made = [server_credentials(), client_credentials(), client_credentials(system_key=OTHER_KEY)]
    return [each.certificate_der for each in made]


def _leaf_bodies() -> list[bytes]:
    made = [server_credentials(), client_credentials()]
    return [each.certificate.tbs_certificate_bytes for each in made]


def _crl_body() -> list[bytes]:
    return [load_der_x509_crl(good_crl()).tbs_certlist_bytes]


def read_leaf(data: bytes) -> object:
    """Verify a certificate."""
    return verify_leaf(data, SYSTEM_RAW, role=None, at=NOW)


IDENTITY_TARGETS = (
    Target(
        "proofs",
        _proofs,
        check_proof,
        VerificationError,
        ("is malformed", "too old or from the future", "signature does not fit"),
        count=1500,
    ),
    Target(
        "certificates",
        _leaves,
        read_leaf,
        VerificationError,
        ("is malformed", "not signed by the system", "another system"),
        count=1500,
    ),
    Target(
        "certificates with a right signature",
        _leaf_bodies,
        lambda data: read_leaf(signed(data)),
        VerificationError,
        (
            "is malformed",
            "one name of its role",
            "exactly one of server and client",
            "another system",
        ),
        count=2000,
    ),
    Target(
        "revocation lists",
        lambda: [good_crl()],
        lambda data: read_crl(data, SYSTEM_RAW),
        VerificationError,
        ("is malformed",),
        count=1500,
    ),
    Target(
        "revocation lists with a right signature",
        _crl_body,
        lambda data: read_crl(signed(data), SYSTEM_RAW),
        VerificationError,
        ("is malformed",),
        count=2000,
    ),
)
