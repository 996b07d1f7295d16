"""Tests for :mod:`wavesync.signalling.certificate`: a relay's certificate is renewed while it runs."""

import contextlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from OpenSSL.SSL import TLS_METHOD, Connection, Context, WantReadError
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests.relay.test_fronts import FrontCase
from tests.relay.world import Visit, connect_request, until
from tests.signalling.authority import Authority
from tests.signalling.provers import client
from wavesync.signalling.certificate import HostCertificate
from wavesync.signalling.relay_answers import RelayAnswer

NAME = "relay.example"
TAKEN = "a new certificate is taken, good"
NOT_TAKEN = "the new certificate is not taken, the old one is good"


@implementer(ILogObserver)
class Listener:
    """Keeps how each line of the log begins."""

    def __init__(self, case: TestCase | SynchronousTestCase) -> None:
        self.said: list[str] = []
        globalLogPublisher.addObserver(self)
        case.addCleanup(globalLogPublisher.removeObserver, self)

    def __call__(self, event: LogEvent) -> None:
        """Take an event (ILogObserver)."""
        if event.get("log_namespace", "").startswith("wavesync.signalling.certificate"):
            self.said.append(formatEvent(event).partition(" until ")[0])


def serial(certificate: HostCertificate) -> int:
    """Do a handshake, and tell which certificate is shown."""
    server = Connection(certificate.getContext())
    visitor = Connection(Context(TLS_METHOD))
    server.set_accept_state()
    visitor.set_connect_state()
    for _ in range(4):
        for one, other in ((visitor, server), (server, visitor)):
            with contextlib.suppress(WantReadError):
                one.do_handshake()
            with contextlib.suppress(WantReadError):
                other.bio_write(one.bio_read(65536))
    shown = visitor.get_peer_certificate()
    assert shown is not None
    return shown.get_serial_number()


class HostCertificateTests(SynchronousTestCase):
    """What becomes of files that somebody replaces."""

    def setUp(self) -> None:
        """A certificate as certbot keeps it: names that lead to files."""
        self.authority = Authority()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.paths = [self.directory / name for name in ("fullchain.pem", "privkey.pem")]
        self.files = 0
        self.put(*self.made())
        self.certificate = HostCertificate(*map(str, self.paths))
        self.first = serial(self.certificate)
        self.said = Listener(self).said

    def made(self) -> tuple[bytes, bytes]:
        """A certificate, and its key."""
        key, mark, certificate = self.authority.certify(NAME).partition(b"-----BEGIN CERT")
        return mark + certificate, key

    def put(self, *contents: bytes | None) -> None:
        """Have the names lead to new files; None leaves one as it is."""
        for path, content in zip(self.paths, contents, strict=True):
            if content is not None:
                self.files += 1
                file = self.directory / f"{self.files}.pem"
                file.write_bytes(content)
                link = self.directory / "link"
                link.symlink_to(file)
                os.replace(link, path)

    def change(self, path: Path, act: Callable[[], object]) -> None:
        """Do something to a file, and again until its time shows it: clocks of file systems are coarse."""
        before = path.stat().st_ctime_ns
        while path.stat().st_ctime_ns == before:
            act()

    def look(self, times: int = 3) -> int:
        """Let some seconds pass, and tell which certificate is used."""
        for _ in range(times):
            self.certificate.look()
        return serial(self.certificate)

    def test_as_before(self) -> None:
        """While nobody changes anything nothing is read."""
        context = self.certificate.getContext()
        self.look(10)
        self.assertIs(self.certificate.getContext(), context)
        self.assertEqual(self.said, [])

    def test_renewed(self) -> None:
        """A new certificate is used, and said so once."""
        self.put(*self.made())
        self.assertNotEqual(self.look(), self.first)
        self.assertEqual(self.said, [TAKEN])

    def test_written_over(self) -> None:
        """It may be written into the same files, too."""
        for path, content in zip(self.paths, self.made(), strict=True):
            self.change(path, partial(path.write_bytes, content))
        self.assertNotEqual(self.look(), self.first)

    def test_one_by_one(self) -> None:
        """A look between the two files sees nothing wrong."""
        certificate, key = self.made()
        self.put(certificate, None)
        self.assertEqual(self.look(1), self.first)
        self.put(None, key)
        self.assertEqual(self.look(1), self.first)
        self.assertNotEqual(self.look(1), self.first)
        self.assertEqual(self.said, [TAKEN])

    def test_broken(self) -> None:
        """What makes no sense is complained of once, and the old certificate used on."""
        other = self.made()[1]
        for contents in ((b"nothing", None), (None, b"nothing"), (*self.made()[:1], other)):
            self.put(*contents)
            self.assertEqual(self.look(10), self.first)
        self.assertEqual(self.said, [NOT_TAKEN] * 3)
        self.put(*self.made())
        self.assertNotEqual(self.look(), self.first)
        self.assertEqual(self.said, [NOT_TAKEN] * 3 + [TAKEN])

    def test_gone(self) -> None:
        """A file that is not there, or is none, is a reason to complain, but not to wait or to stop."""
        self.paths[0].unlink()
        self.assertEqual(self.look(10), self.first)
        os.mkfifo(self.paths[0])
        self.assertEqual(self.look(10), self.first)
        self.assertEqual(self.said, [NOT_TAKEN] * 2)

    def test_may_be_read(self) -> None:
        """Who was not allowed to read the files, and then is, looks at them again."""
        self.put(None, b"nothing")  # root may read anything, so this stands for what cannot be read
        self.look()
        self.change(self.paths[1], partial(self.paths[1].chmod, 0o640))
        self.look()
        self.assertEqual(self.said, [NOT_TAKEN] * 2)


class RunningRelayTests(FrontCase):
    """A relay with clients."""

    def test_renewed(self) -> Deferred[None]:
        """Who comes after a renewal sees the new certificate; who is there already goes on."""

        async def test() -> None:
            listener = Listener(self)
            pem = str(self.certificate)
            self.service = self.relay(tls_listen=("127.0.0.1:0",), certificate=pem, key=pem)
            port = self.service.addresses[1][1]
            site = self.site()
            await site.park()

            async def shown() -> int:
                visit = Visit(b"GET / HTTP/1.1\r\n\r\n")
                await self.connect_tls(visit, port)
                await visit.answered
                found = visit.wire.getPeerCertificate().get_serial_number()
                await visit.lost
                return int(found)

            first = await shown()
            visit = Visit(connect_request(client(), site.credentials.target))
            await self.connect_tls(visit, port)
            self.assertEqual(await visit.answered, RelayAnswer(101))
            self.certificate.write_bytes(self.authority.certify(NAME))
            await until(lambda: listener.said == [TAKEN])
            second = await shown()
            self.assertNotEqual(second, first)
            self.certificate.write_bytes(b"nothing")
            await until(lambda: listener.said == [TAKEN, NOT_TAKEN])
            self.assertEqual(await shown(), second)
            visit.wire.write(b"still here")
            await until(lambda: visit.data == b"still here")
            visit.wire.abortConnection()
            await visit.lost

        return Deferred.fromCoroutine(test())

    def test_stops(self) -> Deferred[None]:
        """A relay that has stopped looks at nothing any more, and can be started again."""

        async def test() -> None:
            pem = str(self.certificate)
            self.service = self.relay(tls_listen=("127.0.0.1:0",), certificate=pem, key=pem)
            before: Any = self.service.certificate
            await self.service.stopService()
            self.certificate.write_bytes(self.authority.certify(NAME))
            self.service.startService()
            self.assertIsNot(self.service.certificate, before)

        return Deferred.fromCoroutine(test())
