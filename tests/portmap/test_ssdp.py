"""Tests for :mod:`wavesync.portmap.ssdp`."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.portmap.ssdp import GROUP, TARGETS, location, on_host, search
from wavesync.portmap.words import PortMapError

_ANSWER = (
    "HTTP/1.1 200 OK\r\nCache-Control: max-age=120\r\nst: {st}\r\nEXT:\r\n"
    "Location: {location}\r\nUSN: uuid:1\r\n\r\n"
)
_URL = "http://192.168.2.1:42005/rootDesc.xml"


def answer(location: str = _URL, st: str = TARGETS[1]) -> bytes:
    """An answer to a search."""
    return _ANSWER.format(st=st, location=location).encode()


class SearchTests(SynchronousTestCase):
    """What is sent."""

    def test_question(self) -> None:
        """A question is as UPnP wants it: five lines, CRLF, a time to answer in."""
        self.assertEqual(
            search(TARGETS[0], GROUP).decode(),
            "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
            'MAN: "ssdp:discover"\r\nMX: 1\r\n'
            "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:2\r\n\r\n",
        )


class LocationTests(SynchronousTestCase):
    """What is believed of an answer."""

    def test_router(self) -> None:
        """A router that names itself."""
        self.assertEqual(location(answer(), "192.168.2.1"), _URL)

    def test_elsewhere(self) -> None:
        """Nobody can have us fetch from another host, by another scheme, or from a name."""
        for url in (
            "http://192.168.2.2:42005/rootDesc.xml",
            "http://8.8.8.8/x",
            "http://localhost/x",
            "http://router.lan/x",
            "https://192.168.2.1/x",
            "file:///etc/passwd",
            "http://192.168.2.1@8.8.8.8/x",
            "http://u:p@192.168.2.1/x",
            "http://192.168.2.1:99999/x",
            "http://192.168.2.1/a b",
            "http://192.168.2.1/\x7f",
            "http://[::1/x",
            "",
        ):
            self.assertRaises(PortMapError, location, answer(url), "192.168.2.1")

    def test_long(self) -> None:
        """A URL of 512 characters is fetched from, one more is too long."""
        base = "http://192.168.2.1/"
        fits = base + "x" * (512 - len(base))
        self.assertEqual(on_host(fits, "192.168.2.1"), fits)
        self.assertRaises(PortMapError, on_host, fits + "x", "192.168.2.1")

    def test_others(self) -> None:
        """Printers, announcements and other questions are no answers."""
        for data in (
            answer(st="urn:schemas-upnp-org:device:Printer:1"),
            answer().replace(b"200 OK", b"404 No"),
            b"NOTIFY * HTTP/1.1\r\n\r\n",
            b"M-SEARCH * HTTP/1.1\r\n\r\n",
            b"",
        ):
            self.assertRaises(PortMapError, location, data, "192.168.2.1")

    @given(st.binary(max_size=200))
    def test_total(self, data: bytes) -> None:
        """Whatever comes is an answer or one kind of error."""
        for each in (data, b"HTTP/1.1 200 OK\r\nST: " + TARGETS[0].encode() + b"\r\n" + data):
            try:
                location(each, "192.168.2.1")
            except PortMapError:
                continue
