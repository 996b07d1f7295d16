"""The golden vectors: what a peer written from the documentation will compute.

The expected values are made here a second time, by hand, wherever the code could be wrong about
itself: ids, times and signed bytes do not come from :mod:`wavesync.identity`.
"""

import hashlib
import json
import re
import struct
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from twisted.trial.unittest import SynchronousTestCase

from tests.identity.vectors import FILE, compute
from wavesync.identity.crl import read_crl
from wavesync.identity.proofs import check_proof
from wavesync.identity.verify import Role, verify_leaf

DOCUMENT = Path(__file__).parents[2] / "docs" / "identity.rst"
VECTORS: dict[str, str] = json.loads(FILE.read_text(encoding="ascii"))
NOW = int(VECTORS["now"])


def raw(name: str) -> bytes:
    """Give a vector's bytes."""
    return bytes.fromhex(VECTORS[name])


class VectorTests(SynchronousTestCase):
    """Nothing that others have built upon changes unnoticed."""

    def test_the_code_gives_them(self) -> None:
        """This version makes the very bytes that the first one made."""
        self.assertEqual(compute(), VECTORS)

    def test_the_document_has_them(self) -> None:
        """Who reads the documentation gets the same values."""
        text = DOCUMENT.read_text(encoding="utf-8").partition("Golden vectors\n")[2]
        found = re.findall(r"^``([a-z.]+)``::\n\n((?:    .+\n)+)", text, re.MULTILINE)
        documented = {name: "".join(block.split()) for name, block in found}
        self.assertEqual(documented, VECTORS)

    def test_system_id(self) -> None:
        """The id follows from the key by the three steps of the documentation."""
        spki = bytes.fromhex("302a300506032b6570032100") + raw("system.public")
        digits = list(hashlib.sha256(spki).hexdigest()[:32])
        digits[12] = "8"
        digits[16] = "89ab"[int(digits[16], 16) % 4]
        self.assertEqual("".join(digits), VECTORS["system.id"])

    def test_certificates(self) -> None:
        """The certificates verify, and name whom they should."""
        for name, role in (("server", Role.SERVER), ("client", Role.CLIENT)):
            der = raw(f"{name}.certificate")
            peer = verify_leaf(der, raw("system.public"), role=role, at=NOW)
            self.assertEqual(peer.text, VECTORS[f"{name}.text"])
            certificate = x509.load_der_x509_certificate(der)
            self.assertEqual(certificate.serial_number, int(VECTORS[f"{name}.serial"]))
            Ed25519PublicKey.from_public_bytes(raw("system.public")).verify(
                certificate.signature, certificate.tbs_certificate_bytes
            )

    def test_list(self) -> None:
        """The list is a CRL as the documentation's table has it, and names both certificates."""
        crl = x509.load_der_x509_crl(raw("list.crl"))
        Ed25519PublicKey.from_public_bytes(raw("system.public")).verify(
            crl.signature, crl.tbs_certlist_bytes
        )
        self.assertEqual(crl.issuer.rfc4514_string(), "CN=ws")
        self.assertEqual(crl.last_update_utc.timestamp(), NOW)
        assert crl.next_update_utc is not None
        self.assertEqual(crl.next_update_utc.year, 9999)
        values = [extension.value for extension in crl.extensions]
        number = x509.CRLNumber(int(VECTORS["list.number"]))
        key_id = x509.AuthorityKeyIdentifier(raw("system.id"), None, None)
        self.assertEqual(values, [key_id, number])
        serials = [int(VECTORS[f"{name}.serial"]) for name in ("server", "client")]
        self.assertEqual([entry.serial_number for entry in crl], serials)
        read = read_crl(raw("list.crl"), raw("system.public"))
        self.assertEqual((read.number, list(read.revoked)), (300, serials))

    def check_proof_by_hand(self, name: str, signer: str, nonce: bytes) -> None:
        """Build a proof's bytes from the documentation's tables, and check its signature."""
        audience, time = VECTORS["proof.audience"].encode(), struct.pack("!Q", NOW * 1000)
        certificate = raw(f"{signer}.certificate")
        front = b"\1" + time + bytes([len(nonce)]) + nonce + raw("system.public")
        front += struct.pack("!H", len(certificate)) + certificate
        blob = raw(f"proof.{name}")
        self.assertEqual(blob[:-64], front)
        digest = hashlib.sha256(raw("proof.message")).digest()
        signed = b"wavesync-proof-v1\0"
        for field in (name.encode(), audience, time, nonce, digest):
            signed += struct.pack("!H", len(field)) + field
        Ed25519PublicKey.from_public_bytes(raw(f"{signer}.public")).verify(blob[-64:], signed)

    def test_proofs(self) -> None:
        """Proofs are laid out and signed as the documentation says."""
        self.check_proof_by_hand("connect", "client", b"")
        self.check_proof_by_hand("listen", "server", raw("proof.listen.nonce"))

    def test_proofs_hold(self) -> None:
        """The checker believes the documented proofs."""
        for name, role in (("connect", Role.CLIENT), ("listen", Role.SERVER)):
            checked = check_proof(
                raw(f"proof.{name}"),
                purpose=name,
                audience=VECTORS["proof.audience"],
                message=raw("proof.message"),
                role=role,
                now=NOW,
            )
            self.assertEqual(checked.peer.text, VECTORS[f"{role.value}.text"])
