"""Lists of addresses, as wavesync.signalling.addresses reads and filters them."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.interfaces import Address
from wavesync.signalling.addresses import (
    canonical,
    decode_addresses,
    encode_addresses,
    is_public,
    punchable,
    usable,
)
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.numbers import MAX_ADDRESSES, MAX_FORWARDED


class ListTests(SynchronousTestCase):
    """The binary form of a list."""

    def test_bytes(self) -> None:
        """The form is the one that docs/mediator.rst describes."""
        addresses: list[Address] = [("192.0.2.1", 258), ("2001:db8::1", 3345)]
        raw = bytes.fromhex("01 0102 c0000201 02 0d11 20010db8000000000000000000000001")
        self.assertEqual(encode_addresses(addresses), raw)
        self.assertEqual(decode_addresses(raw), tuple(addresses))

    def test_empty(self) -> None:
        """No bytes are no addresses."""
        self.assertEqual(encode_addresses([]), b"")
        self.assertEqual(decode_addresses(b""), ())

    def test_limit(self) -> None:
        """The most addresses are taken, one more is refused, both ways."""
        most: list[Address] = [("192.0.2.1", port) for port in range(1, MAX_ADDRESSES + 1)]
        self.assertEqual(len(decode_addresses(encode_addresses(most))), MAX_ADDRESSES)
        self.assertRaises(ValueError, encode_addresses, [*most, ("192.0.2.2", 1)])
        too_long = encode_addresses(most) + encode_addresses(most[:1])
        self.assertRaises(SignallingError, decode_addresses, too_long)

    def test_malformed(self) -> None:
        """A cut entry or an unknown family is refused."""
        raw = encode_addresses([("192.0.2.1", 1), ("2001:db8::1", 2)])
        for size in range(1, len(raw)):
            if size != 7:
                self.assertRaises(SignallingError, decode_addresses, raw[:size])
        self.assertRaises(SignallingError, decode_addresses, b"\3" + raw[1:])
        self.assertRaises(SignallingError, decode_addresses, b"\0")

    def test_repeats(self) -> None:
        """An address that is listed twice counts once, in its IPv4 form if it has one."""
        raw = encode_addresses([("192.0.2.1", 1)]) + b"\2\0\1" + bytes(10) + b"\xff\xff\xc0\0\2\1"
        self.assertEqual(decode_addresses(raw), (("192.0.2.1", 1),))

    def test_not_numeric(self) -> None:
        """We never send a name or an impossible port."""
        for address in (("example.com", 1), ("192.0.2.1", 65536), ("192.0.2.1", -1)):
            self.assertRaises(ValueError, encode_addresses, [address])

    @given(st.binary(max_size=80))
    def test_total(self, data: bytes) -> None:
        """Any bytes are a list of usable addresses, or refused."""
        try:
            addresses = decode_addresses(data)
        except SignallingError:
            return
        for address in addresses:
            self.assertTrue(usable(address))
            self.assertEqual(canonical(address), address)


class FilterTests(SynchronousTestCase):
    """Nobody can aim packets at this host, at everybody, or at a third party."""

    def test_never(self) -> None:
        """Addresses that must not be used are left out of every list."""
        for host in (
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.1.1",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:0.0.0.0",
        ):
            self.assertFalse(usable((host, 9)), host)
            self.assertEqual(decode_addresses(encode_addresses([(host, 9)])), (), host)

    def test_port_0(self) -> None:
        """Port 0 is no address."""
        self.assertFalse(usable(("192.0.2.1", 0)))

    def test_loopback_on_demand(self) -> None:
        """With everything on one host, loopback addresses stay in; nothing else more."""
        raw = encode_addresses([("127.0.0.1", 9), ("::1", 9), ("0.0.0.0", 9), ("fe80::1", 9)])
        self.assertEqual(decode_addresses(raw, allow_loopback=True), (("127.0.0.1", 9), ("::1", 9)))

    def test_public(self) -> None:
        """Private and shared addresses are not public."""
        for host in ("10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "fd00::1"):
            self.assertFalse(is_public(host), host)
        for host in ("8.8.8.8", "2600::1"):
            self.assertTrue(is_public(host), host)

    def test_punchable(self) -> None:
        """A public address that the peer merely names is no candidate, be it another port of the
        host where it was seen; where it was seen, is."""
        listed: list[Address] = [
            ("192.168.1.5", 4000),
            ("8.8.8.8", 53),
            ("9.9.9.9", 4000),
            ("127.0.0.1", 22),
        ]
        self.assertEqual(
            punchable(listed, [("9.9.9.9", 4711)]),
            (("9.9.9.9", 4711), ("192.168.1.5", 4000)),
        )
        self.assertEqual(punchable(listed, []), (("192.168.1.5", 4000),))
        self.assertEqual(
            punchable([], [("127.0.0.1", 5)], allow_loopback=True), (("127.0.0.1", 5),)
        )

    def test_forwarded(self) -> None:
        """A client punches at public addresses that its server names, too: at two and no more,
        besides those that were seen."""
        seen = ("9.9.9.9", 4711)
        listed: list[Address] = [seen, ("192.168.1.5", 4000), ("127.0.0.1", 22)]
        public: list[Address] = [(f"8.8.8.{number}", 4000) for number in range(4)]
        for count in (MAX_FORWARDED, MAX_FORWARDED + 1):
            self.assertEqual(
                punchable([*listed, *public[:count]], [seen], forwarded=MAX_FORWARDED),
                (seen, ("192.168.1.5", 4000), *public[:MAX_FORWARDED]),
            )
