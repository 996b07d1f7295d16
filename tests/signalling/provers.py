"""Systems with servers and clients, and the provers that sign for them, for tests."""

from functools import cache

from wavesync.identity.credentials import Credentials
from wavesync.identity.system import SystemCredentials
from wavesync.signalling.proved import Prover

__all__ = ["AUDIENCE", "NOW", "client", "prover", "server", "system"]

NOW = 1_795_000_000.0
"""A moment in November 2026, seconds since the epoch."""

AUDIENCE = "mediator.example"


@cache
def system(number: int = 1) -> SystemCredentials:
    """Return a system, always the same for a *number*."""
    return SystemCredentials.create(("udp://mediator.example",))


@cache
def server(number: int = 1, of: int = 1, days: int = 365) -> Credentials:
    """Return a server of system *of*, always the same for the same arguments."""
    return system(of).add_server(now=NOW, server_id=f"{number:032x}", days=days)


@cache
def client(name: str = "alice", of: int = 1, days: int = 365) -> Credentials:
    """Return a client of system *of*, always the same for the same arguments."""
    return system(of).add_client(name, now=NOW, days=days)


def prover(
    credentials: Credentials, *, now: float = NOW, nonce: bytes = b"", audience: str = AUDIENCE
) -> Prover:
    """Return what signs messages to the mediator of the tests."""
    return Prover(credentials, audience, now, nonce)
