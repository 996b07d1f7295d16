"""The handshake packet (control type 0) and the values that two ends agree on.

The body is twelve 32-bit big-endian words; ``docs/udt.rst`` describes them.  Everything here is
pure: bytes in, values out.
"""

import ipaddress
import struct
from dataclasses import dataclass, replace

__all__ = [
    "AGREED",
    "ANSWER",
    "CALL",
    "DEFAULT_MSS",
    "DEFAULT_MSS_IPV6",
    "DEFAULT_WINDOW",
    "FINAL",
    "HANDSHAKE_SIZE",
    "MIN_MSS",
    "REFUSED",
    "REQUEST",
    "STREAM",
    "VERSION",
    "Agreement",
    "Handshake",
    "HandshakeError",
    "Offer",
    "agree",
    "decode_handshake",
    "is_handshake",
]

VERSION = 4
"""The only protocol version there is a wire description of."""
STREAM = 1
"""Socket type of a byte stream (the draft says 0; implementations write 1)."""

REQUEST = 1
"""Request type: a client's first request, and a listener's challenge to it."""
CALL = 0
"""Request type: a rendezvous end that has not heard the other one (on this path)."""
ANSWER = -1
"""Request type: a client's request with a cookie, a listener's answer, a rendezvous end that has
heard the other one."""
FINAL = -2
"""Request type: a rendezvous end that is connected; between wavesync ends, the choice of a path."""
REFUSED = 1002
"""Request type: the listener does not take this connection."""
AGREED = (ANSWER, FINAL)
"""The request types that say "I have heard you"."""

HANDSHAKE_SIZE = 64
"""Bytes of a handshake datagram: 16 of header, 48 of body.  No other size is accepted."""
MIN_MSS = 76
"""The smallest packet size (with IP and UDP headers) that UDT allows."""
DEFAULT_MSS = 1500
"""Packet size offered on IPv4, bytes, with 28 bytes of IP and UDP header."""
DEFAULT_MSS_IPV6 = 1480
"""Packet size offered on IPv6: UDT counts 28 bytes of headers there too, though there are 48."""
DEFAULT_WINDOW = 8192
"""Receive window offered, packets."""
MAX_ISN = 0x7FFFFFFF
"""The largest sequence number."""

MARK = 0x77617665
"""Timestamp word of our handshakes (``wave``).  libudt writes 0 there and reads it never; two
wavesync ends know each other by it and skip the waits that libudt needs."""

_PACKET = struct.Struct("!IIII 5IiII16s")
_HANDSHAKE_HEAD = b"\x80\x00"


class HandshakeError(ValueError):
    """These bytes are no handshake, or one with values that no sane peer offers."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """One handshake packet.

    :ivar request: :data:`REQUEST`, :data:`CALL`, :data:`ANSWER`, :data:`FINAL`,
        :data:`REFUSED` or whatever else came, -2**31 .. 2**31 - 1.
    :ivar socket_id: the sender's socket id (in a challenge: the receiver's), 32 bits.
    :ivar isn: initial sequence number, 0 .. 2**31 - 1.
    :ivar mss: packet size, bytes, as the peer wrote it.
    :ivar window: receive window, packets, as the peer wrote it.
    :ivar cookie: a listener's cookie, or the token of a wavesync rendezvous, or 0.
    :ivar destination: destination socket id in the header, 0 for "whoever listens".
    :ivar peer_ip: the 16 bytes of the address word as on the wire.
    :ivar timestamp: header word that carries :data:`MARK` in ours.
    """

    request: int
    socket_id: int
    isn: int
    mss: int = DEFAULT_MSS
    window: int = DEFAULT_WINDOW
    cookie: int = 0
    destination: int = 0
    peer_ip: bytes = bytes(16)
    version: int = VERSION
    socket_type: int = STREAM
    timestamp: int = MARK

    @property
    def wavesync(self) -> bool:
        """Whether the sender is a wavesync end (by its mark)."""
        return self.timestamp == MARK

    def encode(self) -> bytes:
        """:return: the datagram, :data:`HANDSHAKE_SIZE` bytes."""
        return _PACKET.pack(
            0x80000000,
            0,
            self.timestamp,
            self.destination,
            self.version,
            self.socket_type,
            self.isn,
            self.mss,
            self.window,
            self.request,
            self.socket_id,
            self.cookie,
            self.peer_ip,
        )

    def replied(self, **changes: object) -> "Handshake":
        """:return: this handshake with the given fields changed, marked as ours."""
        return replace(self, timestamp=MARK, **changes)  # type: ignore[arg-type]


def is_handshake(datagram: bytes | memoryview) -> bool:
    """:return: whether the header says control packet of type 0, whatever follows."""
    return len(datagram) >= 16 and datagram[:2] == _HANDSHAKE_HEAD


def decode_handshake(datagram: bytes | memoryview) -> Handshake:
    """Read a handshake datagram.

    :raises HandshakeError: for anything that is not one, whatever the bytes.
    """
    if len(datagram) != HANDSHAKE_SIZE or datagram[:2] != _HANDSHAKE_HEAD:
        raise HandshakeError("not a handshake packet")
    (
        _type,
        _info,
        timestamp,
        destination,
        version,
        socket_type,
        isn,
        mss,
        window,
        request,
        socket_id,
        cookie,
        peer_ip,
    ) = _PACKET.unpack(datagram)
    if isn > MAX_ISN:
        raise HandshakeError("an initial sequence number has 31 bits")
    if socket_id == 0:
        raise HandshakeError("socket id 0 is reserved")
    return Handshake(
        request,
        socket_id,
        isn,
        mss,
        window,
        cookie,
        destination,
        peer_ip,
        version,
        socket_type,
        timestamp,
    )


def wire_ip(host: str) -> bytes:
    """The address field: every group of four bytes reversed, as libudt on a PC writes it.

    :param host: a numeric address; anything else gives zeros (nobody checks the field).
    :return: 16 bytes; an IPv4 address takes the first four.
    """
    try:
        packed = ipaddress.ip_address(host.partition("%")[0]).packed
    except ValueError:
        return bytes(16)
    groups = [packed[i : i + 4][::-1] for i in range(0, len(packed), 4)]
    return b"".join(groups).ljust(16, b"\0")


@dataclass(frozen=True, slots=True)
class Offer:
    """What one end offers.

    :ivar socket_id: own socket id, 1 .. 2**30.
    :ivar isn: own initial sequence number, 0 .. 2**31 - 1.
    :ivar mss: largest packet, bytes with 28 bytes of headers, at least :data:`MIN_MSS`.
    :ivar window: receive window, packets.
    """

    socket_id: int
    isn: int
    mss: int = DEFAULT_MSS
    window: int = DEFAULT_WINDOW

    def handshake(
        self, request: int, host: str, *, cookie: int = 0, destination: int = 0
    ) -> Handshake:
        """:return: the handshake that makes this offer to *host*."""
        return Handshake(
            request,
            self.socket_id,
            self.isn,
            self.mss,
            self.window,
            cookie,
            destination,
            wire_ip(host),
        )


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two ends agreed on: all that a connection needs to start.

    :ivar local_id: own socket id.
    :ivar peer_id: the peer's socket id.
    :ivar send_isn: first sequence number we send.
    :ivar receive_isn: first sequence number the peer sends.
    :ivar mss: largest packet we send, bytes with 28 bytes of headers.
    :ivar receive_mss: largest packet the peer sends, the same way.
    :ivar peer_window: packets the peer can hold.
    :ivar wavesync: the peer is a wavesync end, so nothing has to wait for its sake.
    """

    local_id: int
    peer_id: int
    send_isn: int
    receive_isn: int
    mss: int
    receive_mss: int
    peer_window: int
    wavesync: bool


def agree(
    offer: Offer,
    peer: Handshake,
    *,
    send_isn: int,
    receive_isn: int,
    receive_mss: int | None = None,
) -> Agreement:
    """Clamp what the peer wrote to what we offered.

    :param receive_mss: what the peer sends at most if that is not the smaller of both.
    :raises HandshakeError: if the packet size or window is below what UDT allows.
    """
    if peer.mss < MIN_MSS:
        raise HandshakeError("the peer offers packets smaller than UDT allows")
    if peer.window < 2:
        raise HandshakeError("the peer offers no receive window")
    return Agreement(
        offer.socket_id,
        peer.socket_id,
        send_isn,
        receive_isn,
        min(offer.mss, peer.mss),
        receive_mss or min(offer.mss, peer.mss),
        min(offer.window, peer.window),
        peer.wavesync,
    )
