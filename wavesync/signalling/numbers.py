"""The number plan: methods, attributes, codes, sizes and times of the mediator's protocol.

Everything rides in STUN messages (RFC 8489).  Methods are taken from 0x50 and 0xF0 upwards, which
IANA has not assigned; attributes from 0xE000 upwards, the comprehension-optional half, so that a
standard STUN server skips them.
"""

from enum import IntEnum, IntFlag

__all__ = [
    "BINDING",
    "CONNECT_SIZE",
    "DEFAULT_KEEP_ALIVE",
    "DEFAULT_PORT",
    "EXCHANGE_KEY_SIZE",
    "MAX_ADDRESSES",
    "MAX_AUDIENCE_SIZE",
    "MAX_BIND_SIZE",
    "MAX_CRL_PIECE",
    "MAX_FORWARDED",
    "MAX_OBSERVED",
    "MAX_OPEN_STREAM_SIZE",
    "MAX_START_DELAY",
    "MAX_STREAM_MESSAGE",
    "SILENCE_FACTOR",
    "STREAM_COPY_DELAY",
    "UPDATE_SCHEDULE",
    "WARM_UP_SIZE",
    "Attribute",
    "ConnectType",
    "ErrorCode",
    "Method",
    "Purpose",
    "ResultCode",
]

DEFAULT_PORT = 3345
"""Where a mediator listens, UDP and TCP, unless told otherwise."""

BINDING = 0x001
"""STUN Binding (RFC 8489 section 3): answered for anybody; keep-alive of a server's leg."""

CONNECT_SIZE = 1200
"""Bytes of every ``connect`` request, filled up with PADDING, so that its answer is never longer."""

MAX_BIND_SIZE = 900
"""Bytes of the longest signed ``bind``: it must fit the answer to a ``connect`` with all the rest."""

WARM_UP_SIZE = 128
"""Bytes of every ``bind`` sent over UDP (PADDING); its answer is shorter."""

MAX_STREAM_MESSAGE = 4096
"""Bytes of the longest message on a TCP leg, header included."""

MAX_OPEN_STREAM_SIZE = 1200
"""Bytes of the longest ``openStream`` request: it must fit a server's leg once it is forwarded."""

MAX_CRL_PIECE = 3072
"""Bytes of a revocation list that one message carries at most."""

MAX_ADDRESSES = 16
"""Addresses in the longest list; in a ``bind`` both lists together hold no more."""

MAX_OBSERVED = 2
"""Addresses in the longest OBSERVED-ENDPOINT: one a family."""

MAX_FORWARDED = 2
"""Public UDP addresses on a server's list that a client punches at though no mediator has seen them."""

MAX_AUDIENCE_SIZE = 255
"""UTF-8 bytes of the longest mediator name."""

EXCHANGE_KEY_SIZE = 32
"""Bytes of an X25519 public key (RFC 7748)."""

DEFAULT_KEEP_ALIVE = 15.0
"""Seconds between keep-alives on a server's leg, each way, unless the mediator says otherwise."""

SILENCE_FACTOR = 2.5
"""Keep-alive intervals of silence after which either side drops a server's leg."""

MAX_START_DELAY = 0.5
"""Seconds that either side waits before its first punch at most, whatever it is told."""

STREAM_COPY_DELAY = 0.25
"""Seconds without an answer after which a client repeats its ``connect`` over TCP."""

UPDATE_SCHEDULE = (0.0, 0.1, 0.3, 0.7, 1.5, 3.1)
"""When a ``connectionUpdate`` is sent over UDP, in seconds, until the other side returns it."""


class Method(IntEnum):
    """STUN methods of our own."""

    BIND = 0x051
    LISTEN = 0x052
    CONNECTION_ACK = 0x053
    CONNECT = 0x056
    CONNECTION_RESULT = 0x057
    OPEN_STREAM = 0x058
    CONNECTION_REQUESTED = 0x0F0
    CONNECTION_UPDATE = 0x0F1
    CRL_PUSH = 0x0F2
    CRL_FETCH = 0x0F3
    STREAM_REQUESTED = 0x0F4


class Attribute(IntEnum):
    """STUN attributes: the standard ones that are used here, then our own."""

    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    NONCE = 0x0015
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    XOR_MAPPED_ADDRESS = 0x0020
    PADDING = 0x0026

    CONNECTION_ID = 0xE004
    HOST_NAME = 0xE200
    PUBLIC_ENDPOINT_LIST = 0xE202
    UDP_ENDPOINT_LIST = 0xE204
    TRAFFIC_RELAY_URL_LIST = 0xE20B
    RESULT_CODE = 0xE400
    KEEP_ALIVE_INTERVAL = 0xE402
    START_DELAY = 0xE40D
    CONNECT_TYPE = 0xE410
    DURATION = 0xE412

    PROOF = 0xE800
    TOKEN = 0xE801
    FORWARDED_REQUEST = 0xE802
    SIGNED_ADDRESSES = 0xE803
    FIRST_FLIGHT = 0xE804  # reserved: a ClientHello inside ``connect``
    OBSERVED_ENDPOINT = 0xE805
    REGISTRATION_ID = 0xE806
    EXCHANGE_KEY = 0xE807
    TIME = 0xE808
    SEQUENCE = 0xE809
    CRL = 0xE80A
    AUDIENCE = 0xE80B
    CRL_NUMBER = 0xE80C
    CRL_RANGE = 0xE80D
    STANDBY = 0xE810
    PARKED_RELAY_LIST = 0xE811
    NETWORK = 0xE812


class ErrorCode(IntEnum):
    """ERROR-CODE values (RFC 8489 section 14.8) and what the other side does about each.

    :cvar BAD_REQUEST: the message makes no sense; do not repeat it.
    :cvar UNAUTHENTICATED: no proof; repeat with one that contains the NONCE of this answer.
    :cvar FORBIDDEN: the proof is refused; the reason is a short word ("expired", ...).
    :cvar NOT_FOUND: no such server is registered, or it is none of yours.
    :cvar SUPERSEDED: a newer registration of the same server took over; stay away for minutes.
    :cvar UNKNOWN_ATTRIBUTE: an attribute that must be understood is not.
    :cvar STALE_NONCE: sign again, with the NONCE of this answer.
    :cvar QUOTA_REACHED: too many of these from you; wait.
    :cvar SERVER_ERROR: the mediator failed; try again later.
    :cvar INSUFFICIENT_CAPACITY: a table of the mediator is full; try again later.
    """

    BAD_REQUEST = 400
    UNAUTHENTICATED = 401
    FORBIDDEN = 403
    NOT_FOUND = 404
    SUPERSEDED = 409
    UNKNOWN_ATTRIBUTE = 420
    STALE_NONCE = 438
    QUOTA_REACHED = 486
    SERVER_ERROR = 500
    INSUFFICIENT_CAPACITY = 508


class ResultCode(IntEnum):
    """How an attempt to connect ended (RESULT-CODE)."""

    OK = 0
    NO_ANSWER_FROM_MEDIATOR = 1
    MEDIATOR_REFUSED = 2
    NO_UDP_ADDRESS = 3
    NO_PUNCH_FROM_SERVER = 4
    UDT_FAILED = 5
    TCP_FAILED = 6
    VERIFICATION_FAILED = 7
    RELAY_FAILED = 8
    NOT_ON_RELAY = 9
    NO_SUITABLE_PATH = 10


class ConnectType(IntFlag):
    """The kinds of path (CONNECT-TYPE): the one that won, or 0 when none did."""

    NONE = 0
    TCP = 1
    UDP = 2
    RELAY = 8
    LAN = 16


class Purpose:
    """The purposes that proofs are signed for: a proof for one is worth nothing for another."""

    LISTEN = "listen"
    BIND = "bind"
    CONNECT = "connect"
    OPEN_STREAM = "open-stream"
    CRL_FETCH = "crl-fetch"
    RELAY_PARK = "relay-park"
    RELAY_CONNECT = "relay-connect"
    RELAY_REVOKE = "relay-revoke"
