"""Tests for :mod:`wavesync.portmap.markup`."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.portmap.markup import MAX_DEPTH, MAX_ELEMENTS, MAX_SIZE, parse
from wavesync.portmap.words import PortMapError

_BOMB = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "hahahahaha">
<!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;">]><a>&y;</a>"""
_EXTERNAL = b"""<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>"""


class ParseTests(SynchronousTestCase):
    """A router cannot harm this host by what it writes."""

    def test_elements(self) -> None:
        """Elements are found by name, whatever their namespace."""
        root = parse(b'<r xmlns:u="urn:x"><u:a> one <b/></u:a><a>two</a></r>')
        self.assertEqual(root.value("a"), "one")
        self.assertEqual([each.name for each in root.walk()], ["r", "a", "a", "b"])
        self.assertEqual(root.value("nothing"), "")

    def test_traps(self) -> None:
        """Document types are refused before anything is expanded, and so are unknown entities."""
        for trap in (_BOMB, _EXTERNAL, b"<!DOCTYPE a><a/>", b"<a>&x;</a>"):
            self.assertRaises(PortMapError, parse, trap)

    def test_size(self) -> None:
        """64 KiB are read, a byte more is not."""
        filled = b"<a>" + b"x" * (MAX_SIZE - 7) + b"</a>"
        self.assertEqual(len(parse(filled).text), MAX_SIZE - 7)
        self.assertRaises(PortMapError, parse, filled + b"\n")

    def test_depth(self) -> None:
        """So many elements within each other, and no more."""
        for depth, good in ((MAX_DEPTH, True), (MAX_DEPTH + 1, False)):
            document = b"<a>" * depth + b"</a>" * depth
            if good:
                parse(document)
            else:
                self.assertRaises(PortMapError, parse, document)

    def test_elements_limit(self) -> None:
        """So many elements, and no more."""
        parse(b"<r>" + b"<a/>" * (MAX_ELEMENTS - 1) + b"</r>")
        self.assertRaises(PortMapError, parse, b"<r>" + b"<a/>" * MAX_ELEMENTS + b"</r>")

    def test_not_xml(self) -> None:
        """A page for people, nothing, half of something, odd encodings."""
        for data in (
            b"",
            b"<html><br></html>",
            b"<a>",
            b"</a>",
            b'<?xml version="1.0" encoding="martian"?><a/>',
            b'<?xml version="1.0" encoding="utf-7"?><a/>',
            b"\xff\xfe<",
        ):
            self.assertRaises(PortMapError, parse, data)

    @given(st.binary(max_size=60))
    def test_total(self, data: bytes) -> None:
        """Whatever comes is a document or one kind of error."""
        for each in (data, b"<a>" + data + b"</a>"):
            try:
                parse(each)
            except PortMapError:
                continue
