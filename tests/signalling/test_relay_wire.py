"""Tests for :mod:`wavesync.signalling.relay_wire`, relay_answers and relay_heads."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.signalling.provers import NOW, client, prover, server
from wavesync.identity.crl import MAX_CRL
from wavesync.identity.ids import Target
from wavesync.identity.proofs import check_proof
from wavesync.identity.verify import Role
from wavesync.signalling.numbers import Purpose
from wavesync.signalling.relay_answers import AnswerReader, Challenge, Parking, RelayAnswer
from wavesync.signalling.relay_heads import MAX_HEAD, MAX_INTERIM, HeadError
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind, RequestReader

RELAY = Relay("relay.example", 3356, False)
SERVER = "00112233445566778899aabbccddeeff"
SYSTEM = "0123456789ab8def8123456789abcdef"
TARGET = Target(SYSTEM, SERVER)
ID = "fedcba9876543210" * 2
DIGEST = "5a" * 32

PARK = RelayRequest(RequestKind.PARK, TARGET, ID, revocations=3)
CONNECT = RelayRequest(RequestKind.CONNECT, TARGET, ID)
REVOKE = RelayRequest(RequestKind.REVOKE, digest=DIGEST, size=400)

CONNECT_TEXT = (
    "GET /wavesync/1/connect HTTP/1.1\r\n"
    "Host: relay.example:3356\r\n"
    "Connection: Upgrade\r\n"
    "Upgrade: wavesync-relay/1\r\n"
    f"Wavesync-Target: {SERVER}.{SYSTEM}\r\n"
    f"Wavesync-Connection: {ID}\r\n"
    "Authorization: Wavesync c2lnbmVk\r\n"
    "\r\n"
)

PARKED = RelayAnswer(101, parking=Parking(7, 2, 15.0, 9))
CHALLENGED = RelayAnswer(401, challenge=Challenge(b"n" * 24, NOW, "relay.example"))
REDIRECTED = RelayAnswer(307, location=Relay("2001:db8::1", 443, True))


def signed(purpose: str, message: bytes) -> bytes:
    """A stand-in for a proof."""
    return b"signed"


class RequestTests(SynchronousTestCase):
    """A relay reads what servers and clients ask."""

    def test_bytes(self) -> None:
        """A request looks as docs/relay says, and proves what is says."""
        self.assertEqual(CONNECT.encode(RELAY, signed).decode(), CONNECT_TEXT)
        self.assertEqual(
            CONNECT.covered().decode(),
            "GET /wavesync/1/connect\n"
            f"wavesync-target: {SERVER}.{SYSTEM}\nwavesync-connection: {ID}\n",
        )
        self.assertEqual(
            PARK.covered().decode(),
            f"GET /wavesync/1/park\nwavesync-server: {SERVER}.{SYSTEM}\n"
            f"wavesync-connection: {ID}\nwavesync-revocations: 3\n",
        )
        self.assertEqual(
            REVOKE.covered().decode(), f"POST /wavesync/1/revocations\nwavesync-digest: {DIGEST}\n"
        )

    def test_round_trip(self) -> None:
        """Each kind is read as it was written, cut anywhere, and what follows is kept."""
        for request in (PARK, CONNECT, REVOKE):
            for prove in (None, signed):
                data = request.encode(RELAY, prove)
                whole = RequestReader()
                found = whole.feed(data + b"\x16\x03\x01 raw")
                assert found is not None
                self.assertEqual(found.covered(), request.covered())
                self.assertEqual(found.proof, b"signed" if prove else b"")
                self.assertEqual((found.kind, found.size), (request.kind, request.size))
                self.assertEqual(whole.rest, b"\x16\x03\x01 raw")
                slow = RequestReader()
                steps = [slow.feed(bytes([byte])) for byte in data]
                self.assertEqual(steps, [None] * (len(data) - 1) + [found])

    def test_real_proofs(self) -> None:
        """A real proof comes through and holds for its purpose and these bytes only."""
        for request, credentials, role, purpose in (
            (PARK, server(), Role.SERVER, Purpose.RELAY_PARK),
            (CONNECT, client(), Role.CLIENT, Purpose.RELAY_CONNECT),
            (REVOKE, server(), Role.SERVER, Purpose.RELAY_REVOKE),
        ):
            prove = prover(credentials, audience=RELAY.audience)
            found = RequestReader().feed(request.encode(RELAY, prove))
            assert found is not None
            checked = check_proof(
                found.proof,
                purpose=purpose,
                audience="relay.example",
                message=found.covered(),
                role=role,
                now=NOW,
            )
            self.assertEqual(checked.peer, credentials.peer)

    def test_proxies(self) -> None:
        """What proxies change on the way does no harm."""
        changed = (
            CONNECT_TEXT.replace("GET /", "GET http://relay.example:80/")
            .replace("Wavesync-Target", "wavesync-target")
            .replace("Host: relay.example:3356", "Host: backend\r\nX-Forwarded-For: 192.0.2.1")
            .replace("Connection: Upgrade", "Via: 1.1 a\r\nConnection: keep-alive, upgrade")
        )
        found = RequestReader().feed(changed.encode())
        assert found is not None
        self.assertEqual(found.covered(), CONNECT.covered())

    def test_refused(self) -> None:
        """What is no request of ours is refused with the status that says why."""
        park = PARK.encode(RELAY, signed).decode()
        revoke = REVOKE.encode(RELAY, signed).decode()
        for text, status in (
            ("\x16\x03\x01\0\0\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            (CONNECT_TEXT.replace("/connect", "/conect"), 404),
            (CONNECT_TEXT.replace("/connect", "/[x"), 404),
            (CONNECT_TEXT.replace("GET /", "GET http://[/"), 404),
            (CONNECT_TEXT.replace("GET", "PUT"), 405),
            (CONNECT_TEXT.replace("Host: relay.example:3356\r\n", ""), 400),
            (CONNECT_TEXT.replace("HTTP/1.1", "HTTP/1.0"), 426),
            (CONNECT_TEXT.replace("relay/1", "relay/2"), 426),
            (CONNECT_TEXT.replace("Connection: Upgrade\r\n", ""), 426),
            (CONNECT_TEXT.replace("Host", "Content-Length: 5\r\nHost"), 400),
            (CONNECT_TEXT.replace("Host", "Transfer-Encoding: chunked\r\nHost"), 411),
            (CONNECT_TEXT.replace(SERVER, SERVER.upper()), 400),
            (CONNECT_TEXT.replace(f"{SERVER}.", ""), 400),
            (CONNECT_TEXT.replace(ID, ID[:-1]), 400),
            (CONNECT_TEXT.replace("Authorization", f"Wavesync-Connection: {ID}\r\nA"), 400),
            (CONNECT_TEXT.replace("Wavesync c2", "Basic c2"), 400),
            (CONNECT_TEXT.replace("c2lnbmVk", "c2lnb"), 400),
            (CONNECT_TEXT.replace("c2lnbmVk", "c2l+bmVk"), 400),
            (CONNECT_TEXT.replace("c2lnbmVk", "A" * 684), 400),
            (CONNECT_TEXT.replace("c2lnbmVk", ""), 400),
            (park.replace(": 3", ": -3"), 400),
            (park.replace(": 3", ": 03"), 400),
            (park.replace(": 3", f": {1 << 63}"), 400),
            (park.replace("Wavesync-Revocations", "X"), 400),
            (revoke.replace(": 400", ": 0"), 413),
            (revoke.replace(": 400", f": {MAX_CRL + 1}"), 413),
            (revoke.replace("Content-Length", "X-Length"), 400),
            (revoke.replace(DIGEST, DIGEST[1:]), 400),
            (CONNECT_TEXT.replace("Host", "X: \xff\r\nHost"), 400),
        ):
            error = self.assertRaises(HeadError, RequestReader().feed, text.encode("latin-1"))
            self.assertEqual(error.status, status, (text, str(error)))

    def test_longest(self) -> None:
        """A head of 8 KiB is read, in one piece or many; one byte more is refused, whole or not."""
        room = MAX_HEAD - len(CONNECT_TEXT)
        for extra in (0, 1):
            filler = "X: " + "x" * (room - 5 + extra)
            data = CONNECT_TEXT.replace("Host", f"{filler}\r\nHost").encode()
            self.assertEqual(len(data), MAX_HEAD + extra)
            for step in (len(data), 100, 1):
                reader = RequestReader()
                pieces = [data[at : at + step] for at in range(0, len(data), step)]
                if extra:
                    with self.assertRaises(HeadError) as caught:
                        for piece in pieces:
                            reader.feed(piece)
                    self.assertEqual(caught.exception.status, 431)
                else:
                    found = [reader.feed(piece) for piece in pieces][-1]
                    self.assertIsNotNone(found)
        reader = RequestReader()
        self.assertIsNone(reader.feed(b"GET /" + b"x" * (MAX_HEAD - 5)))
        self.assertRaises(HeadError, reader.feed, b"x")

    @given(st.binary(max_size=300), st.integers(0, len(CONNECT_TEXT)), st.integers(0, 40))
    def test_total(self, data: bytes, at: int, cut: int) -> None:
        """Any bytes in any place are a request, part of one, or one exception."""
        text = CONNECT_TEXT.encode()
        with contextlib.suppress(HeadError):
            RequestReader().feed(text[:at] + data + text[at + cut :])


class AnswerTests(SynchronousTestCase):
    """Servers and clients read what a relay answers."""

    def test_bytes(self) -> None:
        """Answers look as docs/relay says."""
        self.assertEqual(
            PARKED.encode(),
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            b"Upgrade: wavesync-relay/1\r\nWavesync-Idle: 7\r\nWavesync-Waiting: 2\r\n"
            b"Wavesync-Keep-Alive: 15\r\nWavesync-Revocations: 9\r\n\r\n",
        )
        self.assertEqual(
            RelayAnswer(503, retry_after=0.2, sentence="the relay is full.").encode(),
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nWavesync-Relay: 1\r\n"
            b"Retry-After: 1\r\n"
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 19\r\n\r\n"
            b"the relay is full.\n",
        )
        self.assertNotIn(b"Content-", RelayAnswer(204).encode())

    def test_round_trip(self) -> None:
        """Each answer is read as it was written, cut anywhere, and what follows a 101 is kept."""
        for answer in (
            PARKED,
            RelayAnswer(101),
            RelayAnswer(101, parking=Parking(64, 0, 0.25, 0)),
            CHALLENGED,
            REDIRECTED,
            RelayAnswer(204),
            RelayAnswer(403, reason="revoked", sentence="no."),
            RelayAnswer(404, sentence="nobody."),
            RelayAnswer(429, retry_after=30.0, sentence="too many."),
            RelayAnswer(599, sentence="odd."),
        ):
            data = answer.encode()
            reader = AnswerReader()
            self.assertEqual(reader.feed(data + (b"raw" if answer.status == 101 else b"")), answer)
            if answer.status == 101:
                self.assertEqual(reader.rest, b"raw")
            slow = AnswerReader()
            end = data.index(b"\r\n\r\n") + 4
            steps = [slow.feed(bytes([byte])) for byte in data[:end]]
            self.assertEqual(steps, [None] * (end - 1) + [answer])

    def test_echo(self) -> None:
        """Somebody who sends back what is said to him: nothing of it is in the sentence."""
        said = CONNECT.encode(RELAY, signed)
        for data in (said, said.replace(b"Connection: ", b"Connection\t: ")):
            for reader in (AnswerReader(), RequestReader()):
                try:
                    reader.feed(data)
                except HeadError as error:
                    self.assertNotIn("GET", str(error))
                    self.assertNotIn("Connection", str(error))
                    self.assertLess(len(str(error)), 60)

    def test_interim(self) -> None:
        """A 100 or 103 from a proxy is skipped; a flood of them is not read for ever."""
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        done = RelayAnswer(101)
        self.assertEqual(AnswerReader().feed(interim * MAX_INTERIM + done.encode()), done)
        flood = interim * (MAX_INTERIM + 1)
        error = self.assertRaises(HeadError, AnswerReader().feed, flood)
        self.assertEqual(error.status, 431)

    def test_others(self) -> None:
        """Answers that are not a relay's are told apart from those that are."""
        parked = PARKED.encode()
        for bad in (
            b"<html>\r\n\r\n",
            b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            b"HTTP/1.1 307 T\r\nWavesync-Relay: 1\r\nLocation: http://a/x\r\n\r\n",
            b"HTTP/1.1 307 T\r\nWavesync-Relay: 1\r\nLocation: a\r\n\r\n",
            b"HTTP/1.1 307 T\r\nWavesync-Relay: 1\r\n\r\n",
            parked.replace(b"Alive: 15", b"Alive: 0"),
            parked.replace(b"Alive: 15", b"Alive: 1e3"),
            parked.replace(b"Wavesync-Keep-Alive", b"X"),
            parked.replace(b"Waiting: 2", b"Waiting: 65536"),
        ):
            self.assertRaises(HeadError, AnswerReader().feed, bad)
        for odd in (
            b'HTTP/1.1 401 U\r\nWavesync-Relay: 1\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n',
            CHALLENGED.encode().replace(b'nonce="', b'nonce="A'),
            CHALLENGED.encode().replace(b"relay.example", b"relay example"),
            CHALLENGED.encode().replace(b'nonce="bm', b'nonce="' + b"A" * 15),
        ):
            answer = AnswerReader().feed(odd)
            assert answer is not None
            self.assertEqual((answer.status, answer.challenge), (401, None))
        dated = b"HTTP/1.1 503 S\r\nWavesync-Relay: 1\r\nRetry-After: Sun, 22 Nov 2026 17:00:00 GMT\r\n\r\n"
        self.assertEqual(AnswerReader().feed(dated), RelayAnswer(503))

    def test_pages(self) -> None:
        """What a portal or a proxy says is no answer of a relay, and is told as what it is."""
        for status, words in (
            (302, "a captive portal or a proxy's page (HTTP 302 Found"),
            (200, "a captive portal or a proxy's page (HTTP 200 OK"),
            (403, "refused by HTTP 403 Forbidden, with a page that is not ours"),
            (407, "the proxy wants a password"),
        ):
            page = f"HTTP/1.1 {status} X\r\nContent-Type: text/html\r\n\r\n".encode()
            error = self.assertRaises(HeadError, AnswerReader().feed, page)
            self.assertIn(words, str(error))

    @given(st.binary(max_size=300), st.integers(0, 200), st.integers(0, 40))
    def test_total(self, data: bytes, at: int, cut: int) -> None:
        """Any bytes in any place are an answer, part of one, or one exception."""
        for text in (PARKED.encode(), CHALLENGED.encode(), REDIRECTED.encode()):
            with contextlib.suppress(HeadError):
                AnswerReader().feed(text[:at] + data + text[at + cut :])
