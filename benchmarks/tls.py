"""What TLS and sessions cost in memory, without a path: ours, Twisted's TLS, and Python's ``ssl``.

CPU seconds for 10^9 bytes at each end, in one process: one end writes 2 MB, the other takes what came
of it, in pieces like UDT's bursts.  ``ssl`` has no choice of ciphers for TLS 1.3 and takes AES-256,
so ``openssl speed -evp aes-256-gcm`` is its floor, and ``aes-128-gcm`` ours.
"""

import functools
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from benchmarks.programs import Broken
from benchmarks.samples import Sample, interleave, median
from benchmarks.udt_layers import Layers, load_client, load_server, make_credentials
from wavesync.session.tls import client_context, server_context

__all__ = ["measure"]

_WRITE = bytes(1 << 18)
_WRITES = 8
_BURST = 43 * 1456
_ROUNDS = 200


@implementer(ITransport)
class _Wire:
    """Keeps what is written."""

    disconnecting = False

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def taken(self) -> bytes:
        """Give, and forget, what was written."""
        written, self.written = self.written, []
        return b"".join(written)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 1)

    getHost = getPeer

    def loseConnection(self) -> None:
        """Nothing is to be lost."""

    abortConnection = unregisterProducer = pauseProducing = resumeProducing = loseConnection

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nobody is paused."""


class _Sink(Protocol):
    """Counts."""

    total = 0

    def dataReceived(self, data: bytes) -> None:
        self.total += len(data)


def _timed(
    write: Callable[[], object], wire: Callable[[], bytes], take: Callable[[bytes], object]
) -> dict[str, float]:
    """Write, and take what was written, again and again."""
    sending = taking = 0.0
    rest = b""
    for _ in range(_ROUNDS):
        start = time.process_time()
        write()
        sending += time.process_time() - start
        data = rest + wire()
        whole = len(data) // _BURST * _BURST
        bursts = [data[at : at + _BURST] for at in range(0, whole, _BURST)]
        rest = data[whole:]
        start = time.process_time()
        for burst in bursts:
            take(burst)
        taking += time.process_time() - start
    gigabytes = _ROUNDS * _WRITES * len(_WRITE) / 1e9
    return {"sender_cpu_s_per_gb": sending / gigabytes, "receiver_cpu_s_per_gb": taking / gigabytes}


class _Twisted(Layers):
    """Twisted's own TLS, with our contexts."""

    def listening(self, factory: IProtocolFactory) -> IProtocolFactory:
        context = server_context(load_server(self.directory))
        made: IProtocolFactory = TLSMemoryBIOFactory(context, False, factory, self.reactor)
        return made

    async def connected(self, dial: Any, factory: IProtocolFactory) -> IProtocol:
        target = load_server(self.directory).target
        context = client_context(load_client(self.directory), target)
        tls = await dial(TLSMemoryBIOFactory(context, True, factory, self.reactor))
        inner: IProtocol = tls.wrappedProtocol
        return inner


def _layered(layers: type[Layers], kind: str, directory: Path) -> Sample:
    """Take one sample of what is a protocol on a transport."""
    clock = Clock()
    made = layers(clock, kind, directory)
    near, far, sink = _Wire(), _Wire(), _Sink()
    server = made.listening(Factory.forProtocol(lambda: sink)).buildProtocol(near.getPeer())
    clients: list[IProtocol] = []

    def dial(factory: IProtocolFactory) -> Deferred[IProtocol]:
        client = factory.buildProtocol(near.getPeer())
        assert client is not None
        clients.append(client)
        return succeed(client)

    opened: list[Any] = []
    connecting = made.connected(dial, Factory.forProtocol(Protocol))
    Deferred.fromCoroutine(connecting).addBoth(opened.append)
    (client,) = clients
    assert server is not None
    server.makeConnection(far)
    client.makeConnection(near)
    for _ in range(10):
        clock.advance(0)
        for wire, end in ((near, server), (far, client)):
            if data := wire.taken():
                end.dataReceived(data)

    def write() -> None:
        for _ in range(_WRITES):
            opened[0].transport.write(_WRITE)
        clock.advance(0)

    sample = _timed(write, near.taken, server.dataReceived)
    if sink.total < _ROUNDS * _WRITES * len(_WRITE) - 2 * len(_WRITE):
        raise Broken("not all has come")
    return sample


def _plain(directory: Path) -> Sample:
    """Take one sample of Python's own ``ssl`` without anything around it."""
    credentials = load_server(directory)
    key = credentials.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain = directory / "chain.pem"
    chain.write_bytes(key + credentials.certificate.public_bytes(Encoding.PEM))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(chain)
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    back = ssl.MemoryBIO()  # what the client reads
    near = asking.wrap_bio(back, up)
    come = ssl.MemoryBIO()  # what the server reads
    far = serving.wrap_bio(come, down, server_side=True)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for each in (near, far):
            try:
                each.do_handshake()
                done.add(each)
            except ssl.SSLWantReadError:
                pass
            come.write(up.read())
            back.write(down.read())
    buffer = bytearray(16384)

    def write() -> None:
        for _ in range(_WRITES):
            near.write(_WRITE)

    def take(burst: bytes) -> None:
        come.write(burst)
        try:
            while far.read(len(buffer), buffer):
                pass
        except ssl.SSLWantReadError:
            pass

    return _timed(write, up.read, take)


def measure(runs: int = 5) -> dict[str, Any]:
    """Take the figures.

    :param runs: of each kind, of which the medians are given.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_credentials(directory)
        kinds: dict[str, Callable[[], Sample]] = {
            "session": functools.partial(_layered, Layers, "session", directory),
            "tls": functools.partial(_layered, Layers, "tls", directory),
            "twisted": functools.partial(_layered, _Twisted, "tls", directory),
            "ssl": functools.partial(_plain, directory),
        }
        taken = interleave(kinds, runs)
    medians = {
        kind: {name: round(median(samples, name), 3) for name in samples[0]}
        for kind, samples in taken.items()
    }
    return {"runs": runs, "bytes": _ROUNDS * _WRITES * len(_WRITE), "kinds": medians}
