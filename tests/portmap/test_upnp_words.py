"""Tests for :mod:`wavesync.portmap.description` and :mod:`wavesync.portmap.soap`."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.portmap import soap
from wavesync.portmap.description import MAX_SERVICES, SERVICES, Service, mapping_services
from wavesync.portmap.words import PortMapError, Reason

_URL = "http://192.168.1.1:5000/desc/root.xml"
_HOST = "192.168.1.1"


def description(*services: tuple[str, str], base: str = "") -> bytes:
    """A description: kinds of services, and their control URLs."""
    listed = "".join(
        f"<service><serviceType>{kind}</serviceType><controlURL>{control}</controlURL></service>"
        for kind, control in services
    )
    return (
        f"<root xmlns='urn:schemas-upnp-org:device-1-0'><URLBase>{base}</URLBase><device><deviceList>"
        f"<device><serviceList>{listed}</serviceList></device></deviceList></device></root>"
    ).encode()


class DescriptionTests(SynchronousTestCase):
    """The services that map ports are found, on the router alone."""

    def test_best_first(self) -> None:
        """The newest service is tried first; those for other things are not."""
        other = "urn:schemas-upnp-org:service:Layer3Forwarding:1"
        document = description((SERVICES[2], "/ppp"), (other, "/l3"), (SERVICES[0], "ip"))
        self.assertEqual(
            mapping_services(document, _URL, _HOST),
            [
                Service(SERVICES[0], "http://192.168.1.1:5000/desc/ip"),
                Service(SERVICES[2], "http://192.168.1.1:5000/ppp"),
            ],
        )

    def test_base(self) -> None:
        """Another port of the same host may be named, as a base or in full."""
        document = description((SERVICES[1], "/c"), base="http://192.168.1.1:49152/")
        (service,) = mapping_services(document, _URL, _HOST)
        self.assertEqual(service.control, "http://192.168.1.1:49152/c")

    def test_other_host(self) -> None:
        """Another host may not; without a service left, the router maps nothing."""
        for document in (
            description((SERVICES[1], "http://192.168.1.2/c")),
            description((SERVICES[1], "/c"), base="http://8.8.8.8/"),
            description((SERVICES[1], "http://[")),
            description(),
        ):
            error = self.assertRaises(PortMapError, mapping_services, document, _URL, _HOST)
            self.assertEqual(error.reason, Reason.REFUSED)

    def test_many(self) -> None:
        """No more than four services of a router are tried."""
        for count in (MAX_SERVICES, MAX_SERVICES + 1):
            document = description(*((SERVICES[1], f"/{number}") for number in range(count)))
            self.assertEqual(len(mapping_services(document, _URL, _HOST)), MAX_SERVICES)


class SoapTests(SynchronousTestCase):
    """Actions and their answers."""

    def test_action(self) -> None:
        """What is asked is escaped, and named in a header."""
        headers, body = soap.action(SERVICES[1], "AddPortMapping", {"NewPort": "1<2"})
        self.assertEqual(headers["SOAPAction"], f'"{SERVICES[1]}#AddPortMapping"')
        self.assertIn(b"<NewPort>1&lt;2</NewPort></u:AddPortMapping>", body)

    def test_answer(self) -> None:
        """What is given, by name."""
        body = b"<E><B><u:GetResponse xmlns:u='x'><A>1</A><C/></u:GetResponse></B></E>"
        self.assertEqual(soap.answer("Get", 200, body), {"A": "1", "C": ""})

    def test_failed(self) -> None:
        """What the router says against it, in words where they are known."""
        for code, words in (("606", "not allowed"), ("999", "error 999")):
            body = f"<E><errorCode>{code}</errorCode></E>".encode()
            error = self.assertRaises(soap.ActionFailed, soap.answer, "Get", 500, body)
            self.assertEqual(error.code, int(code))
            self.assertIn(words, str(error))
        body = b"<E><errorCode>much</errorCode></E>"
        self.assertEqual(
            self.assertRaises(soap.ActionFailed, soap.answer, "G", 500, body).code, 501
        )

    def test_nonsense(self) -> None:
        """A redirect, a login page, an answer to something else."""
        for status, body in (
            (302, b"<a/>"),
            (401, b""),
            (200, b"<a/>"),
            (500, b"<a/>"),
            (200, b""),
        ):
            self.assertRaises(PortMapError, soap.answer, "Get", status, body)

    @given(st.sampled_from((200, 500)), st.text(max_size=60))
    def test_total(self, status: int, text: str) -> None:
        """Whatever comes is an answer or one kind of error."""
        for body in (text, f"<errorCode>{text}</errorCode>", f"<GetResponse>{text}</GetResponse>"):
            try:
                soap.answer("Get", status, body.encode())
            except PortMapError:
                continue
