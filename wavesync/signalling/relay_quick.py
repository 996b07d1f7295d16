"""Requests to a relay that are written exactly as ours are: read by one regular expression.

:mod:`wavesync.signalling.relay_wire` reads all requests, at five times the price; whatever is written
otherwise, or has been changed by a proxy on the way, or comes in pieces, is left to it.
"""

import binascii
import re
from functools import lru_cache

from wavesync.identity.ids import Target
from wavesync.identity.proofs import MAX_PROOF
from wavesync.signalling.relay_heads import RELAY_PROTOCOL
from wavesync.signalling.relay_wire import RelayRequest, RequestKind

__all__ = ["quick_request"]

_KEPT_TARGETS = 4096
_PLAIN = bytes.maketrans(b"-_", b"+/")
_PADDING = (b"", b"", b"==", b"=")
_COVERED = {
    RequestKind.CONNECT: b"GET /wavesync/1/connect\nwavesync-target: ",
    RequestKind.PARK: b"GET /wavesync/1/park\nwavesync-server: ",
}
_MOST_TEXT = -(-MAX_PROOF * 4 // 3)
_HEAD = re.compile(
    (
        rf"GET /wavesync/1/(connect|park) HTTP/1\.1\r\n"
        rf"Host: [A-Za-z0-9.:\[\]_-]{{1,262}}\r\n"
        rf"Connection: Upgrade\r\nUpgrade: {re.escape(RELAY_PROTOCOL)}\r\n"
        rf"Wavesync-(Target|Server): ([0-9a-f]{{32}})\.([0-9a-f]{{32}})\r\n"
        rf"Wavesync-Connection: ([0-9a-f]{{32}})\r\n"
        rf"(?:Wavesync-Revocations: (0|[1-9][0-9]{{0,14}})\r\n)?"
        rf"Authorization: Wavesync ([A-Za-z0-9_-]{{1,{_MOST_TEXT}}})\r\n\r\n"
    ).encode("ascii")
)


@lru_cache(maxsize=_KEPT_TARGETS)
def _target(system: bytes, server: bytes) -> Target:
    """Whoever is asked for is often asked for again: by the same object, which tables find faster."""
    return Target(system.decode("ascii"), server.decode("ascii"))


def quick_request(data: bytes) -> tuple[RelayRequest, bytes] | None:
    """Read the head of a request, if it is written as expected and all there.

    :param data: the first bytes of a connection.
    :returns: the request, and what was sent behind its head; ``None`` for whatever is to be looked
        at more closely.
    """
    found = _HEAD.match(data)
    if found is None:
        return None
    kind, named, server, system, connection, number, proof = found.groups()
    if len(proof) % 4 == 1:
        return None
    if (kind, named, number is None) == (b"connect", b"Target", True):
        what, revocations = RequestKind.CONNECT, 0
    elif (kind, named, number is None) == (b"park", b"Server", False):
        what, revocations = RequestKind.PARK, int(number)
    else:
        return None
    target = _target(system, server)
    head = _COVERED[what] + b"%b.%b\nwavesync-connection: %b\n" % (server, system, connection)
    if number is not None:
        head += b"wavesync-revocations: %b\n" % number
    request = RelayRequest(
        what,
        target,
        connection.decode("ascii"),
        revocations,
        proof=binascii.a2b_base64(proof.translate(_PLAIN) + _PADDING[len(proof) % 4]),
        covers=head,
    )
    return request, data[found.end() :]
