"""Requests read by one expression: the same as the long way reads, or left to it."""

import random

from twisted.trial.unittest import SynchronousTestCase

from wavesync.identity.ids import Target
from wavesync.signalling.relay_heads import HeadError
from wavesync.signalling.relay_quick import quick_request
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind, RequestReader

_SERVER = Target("0123456789ab8def8123456789abcdef", "00112233445566778899aabbccddeeff")
_ID = "c0" * 16
_REQUESTS = (
    RelayRequest(RequestKind.PARK, _SERVER, _ID, revocations=7),
    RelayRequest(RequestKind.PARK, _SERVER, _ID),
    RelayRequest(RequestKind.CONNECT, _SERVER, _ID),
    RelayRequest(RequestKind.REVOKE, digest="5a" * 32, size=300),
)
_RELAYS = (Relay("relay.example", 3356, False), Relay("2001:db8::1", 1, True))


def written(request: RelayRequest, relay: Relay = _RELAYS[0], size: int = 400) -> bytes:
    """A request as ours write it."""
    return request.encode(relay, lambda purpose, message: bytes(range(256)) * 2 + bytes(size))


def read(data: bytes) -> tuple[RelayRequest, bytes] | None:
    """Read a request the long way; ``None`` for none."""
    reader = RequestReader()
    try:
        request = reader.feed(data)
    except HeadError:
        return None
    return None if request is None else (request, reader.rest)


class QuickTests(SynchronousTestCase):
    """What a relay makes of a request."""

    def test_same(self) -> None:
        """Requests of agents and clients are read, proof, bytes behind them and all."""
        for request in _REQUESTS[:3]:
            for relay in _RELAYS:
                for size in range(-511, 1):
                    proof = bytes(-size)
                    data = request.encode(relay, lambda *_, p=proof: b"\xff" + p)
                    found = quick_request(data + b"\x16\x03\x01\r\n\r\n")
                    self.assertEqual(found, read(data + b"\x16\x03\x01\r\n\r\n"))
                    assert found is not None
                    self.assertEqual(found[0].covered(), request.covered())

    def test_left(self) -> None:
        """Lists, requests in pieces, without a proof, and with what a proxy has added are left."""
        self.assertIsNone(quick_request(written(_REQUESTS[3])))
        for request in _REQUESTS[:3]:
            data = request.encode(_RELAYS[0], lambda *_: bytes(300))
            for size in range(0, len(data), 7):
                self.assertIsNone(quick_request(data[:size]))
            added = data.replace(b"Upgrade: ", b"Via: 1.1 proxy\r\nUpgrade: ")
            self.assertIsNone(quick_request(added))
            self.assertIsNotNone(read(added))
            self.assertIsNone(quick_request(request.encode(_RELAYS[0], None)))

    def test_too_long(self) -> None:
        """A proof of the longest length is read, one that is longer is not."""
        longest = _REQUESTS[2].encode(_RELAYS[0], lambda *_: bytes(512))
        self.assertEqual(quick_request(longest), read(longest))
        self.assertIsNotNone(quick_request(longest))
        longer = _REQUESTS[2].encode(_RELAYS[0], lambda *_: bytes(513))
        self.assertIsNone(quick_request(longer))
        self.assertIsNone(read(longer))

    def test_mixed_up(self) -> None:
        """A header of the other request is not taken for the right one."""
        park, connect = (each.encode(_RELAYS[0], lambda *_: bytes(9)) for each in _REQUESTS[1:3])
        for data in (
            park.replace(b"/park", b"/connect"),
            connect.replace(b"/connect", b"/park"),
            connect.replace(b"Target", b"Server"),
            park.replace(b"Revocations: 0", b"Revocations: 00"),
            park.replace(b"Revocations: 0", b"Revocations: -1"),
            park.replace(b"Revocations: 0\r\n", b""),
        ):
            self.assertIsNone(quick_request(data))

    def test_fuzz(self) -> None:
        """Whatever is changed in a request: nothing is read otherwise than the long way reads it."""
        chance, quick = random.Random(9112), 0
        good = [request.encode(_RELAYS[0], lambda *_: bytes(200)) for request in _REQUESTS[:3]]
        pieces = [
            b"\r\n",
            b"\n",
            b" ",
            b"\0",
            b"=",
            b"Wavesync-Connection: ",
            b"0",
            b"x",
            b"\xe9",
            b",",
        ]
        for _ in range(15_000):
            data = bytearray(chance.choice(good) + b"behind")
            for _ in range(chance.randrange(1, 3)):
                at = chance.randrange(len(data))
                match chance.randrange(4):
                    case 0:
                        data[at] = chance.randrange(256)
                    case 1:
                        del data[at : at + chance.randrange(1, 4)]
                    case 2:
                        data[at:at] = chance.choice(pieces)
                    case 3:
                        data[at] ^= 0x20
            found = quick_request(bytes(data))
            if found is not None:
                quick += 1
                self.assertEqual(found, read(bytes(data)))
        self.assertGreater(quick, 1000)
