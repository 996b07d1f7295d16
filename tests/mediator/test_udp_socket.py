"""The mediator's UDP socket: many datagrams at a time, or each by itself, with the same answers."""

import errno
import os
import socket
from collections import Counter
from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.mediator.driver import World
from tests.stun.fuzz import mutants
from wavesync.interfaces import Address
from wavesync.mediator.settings import Limits
from wavesync.mediator.udp import MediatorDatagrams, PairedDatagrams
from wavesync.mediator.udp_socket import MAX_BATCHES, MAX_TURN, PortSocket
from wavesync.stun.alternate import AddressPair
from wavesync.stun.attributes import OTHER_ADDRESS, SOFTWARE
from wavesync.stun.binding import binding_response
from wavesync.stun.many import BATCH, SLOT, Batch, batches_work
from wavesync.stun.message import BINDING, Message, MessageClass, decode, encode

PLENTY = Limits(source_rate=1e6, source_burst=1e6)
MakeBatch = Callable[[socket.socket], Batch]


class Reading:
    """A reactor that only notes who reads."""

    def __init__(self) -> None:
        self.readers: list[object] = []

    def addReader(self, reader: object) -> None:
        """Note it."""
        self.readers.append(reader)

    def removeReader(self, reader: object) -> None:
        """Forget it."""
        self.readers.remove(reader)


def bound(host: str) -> socket.socket:
    """A UDP socket that does not block."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    udp = socket.socket(family, socket.SOCK_DGRAM)
    udp.setblocking(False)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    udp.bind((host, 0))
    return udp


def request(*attributes: tuple[int, bytes], fingerprint: bool = False) -> bytes:
    """A Binding request."""
    message = Message(BINDING, MessageClass.REQUEST, os.urandom(12), attributes)
    return encode(message, fingerprint=fingerprint)


def all_of(udp: socket.socket) -> list[bytes]:
    """Everything that a socket has got."""
    found = []
    while True:
        try:
            found.append(udp.recv(4096))
        except BlockingIOError:
            return found


class NoBatch(Batch):
    """A kernel that does not let us have many at a time."""

    def receive(self) -> int:
        """Refuse."""
        raise OSError(errno.EPERM, "Operation not permitted")


class Shell:
    """A mediator's port with a socket.

    :ivar turns: how often the timer was seen to.
    """

    def __init__(
        self, case: TestCase, batch: MakeBatch | None, limits: Limits, host: str = "127.0.0.1"
    ) -> None:
        self.turns = 0
        self.world = World(limits=limits)
        self.reactor = Reading()
        self.port = MediatorDatagrams(self.world.mediator, Clock(), self._turn)
        udp = bound(host)
        self.address: Address = udp.getsockname()
        self.socket = PortSocket(cast(IReactorFDSet, self.reactor), udp, self.port, batch)
        udp.close()
        case.addCleanup(self.socket.close)

    def _turn(self) -> None:
        self.turns += 1

    @property
    def dropped(self) -> int:
        """How many datagrams were dropped."""
        return self.world.mediator.statistics.dropped

    def read(self, times: int = 100) -> None:
        """Let it read what has come."""
        for _ in range(times):
            self.socket.doRead()


class SocketTests(TestCase):
    """What clients of a mediator with such a socket see."""

    def clients(self, count: int, host: str = "127.0.0.1") -> list[socket.socket]:
        """So many clients' sockets; over IPv4 each has an address of its own."""
        made = []
        for i in range(count):
            made.append(bound(host if ":" in host else f"127.0.2.{i + 1}"))
            self.addCleanup(made[-1].close)
        return made

    def check_plain(self, shell: Shell, clients: list[socket.socket]) -> None:
        """Plain requests of all clients are answered, each with its sender's address."""
        asked: dict[socket.socket, list[bytes]] = {client: [] for client in clients}
        for _ in range(30):
            for client in clients:
                asked[client].append(request())
                client.sendto(asked[client][-1], shell.address)
        shell.read()
        for client, data in asked.items():
            wanted = [binding_response(each, client.getsockname()[:2]) for each in data]
            self.assertEqual(all_of(client), wanted)
        self.assertEqual(shell.dropped, 0)

    def test_plain(self) -> None:
        """Whether many are taken at a time or each by itself, all are answered."""
        for batch in (Batch, None):
            shell = Shell(self, batch, PLENTY)
            self.assertEqual(shell.socket.batched, batch is not None)
            self.check_plain(shell, self.clients(5))
            self.assertEqual(shell.turns, 100)

    def test_ipv6(self) -> None:
        """Over IPv6 as well."""
        for batch in (Batch, None):
            self.check_plain(Shell(self, batch, PLENTY, "::1"), self.clients(3, "::1"))

    def test_differential(self) -> None:
        """Garbage among good requests is answered, or not, the same in both ways."""
        (client,) = self.clients(1)
        found = []
        for batch in (Batch, None):
            shell = Shell(self, batch, PLENTY)
            answers: Counter[bytes] = Counter()
            for i, data in enumerate(mutants(2000)):
                client.sendto(data, shell.address)
                if i % 3:
                    plain = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + i.to_bytes(12, "big")
                    client.sendto(plain, shell.address)
                if i % 50 == 49:
                    shell.read(8)
                    answers.update(all_of(client))
            found.append((answers, shell.dropped))
        self.assertEqual(found[0], found[1])
        self.assertGreater(sum(found[0][0].values()), 1400)

    def test_too_much(self) -> None:
        """Who sends too much is answered as often as he may; his neighbour is answered."""
        greedy, other = self.clients(2)
        for batch in (Batch, None):
            shell = Shell(self, batch, Limits(source_rate=0.001, source_burst=5))
            for _ in range(40):
                greedy.sendto(request(), shell.address)
            other.sendto(request(), shell.address)
            shell.read()
            self.assertEqual((len(all_of(greedy)), len(all_of(other))), (5, 1))
            self.assertEqual(shell.dropped, 35)

    def test_one_turn(self) -> None:
        """One turn of the reactor is bounded: others get theirs."""
        (client,) = self.clients(1)
        quick, slow = request(), request((SOFTWARE, b"1234"))
        for batch, data, most in (
            (Batch, quick, MAX_BATCHES * BATCH),
            (Batch, slow, BATCH),
            (None, quick, MAX_TURN),
        ):
            shell = Shell(self, batch, PLENTY)
            for _ in range(most + 10):
                client.sendto(data, shell.address)
            shell.read(1)
            self.assertEqual(len(all_of(client)), most)
            shell.read(1)
            self.assertEqual(len(all_of(client)), 10)

    def test_refused_by_the_kernel(self) -> None:
        """A kernel that forbids the calls costs speed and nothing else."""
        shell = Shell(self, NoBatch, PLENTY)
        self.check_plain(shell, self.clients(2))
        self.assertFalse(shell.socket.batched)

    def test_too_long(self) -> None:
        """What is longer than a slot is dropped, in both ways."""
        (client,) = self.clients(1)
        for batch in (Batch, None):
            shell = Shell(self, batch, PLENTY)
            client.sendto(request((SOFTWARE, bytes(SLOT))), shell.address)
            client.sendto(b"", shell.address)
            shell.read()
            self.assertEqual((all_of(client), shell.dropped), ([], 2))

    def test_unreachable(self) -> None:
        """One answer that cannot be sent is counted, and keeps nobody else from getting his."""
        (client,) = self.clients(1)
        shell = Shell(self, Batch, PLENTY)
        batch = Batch(shell.socket.socket)
        for _ in range(3):
            client.sendto(request(), shell.address)
        self.assertEqual(batch.receive(), 3)
        # As if the second came from port 0, to which nothing can be sent.
        batch._names[34:36] = bytes(2)
        self.assertTrue(shell.port.answered(batch, 3))
        self.assertEqual((len(all_of(client)), shell.dropped), (2, 1))

    def test_two_addresses(self) -> None:
        """A mediator with two addresses tells of both in each answer."""
        (client,) = self.clients(1)
        shell = Shell(self, None, PLENTY)
        shell.socket.close()
        pair = AddressPair(("127.0.0.1", 3345), ("127.0.0.2", 3346))
        ports: dict[Address, MediatorDatagrams] = {}
        for at in pair.addresses:
            ports[at] = PairedDatagrams(
                shell.world.mediator, Clock(), lambda: None, pair, at, ports
            )
        udp = bound("127.0.0.1")
        self.addCleanup(udp.close)
        first = ports[pair.primary]
        paired = PortSocket(cast(IReactorFDSet, Reading()), udp, first, Batch)
        self.addCleanup(paired.close)
        client.sendto(request(), udp.getsockname())
        paired.doRead()
        (answer,) = all_of(client)
        self.assertIsNotNone(decode(answer).get(OTHER_ADDRESS))

    def test_stop(self) -> None:
        """Stopped, it reads nothing, sends nothing and can be stopped again."""
        shell = Shell(self, Batch, PLENTY)
        self.assertEqual(shell.reactor.readers, [shell.socket])
        shell.socket.connectionLost(Failure(ConnectionError()))
        shell.socket.close()
        self.assertEqual((shell.reactor.readers, shell.socket.fileno()), ([], -1))
        shell.port.send_datagram(b"?", ("127.0.0.1", 9))

    if not batches_work():
        skip = "this platform has no recvmmsg(2)"
