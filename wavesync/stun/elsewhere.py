"""Answering a Binding request at another port of its sender, where there is only one address.

With it a client finds out how long its NAT keeps a mapping: RESPONSE-PORT of RFC 5780 section 7.5,
which section 4.6 uses.  A server with two addresses has it in :mod:`wavesync.stun.alternate`.
"""

from wavesync.interfaces import Address
from wavesync.stun.alternate import requested_port
from wavesync.stun.attributes import RESPONSE_PORT, StunError
from wavesync.stun.binding import KNOWN_IN_BINDING, answer_binding
from wavesync.stun.message import decode

__all__ = ["KNOWN_WITH_RESPONSE_PORT", "answer_elsewhere"]

KNOWN_WITH_RESPONSE_PORT = KNOWN_IN_BINDING | {RESPONSE_PORT}
"""Comprehension-required attributes that a Binding request may carry to such a server."""


def answer_elsewhere(data: bytes, source: Address) -> tuple[bytes, Address] | None:
    """Answer the datagram *data* from *source* if it is a Binding request.

    What goes to another port than it came from goes to the same host, and is never longer than the
    request, so that nobody gains by it who forges his address.

    :returns: the answer and where to send it; None for silence: see
        :func:`wavesync.stun.binding.binding_response`; also for a RESPONSE-PORT below
        :data:`wavesync.stun.alternate.LOWEST_RESPONSE_PORT`, beside PADDING, or in a request that
        is shorter than its answer.
    """
    try:
        message = decode(data)
        port = requested_port(message)
    except StunError:
        return None
    if port is None:
        answer = answer_binding(message, source)
        return None if answer is None else (answer, source)
    answer = answer_binding(message, source, known=KNOWN_WITH_RESPONSE_PORT)
    if answer is None or len(answer) > len(data):
        return None
    return answer, (source[0], port)
