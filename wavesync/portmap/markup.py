"""XML from a router, of which nothing is believed: no document types, no entities, bounded in every way.

The parser of the standard library, told so: a document type is where all of XML's traps begin, and
whoever declares one is refused before anything is expanded.
"""

from dataclasses import dataclass, field
from xml.parsers import expat

from wavesync.portmap.words import PortMapError, Reason

__all__ = ["MAX_DEPTH", "MAX_ELEMENTS", "MAX_SIZE", "Element", "parse"]

MAX_SIZE = 1 << 16
"""Bytes of a document."""

MAX_DEPTH = 24
"""Elements within each other."""

MAX_ELEMENTS = 2048
"""Elements in all."""


@dataclass(slots=True)
class Element:
    """An element, its namespace left out: routers do not agree on those.

    :ivar name: without a prefix.
    :ivar children: those within it, in order.
    """

    name: str
    children: list["Element"] = field(default_factory=list)
    _pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What is written in it, without blanks around."""
        return "".join(self._pieces).strip()

    def find(self, name: str) -> "Element | None":
        """The first child of that name."""
        return next((child for child in self.children if child.name == name), None)

    def value(self, name: str) -> str:
        """The text of the first child of that name; empty without one."""
        child = self.find(name)
        return "" if child is None else child.text

    def walk(self) -> "list[Element]":
        """It and all elements within it, in the order of the document."""
        found = [self]
        for each in found:
            found.extend(each.children)
        return found


class _Builder:
    """Takes what the parser finds."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0

    def start(self, name: str, attributes: object) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise _malformed("has too many elements")
        element = Element(name.rpartition(":")[2])
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, name: str) -> None:
        self._open.pop()

    def text(self, data: str) -> None:
        self._open[-1]._pieces.append(data)

    def refuse(self, *args: object) -> None:
        raise _malformed("declares a document type")


def parse(data: bytes) -> Element:
    """Read a document.

    :raises PortMapError: it is none, or beyond one of the bounds.
    """
    if len(data) > MAX_SIZE:
        raise _malformed("is too long")
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError):
        raise _malformed("is no XML") from None
    assert builder.root is not None, "the parser refuses an empty document"
    return builder.root


def _malformed(what: str) -> PortMapError:
    return PortMapError(Reason.MALFORMED, f"what the router answers {what}")
