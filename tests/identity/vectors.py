"""Computes the golden vectors: ``python -m tests.identity.vectors`` writes vectors.json to stdout.

They were written once; :mod:`tests.identity.test_vectors` compares what the code gives now.
"""

import json
import sys
from pathlib import Path

from tests.identity.fixed import (
    CLIENT_SEED,
    CLIENT_SERIAL,
    NOW,
    SERVER,
    SERVER_SEED,
    SERVER_SERIAL,
    SYSTEM_KEY,
    SYSTEM_SEED,
    client_credentials,
    der,
    server_credentials,
)
from wavesync.identity.crl import make_crl
from wavesync.identity.keys import raw_public_key
from wavesync.identity.proofs import sign_proof

__all__ = ["FILE", "LIST_NUMBER", "PROOF_MESSAGE", "PROOF_NONCE", "compute"]

FILE = Path(__file__).with_name("vectors.json")

PROOF_MESSAGE = b"the message before PROOF"
PROOF_NONCE = bytes(range(8))
LIST_NUMBER = 300


def compute() -> dict[str, str]:
    """Give every vector by its name: hex digits, decimal numbers or text."""
    server, client = server_credentials(), client_credentials()
    by_time = sign_proof(
        client, purpose="connect", audience="mediator.example", now=NOW, message=PROOF_MESSAGE
    )
    by_nonce = sign_proof(
        server,
        purpose="listen",
        audience="mediator.example",
        now=NOW,
        nonce=PROOF_NONCE,
        message=PROOF_MESSAGE,
    )
    revoked = make_crl(
        SYSTEM_KEY,
        {CLIENT_SERIAL: NOW - 86400, SERVER_SERIAL: NOW - 60},
        number=LIST_NUMBER,
        now=NOW,
    )
    return {
        "now": str(int(NOW)),
        "system.seed": SYSTEM_SEED.hex(),
        "system.public": server.system_key_bytes.hex(),
        "system.id": server.system,
        "system.certificate": der(server.system_certificate).hex(),
        "server.seed": SERVER_SEED.hex(),
        "server.public": raw_public_key(server.private_key).hex(),
        "server.id": SERVER,
        "server.serial": str(SERVER_SERIAL),
        "server.certificate": server.certificate_der.hex(),
        "server.text": server.peer.text,
        "client.seed": CLIENT_SEED.hex(),
        "client.public": raw_public_key(client.private_key).hex(),
        "client.name": "alice",
        "client.serial": str(CLIENT_SERIAL),
        "client.certificate": client.certificate_der.hex(),
        "client.text": client.peer.text,
        "list.number": str(LIST_NUMBER),
        "list.crl": revoked.der.hex(),
        "proof.audience": "mediator.example",
        "proof.message": PROOF_MESSAGE.hex(),
        "proof.connect": by_time.hex(),
        "proof.listen.nonce": PROOF_NONCE.hex(),
        "proof.listen": by_nonce.hex(),
    }


if __name__ == "__main__":
    json.dump(compute(), sys.stdout, indent=2)
    sys.stdout.write("\n")
