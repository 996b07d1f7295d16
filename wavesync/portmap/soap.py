"""UPnP's actions and their answers (UPnP Device Architecture 1.1, section 3)."""

from collections.abc import Mapping
from xml.sax.saxutils import escape

from wavesync.portmap.markup import parse
from wavesync.portmap.words import PortMapError, Reason

__all__ = [
    "CONFLICT",
    "NOT_AUTHORIZED",
    "ONLY_PERMANENT",
    "ActionFailed",
    "action",
    "answer",
]

NOT_AUTHORIZED = 606
"""It is not for this host."""
CONFLICT = 718
"""Somebody else has that port."""
ONLY_PERMANENT = 725
"""Mappings cannot end by themselves."""

_SENTENCES = {
    402: "it does not understand the request",
    501: "it failed",
    NOT_AUTHORIZED: "port mapping is not allowed for this host",
    724: "it maps a port to the same one only, and somebody else has that",
    728: "it has no room for more mappings",
    729: "the port is needed for something else",
}
_ENVELOPE = """<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" \
s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>\
<u:{name} xmlns:u="{kind}">{arguments}</u:{name}></s:Body></s:Envelope>
"""


class ActionFailed(PortMapError):
    """The router says that an action failed.

    :ivar code: UPnP's.
    """

    def __init__(self, code: int) -> None:
        super().__init__(Reason.REFUSED, _SENTENCES.get(code, f"it answers with error {code}"))
        self.code = code


def action(kind: str, name: str, arguments: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """Write an action.

    :param kind: of the service.
    :returns: headers and body of the request.
    """
    text = "".join(f"<{each}>{escape(value)}</{each}>" for each, value in arguments.items())
    body = _ENVELOPE.format(name=name, kind=kind, arguments=text).encode()
    headers = {
        "Content-Type": 'text/xml; charset="utf-8"',
        "SOAPAction": f'"{kind}#{name}"',
    }
    return headers, body


def answer(name: str, status: int, body: bytes) -> dict[str, str]:
    """Read the answer to an action.

    :param name: the action's.
    :param status: HTTP's.
    :returns: what it gives, by name.
    :raises ActionFailed: the router says so.
    :raises PortMapError: it makes no sense.
    """
    if status not in (200, 500):
        raise PortMapError(Reason.REFUSED, f"it answers with HTTP status {status}")
    elements = parse(body).walk()
    for element in elements:
        if status == 500 and element.name == "errorCode":
            text = element.text
            raise ActionFailed(int(text) if text.isdecimal() and len(text) <= 4 else 501)
        if status == 200 and element.name == f"{name}Response":
            return {child.name: child.text for child in element.children}
    raise PortMapError(Reason.MALFORMED, "what the router answers is about something else")
