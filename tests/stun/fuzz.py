"""Throws mutated messages at everything in the STUN package that reads a peer's bytes.

Deterministic: the same count gives the same inputs.  By hand, with as many as wished::

    python -m tests.stun.fuzz 1000000
"""

import random
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.stun import vectors
from wavesync.stun import attributes
from wavesync.stun.binding import MAX_ANSWER, SHORT_REFUSAL, binding_response
from wavesync.stun.framing import StreamDecoder, StreamError
from wavesync.stun.message import (
    FINGERPRINT_SIZE,
    HEADER_SIZE,
    Message,
    MessageClass,
    StunError,
    bytes_before,
    check_integrity,
    decode,
    encode,
    is_stun,
)

__all__ = ["Finding", "Reader", "fuzz", "mutants"]

Reader = Callable[[bytes], Message]
"""What is tested: :func:`wavesync.stun.message.decode`, or something meant to find bugs in."""

SEED = 8489
MAX_FINDINGS = 10
MAX_SIZE = 400

_PLACED = (
    attributes.MESSAGE_INTEGRITY,
    attributes.MESSAGE_INTEGRITY_SHA256,
    attributes.FINGERPRINT,
)
_TRANSACTION_ID = bytes(12)
_VALUE_READERS: tuple[Callable[[bytes], object], ...] = (
    attributes.decode_address,
    attributes.decode_error_code,
    attributes.decode_unknown_attributes,
    attributes.decode_u32,
    attributes.decode_u64,
    lambda value: attributes.decode_xor_address(value, _TRANSACTION_ID),
    lambda value: attributes.decode_text(value, 100),
)


class Finding(NamedTuple):
    """An input that something went wrong on.

    :ivar data: the input.
    :ivar error: what was raised.
    """

    data: bytes
    error: Exception


def _seeds() -> list[bytes]:
    """Good messages of several shapes."""
    answer = Message(
        1,
        MessageClass.ERROR,
        bytes(range(12)),
        (
            (attributes.ERROR_CODE, attributes.encode_error_code(420, "Unknown")),
            (attributes.UNKNOWN_ATTRIBUTES, attributes.encode_unknown_attributes((1, 2, 3))),
            (attributes.MAPPED_ADDRESS, attributes.encode_address(("2001:db8::1", 9))),
        ),
    )
    sealed = [
        *vectors.ALL,
        encode(Message(1, MessageClass.REQUEST, bytes(12))),
        encode(answer, integrity_key=b"key"),
        encode(answer),
    ]
    return sealed + [
        bytes_before(raw, attributes.FINGERPRINT)
        for raw in sealed
        if decode(raw).get(attributes.FINGERPRINT) is not None
    ]


def _mutate(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    """Change *data* in one of the ways that have broken parsers before."""
    place = chance.randrange(len(data) + 1)
    kind = chance.randrange(7)
    if kind == 0 and place < len(data):
        data[place] ^= 1 << chance.randrange(8)
    elif kind == 1 and place < len(data):
        data[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
    elif kind == 2:
        del data[place:]
    elif kind == 3:
        del data[place : place + chance.randrange(1, 9)]
    elif kind == 4:
        data[place:place] = chance.randbytes(chance.randrange(1, 9))
    elif kind == 5:
        other = chance.choice(seeds)
        data[place:] = other[chance.randrange(len(other)) :]
    else:  # an attribute's head somewhere, with a length that may not fit
        head = struct.pack(
            "!HH",
            chance.choice((*attributes.NAMES, 0x7FFF, 0xE800)),
            chance.choice((0, 1, 3, 4, 8, 20, 32, 0xFFFF)),
        )
        place = HEADER_SIZE + 4 * chance.randrange(len(data) // 4 + 1)
        data[place : place + 4] = head


def mutants(count: int, seed: int = SEED) -> Iterator[bytes]:
    """Give *count* inputs, of which most look like STUN from outside."""
    chance = random.Random(seed)
    seeds = _seeds()
    for _ in range(count):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 4)):
            _mutate(data, chance, seeds)
        del data[MAX_SIZE:]
        if chance.random() < 0.8 and len(data) >= HEADER_SIZE:
            data += bytes(-len(data) % 4)
            data[:2] = struct.pack("!H", int.from_bytes(data[:2], "big") & 0x3FFF)
            data[2:8] = struct.pack("!HI", len(data) - HEADER_SIZE, attributes.MAGIC_COOKIE)
            if chance.random() < 0.3 and len(data) + FINGERPRINT_SIZE <= MAX_SIZE:
                _seal(data)
        yield bytes(data)


def _seal(data: bytearray) -> None:
    """End *data* with a right FINGERPRINT, so that what is before it is looked at."""
    empty = encode(Message(0, MessageClass.REQUEST, bytes(12)))
    data += empty[-FINGERPRINT_SIZE:-4]
    data[2:4] = struct.pack("!H", len(data) + 4 - HEADER_SIZE)
    data += _crc(bytes(data))


def _crc(covered: bytes) -> bytes:
    """A FINGERPRINT computed bit by bit, apart from the implementation."""
    crc = 0xFFFFFFFF
    for octet in covered:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return struct.pack("!I", crc ^ 0xFFFFFFFF ^ 0x5354554E)


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)


def _check_stream(data: bytes, expected: Message | None) -> None:
    """A stream of *data* gives the same message as the datagram, and bounded trouble."""
    decoder = StreamDecoder()
    try:
        found = decoder.feed(data)
    except StreamError as error:
        found = error.messages
    _require(decoder.buffered <= len(data), "the stream keeps more than it got")
    if expected is not None:
        _require(found == [expected], "stream and datagram differ")


def _check_message(data: bytes, message: Message) -> None:
    """A message that was read is what the bytes say, and using it raises nothing."""
    _require(message.raw == data, "raw is not the input")
    body = 0
    for kind, value in message.attributes:
        _require(0 <= kind <= 0xFFFF, "an attribute's type is out of range")
        body += 4 + len(value) + -len(value) % 4
        _require(message.get(kind) is not None, "an attribute cannot be found")
        cut = bytes_before(data, kind)
        _require(decode(cut).raw == cut, "a cut is no message")
        for read in _VALUE_READERS:
            try:
                read(value)
            except StunError:
                continue
    _require(HEADER_SIZE + body <= len(data), "attributes from nowhere")
    check_integrity(message, b"key", allow_truncated=True)
    check_integrity(message, b"key")
    plain = tuple(pair for pair in message.attributes if pair[0] not in _PLACED)
    ours = Message(message.method, message.message_class, message.transaction_id, plain)
    _require(decode(encode(ours, fingerprint=False)) == ours, "it does not come back")


def _check_answer(data: bytes, message: Message | None) -> None:
    """An answer is short, and silence what is not a message gets."""
    answer = binding_response(data, ("2001:db8::1", 1))
    if answer is None:
        return
    _require(message is not None, "garbage is answered")
    _require(len(answer) <= MAX_ANSWER, "the answer is too long")
    if decode(answer).message_class is not MessageClass.SUCCESS:
        longest = max(len(data), SHORT_REFUSAL)
        _require(len(answer) <= longest, "the answer is longer than the request")


def _check(data: bytes, read: Reader) -> None:
    """Raise something if *data* is read wrongly."""
    looks_right = is_stun(data)
    message = None
    try:
        message = read(data)
    except StunError:
        pass
    else:
        _require(looks_right, "what does not look like STUN is read")
        _check_message(data, message)
    _check_stream(data, message)
    _check_answer(data, message)


def fuzz(count: int, read: Reader = decode, seed: int = SEED) -> list[Finding]:
    """Try *count* inputs on *read* and what stands around it.

    :returns: the first :data:`MAX_FINDINGS` inputs on which anything but
        :class:`~wavesync.stun.message.StunError` was raised or a rule did not hold.
    """
    findings = []
    for data in mutants(count, seed):
        try:
            _check(data, read)
        except Exception as error:
            findings.append(Finding(data, error))
            if len(findings) == MAX_FINDINGS:
                break
    return findings


def main(arguments: list[str]) -> int:
    """Fuzz ``arguments[0]`` inputs (100,000 if absent) and tell what was found."""
    count = int(arguments[0]) if arguments else 100_000
    started = time.monotonic()
    findings = fuzz(count)
    for finding in findings:
        sys.stdout.write(f"{finding.error!r} on {finding.data.hex()}\n")
    seconds = time.monotonic() - started
    sys.stdout.write(f"{count} inputs, {len(findings)} findings, {seconds:.1f} s\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
