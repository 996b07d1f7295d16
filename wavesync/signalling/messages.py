"""All messages between servers, clients and their mediator, in one place to import from.

Each is a frozen value with ``encode(transaction_id, ...)`` giving the bytes to send and a class
method ``decode(message)`` reading a decoded STUN message, which raises
:class:`~wavesync.signalling.errors.SignallingError` for anything that is not it.

============================  ==========  ===============================  ======================
message                       class       from, to                         carried by, secured by
============================  ==========  ===============================  ======================
:class:`Listen`               request     server to mediator               TCP; PROOF after a 401
:class:`Registered`           success     mediator to server               TCP
:class:`RegistrationEnded`    indication  mediator to server               TCP
:class:`Bind`                 request     server to mediator (to clients)  TCP; PROOF
:class:`Bound`                success     mediator to server               TCP
:class:`WarmUp`               request     server to mediator               UDP; integrity
:class:`WarmedUp`             success     mediator to server               UDP; integrity
:class:`Connect`              request     client to mediator (to server)   UDP and TCP; PROOF
:class:`ConnectAnswer`        success     mediator to client               as the request
:class:`ConnectionRequested`  indication  mediator to server               TCP
:class:`ConnectionAck`        request     server to mediator               UDP; integrity
:class:`ConnectionAcked`      success     mediator to server               UDP; integrity
:class:`ConnectionUpdate`     indication  mediator to either, and back     UDP or TCP
:class:`ConnectionResult`     indication  client to mediator               UDP
:class:`CrlPush`              request     server to mediator               TCP
:class:`CrlPushed`            success     mediator to server               TCP
:class:`CrlNews`              indication  mediator to server               TCP
:class:`CrlFetch`             request     server or client to mediator     TCP
:class:`CrlPiece`             success     mediator to whoever asked        TCP
:class:`OpenStream`           request     client to mediator (to server)   TCP; PROOF
:class:`StreamAnswer`         success     mediator to client               TCP
:class:`StreamRequested`      indication  mediator to server               TCP
:class:`Refusal`              error       mediator to whoever asked        as the request
============================  ==========  ===============================  ======================
"""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wavesync.signalling.errors import SignallingError
from wavesync.signalling.introducing import (
    Connect,
    ConnectAnswer,
    ConnectionAck,
    ConnectionAcked,
    ConnectionRequested,
    ConnectionResult,
    ConnectionUpdate,
)
from wavesync.signalling.numbers import BINDING
from wavesync.signalling.proved import Prover, covered
from wavesync.signalling.refusals import Refusal, RegistrationEnded
from wavesync.signalling.revoking import CrlFetch, CrlNews, CrlPiece, CrlPush, CrlPushed
from wavesync.signalling.server_leg import Bind, Bound, Listen, Registered, WarmedUp, WarmUp
from wavesync.signalling.stream_opening import OpenStream, StreamAnswer, StreamRequested
from wavesync.stun.message import Message, MessageClass, encode

__all__ = [
    "Bind",
    "Bound",
    "Connect",
    "ConnectAnswer",
    "ConnectionAck",
    "ConnectionAcked",
    "ConnectionRequested",
    "ConnectionResult",
    "ConnectionUpdate",
    "CrlFetch",
    "CrlNews",
    "CrlPiece",
    "CrlPush",
    "CrlPushed",
    "Listen",
    "OpenStream",
    "Prover",
    "Refusal",
    "Registered",
    "RegistrationEnded",
    "SignallingError",
    "StreamAnswer",
    "StreamRequested",
    "WarmUp",
    "WarmedUp",
    "covered",
    "keep_alive_indication",
    "keep_alive_request",
    "registration_key",
]

_KEY_INFO = b"wavesync-registration-v1"


def registration_key(own: X25519PrivateKey, peer: bytes, registration_id: int) -> bytes:
    """Return the 32-byte HMAC key that server and mediator share for one registration.

    HKDF-SHA256 (RFC 5869, no salt) of the X25519 secret, with the info text
    ``wavesync-registration-v1`` and the 8 bytes of the registration id.

    :param own: this side's private key.
    :param peer: the other side's EXCHANGE-KEY, 32 bytes.
    :raises SignallingError: the other side's key is of low order and gives no secret.
    """
    try:
        secret = own.exchange(X25519PublicKey.from_public_bytes(peer))
    except ValueError:
        raise SignallingError("EXCHANGE_KEY gives no secret") from None
    info = _KEY_INFO + registration_id.to_bytes(8, "big")
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def keep_alive_request(transaction_id: bytes) -> bytes:
    """Return a Binding request: a server's keep-alive on its leg; any answer is a life sign."""
    return encode(Message(BINDING, MessageClass.REQUEST, transaction_id))


def keep_alive_indication(transaction_id: bytes) -> bytes:
    """Return a Binding indication: the mediator's keep-alive on a server's leg."""
    return encode(Message(BINDING, MessageClass.INDICATION, transaction_id))
