"""One Binding request and what becomes of it, sans-I/O (RFC 8489 sections 6.2 and 6.3.3)."""

import socket

from wavesync.errors import WavesyncError
from wavesync.interfaces import Address
from wavesync.stun.attributes import (
    ERROR_CODE,
    MAPPED_ADDRESS,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    NONCE,
    PADDING,
    REALM,
    UNKNOWN_ATTRIBUTES,
    XOR_MAPPED_ADDRESS,
    StunError,
    decode_address,
    decode_error_code,
    decode_xor_address,
)
from wavesync.stun.message import (
    BINDING,
    Message,
    MessageClass,
    decode,
    encode,
    unknown_required,
)
from wavesync.stun.transactions import DEFAULT_RTO, DEFAULT_TI, Transactions

__all__ = ["KNOWN_IN_ANSWER", "BindingFailed", "BindingRequest", "mapped_address", "numeric"]

KNOWN_IN_ANSWER = frozenset(
    {
        MAPPED_ADDRESS,
        XOR_MAPPED_ADDRESS,
        ERROR_CODE,
        UNKNOWN_ATTRIBUTES,
        MESSAGE_INTEGRITY,
        MESSAGE_INTEGRITY_SHA256,
        REALM,
        NONCE,
        PADDING,
    }
)
"""Comprehension-required attributes that a Binding answer may carry; another one makes it fail."""


class BindingFailed(WavesyncError):
    """The STUN server did not tell our address; the sentence says why."""


def numeric(address: Address) -> Address:
    """*address* with its host in the one spelling that sockets use.

    :raises BindingFailed: the host is not numeric.
    """
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, host)), port
    except (OSError, ValueError):
        raise BindingFailed(f"{host!r} is not a numeric address.") from None


def mapped_address(message: Message) -> Address:
    """The address that *message*, a success response, says the request came from.

    :raises StunError: it holds none.
    """
    value = message.get(XOR_MAPPED_ADDRESS)
    if value is not None:
        return decode_xor_address(value, message.transaction_id)
    value = message.get(MAPPED_ADDRESS)
    if value is not None:
        return decode_address(value)
    raise StunError("It holds no address.")


class BindingRequest:
    """Asks one server once, with retransmission, which address it sees us at.

    :param server: its address.
    :param transaction_id: 12 random bytes.
    :param now: seconds.
    :param stream: the request goes over a byte stream.
    :param rto: seconds to the first retransmission.
    :param timeout: seconds to wait on a stream.
    :ivar outcome: our address as the server sees it, why there is none, or None while waiting.
    :raises BindingFailed: the server's host is not numeric.
    """

    def __init__(
        self,
        server: Address,
        transaction_id: bytes,
        now: float,
        *,
        stream: bool = False,
        rto: float = DEFAULT_RTO,
        timeout: float = DEFAULT_TI,
    ) -> None:
        self.server = numeric(server)
        self.outcome: Address | BindingFailed | None = None
        self._transactions = Transactions(rto=rto, ti=timeout, limit=1)
        request = encode(Message(BINDING, MessageClass.REQUEST, transaction_id))
        self._transactions.start(request, self.server, now, stream=stream)

    def datagrams(self, now: float) -> list[bytes]:
        """What to send to the server at *now*: at most one datagram."""
        if self.outcome is not None:
            return []
        return [data for data, _ in self._transactions.due(now)]

    def datagram_received(self, data: bytes, source: Address, now: float) -> None:
        """Take a datagram; anything but the answer is dropped."""
        try:
            self.message_received(decode(data), source, now)
        except StunError:
            return

    def message_received(self, message: Message, source: Address, now: float) -> None:
        """Take a message that a stream's framing has cut out, or a decoded datagram."""
        answer = self._transactions.receive(message, source, now)
        if answer is None or self.outcome is not None:
            return
        try:
            self.outcome = self._address_in(answer.message)
        except StunError as error:
            self.fail(f"sent an answer that cannot be used: {error}")

    def timer(self, now: float) -> None:
        """The deadline came: perhaps nobody will answer."""
        for over in self._transactions.timed_out(now):
            self.fail(f"did not answer within {over.elapsed:.3g} seconds.")

    def deadline(self) -> float | None:
        """When :meth:`datagrams` or :meth:`timer` will next have something to do."""
        return None if self.outcome is not None else self._transactions.deadline()

    def fail(self, why: str) -> None:
        """End in vain, unless it has ended.

        :param why: the end of a sentence that begins with the server.
        """
        if self.outcome is None:
            host, port = self.server
            self.outcome = BindingFailed(f"The STUN server {host} port {port} {why}")

    def _address_in(self, message: Message) -> Address | BindingFailed:
        """What *message*, the answer, says.

        :raises StunError: nothing that can be used.
        """
        if unknown_required(message, KNOWN_IN_ANSWER):
            raise StunError("It has attributes that must be understood and are not.")
        if message.message_class is MessageClass.ERROR:
            error = decode_error_code(message.get(ERROR_CODE) or b"")
            host, port = self.server
            return BindingFailed(
                f"The STUN server {host} port {port} refused with error {error.code}."
            )
        return mapped_address(message)
